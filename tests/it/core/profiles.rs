//! What each built-in profile makes of one rich request, as snapshots; and that each has a stream that
//! it reads.

use std::collections::BTreeSet;

use antiphon::json::Edits;
use antiphon::profile;
use antiphon::responses::CreateResponse;
use antiphon::translate::{LoweringOptions, lower};
use serde_json::{Value, json};

use super::lowering::Backwards;
use super::support::{profile, recordings};

/// A request with something of everything that profiles differ in.
fn rich(effort: &str, choice: &Value) -> String {
    json!({
        "model": "x",
        "instructions": "Be kind.",
        "input": [
            {"role": "developer", "content": "Speak plainly."},
            {"role": "user", "content": "Weather?"},
            {"role": "user", "content": [
                {"type": "input_text", "text": "See:"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "high"},
            ]},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Think."}]},
            {"type": "function_call", "call_id": "call_0123456789", "name": "f", "arguments": "{\"a\":1}"},
            {"type": "function_call_output", "call_id": "call_0123456789", "output": "sunny"},
            {"role": "developer", "content": "Hurry."},
        ],
        "tools": [
            {"type": "function", "name": "f", "description": "F", "strict": true,
             "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false}},
            {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}},
        ],
        "tool_choice": choice,
        "parallel_tool_calls": true,
        "reasoning": {"effort": effort, "summary": "auto"},
        "text": {"verbosity": "low"},
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "max_output_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 7,
        "stop": ["END"],
        "logit_bias": {"1": 2},
        "prompt_cache_key": "thread",
        "service_tier": "flex",
        "safety_identifier": "somebody",
        "stream": true,
    })
    .to_string()
}

/// The body that a server of that profile gets.
fn said(name: &str, effort: &str, choice: &Value) -> Value {
    let profile = profile(name);
    let body = rich(effort, choice);
    let request = CreateResponse::parse(body.as_bytes()).expect("it reads");
    let options = LoweringOptions {
        profile: &profile,
        model: "m",
        effort: None,
        seal: &Backwards,
    };
    let lowered = lower(request, &options).expect("it lowers");
    let chat = serde_json::to_vec(&lowered.chat).expect("it writes");
    let extra = serde_json::to_string(&profile.extra_body).expect("a table");
    let edits = Edits {
        drop: profile.drop_fields.clone(),
        merge: vec![extra],
    };
    serde_json::from_slice(&edits.apply(chat)).expect("it reads")
}

#[test]
fn each_profile_says_a_rich_request_as_in_its_snapshot() {
    for name in profile::names() {
        let required = said(&name, "xhigh", &json!("required"));
        let mut shown = format!("{required:#}\n");
        // What else the two knobs make of other wishes.
        for effort in ["none", "minimal", "low", "max"] {
            let body = said(&name, effort, &json!("auto"));
            let keys = [
                "reasoning_effort",
                "thinking",
                "enable_thinking",
                "chat_template_kwargs",
            ];
            let kept = keys
                .iter()
                .filter_map(|key| Some(format!("{key}: {}", body.get(*key)?)));
            shown += &format!("effort {effort}: {}\n", kept.collect::<Vec<_>>().join(", "));
        }
        let named = said(&name, "low", &json!({"type": "function", "name": "g"}));
        let tools = named["tools"].as_array().map_or(0, Vec::len);
        shown += &format!("one function: {} of {tools} tools\n", named["tool_choice"]);
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("profile__{name}"), shown);
        });
    }
}

#[test]
fn each_profile_has_a_stream_that_it_reads() {
    let streams: BTreeSet<String> = recordings(".sse")
        .iter()
        .filter_map(|path| Some(path.parent()?.to_string_lossy().into_owned()))
        .collect();
    // Recorded under other names.
    let recorded = [("llama-cpp", "llama-server"), ("generic", "mlx-lm")];
    for name in profile::names() {
        let folder = recorded.iter().find(|(known, _)| *known == name);
        let folder = folder.map_or(name.as_str(), |(_, folder)| folder);
        assert!(
            streams
                .iter()
                .any(|stream| stream.contains(&format!("/{folder}-"))),
            "{name} has no stream in tests/fixtures/chat"
        );
    }
}
