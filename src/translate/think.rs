//! Thinking that comes inside of the text, between `<think>` and `</think>`.
//!
//! Only at the beginning of an answer: a tag later in the text is text. White space around the tags
//! belongs to neither side. Text is held back for no longer than the tag that it may turn out to be.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Splits an answer into thinking and text.
#[derive(Debug, Default)]
pub(super) struct ThinkSplitter {
    state: State,
    /// What may still be part of a tag, or white space that may turn out to be at an end.
    held: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but white space came so far.
    #[default]
    Start,
    /// `<think>` came, and no thought yet.
    Opened,
    /// Between the tags.
    Inside,
    /// `</think>` came, and no text yet; another thought may begin.
    Closed,
    /// In the text, to the end.
    Text,
}

/// A piece of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Thought(&'a str),
}

impl ThinkSplitter {
    /// Takes all that comes for text.
    pub(super) fn disable(&mut self) {
        self.state = State::Text;
    }

    /// Takes the next text and hands out pieces of it, none of them empty.
    pub(super) fn push(&mut self, text: &str, mut each: impl FnMut(Piece<'_>)) {
        if self.state == State::Text {
            if !self.held.is_empty() {
                each(Piece::Text(&std::mem::take(&mut self.held)));
            }
            if !text.is_empty() {
                each(Piece::Text(text));
            }
            return;
        }
        self.held.push_str(text);
        while self.step(&mut each) {}
    }

    /// Says that no more text comes.
    pub(super) fn finish(&mut self, mut each: impl FnMut(Piece<'_>)) {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Start | State::Text if !held.is_empty() => each(Piece::Text(&held)),
            State::Closed if !held.trim().is_empty() => each(Piece::Text(held.trim_start())),
            State::Opened | State::Inside if !held.trim().is_empty() => {
                each(Piece::Thought(held.trim_end()));
            }
            _ => {}
        }
    }

    /// Takes one thing out of what is held; says whether there may be more.
    fn step(&mut self, each: &mut impl FnMut(Piece<'_>)) -> bool {
        match self.state {
            State::Start | State::Closed => self.before_text(each),
            State::Opened => {
                self.drop_leading_space();
                if self.held.is_empty() {
                    return false;
                }
                self.state = State::Inside;
                true
            }
            State::Inside => self.inside(each),
            State::Text => {
                if !self.held.is_empty() {
                    each(Piece::Text(&std::mem::take(&mut self.held)));
                }
                false
            }
        }
    }

    fn before_text(&mut self, each: &mut impl FnMut(Piece<'_>)) -> bool {
        let trimmed = self.held.trim_start();
        if let Some(rest) = trimmed.strip_prefix(OPEN) {
            self.held = rest.to_owned();
            self.state = State::Opened;
            return true;
        }
        if OPEN.starts_with(trimmed) {
            return false;
        }
        if self.state == State::Closed {
            self.drop_leading_space();
        }
        self.state = State::Text;
        self.step(each)
    }

    fn inside(&mut self, each: &mut impl FnMut(Piece<'_>)) -> bool {
        if let Some((thought, rest)) = self.held.split_once(CLOSE) {
            let thought = thought.trim_end();
            if !thought.is_empty() {
                each(Piece::Thought(thought));
            }
            self.held = rest.to_owned();
            self.state = State::Closed;
            return true;
        }
        let certain = self.certain();
        if certain > 0 {
            let rest = self.held.split_off(certain);
            each(Piece::Thought(&std::mem::replace(&mut self.held, rest)));
        }
        false
    }

    /// How much of what is held is thought for certain: not the beginning of the closing tag, nor
    /// white space before it.
    fn certain(&self) -> usize {
        let held = &self.held;
        let tag = (1..CLOSE.len())
            .rev()
            .filter_map(|length| CLOSE.get(..length))
            .find(|head| held.ends_with(head))
            .map_or(0, str::len);
        let before = held.get(..held.len() - tag).unwrap_or_default();
        before.trim_end().len()
    }

    fn drop_leading_space(&mut self) {
        let blank = self.held.len() - self.held.trim_start().len();
        self.held.drain(..blank);
    }
}
