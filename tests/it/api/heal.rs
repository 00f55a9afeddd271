//! Calls that a model writes into its text, through the whole program: streamed and in one piece.

use serde_json::{Value, json};

use super::items::{function, item_kinds};
use super::log::line;
use super::{configured, deltas, hello, last, streamed, whole, with};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, call, completion, delta, finish, text, usage};

const CALL: &str = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"b\"}}\n</tool_call>";

/// Streams of some text, in so many letters at a time.
fn stream(said: &str, letters: usize, reason: &str) -> Reply {
    let letter: Vec<char> = said.chars().collect();
    let mut chunks: Vec<Value> = letter
        .chunks(letters)
        .map(|piece| text(&piece.iter().collect::<String>()))
        .collect();
    chunks.extend([finish(reason), usage(9, 4)]);
    Reply::stream(&chunks)
}

/// What items say, in short.
fn said(response: &Value) -> Vec<String> {
    let items = response["output"].as_array().expect("items").iter();
    let payload = |item: &Value| {
        let key = match item["type"].as_str() {
            Some("custom_tool_call") => "input",
            _ => "arguments",
        };
        item[key].as_str().unwrap_or_default().to_owned()
    };
    items
        .map(|item| match item["type"].as_str() {
            Some("message") => item["content"][0]["text"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            Some("reasoning") => format!(
                "~{}",
                item["content"][0]["text"].as_str().unwrap_or_default()
            ),
            _ => format!(
                "{}.{} {}",
                item["namespace"].as_str().unwrap_or_default(),
                item["name"].as_str().unwrap_or_default(),
                payload(item)
            ),
        })
        .collect()
}

fn request(tools: &Value) -> Value {
    with(hello(), json!({"tools": tools}))
}

/// Asks for both forms of the answer, and gets the same.
fn answer(said_upstream: &str, own: &str, request: &Value) -> Vec<String> {
    let upstream = Upstream::new([
        stream(said_upstream, 3, "stop"),
        Reply::json(
            200,
            &completion(
                json!({"role": "assistant", "content": said_upstream}),
                "stop",
            ),
        ),
    ]);
    let proxy = configured(&upstream, "", own);
    let events = streamed(&proxy, request);
    let response = last(&events);
    assert_eq!(response["status"], "completed");
    let blocking = whole(&proxy, request);
    assert_eq!(said(&blocking), said(response));
    let mut ids: Vec<&str> = response["output"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["call_id"].as_str())
        .collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "ids of calls differ");
    said(response)
}

#[test]
fn a_call_in_the_text_becomes_one() {
    let tools = json!([function("f")]);
    let text = format!("Let me look.\n{CALL}");
    assert_eq!(
        answer(&text, "", &request(&tools)),
        ["Let me look.\n", ".f {\"a\": \"b\"}"]
    );
    let required = with(request(&tools), json!({"tool_choice": "required"}));
    assert_eq!(answer(CALL, "", &required), [".f {\"a\": \"b\"}"]);
    let twice = format!("{CALL}\n{CALL}");
    assert_eq!(
        answer(&twice, "", &required),
        [".f {\"a\": \"b\"}", ".f {\"a\": \"b\"}"]
    );
}

#[test]
fn tools_of_all_kinds_are_called_in_the_text() {
    let tools = json!([
        {"type": "custom", "name": "apply_patch", "description": "Patches."},
        {"type": "namespace", "name": "mcp__files", "description": "d", "tools": [function("read")]},
    ]);
    let patch = "<tool_call><function=apply_patch><parameter=input>\n*** Begin\n*** End\n</parameter></function></tool_call>";
    assert_eq!(
        answer(patch, "", &request(&tools)),
        [".apply_patch *** Begin\n*** End"]
    );
    let read = "[TOOL_CALLS]mcp__files__read[ARGS]{\"a\":\"x\"}";
    assert_eq!(
        answer(read, "", &request(&tools)),
        ["mcp__files.read {\"a\":\"x\"}"]
    );
}

#[test]
fn text_stays_text_where_nothing_may_be_called() {
    let tools = json!([function("f")]);
    assert_eq!(answer(CALL, "", &hello()), [CALL]);
    let none = with(request(&tools), json!({"tool_choice": "none"}));
    assert_eq!(answer(CALL, "", &none), [CALL]);
    assert_eq!(
        answer(CALL, "dialect = { heal = \"off\" }", &request(&tools)),
        [CALL]
    );
    assert_eq!(
        answer(
            CALL,
            "dialect = { heal = [\"mistral\", \"glm\"] }",
            &request(&tools)
        ),
        [CALL]
    );
    assert_eq!(
        answer(CALL, "dialect = { heal = [\"hermes\"] }", &request(&tools)),
        [".f {\"a\": \"b\"}"]
    );
    assert_eq!(answer(CALL, "", &request(&json!([function("g")]))), [CALL]);
    let allowed = json!({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}});
    let both = json!([function("f"), function("g")]);
    assert_eq!(answer(CALL, "", &with(request(&both), allowed)), [CALL]);
}

#[test]
fn a_call_that_comes_both_ways_is_one() {
    let native = |id: &str, arguments: &str| call(0, Some((id, "f")), arguments);
    let tools = request(&json!([function("f")]));
    let cases: [(Vec<Value>, &[&str]); 5] = [
        (
            vec![text(CALL), native("c", "{\"a\":"), call(0, None, "\"b\"}")],
            &[".f {\"a\": \"b\"}"],
        ),
        (
            vec![native("c", "{\"a\":"), call(0, None, "\"b\"}"), text(CALL)],
            &[".f {\"a\":\"b\"}"],
        ),
        (
            vec![
                text(&CALL[..20]),
                native("c", "{\"a\":\"b\"}"),
                text(&CALL[20..]),
            ],
            &[".f {\"a\":\"b\"}"],
        ),
        (
            vec![text(CALL), native("c", "{\"a\":\"c\"}")],
            &[".f {\"a\": \"b\"}", ".f {\"a\":\"c\"}"],
        ),
        (
            vec![text("a <"), native("c", "{\"a\":\"c\"}")],
            &["a <", ".f {\"a\":\"c\"}"],
        ),
    ];
    for (mut chunks, expected) in cases {
        chunks.extend([finish("tool_calls"), usage(9, 4)]);
        let upstream = Upstream::new([Reply::stream(&chunks)]);
        let proxy = Proxy::to(&upstream.base_url());
        let events = streamed(&proxy, &tools);
        assert_eq!(said(last(&events)), expected, "{chunks:?}");
    }
}

#[test]
fn a_call_at_the_end_of_unclosed_thinking_is_one() {
    let tools = request(&json!([function("f")]));
    let tagged = format!("<think>Hm.\n{CALL}");
    assert_eq!(answer(&tagged, "", &tools), ["~Hm.\n", ".f {\"a\": \"b\"}"]);
    let closed = format!("<think>Hm.\n{CALL}</think>Hello.");
    assert_eq!(
        answer(&closed, "", &tools),
        [format!("~Hm.\n{CALL}"), "Hello.".into()]
    );
    let upstream = Upstream::new([Reply::stream(&[
        delta(json!({"reasoning_content": "Hm."})),
        delta(json!({"reasoning_content": CALL})),
        finish("stop"),
    ])]);
    let proxy = Proxy::to(&upstream.base_url());
    let events = streamed(&proxy, &tools);
    assert_eq!(item_kinds(last(&events)), ["reasoning", "function_call"]);
    assert_eq!(deltas(&events, "response.reasoning_text.delta"), "Hm.");
}

#[test]
fn what_was_healed_is_logged() {
    let upstream = Upstream::new([stream(&format!("{CALL}{CALL}"), 4, "stop")]);
    let proxy = Proxy::to(&upstream.base_url());
    streamed(&proxy, &request(&json!([function("f")])));
    let line = line(&proxy, "healed calls", |line| {
        line["message"] == "tool calls healed"
    });
    assert_eq!(
        (&line["format"], &line["calls"]),
        (&json!("hermes"), &json!(2))
    );
    assert!(
        line["response.id"]
            .as_str()
            .is_some_and(|id| id.starts_with("resp_"))
    );
}

#[test]
fn tools_in_the_prompt_are_called_and_answered_in_text() {
    let own = "dialect = { tools = \"prompt\", heal = \"off\" }";
    let tools = json!([function("f"), {"type": "custom", "name": "apply_patch", "description": "Patches."}]);
    assert_eq!(answer(CALL, own, &request(&tools)), [".f {\"a\": \"b\"}"]);
    let patch = "<tool_call>{\"name\": \"apply_patch\", \"arguments\": {\"input\": \"*** Begin\\n\"}}</tool_call>";
    assert_eq!(
        answer(patch, own, &request(&tools)),
        [".apply_patch *** Begin\n"]
    );
    let none = with(request(&tools), json!({"tool_choice": "none"}));
    assert_eq!(answer(CALL, own, &none), [CALL]);

    let upstream = Upstream::new([stream("Done.", 9, "stop")]);
    let proxy = configured(&upstream, "", own);
    let history = json!({"tools": tools, "tool_choice": "auto", "parallel_tool_calls": true, "input": [
        {"role": "user", "content": "go"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\":\"b\"}"},
        {"type": "function_call_output", "call_id": "c", "output": "it is b"},
    ]});
    streamed(&proxy, &with(hello(), history));
    let asked = upstream.received().remove(0).body;
    for key in ["tools", "tool_choice", "parallel_tool_calls"] {
        assert_eq!(asked.get(key), None, "{key}");
    }
    let messages = asked["messages"].as_array().expect("messages");
    let system = messages[0]["content"].as_str().expect("a system message");
    assert!(
        system.contains("\"name\":\"f\"") && system.contains("apply_patch"),
        "{system}"
    );
    assert_eq!(
        messages[2]["content"],
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":\"b\"}}\n</tool_call>"
    );
    assert_eq!(
        messages[3],
        json!({"role": "user", "content": "<tool_response>\nit is b\n</tool_response>"})
    );
}
