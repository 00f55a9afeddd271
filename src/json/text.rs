//! A string that borrows from the input whenever it has no escapes.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::decode::decode;

/// A JSON string, borrowed where it can be.
///
/// `Option<Cow<str>>` always allocates, `#[serde(borrow)]` or not, since serde cannot see through
/// the option; this type borrows inside of options and vectors too.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'a> Text<'a> {
    /// The text, however it is held.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The inner cow, to borrow for the whole of `'a` where that is possible.
    #[must_use]
    pub fn into_cow(self) -> Cow<'a, str> {
        self.0
    }
}

impl<'a> Text<'a> {
    /// The text of a raw JSON value, if it is a string.
    ///
    /// A raw value has been checked to be JSON, so this need not look at each byte again, only for
    /// escapes. Nothing is given for half a surrogate pair, which no text can hold.
    ///
    /// ```
    /// use antiphon::json::Text;
    /// use serde_json::value::RawValue;
    ///
    /// let text = |json: &str| {
    ///     let raw: &RawValue = serde_json::from_str(json).unwrap();
    ///     Text::of_raw(raw).map(|text| text.to_string())
    /// };
    /// assert_eq!(text(r#""a\"\u00e9""#).as_deref(), Some("a\"é"));
    /// assert_eq!(text("5"), None);
    /// assert_eq!(text(r#""\ud83d""#), None);
    /// ```
    #[must_use]
    pub fn of_raw(raw: &'a RawValue) -> Option<Self> {
        let inside = raw.get().strip_prefix('"')?.strip_suffix('"')?;
        if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
            return Some(inside.into());
        }
        decode(inside).map(Self::from)
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}
