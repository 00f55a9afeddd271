//! One call: what of it is told at once, and what waits because it may turn out to be something else.

use serde_json::value::RawValue;

use super::Fragment;
use super::progress::JsonProgress;
use crate::json::Tree;
use crate::translate::event::ChatEvent;

/// One call, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) index: Option<i64>,
    pub(super) id: String,
    pub(super) name: String,
    /// Its place among the announced ones, once it is announced.
    pub(super) slot: Option<usize>,
    /// Arguments that wait for the name, or `{}` that may be a placeholder.
    held: String,
    pub(super) progress: JsonProgress,
    /// All of the arguments, to know a repetition by.
    pub(super) arguments: String,
    /// They are a freeform tool's own text, not JSON.
    pub(super) raw: bool,
    pub(super) ended: bool,
    /// It says again what was found in the text: it is not announced.
    pub(super) dropped: bool,
    /// It was found in the text too.
    pub(super) twinned: bool,
}

impl Call {
    /// One of which nothing is known yet; `raw` for a freeform tool's own text.
    pub(super) fn new(index: Option<i64>, raw: bool) -> Self {
        Self {
            index,
            raw,
            ..Self::default()
        }
    }

    /// Whether a fragment without a known id begins another call: it is named, and this call is
    /// whole and not just said again.
    pub(super) fn is_named_anew(&self, fragment: &Fragment<'_>) -> bool {
        let Some(name) = &fragment.name else {
            return false;
        };
        if self.name.is_empty() {
            return false;
        }
        if **name != self.name {
            return true;
        }
        self.progress.is_whole() && !self.is_said_again(fragment)
    }

    /// Whether a fragment only repeats this call: the same arguments, however they are spaced, or
    /// none at all where the index says that it is the same call.
    fn is_said_again(&self, fragment: &Fragment<'_>) -> bool {
        let (old, new) = (self.arguments.trim(), fragment.arguments.trim());
        if new.is_empty() {
            return fragment.index.is_some();
        }
        old == new || matches!((Tree::parse(old), Tree::parse(new)), (Some(a), Some(b)) if a == b)
    }

    /// Whether it is this call, however it is spaced or ordered.
    pub(super) fn says(&self, name: &str, arguments: &str) -> bool {
        let own = match self.arguments.trim() {
            "" | "null" => "{}",
            own => own,
        };
        let same = |own: &str| match (Tree::parse(own), Tree::parse(arguments)) {
            (Some(own), Some(other)) => own.is_same(&other),
            _ => false,
        };
        self.name == name && (same(own) || decoded_object(own).is_some_and(|own| same(&own)))
    }

    /// Tells that it begins, and what was held back until its name was known.
    pub(super) fn announce(
        &mut self,
        slot: usize,
        extra: Option<&RawValue>,
        each: &mut impl FnMut(ChatEvent<'_>),
    ) {
        self.slot = Some(slot);
        let call_id = (!self.id.is_empty()).then_some(self.id.as_str());
        each(ChatEvent::CallStart {
            slot,
            call_id,
            name: &self.name,
            extra,
            raw: self.raw,
        });
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.give(slot, &held, each);
        }
    }

    /// Takes more of its arguments.
    pub(super) fn push(&mut self, arguments: &str, each: &mut impl FnMut(ChatEvent<'_>)) {
        if self.ended {
            return;
        }
        let mut arguments = arguments;
        if self.progress.is_whole() && !self.raw {
            let more = arguments.trim_start();
            // `{}` was a placeholder: the arguments come only now.
            if self.arguments.trim() != "{}" || !more.starts_with('{') || more.trim_end() == "{}" {
                return;
            }
            self.held.clear();
            self.arguments.clear();
            self.progress = JsonProgress::default();
            arguments = more;
        }
        if !self.raw {
            let taken = self.progress.push(arguments);
            arguments = arguments.get(..taken).unwrap_or(arguments);
        }
        if arguments.is_empty() {
            return;
        }
        self.arguments.push_str(arguments);
        match self.slot {
            Some(slot) if !self.must_wait() => {
                let held = std::mem::take(&mut self.held);
                if !held.is_empty() {
                    self.give(slot, &held, each);
                }
                self.give(slot, arguments, each);
            }
            _ => self.held.push_str(arguments),
        }
    }

    /// Whether the arguments so far may turn out to be something else than they look like.
    fn must_wait(&self) -> bool {
        let so_far = self.arguments.trim_start();
        !self.raw
            && ("{}".starts_with(so_far.trim_end())
                || "null".starts_with(so_far.trim_end())
                || so_far.starts_with('"'))
    }

    fn give(&self, slot: usize, text: &str, each: &mut impl FnMut(ChatEvent<'_>)) {
        each(ChatEvent::CallArguments { slot, text });
    }

    /// Gives out what was held back, for what it turned out to be.
    pub(super) fn release(&mut self, each: &mut impl FnMut(ChatEvent<'_>)) {
        let Some(slot) = self.slot else {
            return;
        };
        let held = std::mem::take(&mut self.held);
        let text = match held.trim() {
            "" => return,
            // No arguments; what a call without arguments looks like is not decided here.
            "null" if !self.raw => return,
            text if text.starts_with('"') && !self.raw => decoded_object(text),
            _ => None,
        };
        self.give(slot, text.as_deref().unwrap_or(&held), each);
    }

    /// Ends the call if its arguments are whole; a lone `{}` only if nothing can replace it.
    pub(super) fn end_if_whole(&mut self, even_empty: bool, each: &mut impl FnMut(ChatEvent<'_>)) {
        let empty = self.arguments.trim() == "{}";
        if self.ended || self.raw || !self.progress.is_whole() || (empty && !even_empty) {
            return;
        }
        self.release(each);
        if let Some(slot) = self.slot {
            self.ended = true;
            each(ChatEvent::CallEnd { slot });
        }
    }
}

/// The object that a JSON string holds, if it holds one.
fn decoded_object(text: &str) -> Option<String> {
    let inner: String = serde_json::from_str(text).ok()?;
    Tree::parse(&inner)?.is_object().then_some(inner)
}
