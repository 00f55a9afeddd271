//! What an upstream says, freed of how it says it.

use serde_json::value::RawValue;

use super::carry::CarryField;
use crate::responses::item::{Annotation, Logprob};

/// One step of an upstream's answer. No upstream's habits are left at this point.
#[derive(Debug, Clone)]
pub enum ChatEvent<'a> {
    /// More text.
    Text {
        /// What was added; never empty.
        text: &'a str,
        /// How probable its tokens were, where the upstream tells.
        logprobs: Vec<Logprob>,
    },
    /// More thinking.
    Reasoning {
        /// What was added; never empty.
        text: &'a str,
        /// How it was given.
        field: CarryField,
    },
    /// A part of `reasoning_details`, or a fragment of one, to be given back some day.
    ReasoningDetail(&'a RawValue),
    /// More of a refusal; never empty.
    Refusal(&'a str),
    /// A citation.
    Annotation(Annotation),
    /// A call begins. Slots count from 0.
    CallStart {
        /// Which call.
        slot: usize,
        /// The upstream's id, if it gave one.
        call_id: Option<&'a str>,
        /// The function's name, as the upstream knows it.
        name: &'a str,
        /// What the upstream attached to it, to be given back some day.
        extra: Option<&'a RawValue>,
        /// Its arguments are a freeform tool's own text, not JSON around it.
        raw: bool,
    },
    /// More of a call's arguments; never empty.
    CallArguments {
        /// Which call.
        slot: usize,
        /// What was added.
        text: &'a str,
    },
    /// A call's arguments are whole and something else begins.
    CallEnd {
        /// Which call.
        slot: usize,
    },
}

/// Why an upstream's answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// It was all said, or it waits for calls' outputs.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// A filter stepped in.
    ContentFilter,
    /// The upstream gave up.
    Error,
}

impl FinishReason {
    /// Reads the word of an upstream; a word that nobody knows means an ordinary end.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "length"
            | "max_tokens"
            | "max_output_tokens"
            | "model_length"
            | "model_context_window_exceeded" => Self::Length,
            "content_filter" | "safety" | "recitation" | "prohibited_content" | "sensitive" => {
                Self::ContentFilter
            }
            "error"
            | "abort"
            | "aborted"
            | "cancelled"
            | "network_error"
            | "insufficient_system_resource" => Self::Error,
            _ => Self::Stop,
        }
    }
}
