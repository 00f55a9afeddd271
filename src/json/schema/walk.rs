//! Goes through a schema and rewrites each schema in it.

use super::refs::BUDGET;
use super::{Constants, Identifiers, Refs, SchemaRules};
use crate::json::tree::Tree;

/// One pass over a schema.
pub(super) struct Walk<'a, 's> {
    pub(super) rules: &'s SchemaRules,
    /// The schema as it was, where references point into.
    pub(super) source: &'s Tree<'a>,
    /// The references that the schema at hand came out of, outermost first.
    pub(super) active: Vec<String>,
    /// How many more values may be copied for references.
    pub(super) budget: usize,
    /// Whether anything was rewritten. Whatever rewrites must set it.
    pub(super) changed: bool,
}

impl<'a, 's> Walk<'a, 's> {
    pub(super) fn new(rules: &'s SchemaRules, source: &'s Tree<'a>) -> Self {
        Self {
            rules,
            source,
            active: Vec::new(),
            budget: BUDGET,
            changed: false,
        }
    }

    /// Rewrites one schema and those inside of it. `depth` counts schemas, not JSON.
    pub(super) fn schema(&mut self, node: &mut Tree<'a>, depth: usize) {
        match node {
            Tree::Object(_) => {}
            Tree::Bool(true) | Tree::Null => {
                self.changed = true;
                *node = Tree::object();
            }
            Tree::Bool(false) => {
                self.changed = true;
                *node = nothing();
            }
            // Not a schema, or too deep to look into.
            Tree::Number(_) | Tree::String(_) | Tree::Array(_) | Tree::Raw(_) => {}
        }
        let outer = self.active.len();
        if self.rules.refs == Refs::Inline {
            self.inline(node, depth);
        }
        self.drop_markers(node);
        self.bounds(node);
        self.constant(node);
        self.types(node);
        self.children(node, depth + 1);
        self.active.truncate(outer);
    }

    /// Rewrites the schemas directly inside of this one.
    fn children(&mut self, node: &mut Tree<'a>, depth: usize) {
        // Behind `prefixItems`, `items: false` says that the tuple is closed.
        let tuple = node.has("prefixItems");
        let Some(members) = node.members_mut() else {
            return;
        };
        for (key, value) in members {
            match (&**key, value) {
                (
                    "properties" | "patternProperties" | "$defs" | "definitions"
                    | "dependentSchemas" | "dependencies",
                    Tree::Object(schemas),
                ) => {
                    for (_, schema) in schemas {
                        self.schema(schema, depth);
                    }
                }
                ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Tree::Array(schemas)) => {
                    for schema in schemas {
                        self.schema(schema, depth);
                    }
                }
                ("items", Tree::Bool(false)) if tuple => {}
                (
                    "additionalProperties"
                    | "additionalItems"
                    | "unevaluatedProperties"
                    | "unevaluatedItems",
                    Tree::Bool(_),
                ) => {}
                (
                    "items"
                    | "additionalProperties"
                    | "additionalItems"
                    | "unevaluatedProperties"
                    | "unevaluatedItems"
                    | "not"
                    | "if"
                    | "then"
                    | "else"
                    | "contains"
                    | "propertyNames",
                    schema,
                ) => self.schema(schema, depth),
                _ => {}
            }
        }
    }

    /// Takes out what is of no use to the model, and may be refused.
    fn drop_markers(&mut self, node: &mut Tree<'a>) {
        self.drop_key(node, "encrypted");
        if self.rules.identifiers == Identifiers::Drop {
            for key in ["$schema", "$id", "$comment"] {
                self.drop_key(node, key);
            }
        }
        if self.rules.refs == Refs::Inline {
            for key in ["$defs", "definitions"] {
                self.drop_key(node, key);
            }
        }
    }

    /// Turns draft 4's `minimum: 5, exclusiveMinimum: true` into `exclusiveMinimum: 5`.
    fn bounds(&mut self, node: &mut Tree<'a>) {
        for (bound, exclusive) in [
            ("minimum", "exclusiveMinimum"),
            ("maximum", "exclusiveMaximum"),
        ] {
            let Some(&Tree::Bool(on)) = node.get(exclusive) else {
                continue;
            };
            self.drop_key(node, exclusive);
            if on && let Some(key) = key_mut(node, bound) {
                *key = exclusive.into();
            }
        }
    }

    /// Turns `const` into an `enum` of one value.
    fn constant(&mut self, node: &mut Tree<'a>) {
        if self.rules.constants == Constants::Keep || !node.has("const") {
            return;
        }
        self.drop_key(node, "enum");
        if let Some(value) = node.get_mut("const") {
            self.changed = true;
            *value = Tree::Array(vec![std::mem::replace(value, Tree::Null)]);
        }
        if let Some(key) = key_mut(node, "const") {
            *key = "enum".into();
        }
    }

    /// Takes out a keyword, if it is there.
    pub(super) fn drop_key(&mut self, node: &mut Tree<'a>, key: &str) {
        self.changed |= node.remove(key).is_some();
    }
}

/// The schema that nothing fits.
pub(super) fn nothing<'a>() -> Tree<'a> {
    Tree::Object(vec![("not".into(), Tree::object())])
}

/// A key of an object, to be renamed in its place.
fn key_mut<'t, 'a>(node: &'t mut Tree<'a>, key: &str) -> Option<&'t mut std::borrow::Cow<'a, str>> {
    let members = node.members_mut()?;
    members.iter_mut().map(|(k, _)| k).find(|k| *k == key)
}
