//! The body of `POST …/chat/completions`.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::message::{FunctionTag, Message};

/// What we ask of an upstream. A key is left out unless there is something to say, as strict
/// servers refuse nulls and empty lists.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ChatRequest<'a> {
    /// The upstream's name of the model.
    pub model: Cow<'a, str>,
    /// The conversation.
    pub messages: Vec<Message<'a>>,
    /// What may be called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool<'a>>,
    /// What of it to call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether several calls at once are welcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// Whether to stream.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// What else the stream is to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    /// The most tokens, by the older name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// The most tokens, by the newer name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u64>,
    /// 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// For answers that can be had again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<&'a RawValue>,
    /// Where to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<&'a RawValue>,
    /// Tokens to favour or avoid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_bias: Option<&'a RawValue>,
    /// Whether to tell how probable each token was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<bool>,
    /// How many other candidates to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u64>,
    /// The form of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat<'a>>,
    /// How hard to think.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<Cow<'a, str>>,
    /// Whether to think.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<ThinkingType>,
    /// Whether to think, by another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_thinking: Option<bool>,
    /// Whether to think, as the chat template knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template_kwargs: Option<TemplateOptions>,
    /// How much to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbosity: Option<Cow<'a, str>>,
    /// Requests with the same key share a prompt cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_cache_key: Option<Cow<'a, str>>,
    /// The wanted tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<Cow<'a, str>>,
    /// Stands for the end user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safety_identifier: Option<Cow<'a, str>>,
}

impl ChatRequest<'_> {
    /// Whether all that is said in it is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.messages.iter().all(Message::is_text)
    }

    /// The request as JSON: as it serialises, but with the messages written in their own, faster
    /// way.
    #[must_use]
    pub fn into_json(mut self) -> Vec<u8> {
        const EMPTY: &[u8] = b"\"messages\":[]";
        let messages = std::mem::take(&mut self.messages);
        // Nothing of a request fails to serialise.
        let rest = serde_json::to_vec(&self).unwrap_or_default();
        // The model stands before the messages, in a string, where quotes are escaped.
        let at = memchr::memmem::find(&rest, EMPTY).map_or(0, |at| at + EMPTY.len() - 1);
        let (before, behind) = rest.split_at(at);
        let sizes = messages.iter().map(|message| message.size_hint() + 1);
        let mut out = Vec::with_capacity(rest.len() + sizes.sum::<usize>());
        out.extend_from_slice(before);
        for (n, message) in messages.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            message.write(&mut out);
        }
        out.extend_from_slice(behind);
        out
    }
}

/// Whether to think.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ThinkingType {
    /// `enabled` or `disabled`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// What a chat template is told.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TemplateOptions {
    /// Whether to think.
    pub enable_thinking: bool,
}

/// What else a stream is to hold.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StreamOptions {
    /// Token counts.
    pub include_usage: bool,
}

/// A tool; always a function.
#[derive(Debug, Clone, Serialize)]
pub struct Tool<'a> {
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: FunctionTag,
    /// The function.
    pub function: FunctionTool<'a>,
}

/// A function.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionTool<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Cow<'a, str>>,
    /// Its arguments' JSON Schema.
    pub parameters: Schema<'a>,
    /// Whether the arguments must fit it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

/// A JSON Schema, as text that is known to be JSON.
#[derive(Debug, Clone)]
pub enum Schema<'a> {
    /// As the client sent it.
    Raw(&'a RawValue),
    /// As we wrote it.
    Owned(Box<RawValue>),
}

impl Serialize for Schema<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Raw(raw) => raw.serialize(serializer),
            Self::Owned(raw) => raw.serialize(serializer),
        }
    }
}

/// What of the tools to call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ToolChoice<'a> {
    /// `auto`, `none`, `required`.
    Mode(&'static str),
    /// One function.
    Function(NamedChoice<'a>),
}

/// The one function to call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedChoice<'a> {
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: FunctionTag,
    /// Which.
    pub function: ChosenFunction<'a>,
}

/// A function by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChosenFunction<'a> {
    /// The name.
    pub name: Cow<'a, str>,
}

/// The form of the answer.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseFormat<'a> {
    /// Any JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema {
        /// The schema.
        json_schema: JsonSchema<'a>,
    },
}

/// A named schema.
#[derive(Debug, Clone, Serialize)]
pub struct JsonSchema<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Cow<'a, str>>,
    /// The schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<&'a RawValue>,
    /// Whether the answer must fit it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}
