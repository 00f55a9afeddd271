//! What a whole run of the tests leaves behind for a search, if `ANTIPHON_TEST_EVIDENCE` names a folder: the log of
//! each proxy, the errors and numbers that clients got, and the words that must be in none of them: keys, and what
//! people and models said to each other.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;

/// A shorter key is a word.
const SHORTEST_KEY: usize = 8;
/// A shorter line is something that others say too.
const SHORTEST_LINE: usize = 24;
/// So much of a line is enough to find it.
const LONGEST_LINE: usize = 80;

static FOLDER: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let folder = PathBuf::from(std::env::var_os("ANTIPHON_TEST_EVIDENCE")?);
    fs::create_dir_all(&folder).expect("a folder for the evidence");
    Some(folder)
});

static WORDS: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Keeps a text of a kind: `logs`, `errors` or `metrics`.
pub(crate) fn keep(kind: &str, text: &str) {
    if FOLDER.is_some() && !text.is_empty() {
        append(kind, text);
    }
}

/// A key, with or without `Bearer` before it.
pub(crate) fn key(value: &str) {
    let value = value.strip_prefix("Bearer ").unwrap_or(value).trim();
    if value.len() >= SHORTEST_KEY {
        word(value);
    }
}

/// What a chat server is asked: all that is said in it.
pub(crate) fn asked(request: &Value) {
    if FOLDER.is_none() {
        return;
    }
    for message in request["messages"].as_array().into_iter().flatten() {
        match &message["content"] {
            Value::String(text) => said(text),
            Value::Array(parts) => parts
                .iter()
                .filter_map(|part| part["text"].as_str())
                .for_each(said),
            _ => {}
        }
    }
}

fn said(text: &str) {
    // In a log of JSON these would be written in another way.
    let pieces = text.split(['\n', '"', '\\', '\t', '\r']);
    let pieces = pieces.map(str::trim);
    let is_telling = |piece: &&str| {
        let letters: HashSet<char> = piece.chars().collect();
        piece.len() >= SHORTEST_LINE && letters.len() > 5
    };
    let pieces = pieces.filter(is_telling);
    // Where the beginning is not, the rest is not either.
    pieces.for_each(|piece| word(&piece[..piece.floor_char_boundary(LONGEST_LINE)]));
}

fn word(word: &str) {
    if FOLDER.is_none() {
        return;
    }
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if words.get_or_insert_default().insert(word.to_owned()) {
        append("words", word);
    }
}

fn append(kind: &str, text: &str) {
    let Some(folder) = &*FOLDER else { return };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join(kind));
    // In one write, as others write too.
    let written = file.and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()));
    written.expect("the evidence is written");
}
