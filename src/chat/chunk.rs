//! What an upstream sends: `chat.completion.chunk`, and `chat.completion`, which differs only in
//! that its choice has a `message` where a chunk's has a `delta`.
//!
//! Everything is optional, every unknown key is let pass, and a value of an unknown shape counts as
//! missing: servers leave out and make up whatever they like, and one odd field must not cost an
//! answer. Strings borrow from the chunk's bytes.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::blank::is_blank;
use crate::json::lenient::{self, Loose, Reader};
use crate::json::{Text, TextOr, lossy};

pub use super::usage::{CompletionDetails, PromptDetails, Usage};

/// One chunk of a stream, or a whole completion.
#[derive(Debug, Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Chunk<'a> {
    /// The first choice; others are passed over, as a response has no place for them.
    #[serde(default)]
    pub choices: FirstChoice<'a>,
    /// Token counts.
    #[serde(default, deserialize_with = "lenient::object")]
    pub usage: Option<Usage>,
    /// Some servers report a failure in the stream; see [`Chunk::error`].
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
    /// Groq keeps the token counts of a stream in here.
    #[serde(default, deserialize_with = "lenient::object")]
    pub x_groq: Option<XGroq>,
    /// MiniMax reports failures in here, with HTTP 200.
    #[serde(default, borrow)]
    pub base_resp: Option<&'a RawValue>,
}

impl<'a> Chunk<'a> {
    /// Token counts, wherever the server keeps them.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let groq = self.x_groq.as_ref().and_then(|groq| groq.usage);
        let choice = self.choices.0.as_ref().and_then(|choice| choice.usage);
        let mut places = [self.usage, groq, choice].into_iter().flatten();
        places.find(|usage| *usage != Usage::default())
    }

    /// What the server reports as a failure; an `error` with nothing in it is none.
    #[must_use]
    pub fn error(&self) -> Option<&'a RawValue> {
        self.error.filter(|raw| !is_blank(raw))
    }

    /// Whether there is neither an answer nor a count in it. It may be an error of a shape that
    /// has nothing to do with chunks, see [`UpstreamError::read_stray`].
    ///
    /// [`UpstreamError::read_stray`]: super::error::UpstreamError::read_stray
    #[must_use]
    pub fn is_stray(&self) -> bool {
        self.choices.0.is_none() && self.usage().is_none()
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
    #[serde(default, deserialize_with = "lenient::whole")]
    pub index: Option<i64>,
    /// What was added (a chunk).
    #[serde(default, deserialize_with = "lenient::object")]
    pub delta: Option<Delta<'a>>,
    /// The whole message (a completion).
    #[serde(default, deserialize_with = "lenient::object")]
    pub message: Option<Delta<'a>>,
    /// Why the answer ended.
    #[serde(default, deserialize_with = "lenient::text")]
    pub finish_reason: Option<Text<'a>>,
    /// How probable the tokens were.
    #[serde(default, deserialize_with = "lenient::object")]
    pub logprobs: Option<Logprobs<'a>>,
    /// Moonshot tells the token counts of a stream in here.
    #[serde(default, deserialize_with = "lenient::object")]
    pub usage: Option<Usage>,
    /// `OpenRouter` reports a failure of the model's host here; see [`Choice::error`].
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
}

impl<'a> Choice<'a> {
    /// What the server reports as a failure; an `error` with nothing in it is none.
    #[must_use]
    pub fn error(&self) -> Option<&'a RawValue> {
        self.error.filter(|raw| !is_blank(raw))
    }
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
    /// Thinking, by the name it has in Ollama's own API.
    #[serde(default)]
    pub thinking: Option<TextOr<'a, ReasoningObject<'a>>>,
    /// Thinking in parts, each unread: see [`ReasoningDetail`].
    #[serde(default, borrow, deserialize_with = "lenient::raw_list")]
    pub reasoning_details: Option<Vec<&'a RawValue>>,
    /// What the model says when it declines.
    #[serde(default, deserialize_with = "lenient::text")]
    pub refusal: Option<Text<'a>>,
    /// Speech, of which the words are text.
    #[serde(default, deserialize_with = "lenient::object")]
    pub audio: Option<Audio<'a>>,
    /// Calls, or fragments of them.
    #[serde(default, deserialize_with = "calls")]
    pub tool_calls: Option<Vec<ToolCall<'a>>>,
    /// The older form of a call.
    #[serde(default, deserialize_with = "legacy_call")]
    pub function_call: Option<Function<'a>>,
    /// Citations.
    #[serde(default, deserialize_with = "lenient::list")]
    pub annotations: Option<Vec<Annotation<'a>>>,
}

/// A part of content that comes as a list.
#[derive(Debug, Default, Deserialize)]
#[serde(remote = "Self", bound(deserialize = "'de: 'a"))]
pub struct ContentPart<'a> {
    /// `text`, `thinking`, …
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    pub kind: Option<Text<'a>>,
    /// Text of a text part.
    #[serde(default, deserialize_with = "lenient::text")]
    pub text: Option<Text<'a>>,
    /// Thinking of a thinking part: text, or a list of text parts.
    #[serde(default)]
    pub thinking: Option<TextOr<'a, ReasoningDetail<'a>>>,
}

/// Speech.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Audio<'a> {
    /// Its words.
    #[serde(default, deserialize_with = "lenient::text")]
    pub transcript: Option<Text<'a>>,
}

/// Thinking as an object.
#[derive(Debug, Default, Deserialize)]
#[serde(remote = "Self", bound(deserialize = "'de: 'a"))]
pub struct ReasoningObject<'a> {
    /// Its text.
    #[serde(default, deserialize_with = "lenient::text")]
    pub content: Option<Text<'a>>,
    /// The same by another name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub text: Option<Text<'a>>,
}

/// One part of thinking.
#[derive(Debug, Default, Deserialize)]
#[serde(remote = "Self", bound(deserialize = "'de: 'a"))]
pub struct ReasoningDetail<'a> {
    /// Text of the thinking.
    #[serde(default, deserialize_with = "lenient::text")]
    pub text: Option<Text<'a>>,
    /// Text of its summary.
    #[serde(default, deserialize_with = "lenient::text")]
    pub summary: Option<Text<'a>>,
}

/// A call, or a fragment of one.
#[derive(Debug, Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct ToolCall<'a> {
    /// Which call the fragment belongs to.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub index: Option<i64>,
    /// The call's id; only the first fragment needs it.
    #[serde(default, deserialize_with = "lenient::word")]
    pub id: Option<Text<'a>>,
    /// What is called, and with what.
    #[serde(default, deserialize_with = "lenient::object")]
    pub function: Option<Function<'a>>,
    /// What the upstream wants back with the call: Gemini's signature of a thought.
    #[serde(default, borrow)]
    pub extra_content: Option<&'a RawValue>,
    /// The same for a freeform tool, at upstreams that have them.
    #[serde(default, deserialize_with = "lenient::object")]
    pub custom: Option<CustomCall<'a>>,
}

/// What is called, and with what.
#[derive(Debug, Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Function<'a> {
    /// The function's name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: Option<Text<'a>>,
    /// A string of JSON, a fragment of one, or (wrongly) an object.
    #[serde(default, borrow)]
    pub arguments: Option<&'a RawValue>,
}

/// What freeform tool is called, and with what.
#[derive(Debug, Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct CustomCall<'a> {
    /// The tool's name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: Option<Text<'a>>,
    /// Its input, or a fragment of it.
    #[serde(default, deserialize_with = "lenient::text")]
    pub input: Option<Text<'a>>,
}

/// A citation.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Annotation<'a> {
    /// Of a page.
    #[serde(default, deserialize_with = "lenient::object")]
    pub url_citation: Option<UrlCitation<'a>>,
}

/// A citation of a page.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct UrlCitation<'a> {
    /// Where the page is.
    #[serde(default, deserialize_with = "lenient::text")]
    pub url: Option<Text<'a>>,
    /// What it is called.
    #[serde(default, deserialize_with = "lenient::text")]
    pub title: Option<Text<'a>>,
    /// First character of the text that cites it.
    #[serde(default, deserialize_with = "lenient::count")]
    pub start_index: Option<u64>,
    /// First character after that text.
    #[serde(default, deserialize_with = "lenient::count")]
    pub end_index: Option<u64>,
}

/// How probable the tokens were.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Logprobs<'a> {
    /// Of the text.
    #[serde(default, deserialize_with = "lenient::list")]
    pub content: Option<Vec<Logprob<'a>>>,
}

/// How probable a token was.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Logprob<'a> {
    /// The token.
    #[serde(default, deserialize_with = "token")]
    pub token: Text<'a>,
    /// The logarithm of its probability.
    #[serde(default, deserialize_with = "lenient::float")]
    pub logprob: Option<f64>,
    /// Its bytes.
    #[serde(default, deserialize_with = "lenient::bytes")]
    pub bytes: Option<Vec<u8>>,
    /// What else might have stood there.
    #[serde(default, deserialize_with = "lenient::list")]
    pub top_logprobs: Option<Vec<Self>>,
}

/// Where Groq keeps token counts.
#[derive(Debug, Deserialize)]
pub struct XGroq {
    /// Token counts.
    #[serde(default, deserialize_with = "lenient::object")]
    pub usage: Option<Usage>,
}

impl ReasoningDetail<'_> {
    /// The text of an element of [`Delta::reasoning_details`], or its summary.
    #[must_use]
    pub fn text_of(raw: &RawValue) -> Option<String> {
        lossy(raw.get().as_bytes(), |json| {
            let detail: ReasoningDetail<'_> = serde_json::from_slice(json).ok()?;
            detail.text.or(detail.summary).map(|text| text.to_string())
        })
    }
}

impl Function<'_> {
    /// Whether it says nothing: some servers have an empty call on every chunk.
    fn is_blank(&self) -> bool {
        self.name.as_deref().is_none_or(str::is_empty)
            && self.arguments.is_none_or(|raw| raw.get() == "\"\"")
    }
}

impl ToolCall<'_> {
    /// Whether it says nothing.
    fn is_blank(&self) -> bool {
        self.id.as_deref().is_none_or(str::is_empty)
            && self.function.as_ref().is_none_or(Function::is_blank)
            && self.custom.is_none()
            && self.extra_content.is_none()
    }
}

fn token<'de: 'a, 'a, D: Deserializer<'de>>(d: D) -> Result<Text<'a>, D::Error> {
    lenient::text(d).map(Option::unwrap_or_default)
}

fn calls<'de: 'a, 'a, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<ToolCall<'a>>>, D::Error> {
    let mut calls: Option<Vec<ToolCall<'a>>> = lenient::list(d)?;
    if let Some(calls) = &mut calls {
        calls.retain(|call| !call.is_blank());
    }
    Ok(calls)
}

fn legacy_call<'de: 'a, 'a, D: Deserializer<'de>>(d: D) -> Result<Option<Function<'a>>, D::Error> {
    let call: Option<Function<'a>> = lenient::object(d)?;
    Ok(call.filter(|call| !call.is_blank()))
}

lenient::text_or_fields!(ContentPart.text, ReasoningObject.text, ReasoningDetail.text);

impl<'de: 'a, 'a> Deserialize<'de> for FirstChoice<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;

        impl<'de> Reader<'de> for First {
            type Out = Choice<'de>;

            fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<Self::Out>, A::Error> {
                let mut first = None;
                while let Some(Loose(choice)) = list.next_element::<Loose<Choice<'de>>>()? {
                    if first.is_none() {
                        first = choice.filter(|choice| choice.index.unwrap_or(0) == 0);
                    }
                }
                Ok(first)
            }

            fn object<A: MapAccess<'de>>(self, object: A) -> Result<Option<Self::Out>, A::Error> {
                Choice::deserialize(MapAccessDeserializer::new(object)).map(Some)
            }
        }

        lenient::read(deserializer, First).map(Self)
    }
}
