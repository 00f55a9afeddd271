//! A second chance for JSON that a parser refuses.
//!
//! JavaScript cuts strings between the halves of a surrogate pair and writes the half as an
//! escape, Python writes `NaN` and `Infinity`, and a server that cuts its tokens by bytes writes
//! half a character. Nothing of it says that the rest is wrong, so a text that failed to parse is
//! [`repair`]ed and parsed again; a text that parses pays nothing.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use memchr::memchr2;

use super::Text;
use super::unescape::Unescape;

/// Words that some writers use for numbers that JSON does not have, in any case.
const NO_NUMBERS: [&str; 3] = ["nan", "inf", "infinity"];

/// What stands for half a surrogate pair.
const LONE_SURROGATE: &str = "\\ufffd";

/// Brings near-JSON to JSON, or gives nothing if there is nothing to mend.
///
/// Escapes of lone surrogates become `\ufffd`, bytes that are no UTF-8 become U+FFFD, and `NaN`
/// and `Infinity` outside of strings become `null`. The rest stays byte for byte, right or wrong.
///
/// ```
/// use antiphon::json::repair;
///
/// assert_eq!(repair(br#"{"a": "\ud83d\ude00"}"#), None);
/// let mended = repair(br#"{"a": "\ud83d", "b": [NaN]}"#);
/// assert_eq!(mended.as_deref(), Some(&br#"{"a": "\ufffd", "b": [null]}"#[..]));
/// ```
#[must_use]
pub fn repair(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(bytes);
    let mut mender = Mender {
        text: &text,
        at: 0,
        copied: 0,
        out: String::new(),
    };
    mender.outside();
    let Mender { copied, out, .. } = mender;
    if copied > 0 {
        let rest = text.get(copied..).unwrap_or_default();
        return Some([out.as_bytes(), rest.as_bytes()].concat());
    }
    match text {
        Cow::Borrowed(_) => None,
        Cow::Owned(text) => Some(text.into_bytes()),
    }
}

/// Reads bytes with `read`, and their repaired form if they cannot be read as they are.
///
/// For what holds no borrowed text; the rest needs a place of its own for what [`repair`] gives.
pub fn lossy<T>(bytes: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    read(bytes).or_else(|| read(&repair(bytes)?))
}

/// Decodes a JSON string with its quotes; half a surrogate pair becomes U+FFFD.
///
/// Nothing is given only for what does not begin with a quote.
///
/// ```
/// use antiphon::json::string_lossy;
///
/// assert_eq!(string_lossy(r#""a\ud83d""#).as_deref(), Some("a\u{fffd}"));
/// assert_eq!(string_lossy("5"), None);
/// ```
#[must_use]
pub fn string_lossy(raw: &str) -> Option<Cow<'_, str>> {
    let inside = raw.trim_ascii().strip_prefix('"')?;
    if let Ok(text) = serde_json::from_str::<Text<'_>>(raw) {
        return Some(text.into_cow());
    }
    let mut text = String::with_capacity(inside.len());
    let mut unescape = Unescape::default();
    unescape.push(inside, &mut text);
    unescape.cut(&mut text);
    Some(Cow::Owned(text))
}

/// Goes through a text and writes a mended one, from the first fault on.
struct Mender<'t> {
    text: &'t str,
    at: usize,
    /// How much of the text is in `out`, in its mended form.
    copied: usize,
    out: String,
}

impl Mender<'_> {
    /// Reads what stands outside of strings, and the strings.
    fn outside(&mut self) {
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b'"' => self.string(),
                b'-' | b'a'..=b'z' | b'A'..=b'Z' => self.word(),
                _ => self.at += 1,
            }
        }
    }

    /// Reads a word, which is all that goes on without a mark or white space.
    fn word(&mut self) {
        let start = self.at;
        while let Some(b'-' | b'+' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') =
            self.byte(self.at)
        {
            self.at += 1;
        }
        let word = self.text.get(start..self.at).unwrap_or_default();
        let word = word.strip_prefix('-').unwrap_or(word);
        if NO_NUMBERS.iter().any(|no| word.eq_ignore_ascii_case(no)) {
            self.replace(start, "null");
        }
    }

    /// Reads a string from its opening quote.
    fn string(&mut self) {
        self.at += 1;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(run) = memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return;
            };
            self.at += run;
            if rest.get(run) == Some(&b'"') {
                self.at += 1;
                return;
            }
            self.escape();
        }
    }

    /// Reads an escape from its backslash.
    fn escape(&mut self) {
        let start = self.at;
        match self.unit(start) {
            Some(0xD800..=0xDBFF) => {
                self.at += 6;
                match self.unit(self.at) {
                    Some(0xDC00..=0xDFFF) => self.at += 6,
                    _ => self.replace(start, LONE_SURROGATE),
                }
            }
            Some(0xDC00..=0xDFFF) => {
                self.at += 6;
                self.replace(start, LONE_SURROGATE);
            }
            Some(_) => self.at += 6,
            None => self.at += 2,
        }
    }

    /// The UTF-16 code unit of the `\uXXXX` that stands at an offset.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Writes `text` for what stands between `start` and here.
    fn replace(&mut self, start: usize, text: &str) {
        let before = self.text.get(self.copied..start).unwrap_or_default();
        self.out.push_str(before);
        self.out.push_str(text);
        self.copied = self.at;
    }
}
