//! The items that a client sends in `input`.

mod fields;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content::{Content, Part};
use super::request::{ReasoningOptions, TextOptions};
use crate::json::Text;

/// One item of the conversation that a client sends.
#[derive(Debug, Clone)]
pub enum InputItem<'a> {
    /// `message`, also without a `type`.
    Message {
        /// Who speaks.
        role: Role,
        /// What is said.
        content: Content<'a>,
    },
    /// A call that the model made in an earlier turn.
    Call(Call<'a>),
    /// What came of a call.
    Output(Output<'a>),
    /// The model's thinking in an earlier turn.
    Reasoning(Reasoning<'a>),
    /// `additional_tools`, `tool_search_output`: tools that arrive in the conversation.
    Tools(ToolsItem<'a>),
    /// `agent_message`: what another agent says.
    AgentMessage {
        /// Who wrote it.
        author: Option<Text<'a>>,
        /// What it says.
        content: Content<'a>,
    },
    /// `configuration_update`: settings from here on.
    Configuration(Configuration<'a>),
    /// `compaction`: a sealed summary of what came before.
    Compaction(Option<Text<'a>>),
    /// `compaction_trigger`: sum up all that came before, now.
    CompactionTrigger,
    /// `item_reference`: the id of a stored item.
    Reference(Option<Text<'a>>),
    /// An item that has no counterpart in a chat: the receipt of a hosted tool, or one from the
    /// future.
    Other(Text<'a>),
}

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person, or what stands in for one.
    User,
    /// The model.
    Assistant,
    /// `system` and `developer`: the application.
    System,
}

/// A call of a tool, of any kind.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The kind of tool.
    pub kind: CallKind,
    /// The model's id of the call.
    pub call_id: Text<'a>,
    /// The tool's name, where the kind has one.
    pub name: Option<Text<'a>>,
    /// The namespace that the tool is in.
    pub namespace: Option<Text<'a>>,
    /// What the tool is given.
    pub payload: Payload<'a>,
}

/// The kinds of calls that a client runs itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// `function_call`.
    Function,
    /// `custom_tool_call`.
    Custom,
    /// `local_shell_call`.
    LocalShell,
    /// `shell_call`.
    Shell,
    /// `apply_patch_call`.
    ApplyPatch,
    /// `tool_search_call`.
    ToolSearch,
}

/// What a tool is given.
#[derive(Debug, Clone)]
pub enum Payload<'a> {
    /// A string: a function's arguments (JSON, in a string) or a custom tool's input.
    Text(Text<'a>),
    /// A JSON value: an action, an operation, a tool search's arguments.
    Json(&'a RawValue),
}

/// What came of a call.
#[derive(Debug, Clone)]
pub struct Output<'a> {
    /// The id of the call that it answers.
    pub call_id: Option<Text<'a>>,
    /// What came of it.
    pub body: OutputBody<'a>,
}

/// The forms that an output has.
#[derive(Debug, Clone)]
pub enum OutputBody<'a> {
    /// Text, as a JSON string that nobody has looked into: most are long, and go on as they are.
    Quoted(&'a RawValue),
    /// Text, or text and pictures.
    Content(Content<'a>),
    /// What each of a shell's commands printed, and how it ended.
    Commands(Vec<CommandOutput<'a>>),
    /// Anything else that is JSON: shown as it came.
    Json(&'a RawValue),
    /// There is none.
    Empty,
}

/// What came of one command of a shell.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct CommandOutput<'a> {
    /// What it printed.
    pub stdout: Text<'a>,
    /// What it printed as errors.
    #[serde(default)]
    pub stderr: Option<Text<'a>>,
    /// How it ended.
    #[serde(default)]
    pub outcome: Option<CommandOutcome<'a>>,
}

/// How a command ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct CommandOutcome<'a> {
    /// `exit` or `timeout`.
    #[serde(rename = "type", default)]
    pub kind: Option<Text<'a>>,
    /// The code of an `exit`.
    #[serde(default)]
    pub exit_code: Option<i64>,
}

/// Thinking of an earlier turn.
#[derive(Debug, Clone)]
pub struct Reasoning<'a> {
    /// Its summary, part by part.
    pub summary: Vec<Part<'a>>,
    /// The thinking itself, part by part, where the client has it.
    pub content: Vec<Part<'a>>,
    /// What this proxy (or another server) sealed.
    pub encrypted_content: Option<Text<'a>>,
}

/// Tools that arrive in the conversation.
#[derive(Debug, Clone)]
pub struct ToolsItem<'a> {
    /// The tools, unread.
    pub tools: Vec<&'a RawValue>,
    /// The search that found them (`tool_search_output`), if one did.
    pub call_id: Option<Text<'a>>,
}

/// Settings that change in the middle of a conversation.
#[derive(Debug, Clone, Default)]
pub struct Configuration<'a> {
    /// Effort of the thinking.
    pub reasoning: Option<ReasoningOptions<'a>>,
    /// Format of the text.
    pub text: Option<TextOptions<'a>>,
}
