//! Tests of reading what upstreams send, in all its oddities.

use super::chunk::{Delta, Usage};
use super::error::UpstreamError;
use super::*;
use crate::json::{TextOr, repair};

fn chunk(json: &str) -> Chunk<'_> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Reads the chunk with this delta.
fn with_delta<T>(delta: &str, look: impl FnOnce(Delta<'_>) -> T) -> T {
    let json = format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#);
    look(chunk(&json).choices.0.unwrap().delta.unwrap())
}

#[test]
fn no_odd_value_spoils_a_chunk() {
    let values = [
        "null",
        "true",
        "-1",
        "2.5",
        r#""x""#,
        "[]",
        "{}",
        "[null]",
        r#"["x"]"#,
        "[[1]]",
        r#"{"x":[{}]}"#,
        "[{}]",
        r#"[{"x":1},"y",null]"#,
    ];
    let places = [
        r#"{"choices":@}"#,
        r#"{"usage":@}"#,
        r#"{"x_groq":@}"#,
        r#"{"error":@,"base_resp":@}"#,
        r#"{"usage":{"prompt_tokens":@,"completion_tokens_details":@}}"#,
        r#"{"choices":[{"index":@,"delta":@,"message":@,"finish_reason":@,"logprobs":@,"usage":@}]}"#,
        r#"{"choices":[{"delta":{"role":@,"content":@,"reasoning":@,"reasoning_content":@}}]}"#,
        r#"{"choices":[{"delta":{"reasoning_details":@,"thinking":@,"refusal":@,"annotations":@}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":@,"function_call":@}}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":@,"text":@,"thinking":@}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":@,"id":@,"type":@,"function":@,"custom":@}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":@,"arguments":@}}]}}]}"#,
        r#"{"choices":[{"delta":{"annotations":[{"url_citation":{"url":@,"start_index":@}}]}}]}"#,
        r#"{"choices":[{"logprobs":{"content":@}}]}"#,
        r#"{"choices":[{"logprobs":{"content":[{"token":@,"logprob":@,"bytes":@,"top_logprobs":@}]}}]}"#,
        "@",
    ];
    for place in places {
        for value in values {
            let json = place.replace('@', value);
            let read = serde_json::from_str::<Chunk<'_>>(&json);
            // Nobody sends a string or a number in the place of a chunk.
            assert!(read.is_ok() || place == "@", "{json}: {read:?}");
        }
    }
}

#[test]
fn counts_are_read_where_they_can_be() {
    let usage = |json: &str| chunk(&format!(r#"{{"usage":{json}}}"#)).usage();
    let some = usage(r#"{"prompt_tokens":3.0,"completion_tokens":"4","total_tokens":-1}"#).unwrap();
    assert_eq!(some.prompt_tokens, Some(3));
    assert_eq!(some.completion_tokens, Some(4));
    assert_eq!(some.total_tokens, None);
    let odd =
        usage(r#"{"prompt_tokens":3,"prompt_tokens_details":[],"completion_tokens_details":5}"#);
    assert_eq!(odd.unwrap().prompt_tokens, Some(3));
    for nothing in ["null", "5", r#""7""#, "[]", "{}"] {
        assert_eq!(usage(nothing), None, "{nothing}");
    }
}

#[test]
fn counts_are_found_wherever_they_are() {
    let want = Some(Usage {
        prompt_tokens: Some(3),
        ..Usage::default()
    });
    for json in [
        r#"{"usage":{"prompt_tokens":3}}"#,
        r#"{"usage":null,"x_groq":{"usage":{"prompt_tokens":3}}}"#,
        r#"{"usage":{},"choices":[{"delta":{},"usage":{"prompt_tokens":3}}]}"#,
    ] {
        assert_eq!(chunk(json).usage(), want, "{json}");
    }
}

#[test]
fn calls_survive_odd_ids_and_indices() {
    let call = |json: &str| {
        with_delta(&format!(r#"{{"tool_calls":{json}}}"#), |delta| {
            let mut calls = delta.tool_calls?.into_iter();
            let call = calls.next()?;
            assert!(calls.next().is_none(), "{json}");
            Some((call.index, call.id.map(|id| id.to_string())))
        })
    };
    let id = |id: &str| Some(id.to_owned());
    assert_eq!(call(r#"[{"index":"0","id":7}]"#), Some((Some(0), id("7"))));
    assert_eq!(
        call(r#"[null,{"index":null,"id":"a"}]"#),
        Some((None, id("a")))
    );
    assert_eq!(call(r#"{"index":1.0,"id":"a"}"#), Some((Some(1), id("a"))));
    for nothing in [
        "null",
        "[]",
        "{}",
        "[null,{}]",
        r#""x""#,
        r#"[{"index":0,"function":{"arguments":""}}]"#,
    ] {
        assert_eq!(call(nothing), None, "{nothing}");
    }
    let legacy = with_delta(r#"{"function_call":{"name":"","arguments":""}}"#, |d| {
        d.function_call.is_some()
    });
    assert!(!legacy);
}

#[test]
fn strings_among_parts_are_text() {
    with_delta(
        r#"{"content":["a",null,5,{"type":"text","text":"b"},["c"]]}"#,
        |delta| {
            let Some(TextOr::List(parts)) = delta.content else {
                panic!("a list");
            };
            let text: String = parts
                .iter()
                .filter_map(|part| part.text.as_deref())
                .collect();
            assert_eq!(text, "ab");
        },
    );
    with_delta(r#"{"thinking":"deep"}"#, |delta| {
        assert!(matches!(delta.thinking, Some(TextOr::Text(text)) if &*text == "deep"));
    });
}

#[test]
fn thinking_comes_in_parts_of_any_shape() {
    let texts = |json: &str| {
        with_delta(&format!(r#"{{"reasoning_details":{json}}}"#), |delta| {
            let details = delta.reasoning_details.into_iter().flatten();
            details
                .filter_map(chunk::ReasoningDetail::text_of)
                .collect::<String>()
        })
    };
    assert_eq!(
        texts(r#"[{"text":"a"},"b",null,{"summary":"c"},{"text":"\ud83d"}]"#),
        "abc\u{fffd}"
    );
    assert_eq!(texts(r#"{"text":"a"}"#), "a");
    assert_eq!(texts(r#""a""#), "");
    assert_eq!(texts("5"), "");
}

#[test]
fn choices_may_be_an_object() {
    let choice = chunk(r#"{"choices":{"delta":{"refusal":"no"}}}"#).choices.0;
    assert!(choice.unwrap().delta.unwrap().refusal.is_some());
    let first = chunk(r#"{"choices":[null,{"index":1},{"index":"0","finish_reason":"stop"}]}"#);
    assert_eq!(
        first.choices.0.unwrap().finish_reason.as_deref(),
        Some("stop")
    );
}

#[test]
fn an_error_with_nothing_in_it_is_none() {
    let blank = [
        "null",
        "false",
        "0",
        r#""""#,
        r#"" ""#,
        "{}",
        "[]",
        r#"{"message":"","code":null}"#,
    ];
    for error in blank {
        let json = format!(r#"{{"error":{error},"choices":[{{"error":{error}}}]}}"#);
        let chunk = chunk(&json);
        assert!(chunk.error().is_none(), "{json}");
        assert!(chunk.choices.0.unwrap().error().is_none(), "{json}");
        assert_eq!(UpstreamError::read(json.as_bytes()), None, "{json}");
    }
    for error in [
        "true",
        r#""boom""#,
        r#"{"message":"boom"}"#,
        r#"{"code":500}"#,
    ] {
        let json = format!(r#"{{"error":{error},"choices":[{{"error":{error}}}]}}"#);
        let chunk = chunk(&json);
        assert!(chunk.error().is_some(), "{json}");
        assert!(chunk.choices.0.unwrap().error().is_some(), "{json}");
    }
}

#[test]
fn a_repaired_chunk_is_read() {
    let json = r#"{"choices":[{"delta":{"content":"a\ud83d"},"logprobs":{"content":[{"token":"a","logprob":-Infinity,"bytes":[256]}]}}]}"#;
    assert!(serde_json::from_str::<Chunk<'_>>(json).is_err());
    let mended = repair(json.as_bytes()).unwrap();
    let chunk: Chunk<'_> = serde_json::from_slice(&mended).unwrap();
    let choice = chunk.choices.0.unwrap();
    assert!(
        matches!(choice.delta.unwrap().content, Some(TextOr::Text(text)) if &*text == "a\u{fffd}")
    );
    let logprob = choice.logprobs.unwrap().content.unwrap().remove(0);
    assert_eq!((logprob.logprob, logprob.bytes), (None, None));
}

#[test]
fn errors_are_told_from_what_is_none() {
    let message = |error: Option<UpstreamError>| error.map(|error| error.message);
    let read = |json: &str| message(UpstreamError::read(json.as_bytes()));
    let stray = |json: &str| message(UpstreamError::read_stray(json.as_bytes()));
    let boom = Some("boom".to_owned());
    for json in [
        r#"{"object":"error","message":"boom","code":400}"#,
        r#"{"detail":"boom"}"#,
        r#"{"detail":["boom"]}"#,
        r#"{"detail":[{"msg":"boom"}]}"#,
        r#"{"message":"boom","code":"x"}"#,
        r#"{"message":{"detail":"boom"},"type":"x"}"#,
        r#"{"error":"boom","code":500}"#,
        r#"{"error":true,"message":"boom"}"#,
        r#"{"error":{"message":"boom"}}"#,
        r#"[null,{"error":{"message":"boom"}}]"#,
        r#"{"base_resp":{"status_code":"2013","status_msg":"boom"}}"#,
    ] {
        assert_eq!(read(json), boom, "{json}");
        assert_eq!(stray(json), boom, "{json}");
    }
    assert_eq!(read(r#"{"message":"boom"}"#), None);
    assert_eq!(stray(r#"{"message":"boom"}"#), boom);
    assert_eq!(
        UpstreamError::parse(br#"{"message":"boom"}"#).message,
        "boom"
    );
    for json in [
        "{}",
        "[]",
        "null",
        r#"{"type":"ping"}"#,
        r#"{"type":"ping","message":"still here"}"#,
        r#"{"object":"chat.completion.chunk","message":"x"}"#,
        r#"{"code":0,"message":"success"}"#,
        r#"{"error":false,"message":"fine"}"#,
        r#"{"error":{},"detail":null}"#,
        r#"{"base_resp":{"status_code":0,"status_msg":""}}"#,
        r#"{"message":{"role":"assistant","content":"x"},"done":false}"#,
        r#"{"choices":[{"delta":{}}],"message":"x","type":"y"}"#,
    ] {
        assert_eq!(read(json), None, "{json}");
        assert_eq!(stray(json), None, "{json}");
    }
}

#[test]
fn an_error_keeps_its_words_whatever_they_hold() {
    let error = UpstreamError::parse(br#"{"error":{"message":"bad \ud83d","code":7}}"#);
    assert_eq!(error.message, "bad \u{fffd}");
    assert_eq!(error.code.as_deref(), Some("7"));
    let error = UpstreamError::read(br#"{"error":{"reason":"x"}}"#).unwrap();
    assert_eq!(error.message, r#"{"reason":"x"}"#);
    let error = UpstreamError::read(br#"{"detail":[{"msg":"bad","loc":["body",0,"x"]}]}"#).unwrap();
    assert_eq!(error.message, "body.0.x: bad");
}
