//! Structured output where the server does not enforce a schema: told in words, checked, mended once.

use std::time::Duration;

use serde_json::{Value, json};

use super::items::item_kinds;
use super::{Live, configured, deltas, failure, hello, last, post, refusal, streamed, whole, with};
use crate::grammar;
use crate::support::events::{self, SseEvent};
use crate::support::upstream::{Reply, Upstream, call, completion, delta, finish, text, usage};

const OWN: &str = "dialect = { response_format = \"json_object\" }";
const WRONG: &str = "{\"a\": \"secret\"}";
const RIGHT: &str = "{\"a\": 1}";

fn request() -> Value {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
    with(
        hello(),
        json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}}),
    )
}

fn stream(said: &str) -> Reply {
    let (a, b) = said.split_at(said.len() / 2);
    Reply::stream(&[text(a), text(b), finish("stop"), usage(9, 4)])
}

fn document(said: &str) -> Reply {
    Reply::json(
        200,
        &completion(json!({"role": "assistant", "content": said}), "stop"),
    )
}

fn said(response: &Value) -> &Value {
    &response["output"][0]["content"][0]["text"]
}

#[test]
fn an_answer_that_fits_is_told_as_it_came() {
    let upstream = Upstream::new([stream(RIGHT), document(RIGHT)]);
    let proxy = configured(&upstream, "", OWN);
    let events = streamed(&proxy, &request());
    assert_eq!(deltas(&events, "response.output_text.delta"), RIGHT);
    assert_eq!(last(&events)["usage"]["total_tokens"], 13);
    assert_eq!(said(&whole(&proxy, &request())), RIGHT);
    let asked = upstream.asked().remove(0);
    assert_eq!(asked["response_format"], json!({"type": "json_object"}));
    let system = asked["messages"][0]["content"]
        .as_str()
        .expect("a system message");
    assert!(
        system.contains("\"additionalProperties\":false"),
        "{system}"
    );
}

#[test]
fn a_fence_around_the_answer_is_taken_off() {
    let fenced = format!("```json\n{RIGHT}\n```");
    let thinking = Reply::stream(&[
        delta(json!({"reasoning_content": "Hm."})),
        text(&fenced),
        finish("stop"),
        usage(9, 4),
    ]);
    let upstream = Upstream::new([thinking, document(&fenced)]);
    let proxy = configured(&upstream, "", OWN);
    let events = streamed(&proxy, &request());
    assert_eq!(item_kinds(last(&events)), ["reasoning", "message"]);
    assert_eq!(deltas(&events, "response.output_text.delta"), RIGHT);
    assert_eq!(deltas(&events, "response.reasoning_text.delta"), "Hm.");
    assert_eq!(last(&events)["usage"]["total_tokens"], 13);
    assert_eq!(said(&whole(&proxy, &request())), RIGHT);
}

#[test]
fn an_answer_that_does_not_fit_is_mended_once() {
    for wrong in [WRONG, "Here it is: {}", "{}", "{\"a\": 1, \"b\": 2}"] {
        let upstream = Upstream::new([
            stream(wrong),
            stream(RIGHT),
            document(wrong),
            document(RIGHT),
        ]);
        let proxy = configured(&upstream, "", OWN);
        let events = streamed(&proxy, &request());
        assert_eq!(deltas(&events, "response.output_text.delta"), RIGHT);
        assert_eq!(last(&events)["status"], "completed");
        assert_eq!(
            last(&events)["usage"]["total_tokens"],
            26,
            "both answers count"
        );
        assert_eq!(said(&whole(&proxy, &request())), RIGHT);

        let asked = upstream.asked();
        assert_eq!(asked.len(), 4);
        let before = asked[0]["messages"].as_array().expect("messages");
        let messages = asked[1]["messages"].as_array().expect("messages");
        assert_eq!(&messages[..before.len()], before.as_slice());
        assert_eq!(
            messages[before.len()],
            json!({"role": "assistant", "content": wrong})
        );
        let complaint = messages[before.len() + 1]["content"]
            .as_str()
            .expect("text");
        assert!(
            complaint.starts_with("This answer does not fit the JSON schema: "),
            "{complaint}"
        );
        assert_eq!(asked[1]["stream"], asked[0]["stream"]);
    }
}

#[test]
fn an_answer_that_cannot_be_mended_is_an_error() {
    let upstream = Upstream::new([
        stream(WRONG),
        stream(WRONG),
        document(WRONG),
        document(WRONG),
    ]);
    let proxy = configured(&upstream, "", OWN);
    let events = streamed(&proxy, &request());
    let error = failure(&events);
    assert_eq!(error["code"], "invalid_structured_output");
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("at /a: ") && !message.contains("secret"),
        "{message}"
    );
    assert!(item_kinds(last(&events)).is_empty());
    let error = refusal(&post(&proxy, &request()), 502);
    assert_eq!(error["code"], "invalid_structured_output");
    assert_eq!(upstream.asked().len(), 4);
}

#[test]
fn nothing_is_told_before_it_is_checked_but_that_all_is_well() {
    let slow = Reply::chunks(&[text(WRONG)])
        .rest(700)
        .chunk(&finish("stop"))
        .bytes("data: [DONE]\n\n");
    let upstream = Upstream::new([slow, stream(RIGHT).after(700)]);
    let proxy = configured(&upstream, "keepalive_interval_ms = 200", OWN);
    let mut client = Live::start(&proxy.url(""), &request());
    client.wait_for("keepalive", Duration::from_secs(10));
    let body = client.finish();
    let events: Vec<SseEvent> = events::parse(&body);
    grammar::check(&events);
    assert!(!String::from_utf8_lossy(&body).contains("secret"));
    assert_eq!(deltas(&events, "response.output_text.delta"), RIGHT);
}

#[test]
fn calls_and_cut_answers_are_not_checked() {
    let tools = json!({"tools": [super::items::function("f")]});
    let calling = Reply::stream(&[call(0, Some(("c", "f")), "{}"), finish("tool_calls")]);
    let cut = Reply::stream(&[text("{\"a\""), finish("length")]);
    let broken = Reply::chunks(&[text("{\"a\"")]).cut();
    let upstream = Upstream::new([calling, cut, broken]);
    let proxy = configured(&upstream, "", OWN);
    let request = with(request(), tools);
    assert_eq!(
        item_kinds(last(&streamed(&proxy, &request))),
        ["function_call"]
    );
    assert_eq!(last(&streamed(&proxy, &request))["status"], "incomplete");
    assert_eq!(last(&streamed(&proxy, &request))["status"], "failed");
    // Nothing of the broken one was told, so that it was asked for again.
    assert_eq!(upstream.asked().len(), 5);
}

#[test]
fn a_refusal_of_the_second_question_is_told() {
    let upstream = Upstream::new([
        stream(WRONG),
        Reply::error(400, "No more."),
        document(WRONG),
        Reply::error(400, "No more."),
    ]);
    let proxy = configured(&upstream, "", OWN);
    let error = failure(&streamed(&proxy, &request())).clone();
    assert_eq!(error["message"], "No more.");
    let error = refusal(&post(&proxy, &request()), 400);
    assert_eq!(error["message"], "No more.");
}

#[test]
fn the_prompt_alone_will_do() {
    let upstream = Upstream::new([document(RIGHT), document("[1]"), document("{\"b\": []}")]);
    let proxy = configured(&upstream, "", "dialect = { response_format = \"prompt\" }");
    assert_eq!(said(&whole(&proxy, &request())), RIGHT);
    let object = with(
        hello(),
        json!({"text": {"format": {"type": "json_object"}}}),
    );
    assert_eq!(said(&whole(&proxy, &object)), "{\"b\": []}");
    for asked in upstream.asked() {
        assert_eq!(asked.get("response_format"), None);
    }
}

#[test]
fn a_schema_that_is_none_is_refused_where_it_is_checked() {
    let upstream = Upstream::new([document(RIGHT)]);
    let proxy = configured(&upstream, "", OWN);
    let format = json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "thing"}}}});
    let error = refusal(&post(&proxy, &with(hello(), format)), 400);
    assert_eq!(error["param"], "text.format.schema");
    assert!(upstream.asked().is_empty());
}
