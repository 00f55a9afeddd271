//! Finds what a `$ref` points to, and puts it in its place.

use std::borrow::Cow;

use super::walk::{Walk, nothing};
use crate::json::tree::Tree;

/// How many JSON values one schema may grow by: definitions that name each other twice double with
/// every level.
pub(super) const BUDGET: usize = 10_000;

/// How often a definition may be inside of itself.
const ROUNDS: usize = 3;

/// How many schemas deep a reference may be and still be replaced.
const DEPTH: usize = 64;

impl<'a> Walk<'a, '_> {
    /// Replaces the `$ref` of a schema, and those that this brings, by what they point to.
    ///
    /// What is replaced is noted as active; the caller takes it off the list when it is done with
    /// the schema.
    pub(super) fn inline(&mut self, node: &mut Tree<'a>, depth: usize) {
        while let Some(reference) = node.get("$ref") {
            self.changed = true;
            let pointer = reference.as_str().unwrap_or_default().to_owned();
            let Some(target) = target(self.source, &pointer) else {
                // It is somewhere out of reach, for the server too.
                node.remove("$ref");
                continue;
            };
            let rounds = self.active.iter().filter(|p| **p == pointer).count();
            if rounds >= ROUNDS || depth > DEPTH || !self.afford(target) {
                node.remove("$ref");
                if !node.has("type") {
                    node.insert("type", Tree::string("object"));
                }
                continue;
            }
            splice(node, target.clone());
            self.active.push(pointer);
        }
    }

    /// Whether a copy of `tree` is within the budget; if so it is paid for.
    pub(super) fn afford(&mut self, tree: &Tree<'a>) -> bool {
        match self.budget.checked_sub(size(tree)) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => false,
        }
    }
}

/// Puts the keywords of `target` in the place of the node's `$ref`. What the node says itself, such
/// as its description, goes before what the target says.
pub(super) fn splice<'a>(node: &mut Tree<'a>, target: Tree<'a>) {
    let target = match target {
        Tree::Bool(false) => nothing(),
        other => other,
    };
    let Some(members) = node.members_mut() else {
        return;
    };
    let Some(at) = members.iter().position(|(key, _)| key == "$ref") else {
        return;
    };
    let tail = members.split_off(at);
    let mut tail = tail.into_iter();
    tail.next();
    let tail: Vec<_> = tail.collect();
    if let Tree::Object(target) = target {
        for (key, value) in target {
            let said = |(k, _): &(Cow<'a, str>, Tree<'a>)| *k == key;
            if !members.iter().any(said) && !tail.iter().any(said) {
                members.push((key, value));
            }
        }
    }
    members.extend(tail);
}

/// What a reference within the document points to.
pub(super) fn target<'t, 'a>(source: &'t Tree<'a>, reference: &str) -> Option<&'t Tree<'a>> {
    let pointer = percent_decoded(reference.strip_prefix('#')?);
    if pointer.is_empty() {
        return Some(source);
    }
    let mut at = source;
    for step in pointer.strip_prefix('/')?.split('/') {
        let step = step.replace("~1", "/").replace("~0", "~");
        at = match at {
            Tree::Array(elements) => elements.get(step.parse::<usize>().ok()?)?,
            object => object.get(&step)?,
        };
    }
    Some(at)
}

/// A fragment of a URL as text. What is not well-formed stays as it is.
fn percent_decoded(fragment: &str) -> Cow<'_, str> {
    if !fragment.contains('%') {
        return Cow::Borrowed(fragment);
    }
    let mut parts = fragment.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part
            .get(..2)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(fragment), Cow::Owned)
}

/// How many values a tree has.
fn size(tree: &Tree<'_>) -> usize {
    match tree {
        Tree::Array(elements) => elements.iter().map(size).fold(1, usize::saturating_add),
        Tree::Object(members) => {
            let sizes = members.iter().map(|(_, value)| size(value));
            sizes.fold(1, usize::saturating_add)
        }
        _ => 1,
    }
}
