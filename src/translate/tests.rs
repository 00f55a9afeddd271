//! Turns that need a seal: what an upstream wants back must be in it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::profile::Profile;
use crate::responses::response::{Echo, Head};

/// Keeps what it is given to seal.
#[derive(Default)]
struct Witness(Mutex<Vec<Value>>);

impl Seal for Witness {
    fn seal(&self, plain: &[u8]) -> String {
        let mut seen = self.0.lock().unwrap();
        seen.push(serde_json::from_slice(plain).unwrap());
        format!("sealed{}", seen.len())
    }

    fn open(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
}

/// What is sealed while an upstream says these deltas, and the kinds of items that come out.
fn sealed(deltas: &[Value]) -> (Vec<Value>, Vec<String>) {
    let witness = Arc::new(Witness::default());
    let head = Head {
        id: "resp_0".into(),
        created_at: 1,
        model: "m".into(),
        echo: Echo::default(),
    };
    let mut context = TurnContext::new(head, ToolMap::default(), Thinking::Summary);
    context.sealing = Some(Sealing {
        seal: witness.clone(),
        shown: true,
    });
    let limits = Limits {
        event_bytes: 1 << 20,
        answer_bytes: 1 << 20,
    };
    let mut pipeline = Pipeline::start(context, &Profile::default(), false, limits, &mut Ignore);
    for delta in deltas {
        let chunk = json!({"choices": [{"delta": delta}]});
        pipeline.push(format!("data: {chunk}\n\n").as_bytes(), &mut Ignore);
    }
    pipeline.push(b"data: [DONE]\n\n", &mut Ignore);
    let (outcome, _) = pipeline.finish(None, 1, 0, &mut Ignore);
    let items = serde_json::to_value(&outcome.output).unwrap();
    let kinds = items
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["type"].as_str().unwrap().to_owned());
    let seen = witness.0.lock().unwrap().clone();
    (seen, kinds.collect())
}

#[test]
fn fragments_of_details_are_put_together() {
    let detail = |text: &str| json!({"reasoning": text, "reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0, "signature": null}]});
    let (seen, kinds) = sealed(&[
        detail("a"),
        detail("b\"é"),
        json!({"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "sig"}]}),
        json!({"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "zz"}]}),
        json!({"content": "done"}),
    ]);
    assert_eq!(kinds, ["reasoning", "message"]);
    assert_eq!(
        seen,
        [json!({"f": "r", "t": "ab\"é", "d": [
            {"type": "reasoning.text", "text": "ab\"é", "index": 0, "signature": "sig"},
            {"type": "reasoning.encrypted", "index": 1, "data": "zz"},
        ]})]
    );
}

#[test]
fn a_calls_signature_is_sealed_before_the_call() {
    let extra = json!({"google": {"thought_signature": "s"}});
    let call = json!({"tool_calls": [{"id": "a", "extra_content": extra, "function": {"name": "f", "arguments": "{}"}}]});
    let (seen, kinds) = sealed(std::slice::from_ref(&call));
    assert_eq!(kinds, ["reasoning", "function_call"]);
    assert_eq!(seen, [json!({"f": "r", "x": [["a", extra]]})]);
    let (seen, kinds) = sealed(&[json!({"reasoning_content": "hm"}), call]);
    assert_eq!(kinds, ["reasoning", "function_call"]);
    assert_eq!(seen, [json!({"f": "rc", "t": "hm", "x": [["a", extra]]})]);
}

#[test]
fn a_request_laid_out_in_lines_does_not_break_the_events() {
    let body = b"{\n  \"model\": \"m\",\n  \"input\": \"x\",\n  \"tools\": [\n    {\"type\": \"function\",\r\n  \"name\": \"f\", \"parameters\": {\n}}\n  ],\n \"metadata\": {\n}}";
    let request = crate::responses::CreateResponse::parse(body).unwrap();
    let head = Head {
        id: "resp_0".into(),
        created_at: 1,
        model: "m".into(),
        echo: Echo::new(&request),
    };
    let context = TurnContext::new(head, ToolMap::default(), Thinking::Summary);
    let limits = Limits {
        event_bytes: 1 << 20,
        answer_bytes: 1 << 20,
    };
    let mut sink = Bytes::default();
    let pipeline = Pipeline::start(context, &Profile::default(), false, limits, &mut sink);
    pipeline.finish(None, 1, 0, &mut sink);
    for frame in String::from_utf8(sink.out)
        .unwrap()
        .split_terminator("\n\n")
    {
        let (_, data) = frame.split_once("\ndata: ").unwrap();
        assert!(serde_json::from_str::<Value>(data).is_ok(), "{data}");
    }
}

#[test]
fn a_status_and_its_words_become_the_code_that_clients_act_upon() {
    let code = |status: u16, body: &str| {
        let error = crate::chat::error::UpstreamError::parse(body.as_bytes());
        fault::of_status(status, error)
            .code
            .map(|code| code.into_owned())
    };
    let text = |message: &str| json!({"error": {"message": message}}).to_string();
    for words in [
        "This model's maximum context length is 4096 tokens.",
        "request (27012 tokens) exceeds the available context size (4096 tokens)",
        "Your request exceeded model token limit: 8192",
        "`inputs` tokens + `max_new_tokens` must be <= 4096",
        "prompt is too long: 210000 tokens > 200000 maximum",
    ] {
        assert_eq!(
            code(400, &text(words)).as_deref(),
            Some("context_length_exceeded"),
            "{words}"
        );
        assert_eq!(
            code(500, &text(words)).as_deref(),
            Some("context_length_exceeded"),
            "{words}"
        );
    }
    assert_eq!(
        code(404, &text("model 'x' not found")).as_deref(),
        Some("model_not_found")
    );
    assert_eq!(
        code(404, &text("The model `x` does not exist.")).as_deref(),
        Some("model_not_found")
    );
    assert_eq!(code(404, r#"{"detail":"Not Found"}"#), None);
    assert_eq!(code(401, &text("no")).as_deref(), Some("invalid_api_key"));
    assert_eq!(
        code(429, &text("slow")).as_deref(),
        Some("rate_limit_exceeded")
    );
    let quota = r#"{"error":{"message":"m","code":"insufficient_quota"}}"#;
    assert_eq!(code(429, quota).as_deref(), Some("insufficient_quota"));
    assert_eq!(
        code(400, r#"{"error":{"message":"m","code":"1214"}}"#),
        None
    );
}

/// The events that come of chunks with these deltas; `mark` is put into each chunk.
fn events(deltas: &[Value], mark: impl Fn(usize) -> String) -> String {
    let head = Head {
        id: "resp_0".into(),
        created_at: 1,
        model: "m".into(),
        echo: Echo::default(),
    };
    let context = TurnContext::new(head, ToolMap::default(), Thinking::Content);
    let limits = Limits {
        event_bytes: 1 << 20,
        answer_bytes: 1 << 20,
    };
    let mut sink = Bytes::default();
    let mut pipeline = Pipeline::start(context, &Profile::default(), false, limits, &mut sink);
    for (n, delta) in deltas.iter().enumerate() {
        let chunk = json!({"id": mark(n), "choices": [{"index": 0, "delta": delta}]});
        pipeline.push(format!("data: {chunk}\n\n").as_bytes(), &mut sink);
    }
    pipeline.push(b"data: [DONE]\n\n", &mut sink);
    pipeline.finish(None, 1, 0, &mut sink);
    String::from_utf8(sink.out).unwrap()
}

#[test]
fn chunks_that_are_alike_say_what_others_say() {
    let call = |arguments: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]});
    let named = json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]});
    let texts = [
        " ",
        "<th",
        "ink>",
        "a\n",
        "</think>",
        "b",
        "",
        "\"c\"",
        " ",
        "é\u{1f600}",
    ];
    let mut deltas: Vec<Value> = texts.iter().map(|text| json!({"content": text})).collect();
    deltas.extend(["x", "y", "", "z"].map(|text| json!({"reasoning_content": text})));
    deltas.extend(["x", "", "z"].map(|text| json!({"reasoning": text, "content": ""})));
    deltas.extend(["d", "e"].map(|text| json!({"content": text})));
    deltas.push(named);
    deltas.extend(["{", "\"a\": ", "", "\"\\n\"", "}", "}"].map(call));
    deltas.extend(["f", "\n"].map(|text| json!({"content": text})));
    for turn in 0..deltas.len() {
        deltas.rotate_left(turn);
        let alike = events(&deltas, |_| "same".into());
        assert_eq!(alike, events(&deltas, |n| n.to_string()));
    }
}
