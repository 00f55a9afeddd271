//! One item of a stream: it is added empty, grows by deltas, and is done with what they said.

use serde_json::{Value, json};

use super::{Verdict, array, require, same, string};

/// The calls whose payload is not streamed: they may be added whole.
const WHOLE_CALLS: [&str; 4] = [
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "tool_search_call",
];

/// An item, as far as its events tell.
pub(super) struct Item {
    pub(super) id: String,
    pub(super) kind: String,
    /// The id that the output of a call refers to.
    pub(super) call_id: Option<String>,
    /// The item of `output_item.done`.
    pub(super) done: Option<Value>,
    added: Value,
    /// Parts of a summary, and of the content.
    summary: Vec<Part>,
    content: Vec<Part>,
    /// What a call is given.
    payload: Text,
}

/// Text that arrives in pieces.
#[derive(Default)]
struct Text {
    so_far: String,
    done: bool,
}

struct Part {
    kind: String,
    text: Text,
    annotations: Vec<Value>,
    logprobs: Vec<Value>,
    closed: bool,
}

impl Item {
    /// Takes the item of `output_item.added`.
    pub(super) fn added(item: &Value) -> Result<Self, String> {
        let (id, kind) = (string(item, "id")?, string(item, "type")?);
        require(!id.is_empty(), || "the item has no id".to_owned())?;
        let empty = |key: &str, value: Value| same(&item[key], &value, key);
        let mut call_id = None;
        match kind {
            "message" => {
                empty("role", "assistant".into())?;
                empty("content", json!([]))?;
                empty("status", "in_progress".into())?;
            }
            "reasoning" => {
                empty("summary", json!([]))?;
                for key in ["content", "encrypted_content"] {
                    require(
                        item.get(key).is_none_or(|value| *value == json!([])),
                        || format!("{key} is there already"),
                    )?;
                }
            }
            "compaction" => empty("encrypted_content", "".into())?,
            _ => {
                match payload_key(kind) {
                    Some(key) => {
                        empty(key, "".into())?;
                        require(!string(item, "name")?.is_empty(), || {
                            "the call has no name".to_owned()
                        })?;
                    }
                    None => require(WHOLE_CALLS.contains(&kind), || {
                        format!("there is no item {kind}")
                    })?,
                }
                let own = string(item, "call_id")?;
                require(!own.is_empty(), || "the call has no call_id".to_owned())?;
                empty("status", "in_progress".into())?;
                call_id = Some(own.to_owned());
            }
        }
        Ok(Self {
            id: id.to_owned(),
            kind: kind.to_owned(),
            call_id,
            done: None,
            added: item.clone(),
            summary: Vec::new(),
            content: Vec::new(),
            payload: Text::default(),
        })
    }

    /// Whether this item was done as `item`.
    pub(super) fn is(&self, item: &Value) -> bool {
        self.done.as_ref() == Some(item)
    }

    /// Takes an event between the two.
    pub(super) fn event(&mut self, kind: &str, data: &Value) -> Verdict {
        let kind = kind.strip_prefix("response.").unwrap_or(kind);
        match kind {
            "content_part.added" => return self.open_part(data, false),
            "reasoning_summary_part.added" => return self.open_part(data, true),
            "content_part.done" => return self.part(data, false)?.close(&data["part"]),
            "reasoning_summary_part.done" => return self.part(data, true)?.close(&data["part"]),
            "output_text.annotation.added" => return self.part(data, false)?.annotate(data),
            "compaction.compacting" => {
                return require(self.kind == "compaction", || {
                    format!("a {} is not compacted", self.kind)
                });
            }
            _ => {}
        }
        let (stem, step) = kind.rsplit_once('.').ok_or("there is no such event")?;
        let (part, key, summary) = match stem {
            "output_text" => ("output_text", "text", false),
            "refusal" => ("refusal", "refusal", false),
            "reasoning_text" => ("reasoning_text", "text", false),
            "reasoning_summary_text" => ("summary_text", "text", true),
            "function_call_arguments" if self.kind == "function_call" => ("", "arguments", false),
            "custom_tool_call_input" if self.kind == "custom_tool_call" => ("", "input", false),
            _ => return Err(format!("there is no such event for a {}", self.kind)),
        };
        if part.is_empty() {
            return self.payload.step(step, data, key);
        }
        let own = self.part(data, summary)?;
        require(own.kind == part, || format!("the part is a {}", own.kind))?;
        if part == "output_text" {
            let logprobs = array(data, "logprobs")?;
            match step {
                "delta" => own.logprobs.extend(logprobs.iter().cloned()),
                _ => require(own.logprobs == *logprobs, || {
                    "the logprobs differ from those of the deltas".to_owned()
                })?,
            }
        }
        own.text.step(step, data, key)
    }

    /// Takes the item of `output_item.done`.
    pub(super) fn close(&mut self, item: &Value) -> Verdict {
        for key in [
            "id",
            "type",
            "role",
            "call_id",
            "name",
            "namespace",
            "execution",
        ] {
            same(&item[key], &self.added[key], key)?;
        }
        let open = self
            .summary
            .iter()
            .chain(&self.content)
            .any(|part| !part.closed);
        require(!open, || "a part is still open".to_owned())?;
        let whole = |parts: &[Part]| parts.iter().map(Part::whole).collect::<Value>();
        match self.kind.as_str() {
            "message" => {
                require(!self.content.is_empty(), || {
                    "the message has no parts".to_owned()
                })?;
                same(&item["content"], &whole(&self.content), "content")?;
            }
            "reasoning" => {
                same(&item["summary"], &whole(&self.summary), "summary")?;
                let content = item.get("content").unwrap_or(&Value::Null);
                let expected = whole(&self.content);
                require(
                    *content == expected || (self.content.is_empty() && content.is_null()),
                    || format!("content is {content}, not {expected}"),
                )?;
                if let Some(sealed) = item.get("encrypted_content") {
                    require(
                        sealed.as_str().is_some_and(|sealed| !sealed.is_empty()),
                        || format!("encrypted_content is {sealed}"),
                    )?;
                }
            }
            kind => {
                if let Some(key) = payload_key(kind) {
                    require(self.payload.done, || format!("{key} was never done"))?;
                    same(&item[key], &Value::from(self.payload.so_far.as_str()), key)?;
                }
            }
        }
        let status = item["status"].as_str();
        if self.kind == "compaction" {
            require(!string(item, "encrypted_content")?.is_empty(), || {
                "it sums up nothing".to_owned()
            })?;
        }
        let may_lack = ["reasoning", "compaction"].contains(&self.kind.as_str());
        let without = may_lack && item.get("status").is_none();
        require(
            without || matches!(status, Some("completed" | "incomplete")),
            || format!("its status is {}", item["status"]),
        )?;
        self.done = Some(item.clone());
        Ok(())
    }

    fn open_part(&mut self, data: &Value, summary: bool) -> Verdict {
        let part = &data["part"];
        let kind = string(part, "type")?;
        let fits = match (self.kind.as_str(), summary) {
            ("message", false) => matches!(kind, "output_text" | "refusal"),
            ("reasoning", false) => kind == "reasoning_text",
            ("reasoning", true) => kind == "summary_text" && self.content.is_empty(),
            _ => false,
        };
        require(fits, || format!("a {} has no {kind} here", self.kind))?;
        let open = self
            .summary
            .iter()
            .chain(&self.content)
            .any(|part| !part.closed);
        require(!open, || "another part is still open".to_owned())?;
        let new = Part {
            kind: kind.to_owned(),
            text: Text::default(),
            annotations: Vec::new(),
            logprobs: Vec::new(),
            closed: false,
        };
        same(part, &new.whole(), "the empty part")?;
        let (key, parts) = match summary {
            true => ("summary_index", &mut self.summary),
            false => ("content_index", &mut self.content),
        };
        same(&data[key], &Value::from(parts.len()), key)?;
        parts.push(new);
        Ok(())
    }

    /// The open part that an event is about.
    fn part(&mut self, data: &Value, summary: bool) -> Result<&mut Part, String> {
        let (key, parts) = match summary {
            true => ("summary_index", &mut self.summary),
            false => ("content_index", &mut self.content),
        };
        let index = data[key]
            .as_u64()
            .and_then(|index| usize::try_from(index).ok());
        let part = index.and_then(|index| parts.get_mut(index));
        let part =
            part.ok_or_else(|| format!("{key} is {}, and no part was added there", data[key]))?;
        require(!part.closed, || "its part is done already".to_owned())?;
        Ok(part)
    }
}

impl Part {
    fn annotate(&mut self, data: &Value) -> Verdict {
        require(self.kind == "output_text", || {
            format!("a {} has no annotations", self.kind)
        })?;
        require(!self.text.done, || "the text is done already".to_owned())?;
        same(
            &data["annotation_index"],
            &Value::from(self.annotations.len()),
            "annotation_index",
        )?;
        string(&data["annotation"], "type")?;
        self.annotations.push(data["annotation"].clone());
        Ok(())
    }

    fn close(&mut self, part: &Value) -> Verdict {
        require(self.text.done, || "its text was never done".to_owned())?;
        same(part, &self.whole(), "the part")?;
        self.closed = true;
        Ok(())
    }

    /// The part as its events made it.
    fn whole(&self) -> Value {
        let text = &self.text.so_far;
        match self.kind.as_str() {
            "output_text" => json!({
                "type": "output_text",
                "text": text,
                "annotations": self.annotations,
                "logprobs": self.logprobs,
            }),
            "refusal" => json!({"type": "refusal", "refusal": text}),
            kind => json!({"type": kind, "text": text}),
        }
    }
}

impl Text {
    /// Takes a delta, or the whole text that must be the sum of all deltas.
    fn step(&mut self, step: &str, data: &Value, key: &str) -> Verdict {
        require(!self.done, || format!("{key} is done already"))?;
        match step {
            "delta" => {
                self.so_far.push_str(string(data, "delta")?);
                Ok(())
            }
            "done" => {
                self.done = true;
                same(&data[key], &Value::from(self.so_far.as_str()), key)
            }
            _ => Err("there is no such event".to_owned()),
        }
    }
}

fn payload_key(kind: &str) -> Option<&'static str> {
    match kind {
        "function_call" => Some("arguments"),
        "custom_tool_call" => Some("input"),
        _ => None,
    }
}
