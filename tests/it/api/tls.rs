//! TLS towards clients, with real handshakes.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use tungstenite::client::IntoClientRequest;

use super::{hello, read_stream, with};
use crate::support::events;
use crate::support::http;
use crate::support::http2::Http2;
use crate::support::proxy::{Proxy, ProxyBuilder};
use crate::support::tls::{self, Authority, Client, Identity};
use crate::support::upstream::Upstream;

const PATIENCE: Duration = Duration::from_secs(20);
const ONLY_12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
const ONLY_13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
const LOCAL: &[&str] = &["localhost", "127.0.0.1"];

fn toml(upstream: &Upstream, server: &str, tls: &str) -> String {
    format!(
        "[server]\n{server}\n[server.tls]\ncert_file = \"tls.crt\"\nkey_file = \"tls.key\"\n{tls}\n[upstreams.mock]\nbase_url = \"{}\"\n",
        upstream.base_url()
    )
}

fn builder(upstream: &Upstream, identity: &Identity, server: &str, tls: &str) -> ProxyBuilder {
    Proxy::builder()
        .config(&toml(upstream, server, tls))
        .file("tls.crt", &identity.cert)
        .file("tls.key", &identity.key)
}

/// Whether a client gets an answer.
fn is_served(client: &Client<'_>, proxy: &Proxy) -> bool {
    let Ok(mut stream) = client.connect(proxy.address()) else {
        return false;
    };
    let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    // Whether a client is let in is known in TLS 1.3 only after the client has begun.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.read_to_end(&mut answer);
    answer.starts_with(b"HTTP/1.1 200 OK\r\n")
}

#[test]
fn streams_come_over_each_version_of_tls_and_of_http() {
    let upstream = Upstream::saying("Hello");
    let authority = Authority::new();
    let proxy = builder(&upstream, &authority.issue(LOCAL), "", "").start();
    assert!(proxy.log().contains("listening on https://127.0.0.1:"));
    let request = with(hello(), json!({"stream": true})).to_string();
    for versions in [ONLY_12, ONLY_13, rustls::ALL_VERSIONS] {
        for protocols in [&[][..], &[&b"http/1.1"[..]]] {
            let client = Client {
                protocols,
                versions,
                ..Client::of(&authority)
            };
            let stream = client.connect(proxy.address()).expect("it connects");
            let headers = [("content-type", "application/json")];
            let path = "/v1/responses";
            let reply = http::over(stream, "POST", path, &headers, request.as_bytes());
            read_stream(&reply);
        }
        let client = Client {
            // Of two that the client can speak it is the better one.
            protocols: &[b"http/1.1", b"h2"],
            versions,
            ..Client::of(&authority)
        };
        let stream = client.connect(proxy.address()).expect("it connects");
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        let mut client = Http2::over(stream, 65_535);
        client.post(1, "/v1/responses", &request);
        let answer = client.answer(1);
        assert_eq!(answer.status, 200);
        crate::grammar::check(&events::parse(&answer.body));
    }
}

#[test]
fn a_socket_can_be_opened_over_tls() {
    let upstream = Upstream::saying("Hello");
    let authority = Authority::new();
    let proxy = builder(&upstream, &authority.issue(LOCAL), "", "").start();
    let stream = Client::of(&authority).connect(proxy.address());
    let request = "wss://localhost/v1/responses".into_client_request();
    let (mut socket, _) =
        tungstenite::client(request.expect("an address"), stream.expect("it connects"))
            .expect("it becomes a WebSocket");
    let create = json!({"type": "response.create", "model": "m", "input": "x"});
    socket
        .send(tungstenite::Message::text(create.to_string()))
        .expect("it is sent");
    let mut heard = String::new();
    while !heard.contains("response.completed") {
        heard += &socket.read().expect("an event").to_string();
    }
}

#[test]
fn what_is_not_tls_is_turned_away() {
    let upstream = Upstream::saying("Hello");
    let authority = Authority::new();
    let proxy = builder(
        &upstream,
        &authority.issue(LOCAL),
        "header_timeout_ms = 700",
        "",
    )
    .start();
    let mut plain = TcpStream::connect(proxy.address()).expect("it listens");
    plain
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("it is sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    // The time for the handshake is limited.
    let mut silent = TcpStream::connect(proxy.address()).expect("it listens");
    silent
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    let began = Instant::now();
    let read = silent.read(&mut [0; 16]);
    assert!(
        matches!(read, Ok(0))
            || read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    );
    assert!(
        began.elapsed() >= Duration::from_millis(600),
        "{:?}",
        began.elapsed()
    );
    // And that of the first request after it.
    let stream = Client::of(&authority).connect(proxy.address());
    let began = Instant::now();
    let _ = stream.expect("it connects").read(&mut [0; 16]);
    assert!(began.elapsed() < PATIENCE, "it was kept for ever");
    assert!(is_served(&Client::of(&authority), &proxy));
}

#[test]
fn a_certificate_is_exchanged_while_connections_go_on() {
    let upstream = Upstream::saying("Hello");
    let authority = Authority::new();
    let (one, two, three) = (
        authority.issue(LOCAL),
        authority.issue(LOCAL),
        authority.issue(LOCAL),
    );
    let proxy = builder(&upstream, &one, "", "").start();
    let put = |name: &str, text: &str| {
        let new = proxy.file("new");
        fs::write(&new, text).expect("it is written");
        fs::rename(new, proxy.file(name)).expect("it is put in place");
    };
    let shown = || {
        let stream = Client::of(&authority).connect(proxy.address());
        tls::shown(&stream.expect("it connects"))
    };
    let wait_for = |identity: &Identity| {
        let until = Instant::now() + PATIENCE;
        while shown() != tls::certificate(&identity.cert).as_ref() {
            assert!(Instant::now() < until, "{}", proxy.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let old = Client {
        protocols: &[b"h2"],
        ..Client::of(&authority)
    };
    let mut old = Http2::over(old.connect(proxy.address()).expect("it connects"), 65_535);
    wait_for(&one);
    // One file after the other: for a moment they do not belong together.
    put("tls.crt", &two.cert);
    proxy.wait_for_log("the old one stays", 1);
    wait_for(&one);
    put("tls.key", &two.key);
    wait_for(&two);
    assert!(
        proxy.log().contains("\"certificate_kept\":false"),
        "{}",
        proxy.log()
    );
    // What is broken changes nothing.
    put("tls.crt", "nonsense");
    proxy.wait_for_log("there is no certificate in `cert_file`", 1);
    wait_for(&two);
    fs::remove_file(proxy.file("tls.key")).expect("it is there");
    proxy.wait_for_log("can't be read", 1);
    wait_for(&two);
    put("tls.crt", &three.cert);
    put("tls.key", &three.key);
    wait_for(&three);
    // Who was there before is still served.
    old.get(1, "/healthz");
    assert_eq!(old.answer(1).status, 200);
}

#[test]
fn a_signal_reads_the_certificate_again_without_a_configuration_file() {
    let upstream = Upstream::saying("Hello");
    let authority = Authority::new();
    let (one, two) = (authority.issue(LOCAL), authority.issue(LOCAL));
    let proxy = Proxy::builder()
        .upstream(&upstream.base_url())
        .file("tls.crt", &one.cert)
        .file("tls.key", &one.key)
        .env("ANTIPHON__SERVER__TLS__CERT_FILE", "tls.crt")
        .env("ANTIPHON__SERVER__TLS__KEY_FILE", "tls.key")
        .start();
    fs::write(proxy.file("tls.crt"), &two.cert).expect("it is written");
    fs::write(proxy.file("tls.key"), &two.key).expect("it is written");
    proxy.signal("HUP");
    let until = Instant::now() + PATIENCE;
    let shown = || {
        let stream = Client::of(&authority).connect(proxy.address());
        tls::shown(&stream.expect("it connects"))
    };
    while shown() != tls::certificate(&two.cert).as_ref() {
        assert!(Instant::now() < until, "{}", proxy.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn clients_without_a_certificate_of_the_right_issuer_stay_outside() {
    let upstream = Upstream::saying("Hello");
    let (authority, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let proxy = builder(
        &upstream,
        &authority.issue(LOCAL),
        "",
        "client_ca_file = \"ca.pem\"",
    )
    .file("ca.pem", &clients.pem)
    .start();
    let (right, wrong) = (clients.issue(&["me"]), others.issue(&["me"]));
    for versions in [ONLY_12, ONLY_13] {
        for (identity, served) in [(None, false), (Some(&wrong), false), (Some(&right), true)] {
            let client = Client {
                versions,
                identity,
                ..Client::of(&authority)
            };
            assert_eq!(
                is_served(&client, &proxy),
                served,
                "{versions:?} {identity:?}"
            );
        }
    }
    // Whose issuer is let in may change too.
    let new = proxy.file("new");
    fs::write(&new, &others.pem).expect("it is written");
    fs::rename(new, proxy.file("ca.pem")).expect("it is put in place");
    let client = Client {
        identity: Some(&wrong),
        ..Client::of(&authority)
    };
    let until = Instant::now() + PATIENCE;
    while !is_served(&client, &proxy) {
        assert!(Instant::now() < until, "{}", proxy.log());
    }
    let client = Client {
        identity: Some(&right),
        ..client
    };
    assert!(!is_served(&client, &proxy));
}
