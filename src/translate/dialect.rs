//! The last touch on a chat request: what the upstream's profile wants said in other words.

use std::borrow::Cow;

use super::note::Note;
use crate::chat::ChatRequest;
use crate::chat::message::Message;
use crate::chat::request::{TemplateOptions, ThinkingType, ToolChoice};
use crate::profile::{self, CallIds, Profile, ThinkingSwitch};

/// The effort that means not to think.
const NO_THINKING: &str = "none";

/// Brings a request into the upstream's words. `effort` is what was asked for.
pub(super) fn apply(
    chat: &mut ChatRequest<'_>,
    profile: &Profile,
    effort: Option<&str>,
    notes: &mut Vec<Note>,
) {
    choice(chat, profile.tool_choice, notes);
    if let Some(effort) = effort {
        switch(chat, profile.thinking_switch, effort != NO_THINKING);
    }
    if profile.call_ids == CallIds::Alphanumeric9 {
        shorten_ids(&mut chat.messages);
    }
}

fn choice(chat: &mut ChatRequest<'_>, words: profile::ToolChoice, notes: &mut Vec<Note>) {
    use profile::ToolChoice as Words;

    let Some(choice) = chat.tool_choice.take() else {
        return;
    };
    let changed = match (words, choice) {
        (Words::Words, ToolChoice::Function(named)) => {
            chat.tools
                .retain(|tool| tool.function.name == named.function.name);
            ToolChoice::Mode("required")
        }
        (Words::Any, ToolChoice::Mode("required")) => ToolChoice::Mode("any"),
        (Words::NoRequired | Words::Auto, ToolChoice::Mode("required"))
        | (Words::Auto, ToolChoice::Function(_)) => {
            notes.push(Note::FieldLeftOut("tool_choice"));
            ToolChoice::Mode("auto")
        }
        (_, choice) => choice,
    };
    chat.tool_choice = Some(changed);
}

fn switch(chat: &mut ChatRequest<'_>, switch: ThinkingSwitch, on: bool) {
    match switch {
        ThinkingSwitch::Unsaid => {}
        ThinkingSwitch::Type => {
            let kind = if on { "enabled" } else { "disabled" };
            chat.thinking = Some(ThinkingType { kind });
        }
        ThinkingSwitch::EnableThinking => chat.enable_thinking = Some(on),
        ThinkingSwitch::Template => {
            chat.chat_template_kwargs = Some(TemplateOptions {
                enable_thinking: on,
            });
        }
    }
}

fn shorten_ids(messages: &mut [Message<'_>]) {
    for message in messages {
        match message {
            Message::Assistant(said) => {
                for call in &mut said.tool_calls {
                    shorten(&mut call.id);
                }
            }
            Message::Tool { tool_call_id, .. } => shorten(tool_call_id),
            Message::System { .. } | Message::Developer { .. } | Message::User { .. } => {}
        }
    }
}

/// Nine letters and digits in the place of an id that is anything else: by a hash, so that a call and
/// its output, in this request and the next, have the same.
fn shorten(id: &mut Cow<'_, str>) {
    const LENGTH: usize = 9;
    const SIGNS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    if id.len() == LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return;
    }
    // FNV-1a
    let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // Its low bits alone are not well mixed.
    hash ^= hash >> 32;
    let mut short = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        let at = usize::try_from(hash % 62).unwrap_or_default();
        hash /= 62;
        short.push(SIGNS.get(at).map_or('0', |sign| char::from(*sign)));
    }
    *id = Cow::Owned(short);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(id: &str) -> String {
        let mut id = Cow::Borrowed(id);
        shorten(&mut id);
        id.into_owned()
    }

    #[test]
    fn ids_are_shortened_alike_each_time_and_those_that_fit_stay() {
        assert_eq!(short("D681PevKs"), "D681PevKs");
        let once = short("call_abcdefghijklmnopqrstuvwx");
        assert_eq!(once, short("call_abcdefghijklmnopqrstuvwx"));
        assert_eq!(once.len(), 9);
        assert!(once.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let ids: std::collections::HashSet<String> =
            (0..10_000).map(|n| short(&format!("call_{n}"))).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
