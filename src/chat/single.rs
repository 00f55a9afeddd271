//! Chunks that bring nothing but one string, as nearly all of a stream do.

use super::Chunk;
use super::chunk::{Choice, Delta, Function, ToolCall};
use crate::json::TextOr;

/// Where the one string of a chunk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `content`
    Content,
    /// `reasoning_content`
    ReasoningContent,
    /// `reasoning`
    Reasoning,
    /// The arguments of the call with this index.
    Arguments(Option<i64>),
}

impl Chunk<'_> {
    /// The one string that the chunk brings, where nothing else of it has any effect: as text, or as
    /// it is written where it is a fragment of arguments.
    #[must_use]
    pub fn single(&self) -> Option<(Place, &str)> {
        let Self {
            choices,
            usage: None,
            error: _,
            x_groq: None,
            base_resp: None,
        } = self
        else {
            return None;
        };
        let choice = choices.0.as_ref()?;
        let Choice {
            index: _,
            delta: Some(delta),
            message: None,
            finish_reason: None,
            logprobs: None,
            usage: None,
            error: _,
        } = choice
        else {
            return None;
        };
        if self.error().is_some() || choice.error().is_some() {
            return None;
        }
        let Delta {
            content,
            reasoning_content,
            reasoning,
            thinking: None,
            reasoning_details: None,
            refusal,
            audio: None,
            tool_calls,
            function_call: None,
            annotations,
        } = delta
        else {
            return None;
        };
        let nothing_else = refusal.as_deref().is_none_or(str::is_empty)
            && annotations.as_ref().is_none_or(Vec::is_empty);
        if !nothing_else {
            return None;
        }
        let calls = tool_calls.as_deref().unwrap_or_default();
        let texts = (said(content)?, said(reasoning_content)?, said(reasoning)?);
        match (texts, calls) {
            ((text, "", ""), []) if !text.is_empty() => Some((Place::Content, text)),
            (("", text, ""), []) if !text.is_empty() => Some((Place::ReasoningContent, text)),
            (("", "", text), []) if !text.is_empty() => Some((Place::Reasoning, text)),
            (("", "", ""), [call]) => fragment(call),
            _ => None,
        }
    }
}

/// The text of a field, empty where there is none; nothing if the field is of another shape.
fn said<'c, T>(field: &'c Option<TextOr<'_, T>>) -> Option<&'c str> {
    match field {
        None | Some(TextOr::Odd) => Some(""),
        Some(TextOr::Text(text)) => Some(text),
        Some(TextOr::List(_) | TextOr::One(_)) => None,
    }
}

/// The arguments of a fragment that has nothing else to say.
fn fragment<'c>(call: &'c ToolCall<'_>) -> Option<(Place, &'c str)> {
    let ToolCall {
        index,
        id: None,
        function:
            Some(Function {
                name: None,
                arguments: Some(raw),
            }),
        extra_content: None,
        custom: None,
    } = call
    else {
        return None;
    };
    let raw = raw.get();
    raw.starts_with('"')
        .then_some((Place::Arguments(*index), raw))
}
