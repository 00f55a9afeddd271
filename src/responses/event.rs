//! The events of a streamed response.

mod write;

use serde::Serialize;

pub use write::write_head;

use super::item::{Annotation, ContentPart, Logprob, OutputItem, ReasoningPart, SummaryPart};

/// One event, without its sequence number and without the two keys that name its kind.
///
/// The lifecycle events are not here but in [`crate::responses::response`], as they carry the whole
/// response object, which is written in one piece.
#[derive(Debug, Clone, Copy)]
pub enum ResponseEvent<'a> {
    /// `response.output_item.added`
    OutputItemAdded(ItemEvent<'a>),
    /// `response.output_item.done`
    OutputItemDone(ItemEvent<'a>),
    /// `response.content_part.added`
    ContentPartAdded(PartEvent<'a, Part<'a>>),
    /// `response.content_part.done`
    ContentPartDone(PartEvent<'a, Part<'a>>),
    /// `response.output_text.delta`
    OutputTextDelta {
        /// Where.
        at: At<'a>,
        /// The part's index in the item.
        content_index: u32,
        /// What was added.
        delta: &'a str,
        /// Of the tokens added, where asked for.
        logprobs: &'a [Logprob],
    },
    /// `response.output_text.done`
    OutputTextDone {
        /// Where.
        at: At<'a>,
        /// The part's index in the item.
        content_index: u32,
        /// The whole text.
        text: &'a str,
        /// Of all tokens.
        logprobs: &'a [Logprob],
    },
    /// `response.output_text.annotation.added`
    AnnotationAdded {
        /// Where.
        at: At<'a>,
        /// The part's index in the item.
        content_index: u32,
        /// The annotation's index in the part.
        annotation_index: usize,
        /// The annotation.
        annotation: &'a Annotation,
    },
    /// `response.refusal.delta`
    RefusalDelta(ContentDelta<'a>),
    /// `response.refusal.done`
    RefusalDone {
        /// Where.
        at: At<'a>,
        /// The part's index in the item.
        content_index: u32,
        /// The whole refusal.
        refusal: &'a str,
    },
    /// `response.reasoning_text.delta`
    ReasoningTextDelta(ContentDelta<'a>),
    /// `response.reasoning_text.done`
    ReasoningTextDone {
        /// Where.
        at: At<'a>,
        /// The part's index in the item.
        content_index: u32,
        /// The whole text.
        text: &'a str,
    },
    /// `response.reasoning_summary_part.added`
    SummaryPartAdded(SummaryPartEvent<'a>),
    /// `response.reasoning_summary_part.done`
    SummaryPartDone(SummaryPartEvent<'a>),
    /// `response.reasoning_summary_text.delta`
    SummaryTextDelta {
        /// Where.
        at: At<'a>,
        /// The part's index in the summary.
        summary_index: u32,
        /// What was added.
        delta: &'a str,
    },
    /// `response.reasoning_summary_text.done`
    SummaryTextDone {
        /// Where.
        at: At<'a>,
        /// The part's index in the summary.
        summary_index: u32,
        /// The whole text.
        text: &'a str,
    },
    /// `response.function_call_arguments.delta`
    FunctionCallArgumentsDelta(Delta<'a>),
    /// `response.function_call_arguments.done`
    FunctionCallArgumentsDone {
        /// Where.
        at: At<'a>,
        /// The whole arguments.
        arguments: &'a str,
    },
    /// `response.custom_tool_call_input.delta`
    CustomToolCallInputDelta(Delta<'a>),
    /// `response.custom_tool_call_input.done`
    CustomToolCallInputDone {
        /// Where.
        at: At<'a>,
        /// The whole input.
        input: &'a str,
    },
    /// `response.compaction.compacting`
    CompactionCompacting(At<'a>),
    /// `keepalive`: says only that all is well. Clients re-arm their timers by it.
    Keepalive {},
}

/// Which item an event is about.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The item's id.
    pub item_id: &'a str,
    /// Its index in the output.
    pub output_index: u32,
}

/// An item, new or done.
#[derive(Debug, Clone, Copy)]
pub struct ItemEvent<'a> {
    /// Its index in the output.
    pub output_index: u32,
    /// The item.
    pub item: &'a OutputItem,
}

/// A content part, new or done.
#[derive(Debug, Clone, Copy)]
pub struct PartEvent<'a, P> {
    /// Where.
    pub at: At<'a>,
    /// The part's index in the item.
    pub content_index: u32,
    /// The part.
    pub part: P,
}

/// The parts that content events carry.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Part<'a> {
    /// Of a message.
    Content(&'a ContentPart),
    /// Of raw reasoning.
    Reasoning(&'a ReasoningPart),
}

/// A part of a summary, new or done.
#[derive(Debug, Clone, Copy)]
pub struct SummaryPartEvent<'a> {
    /// Where.
    pub at: At<'a>,
    /// The part's index in the summary.
    pub summary_index: u32,
    /// The part.
    pub part: &'a SummaryPart,
}

/// What was added to a content part.
#[derive(Debug, Clone, Copy)]
pub struct ContentDelta<'a> {
    /// Where.
    pub at: At<'a>,
    /// The part's index in the item.
    pub content_index: u32,
    /// What was added.
    pub delta: &'a str,
}

/// What was added to a call.
#[derive(Debug, Clone, Copy)]
pub struct Delta<'a> {
    /// Where.
    pub at: At<'a>,
    /// What was added.
    pub delta: &'a str,
}

impl ResponseEvent<'_> {
    /// The event's `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OutputItemAdded(_) => "response.output_item.added",
            Self::OutputItemDone(_) => "response.output_item.done",
            Self::ContentPartAdded(_) => "response.content_part.added",
            Self::ContentPartDone(_) => "response.content_part.done",
            Self::OutputTextDelta { .. } => "response.output_text.delta",
            Self::OutputTextDone { .. } => "response.output_text.done",
            Self::AnnotationAdded { .. } => "response.output_text.annotation.added",
            Self::RefusalDelta(_) => "response.refusal.delta",
            Self::RefusalDone { .. } => "response.refusal.done",
            Self::ReasoningTextDelta(_) => "response.reasoning_text.delta",
            Self::ReasoningTextDone { .. } => "response.reasoning_text.done",
            Self::SummaryPartAdded(_) => "response.reasoning_summary_part.added",
            Self::SummaryPartDone(_) => "response.reasoning_summary_part.done",
            Self::SummaryTextDelta { .. } => "response.reasoning_summary_text.delta",
            Self::SummaryTextDone { .. } => "response.reasoning_summary_text.done",
            Self::FunctionCallArgumentsDelta(_) => "response.function_call_arguments.delta",
            Self::FunctionCallArgumentsDone { .. } => "response.function_call_arguments.done",
            Self::CustomToolCallInputDelta(_) => "response.custom_tool_call_input.delta",
            Self::CustomToolCallInputDone { .. } => "response.custom_tool_call_input.done",
            Self::CompactionCompacting(_) => "response.compaction.compacting",
            Self::Keepalive {} => "keepalive",
        }
    }
}
