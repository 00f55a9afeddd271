//! Each way in which chat servers' streams differ from the reference, and what becomes of it.

use serde_json::{Value, json};

use super::support::{profile, run};
use crate::grammar;
use crate::support::events::parse;
use antiphon::translate::ToolMap;

/// The response at the end, when an upstream sends these bytes.
fn response_to(bytes: &[u8]) -> Value {
    let out = run(&[bytes], &profile("generic"), ToolMap::default());
    let events = parse(&out);
    grammar::check(&events);
    events.last().expect("a terminal event").data["response"].clone()
}

fn frame(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// A stream of deltas that ends like this.
fn stream(deltas: &[Value], finish: Option<&str>, done: bool) -> Vec<u8> {
    let mut out = String::new();
    for delta in deltas {
        out.push_str(&frame(&json!({"choices": [{"index": 0, "delta": delta}]})));
    }
    if let Some(reason) = finish {
        out.push_str(&frame(
            &json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}),
        ));
    }
    if done {
        out.push_str("data: [DONE]\n\n");
    }
    out.into_bytes()
}

fn response(deltas: &[Value]) -> Value {
    response_to(&stream(deltas, Some("stop"), true))
}

/// Name and arguments of each call, text of each message, `~` and text of each thought.
fn said(deltas: &[Value]) -> Vec<String> {
    let response = response(deltas);
    assert_eq!(response["status"], "completed", "{response}");
    items(&response)
}

fn items(response: &Value) -> Vec<String> {
    let text = |item: &Value| -> String {
        let parts = item["content"].as_array().into_iter().flatten();
        parts
            .filter_map(|part| part["text"].as_str().or_else(|| part["refusal"].as_str()))
            .collect()
    };
    let items = response["output"].as_array().expect("an output").iter();
    let shown = items.map(|item| match item["type"].as_str() {
        Some("function_call") => {
            format!(
                "{}{}",
                item["name"].as_str().unwrap_or_default(),
                item["arguments"].as_str().unwrap_or_default()
            )
        }
        Some("reasoning") => format!("~{}", text(item)),
        _ => text(item),
    });
    shown.collect()
}

fn tool(call: &Value) -> Value {
    json!({"tool_calls": [call]})
}

fn fragment(index: Value, id: Value, name: Value, arguments: Value) -> Value {
    let mut call = json!({"function": {}});
    for (key, value) in [("index", index), ("id", id)] {
        if !value.is_null() {
            call[key] = value;
        }
    }
    for (key, value) in [("name", name), ("arguments", arguments)] {
        if !value.is_null() {
            call["function"][key] = value;
        }
    }
    tool(&call)
}

macro_rules! frag {
    ($index:tt, $id:tt, $name:tt, $arguments:tt) => {
        fragment(json!($index), json!($id), json!($name), json!($arguments))
    };
}

#[test]
fn fragments_belong_together_by_index_id_or_place() {
    let whole = ["f{\"a\":1}"];
    for fragments in [
        vec![
            frag!(0, "x", "f", ""),
            frag!(0, null, null, "{\"a\""),
            frag!(0, null, null, ":1}"),
        ],
        vec![frag!(0, "x", "f", "{\"a\""), frag!(0, "x", "f", ":1}")],
        vec![frag!(0, "x", "f", "{\"a\""), frag!(0, "", "", ":1}")],
        vec![
            frag!(null, "x", "f", "{\"a\""),
            frag!(null, null, null, ":1}"),
        ],
        vec![frag!(null, "x", "f", "{\"a\""), frag!(0, null, null, ":1}")],
        vec![frag!(1, "x", "f", "{\"a\""), frag!(1, null, null, ":1}")],
        // A new id on each fragment.
        vec![frag!(0, "x", "f", "{\"a\""), frag!(0, "y", null, ":1}")],
        // The id comes late, the name comes late.
        vec![frag!(0, null, "f", "{\"a\""), frag!(0, "x", null, ":1}")],
        vec![frag!(0, "x", null, "{\"a\""), frag!(0, null, "f", ":1}")],
        // Said again at the end: by name, in full, spaced otherwise.
        vec![frag!(0, "x", "f", "{\"a\":1}"), frag!(0, null, "f", "")],
        vec![frag!(0, "x", "f", "{\"a\":1}"), frag!(0, "", "f", "")],
        vec![
            frag!(0, "x", "f", "{\"a\":1}"),
            frag!(0, null, null, "{\"a\":1}"),
        ],
        vec![
            frag!(0, "x", "f", "{\"a\":1}"),
            frag!(0, null, "f", "{ \"a\": 1 }"),
        ],
        vec![
            frag!(0, "x", "f", "{\"a\":1}"),
            frag!(0, "x", "f", "{\"a\":1}"),
        ],
        // A placeholder, then the arguments.
        vec![frag!(0, "x", "f", "{}"), frag!(0, null, null, "{\"a\":1}")],
        // An object instead of a string, a string in a string.
        vec![frag!(0, "x", "f", {"a": 1})],
        vec![frag!(0, "x", "f", "\"{\\\"a\\\":1}\"")],
    ] {
        assert_eq!(said(&fragments), whole, "{fragments:?}");
    }
}

#[test]
fn calls_without_arguments_have_an_empty_object() {
    for arguments in [
        json!(""),
        json!(null),
        json!("{}"),
        json!("null"),
        json!(" {} "),
    ] {
        let call = fragment(json!(0), json!("x"), json!("f"), arguments.clone());
        let all = said(&[call]);
        let arguments = all[0].trim_start_matches('f').trim();
        assert_eq!(arguments, "{}", "{all:?}");
    }
}

#[test]
fn calls_are_told_apart() {
    let two = ["f{\"a\":1}", "g{\"b\":2}"];
    for fragments in [
        vec![
            frag!(0, "x", "f", "{\"a\":1}"),
            frag!(1, "y", "g", "{\"b\":2}"),
        ],
        vec![
            frag!(null, "x", "f", "{\"a\":1}"),
            frag!(null, "y", "g", "{\"b\":2}"),
        ],
        // The same index for both, with ids and without.
        vec![
            frag!(0, "x", "f", "{\"a\":1}"),
            frag!(0, "y", "g", "{\"b\":2}"),
        ],
        vec![
            frag!(0, null, "f", "{\"a\":1}"),
            frag!(0, null, "g", "{\"b\":2}"),
        ],
        vec![
            frag!(0, "", "f", "{\"a\":1}"),
            frag!(0, "", "g", "{\"b\":2}"),
        ],
        // By turns.
        vec![
            frag!(0, "x", "f", ""),
            frag!(1, "y", "g", ""),
            frag!(0, null, null, "{\"a\""),
            frag!(1, null, null, "{\"b\""),
            frag!(0, null, null, ":1}"),
            frag!(1, null, null, ":2}"),
        ],
        // Placeholders side by side.
        vec![
            frag!(0, "x", "f", "{}"),
            frag!(1, "y", "g", "{}"),
            frag!(0, null, null, "{\"a\":1}"),
            frag!(1, null, null, "{\"b\":2}"),
        ],
    ] {
        assert_eq!(said(&fragments), two, "{fragments:?}");
    }
    let twins = [
        frag!(0, "x", "f", "{\"a\":1}"),
        frag!(1, "x", "f", "{\"a\":1}"),
    ];
    let response = response(&twins);
    assert_ne!(
        response["output"][0]["call_id"],
        response["output"][1]["call_id"]
    );
}

#[test]
fn the_older_form_of_a_call_is_understood_and_not_doubled() {
    let old = |value: Value| json!({"function_call": value});
    assert_eq!(
        said(&[
            old(json!({"name": "f", "arguments": "{\"a\""})),
            old(json!({"arguments": ":1}"}))
        ]),
        ["f{\"a\":1}"]
    );
    let both = json!({
        "function_call": {"name": "f", "arguments": "{\"a\":1}"},
        "tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{\"a\":1}"}}],
    });
    assert_eq!(said(&[both]), ["f{\"a\":1}"]);
    let later = [
        old(json!({"name": "f", "arguments": "{\"a\":1}"})),
        frag!(0, "x", "f", "{\"a\":1}"),
    ];
    assert_eq!(said(&later), ["f{\"a\":1}"]);
}

#[test]
fn white_space_beside_calls_and_thinking_is_no_message() {
    let call = frag!(0, "x", "f", "{}");
    assert_eq!(
        said(&[
            json!({"content": "\n\n"}),
            call.clone(),
            json!({"content": "\n"})
        ]),
        ["f{}"]
    );
    assert_eq!(
        said(&[json!({"reasoning": "hm"}), json!({"content": "\n"}), call]),
        ["~hm", "f{}"]
    );
    assert_eq!(
        said(&[json!({"content": " \n"}), json!({"content": "a"})]),
        [" \na"]
    );
    assert_eq!(said(&[json!({"content": " "})]), [" "]);
}

#[test]
fn thinking_is_found_wherever_it_is() {
    let answer = json!({"content": "a"});
    for thought in [
        json!({"reasoning_content": "t"}),
        json!({"reasoning": "t"}),
        json!({"reasoning": {"content": "t"}}),
        json!({"reasoning": "t", "reasoning_content": "t"}),
        json!({"reasoning_details": [{"type": "reasoning.text", "text": "t"}]}),
        json!({"reasoning": "t", "reasoning_details": [{"type": "reasoning.text", "text": "t"}]}),
        json!({"thinking": "t"}),
        json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}]}),
        json!({"content": "<think>\nt\n</think>\n\n"}),
    ] {
        assert_eq!(
            said(&[thought.clone(), answer.clone()]),
            ["~t", "a"],
            "{thought}"
        );
    }
    assert_eq!(
        said(&[json!({"reasoning": "t", "content": "a"})]),
        ["~t", "a"],
        "in one chunk"
    );
    assert_eq!(
        said(&[
            json!({"reasoning": "t"}),
            json!({"content": "a"}),
            json!({"reasoning": "u"}),
            json!({"content": "b"})
        ]),
        ["~t", "a", "~u", "b"],
        "again after text"
    );
    assert_eq!(
        said(&[json!({"content": "<think>never closed"})]),
        ["~never closed"]
    );
    assert_eq!(
        said(&[json!({"content": "Use <think> as a tag"})]),
        ["Use <think> as a tag"]
    );
    assert_eq!(
        said(&[json!({"content": "<th"}), json!({"content": "e> "})]),
        ["<the> "]
    );
}

#[test]
fn refusals_citations_and_other_choices() {
    assert_eq!(
        said(&[json!({"refusal": "I "}), json!({"refusal": "won't"})]),
        ["I won't"]
    );
    let cited = [
        json!({"content": "ok"}),
        json!({"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 2}}]}),
    ];
    assert_eq!(
        response(&cited)["output"][0]["content"][0]["annotations"][0]["url"],
        "u"
    );
    assert_eq!(
        said(&[json!({"audio": {"id": "a", "transcript": "spoken"}})]),
        ["spoken"]
    );
    let other = frame(&json!({"choices": [{"index": 1, "delta": {"content": "B"}}]}));
    let mut bytes = stream(&[json!({"content": "a"})], None, false);
    bytes.extend(other.as_bytes());
    bytes.extend(stream(&[], Some("stop"), true));
    assert_eq!(items(&response_to(&bytes)), ["a"]);
}

#[test]
fn odd_fields_do_not_spoil_an_answer() {
    for odd in [
        json!({"choices": [{"index": 0, "delta": {"content": "a", "role": 7, "tool_calls": {}}}]}),
        json!({"choices": [{"index": 0, "delta": {"content": "a", "tool_calls": [null], "reasoning_details": "x"}}]}),
        json!({"choices": [{"index": "0", "delta": {"content": "a"}, "finish_reason": 3}]}),
        json!({"choices": [{"delta": {"content": [null, "a"]}}], "error": {}}),
        json!({"choices": [{"delta": {"content": "a"}}], "error": false, "usage": "none"}),
        json!({"choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 1.0, "completion_tokens": -2, "total_tokens": "3"}}),
        json!({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [{"token": 1, "bytes": [300]}]}}]}),
    ] {
        let bytes = [frame(&odd).into_bytes(), stream(&[], Some("stop"), true)].concat();
        let response = response_to(&bytes);
        assert_eq!(
            (response["status"].as_str(), items(&response)),
            (Some("completed"), vec!["a".to_owned()]),
            "{odd}"
        );
    }
    let numbered = json!({"tool_calls": [{"index": "0", "id": 17, "function": {"name": "f", "arguments": "{}"}}]});
    assert_eq!(response(&[numbered])["output"][0]["call_id"], "17");
}

#[test]
fn broken_text_is_mended() {
    for (raw, text) in [
        (&b"data: {\"choices\":[{\"delta\":{\"content\":\"a\\ud83d!\"}}]}\n\n"[..], "a\u{fffd}!"),
        (&b"data: {\"choices\":[{\"delta\":{\"content\":\"a\xff!\"}}]}\n\n"[..], "a\u{fffd}!"),
        (&b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-Infinity}]}}]}\n\n"[..], "a"),
    ] {
        let bytes = [raw, &stream(&[], Some("stop"), true)].concat();
        assert_eq!(items(&response_to(&bytes)), [text]);
    }
    let half = b"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"\\ud83d\"}}]}}]}\n\n";
    let rest = stream(&[frag!(0, null, null, "\"}")], Some("tool_calls"), true);
    assert_eq!(
        items(&response_to(&[&half[..], &rest].concat())),
        ["f{\"a\":\"\u{fffd}\"}"]
    );
}

#[test]
fn token_counts_are_taken_from_wherever_they_are() {
    let counts = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
    let text = json!({"content": "a"});
    for chunk in [
        json!({"choices": [], "usage": counts}),
        json!({"choices": [{"index": 0, "delta": {}}], "usage": counts}),
        json!({"choices": [{"index": 0, "delta": {}, "usage": counts}]}),
        json!({"choices": [], "x_groq": {"usage": counts}}),
    ] {
        let bytes = [
            stream(std::slice::from_ref(&text), Some("stop"), false),
            frame(&chunk).into_bytes(),
        ]
        .concat();
        assert_eq!(response_to(&bytes)["usage"]["total_tokens"], 7, "{chunk}");
    }
    let estimated = response(&[text]);
    assert_eq!(
        estimated["usage"]["input_tokens"], 100,
        "400 bytes were asked"
    );
    let thinking_beside = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 5}}});
    let bytes = [
        stream(&[], Some("stop"), false),
        frame(&thinking_beside).into_bytes(),
    ]
    .concat();
    assert_eq!(response_to(&bytes)["usage"]["output_tokens"], 9);
}

#[test]
fn an_end_is_what_it_is() {
    let text = [json!({"content": "a"})];
    for (finish, done, status) in [
        (Some("stop"), false, "completed"),
        (Some("eos"), true, "completed"),
        (None, true, "completed"),
        (None, false, "failed"),
        (Some("length"), true, "incomplete"),
        (Some("max_tokens"), true, "incomplete"),
        (Some("content_filter"), true, "incomplete"),
        (Some("error"), true, "failed"),
    ] {
        assert_eq!(
            response_to(&stream(&text, finish, done))["status"],
            status,
            "{finish:?} {done}"
        );
    }
    let twice = [
        stream(&text, Some("length"), false),
        stream(&[], Some("stop"), true),
    ]
    .concat();
    assert_eq!(
        response_to(&twice)["status"],
        "incomplete",
        "a later `stop` changes nothing"
    );
    assert_eq!(
        response_to(&stream(&[], Some("stop"), true))["output"][0]["content"][0]["text"],
        "",
        "an answer of nothing"
    );
}

#[test]
fn a_call_that_was_cut_is_never_whole() {
    let cut = [frag!(0, "x", "f", "{\"a\":")];
    for (finish, done, status) in [
        (None, false, "failed"),
        (None, true, "failed"),
        (Some("length"), true, "incomplete"),
    ] {
        let response = response_to(&stream(&cut, finish, done));
        assert_eq!(response["status"], status, "{finish:?} {done}");
        let items = response["output"].as_array().expect("an output");
        assert!(
            items.iter().all(|item| item["status"] != "completed"),
            "{response}"
        );
    }
    let one_whole = [frag!(0, "x", "f", "{}"), frag!(1, "y", "g", "{\"a\":")];
    let response = response_to(&stream(&one_whole, Some("length"), true));
    assert_eq!(
        (
            response["output"][0]["status"].as_str(),
            response["output"][1]["status"].as_str()
        ),
        (Some("completed"), Some("incomplete"))
    );
    assert_eq!(
        response_to(&stream(&[frag!(0, "x", null, "{}")], Some("stop"), true))["status"],
        "failed",
        "a call without a name"
    );
}

#[test]
fn errors_in_a_stream_are_failures_with_their_message() {
    let begun = stream(&[json!({"content": "a"})], None, false);
    for (error, code) in [
        (
            json!({"error": {"message": "it broke", "type": "server_error", "code": 500}}),
            "server_error",
        ),
        (json!({"error": "it broke"}), "server_error"),
        (
            json!({"object": "error", "message": "it broke", "type": "InternalServerError", "code": 500}),
            "server_error",
        ),
        (json!({"detail": "it broke"}), "server_error"),
        (json!({"message": "it broke"}), "server_error"),
        (
            json!({"base_resp": {"status_code": 2013, "status_msg": "it broke"}}),
            "server_error",
        ),
        (
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"message": "it broke", "code": 429}}]}),
            "rate_limit_exceeded",
        ),
        (
            json!({"error": {"message": "it broke", "code": "server_is_overloaded"}}),
            "server_is_overloaded",
        ),
        (
            json!({"error": {"message": "it broke: prompt is too long", "code": 400}}),
            "context_length_exceeded",
        ),
    ] {
        for before in [&begun[..], &[]] {
            let bytes = [before, frame(&error).as_bytes(), b"data: [DONE]\n\n"].concat();
            let response = response_to(&bytes);
            assert_eq!(response["error"]["code"], code, "{error}");
            assert!(
                response["error"]["message"]
                    .as_str()
                    .is_some_and(|message| message.starts_with("it broke")),
                "{response}"
            );
        }
    }
}

#[test]
fn whatever_comes_instead_of_a_stream_is_understood_or_named() {
    let whole = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "a", "reasoning_content": "t"}, "finish_reason": "stop"}]});
    assert_eq!(
        items(&response_to(whole.to_string().as_bytes())),
        ["~t", "a"]
    );
    let marked = [b"\xef\xbb\xbf", whole.to_string().as_bytes()].concat();
    assert_eq!(
        items(&response_to(&marked)),
        ["~t", "a"],
        "behind a byte order mark"
    );
    let lines = [
        json!({"choices": [{"delta": {"content": "a"}}]}),
        json!({"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]}),
    ];
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(
        items(&response_to(lines.as_bytes())),
        ["ab"],
        "a chunk to a line"
    );
    for (bytes, words) in [
        (&b"<html><h1>Bad Gateway</h1></html>"[..], "Bad Gateway"),
        (
            b": waiting\n{\"error\":{\"message\":\"no GPU\"}}\n",
            "no GPU",
        ),
        (
            b"[{\"error\":{\"message\":\"API key not valid\"}}]",
            "API key not valid",
        ),
        (b"", "empty"),
        (b"data: {\"choices\"\n\n", "cannot be read"),
    ] {
        let response = response_to(bytes);
        let message = response["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_message_that_repeats_the_deltas_is_not_said_twice() {
    let last = json!({"choices": [{"index": 0, "delta": {}, "message": {"content": "Hi"}, "finish_reason": "stop"}]});
    let bytes = [
        stream(&[json!({"content": "Hi"})], None, false),
        frame(&last).into_bytes(),
    ]
    .concat();
    assert_eq!(items(&response_to(&bytes)), ["Hi"]);
}
