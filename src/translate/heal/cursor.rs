//! Reading markup that may not have come whole yet.
//!
//! A parser reads from the front each time it is tried. Where it runs out of text it says what it
//! waits for, so that it is not tried again before that has come: a long argument is looked through
//! once, not once for each of its pieces.

use memchr::memmem;

use super::offer::Offers;
use crate::json::partial::{Syntax, Verdict};

/// The longest name that is waited for, of a tool or a parameter.
const LONGEST_NAME: usize = 256;

/// Why a parser has nothing.
#[derive(Debug)]
pub(super) enum Stop {
    /// The text ends in the middle of what may be a call.
    More(Wait),
    /// It is no call.
    No,
    /// It is no call, as what had to come did not; the text was searched to its end.
    Missing,
}

/// What a parser waits for.
#[derive(Debug)]
pub(super) enum Wait {
    /// Anything.
    Bytes,
    /// This text, from that place on.
    Text(&'static str, usize),
    /// The end of a JSON value that was read up to that place.
    Json(Syntax, usize),
}

impl Wait {
    /// Whether it has come, or cannot come any more.
    pub(super) fn is_over(&mut self, text: &str) -> bool {
        match self {
            Self::Bytes => true,
            Self::Text(needle, from) => {
                let bytes = text.as_bytes();
                let found = bytes
                    .get(*from..)
                    .is_none_or(|rest| memmem::find(rest, needle.as_bytes()).is_some());
                *from = (*from).max(bytes.len().saturating_sub(needle.len() - 1));
                found
            }
            Self::Json(syntax, at) => {
                let Some(rest) = text.as_bytes().get(*at..) else {
                    return true;
                };
                *at = text.len();
                syntax.push(rest) != Verdict::More
            }
        }
    }
}

pub(super) type Parsed<T> = Result<T, Stop>;

/// Whether more text may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It may.
    No,
    /// It was all said.
    Whole,
    /// The model was cut off.
    Cut,
}

/// A place in the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    at: usize,
    ended: Ended,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str, ended: Ended) -> Self {
        Self { text, at: 0, ended }
    }

    /// How much was read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Whether there is nothing left, and nothing will come.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended != Ended::No && self.rest().is_empty()
    }

    /// Whether the model said all that it wanted, and nothing is left.
    pub(super) fn is_at_whole_end(&self) -> bool {
        self.ended == Ended::Whole && self.rest().is_empty()
    }

    /// The next byte; at the end none.
    pub(super) fn peek(&self) -> Parsed<Option<u8>> {
        match self.rest().as_bytes().first() {
            Some(byte) => Ok(Some(*byte)),
            None if self.ended == Ended::No => Err(Stop::More(Wait::Bytes)),
            None => Ok(None),
        }
    }

    /// Waits for more, if more may come.
    pub(super) fn wait(&self) -> Parsed<()> {
        match self.ended {
            Ended::No => Err(Stop::More(Wait::Bytes)),
            Ended::Whole | Ended::Cut => Ok(()),
        }
    }

    /// Skips white space.
    pub(super) fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Skips one byte, which must be ASCII.
    pub(super) fn skip(&mut self, byte: u8) -> Parsed<bool> {
        let is_next = self.peek()? == Some(byte);
        self.at += usize::from(is_next);
        Ok(is_next)
    }

    /// Takes `word` if it comes next.
    pub(super) fn take(&mut self, word: &str) -> Parsed<bool> {
        let is_next = self.sees(&[word])?;
        if is_next {
            self.at += word.len();
        }
        Ok(is_next)
    }

    /// Takes `word`, which must come next.
    pub(super) fn expect(&mut self, word: &str) -> Parsed<()> {
        match self.take(word)? {
            true => Ok(()),
            false => Err(Stop::No),
        }
    }

    /// Whether one of the words comes next.
    pub(super) fn sees(&self, words: &[&str]) -> Parsed<bool> {
        let rest = self.rest();
        if words.iter().any(|word| rest.starts_with(word)) {
            return Ok(true);
        }
        if self.ended == Ended::No && words.iter().any(|word| word.starts_with(rest)) {
            return Err(Stop::More(Wait::Bytes));
        }
        Ok(false)
    }

    /// Takes all up to `closer`, and the closer.
    pub(super) fn until(&mut self, closer: &'static str) -> Parsed<&'t str> {
        let rest = self.rest();
        let Some(length) = memmem::find(rest.as_bytes(), closer.as_bytes()) else {
            return Err(self.missing(closer, self.at));
        };
        self.at += length + closer.len();
        Ok(rest.get(..length).unwrap_or_default())
    }

    /// Goes to `closer`, which stays.
    pub(super) fn skip_to(&mut self, closer: &'static str) -> Parsed<()> {
        self.until(closer)?;
        self.at -= closer.len();
        Ok(())
    }

    /// Takes the next letter of what ends with `closer`.
    pub(super) fn letter(&mut self, closer: &'static str) -> Parsed<char> {
        match self.rest().chars().next() {
            Some(letter) => {
                self.at += letter.len_utf8();
                Ok(letter)
            }
            None => Err(self.missing(closer, self.at)),
        }
    }

    /// Takes a value up to the first `closer` behind which, after white space, one of `next` comes or
    /// the text ends: the value itself may hold the closer.
    pub(super) fn value(&mut self, closer: &'static str, next: &[&str]) -> Parsed<&'t str> {
        let rest = self.rest();
        let mut from = 0;
        loop {
            let behind = rest.get(from..).unwrap_or_default();
            let Some(length) = memmem::find(behind.as_bytes(), closer.as_bytes()) else {
                return Err(self.missing(closer, self.at + from));
            };
            let close = from + length;
            let mut after = *self;
            after.at += close + closer.len();
            from = close + closer.len();
            let end = after;
            after.space();
            if after.is_at_end() || after.sees(next)? {
                *self = end;
                return Ok(rest.get(..close).unwrap_or_default());
            }
        }
    }

    /// Takes a name: all up to one of the bytes, which stays.
    pub(super) fn name(&mut self, stops: &[u8]) -> Parsed<&'t str> {
        let rest = self.rest();
        let length = rest.bytes().position(|byte| stops.contains(&byte));
        match length {
            Some(length) if length <= LONGEST_NAME => {
                self.at += length;
                Ok(rest.get(..length).unwrap_or_default())
            }
            None if self.ended == Ended::No && rest.len() <= LONGEST_NAME => {
                Err(Stop::More(Wait::Bytes))
            }
            None if self.ended != Ended::No && rest.len() <= LONGEST_NAME => {
                self.at = self.text.len();
                Ok(rest)
            }
            _ => Err(Stop::No),
        }
    }

    /// Takes the name of a tool: all up to one of the bytes, which stays. What no name begins like is
    /// not waited for.
    pub(super) fn tool_name(&mut self, offers: &Offers, stops: &[u8]) -> Parsed<&'t str> {
        let begun = self.rest();
        match self.name(stops) {
            Err(Stop::More(_)) if !offers.may_name(begun) => Err(Stop::No),
            parsed => parsed,
        }
    }

    /// Takes a JSON value.
    pub(super) fn json(&mut self) -> Parsed<&'t str> {
        let (raw, owed) = self.json_or_part(&[])?;
        match owed {
            0 => Ok(raw),
            _ => Err(Stop::No),
        }
    }

    /// Takes a JSON value; or an object that lacks its last braces, if one of `closers` comes
    /// instead. Says how many are missing.
    pub(super) fn json_or_part(&mut self, closers: &[&str]) -> Parsed<(&'t str, usize)> {
        let start = self.at;
        let rest = self.rest();
        let mut syntax = Syntax::new();
        match syntax.push(rest.as_bytes()) {
            Verdict::Ended(length) => {
                self.at += length;
                Ok((rest.get(..length).unwrap_or_default(), 0))
            }
            Verdict::More if self.ended == Ended::No => {
                Err(Stop::More(Wait::Json(syntax, self.text.len())))
            }
            Verdict::Invalid(length) if !closers.is_empty() => {
                self.at += length;
                match syntax.owes_braces() {
                    Some(owed) if self.sees(closers)? => {
                        Ok((self.text.get(start..self.at).unwrap_or_default(), owed))
                    }
                    _ => Err(Stop::No),
                }
            }
            Verdict::More => Err(Stop::Missing),
            Verdict::Invalid(_) => Err(Stop::No),
        }
    }

    fn missing(&self, closer: &'static str, from: usize) -> Stop {
        match self.ended {
            Ended::No => {
                let known = self.text.len().saturating_sub(closer.len() - 1);
                Stop::More(Wait::Text(closer, from.max(known)))
            }
            Ended::Whole | Ended::Cut => Stop::Missing,
        }
    }
}
