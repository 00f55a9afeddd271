//! What the profile of an upstream changes.

use antiphon::profile::{self, Profile};
use serde_json::{Value, json};

use super::{call, chat_with, lowered, output, shape, user};
use crate::core::support::profile;

fn with(own: &str) -> Profile {
    let own = own.parse().expect("a table");
    profile::resolve("generic", "", None, &own)
        .expect("a profile")
        .1
}

fn request(items: &Value) -> Value {
    json!({"model": "x", "input": items})
}

fn thought(text: &str) -> Value {
    json!({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}]})
}

#[test]
fn calls_never_lack_thinking_where_it_is_required() {
    let items = json!([
        user("go"),
        call("a"),
        output("a", "1"),
        thought("R"),
        call("b"),
        output("b", "2"),
        call("c"),
        output("c", "3"),
        {"role": "assistant", "content": "done"},
        user("again"),
        call("d"),
        output("d", "4"),
    ]);
    for (name, key) in [
        ("deepseek", "reasoning_content"),
        ("moonshot", "reasoning_content"),
    ] {
        let chat = chat_with(&request(&items), &profile(name));
        let thoughts: Vec<_> = chat["messages"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|message| message["role"] == "assistant")
            .map(|message| message.get(key).and_then(Value::as_str))
            .collect();
        assert_eq!(
            thoughts,
            [Some(" "), Some("R"), Some("R"), None, Some(" ")],
            "{name}"
        );
    }
    let generic = chat_with(&request(&items), &profile("generic"));
    assert_eq!(generic["messages"][1].get("reasoning_content"), None);
}

#[test]
fn required_thinking_goes_back_under_the_profiles_name() {
    let items = json!([user("go"), call("a"), output("a", "1")]);
    for (back, key) in [
        ("reasoning", "reasoning"),
        ("as_received", "reasoning_content"),
    ] {
        let own = format!("reasoning_back = \"{back}\"\nreasoning_required = \"on_calls\"");
        let chat = chat_with(&request(&items), &with(&own));
        assert_eq!(chat["messages"][1][key], " ");
    }
    let own = with("reasoning_back = \"drop\"\nreasoning_required = \"on_calls\"");
    let said = &chat_with(&request(&items), &own)["messages"][1];
    assert!(!said.to_string().contains("reasoning"), "{said}");
}

#[test]
fn an_effort_is_said_in_the_upstreams_words() {
    for (name, asked, sent) in [
        ("generic", "xhigh", Some("xhigh")),
        ("openrouter", "max", Some("xhigh")),
        ("openrouter", "low", Some("low")),
        ("deepseek", "medium", Some("high")),
        ("deepseek", "xhigh", Some("max")),
        ("deepseek", "none", None),
        ("groq", "minimal", Some("low")),
        ("groq", "none", None),
        ("moonshot", "minimal", Some("low")),
    ] {
        let request = json!({"model": "x", "input": "hi", "reasoning": {"effort": asked}});
        let (chat, notes) = lowered(&request, &profile(name));
        let effort = chat.get("reasoning_effort").and_then(Value::as_str);
        assert_eq!(effort, sent, "{name} {asked}");
        // Where there is a switch, that says it.
        let switched = chat.get("thinking").is_some();
        assert_eq!(
            notes.is_empty(),
            sent.is_some() || switched,
            "{name} {asked}"
        );
    }
    let own = with("effort_words = { low = \"tiny\" }");
    let request = json!({"model": "x", "input": "hi", "reasoning": {"effort": "low"}});
    assert_eq!(chat_with(&request, &own)["reasoning_effort"], "tiny");
}

#[test]
fn not_to_think_is_said_by_a_switch_where_there_is_one() {
    for (switch, path, off, on) in [
        (
            "type",
            "/thinking/type",
            json!("disabled"),
            json!("enabled"),
        ),
        (
            "enable_thinking",
            "/enable_thinking",
            json!(false),
            json!(true),
        ),
        (
            "template",
            "/chat_template_kwargs/enable_thinking",
            json!(false),
            json!(true),
        ),
    ] {
        let own = with(&format!("thinking_switch = \"{switch}\""));
        let asked = |effort: &Value| {
            let request = json!({"model": "x", "input": "hi", "reasoning": {"effort": effort}});
            chat_with(&request, &own).pointer(path).cloned()
        };
        assert_eq!(asked(&json!("none")), Some(off), "{switch}");
        assert_eq!(asked(&json!("low")), Some(on), "{switch}");
        assert_eq!(
            asked(&Value::Null),
            None,
            "{switch}: the server's own default"
        );
    }
}

#[test]
fn a_call_is_demanded_in_words_that_the_upstream_knows() {
    let tools = json!([
        {"type": "function", "name": "f", "parameters": {}},
        {"type": "function", "name": "g", "parameters": {}},
    ]);
    let named = json!({"type": "function", "function": {"name": "g"}});
    for (words, required, one, offered) in [
        ("pass", json!("required"), named.clone(), 2),
        ("words", json!("required"), json!("required"), 1),
        ("any", json!("any"), named.clone(), 2),
        ("no_required", json!("auto"), named, 2),
        ("auto", json!("auto"), json!("auto"), 2),
    ] {
        let own = with(&format!("tool_choice = \"{words}\""));
        let asked = |choice: Value| {
            let request =
                json!({"model": "x", "input": "hi", "tools": tools, "tool_choice": choice});
            chat_with(&request, &own)
        };
        assert_eq!(asked(json!("required"))["tool_choice"], required, "{words}");
        assert_eq!(asked(json!("none"))["tool_choice"], "none", "{words}");
        let chat = asked(json!({"type": "function", "name": "g"}));
        assert_eq!(chat["tool_choice"], one, "{words}");
        assert_eq!(
            chat["tools"].as_array().map(Vec::len),
            Some(offered),
            "{words}"
        );
    }
}

#[test]
fn ids_of_calls_and_outputs_are_shortened_alike() {
    let items = json!([
        user("go"),
        call("call_a_long_one"),
        output("call_a_long_one", "1")
    ]);
    let chat = chat_with(&request(&items), &with("call_ids = \"alphanumeric_9\""));
    let id = &chat["messages"][1]["tool_calls"][0]["id"];
    assert_eq!(id.as_str().map(str::len), Some(9));
    assert_eq!(id, &chat["messages"][2]["tool_call_id"]);
}

#[test]
fn users_in_a_row_are_one_where_roles_must_alternate() {
    let picture = json!({"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]});
    let items = json!([
        {"role": "developer", "content": "d"},
        user("a"), user("b"),
        {"role": "assistant", "content": "c"},
        user("d"), picture, user("e"),
    ]);
    let chat = chat_with(&request(&items), &profile("mistral"));
    assert_eq!(shape(&chat), ["system", "user", "assistant", "user"]);
    assert_eq!(chat["messages"][1]["content"], "a\n\nb");
    let parts = &chat["messages"][3]["content"];
    assert_eq!(parts[0], json!({"type": "text", "text": "d"}));
    assert_eq!(parts[1]["type"], "image_url");
    assert_eq!(parts[2], json!({"type": "text", "text": "e"}));
    let apart = chat_with(&request(&items), &profile("generic"));
    assert_eq!(shape(&apart).len(), 7);
}

#[test]
fn where_no_user_speaks_the_last_word_of_the_application_is_the_users() {
    let developer = |text: &str| json!({"role": "developer", "content": text});
    for (items, instructions, messages) in [
        (
            json!([developer("A"), developer("B")]),
            Value::Null,
            json!([{"role": "system", "content": "A"}, user("B")]),
        ),
        (json!([developer("A")]), Value::Null, json!([user("A")])),
        (
            json!([developer("A")]),
            json!("I"),
            json!([{"role": "system", "content": "I"}, user("A")]),
        ),
        (json!([]), json!("I"), json!([user("I")])),
        (
            json!([developer("A"), {"role": "assistant", "content": "B"}]),
            json!("I"),
            json!([{"role": "system", "content": "I"}, user("A"), {"role": "assistant", "content": "B"}]),
        ),
    ] {
        let request = json!({"model": "x", "input": items, "instructions": instructions});
        let chat = chat_with(&request, &profile("generic"));
        assert_eq!(chat["messages"], messages, "{items}");
    }
    let request = request(&json!([developer("A")]));
    assert_eq!(
        shape(&chat_with(&request, &profile("openai"))),
        ["developer"]
    );
}
