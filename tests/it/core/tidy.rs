//! The tree keeps its own rules: which room may use which, how long a file may be, what the core
//! must not know.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::support::root;

/// What each room may use of the others. `ARCHITECTURE.md` shows the same table.
const ROOMS: &[(&str, &[&str])] = &[
    ("json", &[]),
    ("sse", &[]),
    ("profile", &[]),
    ("time", &[]),
    ("show", &[]),
    ("demo", &[]),
    ("codex", &[]),
    ("key", &[]),
    ("gate", &[]),
    ("glob", &[]),
    ("config", &["key"]),
    ("closing", &[]),
    ("files", &[]),
    ("shutdown", &[]),
    ("reload", &[]),
    ("telemetry", &["time"]),
    ("responses", &["json"]),
    ("chat", &["json"]),
    (
        "translate",
        &["chat", "json", "profile", "responses", "sse"],
    ),
    ("seal", &["translate"]),
    ("ids", &["time"]),
    ("store", &["ids", "telemetry"]),
    ("log", &["config", "telemetry"]),
    (
        "upstream",
        &[
            "chat",
            "gate",
            "json",
            "profile",
            "responses",
            "telemetry",
            "time",
            "translate",
        ],
    ),
    (
        "admission",
        &[
            "gate",
            "glob",
            "key",
            "responses",
            "telemetry",
            "time",
            "upstream",
        ],
    ),
    (
        "engine",
        &[
            "admission",
            "closing",
            "glob",
            "json",
            "responses",
            "sse",
            "store",
            "telemetry",
            "time",
            "translate",
            "upstream",
        ],
    ),
    (
        "server",
        &[
            "admission",
            "closing",
            "engine",
            "ids",
            "json",
            "responses",
            "sse",
            "store",
            "telemetry",
            "time",
            "upstream",
        ],
    ),
    (
        "app",
        &[
            "admission",
            "closing",
            "config",
            "engine",
            "ids",
            "json",
            "profile",
            "seal",
            "server",
            "store",
            "telemetry",
            "translate",
            "upstream",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "codex",
            "config",
            "demo",
            "files",
            "key",
            "log",
            "profile",
            "reload",
            "responses",
            "show",
            "shutdown",
            "sse",
            "telemetry",
            "time",
            "translate",
            "upstream",
        ],
    ),
    ("main", &["cli"]),
];

/// Rooms that know no clock, no network, no randomness and no log.
const PURE: &[&str] = &["json", "sse", "profile", "responses", "chat", "translate"];

const IMPURE: &[&str] = &[
    "tokio",
    "reqwest",
    "axum",
    "hyper",
    "tracing",
    "SystemTime",
    "Instant::now",
    "rand::",
    "std::fs",
    "std::net",
    "std::env",
    "async fn",
];

#[test]
fn rooms_use_only_the_rooms_that_they_may() {
    let table: BTreeMap<_, _> = ROOMS.iter().copied().collect();
    for (path, text) in sources("src") {
        let room = room_of(&path);
        if room == "lib" {
            continue;
        }
        let allowed = table
            .get(room.as_str())
            .unwrap_or_else(|| panic!("room `{room}` is not in the table"));
        for used in uses(&text) {
            assert!(
                used == room
                    || allowed.contains(&used.as_str())
                    || !table.contains_key(used.as_str()),
                "{}: `{room}` must not use `{used}`",
                path.display()
            );
        }
    }
}

#[test]
fn the_table_of_rooms_in_the_architecture_is_this_one() {
    let text =
        std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    for (room, uses) in ROOMS {
        let uses = if uses.is_empty() {
            "–".to_owned()
        } else {
            uses.join(", ")
        };
        let row = format!("| `{room}` | {uses} |");
        assert!(text.contains(&row), "ARCHITECTURE.md lacks the row\n{row}");
    }
}

#[test]
fn the_core_is_pure() {
    for (path, text) in sources("src") {
        if !PURE.contains(&room_of(&path).as_str()) || is_test(&path) {
            continue;
        }
        for line in code_lines(&text) {
            for word in IMPURE {
                assert!(
                    !line.contains(word),
                    "{}: `{word}` in a pure room: {line}",
                    path.display()
                );
            }
            assert!(
                !line.contains("serde_json::Value"),
                "{}: untyped JSON in a pure room: {line}",
                path.display()
            );
        }
    }
}

#[test]
fn the_core_knows_no_upstream_by_name() {
    let names = [
        "ollama",
        "deepseek",
        "openrouter",
        "vllm",
        "azure",
        "mistral",
        "moonshot",
        "minimax",
        "groq",
    ];
    for (path, text) in sources("src") {
        if room_of(&path) != "translate" || is_test(&path) {
            continue;
        }
        for line in code_lines(&text) {
            let line = line.to_ascii_lowercase();
            assert!(
                !names.iter().any(|name| line.contains(name)),
                "{}: {line}",
                path.display()
            );
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    const LONGEST: usize = 600;
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines", path.display());
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//!") || is_test(&path),
            "{} does not open with `//!`",
            path.display()
        );
    }
}

#[test]
fn nothing_is_left_open() {
    // Put together here, so that this file does not hold them.
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("#[ig", "nore"),
    ];
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        for word in words {
            assert!(!text.contains(word), "{}: `{word}`", path.display());
        }
    }
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)
            .expect("a folder of sources")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file reads");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// The first name below `src/`, without its ending.
fn room_of(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).expect("below src");
    let first = below
        .components()
        .next()
        .expect("a name")
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| {
        let part = part.as_os_str();
        part == "tests.rs" || part == "tests"
    })
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !line.starts_with("mod tests {"))
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// The rooms that a file names, in `use` or in full.
fn uses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in code_lines(text) {
        for part in line.split("crate::").skip(1) {
            if let Some(list) = part.strip_prefix('{') {
                let names = list
                    .split(',')
                    .map(|name| name.trim().trim_end_matches([';', '}']));
                found.extend(names.map(first_word));
            } else {
                found.push(first_word(part));
            }
        }
    }
    found
}

fn first_word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}
