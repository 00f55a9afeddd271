//! Literal event lists and exactly what is printed for them.

use serde_json::json;

use super::{Printer, Style};

const READABLE: Style = Style {
    color: false,
    verbose: false,
};

fn show(style: Style, events: &[&str]) -> String {
    let mut out = Vec::new();
    let mut printer = Printer::new(&mut out, style);
    for event in events {
        printer.event(event.as_bytes()).unwrap();
    }
    printer.finish().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_whole_turn() {
    let events = [
        r#"{"type":"response.created","response":{"id":"resp_0199a2b3c4d5e6f7","model":"demo"}}"#,
        r#"{"type":"response.in_progress","response":{"id":"resp_0199a2b3c4d5e6f7"}}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[]}}"#,
        r#"{"type":"response.reasoning_summary_part.added","output_index":0,"summary_index":0}"#,
        r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"I should"}"#,
        r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":" look.\n\nThen"}"#,
        r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":1,"delta":"Second part"}"#,
        r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"x"}]}}"#,
        r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"message","id":"msg_1","role":"assistant","content":[]}}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"Hello,\nI am"}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":" here.\n"}"#,
        r#"{"type":"response.output_text.done","output_index":1,"content_index":0,"text":"Hello"}"#,
        r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"message","id":"msg_1","status":"completed"}}"#,
        r#"{"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"exec_command","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"{\"cmd\":"}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"\"ls\"}"}"#,
        r#"{"type":"response.function_call_arguments.done","output_index":2,"arguments":"{}"}"#,
        r#"{"type":"response.output_item.done","output_index":2,"item":{"type":"function_call","status":"completed","arguments":"{}"}}"#,
        r#"{"type":"response.completed","response":{"usage":{"input_tokens":12,"input_tokens_details":{"cached_tokens":0},"output_tokens":34,"output_tokens_details":{"reasoning_tokens":5}}}}"#,
        "[DONE]",
    ];
    let expected = "\
response.created            resp_0199a2b…  model demo
  ┌ reasoning  rs_1
  │ I should look.
  │
  │ Then
  │ Second part
  └ done
  ┌ message    msg_1
  │ Hello,
  │ I am here.
  └ done
  ┌ function_call  exec_command  call_1
  │ {\"cmd\":\"ls\"}
  └ done
response.completed          12 in · 34 out tokens  (5 reasoning, 0 cached)
";
    assert_eq!(show(READABLE, &events), expected);
}

#[test]
fn items_without_deltas_show_what_they_contain() {
    let events = [
        r#"{"type":"response.output_item.done","item":{"type":"custom_tool_call","name":"apply_patch","call_id":"c1","input":"*** Begin\n*** End"}}"#,
        r#"{"type":"response.output_item.done","item":{"type":"function_call","namespace":"mcp__calc","name":"add","call_id":"c2","arguments":"{}"}}"#,
        r#"{"type":"response.output_item.done","item":{"type":"message","content":[{"type":"output_text","text":"a"},{"type":"refusal","refusal":"no"}]}}"#,
        r#"{"type":"response.output_item.done","item":{"type":"web_search_call","id":"ws_1","status":"failed","action":{"type":"search"}}}"#,
        r#"{"type":"response.completed","response":{"usage":null}}"#,
    ];
    let expected = "  ┌ custom_tool_call  apply_patch  c1
  │ *** Begin
  │ *** End
  └ done
  ┌ function_call  mcp__calc/add  c2
  │ {}
  └ done
  ┌ message
  │ a
  │ refusal: no
  └ done
  ┌ web_search_call  ws_1
  │ {\"type\":\"search\"}
  └ failed
response.completed          no usage reported
";
    assert_eq!(show(READABLE, &events), expected);
}

#[test]
fn custom_input_and_refusals_stream() {
    let events = [
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"custom_tool_call","name":"exec","call_id":"c1","input":""}}"#,
        r#"{"type":"response.custom_tool_call_input.delta","output_index":0,"delta":"text(1)"}"#,
        r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"custom_tool_call","input":"text(1)"}}"#,
        r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"message","id":"msg_1"}}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"Well"}"#,
        r#"{"type":"response.refusal.delta","output_index":1,"content_index":1,"delta":"I will"}"#,
        r#"{"type":"response.refusal.delta","output_index":1,"content_index":1,"delta":" not."}"#,
        r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"message"}}"#,
    ];
    let expected = "  ┌ custom_tool_call  exec  c1
  │ text(1)
  └ done
  ┌ message    msg_1
  │ Well
  │ refusal: I will not.
  └ done
";
    assert_eq!(show(READABLE, &events), expected);
}

#[test]
fn interleaved_calls_say_which_one_goes_on() {
    let added = |index: u64| {
        json!({ "type": "response.output_item.added", "output_index": index,
            "item": { "type": "function_call", "name": "f", "call_id": format!("c{index}") } })
        .to_string()
    };
    let delta = |index: u64, delta: &str| {
        json!({ "type": "response.function_call_arguments.delta", "output_index": index,
            "delta": delta })
        .to_string()
    };
    let done = |index: u64| {
        json!({ "type": "response.output_item.done", "output_index": index,
            "item": { "type": "function_call" } })
        .to_string()
    };
    let events = [
        added(0),
        delta(0, "{"),
        added(1),
        delta(1, "[]"),
        delta(0, "}"),
        done(1),
        done(0),
    ];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let expected = "  ┌ function_call  f  c0
  │ {
  ┌ function_call  f  c1
  │ []
  ├ function_call  f  c0
  │ }
  ├ function_call  f  c1
  └ done
  └ done
";
    assert_eq!(show(READABLE, &events), expected);
}

#[test]
fn ends_that_are_not_happy_are_clear() {
    let events = [
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"m"}}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"delta":"Hel"}"#,
        r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"first\nsecond"}}}"#,
        r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":1,"output_tokens":2}}}"#,
        r#"{"type":"error","code":"rate_limit_exceeded","message":"slow down"}"#,
        r#"{"type":"error","error":{"type":"invalid_request_error","code":null,"message":"bad"}}"#,
        r#"{"type":"error"}"#,
    ];
    let expected = "  ┌ message    m
  │ Hel
  └ message cut off
response.failed             server_error: first
                            second
response.incomplete         max_output_tokens  1 in · 2 out tokens  (0 reasoning, 0 cached)
error                       rate_limit_exceeded: slow down
error                       invalid_request_error: bad
error                       no details given
";
    assert_eq!(show(READABLE, &events), expected);
}

#[test]
fn what_is_unknown_takes_one_line() {
    let events = [
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"m"}}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"delta":"a"}"#,
        r#"{"type":"response.new_thing","output_index":0}"#,
        r#"{"type":"response.output_text.delta","output_index":0,"delta":"b"}"#,
        "{oops",
        r#"{"a": 1}"#,
    ];
    let expected = "  ┌ message    m
  │ a
  · response.new_thing
  │ b
  · not an event: {oops
  · event without type: {\"a\":1}
  └ message cut off
";
    assert_eq!(show(READABLE, &events), expected);
}

#[test]
fn text_cannot_steer_the_terminal() {
    let event =
        json!({ "type": "response.output_text.delta", "delta": "a\u{1b}[2Jb\r\n\tc\u{9b}" });
    let shown = show(READABLE, &[&event.to_string()]);
    assert_eq!(shown, "  │ a\u{fffd}[2Jb\n  │ \tc\u{fffd}\n");
}

#[test]
fn colour_marks_text_and_ends_at_once() {
    let style = Style {
        color: true,
        verbose: false,
    };
    let events = [
        r#"{"type":"response.reasoning_text.delta","delta":"hm"}"#,
        r#"{"type":"response.failed","response":{"error":{"code":"c","message":"m"}}}"#,
    ];
    let expected = "\x1b[2m  │ \x1b[0m\x1b[2mhm\x1b[0m\n\
        \x1b[31mresponse.failed             \x1b[0m\x1b[31mc: m\x1b[0m\n";
    assert_eq!(show(style, &events), expected);
}

#[test]
fn verbose_is_a_line_for_each_event() {
    let style = Style {
        color: false,
        verbose: true,
    };
    let long = format!(
        r#"{{"type":"response.output_text.delta","sequence_number":12,"delta":"{}"}}"#,
        "x".repeat(200)
    );
    let events = [
        "{\n  \"type\": \"response.created\",\n  \"sequence_number\": 0, \"b\": \"x \\\" y\", \"a\": 1 }",
        &long,
        "[DONE]",
    ];
    let shown = show(style, &events);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[0],
        r#"   0  response.created  {"type":"response.created","sequence_number":0,"b":"x \" y","a":1}"#
    );
    let (start, json) = lines[1].split_at("  12  response.output_text.delta  ".len());
    assert_eq!(start, "  12  response.output_text.delta  ");
    assert_eq!((json.chars().count(), json.ends_with('…')), (161, true));
    assert_eq!(lines[2], "   -    [DONE]");
    assert_eq!(lines.len(), 3);
}
