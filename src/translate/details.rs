//! `reasoning_details` out of their fragments: the upstream wants the whole parts back.

use serde_json::value::RawValue;

use crate::json::Tree;
use crate::json::tree::Members;

/// Keys whose text comes in fragments.
const GROWING: [&str; 3] = ["text", "summary", "data"];

/// The parts of one answer's thinking.
#[derive(Debug, Default)]
pub(super) struct Details {
    parts: Vec<Part>,
}

/// One part: the members that are said once, and the texts that grow.
#[derive(Debug)]
struct Part {
    /// Key and JSON of each member, in the upstream's order; growing ones hold their place only.
    members: Vec<(String, String)>,
    growing: Vec<(&'static str, String)>,
}

impl Details {
    /// Takes a part, or a fragment that belongs to the last one: it has the same `type` and `index`.
    pub(super) fn push(&mut self, raw: &RawValue) {
        let Some(tree) = Tree::parse(raw.get()) else {
            return;
        };
        let Some(members) = tree.members() else {
            return;
        };
        let fragment = Part::new(members);
        match self.parts.last_mut() {
            Some(last) if last.continues(&fragment) => last.grow(fragment),
            _ => self.parts.push(fragment),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The parts, whole.
    pub(super) fn take(&mut self) -> Vec<Box<RawValue>> {
        std::mem::take(&mut self.parts)
            .into_iter()
            .filter_map(|part| RawValue::from_string(part.write()).ok())
            .collect()
    }
}

impl Part {
    fn new(members: &Members<'_>) -> Self {
        let mut this = Self {
            members: Vec::new(),
            growing: Vec::new(),
        };
        for (key, value) in members {
            let growing = GROWING.into_iter().find(|known| *known == key.as_ref());
            match (growing, value.as_str()) {
                (Some(key), Some(text)) => {
                    this.members.push((key.to_owned(), String::new()));
                    this.growing.push((key, text.to_owned()));
                }
                _ => {
                    let mut json = String::new();
                    value.write(&mut json);
                    this.members.push((key.to_string(), json));
                }
            }
        }
        this
    }

    fn member(&self, key: &str) -> Option<&str> {
        let found = self.members.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    fn continues(&self, fragment: &Self) -> bool {
        let index = self.member("index");
        index.is_some()
            && index == fragment.member("index")
            && self.member("type") == fragment.member("type")
    }

    fn grow(&mut self, fragment: Self) {
        for (key, text) in fragment.growing {
            match self.growing.iter_mut().find(|(known, _)| *known == key) {
                Some((_, whole)) => whole.push_str(&text),
                None => {
                    self.members.push((key.to_owned(), String::new()));
                    self.growing.push((key, text));
                }
            }
        }
        for (key, value) in fragment.members {
            if GROWING.contains(&key.as_str()) || value == "null" {
                continue;
            }
            // What is said again counts, a signature at the end most of all.
            match self.members.iter_mut().find(|(known, _)| *known == key) {
                Some((_, old)) => *old = value,
                None => self.members.push((key, value)),
            }
        }
    }

    fn write(&self) -> String {
        let mut out = String::from("{");
        for (key, value) in &self.members {
            if out.len() > 1 {
                out.push(',');
            }
            let grown = self.growing.iter().find(|(known, _)| known == key);
            Tree::string(key.clone()).write(&mut out);
            out.push(':');
            match grown {
                Some((_, text)) => Tree::string(text.clone()).write(&mut out),
                None => out.push_str(value),
            }
        }
        out.push('}');
        out
    }
}
