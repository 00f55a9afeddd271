//! Fields that are read where they make sense and passed over where they do not.
//!
//! Servers write numbers as strings, lists as objects and nothing as `{}`. One odd field must not
//! cost the whole value that it stands in, so the functions here, made for
//! `#[serde(default, deserialize_with = "…")]`, fail on bytes that are not JSON and on nothing
//! else. They read in one pass and borrow what can be borrowed.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Text;

/// A number, as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Whole, and not below zero.
    Unsigned(u64),
    /// Whole, and below zero.
    Signed(i64),
    /// With a point or an exponent, or too large for the others.
    Float(f64),
}

/// What a reader makes of each kind of value; kinds that it does not name are passed over.
pub trait Reader<'de>: Sized {
    /// What is made.
    type Out;

    /// Takes a string.
    fn text(self, _: Text<'de>) -> Option<Self::Out> {
        None
    }

    /// Takes a number.
    fn number(self, _: Number) -> Option<Self::Out> {
        None
    }

    /// Takes a list; it must be read to its end.
    ///
    /// # Errors
    /// What stands in it is not JSON.
    fn list<A: SeqAccess<'de>>(self, list: A) -> Result<Option<Self::Out>, A::Error> {
        skip_list(list).map(|()| None)
    }

    /// Takes an object; it must be read to its end.
    ///
    /// # Errors
    /// What stands in it is not JSON.
    fn object<A: MapAccess<'de>>(self, object: A) -> Result<Option<Self::Out>, A::Error> {
        skip_object(object).map(|()| None)
    }
}

/// Reads a value of any kind.
///
/// # Errors
/// What comes is not JSON.
pub fn read<'de, D: Deserializer<'de>, R: Reader<'de>>(
    deserializer: D,
    reader: R,
) -> Result<Option<R::Out>, D::Error> {
    deserializer.deserialize_any(AnyVisitor(reader))
}

/// Reads a string.
///
/// # Errors
/// What comes is not JSON.
pub fn text<'de: 'a, 'a, D: Deserializer<'de>>(d: D) -> Result<Option<Text<'a>>, D::Error> {
    read(d, TextReader { numbers: false })
}

/// Reads a string, or a number as the text of it.
///
/// # Errors
/// What comes is not JSON.
pub fn word<'de: 'a, 'a, D: Deserializer<'de>>(d: D) -> Result<Option<Text<'a>>, D::Error> {
    read(d, TextReader { numbers: true })
}

/// Reads a count: a number, or one in a string. There is none below zero, and parts are cut off.
///
/// # Errors
/// What comes is not JSON.
pub fn count<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    Ok(read(d, NumberReader)?.and_then(Number::count))
}

/// Reads a whole number, or one in a string.
///
/// # Errors
/// What comes is not JSON.
pub fn whole<'de, D: Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
    Ok(read(d, NumberReader)?.and_then(Number::whole))
}

/// Reads a number, or one in a string.
///
/// # Errors
/// What comes is not JSON.
pub fn float<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    Ok(read(d, NumberReader)?.map(Number::float))
}

/// Reads an object.
///
/// # Errors
/// What comes is not JSON, or the object does not read as `T`.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    read(d, ObjectReader(PhantomData))
}

/// Reads the objects of a list; a lone object is a list of one.
///
/// # Errors
/// What comes is not JSON, or an object does not read as `T`.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    d: D,
) -> Result<Option<Vec<T>>, D::Error> {
    read(d, ListReader(PhantomData))
}

/// Reads a list of bytes. One with larger numbers in it is no such list.
///
/// # Errors
/// What comes is not JSON.
pub fn bytes<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<u8>>, D::Error> {
    read(d, BytesReader)
}

/// Reads the elements of a list, each as it is written; a lone object is a list of one.
///
/// # Errors
/// What comes is not JSON.
pub fn raw_list<'de: 'a, 'a, D: Deserializer<'de>>(
    d: D,
) -> Result<Option<Vec<&'a RawValue>>, D::Error> {
    // An object is over before a visitor could keep it as it was written, so this one looks twice.
    let raw = <&'de RawValue>::deserialize(d)?;
    if raw.get().starts_with('[') {
        let mut list: Vec<&'de RawValue> =
            serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?;
        list.retain(|raw| raw.get() != "null");
        return Ok(Some(list));
    }
    Ok(raw.get().starts_with('{').then(|| vec![raw]))
}

/// An object that reads as `T`, or something else, as an element of a list.
#[derive(Debug)]
pub struct Loose<T>(pub Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

impl Number {
    /// The number without its parts, if it is not below zero.
    fn count(self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(number),
            Self::Signed(number) => u64::try_from(number).ok(),
            // Such a cast keeps to the limits of its target.
            Self::Float(number) => (number >= 0.0).then_some(number as u64),
        }
    }

    /// The number without its parts.
    fn whole(self) -> Option<i64> {
        match self {
            Self::Unsigned(number) => i64::try_from(number).ok(),
            Self::Signed(number) => Some(number),
            Self::Float(number) => number.is_finite().then_some(number as i64),
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::Unsigned(number) => number as f64,
            Self::Signed(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// Reads a number out of a string.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let whole = || text.parse().map(Self::Signed).ok();
        let float = || text.parse().map(Self::Float).ok();
        text.parse()
            .map(Self::Unsigned)
            .ok()
            .or_else(whole)
            .or_else(float)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
        }
    }
}

fn skip_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

struct TextReader {
    numbers: bool,
}

impl<'de> Reader<'de> for TextReader {
    type Out = Text<'de>;

    fn text(self, text: Text<'de>) -> Option<Self::Out> {
        Some(text)
    }

    fn number(self, number: Number) -> Option<Self::Out> {
        self.numbers.then(|| number.to_string().into())
    }
}

struct NumberReader;

impl<'de> Reader<'de> for NumberReader {
    type Out = Number;

    fn text(self, text: Text<'de>) -> Option<Number> {
        Number::parse(&text)
    }

    fn number(self, number: Number) -> Option<Number> {
        Some(number)
    }
}

struct ObjectReader<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Reader<'de> for ObjectReader<T> {
    type Out = T;

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object)).map(Some)
    }
}

struct ListReader<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Reader<'de> for ListReader<T> {
    type Out = Vec<T>;

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<Vec<T>>, A::Error> {
        let mut found = Vec::new();
        while let Some(Loose(element)) = list.next_element::<Loose<T>>()? {
            found.extend(element);
        }
        Ok(Some(found))
    }

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<Option<Vec<T>>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object)).map(|one| Some(vec![one]))
    }
}

struct BytesReader;

impl<'de> Reader<'de> for BytesReader {
    type Out = Vec<u8>;

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<Vec<u8>>, A::Error> {
        let mut found = Some(Vec::new());
        while let Some(Byte(byte)) = list.next_element()? {
            match (&mut found, byte) {
                (Some(bytes), Some(byte)) => bytes.push(byte),
                _ => found = None,
            }
        }
        Ok(found)
    }
}

struct Byte(Option<u8>);

impl<'de> Deserialize<'de> for Byte {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = count(deserializer)?;
        Ok(Self(number.and_then(|number| u8::try_from(number).ok())))
    }
}

/// Lets types be read from objects, from a string, which is the one field that they are about, and
/// from anything else as their default, so that one odd element does not spoil a list.
///
/// The types derive `Deserialize` with `#[serde(remote = "Self")]`.
macro_rules! text_or_fields {
    ($($name:ident . $field:ident),*) => {$(
        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Fields;

                impl<'de> $crate::json::lenient::Reader<'de> for Fields {
                    type Out = $name<'de>;

                    fn text(self, text: $crate::json::Text<'de>) -> Option<Self::Out> {
                        Some($name { $field: Some(text), ..$name::default() })
                    }

                    fn object<A: serde::de::MapAccess<'de>>(
                        self,
                        object: A,
                    ) -> Result<Option<Self::Out>, A::Error> {
                        let object = serde::de::value::MapAccessDeserializer::new(object);
                        // The derived function, which hides the one of the trait.
                        $name::deserialize(object).map(Some)
                    }
                }

                $crate::json::lenient::read(d, Fields).map(Option::unwrap_or_default)
            }
        }
    )*};
}

pub(crate) use text_or_fields;

/// Lets a reader take what serde tells.
struct AnyVisitor<R>(R);

impl<'de, R: Reader<'de>> Visitor<'de> for AnyVisitor<R> {
    type Value = Option<R::Out>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(self.0.text(Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.text(Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.0.number(Number::Unsigned(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.0.number(Number::Signed(number)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(self.0.number(Number::Float(number)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        self.0.list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        self.0.object(object)
    }
}
