//! What a key may have: requests and tokens a minute, responses under way, time, length.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::keys::{key, with_keys};
use super::stored::{Client, counting, id, reply};
use super::{Live, failure, last, read_stream, refusal, with};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::socket::{Said, Socket};
use crate::support::upstream::{Reply, Upstream, completion, finish, text, usage};

fn serving(upstream: &Upstream, own: &str, keys: &[(&str, &str)]) -> Proxy {
    let keys: Vec<String> = keys
        .iter()
        .map(|(secret, limits)| key(&secret[3..], secret, limits))
        .collect();
    Proxy::builder()
        .config(&with_keys(upstream, own, &keys))
        .start()
}

fn ask(client: &Client<'_>, more: Value) -> http::Reply {
    let request = with(
        json!({"model": "m", "input": "Hello", "store": false}),
        more,
    );
    client.call("POST", "/responses", &request)
}

fn number(reply: &http::Reply, name: &str) -> u64 {
    let value = reply.header(name).unwrap_or_default();
    value.parse().expect(name)
}

/// Asks again and again until it is let in.
fn until_admitted(client: &Client<'_>) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = ask(client, json!({}));
        if reply.status == 200 {
            return;
        }
        assert_eq!(reply.status, 429, "{}", reply.text());
        assert!(Instant::now() < until, "the place is never free");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An upstream whose answers to "slow" come in two halves, far apart.
fn halves() -> Upstream {
    Upstream::by(|request| {
        let words = request["messages"][0]["content"]
            .as_str()
            .unwrap_or_default();
        let is_slow = words == "slow";
        if request["stream"] != true {
            let reply = reply(request, "done");
            return if is_slow { reply.after(20_000) } else { reply };
        }
        let first = Reply::chunks(&[text("one ")]);
        let first = if is_slow { first.rest(20_000) } else { first };
        [text("two"), finish("stop"), usage(9, 4)]
            .iter()
            .fold(first, Reply::chunk)
            .bytes("data: [DONE]\n\n")
    })
}

fn slow(stream: bool) -> Value {
    json!({"model": "m", "input": "slow", "store": false, "stream": stream})
}

#[test]
fn requests_of_a_minute_are_counted_for_each_key() {
    let upstream = counting();
    let limit = "requests_per_minute = 3";
    let proxy = serving(
        &upstream,
        "",
        &[("sk-one", limit), ("sk-two", limit), ("sk-free", "")],
    );
    let one = Client::with_key(&proxy, "sk-one");
    for left in [2, 1, 0] {
        let reply = ask(&one, json!({"stream": left == 1}));
        assert_eq!(reply.status, 200);
        assert_eq!(number(&reply, "x-ratelimit-limit-requests"), 3);
        assert_eq!(number(&reply, "x-ratelimit-remaining-requests"), left);
        let reset = reply
            .header("x-ratelimit-reset-requests")
            .unwrap_or_default();
        assert!(reset.ends_with('s') && !reset.is_empty(), "{reset}");
        assert_eq!(reply.header("x-ratelimit-limit-tokens"), None);
    }
    let reply = ask(&one, json!({}));
    let error = refusal(&reply, 429);
    assert_eq!(
        (&error["code"], &error["type"]),
        (&json!("rate_limit_exceeded"), &json!("requests"))
    );
    let words = error["message"].as_str().unwrap_or_default();
    let start = "Rate limit reached for key 'one' on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in ";
    assert!(words.starts_with(start), "{words}");
    let millis = number(&reply, "retry-after-ms");
    assert!((1..=20_000).contains(&millis), "{millis}");
    assert_eq!(number(&reply, "retry-after"), millis.div_ceil(1000));
    assert_eq!(number(&reply, "x-ratelimit-remaining-requests"), 0);
    let again = format!("Please try again in {}", millis / 1000);
    assert!(words.contains(&again), "{words}");

    // What does not ask a model is not counted, and others are others.
    one.get("/models");
    assert_eq!(
        ask(&Client::with_key(&proxy, "sk-two"), json!({})).status,
        200
    );
    let free = ask(&Client::with_key(&proxy, "sk-free"), json!({}));
    assert_eq!(free.header("x-ratelimit-limit-requests"), None);
    assert_eq!(upstream.asked().len(), 5);

    let mut socket = Socket::open(&proxy.url("/v1/responses"), Some("sk-one"));
    let answer = socket.ask(&json!({"type": "response.create", "model": "m", "input": "x"}));
    let event = &answer[0].data;
    assert_eq!(
        (&event["status"], &event["error"]["code"]),
        (&json!(429), &json!("rate_limit_exceeded"))
    );
    assert!(
        event["error"]["headers"]["retry-after"].is_string(),
        "{event}"
    );

    let log = proxy.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("\"message\":\"response\""));
    let (mut of_one, mut of_two) = (0, 0);
    for line in lines {
        let line: Value = serde_json::from_str(line).expect("JSON");
        of_one += i32::from(line["span"]["key"] == "one");
        of_two += i32::from(line["span"]["key"] == "two");
    }
    assert_eq!((of_one, of_two), (3, 1), "{log}");
    assert_eq!(log.matches("a limit refuses requests").count(), 1, "{log}");
    assert!(
        log.contains("\"limit\":\"requests_per_minute\",\"key\":\"one\",\"tenant\":\"one\""),
        "{log}"
    );
}

#[test]
fn counters_go_on_when_the_configuration_changes() {
    let upstream = counting();
    let toml = |limit: u64| {
        with_keys(
            &upstream,
            "",
            &[key("a", "sk-a", &format!("requests_per_minute = {limit}"))],
        )
    };
    let proxy = Proxy::builder().config(&toml(2)).start();
    let client = Client::with_key(&proxy, "sk-a");
    assert_eq!(ask(&client, json!({})).status, 200);
    assert_eq!(ask(&client, json!({})).status, 200);
    proxy.rewrite(&(toml(2) + "[models.x]\n"));
    proxy.wait_for_log("the configuration was reloaded", 1);
    assert_eq!(ask(&client, json!({})).status, 429);
    // A higher limit fills faster; what was taken stays taken.
    proxy.rewrite(&toml(600));
    proxy.wait_for_log("the configuration was reloaded", 2);
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = ask(&client, json!({}));
        if reply.status == 200 {
            let left = number(&reply, "x-ratelimit-remaining-requests");
            assert!(
                left < 300,
                "{left} of 600 after {:?}",
                until - Instant::now()
            );
            break;
        }
        assert!(Instant::now() < until, "{}", reply.text());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_response_is_under_way_until_its_last_byte() {
    let upstream = halves();
    let proxy = serving(
        &upstream,
        "",
        &[("sk-one", "max_streams = 1"), ("sk-two", "")],
    );
    let (one, two) = (
        Client::with_key(&proxy, "sk-one"),
        Client::with_key(&proxy, "sk-two"),
    );
    for stream in [true, false] {
        let asked = upstream.asked().len();
        let mut running = Live::send_with_key(&proxy.url(""), "sk-one", &slow(stream));
        upstream.wait_until_asked(asked + 1);
        if stream {
            running.wait_for("one ", Duration::from_secs(10));
        }
        let reply = ask(&one, json!({}));
        let error = refusal(&reply, 429);
        assert_eq!(error["code"], "rate_limit_exceeded");
        assert_eq!(
            error["message"],
            "Rate limit reached for key 'one' on responses under way: Limit 1. Please try again in 2s."
        );
        assert_eq!(number(&reply, "retry-after"), 2);
        assert_eq!(ask(&two, json!({})).status, 200);
        // Who leaves makes room.
        drop(running);
        until_admitted(&one);
    }
    upstream.wait_until_left(2);

    let mut socket = Socket::open(&proxy.url("/v1/responses"), Some("sk-one"));
    socket.say(&with(slow(true), json!({"type": "response.create"})));
    while !matches!(socket.hear(), Said::Event(event) if event["type"] == "response.output_text.delta")
    {
    }
    assert_eq!(ask(&one, json!({})).status, 429);
    socket.hang_up();
    until_admitted(&one);
}

#[test]
fn streams_that_pass_and_streams_that_follow_have_a_place_too() {
    let upstream = Upstream::by(|request| {
        let created = json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_up", "status": "in_progress"}});
        let done = json!({"type": "response.completed", "sequence_number": 1, "response": {"id": "resp_up", "status": "completed", "usage": {"input_tokens": 100, "output_tokens": 50}}});
        let event = |reply: Reply, event: &Value| {
            reply.bytes(format!(
                "event: {}\ndata: {event}\n\n",
                event["type"].as_str().unwrap_or_default()
            ))
        };
        let first = event(Reply::new(200, "text/event-stream"), &created);
        let first = if request["input"] == "slow" {
            first.rest(20_000)
        } else {
            first
        };
        event(first, &done)
    });
    let limits = "max_streams = 1\ntokens_per_minute = 1000";
    let proxy = serving(&upstream, "wire_api = \"responses\"", &[("sk-one", limits)]);
    let one = Client::with_key(&proxy, "sk-one");
    let mut running = Live::send_with_key(&proxy.url(""), "sk-one", &slow(true));
    running.wait_for("response.created", Duration::from_secs(10));
    assert_eq!(ask(&one, json!({"stream": true})).status, 429);
    drop(running);
    let until = Instant::now() + Duration::from_secs(20);
    while ask(&one, json!({"stream": true})).status != 200 {
        assert!(Instant::now() < until, "the place is never free");
        std::thread::sleep(Duration::from_millis(20));
    }
    // What the upstream told, and what the one was taken for that was left.
    let left = number(
        &ask(&one, json!({"stream": true})),
        "x-ratelimit-remaining-tokens",
    );
    assert!((700..960).contains(&left), "{left}");

    let upstream = halves();
    let proxy = serving(&upstream, "", &[("sk-one", "max_streams = 1")]);
    let one = Client::with_key(&proxy, "sk-one");
    let request = json!({"input": "slow", "background": true});
    let response = id(&one.create(request));
    upstream.wait_until_asked(1);
    // What is made in the background has no place of its own; who follows it has.
    until_admitted(&one);
    let path = format!("/v1/responses/{response}?stream=true");
    let mut follower = Live::get_with_key(&proxy.url(""), &path, "sk-one");
    follower.wait_for("response.created", Duration::from_secs(10));
    assert_eq!(ask(&one, json!({})).status, 429);
    assert_eq!(one.call("GET", &path[3..], &Value::Null).status, 429);
    drop(follower);
    until_admitted(&one);
}

#[test]
fn tokens_are_reserved_and_then_settled() {
    let upstream = Upstream::by(|request| {
        let many = request["messages"][0]["content"] == "many";
        let counts = if many { (1_000, 2_000) } else { (100, 150) };
        if request["stream"] == true {
            return Reply::stream(&[text("x"), finish("stop"), usage(counts.0, counts.1)]);
        }
        let mut answer = completion(json!({"role": "assistant", "content": "x"}), "stop");
        answer["usage"] = json!({"prompt_tokens": counts.0, "completion_tokens": counts.1});
        Reply::json(200, &answer)
    });
    let proxy = serving(&upstream, "", &[("sk-one", "tokens_per_minute = 1000")]);
    let one = Client::with_key(&proxy, "sk-one");
    let first = ask(&one, json!({}));
    assert_eq!(number(&first, "x-ratelimit-limit-tokens"), 1_000);
    let reserved = 1_000 - number(&first, "x-ratelimit-remaining-tokens");
    assert!(
        (5..60).contains(&reserved),
        "its input was taken in advance: {reserved}"
    );
    // That many were spent; the bucket fills by one in 60 ms.
    let second = ask(&one, json!({"stream": true}));
    let left = number(&second, "x-ratelimit-remaining-tokens");
    assert!((700..950).contains(&left), "{left}");

    // A request that is longer than what is left is not asked.
    let long = ask(&one, json!({"input": "word ".repeat(1_200)}));
    let error = refusal(&long, 429);
    assert_eq!(
        (&error["code"], &error["type"]),
        (&json!("rate_limit_exceeded"), &json!("tokens"))
    );
    let words = error["message"].as_str().unwrap_or_default();
    assert!(
        words.contains("on tokens per min (TPM): Limit 1000, Used ")
            && words.contains("Please try again in "),
        "{words}"
    );
    assert_eq!(upstream.asked().len(), 2);

    // What an answer took more than there was is a debt.
    assert_eq!(ask(&one, json!({"input": "many"})).status, 200);
    let until = Instant::now() + Duration::from_secs(10);
    let refused = loop {
        let reply = ask(&one, json!({}));
        if reply.status == 429 {
            break reply;
        }
        assert!(Instant::now() < until, "the answer is not settled");
    };
    let millis = number(&refused, "retry-after-ms");
    assert!((110_000..180_000).contains(&millis), "{millis}");
    assert_eq!(number(&refused, "x-ratelimit-remaining-tokens"), 0);
    assert!(
        refused
            .header("x-ratelimit-reset-tokens")
            .is_some_and(|reset| reset.starts_with("2m") || reset.starts_with("3m"))
    );
}

/// Tokens that are left, seen by a request that the upstream refuses, which costs none.
fn left(client: &Client<'_>) -> u64 {
    let reply = ask(client, json!({"input": "refuse"}));
    assert!(matches!(reply.status, 400 | 429), "{}", reply.text());
    number(&reply, "x-ratelimit-remaining-tokens")
}

/// Waits until so few tokens are left.
fn until_left(client: &Client<'_>, most: u64) {
    let until = Instant::now() + Duration::from_secs(10);
    while left(client) > most {
        assert!(Instant::now() < until, "{} are left", left(client));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_fails_costs_nothing_and_who_leaves_pays_for_what_was_made() {
    let upstream = Upstream::by(|request| match request["messages"][0]["content"].as_str() {
        Some("leave") => Reply::chunks(&[text(&"word ".repeat(800))]).silent(),
        Some(long) if long.starts_with("wait") => Reply::stream(&[text("Hi")]).after(20_000),
        _ => Reply::error(400, "no"),
    });
    let proxy = serving(&upstream, "", &[("sk-one", "tokens_per_minute = 2000")]);
    let one = Client::with_key(&proxy, "sk-one");
    for _ in 0..3 {
        let long = ask(&one, json!({"input": "word ".repeat(900)}));
        assert_eq!(long.status, 400);
        assert!(number(&long, "x-ratelimit-remaining-tokens") < 1_000);
    }
    assert!(left(&one) > 1_900);
    let request = json!({"model": "m", "input": "leave", "store": false, "stream": true});
    let mut leaver = Live::send_with_key(&proxy.url(""), "sk-one", &request);
    leaver.wait_for("word word", Duration::from_secs(10));
    drop(leaver);
    upstream.wait_until_left(1);
    until_left(&one, 1_300);
    // One that was asked works for it, whether it has answered yet or not.
    for stream in [false, true] {
        let before = left(&one);
        let long = format!("wait{}", " word".repeat(300));
        let request = json!({"model": "m", "input": long, "store": false, "stream": stream});
        let asked = upstream.asked().len();
        let leaver = Live::send_with_key(&proxy.url(""), "sk-one", &request);
        upstream.wait_until_asked(asked + 1);
        drop(leaver);
        until_left(&one, before - 200);
    }
}

#[test]
fn background_work_is_counted_for_its_tenant() {
    let upstream = Upstream::by(|request| {
        if request["messages"][0]["content"] == "refuse" {
            return Reply::error(400, "no");
        }
        Reply::stream(&[text("x"), finish("stop"), usage(500, 600)])
    });
    let limits = "tokens_per_minute = 1000\ntenant = \"us\"";
    let proxy = serving(&upstream, "", &[("sk-one", limits)]);
    let one = Client::with_key(&proxy, "sk-one");
    let response = id(&one.create(json!({"input": "x", "background": true})));
    assert_eq!(one.wait(&response)["status"], "completed");
    until_left(&one, 200);
}

#[test]
fn a_response_that_takes_too_long_is_ended() {
    let upstream = Upstream::by(|request| {
        let words = request["messages"][0]["content"]
            .as_str()
            .unwrap_or_default();
        match (words, request["stream"] == true) {
            // It never pauses, and never comes to an end.
            ("chatter", _) => (0..400).fold(Reply::chunks(&[]), |reply, _| {
                reply.chunk(&text("x ")).rest(20)
            }),
            ("mute", _) => Reply::json(200, &json!({})).after(20_000),
            (_, true) => Reply::chunks(&[text("one")]).silent(),
            (_, false) => Reply::new(200, "application/json").silent(),
        }
    });
    let proxy = serving(&upstream, "", &[("sk-one", "max_stream_seconds = 1")]);
    let one = Client::with_key(&proxy, "sk-one");
    let words = "The response was not over after 1 s, which is the longest that it may take here.";
    for input in ["stop", "chatter", "mute"] {
        let began = Instant::now();
        let events = read_stream(&ask(&one, json!({"input": input, "stream": true})));
        let error = failure(&events);
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!("invalid_prompt"), &json!(words)),
            "{input}"
        );
        assert!(began.elapsed() < Duration::from_secs(8), "{input}");
        let blocking = ask(&one, json!({"input": input}));
        let error = refusal(&blocking, 400);
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!("invalid_prompt"), &json!(words)),
            "{input}"
        );
    }
    let response = id(&one.create(json!({"input": "stop", "background": true})));
    let ended = one.wait(&response);
    assert_eq!(
        (&ended["status"], &ended["error"]["code"]),
        (&json!("failed"), &json!("invalid_prompt"))
    );
    upstream.wait_until_left(5);
}

#[test]
fn what_is_passed_on_is_ended_too() {
    let created = json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_up", "status": "in_progress"}});
    let stream = Reply::new(200, "text/event-stream")
        .bytes(format!("event: response.created\ndata: {created}\n\n"))
        .silent();
    let upstream = Upstream::new([stream]);
    let proxy = serving(
        &upstream,
        "wire_api = \"responses\"",
        &[("sk-one", "max_stream_seconds = 1")],
    );
    let reply = ask(&Client::with_key(&proxy, "sk-one"), json!({"stream": true}));
    let text = reply.text();
    assert!(
        text.contains("event: response.failed") && text.contains("\"code\":\"invalid_prompt\""),
        "{text}"
    );
    assert!(text.contains("\"id\":\"resp_up\""), "{text}");
}

#[test]
fn a_keys_requests_may_be_shorter_than_the_servers() {
    let upstream = counting();
    let proxy = serving(
        &upstream,
        "",
        &[("sk-one", "max_body_bytes = 1000"), ("sk-two", "")],
    );
    let long = json!({"input": "x".repeat(2_000)});
    let one = Client::with_key(&proxy, "sk-one");
    assert_eq!(
        refusal(&ask(&one, long.clone()), 413)["code"],
        "request_too_large"
    );
    assert_eq!(
        one.call(
            "POST",
            "/conversations",
            &json!({"metadata": {"a": "x".repeat(2_000)}})
        )
        .status,
        413
    );
    assert_eq!(ask(&one, json!({})).status, 200);
    assert_eq!(ask(&Client::with_key(&proxy, "sk-two"), long).status, 200);
}

#[test]
fn all_clients_together_have_limits_too() {
    let upstream = counting();
    let limits = "[limits]\nrequests_per_minute = 3\ntokens_per_minute = 100000\n";
    let proxy = serving(
        &upstream,
        limits,
        &[("sk-one", "requests_per_minute = 100"), ("sk-two", "")],
    );
    let (one, two) = (
        Client::with_key(&proxy, "sk-one"),
        Client::with_key(&proxy, "sk-two"),
    );
    let reply = ask(&one, json!({}));
    // Of two limits the one that is nearer is told.
    assert_eq!(number(&reply, "x-ratelimit-limit-requests"), 3);
    assert_eq!(number(&reply, "x-ratelimit-remaining-requests"), 2);
    assert_eq!(number(&reply, "x-ratelimit-limit-tokens"), 100_000);
    ask(&two, json!({}));
    ask(&two, json!({}));
    let error = refusal(&ask(&one, json!({})), 429);
    let words = error["message"].as_str().unwrap_or_default();
    assert!(
        words.contains("for all clients together on requests per min"),
        "{words}"
    );
    // The key itself was not charged for it.
    let events = ask(&one, json!({"stream": true}));
    assert_eq!(events.status, 429);

    let proxy = Proxy::builder()
        .config(&with_keys(
            &upstream,
            "[limits]\nrequests_per_minute = 1\n",
            &[],
        ))
        .start();
    let nobody = Client::without_key(&proxy);
    let streamed = read_stream(&ask(&nobody, json!({"stream": true})));
    assert_eq!(last(&streamed)["status"], "completed");
    assert_eq!(ask(&nobody, json!({})).status, 429);
}
