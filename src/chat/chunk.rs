//! What an upstream sends: `chat.completion.chunk`, and `chat.completion`, which differs only in
//! that its choice has a `message` where a chunk's has a `delta`.
//!
//! Everything is optional and every unknown key is let pass: servers leave out whatever they like.
//! Strings borrow from the chunk's bytes.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{Text, TextOr};

/// One chunk of a stream, or a whole completion.
#[derive(Debug, Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Chunk<'a> {
    /// The first choice; others are passed over, as a response has no place for them.
    #[serde(default)]
    pub choices: FirstChoice<'a>,
    /// Token counts.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// Some servers report a failure in the stream.
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
    /// Groq keeps the token counts of a stream in here.
    #[serde(default)]
    pub x_groq: Option<XGroq>,
    /// MiniMax reports failures in here, with HTTP 200.
    #[serde(default, borrow)]
    pub base_resp: Option<&'a RawValue>,
}

impl Chunk<'_> {
    /// Token counts, wherever the server keeps them.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage
            .or_else(|| self.x_groq.as_ref().and_then(|groq| groq.usage))
    }
}

/// The choice with index 0, if the list has one.
#[derive(Debug, Default)]
pub struct FirstChoice<'a>(pub Option<Choice<'a>>);

/// One choice.
#[derive(Debug, Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Choice<'a> {
    /// Which of several answers this is.
    #[serde(default)]
    pub index: Option<i64>,
    /// What was added (a chunk).
    #[serde(default)]
    pub delta: Option<Delta<'a>>,
    /// The whole message (a completion).
    #[serde(default)]
    pub message: Option<Delta<'a>>,
    /// Why the answer ended.
    #[serde(default)]
    pub finish_reason: Option<Text<'a>>,
    /// How probable the tokens were.
    #[serde(default)]
    pub logprobs: Option<Logprobs<'a>>,
    /// `OpenRouter` reports a failure of the model's host here.
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
}

/// What was added to a message, or all of it.
#[derive(Debug, Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Delta<'a> {
    /// Text; some servers send a list of parts, with thinking among them.
    #[serde(default)]
    pub content: Option<TextOr<'a, ContentPart<'a>>>,
    /// Thinking, by its most common name.
    #[serde(default)]
    pub reasoning_content: Option<TextOr<'a, IgnoredAny>>,
    /// Thinking, by its other name.
    #[serde(default)]
    pub reasoning: Option<TextOr<'a, ReasoningObject<'a>>>,
    /// Thinking in parts, each unread: see [`ReasoningDetail`].
    #[serde(default, borrow)]
    pub reasoning_details: Option<Vec<&'a RawValue>>,
    /// What the model says when it declines.
    #[serde(default)]
    pub refusal: Option<Text<'a>>,
    /// Calls, or fragments of them.
    #[serde(default)]
    pub tool_calls: Option<Vec<ToolCall<'a>>>,
    /// The older form of a call.
    #[serde(default)]
    pub function_call: Option<Function<'a>>,
    /// Citations.
    #[serde(default)]
    pub annotations: Option<Vec<Annotation<'a>>>,
}

/// A part of content that comes as a list.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct ContentPart<'a> {
    /// `text`, `thinking`, …
    #[serde(rename = "type", default)]
    pub kind: Option<Text<'a>>,
    /// Text of a text part.
    #[serde(default)]
    pub text: Option<Text<'a>>,
    /// Thinking of a thinking part: text, or a list of text parts.
    #[serde(default)]
    pub thinking: Option<TextOr<'a, ReasoningDetail<'a>>>,
}

/// Thinking as an object.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct ReasoningObject<'a> {
    /// Its text.
    #[serde(default)]
    pub content: Option<Text<'a>>,
    /// The same by another name.
    #[serde(default)]
    pub text: Option<Text<'a>>,
}

/// One part of thinking.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct ReasoningDetail<'a> {
    /// Text of the thinking.
    #[serde(default)]
    pub text: Option<Text<'a>>,
    /// Text of its summary.
    #[serde(default)]
    pub summary: Option<Text<'a>>,
}

/// A call, or a fragment of one.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct ToolCall<'a> {
    /// Which call the fragment belongs to.
    #[serde(default)]
    pub index: Option<i64>,
    /// The call's id; only the first fragment needs it.
    #[serde(default)]
    pub id: Option<Text<'a>>,
    /// What is called, and with what.
    #[serde(default)]
    pub function: Option<Function<'a>>,
    /// What the upstream wants back with the call: Gemini's signature of a thought.
    #[serde(default, borrow)]
    pub extra_content: Option<&'a RawValue>,
    /// The same for a freeform tool, at upstreams that have them.
    #[serde(default)]
    pub custom: Option<CustomCall<'a>>,
}

/// What is called, and with what.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Function<'a> {
    /// The function's name.
    #[serde(default)]
    pub name: Option<Text<'a>>,
    /// A string of JSON, a fragment of one, or (wrongly) an object.
    #[serde(default, borrow)]
    pub arguments: Option<&'a RawValue>,
}

/// What freeform tool is called, and with what.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct CustomCall<'a> {
    /// The tool's name.
    #[serde(default)]
    pub name: Option<Text<'a>>,
    /// Its input, or a fragment of it.
    #[serde(default)]
    pub input: Option<Text<'a>>,
}

/// A citation.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Annotation<'a> {
    /// Of a page.
    #[serde(default)]
    pub url_citation: Option<UrlCitation<'a>>,
}

/// A citation of a page.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct UrlCitation<'a> {
    /// Where the page is.
    #[serde(default)]
    pub url: Option<Text<'a>>,
    /// What it is called.
    #[serde(default)]
    pub title: Option<Text<'a>>,
    /// First character of the text that cites it.
    #[serde(default)]
    pub start_index: Option<u64>,
    /// First character after that text.
    #[serde(default)]
    pub end_index: Option<u64>,
}

/// How probable the tokens were.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Logprobs<'a> {
    /// Of the text.
    #[serde(default)]
    pub content: Option<Vec<Logprob<'a>>>,
}

/// How probable a token was.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Logprob<'a> {
    /// The token.
    #[serde(default)]
    pub token: Text<'a>,
    /// The logarithm of its probability.
    #[serde(default)]
    pub logprob: Option<f64>,
    /// Its bytes.
    #[serde(default)]
    pub bytes: Option<Vec<u8>>,
    /// What else might have stood there.
    #[serde(default)]
    pub top_logprobs: Option<Vec<Self>>,
}

/// Where Groq keeps token counts.
#[derive(Debug, Deserialize)]
pub struct XGroq {
    /// Token counts.
    #[serde(default)]
    pub usage: Option<Usage>,
}

/// Token counts. Each may be missing or null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Tokens read.
    #[serde(default)]
    pub prompt_tokens: Option<u64>,
    /// Tokens written.
    #[serde(default)]
    pub completion_tokens: Option<u64>,
    /// Both together, at some servers with the thinking that the former leaves out.
    #[serde(default)]
    pub total_tokens: Option<u64>,
    /// Parts of the tokens read.
    #[serde(default)]
    pub prompt_tokens_details: Option<PromptDetails>,
    /// Parts of the tokens written.
    #[serde(default)]
    pub completion_tokens_details: Option<CompletionDetails>,
    /// Tokens read from a cache: DeepSeek's name.
    #[serde(default)]
    pub prompt_cache_hit_tokens: Option<u64>,
    /// Tokens read from a cache: Moonshot's name.
    #[serde(default)]
    pub cached_tokens: Option<u64>,
}

/// Parts of the tokens read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct PromptDetails {
    /// Read from a cache.
    #[serde(default)]
    pub cached_tokens: Option<u64>,
    /// Written to one.
    #[serde(default)]
    pub cache_write_tokens: Option<u64>,
}

/// Parts of the tokens written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct CompletionDetails {
    /// Spent on thinking.
    #[serde(default)]
    pub reasoning_tokens: Option<u64>,
}

impl<'de: 'a, 'a> Deserialize<'de> for FirstChoice<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FirstVisitor;

        impl<'de> Visitor<'de> for FirstVisitor {
            type Value = FirstChoice<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of choices")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(FirstChoice(None))
            }

            fn visit_none<E>(self) -> Result<Self::Value, E> {
                Ok(FirstChoice(None))
            }

            fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
                d.deserialize_seq(self)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut first = None;
                while let Some(choice) = seq.next_element::<Choice<'de>>()? {
                    if first.is_none() && choice.index.unwrap_or(0) == 0 {
                        first = Some(choice);
                    }
                }
                Ok(FirstChoice(first))
            }
        }

        deserializer.deserialize_option(FirstVisitor)
    }
}
