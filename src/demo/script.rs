//! What the demo says: a pure function from a Chat Completions request to the steps of the answer.
//!
//! After a tool result it always answers in words, so no client can get into a loop.

use serde_json::{Value, json};

use super::filler::{self, Purpose};
use super::result;

/// The one command the demo asks for. It changes nothing.
pub(super) const COMMAND: &str = "echo \"hello from the Antiphon demo\" && pwd && ls";

/// The tools that run a command, by the names Codex has given them over time.
const SHELL_TOOLS: [&str; 4] = ["exec_command", "shell_command", "shell", "local_shell"];

/// Words by which a user asks for a tool.
const RUN_WORDS: [&str; 15] = [
    "run",
    "shell",
    "command",
    "commands",
    "execute",
    "list",
    "ls",
    "file",
    "files",
    "folder",
    "pwd",
    "directory",
    "tool",
    "tools",
    "terminal",
];

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Reasoning.
    Think(String),
    /// Text of the answer.
    Say(String),
    /// A tool call. It is always the last step.
    Call {
        /// The function's name, as the request offers it.
        name: String,
        /// Its arguments as JSON text.
        arguments: String,
    },
}

/// What the conversation ends with.
#[derive(Clone, Copy)]
enum Last<'a> {
    ToolResult(&'a Value),
    /// The user's text, and whether it may be answered with a call.
    User {
        text: &'a str,
        may_call: bool,
    },
}

/// The steps of the answer to `request`.
pub(super) fn script(request: &Value) -> Vec<Step> {
    let messages = request.get("messages").and_then(Value::as_array);
    let messages = messages.map_or(&[][..], Vec::as_slice);
    let text = last_user_text(messages);
    let last = last(messages, &text);
    if let Last::User { text, .. } = last
        && text.contains("CONTEXT CHECKPOINT COMPACTION")
    {
        return vec![Step::Say(compaction())];
    }
    let document = document(request);
    // A forced call wins over everything else; a wanted one only without a wanted format.
    let forced = forced(request);
    if let Last::User {
        text,
        may_call: true,
    } = last
        && (forced || document.is_none())
        && let Some(steps) = call(request, text, forced)
    {
        return steps;
    }
    if let Some(document) = document {
        return vec![Step::Say(document.to_string())];
    }
    match last {
        Last::ToolResult(result) => vec![
            Step::Think("The tool has answered. I should sum up what came back.".to_owned()),
            Step::Say(result::summary(result, messages)),
        ],
        Last::User { .. } => vec![
            Step::Think(
                "I am only a script, so I should say what this demo is and what it can do."
                    .to_owned(),
            ),
            Step::Say(introduction()),
        ],
    }
}

/// Finds out whether a tool result or the user has the last word.
fn last<'a>(messages: &'a [Value], text: &'a str) -> Last<'a> {
    let user = |may_call| Last::User { text, may_call };
    let mut asked = false;
    for message in messages.iter().rev() {
        match role(message) {
            // Images of a tool result travel in a user message behind it, for want of another way.
            "user" => asked = asked || !has_image(message),
            "tool" | "function" if asked => return user(false),
            "tool" | "function" => return Last::ToolResult(message),
            "assistant" => return user(true),
            _ => {}
        }
    }
    user(true)
}

fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or("")
}

fn has_image(message: &Value) -> bool {
    let parts = message.get("content").and_then(Value::as_array);
    parts.is_some_and(|parts| parts.iter().any(|part| part.get("image_url").is_some()))
}

/// The text of a message whose content is a string or a list of parts.
pub(super) fn text_of(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// What the user wrote last, without the context Codex puts before it.
fn last_user_text(messages: &[Value]) -> String {
    let users = messages
        .iter()
        .rev()
        .filter(|message| role(message) == "user");
    let mut texts = users.map(text_of).filter(|text| !text.trim().is_empty());
    let mut text = texts.next().unwrap_or_default();
    for end in ["</environment_context>", "</INSTRUCTIONS>"] {
        // Some profiles join neighbouring user messages into one.
        let behind = text.rsplit_once(end).map(|(_, behind)| behind.to_owned());
        text = behind.unwrap_or(text);
    }
    text
}

/// The document a request's `response_format` asks for, if any.
fn document(request: &Value) -> Option<Value> {
    let format = request.get("response_format")?;
    match format.get("type").and_then(Value::as_str)? {
        "json_schema" => {
            let schema = format.pointer("/json_schema/schema")?;
            Some(filler::fill(schema, Purpose::Document))
        }
        "json_object" => Some(json!({ "demo": true })),
        _ => None,
    }
}

/// Whether `tool_choice` leaves no choice but to call something.
fn forced(request: &Value) -> bool {
    match request.get("tool_choice") {
        Some(Value::String(choice)) => choice == "required",
        Some(choice) => choice.is_object(),
        None => false,
    }
}

/// The steps of a call, when the user asks for one and a suitable tool is offered.
fn call(request: &Value, text: &str, forced: bool) -> Option<Vec<Step>> {
    if request.get("tool_choice").and_then(Value::as_str) == Some("none") {
        return None;
    }
    let tools = request.get("tools").and_then(Value::as_array)?;
    let functions = tools.iter().filter_map(|tool| tool.get("function"));
    let functions: Vec<&Value> = functions.filter(|tool| !name(tool).is_empty()).collect();
    let tool = match request.pointer("/tool_choice/function/name") {
        Some(wanted) => *functions
            .iter()
            .find(|tool| tool.get("name") == Some(wanted))?,
        None => choose(&functions, text, forced)?,
    };
    let thought = if is_shell(name(tool)) {
        "The user wants to see a command run. I will ask for a harmless one.".to_owned()
    } else {
        format!(
            "The tool {} fits this question, so I will call it.",
            name(tool)
        )
    };
    Some(vec![
        Step::Think(thought),
        Step::Call {
            name: name(tool).to_owned(),
            arguments: arguments(tool, text).to_string(),
        },
    ])
}

fn name(tool: &Value) -> &str {
    tool.get("name").and_then(Value::as_str).unwrap_or("")
}

pub(super) fn is_shell(name: &str) -> bool {
    SHELL_TOOLS.contains(&name)
}

/// The tool that suits the user's words.
fn choose<'a>(functions: &[&'a Value], text: &str, forced: bool) -> Option<&'a Value> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text
        .split(|letter: char| !letter.is_alphanumeric())
        .collect();
    let weather = functions.iter().find(|tool| name(tool).contains("weather"));
    if words.contains(&"weather") && weather.is_some() {
        return weather.copied();
    }
    let asked = words.iter().any(|word| RUN_WORDS.contains(word));
    let shell = functions.iter().find(|tool| is_shell(name(tool)));
    let only = functions.first().filter(|_| functions.len() == 1);
    let named = only.filter(|tool| text.contains(&name(tool).to_lowercase()));
    if asked || forced {
        let first = functions.first().filter(|_| forced);
        return shell.or(only).or(first).copied();
    }
    named.copied()
}

/// The arguments of the call: the harmless command, or filler for what the schema requires.
fn arguments(tool: &Value, prompt: &str) -> Value {
    let schema = tool.get("parameters").unwrap_or(&Value::Null);
    let mut arguments = match filler::fill(schema, Purpose::Arguments { prompt }) {
        Value::Object(arguments) => arguments,
        // No schema, or not one of an object: arguments are an object all the same.
        _ => serde_json::Map::new(),
    };
    if is_shell(name(tool)) {
        let property = |key: &str| schema.pointer(&format!("/properties/{key}"));
        let array = match property("command") {
            Some(command) => command.get("type").and_then(Value::as_str) == Some("array"),
            None => matches!(name(tool), "shell" | "local_shell"),
        };
        let (key, command) = if name(tool) == "exec_command" || property("cmd").is_some() {
            ("cmd", json!(COMMAND))
        } else if array {
            ("command", json!(["bash", "-lc", COMMAND]))
        } else {
            ("command", json!(COMMAND))
        };
        arguments.insert(key.to_owned(), command);
    }
    Value::Object(arguments)
}

fn introduction() -> String {
    "Hello! I am the scripted model of Antiphon's demo. There is no real model behind me: what \
     you read was written beforehand, but it went through the proxy the same way a model's words \
     would.\n\nAsk me to run a command and I will call your shell tool with a harmless one, so \
     that you see a tool call go there and back.\n\nThe next step is a real model: name your \
     Ollama or vLLM server in `proxy.toml` and start `antiphon` with it."
        .to_owned()
}

fn compaction() -> String {
    "Summary so far: the user is trying the Antiphon demo, in which a script stands in for a \
     model. Nothing has been changed on this machine; at most a harmless command was run to show \
     a tool call. Next step: name a real model server in `proxy.toml`."
        .to_owned()
}
