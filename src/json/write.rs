//! Strings out, as JSON.
//!
//! Every delta is one string written, so it is done in runs: what needs no escape is found many
//! bytes at a time and copied in one piece. The bytes are those that `serde_json` writes.

use serde::Serialize;

use super::word::{self, WORD};

/// How many bytes are looked at together where nothing needs an escape: vector instructions tell
/// whether any of them does.
const BLOCK: usize = 4 * WORD;

/// Writes a string with its quotes.
///
/// ```
/// use antiphon::json::write_string;
///
/// let mut out = Vec::new();
/// write_string(&mut out, "a \"b\"\n\u{1}é");
/// assert_eq!(out, br#""a \"b\"\n\u0001"#.iter().chain("é\"".as_bytes()).copied().collect::<Vec<_>>());
/// ```
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2 + WORD);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        rest = copy_plain_blocks(out, rest);
        rest = copy_to_escape(out, rest);
    }
    out.push(b'"');
}

/// Writes `key`, which ends with a colon, and a string.
pub(crate) fn write_text(out: &mut Vec<u8>, key: &'static str, text: &str) {
    out.extend_from_slice(key.as_bytes());
    write_string(out, text);
}

/// The same, if there is a string.
pub(crate) fn write_option(out: &mut Vec<u8>, key: &'static str, said: Option<&str>) {
    if let Some(said) = said {
        write_text(out, key, said);
    }
}

/// Writes `key` and a value that cannot fail to serialise: raw JSON, a tag, a small object.
pub(crate) fn write_value<T: Serialize + ?Sized>(out: &mut Vec<u8>, key: &'static str, value: &T) {
    out.extend_from_slice(key.as_bytes());
    let written = serde_json::to_writer(&mut *out, value);
    debug_assert!(written.is_ok(), "what is written by hand must serialise");
}

/// Copies blocks in which nothing needs an escape; returns what stands behind them.
fn copy_plain_blocks<'t>(out: &mut Vec<u8>, mut text: &'t [u8]) -> &'t [u8] {
    while let Some((block, rest)) = text.split_first_chunk::<BLOCK>() {
        // Without a branch for each byte.
        let any = |any: bool, byte: &u8| any | word::is_marked(*byte);
        if block.iter().fold(false, any) {
            break;
        }
        out.extend_from_slice(block);
        text = rest;
    }
    text
}

/// Copies up to the first byte that needs an escape, and writes that; returns what stands behind it.
fn copy_to_escape<'t>(out: &mut Vec<u8>, mut text: &'t [u8]) -> &'t [u8] {
    while let Some((block, rest)) = text.split_first_chunk::<WORD>() {
        let marks = word::marks(*block);
        // A whole word is copied sooner than a part of one, and what is too much is taken back.
        let start = out.len();
        out.extend_from_slice(block);
        if marks == 0 {
            text = rest;
            continue;
        }
        let plain = word::before_first(marks);
        out.truncate(start + plain);
        return write_first(out, text.get(plain..).unwrap_or_default());
    }
    while let Some(byte) = text.first() {
        if word::is_marked(*byte) {
            return write_first(out, text);
        }
        out.push(*byte);
        text = text.get(1..).unwrap_or_default();
    }
    text
}

/// Writes the first byte, which needs an escape; returns what stands behind it.
fn write_first<'t>(out: &mut Vec<u8>, text: &'t [u8]) -> &'t [u8] {
    match text.split_first() {
        Some((byte, rest)) => {
            escape(out, *byte);
            rest
        }
        None => text,
    }
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digit = |nibble: u8| b"0123456789abcdef".get(usize::from(nibble)).copied();
            out.extend_from_slice(b"\\u00");
            out.extend(digit(byte >> 4));
            out.extend(digit(byte & 15));
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_character_is_written_as_serde_writes_it_at_each_place() {
        let characters = (0..0x200).chain([0x2028, 0x20ac, 0xffff, 0x1f600]);
        for character in characters.filter_map(char::from_u32) {
            for before in (0..9).chain([31, 32, 33, 47, 64]) {
                for after in [0, 1, 8] {
                    let text = ["x".repeat(before), "y".repeat(after)].join(&character.to_string());
                    assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
                }
            }
        }
    }

    #[test]
    fn escapes_side_by_side_are_all_found() {
        let texts = [
            "",
            "\"\"",
            "\\\"\n\t\u{1f}\u{0}\u{7f}",
            "é\"é\\é\n",
            "!\"!\"!\"!\"!\"!\"!",
        ];
        for text in texts {
            for times in [1, 3, 8] {
                let text = text.repeat(times);
                assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
            }
        }
    }
}
