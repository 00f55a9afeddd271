//! Items as they are kept: each with an id, a status, and the keys that readers of a list rely on.
//!
//! An item's id is its response's with another prefix and a number: `msg_` + 32 hex digits of the
//! response + at least 4 of the item. So the response that has an item is known by the item's id.

mod input;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use input::keep_input;

use super::error::ErrorObject;
use crate::json::tree::Tree;
use crate::json::{self, Text};

/// The hex digits of an id that belong to the response.
const RESPONSE_DIGITS: usize = 32;
/// The number of a response's first input item; its output items count from 0.
const FIRST_INPUT: usize = 0x8000;

/// The longest id of a client's own that is kept: longer ones do not fit into an index.
const MAX_ID: usize = 512;

/// Items that are kept, as a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptList {
    /// The list, without its end.
    json: Vec<u8>,
    items: Vec<KeptItem>,
}

/// An item of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KeptItem {
    id: String,
    /// Where it stands.
    place: Range<usize>,
}

impl Default for KeptList {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl KeptList {
    /// An empty list, with room for items of so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut json = Vec::with_capacity(bytes + bytes / 8 + 2);
        json.push(b'[');
        Self {
            json,
            items: Vec::new(),
        }
    }

    /// Adds the item that `write` writes, with the id in it.
    pub fn push(&mut self, id: String, write: impl FnOnce(&str, &mut Vec<u8>)) {
        if !self.items.is_empty() {
            self.json.push(b',');
        }
        let start = self.json.len();
        write(&id, &mut self.json);
        let place = start..self.json.len();
        self.items.push(KeptItem { id, place });
    }

    /// The items, each with its id, as JSON.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.items.iter().map(|item| {
            let json = self.json.get(item.place.clone());
            (item.id.as_str(), json.unwrap_or_default())
        })
    }

    /// The list as JSON.
    #[must_use]
    pub fn into_json(mut self) -> Vec<u8> {
        self.json.push(b']');
        self.json
    }
}

/// The prefix of an item's id.
fn prefix(kind: &str) -> &'static str {
    match kind {
        "message" => "msg",
        "function_call" => "fc",
        "function_call_output" => "fco",
        "custom_tool_call" => "ctc",
        "custom_tool_call_output" => "ctco",
        "reasoning" => "rs",
        "compaction" | "context_compaction" => "cmp",
        "local_shell_call" => "lsh",
        "local_shell_call_output" => "lsho",
        "shell_call" => "sh",
        "shell_call_output" => "sho",
        "apply_patch_call" => "apc",
        "apply_patch_call_output" => "apco",
        "tool_search_call" => "tsc",
        "tool_search_output" => "tso",
        "additional_tools" => "at",
        "agent_message" => "amsg",
        "web_search_call" => "ws",
        "file_search_call" => "fs",
        "code_interpreter_call" => "ci",
        "image_generation_call" => "ig",
        "computer_call" | "computer_call_output" => "cu",
        "mcp_call" => "mcp",
        "mcp_list_tools" => "mcpl",
        "mcp_approval_request" | "mcp_approval_response" => "mcpr",
        _ => "item",
    }
}

/// The id of the response that made (or was sent) the item of this id, if the id is one of ours.
#[must_use]
pub fn response_of(item: &str) -> Option<String> {
    let (_, digits) = item.split_once('_')?;
    let is_ours =
        digits.len() >= RESPONSE_DIGITS + 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_ours.then(|| {
        let own = digits.get(..RESPONSE_DIGITS).unwrap_or_default();
        format!("resp_{own}")
    })
}

/// The digits of a response's id.
#[must_use]
pub fn digits_of(response: &str) -> &str {
    response
        .split_once('_')
        .map_or(response, |(_, digits)| digits)
}

/// A list of items as JSON.
#[must_use]
pub fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::from("[");
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push_str(item);
    }
    out.push(']');
    out
}

/// The items of a kept list, each with its id.
#[must_use]
pub fn split(list: &[u8]) -> Vec<(Text<'_>, &RawValue)> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Id<'a> {
        #[serde(default)]
        id: Option<Text<'a>>,
    }

    let items: Vec<&RawValue> = json::from_slice(list).unwrap_or_default();
    let id_of = |raw: &'_ RawValue| -> Option<String> {
        let Id { id } = json::from_str(raw.get()).ok()?;
        id.map(|id| id.to_string())
    };
    items
        .into_iter()
        .map(|raw| (Text::from(id_of(raw).unwrap_or_default()), raw))
        .collect()
}

/// The item as it is shown: what was sealed is shown only to those who ask for it.
#[must_use]
pub fn show(item: &RawValue, sealed: bool) -> String {
    let text = item.get();
    if sealed || !text.contains("\"encrypted_content\"") {
        return text.to_owned();
    }
    let Some(mut tree) = Tree::parse(text) else {
        return text.to_owned();
    };
    if tree.get("type").and_then(Tree::as_str) == Some("reasoning") {
        tree.remove("encrypted_content");
    }
    let mut shown = String::with_capacity(text.len());
    tree.write(&mut shown);
    shown
}

/// A kept response object with its output put back in.
#[must_use]
pub fn join(body: &[u8], output: &[u8], sealed: bool) -> Vec<u8> {
    let items = split(output);
    let shown: Vec<String> = items.iter().map(|(_, raw)| show(raw, sealed)).collect();
    let output = list(shown.iter().map(String::as_str));
    let mut whole = body.trim_ascii_end().to_vec();
    whole.pop();
    whole.extend_from_slice(b",\"output\":");
    whole.extend_from_slice(output.as_bytes());
    whole.push(b'}');
    whole
}

/// What is written of a page of items: `{"object":"list","data":[…],…}`.
#[must_use]
pub fn page(items: &[(String, String)], has_more: bool) -> String {
    let mut out = String::from("{\"object\":\"list\",\"data\":");
    out.push_str(&list(items.iter().map(|(_, json)| json.as_str())));
    let id = |item: Option<&(String, String)>| {
        item.map_or_else(
            || "null".to_owned(),
            |(id, _)| {
                let mut text = String::new();
                Tree::string(id.as_str()).write(&mut text);
                text
            },
        )
    };
    let (first, last) = (id(items.first()), id(items.last()));
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        ",\"first_id\":{first},\"last_id\":{last},\"has_more\":{has_more}}}"
    );
    out
}

/// A kept response object that came to another end than it would have: `status`, and the error of
/// one that failed.
#[must_use]
pub fn ended(body: &[u8], status: &str, error: Option<&ErrorObject>) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let Some(mut tree) = Tree::parse(&text) else {
        return body.to_vec();
    };
    tree.insert("status", Tree::string(status));
    tree.insert("completed_at", Tree::Null);
    let error = match error {
        None => Tree::Null,
        Some(error) => {
            let mut object = Tree::object();
            let code = error.code.as_deref().unwrap_or("server_error");
            object.insert("code", Tree::string(code.to_owned()));
            object.insert("message", Tree::string(error.message.clone()));
            object
        }
    };
    tree.insert("error", error);
    let mut out = String::with_capacity(text.len());
    tree.write(&mut out);
    out.into_bytes()
}
