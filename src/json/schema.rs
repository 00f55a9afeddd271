//! Brings the JSON Schema of a tool to the subset that model servers accept.
//!
//! Servers that hold a model to a schema compile it into a grammar (llama.cpp, vLLM with xgrammar,
//! Ollama) or into a form of their own (Gemini, xAI), and refuse, or quietly ignore, what they do
//! not know. Tools written for other clients are full of such things: lists of types, boolean
//! schemas, a root that is a union. [`normalize`] says the same in plainer words. What the model
//! needs to call the tool stays: names, types, values, descriptions, and their order, since models
//! read the schema too.
//!
//! What is rewritten, and why:
//!
//! - The root becomes `{"type":"object","properties":{…}}`, since the arguments of a function are
//!   always an object and several servers insist on seeing both words. A `$ref` there is resolved;
//!   `anyOf`, `oneOf` and `allOf` are merged into one object, as no server takes them there.
//! - Boolean schemas become `{}` and `{"not":{}}`: compilers look for keywords and fall over a
//!   boolean. `additionalProperties` and its like stay, every server knows them as booleans.
//! - A list of types becomes `anyOf`, each type with the keywords that concern it: Gemini, xAI and
//!   older grammar compilers read `type` as one string.
//! - `nullable`, which is `OpenAPI` and not JSON Schema, becomes a union with `null`.
//! - A type that is only implied by `properties`, `items` or the values is said, because a schema
//!   without a type compiles to "anything"; and an array says that its items are anything.
//! - `const` becomes an `enum` of one value: fewer compilers know the former.
//! - Draft 4's boolean `exclusiveMinimum` and `exclusiveMaximum` become bounds.
//! - `$schema`, `$id` and `$comment` go, as do markers of other vendors (`encrypted`): they say
//!   nothing to the model, and strict servers refuse words they do not know.
//! - `$ref` stays unless asked otherwise, and what it points to is rewritten in its place.

mod refs;
mod root;
#[cfg(test)]
mod tests;
mod types;
mod walk;

use std::borrow::Cow;

use serde::Deserialize;

use self::walk::Walk;
use super::tree::Tree;

/// The schema of a function without parameters.
pub const NO_PARAMETERS: &str = r#"{"type":"object","properties":{}}"#;

/// Which of the rewrites that some servers can do without are done. The first variants are safe
/// everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchemaRules {
    /// What becomes of `$ref` and the definitions.
    pub refs: Refs,
    /// What becomes of a list of types.
    pub type_lists: TypeLists,
    /// What becomes of `const`.
    pub constants: Constants,
    /// What becomes of `$schema`, `$id` and `$comment`.
    pub identifiers: Identifiers,
}

/// What becomes of `$ref` and the definitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refs {
    /// They stay, and the definitions are rewritten like the rest. Grammar compilers know them,
    /// and only they can say what is recursive.
    #[default]
    Keep,
    /// Each is replaced by what it points to, and the definitions go: for servers that know no
    /// `$ref` at all. What is recursive stops after three rounds with "an object".
    Inline,
}

/// What becomes of a list of types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeLists {
    /// It becomes an `anyOf` of single types.
    #[default]
    Split,
    /// It stays.
    Keep,
}

/// What becomes of `const`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constants {
    /// It becomes an `enum` of one value.
    #[default]
    ToEnum,
    /// It stays.
    Keep,
}

/// What becomes of `$schema`, `$id` and `$comment`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identifiers {
    /// They go.
    #[default]
    Drop,
    /// They stay.
    Keep,
}

/// Rewrites the schema of a tool's parameters; see the module for what and why.
///
/// Borrowed, and so byte for byte the same, exactly if nothing had to change. What is not an
/// object, or not JSON, becomes [`NO_PARAMETERS`].
///
/// ```
/// use antiphon::json::schema::{SchemaRules, normalize};
///
/// let schema = r#"{"properties":{"path":{"type":["string","null"],"description":"Where."}}}"#;
/// assert_eq!(
///     normalize(schema, &SchemaRules::default()),
///     r#"{"type":"object","properties":{"path":{"anyOf":[{"type":"string"},{"type":"null"}],"description":"Where."}}}"#,
/// );
/// ```
#[must_use]
pub fn normalize<'a>(raw: &'a str, rules: &SchemaRules) -> Cow<'a, str> {
    let Some(mut root) = Tree::parse(raw).filter(Tree::is_object) else {
        return Cow::Owned(NO_PARAMETERS.to_owned());
    };
    // Only references need the schema as it was; an escape may hide one.
    let may_refer = raw.contains("$ref") || raw.contains("\\u");
    let source = if may_refer { root.clone() } else { Tree::Null };
    let mut walk = Walk::new(rules, &source);
    walk.root(&mut root);
    walk.schema(&mut root, 0);
    if !walk.changed {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len() + NO_PARAMETERS.len());
    root.write(&mut out);
    Cow::Owned(out)
}
