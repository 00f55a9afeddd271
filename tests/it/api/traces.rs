//! Traces: what a collector gets, and which trace an upstream's work belongs to.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use super::{JSON, hello, last, post, refusal, send, streamed, with};
use crate::support::http;
use crate::support::proxy::{Proxy, ProxyBuilder};
use crate::support::upstream::{Reply, Upstream, finish, text, usage};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn collector() -> Upstream {
    Upstream::new([Reply::new(200, "application/x-protobuf")])
}

/// A proxy that sends traces soon.
fn traced(collector: &Upstream) -> ProxyBuilder {
    let endpoint = collector.base_url().replace("/v1", "");
    Proxy::builder()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_SERVICE_NAME", "edge")
}

/// Waits until the collector has so many spans.
fn spans(collector: &Upstream, count: usize) -> Vec<Span> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let mut found = Vec::new();
        for request in collector.received() {
            assert_eq!(request.path, "/v1/traces");
            let request = ExportTraceServiceRequest::decode(&*request.bytes).expect("spans");
            for resource in request.resource_spans {
                let about = resource.resource.expect("who sends").attributes;
                assert_eq!(attribute(&about, "service.name"), "edge");
                found.extend(resource.scope_spans.into_iter().flat_map(|it| it.spans));
            }
        }
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:#?}");
            return found;
        }
        assert!(Instant::now() < until, "{} of {count} spans", found.len());
        thread::sleep(Duration::from_millis(20));
    }
}

fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    let value = found.and_then(|found| found.value.as_ref());
    shown(value.unwrap_or_else(|| panic!("no {name} in {attributes:#?}")))
}

fn shown(value: &AnyValue) -> String {
    match value.value.as_ref().expect("a value") {
        Any::StringValue(text) => text.clone(),
        Any::IntValue(number) => number.to_string(),
        Any::DoubleValue(number) => number.to_string(),
        Any::BoolValue(flag) => flag.to_string(),
        Any::ArrayValue(list) => list.values.iter().map(shown).collect::<Vec<_>>().join(","),
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_request_and_its_call_are_spans_of_the_clients_trace() {
    let collector = collector();
    let upstream = Upstream::saying("Hi there");
    let proxy = traced(&collector).upstream(&upstream.base_url()).start();
    let request = with(hello(), json!({"stream": true}));
    let headers = [JSON, ("traceparent", PARENT), ("tracestate", "k=v")];
    let reply = send(&proxy, &headers, request.to_string().as_bytes());
    assert_eq!(reply.status, 200);
    let spans = spans(&collector, 2);
    let (served, called) = (named(&spans, "POST /v1/responses"), named(&spans, "chat m"));
    assert_eq!(hex(&served.trace_id), TRACE);
    assert_eq!(hex(&served.parent_span_id), "b7ad6b7169203331");
    assert_eq!(hex(&called.trace_id), TRACE);
    assert_eq!(called.parent_span_id, served.span_id);
    assert_eq!((served.kind, called.kind), (2, 3), "server and client");
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/responses"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(attribute(&served.attributes, name), value);
    }
    for (name, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "generic"),
        ("gen_ai.request.model", "m"),
        ("gen_ai.request.stream", "true"),
        ("server.address", "127.0.0.1"),
        ("gen_ai.usage.input_tokens", "9"),
        ("gen_ai.usage.output_tokens", "4"),
        ("gen_ai.response.finish_reasons", "stop"),
        ("antiphon.upstream", "default"),
    ] {
        assert_eq!(attribute(&called.attributes, name), value);
    }
    assert!(attribute(&called.attributes, "gen_ai.response.id").starts_with("resp_"));
    let first = attribute(&called.attributes, "gen_ai.response.time_to_first_chunk");
    assert!(first.parse::<f64>().is_ok(), "{first}");
    // The span of a stream lasts as long as the stream, and the upstream's work belongs to the call.
    assert!(served.end_time_unix_nano >= called.end_time_unix_nano);
    let asked = &upstream.received()[0];
    let parent = format!("00-{TRACE}-{}-01", hex(&called.span_id));
    assert_eq!(asked.header("traceparent"), Some(parent.as_str()));
    assert_eq!(asked.header("tracestate"), Some("k=v"));
    // What people and models say is in no span.
    for request in collector.received() {
        let text = String::from_utf8_lossy(&request.bytes).into_owned();
        assert!(
            !text.contains("Hello") && !text.contains("Hi there"),
            "{text}"
        );
    }
    let line = super::log::line(&proxy, "the response", |line| line["message"] == "response");
    assert!(line.to_string().contains(TRACE), "{line}");
}

#[test]
fn a_call_that_failed_says_why_and_the_next_one_has_its_own_span() {
    let collector = collector();
    let upstream = Upstream::new([
        Reply::chunks(&[]).cut(),
        Reply::stream(&[text("Hi"), finish("stop"), usage(9, 4)]),
        Reply::error(400, "No."),
    ]);
    let proxy = traced(&collector).upstream(&upstream.base_url()).start();
    assert_eq!(last(&streamed(&proxy, &hello()))["status"], "completed");
    refusal(&post(&proxy, &hello()), 400);
    let spans = spans(&collector, 5);
    let calls: Vec<&Span> = spans.iter().filter(|span| span.name == "chat m").collect();
    let failed = |call: &&&Span| call.status.as_ref().is_some_and(|status| status.code == 2);
    let kinds: Vec<String> = calls
        .iter()
        .filter(failed)
        .map(|call| attribute(&call.attributes, "error.type"))
        .collect();
    assert_eq!(kinds, ["broke_off", "http_400"]);
    assert_eq!(calls.len(), 3);
}

#[test]
fn a_background_response_is_a_trace_of_its_own() {
    let collector = collector();
    let upstream = Upstream::saying("Hi");
    let proxy = traced(&collector)
        .upstream(&upstream.base_url())
        .env("ANTIPHON__STORE__URL", "memory")
        .start();
    let request = with(hello(), json!({"background": true}));
    let headers = [JSON, ("traceparent", PARENT)];
    let reply = send(&proxy, &headers, request.to_string().as_bytes());
    assert_eq!(reply.status, 200);
    let spans = spans(&collector, 3);
    let (work, called) = (
        named(&spans, "background response"),
        named(&spans, "chat m"),
    );
    assert_eq!(called.parent_span_id, work.span_id);
    assert_ne!(hex(&work.trace_id), TRACE);
    assert_eq!(hex(&named(&spans, "POST /v1/responses").trace_id), TRACE);
    assert!(work.end_time_unix_nano >= called.end_time_unix_nano);
}

#[test]
fn without_a_collector_the_clients_trace_is_passed_on() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let headers = [JSON, ("traceparent", PARENT), ("tracestate", "k=v")];
    let reply = send(&proxy, &headers, hello().to_string().as_bytes());
    assert_eq!(reply.status, 200);
    let asked = &upstream.received()[0];
    assert_eq!(asked.header("traceparent"), Some(PARENT));
    assert_eq!(asked.header("tracestate"), Some("k=v"));
}

#[test]
fn a_collector_that_is_down_is_no_reason_not_to_answer() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::builder()
        .env("ANTIPHON__TRACING__OTLP_ENDPOINT", "http://127.0.0.1:9")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .upstream(&upstream.base_url())
        .start();
    streamed(&proxy, &hello());
    proxy.wait_for_log("BatchSpanProcessor", 1);
    streamed(&proxy, &hello());
}

#[test]
fn numbers_can_have_an_address_of_their_own() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::builder()
        .env("ANTIPHON__METRICS__LISTEN", "127.0.0.1:0")
        .upstream(&upstream.base_url())
        .start();
    refusal(&http::get(&proxy.url("/metrics")), 404);
    let log = proxy.log();
    let at = log.split("metrics at http://").nth(1).expect("its address");
    let at = at.split("/metrics").next().expect("its address");
    let scrape = http::get(&format!("http://{at}/metrics"));
    assert!(scrape.text().contains("antiphon_build_info"));
    assert_eq!(http::get(&format!("http://{at}/readyz")).status, 200);
    let other = http::get(&format!("http://{at}/v1/models"));
    refusal(&other, 404);
    let none = Proxy::builder()
        .env("ANTIPHON__METRICS__ENABLED", "false")
        .upstream(&upstream.base_url())
        .start();
    refusal(&http::get(&none.url("/metrics")), 404);
}

#[test]
fn content_is_in_the_log_only_when_asked_for() {
    let upstream = Upstream::saying("an answer of the model");
    let ask = json!({"model": "m", "input": "a question of a person"});
    for asked in [false, true] {
        let proxy = Proxy::builder()
            .env("ANTIPHON__LOG__CONTENT", &asked.to_string())
            .env("ANTIPHON__LOG__LEVEL", "trace")
            .upstream(&upstream.base_url())
            .start();
        let headers = [JSON, ("authorization", "Bearer a-key-that-is-secret")];
        let reply = send(&proxy, &headers, ask.to_string().as_bytes());
        assert_eq!(reply.status, 200);
        proxy.wait_for_log("\"message\":\"response\"", 1);
        let log = proxy.log();
        for words in ["a question of a person", "an answer of the model"] {
            assert_eq!(log.contains(words), asked, "{words}: {log}");
        }
        assert!(!log.contains("a-key-that-is-secret"), "{log}");
    }
}
