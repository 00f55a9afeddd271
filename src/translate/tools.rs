//! Tools, offered to a chat as functions, and the map by which calls find the way back.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::names;
use super::note::Note;
use crate::chat::message::FunctionTag;
use crate::chat::request::{
    ChosenFunction, FunctionTool, NamedChoice, Schema, Tool as ChatTool, ToolChoice,
};
use crate::json::schema::{self, SchemaRules};
use crate::json::{Text, TextOr};
use crate::profile::{Profile, Strict};
use crate::responses::ErrorObject;
use crate::responses::input::CallKind;
use crate::responses::tool::{Custom, Function, Tool};

/// The one parameter of a freeform tool that is offered as a function.
pub(super) const INPUT: &str = "input";

/// Which tool each function of the chat stands for.
#[derive(Debug, Clone, Default)]
pub struct ToolMap {
    entries: Vec<Origin>,
    by_sent_name: HashMap<String, usize>,
}

/// The tool that a function of the chat stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) kind: CallKind,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    /// The name under which it is offered.
    pub(super) sent_name: String,
}

impl ToolMap {
    /// The tool that the upstream called; a name that was not offered is taken for a function, so
    /// that the client can tell the model.
    pub(super) fn raise(&self, sent_name: &str) -> Origin {
        match self
            .by_sent_name
            .get(sent_name)
            .and_then(|at| self.entries.get(*at))
        {
            Some(origin) => origin.clone(),
            None => Origin {
                kind: CallKind::Function,
                name: sent_name.to_owned(),
                namespace: None,
                sent_name: sent_name.to_owned(),
            },
        }
    }

    /// The name under which a tool is offered, or would be if it were.
    pub(super) fn sent_name<'a>(&self, namespace: Option<&str>, name: &'a str) -> Cow<'a, str> {
        let known = self
            .entries
            .iter()
            .find(|origin| origin.name == name && origin.namespace.as_deref() == namespace);
        match known {
            Some(origin) => Cow::Owned(origin.sent_name.clone()),
            None => names::flatten(namespace, name),
        }
    }

    /// Whether a tool of that kind and name is offered already.
    fn contains(&self, kind: CallKind, namespace: Option<&str>, name: &str) -> bool {
        self.entries.iter().any(|origin| {
            origin.kind == kind && origin.name == name && origin.namespace.as_deref() == namespace
        })
    }

    /// Finds a free name for a tool and keeps it.
    fn insert(&mut self, kind: CallKind, namespace: Option<&str>, name: &str) -> String {
        let mut sent_name = names::flatten(namespace, name).into_owned();
        let mut attempt = 0;
        while self.by_sent_name.contains_key(&sent_name) {
            attempt += 1;
            sent_name = names::apart(name, namespace, attempt);
        }
        self.by_sent_name
            .insert(sent_name.clone(), self.entries.len());
        self.entries.push(Origin {
            kind,
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            sent_name: sent_name.clone(),
        });
        sent_name
    }
}

/// Tools on their way to a chat.
pub(super) struct Lowering<'a, 'p> {
    profile: &'p Profile,
    pub(super) map: ToolMap,
    pub(super) tools: Vec<ChatTool<'a>>,
}

impl<'a, 'p> Lowering<'a, 'p> {
    pub(super) fn new(profile: &'p Profile) -> Self {
        Self {
            profile,
            map: ToolMap::default(),
            tools: Vec::new(),
        }
    }

    /// Adds the tools of a list; `param` is the list's path in the request.
    pub(super) fn add_all(
        &mut self,
        tools: &[&'a RawValue],
        namespace: Option<&Text<'a>>,
        param: &str,
        notes: &mut Vec<Note>,
    ) -> Result<(), ErrorObject> {
        for (n, raw) in tools.iter().enumerate() {
            let tool: Tool<'a> = serde_json::from_str(raw.get()).map_err(|error| {
                ErrorObject::invalid(format!("Invalid value for '{param}[{n}]': {error}"))
                    .with_param(format!("{param}[{n}]"))
                    .with_code("invalid_value")
            })?;
            match tool {
                Tool::Namespace { name, tools, .. } if namespace.is_none() => {
                    self.add_all(&tools, Some(&name), &format!("{param}[{n}].tools"), notes)?;
                }
                // Namespaces do not nest.
                Tool::Namespace { .. } => notes.push(Note::ToolLeftOut("namespace".into())),
                tool => self.add(tool, namespace.map(Text::as_str), notes),
            }
        }
        Ok(())
    }

    fn add(&mut self, tool: Tool<'a>, namespace: Option<&str>, notes: &mut Vec<Note>) {
        match tool {
            Tool::Function(function) => self.function(function, namespace),
            Tool::Custom(custom) => self.custom(&custom, namespace),
            Tool::ToolSearch {
                description,
                parameters,
            } => self.offer(
                CallKind::ToolSearch,
                (None, "tool_search"),
                description.map(Text::into_cow),
                parameters.map_or_else(|| fixed(TOOL_SEARCH), Schema::Raw),
                None,
            ),
            Tool::LocalShell => self.built_in(CallKind::LocalShell, "local_shell", LOCAL_SHELL),
            Tool::Shell => self.built_in(CallKind::Shell, "shell", SHELL),
            Tool::ApplyPatch => self.built_in(CallKind::ApplyPatch, "apply_patch", APPLY_PATCH),
            Tool::Hosted(kind) => notes.push(Note::ToolLeftOut(kind.to_string())),
            // Taken apart by the caller.
            Tool::Namespace { .. } => {}
        }
    }

    fn function(&mut self, function: Function<'a>, namespace: Option<&str>) {
        let Function {
            name,
            description,
            parameters,
            strict,
        } = function;
        let strict = match self.profile.strict {
            Strict::PassTrue => strict.filter(|strict| *strict),
            Strict::Strip => None,
        };
        let schema = match schema::normalize(
            parameters.map_or("null", |raw| raw.get()),
            &SchemaRules::default(),
        ) {
            Cow::Borrowed(_) => parameters.map_or_else(|| fixed(NO_PARAMETERS), Schema::Raw),
            Cow::Owned(text) => owned(text),
        };
        self.offer(
            CallKind::Function,
            (namespace, &name),
            description.map(Text::into_cow),
            schema,
            strict,
        );
    }

    /// A freeform tool becomes a function of one string, and its grammar is shown to the model, as
    /// a chat server cannot enforce it.
    fn custom(&mut self, custom: &Custom<'a>, namespace: Option<&str>) {
        let mut description = custom.description.as_deref().unwrap_or_default().to_owned();
        if let Some(grammar) = &custom.grammar
            && let Some(definition) = grammar.definition.as_deref()
        {
            if !description.is_empty() {
                description.push_str("\n\n");
            }
            let syntax = grammar.syntax.as_deref().unwrap_or("lark");
            description.push_str(&format!(
                "`{INPUT}` is plain text, not JSON, and must match this {syntax} grammar:\n{definition}"
            ));
        }
        let description = (!description.is_empty()).then_some(Cow::Owned(description));
        self.offer(
            CallKind::Custom,
            (namespace, &custom.name),
            description,
            fixed(CUSTOM),
            None,
        );
    }

    fn built_in(
        &mut self,
        kind: CallKind,
        name: &'static str,
        (about, schema): (&'static str, &str),
    ) {
        self.offer(
            kind,
            (None, name),
            Some(Cow::Borrowed(about)),
            fixed(schema),
            None,
        );
    }

    fn offer(
        &mut self,
        kind: CallKind,
        (namespace, name): (Option<&str>, &str),
        description: Option<Cow<'a, str>>,
        parameters: Schema<'a>,
        strict: Option<bool>,
    ) {
        // Tools come again with every search that finds them.
        if self.map.contains(kind, namespace, name) {
            return;
        }
        let name = Cow::Owned(self.map.insert(kind, namespace, name));
        self.tools.push(ChatTool {
            kind: FunctionTag::Function,
            function: FunctionTool {
                name,
                description,
                parameters,
                strict,
            },
        });
    }

    /// `tool_choice`; may take tools away (`allowed_tools`).
    pub(super) fn choice(
        &mut self,
        choice: Option<&'a RawValue>,
        notes: &mut Vec<Note>,
    ) -> Result<Option<ToolChoice<'a>>, ErrorObject> {
        let Some(raw) = choice.filter(|raw| raw.get() != "null") else {
            return Ok(None);
        };
        let invalid = |message: String| {
            ErrorObject::invalid(message)
                .with_param("tool_choice")
                .with_code("invalid_value")
        };
        match serde_json::from_str::<TextOr<'a, Choice<'a>>>(raw.get()) {
            Ok(TextOr::Text(mode)) => mode_of(&mode).map(|mode| Some(ToolChoice::Mode(mode))).ok_or_else(|| {
                invalid(format!(
                    "Invalid value: '{}'. Supported values are: 'none', 'auto', and 'required'.",
                    mode.as_str()
                ))
            }),
            Ok(TextOr::One(choice)) if choice.kind.as_str() == "allowed_tools" => {
                self.allow(choice.tools.as_deref().unwrap_or_default());
                let mode = choice.mode.as_deref().and_then(mode_of).unwrap_or("auto");
                Ok(Some(ToolChoice::Mode(mode)))
            }
            Ok(TextOr::One(choice)) => match self.find(&choice) {
                Some(name) => Ok(Some(ToolChoice::Function(NamedChoice {
                    kind: FunctionTag::Function,
                    function: ChosenFunction { name: Cow::Owned(name) },
                }))),
                None if choice.tool_name().is_some() => Err(invalid(format!(
                    "Tool choice '{}' not found in 'tools' parameter.",
                    choice.tool_name().unwrap_or_default()
                ))),
                None => {
                    notes.push(Note::ChoiceLeftOut(choice.kind.to_string()));
                    Ok(None)
                }
            },
            _ => Err(invalid("Invalid type for 'tool_choice': expected a string or an object.".into())),
        }
    }

    /// Takes away all tools but the given ones.
    fn allow(&mut self, allowed: &[Choice<'a>]) {
        let names: Vec<String> = allowed
            .iter()
            .filter_map(|choice| self.find(choice))
            .collect();
        self.tools
            .retain(|tool| names.iter().any(|name| *name == tool.function.name));
    }

    /// The function that stands for a chosen tool.
    fn find(&self, choice: &Choice<'a>) -> Option<String> {
        let kind = match choice.kind.as_str() {
            "function" => CallKind::Function,
            "custom" => CallKind::Custom,
            "local_shell" => CallKind::LocalShell,
            "shell" => CallKind::Shell,
            "apply_patch" => CallKind::ApplyPatch,
            "tool_search" => CallKind::ToolSearch,
            _ => return None,
        };
        let namespace = choice.namespace.as_deref();
        let mut hits = self.map.entries.iter().filter(|origin| {
            origin.kind == kind
                && choice.tool_name().is_none_or(|name| origin.name == name)
                && (namespace.is_none() || origin.namespace.as_deref() == namespace)
        });
        hits.next().map(|origin| origin.sent_name.clone())
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
}

fn mode_of(mode: &str) -> Option<&'static str> {
    ["auto", "none", "required"]
        .into_iter()
        .find(|known| *known == mode)
}

/// A schema of our own, which is known to be JSON.
fn fixed<'a>(schema: &str) -> Schema<'a> {
    owned(schema.to_owned())
}

fn owned<'a>(schema: String) -> Schema<'a> {
    match RawValue::from_string(schema) {
        Ok(raw) => Schema::Owned(raw),
        // The normaliser writes JSON only; a null is what a schema least harms as.
        Err(_) => Schema::Owned(RawValue::NULL.to_owned()),
    }
}

const NO_PARAMETERS: &str = r#"{"type":"object","properties":{}}"#;

const CUSTOM: &str = r#"{"type":"object","properties":{"input":{"type":"string","description":"The whole input of the tool, as plain text."}},"required":["input"],"additionalProperties":false}"#;

const TOOL_SEARCH: &str = r#"{"type":"object","properties":{"query":{"type":"string","description":"What the wanted tools are to do."},"limit":{"type":"integer","description":"The most tools to find."}},"required":["query"]}"#;

const LOCAL_SHELL: (&str, &str) = (
    "Runs a command on the user's machine and returns its output.",
    r#"{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"description":"The program and its arguments, for example [\"bash\", \"-lc\", \"ls\"]."},"working_directory":{"type":"string","description":"Where to run it."},"timeout_ms":{"type":"integer","description":"When to give up, in milliseconds."}},"required":["command"]}"#,
);

const SHELL: (&str, &str) = (
    "Runs shell commands and returns what each printed.",
    r#"{"type":"object","properties":{"commands":{"type":"array","items":{"type":"string"},"description":"Command lines, run one after another."},"timeout_ms":{"type":"integer","description":"When to give up, in milliseconds."},"max_output_length":{"type":"integer","description":"The most characters of output to return."}},"required":["commands"]}"#,
);

const APPLY_PATCH: (&str, &str) = (
    "Creates, changes or deletes one file.",
    r#"{"type":"object","properties":{"type":{"type":"string","enum":["create_file","update_file","delete_file"]},"path":{"type":"string","description":"The file."},"diff":{"type":"string","description":"For create_file and update_file: the change, as a V4A diff."}},"required":["type","path"]}"#,
);
