//! What a client sends, brought into the form in which it is kept: each item gets the keys that readers
//! of a list rely on. All else of it is copied as it was written, unread.

use serde_json::value::RawValue;

use super::{FIRST_INPUT, KeptList, MAX_ID, prefix};
use crate::json::lenient::Loose;
use crate::json::{self, Members, Spanned, Text, write_string};

/// Reads a request's `input` (or items that are added to a conversation) for keeping. `digits` are
/// those of the response; `resolve` finds the JSON of an item that is referred to.
#[must_use]
pub fn keep_input<'a>(
    input: &'a RawValue,
    digits: &str,
    resolve: impl Fn(&str) -> Option<&'a str>,
) -> KeptList {
    let mut kept = KeptList::with_capacity(input.get().len());
    if input.get().starts_with('"') {
        let id = own_id("message", digits, FIRST_INPUT);
        kept.push(id, |id, out| spoken(out, id, input));
        return kept;
    }
    let items: Vec<Spanned<'a, Loose<Members<'a>>>> = json::from_raw(input).unwrap_or_default();
    for (n, item) in items.into_iter().enumerate() {
        let Some(item) = follow(item, &resolve) else {
            continue;
        };
        let members = &item.value;
        let kind = members.text("type");
        let kind = kind.unwrap_or_else(|| Text::from("message"));
        let known = members.text("id");
        let known = known.filter(|id| !id.is_empty() && id.len() <= MAX_ID);
        let has_id = known.is_some();
        let id = match known {
            Some(id) => id.to_string(),
            None => own_id(&kind, digits, FIRST_INPUT + n),
        };
        kept.push(id, |id, out| {
            Item {
                members,
                raw: item.raw,
                kind: &kind,
                id,
                has_id,
            }
            .write(out);
        });
    }
    kept
}

/// The id that an item of a response gets.
fn own_id(kind: &str, digits: &str, number: usize) -> String {
    format!("{}_{digits}{number:04x}", prefix(kind))
}

/// A message of a person that is nothing but text.
fn spoken(out: &mut Vec<u8>, id: &str, text: &RawValue) {
    out.extend_from_slice(b"{\"type\":\"message\",\"id\":");
    write_string(out, id);
    out.extend_from_slice(b",\"role\":\"user\",\"content\":");
    content(out, text, "input_text");
    out.extend_from_slice(b",\"status\":\"completed\"}");
}

/// The item itself, or the one it refers to; nothing if that is not there, or no object.
fn follow<'a>(
    item: Spanned<'a, Loose<Members<'a>>>,
    resolve: &impl Fn(&str) -> Option<&'a str>,
) -> Option<Spanned<'a, Members<'a>>> {
    let (value, raw) = (item.value.0?, item.raw);
    let refers = match value.text("type") {
        Some(kind) => kind.as_str() == "item_reference",
        None => !value.has("role") && !value.has("content"),
    };
    match refers {
        false => Some(Spanned { value, raw }),
        true => json::from_str(resolve(&value.text("id")?)?).ok(),
    }
}

/// An item on its way into a list.
struct Item<'i, 'a> {
    members: &'i Members<'a>,
    /// Its text, if it is to be had.
    raw: Option<&'i RawValue>,
    kind: &'i str,
    id: &'i str,
    /// Whether that id is the client's own.
    has_id: bool,
}

impl Item<'_, '_> {
    /// Writes the item with what clients may leave out and readers rely on.
    fn write(&self, out: &mut Vec<u8>) {
        let mut gap = match self.untouched() {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                b','
            }
            None => {
                let mut gap = b'{';
                for (key, value) in self.members.iter() {
                    member(out, &mut gap, key);
                    self.write_value(out, key, value);
                }
                gap
            }
        };
        let mut missing = |key: &str, wanted: bool, value: &[u8]| {
            if wanted && !self.members.has(key) {
                member(out, &mut gap, key);
                out.extend_from_slice(value);
            }
        };
        missing("type", true, b"\"message\"");
        if !self.has_id {
            let mut id = Vec::with_capacity(self.id.len() + 16);
            write_string(&mut id, self.id);
            missing("id", true, &id);
        }
        missing("content", self.is_message(), b"[]");
        missing("summary", self.kind == "reasoning", b"[]");
        missing("status", self.has_status(), b"\"completed\"");
        out.push(b'}');
    }

    /// The text of the item up to its end, if nothing is to be changed before that.
    fn untouched(&self) -> Option<&str> {
        let text = self.raw?.get().strip_suffix('}')?;
        let mut members = self.members.iter().peekable();
        // Nothing is put behind nothing.
        members.peek()?;
        let touched = members.any(|(key, value)| self.touches(key, value));
        (!touched && !self.members.had_repeats()).then_some(text)
    }

    /// Whether a value is not kept as it is.
    fn touches(&self, key: &str, value: &RawValue) -> bool {
        match key {
            "type" => !value.get().starts_with('"'),
            "id" => !self.has_id,
            "status" => self.has_status() && value.get() == "null",
            "content" => self.is_message(),
            _ => false,
        }
    }

    fn write_value(&self, out: &mut Vec<u8>, key: &str, value: &RawValue) {
        match key {
            _ if !self.touches(key, value) => out.extend_from_slice(value.get().as_bytes()),
            "type" => write_string(out, self.kind),
            "id" => write_string(out, self.id),
            "status" => write_string(out, "completed"),
            _ => content(out, value, self.text_kind()),
        }
    }

    fn is_message(&self) -> bool {
        self.kind == "message"
    }

    fn has_status(&self) -> bool {
        self.is_message() || self.kind.ends_with("_call") || self.kind.ends_with("_call_output")
    }

    /// What a part of text is called in this message.
    fn text_kind(&self) -> &'static str {
        let by_model = self.members.text("role").as_deref() == Some("assistant");
        if by_model {
            "output_text"
        } else {
            "input_text"
        }
    }
}

/// Writes the content of a message as a list of parts.
fn content(out: &mut Vec<u8>, value: &RawValue, text_kind: &str) {
    out.push(b'[');
    match value.get().as_bytes().first() {
        Some(b'"') => {
            out.extend_from_slice(b"{\"type\":");
            write_string(out, text_kind);
            out.extend_from_slice(b",\"text\":");
            out.extend_from_slice(value.get().as_bytes());
            if text_kind == "output_text" {
                out.extend_from_slice(b",\"annotations\":[]");
            }
            out.push(b'}');
        }
        Some(b'{') => part(out, value, text_kind),
        Some(b'[') => {
            let parts: Vec<&RawValue> = json::from_raw(value).unwrap_or_default();
            for (n, raw) in parts.into_iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                part(out, raw, text_kind);
            }
        }
        _ => {}
    }
    out.push(b']');
}

/// Writes a part with what clients may leave out or call by another name.
fn part(out: &mut Vec<u8>, raw: &RawValue, text_kind: &str) {
    let Ok(Loose(Some(members))) = json::from_raw::<Loose<Members<'_>>>(raw) else {
        out.extend_from_slice(raw.get().as_bytes());
        return;
    };
    let told = members.text("type");
    let is_text = matches!(
        told.as_deref(),
        None | Some("text" | "input_text" | "output_text")
    );
    let kind = match is_text && members.has("text") {
        true => Some(text_kind),
        false => told.as_deref(),
    };
    let missing: Option<(&str, &[u8])> = match kind {
        Some("input_image") if !members.has("detail") => Some(("detail", b"\"auto\"")),
        Some("output_text") if !members.has("annotations") => Some(("annotations", b"[]")),
        _ => None,
    };
    if missing.is_none() && kind == told.as_deref() {
        out.extend_from_slice(raw.get().as_bytes());
        return;
    }
    let mut gap = b'{';
    for (key, value) in members.iter() {
        member(out, &mut gap, key);
        match (key, kind) {
            ("type", Some(kind)) => write_string(out, kind),
            _ => out.extend_from_slice(value.get().as_bytes()),
        }
    }
    if let (false, Some(kind)) = (members.has("type"), kind) {
        member(out, &mut gap, "type");
        write_string(out, kind);
    }
    if let Some((key, value)) = missing {
        member(out, &mut gap, key);
        out.extend_from_slice(value);
    }
    out.push(b'}');
}

/// Writes a key and what stands before and behind it.
fn member(out: &mut Vec<u8>, gap: &mut u8, key: &str) {
    out.push(std::mem::replace(gap, b','));
    write_string(out, key);
    out.push(b':');
}
