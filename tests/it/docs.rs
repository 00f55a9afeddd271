//! The documents are tried: shell commands are read by a shell, the program's own by the program, and the worked
//! example is sent through it.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::http;
use crate::support::pages::{page, pages};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, finish, text};

#[test]
fn shell_commands_are_read_by_a_shell() {
    for page in pages() {
        for block in page.blocks_in("sh") {
            let read = with_input("bash", &["-n"], &block);
            let complaint = String::from_utf8_lossy(&read.stderr);
            let well = read.status.success() && complaint.is_empty();
            assert!(well, "{}: {complaint}\n{block}", page.path.display());
        }
    }
}

/// `--help` behind a command has all before it read, and does nothing.
#[test]
fn the_programs_own_commands_are_read_by_it() {
    let mut commands = BTreeSet::new();
    for page in pages() {
        for block in page.blocks_in("sh") {
            commands.extend(block.replace("\\\n", " ").lines().filter_map(own_command));
        }
    }
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let output = antiphon(&args);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "antiphon {command}: {complaint}");
    }
}

/// The arguments in a line that runs the program, however it is run.
fn own_command(line: &str) -> Option<String> {
    let line = line.split([';', '|', '<', '>', '#']).next()?.trim();
    let words = line.split_whitespace();
    let mut words = words.skip_while(|word| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    });
    match words.next()? {
        "antiphon" => {}
        "cargo" if words.next() == Some("run") => {
            words.find(|word| *word == "--")?;
        }
        _ => return None,
    }
    Some(words.collect::<Vec<_>>().join(" "))
}

#[test]
fn every_command_is_in_the_readmes_table() {
    let readme = page("README.md").text;
    let help = antiphon(&["--help"]).stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    let (_, commands) = help.split_once("Commands:\n").expect("a list of commands");
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| *name != "help").collect();
    assert!(names.contains(&"replay"), "{names:?}");
    for name in names {
        let rows = readme
            .lines()
            .filter(|line| line.starts_with("| `antiphon"));
        let mut rows = rows.filter(|row| row.contains(&format!("`antiphon {name}")));
        assert!(rows.next().is_some(), "`antiphon {name}` has no row");
    }
}

/// Whatever the program calls by a name like `XDG_STATE_HOME` is a variable, but for a few.
#[test]
fn every_variable_is_in_the_readme_or_the_reference() {
    let others = ["CARGO_PKG_VERSION", "RESOURCE_EXHAUSTED"];
    let documents = page("README.md").text + &page("docs/configuration.md").text;
    let mut found = BTreeSet::new();
    for source in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let words = source.split('"').skip(1).step_by(2);
        let names = words.filter(|word| {
            word.contains('_')
                && word.starts_with(|c: char| c.is_ascii_uppercase())
                && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        });
        found.extend(names.map(str::to_owned));
    }
    assert!(found.contains("ANTIPHON_UPSTREAM_KEY"), "{found:?}");
    for name in found {
        let known = others.contains(&name.as_str()) || documents.contains(&name);
        assert!(known, "the variable {name} is told nowhere");
    }
}

/// The code of the program, without its tests.
fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(fs::read_to_string(path).expect("a source file reads"));
        }
    }
    found
}

#[test]
fn the_worked_example_is_what_happens() {
    let page = page("docs/how-it-works.md");
    let (code, shown) = (page.blocks_in("json"), page.blocks_in("text"));
    let [request, chat] = code.as_slice() else {
        panic!("a request and what becomes of it");
    };
    let [chunks, events, .., replayed] = shown.as_slice() else {
        panic!("chunks, the events, and what is shown of them");
    };
    let upstream = Upstream::new([Reply::new(200, "text/event-stream").bytes(chunks.as_str())]);
    let proxy = as_ollama(&upstream);
    let told = http::request("POST", &proxy.url("/v1/responses"), &[], request.as_bytes()).events();

    let chat: Value = serde_json::from_str(chat).expect("JSON");
    assert_eq!(upstream.asked(), [chat]);
    let told: Vec<String> = told.iter().map(in_short).collect();
    let events: Vec<&str> = events.lines().collect();
    let in_words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let events: Vec<String> = events.into_iter().map(in_words).collect();
    assert_eq!(told, events);

    let replay = with_input(
        env!("CARGO_BIN_EXE_antiphon"),
        &["replay", "-", "--profile", "ollama"],
        chunks,
    );
    assert_eq!(&String::from_utf8_lossy(&replay.stdout), replayed);
}

/// An event as the page shows it: its type, and what is new in it.
fn in_short(event: &Value) -> String {
    let kind = event["type"].as_str().unwrap_or_default();
    let texts = ["delta", "text", "arguments"].map(|key| &event[key]);
    match texts.into_iter().find(|text| text.is_string()) {
        Some(text) => format!("{kind} {text}"),
        None => {
            let item = event["item"]["type"].as_str().unwrap_or_default();
            format!("{kind} {item}").trim_end().to_owned()
        }
    }
}

/// The page of tools shows one as it is offered, and then what becomes of it.
#[test]
fn tools_become_what_the_page_of_tools_says() {
    let shown = page("docs/tools.md").blocks_in("json");
    let answer = || Reply::stream(&[text("Well."), finish("stop")]);
    let pairs: Vec<&[String]> = shown.chunks(2).collect();
    let upstream = Upstream::new(pairs.iter().map(|_| answer()));
    let proxy = as_ollama(&upstream);
    assert!(!pairs.is_empty());
    for (n, pair) in pairs.into_iter().enumerate() {
        let read = |text: &String| serde_json::from_str::<Value>(text).expect("JSON");
        let request = json!({"model": "m", "input": "Go.", "tools": [read(&pair[0])]});
        assert_eq!(
            http::post(&proxy.url("/v1/responses"), &request).status,
            200
        );
        assert_eq!(upstream.asked()[n]["tools"], json!([read(&pair[1])]));
    }
}

/// A proxy before an upstream that it takes for an Ollama.
fn as_ollama(upstream: &Upstream) -> Proxy {
    let config = format!(
        "[upstreams.ollama]\nbase_url = \"{}\"\nprofile = \"ollama\"\n",
        upstream.base_url()
    );
    Proxy::builder().config(&config).start()
}

fn antiphon(args: &[&str]) -> Output {
    with_input(env!("CARGO_BIN_EXE_antiphon"), args, "")
}

fn with_input(program: &str, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}
