//! The messages of a chat, as we send them.

mod write;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::json::Text;

/// One message.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message<'a> {
    /// The application's word.
    System {
        /// What it says.
        content: Cow<'a, str>,
    },
    /// The same, for models that know the role.
    Developer {
        /// What it says.
        content: Cow<'a, str>,
    },
    /// The person's word.
    User {
        /// What is said.
        content: Content<'a>,
    },
    /// The model's word.
    Assistant(Assistant<'a>),
    /// What came of a call.
    Tool {
        /// The call that it answers.
        tool_call_id: Cow<'a, str>,
        /// What came of it.
        content: Content<'a>,
    },
}

impl Message<'_> {
    /// Whether all that is said in it is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        match self {
            Self::User { content } | Self::Tool { content, .. } => match content {
                Content::Text(_) | Content::Quoted(_) => true,
                Content::Parts(parts) => {
                    let is_text = |part: &Part<'_>| matches!(part, Part::Text { .. });
                    parts.iter().all(is_text)
                }
            },
            Self::System { .. } | Self::Developer { .. } | Self::Assistant(_) => true,
        }
    }
}

/// What the model said in one turn.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Assistant<'a> {
    /// Its text; null beside calls, where it said nothing.
    pub content: Option<Cow<'a, str>>,
    /// Its thinking, by the name that most upstreams use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<Cow<'a, str>>,
    /// Its thinking, by the name that the others use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Cow<'a, str>>,
    /// Its thinking in parts, as the upstream gave them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasoning_details: Vec<Box<RawValue>>,
    /// Its calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall<'a>>,
}

/// Text, or text and other parts.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Content<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// Text, as a JSON string that nobody has looked into.
    Quoted(&'a RawValue),
    /// Parts.
    Parts(Vec<Part<'a>>),
}

impl<'a> Content<'a> {
    /// The content with its text, if it is text, read.
    #[must_use]
    pub fn read(self) -> Self {
        match self {
            Self::Quoted(raw) => {
                let text = Text::of_raw(raw).unwrap_or_default();
                Self::Text(text.into_cow())
            }
            content => content,
        }
    }
}

/// One part of a message.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part<'a> {
    /// Text.
    Text {
        /// The text.
        text: Cow<'a, str>,
    },
    /// A picture.
    ImageUrl {
        /// Where it is.
        image_url: ImageUrl<'a>,
    },
    /// A file.
    File {
        /// What it is.
        file: File<'a>,
    },
    /// Sound, as it came.
    InputAudio {
        /// Its data and format.
        input_audio: &'a RawValue,
    },
}

/// A picture.
#[derive(Debug, Clone, Serialize)]
pub struct ImageUrl<'a> {
    /// `https:` or `data:` URL.
    pub url: Cow<'a, str>,
    /// `auto`, `low` or `high`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
}

/// A file.
#[derive(Debug, Clone, Serialize)]
pub struct File<'a> {
    /// A data URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_data: Option<Cow<'a, str>>,
    /// Id of an uploaded file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<Cow<'a, str>>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<Cow<'a, str>>,
}

/// A call that the model made.
#[derive(Debug, Clone, Serialize)]
pub struct ToolCall<'a> {
    /// Its id.
    pub id: Cow<'a, str>,
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: FunctionTag,
    /// What was called, and with what.
    pub function: Function<'a>,
    /// What the upstream attached to the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_content: Option<Box<RawValue>>,
}

/// The one kind of tool that every upstream knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FunctionTag {
    /// `function`
    #[default]
    Function,
}

/// What was called, and with what.
#[derive(Debug, Clone, Serialize)]
pub struct Function<'a> {
    /// The function's name.
    pub name: Cow<'a, str>,
    /// A JSON object, in a string.
    pub arguments: Cow<'a, str>,
}
