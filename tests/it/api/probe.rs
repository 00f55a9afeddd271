//! `antiphon check --probe`.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::dead_port;
use crate::support::real::LlamaServer;
use crate::support::upstream::{Reply, Upstream, completion, finish, text, usage};

/// Runs it with a configuration file of this content.
fn probe(toml: &str, more: &[&str]) -> (Output, String) {
    let home = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(home.path().join("proxy.toml"), toml).expect("the file is written");
    let output = Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(["check", "--probe"])
        .args(more)
        .env_remove("ANTIPHON_CONFIG")
        .env_remove("ANTIPHON_UPSTREAM")
        .env("HOME", home.path())
        .env("XDG_STATE_HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path())
        .current_dir(home.path())
        .output()
        .expect("it runs");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, out)
}

/// What is said of one thing: the word behind its name.
fn said<'o>(out: &'o str, what: &str) -> &'o str {
    let line = out.lines().find(|line| line.trim_start().starts_with(what));
    assert!(line.is_some(), "nothing about {what}:\n{out}");
    let line = line.unwrap_or_default();
    line.trim_start()[what.len()..]
        .split_whitespace()
        .next()
        .unwrap_or_default()
}

/// The lines below the heading of the dialect, which must be TOML.
fn dialect(out: &str) -> toml::Table {
    let (_, lines) = out.split_once(".dialect]\n").unwrap_or((out, ""));
    lines.parse().expect("the lines are TOML")
}

/// A server that takes everything.
fn able(body: &Value) -> Reply {
    if body["stream"] == true {
        return Reply::stream(&[text("hi"), finish("stop"), usage(1, 1)]);
    }
    let call = |n: usize| json!({"id": format!("c{n}"), "type": "function", "function": {"name": "get_time", "arguments": "{}"}});
    let message = match (&body["tools"], &body["response_format"]) {
        (Value::Array(_), _) => {
            json!({"role": "assistant", "content": null, "tool_calls": [call(1), call(2)]})
        }
        (_, Value::Object(_)) => json!({"role": "assistant", "content": "{\"answer\":\"yes\"}"}),
        _ => json!({"role": "assistant", "content": "hi", "reasoning_content": "hm"}),
    };
    Reply::json(200, &completion(message, "stop"))
}

/// A server that is strict.
fn strict(body: &Value) -> Reply {
    let no = |what: &str| Reply::error(400, &format!("{what} is not supported"));
    let has = |key: &str| body.get(key).is_some();
    if has("max_tokens") {
        return no("max_tokens");
    }
    if has("stream_options") {
        return no("stream_options");
    }
    if has("parallel_tool_calls") {
        return no("parallel_tool_calls");
    }
    if body["tool_choice"] == "required" || body["tool_choice"].is_object() {
        return no("tool_choice");
    }
    let whole = body.to_string();
    for word in [
        "\"strict\":true",
        "\"developer\"",
        "image_url",
        "reasoning_effort",
        "reasoning_content",
    ] {
        if whole.contains(word) {
            return no(word.trim_matches('"'));
        }
    }
    able(body)
}

fn one(upstream: &Upstream) -> String {
    format!(
        "[upstreams.mock]\nbase_url = \"{}\"\n[models.m]\nmodel = \"inner\"\n",
        upstream.base_url()
    )
}

#[test]
fn a_server_that_can_everything_needs_no_settings() {
    let upstream = Upstream::by(able).models(Reply::json(200, &json!({"data": [{"id": "x"}]})));
    let (output, out) = probe(&one(&upstream), &[]);
    assert_eq!(output.status.code(), Some(0), "{out}");
    for what in [
        "token limit",
        "streaming",
        "usage",
        "tools",
        "parallel calls",
        "required choice",
        "named choice",
        "strict tools",
        "json_schema",
        "pictures",
        "developer role",
        "thinking",
        "effort",
        "thinking back",
    ] {
        assert_eq!(said(&out, what), "yes", "{what}\n{out}");
    }
    assert!(out.contains("Its profile fits: nothing to set."), "{out}");
    assert!(upstream.asked().iter().all(|body| body["model"] == "inner"));
}

#[test]
fn what_a_strict_server_refuses_becomes_settings_that_work() {
    let upstream = Upstream::by(strict).models(Reply::json(200, &json!({"data": []})));
    let (output, out) = probe(&one(&upstream), &["--model", "chosen"]);
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(
        upstream
            .asked()
            .iter()
            .all(|body| body["model"] == "chosen")
    );
    for what in [
        "parallel calls",
        "pictures",
        "developer role",
        "effort",
        "thinking back",
        "strict tools",
        "named choice",
    ] {
        assert_eq!(said(&out, what), "no", "{what}\n{out}");
    }
    assert_eq!(said(&out, "usage"), "yes", "{out}");
    let expected: toml::Table = "max_tokens_field = \"max_completion_tokens\"\nstream_usage = \"unasked\"\n\
        parallel_tool_calls = \"drop\"\ntool_choice = \"any\"\nstrict = \"strip\"\neffort = \"drop\"\nreasoning_back = \"drop\"\n"
        .parse()
        .expect("a table");
    assert_eq!(dialect(&out), expected, "{out}");
    // Pasted, there is nothing left to set.
    let lines = out
        .split_once("[upstreams.mock.dialect]")
        .expect("the heading")
        .1;
    let pasted = format!("{}\n[upstreams.mock.dialect]{lines}", one(&upstream));
    let (output, out) = probe(&pasted, &[]);
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.contains("Its profile fits: nothing to set."), "{out}");
}

#[test]
fn a_server_that_fails_is_told_and_ends_it_with_1() {
    let upstream = Upstream::by(able);
    let began = Instant::now();
    let toml = format!(
        "{}[upstreams.dead]\nbase_url = \"http://{}/v1\"\n[models.d]\nupstream = \"dead\"\n",
        one(&upstream).replace(
            "[upstreams.mock]",
            "default_upstream = \"mock\"\n[upstreams.mock]"
        ),
        dead_port()
    );
    let (output, out) = probe(&toml, &[]);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(
        out.contains("FAILED: 503: cannot reach the upstream `dead`"),
        "{out}"
    );
    assert!(out.contains("Probe of mock, model inner"), "{out}");
    assert!(began.elapsed() < Duration::from_secs(30));
    let (output, out) = probe(
        &format!("[upstreams.mock]\nbase_url = \"{}\"\n", upstream.base_url()),
        &[],
    );
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains("name one with --model"), "{out}");
}

#[test]
fn llama_cpp_is_known_and_probed() {
    let Some(llama) = LlamaServer::start("deepseek") else {
        return;
    };
    let toml = format!("[upstreams.local]\nbase_url = \"{}\"\n", llama.base_url());
    let (output, out) = probe(&toml, &[]);
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.contains("profile llama-cpp:"), "{out}");
    for what in ["token limit", "streaming", "usage", "developer role"] {
        assert_eq!(said(&out, what), "yes", "{what}\n{out}");
    }
    assert_ne!(said(&out, "tools"), "no", "{out}");
    assert_eq!(said(&out, "pictures"), "no", "it has no eyes: {out}");
    dialect(&out);
}
