//! Calls of tools: how they are streamed, what they are named, and what becomes of them when the
//! client sends them back.

use serde_json::{Value, json};

use super::items::{answer, function, item_kinds};
use super::{deltas, hello, last, streamed, whole, with};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, call, completion, delta, finish, text, usage};

#[test]
fn a_call_is_streamed_with_its_arguments() {
    let events = answer(
        &[
            text("Wait."),
            call(0, Some(("call_7", "f")), ""),
            call(0, None, "{\"a\":"),
            call(0, None, "\"b\"}"),
            finish("tool_calls"),
            usage(9, 4),
        ],
        json!([function("f")]),
    );
    assert_eq!(item_kinds(last(&events)), ["message", "function_call"]);
    let own = &last(&events)["output"][1];
    assert_eq!(own["call_id"], "call_7");
    assert_eq!(own["name"], "f");
    assert_eq!(own["arguments"], "{\"a\":\"b\"}");
    assert_eq!(own["status"], "completed");
    assert_eq!(
        deltas(&events, "response.function_call_arguments.delta"),
        "{\"a\":\"b\"}"
    );
}

#[test]
fn calls_whose_pieces_come_by_turns_are_kept_apart() {
    let events = answer(
        &[
            call(0, Some(("c0", "f")), "{\"a\":"),
            call(1, Some(("c1", "g")), "{\"b\":"),
            call(0, None, "1}"),
            call(1, None, "2}"),
            finish("tool_calls"),
            usage(9, 4),
        ],
        json!([function("f"), function("g")]),
    );
    let calls = last(&events)["output"].as_array().expect("items");
    let calls: Vec<_> = calls
        .iter()
        .map(|call| (&call["call_id"], &call["arguments"]))
        .collect();
    assert_eq!(
        calls,
        [
            (&json!("c0"), &json!("{\"a\":1}")),
            (&json!("c1"), &json!("{\"b\":2}"))
        ]
    );
}

#[test]
fn calls_always_have_ids_and_no_two_the_same() {
    // The first has no id, the other two share one.
    let unnamed =
        delta(json!({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}));
    let events = answer(
        &[
            unnamed,
            call(1, Some(("same", "f")), "{\"a\":\"1\"}"),
            call(2, Some(("same", "f")), "{\"a\":\"2\"}"),
            finish("tool_calls"),
            usage(9, 4),
        ],
        json!([function("f")]),
    );
    // That the ids are there and differ, the grammar sees to.
    let calls = last(&events)["output"].as_array().expect("items");
    let arguments: Vec<_> = calls
        .iter()
        .filter_map(|call| call["arguments"].as_str())
        .collect();
    assert_eq!(arguments, ["{}", "{\"a\":\"1\"}", "{\"a\":\"2\"}"]);
}

#[test]
fn a_custom_tool_is_called_with_free_text() {
    let tools = json!([{"type": "custom", "name": "apply_patch", "description": "Patches.", "format": {"type": "text"}}]);
    let upstream = Upstream::new([Reply::stream(&[
        call(0, Some(("c0", "apply_patch")), "{\"inp"),
        call(0, None, "ut\": \"*** Begin\\n"),
        call(0, None, "+\\u00e9\\\""),
        call(0, None, "\"}"),
        finish("tool_calls"),
        usage(9, 4),
    ])]);
    let proxy = Proxy::to(&upstream.base_url());
    let events = streamed(&proxy, &with(hello(), json!({"tools": tools})));
    let own = &last(&events)["output"][0];
    assert_eq!(own["type"], "custom_tool_call");
    assert_eq!(own["name"], "apply_patch");
    assert_eq!(own["input"], "*** Begin\n+é\"");
    let pieces = events
        .iter()
        .filter(|event| event.kind() == "response.custom_tool_call_input.delta");
    assert!(pieces.count() > 1, "the input is not streamed");
    assert_eq!(upstream.asked()[0]["tools"][0]["type"], "function");
}

#[test]
fn a_tool_in_a_namespace_is_called_by_its_own_name_and_the_namespaces() {
    let tools = json!([
        {"type": "namespace", "name": "mcp__calc", "description": "Sums.", "tools": [function("add")]},
        function("add"),
    ]);
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    streamed(&proxy, &with(hello(), json!({"tools": tools})));
    let offered = &upstream.asked()[0]["tools"];
    let offered: Vec<&str> = offered
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tool| tool["function"]["name"].as_str())
        .collect();
    assert_eq!(offered.len(), 2);
    assert_ne!(offered[0], offered[1]);

    for (name, namespace) in [(offered[0], json!("mcp__calc")), (offered[1], Value::Null)] {
        let chunks = [
            call(0, Some(("c0", name)), "{\"a\":\"1\"}"),
            finish("tool_calls"),
            usage(9, 4),
        ];
        let events = answer(&chunks, tools.clone());
        let own = &last(&events)["output"][0];
        assert_eq!(
            (&own["name"], &own["namespace"]),
            (&json!("add"), &namespace),
            "{own}"
        );
    }
}

#[test]
fn calls_and_their_outputs_are_put_together_again() {
    // All items of an answer first, then all outputs: the order in which Codex sends them.
    let calling =
        |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
    let output = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": format!("of {id}")});
    let said = json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Both."}]});
    let input = json!([
        {"role": "user", "content": "Go"},
        calling("a"),
        calling("b"),
        said,
        output("b"),
        output("a"),
        {"role": "user", "content": "More"},
    ]);
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    whole(
        &proxy,
        &with(hello(), json!({"input": input, "tools": [function("f")]})),
    );
    let messages = upstream.asked()[0]["messages"].clone();
    let messages = messages.as_array().expect("messages");
    let roles: Vec<_> = messages
        .iter()
        .filter_map(|message| message["role"].as_str())
        .collect();
    assert_eq!(
        roles,
        ["user", "assistant", "tool", "tool", "user"],
        "{messages:#?}"
    );
    assert_eq!(messages[1]["content"], "Both.");
    let ids: Vec<_> = messages[1]["tool_calls"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|call| &call["id"])
        .collect();
    assert_eq!(ids, ["a", "b"]);
    for message in &messages[2..4] {
        let id = message["tool_call_id"].as_str().unwrap_or_default();
        assert_eq!(message["content"], format!("of {id}"));
    }
}

/// A conversation in which `call_0` was made and answered.
fn conversation() -> Value {
    json!([
        {"role": "user", "content": "Go"},
        {"type": "function_call", "call_id": "call_0", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_0", "output": "done"},
    ])
}

#[test]
fn a_call_whose_id_the_conversation_has_already_gets_a_new_one() {
    let called = json!({"id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"1\"}"}});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [called]});
    let upstream = Upstream::by(move |request| {
        if request["stream"] != true {
            return Reply::json(200, &completion(message.clone(), "tool_calls"));
        }
        Reply::stream(&[
            call(0, Some(("call_0", "f")), "{\"a\":\"1\"}"),
            finish("tool_calls"),
            usage(9, 4),
        ])
    });
    let proxy = Proxy::to(&upstream.base_url());
    let tools = json!([function("f")]);
    let request = with(hello(), json!({"tools": tools, "input": conversation()}));
    for response in [
        last(&streamed(&proxy, &request)).clone(),
        whole(&proxy, &request),
    ] {
        let own = &response["output"][0];
        let id = own["call_id"].as_str().expect("an id");
        assert!(!id.is_empty() && id != "call_0", "{own}");
        assert_eq!(own["arguments"], "{\"a\":\"1\"}");

        // The next turn, in which the two are told apart.
        let mut input = conversation();
        let output = json!({"type": "function_call_output", "call_id": id, "output": "again"});
        let items = input.as_array_mut().expect("a list");
        items.extend([own.clone(), output]);
        whole(&proxy, &with(request.clone(), json!({"input": input})));
        let asked = upstream.asked().pop().expect("it was asked");
        let messages = &asked["messages"];
        assert_eq!(messages[1]["tool_calls"][0]["id"], "call_0", "{messages}");
        assert_eq!(messages[2]["tool_call_id"], "call_0");
        assert_eq!(messages[3]["tool_calls"][0]["id"], id);
        assert_eq!(
            (&messages[4]["tool_call_id"], &messages[4]["content"]),
            (&json!(id), &json!("again"))
        );
    }
}

#[test]
fn a_call_whose_id_is_new_to_the_conversation_keeps_it() {
    let upstream = Upstream::new([Reply::stream(&[
        call(0, Some(("call_1", "f")), "{}"),
        finish("tool_calls"),
        usage(9, 4),
    ])]);
    let proxy = Proxy::to(&upstream.base_url());
    let request = json!({"tools": [function("f")], "input": conversation()});
    let events = streamed(&proxy, &with(hello(), request));
    assert_eq!(last(&events)["output"][0]["call_id"], "call_1");
}
