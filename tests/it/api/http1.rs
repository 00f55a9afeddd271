//! HTTP/1 as attackers write it: what could be read in two ways is refused, or is the last thing that its
//! connection says; and what is too large or too slow has an end.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{configured, hello, refusal, streamed, whole};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, finish, text};

const PATIENCE: Duration = Duration::from_secs(20);
/// A body that is a request by itself, which says how long it was read.
const BODY: &str = r#"{"model":"m","input":"hi"}"#;
/// What asks for it, but for the end of its head.
const COUNT: &str =
    "POST /v1/responses/input_tokens HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
/// What might be smuggled behind, or is the last request.
const LAST: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

fn proxy() -> (Upstream, Proxy) {
    let upstream = Upstream::saying("Hello");
    let proxy = Proxy::to(&upstream.base_url());
    (upstream, proxy)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    stream
}

/// All that comes until the connection ends.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // It was closed with something unread.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it was neither answered nor closed: {error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of all answers to these bytes.
fn statuses(proxy: &Proxy, bytes: &[u8]) -> Vec<u16> {
    let mut stream = connect(proxy);
    // It may be closed before all is sent.
    let _ = stream.write_all(bytes);
    let answer = rest(stream);
    let parts = answer.split("HTTP/1.").skip(1);
    parts
        .map(|part| part[2..5].parse().expect("a status"))
        .collect()
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[test]
fn a_request_names_its_host_once() {
    let (_upstream, proxy) = proxy();
    let end = "connection: close\r\n\r\n";
    for (head, expected) in [
        ("GET /v1/models HTTP/1.1\r\nhost: x\r\n", 200),
        ("GET /v1/models HTTP/1.1\r\nhost:\r\n", 200),
        ("GET /v1/models HTTP/1.1\r\n", 400),
        ("GET /v1/models HTTP/1.1\r\nhost: x\r\nhost: y\r\n", 400),
        // Older clients know of no hosts.
        ("GET /v1/models HTTP/1.0\r\n", 200),
    ] {
        let answered = statuses(&proxy, format!("{head}{end}").as_bytes());
        assert_eq!(answered, [expected], "{head}");
    }
}

#[test]
fn a_body_has_one_end() {
    let (_upstream, proxy) = proxy();
    let length = BODY.len();
    let (body, chunks) = (BODY, chunked(BODY));
    for (headers, body, expected) in [
        // As it should be: both are answered.
        (format!("content-length: {length}"), body, &[200, 200][..]),
        (
            "transfer-encoding: chunked".to_owned(),
            &chunks,
            &[200, 200],
        ),
        (
            "transfer-encoding: Chunked".to_owned(),
            &chunks,
            &[200, 200],
        ),
        (
            format!("content-length: {length}\r\ncontent-length: {length}"),
            body,
            &[200, 200],
        ),
        // Both: the chunks count, and nothing after them does.
        (
            format!("content-length: {length}\r\ntransfer-encoding: chunked"),
            &chunks,
            &[200],
        ),
        (
            format!("transfer-encoding: chunked\r\ncontent-length: {length}"),
            &chunks,
            &[200],
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: nonsense".to_owned(),
            &chunks,
            &[200],
        ),
        // Two ends.
        (
            format!("content-length: {length}\r\ncontent-length: 3"),
            body,
            &[400],
        ),
        (format!("content-length: {length}, {length}"), body, &[400]),
        (format!("content-length: +{length}"), body, &[400]),
        (format!("content-length: 0x{length:x}"), body, &[400]),
        ("content-length: -1".to_owned(), body, &[400]),
        (
            "content-length: 99999999999999999999999".to_owned(),
            body,
            &[400],
        ),
        ("content-length:".to_owned(), body, &[400]),
        // Codings in which the end is not known.
        ("transfer-encoding: identity".to_owned(), &chunks, &[400]),
        ("transfer-encoding: xchunked".to_owned(), &chunks, &[400]),
        (
            "transfer-encoding: chunked, identity".to_owned(),
            &chunks,
            &[400],
        ),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: identity".to_owned(),
            &chunks,
            &[400],
        ),
        (
            "transfer-encoding: \u{b}chunked".to_owned(),
            &chunks,
            &[400],
        ),
        ("transfer-encoding:\r\n chunked".to_owned(), &chunks, &[400]),
    ] {
        let request = format!("{COUNT}{headers}\r\n\r\n{body}{LAST}");
        assert_eq!(statuses(&proxy, request.as_bytes()), expected, "{headers}");
    }
    // The old version knows no chunks.
    let request =
        format!("{COUNT}transfer-encoding: chunked\r\n\r\n{chunks}").replace("1.1", "1.0");
    assert_eq!(statuses(&proxy, request.as_bytes()), [400]);
}

#[test]
fn a_chunk_has_one_size() {
    let (_upstream, proxy) = proxy();
    let size = format!("{:x}", BODY.len());
    for (chunks, is_read) in [
        (format!("{size};name=value\r\n{BODY}\r\n0\r\n\r\n"), true),
        (
            format!("{size}\r\n{BODY}\r\n0\r\nx-trailer: 1\r\n\r\n"),
            true,
        ),
        (format!("000{size}\r\n{BODY}\r\n0\r\n\r\n"), true),
        (format!("{size}\n{BODY}\r\n0\r\n\r\n"), false),
        (format!("{size}\r\n{BODY}x\r\n0\r\n\r\n"), false),
        (format!("0x{size}\r\n{BODY}\r\n0\r\n\r\n"), false),
        (format!("-{size}\r\n{BODY}\r\n0\r\n\r\n"), false),
        (
            format!("ffffffffffffffff{size}\r\n{BODY}\r\n0\r\n\r\n"),
            false,
        ),
        (format!("\r\n{BODY}\r\n0\r\n\r\n"), false),
        (
            format!("{size}\r\n{BODY}\r\n0\r\ntransfer-encoding: x\r\n : \r\n\r\n"),
            false,
        ),
    ] {
        let request = format!("{COUNT}transfer-encoding: chunked\r\n\r\n{chunks}{LAST}");
        let statuses = statuses(&proxy, request.as_bytes());
        match is_read {
            true => assert_eq!(statuses, [200, 200], "{chunks}"),
            // A refusal, or none at all; but never an answer to what stands behind.
            false => assert!(matches!(statuses[..], [400] | []), "{chunks}: {statuses:?}"),
        }
    }
}

#[test]
fn a_head_has_one_reading() {
    let (_upstream, proxy) = proxy();
    for (head, expected) in [
        // Lines that go on, names with something behind them, and what no line may hold.
        (
            "GET /healthz HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n",
            &[400][..],
        ),
        ("GET /healthz HTTP/1.1\r\n host: x\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\n: c\r\n\r\n", &[400]),
        (
            "GET /healthz HTTP/1.1\r\nhost: x\r\nnothing\r\n\r\n",
            &[400],
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n",
            &[400],
        ),
        (
            "GET /healthz HTTP/1.1\r\nhost: x\r\na: b\rc: d\r\n\r\n",
            &[400],
        ),
        ("GET  /healthz HTTP/1.1\r\nhost: x\r\n\r\n", &[400]),
        ("GET /healthz\r\nhost: x\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.2\r\nhost: x\r\n\r\n", &[400]),
        ("GET /health\u{1}z HTTP/1.1\r\nhost: x\r\n\r\n", &[400]),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", &[400]),
        // What has one reading, if an unusual one.
        ("GET /healthz HTTP/1.1\nhost: x\n\n", &[200, 200]),
        ("\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", &[200, 200]),
        (
            "GET http://elsewhere/healthz HTTP/1.1\r\nhost: x\r\n\r\n",
            &[200, 200],
        ),
        ("GET /healthz HTTP/1.1\r\n\r\n", &[200, 200]),
        ("get /healthz HTTP/1.1\r\nhost: x\r\n\r\n", &[405, 200]),
        ("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", &[404, 200]),
        (
            "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nconnection: keep-alive\r\n\r\n",
            &[200],
        ),
        // What no tunnel may be made of.
        (
            "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
            &[200, 200],
        ),
        (
            "CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n",
            &[404, 200],
        ),
        ("TRACE / HTTP/1.1\r\nhost: x\r\n\r\n", &[405, 200]),
    ] {
        let request = format!("{head}{LAST}");
        assert_eq!(statuses(&proxy, request.as_bytes()), expected, "{head:?}");
    }
}

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    let (_upstream, proxy) = proxy();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let row = [
        get("/healthz"),
        get("/nowhere"),
        get("/readyz"),
        get("/"),
        LAST.to_owned(),
    ];
    assert_eq!(
        statuses(&proxy, row.concat().as_bytes()),
        [200, 404, 200, 200, 200]
    );
}

#[test]
fn who_asks_first_is_told_to_go_on() {
    let (_upstream, proxy) = proxy();
    let mut stream = connect(&proxy);
    let head = format!(
        "{COUNT}content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        BODY.len()
    );
    stream.write_all(head.as_bytes()).expect("it is sent");
    let mut told = [0; 25];
    stream.read_exact(&mut told).expect("it is told");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(BODY.as_bytes()).expect("it is sent");
    assert!(rest(stream).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let upstream = Upstream::saying("Hello");
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("x-{n}: 1\r\n"))
            .collect::<String>()
    };
    let long = |bytes: usize| format!("x-long: {}\r\n", "y".repeat(bytes));
    for (settings, fits, too_large) in [
        ("", (many(90), long(60_000)), (many(110), long(70_000))),
        (
            "max_headers = 5\nmax_header_bytes = 1000",
            (many(3), long(800)),
            (many(7), long(1_100)),
        ),
        (
            "max_headers = 500\nmax_header_bytes = 300000",
            (many(450), long(290_000)),
            (many(510), long(310_000)),
        ),
    ] {
        let proxy = configured(&upstream, settings, "");
        let ask = |headers: &str| {
            let request =
                format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n");
            statuses(&proxy, request.as_bytes())
        };
        for headers in [fits.0, fits.1] {
            assert_eq!(ask(&headers), [200], "{settings}: {} bytes", headers.len());
        }
        for headers in [too_large.0, too_large.1] {
            assert_eq!(ask(&headers), [431], "{settings}: {} bytes", headers.len());
        }
        // One that never ends is not read for ever.
        let endless = format!("GET /healthz HTTP/1.1\r\n{}", long(2_000_000));
        assert_eq!(statuses(&proxy, endless.trim_end().as_bytes()), [431]);
    }
    let proxy = Proxy::to(&upstream.base_url());
    let path = format!("/{}", "a".repeat(65_600));
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(matches!(
        statuses(&proxy, request.as_bytes())[..],
        [414 | 431]
    ));
    refusal(&http::get(&proxy.url("/nowhere")), 404);
}

#[test]
fn who_is_too_slow_is_let_go() {
    let upstream = Upstream::saying("Hello");
    let settings = "header_timeout_ms = 600\nidle_timeout_ms = 1500";
    let proxy = configured(&upstream, settings, "");
    // Whatever is said, in whatever steps, the first request has so much time and no more.
    for begun in ["", "G", "GET /healthz HTTP/1.1\r\nho", "PRI * HT"] {
        let mut stream = connect(&proxy);
        let began = Instant::now();
        for byte in begun.as_bytes() {
            stream.write_all(&[*byte]).expect("it is sent");
            std::thread::sleep(Duration::from_millis(5));
        }
        // A server of HTTP/2 says hello before it has heard all of the client's.
        assert!(!rest(stream).starts_with("HTTP/"), "{begun}");
        assert!(
            began.elapsed() >= Duration::from_millis(550),
            "{begun}: {:?}",
            began.elapsed()
        );
    }
    // After a request it may be silent for longer, but not in the middle of a head.
    for (begun, least, most) in [("", 1450, PATIENCE), ("GET /hea", 550, PATIENCE)] {
        let mut stream = connect(&proxy);
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .expect("it is sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("it is answered");
        stream.write_all(begun.as_bytes()).expect("it is sent");
        let began = Instant::now();
        assert!(rest(stream).ends_with("ok\n"));
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(least) && took < most,
            "{begun}: {took:?}"
        );
    }
    // A connection that asks again and again stays.
    let mut stream = connect(&proxy);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .expect("it is still there");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("it is answered");
        std::thread::sleep(Duration::from_millis(250));
    }
}

#[test]
fn a_long_answer_is_no_idle_connection() {
    let slow = Reply::chunks(&[text("Hel")])
        .rest(1_500)
        .chunk(&finish("stop"))
        .bytes("data: [DONE]\n\n");
    let upstream = Upstream::new([slow]);
    let proxy = configured(
        &upstream,
        "header_timeout_ms = 300\nidle_timeout_ms = 300",
        "",
    );
    streamed(&proxy, &hello());
    whole(&proxy, &hello());
}
