//! The bodies of requests as bytes: packed, too long, too slow, in pieces, nested too deeply.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::{JSON, configured, refusal, send};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::Upstream;

/// A request whose input is this text.
fn input(text: &str) -> Vec<u8> {
    json!({"model": "m", "input": text})
        .to_string()
        .into_bytes()
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let upstream = Upstream::saying("Hi");
    let proxy = configured(&upstream, "max_body_bytes = 1000", "");
    for long in [input(&"x".repeat(1000)), input(&"x".repeat(3_000_000))] {
        let error = refusal(&send(&proxy, &[JSON], &long), 413);
        assert_eq!(error["type"], "invalid_request_error");
    }
    // What counts is what comes out of the parcel.
    let parcel = zstd(&[
        ("{\"model\":\"m\",\"input\":\"", 1),
        ("x", 5000),
        ("\"}", 1),
    ]);
    assert!(parcel.len() < 100);
    refusal(
        &send(&proxy, &[JSON, ("content-encoding", "zstd")], &parcel),
        413,
    );
    assert_eq!(upstream.asked().len(), 0);
    assert_eq!(send(&proxy, &[JSON], &input(&"x".repeat(900))).status, 200);
}

#[test]
fn who_sends_far_too_much_gets_to_know_it() {
    // The refusal must not be lost with a connection that is closed while the client still sends.
    let proxy = configured(&Upstream::saying("Hi"), "max_body_bytes = 1000", "");
    refusal(&send(&proxy, &[JSON], &input(&"x".repeat(8_000_000))), 413);
}

#[test]
fn a_long_body_is_no_trouble_within_the_limit() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let words = "x".repeat(5_000_000);
    assert_eq!(send(&proxy, &[JSON], &input(&words)).status, 200);
    assert_eq!(upstream.asked()[0]["messages"][0]["content"], words);
}

#[test]
fn packed_bodies_are_unpacked() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let gzip = hex(
        "1f8b0800000000000203ab56cacd4f49cd51b25250ca55d25150cacc2b282d01f13c527372f215f24b4b14f2d31412150a128b92\
         81ca6a01eba383f430000000",
    );
    let zstd = zstd(&[
        ("{\"model\":\"m\",\"input\":\"", 1),
        ("Hi", 1),
        ("!", 5000),
        ("\"}", 1),
    ]);
    for (coding, body, words) in [
        ("gzip", &gzip, "Hello out of a parcel".to_owned()),
        ("zstd", &zstd, format!("Hi{}", "!".repeat(5000))),
        ("identity", &input("plain"), "plain".to_owned()),
    ] {
        let reply = send(&proxy, &[JSON, ("content-encoding", coding)], body);
        assert_eq!(reply.status, 200, "{coding}: {}", reply.text());
        let asked = upstream.asked();
        assert_eq!(
            asked.last().map(|asked| &asked["messages"][0]["content"]),
            Some(&json!(words))
        );
    }
    for (coding, body) in [
        ("gzip", &gzip[..30]),
        ("zstd", &zstd[..zstd.len() - 4]),
        ("gzip", b"{}"),
        ("zstd", b"{}"),
    ] {
        let error = refusal(
            &send(&proxy, &[JSON, ("content-encoding", coding)], body),
            400,
        );
        assert_eq!(error["type"], "invalid_request_error", "{coding}");
    }
}

#[test]
fn a_body_that_is_packed_in_another_way_is_refused() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    for coding in ["br", "deflate", "rot13"] {
        let error = refusal(
            &send(
                &proxy,
                &[JSON, ("content-encoding", coding)],
                &input("Hello"),
            ),
            415,
        );
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|words| words.contains(coding)),
            "{error}"
        );
    }
    assert_eq!(upstream.asked().len(), 0);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let upstream = Upstream::saying("Hi");
    let proxy = configured(
        &upstream,
        "body_timeout_ms = 300\nheader_timeout_ms = 300",
        "",
    );
    let host = proxy.url("").replace("http://", "");
    let answer = |sent: &str| {
        let mut stream = TcpStream::connect(&host).expect("the proxy listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a time limit");
        stream.write_all(sent.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("the proxy closes the connection");
        answer
    };
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 100\r\n"
    );
    let half_body = answer(&format!("{head}\r\n{{\"model\""));
    assert!(half_body.starts_with("HTTP/1.1 408 "), "{half_body}");
    assert!(
        half_body.contains("\"invalid_request_error\""),
        "{half_body}"
    );
    let half_head = answer(&head);
    assert!(!half_head.contains("200 OK"), "{half_head}");
    assert_eq!(upstream.asked().len(), 0);
}

#[test]
fn a_body_may_come_in_pieces_and_after_it_was_asked_for() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let host = proxy.url("").replace("http://", "");
    let mut stream = TcpStream::connect(&host).expect("the proxy listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time limit");
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nexpect: 100-continue\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the head is sent");
    let mut first = [0; 25];
    stream.read_exact(&mut first).expect("it asks for the body");
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    for piece in input("in pieces").chunks(7) {
        let piece = format!(
            "{:x}\r\n{}\r\n",
            piece.len(),
            String::from_utf8_lossy(piece)
        );
        stream.write_all(piece.as_bytes()).expect("a piece is sent");
    }
    stream.write_all(b"0\r\n\r\n").expect("the end is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(upstream.asked()[0]["messages"][0]["content"], "in pieces");
}

#[test]
fn deep_nesting_breaks_nothing() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::to(&upstream.base_url());
    let depth = 100_000;
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    let schema =
        "{\"type\":\"object\",\"properties\":{\"a\":".repeat(depth) + "{}" + &"}}".repeat(depth);
    for body in [
        format!("{open}{close}"),
        format!("{{\"model\":\"m\",\"input\":{open}{close}}}"),
        format!("{{\"model\":\"m\",\"input\":\"Hello\",\"unknown\":{open}{close}}}"),
        format!("{{\"model\":\"m\",\"input\":\"Hello\",\"tools\":{open}{close}}}"),
        format!(
            "{{\"model\":\"m\",\"input\":\"Hello\",\"tools\":[{{\"type\":\"function\",\"name\":\"f\",\"parameters\":{schema}}}]}}"
        ),
        format!(
            "{{\"model\":\"m\",\"input\":\"Hello\",\"text\":{{\"format\":{{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{schema}}}}}}}"
        ),
        format!(
            "{{\"model\":\"m\",\"input\":[{{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":{open}{close}}}]}}"
        ),
    ] {
        let reply = send(&proxy, &[JSON], body.as_bytes());
        let what: String = body.chars().take(60).collect();
        assert!(
            reply.status == 200 || reply.status == 400,
            "{what}: {} {}",
            reply.status,
            reply.text()
        );
        assert_eq!(http::get(&proxy.url("/healthz")).status, 200, "{what}");
    }
}

/// A zstd frame of blocks, each of which says its text that many times.
fn zstd(blocks: &[(&str, usize)]) -> Vec<u8> {
    let size: usize = blocks.iter().map(|(text, times)| text.len() * times).sum();
    // The magic number; one segment, with its size (less 256) in two bytes.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x60];
    let size = u16::try_from(size - 256).expect("a small frame");
    frame.extend(size.to_le_bytes());
    for (n, (text, times)) in blocks.iter().enumerate() {
        // Three bytes: whether it is the last, the type (as it is, or one byte many times), the size.
        let is_last = u32::from(n + 1 == blocks.len());
        let (kind, size) = if *times > 1 {
            (1, *times)
        } else {
            (0, text.len())
        };
        let head = is_last | kind << 1 | u32::try_from(size).expect("a small block") << 3;
        frame.extend(&head.to_le_bytes()[..3]);
        frame.extend(text.as_bytes());
    }
    frame
}

fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let pairs = pairs.map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("hex digits"))
        .collect()
}
