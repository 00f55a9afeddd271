//! What the tests of the stateful API share: a client with a key, and upstreams that tell what they
//! were asked.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::read_stream;
use crate::support::events::{self, SseEvent};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, completion, finish, text, usage};

/// Somebody who asks.
#[derive(Clone, Copy)]
pub(super) struct Client<'p> {
    proxy: &'p Proxy,
    key: Option<&'static str>,
}

impl<'p> Client<'p> {
    /// With a key.
    pub(super) fn new(proxy: &'p Proxy) -> Self {
        Self::with_key(proxy, "sk-one")
    }

    pub(super) fn with_key(proxy: &'p Proxy, key: &'static str) -> Self {
        Self {
            proxy,
            key: Some(key),
        }
    }

    pub(super) fn without_key(proxy: &'p Proxy) -> Self {
        Self { proxy, key: None }
    }

    /// Any request below `/v1`.
    pub(super) fn call(&self, method: &str, path: &str, body: &Value) -> http::Reply {
        let bearer = format!("Bearer {}", self.key.unwrap_or_default());
        let mut headers = vec![("content-type", "application/json")];
        if self.key.is_some() {
            headers.push(("authorization", &bearer));
        }
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let url = self.proxy.url(&format!("/v1{path}"));
        http::request(method, &url, &headers, body.as_bytes())
    }

    /// Any request, which must succeed.
    pub(super) fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let reply = self.call(method, path, body);
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"));
        events::json(reply.text())
    }

    /// Any request, which must be refused.
    pub(super) fn refused(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        super::refusal(&self.call(method, path, body), status)
    }

    pub(super) fn get(&self, path: &str) -> Value {
        self.ok("GET", path, &Value::Null)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Value {
        self.ok("POST", path, body)
    }

    /// Makes a response in one piece.
    pub(super) fn create(&self, request: Value) -> Value {
        self.post("/responses", &super::with(json!({"model": "m"}), request))
    }

    /// Makes a response as a stream.
    pub(super) fn stream(&self, request: Value) -> Vec<SseEvent> {
        let request = super::with(json!({"model": "m", "stream": true}), request);
        read_stream(&self.call("POST", "/responses", &request))
    }

    /// Waits until a background response has ended.
    pub(super) fn wait(&self, id: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let response = self.get(&format!("/responses/{id}"));
            let status = response["status"].as_str().unwrap_or_default();
            if !["queued", "in_progress"].contains(&status) {
                return response;
            }
            assert!(Instant::now() < until, "it never ended: {response}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The id of anything.
pub(super) fn id(object: &Value) -> String {
    object["id"].as_str().expect("an id").to_owned()
}

/// The text of the output.
pub(super) fn said(response: &Value) -> String {
    let items = response["output"].as_array().into_iter().flatten();
    let parts = items.flat_map(|item| item["content"].as_array().into_iter().flatten());
    parts.filter_map(|part| part["text"].as_str()).collect()
}

/// The types of the output's items.
pub(super) fn kinds_of(items: &Value) -> Vec<&str> {
    let items = items.as_array().expect("a list").iter();
    items.filter_map(|item| item["type"].as_str()).collect()
}

/// The messages of a request to the upstream: role and text.
pub(super) fn dialogue(request: &Value) -> Vec<(String, String)> {
    let messages = request["messages"].as_array().expect("messages").iter();
    messages
        .map(|message| {
            let role = message["role"].as_str().unwrap_or_default().to_owned();
            let content = match &message["content"] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            (role, content)
        })
        .collect()
}

/// The latest dialogue that the upstream was given, as `role: text` lines.
pub(super) fn last_dialogue(upstream: &Upstream) -> Vec<String> {
    let asked = upstream.asked();
    let lines = dialogue(asked.last().expect("it was asked")).into_iter();
    lines
        .map(|(role, text)| format!("{role}: {text}"))
        .collect()
}

/// Answers in the form that is asked for.
pub(super) fn reply(request: &Value, words: &str) -> Reply {
    if request["stream"] == true {
        Reply::stream(&[text(words), finish("stop"), usage(9, 4)])
    } else {
        let message = json!({"role": "assistant", "content": words});
        Reply::json(200, &completion(message, "stop"))
    }
}

/// An upstream that says how many messages it was given.
pub(super) fn counting() -> Upstream {
    Upstream::by(|request| {
        let count = request["messages"].as_array().map_or(0, Vec::len);
        reply(request, &format!("answer to {count}"))
    })
}

/// An upstream that calls a tool until its output is there, thinking as it goes.
pub(super) fn calling() -> Upstream {
    Upstream::by(|request| {
        let messages = request["messages"].as_array().cloned().unwrap_or_default();
        let results = messages.iter().filter(|message| message["role"] == "tool");
        if results.count() > 0 || request["tools"].is_null() {
            return reply(request, "done");
        }
        let name = &request["tools"][0]["function"]["name"];
        let arguments = match name.as_str() {
            Some("freeform") => json!({"input": "raw text"}),
            _ => json!({"city": "Paris"}),
        };
        let call = json!({"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments.to_string()}});
        let message = json!({"role": "assistant", "content": null, "reasoning_content": "I had better ask.", "tool_calls": [call]});
        if request["stream"] != true {
            return Reply::json(200, &completion(message, "tool_calls"));
        }
        let mut first = message["tool_calls"][0].clone();
        first["index"] = 0.into();
        Reply::stream(&[
            crate::support::upstream::delta(json!({"reasoning_content": "I had better ask."})),
            crate::support::upstream::delta(json!({"tool_calls": [first]})),
            finish("tool_calls"),
            usage(9, 4),
        ])
    })
}

/// The tool of [`calling`].
pub(super) fn weather() -> Value {
    json!({"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}})
}

/// What a page of a list holds, by id.
pub(super) fn ids(page: &Value) -> Vec<String> {
    assert_eq!(page["object"], "list", "{page}");
    let data = page["data"].as_array().expect("data");
    let ids: Vec<String> = data.iter().map(id).collect();
    assert_eq!(page["first_id"].as_str(), ids.first().map(String::as_str));
    assert_eq!(page["last_id"].as_str(), ids.last().map(String::as_str));
    ids
}
