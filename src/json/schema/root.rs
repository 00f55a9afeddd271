//! Makes the root of a schema one plain object.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::refs::{splice, target};
use super::walk::Walk;
use crate::json::tree::{Members, Tree};

/// How deep unions within the root's unions are merged, and how many references lead on to another.
const HOPS: usize = 8;

/// Among how many repeats are looked for. More of them do no harm, and looking at all would take
/// quadratic time.
const LOOK_BACK: usize = 256;

/// How the branches of a union stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Union {
    /// All hold: what one requires is required.
    All,
    /// One holds: what every one requires is required.
    Any,
}

impl<'a> Walk<'a, '_> {
    /// Makes the root `{"type":"object","properties":{…}}`.
    pub(super) fn root(&mut self, node: &mut Tree<'a>) {
        self.merge(node, 0);
        // Arguments are never null.
        self.drop_key(node, "nullable");
        if node.get("type").and_then(Tree::as_str) != Some("object") {
            self.changed = true;
            place(node, "type", Tree::string("object"), 0);
        }
        self.changed |= list_properties(node);
    }

    /// Resolves the `$ref` of an object and merges its unions into it.
    fn merge(&mut self, node: &mut Tree<'a>, depth: usize) {
        for hop in 0.. {
            let Some(reference) = node.get("$ref") else {
                break;
            };
            self.changed = true;
            match target(self.source, reference.as_str().unwrap_or_default()) {
                Some(target) if hop < HOPS && self.afford(target) => splice(node, target.clone()),
                _ => {
                    node.remove("$ref");
                }
            }
        }
        for (key, union) in [
            ("allOf", Union::All),
            ("anyOf", Union::Any),
            ("oneOf", Union::Any),
        ] {
            let Some(list) = node.remove(key) else {
                continue;
            };
            self.changed = true;
            let Tree::Array(mut branches) = list else {
                continue;
            };
            if depth >= HOPS {
                continue;
            }
            for branch in &mut branches {
                self.merge(branch, depth + 1);
            }
            branches.retain(may_be_object);
            absorb(node, branches, union);
        }
    }
}

/// Gives a schema that has none an empty list of properties, where people write it; says whether
/// that was so.
fn list_properties(node: &mut Tree<'_>) -> bool {
    if node.get("properties").is_some_and(Tree::is_object) {
        return false;
    }
    let is_type = |(key, _): &(Cow<'_, str>, Tree<'_>)| key == "type";
    let at = node
        .members()
        .and_then(|members| members.iter().position(is_type));
    place(
        node,
        "properties",
        Tree::object(),
        at.map_or(0, |at| at + 1),
    );
    true
}

/// Whether an object may fit the schema.
fn may_be_object(branch: &Tree<'_>) -> bool {
    branch.is_object()
        && match branch.get("type") {
            Some(Tree::Array(list)) => list.contains(&Tree::string("object")),
            Some(Tree::String(name)) => name == "object",
            _ => true,
        }
}

/// Takes over into `node` what its branches say.
fn absorb<'a>(node: &mut Tree<'a>, branches: Vec<Tree<'a>>, union: Union) {
    if branches.is_empty() {
        return;
    }
    list_properties(node);
    require(node, &branches, union);
    let closed = |branch: &Tree<'a>| branch.get("additionalProperties") == Some(&Tree::Bool(false));
    if !node.has("additionalProperties") && branches.iter().all(closed) {
        node.insert("additionalProperties", Tree::Bool(false));
    }
    let mut properties = Properties::default();
    if let Some(Tree::Object(own)) = node.get_mut("properties") {
        for (name, schema) in std::mem::take(own) {
            properties.add(name, schema);
        }
    }
    let keys = node.members().into_iter().flatten().map(|(key, _)| key);
    let mut known: HashSet<Cow<'a, str>> = keys.cloned().collect();
    let mut descriptions = Vec::new();
    let mut others = Vec::new();
    for (key, value) in branches.into_iter().flat_map(into_members) {
        match (&*key, value) {
            ("properties", Tree::Object(members)) => {
                for (name, schema) in members {
                    properties.add(name, schema);
                }
            }
            ("description", Tree::String(text)) => descriptions.push(text),
            ("type" | "properties" | "required" | "additionalProperties", _) => {}
            (word, value) => {
                let taken = union == Union::All || matches!(word, "$defs" | "definitions");
                if taken && known.insert(key.clone()) {
                    others.push((key, value));
                }
            }
        }
    }
    if let Some(members) = node.members_mut() {
        members.extend(others);
    }
    describe(node, descriptions);
    if !properties.schemas.is_empty() {
        node.insert("properties", properties.united());
    }
}

fn into_members(tree: Tree<'_>) -> Members<'_> {
    match tree {
        Tree::Object(members) => members,
        _ => Vec::new(),
    }
}

/// The properties of several objects, each with the different schemas it has among them.
#[derive(Default)]
struct Properties<'a> {
    schemas: Vec<(Cow<'a, str>, Vec<Tree<'a>>)>,
    places: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Properties<'a> {
    fn add(&mut self, name: Cow<'a, str>, schema: Tree<'a>) {
        let place = *self
            .places
            .entry(name.clone())
            .or_insert(self.schemas.len());
        match self.schemas.get_mut(place) {
            Some((_, schemas)) if schemas.iter().take(LOOK_BACK).any(|known| *known == schema) => {}
            Some((_, schemas)) => schemas.push(schema),
            None => self.schemas.push((name, vec![schema])),
        }
    }

    fn united(self) -> Tree<'a> {
        let members = self.schemas.into_iter();
        Tree::Object(
            members
                .map(|(name, schemas)| (name, united(schemas)))
                .collect(),
        )
    }
}

/// Adds to what `node` requires what its branches do.
fn require<'a>(node: &mut Tree<'a>, branches: &[Tree<'a>], union: Union) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for branch in branches {
        let names: HashSet<&str> = required(branch).iter().filter_map(Tree::as_str).collect();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
    }
    let mut all = required(node).to_vec();
    let own = all.len();
    for name in required(node).iter().filter_map(Tree::as_str) {
        counts.remove(name);
    }
    for name in branches.iter().flat_map(required) {
        let count = name.as_str().and_then(|name| counts.remove(name));
        if count.is_some_and(|count| union == Union::All || count == branches.len()) {
            all.push(name.clone());
        }
    }
    if all.len() > own {
        node.insert("required", Tree::Array(all));
    }
}

fn required<'t, 'a>(schema: &'t Tree<'a>) -> &'t [Tree<'a>] {
    let names = schema.get("required").and_then(Tree::as_array);
    names.unwrap_or_default()
}

/// Adds lines to the description of `node`, unless they are there.
fn describe<'a>(node: &mut Tree<'a>, lines: Vec<Cow<'a, str>>) {
    if lines.is_empty() {
        return;
    }
    let own = node.get("description").and_then(Tree::as_str);
    let mut seen: HashSet<Cow<'a, str>> = HashSet::new();
    let mut all = own.unwrap_or_default().to_owned();
    seen.insert(all.clone().into());
    for line in lines {
        if seen.insert(line.clone()) {
            if !all.is_empty() {
                all.push('\n');
            }
            all.push_str(&line);
        }
    }
    node.insert("description", Tree::string(all));
}

/// One schema for a property that several branches have. Values that are listed, as of the
/// property that tells the branches apart, become one list.
fn united<'a>(mut schemas: Vec<Tree<'a>>) -> Tree<'a> {
    let says = |schema: &Tree<'a>| !matches!(schema, Tree::Bool(true)) && *schema != Tree::object();
    if schemas.iter().any(says) {
        schemas.retain(says);
    }
    if schemas.len() < 2 {
        return schemas.pop().unwrap_or_else(Tree::object);
    }
    let lists: Option<Vec<_>> = schemas.iter().map(values).collect();
    let lists = lists.unwrap_or_default();
    let alike = |lists: &[(Members<'a>, Vec<Tree<'a>>)]| match lists {
        [(one, _), others @ ..] => others.iter().all(|(other, _)| one == other),
        [] => false,
    };
    if !alike(&lists) {
        return Tree::Object(vec![("anyOf".into(), Tree::Array(schemas))]);
    }
    let mut all: Vec<Tree<'a>> = Vec::new();
    for value in lists.into_iter().flat_map(|(_, values)| values) {
        if !all.iter().take(LOOK_BACK).any(|known| *known == value) {
            all.push(value);
        }
    }
    let mut first = schemas.swap_remove(0);
    first.remove("const");
    first.insert("enum", Tree::Array(all));
    first
}

/// A schema that lists values, taken apart into the rest of it and the values.
fn values<'a>(schema: &Tree<'a>) -> Option<(Members<'a>, Vec<Tree<'a>>)> {
    let values = match (schema.get("const"), schema.get("enum")) {
        (Some(value), None) => vec![value.clone()],
        (None, Some(Tree::Array(values))) => values.clone(),
        _ => return None,
    };
    let listing = |key: &str| key == "const" || key == "enum";
    let rest = schema.members()?.iter().filter(|(key, _)| !listing(key));
    Some((rest.cloned().collect(), values))
}

/// Sets `key` where it is, or puts it at `at`.
fn place<'a>(node: &mut Tree<'a>, key: &'static str, value: Tree<'a>, at: usize) {
    if let Some(slot) = node.get_mut(key) {
        *slot = value;
    } else if let Some(members) = node.members_mut() {
        members.insert(at.min(members.len()), (key.into(), value));
    }
}
