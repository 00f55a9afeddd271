//! What has not ended when time is up is told so, each in its own way, and is kept as what it is.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::shutdown::Serving;
use super::{Live, failure, hello, kinds, with};
use crate::grammar;
use crate::support::events;
use crate::support::events::SseEvent;
use crate::support::http;
use crate::support::http2::Http2;
use crate::support::socket::{Said, Socket, named};
use crate::support::upstream::{Reply, Upstream, text};

/// How long the end may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(15);
const CODE: &str = "server_shutting_down";

/// A server that begins to answer and never ends.
fn endless() -> Upstream {
    Upstream::new([Reply::chunks(&[text("Hel")]).silent()])
}

fn code(proxy: &mut Serving) -> Option<i32> {
    proxy.wait(PATIENCE).expect("it ends").code()
}

#[test]
fn a_stream_that_is_cut_off_fails_in_words_and_is_kept_as_failed() {
    let upstream = endless();
    let mut proxy = Serving::start(&upstream, "drain_timeout_ms = 300");
    let mut client = Live::start(&proxy.url, &hello());
    client.wait_for("\"delta\":\"Hel\"", PATIENCE);
    proxy.signal("TERM");
    let stream = client.finish();
    let events = events::parse(&stream);
    grammar::check(&events);
    let error = failure(&events);
    assert_eq!(error["code"], CODE);
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("try again in 1s"), "{message}");
    assert!(events::has_done(&stream), "nothing is missing at the end");
    upstream.wait_until_left(1);
    assert_eq!(code(&mut proxy), Some(3));

    let again = proxy.again(&upstream);
    let id = events[0].data["response"]["id"]
        .as_str()
        .unwrap_or_default();
    let kept = http::get(&format!("{}/v1/responses/{id}", again.url)).json();
    assert_eq!(kept["status"], "failed", "{kept}");
    assert_eq!(kept["error"]["code"], CODE);
}

#[test]
fn all_streams_learn_of_it_at_once() {
    const STREAMS: usize = 150;
    let upstream = endless();
    let mut proxy = Serving::start(&upstream, "drain_timeout_ms = 300");
    let mut clients: Vec<Live> = (0..STREAMS)
        .map(|_| Live::start(&proxy.url, &hello()))
        .collect();
    for client in &mut clients {
        client.wait_for("\"delta\":\"Hel\"", PATIENCE);
    }
    proxy.signal("TERM");
    for client in clients {
        let events = events::parse(&client.finish());
        grammar::check(&events);
        assert_eq!(failure(&events)["code"], CODE);
    }
    assert_eq!(code(&mut proxy), Some(3));
}

#[test]
fn streams_of_one_http2_connection_fail_each_for_itself() {
    let upstream = endless();
    let mut proxy = Serving::start(&upstream, "drain_timeout_ms = 300");
    let mut client = Http2::connect(proxy.url.trim_start_matches("http://"), 65_535);
    let request = with(hello(), json!({"stream": true})).to_string();
    let ids = [1, 3, 5, 7];
    for id in ids {
        client.post(id, "/v1/responses", &request);
    }
    for id in ids {
        client.wait_for(id, "\"delta\":\"Hel\"");
    }
    proxy.signal("TERM");
    for id in ids {
        let answer = client.answer(id);
        assert_eq!((answer.status, answer.reset), (200, None));
        let events = events::parse(&answer.body);
        grammar::check(&events);
        assert_eq!(failure(&events)["code"], CODE);
    }
    assert_eq!(client.goodbye(), Some(0));
    assert_eq!(code(&mut proxy), Some(3));
}

#[test]
fn who_waits_for_a_whole_answer_is_told_to_try_again() {
    // One upstream thinks before its status, the other one within its answer.
    let silent = Reply::stream(&[]).after(60_000);
    for reply in [silent, Reply::chunks(&[text("Hel")]).silent()] {
        let upstream = Upstream::new([reply]);
        let mut proxy = Serving::start(&upstream, "drain_timeout_ms = 300");
        let url = format!("{}/v1/responses", proxy.url);
        let asking = thread::spawn(move || http::post(&url, &hello()));
        upstream.wait_until_asked(1);
        proxy.signal("TERM");
        let reply = asking.join().expect("it is answered");
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(reply.header("retry-after").is_some());
        assert_eq!(reply.json()["error"]["code"], CODE);
        assert_eq!(code(&mut proxy), Some(3));
    }
}

#[test]
fn a_stream_without_an_answer_yet_fails_too() {
    let upstream = Upstream::new([Reply::stream(&[]).after(60_000)]);
    let mut proxy = Serving::start(
        &upstream,
        "drain_timeout_ms = 100\nfirst_status_wait_ms = 50",
    );
    let mut client = Live::start(&proxy.url, &hello());
    client.wait_for("response.in_progress", PATIENCE);
    proxy.signal("TERM");
    let events = events::parse(&client.finish());
    grammar::check(&events);
    assert_eq!(failure(&events)["code"], CODE);
    assert_eq!(code(&mut proxy), Some(3));
}

/// The events of another server are passed on as they come: what ends them is ours.
#[test]
fn a_stream_that_is_passed_on_fails_under_its_own_number() {
    let created = json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_theirs", "status": "in_progress"}});
    let begun = format!(
        "event: response.created\ndata: {created}\n\nevent: response.in_progress\ndata: {{\"type\":\"resp"
    );
    let upstream = Upstream::new([Reply::new(200, "text/event-stream").bytes(begun).silent()]);
    let mut proxy = Serving::with(&format!(
        "[server]\ndrain_timeout_ms = 300\n[upstreams.mock]\nbase_url = \"{}\"\nwire_api = \"responses\"\n",
        upstream.base_url()
    ));
    let mut client = Live::start(&proxy.url, &hello());
    client.wait_for("resp_theirs", PATIENCE);
    proxy.signal("TERM");
    let events = events::parse(&client.finish());
    assert_eq!(kinds(&events), ["response.created", "response.failed"]);
    let failed = &events[1].data;
    assert_eq!(failed["sequence_number"], 1);
    assert_eq!(failed["response"]["id"], "resp_theirs");
    assert_eq!(failed["response"]["error"]["code"], CODE);
    assert_eq!(code(&mut proxy), Some(3));
}

#[test]
fn lanes_of_a_socket_fail_and_then_it_closes() {
    let upstream = endless();
    let mut proxy = Serving::start(&upstream, "drain_timeout_ms = 300");
    let mut socket = Socket::open(&format!("{}/v1/responses", proxy.url), None);
    let request = json!({"type": "response.create", "model": "m", "input": "x"});
    socket.say(&request);
    socket.say(&with(request, json!({"stream_id": "other"})));
    let mut events: Vec<Value> = Vec::new();
    let deltas = |events: &[Value]| {
        let kinds = events.iter().map(|event| &event["type"]);
        kinds
            .filter(|kind| **kind == "response.output_text.delta")
            .count()
    };
    while deltas(&events) < 2 {
        events.push(socket.event());
    }
    proxy.signal("TERM");
    loop {
        match socket.hear() {
            Said::Event(event) => events.push(event),
            Said::Close(code) => break assert_eq!(code, Some(1001)),
            Said::Gone => panic!("it said no goodbye"),
        }
    }
    for lane in [Value::Null, json!("other")] {
        let own = events.iter().filter(|event| event["stream_id"] == lane);
        let own: Vec<SseEvent> = own.cloned().map(named).collect();
        grammar::check(&own);
        assert_eq!(failure(&own)["code"], CODE);
    }
    assert_eq!(code(&mut proxy), Some(3));
}

#[test]
fn who_follows_background_work_hears_of_its_end() {
    let upstream = endless();
    let mut proxy = Serving::start(&upstream, "drain_timeout_ms = 600");
    let request = with(hello(), json!({"background": true}));
    let mut follower = Live::start(&proxy.url, &request);
    follower.wait_for("\"delta\":\"Hel\"", PATIENCE);
    proxy.signal("TERM");
    let events = events::parse(&follower.finish());
    grammar::check(&events);
    assert_eq!(failure(&events)["code"], CODE);
    assert_eq!(code(&mut proxy), Some(3));
}

/// What another replica makes goes on: nobody may be told that it is over.
#[test]
fn who_follows_what_another_replica_makes_can_follow_on() {
    let upstream = endless();
    let store = tempfile::tempdir().expect("a temporary folder");
    let toml = |more: &str| {
        format!(
            "[server]\ndrain_timeout_ms = 300\n[upstreams.mock]\nbase_url = \"{}\"\n[store]\nurl = \"{}\"\n{more}",
            upstream.base_url(),
            store.path().join("store.db").display()
        )
    };
    let maker = Serving::with(&toml(""));
    let request = with(hello(), json!({"background": true}));
    let queued = http::post(&format!("{}/v1/responses", maker.url), &request).json();
    upstream.wait_until_asked(1);
    let mut other = Serving::with(&toml("background_concurrency = 1"));
    let id = queued["id"].as_str().unwrap_or_default();
    let mut follower = Live::get(&other.url, &format!("/v1/responses/{id}?stream=true"));
    follower.wait_for("\"delta\":\"Hel\"", PATIENCE);
    other.signal("TERM");
    let stream = follower.finish();
    assert_eq!(code(&mut other), Some(3));
    let told = String::from_utf8_lossy(&stream);
    assert!(
        told.contains(": the server is about to end; go on with starting_after="),
        "{told}"
    );
    assert!(
        !told.contains("response.failed") && !events::has_done(&stream),
        "{told}"
    );
    let path = format!("{}/v1/responses/{id}", maker.url);
    assert_eq!(http::get(&path).json()["status"], "in_progress");
}

#[test]
fn a_second_signal_does_not_wait() {
    let upstream = endless();
    let mut proxy = Serving::start(&upstream, "drain_timeout_ms = 60000");
    let mut client = Live::start(&proxy.url, &hello());
    client.wait_for("\"delta\":\"Hel\"", PATIENCE);
    proxy.signal("TERM");
    assert_eq!(proxy.wait(Duration::from_millis(300)), None, "it waits");
    let asked = Instant::now();
    proxy.signal("INT");
    let events = events::parse(&client.finish());
    grammar::check(&events);
    assert_eq!(failure(&events)["code"], CODE);
    assert_eq!(code(&mut proxy), Some(3));
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
}

#[test]
fn a_client_that_takes_nothing_does_not_hold_up_the_end() {
    let big = text(&"x".repeat(1_000_000));
    let chunks: Vec<Value> = vec![big; 24];
    let upstream = Upstream::new([Reply::chunks(&chunks).silent()]);
    let mut proxy = Serving::start(&upstream, "drain_timeout_ms = 200");
    // It reads nothing at all.
    let client = Live::start(&proxy.url, &hello());
    upstream.wait_until_asked(1);
    proxy.signal("TERM");
    let asked = Instant::now();
    assert_eq!(code(&mut proxy), Some(3));
    assert!(
        asked.elapsed() >= Duration::from_secs(5),
        "it had its chance"
    );
    drop(client);
}

#[test]
fn load_balancers_have_a_moment_to_leave() {
    let upstream = Upstream::saying("Hi");
    let mut proxy = Serving::start(&upstream, "shutdown_delay_ms = 2500");
    let ready = format!("{}/readyz", proxy.url);
    assert_eq!(http::get(&ready).status, 200);
    proxy.signal("TERM");
    let asked = Instant::now();
    while http::get(&ready).status != 503 {
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "it is still ready"
        );
    }
    assert_eq!(http::get(&format!("{}/healthz", proxy.url)).status, 200);
    let reply = http::post(&format!("{}/v1/responses", proxy.url), &hello());
    // On a slow machine the moment may be over.
    let in_time = asked.elapsed() < Duration::from_millis(2400);
    assert!(reply.status == 200 || !in_time, "{}", reply.text());
    assert_eq!(code(&mut proxy), Some(0));
    assert!(asked.elapsed() >= Duration::from_millis(2500));
    assert!(!proxy.takes_connections());
}
