//! HTTP/2 with prior knowledge: many requests on one connection, and clients that want to wear the server out.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{configured, failure, hello, last, with};
use crate::grammar;
use crate::support::events;
use crate::support::http;
use crate::support::http2::{
    Answer, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, RST_STREAM,
    SETTINGS, head,
};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, finish, text};

const PATIENCE: Duration = Duration::from_secs(20);
/// What a stream's window is if nobody says anything else.
const WINDOW: u32 = 65_535;
/// Codes of the protocol.
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

fn streaming() -> String {
    with(hello(), json!({"stream": true})).to_string()
}

fn is_served(proxy: &Proxy) -> bool {
    http::get(&proxy.url("/healthz")).status == 200
}

/// The events of an answer, which must be a whole stream.
fn events_of(answer: &Answer) -> Vec<events::SseEvent> {
    assert_eq!((answer.status, answer.reset), (200, None));
    let events = events::parse(&answer.body);
    grammar::check(&events);
    events
}

#[test]
fn many_requests_run_side_by_side() {
    let slow = Reply::chunks(&[text("Hel")])
        .rest(500)
        .chunk(&text("lo"))
        .chunk(&finish("stop"))
        .bytes("data: [DONE]\n\n");
    let upstream = Upstream::new([slow]);
    let proxy = Proxy::to(&upstream.base_url());
    let mut client = Http2::connect(proxy.address(), WINDOW);
    let began = Instant::now();
    let ids: Vec<u32> = (0..40).map(|n| 2 * n + 1).collect();
    for id in &ids {
        client.post(*id, "/v1/responses", &streaming());
    }
    client.get(81, "/healthz");
    assert_eq!(client.answer(81).body, b"ok\n");
    for id in ids {
        let events = events_of(&client.answer(id));
        assert_eq!(last(&events)["output"][0]["content"][0]["text"], "Hello");
    }
    assert!(began.elapsed() < PATIENCE, "they ran one after the other");
    // A refusal has its body here, too.
    client.post(83, "/v1/responses", "{");
    let refused = client.answer(83);
    assert_eq!(refused.status, 400);
    assert!(String::from_utf8_lossy(&refused.body).contains("\"error\""));
}

#[test]
fn who_is_refused_before_its_request_is_whole_hears_why() {
    let upstream = Upstream::saying("Hello");
    let proxy = Proxy::builder()
        .upstream(&upstream.base_url())
        .env("ANTIPHON_KEY", "sk-right-0123456789")
        .start();
    let mut client = Http2::connect(proxy.address(), WINDOW);
    let json = ("content-type", "application/json");
    client.send(
        HEADERS,
        END_HEADERS,
        1,
        &head("POST", "/v1/responses", &[json]),
    );
    // The body comes a moment later, as it does from many a client.
    std::thread::sleep(Duration::from_millis(150));
    client.send(DATA, END_STREAM, 1, streaming().as_bytes());
    let refused = client.answer(1);
    assert_eq!((refused.status, refused.reset), (401, None));
    assert!(String::from_utf8_lossy(&refused.body).contains("invalid_api_key"));
    // A reset behind it is a failure to some clients.
    client.get(3, "/healthz");
    assert_eq!(client.answer(3).status, 200);
    assert_eq!(client.take(1).reset, None);
}

#[test]
fn there_are_only_so_many_streams_at_a_time() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).silent()]);
    let proxy = configured(&upstream, "http2_max_streams = 3", "");
    let mut client = Http2::connect(proxy.address(), WINDOW);
    // A client that knows better does not ask for more than it is told.
    loop {
        let frame = client.step().expect("it says what it can do");
        if frame.kind == SETTINGS && frame.flags == 0 {
            let most = frame.payload.chunks(6).find(|pair| pair[..2] == [0, 3]);
            assert_eq!(most.map(|pair| pair[2..].to_vec()), Some(vec![0, 0, 0, 3]));
            break;
        }
    }
    for id in [1, 3, 5] {
        client.post(id, "/v1/responses", &streaming());
        client.wait_for(id, "Hel");
    }
    client.get(7, "/healthz");
    assert_eq!(client.answer(7).reset, Some(REFUSED_STREAM));
    client.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    upstream.wait_until_left(1);
    let until = Instant::now() + PATIENCE;
    for id in (9..).step_by(2) {
        client.get(id, "/healthz");
        if client.answer(id).status == 200 {
            break;
        }
        assert!(Instant::now() < until, "its place was not given back");
    }
}

#[test]
fn a_stream_that_is_called_off_takes_its_upstream_along() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).silent()]);
    let proxy = Proxy::to(&upstream.base_url());
    let mut client = Http2::connect(proxy.address(), WINDOW);
    client.post(1, "/v1/responses", &streaming());
    client.wait_for(1, "Hel");
    client.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    upstream.wait_until_left(1);
    client.get(3, "/healthz");
    assert_eq!(client.answer(3).status, 200);
}

#[test]
fn who_opens_and_calls_off_without_end_is_sent_away() {
    let upstream = Upstream::saying("Hello");
    let proxy = Proxy::to(&upstream.base_url());
    let mut client = Http2::connect(proxy.address(), WINDOW);
    let request = head("GET", "/v1/models", &[]);
    for n in 0..20_000 {
        let id = 2 * n + 1;
        let flags = END_HEADERS | END_STREAM;
        let sent = client
            .try_send(HEADERS, flags, id, &request)
            .and_then(|()| client.try_send(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
        if sent.is_err() {
            break;
        }
    }
    assert!(
        matches!(client.goodbye(), Some(ENHANCE_YOUR_CALM) | None),
        "it was let go on"
    );
    assert!(is_served(&proxy));
}

#[test]
fn a_head_without_end_ends_the_connection() {
    let upstream = Upstream::saying("Hello");
    let proxy = Proxy::to(&upstream.base_url());
    let mut client = Http2::connect(proxy.address(), WINDOW);
    client.send(HEADERS, END_STREAM, 1, &head("GET", "/healthz", &[]));
    let more = head("GET", "/", &[("x-more", &"y".repeat(1_000))]);
    let began = Instant::now();
    while client.try_send(CONTINUATION, 0, 1, &more).is_ok() {
        assert!(began.elapsed() < PATIENCE, "it reads for ever");
    }
    assert_ne!(client.goodbye(), Some(0));
    assert!(is_served(&proxy));
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let upstream = Upstream::saying("Hello");
    let proxy = configured(&upstream, "max_headers = 20\nmax_header_bytes = 4000", "");
    let mut client = Http2::connect(proxy.address(), WINDOW);
    let names: Vec<String> = (0..30).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "1")).collect();
    let long = "y".repeat(5_000);
    for (id, headers, status) in [
        (1, &many[..15], 200),
        (3, &many[..], 431),
        (5, &[("x-long", &*long)][..], 431),
        (7, &[("x-long", &long[..3_000])][..], 200),
    ] {
        let head = head("GET", "/healthz", headers);
        client.send(HEADERS, END_HEADERS | END_STREAM, id, &head);
        assert_eq!(client.answer(id).status, status, "{id}");
    }
}

#[test]
fn what_belongs_to_the_old_version_is_refused() {
    let upstream = Upstream::saying("Hello");
    let proxy = Proxy::to(&upstream.base_url());
    let path = "/v1/responses/input_tokens";
    for (headers, body) in [
        (&[("transfer-encoding", "chunked")][..], "x"),
        (&[("connection", "close")], "x"),
        (&[("content-length", "3")], "longer than three"),
        (&[("content-length", "30")], "too short"),
        (&[("X-Upper", "1")], "x"),
    ] {
        let mut client = Http2::connect(proxy.address(), WINDOW);
        client.send(HEADERS, END_HEADERS, 1, &head("POST", path, headers));
        let _ = client.try_send(DATA, END_STREAM, 1, body.as_bytes());
        while !client.has_ended(1) && client.step().is_some() {}
        let answer = client.take(1);
        assert!(
            answer.reset == Some(PROTOCOL_ERROR) || answer.status == 400 || answer.status == 0,
            "{headers:?}: {answer:?}"
        );
    }
    assert!(is_served(&proxy));
}

#[test]
fn who_does_not_answer_pings_is_gone() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).silent()]);
    let server =
        "http2_ping_interval_ms = 200\nhttp2_ping_timeout_ms = 300\nkeepalive_interval_ms = 0";
    let proxy = configured(&upstream, server, "");
    let (mut here, mut gone) = (
        Http2::connect(proxy.address(), WINDOW),
        Http2::connect(proxy.address(), WINDOW),
    );
    for client in [&mut here, &mut gone] {
        client.post(1, "/v1/responses", &streaming());
        client.wait_for(1, "Hel");
    }
    let began = Instant::now();
    let mut pings = 0;
    while began.elapsed() < Duration::from_secs(2) {
        let frame = here.step().expect("who answers is kept");
        pings += usize::from(frame.kind == PING);
    }
    assert!(pings >= 3, "{pings}");
    // The other one has not read, nor answered, all this time.
    upstream.wait_until_left(1);
    here.get(3, "/healthz");
    assert_eq!(here.answer(3).status, 200);
}

#[test]
fn an_idle_connection_is_closed_in_peace_and_a_busy_one_is_not() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).silent()]);
    let server = "idle_timeout_ms = 700\nhttp2_ping_interval_ms = 100";
    let proxy = configured(&upstream, server, "");
    let (mut idle, mut busy) = (
        Http2::connect(proxy.address(), WINDOW),
        Http2::connect(proxy.address(), WINDOW),
    );
    busy.post(1, "/v1/responses", &streaming());
    busy.wait_for(1, "Hel");
    idle.get(1, "/healthz");
    assert_eq!(idle.answer(1).status, 200);
    let began = Instant::now();
    assert_eq!(idle.goodbye(), Some(0));
    assert!(
        began.elapsed() >= Duration::from_millis(650),
        "{:?}",
        began.elapsed()
    );
    busy.get(3, "/healthz");
    assert_eq!(busy.answer(3).status, 200);
}

/// The window of a stream is shut while its connection is well: no write waits, and still it must end.
#[test]
fn a_stream_that_nobody_takes_is_called_off_and_its_upstream_waits_meanwhile() {
    const PIECE: usize = 100_000;
    let chunks = vec![text(&"x".repeat(PIECE)); 300];
    let upstream = Upstream::new([Reply::stream(&chunks)]);
    let proxy = configured(&upstream, "write_timeout_ms = 1500", "");
    let mut client = Http2::connect(proxy.address(), 20_000);
    client.takes = false;
    client.post(1, "/v1/responses", &streaming());
    client.wait_for(1, "xxx");
    let began = Instant::now();
    let answer = client.answer(1);
    assert_eq!(answer.reset, Some(CANCEL), "{}", answer.body.len());
    assert_eq!(answer.body.len(), 20_000);
    assert!(
        began.elapsed() >= Duration::from_millis(1_400),
        "{:?}",
        began.elapsed()
    );
    upstream.wait_until_left(1);
    // Most of it never left the upstream.
    assert!(upstream.sent() < 200 * PIECE, "{}", upstream.sent());
    proxy.wait_for_log(
        "a client took nothing of its answer for too long: its stream is closed",
        1,
    );
    client.get(3, "/healthz");
    assert_eq!(client.answer(3).status, 200, "the connection is well");
}

#[test]
fn a_stream_that_is_taken_slowly_is_whole() {
    let chunks: Vec<_> = (0..60).map(|n| text(&format!("{n:0>2000}"))).collect();
    let whole: String = (0..60).map(|n| format!("{n:0>2000}")).collect();
    let mut reply = Reply::chunks(&chunks);
    reply = reply.chunk(&finish("stop")).bytes("data: [DONE]\n\n");
    let upstream = Upstream::new([reply]);
    let proxy = configured(&upstream, "write_timeout_ms = 1500", "");
    let mut client = Http2::connect(proxy.address(), 8_000);
    client.post(1, "/v1/responses", &streaming());
    client.pace = Duration::from_millis(20);
    let began = Instant::now();
    let events = events_of(&client.answer(1));
    assert_eq!(last(&events)["output"][0]["content"][0]["text"], whole);
    assert!(
        began.elapsed() > Duration::from_millis(1_500),
        "longer than the limit"
    );
}

#[test]
fn a_failure_in_a_stream_ends_it_and_nothing_else() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).cut()]);
    let proxy = configured(&upstream, "", "stream_max_retries = 0");
    let mut client = Http2::connect(proxy.address(), WINDOW);
    for id in [1, 3] {
        client.post(id, "/v1/responses", &streaming());
        failure(&events_of(&client.answer(id)));
    }
}
