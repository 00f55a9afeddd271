//! The members of an object whose values stay unread.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Text;

/// Most objects have fewer members, of which repeats are found without allocating.
const FEW: usize = 16;

/// Keys and their values as they came, in their order, each key once.
#[derive(Debug, Default)]
pub struct Members<'a> {
    members: Vec<(Text<'a>, &'a RawValue)>,
    repeats: bool,
}

impl<'a> Members<'a> {
    /// The value at `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a RawValue> {
        let hit = self.members.iter().find(|(known, _)| known.as_str() == key);
        hit.map(|(_, value)| *value)
    }

    /// Whether there is a value at `key`.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The text at `key`, if it is one.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<Text<'a>> {
        Text::of_raw(self.get(key)?)
    }

    /// All members, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
    }

    /// Whether a key was there more than once.
    #[must_use]
    pub fn had_repeats(&self) -> bool {
        self.repeats
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
                let mut members = Vec::with_capacity(8);
                while let Some(member) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push(member);
                }
                let told = members.len();
                let members = last_wins(members);
                let repeats = members.len() < told;
                Ok(Members { members, repeats })
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Lets the last of equal keys win, in the place of the first, as for most readers.
pub(super) fn last_wins<K: Eq + Hash + Clone, V>(members: Vec<(K, V)>) -> Vec<(K, V)> {
    if members.len() <= FEW {
        let keys = || members.iter().map(|(key, _)| key).enumerate();
        if !keys().any(|(at, key)| keys().take(at).any(|(_, earlier)| earlier == key)) {
            return members;
        }
    }
    let mut places: HashMap<K, usize> = HashMap::with_capacity(members.len());
    let mut kept: Vec<(K, V)> = Vec::with_capacity(members.len());
    for (key, value) in members {
        match places.get(&key).and_then(|at| kept.get_mut(*at)) {
            Some(slot) => slot.1 = value,
            None => {
                places.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_keys_the_last_counts_in_the_place_of_the_first() {
        for count in [3, 40] {
            let more: String = (0..count).map(|n| format!(",\"k{n}\":{n}")).collect();
            let text = format!("{{\"a\": 1,\"b\":[2]{more},\"\\u0061\": {{}},\"k0\":\"x\"}}");
            let members: Members<'_> = crate::json::from_str(&text).unwrap();
            let written: Vec<_> = members.iter().map(|(key, raw)| (key, raw.get())).collect();
            assert_eq!(written.len(), count + 2);
            assert!(members.had_repeats());
            assert_eq!(written[..3], [("a", "{}"), ("b", "[2]"), ("k0", "\"x\"")]);
            assert_eq!(members.text("k0").as_deref(), Some("x"));
            assert!(members.text("b").is_none() && members.has("b") && !members.has("c"));
        }
    }
}
