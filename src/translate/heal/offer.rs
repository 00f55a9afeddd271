//! The tools of a request, as far as calls in the text are measured by them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::{Tree, repair};
use crate::translate::tools::INPUT;

/// How many references of a schema are followed.
const MOST_REFERENCES: usize = 8;

/// What models put before the name of a tool that is in no namespace.
const NO_NAMESPACE: &str = "functions.";

/// A tool that was offered.
#[derive(Debug, Clone)]
pub(in crate::translate) struct Offer {
    /// The name under which it was.
    pub(in crate::translate) name: String,
    /// Its arguments' JSON Schema; read only when it is called.
    pub(in crate::translate) schema: Box<RawValue>,
    /// Its one argument is the text that a freeform tool takes.
    pub(in crate::translate) freeform: bool,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(in crate::translate) struct Offers(pub(in crate::translate) Vec<Offer>);

/// A call that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// A JSON object.
    pub(super) arguments: String,
}

impl Offers {
    /// The tool of that name, with or without the namespace that stands for none.
    pub(super) fn find(&self, name: &str) -> Option<&Offer> {
        let name = name.trim();
        let named = |name: &str| self.0.iter().find(|offer| offer.name == name);
        named(name).or_else(|| named(name.strip_prefix(NO_NAMESPACE)?))
    }
}

impl Offers {
    /// Whether text that goes on may come to hold a tool's name.
    pub(super) fn may_name(&self, begun: &str) -> bool {
        let begun = begun.trim_start();
        let begun = begun.strip_prefix('"').unwrap_or(begun);
        let own = begun.strip_prefix(NO_NAMESPACE).unwrap_or(begun);
        // Behind a name a number or an attribute may come, but no words.
        let ends = |rest: &str| {
            matches!(
                rest.trim_start().bytes().next(),
                None | Some(b':' | b'"' | b'.')
            )
        };
        let may_be = |name: &str| name.starts_with(own) || own.strip_prefix(name).is_some_and(ends);
        NO_NAMESPACE.starts_with(begun) || self.0.iter().any(|offer| may_be(&offer.name))
    }
}

impl Offer {
    /// A call with arguments in JSON: an object, or a string that holds one. What is text of a
    /// freeform tool's own becomes its argument.
    pub(super) fn call_with_json(&self, raw: &str) -> Option<Call> {
        let raw = mend(raw.trim());
        let arguments = match Tree::parse(&raw)? {
            Tree::Object(_) => raw.clone().into_owned(),
            Tree::Null => "{}".into(),
            Tree::String(text) => match mend(text.trim()) {
                inner if is_object(&inner) => inner.into_owned(),
                _ if self.freeform => return Some(self.call_with_text(&text)),
                inner if inner.is_empty() => "{}".into(),
                _ => return None,
            },
            _ => return None,
        };
        Some(self.call(arguments))
    }

    /// A call of a freeform tool.
    pub(super) fn call_with_text(&self, text: &str) -> Call {
        let mut arguments = String::new();
        Tree::Object(vec![(INPUT.into(), Tree::string(text))]).write(&mut arguments);
        self.call(arguments)
    }

    /// A call with arguments each of which was written apart.
    pub(super) fn call_with_values(&self, values: Vec<(&str, Value<'_>)>) -> Option<Call> {
        let schema = Tree::parse(self.schema.get())?;
        let members = values.into_iter().map(|(key, value)| {
            let value = match value {
                Value::Text(text) => Tree::string(text),
                Value::Json(text) => Tree::parse(text).unwrap_or_else(|| Tree::string(text)),
                Value::Plain(text) => typed(text, &schema, property(&schema, key)),
            };
            (Cow::Borrowed(key), value)
        });
        let mut arguments = String::new();
        Tree::Object(members.collect()).write(&mut arguments);
        Some(self.call(arguments))
    }

    /// Whether an object has all that the tool cannot do without.
    pub(super) fn is_fit(&self, arguments: &str) -> bool {
        let Some(arguments) = Tree::parse(arguments).filter(Tree::is_object) else {
            return false;
        };
        self.required().iter().all(|key| arguments.has(key))
    }

    /// The keys that the tool cannot do without.
    pub(super) fn required(&self) -> Vec<String> {
        let schema = Tree::parse(self.schema.get());
        let required = schema.as_ref().and_then(|schema| schema.get("required"));
        let keys = required.and_then(Tree::as_array).unwrap_or_default();
        keys.iter()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .collect()
    }

    fn call(&self, arguments: String) -> Call {
        Call {
            name: self.name.clone(),
            arguments,
        }
    }
}

/// An argument that was written apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'v> {
    /// Text, whatever the schema says.
    Text(&'v str),
    /// JSON, whatever the schema says.
    Json(&'v str),
    /// What the schema says.
    Plain(&'v str),
}

/// The schema of a member.
fn property<'s, 'a>(schema: &'s Tree<'a>, key: &str) -> Option<&'s Tree<'a>> {
    let schema = resolve(schema, schema);
    let own = schema.get("properties").and_then(|all| all.get(key));
    own.or_else(|| {
        schema
            .get("additionalProperties")
            .filter(|rest| rest.is_object())
    })
}

/// Follows references within the document.
fn resolve<'s, 'a>(root: &'s Tree<'a>, mut schema: &'s Tree<'a>) -> &'s Tree<'a> {
    for _ in 0..MOST_REFERENCES {
        let path = schema.get("$ref").and_then(Tree::as_str);
        let Some(path) = path.and_then(|path| path.strip_prefix("#/")) else {
            break;
        };
        let Some(target) = path.split('/').try_fold(root, |at, key| at.get(key)) else {
            break;
        };
        schema = target;
    }
    schema
}

/// A value of the first of the types that the schema names and the text fits.
fn typed<'v>(text: &'v str, root: &Tree<'_>, schema: Option<&Tree<'_>>) -> Tree<'v> {
    let mut types = Vec::new();
    if let Some(schema) = schema {
        gather_types(root, schema, 0, &mut types);
    }
    let trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("null") && types.contains(&Type::Null) {
        return Tree::Null;
    }
    types
        .iter()
        .find_map(|kind| kind.read(text, trimmed))
        .unwrap_or_else(|| Tree::string(text))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Type {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "number" | "integer" => Self::Number,
            "string" => Self::String,
            "array" => Self::Array,
            "object" => Self::Object,
            _ => return None,
        })
    }

    fn of(value: &Tree<'_>) -> Self {
        match value {
            Tree::Null => Self::Null,
            Tree::Bool(_) => Self::Boolean,
            Tree::Number(_) => Self::Number,
            Tree::String(_) => Self::String,
            Tree::Array(_) => Self::Array,
            Tree::Object(_) | Tree::Raw(_) => Self::Object,
        }
    }

    fn read<'v>(self, text: &'v str, trimmed: &'v str) -> Option<Tree<'v>> {
        match self {
            Self::String => Some(Tree::string(text)),
            // Models that were brought up on Python write its words.
            Self::Boolean if trimmed.eq_ignore_ascii_case("true") => Some(Tree::Bool(true)),
            Self::Boolean if trimmed.eq_ignore_ascii_case("false") => Some(Tree::Bool(false)),
            Self::Null if matches!(trimmed, "null" | "None") => Some(Tree::Null),
            Self::Boolean | Self::Null => None,
            Self::Number | Self::Array | Self::Object => {
                Tree::parse(trimmed).filter(|value| Self::of(value) == self)
            }
        }
    }
}

/// The types that a schema allows, in its order.
fn gather_types(root: &Tree<'_>, schema: &Tree<'_>, depth: usize, types: &mut Vec<Type>) {
    if depth > MOST_REFERENCES {
        return;
    }
    let schema = resolve(root, schema);
    let mut add = |kind: Option<Type>| types.extend(kind);
    match schema.get("type") {
        Some(Tree::String(name)) => add(Type::named(name)),
        Some(Tree::Array(names)) => names
            .iter()
            .for_each(|name| add(name.as_str().and_then(Type::named))),
        _ => {}
    }
    if !types.is_empty() {
        return;
    }
    let values = schema.get("enum").and_then(Tree::as_array);
    types.extend(values.unwrap_or_default().iter().map(Type::of));
    types.extend(schema.get("const").map(Type::of));
    for key in ["anyOf", "oneOf", "allOf"] {
        let choices = schema.get(key).and_then(Tree::as_array);
        for choice in choices.unwrap_or_default() {
            let mut own = Vec::new();
            gather_types(root, choice, depth + 1, &mut own);
            types.extend(own);
        }
    }
}

/// Near-JSON as JSON: models write line feeds and tabs into strings as they are.
pub(super) fn mend(raw: &str) -> Cow<'_, str> {
    let escaped = escape_controls(raw);
    match repair(escaped.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(mended) => Cow::Owned(mended),
        None => escaped,
    }
}

fn escape_controls(raw: &str) -> Cow<'_, str> {
    if !raw.bytes().any(|byte| byte < b' ') {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len() + 16);
    let (mut in_string, mut escaped) = (false, false);
    for c in raw.chars() {
        match c {
            '\n' if in_string => out.push_str("\\n"),
            '\r' if in_string => out.push_str("\\r"),
            '\t' if in_string => out.push_str("\\t"),
            c if in_string && c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
    }
    Cow::Owned(out)
}

fn is_object(text: &str) -> bool {
    text.starts_with('{') && Tree::parse(text).is_some()
}
