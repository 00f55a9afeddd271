//! Tools, offered to a chat as functions, and the map by which calls find the way back.

mod choice;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::heal::{Offer, Offers, Plan};
use super::names;
use super::note::Note;
use crate::chat::message::FunctionTag;
use crate::chat::request::{FunctionTool, Schema, Tool as ChatTool};
use crate::json::Text;
use crate::json::schema::{self, SchemaRules};
use crate::profile::{HealFormat, Profile, Strict};
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
    /// Ids of calls in the conversation: a new call must not have one of them.
    call_ids: Vec<String>,
    /// What calls in the text are measured by, if they count.
    healing: Option<Arc<Plan>>,
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
    /// What calls in the text are measured by, if they count.
    pub(super) fn healing(&self) -> Option<&Arc<Plan>> {
        self.healing.as_ref()
    }

    /// Has calls of the offered tools found in the text, in those formats.
    pub(super) fn heal(&mut self, offered: &[ChatTool<'_>], formats: Vec<HealFormat>) {
        let offers: Vec<Offer> = offered.iter().map(|tool| self.offer(tool)).collect();
        if !offers.is_empty() && !formats.is_empty() {
            let offers = Offers(offers);
            self.healing = Some(Arc::new(Plan { offers, formats }));
        }
    }

    fn offer(&self, tool: &ChatTool<'_>) -> Offer {
        let name = tool.function.name.to_string();
        let freeform = self.raise(&name).kind == CallKind::Custom;
        let schema = match &tool.function.parameters {
            Schema::Raw(raw) => (*raw).to_owned(),
            Schema::Owned(raw) => raw.clone(),
        };
        Offer {
            name,
            schema,
            freeform,
        }
    }

    /// Whether some call of the conversation has that id.
    pub(super) fn knows_call(&self, id: &str) -> bool {
        self.call_ids.iter().any(|known| known == id)
    }

    /// Keeps the ids of the calls in a conversation.
    pub(super) fn keep_call_ids(&mut self, ids: Vec<String>) {
        self.call_ids = ids;
    }

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

    /// The name under which a tool is offered, or would be if it were. A call of the history may be
    /// of another kind than what is offered by its name now.
    pub(super) fn sent_name<'a>(
        &self,
        kind: CallKind,
        namespace: Option<&str>,
        name: &'a str,
    ) -> Cow<'a, str> {
        let same =
            |origin: &&Origin| origin.name == name && origin.namespace.as_deref() == namespace;
        let mut named = self.entries.iter().filter(same);
        let first = named.next();
        let known = match first {
            Some(origin) if origin.kind != kind => {
                named.find(|origin| origin.kind == kind).or(first)
            }
            first => first,
        };
        match known {
            Some(origin) => Cow::Owned(origin.sent_name.clone()),
            None => names::flatten(namespace, name),
        }
    }

    /// The names under which the tools of a list are offered, those in namespaces among them.
    pub(super) fn sent_names(&self, tools: &[&RawValue]) -> Vec<String> {
        let mut names = Vec::new();
        self.add_names(tools, None, &mut names);
        names
    }

    fn add_names(&self, tools: &[&RawValue], namespace: Option<&str>, names: &mut Vec<String>) {
        for raw in tools {
            let (kind, name) = match Tool::parse(raw, "tools") {
                Ok(Tool::Function(function)) => (CallKind::Function, function.name),
                Ok(Tool::Custom(custom)) => (CallKind::Custom, custom.name),
                Ok(Tool::Namespace { name, tools, .. }) if namespace.is_none() => {
                    self.add_names(&tools, Some(&name), names);
                    continue;
                }
                _ => continue,
            };
            names.push(self.sent_name(kind, namespace, &name).into_owned());
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
            match Tool::parse(raw, &format!("{param}[{n}]"))? {
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
