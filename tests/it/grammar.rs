//! Checks the events of a streamed response against the grammar of the Responses API.
//!
//! ```text
//! stream   := created (queued)? in_progress item* terminal
//! item     := output_item.added body output_item.done          calls may stand side by side
//! message  := ( content_part.added (output_text.delta | annotation.added)* output_text.done content_part.done
//!             | content_part.added refusal.delta* refusal.done content_part.done )*
//! thinking := ( reasoning_summary_part.added …_text.delta* …_text.done …_part.done )*
//!             ( content_part.added reasoning_text.delta* reasoning_text.done content_part.done )*
//! call     := function_call_arguments.delta* .done | custom_tool_call_input.delta* .done | nothing
//! terminal := completed | incomplete | failed
//! ```
//!
//! It is written from the API's description and shares nothing with the program: it is the program's
//! judge. `keepalive` may stand anywhere between `in_progress` and the terminal event.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod item;
mod tests;

use serde_json::Value;

use self::item::Item;
use crate::support::events::SseEvent;

/// What is wrong, in words.
type Verdict = Result<(), String>;

/// Panics unless the events are a whole stream as the API promises it.
pub(crate) fn check(events: &[SseEvent]) {
    if let Err(fault) = verify(events) {
        let lines = events.iter().enumerate();
        let lines = lines.map(|(n, event)| format!("{n:>4}  {}\n", event.data));
        panic!(
            "the stream breaks the grammar: {fault}\n{}",
            lines.collect::<String>()
        );
    }
}

/// Whether the events are a whole stream as the API promises it; if not, the first fault.
pub(crate) fn verify(events: &[SseEvent]) -> Verdict {
    let mut stream = Stream::default();
    for (n, event) in events.iter().enumerate() {
        stream
            .event(n, event)
            .map_err(|fault| format!("event {n} ({}): {fault}", event.kind()))?;
    }
    require(stream.phase == Phase::Over, || {
        "the stream has no terminal event".to_owned()
    })
}

/// A stream as far as it was read.
#[derive(Default)]
struct Stream {
    phase: Phase,
    /// `id`, `created_at`, `model` and `object`, which never change.
    identity: Option<[Value; 4]>,
    queued: bool,
    items: Vec<Item>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Phase {
    #[default]
    Nothing,
    Created,
    InProgress,
    Over,
}

impl Stream {
    fn event(&mut self, n: usize, event: &SseEvent) -> Verdict {
        let data = &event.data;
        let kind = string(data, "type")?;
        require(event.name.as_deref() == Some(kind), || {
            format!("it is named {:?}, unlike its type", event.name)
        })?;
        same(&data["sequence_number"], &Value::from(n), "sequence_number")?;
        require(self.phase != Phase::Over, || {
            "it follows the terminal event".to_owned()
        })?;
        let expected = match kind {
            "response.created" => Phase::Nothing,
            "response.queued" | "response.in_progress" => Phase::Created,
            _ => Phase::InProgress,
        };
        require(self.phase == expected, || {
            "its place in the stream is wrong".to_owned()
        })?;
        match kind {
            "response.created" | "response.queued" | "response.in_progress" => {
                self.early(kind, &data["response"])
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.phase = Phase::Over;
                self.terminal(kind, &data["response"])
            }
            "response.output_item.added" => self.added(data),
            "keepalive" => require(data.as_object().is_some_and(|keys| keys.len() == 2), || {
                "a keepalive says nothing".to_owned()
            }),
            _ => self.item_event(kind, data),
        }
    }

    /// A snapshot before any item.
    fn early(&mut self, kind: &str, response: &Value) -> Verdict {
        self.identity(response)?;
        let status = string(response, "status")?;
        match kind {
            "response.created" => {
                self.phase = Phase::Created;
                self.queued = status == "queued";
                require(self.queued || status == "in_progress", || {
                    format!("the status is {status}")
                })?;
            }
            "response.queued" => {
                require(self.queued, || {
                    "only a queued response is announced so".to_owned()
                })?;
                require(status == "queued", || format!("the status is {status}"))?;
            }
            _ => {
                self.phase = Phase::InProgress;
                require(status == "in_progress", || {
                    format!("the status is {status}")
                })?;
            }
        }
        same(
            &response["output"],
            &Value::Array(Vec::new()),
            "the early output",
        )?;
        for key in ["usage", "error", "incomplete_details", "completed_at"] {
            null(response, key)?;
        }
        Ok(())
    }

    /// The snapshot at the end.
    fn terminal(&mut self, kind: &str, response: &Value) -> Verdict {
        self.identity(response)?;
        let status = string(response, "status")?;
        require(kind.strip_prefix("response.") == Some(status), || {
            format!("the status is {status}")
        })?;
        usage(response, status)?;
        let output = array(response, "output")?;
        if status == "failed" {
            let error = &response["error"];
            for key in ["code", "message"] {
                require(!string(error, key)?.is_empty(), || {
                    format!("the error's {key} is empty")
                })?;
            }
            null(response, "incomplete_details")?;
            null(response, "completed_at")?;
            // What was open stays open; what was done may be shown once more.
            return require(
                output
                    .iter()
                    .all(|item| self.items.iter().any(|own| own.is(item))),
                || "the output has items that were not done".to_owned(),
            );
        }
        null(response, "error")?;
        require(self.items.len() == output.len(), || {
            format!(
                "{} items were added and {} are in the output",
                self.items.len(),
                output.len()
            )
        })?;
        for (own, item) in self.items.iter().zip(output) {
            let done = own.done.as_ref().ok_or("an item was never done")?;
            same(item, done, "an item of the output")?;
        }
        if status == "completed" {
            null(response, "incomplete_details")?;
            let (created, completed) = (
                count(response, "created_at")?,
                count(response, "completed_at")?,
            );
            require(created <= completed, || {
                "it was completed before it was created".to_owned()
            })?;
            let cut = |item: &Value| item["status"] == "incomplete";
            return require(!output.iter().any(cut), || {
                "an item of a completed response was cut".to_owned()
            });
        }
        null(response, "completed_at")?;
        let reason = string(&response["incomplete_details"], "reason")?;
        let known = [
            "max_output_tokens",
            "content_filter",
            "max_messages",
            "steered",
        ];
        require(known.contains(&reason), || format!("{reason} is no reason"))?;
        let last = output.last().filter(|item| item["status"] == "completed");
        require(last.is_none_or(may_be_whole), || {
            "the last item of a cut response was not cut".to_owned()
        })
    }

    fn identity(&mut self, response: &Value) -> Verdict {
        require(!string(response, "id")?.is_empty(), || {
            "the response has no id".to_owned()
        })?;
        string(response, "model")?;
        count(response, "created_at")?;
        same(&response["object"], &Value::from("response"), "object")?;
        let identity = ["id", "created_at", "model", "object"].map(|key| response[key].clone());
        match &self.identity {
            Some(known) => require(*known == identity, || {
                format!("it is about another response: {identity:?}")
            }),
            None => {
                self.identity = Some(identity);
                Ok(())
            }
        }
    }

    fn added(&mut self, data: &Value) -> Verdict {
        same(
            &data["output_index"],
            &Value::from(self.items.len()),
            "output_index",
        )?;
        let item = Item::added(&data["item"])?;
        require(self.items.iter().all(|other| other.id != item.id), || {
            "its id is taken".to_owned()
        })?;
        require(
            item.call_id.is_none() || self.items.iter().all(|other| other.call_id != item.call_id),
            || "its call_id is taken".to_owned(),
        )?;
        let sequential = |item: &Item| matches!(item.kind.as_str(), "message" | "reasoning");
        require(
            !sequential(&item)
                || !self
                    .items
                    .iter()
                    .any(|other| sequential(other) && other.done.is_none()),
            || "another message or thinking is still open".to_owned(),
        )?;
        self.items.push(item);
        Ok(())
    }

    fn item_event(&mut self, kind: &str, data: &Value) -> Verdict {
        let index = usize::try_from(count(data, "output_index")?).unwrap_or(usize::MAX);
        let item = self
            .items
            .get_mut(index)
            .ok_or("no item was added at its output_index")?;
        require(item.done.is_none(), || {
            "its item is done already".to_owned()
        })?;
        if kind == "response.output_item.done" {
            return item.close(&data["item"]);
        }
        same(&data["item_id"], &Value::from(item.id.as_str()), "item_id")?;
        item.event(kind, data)
    }
}

/// Token counts: there for what ended well, and adding up wherever they are.
fn usage(response: &Value, status: &str) -> Verdict {
    let usage = &response["usage"];
    if usage.is_null() && status == "failed" {
        return null(response, "usage");
    }
    let (input, output) = (
        count(usage, "input_tokens")?,
        count(usage, "output_tokens")?,
    );
    require(count(usage, "total_tokens")? == input + output, || {
        "total_tokens is no sum".to_owned()
    })?;
    for (whole, details, part) in [
        (input, "input_tokens_details", "cached_tokens"),
        (input, "input_tokens_details", "cache_write_tokens"),
        (output, "output_tokens_details", "reasoning_tokens"),
    ] {
        let part_count = count(&usage[details], part)?;
        require(part_count <= whole, || {
            format!("{part} is more than the whole")
        })?;
    }
    Ok(())
}

/// Whether the last item of a cut response may count as whole all the same: the cut can have come
/// just after a call, but a message goes on until something else begins.
fn may_be_whole(item: &Value) -> bool {
    match item["type"].as_str() {
        Some("message") => false,
        Some("function_call") => {
            let arguments = item["arguments"].as_str().unwrap_or_default();
            serde_json::from_str::<Value>(arguments).is_ok()
        }
        _ => true,
    }
}

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn same(found: &Value, expected: &Value, what: &str) -> Verdict {
    require(found == expected, || {
        format!("{what} is {found}, not {expected}")
    })
}

/// The key must be there, with a null.
fn null(value: &Value, key: &str) -> Verdict {
    require(value.get(key) == Some(&Value::Null), || {
        format!("{key} is {}, not null", value[key])
    })
}

fn string<'v>(value: &'v Value, key: &str) -> Result<&'v str, String> {
    value[key]
        .as_str()
        .ok_or_else(|| format!("{key} is {}, no string", value[key]))
}

fn count(value: &Value, key: &str) -> Result<u64, String> {
    value[key]
        .as_u64()
        .ok_or_else(|| format!("{key} is {}, no whole number", value[key]))
}

fn array<'v>(value: &'v Value, key: &str) -> Result<&'v Vec<Value>, String> {
    value[key]
        .as_array()
        .ok_or_else(|| format!("{key} is {}, no list", value[key]))
}
