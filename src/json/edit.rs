//! Changes to a JSON object that leave the rest of its text as it is: a key is left out, a value is
//! replaced, objects are merged. Whatever is not touched is copied byte for byte.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::members::last_wins;
use super::text::Text;

/// The deepest object that is merged into; deeper ones are replaced.
const DEEPEST: usize = 32;

/// An object whose values stay unread, in its own order.
#[derive(Debug, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Object<'a> {
    /// Reads an object; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        super::from_str(text).ok()
    }

    /// Reads an object out of bytes; `None` if it is anything else.
    #[must_use]
    pub fn from_slice(bytes: &'a [u8]) -> Option<Self> {
        Self::parse(super::as_text(bytes)?)
    }

    /// The text of a value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.get())
    }

    /// Sets a value that is JSON; what is not JSON changes nothing.
    pub fn set(&mut self, key: &str, value: String) {
        let Ok(value) = RawValue::from_string(value) else {
            return;
        };
        let value = Cow::Owned(value);
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((Cow::Owned(key.to_owned()), value)),
        }
    }

    /// Takes out what a dotted path leads to. A key may itself hold dots.
    pub fn remove(&mut self, path: &str) {
        self.0.retain(|(name, _)| name != path);
        let Some((first, rest)) = path.split_once('.') else {
            return;
        };
        let Some((_, value)) = self.0.iter_mut().find(|(name, _)| name == first) else {
            return;
        };
        let changed = Object::parse(value.get()).map(|mut inner| {
            inner.remove(rest);
            inner.write()
        });
        if let Some(Ok(changed)) = changed.map(RawValue::from_string) {
            *value = Cow::Owned(changed);
        }
    }

    /// Puts another object over this one: objects are merged key by key, all else is replaced.
    pub fn merge(&mut self, other: &str) {
        self.merge_within(other, 0);
    }

    fn merge_within(&mut self, other: &str, depth: usize) {
        let Some(other) = Object::parse(other) else {
            return;
        };
        for (key, value) in other.0 {
            let merged = match self.get(&key).and_then(Object::parse) {
                Some(mut inner) if depth < DEEPEST && value.get().starts_with('{') => {
                    inner.merge_within(value.get(), depth + 1);
                    inner.write()
                }
                _ => value.get().to_owned(),
            };
            self.set(&key, merged);
        }
    }

    /// The object as text.
    #[must_use]
    pub fn write(&self) -> String {
        let mut out = String::from("{");
        for (n, (key, value)) in self.0.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            // A string always serialises.
            out.push_str(&serde_json::to_string(key).unwrap_or_default());
            out.push(':');
            out.push_str(value.get());
        }
        out.push('}');
        out
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((key.into_cow(), Cow::Borrowed(value)));
                }
                Ok(Object(last_wins(members)))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// What is to be changed in each of many objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Dotted paths of what is left out.
    pub drop: Vec<String>,
    /// Objects, as text, that are merged in after that, one after another.
    pub merge: Vec<String>,
}

impl Edits {
    /// Whether they change anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.merge.is_empty()
    }

    /// The body with the changes. What is no object stays as it is.
    #[must_use]
    pub fn apply(&self, body: Vec<u8>) -> Vec<u8> {
        if self.is_empty() {
            return body;
        }
        let Some(mut object) = Object::from_slice(&body) else {
            return body;
        };
        self.change(&mut object);
        object.write().into_bytes()
    }

    /// Changes the object.
    pub fn change(&self, object: &mut Object<'_>) {
        for path in &self.drop {
            object.remove(path);
        }
        for other in &self.merge {
            object.merge(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(body: &str, drop: &[&str], merge: &[&str]) -> String {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let edits = Edits {
            drop: own(drop),
            merge: own(merge),
        };
        String::from_utf8(edits.apply(body.into())).unwrap()
    }

    #[test]
    fn what_is_not_touched_stays_byte_for_byte() {
        let body = r#"{ "a" : [1,  2.50], "b":{"x":"\u00e9", "y": null},"c":1e400}"#;
        assert_eq!(edited(body, &[], &[]), body);
        assert_eq!(
            edited(body, &["none"], &[]),
            r#"{"a":[1,  2.50],"b":{"x":"\u00e9", "y": null},"c":1e400}"#
        );
    }

    #[test]
    fn paths_are_taken_out() {
        let body = r#"{"a":1,"b":{"x":1,"y":{"z":2}},"a.b":3}"#;
        assert_eq!(
            edited(body, &["a", "b.x"], &[]),
            r#"{"b":{"y":{"z":2}},"a.b":3}"#
        );
        assert_eq!(
            edited(body, &["b.y.z"], &[]),
            r#"{"a":1,"b":{"x":1,"y":{}},"a.b":3}"#
        );
        assert_eq!(
            edited(body, &["a.b"], &[]),
            r#"{"a":1,"b":{"x":1,"y":{"z":2}}}"#
        );
    }

    #[test]
    fn objects_are_merged_and_all_else_is_replaced() {
        let body = r#"{"a":{"x":1,"y":[1]},"b":2}"#;
        assert_eq!(
            edited(
                body,
                &[],
                &[r#"{"a":{"y":[2],"z":{"q":1}},"b":{"c":1}}"#, r#"{"d":"e"}"#]
            ),
            r#"{"a":{"x":1,"y":[2],"z":{"q":1}},"b":{"c":1},"d":"e"}"#
        );
        assert_eq!(
            edited(body, &["a"], &[r#"{"a":{"n":1}}"#]),
            r#"{"b":2,"a":{"n":1}}"#
        );
    }

    #[test]
    fn what_is_no_object_stays() {
        assert_eq!(edited("[1]", &["a"], &["{}"]), "[1]");
        assert_eq!(edited("no json", &["a"], &["{}"]), "no json");
    }
}
