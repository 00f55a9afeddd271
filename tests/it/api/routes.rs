//! Routes with several upstreams: who is asked, who is asked next, and what a request picks.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    JSON, dead_port, failure, hello, last, post, read_stream, refusal, send, streamed, whole, with,
};
use crate::support::events;
use crate::support::http;
use crate::support::proxy::{Proxy, ProxyBuilder};
use crate::support::upstream::{Reply, Upstream, completion, delta, finish, text, usage};

/// Upstreams by name, with a route to all of them for every model.
fn several(upstreams: &[(&str, &str)], own: &str, route: &str) -> ProxyBuilder {
    let names: Vec<String> = upstreams
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    let mut toml = format!("default_upstream = {}\n", names[0]);
    for (name, base_url) in upstreams {
        toml += &format!("[upstreams.{name}]\nbase_url = \"{base_url}\"\n{own}\n");
    }
    let listed = match route.contains("upstreams =") {
        true => String::new(),
        false => format!("upstreams = [{}]\n", names.join(", ")),
    };
    Proxy::builder().config(&format!("{toml}[models.\"*\"]\n{listed}{route}\n"))
}

fn saying(words: &str) -> Reply {
    Reply::stream(&[text(words), finish("stop"), usage(9, 4)])
}

fn words(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"]
        .as_str()
        .unwrap_or_default()
}

/// The log's lines about breakers, one after another.
fn breakers(proxy: &Proxy) -> Vec<Value> {
    let log = proxy.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line.to_string().contains("breaker: "))
        .collect()
}

#[test]
fn the_next_upstream_answers_when_one_fails() {
    let failing = [
        Reply::error(500, "Oops."),
        Reply::error(503, "Busy."),
        Reply::error(401, "Bad key."),
        Reply::error(403, "Not for you."),
        Reply::error(404, "The model `m` does not exist"),
        Reply::error(408, "Slow."),
        Reply::none(),
        Reply::chunks(&[]).cut(),
        Reply::chunks(&[delta(json!({"role": "assistant"}))]).cut(),
        Reply::chunks(&[]).bytes("data: {\"error\":{\"message\":\"Oops.\",\"code\":500}}\n\n"),
        Reply::json(200, &json!({"error": {"message": "Oops.", "code": 503}})),
        Reply::stream(&[text("late")]).after(3_000),
        Reply::chunks(&[]).silent(),
    ];
    for reply in failing {
        for stream in [false, true] {
            let bad = Upstream::new([reply.clone()]);
            let good = Upstream::new([saying("Hi")]);
            let own = "first_byte_timeout_ms = 400\nstream_idle_timeout_ms = 400";
            let urls = [("bad", bad.base_url()), ("good", good.base_url())];
            let urls = urls.each_ref().map(|(name, url)| (*name, url.as_str()));
            let proxy = several(&urls, own, "").start();
            let request = with(hello(), json!({"stream": stream}));
            let reply = post(&proxy, &request);
            let response = match stream {
                true => last(&read_stream(&reply)).clone(),
                false => reply.json(),
            };
            assert_eq!(
                words(&response),
                "Hi",
                "{stream} {response} {}",
                proxy.log()
            );
            assert_eq!(bad.asked().len(), 1);
            assert_eq!(good.asked().len(), 1);
        }
    }
}

#[test]
fn who_is_busy_is_asked_again_before_the_next_one() {
    let busy = Upstream::new([Reply::error(429, "Slow down.")]);
    let good = Upstream::new([saying("Hi")]);
    let (busy_url, good_url) = (busy.base_url(), good.base_url());
    let urls = [("busy", busy_url.as_str()), ("good", good_url.as_str())];
    let proxy = several(&urls, "request_max_retries = 1", "").start();
    assert_eq!(words(&whole(&proxy, &hello())), "Hi");
    assert_eq!(busy.asked().len(), 2);
    // It is left alone for a moment then, and not blamed.
    assert_eq!(words(&whole(&proxy, &hello())), "Hi");
    assert_eq!(busy.asked().len(), 2);
    assert_eq!(breakers(&proxy).len(), 0);
}

#[test]
fn what_is_wrong_with_a_request_is_not_tried_elsewhere_and_takes_nobody_out() {
    for status in [400, 413, 422] {
        let one = Upstream::new([Reply::error(status, "No.")]);
        let two = Upstream::new([saying("Hi")]);
        let (one_url, two_url) = (one.base_url(), two.base_url());
        let urls = [("one", one_url.as_str()), ("two", two_url.as_str())];
        let proxy = several(&urls, "breaker_failures = 1", "").start();
        for _ in 0..3 {
            refusal(&post(&proxy, &hello()), status);
        }
        assert_eq!((one.asked().len(), two.asked().len()), (3, 0));
        assert_eq!(breakers(&proxy).len(), 0);
    }
}

#[test]
fn after_a_delta_nobody_else_is_asked() {
    let bad = Upstream::new([Reply::chunks(&[text("Hel")]).cut()]);
    let good = Upstream::new([saying("Hi")]);
    let (bad_url, good_url) = (bad.base_url(), good.base_url());
    let urls = [("bad", bad_url.as_str()), ("good", good_url.as_str())];
    let proxy = several(&urls, "", "").start();
    failure(&streamed(&proxy, &hello()));
    assert_eq!(good.asked().len(), 0);
}

#[test]
fn when_all_fail_for_a_moment_they_are_asked_once_more() {
    let one = Upstream::new([Reply::error(500, "Oops."), saying("Hi")]);
    let dead = format!("http://{}/v1", dead_port());
    let one_url = one.base_url();
    let urls = [("one", one_url.as_str()), ("dead", dead.as_str())];
    let proxy = several(&urls, "", "").start();
    assert_eq!(words(&whole(&proxy, &hello())), "Hi");
    let proxy = several(
        &[("dead", &dead), ("deader", &dead)],
        "request_max_retries = 1",
        "",
    )
    .start();
    for stream in [false, true] {
        let reply = post(&proxy, &with(hello(), json!({"stream": stream})));
        refusal(&reply, 503);
    }
}

#[test]
fn a_failing_upstream_is_taken_out_and_tried_again_by_a_real_request() {
    let bad = Upstream::new([
        Reply::error(500, "Oops."),
        Reply::error(500, "Oops."),
        Reply::error(500, "Oops."),
        saying("back"),
    ]);
    let good = Upstream::new([saying("good")]);
    let (bad_url, good_url) = (bad.base_url(), good.base_url());
    let urls = [("bad", bad_url.as_str()), ("good", good_url.as_str())];
    let own = "breaker_failures = 2\nbreaker_pause_ms = 300";
    let proxy = several(&urls, own, "").start();
    for _ in 0..6 {
        assert_eq!(words(&whole(&proxy, &hello())), "good");
    }
    assert_eq!(bad.asked().len(), 2, "it was taken out after two failures");
    thread::sleep(Duration::from_millis(450));
    assert_eq!(
        words(&whole(&proxy, &hello())),
        "good",
        "the try fails, the request does not"
    );
    assert_eq!(bad.asked().len(), 3);
    thread::sleep(Duration::from_millis(450));
    assert_eq!(words(&whole(&proxy, &hello())), "good");
    assert_eq!(bad.asked().len(), 3, "the second pause is twice as long");
    thread::sleep(Duration::from_millis(450));
    assert_eq!(words(&whole(&proxy, &hello())), "back");
    assert_eq!(words(&whole(&proxy, &hello())), "back");
    let states: Vec<(String, String)> = breakers(&proxy)
        .iter()
        .map(|line| {
            let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            (field("level"), field("state"))
        })
        .collect();
    let states: Vec<(&str, &str)> = states
        .iter()
        .map(|(level, state)| (level.as_str(), state.as_str()))
        .collect();
    assert_eq!(
        states,
        [
            ("WARN", "open"),
            ("INFO", "probation"),
            ("WARN", "open"),
            ("INFO", "probation"),
            ("INFO", "closed"),
        ],
        "{}",
        proxy.log()
    );
}

#[test]
fn a_request_is_said_anew_to_an_upstream_of_another_dialect_and_model() {
    let bad = Upstream::new([Reply::error(500, "Oops.")]);
    let good = Upstream::new([saying("Hi")]);
    let toml = format!(
        "default_upstream = \"bad\"\n[upstreams.bad]\nbase_url = \"{}\"\nprofile = \"openai\"\n\
         [upstreams.good]\nbase_url = \"{}\"\nprofile = \"deepseek\"\n\
         [models.m]\nupstreams = [\"bad\", {{ upstream = \"good\", model = \"inner\" }}]\nmodel = \"outer\"\n\
         temperature = 0.5\nextra_body = {{ top_k = 7 }}\n",
        bad.base_url(),
        good.base_url()
    );
    let proxy = Proxy::builder().config(&toml).start();
    let request = json!({
        "max_output_tokens": 9,
        "temperature": 1.5,
        "reasoning": {"effort": "low"},
        "tools": [{"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "f", "parameters": {}}]}],
    });
    for stream in [true, false] {
        let request = with(with(hello(), request.clone()), json!({"stream": stream}));
        assert_eq!(post(&proxy, &request).status, 200);
        let (first, second) = (
            bad.asked().pop().expect("asked"),
            good.asked().pop().expect("asked"),
        );
        assert_eq!(
            (&first["model"], &second["model"]),
            (&json!("outer"), &json!("inner"))
        );
        assert_eq!(
            (&first["max_completion_tokens"], &second["max_tokens"]),
            (&json!(9), &json!(9))
        );
        assert_eq!(
            (&first["reasoning_effort"], &second["reasoning_effort"]),
            (&json!("low"), &json!("high"))
        );
        for body in [first, second] {
            assert_eq!(
                (&body["temperature"], &body["top_k"]),
                (&json!(0.5), &json!(7))
            );
        }
    }
}

#[test]
fn a_call_that_the_second_upstream_makes_is_that_of_the_tool_it_stands_for() {
    let bad = Upstream::new([Reply::chunks(&[]).cut()]);
    let good = Upstream::by(|body| {
        let name = body["tools"][0]["function"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let call =
            json!({"id": "c1", "type": "function", "function": {"name": name, "arguments": "{}"}});
        Reply::json(
            200,
            &completion(
                json!({"role": "assistant", "tool_calls": [call]}),
                "tool_calls",
            ),
        )
    });
    let (bad_url, good_url) = (bad.base_url(), good.base_url());
    let proxy = several(&[("bad", &bad_url), ("good", &good_url)], "", "").start();
    let tools = json!({"tools": [{"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "f", "parameters": {}}]}]});
    let events = streamed(&proxy, &with(hello(), tools));
    let call = &last(&events)["output"][0];
    assert_eq!(
        (&call["namespace"], &call["name"]),
        (&json!("ns"), &json!("f")),
        "{call}"
    );
}

#[test]
fn conversations_stay_and_weights_are_shares() {
    let upstreams: Vec<Upstream> = ["a", "b", "c"]
        .map(|name| Upstream::new([saying(name)]))
        .into();
    let urls: Vec<String> = upstreams.iter().map(Upstream::base_url).collect();
    let urls: Vec<(&str, &str)> = ["a", "b", "c"]
        .into_iter()
        .zip(urls.iter().map(String::as_str))
        .collect();
    for strategy in ["weighted", "least_busy"] {
        let proxy = several(&urls, "", &format!("strategy = \"{strategy}\"")).start();
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        for round in 0..3 {
            for thread in 0..12 {
                let key = format!("thread-{thread}");
                let response = whole(&proxy, &with(hello(), json!({"prompt_cache_key": key})));
                let place = places
                    .entry(key)
                    .or_insert_with(|| words(&response).to_owned());
                assert_eq!(words(&response), place, "{strategy} {round}");
            }
        }
        let used: std::collections::BTreeSet<&String> = places.values().collect();
        assert!(used.len() > 1, "{strategy}: all at {used:?}");
    }
    let route = "upstreams = [{ upstream = \"a\", weight = 9 }, { upstream = \"b\", weight = 1 }]\nstrategy = \"weighted\"";
    let proxy = several(&urls, "", route).start();
    let at_a = (0..60)
        .filter(|_| words(&whole(&proxy, &hello())) == "a")
        .count();
    assert!((42..60).contains(&at_a), "{at_a} of 60 at a");
}

#[test]
fn the_least_busy_upstream_is_asked() {
    let slow = Upstream::new([Reply::chunks(&[text("slow")]).silent()]);
    let fast = Upstream::new([saying("fast")]);
    let (slow_url, fast_url) = (slow.base_url(), fast.base_url());
    let proxy = several(
        &[("slow", &slow_url), ("fast", &fast_url)],
        "",
        "strategy = \"least_busy\"",
    )
    .start();
    // Sooner or later one gets stuck at the slow one; from then on that is the busier one.
    let mut stuck = Vec::new();
    while slow.asked().is_empty() {
        let mut client = super::Live::start(&proxy.url(""), &hello());
        client.wait_for("content_part", Duration::from_secs(10));
        stuck.push(client);
    }
    for _ in 0..5 {
        assert_eq!(words(&whole(&proxy, &hello())), "fast");
    }
}

#[test]
fn an_upstream_without_room_is_passed_over() {
    let small = Upstream::new([Reply::chunks(&[text("small")]).silent()]);
    let big = Upstream::new([saying("big")]);
    let toml = format!(
        "default_upstream = \"small\"\n[upstreams.small]\nbase_url = \"{}\"\nmax_concurrency = 1\n\
         [upstreams.big]\nbase_url = \"{}\"\n[models.\"*\"]\nupstreams = [\"small\", \"big\"]\n",
        small.base_url(),
        big.base_url()
    );
    let proxy = Proxy::builder().config(&toml).start();
    let mut client = super::Live::start(&proxy.url(""), &hello());
    client.wait_for("small", Duration::from_secs(10));
    let began = Instant::now();
    assert_eq!(words(&whole(&proxy, &hello())), "big");
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_profile_is_picked_by_header_or_by_name() {
    let one = Upstream::new([saying("one")]);
    let two = Upstream::new([saying("two")]);
    let toml = format!(
        "default_upstream = \"one\"\n[upstreams.one]\nbase_url = \"{}\"\n[upstreams.two]\nbase_url = \"{}\"\n\
         [models.\"gpt-5.5\"]\nmodel = \"big\"\nreasoning_effort = \"high\"\n\
         [profiles.fast]\nupstream = \"two\"\nmodel = \"small\"\nreasoning_effort = \"low\"\nmax_output_tokens = 5\n\
         top_p = 0.5\nextra_body = {{ top_k = 1 }}\n[profiles.warm]\ntemperature = 1.5\n",
        one.base_url(),
        two.base_url()
    );
    let proxy = Proxy::builder().config(&toml).start();
    let ask = |model: &str, profile: &str| {
        let body = with(hello(), json!({"model": model})).to_string();
        let headers = [JSON, ("x-antiphon-profile", profile)];
        send(
            &proxy,
            if profile.is_empty() {
                &headers[..1]
            } else {
                &headers
            },
            body.as_bytes(),
        )
    };
    assert_eq!(words(&ask("gpt-5.5", "").json()), "one");
    for (model, profile) in [
        ("gpt-5.5", "fast"),
        ("gpt-5.5@fast", ""),
        ("qwen3:8b@fast", "warm"),
    ] {
        let reply = ask(model, profile);
        assert_eq!(
            reply.json()["model"],
            model,
            "the client's name is told back"
        );
        assert_eq!(words(&reply.json()), "two");
        let body = two.asked().pop().expect("asked");
        assert_eq!(
            (
                &body["model"],
                &body["reasoning_effort"],
                &body["max_tokens"],
                &body["top_p"],
                &body["top_k"]
            ),
            (
                &json!("small"),
                &json!("low"),
                &json!(5),
                &json!(0.5),
                &json!(1)
            )
        );
    }
    ask("gpt-5.5", "warm");
    let body = one.asked().pop().expect("asked");
    assert_eq!(
        (
            &body["model"],
            &body["reasoning_effort"],
            &body["temperature"]
        ),
        (&json!("big"), &json!("high"), &json!(1.5))
    );
    ask("org/model@rev", "");
    assert_eq!(one.asked().pop().expect("asked")["model"], "org/model@rev");
    for (model, profile) in [("gpt-5.5", "fats"), ("gpt-5.5@fats", "")] {
        let error = refusal(&ask(model, profile), 400);
        assert_eq!(error["code"], "profile_not_found");
        assert_eq!(
            error["message"],
            "There is no profile 'fats'; there are: fast, warm."
        );
    }
}

#[test]
fn chat_and_responses_upstreams_stand_in_for_each_other() {
    let native = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_up\",\"status\":\"in_progress\"}}\n\n\
                  event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":1,\"response\":{\"id\":\"resp_up\",\"status\":\"completed\"}}\n\n";
    let start = |first: &Upstream, second: &Upstream, first_api: &str, second_api: &str| {
        Proxy::builder().config(&format!(
            "default_upstream = \"a\"\n[upstreams.a]\nbase_url = \"{}\"\nwire_api = \"{first_api}\"\n\
             [upstreams.b]\nbase_url = \"{}\"\nwire_api = \"{second_api}\"\n\
             [models.\"*\"]\nupstreams = [\"a\", \"b\"]\n",
            first.base_url(), second.base_url()
        )).start()
    };
    let streaming = with(hello(), json!({"stream": true}));
    for bad in [
        Reply::error(500, "Oops.").after(800),
        Reply::chunks(&[]).cut(),
    ] {
        let (bad, good) = (Upstream::new([bad]), Upstream::new([saying("Hi")]));
        let proxy = start(&bad, &good, "responses", "chat");
        let events = read_stream(&post(&proxy, &streaming));
        assert_eq!(words(last(&events)), "Hi");
    }
    let bad = Upstream::new([Reply::error(500, "Oops.").after(800)]);
    let good = Upstream::new([Reply::new(200, "text/event-stream").bytes(native)]);
    let proxy = start(&bad, &good, "chat", "responses");
    assert_eq!(post(&proxy, &streaming).text(), native);
}

/// Three upstreams, of which one dies, one slows and one refuses, in turn, under many streams at a time:
/// no request fails that some upstream could have served.
#[test]
fn no_request_fails_that_some_upstream_could_have_served() {
    const STREAMS: usize = 200;
    let good = || {
        Reply::chunks(&[text("Hel")])
            .rest(20)
            .chunk(&text("lo"))
            .chunk(&finish("stop"))
            .bytes("data: [DONE]\n\n")
    };
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let next = move || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // Each is bad in its own way for the most part.
    let turn = std::sync::Arc::new(next);
    let (for_dying, for_slow, for_refusing) = (turn.clone(), turn.clone(), turn);
    let dying = Upstream::by(move |_| match for_dying() % 4 {
        0 => Reply::none(),
        1 => Reply::chunks(&[]).cut(),
        2 => Reply::chunks(&[delta(json!({"role": "assistant"}))]).cut(),
        _ => good(),
    });
    let slow = Upstream::by(move |_| match for_slow() % 3 {
        0 => good().after(2_000),
        1 => Reply::chunks(&[]).silent(),
        _ => good().after(50),
    });
    let refusing = Upstream::by(move |_| match for_refusing() % 4 {
        0 => Reply::error(503, "Overloaded."),
        1 => Reply::error(500, "Oops."),
        2 => Reply::error(404, "model `m` not found"),
        _ => good(),
    });
    let healthy = Upstream::by(move |_| good());
    let urls = [
        ("dying", dying.base_url()),
        ("slow", slow.base_url()),
        ("refusing", refusing.base_url()),
        ("healthy", healthy.base_url()),
    ];
    let urls = urls.each_ref().map(|(name, url)| (*name, url.as_str()));
    for (strategy, upstreams) in [
        ("least_busy", &urls[..]),
        ("fallback", &urls[..]),
        ("weighted", &urls[..]),
    ] {
        let own = "first_byte_timeout_ms = 700\nstream_idle_timeout_ms = 700\nbreaker_failures = 3\nbreaker_pause_ms = 200\nbreaker_max_pause_ms = 1000";
        let route = format!("strategy = \"{strategy}\"");
        let proxy = several(upstreams, own, &route).start();
        let url = proxy.url("/v1/responses");
        let replies: Vec<http::Reply> = thread::scope(|scope| {
            let asked: Vec<_> = (0..STREAMS)
                .map(|n| {
                    let url = &url;
                    scope.spawn(move || {
                        thread::sleep(Duration::from_millis(5 * n as u64));
                        http::post(url, &with(hello(), json!({"stream": true})))
                    })
                })
                .collect();
            asked
                .into_iter()
                .map(|asked| asked.join().expect("a reply"))
                .collect()
        });
        for reply in &replies {
            let events = read_stream(reply);
            assert_eq!(last(&events)["status"], "completed", "{strategy}");
            assert_eq!(words(last(&events)), "Hello", "{strategy}");
            assert!(events::has_done(&reply.body));
        }
        let lines = breakers(&proxy);
        let has = |state: &str| lines.iter().any(|line| line["state"] == state);
        assert!(has("open") && has("probation"), "{strategy}: {lines:?}");
        let healthy_out = lines.iter().any(|line| line["upstream"] == "healthy");
        assert!(!healthy_out, "{strategy}: {lines:?}");
    }
}
