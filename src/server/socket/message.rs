//! What goes over a WebSocket.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

use crate::json::Text;
use crate::json::tree::Tree;
use crate::responses::ErrorObject;
use crate::server::UnderWay;
use crate::upstream::Refusal;

/// The longest name of a lane.
const MAX_NAME: usize = 256;

/// What a client sends.
pub(super) enum Incoming {
    /// It wants a response.
    Create(Asked),
    /// It wants something else, and this is the answer.
    Other(String),
}

/// A response that is asked for.
pub(super) struct Asked {
    /// The lane it is to run in.
    pub(super) lane: Option<String>,
    /// The message, which reads as a request's body.
    pub(super) body: Bytes,
    /// The response that it continues.
    pub(super) previous: Option<String>,
    /// Its place among those under way.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// The same, for the connection.
    pub(super) under_way: Option<UnderWay>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Head<'a> {
    #[serde(rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(default, borrow)]
    stream_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    previous_response_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    input: Option<&'a RawValue>,
}

/// Reads a message.
///
/// # Errors
/// What the client is told, and the lane it named.
pub(super) fn read(text: &str) -> Result<Incoming, (Refusal, Option<String>)> {
    let head: Head<'_> = serde_json::from_str(text).map_err(|error| {
        let message = format!("We could not parse the JSON of your message: {error}.");
        (Refusal::bad_request(ErrorObject::invalid(message)), None)
    })?;
    let lane = lane_of(head.stream_id).map_err(|refusal| (refusal, None))?;
    let previous = head
        .previous_response_id
        .and_then(|raw| serde_json::from_str::<Text<'_>>(raw.get()).ok())
        .map(|id| id.to_string());
    match head.kind.as_deref() {
        Some("response.create") => Ok(Incoming::Create(Asked {
            lane,
            body: Bytes::new(),
            previous,
            permit: None,
            under_way: None,
        })),
        Some("response.steer") => Ok(Incoming::Other(no_steering(&head, previous, lane))),
        kind => {
            let kind = kind.unwrap_or("missing").to_owned();
            let message = format!(
                "Invalid value for 'type': '{kind}'. Supported values are: 'response.create'."
            );
            let error = ErrorObject::invalid(message).with_param("type");
            Err((Refusal::bad_request(error.with_code("invalid_value")), lane))
        }
    }
}

fn lane_of(raw: Option<&RawValue>) -> Result<Option<String>, Refusal> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    let fits = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain)
    };
    let name: Option<Text<'_>> = serde_json::from_str(raw.get()).ok();
    match name {
        Some(name) if fits(&name) => Ok(Some(name.to_string())),
        _ => {
            let message = format!(
                "Invalid 'stream_id': expected 1 to {MAX_NAME} letters, digits, '_', '.' or '-'."
            );
            let error = ErrorObject::invalid(message).with_param("stream_id");
            Err(Refusal::bad_request(error.with_code("invalid_stream_id")))
        }
    }
}

/// The input of a steering, as its event has it: each message says that it is one.
fn given_back(input: Option<&RawValue>) -> Box<RawValue> {
    let mut tree = input.and_then(|raw| Tree::parse(raw.get()));
    if let Some(Tree::Array(items)) = &mut tree {
        for item in items {
            if item.is_object() && !item.has("type") {
                item.insert("type", Tree::string("message"));
            }
        }
    }
    let mut json = String::new();
    tree.unwrap_or_else(|| Tree::string("")).write(&mut json);
    // A tree is JSON.
    RawValue::from_string(json).unwrap_or_default()
}

/// A response is not changed while it is made: the client is given its words back.
fn no_steering(head: &Head<'_>, previous: Option<String>, lane: Option<String>) -> String {
    #[derive(Serialize)]
    struct Failed {
        #[serde(rename = "type")]
        kind: &'static str,
        sequence_number: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        stream_id: Option<String>,
        steer: Steer,
        error: SteerError,
    }

    #[derive(Serialize)]
    struct Steer {
        input: Box<RawValue>,
        previous_response_id: String,
    }

    #[derive(Serialize)]
    struct SteerError {
        #[serde(rename = "type")]
        kind: &'static str,
        code: &'static str,
        message: &'static str,
    }

    let failed = Failed {
        kind: "response.steer.failed",
        sequence_number: 0,
        stream_id: lane,
        steer: Steer {
            input: given_back(head.input),
            previous_response_id: previous.unwrap_or_default(),
        },
        error: SteerError {
            kind: "invalid_request_error",
            code: "steering_not_supported",
            message: "This server does not steer responses: send the input with the next one.",
        },
    };
    write(&failed)
}

/// A refusal, as an event.
pub(super) fn refusal(refusal: &Refusal, lane: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        status: u16,
        error: Error<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stream_id: Option<&'a str>,
    }

    #[derive(Serialize)]
    struct Error<'a> {
        #[serde(flatten)]
        object: &'a ErrorObject,
        #[serde(skip_serializing_if = "Option::is_none")]
        headers: Option<Headers>,
    }

    #[derive(Serialize)]
    struct Headers {
        #[serde(rename = "retry-after")]
        retry_after: String,
    }

    write(&Event {
        kind: "error",
        status: refusal.status,
        error: Error {
            object: &refusal.error,
            headers: refusal.told_wait().map(|wait| Headers {
                retry_after: wait.header(),
            }),
        },
        stream_id: lane,
    })
}

/// An event of a response, for the lane it belongs to.
pub(super) fn event(data: &[u8], lane: Option<&str>) -> String {
    let mut text = String::from_utf8_lossy(data).into_owned();
    if let Some(lane) = lane
        && text.ends_with('}')
    {
        text.pop();
        text.push_str(",\"stream_id\":\"");
        // Of plain letters, or it would not have been taken.
        text.push_str(lane);
        text.push_str("\"}");
    }
    text
}

fn write<T: Serialize>(event: &T) -> String {
    // Strings and what was JSON always serialise.
    serde_json::to_string(event).unwrap_or_default()
}
