//! A pipeline with fixed ids and time, so that the same bytes give the same events.

use std::path::{Path, PathBuf};

use antiphon::profile::{self, Profile};
use antiphon::responses::response::{Echo, Head};
use antiphon::translate::{Bytes, Limits, Pipeline, Progress, Thinking, ToolMap, TurnContext};

/// When all answers of the tests were made.
pub(super) const NOW: u64 = 1_763_683_200;

/// The dialect of a server, by its name in the table.
pub(super) fn profile(name: &str) -> Profile {
    profile::resolve(name, "", None, &toml::Table::new())
        .expect("a built-in profile")
        .1
}

/// What a response begins with.
pub(super) fn context(tools: ToolMap) -> TurnContext {
    let head = Head {
        id: "resp_0123456789abcdef0123456789abcdef".into(),
        created_at: NOW,
        model: "model".into(),
        echo: Echo::new(&antiphon::responses::CreateResponse::default()),
    };
    TurnContext::new(head, tools, Thinking::Content)
}

/// The server-sent events that come out when an upstream sends `pieces`.
pub(super) fn run(pieces: &[&[u8]], profile: &Profile, tools: ToolMap) -> Vec<u8> {
    let mut sink = Bytes::default();
    let limits = Limits {
        event_bytes: 1 << 24,
        answer_bytes: 1 << 24,
    };
    let mut pipeline = Pipeline::start(context(tools), profile, true, limits, &mut sink);
    for piece in pieces {
        if pipeline.push(piece, &mut sink) == Progress::Over {
            break;
        }
    }
    pipeline.finish(None, NOW, 400, &mut sink);
    sink.out
}

/// All recordings whose name ends like this, in order.
pub(super) fn recordings(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("tests/fixtures/chat")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)
            .expect("the fixtures are there")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no recording ends in {ending}");
    found
}

/// The top of the tree.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The profile that fits a recording, by its folder.
pub(super) fn profile_of(path: &Path) -> Profile {
    let path = path.to_string_lossy();
    let documented = path
        .split('/')
        .find_map(|part| part.strip_suffix("-documented"));
    if let Some(name) = documented {
        return profile(name);
    }
    let known = [
        ("llama-server", "llama-cpp"),
        ("ollama", "ollama"),
        ("vllm", "vllm"),
    ];
    let name = known
        .iter()
        .find(|(folder, _)| path.contains(folder))
        .map_or("generic", |(_, name)| name);
    profile(name)
}
