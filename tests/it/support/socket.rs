//! A WebSocket client for the tests: it sends messages and reads them one by one, each within a time.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use super::events::{self, SseEvent};

/// How long a message is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open connection.
pub(crate) struct Socket {
    inner: WebSocket<TcpStream>,
    /// How often the server asked whether we are there.
    pub(crate) pings: usize,
}

/// What a server says.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    /// An event.
    Event(Value),
    /// Goodbye, with a code if it gave one.
    Close(Option<u16>),
    /// Nothing more: the connection is gone without a goodbye.
    Gone,
}

impl Socket {
    /// Opens a connection to an `http://` address, with a key if there is one.
    pub(crate) fn open(url: &str, key: Option<&str>) -> Self {
        Self::try_open(url, key).unwrap_or_else(|status| panic!("refused with {status}"))
    }

    /// Opens a connection, or tells the status of the refusal.
    pub(crate) fn try_open(url: &str, key: Option<&str>) -> Result<Self, u16> {
        let url = url.replacen("http://", "ws://", 1);
        let mut request = url.as_str().into_client_request().expect("an address");
        if let Some(key) = key {
            let value = HeaderValue::try_from(format!("Bearer {key}")).expect("a plain key");
            request.headers_mut().insert("authorization", value);
        }
        let host = request.uri().authority().expect("a host").to_string();
        let stream = TcpStream::connect(host).expect("the server listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((inner, _)) => Ok(Self { inner, pings: 0 }),
            Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{url}: {error}"),
        }
    }

    /// Sends an event.
    pub(crate) fn say(&mut self, event: &Value) {
        self.send(Message::text(event.to_string()));
    }

    /// Sends any message.
    pub(crate) fn send(&mut self, message: Message) {
        self.inner.send(message).expect("the server reads");
    }

    /// The next thing that the server says. Within the limit, or the test fails.
    pub(crate) fn hear(&mut self) -> Said {
        self.hear_within(PATIENCE)
            .unwrap_or_else(|| panic!("the server said nothing for {PATIENCE:?}"))
    }

    /// The next thing that the server says, if it says anything so soon.
    pub(crate) fn hear_within(&mut self, limit: Duration) -> Option<Said> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.inner
                .get_ref()
                .set_read_timeout(Some(left))
                .expect("a time limit");
            match self.inner.read() {
                Ok(Message::Text(text)) => return Some(Said::Event(events::json(&text))),
                Ok(Message::Ping(_)) => self.pings += 1,
                Ok(Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => {
                    return Some(Said::Close(frame.map(|frame| frame.code.into())));
                }
                Ok(other) => panic!("the server sent {other:?}"),
                Err(Error::Io(error))
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => return Some(Said::Gone),
            }
        }
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Value {
        match self.hear() {
            Said::Event(event) => event,
            other => panic!("an event was expected, not {other:?}"),
        }
    }

    /// Asks for a response, and reads all of it: a whole stream, or one error.
    pub(crate) fn ask(&mut self, request: &Value) -> Vec<SseEvent> {
        self.say(request);
        self.answer()
    }

    /// All events of one response, or one error.
    pub(crate) fn answer(&mut self) -> Vec<SseEvent> {
        let mut all = Vec::new();
        loop {
            let event = self.event();
            let over = is_last(&event);
            all.push(named(event));
            if over {
                return all;
            }
        }
    }

    /// Leaves without a word.
    pub(crate) fn hang_up(self) {
        drop(self);
    }
}

/// Whether nothing of its response follows an event.
pub(crate) fn is_last(event: &Value) -> bool {
    let kind = event["type"].as_str().unwrap_or_default();
    let ends = [
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
    ];
    ends.contains(&kind)
}

/// An event as a stream has it.
pub(crate) fn named(event: Value) -> SseEvent {
    SseEvent {
        name: event["type"].as_str().map(str::to_owned),
        data: event,
    }
}
