//! What a translation left out or mended, for the log.

use std::fmt;

/// Something that the log should tell about a translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A tool that no chat server can run.
    ToolLeftOut(String),
    /// An item that has no counterpart in a chat.
    ItemLeftOut(String),
    /// A content part that has no counterpart in its place.
    PartLeftOut(String),
    /// A request's key that the upstream does not take.
    FieldLeftOut(&'static str),
    /// A call that has no output in the conversation.
    CallUnanswered(String),
    /// An output of a call that is not in the conversation.
    OutputOrphaned(String),
    /// Sealed content that this proxy cannot open.
    SealIgnored,
    /// A tool choice that names a tool which was left out.
    ChoiceLeftOut(String),
    /// An allowed tool that is not offered.
    AllowedLeftOut(String),
    /// The answer's form, which the upstream does not know as a field.
    FormatInWords,
    /// Arguments in the history that are not a JSON object.
    ArgumentsMended(String),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToolLeftOut(kind) => {
                write!(f, "tool `{kind}` left out: no chat server can run it")
            }
            Self::ItemLeftOut(kind) => write!(
                f,
                "input item `{kind}` left out: a chat has no place for it"
            ),
            Self::PartLeftOut(kind) => write!(
                f,
                "content part `{kind}` left out: a chat has no place for it"
            ),
            Self::FieldLeftOut(key) => {
                write!(f, "`{key}` left out: the upstream's profile drops it")
            }
            Self::CallUnanswered(id) => {
                write!(f, "call {id} has no output in the input: one was made up")
            }
            Self::OutputOrphaned(id) => write!(
                f,
                "output of call {id} has no call in the input: kept as a user message"
            ),
            Self::SealIgnored => write!(f, "sealed content of another server or key ignored"),
            Self::ChoiceLeftOut(kind) => write!(
                f,
                "tool_choice `{kind}` became auto: that tool was left out"
            ),
            Self::AllowedLeftOut(name) => {
                write!(
                    f,
                    "allowed tool `{name}` is not among those that are offered"
                )
            }
            Self::FormatInWords => write!(
                f,
                "`text.format` told in the system message: the answer is checked"
            ),
            Self::ArgumentsMended(id) => write!(
                f,
                "arguments of call {id} are not a JSON object: wrapped in one"
            ),
        }
    }
}
