//! The log: a line for each end that a response can come to, and which request it was.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Live, configured, hello, post, read_stream, refusal, with};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, finish, text, usage};

/// The first line, as JSON, for which that holds; it may still be on its way.
pub(super) fn line(proxy: &Proxy, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let log = proxy.log();
        let mut lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.find(&holds) {
            return line;
        }
        assert!(Instant::now() < until, "no line of {what}:\n{log}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn with_message(proxy: &Proxy, message: &str) -> Value {
    line(proxy, message, |line| line["message"] == message)
}

#[test]
fn the_log_tells_that_a_blocking_client_left() {
    let unanswered = Reply::stream(&[text("Hi"), finish("stop")]).after(15_000);
    let unfinished = Reply::chunks(&[text("Hel")]).silent();
    for reply in [unanswered, unfinished] {
        let upstream = Upstream::new([reply]);
        let proxy = Proxy::to(&upstream.base_url());
        let client = Live::send(&proxy.url(""), &hello());
        upstream.wait_until_asked(1);
        drop(client);
        let line = line(&proxy, "the client", |line| line["status"] == "cancelled");
        let message = line["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("the client left"), "{line}");
        let id = line["response.id"].as_str().unwrap_or_default();
        assert!(id.starts_with("resp_"), "{line}");
        assert_eq!(line["model"], "m");
        assert!(line["total_ms"].is_u64(), "{line}");
        upstream.wait_until_left(1);
    }
}

#[test]
fn the_log_tells_that_a_streaming_client_left() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).silent()]);
    let proxy = Proxy::to(&upstream.base_url());
    let mut client = Live::start(&proxy.url(""), &hello());
    client.wait_for("Hel", Duration::from_secs(10));
    drop(client);
    assert_eq!(
        with_message(&proxy, "the client left")["status"],
        "cancelled"
    );
}

#[test]
fn an_answers_request_id_is_in_the_log() {
    let upstream = Upstream::by(|request| {
        if request["messages"][0]["content"] == "Fail" {
            return Reply::error(400, "No.");
        }
        Reply::stream(&[text("Hi"), finish("stop"), usage(9, 4)])
    });
    let proxy = Proxy::to(&upstream.base_url());
    let mut ids = Vec::new();
    for (input, status, message) in [
        ("Hello", 200, "response"),
        ("Hello", 200, "response"),
        ("Fail", 400, "request refused"),
    ] {
        for stream in [false, true] {
            let request = json!({"input": input, "stream": stream});
            let reply = post(&proxy, &with(hello(), request));
            assert_eq!(reply.status, status, "{}", reply.text());
            let id = reply.header("x-request-id").expect("an id").to_owned();
            assert!(!id.is_empty() && !ids.contains(&id), "{id} in {ids:?}");
            let line = line(&proxy, &id, |line| line.to_string().contains(&id));
            assert_eq!(line["message"], message, "{line}");
            ids.push(id);
        }
    }
}

#[test]
fn what_happens_after_a_stream_began_is_logged_under_its_request_id() {
    let upstream = Upstream::new([
        Reply::error(500, "Oops.").after(400),
        Reply::stream(&[text("Hi"), finish("stop"), usage(9, 4)]),
    ]);
    let proxy = configured(&upstream, "first_status_wait_ms = 100", "");
    let reply = post(&proxy, &with(hello(), json!({"stream": true})));
    read_stream(&reply);
    let id = reply.header("x-request-id").expect("an id");
    for message in ["the upstream refused: trying again", "response"] {
        let line = with_message(&proxy, message);
        assert!(line.to_string().contains(id), "{id} is not in {line}");
    }
}

#[test]
fn a_request_that_is_wrong_has_an_id_too() {
    let proxy = Proxy::to(&Upstream::saying("Hi").base_url());
    let reply = post(&proxy, &json!({"input": "Hello"}));
    refusal(&reply, 400);
    let id = reply.header("x-request-id").expect("an id");
    let line = with_message(&proxy, "request refused");
    assert!(line.to_string().contains(id), "{id} is not in {line}");
}
