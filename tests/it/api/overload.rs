//! More work than there is room for: some of it waits, the rest is turned away at once, and what runs is
//! not harmed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Live, hello, last, post, read_stream, refusal, stored, whole, with};
use crate::support::events;
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::socket::Socket;
use crate::support::upstream::{Reply, Upstream, finish, text, usage};

/// An upstream of which each answer takes so long.
fn slow(milliseconds: u64) -> Upstream {
    let first = Reply::chunks(&[text("one ")]).rest(milliseconds);
    let whole = [text("two"), finish("stop"), usage(9, 4)]
        .iter()
        .fold(first, Reply::chunk)
        .bytes("data: [DONE]\n\n");
    Upstream::new([whole])
}

fn serving(upstream: &Upstream, server: &str, limits: &str) -> Proxy {
    let base_url = upstream.base_url();
    Proxy::builder()
        .config(&format!(
            "[server]\n{server}\n[limits]\n{limits}\n[upstreams.mock]\nbase_url = \"{base_url}\"\n"
        ))
        .start()
}

fn overloaded(reply: &http::Reply) {
    let error = refusal(reply, 503);
    assert_eq!(
        (&error["code"], &error["type"]),
        (&json!("server_is_overloaded"), &json!("server_error"))
    );
    assert_eq!(reply.header("retry-after"), Some("2"));
    assert_eq!(reply.header("retry-after-ms"), Some("2000"));
}

#[test]
fn one_waits_in_line_and_others_are_turned_away_at_once() {
    let upstream = slow(3_000);
    let proxy = serving(
        &upstream,
        "",
        "max_streams = 1\nmax_queue = 1\nqueue_timeout_ms = 60000",
    );
    let mut running = Live::start(&proxy.url(""), &hello());
    running.wait_for("one ", Duration::from_secs(10));
    let replies: Vec<_> = thread::scope(|scope| {
        let ask = || post(&proxy, &with(hello(), json!({"stream": true})));
        let asking: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        let replies = asking.into_iter().map(|asking| asking.join());
        replies.map(|reply| reply.expect("an answer")).collect()
    });
    let events = events::parse(&running.finish());
    assert_eq!(
        last(&events)["status"],
        "completed",
        "what runs is not harmed"
    );
    let (waited, turned_away): (Vec<_>, Vec<_>) =
        replies.iter().partition(|reply| reply.status == 200);
    assert_eq!((waited.len(), turned_away.len()), (1, 2));
    assert_eq!(last(&read_stream(waited[0]))["status"], "completed");
    turned_away.into_iter().for_each(overloaded);
    let log = proxy.log();
    assert!(log.contains("\"limit\":\"max_queue\""), "{log}");

    let mut socket = Socket::open(&proxy.url("/v1/responses"), None);
    let answer = socket.ask(&with(hello(), json!({"type": "response.create"})));
    assert_eq!(answer.last().expect("events").kind(), "response.completed");
}

#[test]
fn nobody_waits_in_line_for_long() {
    let upstream = slow(20_000);
    let proxy = serving(&upstream, "", "max_streams = 1\nqueue_timeout_ms = 300");
    let mut running = Live::start(&proxy.url(""), &hello());
    running.wait_for("one ", Duration::from_secs(10));
    let began = Instant::now();
    overloaded(&post(&proxy, &hello()));
    assert!(began.elapsed() >= Duration::from_millis(300));
    let mut socket = Socket::open(&proxy.url("/v1/responses"), None);
    let answer = socket.ask(&with(hello(), json!({"type": "response.create"})));
    assert_eq!(answer[0].data["error"]["code"], "server_is_overloaded");
    // What asks no model needs no place.
    assert_eq!(http::get(&proxy.url("/readyz")).status, 200);
    assert_eq!(http::get(&proxy.url("/v1/responses/resp_1")).status, 404);
    drop(running);
    upstream.wait_until_left(1);
}

/// A head that announces a body, and how the proxy answers before any of it comes.
fn answer_to_head(proxy: &Proxy, more: &str) -> String {
    let host = proxy.url("").replace("http://", "");
    let mut stream = TcpStream::connect(&host).expect("the proxy listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a time limit");
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{more}content-length: 50000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the head is sent");
    let mut answer = [0; 512];
    let read = stream
        .read(&mut answer)
        .expect("an answer, although nothing was sent");
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[test]
fn who_is_turned_away_is_not_read() {
    let upstream = slow(20_000);
    let proxy = serving(&upstream, "", "max_streams = 1\nmax_queue = 0");
    let mut running = Live::start(&proxy.url(""), &hello());
    running.wait_for("one ", Duration::from_secs(10));
    let answer = answer_to_head(&proxy, "expect: 100-continue\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(running);
}

/// Sends so many bytes of a body, and no more.
fn stalled(proxy: &Proxy, bytes: usize) -> TcpStream {
    let host = proxy.url("").replace("http://", "");
    let mut stream = TcpStream::connect(&host).expect("the proxy listens");
    let head =
        format!("POST /v1/responses HTTP/1.1\r\nhost: {host}\r\ncontent-length: 8000000\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the head is sent");
    stream
        .write_all(&vec![b' '; bytes])
        .expect("a part is sent");
    stream
}

#[test]
fn many_long_bodies_take_turns() {
    let upstream = Upstream::saying("Hi");
    let proxy = serving(
        &upstream,
        "max_body_bytes = 8000000",
        "max_bodies_bytes = 8000000",
    );
    thread::scope(|scope| {
        for n in 0..8 {
            let proxy = &proxy;
            scope.spawn(move || {
                let long = with(
                    hello(),
                    json!({"input": format!("{n}{}", "x".repeat(7_000_000))}),
                );
                assert_eq!(post(proxy, &long).status, 200);
            });
        }
    });
    assert_eq!(upstream.asked().len(), 8);
}

#[test]
fn bodies_that_never_end_do_not_take_all_the_room_for_ever() {
    let upstream = Upstream::saying("Hi");
    let proxy = serving(
        &upstream,
        "max_body_bytes = 8000000\nbody_timeout_ms = 2500",
        "max_bodies_bytes = 8000000",
    );
    // One takes most of the room, the other goes beyond it.
    let (one, other) = (stalled(&proxy, 7_900_000), stalled(&proxy, 7_900_000));
    let began = Instant::now();
    let long = with(hello(), json!({"input": "x".repeat(500_000)}));
    let reply = post(&proxy, &long);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(began.elapsed() < Duration::from_secs(20));
    drop((one, other));
    whole(&proxy, &hello());
}

/// A body has room until nobody needs it any more: here as long as another upstream may have to be asked.
#[test]
fn where_there_is_no_room_for_a_body_in_time_it_is_turned_away() {
    let silent = Upstream::by(|request| {
        let words = request["messages"][0]["content"].as_str();
        let is_quick = words.is_some_and(|words| words.starts_with('q'));
        let reply = stored::reply(request, "Hi");
        if is_quick { reply } else { reply.after(20_000) }
    });
    let config = format!(
        "default_upstream = \"a\"\n[server]\nmax_body_bytes = 1000000\nbody_timeout_ms = 500\n[limits]\nmax_bodies_bytes = 1000000\n\
         [upstreams.a]\nbase_url = \"{0}\"\n[upstreams.b]\nbase_url = \"{0}\"\n[models.m]\nupstreams = [\"a\", \"b\"]\n",
        silent.base_url()
    );
    let proxy = Proxy::builder().config(&config).start();
    let long = with(
        hello(),
        json!({"input": "x".repeat(900_000), "store": false}),
    );
    let first = Live::send(&proxy.url(""), &long);
    silent.wait_until_asked(1);
    let second = Live::send(&proxy.url(""), &long);
    silent.wait_until_asked(2);
    let reply = post(&proxy, &long);
    overloaded(&reply);
    let mut socket = Socket::open(&proxy.url("/v1/responses"), None);
    let answer = socket.ask(&with(long.clone(), json!({"type": "response.create"})));
    assert_eq!(answer[0].data["error"]["code"], "server_is_overloaded");
    drop((first, second));
    silent.wait_until_left(2);
    // And then there is room again.
    let quick = with(long, json!({"input": "q".repeat(900_000)}));
    let until = Instant::now() + Duration::from_secs(10);
    while post(&proxy, &quick).status != 200 {
        assert!(Instant::now() < until, "the room does not come back");
    }
}

#[test]
fn places_change_with_the_configuration() {
    let upstream = slow(20_000);
    let toml = |places: usize| {
        format!(
            "[limits]\nmax_streams = {places}\nmax_queue = 0\n[upstreams.mock]\nbase_url = \"{}\"\n",
            upstream.base_url()
        )
    };
    let proxy = Proxy::builder().config(&toml(1)).start();
    let start = || {
        let mut stream = Live::start(&proxy.url(""), &hello());
        stream.wait_for("one ", Duration::from_secs(10));
        stream
    };
    let status = |_: &Value| post(&proxy, &with(hello(), json!({"stream": true}))).status;
    let first = start();
    assert_eq!(status(&Value::Null), 503);
    proxy.rewrite(&toml(2));
    proxy.wait_for_log("the configuration was reloaded", 1);
    let second = start();
    assert_eq!(status(&Value::Null), 503);
    proxy.rewrite(&toml(1));
    proxy.wait_for_log("the configuration was reloaded", 2);
    drop(first);
    upstream.wait_until_left(1);
    assert_eq!(
        status(&Value::Null),
        503,
        "one is still there, and is one enough"
    );
    drop(second);
    upstream.wait_until_left(2);
    let _third = start();
}
