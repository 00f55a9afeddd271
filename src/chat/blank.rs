//! Whether a value says anything.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Whether there is nothing in it: `null`, `false`, `0`, `""`, `{}`, `[]`, or any of these inside
/// of the latter. Servers write all of them for "no error".
pub(super) fn is_blank(raw: &RawValue) -> bool {
    // What cannot be read says something, if only to people.
    serde_json::from_str::<Blank>(raw.get()).is_ok_and(|blank| blank.0)
}

struct Blank(bool);

impl<'de> Deserialize<'de> for Blank {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BlankVisitor).map(Self)
    }
}

struct BlankVisitor;

impl<'de> Visitor<'de> for BlankVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        Ok(!value)
    }

    fn visit_u64<E>(self, number: u64) -> Result<bool, E> {
        Ok(number == 0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, number: f64) -> Result<bool, E> {
        Ok(number == 0.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text.trim().is_empty())
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let mut blank = true;
        while let Some(Blank(element)) = list.next_element()? {
            blank &= element;
        }
        Ok(blank)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<bool, A::Error> {
        let mut blank = true;
        while let Some((IgnoredAny, Blank(value))) = object.next_entry()? {
            blank &= value;
        }
        Ok(blank)
    }
}
