//! The inside of a JSON string, decoded as it arrives.

use memchr::memchr2;

/// U+FFFD, what half a surrogate pair becomes: Rust text cannot hold one.
const LONE_SURROGATE: char = char::REPLACEMENT_CHARACTER;

/// Decodes the inside of one JSON string from fragments cut anywhere.
///
/// It is more forgiving than JSON, since models write the text: control characters may stand
/// unescaped, and an escape that JSON does not know keeps its backslash (`\d` stays `\d`), because
/// patches and regular expressions are often escaped one time too few.
#[derive(Debug, Clone, Default)]
pub(super) struct Unescape {
    place: Place,
    /// The first half of a surrogate pair, until it is known whether the second follows.
    high: Option<u32>,
}

/// Where in an escape the decoder stands.
#[derive(Debug, Clone, Copy, Default)]
enum Place {
    /// In plain text.
    #[default]
    Plain,
    /// After a backslash.
    Backslash,
    /// After `\u` and this many digits. The digits themselves are kept since they are text if
    /// fewer than four come.
    Unicode { digits: [u8; 4], count: usize },
}

impl Unescape {
    /// Decodes `text` up to the closing quote and appends what is certain to `out`.
    ///
    /// Returns the offset just behind the quote, or nothing if the string goes on.
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            match self.place {
                Place::Plain => {
                    let run = memchr2(b'"', b'\\', rest.as_bytes()).unwrap_or(rest.len());
                    if run > 0 {
                        self.flush_high(out);
                        out.push_str(rest.get(..run).unwrap_or_default());
                    }
                    at += run;
                    match rest.as_bytes().get(run) {
                        Some(b'"') => {
                            self.flush_high(out);
                            return Some(at + 1);
                        }
                        Some(_) => {
                            self.place = Place::Backslash;
                            at += 1;
                        }
                        None => {}
                    }
                }
                Place::Backslash => at += self.escape(rest, out),
                Place::Unicode { digits, count } => at += self.digit(digits, count, rest, out),
            }
        }
        None
    }

    /// The string will not go on. Half an escape is dropped, half a surrogate pair is marked.
    pub(super) fn cut(&mut self, out: &mut String) {
        self.flush_high(out);
        self.place = Place::Plain;
    }

    /// Reads what follows a backslash; returns how many bytes of it are done with.
    fn escape(&mut self, rest: &str, out: &mut String) -> usize {
        self.place = Place::Plain;
        let plain = match rest.as_bytes().first() {
            Some(b'u') => {
                self.place = Place::Unicode {
                    digits: [0; 4],
                    count: 0,
                };
                return 1;
            }
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => {
                // Not an escape: the backslash is text, and what follows is read as text.
                self.flush_high(out);
                out.push('\\');
                return 0;
            }
        };
        self.flush_high(out);
        out.push(plain);
        1
    }

    /// Reads one digit of `\uXXXX`; returns how many bytes are done with.
    fn digit(&mut self, digits: [u8; 4], count: usize, rest: &str, out: &mut String) -> usize {
        let mut digits = digits;
        let next = rest.as_bytes().first().copied().unwrap_or_default();
        if !next.is_ascii_hexdigit() {
            self.place = Place::Plain;
            self.flush_high(out);
            out.push_str("\\u");
            out.extend(digits.iter().take(count).copied().map(char::from));
            return 0;
        }
        if let Some(slot) = digits.get_mut(count) {
            *slot = next;
        }
        if count < 3 {
            self.place = Place::Unicode {
                digits,
                count: count + 1,
            };
        } else {
            self.place = Place::Plain;
            let unit = digits.iter().fold(0, |unit, digit| {
                unit * 16 + char::from(*digit).to_digit(16).unwrap_or_default()
            });
            self.unit(unit, out);
        }
        1
    }

    /// Takes one UTF-16 code unit.
    fn unit(&mut self, unit: u32, out: &mut String) {
        match (self.high.take(), unit) {
            (Some(high), 0xDC00..=0xDFFF) => {
                let scalar = 0x1_0000 + ((high - 0xD800) << 10) + (unit - 0xDC00);
                out.push(char::from_u32(scalar).unwrap_or(LONE_SURROGATE));
            }
            (high, _) => {
                if high.is_some() {
                    out.push(LONE_SURROGATE);
                }
                if (0xD800..=0xDBFF).contains(&unit) {
                    self.high = Some(unit);
                } else {
                    out.push(char::from_u32(unit).unwrap_or(LONE_SURROGATE));
                }
            }
        }
    }

    fn flush_high(&mut self, out: &mut String) {
        if self.high.take().is_some() {
            out.push(LONE_SURROGATE);
        }
    }
}
