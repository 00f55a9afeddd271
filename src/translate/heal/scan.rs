//! Finds calls in text as it comes.
//!
//! Text goes out at once, but for what may be the beginning of an opener, which is shorter than the
//! longest of them. Behind an opener all is held until it is a call, and goes out as it came once it
//! cannot be one. Then the search goes on behind the opener's first byte, for a call may stand in
//! what only looked like one; how much is looked at twice is bounded.

use std::sync::Arc;

use super::Plan;
use super::code::Code;
use super::cursor::{Cursor, Ended, Stop, Wait};
use super::formats::{self, Channel, Effect, STOPS, Setting};
use super::offer::Call;
use crate::profile::HealFormat;

/// Looking at something again is paid from this, and from what comes.
const FIRST_FUEL: usize = 16 << 20;
/// How often each byte that comes may be looked at on the average.
const FUEL_PER_BYTE: usize = 64;

/// What was found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'a> {
    /// Text; never empty.
    Text(&'a str),
    /// Thinking, in a channel of its own; never empty.
    Thought(&'a str),
    /// Calls, and the text that they were.
    Calls(&'a [Call], HealFormat, &'a str),
    /// Text that belongs to a call before it.
    Rest(&'a str),
}

/// Reads one kind of text of an answer.
#[derive(Debug)]
pub(super) struct Scanner {
    plan: Arc<Plan>,
    /// The most bytes that are held.
    limit: usize,
    /// Whether channels are opened; in thinking only calls count.
    channels: bool,
    /// What may begin something, or be part of it.
    held: String,
    state: State,
    code: Code,
    /// Nothing but white space came.
    at_start: bool,
    channel: Option<Channel>,
    fuel: usize,
}

#[derive(Debug)]
enum State {
    /// In text; what is held may begin an opener.
    Text,
    /// Behind an opener; these formats may still fit.
    Candidate(Vec<(HealFormat, Wait)>),
    /// Behind a call of that format: white space and what closes it belongs to it.
    Tail(HealFormat),
    /// All is text from here on.
    Spent,
}

/// How far a look at some text came.
enum Step {
    /// All was given out, or is held.
    Done,
    /// Something may begin at this place.
    Opener(usize),
}

/// What a candidate turned out to be.
enum Verdict {
    Waits(Vec<(HealFormat, Wait)>),
    Is(HealFormat, Effect, usize),
    Not,
}

impl Scanner {
    pub(super) fn new(plan: Arc<Plan>, limit: usize, channels: bool) -> Self {
        Self {
            plan,
            limit,
            channels,
            held: String::new(),
            state: State::Text,
            code: Code::default(),
            at_start: true,
            channel: None,
            fuel: FIRST_FUEL,
        }
    }

    /// Whether something is held that cannot be told from text yet, but is no more than the
    /// beginning of an opener.
    fn holds_only_a_beginning(&self) -> bool {
        !matches!(self.state, State::Candidate(_))
    }

    /// Takes the next text.
    pub(super) fn push(&mut self, text: &str, each: &mut dyn FnMut(Found<'_>)) {
        self.fuel = self
            .fuel
            .saturating_add(text.len().saturating_mul(FUEL_PER_BYTE));
        if self.held.is_empty() {
            return self.drive(text, Ended::No, each);
        }
        let mut held = std::mem::take(&mut self.held);
        held.push_str(text);
        if let State::Candidate(waits) = &mut self.state
            && held.len() <= self.limit
        {
            let mut woken = false;
            for (_, wait) in waits {
                woken |= wait.is_over(&held);
            }
            if !woken {
                self.held = held;
                return;
            }
        }
        self.drive(&held, Ended::No, each);
    }

    /// Something else than text comes: what only begins an opener is none.
    pub(super) fn interrupt(&mut self, each: &mut dyn FnMut(Found<'_>)) {
        if self.holds_only_a_beginning() && !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.give(&held, each);
        }
    }

    /// No more text comes.
    pub(super) fn finish(&mut self, ended: Ended, each: &mut dyn FnMut(Found<'_>)) {
        let held = std::mem::take(&mut self.held);
        self.drive(&held, ended, each);
    }

    fn drive(&mut self, text: &str, ended: Ended, each: &mut dyn FnMut(Found<'_>)) {
        let mut at = 0;
        // Where a candidate is tried first: the text begins with it.
        let mut opener = matches!(self.state, State::Candidate(_)).then_some(0);
        loop {
            let place = match opener.take() {
                Some(place) => place,
                None => match self.look(text, at, ended, each) {
                    Step::Done => return,
                    Step::Opener(place) => place,
                },
            };
            let rest = text.get(place..).unwrap_or_default();
            match self.judge(rest, ended) {
                Verdict::Waits(waits) if ended == Ended::No => {
                    self.held = rest.to_owned();
                    self.state = State::Candidate(waits);
                    return;
                }
                Verdict::Is(format, effect, length) => {
                    self.take(
                        format,
                        &effect,
                        rest.get(..length).unwrap_or_default(),
                        each,
                    );
                    at = place + length;
                }
                Verdict::Waits(_) | Verdict::Not => {
                    // The first byte of an opener is ASCII.
                    if !matches!(self.state, State::Spent) {
                        self.state = State::Text;
                    }
                    self.at_start = false;
                    self.give(rest.get(..1).unwrap_or_default(), each);
                    at = place + 1;
                }
            }
        }
    }

    /// Gives out text from `at` on, up to what may be more than text.
    fn look(
        &mut self,
        text: &str,
        mut at: usize,
        ended: Ended,
        each: &mut dyn FnMut(Found<'_>),
    ) -> Step {
        if let State::Tail(format) = self.state {
            match self.tail(text, at, format, ended, each) {
                Some(end) => at = end,
                None => return Step::Done,
            }
        }
        let plain = |from: usize| text.get(from..).unwrap_or_default();
        if matches!(self.state, State::Spent) {
            self.give(plain(at), each);
            return Step::Done;
        }
        let from = at;
        if self.at_start {
            let rest = plain(at);
            let blank = rest.len() - rest.trim_start().len();
            if rest.as_bytes().get(blank) == Some(&b'{') && self.plan.has(HealFormat::BareJson) {
                self.give(rest.get(..blank).unwrap_or_default(), each);
                return Step::Opener(at + blank);
            }
            self.at_start = blank == rest.len();
        }
        let mut followed = at;
        while let Some(found) = memchr::memchr2(b'<', b'[', plain(at).as_bytes()) {
            let place = at + found;
            let rest = plain(place);
            let fit = self.fit(rest, ended);
            if fit != Fit::None {
                self.code
                    .follow(text.get(followed..place).unwrap_or_default());
                followed = place;
                let shown = self.code.holds_next(b'<') && self.channel.is_none();
                if !shown {
                    self.say(text.get(from..place).unwrap_or_default(), each);
                    if fit == Fit::Whole {
                        return Step::Opener(place);
                    }
                    self.held = rest.to_owned();
                    return Step::Done;
                }
            }
            at = place + 1;
        }
        self.code.follow(plain(followed));
        self.say(plain(from), each);
        Step::Done
    }

    /// Whether text begins with an opener.
    fn fit(&self, text: &str, ended: Ended) -> Fit {
        let mut fit = Fit::None;
        let mut look = |opener: &str| {
            if text.starts_with(opener) {
                fit = Fit::Whole;
            } else if ended == Ended::No && fit == Fit::None && opener.starts_with(text) {
                fit = Fit::Begun;
            }
        };
        for format in &self.plan.formats {
            format.marks().openers.iter().copied().for_each(&mut look);
        }
        if self.channel.is_some() {
            let ends = HealFormat::Harmony.marks().closers;
            ends.iter().copied().for_each(&mut look);
        }
        fit
    }

    /// Skips what belongs to the call before; nothing if that is all there is.
    fn tail(
        &mut self,
        text: &str,
        start: usize,
        format: HealFormat,
        ended: Ended,
        each: &mut dyn FnMut(Found<'_>),
    ) -> Option<usize> {
        let closers = || format.marks().closers.iter().chain(STOPS);
        let mut at = start;
        let rest = loop {
            let rest = text.get(at..).unwrap_or_default();
            at += rest.len() - rest.trim_start().len();
            let rest = rest.trim_start();
            match closers().find(|closer| rest.starts_with(**closer)) {
                Some(closer) => at += closer.len(),
                None => break rest,
            }
        };
        let skipped = text.get(start..at).unwrap_or_default();
        if !skipped.is_empty() {
            each(Found::Rest(skipped));
        }
        if rest.is_empty() {
            return None;
        }
        if ended == Ended::No && closers().any(|closer| closer.starts_with(rest)) {
            self.held = rest.to_owned();
            return None;
        }
        self.state = State::Text;
        Some(at)
    }

    /// Finds out what text is that begins with an opener, or with a brace at the answer's start.
    fn judge(&mut self, text: &str, ended: Ended) -> Verdict {
        if text.len() > self.limit {
            return Verdict::Not;
        }
        let setting = Setting {
            offers: &self.plan.offers,
            begins_line: self.code.at_line_start(),
            channel: self.channel,
            channels: self.channels,
        };
        let mut waits = Vec::new();
        let mut spent = 0;
        for format in &self.plan.formats {
            if !can_begin(*format, text, self.channel) {
                continue;
            }
            let mut c = Cursor::new(text, ended);
            let parsed = formats::parse(*format, &mut c, &setting);
            spent += c.at();
            match parsed {
                Ok(effect) => return Verdict::Is(*format, effect, c.at()),
                Err(Stop::More(wait)) => {
                    spent += text.len() - c.at();
                    waits.push((*format, wait));
                }
                Err(Stop::Missing) => spent += text.len() - c.at(),
                Err(Stop::No) => {}
            }
        }
        self.fuel = self.fuel.saturating_sub(spent);
        if self.fuel == 0 {
            // Nothing that a model means as a call gets here.
            self.state = State::Spent;
            return Verdict::Not;
        }
        match waits.is_empty() {
            true => Verdict::Not,
            false => Verdict::Waits(waits),
        }
    }

    fn take(
        &mut self,
        format: HealFormat,
        effect: &Effect,
        markup: &str,
        each: &mut dyn FnMut(Found<'_>),
    ) {
        self.at_start = false;
        self.code.call_ended();
        match effect {
            Effect::Calls(calls) => {
                self.channel = None;
                self.state = State::Tail(format);
                each(Found::Calls(calls, format, markup));
            }
            Effect::Channel(channel) => {
                self.code = Code::default();
                self.channel = *channel;
                self.state = State::Text;
            }
        }
    }

    /// Gives out text that the search is done with.
    fn give(&mut self, text: &str, each: &mut dyn FnMut(Found<'_>)) {
        self.code.follow(text);
        self.say(text, each);
    }

    fn say(&self, text: &str, each: &mut dyn FnMut(Found<'_>)) {
        if text.is_empty() {
            return;
        }
        each(match self.channel {
            Some(Channel::Analysis) => Found::Thought(text),
            Some(Channel::Final) | None => Found::Text(text),
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    None,
    /// It may be an opener once more has come.
    Begun,
    Whole,
}

/// Whether a format's markup can begin like this.
fn can_begin(format: HealFormat, text: &str, channel: Option<Channel>) -> bool {
    let marks = format.marks();
    let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    match format {
        HealFormat::BareJson => text.starts_with('{'),
        HealFormat::Harmony if channel.is_some() => begins(marks.openers) || begins(marks.closers),
        _ => begins(marks.openers),
    }
}
