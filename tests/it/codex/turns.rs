//! Conversations: pictures, going on later, compaction, sub-agents, faults, the demo, an older Codex.

use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{
    DOT, do_call, ended_with, last_request, made, messages, pictures, results, say, user_said,
    words,
};
use crate::support::process::Running;
use crate::support::proxy::Proxy;
use crate::support::real::Codex;
use crate::support::upstream::{Reply, Upstream, call, delta, finish, text, usage};

#[test]
fn a_picture_on_the_command_line_reaches_the_model() {
    let upstream = Upstream::saying("A dot.");
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let dot = BASE64_STANDARD.decode(DOT).expect("base64");
    let run = codex
        .file("dot.png", &dot)
        .arg("--image=dot.png")
        .run("What is this?");

    ended_with(&run, "A dot.", &proxy);
    let request = last_request(&upstream);
    let question = messages(&request).last().expect("messages");
    assert_eq!(question["role"], "user");
    assert!(words(question).contains("What is this?"), "{question}");
    assert_eq!(pictures(question), [format!("data:image/png;base64,{DOT}")]);
}

#[test]
fn a_conversation_goes_on_in_a_later_run() {
    let upstream = Upstream::by(|request| {
        if user_said(request, "And now?") {
            return say("Later.");
        }
        Reply::stream(&[
            delta(json!({"reasoning_content": "It is a hard question."})),
            text("Earlier."),
            finish("stop"),
            usage(100, 5),
        ])
    });
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    ended_with(&codex.run("What first?"), "Earlier.", &proxy);
    ended_with(&codex.resume("And now?"), "Later.", &proxy);

    let request = last_request(&upstream);
    assert_eq!(upstream.asked().len(), 2);
    let mut assistant = messages(&request)
        .iter()
        .filter(|message| message["role"] == "assistant");
    let earlier = assistant.next().expect("the earlier answer");
    assert_eq!(words(earlier), "Earlier.");
    assert_eq!(earlier["reasoning_content"], "It is a hard question.");
    assert_eq!(assistant.next(), None);
    assert!(user_said(&request, "What first?"), "{request}");
    assert!(words(messages(&request).last().expect("messages")).contains("And now?"));
}

#[test]
fn a_full_context_is_compacted() {
    let upstream = Upstream::by(|request| {
        if user_said(request, "CONTEXT CHECKPOINT COMPACTION") {
            return say("In short: a greeting was printed.");
        }
        if user_said(request, "In short: a greeting was printed.") {
            return say("Went on.");
        }
        Reply::stream(&[
            call(0, Some(("call_0", "exec_command")), r#"{"cmd":"echo hi"}"#),
            finish("tool_calls"),
            usage(17_990, 10),
        ])
    });
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let run = codex
        .config("model_context_window = 20000\nmodel_auto_compact_token_limit = 15000")
        .run("Print a greeting.");

    ended_with(&run, "Went on.", &proxy);
    let asked = upstream.asked();
    assert_eq!(asked.len(), 3);
    let compaction = &asked[1];
    assert!(user_said(compaction, "CONTEXT CHECKPOINT COMPACTION"));
    for absent in ["tools", "tool_choice", "parallel_tool_calls"] {
        assert_eq!(compaction.get(absent), None, "{absent}");
    }
    assert!(words(results(compaction)[0]).contains("hi"), "{compaction}");
    // The history has given way to its summary.
    assert_eq!(results(&asked[2]), Vec::<&Value>::new());
    assert!(asked[2]["tools"].is_array(), "{}", asked[2]);
}

#[test]
fn a_sub_agent_works_and_is_waited_for() {
    a_sub_agent_answers("tiny", json!({}));
}

#[test]
fn a_sub_agent_of_a_model_whose_tools_come_as_an_item() {
    a_sub_agent_answers("gpt-6-astra", json!({"task_name": "apples"}));
}

fn a_sub_agent_answers(model: &str, more: Value) {
    let upstream = Upstream::by(move |request| {
        if user_said(request, "Count the apples.") {
            return say("Seven apples.");
        }
        match results(request).as_slice() {
            [] => {
                let mut task = more.clone();
                task["message"] = "Count the apples.".into();
                do_call(request, "spawn_agent", &task)
            }
            [_, _, ..] if has_the_answer(request) => say("I was told."),
            [_, _, _, _, ..] => say("I was never told."),
            [spawned, ..] => {
                let spawned: Value = serde_json::from_str(&words(spawned)).unwrap_or_default();
                let mut wait = json!({"timeout_ms": 10000});
                if spawned["agent_id"].is_string() {
                    wait["targets"] = json!([spawned["agent_id"]]);
                }
                do_call(request, "wait_agent", &wait)
            }
        }
    });
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let run = codex
        .model(model)
        .run("Let a sub-agent count what is in the basket.");

    ended_with(&run, "I was told.", &proxy);
    let asked = upstream.asked();
    assert!(
        asked
            .iter()
            .any(|request| user_said(request, "Count the apples.")),
        "{asked:#?}"
    );
    assert!(asked.iter().any(has_the_answer), "{asked:#?}");
}

fn has_the_answer(request: &Value) -> bool {
    let mut all = messages(request).iter();
    all.any(|message| words(message).contains("Seven apples."))
}

#[test]
fn an_interrupted_answer_is_asked_for_again() {
    let upstream = Upstream::new([
        Reply::chunks(&[text("Half an")]).cut(),
        say("A whole answer."),
    ]);
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let run = codex.run("Say something.");

    assert_eq!(run.code, Some(0), "{run:#?}");
    assert_eq!(run.last_message(), "A whole answer.", "{run:#?}");
    assert_eq!(upstream.asked().len(), 2);
}

#[test]
fn a_refusal_is_shown_at_once() {
    let upstream = Upstream::new([Reply::error(400, "the model does not do that")]);
    let proxy = Proxy::to(&upstream.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let run = codex.run("Do that.");

    assert_eq!(run.code, Some(1), "{run:#?}");
    let shown = json!(run.failed()).to_string();
    assert!(shown.contains("the model does not do that"), "{run:#?}");
    assert_eq!(upstream.asked().len(), 1);
}

#[test]
fn the_demo_runs_a_command_and_tells_what_it_is() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    command
        .args(["demo", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("HOME", home.path())
        .current_dir(home.path());
    let (demo, rest) = Running::start(&mut command, "Serving ", Duration::from_secs(20));
    let base_url = rest.split(' ').next().unwrap_or_default();
    let Some(codex) = Codex::new(base_url) else {
        return;
    };
    let codex = codex.file("a-file.txt", b"").model("antiphon-demo");

    let run = codex.run("Run a command.");
    assert_eq!(run.code, Some(0), "{run:#?}\n{}", demo.log());
    let commands = run.items("command_execution");
    assert_eq!(commands.len(), 1, "{run:#?}");
    assert_eq!(commands[0]["exit_code"], 0, "{run:#?}");
    // Its answer quotes what the command printed.
    assert!(run.last_message().contains("a-file.txt"), "{run:#?}");

    let run = codex.run("Who are you?");
    assert_eq!(run.code, Some(0), "{run:#?}\n{}", demo.log());
    let told = run.last_message().contains("the scripted model");
    assert!(told, "{run:#?}");
    assert_eq!(run.items("command_execution"), Vec::<&Value>::new());
}

#[test]
fn an_older_codex_sends_instructions_and_runs_a_command() {
    let upstream = Upstream::by(|request| {
        if request["input"].is_array() {
            // Asked without the proxy: only the request is of interest.
            return Reply::error(400, "this is no Responses API");
        }
        match results(request).len() {
            0 => do_call(
                request,
                "exec_command",
                &json!({"cmd": "echo old > old.txt"}),
            ),
            _ => say("Done."),
        }
    });
    let Some(codex) = Codex::old(&upstream.base_url()) else {
        return;
    };
    codex.run("Make a file.");
    let direct = last_request(&upstream);
    let instructions = direct["instructions"].as_str().unwrap_or_default();
    assert!(instructions.len() > 1000, "{direct}");

    let proxy = Proxy::to(&upstream.base_url());
    let codex = Codex::old(&proxy.base_url()).expect("it was there before");
    let run = codex.run("Make a file.");
    ended_with(&run, "Done.", &proxy);
    assert_eq!(made(&run, "old.txt").as_deref(), Some("old\n"));
    let last = last_request(&upstream);
    let first = &messages(&last)[0];
    assert_eq!(first["role"], "system");
    assert!(words(first).starts_with(instructions), "{first}");
    assert_eq!(results(&last).len(), 1);
}
