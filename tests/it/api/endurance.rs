//! Long chains, replicas that are killed, and databases that stand still.

use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stored::{Client, id, kinds_of, reply, said};
use super::{Live, config, with};
use crate::grammar;
use crate::support::events;
use crate::support::postgres::{self, Server};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, finish, text, usage};

fn proxy(upstream: &Upstream, store: &str) -> Proxy {
    let own = config(&upstream.base_url(), "", "request_max_retries = 0");
    Proxy::builder()
        .config(&format!("{own}[store]\n{store}\n"))
        .start()
}

/// The words of the last message.
fn last_words(request: &Value) -> String {
    let last = request["messages"].as_array().and_then(|all| all.last());
    let words = last.and_then(|message| message["content"].as_str());
    words.unwrap_or_default().to_owned()
}

/// How often each was asked.
fn counts(upstream: &Upstream) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for request in upstream.asked() {
        *counts.entry(last_words(&request)).or_default() += 1;
    }
    counts
}

/// Prints a figure past the test harness.
fn tell(figure: std::fmt::Arguments<'_>) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{figure}");
}

#[test]
fn replicas_are_killed_and_nothing_is_lost_or_done_twice() {
    const ALL: usize = 100;
    const LEASE: Duration = Duration::from_millis(2000);
    let Some(database) = postgres::url() else {
        return;
    };
    let upstream = Upstream::by(|request| {
        let words = last_words(request);
        let first = Reply::chunks(&[text("half ")]).rest(400);
        let last = [text(&words), finish("stop"), usage(9, 4)];
        last.iter()
            .fold(first, Reply::chunk)
            .bytes("data: [DONE]\n\n")
    });
    let store = format!("url = \"{database}\"\nlease_ms = {}\n", LEASE.as_millis());
    let start = || proxy(&upstream, &store);
    let (one, two) = (start(), start());
    let made: Vec<String> = (0..ALL)
        .map(|n| {
            let client = Client::new(if n % 2 == 0 { &one } else { &two });
            id(&client.create(json!({"input": format!("no. {n}"), "background": true})))
        })
        .collect();
    upstream.wait_until_asked(40);
    // As `kill -9` does it, in the middle of many.
    drop(one);
    let killed = Instant::now();
    let three = start();
    upstream.wait_until_asked(75);
    drop(two);
    let four = start();
    let killed_again = Instant::now();

    let clients = [Client::new(&three), Client::new(&four)];
    let mut ended = Vec::new();
    for (n, id) in made.iter().enumerate() {
        ended.push(clients[n % 2].wait(id));
    }
    let took = killed_again.elapsed();
    let counts = counts(&upstream);
    let mut failed = 0;
    for (n, response) in ended.iter().enumerate() {
        let asked = counts.get(&format!("no. {n}")).copied().unwrap_or_default();
        match response["status"].as_str() {
            Some("completed") => {
                assert_eq!(said(response), format!("half no. {n}"));
                assert_eq!(asked, 1, "{n} was done twice");
            }
            Some("failed") => {
                failed += 1;
                assert!(asked <= 1, "{n} was done twice");
                assert_eq!(response["error"]["code"], "worker_lost");
            }
            other => panic!("{n} is {other:?}"),
        }
        let path = format!("/responses/{}?stream=true", made[n]);
        let told = clients[0].call("GET", &path, &Value::Null);
        grammar::check(&events::parse(&told.body));
    }
    tell(format_args!(
        "killed twice among {ALL}: {} completed, {failed} failed, {} asked; all ended {took:?} after the second kill, {:?} after the first",
        ALL - failed,
        upstream.asked().len(),
        killed.elapsed(),
    ));
    assert!(failed > 0, "somebody was killed at work");
    assert!(failed <= 32, "only those under way fail: {failed}");
    // Those of the dead are known to be lost once their lease has passed.
    assert!(took < LEASE * 2 + Duration::from_secs(10), "{took:?}");
}

#[test]
fn replicas_work_for_each_other() {
    let Some(database) = postgres::url() else {
        return;
    };
    let upstream = ticking(20);
    let store = format!("url = \"{database}\"\nbackground_concurrency = 1\n");
    let (one, two) = (proxy(&upstream, &store), proxy(&upstream, &store));
    let clients = [Client::new(&one), Client::new(&two)];
    // More than one replica makes, asked of one: both make them.
    let made: Vec<String> = (0..2)
        .map(|_| id(&clients[0].create(json!({"input": "x", "background": true}))))
        .collect();
    upstream.wait_until_asked(2);
    std::thread::sleep(Duration::from_millis(300));
    // Each is followed as it grows, wherever it is made.
    let mut ends = Vec::new();
    std::thread::scope(|scope| {
        let followers: Vec<_> = clients
            .iter()
            .map(|client| {
                let path = format!("/responses/{}?stream=true", made[0]);
                scope.spawn(move || (client.call("GET", &path, &Value::Null), Instant::now()))
            })
            .collect();
        // And is called off, wherever it is made.
        let path = format!("/responses/{}/cancel", made[1]);
        for client in clients {
            assert_eq!(
                client.ok("POST", &path, &Value::Null)["status"],
                "cancelled"
            );
        }
        upstream.wait_until_left(1);
        for follower in followers {
            let (reply, at) = follower.join().expect("the stream ends");
            let events = events::parse(&reply.body);
            grammar::check(&events);
            assert_eq!(said(super::last(&events)).split_whitespace().count(), 20);
            ends.push(at);
        }
    });
    assert!(ends[0].max(ends[1]) - ends[0].min(ends[1]) < Duration::from_millis(900));
    // A conversation goes on at either.
    let first = clients[0].create(json!({"input": "one"}));
    let second = clients[1].create(json!({"input": "two", "previous_response_id": id(&first)}));
    assert_eq!(
        clients[0].get(&format!("/responses/{}", id(&second))),
        second
    );
}

#[test]
fn the_five_hundredth_turn_begins_as_soon_as_the_fifth() {
    let upstream = Upstream::by(|request| {
        let words = "The answer is as long as answers are in such a test. ".repeat(3);
        reply(request, &words)
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chain.db");
    let proxy = proxy(&upstream, &format!("url = \"{}\"", path.display()));
    let client = Client::new(&proxy);
    let ask = |previous: &Value| {
        let input = "A question, not too short and not too long either, as people ask them.";
        json!({"input": input, "previous_response_id": previous})
    };
    let mut turns: Vec<Value> = vec![Value::Null];
    for _ in 0..499 {
        let made = client.create(ask(turns.last().expect("one")));
        turns.push(made["id"].clone());
    }
    // Until the upstream hears of it: from there on the time is the upstream's.
    let own_time = |turn: usize| {
        let mut times: Vec<Duration> = (0..15)
            .map(|_| {
                let begin = Instant::now();
                client.create(ask(&turns[turn - 1]));
                let asked = upstream.received().pop().expect("it was asked");
                let messages = asked.body["messages"].as_array().map(Vec::len);
                assert_eq!(messages, Some(2 * turn - 1));
                asked.at - begin
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    own_time(5);
    let (early, late) = (own_time(5), own_time(500));
    tell(format_args!(
        "before the upstream is asked: turn 5 {early:?}, turn 500 {late:?}"
    ));
    // The slack is for builds without optimisation and for busy machines.
    assert!(
        late < early * 2 + Duration::from_millis(80),
        "{early:?} {late:?}"
    );
}

/// An upstream that says a word every tenth of a second.
fn ticking(words: usize) -> Upstream {
    Upstream::by(move |request| {
        if request["stream"] != true {
            return reply(request, "fine");
        }
        let begin = Reply::chunks(&[]);
        let ticks = (0..words).fold(begin, |reply, n| {
            reply.chunk(&text(&format!("w{n} "))).rest(100)
        });
        [finish("stop"), usage(9, 4)]
            .iter()
            .fold(ticks, Reply::chunk)
            .bytes("data: [DONE]\n\n")
    })
}

#[test]
fn a_database_that_stands_still_delays_no_word() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let upstream = ticking(12);
    let store = format!("url = \"{}\"\ntimeout_ms = 1000", server.database());
    let proxy = proxy(&upstream, &store);
    let client = Client::without_key(&proxy);
    let before = client.create(json!({"input": "before"}));
    let path = format!("/responses/{}", id(&before));

    let mut live = Live::start(&proxy.url(""), &json!({"model": "m", "input": "x"}));
    live.wait_for("w0 ", Duration::from_secs(10));
    server.freeze();
    let mut latest = Instant::now();
    for n in 1..12 {
        live.wait_for(&format!("w{n} "), Duration::from_secs(10));
        let gap = latest.elapsed();
        assert!(gap < Duration::from_millis(700), "w{n} came after {gap:?}");
        latest = Instant::now();
    }
    let events = events::parse(&live.finish());
    grammar::check(&events);
    let wait = latest.elapsed();
    assert!(wait < Duration::from_secs(3), "the end came after {wait:?}");
    assert_eq!(super::last(&events)["status"], "completed");

    // What needs the database is refused, soon and in words; what does not is answered.
    let refused = |method: &str, path: &str, body: &Value| {
        let begin = Instant::now();
        let reply = client.call(method, path, body);
        let error = super::refusal(&reply, 503);
        assert_eq!(error["code"], "store_unavailable");
        assert!(reply.header("retry-after").is_some());
        assert!(
            begin.elapsed() < Duration::from_secs(4),
            "{:?}",
            begin.elapsed()
        );
    };
    refused("GET", &path, &Value::Null);
    refused("GET", "/conversations/conv_1", &Value::Null);
    refused("POST", "/conversations", &json!({}));
    let next = json!({"model": "m", "input": "x"});
    refused(
        "POST",
        "/responses",
        &with(next.clone(), json!({"previous_response_id": id(&before)})),
    );
    refused(
        "POST",
        "/responses",
        &with(next, json!({"background": true})),
    );
    client.create(json!({"input": "in between"}));
    client.create(json!({"input": "in between", "store": false}));
    assert_eq!(
        client
            .stream(json!({"input": "in between"}))
            .last()
            .map(|event| event.kind().to_owned()),
        Some("response.completed".into())
    );

    server.thaw();
    let until = Instant::now() + Duration::from_secs(20);
    while client.call("GET", &path, &Value::Null).status != 200 {
        assert!(Instant::now() < until, "it never healed");
        std::thread::sleep(Duration::from_millis(50));
    }
    let after = client.create(json!({"input": "after", "previous_response_id": id(&before)}));
    assert_eq!(client.get(&format!("/responses/{}", id(&after))), after);
}

#[test]
fn background_work_outlives_an_outage_of_its_database() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let upstream = ticking(15);
    let store = format!(
        "url = \"{}\"\ntimeout_ms = 500\nlease_ms = 30000",
        server.database()
    );
    let proxy = proxy(&upstream, &store);
    let client = Client::new(&proxy);
    let queued = client.create(json!({"input": "x", "background": true}));
    upstream.wait_until_asked(1);
    std::thread::sleep(Duration::from_millis(300));
    server.stop();
    std::thread::sleep(Duration::from_millis(1800));
    server.restart();
    let path = format!("/responses/{}", id(&queued));
    let until = Instant::now() + Duration::from_secs(20);
    let done = loop {
        let reply = client.call("GET", &path, &Value::Null);
        if reply.status == 200 && reply.json()["completed_at"].is_u64() {
            break reply.json();
        }
        assert!(Instant::now() < until, "it never ended: {}", reply.text());
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(kinds_of(&done["output"]), ["message"]);
    assert_eq!(said(&done).split_whitespace().count(), 15);
    let told = client.call("GET", &format!("{path}?stream=true"), &Value::Null);
    grammar::check(&events::parse(&told.body));
    assert_eq!(upstream.asked().len(), 1);
}
