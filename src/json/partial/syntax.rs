//! Checks and skips one JSON value that arrives in fragments.

use memchr::memchr2;

/// Reads one value that is not a string, byte by byte, and says where it ends.
///
/// What is open is a list of brackets rather than a call stack, so depth costs one byte a level
/// and nothing else.
#[derive(Debug)]
pub(crate) struct Syntax {
    open: Vec<Bracket>,
    expect: Expect,
}

/// What one look at some bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The value goes on behind these bytes.
    More,
    /// The value ended before the byte at this offset.
    Ended(usize),
    /// The byte at this offset has no place in JSON.
    Invalid(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Object,
    Array,
}

/// What may come next.
#[derive(Debug, Clone, Copy)]
enum Expect {
    Value,
    ValueOrClose,
    Key,
    KeyOrClose,
    Colon,
    CommaOrClose,
    Text { key: bool, escaped: bool },
    Number(Number),
    Word(&'static [u8]),
    Nothing,
}

/// The part of a number that was read last.
#[derive(Debug, Clone, Copy)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    /// The part that `byte` leads to, if a number may go on with it.
    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Some(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                Some(Self::ExponentDigits)
            }
            _ => None,
        }
    }

    /// Whether a number may stop here.
    fn may_end(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits
        )
    }
}

impl Syntax {
    /// A reader that stands before a value.
    pub(crate) fn new() -> Self {
        Self {
            open: Vec::new(),
            expect: Expect::Value,
        }
    }

    /// Reads `bytes` up to the end of the value.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Verdict {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let step = match self.expect {
                Expect::Nothing => return Verdict::Ended(at),
                Expect::Text { key, escaped } => {
                    at += self.text(key, escaped, bytes.get(at..).unwrap_or_default());
                    continue;
                }
                Expect::Number(number) => match number.next(byte) {
                    Some(next) => {
                        self.expect = Expect::Number(next);
                        true
                    }
                    None if number.may_end() => {
                        // The byte belongs to whatever comes after the number.
                        self.value_ended();
                        continue;
                    }
                    None => false,
                },
                Expect::Word(rest) => self.letter(rest, byte),
                _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => true,
                _ => self.mark(byte),
            };
            if !step {
                return Verdict::Invalid(at);
            }
            at += 1;
        }
        match self.expect {
            Expect::Nothing => Verdict::Ended(at),
            _ => Verdict::More,
        }
    }

    /// How many braces would make it whole, if nothing else is missing.
    pub(crate) fn owes_braces(&self) -> Option<usize> {
        let objects = self.open.iter().all(|open| *open == Bracket::Object);
        (matches!(self.expect, Expect::CommaOrClose) && objects).then_some(self.open.len())
    }

    /// Reads on in a string; returns how many bytes that took.
    fn text(&mut self, key: bool, escaped: bool, rest: &[u8]) -> usize {
        if escaped {
            let escaped = false;
            self.expect = Expect::Text { key, escaped };
            return 1;
        }
        let Some(run) = memchr2(b'"', b'\\', rest) else {
            return rest.len();
        };
        if rest.get(run) == Some(&b'\\') {
            let escaped = true;
            self.expect = Expect::Text { key, escaped };
        } else if key {
            self.expect = Expect::Colon;
        } else {
            self.value_ended();
        }
        run + 1
    }

    /// Reads one letter of `true`, `false` or `null`.
    fn letter(&mut self, rest: &'static [u8], byte: u8) -> bool {
        match rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.expect = Expect::Word(rest);
                if rest.is_empty() {
                    self.value_ended();
                }
                true
            }
            _ => false,
        }
    }

    /// Reads a byte outside of strings, numbers and words.
    fn mark(&mut self, byte: u8) -> bool {
        match (self.expect, byte) {
            (Expect::ValueOrClose | Expect::CommaOrClose, b']') => self.close(Bracket::Array),
            (Expect::KeyOrClose | Expect::CommaOrClose, b'}') => self.close(Bracket::Object),
            (Expect::Value | Expect::ValueOrClose, _) => self.value_starts(byte),
            (Expect::Key | Expect::KeyOrClose, b'"') => {
                let (key, escaped) = (true, false);
                self.expect = Expect::Text { key, escaped };
                true
            }
            (Expect::Colon, b':') => {
                self.expect = Expect::Value;
                true
            }
            (Expect::CommaOrClose, b',') => {
                self.expect = match self.open.last() {
                    Some(Bracket::Object) => Expect::Key,
                    _ => Expect::Value,
                };
                true
            }
            _ => false,
        }
    }

    fn value_starts(&mut self, byte: u8) -> bool {
        self.expect = match byte {
            b'{' => {
                self.open.push(Bracket::Object);
                Expect::KeyOrClose
            }
            b'[' => {
                self.open.push(Bracket::Array);
                Expect::ValueOrClose
            }
            b'"' => Expect::Text {
                key: false,
                escaped: false,
            },
            b'-' => Expect::Number(Number::Minus),
            b'0' => Expect::Number(Number::Zero),
            b'1'..=b'9' => Expect::Number(Number::Integer),
            b't' => Expect::Word(b"rue"),
            b'f' => Expect::Word(b"alse"),
            b'n' => Expect::Word(b"ull"),
            _ => return false,
        };
        true
    }

    fn close(&mut self, bracket: Bracket) -> bool {
        if self.open.pop() != Some(bracket) {
            return false;
        }
        self.value_ended();
        true
    }

    fn value_ended(&mut self) {
        self.expect = if self.open.is_empty() {
            Expect::Nothing
        } else {
            Expect::CommaOrClose
        };
    }
}
