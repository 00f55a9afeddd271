//! Keys that an upstream repeats in its errors: nobody gets to see them.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{failure, hello, post, read_stream, refusal, with};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, text};

/// Looks like a key.
const FOREIGN: &str = "sk-abcdefghijklmnopqrstuvwxyzabcd";
/// Does not look like one, but is the upstream's own.
const OWN: &str = "tok_QWERTYUIOPASDFGH";
const REDACTED: &str = "[redacted]";

/// A proxy that logs all that it can.
fn proxy(upstream: &Upstream, server: &str) -> Proxy {
    Proxy::builder()
        .config(&format!(
            "[server]\n{server}\n[log]\nlevel = \"trace\"\n\
             [upstreams.mock]\nbase_url = \"{}\"\nenv_key = \"MOCK_KEY\"\nrequest_max_retries = 1\n",
            upstream.base_url()
        ))
        .env("MOCK_KEY", OWN)
        .start()
}

fn message() -> String {
    format!("The keys {FOREIGN} and {OWN} are wrong.")
}

/// The same as it may be told.
fn expected() -> String {
    format!("The keys {REDACTED} and {REDACTED} are wrong.")
}

/// Neither is in the answer nor in the log, which tells of the error all the same.
fn check(answer: &[u8], proxy: &Proxy, upstream: &Upstream) {
    let bearer = format!("Bearer {OWN}");
    for request in upstream.received() {
        assert_eq!(request.header("authorization"), Some(bearer.as_str()));
    }
    let until = Instant::now() + Duration::from_secs(5);
    while !proxy.log().contains(&expected()) {
        assert!(Instant::now() < until, "nothing logged:\n{}", proxy.log());
        thread::sleep(Duration::from_millis(20));
    }
    for secret in [FOREIGN, OWN] {
        let answer = String::from_utf8_lossy(answer);
        assert!(!answer.contains(secret), "{answer}");
        assert!(!proxy.log().contains(secret), "{}", proxy.log());
    }
}

#[test]
fn an_early_refusal_tells_no_key() {
    // The second is tried again, which the log tells too.
    for (status, told) in [(401, 401), (500, 502)] {
        for stream in [false, true] {
            let upstream = Upstream::new([Reply::error(status, &message())]);
            let proxy = proxy(&upstream, "");
            let reply = post(&proxy, &with(hello(), json!({"stream": stream})));
            assert_eq!(refusal(&reply, told)["message"], expected());
            check(&reply.body, &proxy, &upstream);
        }
    }
}

#[test]
fn a_refusal_in_no_known_shape_tells_no_key() {
    for body in [
        message(),
        format!("<html><body>{}</body></html>", message()),
        json!({"detail": message()}).to_string(),
    ] {
        let upstream = Upstream::new([Reply::new(403, "text/plain").bytes(body)]);
        let proxy = proxy(&upstream, "");
        let reply = post(&proxy, &hello());
        assert_eq!(refusal(&reply, 403)["message"], expected());
        check(&reply.body, &proxy, &upstream);
    }
}

#[test]
fn a_late_refusal_tells_no_key() {
    for status in [401, 500] {
        let upstream = Upstream::new([Reply::error(status, &message()).after(500)]);
        let proxy = proxy(&upstream, "first_status_wait_ms = 100");
        let reply = post(&proxy, &with(hello(), json!({"stream": true})));
        let events = read_stream(&reply);
        assert_eq!(failure(&events)["message"], expected());
        check(&reply.body, &proxy, &upstream);
    }
}

#[test]
fn an_error_in_a_stream_tells_no_key() {
    for error in [
        json!({"error": {"message": message(), "code": 401}}),
        json!({"error": message()}),
        json!({"message": message(), "object": "error"}),
    ] {
        let upstream = Upstream::new([Reply::chunks(&[text("Hel"), error])]);
        let proxy = proxy(&upstream, "");
        let reply = post(&proxy, &with(hello(), json!({"stream": true})));
        let events = read_stream(&reply);
        assert_eq!(failure(&events)["message"], expected());
        check(&reply.body, &proxy, &upstream);
    }
}

#[test]
fn an_error_in_a_blocking_answer_tells_no_key() {
    let error = json!({"error": {"message": message(), "code": 401}});
    let upstream = Upstream::new([Reply::json(200, &error)]);
    let proxy = proxy(&upstream, "");
    let reply = post(&proxy, &hello());
    assert_eq!(refusal(&reply, 400)["message"], expected());
    check(&reply.body, &proxy, &upstream);
}

#[test]
fn a_key_in_escapes_is_a_key_all_the_same() {
    // Some writers of JSON write more characters as escapes than they must.
    let escaped = message().replace('-', "\\u002d").replace('_', "\\u005f");
    let body = format!("{{\"error\":{{\"message\":\"{escaped}\",\"code\":401}}}}");
    for status in [200, 401] {
        let reply = Reply::new(status, "application/json").bytes(body.as_str());
        let upstream = Upstream::new([reply]);
        let proxy = proxy(&upstream, "");
        let reply = post(&proxy, &hello());
        let told = if status == 200 { 400 } else { status };
        assert_eq!(refusal(&reply, told)["message"], expected());
        check(&reply.body, &proxy, &upstream);
    }
}

#[test]
fn a_key_that_a_long_message_is_cut_in_is_not_told_in_part() {
    let upstream = Upstream::by(|request| {
        let words = request["messages"][0]["content"].as_str();
        let page = format!("<html>{} {OWN}</html>", words.unwrap_or_default());
        Reply::new(200, "text/html").bytes(page)
    });
    let proxy = proxy(&upstream, "");
    for length in (300..420).step_by(4) {
        let request = json!({"model": "m", "input": "x".repeat(length)});
        let reply = post(&proxy, &request);
        let message = refusal(&reply, 502)["message"].to_string();
        // A word that is cut is left out as a whole: nobody knows whether it is a key.
        assert_eq!(
            message.contains(&"x".repeat(300)),
            length < 400,
            "{length}: {message}"
        );
        assert!(!message.contains(&OWN[..8]), "{length}: {message}");
    }
    // Nor in the lines that say why the upstream is asked again.
    assert!(proxy.log().contains("asking again"), "{}", proxy.log());
    assert!(!proxy.log().contains(&OWN[..8]), "{}", proxy.log());
}
