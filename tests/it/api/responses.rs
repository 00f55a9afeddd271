//! `POST /v1/responses`, streamed and whole: what a client gets when all goes well.

use serde_json::{Value, json};

use super::{configured, deltas, hello, kinds, last, post, read_stream, streamed, whole, with};
use crate::support::events;
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, completion, delta, finish, text, usage};

#[test]
fn text_is_streamed_in_the_pieces_in_which_it_came() {
    let upstream = Upstream::new([Reply::stream(&[
        text("Hel"),
        text("lo, "),
        text("wörld 🦙"),
        finish("stop"),
        usage(9, 4),
    ])]);
    let proxy = Proxy::to(&upstream.base_url());
    let events = streamed(&proxy, &hello());

    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert_eq!(
        deltas(&events, "response.output_text.delta"),
        "Hello, wörld 🦙"
    );
    let response = last(&events);
    assert_eq!(
        response["output"][0]["content"][0]["text"],
        "Hello, wörld 🦙"
    );
    assert_eq!(
        response["usage"],
        json!({
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 13,
        })
    );
}

#[test]
fn the_upstream_is_asked_for_a_chat_completion() {
    let upstream = Upstream::saying("Hi");
    let proxy = configured(
        &upstream,
        "",
        "env_key = \"MOCK_KEY\"\nhttp_headers = { \"x-team\" = \"blue\" }\nquery_params = { \"api-version\" = \"1\" }",
    );
    streamed(
        &proxy,
        &with(
            hello(),
            json!({"instructions": "Be kind.", "max_output_tokens": 99, "temperature": 0.5}),
        ),
    );
    whole(&proxy, &hello());

    let mut received = upstream.received();
    // It may also have been asked what it is.
    received.retain(|request| request.method == "POST");
    assert_eq!(received.len(), 2);
    for request in &received {
        assert_eq!(request.method, "POST");
        assert_eq!(request.path, "/v1/chat/completions?api-version=1");
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("x-team"), Some("blue"));
        assert_eq!(
            request.header("authorization"),
            None,
            "the variable is not set"
        );
        assert_eq!(request.body["model"], "m");
    }
    let (first, second) = (&received[0].body, &received[1].body);
    assert_eq!(first["stream"], true);
    assert_eq!(first["stream_options"], json!({"include_usage": true}));
    assert_eq!(
        first["messages"],
        json!([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}])
    );
    assert_eq!(
        (&first["max_tokens"], &first["temperature"]),
        (&json!(99), &json!(0.5))
    );
    assert_ne!(second["stream"], true);
    assert_eq!(
        second["messages"],
        json!([{"role": "user", "content": "Hello"}])
    );
}

#[test]
fn the_key_is_sent_upstream_and_the_clients_own_is_not() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::builder()
        .upstream(&upstream.base_url())
        .env("ANTIPHON_UPSTREAM_KEY", "sk-upstream")
        .start();
    let headers = [
        ("authorization", "Bearer sk-client"),
        ("content-type", "application/json"),
    ];
    let reply = http::request(
        "POST",
        &proxy.url("/v1/responses"),
        &headers,
        hello().to_string().as_bytes(),
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    let received = upstream.received();
    assert_eq!(
        received[0].header("authorization"),
        Some("Bearer sk-upstream")
    );
    assert!(!proxy.log().contains("sk-"), "{}", proxy.log());
}

#[test]
fn a_blocking_answer_says_what_a_streamed_one_ends_with() {
    let message = json!({"role": "assistant", "content": "Hi", "reasoning_content": "Hm"});
    let upstream = Upstream::new([
        Reply::json(200, &completion(message, "stop")),
        Reply::stream(&[
            delta(json!({"reasoning_content": "Hm"})),
            text("Hi"),
            finish("stop"),
            usage(9, 4),
        ]),
    ]);
    let proxy = Proxy::to(&upstream.base_url());
    let blocking = whole(&proxy, &hello());
    let events = streamed(&proxy, &hello());
    assert_eq!(blocking["status"], "completed");
    assert_ne!(blocking["id"], last(&events)["id"]);
    assert_eq!(unlike(&blocking), unlike(last(&events)));
}

/// The response without what no two responses have in common.
fn unlike(response: &Value) -> Value {
    let mut response = response.clone();
    let own = |value: &mut Value, key: &str| {
        assert!(!value[key].is_null(), "{key} is missing: {value}");
        value[key] = Value::Null;
    };
    for key in ["id", "created_at", "completed_at"] {
        own(&mut response, key);
    }
    for item in response["output"].as_array_mut().expect("a list of items") {
        own(item, "id");
    }
    response
}

#[test]
fn either_form_of_upstream_answer_serves_either_form_of_request() {
    let document = Reply::json(
        200,
        &completion(json!({"role": "assistant", "content": "Hi"}), "stop"),
    );
    let stream = Reply::stream(&[text("Hi"), finish("stop"), usage(9, 4)]);
    for reply in [document, stream] {
        let upstream = Upstream::new([reply]);
        let proxy = Proxy::to(&upstream.base_url());
        let events = streamed(&proxy, &hello());
        for response in [last(&events), &whole(&proxy, &hello())] {
            assert_eq!(response["output"][0]["content"][0]["text"], "Hi");
            assert_eq!(response["usage"]["total_tokens"], 13);
        }
    }
}

#[test]
fn the_api_is_there_with_and_without_v1() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    for path in ["/v1/responses", "/responses"] {
        let reply = http::post(&proxy.url(path), &with(hello(), json!({"stream": true})));
        assert_eq!(last(&read_stream(&reply))["status"], "completed", "{path}");
    }
}

#[test]
fn the_request_is_repeated_in_every_snapshot() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let tool = json!({
        "type": "function",
        "name": "f",
        "description": "Does it.",
        "parameters": {"type": "object", "properties": {}},
        "strict": true,
    });
    let repeated = json!({
        "instructions": "Be kind.",
        "max_output_tokens": 99,
        "max_tool_calls": 3,
        "metadata": {"a": "1", "b": "2"},
        "model": "m",
        "parallel_tool_calls": false,
        "prompt_cache_key": "k",
        "reasoning": {"effort": "low", "summary": "auto"},
        "safety_identifier": "s",
        "store": false,
        "temperature": 0.25,
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [tool],
        "top_p": 0.5,
        "truncation": "auto",
        "user": "u",
    });
    let request = with(json!({"input": "Hello"}), repeated.clone());
    let events = streamed(&proxy, &request);
    let snapshots = events.iter().filter_map(|event| event.data.get("response"));
    let mut snapshots: Vec<Value> = snapshots.cloned().collect();
    assert_eq!(snapshots.len(), 3);
    snapshots.push(whole(&proxy, &request));
    for snapshot in &snapshots {
        for (key, value) in repeated.as_object().into_iter().flatten() {
            assert_eq!(snapshot[key], *value, "{key}");
        }
    }
}

#[test]
fn what_the_request_leaves_out_has_the_apis_default() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let response = whole(&proxy, &hello());
    let defaults = json!({
        "object": "response",
        "status": "completed",
        "error": null,
        "incomplete_details": null,
        "background": false,
        "frequency_penalty": 0.0,
        "instructions": null,
        "max_output_tokens": null,
        "max_tool_calls": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "presence_penalty": 0.0,
        "previous_response_id": null,
        "prompt_cache_key": null,
        "prompt_cache_retention": null,
        "reasoning": {"effort": null, "summary": null},
        "safety_identifier": null,
        "service_tier": "default",
        "store": true,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": null,
    });
    for (key, value) in defaults.as_object().into_iter().flatten() {
        assert_eq!(response.get(key), Some(value), "{key}");
    }
    assert!(
        response["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("resp_")),
        "{response}"
    );
}

#[test]
fn a_repeated_tool_has_every_key_once() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    for tool in [
        json!({"type": "function", "name": "f"}),
        json!({"type": "function", "name": "f", "strict": null, "description": null, "parameters": null}),
        json!({"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"strict": {"type": "string", "description": "d"}}}}),
    ] {
        // That no key is there twice, the reader of JSON sees to.
        let response = whole(&proxy, &with(hello(), json!({"tools": [tool]})));
        let repeated = &response["tools"][0];
        assert_eq!(repeated["strict"], false, "{tool}");
        assert_eq!(repeated.get("description"), Some(&Value::Null), "{tool}");
        assert_eq!(
            repeated.get("parameters"),
            Some(&tool["parameters"]),
            "{tool}"
        );
    }
}

#[test]
fn a_stream_ends_with_done_unless_that_is_switched_off() {
    let upstream = Upstream::saying("Hi");
    let request = with(hello(), json!({"stream": true}));
    for (server, expected) in [
        ("", true),
        ("done_sentinel = true", true),
        ("done_sentinel = false", false),
    ] {
        let reply = post(&configured(&upstream, server, ""), &request);
        read_stream(&reply);
        assert_eq!(events::has_done(&reply.body), expected, "{server}");
    }
}

#[test]
fn nothing_on_the_way_is_to_hold_a_stream_back() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let reply = post(&proxy, &with(hello(), json!({"stream": true})));
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    assert_eq!(reply.header("x-accel-buffering"), Some("no"));
    assert_eq!(reply.header("content-length"), None);
    // Codex takes another model's name here for a sign that the account was flagged.
    assert_eq!(reply.header("openai-model"), None);
}

#[test]
fn every_answer_has_a_request_id_of_its_own() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let replies = [
        post(&proxy, &hello()),
        post(&proxy, &with(hello(), json!({"stream": true}))),
        post(&proxy, &json!({})),
        http::get(&proxy.url("/nowhere")),
        http::get(&proxy.url("/healthz")),
    ];
    let mut ids: Vec<&str> = replies
        .iter()
        .filter_map(|reply| reply.header("x-request-id"))
        .collect();
    assert!(ids.iter().all(|id| id.starts_with("req_")), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), replies.len(), "{ids:?}");
}

#[test]
fn requests_over_one_connection_are_answered_one_after_another() {
    use std::io::{Read, Write};

    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let host = proxy.url("").replace("http://", "");
    let body = hello().to_string();
    let request = |connection: &str| {
        format!(
            "POST /v1/responses HTTP/1.1\r\nhost: {host}\r\nconnection: {connection}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut stream = std::net::TcpStream::connect(&host).expect("the proxy listens");
    let both = request("keep-alive") + &request("close");
    stream.write_all(both.as_bytes()).expect("both are sent");
    let mut answers = String::new();
    stream
        .read_to_string(&mut answers)
        .expect("both are answered");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert_eq!(
        answers.matches("\"status\":\"completed\"").count(),
        4,
        "{answers}"
    );
}
