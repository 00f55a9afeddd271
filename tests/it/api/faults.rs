//! Upstreams that refuse, or cannot be had: what the client is told instead of an answer, and how
//! often the upstream is asked.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    config, configured, dead_port, failure, hello, last, post, read_stream, refusal, streamed,
    whole, with,
};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, finish, text, usage};

/// One more try, and time enough to make it before a stream begins.
const ONE_RETRY: &str = "request_max_retries = 1";
const PATIENT: &str = "first_status_wait_ms = 10000";

/// What the client is told, streaming or not, when the upstream answers like this; and how often it
/// was asked each time.
fn told(reply: &Reply, status: u16) -> (Vec<(http::Reply, Value)>, usize) {
    let mut tellings = Vec::new();
    let mut times = Vec::new();
    for stream in [false, true] {
        let upstream = Upstream::new([reply.clone()]);
        let proxy = configured(&upstream, PATIENT, ONE_RETRY);
        let answer = post(&proxy, &with(hello(), json!({"stream": stream})));
        let error = refusal(&answer, status);
        tellings.push((answer, error));
        times.push(upstream.asked().len());
    }
    assert_eq!(
        times[0], times[1],
        "streamed and blocking requests are repeated alike"
    );
    (tellings, times[0])
}

#[test]
fn an_upstream_that_is_down_is_tried_again_and_then_it_is_503_with_retry_after() {
    let base_url = format!("http://{}/v1", dead_port());
    for stream in [false, true] {
        let proxy = Proxy::builder()
            .config(&config(&base_url, PATIENT, ONE_RETRY))
            .start();
        let asked = Instant::now();
        let reply = post(&proxy, &with(hello(), json!({"stream": stream})));
        let took = asked.elapsed();
        assert!(
            took >= Duration::from_millis(200),
            "there was no second try"
        );
        // What the client is told to wait is not what the proxy waits.
        assert!(took < Duration::from_secs(2), "it took {took:?}");
        let error = refusal(&reply, 503);
        assert_eq!(error["type"], "server_error");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|words| words.contains(&base_url)),
            "{error}"
        );
        let seconds = reply
            .header("retry-after")
            .and_then(|value| value.parse::<u32>().ok());
        assert!(
            seconds.is_some_and(|seconds| seconds > 0),
            "{:?}",
            reply.header("retry-after")
        );
    }
}

#[test]
fn no_stream_begins_on_an_upstream_that_refused_at_first() {
    // The pause before the second try is longer than a stream waits for the upstream's status.
    let base_url = format!("http://{}/v1", dead_port());
    let hasty = "first_status_wait_ms = 50";
    let proxy = Proxy::builder()
        .config(&config(&base_url, hasty, ONE_RETRY))
        .start();
    refusal(&post(&proxy, &with(hello(), json!({"stream": true}))), 503);

    let upstream = Upstream::new([Reply::error(500, "Oops.")]);
    let proxy = configured(&upstream, hasty, ONE_RETRY);
    refusal(&post(&proxy, &with(hello(), json!({"stream": true}))), 502);
    assert_eq!(upstream.asked().len(), 2);
}

#[test]
fn a_refusal_keeps_its_status_its_words_and_its_parameter() {
    for status in [400, 401, 403, 404, 409, 422] {
        let body = json!({"error": {"message": "No such luck.", "type": "bad", "param": "max_tokens", "code": "why_not"}});
        let (tellings, times) = told(&Reply::json(status, &body), status);
        assert_eq!(times, 1, "{status}");
        for (_, error) in tellings {
            assert_eq!(
                error,
                json!({
                    "message": "No such luck.",
                    "type": "invalid_request_error",
                    "param": "max_output_tokens",
                    "code": "why_not",
                }),
                "{status}"
            );
        }
    }
}

#[test]
fn a_refusal_is_understood_in_many_shapes() {
    for (body, message) in [
        (r#"{"error":"model not loaded"}"#, "model not loaded"),
        (
            r#"{"detail":[{"loc":["body","messages"],"msg":"field required"}]}"#,
            "body.messages: field required",
        ),
        (
            r#"{"object":"error","message":"bad sampling","type":"BadRequestError","code":400}"#,
            "bad sampling",
        ),
        (
            r#"[{"error":{"code":400,"message":"odd list","status":"INVALID_ARGUMENT"}}]"#,
            "odd list",
        ),
        ("plain words", "plain words"),
        (
            "<html><body><h1>Bad</h1>request</body></html>",
            "Bad request",
        ),
    ] {
        let (tellings, _) = told(&Reply::new(400, "text/plain").bytes(body), 400);
        assert_eq!(tellings[0].1["message"], message, "{body}");
    }
    let (tellings, _) = told(&Reply::new(400, "text/plain"), 400);
    assert!(
        tellings[0].1["message"]
            .as_str()
            .is_some_and(|words| words.contains("400")),
        "an empty body"
    );
}

#[test]
fn a_conversation_that_is_too_long_is_always_called_so() {
    for (status, message) in [
        (
            400,
            "This model's maximum context length is 4096 tokens. However, you requested 5000.",
        ),
        (
            413,
            "the request exceeds the available context size, try increasing it",
        ),
        (422, "prompt is too long: 5000 tokens"),
    ] {
        let (tellings, times) = told(&Reply::error(status, message), 400);
        assert_eq!(times, 1);
        for (_, error) in tellings {
            assert_eq!(error["code"], "context_length_exceeded", "{message}");
            assert_eq!(error["message"], message);
        }
    }
}

#[test]
fn a_busy_upstreams_long_retry_after_is_passed_on_at_once() {
    let busy = Reply::error(429, "Slow down.").header("retry-after", "7");
    let asked = Instant::now();
    let (tellings, times) = told(&busy, 429);
    assert!(asked.elapsed() < Duration::from_secs(5), "it waited itself");
    assert_eq!(times, 1);
    for (reply, error) in tellings {
        assert_eq!(reply.header("retry-after"), Some("7"));
        assert_eq!(error["code"], "rate_limit_exceeded");
        assert_eq!(error["message"], "Slow down.");
    }
}

#[test]
fn a_busy_upstream_is_asked_again_when_it_says_so() {
    let busy = Reply::error(429, "Slow down.").header("retry-after", "1");
    let ready = Reply::stream(&[text("Hi"), finish("stop"), usage(9, 4)]);
    let upstream = Upstream::new([busy, ready]);
    let proxy = configured(&upstream, PATIENT, ONE_RETRY);
    let asked = Instant::now();
    let response = whole(&proxy, &hello());
    assert!(
        asked.elapsed() >= Duration::from_secs(1),
        "it did not wait as long as it was told"
    );
    assert_eq!(response["output"][0]["content"][0]["text"], "Hi");
    let asked = upstream.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], asked[1]);
}

#[test]
fn who_has_no_money_left_is_not_asked_twice() {
    let body = json!({"error": {"message": "Pay first.", "type": "insufficient_quota", "param": null, "code": "insufficient_quota"}});
    let (tellings, times) = told(&Reply::json(429, &body), 429);
    assert_eq!(times, 1);
    assert_eq!(tellings[0].1["code"], "insufficient_quota");
}

#[test]
fn an_upstreams_own_failure_is_tried_again_and_then_it_is_a_bad_gateway() {
    // Codex hides the message of a 500, and shows that of a 502.
    for (status, expected) in [(500, 502), (502, 502), (503, 503), (529, 503)] {
        let (tellings, times) = told(&Reply::error(status, "Out of memory."), expected);
        assert_eq!(times, 2, "{status}");
        for (_, error) in tellings {
            assert_eq!(error["message"], "Out of memory.", "{status}");
            assert_eq!(error["code"], "server_error", "{status}");
        }
    }
}

#[test]
fn a_failure_that_passes_goes_unnoticed() {
    let ready = Reply::stream(&[text("Hi"), finish("stop"), usage(9, 4)]);
    for first in [
        Reply::error(500, "Oops."),
        Reply::error(503, "Loading."),
        Reply::none(),
    ] {
        let upstream = Upstream::new([first, ready.clone()]);
        let proxy = configured(&upstream, PATIENT, ONE_RETRY);
        assert_eq!(last(&streamed(&proxy, &hello()))["status"], "completed");
        assert_eq!(upstream.asked().len(), 2);
    }
}

#[test]
fn an_upstream_that_hangs_up_without_a_word_is_a_bad_gateway() {
    let (tellings, times) = told(&Reply::none(), 502);
    assert_eq!(times, 2);
    assert_eq!(tellings[0].1["code"], "server_error");
}

#[test]
fn a_redirect_is_no_answer() {
    let (tellings, _) = told(
        &Reply::new(302, "text/html").header("location", "/elsewhere"),
        502,
    );
    assert!(
        tellings[0].1["message"]
            .as_str()
            .is_some_and(|words| words.contains("base_url")),
        "{}",
        tellings[0].1
    );
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_given_up() {
    let late = Reply::stream(&[text("Hi"), finish("stop")]).after(15_000);
    let upstream = Upstream::new([late]);
    let proxy = configured(&upstream, PATIENT, "first_byte_timeout_ms = 300");
    let asked = Instant::now();
    for stream in [false, true] {
        let reply = post(&proxy, &with(hello(), json!({"stream": stream})));
        assert_eq!(refusal(&reply, 504)["code"], "server_error");
    }
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        asked.elapsed()
    );
    // It has the request already, and may still be at work on it: it is not given it again.
    assert_eq!(upstream.asked().len(), 2);
    upstream.wait_until_left(2);
}

#[test]
fn a_blocking_answer_that_is_broken_is_a_bad_gateway() {
    let whole =
        r#"{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}"#;
    for reply in [
        Reply::new(200, "application/json"),
        Reply::new(200, "application/json").bytes("{\"choices\": ["),
        Reply::new(200, "application/json").bytes("{}"),
        Reply::new(200, "text/html").bytes("<html>Welcome to nginx</html>"),
        Reply::new(200, "application/json")
            .bytes(&whole.as_bytes()[..40])
            .cut(),
        Reply::new(200, "application/json").bytes(whole.replace("\"choices\"", "\"choises\"")),
    ] {
        let upstream = Upstream::new([reply.clone()]);
        let proxy = configured(&upstream, "", ONE_RETRY);
        let error = refusal(&post(&proxy, &hello()), 502);
        assert_eq!(error["code"], "server_error", "{reply:?}");
    }
}

#[test]
fn an_error_in_an_answer_that_claims_to_be_well_is_still_one() {
    for (body, status, code) in [
        (
            json!({"error": {"message": "No.", "code": 400}}),
            400,
            "invalid_prompt",
        ),
        (
            json!({"error": {"message": "No.", "code": "rate_limit_exceeded"}}),
            429,
            "rate_limit_exceeded",
        ),
        (
            json!({"error": {"message": "maximum context length is 5"}}),
            400,
            "context_length_exceeded",
        ),
        (json!({"error": {"message": "No."}}), 502, "server_error"),
        (
            json!({"base_resp": {"status_code": 1000, "status_msg": "No."}}),
            502,
            "server_error",
        ),
    ] {
        let upstream = Upstream::new([Reply::json(200, &body)]);
        let proxy = configured(&upstream, "", "");
        assert_eq!(
            refusal(&post(&proxy, &hello()), status)["code"],
            code,
            "{body}"
        );
        assert_eq!(failure(&streamed(&proxy, &hello()))["code"], code, "{body}");
    }
}

#[test]
fn each_model_goes_to_its_own_upstream() {
    let (first, second) = (Upstream::saying("first"), Upstream::saying("second"));
    let proxy = Proxy::builder()
        .config(&format!(
            "default_upstream = \"one\"\n[upstreams.one]\nbase_url = \"{}\"\n[upstreams.two]\nbase_url = \"{}\"\n\
             [models.special]\nupstream = \"two\"\nmodel = \"real\"\n[models.\"gpt-*\"]\nupstream = \"two\"\n",
            first.base_url(),
            second.base_url()
        ))
        .start();
    for (model, words, upstream, there) in [
        ("any", "first", &first, "any"),
        ("special", "second", &second, "real"),
        ("gpt-5.5", "second", &second, "gpt-5.5"),
    ] {
        let reply = post(
            &proxy,
            &json!({"model": model, "input": "Hello", "stream": true}),
        );
        let events = read_stream(&reply);
        assert_eq!(last(&events)["output"][0]["content"][0]["text"], words);
        assert_eq!(
            last(&events)["model"],
            model,
            "the client's own name for it"
        );
        assert_eq!(
            upstream.asked().last().map(|asked| &asked["model"]),
            Some(&json!(there))
        );
    }
}
