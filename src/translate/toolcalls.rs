//! Calls out of fragments, whatever the server leaves out or says twice.
//!
//! The rules, in this order:
//! 1. An id that another call with the same index (or none) has continues that call.
//! 2. Any other id begins a call if the fragment is named; if it is not, the id came late, or the
//!    server makes a new one for each fragment, and the fragment continues the last call at that
//!    index.
//! 3. Without an id, the index tells the call; where there is no call at that index and no name,
//!    and without an index, it is the last one. A fragment with another name begins a call, and so
//!    does one with the same name once the arguments are whole, unless it only says them again.
//! 4. Arguments after whole arguments are passed over (some servers repeat them at the end), except
//!    that `{}` may turn out to be a placeholder.
//! 5. A call is announced once its name is known; until then its arguments wait.
//! 6. Arguments that are a JSON string wait for the end: it may hold the object (encoded twice).

mod call;
mod progress;

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::event::ChatEvent;
use crate::chat::chunk::{CustomCall, Function, ToolCall};
use crate::json::{Text, string_lossy};
use call::Call;
use progress::Wholeness;

/// The calls of one answer.
#[derive(Debug, Default)]
pub(super) struct ToolCalls {
    calls: Vec<Call>,
    /// Calls announced so far.
    announced: usize,
    /// Calls that were found in the text, each of which the server may also have found: name,
    /// arguments, and whether the server's own was met.
    healed: Vec<(String, String, bool)>,
}

/// When it is asked whether a call is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// More of it may come: `{}` may be a placeholder.
    Within,
    /// Something else begins.
    Between,
    /// Nothing more comes.
    End,
}

/// One fragment of a call, whatever form it came in.
struct Fragment<'a> {
    index: Option<i64>,
    id: Option<Text<'a>>,
    name: Option<Text<'a>>,
    arguments: Cow<'a, str>,
    extra: Option<&'a RawValue>,
    /// The arguments are a freeform tool's own text.
    raw: bool,
}

impl ToolCalls {
    /// Whether a call was begun that never got a name.
    pub(super) fn has_unnamed(&self) -> bool {
        self.calls
            .iter()
            .any(|call| call.slot.is_none() && !call.dropped)
    }

    /// Whether some call's arguments began and did not end.
    pub(super) fn has_cut(&self) -> bool {
        let open = |call: &&Call| call.progress.state == Wholeness::Open && !call.raw;
        self.calls.iter().any(|call| open(&call))
    }

    /// Takes one fragment.
    pub(super) fn fragment(&mut self, raw: ToolCall<'_>, each: &mut impl FnMut(ChatEvent<'_>)) {
        let native = raw.function.is_none() && raw.custom.is_some();
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
                raw: native,
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
                raw: false,
            },
            each,
        );
    }

    /// Takes a call that was found whole in the text, unless the server has sent it as one too.
    pub(super) fn healed(
        &mut self,
        name: &str,
        arguments: &str,
        each: &mut impl FnMut(ChatEvent<'_>),
    ) {
        self.end_whole(each);
        let twin = self.calls.iter_mut().find(|call| {
            call.slot.is_some() && !call.dropped && !call.twinned && call.says(name, arguments)
        });
        if let Some(twin) = twin {
            twin.twinned = true;
            return;
        }
        let slot = self.announced;
        self.announced += 1;
        self.healed
            .push((name.to_owned(), arguments.to_owned(), false));
        each(ChatEvent::CallStart {
            slot,
            call_id: None,
            name,
            extra: None,
            raw: false,
        });
        each(ChatEvent::CallArguments {
            slot,
            text: arguments,
        });
        each(ChatEvent::CallEnd { slot });
    }

    /// Something else than a call begins: whole calls are over.
    pub(super) fn end_whole(&mut self, each: &mut impl FnMut(ChatEvent<'_>)) {
        self.settle(Moment::Between, each);
        for call in &mut self.calls {
            call.end_if_whole(true, each);
        }
    }

    /// No more fragments come: gives out what was held back.
    pub(super) fn finish(&mut self, each: &mut impl FnMut(ChatEvent<'_>)) {
        self.settle(Moment::End, each);
        for at in 0..self.calls.len() {
            self.announce(at, None, each);
        }
        for call in &mut self.calls {
            call.release(each);
            call.end_if_whole(true, each);
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
                // A lone `{}` may still be a placeholder while calls come side by side.
                for call in &mut self.calls {
                    call.end_if_whole(false, each);
                }
                self.calls.push(Call::new(fragment.index, fragment.raw));
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
        if call.dropped {
            return;
        }
        let suspect = self
            .healed
            .iter()
            .any(|(name, _, met)| *name == call.name && !met);
        if !suspect || call.slot.is_some() {
            self.announce(at, fragment.extra, each);
        }
        if let Some(call) = self.calls.get_mut(at) {
            call.push(&fragment.arguments, each);
        }
        if suspect {
            self.settle(Moment::Within, each);
        }
    }

    /// Announces a call that has a name and was not announced.
    fn announce(
        &mut self,
        at: usize,
        extra: Option<&RawValue>,
        each: &mut impl FnMut(ChatEvent<'_>),
    ) {
        if let Some(call) = self.calls.get_mut(at)
            && call.slot.is_none()
            && !call.dropped
            && !call.name.is_empty()
        {
            call.announce(self.announced, extra, each);
            self.announced += 1;
        }
    }

    /// Calls that may have been found in the text already: those that are whole are dropped, or
    /// announced as calls of their own.
    fn settle(&mut self, moment: Moment, each: &mut impl FnMut(ChatEvent<'_>)) {
        if self.healed.is_empty() {
            return;
        }
        for at in 0..self.calls.len() {
            let Some(call) = self.calls.get_mut(at) else {
                continue;
            };
            let waits = call.slot.is_none() && !call.dropped && !call.name.is_empty();
            let whole = match call.arguments.trim() {
                "{}" => moment != Moment::Within,
                _ => call.progress.is_whole() || moment == Moment::End,
            };
            if !waits || !whole {
                continue;
            }
            let twin = self
                .healed
                .iter_mut()
                .find(|(name, arguments, met)| !met && call.says(name, arguments));
            match twin {
                Some((_, _, met)) => {
                    *met = true;
                    call.dropped = true;
                    call.ended = true;
                }
                None => self.announce(at, None, each),
            }
        }
    }

    /// The call that a fragment continues.
    fn find(&self, fragment: &Fragment<'_>) -> Option<usize> {
        if fragment.index != Some(LEGACY)
            && let Some(at) = self.legacy_twin(fragment)
        {
            return Some(at);
        }
        let same_index = |call: &Call| {
            fragment.index.is_none() || call.index.is_none() || call.index == fragment.index
        };
        let last = self.last(fragment);
        let Some(id) = &fragment.id else {
            return last.filter(|at| !self.is_named_anew(*at, fragment));
        };
        let known = self
            .calls
            .iter()
            .rposition(|call| call.id == **id && same_index(call));
        known.or_else(|| {
            let at = last?;
            let late = self.calls.get(at)?.id.is_empty() && !self.is_named_anew(at, fragment);
            (late || fragment.name.is_none()).then_some(at)
        })
    }

    /// A call in the older form that the newer form says again, in a later chunk.
    fn legacy_twin(&self, fragment: &Fragment<'_>) -> Option<usize> {
        let [call] = self.calls.as_slice() else {
            return None;
        };
        let same = fragment
            .name
            .as_deref()
            .is_none_or(|name| name == call.name);
        (call.index == Some(LEGACY) && same).then_some(0)
    }

    /// The last call at a fragment's index; the last of all where the fragment has no index, or
    /// has one that no call had and is no beginning.
    fn last(&self, fragment: &Fragment<'_>) -> Option<usize> {
        let of_all = self.calls.len().checked_sub(1);
        if fragment.index.is_none() {
            return of_all;
        }
        let same = |call: &Call| call.index == fragment.index;
        self.calls.iter().rposition(same).or_else(|| {
            let unplaced = self.calls.last().is_some_and(|call| call.index.is_none());
            of_all.filter(|_| unplaced && fragment.name.is_none())
        })
    }

    fn is_named_anew(&self, at: usize, fragment: &Fragment<'_>) -> bool {
        self.calls
            .get(at)
            .is_some_and(|call| call.is_named_anew(fragment))
    }
}

/// The index that stands for a call of the older form.
const LEGACY: i64 = i64::MIN;

/// Arguments as text: a string's content, or the JSON itself where a server sends an object.
fn arguments<'a>(function: &Function<'a>) -> Cow<'a, str> {
    match function.arguments {
        None => Cow::Borrowed(""),
        Some(raw) if raw.get().starts_with('"') => string_lossy(raw.get()).unwrap_or_default(),
        Some(raw) if raw.get() == "null" => Cow::Borrowed(""),
        Some(raw) => Cow::Borrowed(raw.get()),
    }
}
