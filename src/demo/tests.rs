//! The script on requests as clients send them.

mod server;

use serde_json::{Value, json};

use super::filler::{Purpose, fill};
use super::script::{COMMAND, Step, script};

fn tool(name: &str, parameters: &Value) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": parameters } })
}

fn exec_command() -> Value {
    tool(
        "exec_command",
        &json!({
            "type": "object",
            "properties": { "cmd": { "type": "string" }, "workdir": { "type": "string" } },
            "required": ["cmd"],
        }),
    )
}

fn weather() -> Value {
    tool(
        "get_weather",
        &json!({
            "type": "object",
            "properties": {
                "location": { "type": "string" },
                "unit": { "type": "string", "enum": ["celsius", "fahrenheit"] },
                "days": { "type": "integer", "minimum": 3 },
            },
            "required": ["location", "unit", "days"],
        }),
    )
}

fn ask(text: &str, tools: &[Value]) -> Vec<Step> {
    script(&json!({ "messages": [{ "role": "user", "content": text }], "tools": tools }))
}

/// Name and arguments of the call the steps end with.
fn called(steps: &[Step]) -> Option<(&str, Value)> {
    match steps.last()? {
        Step::Call { name, arguments } => Some((name, serde_json::from_str(arguments).unwrap())),
        _ => None,
    }
}

/// The text the steps end with.
fn said(steps: &[Step]) -> &str {
    match steps.last() {
        Some(Step::Say(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}

fn after_result(name: &str, arguments: &str, output: &Value) -> Vec<Step> {
    script(&json!({
        "messages": [
            { "role": "user", "content": "run a command" },
            { "role": "assistant", "content": null, "tool_calls": [{
                "id": "call_1", "type": "function",
                "function": { "name": name, "arguments": arguments },
            }] },
            { "role": "tool", "tool_call_id": "call_1", "content": output },
        ],
        "tools": [exec_command()],
    }))
}

#[test]
fn a_greeting_is_answered_in_words_after_a_thought() {
    let steps = ask("hello, who are you?", &[exec_command()]);
    assert!(matches!(steps[0], Step::Think(_)));
    assert!(said(&steps).contains("no real model behind me"));
    assert_eq!(steps.len(), 2);
}

#[test]
fn each_shell_tool_gets_the_harmless_command_in_its_own_form() {
    let command = |kind: &str| {
        json!({ "type": "object", "properties": { "command": { "type": kind } },
            "required": ["command"] })
    };
    let array = json!({ "command": ["bash", "-lc", COMMAND] });
    for (tool, expected) in [
        (exec_command(), json!({ "cmd": COMMAND })),
        (
            tool("exec_command", &Value::Null),
            json!({ "cmd": COMMAND }),
        ),
        (tool("shell", &command("array")), array.clone()),
        (tool("shell", &Value::Null), array.clone()),
        (tool("local_shell", &command("array")), array),
        (
            tool("shell", &command("string")),
            json!({ "command": COMMAND }),
        ),
        (
            tool("shell_command", &command("string")),
            json!({ "command": COMMAND }),
        ),
    ] {
        let other = self::tool("view_image", &Value::Null);
        let steps = ask("Please run a shell command.", &[other, tool.clone()]);
        assert!(matches!(steps[0], Step::Think(_)));
        let (name, arguments) = called(&steps).unwrap();
        assert_eq!(name, tool["function"]["name"]);
        assert_eq!(arguments, expected);
    }
}

#[test]
fn words_count_whole_and_only_when_a_tool_is_offered() {
    assert_eq!(
        called(&ask("is lsd a false bruntool?", &[exec_command()])),
        None
    );
    assert_eq!(called(&ask("run ls", &[])), None);
    let two = [tool("a", &Value::Null), tool("b", &Value::Null)];
    assert_eq!(called(&ask("run the tool", &two)), None);
}

#[test]
fn the_weather_tool_is_called_with_arguments_from_its_schema() {
    let steps = ask(
        "What is the weather in New York, please?",
        &[exec_command(), weather()],
    );
    let expected = json!({ "location": "New York", "unit": "celsius", "days": 3 });
    assert_eq!(called(&steps), Some(("get_weather", expected)));
    let steps = ask("How is the weather in this town?", &[weather()]);
    assert_eq!(called(&steps).unwrap().1["location"], "Paris");
}

#[test]
fn tool_choice_is_obeyed() {
    let with = |text: &str, choice: &Value| {
        script(&json!({
            "messages": [{ "role": "user", "content": text }],
            "tools": [exec_command(), weather()], "tool_choice": choice,
        }))
    };
    assert_eq!(called(&with("run ls", &json!("none"))), None);
    assert!(called(&with("hello", &json!("required"))).is_some());
    let named = json!({ "type": "function", "function": { "name": "get_weather" } });
    assert_eq!(called(&with("hello", &named)).unwrap().0, "get_weather");
}

#[test]
fn only_the_last_user_message_counts_and_content_may_be_parts() {
    let context = "<environment_context>run ls command</environment_context>";
    let parts = |text: &str| json!([{ "type": "text", "text": text }]);
    let request = |last: &str| {
        json!({
            "messages": [
                { "role": "system", "content": "run every command" },
                { "role": "user", "content": parts(context) },
                { "role": "user", "content": parts(last) },
            ],
            "tools": [exec_command()],
        })
    };
    assert_eq!(called(&script(&request("hi"))), None);
    assert!(called(&script(&request("run ls"))).is_some());
    // Joined into one message by a profile that allows no two user messages in a row.
    assert_eq!(called(&script(&request(&format!("{context}\n\nhi")))), None);
}

#[test]
fn a_result_is_quoted_without_codex_wrapper_lines() {
    let output = "Chunk ID: abc123\nWall time: 0.0000 seconds\nProcess exited with code 0\n\
        Original token count: 3\nOutput:\nhello from the Antiphon demo\n/tmp\n\na.txt\n";
    let arguments = json!({ "cmd": COMMAND }).to_string();
    let steps = after_result("exec_command", &arguments, &json!(output));
    let text = said(&steps);
    assert!(text.starts_with(
        "The command ran. This is what came back:\n\n    hello from the Antiphon demo\n    /tmp\n"
    ));
    assert!(text.contains("    a.txt\n") && text.contains("harmless"));
    assert!(text.contains("proxy.toml") && !text.contains("Chunk ID"));
}

#[test]
fn results_are_summed_up_honestly() {
    let arguments = json!({ "command": ["bash", "-lc", COMMAND] }).to_string();
    let wrapped = json!({ "output": "no\n", "metadata": { "exit_code": 2 } }).to_string();
    let parts = json!([{ "type": "text", "text": "Wall time: 1 seconds\nOutput:" },
        { "type": "text", "text": "5" }]);
    for (name, arguments, output, expected) in [
        (
            "shell",
            &*arguments,
            json!(wrapped),
            "The command ended with exit code 2. Its output",
        ),
        (
            "shell",
            &arguments,
            json!("Exit code: 0\nOutput:\n"),
            "The command ran and sent nothing",
        ),
        (
            "shell",
            &arguments,
            json!("Wall time: 1 s\naborted by user"),
            "The command was not run.",
        ),
        (
            "add",
            "{}",
            parts,
            "The tool `add` ran. This is what came back:\n\n    5\n\nThis answer",
        ),
        (
            "shell",
            "{\"command\":\"rm x\"}",
            json!("x"),
            "The command ran. This is what came back:",
        ),
    ] {
        let steps = after_result(name, arguments, &output);
        assert!(said(&steps).starts_with(expected), "{}", said(&steps));
        // A command somebody else chose is not called harmless.
        let ours = arguments.contains("Antiphon demo");
        assert_eq!(said(&steps).contains("harmless"), ours);
    }
}

#[test]
fn long_results_are_cut() {
    let output: Vec<String> = (0..20).map(|line| format!("line {line}")).collect();
    let steps = after_result("exec_command", "{}", &json!(output.join("\n")));
    assert!(said(&steps).contains("    line 7\n    … and 12 more lines\n"));
}

#[test]
fn nothing_is_called_right_after_a_tool_result() {
    let image = json!([{ "type": "image_url", "image_url": { "url": "data:," } }]);
    for (content, text) in [
        (image, "came back"),
        (json!("run the tool"), "no real model"),
    ] {
        let steps = script(&json!({
            "messages": [
                { "role": "user", "content": "run a command" },
                { "role": "assistant", "tool_calls": [] },
                { "role": "tool", "tool_call_id": "call_1", "content": "x" },
                { "role": "user", "content": content },
            ],
            "tools": [exec_command()], "tool_choice": "required",
        }));
        assert!(said(&steps).contains(text));
    }
}

#[test]
fn compaction_gets_a_summary() {
    let prompt = "You are performing a CONTEXT CHECKPOINT COMPACTION. List files and run tools.";
    assert!(said(&ask(prompt, &[exec_command()])).starts_with("Summary so far"));
}

#[test]
fn structured_output_fits_the_schema() {
    let schema = json!({
        "type": "object",
        "required": ["title", "kind", "count", "ok", "tags", "node", "maybe", "when"],
        "properties": {
            "title": { "type": "string", "maxLength": 36 },
            "kind": { "enum": ["first", "second"] },
            "count": { "type": "integer" },
            "ok": { "type": "boolean" },
            "tags": { "type": "array", "items": { "type": "string" } },
            "node": { "$ref": "#/$defs/node" },
            "maybe": { "type": ["null", "string"] },
            "when": { "anyOf": [{ "type": "null" }, { "type": "string", "format": "date" }] },
            "left_out": { "type": "string" },
        },
        "$defs": { "node": {
            "type": "object",
            "required": ["name", "next"],
            "properties": {
                "name": { "type": "string" },
                "next": { "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "null" }] },
            },
        } },
    });
    let steps = script(&json!({
        "messages": [{ "role": "user", "content": "run a command" }],
        "tools": [exec_command()],
        "response_format": { "type": "json_schema", "json_schema": { "schema": schema } },
    }));
    let document: Value = serde_json::from_str(said(&steps)).unwrap();
    let demo = json!("demo");
    assert_eq!(document["title"], "A look at Antiphon");
    assert_eq!(document["kind"], "first");
    assert_eq!(
        (&document["count"], &document["ok"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(
        (&document["tags"], &document["maybe"]),
        (&json!(["demo"]), &demo)
    );
    assert_eq!(
        (&document["when"], &document["node"]["name"]),
        (&json!("2026-01-01"), &demo)
    );
    assert!(document.get("left_out").is_none());
}

#[test]
fn endless_schemas_end() {
    let schema = json!({
        "required": ["a", "b", "c"],
        "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#" },
            "c": { "type": "array", "items": { "$ref": "#" } } },
    });
    assert!(fill(&schema, Purpose::Document).is_object());
    assert_eq!(
        fill(&json!({ "$ref": "#" }), Purpose::Document),
        Value::Null
    );
    assert_eq!(
        fill(&json!({ "$ref": "#/gone" }), Purpose::Document),
        Value::Null
    );
}

#[test]
fn a_json_object_without_schema_is_small() {
    let steps = script(&json!({
        "messages": [{ "role": "user", "content": "hi" }],
        "response_format": { "type": "json_object" },
    }));
    assert_eq!(steps, [Step::Say(r#"{"demo":true}"#.to_owned())]);
}
