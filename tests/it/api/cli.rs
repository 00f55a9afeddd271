//! The command line: what it prints, and with what code it ends.

mod keys;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use tempfile::TempDir;

use super::dead_port;
use crate::grammar;
use crate::support::events;
use crate::support::upstream::{Reply, Upstream, call, delta, finish, text, usage};

/// The program in a folder of its own, away from the user's settings.
fn antiphon(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("ANTIPHON") || name.starts_with("CODEX") || name.starts_with("XDG") {
            command.env_remove(name);
        }
    }
    command
        .args(args)
        .current_dir(home)
        .env("HOME", home)
        .stdin(Stdio::null());
    command
}

fn run(home: &Path, args: &[&str]) -> Output {
    antiphon(home, args).output().expect("the program starts")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

#[test]
fn every_command_explains_itself() {
    let home = folder();
    for command in [
        "", "serve", "demo", "check", "codex", "key", "replay", "profiles",
    ] {
        let mut args = vec![command, "--help"];
        args.retain(|arg| !arg.is_empty());
        let output = run(home.path(), &args);
        assert_eq!(output.status.code(), Some(0), "{command}: {}", err(&output));
        assert!(
            out(&output).contains("Usage: antiphon"),
            "{command}: {}",
            out(&output)
        );
    }
    let all = run(home.path(), &["--help"]);
    for command in [
        "serve", "demo", "check", "codex", "key", "replay", "profiles",
    ] {
        assert!(
            out(&all).contains(&format!("\n  {command} ")),
            "{command}: {}",
            out(&all)
        );
    }
    let version = run(home.path(), &["--version"]);
    assert_eq!(
        out(&version).trim(),
        concat!("antiphon ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_command_that_is_not_there_ends_with_2() {
    let home = folder();
    for args in [
        &["sevre"][..],
        &["serve", "--lisen", "x"],
        &["replay"],
        &["--listen", "nowhere"],
    ] {
        let output = run(home.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
        assert!(!err(&output).is_empty());
        assert_eq!(out(&output), "");
    }
}

#[test]
fn a_wrong_configuration_is_shown_with_its_place_and_what_was_meant() {
    let home = folder();
    let file = home.path().join("proxy.toml");
    fs::write(&file, "[upstreams.a]\nbase_url = \"http://127.0.0.1:1/v1\"\n[server]\n  listne = \"127.0.0.1:1\"\n").expect("it is written");
    for command in ["serve", "check", "codex"] {
        let output = run(home.path(), &[command]);
        assert_eq!(output.status.code(), Some(2), "{command}: {}", err(&output));
        assert!(
            err(&output).contains("proxy.toml:4:3: "),
            "{command}: {}",
            err(&output)
        );
        assert!(
            err(&output).contains("did you mean `listen`?"),
            "{command}: {}",
            err(&output)
        );
    }
    let output = run(home.path(), &["check", "--config", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    assert!(err(&output).contains("nowhere.toml"), "{}", err(&output));
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = run(
        folder().path(),
        &[
            "serve",
            "--upstream",
            "http://127.0.0.1:1/v1",
            "--listen",
            &address,
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(err(&output).contains(&address), "{}", err(&output));
}

#[test]
fn a_sealing_key_that_is_named_and_cannot_be_read_ends_the_start_with_1() {
    let home = folder();
    let file = home.path().join("proxy.toml");
    let config =
        "[reasoning]\nseal_key_file = \".\"\n[upstreams.a]\nbase_url = \"http://127.0.0.1:1\"\n";
    fs::write(&file, config).expect("it is written");
    let file = file.display().to_string();
    let output = run(
        home.path(),
        &["serve", "--listen", "127.0.0.1:0", "--config", &file],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("the sealing key"), "{}", err(&output));
}

#[test]
fn check_asks_each_upstream_for_its_models() {
    let models = json!({"data": [{"id": "qwen3", "max_model_len": 40960}, {"id": "other"}]});
    let upstream = Upstream::new([]).models(Reply::json(200, &models));
    let home = folder();
    let output = run(home.path(), &["check", "--upstream", &upstream.base_url()]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        out(&output),
        err(&output)
    );
    for words in [upstream.base_url().as_str(), "qwen3", "40960", "other"] {
        assert!(out(&output).contains(words), "{words}: {}", out(&output));
    }

    let dead = format!("http://{}/v1", dead_port());
    let config = format!(
        "default_upstream = \"up\"\n[upstreams.up]\nbase_url = \"{}\"\n[upstreams.down]\nbase_url = \"{dead}\"\n",
        upstream.base_url()
    );
    fs::write(home.path().join("proxy.toml"), config).expect("it is written");
    let output = run(home.path(), &["check"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}{}",
        out(&output),
        err(&output)
    );
    assert!(
        out(&output).contains("qwen3"),
        "the other one is listed all the same: {}",
        out(&output)
    );
    assert!(
        out(&output).contains(&format!("cannot reach the upstream `down` at {dead}")),
        "{}",
        out(&output)
    );
}

#[test]
fn codex_prints_what_codexs_configuration_needs() {
    let home = folder();
    let output = run(
        home.path(),
        &["codex", "--listen", "127.0.0.1:9999", "--model", "qwen\"3"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let snippet: toml::Table = out(&output).parse().expect("TOML");
    assert_eq!(snippet["model"].as_str(), Some("qwen\"3"));
    let provider = snippet["model_provider"].as_str().expect("a provider");
    let own = &snippet["model_providers"][provider];
    assert_eq!(own["base_url"].as_str(), Some("http://127.0.0.1:9999/v1"));
    assert_eq!(own["wire_api"].as_str(), Some("responses"));
    assert_eq!(
        own["model_catalog_url"].as_str(),
        Some("http://127.0.0.1:9999/v1/models")
    );
    // Without a key Codex does not fetch the catalog.
    assert!(
        own.get("experimental_bearer_token")
            .or_else(|| own.get("env_key"))
            .is_some(),
        "{own}"
    );
    assert!(
        !home.path().join(".codex").exists(),
        "nothing is written unasked"
    );
}

#[test]
fn codex_write_keeps_what_else_is_in_the_file() {
    let home = folder();
    let codex_home = folder();
    let file = codex_home.path().join("config.toml");
    let before = "# Mine.\nmodel = \"gpt-5.5\"\napproval_policy = \"never\" # careful\n\n[mcp_servers.calc]\ncommand = \"calc\"\n";
    fs::write(&file, before).expect("it is written");
    let write = || {
        let mut command = antiphon(home.path(), &["codex", "--write", "--model", "qwen3"]);
        command
            .env("CODEX_HOME", codex_home.path())
            .output()
            .expect("the program starts")
    };
    let output = write();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let after = fs::read_to_string(&file).expect("it is there");
    for kept in [
        "# Mine.\n",
        "approval_policy = \"never\" # careful\n",
        "[mcp_servers.calc]\ncommand = \"calc\"\n",
    ] {
        assert!(after.contains(kept), "{kept:?} is gone:\n{after}");
    }
    let table: toml::Table = after.parse().expect("TOML");
    assert_eq!(table["model"].as_str(), Some("qwen3"));
    let provider = table["model_provider"].as_str().expect("a provider");
    assert_eq!(
        table["model_providers"][provider]["base_url"].as_str(),
        Some("http://127.0.0.1:8787/v1")
    );

    let backups = || {
        let entries = fs::read_dir(codex_home.path())
            .expect("a folder")
            .map_while(Result::ok);
        let others = entries
            .map(|entry| entry.path())
            .filter(|path| *path != file);
        others.collect::<Vec<_>>()
    };
    assert_eq!(backups().len(), 1);
    assert_eq!(fs::read_to_string(&backups()[0]).expect("the copy"), before);

    // Once more changes nothing, and leaves no further copy.
    assert_eq!(write().status.code(), Some(0));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), after);
    assert_eq!(backups().len(), 1);
}

#[test]
fn codex_write_leaves_a_file_alone_that_is_no_toml() {
    let home = folder();
    let file = home.path().join(".codex/config.toml");
    fs::create_dir(home.path().join(".codex")).expect("a folder");
    fs::write(&file, "model = \n").expect("it is written");
    let output = run(home.path(), &["codex", "--write"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(err(&output).contains("line 1"), "{}", err(&output));
    assert_eq!(
        fs::read_to_string(&file).expect("it is there"),
        "model = \n"
    );
}

/// What a server sent: thinking, text, and a call.
fn recording() -> String {
    let chunks = [
        delta(json!({"reasoning_content": "Let me think."})),
        text("I will look."),
        call(0, Some(("c0", "look")), "{\"at\":\"it\"}"),
        finish("tool_calls"),
        usage(9, 4),
    ];
    let frames = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
    frames.collect::<String>() + "data: [DONE]\n\n"
}

#[test]
fn replay_turns_a_recording_into_events() {
    let home = folder();
    fs::write(home.path().join("chat.sse"), recording()).expect("it is written");
    let shown = run(home.path(), &["replay", "chat.sse"]);
    assert_eq!(shown.status.code(), Some(0), "{}", err(&shown));
    for words in [
        "Let me think.",
        "I will look.",
        "look",
        "\"at\"",
        "response.completed",
        "9 in",
    ] {
        assert!(out(&shown).contains(words), "{words}: {}", out(&shown));
    }
    let verbose = run(home.path(), &["replay", "--verbose", "chat.sse"]);
    assert!(
        out(&verbose).contains("response.function_call_arguments.done"),
        "{}",
        out(&verbose)
    );

    let bytes = run(home.path(), &["replay", "--sse", "chat.sse"]);
    assert_eq!(bytes.status.code(), Some(0), "{}", err(&bytes));
    let events = events::parse(&bytes.stdout);
    grammar::check(&events);
    let end = &events.last().expect("events").data["response"];
    assert_eq!(end["output"].as_array().map(Vec::len), Some(3), "{end}");

    let missing = run(home.path(), &["replay", "nowhere.sse"]);
    assert_eq!(missing.status.code(), Some(1), "{}", err(&missing));
    assert!(err(&missing).contains("nowhere.sse"), "{}", err(&missing));
    let unknown = run(home.path(), &["replay", "--profile", "deepsek", "chat.sse"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", err(&unknown));
    assert!(err(&unknown).contains("deepsek"), "{}", err(&unknown));
}

#[test]
fn replay_shows_a_recording_that_breaks_off() {
    let home = folder();
    fs::write(home.path().join("cut.sse"), &recording()[..600]).expect("it is written");
    let bytes = run(home.path(), &["replay", "--sse", "cut.sse"]);
    assert_eq!(bytes.status.code(), Some(0), "{}", err(&bytes));
    let events = events::parse(&bytes.stdout);
    grammar::check(&events);
    assert_eq!(
        events.last().map(|event| event.kind()),
        Some("response.failed")
    );
}

#[test]
fn demo_shows_thinking_a_call_and_text_without_any_model() {
    let home = folder();
    let output = run(home.path(), &["demo", "--once", "--listen", "127.0.0.1:0"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        out(&output),
        err(&output)
    );
    let shown = out(&output);
    for words in [
        "reasoning",
        "function_call",
        "get_weather",
        "Paris",
        "message",
        "18 °C",
        "response.completed",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(
        shown.matches("response.completed").count(),
        2,
        "the question, and the tool's output: {shown}"
    );
    // The lines for Codex name the port that was really taken.
    let served = shown
        .split_once("http://127.0.0.1:")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map(|(port, _)| port);
    let served = served.expect("its own address");
    assert!(
        shown.contains(&format!("base_url = \"http://127.0.0.1:{served}/v1\"")),
        "{shown}"
    );
    assert_ne!(served, "0");
}

#[test]
fn profiles_lists_the_dialects_and_prints_each_as_toml() {
    let home = folder();
    let all = run(home.path(), &["profiles"]);
    assert_eq!(all.status.code(), Some(0), "{}", err(&all));
    for name in ["deepseek", "ollama"] {
        let listed = out(&all)
            .lines()
            .any(|line| line.split(' ').next() == Some(name));
        assert!(listed, "{name} is not in\n{}", out(&all));

        let one = run(home.path(), &["profiles", name]);
        assert_eq!(one.status.code(), Some(0), "{}", err(&one));
        let dialect: toml::Table = out(&one).parse().expect("TOML");
        assert!(!dialect.is_empty());
        // It can be taken over into a configuration.
        let config = toml::Table::from_iter([(
            "upstreams".to_owned(),
            toml::Table::from_iter([(
                "a".to_owned(),
                toml::Table::from_iter([
                    ("base_url".to_owned(), "http://127.0.0.1:1/v1".into()),
                    ("dialect".to_owned(), dialect.into()),
                ])
                .into(),
            )])
            .into(),
        )]);
        fs::write(home.path().join("own.toml"), config.to_string()).expect("it is written");
        let used = run(home.path(), &["codex", "--config", "own.toml"]);
        assert_eq!(used.status.code(), Some(0), "{name}: {}", err(&used));
    }
    let unknown = run(home.path(), &["profiles", "deepsek"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", err(&unknown));
    assert!(err(&unknown).contains("deepseek"), "{}", err(&unknown));
}

#[test]
fn an_empty_variable_for_the_configuration_is_as_good_as_none() {
    let upstream = Upstream::new([]).models(Reply::json(200, &json!({"data": [{"id": "own"}]})));
    let home = folder();
    let check = |args: &[&str]| {
        let mut command = antiphon(home.path(), args);
        let output = command.env("ANTIPHON_CONFIG", "").output();
        output.expect("the program starts")
    };
    let output = check(&["check", "--upstream", &upstream.base_url()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("own"), "{}", out(&output));

    // The file in the folder is found as ever.
    let config = format!("[upstreams.near]\nbase_url = \"{}\"\n", upstream.base_url());
    fs::write(home.path().join("proxy.toml"), config).expect("it is written");
    let output = check(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("near"), "{}", out(&output));
}

#[test]
fn check_names_a_headers_variable_that_is_not_set() {
    let upstream = Upstream::new([]).models(Reply::json(200, &json!({"data": []})));
    let home = folder();
    let config = format!(
        "[upstreams.mock]\nbase_url = \"{}\"\nenv_http_headers = {{ \"x-token\" = \"MOCK_TOKEN\", \"x-team\" = \"MOCK_TEAM\" }}\n",
        upstream.base_url()
    );
    fs::write(home.path().join("proxy.toml"), config).expect("it is written");
    let mut command = antiphon(home.path(), &["check"]);
    let output = command
        .env("MOCK_TEAM", "blue")
        .output()
        .expect("the program starts");
    let lines = || out(&output).lines().chain(err(&output).lines());
    assert!(
        lines().any(|line| line.contains("MOCK_TOKEN") && line.contains("not set")),
        "{}{}",
        out(&output),
        err(&output)
    );
    assert!(
        !lines().any(|line| line.contains("MOCK_TEAM")),
        "{}",
        out(&output)
    );
    let asked = &upstream.received()[0];
    assert_eq!(asked.header("x-team"), Some("blue"));
    assert_eq!(asked.header("x-token"), None);
}
