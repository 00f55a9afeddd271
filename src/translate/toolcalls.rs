//! Calls out of fragments, whatever the server leaves out or says twice.
//!
//! The rules, in this order:
//! 1. An id that another call with the same index (or none) has continues that call.
//! 2. An id that is new begins a call, unless the call at that index has no id yet and is not named
//!    anew: then the id came late.
//! 3. Without an id, the index tells the call; without an index too, it is the last one. A fragment
//!    that is named begins a new call if the call's arguments are whole already.
//! 4. Arguments after whole arguments are passed over (some servers repeat them at the end), except
//!    that `{}` may turn out to be a placeholder.
//! 5. A call is announced once its name is known; until then its arguments wait.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::event::ChatEvent;
use crate::chat::chunk::{CustomCall, Function, ToolCall};
use crate::json::Text;

/// The calls of one answer.
#[derive(Debug, Default)]
pub(super) struct ToolCalls {
    calls: Vec<Call>,
    /// Calls announced so far.
    announced: usize,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<i64>,
    id: String,
    name: String,
    /// Its place among the announced ones, once it is announced.
    slot: Option<usize>,
    /// Arguments that wait for the name, or `{}` that may be a placeholder.
    held: String,
    progress: JsonProgress,
    /// All of the arguments, to know a repetition by.
    arguments: String,
    ended: bool,
}

/// One fragment of a call, whatever form it came in.
struct Fragment<'a> {
    index: Option<i64>,
    id: Option<Text<'a>>,
    name: Option<Text<'a>>,
    arguments: Cow<'a, str>,
    extra: Option<&'a RawValue>,
}

impl ToolCalls {
    /// Whether a call was begun that never got a name.
    pub(super) fn has_unnamed(&self) -> bool {
        self.calls.iter().any(|call| call.slot.is_none())
    }

    /// Takes one fragment.
    pub(super) fn fragment(&mut self, raw: ToolCall<'_>, each: &mut impl FnMut(ChatEvent<'_>)) {
        let (name, arguments) = match (raw.function, raw.custom) {
            (Some(function), _) => (function.name.clone(), arguments(&function)),
            (None, Some(CustomCall { name, input })) => {
                (name, input.map(Text::into_cow).unwrap_or_default())
            }
            (None, None) => (None, Cow::Borrowed("")),
        };
        self.take(
            Fragment {
                index: raw.index,
                id: raw.id,
                name,
                arguments,
                extra: raw.extra_content.filter(|raw| raw.get() != "null"),
            },
            each,
        );
    }

    /// Takes one fragment of the older form: there is but one call, and no id.
    pub(super) fn legacy(&mut self, function: Function<'_>, each: &mut impl FnMut(ChatEvent<'_>)) {
        // Some servers send both forms of each call.
        if self.calls.iter().any(|call| call.index != Some(LEGACY)) {
            return;
        }
        let arguments = arguments(&function);
        self.take(
            Fragment {
                index: Some(LEGACY),
                id: None,
                name: function.name,
                arguments,
                extra: None,
            },
            each,
        );
    }

    /// Something else than a call begins: whole calls are over.
    pub(super) fn end_whole(&mut self, each: &mut impl FnMut(ChatEvent<'_>)) {
        for call in &mut self.calls {
            call.end_if_whole(each);
        }
    }

    /// No more fragments come: gives out what was held back.
    pub(super) fn finish(&mut self, each: &mut impl FnMut(ChatEvent<'_>)) {
        for call in &mut self.calls {
            call.release(each);
        }
    }

    fn take(&mut self, mut fragment: Fragment<'_>, each: &mut impl FnMut(ChatEvent<'_>)) {
        fragment.id = fragment.id.filter(|id| !id.is_empty());
        fragment.name = fragment.name.filter(|name| !name.is_empty());
        if fragment.id.is_none() && fragment.name.is_none() && fragment.arguments.is_empty() {
            return;
        }
        let at = match self.find(&fragment) {
            Some(at) => at,
            None => {
                self.end_whole(each);
                self.calls.push(Call {
                    index: fragment.index,
                    ..Call::default()
                });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(at) else {
            return;
        };
        if let (true, Some(id)) = (call.id.is_empty(), &fragment.id) {
            call.id = id.to_string();
        }
        if let (true, Some(name)) = (call.name.is_empty(), &fragment.name) {
            call.name = name.to_string();
        }
        if call.slot.is_none() && !call.name.is_empty() {
            call.announce(self.announced, fragment.extra, each);
            self.announced += 1;
        }
        call.push(&fragment.arguments, each);
    }

    /// The call that a fragment continues.
    fn find(&self, fragment: &Fragment<'_>) -> Option<usize> {
        let same_index = |call: &Call| {
            fragment.index.is_none() || call.index.is_none() || call.index == fragment.index
        };
        if let Some(id) = &fragment.id {
            let known = self
                .calls
                .iter()
                .rposition(|call| call.id == **id && same_index(call));
            return known.or_else(|| {
                let at = self.last(fragment.index)?;
                let call = self.calls.get(at)?;
                (call.id.is_empty() && !call.is_named_anew(fragment)).then_some(at)
            });
        }
        let at = self.last(fragment.index)?;
        let call = self.calls.get(at)?;
        (!call.is_named_anew(fragment)).then_some(at)
    }

    /// The last call with that index, or the last of all.
    fn last(&self, index: Option<i64>) -> Option<usize> {
        match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None => self.calls.len().checked_sub(1),
        }
    }
}

/// The index that stands for a call of the older form.
const LEGACY: i64 = -1;

impl Call {
    /// Whether a fragment without an id begins another call: it is named, and this call is whole
    /// and not just said again.
    fn is_named_anew(&self, fragment: &Fragment<'_>) -> bool {
        let Some(name) = &fragment.name else {
            return false;
        };
        if self.name.is_empty() {
            return false;
        }
        let repeats = **name == self.name && fragment.arguments.trim() == self.arguments.trim();
        let whole = self.progress.is_whole();
        (**name != self.name || whole) && !(repeats && whole)
    }

    fn announce(
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
        });
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.give(slot, &held, each);
        }
    }

    fn push(&mut self, arguments: &str, each: &mut impl FnMut(ChatEvent<'_>)) {
        let mut arguments = arguments;
        if self.progress.is_whole() {
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
        let taken = self.progress.push(arguments);
        let arguments = arguments.get(..taken).unwrap_or(arguments);
        if arguments.is_empty() || self.ended {
            return;
        }
        self.arguments.push_str(arguments);
        match self.slot {
            Some(slot) if !"{}".starts_with(self.arguments.trim()) => {
                let held = std::mem::take(&mut self.held);
                if !held.is_empty() {
                    self.give(slot, &held, each);
                }
                self.give(slot, arguments, each);
            }
            _ => self.held.push_str(arguments),
        }
    }

    fn give(&self, slot: usize, text: &str, each: &mut impl FnMut(ChatEvent<'_>)) {
        each(ChatEvent::CallArguments { slot, text });
    }

    /// Gives out what was held back.
    fn release(&mut self, each: &mut impl FnMut(ChatEvent<'_>)) {
        let Some(slot) = self.slot else { return };
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.give(slot, &held, each);
        }
    }

    fn end_if_whole(&mut self, each: &mut impl FnMut(ChatEvent<'_>)) {
        // A lone `{}` may still be a placeholder, so it stays open.
        if self.ended || !self.progress.is_whole() || self.arguments.trim() == "{}" {
            return;
        }
        self.release(each);
        if let Some(slot) = self.slot {
            self.ended = true;
            each(ChatEvent::CallEnd { slot });
        }
    }
}

/// Arguments as text: a string's content, or the JSON itself where a server sends an object.
fn arguments<'a>(function: &Function<'a>) -> Cow<'a, str> {
    match function.arguments {
        None => Cow::Borrowed(""),
        Some(raw) if raw.get().starts_with('"') => serde_json::from_str::<Text<'a>>(raw.get())
            .map(Text::into_cow)
            .unwrap_or_default(),
        Some(raw) if raw.get() == "null" => Cow::Borrowed(""),
        Some(raw) => Cow::Borrowed(raw.get()),
    }
}

/// How far a JSON object has come, read as it arrives.
#[derive(Debug, Default, Clone, Copy)]
struct JsonProgress {
    depth: u32,
    in_string: bool,
    escaped: bool,
    state: Wholeness,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wholeness {
    #[default]
    Nothing,
    Open,
    Whole,
    /// It is no object, and its end cannot be told.
    Bare,
}

impl JsonProgress {
    fn is_whole(&self) -> bool {
        self.state == Wholeness::Whole
    }

    /// Reads on; says how many bytes belong to the object (all of them while it is not whole).
    fn push(&mut self, text: &str) -> usize {
        for (at, byte) in text.bytes().enumerate() {
            match (self.state, byte) {
                (Wholeness::Bare, _) => return text.len(),
                (Wholeness::Whole, _) => return at,
                (Wholeness::Nothing, b' ' | b'\t' | b'\n' | b'\r') => {}
                (Wholeness::Nothing, b'{') => {
                    self.state = Wholeness::Open;
                    self.depth = 1;
                }
                (Wholeness::Nothing, _) => self.state = Wholeness::Bare,
                (Wholeness::Open, byte) => self.inside(byte),
            }
        }
        text.len()
    }

    fn inside(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.state = Wholeness::Whole;
                }
            }
            _ => {}
        }
    }
}
