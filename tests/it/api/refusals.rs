//! What a client that streams is told when the upstream keeps refusing, with nothing configured that
//! makes it wait longer: the status, and when to come back.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{config, configured, dead_port, hello, post, refusal, with};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream};

fn streaming() -> Value {
    with(hello(), json!({"stream": true}))
}

/// The seconds of `Retry-After`.
fn seconds(reply: &http::Reply) -> Option<u64> {
    let value = reply.header("retry-after")?;
    Some(value.parse().expect("whole seconds"))
}

#[test]
fn an_upstream_that_is_down_is_503_even_for_a_stream_that_does_not_wait() {
    let base_url = format!("http://{}/v1", dead_port());
    let proxy = Proxy::builder()
        .config(&config(&base_url, "first_status_wait_ms = 50", ""))
        .start();
    let asked = Instant::now();
    let reply = post(&proxy, &streaming());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(8), "it took {took:?}");
    refusal(&reply, 503);
    assert!(seconds(&reply) > Some(0), "{:?}", seconds(&reply));
}

#[test]
fn a_refusal_that_stays_keeps_its_status_and_says_when_to_come_back() {
    thread::scope(|scope| {
        for (status, told, comes_back) in [
            (429, 429, true),
            (502, 502, false),
            (503, 503, true),
            (529, 503, true),
        ] {
            scope.spawn(move || {
                let upstream = Upstream::new([Reply::error(status, "Not now.")]);
                let proxy = Proxy::to(&upstream.base_url());
                let asked = Instant::now();
                let reply = post(&proxy, &streaming());
                let took = asked.elapsed();
                assert!(took < Duration::from_secs(8), "{status}: it took {took:?}");
                assert_eq!(refusal(&reply, told)["message"], "Not now.", "{status}");
                assert_eq!(seconds(&reply).is_some(), comes_back, "{status}");
                assert_ne!(seconds(&reply), Some(0), "{status}");
                assert!(upstream.asked().len() > 1, "{status}: it was asked once");
            });
        }
    });
}

#[test]
fn an_upstream_may_say_in_milliseconds_when_to_come_back() {
    let busy = Reply::error(429, "Slow down.").header("retry-after-ms", "1500");
    let upstream = Upstream::new([busy]);
    let proxy = configured(&upstream, "", "request_max_retries = 1");
    let asked = Instant::now();
    let reply = post(&proxy, &streaming());
    let took = asked.elapsed();
    refusal(&reply, 429);
    // HTTP has only whole seconds, and to come too early is worse than to come late.
    assert_eq!(seconds(&reply), Some(2));
    assert_eq!(upstream.asked().len(), 2);
    assert!(took >= Duration::from_millis(1500), "it took {took:?}");
    assert!(took < Duration::from_secs(4), "it took {took:?}");
}

#[test]
fn who_has_no_money_left_is_not_told_to_come_back() {
    let body = json!({"error": {"message": "Pay first.", "type": "insufficient_quota", "param": null, "code": "insufficient_quota"}});
    let spent = Reply::json(429, &body);
    for (reply, expected) in [
        (spent.clone(), None),
        // What the upstream says itself is no invention.
        (spent.header("retry-after", "3600"), Some(3600)),
    ] {
        let upstream = Upstream::new([reply]);
        let proxy = Proxy::to(&upstream.base_url());
        for request in [hello(), streaming()] {
            let reply = post(&proxy, &request);
            assert_eq!(refusal(&reply, 429)["code"], "insufficient_quota");
            assert_eq!(seconds(&reply), expected);
            assert_eq!(reply.header("retry-after-ms"), None);
        }
        assert_eq!(upstream.asked().len(), 2, "once for each request");
    }
}

#[test]
fn a_redirect_is_neither_followed_nor_asked_for_again() {
    for status in [301, 302, 303, 307, 308] {
        let moved = Reply::new(status, "text/html").header("location", "/v2/chat/completions");
        let upstream = Upstream::new([moved]).models(Reply::json(200, &json!({"data": []})));
        let proxy = Proxy::to(&upstream.base_url());
        for (times, request) in [(1, hello()), (2, streaming())] {
            let error = refusal(&post(&proxy, &request), 502);
            let message = error["message"].as_str().unwrap_or_default();
            assert!(message.contains(&status.to_string()), "{message}");
            assert_eq!(upstream.asked().len(), times, "{status}");
        }
    }
}
