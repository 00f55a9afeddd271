//! Responses over a WebSocket: lanes, what a connection remembers, and how it ends.

use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;

use super::stored::{Client, calling, counting, id, last_dialogue, reply, said, weather};
use super::{configured, kinds, last, with};
use crate::grammar;
use crate::support::events::SseEvent;
use crate::support::proxy::Proxy;
use crate::support::socket::{Said, Socket, is_last, named};
use crate::support::upstream::{Reply, Upstream, finish, text, usage};

pub(super) fn create(more: Value) -> Value {
    with(json!({"type": "response.create", "model": "m"}), more)
}

fn open(proxy: &Proxy) -> Socket {
    Socket::open(&proxy.url("/v1/responses"), Some("sk-one"))
}

/// A whole stream, which must be as good as one over HTTP.
fn whole(events: Vec<SseEvent>) -> Value {
    let lane = events[0].data["stream_id"].clone();
    let bare = |mut event: SseEvent| {
        assert_eq!(event.data["stream_id"], lane);
        if let Some(event) = event.data.as_object_mut() {
            event.remove("stream_id");
        }
        event
    };
    let events: Vec<SseEvent> = events.into_iter().map(bare).collect();
    grammar::check(&events);
    last(&events).clone()
}

fn completed(events: Vec<SseEvent>) -> Value {
    let response = whole(events);
    assert_eq!(response["status"], "completed", "{response}");
    response
}

/// The one event that refuses a request.
fn error(events: &[SseEvent]) -> &Value {
    assert_eq!(kinds(events), ["error"]);
    let event = &events[0].data;
    assert!(
        event["status"].is_u64() && event["error"]["message"].is_string(),
        "{event}"
    );
    event
}

#[test]
fn one_response_after_the_other() {
    let upstream = calling();
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    // What only HTTP uses is let pass.
    let request =
        create(json!({"input": "x", "tools": [weather()], "stream": true, "background": true}));
    let first = completed(socket.ask(&request));
    assert_eq!(first["background"], false);
    let output = json!([{"type": "function_call_output", "call_id": "call_1", "output": "18"}]);
    let next =
        create(json!({"input": output, "tools": [weather()], "previous_response_id": id(&first)}));
    assert_eq!(said(&completed(socket.ask(&next))), "done");
    // It was stored, for this key.
    assert_eq!(
        Client::new(&proxy).get(&format!("/responses/{}", id(&first))),
        first
    );
    assert_eq!(socket.pings, 1, "the client is asked whether it is there");
    socket.send(Message::Ping("x".into()));
    completed(socket.ask(&create(json!({"input": "x"}))));
}

#[test]
fn what_is_not_stored_is_remembered_by_its_connection() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let (mut one, mut two) = (open(&proxy), open(&proxy));
    let ask = |input: &str, previous: &Value| {
        create(json!({"input": input, "store": false, "previous_response_id": previous}))
    };
    let first = completed(one.ask(&ask("one", &Value::Null)));
    let refused = two.ask(&ask("two", &first["id"]));
    assert_eq!(
        error(&refused)["error"]["code"],
        "previous_response_not_found"
    );
    assert_eq!(error(&refused)["status"], 400);
    completed(two.ask(&ask("fresh", &Value::Null)));

    let second = completed(one.ask(&ask("two", &first["id"])));
    assert_eq!(
        last_dialogue(&upstream),
        ["user: one", "assistant: answer to 1", "user: two"]
    );
    // Only the latest.
    let refused = one.ask(&ask("fork", &first["id"]));
    assert_eq!(
        error(&refused)["error"]["code"],
        "previous_response_not_found"
    );
    completed(one.ask(&ask("three", &second["id"])));
    assert_eq!(last_dialogue(&upstream).len(), 5);
    Client::new(&proxy).refused(
        "GET",
        &format!("/responses/{}", id(&first)),
        &Value::Null,
        404,
    );
}

#[test]
fn a_failed_continuation_forgets_what_it_continued() {
    let upstream = Upstream::by(|request| match request["messages"].to_string() {
        words if words.contains("break") => Reply::chunks(&[text("half")]).cut(),
        _ => reply(request, "fine"),
    });
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    let astray = json!([{"type": "function_call_output", "call_id": "call_9", "output": "x"}]);
    for (wrong, store, is_left) in [
        (astray.clone(), false, false),
        (json!("break"), false, false),
        (json!(5), false, false),
        (astray, true, true),
    ] {
        let first = completed(socket.ask(&create(json!({"input": "one", "store": store}))));
        let next = |input: Value| {
            create(json!({"input": input, "store": store, "previous_response_id": id(&first)}))
        };
        let failed = socket.ask(&next(wrong));
        assert!(["error", "response.failed"].contains(&failed.last().expect("an event").kind()));
        let retry = socket.ask(&next(json!("again")));
        if is_left {
            completed(retry);
        } else {
            assert_eq!(
                error(&retry)["error"]["code"],
                "previous_response_not_found"
            );
        }
    }
    // Another lane may fork from it, and its failure leaves it alone.
    let first = completed(socket.ask(&create(
        json!({"input": "one", "store": false, "stream_id": "a"}),
    )));
    let next = |lane: &str, input: Value| {
        create(
            json!({"input": input, "store": false, "previous_response_id": id(&first), "stream_id": lane}),
        )
    };
    error(&socket.ask(&next("b", json!(5))));
    completed(socket.ask(&next("b", json!("fork"))));
    completed(socket.ask(&next("a", json!("two"))));
}

#[test]
fn a_warm_up_is_continued() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    for store in [true, false] {
        let asked = upstream.asked().len();
        let request = json!({"input": [{"role": "user", "content": "before"}], "generate": false, "store": store, "stream_id": "w"});
        let warm = completed(socket.ask(&create(request)));
        assert_eq!(warm["output"], json!([]));
        assert_eq!(
            upstream.asked().len(),
            asked,
            "nothing is asked of the model"
        );
        let next = json!({"input": "now", "previous_response_id": id(&warm), "store": store, "stream_id": "w"});
        completed(socket.ask(&create(next)));
        assert_eq!(last_dialogue(&upstream), ["user: before", "user: now"]);
    }
}

/// An upstream that answers with what it was told, after a while for those who say so.
fn echoing() -> Upstream {
    Upstream::by(|request| {
        let words = request["messages"]
            .as_array()
            .and_then(|all| all.last()?["content"].as_str());
        let words = words.unwrap_or_default().to_owned();
        let slow = if words.starts_with("slow") { 700 } else { 0 };
        let first = Reply::chunks(&[text(&words)]).rest(slow);
        [finish("stop"), usage(9, 4)]
            .iter()
            .fold(first, Reply::chunk)
            .bytes("data: [DONE]\n\n")
    })
}

#[test]
fn lanes_run_side_by_side_and_each_in_order() {
    let upstream = echoing();
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    for (lane, words) in [
        ("a", "slow 1"),
        ("a", "2"),
        ("b", "slow 3"),
        ("b", "4"),
        ("c", "5"),
    ] {
        socket.say(&create(json!({"input": words, "stream_id": lane})));
    }
    socket.say(&create(json!({"input": "6"})));
    let mut ends = Vec::new();
    let mut lanes: std::collections::BTreeMap<String, Vec<SseEvent>> = Default::default();
    while ends.len() < 6 {
        let event = socket.event();
        let lane = event["stream_id"].as_str().unwrap_or_default().to_owned();
        let events = lanes.entry(lane.clone()).or_default();
        events.push(named(event.clone()));
        if is_last(&event) {
            ends.push(said(&completed(std::mem::take(events))));
        }
    }
    let at = |words: &str| ends.iter().position(|end| end == words).expect("it ended");
    assert!(at("slow 1") < at("2") && at("slow 3") < at("4"), "{ends:?}");
    assert!(at("5") < at("slow 1") && at("6") < at("slow 3"), "{ends:?}");
}

#[test]
fn names_of_lanes_are_plain_and_few() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    for odd in [
        json!(""),
        json!("a b"),
        json!("ä"),
        json!("a".repeat(257)),
        json!(5),
        json!({}),
        json!("a\n"),
    ] {
        let answer = socket.ask(&create(json!({"input": "x", "stream_id": odd})));
        assert_eq!(
            error(&answer)["error"]["code"],
            "invalid_stream_id",
            "{odd}"
        );
        assert_eq!(error(&answer)["status"], 400);
    }
    for fine in ["a".repeat(256), "A-z_0.9".to_owned()] {
        let answer = socket.ask(&create(json!({"input": "x", "stream_id": fine})));
        assert_eq!(answer[0].data["stream_id"], fine.as_str());
        completed(answer);
    }
    for n in 2..32 {
        completed(socket.ask(&create(
            json!({"input": "x", "stream_id": format!("lane{n}")}),
        )));
    }
    let answer = socket.ask(&create(json!({"input": "x", "stream_id": "one-more"})));
    assert_eq!(
        error(&answer)["error"]["code"],
        "websocket_stream_limit_reached"
    );
    assert_eq!(error(&answer)["stream_id"], "one-more");
    // Those that are there go on, and so does the one without a name.
    completed(socket.ask(&create(json!({"input": "x", "stream_id": "lane7"}))));
    completed(socket.ask(&create(json!({"input": "x"}))));
}

#[test]
fn sixteen_are_under_way_at_most() {
    let upstream = echoing();
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    for n in 0..17 {
        socket.say(&create(
            json!({"input": format!("slow {n}"), "stream_id": format!("s{n}")}),
        ));
    }
    let (mut done, mut refused) = (0, Vec::new());
    while done < 16 || refused.is_empty() {
        let event = socket.event();
        match event["type"].as_str() {
            Some("response.completed") => done += 1,
            Some("error") => refused.push(event),
            _ => {}
        }
    }
    assert_eq!(refused.len(), 1);
    assert_eq!(
        refused[0]["error"]["code"],
        "websocket_stream_limit_reached"
    );
    assert_eq!(refused[0]["stream_id"], "s16");
    completed(socket.ask(&create(json!({"input": "x"}))));
}

#[test]
fn what_is_no_request_is_refused_and_the_connection_goes_on() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    for odd in [
        "{oops",
        "",
        "[]",
        "5",
        "null",
        "\"x\"",
        "{}",
        r#"{"type":5}"#,
        r#"{"type":"response.cancel"}"#,
        r#"{"type":"response.create"}"#,
        r#"{"type":"response.create","model":"m","input":5}"#,
        r#"{"type":"response.create","model":"m"}"#,
        r#"{"type":"response.create","model":"m","input":"x","previous_response_id":"resp_none"}"#,
        r#"{"type":"response.create","model":"m","input":"x","conversation":"conv_none"}"#,
    ] {
        socket.send(Message::text(odd));
        let answer = socket.answer();
        let status = error(&answer)["status"].as_u64();
        assert!(matches!(status, Some(400 | 404)), "{odd}: {answer:?}");
        assert_eq!(
            error(&answer)["error"]["type"],
            "invalid_request_error",
            "{odd}"
        );
    }
    socket.send(Message::binary(b"\x00\x01".to_vec()));
    error(&socket.answer());
    completed(socket.ask(&create(json!({"input": "x"}))));
}

#[test]
fn a_refusal_of_the_upstream_has_its_status() {
    let upstream = Upstream::new([Reply::error(429, "slow down").header("retry-after", "7")]);
    let proxy = configured(&upstream, "", "request_max_retries = 0");
    let mut socket = open(&proxy);
    let answer = socket.ask(&create(json!({"input": "x", "stream_id": "a"})));
    let event = error(&answer);
    assert_eq!(
        (&event["status"], &event["stream_id"]),
        (&json!(429), &json!("a"))
    );
    assert_eq!(event["error"]["headers"]["retry-after"], "7");
}

#[test]
fn nothing_is_steered() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    let input = json!([{"type": "message", "role": "user", "content": "left!"}]);
    socket.say(&json!({"type": "response.steer", "previous_response_id": "resp_1", "input": input, "stream_id": "a"}));
    let failed = socket.event();
    assert_eq!(failed["type"], "response.steer.failed");
    assert_eq!(failed["error"]["code"], "steering_not_supported");
    assert_eq!(failed["stream_id"], "a");
    assert_eq!(failed["steer"]["previous_response_id"], "resp_1");
    completed(socket.ask(&create(json!({"input": "x"}))));
}

#[test]
fn a_message_that_is_too_large_ends_the_connection_with_the_reason() {
    let upstream = counting();
    let proxy = configured(&upstream, "max_body_bytes = 1000000", "");
    let mut socket = open(&proxy);
    completed(socket.ask(&create(json!({"input": "x".repeat(900_000)}))));
    socket.say(&create(json!({"input": "x".repeat(1_200_000)})));
    loop {
        match socket.hear() {
            Said::Event(event) => assert_eq!(event["type"], "error"),
            said => {
                assert_eq!(said, Said::Close(Some(1009)));
                break;
            }
        }
    }
    completed(open(&proxy).ask(&create(json!({"input": "x"}))));
}

#[test]
fn who_leaves_takes_their_responses_along() {
    let upstream = Upstream::new([Reply::chunks(&[text("half")]).silent()]);
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    socket.say(&create(json!({"input": "x"})));
    socket.say(&create(json!({"input": "y", "stream_id": "b"})));
    let mut deltas = 0;
    while deltas < 2 {
        deltas += usize::from(socket.event()["type"] == "response.output_text.delta");
    }
    socket.hang_up();
    upstream.wait_until_left(2);
}

#[test]
fn a_get_without_an_upgrade_is_told_so() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    Client::new(&proxy).refused("GET", "/responses", &Value::Null, 405);
    assert_eq!(
        Socket::try_open(&proxy.url("/v1/models"), None).err(),
        Some(200)
    );
    // Some clients take the address without /v1 for the base.
    completed(Socket::open(&proxy.url("/responses"), None).ask(&create(json!({"input": "x"}))));
}

#[test]
fn a_compaction_comes_over_a_socket_too() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    let input = json!([{"role": "user", "content": "Tuesday."}, {"type": "compaction_trigger"}]);
    let made = completed(socket.ask(&create(json!({"input": input, "store": false}))));
    assert_eq!(super::stored::kinds_of(&made["output"]), ["compaction"]);
    completed(socket.ask(&create(
        json!({"input": "When?", "store": false, "previous_response_id": id(&made)}),
    )));
    assert_eq!(last_dialogue(&upstream).len(), 3);
}

#[test]
fn a_slow_reader_loses_nothing() {
    let upstream = Upstream::by(|_| {
        let chunks: Vec<Value> = (0..3000).map(|n| text(&format!("{n} "))).collect();
        let all = chunks
            .iter()
            .chain([&finish("stop")])
            .cloned()
            .collect::<Vec<_>>();
        Reply::stream(&all)
    });
    let proxy = Proxy::to(&upstream.base_url());
    let mut socket = open(&proxy);
    socket.say(&create(json!({"input": "x"})));
    std::thread::sleep(Duration::from_millis(800));
    let words = said(&completed(socket.answer()));
    assert_eq!(words.split_whitespace().count(), 3000);
}
