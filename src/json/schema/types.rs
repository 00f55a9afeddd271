//! Gives each schema exactly one type, or a union of schemas that have one.

use std::borrow::Cow;

use super::TypeLists;
use super::walk::Walk;
use crate::json::tree::{Members, Tree};

/// Which values a keyword speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concerns {
    /// Those of one type.
    Type(&'static str),
    /// Strings and numbers, each with names of its own.
    Format,
    /// All values: it tells which are allowed.
    Values,
    /// All values: it holds further schemas.
    Schemas,
    /// None: it is there for the reader.
    Reader,
}

fn concerns(key: &str) -> Concerns {
    match key {
        "minLength" | "maxLength" | "pattern" | "contentEncoding" | "contentMediaType"
        | "contentSchema" => Concerns::Type("string"),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
            Concerns::Type("number")
        }
        "properties"
        | "required"
        | "additionalProperties"
        | "patternProperties"
        | "propertyNames"
        | "minProperties"
        | "maxProperties"
        | "dependentRequired"
        | "dependentSchemas"
        | "dependencies"
        | "unevaluatedProperties" => Concerns::Type("object"),
        "items" | "prefixItems" | "additionalItems" | "contains" | "minContains"
        | "maxContains" | "minItems" | "maxItems" | "uniqueItems" | "unevaluatedItems" => {
            Concerns::Type("array")
        }
        "format" => Concerns::Format,
        "enum" | "const" => Concerns::Values,
        "$ref" | "anyOf" | "oneOf" | "allOf" | "not" | "if" | "then" | "else" => Concerns::Schemas,
        _ => Concerns::Reader,
    }
}

fn is_type(name: &str) -> bool {
    matches!(
        name,
        "string" | "number" | "integer" | "boolean" | "object" | "array" | "null"
    )
}

impl<'a> Walk<'a, '_> {
    /// Does everything that has to do with types, each step on what the one before left.
    pub(super) fn types(&mut self, node: &mut Tree<'a>) {
        self.tidy_type(node);
        self.infer(node);
        self.nullable(node);
        if self.rules.type_lists == TypeLists::Split {
            self.split(node);
        }
        self.any_items(node);
    }

    /// Leaves of `type` a string, or a list of at least two different types.
    fn tidy_type(&mut self, node: &mut Tree<'a>) {
        let Some(value) = node.get_mut("type") else {
            return;
        };
        match value {
            Tree::String(_) => return,
            Tree::Array(list) => {
                let mut kept: Vec<Tree<'a>> = Vec::with_capacity(list.len());
                for name in list.iter() {
                    if name.as_str().is_some_and(is_type) && !kept.contains(name) {
                        kept.push(name.clone());
                    }
                }
                if kept.len() > 1 {
                    self.changed |= kept.len() != list.len();
                    *list = kept;
                    return;
                }
                self.changed = true;
                if let Some(name) = kept.pop() {
                    *value = name;
                    return;
                }
            }
            _ => {}
        }
        self.drop_key(node, "type");
    }

    /// Says the type that the other keywords imply.
    fn infer(&mut self, node: &mut Tree<'a>) {
        if node.has("type") || node.has("$ref") {
            return;
        }
        let text = |value: &Tree<'a>| value.as_str().is_some();
        let name = if node.get("properties").is_some_and(Tree::is_object) {
            "object"
        } else if node.has("items") || node.has("prefixItems") {
            "array"
        } else if node.get("const").is_some_and(text)
            || node
                .get("enum")
                .and_then(Tree::as_array)
                .is_some_and(|values| !values.is_empty() && values.iter().all(text))
        {
            "string"
        } else {
            return;
        };
        if let Some(members) = node.members_mut() {
            self.changed = true;
            members.insert(0, ("type".into(), Tree::string(name)));
        }
    }

    /// Turns `nullable` into a type `null` beside the others.
    fn nullable(&mut self, node: &mut Tree<'a>) {
        let Some(nullable) = node.remove("nullable") else {
            return;
        };
        self.changed = true;
        if nullable != Tree::Bool(true) {
            return;
        }
        // Null has to be among the values too, or it would still not be allowed.
        if let Some(value) = node.remove("const") {
            node.insert("enum", Tree::Array(vec![value]));
        }
        let mut listed = false;
        if let Some(Tree::Array(values)) = node.get_mut("enum") {
            listed = true;
            if !values.contains(&Tree::Null) {
                values.push(Tree::Null);
            }
        }
        let null = Tree::string("null");
        match node.get_mut("type") {
            Some(Tree::Array(list)) => {
                list.retain(|name| *name != null);
                list.push(null);
            }
            Some(name) if *name != null => {
                let name_alone = std::mem::replace(name, Tree::Null);
                *name = Tree::Array(vec![name_alone, null]);
            }
            None if !listed => nullable_untyped(node),
            _ => {}
        }
    }

    /// Turns a list of types into a union.
    fn split(&mut self, node: &mut Tree<'a>) {
        let Some(list) = node.get("type").and_then(Tree::as_array) else {
            return;
        };
        let mut names: Vec<Cow<'a, str>> = Vec::with_capacity(list.len());
        for name in list {
            if let Tree::String(name) = name {
                names.push(name.clone());
            }
        }
        let values = match (node.get("const"), node.get("enum")) {
            (Some(value), _) => Some(std::slice::from_ref(value)),
            (None, values) => values.and_then(Tree::as_array),
        };
        // Where the values are listed, a type without values allows nothing.
        let mut possible = names.clone();
        if let Some(values) = values {
            possible.retain(|name| values.iter().any(|value| fits(value, name, &names)));
        }
        match (&*possible, names.first()) {
            ([], Some(name)) => {
                node.insert("type", Tree::String(name.clone()));
            }
            ([name], _) => {
                if let Some(Tree::Array(values)) = node.get_mut("enum") {
                    values.retain(|value| fits(value, name, &names));
                }
                node.insert("type", Tree::String(name.clone()));
            }
            _ if !unite(node, &possible) => return,
            _ => {}
        }
        self.changed = true;
    }

    /// Says that the items of an array are anything where nothing is said of them, since Gemini
    /// and OpenAI refuse an array without `items`.
    fn any_items(&mut self, node: &mut Tree<'a>) {
        let array = match node.get("type") {
            Some(Tree::Array(list)) => list.contains(&Tree::string("array")),
            Some(name) => name.as_str() == Some("array"),
            None => false,
        };
        if array
            && !["items", "prefixItems", "$ref"]
                .iter()
                .any(|key| node.has(key))
        {
            self.changed = true;
            node.insert("items", Tree::object());
        }
    }
}

/// Lets a schema that names no type allow null as well.
fn nullable_untyped(node: &mut Tree<'_>) {
    let null = || Tree::Object(vec![("type".into(), Tree::string("null"))]);
    for key in ["anyOf", "oneOf"] {
        if let Some(Tree::Array(branches)) = node.get_mut(key) {
            let has_null =
                |branch: &Tree<'_>| branch.get("type").and_then(Tree::as_str) == Some("null");
            if !branches.iter().any(has_null) {
                branches.push(null());
            }
            return;
        }
    }
    let Some(members) = node.members_mut() else {
        return;
    };
    let (reader, rest): (Members<'_>, Members<'_>) = std::mem::take(members)
        .into_iter()
        .partition(|(key, _)| concerns(key) == Concerns::Reader);
    *members = reader;
    // Without any constraint null was allowed all along.
    if !rest.is_empty() {
        let union = Tree::Array(vec![Tree::Object(rest), null()]);
        members.push(("anyOf".into(), union));
    }
}

/// Puts a union of single types in the place of the list; false if there is no place for it.
fn unite<'a>(node: &mut Tree<'a>, names: &[Cow<'a, str>]) -> bool {
    let others = names.iter().filter(|name| *name != "null").count();
    // With one type beside null, everything that is said is about that type. Else the schemas
    // inside stay where they are, as they are about all of the types.
    let alone = others == 1;
    let Some(slot) = ["anyOf", "oneOf"]
        .into_iter()
        .find(|key| alone || !node.has(key))
    else {
        return false;
    };
    let Some(members) = node.members_mut() else {
        return false;
    };
    let (mut inner, mut outer): (Members<'a>, Members<'a>) = (Vec::new(), Vec::new());
    for (key, value) in std::mem::take(members) {
        if key == "type" {
            // The union goes where the list was.
            outer.push((slot.into(), Tree::Null));
            if alone {
                inner.push((key, value));
            }
            continue;
        }
        match concerns(&key) {
            Concerns::Schemas if !alone => outer.push((key, value)),
            Concerns::Reader => outer.push((key, value)),
            _ => inner.push((key, value)),
        }
    }
    let branches = names.iter().map(|name| {
        if name == "null" {
            return Tree::Object(vec![("type".into(), Tree::string("null"))]);
        }
        branch(&inner, name, names, alone)
    });
    let union = Tree::Array(branches.collect());
    if let Some((_, value)) = outer.iter_mut().find(|(key, _)| key == slot) {
        *value = union;
    }
    *members = outer;
    true
}

/// The branch of a union that is about one type.
fn branch<'a>(
    inner: &Members<'a>,
    name: &Cow<'a, str>,
    names: &[Cow<'a, str>],
    alone: bool,
) -> Tree<'a> {
    let mut members: Members<'a> = Vec::new();
    if !alone {
        members.push(("type".into(), Tree::String(name.clone())));
    }
    let number = matches!(&**name, "number" | "integer");
    for (key, value) in inner {
        if alone && key == "type" {
            members.push((key.clone(), Tree::String(name.clone())));
            continue;
        }
        let belongs = alone
            || match concerns(key) {
                Concerns::Type("number") => number,
                Concerns::Type(of) => of == name,
                Concerns::Format if names.iter().any(|name| name == "string") => name == "string",
                Concerns::Format => number,
                Concerns::Values => true,
                Concerns::Schemas | Concerns::Reader => false,
            };
        if !belongs {
            continue;
        }
        let mut value = value.clone();
        if key == "enum"
            && let Tree::Array(values) = &mut value
        {
            values.retain(|value| fits(value, name, names));
        }
        members.push((key.clone(), value));
    }
    Tree::Object(members)
}

/// Whether `value` is of the type `name`, where all of `names` are to choose from: a whole number
/// is an integer if that is among them.
fn fits(value: &Tree<'_>, name: &str, names: &[Cow<'_, str>]) -> bool {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    match (value, name) {
        (Tree::Null, "null")
        | (Tree::Bool(_), "boolean")
        | (Tree::String(_), "string")
        | (Tree::Array(_), "array")
        | (Tree::Object(_), "object") => true,
        (Tree::Number(text), "integer") => !text.contains(['.', 'e', 'E']) || !has("number"),
        (Tree::Number(text), "number") => text.contains(['.', 'e', 'E']) || !has("integer"),
        (Tree::Raw(text), "array") => text.starts_with('['),
        (Tree::Raw(text), "object") => text.starts_with('{'),
        _ => false,
    }
}
