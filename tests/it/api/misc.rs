//! The rest: health, what Ollama's clients ask, paths that are not there, and the log.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{dead_port, hello, refusal, streamed, with};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream};

/// A proxy whose upstream does not answer: none of this needs one.
fn alone() -> Proxy {
    Proxy::to(&format!("http://{}/v1", dead_port()))
}

#[test]
fn a_path_that_is_not_there_is_a_404_in_the_apis_envelope() {
    let proxy = alone();
    for (method, path) in [
        ("GET", "/nowhere"),
        ("POST", "/v1/nowhere"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/responses/resp_1/nothing"),
        ("POST", "/v1/responses/resp_1/cancel/now"),
        ("POST", "/v1/conversation"),
        ("POST", "/v2/responses"),
        ("GET", "/v1"),
    ] {
        let error = refusal(&http::request(method, &proxy.url(path), &[], b""), 404);
        assert_eq!(error["type"], "invalid_request_error");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|words| words.contains(path)),
            "{path}: {error}"
        );
    }
}

#[test]
fn a_method_that_is_not_meant_is_a_405_in_the_apis_envelope() {
    let proxy = alone();
    for (method, path) in [
        ("GET", "/v1/responses"),
        ("GET", "/responses"),
        ("PUT", "/v1/responses"),
        ("DELETE", "/v1/models/m"),
        ("POST", "/v1/models"),
        ("POST", "/healthz"),
        ("GET", "/api/pull"),
    ] {
        let error = refusal(&http::request(method, &proxy.url(path), &[], b""), 405);
        assert_eq!(error["type"], "invalid_request_error", "{method} {path}");
    }
}

#[test]
fn a_websocket_is_refused_in_the_way_that_makes_clients_post() {
    let proxy = alone();
    let headers = [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("openai-beta", "responses_websockets=2026-02-06"),
    ];
    for path in ["/v1/responses", "/responses"] {
        refusal(&http::request("GET", &proxy.url(path), &headers, b""), 426);
    }
}

#[test]
fn it_is_well_and_ready_though_its_upstream_is_not() {
    let proxy = alone();
    for path in ["/healthz", "/readyz"] {
        let reply = http::get(&proxy.url(path));
        assert_eq!((reply.status, reply.text()), (200, "ok\n"), "{path}");
    }
    let root = http::get(&proxy.url("/"));
    assert_eq!(root.status, 200);
    assert!(
        root.text().contains(env!("CARGO_PKG_VERSION")),
        "{}",
        root.text()
    );
}

#[test]
fn codex_takes_it_for_an_ollama_with_the_models_that_it_has() {
    let models = json!({"data": [{"id": "gpt-oss:20b"}]});
    let upstream = Upstream::new([]).models(Reply::json(200, &models));
    let proxy = Proxy::to(&upstream.base_url());

    let version = http::get(&proxy.url("/api/version")).json();
    let parts = version["version"]
        .as_str()
        .expect("a version")
        .split('.')
        .map(str::parse::<u32>);
    let parts: Vec<u32> = parts.collect::<Result<_, _>>().expect("numbers");
    assert!(
        parts >= vec![0, 13, 4],
        "{version}: older ones have no Responses API"
    );

    let tags = http::get(&proxy.url("/api/tags")).json();
    assert_eq!(tags["models"].as_array().map(Vec::len), Some(1));
    assert_eq!(tags["models"][0]["name"], "gpt-oss:20b");

    let pulled = http::post(
        &proxy.url("/api/pull"),
        &json!({"model": "gpt-oss:20b", "stream": true}),
    );
    assert_eq!(pulled.status, 200, "{}", pulled.text());
    // One JSON document in each line, the last of which says success.
    let last = pulled.text().trim_end().lines().last().expect("a line");
    assert_eq!(
        serde_json::from_str::<Value>(last).expect("JSON")["status"],
        "success"
    );
    refusal(
        &http::request("POST", &proxy.url("/api/pull"), &[], b"{"),
        400,
    );
}

#[test]
fn the_log_has_a_line_for_each_response_and_nothing_of_what_was_said() {
    let upstream = Upstream::saying("The answer is SWORDFISH.");
    for level in ["info", "trace"] {
        let proxy = Proxy::builder()
            .upstream(&upstream.base_url())
            .env("ANTIPHON_UPSTREAM_KEY", "sk-SWORDFISH")
            .env("ANTIPHON__LOG__LEVEL", level)
            .start();
        let request = json!({"input": "Is it SWORDFISH?", "instructions": "Say SWORDFISH."});
        let events = streamed(&proxy, &with(hello(), request));
        let id = &events[0].data["response"]["id"];

        let line = |log: &str| {
            let lines = log
                .lines()
                .map_while(|line| serde_json::from_str::<Value>(line).ok());
            let mut own = lines.filter(|line| line["message"] == "response");
            own.next()
        };
        let until = Instant::now() + Duration::from_secs(5);
        let line = loop {
            if let Some(line) = line(&proxy.log()) {
                break line;
            }
            assert!(Instant::now() < until, "no such line:\n{}", proxy.log());
            thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(line["response.id"], *id);
        assert_eq!(
            (&line["model"], &line["status"]),
            (&json!("m"), &json!("completed"))
        );
        for number in ["input_tokens", "output_tokens", "first_ms", "total_ms"] {
            assert!(line[number].is_u64(), "{number} is no number: {line}");
        }
        assert!(!proxy.log().contains("SWORDFISH"), "{}", proxy.log());
    }
}
