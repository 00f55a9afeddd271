//! The response object, and the lifecycle events that carry it.

mod members;

use serde::Serialize;
use serde_json::value::RawValue;

use super::error::ErrorObject;
use super::item::{OutputItem, list};
use super::request::{CreateResponse, ReasoningOptions};
use super::usage::Usage;
use crate::json::write_value;

/// What a tool takes for the keys that it has in an answer and not in a request, at most.
const TOOL_BYTES: usize = 64;

/// A response at one moment of its life, to be written.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// What stays the same all its life.
    pub head: &'a Head,
    /// Where it stands.
    pub state: State<'a>,
    /// The items that are whole.
    pub output: &'a [OutputItem],
    /// Token counts, once they are known.
    pub usage: Option<Usage>,
}

/// What stays the same over a response's life.
#[derive(Debug, Clone)]
pub struct Head {
    /// `resp_…`
    pub id: String,
    /// Unix seconds.
    pub created_at: u64,
    /// The model as the client named it.
    pub model: String,
    /// What is repeated from the request.
    pub echo: Echo,
}

/// Where a response stands.
#[derive(Debug, Clone, Copy)]
pub enum State<'a> {
    /// The upstream is at work.
    InProgress,
    /// It is whole, since this many unix seconds.
    Completed(u64),
    /// It was cut.
    Incomplete(IncompleteReason),
    /// It came to nothing.
    Failed(&'a ErrorObject),
    /// It waits for its turn in the background.
    Queued,
    /// It was called off.
    Cancelled,
}

/// Why a response was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncompleteReason {
    /// The limit of tokens was reached.
    MaxOutputTokens,
    /// A filter stepped in.
    ContentFilter,
}

impl IncompleteReason {
    /// The API's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxOutputTokens => "max_output_tokens",
            Self::ContentFilter => "content_filter",
        }
    }
}

impl State<'_> {
    /// The `status` that says it.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed(_) => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
            Self::Queued => "queued",
            Self::Cancelled => "cancelled",
        }
    }

    /// The `type` of the event that announces it.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Self::InProgress => "response.in_progress",
            Self::Completed(_) => "response.completed",
            Self::Incomplete(_) => "response.incomplete",
            Self::Failed(_) => "response.failed",
            Self::Queued => "response.queued",
            // The API has no event of its own for it; this one ends a stream without a success.
            Self::Cancelled => "response.failed",
        }
    }
}

impl Response<'_> {
    /// About how many bytes it takes, items apart: room for it is best made at once.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        512 + self.head.model.len() + self.head.echo.0.len()
    }

    /// Writes the object as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        out.extend_from_slice(b",\"output\":");
        list(out, self.output, OutputItem::write);
        self.write_tail(out);
    }

    /// Writes the object as JSON, without its output, which is kept apart.
    pub fn write_without_output(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        self.write_tail(out);
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        let Head {
            id,
            created_at,
            model,
            ..
        } = self.head;
        out.extend_from_slice(b"{\"id\":");
        json(out, id);
        out.extend_from_slice(b",\"object\":\"response\",\"created_at\":");
        json(out, created_at);
        out.extend_from_slice(b",\"status\":");
        json(out, self.state.status());
        out.extend_from_slice(b",\"completed_at\":");
        json(
            out,
            &if let State::Completed(at) = self.state {
                Some(at)
            } else {
                None
            },
        );
        out.extend_from_slice(b",\"error\":");
        match self.state {
            State::Failed(error) => json(out, &ResponseError::from(error)),
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"incomplete_details\":");
        match self.state {
            State::Incomplete(reason) => json(
                out,
                &IncompleteDetails {
                    reason: reason.as_str(),
                },
            ),
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"model\":");
        json(out, model);
    }

    fn write_tail(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"usage\":");
        json(out, &self.usage);
        out.extend_from_slice(&self.head.echo.0);
        out.push(b'}');
    }
}

#[derive(Serialize)]
struct Id<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct IncompleteDetails {
    reason: &'static str,
}

/// The error as it stands in a response: its code is never null there.
#[derive(Serialize)]
struct ResponseError<'a> {
    code: &'a str,
    message: &'a str,
}

impl<'a> From<&'a ErrorObject> for ResponseError<'a> {
    fn from(error: &'a ErrorObject) -> Self {
        Self {
            code: error.code.as_deref().unwrap_or("server_error"),
            message: &error.message,
        }
    }
}

/// The part of a response object that repeats the request, ready to be written: `,"key":value` for
/// each key.
#[derive(Debug, Clone, Default)]
pub struct Echo(Box<[u8]>);

impl Echo {
    /// Prepares what is repeated, with the API's defaults for what the request left out.
    #[must_use]
    pub fn new(request: &CreateResponse<'_>) -> Self {
        let tools = request.tools.as_deref().unwrap_or_default();
        let raw = request.instructions.iter().chain(tools);
        let raw: usize = raw.map(|value| value.get().len() + TOOL_BYTES).sum();
        let mut out = Fields(Vec::with_capacity(1024 + raw));
        out.field("background", &request.background.unwrap_or(false));
        if let Some(id) = request.conversation_id() {
            out.field("conversation", &Id { id: &id });
        }
        out.field(
            "frequency_penalty",
            &request.frequency_penalty.unwrap_or(0.0),
        );
        out.field("instructions", &request.instructions);
        out.field("max_output_tokens", &request.max_output_tokens);
        out.field("max_tool_calls", &request.max_tool_calls);
        out.field("metadata", &request.metadata.clone().unwrap_or_default());
        out.field(
            "parallel_tool_calls",
            &request.parallel_tool_calls.unwrap_or(true),
        );
        out.field("presence_penalty", &request.presence_penalty.unwrap_or(0.0));
        out.field("previous_response_id", &request.previous_response_id);
        out.field("prompt_cache_key", &request.prompt_cache_key);
        out.field("prompt_cache_retention", &request.prompt_cache_retention);
        out.field("reasoning", &reasoning(request));
        out.field("safety_identifier", &request.safety_identifier);
        out.field("service_tier", service_tier(request));
        out.field("store", &request.store.unwrap_or(true));
        out.field("temperature", &request.temperature.unwrap_or(1.0));
        out.text(request);
        match request.tool_choice {
            Some(choice) if choice.get() != "null" => out.field("tool_choice", choice),
            _ => out.field("tool_choice", "auto"),
        }
        out.tools(tools);
        out.field("top_logprobs", &request.top_logprobs.unwrap_or(0));
        out.field("top_p", &request.top_p.unwrap_or(1.0));
        out.field(
            "truncation",
            request.truncation.as_deref().unwrap_or("disabled"),
        );
        out.field("user", &request.user);
        one_line(&mut out.0);
        Self(out.0.into_boxed_slice())
    }
}

/// Raw JSON of the client may be laid out in lines, which would end the data line of an event. A
/// line's end within JSON is white space between tokens, never part of a string.
fn one_line(json: &mut [u8]) {
    for byte in json {
        // Without a branch, so that many are looked at together.
        *byte = match (*byte == b'\n') | (*byte == b'\r') {
            true => b' ',
            false => *byte,
        };
    }
}

/// The summary under its present name, whichever the client used.
fn reasoning<'a>(request: &CreateResponse<'a>) -> ReasoningOptions<'a> {
    let mut options = request.reasoning.clone().unwrap_or_default();
    options.summary = options.summary.or_else(|| options.generate_summary.take());
    options
}

/// The tier that served the request; `fast` is an alias.
fn service_tier<'a>(request: &'a CreateResponse<'_>) -> &'a str {
    match request.service_tier.as_deref() {
        None | Some("auto") => "default",
        Some("fast") => "priority",
        Some(tier) => tier,
    }
}

/// A list of JSON members under construction.
struct Fields(Vec<u8>);

impl Fields {
    fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.key(key);
        json(&mut self.0, value);
    }

    fn key(&mut self, key: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn text(&mut self, request: &CreateResponse<'_>) {
        let options = request.text.as_ref();
        self.key("text");
        self.0.extend_from_slice(b"{\"format\":");
        match options.and_then(|text| text.format) {
            Some(format) if format.get() != "null" => json(&mut self.0, format),
            _ => self.0.extend_from_slice(b"{\"type\":\"text\"}"),
        }
        let verbosity = options.and_then(|text| text.verbosity.as_deref());
        self.field("verbosity", verbosity.unwrap_or("medium"));
        self.0.push(b'}');
    }

    /// Function tools always show the keys that the API's own answers show, resolved.
    fn tools(&mut self, tools: &[&RawValue]) {
        self.key("tools");
        self.0.push(b'[');
        for (n, tool) in tools.iter().enumerate() {
            if n > 0 {
                self.0.push(b',');
            }
            members::write(&mut self.0, tool);
        }
        self.0.push(b']');
    }
}

/// Writes a value that cannot fail to serialise: strings, numbers, lists and objects of them.
fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    write_value(out, "", value);
}
