//! The proxy from outside, area by area: requests go in over HTTP, a scripted server stands behind.
//! Every streamed answer goes through the grammar.

mod background;
mod bodies;
mod calls;
#[cfg(unix)]
mod care;
mod cli;
mod compaction;
mod compliance;
mod conversations;
mod cors;
#[cfg(unix)]
mod curl;
#[cfg(unix)]
mod ending;
#[cfg(unix)]
mod endurance;
mod faults;
mod heal;
mod http1;
mod http2;
mod items;
mod keys;
mod limits;
#[cfg(unix)]
mod listen;
mod log;
mod metrics;
mod misc;
mod models;
mod overload;
mod pace;
mod probe;
mod refusals;
mod reload;
mod requests;
mod responses;
mod routes;
mod secrets;
#[cfg(unix)]
mod shutdown;
mod sockets;
mod state;
mod stored;
mod streams;
mod structured;
mod tenants;
mod tls;
mod traces;
mod upstreams;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::grammar;
use crate::support::events::{self, SseEvent};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::Upstream;

/// A proxy in front of `upstream`, with more lines for `[server]` and for the upstream's own section.
fn configured(upstream: &Upstream, server: &str, own: &str) -> Proxy {
    Proxy::builder()
        .config(&config(&upstream.base_url(), server, own))
        .start()
}

/// A configuration with one upstream.
pub(crate) fn config(base_url: &str, server: &str, own: &str) -> String {
    format!("[server]\n{server}\n[upstreams.mock]\nbase_url = \"{base_url}\"\n{own}\n")
}

/// The smallest request.
fn hello() -> Value {
    json!({"model": "m", "input": "Hello"})
}

/// The request with some keys set.
fn with(mut request: Value, more: Value) -> Value {
    if let (Value::Object(request), Value::Object(more)) = (&mut request, more) {
        request.extend(more);
    }
    request
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Sends a body as it is.
fn send(proxy: &Proxy, headers: &[(&str, &str)], body: &[u8]) -> http::Reply {
    http::request("POST", &proxy.url("/v1/responses"), headers, body)
}

fn post(proxy: &Proxy, request: &Value) -> http::Reply {
    http::post(&proxy.url("/v1/responses"), request)
}

/// Asks for a stream, which must be a whole one.
fn streamed(proxy: &Proxy, request: &Value) -> Vec<SseEvent> {
    let request = with(request.clone(), json!({"stream": true}));
    read_stream(&post(proxy, &request))
}

/// The events of an answer, which must be a whole stream.
fn read_stream(reply: &http::Reply) -> Vec<SseEvent> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    let events = events::parse(&reply.body);
    grammar::check(&events);
    events
}

/// Asks for an answer in one piece, which must be had.
fn whole(proxy: &Proxy, request: &Value) -> Value {
    let reply = post(proxy, request);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    events::json(reply.text())
}

/// The response that a stream ends with.
fn last(events: &[SseEvent]) -> &Value {
    &events.last().expect("the stream has events").data["response"]
}

/// The error of a stream that ends with a failure.
fn failure(events: &[SseEvent]) -> &Value {
    let response = last(events);
    assert_eq!(response["status"], "failed", "{response}");
    &response["error"]
}

/// The error of a refusal, which must be in the API's envelope.
fn refusal(reply: &http::Reply, status: u16) -> Value {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let body = events::json(reply.text());
    let error = &body["error"];
    let mut keys: Vec<&String> = error.as_object().expect("an error object").keys().collect();
    keys.sort();
    assert_eq!(keys, ["code", "message", "param", "type"], "{body}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|words| !words.is_empty()),
        "{body}"
    );
    assert!(error["type"].is_string(), "{body}");
    error.clone()
}

/// The deltas of the events of one type, together.
fn deltas(events: &[SseEvent], kind: &str) -> String {
    let chosen = events.iter().filter(|event| event.kind() == kind);
    chosen
        .filter_map(|event| event.data["delta"].as_str())
        .collect()
}

fn kinds(events: &[SseEvent]) -> Vec<&str> {
    events.iter().map(SseEvent::kind).collect()
}

/// A port at which nobody listens.
fn dead_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

fn host_of(proxy_url: &str) -> &str {
    let host = proxy_url.trim_start_matches("http://");
    host.trim_end_matches('/')
}

/// A client in the middle of an answer, which can look at what came so far, and hang up.
struct Live {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Live {
    /// Sends a request for a stream and does not wait.
    fn start(proxy_url: &str, request: &Value) -> Self {
        let request = with(request.clone(), json!({"stream": true}));
        Self::send(proxy_url, &request)
    }

    /// Sends a request and does not wait.
    fn send(proxy_url: &str, request: &Value) -> Self {
        Self::send_with(proxy_url, "", request)
    }

    /// The same with a key.
    fn send_with_key(proxy_url: &str, key: &str, request: &Value) -> Self {
        Self::send_with(
            proxy_url,
            &format!("authorization: Bearer {key}\r\n"),
            request,
        )
    }

    fn send_with(proxy_url: &str, headers: &str, request: &Value) -> Self {
        let host = host_of(proxy_url);
        let mut stream = TcpStream::connect(host).expect("the proxy listens");
        let body = request.to_string();
        // Asked in the old version of HTTP, a server sends the body as it is.
        let head = format!(
            "POST /v1/responses HTTP/1.0\r\nhost: {host}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the head is sent");
        stream.write_all(body.as_bytes()).expect("the body is sent");
        Self {
            stream,
            heard: Vec::new(),
        }
    }

    /// Fetches something and does not wait.
    fn get(proxy_url: &str, path: &str) -> Self {
        let host = proxy_url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("the proxy listens");
        let head = format!("GET {path} HTTP/1.0\r\nhost: {host}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the head is sent");
        Self {
            stream,
            heard: Vec::new(),
        }
    }

    /// Fetches a path with a key, and does not wait.
    fn get_with_key(proxy_url: &str, path: &str, key: &str) -> Self {
        let host = host_of(proxy_url);
        let mut stream = TcpStream::connect(host).expect("the proxy listens");
        let head =
            format!("GET {path} HTTP/1.0\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the head is sent");
        Self {
            stream,
            heard: Vec::new(),
        }
    }

    /// Reads until this was heard.
    fn wait_for(&mut self, words: &str, limit: Duration) {
        let until = Instant::now() + limit;
        while !String::from_utf8_lossy(&self.heard).contains(words) {
            let left = until.saturating_duration_since(Instant::now());
            let over = left.is_zero() || !self.read(left);
            assert!(
                !over,
                "{words} did not come:\n{}",
                String::from_utf8_lossy(&self.heard)
            );
        }
    }

    /// Reads to the end; returns the body.
    fn finish(mut self) -> Vec<u8> {
        let until = Instant::now() + Duration::from_secs(30);
        while self.read(until.saturating_duration_since(Instant::now())) {}
        let head = self.heard.windows(4).position(|end| end == b"\r\n\r\n");
        self.heard
            .split_off(head.expect("the answer has a head") + 4)
    }

    /// Reads once; false at the end.
    fn read(&mut self, limit: Duration) -> bool {
        let mut bytes = [0; 4096];
        let limit = limit.max(Duration::from_millis(1));
        self.stream
            .set_read_timeout(Some(limit))
            .expect("a time limit");
        match self.stream.read(&mut bytes) {
            Ok(read) => {
                self.heard.extend_from_slice(&bytes[..read]);
                read > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(limit < Duration::from_secs(25), "the answer never ended");
                true
            }
            Err(_) => false,
        }
    }
}
