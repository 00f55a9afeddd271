//! The items of an answer other than calls: thinking, refusals, cut answers; and what becomes of them
//! when the client sends them back.

#![expect(
    clippy::needless_pass_by_value,
    reason = "JSON is written where it is handed over"
)]

use serde_json::{Value, json};

use super::{deltas, hello, last, streamed, whole, with};
use crate::support::events::SseEvent;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, call, completion, delta, finish, text, usage};

pub(super) fn function(name: &str) -> Value {
    json!({
        "type": "function",
        "name": name,
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
        "strict": false,
    })
}

/// Asks, with tools, an upstream that streams these chunks.
pub(super) fn answer(chunks: &[Value], tools: Value) -> Vec<SseEvent> {
    let upstream = Upstream::new([Reply::stream(chunks)]);
    let proxy = Proxy::to(&upstream.base_url());
    streamed(&proxy, &with(hello(), json!({"tools": tools})))
}

pub(super) fn item_kinds(response: &Value) -> Vec<&str> {
    let items = response["output"].as_array().expect("a list of items");
    items
        .iter()
        .filter_map(|item| item["type"].as_str())
        .collect()
}

#[test]
fn thinking_is_shown_as_the_client_asks() {
    let upstream = Upstream::new([Reply::stream(&[
        delta(json!({"reasoning_content": "Hm, "})),
        delta(json!({"reasoning_content": "well."})),
        text("Hi"),
        finish("stop"),
        usage(9, 4),
    ])]);
    let proxy = Proxy::to(&upstream.base_url());
    let summary = streamed(
        &proxy,
        &with(hello(), json!({"reasoning": {"summary": "auto"}})),
    );
    assert_eq!(
        deltas(&summary, "response.reasoning_summary_text.delta"),
        "Hm, well."
    );
    assert_eq!(
        last(&summary)["output"][0]["summary"][0]["text"],
        "Hm, well."
    );

    let content = streamed(&proxy, &hello());
    assert_eq!(
        deltas(&content, "response.reasoning_text.delta"),
        "Hm, well."
    );
    assert_eq!(
        last(&content)["output"][0]["content"][0]["text"],
        "Hm, well."
    );

    let hidden = Proxy::builder()
        .upstream(&upstream.base_url())
        .env("ANTIPHON__REASONING__SHOW", "hidden")
        .start();
    let hidden = streamed(
        &hidden,
        &with(hello(), json!({"reasoning": {"summary": "auto"}})),
    );
    let all = hidden
        .iter()
        .map(|event| event.data.to_string())
        .collect::<String>();
    assert!(!all.contains("well."), "{all}");

    for events in [summary, content, hidden] {
        assert_eq!(item_kinds(last(&events)), ["reasoning", "message"]);
        assert_eq!(deltas(&events, "response.output_text.delta"), "Hi");
    }
}

#[test]
fn thinking_in_tags_is_no_text() {
    let chunks = [
        text("<th"),
        text("ink>Hm</thi"),
        text("nk>\n\nHi <think>"),
        finish("stop"),
        usage(9, 4),
    ];
    let events = answer(&chunks, json!([]));
    assert_eq!(item_kinds(last(&events)), ["reasoning", "message"]);
    assert_eq!(
        deltas(&events, "response.reasoning_text.delta").trim(),
        "Hm"
    );
    assert_eq!(
        deltas(&events, "response.output_text.delta").trim(),
        "Hi <think>"
    );
}

#[test]
fn sealed_thinking_goes_back_to_the_upstream_with_its_call() {
    let upstream = Upstream::new([Reply::stream(&[
        delta(json!({"reasoning_content": "I must call."})),
        call(0, Some(("c0", "f")), "{\"a\":\"1\"}"),
        finish("tool_calls"),
        usage(9, 4),
    ])]);
    let own = format!(
        "base_url = \"{}\"\nprofile = \"deepseek\"",
        upstream.base_url()
    );
    let proxy = Proxy::builder()
        .config(&format!(
            "[reasoning]\nshow = \"hidden\"\n[upstreams.mock]\n{own}"
        ))
        .start();
    let request = json!({
        "model": "m",
        "input": [{"role": "user", "content": "Do it."}],
        "tools": [function("f")],
        "store": false,
        "include": ["reasoning.encrypted_content"],
    });
    let events = streamed(&proxy, &request);
    let output = last(&events)["output"].as_array().expect("items");
    let sealed = output[0]["encrypted_content"]
        .as_str()
        .expect("sealed thinking");
    assert!(!sealed.contains("must call"), "{sealed}");

    let mut input = vec![request["input"][0].clone()];
    input.extend(output.iter().cloned());
    input.push(json!({"type": "function_call_output", "call_id": "c0", "output": "done"}));
    streamed(&proxy, &with(request, json!({"input": input})));
    let messages = &upstream.asked()[1]["messages"];
    assert_eq!(messages[1]["role"], "assistant", "{messages}");
    assert_eq!(messages[1]["reasoning_content"], "I must call.");
    assert_eq!(messages[1]["tool_calls"][0]["id"], "c0");
    assert_eq!(messages[2]["role"], "tool");
    assert_eq!(
        (&messages[2]["tool_call_id"], &messages[2]["content"]),
        (&json!("c0"), &json!("done"))
    );
}

#[test]
fn thinking_that_was_sealed_elsewhere_is_passed_over() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let foreign = json!({"type": "reasoning", "id": "rs_x", "summary": [], "encrypted_content": "gAAAAABfromAnotherServer"});
    let input =
        json!([{"role": "user", "content": "One"}, foreign, {"role": "user", "content": "Two"}]);
    streamed(&proxy, &with(hello(), json!({"input": input})));
    let asked = upstream.asked()[0].to_string();
    assert!(asked.contains("One") && asked.contains("Two"), "{asked}");
    assert!(!asked.contains("gAAAA"), "{asked}");
}

#[test]
fn an_answer_that_reached_the_limit_is_incomplete() {
    let cut = |chunks: &[Value]| {
        let events = answer(chunks, json!([function("f")]));
        let response = last(&events).clone();
        assert_eq!(response["status"], "incomplete");
        assert_eq!(
            response["incomplete_details"],
            json!({"reason": "max_output_tokens"})
        );
        response["output"]
            .as_array()
            .and_then(|items| items.last())
            .cloned()
            .expect("an item")
    };
    let message = cut(&[text("To be cont"), finish("length"), usage(9, 4)]);
    assert_eq!(
        (&message["status"], &message["content"][0]["text"]),
        (&json!("incomplete"), &json!("To be cont"))
    );
    let call = cut(&[
        call(0, Some(("c0", "f")), "{\"a\": \"xy"),
        finish("length"),
        usage(9, 4),
    ]);
    assert_eq!(
        (&call["status"], &call["arguments"]),
        (&json!("incomplete"), &json!("{\"a\": \"xy"))
    );
    let thinking = cut(&[
        delta(json!({"reasoning_content": "Hm"})),
        finish("length"),
        usage(9, 4),
    ]);
    assert_eq!(thinking["type"], "reasoning");
    let nothing = cut(&[finish("length"), usage(9, 0)]);
    assert_eq!(nothing["type"], "message");

    let whole_call = completion(
        json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c0", "type": "function", "function": {"name": "f", "arguments": "{\"a\""}}]}),
        "length",
    );
    let upstream = Upstream::new([Reply::json(200, &whole_call)]);
    let response = whole(
        &Proxy::to(&upstream.base_url()),
        &with(hello(), json!({"tools": [function("f")]})),
    );
    assert_eq!(response["status"], "incomplete");
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(response["completed_at"], Value::Null);
}

#[test]
fn a_filtered_answer_is_incomplete() {
    let events = answer(
        &[text("Well,"), finish("content_filter"), usage(9, 4)],
        json!([]),
    );
    assert_eq!(
        last(&events)["incomplete_details"],
        json!({"reason": "content_filter"})
    );
}

#[test]
fn a_refusal_is_a_part_of_its_own() {
    let chunks = [
        delta(json!({"refusal": "I wo"})),
        delta(json!({"refusal": "n't."})),
        finish("stop"),
        usage(9, 4),
    ];
    let events = answer(&chunks, json!([]));
    assert_eq!(
        last(&events)["output"][0]["content"],
        json!([{"type": "refusal", "refusal": "I won't."}])
    );
}

#[test]
fn citations_and_probabilities_are_kept() {
    let citation = json!({"type": "url_citation", "url_citation": {"url": "http://a/", "title": "A", "start_index": 0, "end_index": 2}});
    let logprob = json!({"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []});
    let mut said = text("Hi");
    said["choices"][0]["logprobs"] = json!({"content": [logprob]});
    let chunks = [
        said,
        delta(json!({"annotations": [citation]})),
        finish("stop"),
        usage(9, 4),
    ];
    let upstream = Upstream::new([Reply::stream(&chunks)]);
    let proxy = Proxy::to(&upstream.base_url());
    let asked = json!({"include": ["message.output_text.logprobs"], "top_logprobs": 2});
    let events = streamed(&proxy, &with(hello(), asked));
    let part = &last(&events)["output"][0]["content"][0];
    assert_eq!(part["logprobs"], json!([logprob]));
    assert_eq!(
        part["annotations"],
        json!([{"type": "url_citation", "url": "http://a/", "title": "A", "start_index": 0, "end_index": 2}])
    );
    assert_eq!(upstream.asked()[0]["logprobs"], true);

    let events = streamed(&proxy, &hello());
    assert_eq!(
        last(&events)["output"][0]["content"][0]["logprobs"],
        json!([]),
        "nobody asked for them"
    );
}

#[test]
fn an_empty_answer_is_an_empty_message() {
    let events = answer(&[finish("stop"), usage(9, 0)], json!([]));
    let response = last(&events);
    assert_eq!(item_kinds(response), ["message"]);
    assert_eq!(response["output"][0]["content"][0]["text"], "");
}

#[test]
fn token_counts_agree_with_each_other_whatever_the_upstream_says() {
    let odd = json!({
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "total_tokens": 99,
        "prompt_tokens_details": {"cached_tokens": 50},
        "completion_tokens_details": {"reasoning_tokens": 3},
    });
    let mut last_chunk = usage(0, 0);
    last_chunk["usage"] = odd;
    let events = answer(&[text("Hi"), finish("stop"), last_chunk], json!([]));
    let counts = &last(&events)["usage"];
    assert_eq!(
        (
            &counts["input_tokens"],
            &counts["output_tokens"],
            &counts["total_tokens"]
        ),
        (&json!(5), &json!(7), &json!(12))
    );
    assert_eq!(counts["output_tokens_details"]["reasoning_tokens"], 3);

    // Where it says nothing they are estimated: clients compact their history by them.
    let events = answer(&[text("Hello there"), finish("stop")], json!([]));
    let counts = &last(&events)["usage"];
    assert!(
        counts["input_tokens"].as_u64() > Some(0) && counts["output_tokens"].as_u64() > Some(0),
        "{counts}"
    );
}

#[test]
fn a_picture_is_estimated_by_what_it_is_worth_and_not_by_its_length() {
    let picture = format!("data:image/png;base64,{}", "A".repeat(400_000));
    let content = json!([
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": picture},
    ]);
    let upstream = Upstream::new([Reply::stream(&[text("A cat."), finish("stop")])]);
    let proxy = Proxy::to(&upstream.base_url());
    let request = json!({"model": "m", "input": [{"role": "user", "content": content}]});
    let events = streamed(&proxy, &request);
    let counted = last(&events)["usage"]["input_tokens"].as_u64();
    assert!(
        (800..1000).contains(&counted.expect("a number")),
        "{counted:?}"
    );
}
