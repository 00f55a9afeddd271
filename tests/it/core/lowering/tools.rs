//! Tools: which are offered, and under what names.

use serde_json::{Value, json};

use super::{chat, lowered, offered, user};
use crate::core::support::profile;

fn function(name: &str) -> Value {
    json!({"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}})
}

fn namespace(name: &str, tools: &[Value]) -> Value {
    json!({"type": "namespace", "name": name, "description": "d", "tools": tools})
}

#[test]
fn a_call_is_told_under_the_name_of_its_own_kind() {
    let tools = json!([function("run"), {"type": "custom", "name": "run"}]);
    let items = json!([
        user("go"),
        {"type": "custom_tool_call", "call_id": "c", "name": "run", "input": "hey"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "o"},
        {"type": "function_call", "call_id": "f", "name": "run", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "f", "output": "o"},
    ]);
    let chat = chat(items, json!({"tools": tools}));
    let names = offered(&chat);
    let called = |n: usize| chat["messages"][n]["tool_calls"][0]["function"]["name"].clone();
    assert_eq!(called(1), names[1]);
    assert_eq!(called(3), names[0]);
}

#[test]
fn a_search_tells_the_names_that_can_be_called() {
    let found = json!([
        namespace("mcp__calc", &[function("add"), function("sub")]),
        function("plain")
    ]);
    let items = json!([
        user("go"),
        {"type": "tool_search_call", "call_id": "s", "execution": "client", "arguments": {"query": "calc"}},
        {"type": "tool_search_output", "call_id": "s", "execution": "client", "tools": found},
    ]);
    let chat = chat(items, json!({}));
    assert_eq!(
        chat["messages"][2]["content"],
        "Now available: mcp__calc__add, mcp__calc__sub, plain."
    );
}

#[test]
fn allowed_tools_may_be_whole_namespaces_and_hosted_ones_are_passed_over() {
    let tools = json!([function("f"), namespace("mcp__a", &[function("r"), function("w")]), {"type": "web_search"}]);
    for (allowed, left, notes) in [
        (
            json!([{"type": "namespace", "name": "mcp__a"}]),
            vec!["mcp__a__r", "mcp__a__w"],
            0,
        ),
        (
            json!([{"type": "function", "name": "r", "namespace": "mcp__a"}]),
            vec!["mcp__a__r"],
            0,
        ),
        (
            json!([{"type": "function", "name": "f"}, {"type": "web_search"}, {"type": "mcp", "server_label": "s"}]),
            vec!["f"],
            2,
        ),
        (json!([{"type": "mcp", "server_label": "s"}]), vec![], 1),
    ] {
        let choice = json!({"type": "allowed_tools", "mode": "required", "tools": allowed});
        let request = json!({"model": "x", "input": "hi", "tools": tools, "tool_choice": choice});
        let (chat, said) = lowered(&request, &profile("generic"));
        assert_eq!(offered(&chat), left, "{allowed}");
        let told = said.iter().filter(|note| note.contains("allowed tool"));
        assert_eq!(told.count(), notes, "{said:?}");
        let mode = chat.get("tool_choice").cloned();
        assert_eq!(mode, (!left.is_empty()).then(|| json!("required")));
    }
}

#[test]
fn a_hosted_tool_that_must_be_called_is_passed_over() {
    for choice in [
        json!({"type": "web_search"}),
        json!({"type": "mcp", "server_label": "s", "name": "x"}),
    ] {
        let chat = chat(
            json!("hi"),
            json!({"tools": [function("f")], "tool_choice": choice}),
        );
        assert_eq!(chat.get("tool_choice"), None, "{choice}");
    }
}

#[test]
fn of_a_name_that_is_too_long_the_tools_own_part_stays_whole() {
    let space = "mcp__a_server_with_quite_a_long_name_that_goes_on_and_on";
    let tools = json!([namespace(
        space,
        &[function("read_resource"), function(&"r".repeat(60))],
    )]);
    let chat = chat(json!("hi"), json!({"tools": tools}));
    for (name, own) in offered(&chat).into_iter().zip(["__read_resource_", "rrr_"]) {
        assert!(name.len() <= 64, "{name}");
        let (head, hash) = name.split_at(name.len() - 8);
        assert!(head.ends_with(own), "{name}");
        assert!(hash.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    }
    assert!(offered(&chat)[0].starts_with("mcp__a_server"));
}
