//! What becomes of each recording: the events, one line each, kept as snapshots.

use std::fmt::Write;

use antiphon::translate::ToolMap;
use serde_json::Value;

use super::support::{profile_of, recordings, root, run};
use crate::grammar;
use crate::support::events::{SseEvent, parse};

#[test]
fn each_recorded_stream_gives_the_events_of_its_snapshot() {
    for path in recordings(".sse") {
        snapshot(&path);
    }
}

#[test]
fn each_recorded_document_gives_the_events_of_its_snapshot() {
    for path in recordings(".json") {
        let name = path.to_string_lossy().into_owned();
        // Lists of models are no answers.
        if !name.ends_with(".request.json") && !name.ends_with("models.json") {
            snapshot(&path);
        }
    }
}

fn snapshot(path: &std::path::Path) {
    let bytes = std::fs::read(path).expect("a recording reads");
    let out = run(&[&bytes], &profile_of(path), ToolMap::default());
    let events = parse(&out);
    grammar::check(&events);
    let name = path
        .strip_prefix(root().join("tests/fixtures/chat"))
        .expect("below the fixtures");
    let name = name.to_string_lossy().replace(['/', '\\'], "__");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, render(&events));
    });
}

/// One line for each event; a run of deltas is one line with its pieces parted by `|`.
fn render(events: &[SseEvent]) -> String {
    let mut out = String::new();
    let mut run: Option<(String, usize)> = None;
    for event in events {
        let data = &event.data;
        let kind = data["type"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches("response.");
        if let (true, Some(delta)) = (kind.ends_with(".delta"), data["delta"].as_str()) {
            let label = format!("{} {kind}", data["output_index"]);
            let delta = delta
                .replace('\\', "\\\\")
                .replace('\n', "\\n")
                .replace('|', "\\|");
            match &mut run {
                Some((last, count)) if *last == label && *count < 200 => {
                    *count += 1;
                    let _ = write!(out, "|{delta}");
                }
                _ => {
                    let gap = if run.is_some() { "\n" } else { "" };
                    let _ = write!(out, "{gap}{label} {delta}");
                    run = Some((label, 1));
                }
            }
            continue;
        }
        if run.take().is_some() {
            out.push('\n');
        }
        let _ = writeln!(out, "{}", line(kind, data));
    }
    out
}

fn line(kind: &str, data: &Value) -> String {
    if let Some(response) = data.get("response") {
        let usage = &response["usage"];
        return match response["status"].as_str().unwrap_or_default() {
            "in_progress" => kind.to_owned(),
            "failed" => format!("{kind} {}", response["error"]),
            _ => format!(
                "{kind} {} in {} out {} ({} cached, {} reasoning)",
                response["incomplete_details"],
                usage["input_tokens"],
                usage["output_tokens"],
                usage["input_tokens_details"]["cached_tokens"],
                usage["output_tokens_details"]["reasoning_tokens"],
            ),
        };
    }
    let index = &data["output_index"];
    match data.get("item") {
        Some(item) => format!("{index} {kind} {item}"),
        None => {
            let mut rest = data.clone();
            for key in [
                "type",
                "sequence_number",
                "item_id",
                "output_index",
                "content_index",
            ] {
                if let Some(rest) = rest.as_object_mut() {
                    rest.remove(key);
                }
            }
            format!("{index} {kind} {rest}")
        }
    }
}
