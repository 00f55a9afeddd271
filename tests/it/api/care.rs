//! Care for connections: who makes room when all places are taken, and what becomes of a client that does not
//! read.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Live, configured, hello, last, with};
use crate::grammar;
use crate::support::events;
use crate::support::http;
use crate::support::http2::Http2;
use crate::support::process::{self, Running};
use crate::support::proxy::Proxy;
use crate::support::socket::{Said, Socket};
use crate::support::upstream::{Reply, Upstream, finish, text};

const PATIENCE: Duration = Duration::from_secs(20);

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    stream
}

/// Asks for something on a connection that stays open, and reads the answer.
fn ask(stream: &mut TcpStream) {
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("it is sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it is answered");
        answer.push(byte[0]);
    }
}

/// Whether the server has closed a connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("a time limit");
    let read = stream.read(&mut [0; 16]);
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    match read {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn is_served(proxy: &Proxy) -> bool {
    http::get(&proxy.url("/healthz")).status == 200
}

#[test]
fn who_has_been_idle_for_the_longest_makes_room() {
    let upstream = Upstream::saying("Hello");
    let proxy = configured(&upstream, "max_connections = 4", "");
    let mut all: Vec<TcpStream> = Vec::new();
    for _ in 0..4 {
        all.push(connect(&proxy));
        ask(all.last_mut().expect("it is there"));
    }
    // The oldest one asks once more, and is the youngest from then on.
    ask(&mut all[0]);
    for gone in [1, 2, 3, 0] {
        assert!(!is_closed(&mut all[gone]));
        let mut new = connect(&proxy);
        ask(&mut new);
        assert!(is_closed(&mut all[gone]), "{gone} is still there");
        all.push(new);
    }
    assert!(is_served(&proxy));
}

#[test]
fn connections_that_say_nothing_or_half_a_word_lock_nobody_out() {
    let upstream = Upstream::saying("Hello");
    let proxy = configured(
        &upstream,
        "max_connections = 20\nheader_timeout_ms = 600000",
        "",
    );
    let mut crowd: Vec<TcpStream> = Vec::new();
    for n in 0..200 {
        let mut stream = connect(&proxy);
        let begun = [
            "",
            "P",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nho",
        ];
        let _ = stream.write_all(begun[n % begun.len()].as_bytes());
        crowd.push(stream);
        if n % 20 == 19 {
            let began = Instant::now();
            assert!(is_served(&proxy));
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "{:?}",
                began.elapsed()
            );
        }
    }
    super::streamed(&proxy, &hello());
}

#[test]
fn who_is_busy_keeps_its_place() {
    let slow = Reply::chunks(&[text("Hel")])
        .rest(3_000)
        .chunk(&text("lo"))
        .chunk(&finish("stop"))
        .bytes("data: [DONE]\n\n");
    let upstream = Upstream::new([slow]);
    let proxy = configured(&upstream, "max_connections = 4", "");
    let mut streams: Vec<Live> = (0..3)
        .map(|_| Live::start(&proxy.url(""), &hello()))
        .collect();
    for stream in &mut streams {
        stream.wait_for("Hel", PATIENCE);
    }
    let mut idle = connect(&proxy);
    ask(&mut idle);
    // One place is left, and it changes hands.
    for _ in 0..10 {
        assert!(is_served(&proxy));
    }
    assert!(is_closed(&mut idle));
    for stream in streams {
        let events = events::parse(&stream.finish());
        grammar::check(&events);
        assert_eq!(last(&events)["output"][0]["content"][0]["text"], "Hello");
    }
}

#[test]
fn where_all_are_busy_a_newcomer_waits() {
    let slow = Reply::chunks(&[text("Hel")])
        .rest(1_500)
        .chunk(&finish("stop"))
        .bytes("data: [DONE]\n\n");
    let upstream = Upstream::new([slow]);
    let proxy = configured(&upstream, "max_connections = 2", "");
    let mut streams: Vec<Live> = (0..2)
        .map(|_| Live::start(&proxy.url(""), &hello()))
        .collect();
    for stream in &mut streams {
        stream.wait_for("Hel", PATIENCE);
    }
    let began = Instant::now();
    assert!(is_served(&proxy));
    assert!(
        began.elapsed() >= Duration::from_millis(700),
        "{:?}",
        began.elapsed()
    );
    for stream in streams {
        grammar::check(&events::parse(&stream.finish()));
    }
}

#[test]
fn idle_http2_connections_and_sockets_make_room_and_busy_ones_do_not() {
    let slow = Reply::chunks(&[text("Hel")])
        .rest(2_500)
        .chunk(&text("lo"))
        .chunk(&finish("stop"))
        .bytes("data: [DONE]\n\n");
    let upstream = Upstream::new([slow]);
    let proxy = configured(&upstream, "max_connections = 4", "");
    let url = proxy.url("/v1/responses");
    let request = with(hello(), json!({"stream": true})).to_string();
    let (mut socket, mut busy_socket) = (Socket::open(&url, None), Socket::open(&url, None));
    let (mut client, mut busy) = (
        Http2::connect(proxy.address(), 65_535),
        Http2::connect(proxy.address(), 65_535),
    );
    busy.post(1, "/v1/responses", &request);
    busy.wait_for(1, "Hel");
    busy_socket.say(&json!({"type": "response.create", "model": "m", "input": "x"}));
    while busy_socket.event()["type"] != "response.output_text.delta" {}
    client.get(1, "/healthz");
    assert_eq!(client.answer(1).status, 200);
    for _ in 0..6 {
        assert!(is_served(&proxy));
    }
    assert_eq!(socket.hear(), Said::Close(Some(1013)));
    client.goodbye();
    let events = events::parse(&busy.answer(1).body);
    grammar::check(&events);
    assert_eq!(last(&events)["output"][0]["content"][0]["text"], "Hello");
    while busy_socket.event()["type"] != "response.completed" {}
}

/// What the process holds in memory, in KB.
fn memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|kb| kb.parse().ok()).expect("a number")
}

const PIECE: usize = 100_000;

/// A server that has much to say, and waits for nobody but those who do not read.
fn talkative() -> Upstream {
    let chunks: Vec<Value> = vec![text(&"x".repeat(PIECE)); 300];
    Upstream::new([Reply::stream(&chunks)])
}

/// Waits until an upstream gets rid of nothing any more; returns how much it was.
fn settled(upstream: &Upstream) -> usize {
    let until = Instant::now() + PATIENCE;
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_millis(700));
        let sent = upstream.sent();
        if sent == before && sent > 0 {
            return sent;
        }
        assert!(Instant::now() < until, "it goes on and on: {sent}");
        before = sent;
    }
}

#[test]
fn a_client_that_does_not_read_costs_little_and_slows_its_upstream() {
    const CLIENTS: usize = 12;
    // What is passed on is not kept: all that is held is held for the client.
    let delta = json!({"type": "response.output_text.delta", "delta": "x".repeat(PIECE)});
    let piece = format!("event: response.output_text.delta\ndata: {delta}\n\n");
    let upstream = Upstream::new([(0..300)
        .fold(Reply::new(200, "text/event-stream"), |reply, _| {
            reply.bytes(piece.clone())
        })]);
    let proxy = configured(&upstream, "", "wire_api = \"responses\"");
    assert!(is_served(&proxy));
    let before = memory(proxy.pid());
    let over_http1: Vec<Live> = (0..CLIENTS)
        .map(|_| Live::start(&proxy.url(""), &hello()))
        .collect();
    let first = settled(&upstream);
    // 30 MB each would come if nobody held it up: what is on its way is in the system's buffers.
    assert!(first < CLIENTS * 200 * PIECE, "{first}");
    let grown = memory(proxy.pid()).saturating_sub(before);
    assert!(
        grown < CLIENTS * 1_000,
        "{grown} KB for {CLIENTS} over HTTP/1"
    );

    let before = memory(proxy.pid());
    let request = with(hello(), json!({"stream": true})).to_string();
    let mut over_http2 = Http2::connect(proxy.address(), 0x7fff_ffff);
    for n in 0..CLIENTS {
        let id = u32::try_from(2 * n + 1).expect("a small number");
        over_http2.post(id, "/v1/responses", &request);
    }
    let both = settled(&upstream);
    assert!(both - first < CLIENTS * 200 * PIECE, "{both}");
    let grown = memory(proxy.pid()).saturating_sub(before);
    assert!(
        grown < CLIENTS * 1_000,
        "{grown} KB for {CLIENTS} over HTTP/2"
    );
    drop((over_http1, over_http2));
    upstream.wait_until_left(2 * CLIENTS);
}

#[test]
fn a_client_that_does_not_read_is_let_go() {
    let upstream = talkative();
    let proxy = configured(&upstream, "write_timeout_ms = 1500", "");
    let began = Instant::now();
    let over_http1 = Live::start(&proxy.url(""), &hello());
    upstream.wait_until_left(1);
    assert!(
        began.elapsed() >= Duration::from_millis(1_400),
        "{:?}",
        began.elapsed()
    );
    let mut over_http2 = Http2::connect(proxy.address(), 0x7fff_ffff);
    let request = with(hello(), json!({"stream": true})).to_string();
    over_http2.post(1, "/v1/responses", &request);
    upstream.wait_until_left(2);
    proxy.wait_for_log("a client took nothing of its answer for too long", 2);
    drop((over_http1, over_http2));
    assert!(is_served(&proxy));
}

#[test]
fn a_client_that_reads_slowly_gets_all_of_it() {
    let chunks: Vec<Value> = (0..60).map(|n| text(&format!("{n:0>20000}"))).collect();
    let whole: String = (0..60).map(|n| format!("{n:0>20000}")).collect();
    let mut reply = Reply::chunks(&chunks);
    reply = reply.chunk(&finish("stop")).bytes("data: [DONE]\n\n");
    let upstream = Upstream::new([reply]);
    let proxy = configured(&upstream, "write_timeout_ms = 3000", "");
    let mut client = Live::start(&proxy.url(""), &hello());
    let began = Instant::now();
    // Never still for long, but long in all.
    while began.elapsed() < Duration::from_secs(5) {
        client.read(PATIENCE);
        std::thread::sleep(Duration::from_millis(4));
    }
    let events = events::parse(&client.finish());
    grammar::check(&events);
    assert_eq!(last(&events)["output"][0]["content"][0]["text"], whole);
}

#[test]
fn as_many_files_may_be_open_as_the_system_allows() {
    let upstream = Upstream::saying("Hello");
    let home = tempfile::tempdir().expect("a temporary folder");
    let start = |limits: &str, connections: &str| {
        let mut command = Command::new("sh");
        let line = format!(
            "ulimit {limits} && exec {} --listen 127.0.0.1:0 --upstream {}",
            env!("CARGO_BIN_EXE_antiphon"),
            upstream.base_url()
        );
        command
            .args(["-c", &line])
            .env("HOME", home.path())
            .env("ANTIPHON__SERVER__MAX_CONNECTIONS", connections)
            .current_dir(home.path());
        Running::start(&mut command, "listening on ", PATIENCE).0
    };
    let raised = start("-Sn 64", "50");
    let limits = fs::read_to_string(format!("/proc/{}/limits", raised.pid())).expect("it runs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let line = line.expect("there is a limit");
    let mut words = line.split_whitespace().skip(3);
    assert_eq!(
        words.next(),
        words.next(),
        "the soft one is the hard one: {line}"
    );
    assert!(!raised.log().contains("fewer files"), "{}", raised.log());
    let low = start("-n 256", "5000");
    assert!(
        low.log().contains("fewer files may be open"),
        "{}",
        low.log()
    );
    assert!(low.log().contains("\"needed\":10128"), "{}", low.log());
}

/// The system gives no connection any more: those that are idle give theirs.
#[test]
fn who_runs_out_of_files_closes_idle_connections() {
    let upstream = Upstream::saying("Hello");
    let home = tempfile::tempdir().expect("a temporary folder");
    let line = format!(
        "ulimit -n 60 && exec {} --listen 127.0.0.1:0 --upstream {}",
        env!("CARGO_BIN_EXE_antiphon"),
        upstream.base_url()
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &line])
        .env("HOME", home.path())
        .env("ANTIPHON__STORE__URL", "none")
        .stdin(Stdio::null());
    let (process, rest) = Running::start(&mut command, "listening on http://", PATIENCE);
    let address: String = rest
        .chars()
        .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
        .collect();
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(&address).expect("the system takes it"));
    }
    let began = Instant::now();
    let reply = http::get(&format!("http://{address}/healthz"));
    assert_eq!(reply.status, 200, "{}", process.log());
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert!(process.log().contains("a connection could not be taken"));
    drop(crowd);
}

/// From the start of the process to its word that it listens.
#[test]
fn it_listens_at_once() {
    let upstream = Upstream::saying("Hello");
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut best = PATIENCE;
    for _ in 0..5 {
        let began = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command
            .args([
                "--listen",
                "127.0.0.1:0",
                "--upstream",
                &upstream.base_url(),
            ])
            .env("HOME", home.path())
            .env("ANTIPHON__STORE__URL", "none")
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let log = child.stderr.take().expect("its log");
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(log));
        let listens = lines.any(|line| line.is_ok_and(|line| line.contains("listening on ")));
        best = best.min(began.elapsed());
        process::end(&mut child);
        assert!(listens, "it ended");
    }
    // It takes 3 ms; this is a slow machine without optimisation, and other tests beside.
    assert!(best < Duration::from_millis(500), "{best:?}");
}
