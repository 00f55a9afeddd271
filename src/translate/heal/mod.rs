//! Calls that a model wrote into its text, or at the end of its thinking, become calls.
//!
//! A server that knows a model's template takes its calls out of the text; one that does not lets them
//! through as they are. The rules:
//!
//! * Only tools that the request offers are called, under exactly the name by which they were
//!   offered. Anything else stays text, byte for byte.
//! * Markup in code (a fence, or backticks) is talked about. So is what does not fit its format from
//!   the opener to the closer.
//! * A call is given out once it is whole, arguments and all.
//! * In thinking a call counts only where the thinking ends with it and nothing else was answered:
//!   some models forget to close their thinking before they call. Until that is known it is held.
//!
//! `scan` finds markup, `formats` reads it, `offer` knows the tools and types what came as bare text,
//! `code` knows where text is code.

mod code;
mod cursor;
mod formats;
mod offer;
mod payload;
mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(super) use offer::{Offer, Offers};

use super::carry::CarryField;
use crate::profile::HealFormat;
use crate::responses::item::Logprob;
use cursor::Ended;
use offer::Call;
use scan::{Found, Scanner};

/// What may be healed in the answer to a request.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The tools.
    pub(super) offers: Offers,
    /// The formats, in the order in which they are tried.
    pub(super) formats: Vec<HealFormat>,
}

impl Plan {
    fn has(&self, format: HealFormat) -> bool {
        self.formats.contains(&format)
    }
}

/// How many calls of one format were healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Healed {
    /// The format, as a configuration names it.
    pub format: &'static str,
    /// How many calls.
    pub calls: usize,
}

/// What an answer says once its calls were taken out.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    /// Text; never empty.
    Text(&'a str, Vec<Logprob>),
    /// Thinking; never empty.
    Thought(&'a str, CarryField),
    /// A call: name and arguments.
    Call(&'a str, &'a str),
}

/// Reads the text and the thinking of one answer.
#[derive(Debug)]
pub(super) struct Healer {
    text: Scanner,
    thinking: Scanner,
    /// Calls at the end of the thinking so far, and all that they were made of.
    drafts: Vec<(Call, HealFormat)>,
    drafted: String,
    /// How the thinking comes.
    field: CarryField,
    /// Something else than thinking was said.
    answered: bool,
    /// Of tokens whose text is held.
    logprobs: Vec<Logprob>,
    healed: Vec<Healed>,
}

impl Healer {
    /// `limit` is the most bytes that may be held.
    pub(super) fn new(plan: &Arc<Plan>, limit: usize) -> Self {
        Self {
            text: Scanner::new(Arc::clone(plan), limit, true),
            thinking: Scanner::new(Arc::clone(plan), limit, false),
            drafts: Vec::new(),
            drafted: String::new(),
            field: CarryField::ReasoningContent,
            answered: false,
            logprobs: Vec::new(),
            healed: Vec::new(),
        }
    }

    /// What was healed so far, by format.
    pub(super) fn healed(&self) -> &[Healed] {
        &self.healed
    }

    /// Takes more text.
    pub(super) fn text(
        &mut self,
        text: &str,
        logprobs: Vec<Logprob>,
        each: &mut dyn FnMut(Heard<'_>),
    ) {
        if !text.trim().is_empty() {
            self.answer_begins(each);
        }
        self.logprobs.extend(logprobs);
        let Self {
            text: scanner,
            logprobs,
            healed,
            ..
        } = self;
        scanner.push(text, &mut |found| say(found, logprobs, healed, each));
    }

    /// Takes more thinking.
    pub(super) fn thought(
        &mut self,
        text: &str,
        field: CarryField,
        each: &mut dyn FnMut(Heard<'_>),
    ) {
        self.field = field;
        let Self {
            thinking,
            drafts,
            drafted,
            ..
        } = self;
        thinking.push(text, &mut |found| {
            think(found, drafts, drafted, field, each);
        });
    }

    /// Something else than text or thinking comes, which is part of the answer.
    pub(super) fn interrupt(&mut self, each: &mut dyn FnMut(Heard<'_>)) {
        self.answer_begins(each);
        let Self {
            text: scanner,
            logprobs,
            healed,
            ..
        } = self;
        scanner.interrupt(&mut |found| say(found, logprobs, healed, each));
    }

    /// No more comes, because the answer is over, or (`cut`) because it got too long.
    pub(super) fn finish(&mut self, cut: bool, each: &mut dyn FnMut(Heard<'_>)) {
        let ended = if cut { Ended::Cut } else { Ended::Whole };
        let field = self.field;
        let Self {
            text: scanner,
            thinking,
            drafts,
            drafted,
            answered,
            logprobs,
            healed,
            ..
        } = self;
        thinking.finish(ended, &mut |found| {
            think(found, drafts, drafted, field, each);
        });
        scanner.finish(ended, &mut |found| say(found, logprobs, healed, each));
        if *answered {
            return release(drafts, drafted, field, each);
        }
        for (call, format) in std::mem::take(drafts) {
            count(healed, format, 1);
            each(Heard::Call(&call.name, &call.arguments));
        }
    }

    /// What was drafted in the thinking is no call: the answer comes.
    fn answer_begins(&mut self, each: &mut dyn FnMut(Heard<'_>)) {
        self.answered = true;
        let field = self.field;
        let Self {
            thinking,
            drafts,
            drafted,
            ..
        } = self;
        thinking.finish(Ended::Cut, &mut |found| {
            think(found, drafts, drafted, field, each);
        });
        release(drafts, drafted, field, each);
    }
}

/// What was found in the text.
fn say(
    found: Found<'_>,
    logprobs: &mut Vec<Logprob>,
    healed: &mut Vec<Healed>,
    each: &mut dyn FnMut(Heard<'_>),
) {
    match found {
        Found::Text(text) => each(Heard::Text(text, std::mem::take(logprobs))),
        Found::Thought(text) => each(Heard::Thought(text, CarryField::ReasoningContent)),
        Found::Calls(calls, format, _) => {
            logprobs.clear();
            count(healed, format, calls.len());
            for call in calls {
                each(Heard::Call(&call.name, &call.arguments));
            }
        }
        Found::Rest(_) => logprobs.clear(),
    }
}

/// What was found in the thinking.
fn think(
    found: Found<'_>,
    drafts: &mut Vec<(Call, HealFormat)>,
    drafted: &mut String,
    field: CarryField,
    each: &mut dyn FnMut(Heard<'_>),
) {
    match found {
        Found::Text(text) | Found::Thought(text) => {
            release(drafts, drafted, field, each);
            each(Heard::Thought(text, field));
        }
        Found::Calls(calls, format, markup) => {
            drafts.extend(calls.iter().map(|call| (call.clone(), format)));
            drafted.push_str(markup);
        }
        Found::Rest(text) => drafted.push_str(text),
    }
}

/// Gives drafts back for the thinking that they were.
fn release(
    drafts: &mut Vec<(Call, HealFormat)>,
    drafted: &mut String,
    field: CarryField,
    each: &mut dyn FnMut(Heard<'_>),
) {
    drafts.clear();
    let drafted = std::mem::take(drafted);
    if !drafted.is_empty() {
        each(Heard::Thought(&drafted, field));
    }
}

fn count(healed: &mut Vec<Healed>, format: HealFormat, calls: usize) {
    let format = format.marks().name;
    match healed.iter_mut().find(|known| known.format == format) {
        Some(known) => known.calls += calls,
        None => healed.push(Healed { format, calls }),
    }
}
