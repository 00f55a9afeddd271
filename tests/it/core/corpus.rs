//! The corpora of the fuzz targets, run through the same functions as when they were found.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;

use super::support::root;

#[rustfmt::skip]
#[expect(
    unreachable_pub,
    reason = "it belongs to another crate, which has rules of its own"
)]
#[path = "../../../fuzz/src/targets.rs"]
mod targets;

/// Runs each file of a corpus, and names all those that break a promise.
fn run(name: &str, target: fn(&[u8])) {
    let folder = root().join("fuzz/corpus").join(name);
    let (mut files, mut broken) = (0, Vec::new());
    for entry in fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        let data = fs::read(&path).expect("a file of the corpus");
        files += 1;
        if catch_unwind(|| target(&data)).is_err() {
            broken.push(path);
        }
    }
    assert!(files > 0, "{} is empty", folder.display());
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn sse_decode_holds_for_its_corpus() {
    run("sse_decode", targets::sse_decode);
}

#[test]
fn pipeline_holds_for_its_corpus() {
    run("pipeline", targets::pipeline);
}

#[test]
fn create_response_holds_for_its_corpus() {
    run("create_response", targets::create_response);
}

#[test]
fn read_json_holds_for_its_corpus() {
    run("read_json", targets::read_json);
}

#[test]
fn custom_input_holds_for_its_corpus() {
    run("custom_input", targets::custom_input);
}

#[test]
fn heal_holds_for_its_corpus() {
    run("heal", targets::heal);
}

#[test]
fn no_corpus_is_left_out() {
    let entries = fs::read_dir(root().join("fuzz/corpus")).expect("the corpora");
    let found: BTreeSet<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let run = [
        "create_response",
        "custom_input",
        "heal",
        "pipeline",
        "read_json",
        "sse_decode",
    ];
    assert_eq!(found, run.map(String::from).into());
}
