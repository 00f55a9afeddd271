//! Tools for a model that has none.

use antiphon::profile::{self, Profile};
use serde_json::{Value, json};

use super::{call, chat_with, output, user};

fn prompted(more: &str) -> Profile {
    let own = format!("tools = \"prompt\"\n{more}");
    profile::resolve("generic", "", None, &own.parse().expect("a table"))
        .expect("a profile")
        .1
}

fn chat(more: &Value, profile: &Profile) -> Value {
    let function = |name: &str| json!({"type": "function", "name": name, "description": "Does it.", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}});
    let mut request = json!({"model": "x", "instructions": "Be kind.", "input": [user("go")], "tools": [function("f"), function("g")]});
    for (key, value) in more.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    chat_with(&request, profile)
}

fn system(chat: &Value) -> String {
    chat["messages"][0]["content"]
        .as_str()
        .expect("text")
        .to_owned()
}

#[test]
fn tools_are_told_in_the_system_message() {
    let chat = chat(
        &json!({"tool_choice": "auto", "parallel_tool_calls": true}),
        &prompted(""),
    );
    for key in ["tools", "tool_choice", "parallel_tool_calls"] {
        assert_eq!(chat.get(key), None, "{key}");
    }
    let told = system(&chat);
    assert!(told.starts_with("Be kind.\n\n# Functions\n\n"), "{told}");
    let line = told
        .lines()
        .find(|line| line.starts_with('{'))
        .expect("a line for f");
    assert_eq!(
        serde_json::from_str::<Value>(line).expect("JSON"),
        json!({"name": "f", "description": "Does it.", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}})
    );
    assert_eq!(told.matches("\"description\":\"Does it.\"").count(), 2);
    assert!(told.contains("<tool_call>\n{\"name\""), "{told}");
}

#[test]
fn the_choice_is_told_in_words() {
    let told = |choice: Value| system(&chat(&json!({"tool_choice": choice}), &prompted("")));
    assert!(told(json!("none")).contains("Do not call any function now"));
    assert!(told(json!("required")).contains("must call a function now"));
    assert!(
        told(json!({"type": "function", "name": "g"})).contains("must call the function `g` now")
    );
    let allowed = told(
        json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}),
    );
    assert!(
        !allowed.contains("\"name\":\"f\"") && allowed.contains("must call a function now"),
        "{allowed}"
    );
    assert!(!told(json!("auto")).contains("now"));
    let one = system(&chat(&json!({"parallel_tool_calls": false}), &prompted("")));
    assert!(one.contains("no more than one call"), "{one}");
}

#[test]
fn calls_and_outputs_are_text_in_the_history() {
    let input = json!([
        user("go"),
        {"role": "assistant", "content": "Look:"},
        call("a"),
        call("b"),
        output("a", "1"),
        output("b", "2"),
        user("and?"),
    ]);
    let said = |profile: &Profile| chat(&json!({"input": input}), profile)["messages"].clone();
    let name = said(&prompted(""))[2]["content"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(
        name.starts_with("Look:\n\n<tool_call>\n{\"name\": "),
        "{name}"
    );
    assert_eq!(name.matches("</tool_call>").count(), 2);
    assert_eq!(said(&prompted(""))[2].get("tool_calls"), None);
    let outputs = "<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>";
    assert_eq!(
        said(&prompted(""))[3],
        json!({"role": "user", "content": outputs})
    );
    assert_eq!(said(&prompted(""))[4]["content"], "and?");
    let merged = said(&prompted("user_runs = \"merge\""));
    assert_eq!(merged[3]["content"], format!("{outputs}\n\nand?"));
}

#[test]
fn without_tools_nothing_is_told() {
    let chat = chat(&json!({"tools": []}), &prompted(""));
    assert_eq!(system(&chat), "Be kind.");
}

fn formatted(by: &str, format: &Value) -> Value {
    let own = format!("response_format = \"{by}\"");
    let profile = profile::resolve("generic", "", None, &own.parse().expect("a table"));
    let request = json!({"model": "x", "instructions": "Be kind.", "input": [user("go")], "text": {"format": format}});
    chat_with(&request, &profile.expect("a profile").1)
}

#[test]
fn a_form_that_the_server_does_not_know_is_told_in_words() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let format =
        json!({"type": "json_schema", "name": "n", "description": "A pet.", "schema": schema});
    let chat = formatted("json_schema", &format);
    assert_eq!(chat["response_format"]["json_schema"]["schema"], schema);
    assert_eq!(system(&chat), "Be kind.");

    let object = json!({"type": "json_object"});
    for (by, field) in [("json_object", object.clone()), ("prompt", Value::Null)] {
        let chat = formatted(by, &format);
        assert_eq!(chat["response_format"], field, "{by}");
        let told = system(&chat);
        assert!(told.starts_with("Be kind.\n\n"), "{told}");
        assert!(told.contains("A pet."), "{told}");
        let line = told.lines().last().expect("a line");
        assert_eq!(serde_json::from_str::<Value>(line).expect("JSON"), schema);
    }
    assert_eq!(system(&formatted("json_object", &object)), "Be kind.");
    assert_eq!(formatted("json_object", &object)["response_format"], object);
    assert!(system(&formatted("prompt", &object)).contains("one JSON object"));
    assert_eq!(formatted("prompt", &object).get("response_format"), None);
    assert_eq!(
        system(&formatted("prompt", &json!({"type": "text"}))),
        "Be kind."
    );
}
