//! The numbers that Prometheus reads, each after the thing that it counts has really happened.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::keys::{key, with_keys};
use super::{Live, configured, hello, last, post, refusal, streamed, whole, with};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::scrape;
use crate::support::upstream::{Reply, Upstream, finish, text, usage};

/// The value of a line of numbers; 0 if it is not there.
fn number(proxy: &Proxy, name: &str) -> f64 {
    let reply = http::get(&proxy.url("/metrics"));
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    scrape::check(reply.text());
    let line = reply
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

/// Waits until a line of numbers has this value.
#[track_caller]
fn becomes(proxy: &Proxy, name: &str, value: f64) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let found = number(proxy, name);
        if (found - value).abs() < 1e-9 {
            return;
        }
        assert!(Instant::now() < until, "{name} is {found}, not {value}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn of(status: &str) -> String {
    format!(
        "antiphon_responses_total{{upstream=\"mock\",model=\"m\",tenant=\"anonymous\",status=\"{status}\"}}"
    )
}

fn tokens(kind: &str) -> String {
    format!(
        "antiphon_tokens_total{{upstream=\"mock\",model=\"m\",tenant=\"anonymous\",kind=\"{kind}\"}}"
    )
}

fn answer() -> Reply {
    let counts = json!({
        "choices": [],
        "usage": {
            "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 5},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    });
    Reply::chunks(&[text("Hi")])
        .rest(30)
        .chunk(&text(" there"))
        .chunk(&finish("stop"))
        .chunk(&counts)
        .bytes("data: [DONE]\n\n")
}

#[test]
fn an_answer_is_counted_with_its_times_and_tokens() {
    let upstream = Upstream::new([answer(), answer()]);
    let proxy = configured(&upstream, "", "");
    streamed(&proxy, &hello());
    whole(&proxy, &hello());
    becomes(&proxy, &of("completed"), 2.0);
    for (kind, count) in [
        ("input", 18.0),
        ("cached", 10.0),
        ("output", 8.0),
        ("reasoning", 4.0),
    ] {
        becomes(&proxy, &tokens(kind), count);
    }
    let histogram = |name: &str, end: &str| {
        format!("antiphon_{name}_seconds_{end}{{upstream=\"mock\",model=\"m\"}}")
    };
    becomes(&proxy, &histogram("response_duration", "count"), 2.0);
    // Only who streams hears of a first piece, and of the next ones.
    becomes(&proxy, &histogram("time_to_first_token", "count"), 1.0);
    assert!(number(&proxy, &histogram("inter_token_gap", "count")) >= 1.0);
    assert!(number(&proxy, &histogram("inter_token_gap", "sum")) >= 0.025);
    assert!(number(&proxy, &histogram("response_duration", "sum")) >= 0.05);
    becomes(&proxy, "antiphon_streams_in_flight", 0.0);
    let requests =
        "antiphon_http_requests_total{route=\"/responses\",method=\"POST\",status=\"200\"}";
    becomes(&proxy, requests, 2.0);
}

#[test]
fn each_end_of_a_response_has_its_number() {
    let upstream = Upstream::new([
        Reply::stream(&[text("Hi"), finish("length"), usage(9, 4)]),
        Reply::chunks(&[text("Hel")]).cut(),
        Reply::error(400, "No."),
        Reply::chunks(&[text("Hel")]).silent(),
    ]);
    let proxy = configured(&upstream, "", "stream_max_retries = 0");
    assert_eq!(last(&streamed(&proxy, &hello()))["status"], "incomplete");
    assert_eq!(last(&streamed(&proxy, &hello()))["status"], "failed");
    refusal(&post(&proxy, &hello()), 400);
    let mut client = Live::start(&proxy.url(""), &hello());
    client.wait_for("Hel", Duration::from_secs(10));
    becomes(&proxy, "antiphon_streams_in_flight", 1.0);
    let in_flight = "antiphon_upstream_requests_in_flight{upstream=\"mock\"}";
    becomes(&proxy, in_flight, 1.0);
    drop(client);
    for status in ["incomplete", "failed", "refused", "cancelled"] {
        becomes(&proxy, &of(status), 1.0);
    }
    becomes(&proxy, "antiphon_streams_in_flight", 0.0);
    becomes(&proxy, in_flight, 0.0);
    let error =
        |kind: &str| format!("antiphon_upstream_errors_total{{upstream=\"mock\",kind=\"{kind}\"}}");
    becomes(&proxy, &error("broke_off"), 1.0);
    becomes(&proxy, &error("http_400"), 1.0);
}

#[test]
fn what_a_client_that_leaves_has_spent_is_counted_as_far_as_it_can_be_told() {
    let upstream = Upstream::new([
        Reply::chunks(&[text("Hel")]).silent(),
        Reply::stream(&[text("Hi")]).after(15_000),
    ]);
    let proxy = configured(&upstream, "", "");
    let mut client = Live::start(&proxy.url(""), &hello());
    client.wait_for("Hel", Duration::from_secs(10));
    drop(client);
    becomes(&proxy, &of("cancelled"), 1.0);
    let (read, wrote) = (
        number(&proxy, &tokens("input")),
        number(&proxy, &tokens("output")),
    );
    assert!(read >= 1.0 && wrote >= 1.0, "{read} {wrote}");
    // An upstream that has not answered has spent nothing.
    let client = Live::send(&proxy.url(""), &hello());
    upstream.wait_until_asked(2);
    drop(client);
    becomes(&proxy, "antiphon_streams_in_flight", 0.0);
    becomes(&proxy, &tokens("input"), read);
    becomes(&proxy, &tokens("output"), wrote);
}

#[test]
fn what_is_done_about_failures_is_counted() {
    let first = Upstream::new([
        Reply::error(429, "Busy.").header("retry-after-ms", "1"),
        Reply::error(500, "Oops."),
    ]);
    let second = Upstream::new([Reply::stream(&[text("Hi"), finish("stop"), usage(9, 4)])]);
    let proxy = Proxy::builder()
        .config(&format!(
            "default_upstream = \"one\"\n\
             [upstreams.one]\nbase_url = \"{}\"\nbreaker_failures = 1\nbreaker_pause_ms = 60000\n\
             [upstreams.two]\nbase_url = \"{}\"\n\
             [models.m]\nupstreams = [\"one\", \"two\"]\n",
            first.base_url(),
            second.base_url()
        ))
        .start();
    whole(&proxy, &hello());
    let one = |name: &str| format!("antiphon_{name}_total{{upstream=\"one\"}}");
    becomes(&proxy, &one("upstream_retries"), 1.0);
    becomes(&proxy, &one("upstream_fallbacks"), 1.0);
    becomes(&proxy, &one("breaker_opened"), 1.0);
    becomes(
        &proxy,
        "antiphon_breaker_state{upstream=\"one\",model=\"m\"}",
        2.0,
    );
    for kind in ["http_429", "http_500"] {
        let name = format!("antiphon_upstream_errors_total{{upstream=\"one\",kind=\"{kind}\"}}");
        becomes(&proxy, &name, 1.0);
    }
    let completed = of("completed").replace("mock", "two");
    becomes(&proxy, &completed, 1.0);
}

#[test]
fn what_a_translation_did_is_counted() {
    let call = "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>";
    let upstream = Upstream::new([Reply::stream(&[text(call), finish("stop"), usage(9, 4)])]);
    let proxy = configured(&upstream, "", "");
    let tools = json!([
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}},
        {"type": "web_search"},
    ]);
    let response = whole(&proxy, &with(hello(), json!({"tools": tools})));
    assert_eq!(response["output"][0]["type"], "function_call", "{response}");
    becomes(
        &proxy,
        "antiphon_dropped_tools_total{upstream=\"mock\",type=\"web_search\"}",
        1.0,
    );
    let text = http::get(&proxy.url("/metrics")).text().to_owned();
    let healed = text
        .lines()
        .find(|line| line.starts_with("antiphon_healed_calls_total{upstream=\"mock\",model=\"m\""));
    assert!(healed.is_some_and(|line| line.ends_with("} 1")), "{text}");
}

#[test]
fn the_store_and_background_work_are_counted() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::builder()
        .upstream(&upstream.base_url())
        .env("ANTIPHON__STORE__URL", "memory")
        .start();
    let response = whole(&proxy, &with(hello(), json!({"background": true})));
    let id = response["id"].as_str().expect("an id");
    let url = proxy.url(&format!("/v1/responses/{id}"));
    let until = Instant::now() + Duration::from_secs(20);
    while http::get(&url).json()["status"] != "completed" {
        assert!(Instant::now() < until, "it does not end");
        thread::sleep(Duration::from_millis(20));
    }
    let count = |operation: &str| {
        let name = format!("antiphon_store_operation_seconds_count{{operation=\"{operation}\"}}");
        number(&proxy, &name)
    };
    assert!(count("write") >= 2.0 && count("read") >= 2.0);
    becomes(
        &proxy,
        "antiphon_store_errors_total{operation=\"write\"}",
        0.0,
    );
    becomes(&proxy, "antiphon_background_in_flight", 0.0);
    becomes(&proxy, &of("completed").replace("mock", "default"), 1.0);
    // A path's variable parts are no labels.
    let route =
        "antiphon_http_requests_total{route=\"/responses/{id}\",method=\"GET\",status=\"200\"}";
    assert!(number(&proxy, route) >= 1.0);
}

#[test]
fn keys_have_their_tenants_numbers_and_open_the_numbers() {
    let upstream = Upstream::saying("Hi");
    let secret = "a secret of blue's";
    let key = key(
        "laptop",
        secret,
        "tenant = \"blue\"\nrequests_per_minute = 2",
    );
    let config = with_keys(&upstream, "", &[key]);
    let proxy = Proxy::builder().config(&config).start();
    let bearer = format!("Bearer {secret}");
    let secret = ("authorization", bearer.as_str());
    let ask = || {
        super::send(
            &proxy,
            &[super::JSON, secret],
            hello().to_string().as_bytes(),
        )
    };
    let statuses: Vec<u16> = (0..3).map(|_| ask().status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    refusal(&http::get(&proxy.url("/metrics")), 401);
    let scrape = http::request("GET", &proxy.url("/metrics"), &[secret], b"");
    for line in [
        "antiphon_limited_total{tenant=\"blue\",limit=\"requests_per_minute\"} 1",
        "antiphon_responses_total{upstream=\"mock\",model=\"m\",tenant=\"blue\",status=\"completed\"} 2",
    ] {
        let known = scrape.text().lines().any(|known| known == line);
        assert!(known, "{line}\n{}", scrape.text());
    }
    let connections = scrape.text().split("\nantiphon_connections ").nth(1);
    let connections = connections.and_then(|rest| rest.lines().next());
    assert_ne!(connections.expect("a number"), "0", "this one at least");
}

#[test]
fn clients_cannot_make_labels() {
    let upstream = Upstream::by(|request| {
        if request["model"] == "m" {
            return Reply::stream(&[text("Hi"), finish("stop"), usage(9, 4)]);
        }
        Reply::error(404, "no such model")
    });
    let proxy = configured(&upstream, "", "");
    whole(&proxy, &hello());
    for n in 0..30 {
        let model = format!("made-up-{n}");
        refusal(&post(&proxy, &with(hello(), json!({"model": model}))), 404);
        http::get(&proxy.url(&format!("/made/up/{n}")));
    }
    becomes(&proxy, &of("refused").replace("\"m\"", "\"other\""), 30.0);
    let unknown = "antiphon_http_requests_total{route=\"unknown\",method=\"GET\",status=\"404\"}";
    becomes(&proxy, unknown, 30.0);
    for _ in 0..6 {
        post(&proxy, &with(hello(), json!({"model": "made-up"})));
    }
    let breaker = "antiphon_breaker_state{upstream=\"mock\",model=\"other\"}";
    becomes(&proxy, breaker, 2.0);
    let text = http::get(&proxy.url("/metrics")).text().to_owned();
    assert!(!text.contains("made"), "{text}");
}

#[test]
fn a_reload_is_counted_and_loses_no_number() {
    let upstream = Upstream::saying("Hi");
    let proxy = configured(&upstream, "", "");
    whole(&proxy, &hello());
    proxy.rewrite("nonsense");
    becomes(
        &proxy,
        "antiphon_config_reloads_total{result=\"rejected\"}",
        1.0,
    );
    becomes(&proxy, "antiphon_config_last_reload_successful", 0.0);
    let base_url = upstream.base_url();
    proxy.rewrite(&super::config(&base_url, "done_sentinel = false", ""));
    becomes(
        &proxy,
        "antiphon_config_reloads_total{result=\"applied\"}",
        1.0,
    );
    becomes(&proxy, "antiphon_config_last_reload_successful", 1.0);
    becomes(&proxy, &of("completed"), 1.0);
}

#[test]
fn a_request_keeps_the_id_that_it_brings() {
    let upstream = Upstream::saying("Hi");
    let proxy = configured(&upstream, "", "");
    let own = "edge-7f.3:A_b";
    let reply = super::send(
        &proxy,
        &[super::JSON, ("x-request-id", own)],
        hello().to_string().as_bytes(),
    );
    assert_eq!(reply.header("x-request-id"), Some(own));
    let line = super::log::line(&proxy, own, |line| line.to_string().contains(own));
    assert_eq!(line["message"], "response");
    let long = "x".repeat(129);
    for bad in ["two words", "<b>", long.as_str()] {
        let headers = [super::JSON, ("x-request-id", bad)];
        let reply = super::send(&proxy, &headers, hello().to_string().as_bytes());
        let id = reply.header("x-request-id").expect("an id");
        assert!(id.starts_with("req_"), "{id}");
    }
}
