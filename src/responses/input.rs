//! The items that a client sends in `input`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content::{Content, Part};
use super::request::{ReasoningOptions, TextOptions};
use crate::json::{Text, TextOr};

/// One item of the conversation that a client sends.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "ItemFields<'a>", bound(deserialize = "'de: 'a"))]
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
    /// Text, or text and pictures.
    Content(Content<'a>),
    /// Results of a shell's commands, or anything else that is JSON: shown as it came.
    Json(&'a RawValue),
    /// There is none.
    Empty,
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

/// All keys that any item has; serde's tagged enums cannot hold a `RawValue`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct ItemFields<'a> {
    #[serde(rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(default)]
    id: Option<Text<'a>>,
    #[serde(default)]
    role: Option<Text<'a>>,
    #[serde(default)]
    content: Option<Content<'a>>,
    #[serde(default)]
    call_id: Option<Text<'a>>,
    #[serde(default)]
    name: Option<Text<'a>>,
    #[serde(default)]
    namespace: Option<Text<'a>>,
    #[serde(default, borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(default)]
    input: Option<TextOr<'a, serde::de::IgnoredAny>>,
    #[serde(default, borrow)]
    output: Option<&'a RawValue>,
    #[serde(default, borrow)]
    action: Option<&'a RawValue>,
    #[serde(default, borrow)]
    operation: Option<&'a RawValue>,
    #[serde(default)]
    summary: Option<TextOr<'a, Part<'a>>>,
    #[serde(default)]
    encrypted_content: Option<Text<'a>>,
    #[serde(default, borrow)]
    tools: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    author: Option<Text<'a>>,
    #[serde(default)]
    reasoning: Option<ReasoningOptions<'a>>,
    #[serde(default)]
    text: Option<TextOr<'a, TextOptions<'a>>>,
}

impl<'a> TryFrom<ItemFields<'a>> for InputItem<'a> {
    type Error = String;

    fn try_from(mut fields: ItemFields<'a>) -> Result<Self, Self::Error> {
        let kind = fields
            .kind
            .take()
            .unwrap_or_else(|| implied_kind(&fields).into());
        Ok(match kind.as_str() {
            "message" => message(fields)?,
            "function_call" => fields.call(CallKind::Function)?,
            "custom_tool_call" => fields.call(CallKind::Custom)?,
            "local_shell_call" => fields.call(CallKind::LocalShell)?,
            "shell_call" => fields.call(CallKind::Shell)?,
            "apply_patch_call" => fields.call(CallKind::ApplyPatch)?,
            "tool_search_call" => fields.call(CallKind::ToolSearch)?,
            "function_call_output"
            | "custom_tool_call_output"
            | "local_shell_call_output"
            | "shell_call_output"
            | "apply_patch_call_output" => fields.output()?,
            "reasoning" => Self::Reasoning(Reasoning {
                summary: parts(fields.summary),
                content: parts(fields.content),
                encrypted_content: fields.encrypted_content,
            }),
            "additional_tools" | "tool_search_output" => Self::Tools(ToolsItem {
                tools: fields.tools.unwrap_or_default(),
                call_id: fields.call_id,
            }),
            "agent_message" => Self::AgentMessage {
                author: fields.author,
                content: fields.content.unwrap_or_else(|| TextOr::List(Vec::new())),
            },
            "configuration_update" => Self::Configuration(Configuration {
                reasoning: fields.reasoning,
                text: match fields.text {
                    Some(TextOr::One(text)) => Some(*text),
                    _ => None,
                },
            }),
            "compaction" | "context_compaction" => Self::Compaction(fields.encrypted_content),
            "item_reference" => Self::Reference(fields.id),
            _ => Self::Other(kind),
        })
    }
}

/// Messages may leave out their type, and references too.
fn implied_kind(fields: &ItemFields<'_>) -> &'static str {
    if fields.role.is_some() || fields.content.is_some() {
        "message"
    } else {
        "item_reference"
    }
}

fn message<'a>(fields: ItemFields<'a>) -> Result<InputItem<'a>, String> {
    let role = match fields.role.as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system" | "developer") => Role::System,
        Some(other) => {
            return Err(format!(
                "Invalid value: '{other}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
            ));
        }
        None => return Err("Missing required parameter: 'role'.".into()),
    };
    match fields.content {
        Some(TextOr::Odd) => Err(
            "Invalid type for 'content': expected a string or an array of content parts.".into(),
        ),
        Some(content) => Ok(InputItem::Message { role, content }),
        // An assistant message of a tool call has none in some histories.
        None => Ok(InputItem::Message {
            role,
            content: TextOr::List(Vec::new()),
        }),
    }
}

impl<'a> ItemFields<'a> {
    fn call(self, kind: CallKind) -> Result<InputItem<'a>, String> {
        let payload = match kind {
            CallKind::Function => json_text(self.arguments)?,
            CallKind::Custom => match self.input {
                Some(TextOr::Text(text)) => Some(Payload::Text(text)),
                _ => None,
            },
            CallKind::LocalShell | CallKind::Shell => self.action.map(Payload::Json),
            CallKind::ApplyPatch => self.operation.map(Payload::Json),
            CallKind::ToolSearch => self.arguments.map(Payload::Json),
        };
        // Some clients give hosted calls no call id, only the item's own.
        let call_id = self.call_id.or(self.id);
        Ok(InputItem::Call(Call {
            kind,
            call_id: call_id.ok_or("Missing required parameter: 'call_id'.")?,
            name: self.name,
            namespace: self.namespace,
            payload: payload.unwrap_or_else(|| Payload::Text(Text::default())),
        }))
    }

    fn output(self) -> Result<InputItem<'a>, String> {
        let body = match self.output {
            None => OutputBody::Empty,
            Some(raw) => output_body(raw)?,
        };
        Ok(InputItem::Output(Output {
            call_id: self.call_id,
            body,
        }))
    }
}

/// A string stays text; anything else is kept as JSON.
fn json_text(raw: Option<&RawValue>) -> Result<Option<Payload<'_>>, String> {
    match raw {
        Some(raw) if raw.get().starts_with('"') => serde_json::from_str(raw.get())
            .map(|text| Some(Payload::Text(text)))
            .map_err(|e| e.to_string()),
        Some(raw) if raw.get() == "null" => Ok(None),
        Some(raw) => Ok(Some(Payload::Json(raw))),
        None => Ok(None),
    }
}

/// Content where it reads as such; a shell's results and odd values stay JSON.
fn output_body(raw: &RawValue) -> Result<OutputBody<'_>, String> {
    let text = raw.get();
    if text.starts_with('"') {
        let text: Text<'_> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        return Ok(OutputBody::Content(TextOr::Text(text)));
    }
    if text.starts_with('[')
        && let Ok(TextOr::List(parts)) = serde_json::from_str::<Content<'_>>(text)
        && !parts.iter().any(|part| matches!(part, Part::Other(_)))
    {
        return Ok(OutputBody::Content(TextOr::List(parts)));
    }
    Ok(if text == "null" {
        OutputBody::Empty
    } else {
        OutputBody::Json(raw)
    })
}

fn parts<'a>(value: Option<TextOr<'a, Part<'a>>>) -> Vec<Part<'a>> {
    match value {
        Some(TextOr::List(parts)) => parts,
        Some(TextOr::One(part)) => vec![*part],
        Some(TextOr::Text(text)) => vec![Part::Text(text)],
        Some(TextOr::Odd) | None => Vec::new(),
    }
}
