//! Requests: what a client asks becomes what a chat server is asked.

mod dialect;
mod echo;
mod items;
mod prompt;
mod tools;

use antiphon::profile::Profile;
use antiphon::responses::CreateResponse;
use antiphon::translate::{LoweringOptions, Seal, lower};
use serde_json::{Value, json};

use super::support::profile;

/// Seals by writing backwards: enough to see what goes in and out.
pub(super) struct Backwards;

impl Seal for Backwards {
    fn seal(&self, plain: &[u8]) -> String {
        String::from_utf8_lossy(plain).chars().rev().collect()
    }

    fn open(&self, sealed: &str) -> Option<Vec<u8>> {
        Some(sealed.chars().rev().collect::<String>().into_bytes())
    }
}

fn chat_with(request: &Value, profile: &Profile) -> Value {
    lowered(request, profile).0
}

/// The chat request, and what the log would tell.
fn lowered(request: &Value, profile: &Profile) -> (Value, Vec<String>) {
    lowered_text(&request.to_string(), profile)
}

/// The same for a body as it is, since values do not keep the order of keys.
fn lowered_text(body: &str, profile: &Profile) -> (Value, Vec<String>) {
    let request = CreateResponse::parse(body.as_bytes()).expect("a request reads");
    let options = LoweringOptions {
        profile,
        model: "m",
        effort: None,
        seal: &Backwards,
    };
    let lowered = lower(request, &options).expect("a request lowers");
    let notes = lowered.notes.iter().map(ToString::to_string).collect();
    let chat = serde_json::to_value(&lowered.chat).expect("a chat request writes");
    (chat, notes)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the tests write both in place"
)]
fn chat(input: Value, more: Value) -> Value {
    let mut request = json!({"model": "x", "input": input});
    for (key, value) in more.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    chat_with(&request, &profile("generic"))
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn call(id: &str) -> Value {
    json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{\"a\":1}"})
}

fn output(id: &str, text: &str) -> Value {
    json!({"type": "function_call_output", "call_id": id, "output": text})
}

/// The names under which tools are offered.
fn offered(chat: &Value) -> Vec<&str> {
    let tools = chat["tools"].as_array().into_iter().flatten();
    tools
        .filter_map(|tool| tool["function"]["name"].as_str())
        .collect()
}

/// Roles, and the ids of calls: the shape of a conversation.
fn shape(chat: &Value) -> Vec<String> {
    let messages = chat["messages"].as_array().expect("messages");
    let shape = messages.iter().map(|message| {
        let role = message["role"].as_str().unwrap_or_default();
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        let ids: Vec<&str> = calls.filter_map(|call| call["id"].as_str()).collect();
        match (message["tool_call_id"].as_str(), ids.is_empty()) {
            (Some(id), _) => format!("{role} {id}"),
            (None, false) => format!("{role} [{}]", ids.join(" ")),
            (None, true) => role.to_owned(),
        }
    });
    shape.collect()
}

#[test]
fn what_the_model_said_in_one_turn_is_one_message_with_its_outputs_behind_it() {
    // The order in which Codex sends a turn: all of the model's items, then all outputs.
    let items = json!([
        user("go"),
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "r1"}]},
        call("a"),
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "r2"}]},
        call("b"),
        {"role": "assistant", "content": [{"type": "output_text", "text": "both"}]},
        output("a", "1"),
        output("b", "2"),
        user("next"),
    ]);
    let chat = chat(items, json!({}));
    assert_eq!(
        shape(&chat),
        ["user", "assistant [a b]", "tool a", "tool b", "user"]
    );
    let said = &chat["messages"][1];
    assert_eq!(said["content"], "both");
    assert_eq!(said["reasoning_content"], "r1\n\nr2");
    assert_eq!(
        said["tool_calls"][0]["function"],
        json!({"name": "f", "arguments": "{\"a\":1}"})
    );
}

#[test]
fn call_and_output_by_turns_are_turns() {
    let items = json!([
        user("go"),
        call("a"),
        output("a", "1"),
        call("b"),
        output("b", "2")
    ]);
    let shape = shape(&chat(items, json!({})));
    assert_eq!(
        shape,
        ["user", "assistant [a]", "tool a", "assistant [b]", "tool b"]
    );
}

#[test]
fn whatever_comes_between_a_call_and_its_output_comes_after_both() {
    let items = json!([user("go"), call("a"), {"role": "developer", "content": "hm"}, user("hurry"), output("a", "1")]);
    assert_eq!(
        shape(&chat(items, json!({}))),
        ["user", "assistant [a]", "tool a", "user", "user"]
    );
}

#[test]
fn a_call_without_an_output_gets_one_and_an_output_without_a_call_becomes_text() {
    let items = json!([user("go"), call("a"), output("lost", "forty-two")]);
    let chat = chat(items, json!({}));
    assert_eq!(shape(&chat), ["user", "assistant [a]", "tool a", "user"]);
    assert!(
        chat["messages"][3]["content"]
            .as_str()
            .is_some_and(|text| text.contains("forty-two"))
    );
}

#[test]
fn calls_with_the_same_id_keep_their_own_outputs() {
    let items = json!([
        user("go"),
        call("a"),
        output("a", "1"),
        call("a"),
        output("a", "2")
    ]);
    let chat = chat(items, json!({}));
    assert_eq!(chat["messages"][2]["content"], "1");
    assert_eq!(chat["messages"][4]["content"], "2");
}

#[test]
fn there_is_one_system_message_and_it_is_in_front() {
    let items = json!([
        {"role": "developer", "content": [{"type": "input_text", "text": "B"}, {"type": "input_text", "text": "C"}]},
        {"role": "system", "content": "D"},
        user("hi"),
        {"role": "developer", "content": "E"},
    ]);
    let generic = chat(items.clone(), json!({"instructions": "A"}));
    assert_eq!(shape(&generic), ["system", "user", "user"]);
    assert_eq!(generic["messages"][0]["content"], "A\n\nB\n\nC\n\nD");
    assert_eq!(
        generic["messages"][2]["content"],
        "<developer>\nE\n</developer>"
    );
    let openai = chat_with(&json!({"model": "x", "input": items}), &profile("openai"));
    assert_eq!(shape(&openai), ["developer", "user", "developer"]);
}

#[test]
fn pictures_in_outputs_come_behind_all_outputs() {
    let picture = json!({"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "original"});
    let items = json!([
        user("look"), call("a"), call("b"),
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "see"}, picture]},
        output("b", "2"),
    ]);
    let chat = chat(items, json!({}));
    assert_eq!(
        shape(&chat),
        ["user", "assistant [a b]", "tool a", "tool b", "user"]
    );
    assert_eq!(chat["messages"][2]["content"], "see");
    let part = &chat["messages"][4]["content"][1];
    assert_eq!(
        part["image_url"],
        json!({"url": "data:image/png;base64,AAAA", "detail": "high"})
    );
}

#[test]
fn thinking_goes_back_under_the_name_that_it_came_by() {
    for (field, key) in [("rc", "reasoning_content"), ("r", "reasoning")] {
        let sealed = Backwards.seal(json!({"f": field, "t": "plan"}).to_string().as_bytes());
        let items = json!([user("go"), {"type": "reasoning", "summary": [], "encrypted_content": sealed}, call("a"), output("a", "1")]);
        let chat = chat(items.clone(), json!({}));
        assert_eq!(chat["messages"][1][key], "plan", "{field}");
        let groq = chat_with(&json!({"model": "x", "input": items}), &profile("groq"));
        assert_eq!(groq["messages"][1].get(key), None);
    }
    let sealed = Backwards.seal(br#"{"f":"t","t":"plan"}"#);
    let items = json!([user("go"), {"type": "reasoning", "summary": [], "encrypted_content": sealed}, {"role": "assistant", "content": "done"}]);
    assert_eq!(
        chat(items, json!({}))["messages"][1]["content"],
        "<think>\nplan\n</think>\n\ndone"
    );
}

#[test]
fn what_an_upstream_wants_back_unchanged_returns_to_its_place() {
    let carry = json!({"f": "r", "t": "plan", "d": [{"type": "reasoning.encrypted", "data": "zz"}], "x": [["a", {"google": {"thought_signature": "s"}}]]});
    let sealed = Backwards.seal(carry.to_string().as_bytes());
    let items = json!([user("go"), {"type": "reasoning", "summary": [], "encrypted_content": sealed}, call("a"), output("a", "1")]);
    let said = &chat(items, json!({}))["messages"][1];
    assert_eq!(
        said["reasoning_details"],
        json!([{"type": "reasoning.encrypted", "data": "zz"}])
    );
    assert_eq!(
        said["tool_calls"][0]["extra_content"],
        json!({"google": {"thought_signature": "s"}})
    );
}

#[test]
fn settings_may_change_in_the_conversation() {
    let items = json!([user("go"), {"type": "configuration_update", "reasoning": {"effort": "low"}, "text": {"format": {"type": "json_object"}}}]);
    let chat = chat(items, json!({"reasoning": {"effort": "high"}}));
    assert_eq!(chat["reasoning_effort"], "low");
    assert_eq!(chat["response_format"], json!({"type": "json_object"}));
    assert_eq!(shape(&chat), ["user"]);
}

#[test]
fn every_kind_of_tool_is_a_function_and_hosted_ones_are_left_out() {
    let tools = json!([
        {"type": "function", "name": "f", "parameters": null, "strict": null},
        {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}},
        {"type": "namespace", "name": "mcp__files", "description": "d", "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]},
        {"type": "local_shell"}, {"type": "shell"}, {"type": "apply_patch"},
        {"type": "tool_search", "execution": "client"},
        {"type": "web_search"}, {"type": "from_the_future", "x": 1},
    ]);
    let chat = chat(json!("hi"), json!({"tools": tools}));
    let names: Vec<_> = chat["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tool| tool["function"]["name"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        names,
        [
            "f",
            "patch",
            "mcp__files__f",
            "local_shell",
            "shell",
            "apply_patch",
            "tool_search"
        ]
    );
    assert!(
        chat["tools"][1]["function"]["description"]
            .as_str()
            .is_some_and(|text| text.contains("start: X"))
    );
}

#[test]
fn tools_may_arrive_in_the_conversation() {
    let items = json!([
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "namespace", "name": "functions", "description": "", "tools": [{"type": "custom", "name": "exec"}]}]},
        user("hi"),
        {"type": "tool_search_call", "call_id": "s", "execution": "client", "arguments": {"query": "files"}},
        {"type": "tool_search_output", "call_id": "s", "execution": "client", "tools": [{"type": "namespace", "name": "mcp__x", "description": "", "tools": [{"type": "function", "name": "read", "defer_loading": true}]}]},
    ]);
    let chat = chat(items, json!({}));
    let names: Vec<_> = chat["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tool| tool["function"]["name"].clone())
        .collect();
    assert_eq!(names, ["exec", "mcp__x__read"]);
    assert_eq!(shape(&chat), ["user", "assistant [s]", "tool s"]);
}

#[test]
fn more_items_only_add_messages() {
    // What was sent before stays as it was, so that the server's prompt cache holds.
    let items = [
        user("go"),
        call("a"),
        output("a", "1"),
        json!({"role": "developer", "content": "note"}),
        user("more"),
        call("b"),
        output("b", "2"),
    ];
    let whole = chat(json!(items), json!({"instructions": "I"}));
    for count in [1, 3, 4, 5, 7] {
        let part = chat(json!(items[..count]), json!({"instructions": "I"}));
        let messages = part["messages"].as_array().expect("messages");
        let same = whole["messages"].as_array().expect("messages");
        assert_eq!(messages[..], same[..messages.len()], "{count} items");
    }
}
