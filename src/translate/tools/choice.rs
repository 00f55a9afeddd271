//! `tool_choice`: which of the offered tools the model may or must call.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Lowering, Origin};
use crate::chat::message::FunctionTag;
use crate::chat::request::{ChosenFunction, NamedChoice, ToolChoice};
use crate::json::{Text, TextOr};
use crate::responses::ErrorObject;
use crate::responses::input::CallKind;
use crate::translate::note::Note;

impl<'a> Lowering<'a, '_> {
    /// `tool_choice`; may take tools away (`allowed_tools`).
    pub(in crate::translate) fn choice(
        &mut self,
        choice: Option<&'a RawValue>,
        notes: &mut Vec<Note>,
    ) -> Result<Option<ToolChoice<'a>>, ErrorObject> {
        let Some(raw) = choice.filter(|raw| raw.get() != "null") else {
            return Ok(None);
        };
        match serde_json::from_str::<TextOr<'a, Choice<'a>>>(raw.get()) {
            Ok(TextOr::Text(mode)) => match mode_of(&mode) {
                Some(mode) => Ok(Some(ToolChoice::Mode(mode))),
                None => Err(invalid(format!(
                    "Invalid value: '{}'. Supported values are: 'none', 'auto', and 'required'.",
                    mode.as_str()
                ))),
            },
            Ok(TextOr::One(choice)) if choice.kind.as_str() == "allowed_tools" => {
                self.allow(choice.tools.as_deref().unwrap_or_default(), notes);
                let mode = choice.mode.as_deref().and_then(mode_of).unwrap_or("auto");
                Ok(Some(ToolChoice::Mode(mode)))
            }
            Ok(TextOr::One(choice)) => self.one(&choice, notes),
            _ => Err(invalid(
                "Invalid type for 'tool_choice': expected a string or an object.".into(),
            )),
        }
    }

    /// The one tool that must be called.
    fn one(
        &self,
        choice: &Choice<'a>,
        notes: &mut Vec<Note>,
    ) -> Result<Option<ToolChoice<'a>>, ErrorObject> {
        let Some(kind) = choice.call_kind() else {
            notes.push(Note::ChoiceLeftOut(choice.kind.to_string()));
            return Ok(None);
        };
        let hit = self.map.entries.iter().find(|tool| choice.is(kind, tool));
        match (hit, choice.tool_name()) {
            (Some(tool), _) => Ok(Some(ToolChoice::Function(NamedChoice {
                kind: FunctionTag::Function,
                function: ChosenFunction {
                    name: Cow::Owned(tool.sent_name.clone()),
                },
            }))),
            (None, Some(name)) => Err(invalid(format!(
                "Tool choice '{name}' not found in 'tools' parameter."
            ))),
            (None, None) => {
                notes.push(Note::ChoiceLeftOut(choice.kind.to_string()));
                Ok(None)
            }
        }
    }

    /// Takes away all tools but the given ones; a namespace stands for all that is in it.
    fn allow(&mut self, allowed: &[Choice<'a>], notes: &mut Vec<Note>) {
        let mut kept: HashSet<&str> = HashSet::new();
        for choice in allowed {
            let before = kept.len();
            let tools = self.map.entries.iter();
            match (choice.kind.as_str(), choice.call_kind()) {
                ("namespace", _) => kept.extend(
                    tools
                        .filter(|tool| tool.namespace.as_deref() == choice.tool_name())
                        .map(|tool| tool.sent_name.as_str()),
                ),
                (_, Some(kind)) => kept.extend(
                    tools
                        .filter(|tool| choice.is(kind, tool))
                        .map(|tool| tool.sent_name.as_str())
                        .take(1),
                ),
                (_, None) => {}
            }
            if kept.len() == before {
                let name = choice.tool_name().unwrap_or(&choice.kind);
                notes.push(Note::AllowedLeftOut(name.to_owned()));
            }
        }
        self.tools
            .retain(|tool| kept.contains(&*tool.function.name));
    }
}

/// `tool_choice` as an object.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Choice<'a> {
    #[serde(rename = "type", default)]
    kind: Text<'a>,
    #[serde(default)]
    name: Option<Text<'a>>,
    #[serde(default)]
    namespace: Option<Text<'a>>,
    #[serde(default)]
    mode: Option<Text<'a>>,
    #[serde(default)]
    tools: Option<Vec<Self>>,
    /// The Chat API's shape, which some clients send here.
    #[serde(default)]
    function: Option<Named<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Named<'a> {
    name: Text<'a>,
}

impl Choice<'_> {
    fn tool_name(&self) -> Option<&str> {
        self.name
            .as_deref()
            .or_else(|| self.function.as_ref().map(|function| &*function.name))
    }

    /// The kind of call that the chosen tool is answered with; none for what a server would run.
    fn call_kind(&self) -> Option<CallKind> {
        Some(match self.kind.as_str() {
            "function" => CallKind::Function,
            "custom" => CallKind::Custom,
            "local_shell" => CallKind::LocalShell,
            "shell" => CallKind::Shell,
            "apply_patch" => CallKind::ApplyPatch,
            "tool_search" => CallKind::ToolSearch,
            _ => return None,
        })
    }

    /// Whether it chooses a tool; without a namespace, any will do.
    fn is(&self, kind: CallKind, tool: &Origin) -> bool {
        tool.kind == kind
            && self.tool_name().is_none_or(|name| tool.name == name)
            && (self.namespace.is_none() || tool.namespace.as_deref() == self.namespace.as_deref())
    }
}

fn invalid(message: String) -> ErrorObject {
    ErrorObject::invalid(message)
        .with_param("tool_choice")
        .with_code("invalid_value")
}

fn mode_of(mode: &str) -> Option<&'static str> {
    ["auto", "none", "required"]
        .into_iter()
        .find(|known| *known == mode)
}
