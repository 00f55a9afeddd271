//! The events of a response that is over, made from its items: each delta is the whole text.

use super::kept;
use crate::json::tree::Tree;

/// One event: its `type` and its JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Its `sequence_number`.
    pub sequence: u64,
    /// Its `type`.
    pub kind: &'static str,
    /// The event.
    pub json: String,
}

/// All events of a response. `body` is the response object without its output, `output` the list of
/// its items; sealed content is among them only if it was asked for.
#[must_use]
pub fn replay(body: &[u8], output: &[u8], sealed: bool) -> Vec<Replayed> {
    let mut events = Events(Vec::new());
    let last = kept::join(body, output, sealed);
    let last = String::from_utf8_lossy(&last);
    let begun = kept::ended(body, "in_progress", None);
    let begun = self::begun(&begun);
    for kind in ["response.created", "response.in_progress"] {
        events.push(kind, vec![("response", Tree::Raw(begun.as_str().into()))]);
    }
    for (index, (_, raw)) in kept::split(output).into_iter().enumerate() {
        let shown = kept::show(raw, sealed);
        if let Some(item) = Tree::parse(&shown) {
            events.item(&item, index);
        }
    }
    let status = Tree::parse(&last).and_then(|tree| Some(tree.get("status")?.as_str()?.to_owned()));
    let kind = match status.as_deref() {
        Some("completed") => "response.completed",
        Some("incomplete") => "response.incomplete",
        _ => "response.failed",
    };
    events.push(kind, vec![("response", Tree::Raw(last.as_ref().into()))]);
    events.0
}

/// The response object as it was at the beginning.
#[must_use]
pub fn begun(body: &[u8]) -> String {
    let body = &*String::from_utf8_lossy(body);
    let Some(mut tree) = Tree::parse(body) else {
        return body.to_owned();
    };
    tree.insert("incomplete_details", Tree::Null);
    tree.insert("usage", Tree::Null);
    tree.insert("output", Tree::Array(Vec::new()));
    let mut out = String::new();
    tree.write(&mut out);
    out
}

struct Events(Vec<Replayed>);

impl Events {
    fn push(&mut self, kind: &'static str, fields: Vec<(&'static str, Tree<'_>)>) {
        let sequence = self.0.len();
        let mut event = Tree::object();
        event.insert("type", Tree::string(kind));
        event.insert("sequence_number", Tree::Number(sequence.to_string().into()));
        for (key, value) in fields {
            event.insert(key, value);
        }
        let mut json = String::new();
        event.write(&mut json);
        self.0.push(Replayed {
            sequence: u64::try_from(sequence).unwrap_or(u64::MAX),
            kind,
            json,
        });
    }

    fn item(&mut self, item: &Tree<'_>, index: usize) {
        let kind = item.get("type").and_then(Tree::as_str).unwrap_or_default();
        self.push(
            "response.output_item.added",
            vec![("output_index", number(index)), ("item", empty(item, kind))],
        );
        let place = Place {
            id: item.get("id").and_then(Tree::as_str).unwrap_or_default(),
            index,
        };
        match kind {
            "message" => self.parts(item, "content", &place),
            "reasoning" => {
                self.parts(item, "summary", &place);
                self.parts(item, "content", &place);
            }
            "function_call" => self.payload(item, "arguments", &ARGUMENTS, &place),
            "custom_tool_call" => self.payload(item, "input", &INPUT, &place),
            "compaction" => self.push("response.compaction.compacting", place.fields()),
            _ => {}
        }
        self.push(
            "response.output_item.done",
            vec![("output_index", number(index)), ("item", item.clone())],
        );
    }

    fn payload(&mut self, item: &Tree<'_>, key: &'static str, kinds: &Kinds, place: &Place<'_>) {
        let text = item.get(key).and_then(Tree::as_str).unwrap_or_default();
        if !text.is_empty() {
            let mut fields = place.fields();
            fields.push(("delta", Tree::string(text)));
            self.push(kinds.delta, fields);
        }
        let mut fields = place.fields();
        fields.push((key, Tree::string(text)));
        self.push(kinds.done, fields);
    }

    fn parts(&mut self, item: &Tree<'_>, list: &str, place: &Place<'_>) {
        let parts = item.get(list).and_then(Tree::as_array).unwrap_or_default();
        for (n, part) in parts.iter().enumerate() {
            self.part(part, n, place);
        }
    }

    fn part(&mut self, part: &Tree<'_>, n: usize, place: &Place<'_>) {
        let kinds = match part.get("type").and_then(Tree::as_str) {
            Some("output_text") => &OUTPUT_TEXT,
            Some("refusal") => &REFUSAL,
            Some("summary_text") => &SUMMARY_TEXT,
            Some("reasoning_text") => &REASONING_TEXT,
            _ => return,
        };
        let fields = || {
            let mut fields = place.fields();
            fields.push((kinds.number, number(n)));
            fields
        };
        let text = part
            .get(kinds.text)
            .and_then(Tree::as_str)
            .unwrap_or_default();
        let logprobs = || {
            part.get("logprobs")
                .cloned()
                .unwrap_or(Tree::Array(Vec::new()))
        };
        let mut bare = part.clone();
        bare.insert(kinds.text, Tree::string(""));
        for key in ["annotations", "logprobs"] {
            if bare.has(key) {
                bare.insert(key, Tree::Array(Vec::new()));
            }
        }
        let mut added = fields();
        added.push(("part", bare));
        self.push(kinds.added, added);
        let has_logprobs = kinds.delta == OUTPUT_TEXT.delta;
        if !text.is_empty() {
            let mut delta = fields();
            delta.push(("delta", Tree::string(text)));
            if has_logprobs {
                delta.push(("logprobs", logprobs()));
            }
            self.push(kinds.delta, delta);
        }
        let noted = part.get("annotations").and_then(Tree::as_array);
        for (at, annotation) in noted.unwrap_or_default().iter().enumerate() {
            let mut note = fields();
            note.push(("annotation_index", number(at)));
            note.push(("annotation", annotation.clone()));
            self.push("response.output_text.annotation.added", note);
        }
        let mut done = fields();
        done.push((kinds.text, Tree::string(text)));
        if has_logprobs {
            done.push(("logprobs", logprobs()));
        }
        self.push(kinds.done, done);
        let mut whole = fields();
        whole.push(("part", part.clone()));
        self.push(kinds.part_done, whole);
    }
}

/// An item and its place in the output.
struct Place<'a> {
    id: &'a str,
    index: usize,
}

impl<'a> Place<'a> {
    fn fields(&self) -> Vec<(&'static str, Tree<'a>)> {
        vec![
            ("item_id", Tree::string(self.id)),
            ("output_index", number(self.index)),
        ]
    }
}

/// The events of a call's payload.
struct Kinds {
    delta: &'static str,
    done: &'static str,
}

const ARGUMENTS: Kinds = Kinds {
    delta: "response.function_call_arguments.delta",
    done: "response.function_call_arguments.done",
};
const INPUT: Kinds = Kinds {
    delta: "response.custom_tool_call_input.delta",
    done: "response.custom_tool_call_input.done",
};

/// The events of a part, the key of its text, and the key of its number.
struct PartKinds {
    text: &'static str,
    number: &'static str,
    added: &'static str,
    delta: &'static str,
    done: &'static str,
    part_done: &'static str,
}

const OUTPUT_TEXT: PartKinds = PartKinds {
    text: "text",
    number: "content_index",
    added: "response.content_part.added",
    delta: "response.output_text.delta",
    done: "response.output_text.done",
    part_done: "response.content_part.done",
};
const REFUSAL: PartKinds = PartKinds {
    text: "refusal",
    delta: "response.refusal.delta",
    done: "response.refusal.done",
    ..OUTPUT_TEXT
};
const REASONING_TEXT: PartKinds = PartKinds {
    delta: "response.reasoning_text.delta",
    done: "response.reasoning_text.done",
    ..OUTPUT_TEXT
};
const SUMMARY_TEXT: PartKinds = PartKinds {
    text: "text",
    number: "summary_index",
    added: "response.reasoning_summary_part.added",
    delta: "response.reasoning_summary_text.delta",
    done: "response.reasoning_summary_text.done",
    part_done: "response.reasoning_summary_part.done",
};

fn number<'a>(value: usize) -> Tree<'a> {
    Tree::Number(value.to_string().into())
}

/// An item as it was when it was added.
fn empty<'a>(item: &Tree<'a>, kind: &str) -> Tree<'a> {
    let mut item = item.clone();
    if item.has("status") {
        item.insert("status", Tree::string("in_progress"));
    }
    match kind {
        "message" => _ = item.insert("content", Tree::Array(Vec::new())),
        "reasoning" => {
            item.insert("summary", Tree::Array(Vec::new()));
            item.remove("content");
            item.remove("encrypted_content");
        }
        "function_call" => _ = item.insert("arguments", Tree::string("")),
        "custom_tool_call" => _ = item.insert("input", Tree::string("")),
        "compaction" => _ = item.insert("encrypted_content", Tree::string("")),
        _ => {}
    }
    item
}
