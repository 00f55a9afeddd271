//! Goes over JSON without reading it: checks that it is JSON, and finds where its values end.
//!
//! What is accepted is what `serde_json` accepts, but for two things that it leaves to it: halves of
//! surrogate pairs, and values that are nested deeper than [`DEEPEST`].

use super::decode::unit;
use super::word::{self, WORD};

/// How many arrays and objects may be open within a value.
pub(super) const DEEPEST: u32 = u64::BITS;

/// How many words of a string are looked at before it counts as a long one.
const SHORT_WORDS: usize = 4;

/// What is not accepted, whatever it is: why is said by somebody slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// A place in a text.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Whether the text was gone over before, so that strings need not be looked into.
    known: bool,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            known: false,
        }
    }

    /// A place in a text that is known to be JSON.
    pub(super) fn known(text: &'t str) -> Self {
        Self {
            known: true,
            ..Self::new(text)
        }
    }

    /// How much of the text is taken.
    pub(super) fn taken(&self) -> usize {
        self.at
    }

    /// The text from an offset to here.
    pub(super) fn since(&self, start: usize) -> Result<&'t str, Refused> {
        self.text.get(start..self.at).ok_or(Refused)
    }

    /// The next byte that is not white space; it is not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = self.byte(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes the byte that was peeked.
    #[inline]
    pub(super) fn take(&mut self) {
        self.at += 1;
    }

    /// Takes the next byte that is not white space, which must be `wanted`.
    #[inline]
    pub(super) fn expect(&mut self, wanted: u8) -> Result<(), Refused> {
        match self.peek() {
            Some(byte) if byte == wanted => {
                self.at += 1;
                Ok(())
            }
            _ => Err(Refused),
        }
    }

    /// Takes the next value and gives its text.
    pub(super) fn value(&mut self) -> Result<&'t str, Refused> {
        self.peek();
        let start = self.at;
        self.skip_value()?;
        self.since(start)
    }

    /// Takes a string, which must be next, and gives what stands between its quotes, and whether there
    /// are escapes in it.
    pub(super) fn string(&mut self) -> Result<(&'t str, bool), Refused> {
        self.expect(b'"')?;
        let start = self.at;
        let escaped = self.skip_string()?;
        let inside = self.text.get(start..self.at - 1);
        Ok((inside.ok_or(Refused)?, escaped))
    }

    /// Takes a value, however deep it is: what is open is a row of bits, not a row of calls.
    fn skip_value(&mut self) -> Result<(), Refused> {
        // A bit for each that is open, the innermost lowest: whether it is an object.
        let (mut objects, mut open) = (0_u64, 0_u32);
        loop {
            let byte = self.peek().ok_or(Refused)?;
            match byte {
                b'"' => {
                    self.at += 1;
                    self.skip_string()?;
                }
                b'{' | b'[' => {
                    self.at += 1;
                    let (object, close) = (byte == b'{', byte + 2);
                    if self.peek() == Some(close) {
                        self.at += 1;
                    } else if open == DEEPEST {
                        return Err(Refused);
                    } else {
                        objects = objects << 1 | u64::from(object);
                        open += 1;
                        if object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                _ => self.skip_scalar(byte)?,
            }
            // A value is over, and perhaps what it stands in.
            loop {
                if open == 0 {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if object {
                            self.skip_key()?;
                        }
                        break;
                    }
                    Some(b'}') if object => {}
                    Some(b']') if !object => {}
                    _ => return Err(Refused),
                }
                self.at += 1;
                objects >>= 1;
                open -= 1;
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), Refused> {
        self.expect(b'"')?;
        self.skip_string()?;
        self.expect(b':')
    }

    /// Takes the rest of a string, its closing quote too. Says whether there were escapes in it.
    fn skip_string(&mut self) -> Result<bool, Refused> {
        let bytes = self.text.as_bytes();
        for _ in 0..SHORT_WORDS {
            let Some(block) = bytes.get(self.at..).and_then(<[u8]>::first_chunk::<WORD>) else {
                return self.skip_escapes();
            };
            let marks = word::marks(*block);
            if marks == 0 {
                self.at += WORD;
                continue;
            }
            let found = word::before_first(marks);
            if block.get(found) != Some(&b'"') {
                self.at += found;
                break;
            }
            self.at += found + 1;
            return Ok(false);
        }
        self.skip_long()
    }

    /// The same for a string that is not short and plain. Its end is looked for, and then all of it
    /// looked at without a single branch: where an escape stands no processor can foresee.
    fn skip_long(&mut self) -> Result<bool, Refused> {
        let bytes = self.text.as_bytes();
        let rest = bytes.get(self.at..).unwrap_or_default();
        let end = string_end(rest).ok_or(Refused)?;
        let inside = rest.get(..end).unwrap_or_default();
        if self.known {
            self.at += end + 1;
            return Ok(memchr::memchr(b'\\', inside).is_some());
        }
        let followers = rest.get(1..=end).unwrap_or_default();
        let (mut odd, mut escaped) = (false, false);
        for (byte, follower) in inside.iter().zip(followers) {
            let escapes = *byte == b'\\';
            odd |= (*byte < 0x20) | (escapes & !is_usual_escape(*follower));
            escaped |= escapes;
        }
        if odd {
            return self.skip_escapes();
        }
        self.at += end + 1;
        Ok(escaped)
    }

    /// The same, byte by byte where there is anything but plain text.
    fn skip_escapes(&mut self) -> Result<bool, Refused> {
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            if let Some(block) = rest.first_chunk::<WORD>() {
                let plain = word::before_first(word::marks(*block));
                self.at += plain;
                if plain == WORD {
                    continue;
                }
            }
            match self.byte(self.at).ok_or(Refused)? {
                b'"' => {
                    self.at += 1;
                    return Ok(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.at += escape_length(bytes, self.at).ok_or(Refused)?;
                }
                byte if word::is_marked(byte) => return Err(Refused),
                _ => self.at += 1,
            }
        }
    }

    /// Takes a number or a word.
    fn skip_scalar(&mut self, first: u8) -> Result<(), Refused> {
        let word = match first {
            b't' => "true",
            b'f' => "false",
            b'n' => "null",
            _ => return self.skip_number(),
        };
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(Refused);
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), Refused> {
        if self.byte(self.at) == Some(b'-') {
            self.at += 1;
        }
        match self.byte(self.at) {
            // Nothing but a fraction may follow a leading zero.
            Some(b'0') => self.at += 1,
            _ => self.skip_digits()?,
        }
        if self.byte(self.at) == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if matches!(self.byte(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    /// Takes digits, of which there must be one.
    fn skip_digits(&mut self) -> Result<(), Refused> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        match digits {
            0 => Err(Refused),
            _ => Ok(()),
        }
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }
}

/// Where the first quote stands that no backslash escapes.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let end = from + memchr::memchr(b'"', bytes.get(from..)?)?;
        let before = bytes.get(..end).unwrap_or_default();
        let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\');
        if backslashes.count() % 2 == 0 {
            return Some(end);
        }
        from = end + 1;
    }
}

/// Whether a byte makes an escape with the backslash before it, one of those that text is full of; and
/// so it does if that backslash is itself escaped.
fn is_usual_escape(byte: u8) -> bool {
    (byte == b'n') | (byte == b'"') | (byte == b'\\') | (byte == b't') | (byte == b'r')
}

/// How many bytes the escape at an offset takes, a whole surrogate pair being one. `None` for what is
/// no escape, and for half a pair.
#[inline]
fn escape_length(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => match unit(bytes.get(at..)?)? {
            0xd800..=0xdbff => matches!(unit(bytes.get(at + 6..)?)?, 0xdc00..=0xdfff).then_some(12),
            0xdc00..=0xdfff => None,
            _ => Some(6),
        },
        _ => None,
    }
}
