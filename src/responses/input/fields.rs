//! How an item is read: one flat struct for the keys of all kinds, since serde's tagged enums cannot
//! hold a `RawValue`.
//!
//! A key is read with its type only once it is known that the item is of a kind of ours. What is of
//! another kind may hold anything. Most items begin with their type or role, so hardly anything is
//! read twice.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Call, CallKind, Configuration, InputItem, Output, OutputBody, Payload, Reasoning, Role,
    ToolsItem,
};
use crate::json::{self, Known, Text, TextOr};
use crate::responses::content::{Content, Part};
use crate::responses::request::{ReasoningOptions, TextOptions};

impl<'de: 'a, 'a> Deserialize<'de> for InputItem<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ItemVisitor)
    }
}

struct ItemVisitor;

/// What becomes of the keys to come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The kind is not known yet: they are put aside.
    Later,
    /// It is one of ours: they are read.
    Now,
    /// It is none of ours: they are nothing to us.
    Never,
}

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = InputItem<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an input item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = ItemFields::default();
        let mut aside: Vec<(Key, &'de RawValue)> = Vec::new();
        let mut reading = Reading::Later;
        while let Some(key) = map.next_key()? {
            match (key, reading) {
                (Key::Type, _) => {
                    fields.kind = map.next_value()?;
                    reading = match &fields.kind {
                        Some(kind) if Kind::of(kind).is_some() => Reading::Now,
                        Some(_) => Reading::Never,
                        None => reading,
                    };
                }
                (Key::Other, _) | (_, Reading::Never) => {
                    map.next_value::<IgnoredAny>()?;
                }
                (key, Reading::Now) => map.next_value_seed(Field(&mut fields, key))?,
                (key, Reading::Later) => {
                    let value: &'de RawValue = map.next_value()?;
                    // A message may do without a type.
                    if key == Key::Role && speaker(value).is_some() {
                        reading = Reading::Now;
                    }
                    aside.push((key, value));
                }
            }
        }
        if reading != Reading::Never {
            for (key, value) in aside {
                // What the fast way refuses is read again, or complained of.
                if fields.set(key, Known(value)).is_err() {
                    fields.set(key, value).map_err(A::Error::custom)?;
                }
            }
        }
        fields.item().map_err(A::Error::custom)
    }
}

fn speaker(raw: &RawValue) -> Option<Role> {
    role_of(&Text::of_raw(raw)?)
}

fn role_of(name: &str) -> Option<Role> {
    match name {
        "user" => Some(Role::User),
        "assistant" => Some(Role::Assistant),
        "system" | "developer" => Some(Role::System),
        _ => None,
    }
}

/// The kinds of items that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Call(CallKind),
    Output(OutputKind),
    Reasoning,
    Tools,
    AgentMessage,
    Configuration,
    Compaction,
    CompactionTrigger,
    Reference,
}

/// The kinds of outputs that need a reading of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OutputKind {
    LocalShell,
    Shell,
    ApplyPatch,
    Other,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "message" => Self::Message,
            "function_call" => Self::Call(CallKind::Function),
            "custom_tool_call" => Self::Call(CallKind::Custom),
            "local_shell_call" => Self::Call(CallKind::LocalShell),
            "shell_call" => Self::Call(CallKind::Shell),
            "apply_patch_call" => Self::Call(CallKind::ApplyPatch),
            "tool_search_call" => Self::Call(CallKind::ToolSearch),
            "function_call_output" | "custom_tool_call_output" => Self::Output(OutputKind::Other),
            "local_shell_call_output" => Self::Output(OutputKind::LocalShell),
            "shell_call_output" => Self::Output(OutputKind::Shell),
            "apply_patch_call_output" => Self::Output(OutputKind::ApplyPatch),
            "reasoning" => Self::Reasoning,
            "additional_tools" | "tool_search_output" => Self::Tools,
            "agent_message" => Self::AgentMessage,
            "configuration_update" => Self::Configuration,
            "compaction" | "context_compaction" => Self::Compaction,
            "compaction_trigger" => Self::CompactionTrigger,
            "item_reference" => Self::Reference,
            _ => return None,
        })
    }
}

/// The keys that are read.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Type,
    Id,
    Role,
    Content,
    CallId,
    Name,
    Namespace,
    Arguments,
    Input,
    Output,
    Status,
    Action,
    Operation,
    Summary,
    EncryptedContent,
    Tools,
    Author,
    Reasoning,
    Text,
    #[serde(other)]
    Other,
}

/// All keys that any item has.
#[derive(Default)]
struct ItemFields<'a> {
    kind: Option<Text<'a>>,
    id: Option<Text<'a>>,
    role: Option<Text<'a>>,
    content: Option<Content<'a>>,
    call_id: Option<Text<'a>>,
    name: Option<Text<'a>>,
    namespace: Option<Text<'a>>,
    arguments: Option<&'a RawValue>,
    input: Option<TextOr<'a, IgnoredAny>>,
    output: Option<&'a RawValue>,
    status: Option<TextOr<'a, IgnoredAny>>,
    action: Option<&'a RawValue>,
    operation: Option<&'a RawValue>,
    summary: Option<TextOr<'a, Part<'a>>>,
    encrypted_content: Option<Text<'a>>,
    tools: Option<Vec<&'a RawValue>>,
    author: Option<Text<'a>>,
    reasoning: Option<ReasoningOptions<'a>>,
    text: Option<TextOr<'a, TextOptions<'a>>>,
}

/// Where the value of a key goes.
struct Field<'f, 'a>(&'f mut ItemFields<'a>, Key);

impl<'de: 'a, 'a> DeserializeSeed<'de> for Field<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        self.0.set(self.1, value)
    }
}

impl<'a> ItemFields<'a> {
    fn set<'de: 'a, D: Deserializer<'de>>(&mut self, key: Key, value: D) -> Result<(), D::Error> {
        match key {
            Key::Type => self.kind = Deserialize::deserialize(value)?,
            Key::Id => self.id = Deserialize::deserialize(value)?,
            Key::Role => self.role = Deserialize::deserialize(value)?,
            Key::Content => self.content = Deserialize::deserialize(value)?,
            Key::CallId => self.call_id = Deserialize::deserialize(value)?,
            Key::Name => self.name = Deserialize::deserialize(value)?,
            Key::Namespace => self.namespace = Deserialize::deserialize(value)?,
            Key::Arguments => self.arguments = Deserialize::deserialize(value)?,
            Key::Input => self.input = Deserialize::deserialize(value)?,
            Key::Output => self.output = Deserialize::deserialize(value)?,
            Key::Status => self.status = Deserialize::deserialize(value)?,
            Key::Action => self.action = Deserialize::deserialize(value)?,
            Key::Operation => self.operation = Deserialize::deserialize(value)?,
            Key::Summary => self.summary = Deserialize::deserialize(value)?,
            Key::EncryptedContent => self.encrypted_content = Deserialize::deserialize(value)?,
            Key::Tools => self.tools = Deserialize::deserialize(value)?,
            Key::Author => self.author = Deserialize::deserialize(value)?,
            Key::Reasoning => self.reasoning = Deserialize::deserialize(value)?,
            Key::Text => self.text = Deserialize::deserialize(value)?,
            Key::Other => {}
        }
        Ok(())
    }

    fn item(mut self) -> Result<InputItem<'a>, String> {
        let kind = match self.kind.take() {
            None => self.implied_kind()?,
            Some(name) => match Kind::of(&name) {
                Some(kind) => kind,
                None => return Ok(InputItem::Other(name)),
            },
        };
        Ok(match kind {
            Kind::Message => self.message()?,
            Kind::Call(kind) => self.call(kind)?,
            Kind::Output(kind) => self.output(kind)?,
            Kind::Reasoning => InputItem::Reasoning(Reasoning {
                summary: parts(self.summary),
                content: parts(self.content),
                encrypted_content: self.encrypted_content,
            }),
            Kind::Tools => InputItem::Tools(ToolsItem {
                tools: self.tools.unwrap_or_default(),
                call_id: self.call_id,
            }),
            Kind::AgentMessage => InputItem::AgentMessage {
                author: self.author,
                content: self.content.unwrap_or_else(|| TextOr::List(Vec::new())),
            },
            Kind::Configuration => InputItem::Configuration(Configuration {
                reasoning: self.reasoning,
                text: match self.text {
                    Some(TextOr::One(text)) => Some(*text),
                    _ => None,
                },
            }),
            Kind::Compaction => InputItem::Compaction(self.encrypted_content),
            Kind::CompactionTrigger => InputItem::CompactionTrigger,
            Kind::Reference => InputItem::Reference(self.id),
        })
    }

    /// Messages may leave out their type, and references too.
    fn implied_kind(&self) -> Result<Kind, String> {
        if self.role.is_some() || self.content.is_some() {
            Ok(Kind::Message)
        } else if self.id.is_some() {
            Ok(Kind::Reference)
        } else {
            Err("Missing required parameter: 'type'.".into())
        }
    }

    fn message(self) -> Result<InputItem<'a>, String> {
        let Some(name) = self.role.as_deref() else {
            return Err("Missing required parameter: 'role'.".into());
        };
        let Some(role) = role_of(name) else {
            return Err(format!(
                "Invalid value: '{name}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
            ));
        };
        match self.content {
            Some(TextOr::Odd) => Err(
                "Invalid type for 'content': expected a string or an array of content parts."
                    .into(),
            ),
            Some(content) => Ok(InputItem::Message { role, content }),
            // An assistant message of a tool call has none in some histories.
            None => Ok(InputItem::Message {
                role,
                content: TextOr::List(Vec::new()),
            }),
        }
    }

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

    fn output(self, kind: OutputKind) -> Result<InputItem<'a>, String> {
        let body = match (self.output, kind) {
            (Some(raw), OutputKind::Shell) => match json::from_raw(raw) {
                Ok(commands) => OutputBody::Commands(commands),
                Err(_) => output_body(raw)?,
            },
            (Some(raw), _) => output_body(raw)?,
            (None, _) => OutputBody::Empty,
        };
        let body = match (body, kind, self.status) {
            // Of a patch often nothing more is told than whether it went well.
            (OutputBody::Empty, OutputKind::ApplyPatch, Some(TextOr::Text(status))) => {
                OutputBody::Content(TextOr::Text(status))
            }
            (body, ..) => body,
        };
        let call_id = match kind {
            // This kind alone has its call's id as its own.
            OutputKind::LocalShell => self.call_id.or(self.id),
            OutputKind::Shell | OutputKind::ApplyPatch | OutputKind::Other => self.call_id,
        };
        Ok(InputItem::Output(Output { call_id, body }))
    }
}

/// A string stays text; anything else is kept as JSON.
fn json_text(raw: Option<&RawValue>) -> Result<Option<Payload<'_>>, String> {
    match raw {
        Some(raw) if raw.get().starts_with('"') => Ok(Some(Payload::Text(text_of(raw)?))),
        Some(raw) if raw.get() == "null" => Ok(None),
        Some(raw) => Ok(Some(Payload::Json(raw))),
        None => Ok(None),
    }
}

fn text_of(raw: &RawValue) -> Result<Text<'_>, String> {
    // Who complains is serde, in the words that it has for it.
    Text::of_raw(raw).map_or_else(
        || serde_json::from_str(raw.get()).map_err(|error| error.to_string()),
        Ok,
    )
}

/// Content where some of it reads as such; odd values stay JSON.
fn output_body(raw: &RawValue) -> Result<OutputBody<'_>, String> {
    let text = raw.get();
    if text.starts_with('"') {
        return Ok(OutputBody::Quoted(raw));
    }
    if text.starts_with('[') {
        let parts = output_parts(raw);
        let known = |part: &Part<'_>| !matches!(part, Part::Other(_));
        if parts.is_empty() || parts.iter().any(known) {
            return Ok(OutputBody::Content(TextOr::List(parts)));
        }
    }
    Ok(if text == "null" {
        OutputBody::Empty
    } else {
        OutputBody::Json(raw)
    })
}

/// The parts of a list; one that does not read takes none of the others with it.
fn output_parts(raw: &RawValue) -> Vec<Part<'_>> {
    if let Ok(parts) = json::from_raw(raw) {
        return parts;
    }
    let each: Vec<&RawValue> = json::from_raw(raw).unwrap_or_default();
    each.into_iter()
        .map(|raw| match json::from_raw::<TextOr<'_, Part<'_>>>(raw) {
            Ok(TextOr::One(part)) => *part,
            Ok(TextOr::Text(text)) => Part::Text(text),
            _ => Part::Other(Text::default()),
        })
        .collect()
}

fn parts<'a>(value: Option<TextOr<'a, Part<'a>>>) -> Vec<Part<'a>> {
    match value {
        Some(TextOr::List(parts)) => parts,
        Some(TextOr::One(part)) => vec![*part],
        Some(TextOr::Text(text)) => vec![Part::Text(text)],
        Some(TextOr::Odd) | None => Vec::new(),
    }
}
