//! Tools for a model that has none: they are told of in the system message, and called and answered
//! in the text.
//!
//! The form is that of Hermes, which many models have seen: a call is a JSON object in `<tool_call>`,
//! an output stands in `<tool_response>`. Calls find their way back by `heal`.

use std::borrow::Cow;

use super::input::GAP;
use crate::chat::Message;
use crate::chat::message::{Assistant, Content, ToolCall};
use crate::chat::request::{Tool, ToolChoice};
use crate::json::Text;

/// What the model is told of its tools; nothing if there are none.
pub(super) fn describe(
    tools: &[Tool<'_>],
    choice: Option<&ToolChoice<'_>>,
    parallel: Option<bool>,
) -> Option<String> {
    if tools.is_empty() {
        return None;
    }
    let mut text = String::from(
        "# Functions\n\nThese functions can be called. Each line is one, with the JSON Schema of its \
         arguments:\n<tools>\n",
    );
    for tool in tools {
        // Names and schemas always serialise.
        text.push_str(&serde_json::to_string(&tool.function).unwrap_or_default());
        text.push('\n');
    }
    text.push_str(
        "</tools>\n\nTo call a function, write its name and its arguments as one JSON object between \
         these tags, outside of any code block:\n<tool_call>\n{\"name\": \"NAME\", \"arguments\": \
         {\"KEY\": \"VALUE\"}}\n</tool_call>\nThen stop: what the function returns is given to you \
         between <tool_response> and </tool_response>. ",
    );
    text.push_str(match parallel {
        Some(false) => "Make no more than one call at a time.",
        Some(true) | None => "For several calls at once, write one behind the other.",
    });
    match choice {
        Some(ToolChoice::Mode("none")) => {
            text.push_str("\n\nDo not call any function now: answer in text.");
        }
        Some(ToolChoice::Mode("required")) => {
            text.push_str("\n\nYou must call a function now.");
        }
        Some(ToolChoice::Mode(_)) | None => {}
        Some(ToolChoice::Function(named)) => {
            let name = &named.function.name;
            text.push_str(&format!("\n\nYou must call the function `{name}` now."));
        }
    }
    Some(text)
}

/// Writes calls and their outputs into the text of the conversation.
pub(super) fn write_out(messages: &mut Vec<Message<'_>>) {
    let mut out: Vec<Message<'_>> = Vec::with_capacity(messages.len());
    let mut answers_before = false;
    for message in messages.drain(..) {
        let answers = matches!(message, Message::Tool { .. });
        match message {
            Message::Assistant(said) if !said.tool_calls.is_empty() => {
                out.push(Message::Assistant(with_calls(said)));
            }
            Message::Tool { content, .. } => {
                let text = answer(&content.read());
                // Outputs of calls that were made at once come at once.
                match out.last_mut() {
                    Some(Message::User {
                        content: Content::Text(before),
                    }) if answers_before => {
                        before.to_mut().push('\n');
                        before.to_mut().push_str(&text);
                    }
                    _ => out.push(Message::User {
                        content: Content::Text(Cow::Owned(text)),
                    }),
                }
            }
            message => out.push(message),
        }
        answers_before = answers;
    }
    *messages = out;
}

fn with_calls(mut said: Assistant<'_>) -> Assistant<'_> {
    let calls: Vec<String> = std::mem::take(&mut said.tool_calls)
        .iter()
        .map(call)
        .collect();
    let calls = calls.join("\n");
    said.content = Some(match said.content.filter(|text| !text.is_empty()) {
        Some(text) => Cow::Owned(format!("{text}{GAP}{calls}")),
        None => Cow::Owned(calls),
    });
    said
}

fn call(call: &ToolCall<'_>) -> String {
    let name = Text::from(&*call.function.name);
    // A string always serialises.
    let name = serde_json::to_string(&name).unwrap_or_default();
    let arguments = &call.function.arguments;
    format!("<tool_call>\n{{\"name\": {name}, \"arguments\": {arguments}}}\n</tool_call>")
}

fn answer(content: &Content<'_>) -> String {
    match content {
        Content::Text(text) => format!("<tool_response>\n{text}\n</tool_response>"),
        // Tool messages are always text, and it was read.
        Content::Parts(_) | Content::Quoted(_) => String::from("<tool_response>\n</tool_response>"),
    }
}
