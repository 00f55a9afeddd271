//! Requests that are wrong or odd: what the client is told, and what is let pass.

use serde_json::{Value, json};

use super::{JSON, hello, last, post, read_stream, refusal, send, streamed, whole, with};
use crate::support::events;
use crate::support::proxy::Proxy;
use crate::support::upstream::Upstream;

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let bodies: [&[u8]; 8] = [
        b"",
        b"{",
        b"{\"model\": \"m\", \"input\": \"Hello\"",
        b"{\"model\": \"m\", \"input\": \"Hello\"} and more",
        b"hello",
        b"[]",
        b"null",
        b"\"text\"",
    ];
    for body in bodies {
        let error = refusal(&send(&proxy, &[JSON], body), 400);
        let body = String::from_utf8_lossy(body);
        assert_eq!(error["type"], "invalid_request_error", "{body}");
        assert_eq!(error["param"], Value::Null, "{body}");
    }
    assert_eq!(upstream.asked().len(), 0);
}

#[test]
fn a_value_of_the_wrong_type_is_named() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    for (wrong, param) in [
        (json!({"model": 5}), "model"),
        (json!({"input": 5}), "input"),
        (json!({"input": {"role": "user"}}), "input"),
        (json!({"input": [5]}), "input[0]"),
        (json!({"input": ["Hello", {"role": "user"}]}), "input[0]"),
        (
            json!({"input": [{"role": "nobody", "content": "Hello"}]}),
            "input[0]",
        ),
        (
            json!({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}),
            "input[0]",
        ),
        (json!({"instructions": 5}), "instructions"),
        (json!({"stream": "yes"}), "stream"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"max_output_tokens": -1}), "max_output_tokens"),
        (json!({"max_output_tokens": 1.5}), "max_output_tokens"),
        (json!({"tools": {}}), "tools"),
        (json!({"tools": [5]}), "tools[0]"),
        (json!({"metadata": {"a": 1}}), "metadata.a"),
        (json!({"reasoning": {"effort": 5}}), "reasoning.effort"),
        (json!({"text": {"verbosity": 5}}), "text.verbosity"),
        (
            json!({"text": {"format": {"type": "poem"}}}),
            "text.format.type",
        ),
        (
            json!({"text": {"format": {"type": "json_schema", "name": "n"}}}),
            "text.format.schema",
        ),
        (json!({"include": "all"}), "include"),
    ] {
        let error = refusal(&post(&proxy, &with(hello(), wrong.clone())), 400);
        assert_eq!(error["type"], "invalid_request_error", "{wrong}");
        assert_eq!(error["param"], param, "{wrong}: {error}");
    }
    assert_eq!(upstream.asked().len(), 0);
}

#[test]
fn a_list_is_no_object() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    for (request, param) in [
        (json!(["m", "Hello"]), Value::Null),
        (
            with(hello(), json!({"reasoning": ["low"]})),
            "reasoning".into(),
        ),
        (
            with(hello(), json!({"text": [{"type": "json_object"}]})),
            "text".into(),
        ),
        (
            with(hello(), json!({"tools": [["function", "f"]]})),
            "tools[0]".into(),
        ),
        (
            with(
                hello(),
                json!({"input": [["message", null, "user", "Hello"]]}),
            ),
            "input[0]".into(),
        ),
    ] {
        let error = refusal(&post(&proxy, &request), 400);
        assert_eq!(error["param"], param, "{request}: {error}");
    }
    assert_eq!(upstream.asked().len(), 0);
}

#[test]
fn an_item_that_says_nothing_is_refused() {
    let proxy = Proxy::to(&Upstream::saying("Hi").base_url());
    let error = refusal(&post(&proxy, &with(hello(), json!({"input": [{}]}))), 400);
    assert!(
        error["param"]
            .as_str()
            .is_some_and(|param| param.starts_with("input[0]")),
        "{error}"
    );
}

#[test]
fn what_a_tool_lacks_is_named() {
    let proxy = Proxy::to(&Upstream::saying("Hi").base_url());
    let error = refusal(
        &post(
            &proxy,
            &with(hello(), json!({"tools": [{"type": "function"}]})),
        ),
        400,
    );
    assert_eq!(error["param"], "tools[0].name", "{error}");
}

#[test]
fn what_must_be_there_is_missed() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    for (request, param) in [
        (json!({"input": "Hello"}), "model"),
        (json!({"model": null, "input": "Hello"}), "model"),
        (json!({"model": "m"}), "input"),
        (json!({"model": "m", "input": null}), "input"),
    ] {
        let error = refusal(&post(&proxy, &request), 400);
        assert_eq!(
            (&error["param"], &error["code"]),
            (&json!(param), &json!("missing_required_parameter"))
        );
    }
}

#[test]
fn keys_that_nobody_knows_are_let_pass_and_go_no_further() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let odd = json!({
        "client_metadata": {"a": "b"},
        "frobnicate": [1, {"deep": null}],
        "stream_options": {"include_obfuscation": true, "more": 1},
        "reasoning": {"novelty": 1},
    });
    assert_eq!(
        last(&streamed(&proxy, &with(hello(), odd)))["status"],
        "completed"
    );
    let asked = upstream.asked()[0].to_string();
    for key in ["client_metadata", "frobnicate", "obfuscation", "novelty"] {
        assert!(!asked.contains(key), "{asked}");
    }
}

#[test]
fn nulls_are_as_good_as_nothing() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let keys = [
        "instructions",
        "stream",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_logprobs",
        "text",
        "reasoning",
        "include",
        "metadata",
        "store",
        "background",
        "conversation",
        "previous_response_id",
        "truncation",
        "service_tier",
        "prompt_cache_key",
        "safety_identifier",
        "user",
        "prompt",
    ];
    let nulls: Value = keys
        .iter()
        .map(|key| ((*key).to_owned(), Value::Null))
        .collect();
    let (plain, nulled) = (
        whole(&proxy, &hello()),
        whole(&proxy, &with(hello(), nulls)),
    );
    for key in keys {
        assert_eq!(nulled[key], plain[key], "{key}");
    }
    let asked = upstream.asked();
    assert_eq!(asked[0], asked[1]);
}

#[test]
fn what_needs_a_memory_is_refused() {
    let upstream = Upstream::saying("Hi");
    let toml = super::config(&upstream.base_url(), "", "") + "[store]\nurl = \"none\"\n";
    let proxy = Proxy::builder().config(&toml).start();
    for (more, param, code) in [
        (
            json!({"previous_response_id": "resp_1"}),
            "previous_response_id",
            "previous_response_not_found",
        ),
        (
            json!({"background": true}),
            "background",
            "unsupported_parameter",
        ),
        (
            json!({"prompt": {"id": "pmpt_1"}}),
            "prompt",
            "unsupported_parameter",
        ),
    ] {
        let error = refusal(&post(&proxy, &with(hello(), more)), 400);
        assert_eq!(
            (&error["param"], &error["code"]),
            (&json!(param), &json!(code))
        );
    }
    let refer = |id: &str| {
        let input =
            json!([{"role": "user", "content": "Hello"}, {"type": "item_reference", "id": id}]);
        post(&proxy, &with(hello(), json!({"input": input})))
    };
    let error = refusal(&refer("msg_1"), 404);
    assert_eq!(error["message"], "Item with id 'msg_1' not found.");
    // Some clients refer to thinking unasked; without it the answer is as good as any.
    assert_eq!(refer("rs_1").status, 200);
    assert_eq!(
        last(&streamed(
            &proxy,
            &with(hello(), json!({"background": false}))
        ))["background"],
        false
    );
    assert_eq!(upstream.asked().len(), 2);
}

#[test]
fn a_schema_with_ordinary_nesting_arrives_as_it_was() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let schema = (0..50).fold(json!({"type": "string"}), |inner, _| {
        json!({"type": "object", "properties": {"a": inner}, "required": ["a"], "additionalProperties": false})
    });
    let tool = json!({"type": "function", "name": "f", "parameters": schema, "strict": true});
    whole(&proxy, &with(hello(), json!({"tools": [tool]})));
    assert_eq!(
        upstream.asked()[0]["tools"][0]["function"]["parameters"],
        schema
    );
}

#[test]
fn half_a_character_is_taken_for_one_that_cannot_be_shown() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    for (body, content) in [
        (r#"{"model":"m","input":"a \ud83d b"}"#, "a \u{fffd} b"),
        (r#"{"model":"m","input":"a \ude00"}"#, "a \u{fffd}"),
        (r#"{"model":"m","input":"\ud83d\u0041"}"#, "\u{fffd}A"),
        (
            r#"{"model":"m","input":"\ud83d\ude00 \uD83D"}"#,
            "😀 \u{fffd}",
        ),
        (
            r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"cut\udbff"}]}]}"#,
            "cut\u{fffd}",
        ),
        // This one is no escape.
        (r#"{"model":"m","input":"\\ud83d"}"#, "\\ud83d"),
    ] {
        let reply = send(&proxy, &[JSON], body.as_bytes());
        assert_eq!(reply.status, 200, "{body}: {}", reply.text());
        let asked = upstream.asked().pop().expect("it was asked");
        assert_eq!(asked["messages"][0]["content"], content, "{body}");
    }
    // Wherever it stands: some keys are read later than others.
    let body = r#"{"model":"m","input":"x","instructions":"i\ud83d","tools":[{"type":"function","name":"f","description":"d\ud83d"}]}"#;
    let reply = send(&proxy, &[JSON], body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let asked = upstream.asked().pop().expect("it was asked");
    assert_eq!(asked["messages"][0]["content"], "i\u{fffd}");
    assert_eq!(asked["tools"][0]["function"]["description"], "d\u{fffd}");
    // And where nobody here reads it: clients parse what is told back to them.
    let body = r#"{"model":"m","input":"x","tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{"a":{"type":"string","description":"\ud83d"}}}}]}"#;
    let reply = send(&proxy, &[JSON], body.as_bytes());
    let told = &reply.json()["tools"][0]["parameters"]["properties"]["a"];
    assert_eq!(told["description"], "\u{fffd}");
    // So are bytes that are no text.
    let body = b"{\"model\":\"m\",\"input\":\"a \xff b\"}";
    assert_eq!(send(&proxy, &[JSON], body).status, 200);
    let asked = upstream.asked().pop().expect("it was asked");
    assert_eq!(asked["messages"][0]["content"], "a \u{fffd} b");
}

/// A request in which much is told back to the client, as it is.
fn eloquent() -> Value {
    json!({
        "model": "m",
        "stream": true,
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
        "instructions": "Be kind.\r\nBe brief.\n",
        "metadata": {"a": "b", "line": "one\ntwo"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object", "properties": {"a": {"type": "string", "enum": ["x", "y"]}}, "required": ["a"], "additionalProperties": false}}},
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [
            {"type": "function", "name": "f", "description": "Two\nlines.", "parameters": {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}, "strict": false},
            {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /a/\n"}},
            {"type": "web_search", "filters": {"allowed_domains": ["a.example", "b.example"]}},
        ],
    })
}

#[test]
fn a_request_of_many_lines_is_told_back_in_one() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let laid_out = serde_json::to_string_pretty(&eloquent()).expect("JSON");
    assert!(laid_out.lines().count() > 50);
    // A lone carriage return ends a line of an event stream as well.
    for line_end in ["\n", "\r\n", "\r", "\n\n", "\t\n\t"] {
        let body = laid_out.replace('\n', line_end);
        let reply = send(&proxy, &[JSON], body.as_bytes());
        let events = read_stream(&reply);
        assert_eq!(last(&events)["status"], "completed");
        assert!(!reply.body.contains(&b'\r'), "{}", reply.text());
        let frames = reply.text().split_terminator("\n\n");
        let mut frames = frames.filter(|frame| *frame != "data: [DONE]");
        for event in &events {
            let frame = frames.next().expect("a frame for each event");
            let lines: Vec<&str> = frame.split('\n').collect();
            assert_eq!(lines.len(), 2, "{frame}");
            assert!(lines[0].starts_with("event: response."), "{frame}");
            let data = lines[1].strip_prefix("data: ").expect("a line of data");
            assert_eq!(events::json(data), event.data);
        }
        assert_eq!(frames.next(), None);
        // What it says is what was said.
        for key in ["tools", "tool_choice", "metadata", "instructions"] {
            assert_eq!(last(&events)[key], eloquent()[key], "{key}");
        }
    }
    let asked = upstream.asked();
    assert!(asked.iter().all(|body| *body == asked[0]));
}

#[test]
fn a_models_own_limit_counts_where_the_client_sets_none() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::builder()
        .config(&format!(
            "[upstreams.mock]\nbase_url = \"{}\"\n[models.m]\nmax_output_tokens = 123\n\
             [models.\"short-*\"]\nmax_output_tokens = 7\n",
            upstream.base_url()
        ))
        .start();
    for (request, sent, told) in [
        (hello(), json!(123), Value::Null),
        (
            with(hello(), json!({"max_output_tokens": null})),
            json!(123),
            Value::Null,
        ),
        (
            with(hello(), json!({"max_output_tokens": 50})),
            json!(50),
            json!(50),
        ),
        // It is the default, not the most that there can be.
        (
            with(hello(), json!({"max_output_tokens": 500})),
            json!(500),
            json!(500),
        ),
        (
            with(hello(), json!({"model": "short-answers"})),
            json!(7),
            Value::Null,
        ),
        (
            with(hello(), json!({"model": "other"})),
            Value::Null,
            Value::Null,
        ),
    ] {
        for response in [
            whole(&proxy, &request),
            last(&streamed(&proxy, &request)).clone(),
        ] {
            let asked = upstream.asked().pop().expect("it was asked");
            assert_eq!(asked["max_tokens"], sent, "{request}");
            assert_eq!(response["max_output_tokens"], told, "{request}");
        }
    }
}
