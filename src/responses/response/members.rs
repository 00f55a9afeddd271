//! The top keys of a function tool, to show them as the API's own answers do: resolved.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json;
use crate::json::{self, Text};

/// Keys and their values as they came, in their order, each key once.
pub(super) struct Members<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The keys of a tool, if it is a function.
    pub(super) fn of_function(tool: &'a RawValue) -> Option<Self> {
        let members: Self = json::from_str(tool.get()).ok()?;
        let kind = Text::of_raw(members.get("type")?)?;
        (kind.as_str() == "function").then_some(members)
    }

    fn get(&self, key: &str) -> Option<&'a RawValue> {
        let hit = self.0.iter().find(|(known, _)| known.as_str() == key);
        hit.map(|(_, value)| *value)
    }

    /// Writes the object with `parameters`, `description` and `strict`, which clients may leave out
    /// and readers of an answer rely on.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut gap = b'{';
        let mut member = |key: &str, value: &str| {
            out.push(gap);
            gap = b',';
            json(out, key);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        };
        for (key, value) in &self.0 {
            match (key.as_str(), value.get()) {
                // Null is "as the API thinks best", and that is not strict here.
                ("strict", "null") => member(key, "false"),
                (key, value) => member(key, value),
            }
        }
        for (key, value) in [
            ("parameters", "null"),
            ("description", "null"),
            ("strict", "false"),
        ] {
            if self.get(key).is_none() {
                member(key, value);
            }
        }
        out.push(b'}');
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Text<'de>, &'de RawValue)> = Vec::with_capacity(8);
                while let Some((key, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    match members.iter_mut().find(|(known, _)| *known == key) {
                        // Of a key given twice, the last counts.
                        Some((_, known)) => *known = value,
                        None => members.push((key, value)),
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}
