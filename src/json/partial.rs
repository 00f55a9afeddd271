//! Reads the one string field of a JSON object while the object is still arriving.
//!
//! A freeform tool is shown to chat models as a function of one string parameter. What the model
//! writes comes back as fragments of a JSON text, and [`FieldDecoder`] turns them into fragments
//! of the field's text, each as soon as it is certain. Models do not always keep to the wrapper:
//! some write the text as it is, some a bare JSON string, some another key. None of it is an
//! error here; [`Finish`] says what was found.

mod syntax;
#[cfg(test)]
mod tests;

use std::ops::Range;

use memchr::memchr2;

pub(crate) use self::syntax::{Syntax, Verdict};
use super::unescape::Unescape;

/// How the text of a field ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The text is complete.
    Whole,
    /// The JSON ended in the middle: the text so far is all there is.
    Cut,
    /// It was not the wrapper that was asked for: the raw text was taken.
    Bare,
    /// There was nothing, or an object without members.
    Empty,
}

/// Decodes one string field out of a JSON text that arrives in fragments.
///
/// The same input gives the same text whichever way it is cut. Only what may still be needed is
/// kept: nothing at all once the field's string has begun.
///
/// ```
/// use antiphon::json::{FieldDecoder, Finish};
///
/// let mut decoder = FieldDecoder::new("input");
/// let mut text = String::new();
/// decoder.push(r#"{"in"#, &mut text);
/// decoder.push(r#"put": "caf\u00"#, &mut text);
/// assert_eq!(text, "caf");
/// decoder.push(r#"e9"}"#, &mut text);
/// assert_eq!(decoder.finish(&mut text), Finish::Whole);
/// assert_eq!(text, "café");
/// ```
#[derive(Debug)]
pub struct FieldDecoder {
    key: Box<str>,
    state: State,
    /// The input so far, for as long as it may turn out to be the text itself.
    raw: String,
    members: Members,
}

#[derive(Debug)]
enum State {
    /// Before the first character that is not blank.
    Lead,
    /// In the object, and the field's string has not begun.
    Object(Place),
    /// In the field's string.
    Field(Unescape),
    /// The input is the text.
    Bare,
    /// Nothing that follows matters.
    Over(Finish),
}

/// Where in the outermost object the decoder stands.
#[derive(Debug)]
enum Place {
    KeyOrClose,
    Key,
    InKey(Unescape),
    Colon,
    Value,
    /// In a string that is not the field's.
    InText {
        escaped: bool,
    },
    /// In a value that is not a string.
    InOther(Syntax),
    CommaOrClose,
    Closed,
}

/// What is known of the object's members. Ranges are into the raw text, without an end for as long
/// as the value goes on.
#[derive(Debug, Default)]
struct Members {
    any: bool,
    /// The member name read last.
    name: String,
    /// The field's value, where it is not a string.
    field: Option<(usize, Option<usize>)>,
    /// Inside the quotes of the first string member.
    string: Option<(usize, Option<usize>)>,
    /// Whether there was a second string member.
    more_strings: bool,
}

/// What reading some of a fragment came to.
enum Read {
    /// This many bytes are done with.
    Bytes(usize),
    /// The field's string begins behind this many bytes.
    Field(usize),
    /// This is not JSON.
    Invalid,
}

impl FieldDecoder {
    /// A decoder for the string at `key`.
    #[must_use]
    pub fn new(key: impl Into<Box<str>>) -> Self {
        Self {
            key: key.into(),
            state: State::Lead,
            raw: String::new(),
            members: Members::default(),
        }
    }

    /// Takes the next fragment and appends the text that became certain to `out`.
    pub fn push(&mut self, fragment: &str, out: &mut String) {
        let mut at = 0;
        while let Some(rest) = fragment.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.state {
                State::Over(_) => return,
                State::Bare => {
                    out.push_str(rest);
                    return;
                }
                State::Field(unescape) => {
                    if unescape.push(rest, out).is_some() {
                        self.state = State::Over(Finish::Whole);
                    }
                    return;
                }
                State::Lead => at += self.lead(rest),
                State::Object(_) => match self.object(rest, self.raw.len() + at) {
                    Read::Bytes(count) => at += count,
                    Read::Field(count) => {
                        at += count;
                        self.field_begins();
                    }
                    Read::Invalid => self.state = State::Bare,
                },
            }
            if matches!(self.state, State::Bare) {
                out.push_str(&self.raw);
                out.push_str(fragment);
                self.raw = String::new();
                self.members = Members::default();
                return;
            }
        }
        if matches!(self.state, State::Lead | State::Object(_)) {
            self.raw.push_str(fragment);
        }
    }

    /// Ends the input: appends what only the end makes certain, and says how it ended.
    ///
    /// Where the object ended without the field, its only string member is taken for it, whatever
    /// the name; if there is none or more than one, the raw object is. A field that is not a
    /// string gives its JSON. Of an object that was cut before the field only the first string is
    /// taken, and only if it is the sole one: half an object is no use to anyone.
    pub fn finish(&mut self, out: &mut String) -> Finish {
        let finish = match &mut self.state {
            State::Lead => Finish::Empty,
            State::Bare => Finish::Bare,
            State::Over(finish) => *finish,
            State::Field(unescape) => {
                unescape.cut(out);
                Finish::Cut
            }
            State::Object(place) => {
                let closed = matches!(place, Place::Closed);
                self.finish_object(closed, out)
            }
        };
        self.state = State::Over(finish);
        self.raw = String::new();
        self.members = Members::default();
        finish
    }

    fn finish_object(&self, closed: bool, out: &mut String) -> Finish {
        let range = |(start, end): (usize, Option<usize>)| -> Range<usize> {
            start..end.unwrap_or(self.raw.len())
        };
        let ended = if closed { Finish::Whole } else { Finish::Cut };
        let members = &self.members;
        if let Some(field) = members.field {
            out.push_str(self.raw.get(range(field)).unwrap_or_default());
            return ended;
        }
        if let Some(string) = members.string.filter(|_| !members.more_strings) {
            let mut unescape = Unescape::default();
            unescape.push(self.raw.get(range(string)).unwrap_or_default(), out);
            unescape.cut(out);
            return ended;
        }
        if !closed {
            return Finish::Cut;
        }
        if !members.any {
            return Finish::Empty;
        }
        out.push_str(self.raw.trim_matches([' ', '\t', '\n', '\r']));
        Finish::Bare
    }

    /// Skips white space, and takes the first character that says what the input is.
    fn lead(&mut self, rest: &str) -> usize {
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        match rest.as_bytes().get(blank) {
            None => blank,
            Some(b'{') => {
                self.state = State::Object(Place::KeyOrClose);
                blank + 1
            }
            Some(b'"') => {
                self.field_begins();
                blank + 1
            }
            Some(_) => {
                self.state = State::Bare;
                blank
            }
        }
    }

    /// From here on the text is certain, so there is nothing to fall back to.
    fn field_begins(&mut self) {
        self.state = State::Field(Unescape::default());
        self.raw = String::new();
        self.members = Members::default();
    }

    /// Reads one piece of the object. `offset` is where `rest` begins in the raw text.
    fn object(&mut self, rest: &str, offset: usize) -> Read {
        let State::Object(place) = &mut self.state else {
            return Read::Bytes(0);
        };
        let members = &mut self.members;
        match place {
            Place::InKey(unescape) => match unescape.push(rest, &mut members.name) {
                Some(count) => {
                    *place = Place::Colon;
                    Read::Bytes(count)
                }
                None => Read::Bytes(rest.len()),
            },
            Place::InText { escaped } => {
                let count = skip_text(escaped, rest.as_bytes());
                let Some(count) = count else {
                    return Read::Bytes(rest.len());
                };
                if let Some((_, end)) = &mut members.string {
                    end.get_or_insert(offset + count - 1);
                }
                *place = Place::CommaOrClose;
                Read::Bytes(count)
            }
            Place::InOther(syntax) => match syntax.push(rest.as_bytes()) {
                Verdict::More => Read::Bytes(rest.len()),
                Verdict::Invalid(_) => Read::Invalid,
                Verdict::Ended(count) => {
                    if let Some((_, end)) = &mut members.field {
                        end.get_or_insert(offset + count);
                    }
                    *place = Place::CommaOrClose;
                    Read::Bytes(count)
                }
            },
            _ => match rest.as_bytes().first() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => Read::Bytes(1),
                Some(byte) => members.mark(place, *byte, offset, &self.key),
                None => Read::Bytes(0),
            },
        }
    }
}

impl Members {
    /// Reads a byte between the object's keys and values.
    fn mark(&mut self, place: &mut Place, byte: u8, offset: usize, key: &str) -> Read {
        *place = match (&*place, byte) {
            (Place::KeyOrClose | Place::CommaOrClose, b'}') => Place::Closed,
            (Place::KeyOrClose | Place::Key, b'"') => {
                self.any = true;
                self.name.clear();
                Place::InKey(Unescape::default())
            }
            (Place::Colon, b':') => Place::Value,
            (Place::CommaOrClose, b',') => Place::Key,
            (Place::Value, b'"') => {
                if self.name == key && self.field.is_none() {
                    return Read::Field(1);
                }
                self.more_strings = self.string.is_some();
                if !self.more_strings {
                    self.string = Some((offset + 1, None));
                }
                Place::InText { escaped: false }
            }
            (Place::Value, _) => {
                if self.name == key && self.field.is_none() {
                    self.field = Some((offset, None));
                }
                *place = Place::InOther(Syntax::new());
                // The byte is the first of the value.
                return Read::Bytes(0);
            }
            _ => return Read::Invalid,
        };
        Read::Bytes(1)
    }
}

/// Skips to behind the closing quote; nothing if the string goes on.
fn skip_text(escaped: &mut bool, bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    if *escaped && !bytes.is_empty() {
        *escaped = false;
        at = 1;
    }
    while let Some(run) = memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += run + 1;
        if bytes.get(at - 1) == Some(&b'"') {
            return Some(at);
        }
        if at == bytes.len() {
            *escaped = true;
        }
        at += 1;
    }
    None
}
