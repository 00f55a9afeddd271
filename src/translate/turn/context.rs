//! What a turn begins with, and what is left of it.

use std::sync::Arc;

use crate::responses::response::{Head, IncompleteReason, Response, State};
use crate::responses::{ErrorObject, OutputItem, Usage};
use crate::translate::carry::Seal;
use crate::translate::event::FinishReason;
use crate::translate::heal::Healed;
use crate::translate::tools::ToolMap;

/// What a turn is told at its beginning.
pub struct TurnContext {
    /// What stays the same over the response's life.
    pub head: Head,
    /// The way back for calls.
    pub tools: ToolMap,
    /// How thinking is shown.
    pub thinking: Thinking,
    /// Seals thinking, where the client asked for it or the response is kept.
    pub sealing: Option<Sealing>,
    /// How many events were told before, in a response that waited in the background: that it was
    /// created and that it was queued.
    pub announced: u64,
    /// A summary of what came before, sealed, to be shown first.
    pub lead: Option<String>,
    /// The answer is a summary, to be shown sealed by this and not as it comes.
    pub summary: Option<Arc<dyn Seal>>,
}

impl TurnContext {
    /// A turn of which nothing is sealed, kept or told before.
    #[must_use]
    pub fn new(head: Head, tools: ToolMap, thinking: Thinking) -> Self {
        Self {
            head,
            tools,
            thinking,
            sealing: None,
            announced: 0,
            lead: None,
            summary: None,
        }
    }
}

/// How thinking is sealed.
#[derive(Clone)]
pub struct Sealing {
    /// The key.
    pub seal: Arc<dyn Seal>,
    /// Whether the client sees it, or the store alone.
    pub shown: bool,
}

/// How thinking is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// As a summary: the kind of thinking that clients show to people.
    Summary,
    /// As what it is.
    Content,
    /// Not at all.
    Hidden,
}

/// How an upstream's answer ended.
#[derive(Debug, Clone)]
pub enum End {
    /// As the upstream said.
    Finished(FinishReason),
    /// It did not.
    Failed(ErrorObject),
}

/// What is left of a turn.
#[derive(Debug)]
pub struct Outcome {
    /// The response's head.
    pub head: Head,
    /// How it ended.
    pub ending: Ending,
    /// The items that are whole.
    pub output: Vec<OutputItem>,
    /// Token counts.
    pub usage: Option<Usage>,
    /// Calls that were found in the text, by format.
    pub healed: Vec<Healed>,
}

/// How a response ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Whole, at this unix time in seconds.
    Completed(u64),
    /// Cut.
    Incomplete(IncompleteReason),
    /// Failed.
    Failed(ErrorObject),
}

impl Outcome {
    /// The response object.
    #[must_use]
    pub fn response(&self) -> Response<'_> {
        let state = match &self.ending {
            Ending::Completed(at) => State::Completed(*at),
            Ending::Incomplete(reason) => State::Incomplete(*reason),
            Ending::Failed(error) => State::Failed(error),
        };
        Response {
            head: &self.head,
            state,
            output: &self.output,
            usage: self.usage,
        }
    }
}
