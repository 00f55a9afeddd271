//! Chunks of one answer are alike: id, model, time and shape are said again and again, and only the
//! string that a chunk brings is new.
//!
//! So the last chunk that was nothing but one string is remembered as what stood before the string
//! and what stood behind it. A chunk with the same around it reads the same but for the string, and
//! only that is parsed. This is exact, not a guess: where one JSON string stands in the place of
//! another, nothing else of the document can change its meaning. Whatever differs by a byte is read
//! whole, and is remembered in turn.

use serde_json::value::RawValue;

use crate::chat::Chunk;
use crate::chat::single::Place;
use crate::json::Text;

/// The one new thing of a chunk.
#[derive(Debug)]
pub(super) enum Brought<'a> {
    /// `content`
    Content(Text<'a>),
    /// `reasoning_content`
    ReasoningContent(Text<'a>),
    /// `reasoning`
    Reasoning(Text<'a>),
    /// A fragment of the arguments of the call with this index, as it is written.
    Arguments(Option<i64>, &'a RawValue),
}

/// What chunks have in common.
#[derive(Debug, Default)]
pub(super) struct Likeness {
    /// Where the string stands; `None` until a chunk was remembered.
    place: Option<Place>,
    before: Vec<u8>,
    behind: Vec<u8>,
}

impl Likeness {
    /// Reads a chunk that is like the one remembered.
    pub(super) fn read<'d>(&self, data: &'d [u8]) -> Option<Brought<'d>> {
        let place = self.place?;
        let string = data
            .strip_prefix(self.before.as_slice())?
            .strip_suffix(self.behind.as_slice())?;
        let text = || serde_json::from_slice(string).ok();
        Some(match place {
            Place::Content => Brought::Content(text()?),
            Place::ReasoningContent => Brought::ReasoningContent(text()?),
            Place::Reasoning => Brought::Reasoning(text()?),
            Place::Arguments(index) => {
                let raw: &RawValue = serde_json::from_slice(string).ok()?;
                // An empty fragment is none, and other things than strings are read elsewhere.
                if !raw.get().starts_with('"') || raw.get() == "\"\"" {
                    return None;
                }
                Brought::Arguments(index, raw)
            }
        })
    }

    /// Remembers a chunk that was read from `data`, if it is nothing but one string.
    pub(super) fn remember(&mut self, chunk: &Chunk<'_>, data: &[u8]) {
        let Some((place, string)) = chunk.single() else {
            return;
        };
        let start = string.as_ptr().addr().wrapping_sub(data.as_ptr().addr());
        let quotes = match place {
            Place::Arguments(_) => 0,
            // The string is borrowed from between its quotes.
            _ => 1,
        };
        let around = start.checked_sub(quotes).and_then(|before| {
            let behind = start.checked_add(string.len() + quotes)?;
            Some((data.get(..before)?, data.get(behind..)?))
        });
        // A string with escapes lives elsewhere, and says nothing of its place.
        let Some((before, behind)) = around else {
            return;
        };
        self.place = Some(place);
        self.before.clear();
        self.before.extend_from_slice(before);
        self.behind.clear();
        self.behind.extend_from_slice(behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(delta: &str, rest: &str) -> String {
        format!(
            r#"{{"id":"x","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}]{rest}}}"#
        )
    }

    /// What the second chunk brings, if the first one is remembered.
    fn after(first: &str, second: &str) -> Option<String> {
        let mut likeness = Likeness::default();
        let read: Chunk<'_> = serde_json::from_str(first).unwrap();
        likeness.remember(&read, first.as_bytes());
        likeness
            .read(second.as_bytes())
            .map(|brought| match brought {
                Brought::Content(text) => format!("content {}", text.as_str()),
                Brought::ReasoningContent(text) => format!("reasoning_content {}", text.as_str()),
                Brought::Reasoning(text) => format!("reasoning {}", text.as_str()),
                Brought::Arguments(index, raw) => format!("arguments {index:?} {}", raw.get()),
            })
    }

    #[test]
    fn a_chunk_like_the_last_is_read_by_its_string() {
        for (first, second, expected) in [
            (
                r#"{"content":"a"}"#,
                r#"{"content":"b\n\u00e9"}"#,
                "content b\né",
            ),
            (r#"{"content":"a"}"#, r#"{"content":""}"#, "content "),
            (
                r#"{"content":null,"reasoning_content":"a"}"#,
                r#"{"content":null,"reasoning_content":"b"}"#,
                "reasoning_content b",
            ),
            (
                r#"{"content":"","reasoning":"a"}"#,
                r#"{"content":"","reasoning":"b"}"#,
                "reasoning b",
            ),
            (
                r#"{"tool_calls":[{"index":2,"function":{"arguments":"{\"a"}}]}"#,
                r#"{"tool_calls":[{"index":2,"function":{"arguments":"\": 1"}}]}"#,
                r#"arguments Some(2) "\": 1""#,
            ),
        ] {
            let brought = after(&chunk(first, ""), &chunk(second, ""));
            assert_eq!(brought.as_deref(), Some(expected), "{second}");
        }
    }

    #[test]
    fn a_chunk_that_differs_elsewhere_is_read_whole() {
        let first = chunk(r#"{"content":"a"}"#, "");
        for second in [
            chunk(r#"{"content":"b"}"#, r#","usage":{"prompt_tokens":1}"#),
            chunk(r#"{"content":["b"]}"#, ""),
            chunk(r#"{"content":"b","refusal":"no"}"#, ""),
            chunk(r#"{"content":"b""#, ""),
            chunk(r#"{"content":"b\ud83d"}"#, ""),
            chunk("{\"content\":\"b\u{1}\"}", ""),
            chunk(r#"{"content":"b","content":"c"}"#, ""),
            first.replace('x', "y"),
            first.replace("finish_reason\":null", "finish_reason\":\"stop\""),
        ] {
            assert_eq!(after(&first, &second), None, "{second}");
        }
    }

    #[test]
    fn only_a_chunk_of_one_string_is_remembered() {
        for first in [
            chunk(r#"{"content":""}"#, ""),
            chunk(r#"{"content":"a\n"}"#, ""),
            chunk(r#"{"content":"a","reasoning":"b"}"#, ""),
            chunk(
                r#"{"content":"a","tool_calls":[{"index":0,"function":{"arguments":"{"}}]}"#,
                "",
            ),
            chunk(
                r#"{"tool_calls":[{"id":"c","function":{"arguments":"{"}}]}"#,
                "",
            ),
            chunk(
                r#"{"tool_calls":[{"function":{"name":"f","arguments":"{"}}]}"#,
                "",
            ),
            chunk(r#"{"tool_calls":[{"function":{"arguments":{}}}]}"#, ""),
            chunk(r#"{"content":"a"}"#, r#","usage":{"prompt_tokens":1}"#),
            chunk(r#"{"content":"a"}"#, r#","error":{"message":"m"}"#),
        ] {
            assert_eq!(after(&first, &first), None, "{first}");
        }
    }
}
