//! The items of an answer.

mod write;

use serde::Serialize;
use serde_json::value::RawValue;

pub(super) use write::list;

/// One item of an answer, as it stands in `response.output` and in `output_item.*` events.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputItem {
    /// Thinking.
    Reasoning(ReasoningItem),
    /// What the model says.
    Message(MessageItem),
    /// A call of a function.
    FunctionCall(FunctionCallItem),
    /// A call of a freeform tool.
    CustomToolCall(CustomToolCallItem),
    /// A call of the local shell.
    LocalShellCall(ActionCallItem),
    /// A call of the shell.
    ShellCall(ActionCallItem),
    /// A call of the patch tool.
    ApplyPatchCall(ApplyPatchCallItem),
    /// A search for tools, which the client runs.
    ToolSearchCall(ToolSearchCallItem),
    /// A sealed summary of what came before.
    Compaction(CompactionItem),
}

impl OutputItem {
    /// Whether it is a call, which the client answers.
    #[must_use]
    pub fn is_call(&self) -> bool {
        match self {
            Self::Reasoning(_) | Self::Message(_) | Self::Compaction(_) => false,
            Self::FunctionCall(_)
            | Self::CustomToolCall(_)
            | Self::LocalShellCall(_)
            | Self::ShellCall(_)
            | Self::ApplyPatchCall(_)
            | Self::ToolSearchCall(_) => true,
        }
    }
}

/// `compaction`. It has no `status` on the wire.
#[derive(Debug, Clone, Serialize)]
pub struct CompactionItem {
    /// `cmp_…`
    pub id: String,
    /// The summary, sealed.
    pub encrypted_content: String,
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It is being written.
    InProgress,
    /// It is whole.
    Completed,
    /// It was cut.
    Incomplete,
}

/// `reasoning`. It has no `status` on the wire.
#[derive(Debug, Clone, Serialize)]
pub struct ReasoningItem {
    /// `rs_…`
    pub id: String,
    /// Thinking shown as a summary.
    pub summary: Vec<SummaryPart>,
    /// Thinking shown as it is; the key is left out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Vec<ReasoningPart>>,
    /// The thinking, sealed, for a client that keeps the conversation itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted_content: Option<String>,
    /// The same for the store alone, where the client did not ask for it.
    #[serde(skip)]
    pub kept: Option<String>,
}

impl OutputItem {
    /// The item as a store keeps it, with what the client did not ask for.
    #[must_use]
    pub fn for_store(mut self) -> Self {
        if let Self::Reasoning(item) = &mut self
            && let Some(sealed) = item.kept.take()
        {
            item.encrypted_content = Some(sealed);
        }
        self
    }

    /// The text of a message.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let Self::Message(item) = self else {
            return None;
        };
        let texts = item.content.iter().filter_map(|part| match part {
            ContentPart::OutputText { text, .. } => Some(text.as_str()),
            ContentPart::Refusal { .. } => None,
        });
        Some(texts.collect())
    }

    /// The item's id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Reasoning(item) => &item.id,
            Self::Message(item) => &item.id,
            Self::FunctionCall(item) => &item.id,
            Self::CustomToolCall(item) => &item.id,
            Self::LocalShellCall(item) | Self::ShellCall(item) => &item.id,
            Self::ApplyPatchCall(item) => &item.id,
            Self::ToolSearchCall(item) => &item.id,
            Self::Compaction(item) => &item.id,
        }
    }
}

/// A part of a reasoning summary.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename = "summary_text")]
pub struct SummaryPart {
    /// Its text.
    pub text: String,
}

/// A part of raw reasoning.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename = "reasoning_text")]
pub struct ReasoningPart {
    /// Its text.
    pub text: String,
}

/// `message`.
#[derive(Debug, Clone, Serialize)]
pub struct MessageItem {
    /// `msg_…`
    pub id: String,
    /// Where it stands.
    pub status: ItemStatus,
    /// Always `assistant`.
    pub role: AssistantRole,
    /// What is said.
    pub content: Vec<ContentPart>,
}

/// The one role that an answer has.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AssistantRole {
    /// The model.
    Assistant,
}

/// A part of a message.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentPart {
    /// What the model says.
    OutputText {
        /// Its text.
        text: String,
        /// Citations.
        annotations: Vec<Annotation>,
        /// How probable each token was, where that was asked for.
        logprobs: Vec<Logprob>,
    },
    /// What the model says when it declines.
    Refusal {
        /// Its text.
        refusal: String,
    },
}

/// A citation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Annotation {
    /// Of a page.
    UrlCitation {
        /// Where the page is.
        url: String,
        /// What it is called.
        title: String,
        /// First character of the text that cites it.
        start_index: u64,
        /// First character after that text.
        end_index: u64,
    },
}

/// How probable a token was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Logprob {
    /// The token.
    pub token: String,
    /// The logarithm of its probability.
    pub logprob: f64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What else might have stood there.
    pub top_logprobs: Vec<TopLogprob>,
}

/// How probable another token was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopLogprob {
    /// The token.
    pub token: String,
    /// The logarithm of its probability.
    pub logprob: f64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// `function_call`.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionCallItem {
    /// `fc_…`
    pub id: String,
    /// Where it stands.
    pub status: ItemStatus,
    /// JSON, in a string.
    pub arguments: String,
    /// The model's id of the call.
    pub call_id: String,
    /// The function.
    pub name: String,
    /// The namespace that the function is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// `custom_tool_call`.
#[derive(Debug, Clone, Serialize)]
pub struct CustomToolCallItem {
    /// `ctc_…`
    pub id: String,
    /// Where it stands.
    pub status: ItemStatus,
    /// The model's id of the call.
    pub call_id: String,
    /// The free text.
    pub input: String,
    /// The tool.
    pub name: String,
    /// The namespace that the tool is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// `local_shell_call` and `shell_call`.
#[derive(Debug, Clone, Serialize)]
pub struct ActionCallItem {
    /// `lsh_…`, `sh_…`
    pub id: String,
    /// Where it stands.
    pub status: ItemStatus,
    /// The model's id of the call.
    pub call_id: String,
    /// What to run.
    pub action: Box<RawValue>,
}

/// `apply_patch_call`.
#[derive(Debug, Clone, Serialize)]
pub struct ApplyPatchCallItem {
    /// `apc_…`
    pub id: String,
    /// Where it stands.
    pub status: ItemStatus,
    /// The model's id of the call.
    pub call_id: String,
    /// What to change.
    pub operation: Box<RawValue>,
}

/// `tool_search_call`.
#[derive(Debug, Clone, Serialize)]
pub struct ToolSearchCallItem {
    /// `tsc_…`
    pub id: String,
    /// Where it stands.
    pub status: ItemStatus,
    /// The model's id of the call.
    pub call_id: String,
    /// Always `client`.
    pub execution: &'static str,
    /// A JSON object.
    pub arguments: Box<RawValue>,
}
