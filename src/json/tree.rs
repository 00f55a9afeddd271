//! A JSON value to rewrite: member order and numbers stay as they were written.
//!
//! Most JSON that passes through the proxy is never taken apart. [`Tree`] is for the little that
//! is, and borrows from the text it was read from.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use memchr::memchr2;
use serde_json::value::RawValue;

use super::members::last_wins;
use super::unescape::Unescape;

/// How many levels of arrays and objects are taken apart.
pub const MAX_DEPTH: usize = 128;

/// The members of an object, in order.
pub type Members<'a> = Vec<(Cow<'a, str>, Tree<'a>)>;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written.
    Number(Cow<'a, str>),
    /// A string, decoded.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Self>),
    /// An object, without repeated keys.
    Object(Members<'a>),
    /// The text of an array or object that is nested deeper than [`MAX_DEPTH`].
    Raw(Cow<'a, str>),
}

impl<'a> Tree<'a> {
    /// Reads a JSON text; nothing if it is not one.
    ///
    /// Where a key is repeated the last value wins, in the place of the first. Half a surrogate
    /// pair becomes U+FFFD.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        // It is checked without recursion, so that the reader below can trust the text.
        let raw: &RawValue = super::from_str(text).ok()?;
        let mut reader = Reader {
            text: raw.get(),
            at: 0,
        };
        reader.value(0)
    }

    /// An object without members.
    #[must_use]
    pub fn object() -> Self {
        Self::Object(Vec::new())
    }

    /// A string.
    #[must_use]
    pub fn string(text: impl Into<Cow<'a, str>>) -> Self {
        Self::String(text.into())
    }

    /// Whether this is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The members, if this is an object.
    #[must_use]
    pub fn members(&self) -> Option<&Members<'a>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The members to change, if this is an object.
    #[must_use]
    pub fn members_mut(&mut self) -> Option<&mut Members<'a>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The value at `key`, if this is an object and has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let members = self.members()?;
        members.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// The value at `key` to change, if this is an object and has it.
    #[must_use]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let members = self.members_mut()?;
        members.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Whether this is an object that has `key`.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets `key`: in its place if the object has it, else at the end. Returns what was there.
    /// What is not an object stays as it is.
    pub fn insert(&mut self, key: impl Into<Cow<'a, str>>, value: Self) -> Option<Self> {
        let key = key.into();
        if let Some(slot) = self.get_mut(&key) {
            return Some(std::mem::replace(slot, value));
        }
        self.members_mut()?.push((key, value));
        None
    }

    /// Takes `key` out of the object; the order of the others stays.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        let members = self.members_mut()?;
        let at = members.iter().position(|(k, _)| k == key)?;
        Some(members.remove(at).1)
    }

    /// Whether this is the same value, in whatever order members stand.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Array(own), Self::Array(others)) => {
                own.len() == others.len()
                    && own
                        .iter()
                        .zip(others)
                        .all(|(own, other)| own.is_same(other))
            }
            (Self::Object(own), Self::Object(others)) => {
                own.len() == others.len()
                    && own.iter().zip(others).all(|((key, own), (place, there))| {
                        // Nearly always they stand in the same order.
                        let there = if key == place {
                            Some(there)
                        } else {
                            other.get(key)
                        };
                        there.is_some_and(|there| own.is_same(there))
                    })
            }
            _ => self == other,
        }
    }

    /// Appends the value as JSON without white space.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(text) | Self::Raw(text) => out.push_str(text),
            Self::String(text) => write_string(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends `text` as a JSON string; only what must be escaped is.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(run) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        let (plain, tail) = rest.split_at(run);
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next().unwrap_or_default() {
            c @ ('"' | '\\') => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                let digit = |unit: u32| char::from_digit(unit & 15, 16).unwrap_or('0');
                out.push_str("\\u00");
                out.extend([digit(u32::from(c) >> 4), digit(u32::from(c))]);
            }
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Reads a text that is known to be JSON.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = self.text.as_bytes().get(self.at).copied()?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes the next byte that is not white space.
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn value(&mut self, depth: usize) -> Option<Tree<'a>> {
        match self.peek()? {
            b'{' | b'[' if depth >= MAX_DEPTH => self.raw(),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Tree::String),
            _ => self.scalar(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Tree<'a>> {
        let mut elements = Vec::new();
        self.next()?;
        if self.peek()? == b']' {
            self.next()?;
            return Some(Tree::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            if self.next()? != b',' {
                return Some(Tree::Array(elements));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Tree<'a>> {
        let mut members = Vec::new();
        self.next()?;
        if self.peek()? == b'}' {
            self.next()?;
            return Some(Tree::Object(members));
        }
        loop {
            self.peek()?;
            let key = self.string()?;
            self.next()?;
            members.push((key, self.value(depth + 1)?));
            if self.next()? != b',' {
                return Some(Tree::Object(last_wins(members)));
            }
        }
    }

    /// Reads a string from its opening quote.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at + 1;
        let end = self.string_end(start)?;
        let inside = self.text.get(start..end - 1)?;
        self.at = end;
        if !inside.contains('\\') {
            return Some(Cow::Borrowed(inside));
        }
        let mut text = String::with_capacity(inside.len());
        let mut unescape = Unescape::default();
        unescape.push(inside, &mut text);
        unescape.cut(&mut text);
        Some(Cow::Owned(text))
    }

    /// Where the string ends whose inside begins at `at`: just behind its closing quote.
    fn string_end(&self, mut at: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        loop {
            at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
            match bytes.get(at)? {
                b'"' => return Some(at + 1),
                _ => at += 2,
            }
        }
    }

    /// Skips an array or object.
    fn raw(&mut self) -> Option<Tree<'a>> {
        let start = self.at;
        let mut open = 0_usize;
        loop {
            match self.next()? {
                b'"' => self.at = self.string_end(self.at)?,
                b'{' | b'[' => open += 1,
                b'}' | b']' => {
                    open -= 1;
                    if open == 0 {
                        let text = self.text.get(start..self.at)?;
                        return Some(Tree::Raw(Cow::Borrowed(text)));
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads a number or a word.
    fn scalar(&mut self) -> Option<Tree<'a>> {
        let rest = self.text.get(self.at..)?;
        let end = rest
            .find([',', ']', '}', ' ', '\t', '\n', '\r'])
            .unwrap_or(rest.len());
        self.at += end;
        Some(match rest.get(..end)? {
            "null" => Tree::Null,
            "true" => Tree::Bool(true),
            "false" => Tree::Bool(false),
            number => Tree::Number(Cow::Borrowed(number)),
        })
    }
}
