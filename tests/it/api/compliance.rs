//! What the Open Responses specification asks of a server: its checks in our own words.

use serde_json::{Value, json};

use super::stored::{Client, id, kinds_of, reply};
use super::{kinds, last};
use crate::support::events::SseEvent;
use crate::support::proxy::Proxy;
use crate::support::socket::Socket;
use crate::support::upstream::{Reply, Upstream, call, completion, finish, usage};

/// The keys that every response object must have.
const KEYS: [&str; 31] = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
];

/// A model: it calls the first tool that it is given, and speaks otherwise.
fn model() -> Upstream {
    Upstream::by(|request| {
        if request["messages"].as_array().is_none_or(Vec::is_empty) {
            return Reply::error(400, "nothing was said");
        }
        let Some(name) = request["tools"][0]["function"]["name"].as_str() else {
            return reply(request, "Hello there.");
        };
        if request["stream"] == true {
            let begin = call(0, Some(("call_1", name)), "{\"location\":");
            return Reply::stream(&[
                begin,
                call(0, None, "\"SF\"}"),
                finish("tool_calls"),
                usage(9, 4),
            ]);
        }
        let calls = json!([{"id": "call_1", "type": "function", "function": {"name": name, "arguments": "{\"location\":\"SF\"}"}}]);
        let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
        Reply::json(200, &completion(message, "tool_calls"))
    })
}

fn user(content: impl Into<Value>) -> Value {
    json!({"type": "message", "role": "user", "content": content.into()})
}

/// The shape of a response that came to a good end.
fn is_fine(response: &Value) {
    for key in KEYS {
        assert!(response.get(key).is_some(), "{key} is missing: {response}");
    }
    assert_eq!(
        (&response["object"], &response["status"]),
        (&json!("response"), &json!("completed"))
    );
    for key in [
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "top_logprobs",
    ] {
        assert!(response[key].is_number(), "{key}: {response}");
    }
    for key in ["store", "background", "parallel_tool_calls"] {
        assert!(response[key].is_boolean(), "{key}: {response}");
    }
    assert!(response["created_at"].is_u64() && response["completed_at"].is_u64());
    assert!(["auto", "disabled"].contains(&response["truncation"].as_str().unwrap_or_default()));
    assert!(response["service_tier"].is_string());
    assert!(response["text"]["format"]["type"].is_string());
    let usage = &response["usage"];
    assert!(usage["input_tokens_details"]["cached_tokens"].is_u64());
    assert!(usage["output_tokens_details"]["reasoning_tokens"].is_u64());
    for tool in response["tools"].as_array().expect("tools") {
        for key in ["name", "description", "parameters", "strict"] {
            assert!(tool.get(key).is_some(), "{key} is missing: {tool}");
        }
    }
    let output = response["output"].as_array().expect("output");
    assert!(!output.is_empty(), "{response}");
    for item in output {
        assert!(item["id"].is_string());
        match item["type"].as_str() {
            Some("message") => {
                assert_eq!(
                    (&item["role"], &item["status"]),
                    (&json!("assistant"), &json!("completed"))
                );
                let part = &item["content"][0];
                assert!(part["annotations"].is_array() && part["text"].is_string());
            }
            Some("function_call") => assert_eq!(item["status"], "completed"),
            other => assert!(matches!(other, Some("reasoning" | "compaction")), "{item}"),
        }
        assert_ne!(item.get("encrypted_content"), Some(&Value::Null));
    }
}

fn is_answered(input: &Value) {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    is_fine(&Client::new(&proxy).create(json!({"input": input})));
}

fn get_weather() -> Value {
    json!({"type": "function", "name": "get_weather", "description": "The weather", "parameters":
        {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}})
}

#[test]
fn basic_response() {
    is_answered(&json!([user("Say hello in exactly 3 words.")]));
}

#[test]
fn assistant_phase() {
    let said = |words: &str, phase: &str| json!({"type": "message", "role": "assistant", "phase": phase, "content": words});
    is_answered(&json!([
        said("I look.", "commentary"),
        said("Done.", "final_answer"),
        user("Go on.")
    ]));
}

#[test]
fn response_output_phase_schema() {
    // A phase that came with the input is told back with the items.
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let said = json!({"type": "message", "role": "assistant", "phase": "commentary", "content": "I look."});
    let made = client.create(json!({"input": [said, user("x")]}));
    let page = client.get(&format!("/responses/{}/input_items?order=asc", id(&made)));
    assert_eq!(page["data"][0]["phase"], "commentary");
}

#[test]
fn streaming_response() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let events = Client::new(&proxy).stream(json!({"input": [user("Count from 1 to 5.")]}));
    is_fine(last(&events));
}

#[test]
fn system_prompt() {
    let system = json!({"type": "message", "role": "system", "content": "You are a pirate."});
    is_answered(&json!([system, user("Say hello.")]));
}

#[test]
fn tool_calling() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let request = json!({"input": [user("The weather?")], "tools": [get_weather()]});
    let whole = client.create(request.clone());
    is_fine(&whole);
    assert_eq!(kinds_of(&whole["output"]), ["function_call"]);

    // Streamed, the call opens, grows and closes.
    let events = client.stream(request);
    is_fine(last(&events));
    let told = kinds(&events);
    for kind in [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ] {
        assert!(told.contains(&kind), "{kind} is missing: {told:?}");
    }
}

#[test]
fn image_input() {
    let dot = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
    let parts = json!([{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": dot}]);
    is_answered(&json!([user(parts)]));
}

#[test]
fn multi_turn() {
    let said = json!({"type": "message", "role": "assistant", "content": "Hello Alice!"});
    is_answered(&json!([
        user("My name is Alice."),
        said,
        user("What is my name?")
    ]));
}

#[test]
fn compact_response() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let said = json!({"type": "message", "role": "assistant", "content": "Understood."});
    let made = client.post(
        "/responses/compact",
        &json!({"model": "m", "prompt_cache_key": "k", "input": [user("Tuesday."), said]}),
    );
    assert_eq!(made["object"], "response.compaction");
    assert!(kinds_of(&made["output"]).contains(&"compaction"));
    assert!(made["created_at"].is_u64() && made["usage"]["total_tokens"].is_u64());
}

#[test]
fn compact_missing_model() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let error = Client::new(&proxy).refused(
        "POST",
        "/responses/compact",
        &json!({"input": [user("x")]}),
        400,
    );
    assert_eq!(error["param"], "model");
}

/// A connection, and what is asked over it.
struct Talk(Socket);

impl Talk {
    fn with(proxy: &Proxy) -> Self {
        Self(Socket::open(&proxy.url("/v1/responses"), Some("sk-x")))
    }

    fn ask(&mut self, more: Value) -> Vec<SseEvent> {
        self.0.ask(&super::sockets::create(more))
    }

    fn fine(&mut self, more: Value) -> Value {
        let events = self.ask(more);
        crate::grammar::check(&events);
        is_fine(last(&events));
        last(&events).clone()
    }

    fn refused(&mut self, more: Value, code: &str) {
        let events = self.ask(more);
        assert_eq!(kinds(&events), ["error"]);
        assert_eq!(events[0].data["error"]["code"], code);
        assert!(events[0].data["status"].is_u64());
    }
}

#[test]
fn websocket_response() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    Talk::with(&proxy).fine(json!({"input": [user("Count.")]}));
}

#[test]
fn websocket_sequential_responses() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let mut talk = Talk::with(&proxy);
    talk.fine(json!({"store": false, "input": "first"}));
    talk.fine(json!({"store": false, "input": "second"}));
}

#[test]
fn websocket_continuation() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let mut talk = Talk::with(&proxy);
    let first = talk.fine(json!({"store": false, "input": "cobalt"}));
    talk.fine(json!({"store": false, "previous_response_id": id(&first), "input": "which?"}));
}

#[test]
fn websocket_reconnect_store_false_recovery() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let first = Talk::with(&proxy).fine(json!({"store": false, "input": "copper"}));
    let mut again = Talk::with(&proxy);
    let lost = json!({"store": false, "previous_response_id": id(&first), "input": "which?"});
    again.refused(lost, "previous_response_not_found");
    again.fine(json!({"store": false, "input": [user("anew")]}));
}

#[test]
fn websocket_previous_response_not_found() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let mut talk = Talk::with(&proxy);
    let lost = json!({"store": false, "previous_response_id": "resp_missing_17", "input": "x"});
    talk.refused(lost, "previous_response_not_found");
}

#[test]
fn websocket_failed_continuation_evicts_cache() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let mut talk = Talk::with(&proxy);
    let first = talk.fine(json!({"store": false, "input": "ember"}));
    let astray =
        json!([{"type": "function_call_output", "call_id": "call_missing", "output": "x"}]);
    let failed =
        talk.ask(json!({"store": false, "previous_response_id": id(&first), "input": astray}));
    assert!(["error", "response.failed"].contains(&failed.last().expect("an event").kind()));
    let stale = json!({"store": false, "previous_response_id": id(&first), "input": "stale"});
    talk.refused(stale, "previous_response_not_found");
}

#[test]
fn websocket_compact_new_chain() {
    let upstream = model();
    let proxy = Proxy::to(&upstream.base_url());
    let input = json!([user(json!([{"type": "input_text", "text": "slate"}])),
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "OK."}]}]);
    let client = Client::with_key(&proxy, "sk-x");
    let compacted = client.post("/responses/compact", &json!({"model": "m", "input": input}));
    let mut next = compacted["output"].as_array().cloned().expect("items");
    next.push(user(json!([{"type": "input_text", "text": "Go on."}])));
    Talk::with(&proxy).fine(json!({"store": false, "tools": [], "input": next}));
}
