//! The end of the program: what runs may finish, nothing new is taken, and the exit code tells.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::{Live, config, failure, hello, last, with};
use crate::grammar;
use crate::support::events;
use crate::support::events::SseEvent;
use crate::support::http;
use crate::support::process;
use crate::support::socket::{Said, Socket, named};
use crate::support::upstream::{Reply, Upstream, finish, text, usage};

/// A proxy that can be asked to end.
pub(super) struct Serving {
    child: Child,
    pub(super) url: String,
    home: Arc<TempDir>,
}

impl Serving {
    pub(super) fn start(upstream: &Upstream, server: &str) -> Self {
        Self::with(&config(&upstream.base_url(), server, ""))
    }

    /// With this configuration.
    pub(super) fn with(toml: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(Arc::new(home), toml)
    }

    /// Another one in the same home.
    pub(super) fn again(&self, upstream: &Upstream) -> Self {
        let toml = config(&upstream.base_url(), "", "");
        Self::start_in(Arc::clone(&self.home), &toml)
    }

    fn start_in(home: Arc<TempDir>, toml: &str) -> Self {
        let file = home.path().join("proxy.toml");
        std::fs::write(&file, toml).expect("it is written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_antiphon"))
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(file)
            .env("HOME", home.path())
            .env("XDG_STATE_HOME", home.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("its log"));
        let mut heard = String::new();
        let url = loop {
            assert_ne!(
                log.read_line(&mut heard).expect("a line"),
                0,
                "it ended:\n{heard}"
            );
            if let Some((_, rest)) = heard.split_once("listening on http://") {
                let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
                break format!("http://{}", &rest[..end.unwrap_or(rest.len())]);
            }
        };
        thread::spawn(move || log.read_to_string(&mut heard));
        Self { child, url, home }
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "the signal is sent"
        );
    }

    pub(super) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        process::wait(&mut self.child, limit)
    }

    pub(super) fn takes_connections(&self) -> bool {
        TcpStream::connect(self.url.trim_start_matches("http://")).is_ok()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        process::end(&mut self.child);
    }
}

#[test]
fn a_running_stream_ends_whole_before_the_program_does() {
    for signal in ["TERM", "INT"] {
        let slow = Reply::chunks(&[text("Hel")])
            .rest(1500)
            .chunk(&text("lo"))
            .chunk(&finish("stop"))
            .chunk(&usage(9, 4));
        let upstream = Upstream::new([slow.bytes("data: [DONE]\n\n")]);
        let mut proxy = Serving::start(&upstream, "");
        let mut client = Live::start(&proxy.url, &hello());
        client.wait_for("\"delta\":\"Hel\"", Duration::from_secs(10));
        proxy.signal(signal);
        let refused = Instant::now();
        while proxy.takes_connections() {
            assert!(
                refused.elapsed() < Duration::from_secs(1),
                "it still takes connections"
            );
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(
            proxy.wait(Duration::ZERO),
            None,
            "it ended in the middle of a stream"
        );

        let stream = client.finish();
        let events = events::parse(&stream);
        grammar::check(&events);
        assert_eq!(last(&events)["output"][0]["content"][0]["text"], "Hello");
        assert!(events::has_done(&stream));
        let status = proxy
            .wait(Duration::from_secs(5))
            .expect("it ends after the stream");
        assert_eq!(status.code(), Some(0), "{signal}");
    }
}

#[test]
fn an_idle_program_ends_at_once() {
    let upstream = Upstream::saying("Hi");
    let mut proxy = Serving::start(&upstream, "");
    // A client that holds its connection open and asks nothing is no reason to stay.
    let _idle =
        TcpStream::connect(proxy.url.trim_start_matches("http://")).expect("the proxy listens");
    assert_eq!(http::get(&format!("{}/healthz", proxy.url)).status, 200);
    proxy.signal("TERM");
    let status = proxy.wait(Duration::from_secs(3)).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn it_can_be_asked_to_end_as_soon_as_it_says_that_it_listens() {
    let upstream = Upstream::saying("Hi");
    for _ in 0..5 {
        let mut proxy = Serving::start(&upstream, "");
        proxy.signal("TERM");
        let status = proxy.wait(Duration::from_secs(3)).expect("it ends");
        assert_eq!(status.code(), Some(0), "the signal was not waited for yet");
    }
}

#[test]
fn a_stream_that_takes_too_long_is_not_waited_for() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).silent()]);
    let mut proxy = Serving::start(&upstream, "drain_timeout_ms = 400");
    let mut client = Live::start(&proxy.url, &hello());
    client.wait_for("\"delta\":\"Hel\"", Duration::from_secs(10));
    proxy.signal("TERM");
    let asked = Instant::now();
    let status = proxy
        .wait(Duration::from_secs(5))
        .expect("it ends all the same");
    assert!(
        asked.elapsed() >= Duration::from_millis(400),
        "it did not wait"
    );
    assert_eq!(status.code(), Some(3), "not everything ended well");
    let stream = client.finish();
    let events = events::parse(&stream);
    grammar::check(&events);
    assert_eq!(failure(&events)["code"], "server_shutting_down");
    assert!(events::has_done(&stream));
    upstream.wait_until_left(1);
}

#[test]
fn a_response_over_a_socket_ends_whole_before_the_program_does() {
    let slow = Reply::chunks(&[text("Hel")])
        .rest(1200)
        .chunk(&text("lo"))
        .chunk(&finish("stop"))
        .chunk(&usage(9, 4));
    let upstream = Upstream::new([slow.bytes("data: [DONE]\n\n")]);
    let mut proxy = Serving::start(&upstream, "");
    let url = format!("{}/v1/responses", proxy.url);
    let (mut socket, mut idle) = (Socket::open(&url, None), Socket::open(&url, None));
    let request = json!({"type": "response.create", "model": "m", "input": "x"});
    socket.say(&request);
    let mut events = Vec::new();
    while events.last().map(SseEvent::kind) != Some("response.output_text.delta") {
        events.push(named(socket.event()));
    }
    proxy.signal("TERM");
    // Who asks nothing is told goodbye at once; who asks for more is refused.
    assert_eq!(idle.hear(), Said::Close(Some(1001)));
    socket.say(&with(request, json!({"stream_id": "late"})));
    let mut refused = None;
    while events.last().map(SseEvent::kind) != Some("response.completed") {
        let event = socket.event();
        match event["type"].as_str() {
            Some("error") => refused = Some(event),
            _ => events.push(named(event)),
        }
    }
    grammar::check(&events);
    assert_eq!(last(&events)["output"][0]["content"][0]["text"], "Hello");
    let refused = refused.expect("nothing new is taken");
    assert_eq!(refused["error"]["code"], "server_shutting_down");
    assert_eq!(
        (&refused["status"], &refused["stream_id"]),
        (&json!(503), &json!("late"))
    );
    assert_eq!(socket.hear(), Said::Close(Some(1001)));
    let status = proxy.wait(Duration::from_secs(5)).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn background_work_that_takes_too_long_fails_in_words() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).silent()]);
    let mut proxy = Serving::start(&upstream, "drain_timeout_ms = 600");
    let url = format!("{}/v1/responses", proxy.url);
    let request = with(hello(), json!({"background": true}));
    let queued = http::post(&url, &request).json();
    let follower = Live::start(&proxy.url, &request);
    upstream.wait_until_asked(2);
    proxy.signal("TERM");
    let stream = follower.finish();
    assert!(proxy.wait(Duration::from_secs(10)).is_some());
    drop(stream);
    // What became of it is told by the next process on the same store.
    let again = proxy.again(&upstream);
    let path = format!(
        "{}/v1/responses/{}",
        again.url,
        queued["id"].as_str().unwrap_or_default()
    );
    let failed = http::get(&path).json();
    assert_eq!(failed["status"], "failed", "{failed}");
    assert_eq!(failed["error"]["code"], "server_shutting_down");
}
