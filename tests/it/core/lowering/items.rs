//! Items: outputs find their calls, and nothing in them is lost or breaks the request.

use antiphon::responses::CreateResponse;
use antiphon::translate::{LowerError, LoweringOptions, lower};
use serde_json::{Value, json};

use super::{call, chat, lowered_text, output, shape, user};
use crate::core::support::profile;

const PIXEL: &str = "data:image/png;base64,AAAA";

fn tool_text(items: Value) -> String {
    let chat = chat(items, json!({}));
    let messages = chat["messages"].as_array().expect("messages");
    let tool = messages.iter().find(|message| message["role"] == "tool");
    tool.and_then(|tool| tool["content"].as_str())
        .expect("a tool message of text")
        .to_owned()
}

#[test]
fn an_output_answers_the_latest_call_before_it() {
    let items = json!([
        user("go"),
        call("x"),
        user("stop"),
        call("x"),
        output("x", "second"),
        user("on")
    ]);
    let chat = chat(items, json!({}));
    assert_eq!(
        shape(&chat),
        [
            "user",
            "assistant [x]",
            "tool x",
            "user",
            "assistant [x]",
            "tool x",
            "user"
        ]
    );
    assert_ne!(chat["messages"][2]["content"], "second");
    assert_eq!(chat["messages"][5]["content"], "second");
}

#[test]
fn calls_of_one_turn_that_share_an_id_are_answered_in_order() {
    let items = json!([
        user("go"),
        call("x"),
        call("x"),
        output("x", "1"),
        output("x", "2")
    ]);
    let chat = chat(items, json!({}));
    assert_eq!(
        shape(&chat),
        ["user", "assistant [x x]", "tool x", "tool x"]
    );
    assert_eq!(chat["messages"][2]["content"], "1");
    assert_eq!(chat["messages"][3]["content"], "2");
}

#[test]
fn an_output_may_stand_before_its_call() {
    let items = json!([user("go"), output("x", "early"), call("x"), user("on")]);
    let chat = chat(items, json!({}));
    assert_eq!(shape(&chat), ["user", "assistant [x]", "tool x", "user"]);
    assert_eq!(chat["messages"][2]["content"], "early");
}

#[test]
fn a_second_output_of_a_call_is_kept_as_text() {
    let items = json!([user("go"), call("x"), output("x", "1"), output("x", "2")]);
    let chat = chat(items, json!({}));
    assert_eq!(shape(&chat), ["user", "assistant [x]", "tool x", "user"]);
    assert_eq!(chat["messages"][2]["content"], "1");
    assert!(chat["messages"][3]["content"].to_string().contains('2'));
}

#[test]
fn a_local_shells_output_may_name_its_call_as_its_id() {
    let call = json!({"type": "local_shell_call", "id": "lsh", "call_id": "c", "status": "completed", "action": {"type": "exec", "command": ["ls"]}});
    let output = json!({"type": "local_shell_call_output", "id": "c", "output": "file.txt"});
    assert_eq!(tool_text(json!([user("ls"), call, output])), "file.txt");
}

#[test]
fn of_a_patch_the_status_is_told_where_there_is_no_output() {
    let call = json!({"type": "apply_patch_call", "call_id": "c", "operation": {"type": "delete_file", "path": "a"}});
    for (output, text) in [
        (json!({"status": "failed"}), "failed"),
        (json!({"status": "completed", "output": null}), "completed"),
        (
            json!({"status": "failed", "output": "No such file"}),
            "No such file",
        ),
    ] {
        let mut item = json!({"type": "apply_patch_call_output", "call_id": "c"});
        for (key, value) in output.as_object().into_iter().flatten() {
            item[key] = value.clone();
        }
        assert_eq!(tool_text(json!([user("p"), call, item])), text);
    }
}

#[test]
fn what_a_shell_printed_is_readable() {
    let call = json!({"type": "shell_call", "call_id": "c", "action": {"commands": ["a", "b"]}});
    let output = json!({"type": "shell_call_output", "call_id": "c", "output": [
        {"stdout": "one\ntwo\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}},
        {"stdout": "", "stderr": "late", "outcome": {"type": "timeout"}},
    ]});
    assert_eq!(
        tool_text(json!([user("go"), call, output])),
        "one\ntwo\n(exit code 0)\n\nstderr:\nlate\n(timed out)"
    );
    let output = json!({"type": "shell_call_output", "call_id": "c", "output": "as text"});
    assert_eq!(tool_text(json!([user("go"), call, output])), "as text");
}

#[test]
fn a_part_that_cannot_be_shown_takes_no_other_with_it() {
    let text = json!({"type": "input_text", "text": "IMPORTANT"});
    let picture = json!({"type": "input_image", "image_url": PIXEL});
    for odd in [
        json!({"type": "input_image", "file_id": "file_1"}),
        json!({"type": "input_file", "file_url": "https://example.org/a.pdf"}),
        json!({"type": "input_hologram", "data": "x"}),
        json!({"type": "input_text", "text": 5}),
        json!(5),
        json!(null),
    ] {
        let items = json!([user("go"), call("c"), {"type": "function_call_output", "call_id": "c", "output": [text, odd, picture]}]);
        let chat = chat(items, json!({}));
        let told = chat["messages"][2]["content"].as_str().expect("text");
        assert!(told.starts_with("IMPORTANT\n("), "{odd}: {told}");
        assert!(told.ends_with("cannot be shown)"), "{odd}: {told}");
        assert_eq!(
            chat["messages"][3]["content"][1]["image_url"]["url"], PIXEL,
            "{odd}"
        );
    }
    // A list that holds no parts at all is data.
    let items = json!([user("go"), call("c"), {"type": "function_call_output", "call_id": "c", "output": [{"a": 1}, 2]}]);
    assert_eq!(tool_text(items), r#"[{"a":1},2]"#);
}

#[test]
fn in_a_message_what_cannot_be_sent_is_refused() {
    let odd = json!({"model": "x", "input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]});
    let body = odd.to_string();
    let request = CreateResponse::parse(body.as_bytes()).expect("a request reads");
    let profile = profile("generic");
    let options = LoweringOptions {
        profile: &profile,
        model: "m",
        effort: None,
        seal: &super::Backwards,
    };
    let Err(LowerError::Invalid(error)) = lower(request, &options) else {
        unreachable!("the request is wrong, and that is all that is wrong with it");
    };
    assert_eq!(
        error.param.as_deref(),
        Some("input[0].content[0].image_url")
    );
}

#[test]
fn parts_of_what_the_model_said_are_one_text() {
    let part = |text: &str| json!({"type": "output_text", "text": text});
    let items = json!([
        user("go"),
        {"role": "assistant", "content": [part("foo"), part("bar")]},
        {"role": "user", "content": [part("a"), part("b")]},
    ]);
    let chat = chat(items, json!({}));
    assert_eq!(chat["messages"][1]["content"], "foobar");
    assert_eq!(chat["messages"][2]["content"], "a\n\nb");
}

#[test]
fn an_item_of_a_kind_that_nobody_knows_may_hold_anything() {
    for odd in [
        r#"{"type": "future", "content": [1, "a", null], "name": {"a": 1}, "tools": "x", "role": 5}"#,
        r#"{"content": [1], "name": {"a": 1}, "id": 7, "text": 1, "summary": 3, "type": "future"}"#,
        r#"{"id": [], "role": {"a": 1}, "type": "future", "content": 4}"#,
    ] {
        let body = format!(
            r#"{{"model":"x","input":[{},{odd},{}]}}"#,
            user("a"),
            user("b")
        );
        let (chat, notes) = lowered_text(&body, &profile("generic"));
        assert_eq!(shape(&chat), ["user", "user"], "{odd}");
        assert!(
            notes.iter().any(|note| note.contains("future")),
            "{notes:?}"
        );
    }
}

#[test]
fn items_read_the_same_in_whatever_order_their_keys_are() {
    for item in [
        r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}"#,
        r#"{"content":[{"text":"hi","type":"input_text"}],"role":"user","type":"message"}"#,
        r#"{"id":"msg_1","content":"hi","role":"user","status":null,"type":null}"#,
        r#"{"role":"user","content":"hi"}"#,
        r#"{"content":"hi","role":"user"}"#,
    ] {
        let body = format!(r#"{{"model":"x","input":[{item}]}}"#);
        let (chat, _) = lowered_text(&body, &profile("generic"));
        assert_eq!(chat["messages"], json!([user("hi")]), "{item}");
    }
}

#[test]
fn what_is_wrong_in_an_item_of_a_known_kind_is_named() {
    for (item, param) in [
        (
            r#"{"type":"function_call","call_id":5}"#,
            "input[0].call_id",
        ),
        (
            r#"{"role":"user","content":[{"type":"input_text","text":5}]}"#,
            "input[0].content[0].text",
        ),
        (r#"{"call_id":5,"type":"function_call"}"#, "input[0]"),
        (r#"5"#, "input[0]"),
        (r#"["message"]"#, "input[0]"),
    ] {
        let body = format!(r#"{{"model":"x","input":[{item}]}}"#);
        let error = CreateResponse::parse(body.as_bytes()).expect_err("a refusal");
        assert_eq!(error.param.as_deref(), Some(param), "{item}: {error:?}");
    }
}
