//! A call under construction: of a function, of a freeform tool, or of a tool that has an item of
//! its own.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Out, Place};
use crate::json::partial::FieldDecoder;
use crate::json::{Text, TextOr, repair};
use crate::responses::event::Delta;
use crate::responses::input::CallKind;
use crate::responses::item::{
    ActionCallItem, ApplyPatchCallItem, CustomToolCallItem, FunctionCallItem, ItemStatus,
    ToolSearchCallItem,
};
use crate::responses::{OutputItem, ResponseEvent};
use crate::translate::tools::{INPUT, Origin};

/// A call that is open.
#[derive(Debug)]
pub(in super::super) struct OpenCall {
    place: Place,
    call_id: String,
    origin: Origin,
    form: Form,
    /// Its arguments are whole, and it may close when all before it have.
    pub(in super::super) ended: bool,
}

#[derive(Debug)]
enum Form {
    /// Streamed as it comes.
    Function { arguments: String },
    /// Unwrapped and streamed.
    Custom {
        /// Nothing is to be unwrapped where the upstream has such tools itself.
        decoder: Option<FieldDecoder>,
        input: String,
    },
    /// Opened empty, and shown once it is whole.
    Whole { arguments: String },
}

/// The prefix of a call's item id.
pub(in super::super) fn prefix(kind: CallKind) -> &'static str {
    match kind {
        CallKind::Function => "fc",
        CallKind::Custom => "ctc",
        CallKind::LocalShell => "lsh",
        CallKind::Shell => "sh",
        CallKind::ApplyPatch => "apc",
        CallKind::ToolSearch => "tsc",
    }
}

impl OpenCall {
    pub(in super::super) fn open(
        place: Place,
        call_id: String,
        origin: Origin,
        raw: bool,
        out: &mut Out<'_>,
    ) -> Self {
        let form = match origin.kind {
            CallKind::Function => Form::Function {
                arguments: String::new(),
            },
            CallKind::Custom => Form::Custom {
                decoder: (!raw).then(|| FieldDecoder::new(INPUT)),
                input: String::new(),
            },
            _ => Form::Whole {
                arguments: String::new(),
            },
        };
        let this = Self {
            place,
            call_id,
            origin,
            form,
            ended: false,
        };
        out.added(this.place.index, &this.item(ItemStatus::InProgress, ""));
        this
    }

    pub(in super::super) fn arguments(&mut self, text: &str, out: &mut Out<'_>) {
        let at = self.place.at();
        match &mut self.form {
            Form::Function { arguments } => {
                out.emit(&ResponseEvent::FunctionCallArgumentsDelta(Delta {
                    at,
                    delta: text,
                }));
                arguments.push_str(text);
            }
            Form::Custom { decoder, input } => {
                let start = input.len();
                match decoder {
                    Some(decoder) => decoder.push(text, input),
                    None => input.push_str(text),
                }
                if let Some(delta) = input.get(start..).filter(|delta| !delta.is_empty()) {
                    out.emit(&ResponseEvent::CustomToolCallInputDelta(Delta {
                        at,
                        delta,
                    }));
                }
            }
            Form::Whole { arguments } => arguments.push_str(text),
        }
    }

    pub(in super::super) fn close(
        mut self,
        status: ItemStatus,
        out: &mut Out<'_>,
    ) -> (u32, OutputItem) {
        let index = self.place.index;
        let payload = self.finish(status, out);
        let item = self.item(status, &payload);
        out.done(index, &item);
        (index, item)
    }

    /// Gives out what is left and says `done`; returns the whole payload.
    fn finish(&mut self, status: ItemStatus, out: &mut Out<'_>) -> String {
        let at = self.place.at();
        match &mut self.form {
            Form::Function { arguments } => {
                // A function without arguments is called with an empty object; clients parse it.
                if arguments.is_empty() && status == ItemStatus::Completed {
                    arguments.push_str("{}");
                    out.emit(&ResponseEvent::FunctionCallArgumentsDelta(Delta {
                        at,
                        delta: arguments,
                    }));
                }
                out.emit(&ResponseEvent::FunctionCallArgumentsDone { at, arguments });
                std::mem::take(arguments)
            }
            Form::Custom { decoder, input } => {
                let start = input.len();
                if let Some(decoder) = decoder {
                    decoder.finish(input);
                }
                if let Some(delta) = input.get(start..).filter(|delta| !delta.is_empty()) {
                    out.emit(&ResponseEvent::CustomToolCallInputDelta(Delta {
                        at,
                        delta,
                    }));
                }
                out.emit(&ResponseEvent::CustomToolCallInputDone { at, input });
                std::mem::take(input)
            }
            Form::Whole { arguments } => std::mem::take(arguments),
        }
    }

    fn item(&self, status: ItemStatus, payload: &str) -> OutputItem {
        let id = self.place.id.clone();
        let call_id = self.call_id.clone();
        let Origin {
            kind,
            name,
            namespace,
            ..
        } = &self.origin;
        match kind {
            CallKind::Function => OutputItem::FunctionCall(FunctionCallItem {
                id,
                status,
                arguments: payload.to_owned(),
                call_id,
                name: name.clone(),
                namespace: namespace.clone(),
            }),
            CallKind::Custom => OutputItem::CustomToolCall(CustomToolCallItem {
                id,
                status,
                call_id,
                input: payload.to_owned(),
                name: name.clone(),
                namespace: namespace.clone(),
            }),
            CallKind::LocalShell => {
                let action = raw(&LocalShellAction::read(payload));
                OutputItem::LocalShellCall(ActionCallItem {
                    id,
                    status,
                    call_id,
                    action,
                })
            }
            CallKind::Shell => {
                let action = raw(&ShellAction::read(payload));
                OutputItem::ShellCall(ActionCallItem {
                    id,
                    status,
                    call_id,
                    action,
                })
            }
            CallKind::ApplyPatch => {
                let operation = raw(&PatchOperation::read(payload));
                OutputItem::ApplyPatchCall(ApplyPatchCallItem {
                    id,
                    status,
                    call_id,
                    operation,
                })
            }
            CallKind::ToolSearch => OutputItem::ToolSearchCall(ToolSearchCallItem {
                id,
                status,
                call_id,
                execution: "client",
                arguments: object(payload),
            }),
        }
    }
}

/// `action` of a local shell call.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LocalShellAction {
    #[serde(rename = "type", default = "exec", skip_deserializing)]
    kind: &'static str,
    #[serde(default, deserialize_with = "words")]
    command: Vec<String>,
    #[serde(default)]
    env: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default)]
    working_directory: Option<String>,
    #[serde(default)]
    user: Option<String>,
}

fn exec() -> &'static str {
    "exec"
}

impl LocalShellAction {
    fn read(arguments: &str) -> Self {
        Self {
            kind: "exec",
            ..serde_json::from_str(arguments).unwrap_or_default()
        }
    }
}

/// `action` of a shell call.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ShellAction {
    #[serde(default, deserialize_with = "lines")]
    commands: Vec<String>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default)]
    max_output_length: Option<u64>,
}

impl ShellAction {
    fn read(arguments: &str) -> Self {
        serde_json::from_str(arguments).unwrap_or_default()
    }
}

/// `operation` of a patch call.
#[derive(Debug, Serialize, Deserialize)]
struct PatchOperation {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
}

impl PatchOperation {
    /// Reads the flat arguments that we ask for, or the nested ones that a model may make of them.
    fn read(arguments: &str) -> Self {
        #[derive(Deserialize)]
        struct Nested {
            operation: PatchOperation,
        }
        let mut this: Self = serde_json::from_str(arguments)
            .or_else(|_| serde_json::from_str::<Nested>(arguments).map(|nested| nested.operation))
            .unwrap_or_else(|_| Self {
                kind: "update_file".into(),
                path: String::new(),
                diff: None,
            });
        match this.kind.as_str() {
            "delete_file" => this.diff = None,
            "create_file" => {}
            _ => this.kind = "update_file".into(),
        }
        if this.kind != "delete_file" {
            this.diff.get_or_insert_default();
        }
        this
    }
}

/// A command as words; a model may write it as one line.
fn words<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match TextOr::<'_, Text<'_>>::deserialize(deserializer)? {
        TextOr::Text(line) => vec!["bash".into(), "-lc".into(), line.to_string()],
        TextOr::List(words) => words.iter().map(|word| word.to_string()).collect(),
        TextOr::One(_) | TextOr::Odd => Vec::new(),
    })
}

/// Command lines; a model may write but one.
fn lines<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match TextOr::<'_, Text<'_>>::deserialize(deserializer)? {
        TextOr::Text(line) => vec![line.to_string()],
        TextOr::List(lines) => lines.iter().map(|line| line.to_string()).collect(),
        TextOr::One(_) | TextOr::Odd => Vec::new(),
    })
}

/// Arguments as an object; anything else becomes an empty one.
fn object(arguments: &str) -> Box<RawValue> {
    match arguments.trim_start().starts_with('{') {
        // In one line, as it goes into the data line of an event.
        true => {
            let mended =
                repair(arguments.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok());
            let arguments = mended
                .as_deref()
                .unwrap_or(arguments)
                .replace(['\n', '\r'], " ");
            RawValue::from_string(arguments).unwrap_or_else(|_| empty())
        }
        false => empty(),
    }
}

fn raw<T: Serialize>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| empty())
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".into()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
