//! The unmodified Codex CLI at work through the proxy, with a scripted chat server behind it.
//!
//! The server looks for its tools in the request that came, as a model does: their names are the proxy's.

mod keys;
mod restarts;
mod sockets;
mod tools;
mod turns;

use serde_json::{Value, json};

use crate::support::proxy::Proxy;
use crate::support::real::CodexRun;
use crate::support::upstream::{Reply, Upstream, call, finish, text, usage};

/// A picture of one dot, in base64.
const DOT: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

/// An answer of nothing but text.
fn say(words: &str) -> Reply {
    Reply::stream(&[text(words), finish("stop"), usage(100, 5)])
}

/// An answer of one call.
fn do_call(request: &Value, tool: &str, arguments: &Value) -> Reply {
    do_calls(request, "", &[(tool, arguments.clone())])
}

/// An answer of some text and calls, whose arguments come in small pieces. A tool that the request does not
/// offer is answered with a refusal, which Codex shows at once.
fn do_calls(request: &Value, words: &str, calls: &[(&str, Value)]) -> Reply {
    let mut chunks = vec![text(words)];
    for (index, (tool, arguments)) in calls.iter().enumerate() {
        let Some(name) = offered(request, tool) else {
            let names: Vec<&str> = names(request).collect();
            return Reply::error(400, &format!("no {tool} is among the tools {names:?}"));
        };
        let id = format!("call_{}_{index}", results(request).len());
        chunks.push(call(index, Some((&id, name)), ""));
        let arguments: Vec<char> = arguments.to_string().chars().collect();
        for piece in arguments.chunks(7) {
            chunks.push(call(index, None, &piece.iter().collect::<String>()));
        }
    }
    chunks.push(finish("tool_calls"));
    chunks.push(usage(100, 20));
    Reply::stream(&chunks)
}

/// A call of a freeform tool, which reaches a chat model as a function with one text.
fn do_freeform(request: &Value, tool: &str, input: &str) -> Reply {
    let tools = request["tools"].as_array().into_iter().flatten();
    let mut functions = tools.map(|tool| &tool["function"]);
    let function = functions.find(|function| function["name"].as_str() == offered(request, tool));
    let parameters = function.and_then(|function| function["parameters"]["properties"].as_object());
    let Some(key) = parameters.and_then(|keys| keys.keys().next()) else {
        return Reply::error(400, &format!("{tool} has no parameter"));
    };
    do_call(request, tool, &json!({ key: input }))
}

fn names(request: &Value) -> impl Iterator<Item = &str> {
    let tools = request["tools"].as_array().into_iter().flatten();
    tools.filter_map(|tool| tool["function"]["name"].as_str())
}

/// The name under which a tool is offered, with or without a namespace.
fn offered<'a>(request: &'a Value, tool: &str) -> Option<&'a str> {
    names(request).find(|name| {
        let before = name.strip_suffix(tool);
        before.is_some_and(|before| before.is_empty() || before.ends_with("__"))
    })
}

fn messages(request: &Value) -> &[Value] {
    request["messages"].as_array().map_or(&[], Vec::as_slice)
}

/// The results of tools so far.
fn results(request: &Value) -> Vec<&Value> {
    let all = messages(request).iter();
    all.filter(|message| message["role"] == "tool").collect()
}

/// The text of a message.
fn words(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        parts => {
            let parts = parts.as_array().into_iter().flatten();
            parts.filter_map(|part| part["text"].as_str()).collect()
        }
    }
}

/// Whether a user's message has these words in it.
fn user_said(request: &Value, what: &str) -> bool {
    let mut users = messages(request)
        .iter()
        .filter(|message| message["role"] == "user");
    users.any(|message| words(message).contains(what))
}

/// The pictures in a message.
fn pictures(message: &Value) -> Vec<&str> {
    let parts = message["content"].as_array().into_iter().flatten();
    parts
        .filter_map(|part| part["image_url"]["url"].as_str())
        .collect()
}

/// The run went well, and the model's last words were these.
fn ended_with(run: &CodexRun, last: &str, proxy: &Proxy) {
    let well = run.code == Some(0) && run.failed().is_empty() && run.last_message() == last;
    assert!(
        well,
        "{:#?}\n{}\nThe proxy's log:\n{}",
        run.events,
        run.stderr,
        proxy.log()
    );
}

/// A file that Codex made.
fn made(run: &CodexRun, name: &str) -> Option<String> {
    std::fs::read_to_string(run.work.join(name)).ok()
}

/// The last request that arrived.
fn last_request(upstream: &Upstream) -> Value {
    upstream.asked().pop().expect("a request arrived")
}
