//! The tools that a client offers.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::ErrorObject;
use crate::json::{self, Text};

/// One tool.
#[derive(Debug, Clone)]
pub enum Tool<'a> {
    /// `function`: arguments by JSON Schema.
    Function(Function<'a>),
    /// `custom`: one free text, perhaps by a grammar.
    Custom(Custom<'a>),
    /// `namespace`: tools under a common name.
    Namespace {
        /// The common name.
        name: Text<'a>,
        /// What they are about.
        description: Option<Text<'a>>,
        /// The tools, unread.
        tools: Vec<&'a RawValue>,
    },
    /// `tool_search` that the client runs.
    ToolSearch {
        /// What can be found.
        description: Option<Text<'a>>,
        /// The search's arguments.
        parameters: Option<&'a RawValue>,
    },
    /// `local_shell`: one command as an argument vector.
    LocalShell,
    /// `shell`: several command lines.
    Shell,
    /// `apply_patch`: one operation on one file.
    ApplyPatch,
    /// A tool that OpenAI's servers run, or one from the future.
    Hosted(Text<'a>),
}

/// A function.
#[derive(Debug, Clone)]
pub struct Function<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// What it does.
    pub description: Option<Text<'a>>,
    /// Its arguments' JSON Schema.
    pub parameters: Option<&'a RawValue>,
    /// Whether the arguments must fit it.
    pub strict: Option<bool>,
}

/// A freeform tool.
#[derive(Debug, Clone)]
pub struct Custom<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// What it does.
    pub description: Option<Text<'a>>,
    /// The grammar of its input.
    pub grammar: Option<Grammar<'a>>,
}

/// A grammar, in one of the notations that the API has.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Grammar<'a> {
    /// `lark` or `regex`.
    #[serde(default)]
    pub syntax: Option<Text<'a>>,
    /// The grammar's text.
    #[serde(default)]
    pub definition: Option<Text<'a>>,
}

/// All keys that any tool has; serde's tagged enums cannot hold a `RawValue`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct ToolFields<'a> {
    #[serde(rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    name: Option<Text<'a>>,
    #[serde(default)]
    description: Option<Text<'a>>,
    #[serde(default, borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(default)]
    strict: Option<bool>,
    #[serde(default)]
    format: Option<Grammar<'a>>,
    #[serde(default, borrow)]
    tools: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    execution: Option<Text<'a>>,
}

impl<'a> Tool<'a> {
    /// Reads a tool; `param` is its path in the request.
    ///
    /// # Errors
    /// What the API answers with 400: no object, a key of a wrong type, or no name.
    pub fn parse(raw: &'a RawValue, param: &str) -> Result<Self, ErrorObject> {
        let invalid = |what: &dyn std::fmt::Display| {
            ErrorObject::invalid(format!("Invalid value for '{param}': {what}"))
                .with_param(param)
                .with_code("invalid_value")
        };
        // A derived struct would take a list of its values too.
        if !raw.get().starts_with('{') {
            return Err(invalid(&"expected an object"));
        }
        let fields: ToolFields<'a> = json::from_raw(raw).map_err(|error| invalid(&error))?;
        Self::try_from(fields).map_err(|NoName| {
            let param = format!("{param}.name");
            ErrorObject::invalid(format!("Missing required parameter: '{param}'."))
                .with_param(param)
                .with_code("missing_required_parameter")
        })
    }
}

/// A tool of a kind that has a name has none.
struct NoName;

impl<'a> TryFrom<ToolFields<'a>> for Tool<'a> {
    type Error = NoName;

    fn try_from(fields: ToolFields<'a>) -> Result<Self, Self::Error> {
        let ToolFields {
            kind,
            name,
            description,
            parameters,
            strict,
            format,
            tools,
            execution,
        } = fields;
        Ok(match kind.as_str() {
            "function" => Self::Function(Function {
                name: name.ok_or(NoName)?,
                description,
                parameters,
                strict,
            }),
            "custom" => Self::Custom(Custom {
                name: name.ok_or(NoName)?,
                description,
                grammar: format.filter(|format| format.definition.is_some()),
            }),
            "namespace" => Self::Namespace {
                name: name.ok_or(NoName)?,
                description,
                tools: tools.unwrap_or_default(),
            },
            "tool_search" if execution.as_deref() == Some("client") => Self::ToolSearch {
                description,
                parameters,
            },
            "local_shell" => Self::LocalShell,
            "shell" => Self::Shell,
            "apply_patch" => Self::ApplyPatch,
            _ => Self::Hosted(kind),
        })
    }
}
