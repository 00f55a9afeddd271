//! Reads a stream of server-sent events as a strict client would: whatever is not a whole, named,
//! well-formed event is a failure of the test.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SseEvent {
    /// What stands behind `event:`, if that is there.
    pub(crate) name: Option<String>,
    /// What stands behind `data:`, as JSON.
    pub(crate) data: Value,
}

impl SseEvent {
    /// The event's own type, or nothing.
    pub(crate) fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap_or_default()
    }
}

/// The events of a whole stream, without the `[DONE]` that may end it.
pub(crate) fn parse(bytes: &[u8]) -> Vec<SseEvent> {
    read(bytes).0
}

/// Whether the stream ends with `data: [DONE]`.
pub(crate) fn has_done(bytes: &[u8]) -> bool {
    read(bytes).1
}

/// All events of the frames that are whole, for a stream of which only the beginning was read.
pub(crate) fn parse_beginning(bytes: &[u8]) -> Vec<SseEvent> {
    let end = bytes.windows(2).rposition(|pair| pair == b"\n\n");
    parse(end.map_or(&[][..], |at| &bytes[..at + 2]))
}

/// Reads JSON in which no object has a key twice: readers differ in which of the two they take.
pub(crate) fn json(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Strict(value)) => value,
        Err(error) => panic!("no clean JSON, {error}: {text}"),
    }
}

fn read(bytes: &[u8]) -> (Vec<SseEvent>, bool) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("the stream: {error}"));
    let (mut events, mut done) = (Vec::new(), false);
    let mut rest = text;
    while !rest.is_empty() {
        let (frame, after) = rest
            .split_once("\n\n")
            .unwrap_or_else(|| panic!("the stream was cut inside of a frame: {rest:?}"));
        rest = after;
        let Some((name, data)) = fields(frame) else {
            continue;
        };
        assert!(!done, "something follows [DONE]: {frame}");
        if data == "[DONE]" {
            assert_eq!(name, None, "[DONE] has no name");
            done = true;
            continue;
        }
        let data = json(&data);
        events.push(SseEvent { name, data });
    }
    (events, done)
}

/// The name and the data of a frame; nothing where it has only comments.
fn fields(frame: &str) -> Option<(Option<String>, String)> {
    let mut name = None;
    let mut data: Option<String> = None;
    for line in frame.split('\n').filter(|line| !line.starts_with(':')) {
        let (field, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("a line without a field: {line:?}"));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = Some(value.to_owned()),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => panic!("an event stream has no field {field:?}: {line}"),
        }
    }
    data.map(|data| (name, data))
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((key, Strict(value))) = map.next_entry::<String, _>()? {
            if values.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("the key `{key}` is there twice")));
            }
        }
        Ok(values.into())
    }
}

#[test]
fn a_stream_is_read_into_its_events() {
    let stream = b": hello\n\nevent: a\ndata: {\"type\":\"a\"}\n\ndata: 1\n\ndata: [DONE]\n\n";
    let events = parse(stream);
    assert_eq!(events.len(), 2);
    assert_eq!(
        (events[0].name.as_deref(), events[0].kind()),
        (Some("a"), "a")
    );
    assert_eq!(
        (events[1].name.as_deref(), &events[1].data),
        (None, &Value::from(1))
    );
    assert!(has_done(stream));
    assert!(!has_done(b"data: 1\n\n"));
    assert_eq!(
        parse_beginning(b"data: 1\n\ndata: {\"ty"),
        parse(b"data: 1\n\n")
    );
}

#[test]
fn a_broken_stream_is_not_read() {
    let twice = "data: {\"a\":1,\"b\":{},\"a\":1}\n\n";
    for stream in [
        twice,
        "data: 1\n",
        "data: {\n\n",
        "data\n\n",
        "data: [DONE]\n\ndata: 1\n\n",
    ] {
        let read = std::panic::catch_unwind(|| parse(stream.as_bytes()));
        assert!(read.is_err(), "{stream:?}");
    }
}
