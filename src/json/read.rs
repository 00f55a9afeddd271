//! JSON into Rust values through serde, as `serde_json` does it, but several times as fast where most
//! of the JSON is not looked into: a long request is a few keys around strings that go on as they are.
//!
//! It says nothing of what it does not accept. [`from_str`] then has `serde_json` read the text again,
//! so that what is accepted, and every word about what is not, is `serde_json`'s.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

use super::decode::decode;
use super::scan::{Refused, Scanner};

/// How deep arrays and objects may be nested that are read, and not only passed over.
const DEEPEST: u32 = 64;

/// The name by which a [`RawValue`] asks for the text of a value. It is `serde_json`'s own; should it
/// ever change, raw values are refused here, and so read by `serde_json` (and a test fails).
const RAW: &str = "$serde_json::private::RawValue";

/// The name by which a [`Spanned`] asks for a value and its text.
const SPANNED: &str = "$antiphon::Spanned";

/// A value, and the text that it was read from where that is to be had: `serde_json` does not tell.
#[derive(Clone, Default)]
pub struct Spanned<'a, T> {
    /// The value.
    pub value: T,
    /// Its text.
    pub raw: Option<&'a RawValue>,
}

impl<T: fmt::Debug> fmt::Debug for Spanned<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> From<T> for Spanned<'_, T> {
    fn from(value: T) -> Self {
        Self { value, raw: None }
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Spanned<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(SPANNED, SpannedVisitor(PhantomData))
    }
}

struct SpannedVisitor<'a, T>(PhantomData<(&'a (), T)>);

impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for SpannedVisitor<'a, T> {
    type Value = Spanned<'a, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        let value = T::deserialize(value)?;
        Ok(Spanned { value, raw: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Self::Value, A::Error> {
        let missing = || de::Error::invalid_length(0, &self);
        let value = pair.next_element()?.ok_or_else(missing)?;
        let raw = pair.next_element()?;
        Ok(Spanned { value, raw })
    }
}

/// Reads a value.
///
/// # Errors
/// Those of `serde_json::from_str`.
pub fn from_str<'de, T: Deserialize<'de>>(text: &'de str) -> serde_json::Result<T> {
    match read(text) {
        Some(value) => Ok(value),
        None => serde_json::from_str(text),
    }
}

/// Reads a value out of bytes.
///
/// # Errors
/// Those of `serde_json::from_slice`.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> serde_json::Result<T> {
    match as_text(bytes) {
        Some(text) => from_str(text),
        None => serde_json::from_slice(bytes),
    }
}

/// Reads a value out of JSON that was read before, so that most of it need not be looked at.
///
/// # Errors
/// Those of `serde_json::from_str`.
pub fn from_raw<'de, T: Deserialize<'de>>(raw: &'de RawValue) -> serde_json::Result<T> {
    match T::deserialize(Known(raw)) {
        Ok(value) => Ok(value),
        Err(Refused) => serde_json::from_str(raw.get()),
    }
}

/// Reads a value; `None` for what `serde_json` refuses, and for what it need not: halves of surrogate
/// pairs anywhere in the text, and nesting deeper than 64 levels.
///
/// ```
/// use antiphon::json::read;
///
/// assert_eq!(read::<Vec<u64>>(" [1, 2]"), Some(vec![1, 2]));
/// assert_eq!(read::<Vec<u64>>("[1, 2"), None);
/// assert_eq!(read::<serde::de::IgnoredAny>(r#""\ud83d""#), None);
/// ```
#[must_use]
pub fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    let mut reader = Reader::new(Scanner::new(text));
    let value = T::deserialize(&mut reader).ok()?;
    reader.scanner.peek().is_none().then_some(value)
}

/// Bytes as text, if they are UTF-8.
#[must_use]
pub fn as_text(bytes: &[u8]) -> Option<&str> {
    simdutf8::basic::from_utf8(bytes).ok()
}

/// Whether a text is JSON.
#[must_use]
pub fn is_json(text: &str) -> bool {
    from_str::<de::IgnoredAny>(text).is_ok()
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

struct Reader<'de> {
    scanner: Scanner<'de>,
    depth: u32,
}

impl<'de> Reader<'de> {
    fn new(scanner: Scanner<'de>) -> Self {
        Self { scanner, depth: 0 }
    }

    fn string(&mut self) -> Result<Cow<'de, str>, Refused> {
        let (inside, escaped) = self.scanner.string()?;
        Ok(match escaped {
            true => Cow::Owned(decode(inside).ok_or(Refused)?),
            false => Cow::Borrowed(inside),
        })
    }

    /// Reads the elements or members between two marks.
    fn within<T>(
        &mut self,
        marks: [u8; 2],
        read: impl FnOnce(Within<'_, 'de>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let [open, close] = marks;
        self.scanner.expect(open)?;
        if self.depth == DEEPEST {
            return Err(Refused);
        }
        self.depth += 1;
        let value = read(Within {
            reader: self,
            close,
            first: true,
        })?;
        self.depth -= 1;
        self.scanner.expect(close)?;
        Ok(value)
    }
}

/// Values whose text is taken, and read by `serde_json`: there is not much of them.
macro_rules! leave_to_serde_json {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            let text = self.scanner.value()?;
            serde_json::Deserializer::from_str(text).$method(visitor).map_err(|_| Refused)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.scanner.peek().ok_or(Refused)? {
            b'"' => self.deserialize_str(visitor),
            b'{' => self.deserialize_map(visitor),
            b'[' => self.deserialize_seq(visitor),
            _ => {
                let text = self.scanner.value()?;
                let mut scalar = serde_json::Deserializer::from_str(text);
                scalar.deserialize_any(visitor).map_err(|_| Refused)
            }
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.string()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.within(*b"[]", |elements| visitor.visit_seq(elements))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.within(*b"{}", |members| visitor.visit_map(members))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.scanner.peek() {
            Some(b'n') => {
                self.scanner.value()?;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match name {
            RAW => visitor.visit_map(Raw(Some(self.scanner.value()?))),
            SPANNED => {
                self.scanner.peek();
                let start = self.scanner.taken();
                visitor.visit_seq(Pair {
                    reader: self,
                    start,
                    read: false,
                })
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.scanner.value()?;
        visitor.visit_unit()
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_str(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match self.scanner.peek() {
            Some(b'[') => self.deserialize_seq(visitor),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let text = self.scanner.value()?;
        let mut value = serde_json::Deserializer::from_str(text);
        let read = value.deserialize_enum(name, variants, visitor);
        read.map_err(|_| Refused)
    }

    leave_to_serde_json! {
        deserialize_bool deserialize_unit deserialize_char deserialize_bytes deserialize_byte_buf
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }
}

/// What stands between the marks of an array or object.
struct Within<'r, 'de> {
    reader: &'r mut Reader<'de>,
    close: u8,
    first: bool,
}

impl Within<'_, '_> {
    /// Whether there is another element or member. If so, what parts it from the last is taken.
    fn goes_on(&mut self) -> Result<bool, Refused> {
        match self.reader.scanner.peek() {
            Some(byte) if byte == self.close => Ok(false),
            Some(b',') if !self.first => {
                self.reader.scanner.take();
                Ok(true)
            }
            Some(_) if self.first => {
                self.first = false;
                Ok(true)
            }
            _ => Err(Refused),
        }
    }
}

impl<'de> SeqAccess<'de> for Within<'_, 'de> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        match self.goes_on()? {
            true => seed.deserialize(&mut *self.reader).map(Some),
            false => Ok(None),
        }
    }
}

impl<'de> MapAccess<'de> for Within<'_, 'de> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        if !self.goes_on()? {
            return Ok(None);
        }
        let key = match self.reader.string()? {
            Cow::Borrowed(key) => seed.deserialize(BorrowedStrDeserializer::new(key)),
            Cow::Owned(key) => seed.deserialize(key.into_deserializer()),
        };
        key.map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        self.reader.scanner.expect(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

/// The text of a value in the form in which a [`RawValue`] takes it.
struct Raw<'de>(Option<&'de str>);

impl<'de> MapAccess<'de> for Raw<'de> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        seed.deserialize(BorrowedStrDeserializer::new(RAW))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        let text = self.0.take().ok_or(Refused)?;
        seed.deserialize(BorrowedStrDeserializer::new(text))
    }
}

/// A value, and then its text.
struct Pair<'r, 'de> {
    reader: &'r mut Reader<'de>,
    start: usize,
    read: bool,
}

impl<'de> SeqAccess<'de> for Pair<'_, 'de> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        if !std::mem::replace(&mut self.read, true) {
            return seed.deserialize(&mut *self.reader).map(Some);
        }
        let text = self.reader.scanner.since(self.start)?;
        seed.deserialize(MapAccessDeserializer::new(Raw(Some(text))))
            .map(Some)
    }
}

/// A value whose text is known to be JSON, to be read as something: where it is wanted raw after all
/// it need not be gone over again.
pub(crate) struct Known<'de>(pub(crate) &'de RawValue);

impl<'de> Deserializer<'de> for Known<'de> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        Reader::new(Scanner::known(self.0.get())).deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.0.get() {
            "null" => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match name {
            RAW => visitor.visit_map(Raw(Some(self.0.get()))),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
