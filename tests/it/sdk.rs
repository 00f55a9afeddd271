//! The OpenAI SDKs and openai-agents on what is stored, in front of a scripted upstream.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::pages::page;
use crate::support::proxy::Proxy;
use crate::support::real::{node, node_program, python_with_agents, script};
use crate::support::upstream::{Reply, Upstream, completion, delta, finish, text, usage};

/// A model that thinks, hands over and calls where it can, sums up, and else counts what it was told.
fn model() -> Upstream {
    Upstream::by(|request| {
        let messages = request["messages"].as_array().cloned().unwrap_or_default();
        let is = |message: &Value, role: &str| message["role"] == role;
        let words = messages.last().and_then(|last| last["content"].as_str());
        let words = words.unwrap_or_default();
        let latest = messages.iter().rev().find(|message| is(message, "user"));
        let latest = latest.map(|message| message["content"].to_string());
        let tools = request["tools"].as_array().cloned().unwrap_or_default();
        let offered = |start: &str| {
            let names = tools
                .iter()
                .filter_map(|tool| tool["function"]["name"].as_str());
            let mut names = names.filter(|name| name.starts_with(start));
            names.next().map(str::to_owned)
        };
        let answered = messages.last().is_some_and(|last| is(last, "tool"));
        let about = latest.is_some_and(|words| words.contains("weather"));
        if about && let Some(name) = offered("transfer_to") {
            return call(request, &name, &json!({}), messages.len());
        }
        let handed = words.contains("expert") || words.contains("assistant");
        if about
            && (!answered || handed)
            && let Some(name) = offered("get_weather")
        {
            return call(request, &name, &json!({"city": "Paris"}), messages.len());
        }
        if answered {
            return say(request, "done");
        }
        let told = messages
            .iter()
            .filter(|message| !is(message, "system"))
            .count();
        let reply = say(request, &format!("{told} messages"));
        if words == "slow" {
            reply.after(5000)
        } else {
            reply
        }
    })
}

fn say(request: &Value, words: &str) -> Reply {
    if request["stream"] == true {
        return Reply::stream(&[text(words), finish("stop"), usage(9, 4)]);
    }
    let message = json!({"role": "assistant", "content": words});
    Reply::json(200, &completion(message, "stop"))
}

fn call(request: &Value, name: &str, arguments: &Value, n: usize) -> Reply {
    let thought = "I had better ask.";
    let call = json!({"index": 0, "id": format!("call_{n}"), "type": "function", "function": {"name": name, "arguments": arguments.to_string()}});
    if request["stream"] == true {
        return Reply::stream(&[
            delta(json!({"reasoning_content": thought})),
            delta(json!({"tool_calls": [call]})),
            finish("tool_calls"),
            usage(9, 4),
        ]);
    }
    let message = json!({"role": "assistant", "content": null, "reasoning_content": thought, "tool_calls": [call]});
    Reply::json(200, &completion(message, "tool_calls"))
}

/// Runs a client's program against the proxy, and fails with what it says.
fn is_content(program: Command) {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    is_content_with(program, &upstream, &proxy);
}

fn is_content_with(mut program: Command, upstream: &Upstream, proxy: &Proxy) {
    let ran = program
        .arg(proxy.base_url())
        .env("OPENAI_API_KEY", "unused")
        .stdin(Stdio::null())
        .output()
        .expect("the client's program starts");
    assert!(
        ran.status.success() && String::from_utf8_lossy(&ran.stdout).trim().ends_with("ok"),
        "{}{}\nThe proxy's log:\n{}\nThe last request:\n{:#}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
        proxy.log(),
        upstream.asked().pop().unwrap_or_default()
    );
}

fn python(program: &str) -> Option<Command> {
    let mut command = Command::new(python_with_agents()?);
    command.arg(script(program));
    Some(command)
}

#[test]
fn the_python_sdk_drives_every_endpoint() {
    if let Some(program) = python("sdk_state.py") {
        is_content(program);
    }
}

#[test]
fn the_python_sdk_is_let_in_by_its_key_and_waits_when_it_must() {
    let Some(program) = python("sdk_keys.py") else {
        return;
    };
    let listed = ["small", "small-2", "large"].map(|id| json!({"id": id}));
    let upstream = model().models(Reply::json(200, &json!({"data": listed})));
    let key = |secret: &str, limits: &str| {
        let hash = antiphon::key::KeyHash::of(secret.as_bytes());
        format!("[[keys]]\nname = \"{secret}\"\nhash = \"{hash}\"\n{limits}\n")
    };
    let keys = [
        key("sk-free", ""),
        key("sk-some", "models = [\"small*\"]"),
        key("sk-few", "requests_per_minute = 20"),
        key("sk-one", "max_streams = 1"),
    ];
    let base_url = upstream.base_url();
    let config = format!(
        "[upstreams.a]\nbase_url = \"{base_url}\"\n{}",
        keys.concat()
    );
    let proxy = Proxy::builder().config(&config).start();
    is_content_with(program, &upstream, &proxy);
}

#[test]
fn the_node_sdk_drives_every_endpoint() {
    if let Some(program) = node("sdk_state.mjs") {
        is_content(program);
    }
}

#[test]
fn agents_work_together_on_what_the_server_remembers() {
    if let Some(program) = python("agents_state.py") {
        is_content(program);
    }
}

/// The book's programs take address and key from the environment, as it says.
#[test]
fn the_programs_in_the_book_run() {
    let (beginning, socket) = (page("docs/getting-started.md"), page("docs/websocket.md"));
    let python = |program: &String| {
        let mut command = Command::new(python_with_agents()?);
        command.args(["-c", program]);
        Some(command)
    };
    let programs = beginning.blocks_in("python");
    let [with_tools, agent] = programs.as_slice() else {
        panic!("two programs");
    };
    let node = |program: &String| node_program("book.mjs", program);
    let node = beginning.blocks_in("js").first().and_then(node);
    let socket = socket.blocks_in("python").first().and_then(python);
    for (program, prints) in [
        (python(with_tools), "done\n"),
        (python(agent), "done\n"),
        (node, "1 messages\n4 tokens\n"),
        (socket, "1 messages\n"),
    ] {
        let Some(mut program) = program else { return };
        let upstream = model();
        let proxy = Proxy::to(&upstream.base_url());
        let ran = program
            .env("OPENAI_BASE_URL", proxy.base_url())
            .env("OPENAI_API_KEY", "me")
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let complaint = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), prints, "{complaint}");
    }
}
