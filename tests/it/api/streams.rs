//! Streams that go wrong after they began, or take their time: whatever happens, the client gets a
//! whole stream, and the upstream is let go.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Live, configured, deltas, failure, hello, kinds, last, read_stream, streamed, with};
use crate::grammar;
use crate::support::events::{self, SseEvent};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, call, finish, text, usage};

fn keepalives(events: &[SseEvent]) -> usize {
    kinds(events)
        .iter()
        .filter(|kind| **kind == "keepalive")
        .count()
}

/// What the client gets from an upstream that answers like this.
fn told(reply: Reply) -> Vec<SseEvent> {
    let upstream = Upstream::new([reply]);
    streamed(&Proxy::to(&upstream.base_url()), &hello())
}

#[test]
fn events_go_out_as_they_come_in() {
    let pieces = Reply::chunks(&[text("One")])
        .rest(1500)
        .chunk(&text(" two"))
        .chunk(&finish("stop"))
        .chunk(&usage(9, 4));
    let upstream = Upstream::new([pieces]);
    let proxy = Proxy::to(&upstream.base_url());
    let began = Instant::now();
    let mut client = Live::start(&proxy.url(""), &hello());
    client.wait_for("\"delta\":\"One\"", Duration::from_millis(1200));
    assert!(began.elapsed() < Duration::from_millis(1200));
    let events = events::parse(&client.finish());
    grammar::check(&events);
    assert_eq!(deltas(&events, "response.output_text.delta"), "One two");
}

#[test]
fn a_slow_status_line_does_not_hold_the_stream_back() {
    let slow = Reply::stream(&[text("Hi"), finish("stop"), usage(9, 4)]).after(1500);
    let upstream = Upstream::new([slow]);
    let proxy = configured(&upstream, "first_status_wait_ms = 200", "");
    let mut client = Live::start(&proxy.url(""), &hello());
    client.wait_for("response.in_progress", Duration::from_millis(1200));
    let events = events::parse(&client.finish());
    grammar::check(&events);
    assert_eq!(last(&events)["status"], "completed");
}

#[test]
fn a_refusal_that_comes_late_fails_the_stream() {
    for (reply, code) in [
        (Reply::error(400, "No."), "invalid_prompt"),
        (Reply::error(404, "No."), "invalid_prompt"),
        (
            Reply::error(429, "No.").header("retry-after", "60"),
            "rate_limit_exceeded",
        ),
        (
            Reply::error(400, "No. maximum context length"),
            "context_length_exceeded",
        ),
        (Reply::error(500, "No."), "server_error"),
    ] {
        let upstream = Upstream::new([reply.after(500)]);
        let proxy = configured(
            &upstream,
            "first_status_wait_ms = 100",
            "request_max_retries = 0",
        );
        let events = streamed(&proxy, &hello());
        assert_eq!(failure(&events)["code"], code);
        assert!(
            failure(&events)["message"]
                .as_str()
                .is_some_and(|words| words.starts_with("No."))
        );
        assert_eq!(
            kinds(&events),
            [
                "response.created",
                "response.in_progress",
                "response.failed"
            ]
        );
    }
}

#[test]
fn a_stream_that_is_cut_fails_and_its_half_items_are_never_done() {
    let begun = [
        vec![text("Hel")],
        vec![call(0, Some(("c0", "f")), "{\"a\"")],
    ];
    for chunks in begun {
        for reply in [Reply::chunks(&chunks).cut(), Reply::chunks(&chunks)] {
            let events = told(reply);
            assert_eq!(failure(&events)["code"], "server_error");
            assert!(
                !kinds(&events).contains(&"response.output_item.done"),
                "{:?}",
                kinds(&events)
            );
        }
    }
}

#[test]
fn a_stream_that_is_cut_after_it_was_all_said_is_whole() {
    let all = [text("Hi"), finish("stop")];
    for reply in [
        Reply::chunks(&all).cut(),
        Reply::chunks(&all),
        Reply::chunks(&all).chunk(&usage(9, 4)).cut(),
    ] {
        assert_eq!(last(&told(reply))["status"], "completed");
    }
}

#[test]
fn an_upstream_that_falls_silent_fails_the_stream_and_is_let_go() {
    for begun in [Reply::chunks(&[]), Reply::chunks(&[text("Hel")])] {
        let upstream = Upstream::new([begun.silent()]);
        let proxy = configured(&upstream, "", "stream_idle_timeout_ms = 300");
        let began = Instant::now();
        let events = streamed(&proxy, &hello());
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "it took {:?}",
            began.elapsed()
        );
        assert_eq!(failure(&events)["code"], "server_error");
        assert!(
            failure(&events)["message"]
                .as_str()
                .is_some_and(|words| words.contains("silent"))
        );
        upstream.wait_until_left(1);
    }
}

#[test]
fn an_upstream_that_is_slow_but_not_silent_may_take_its_time() {
    let mut slow = Reply::chunks(&[]);
    for word in ["a ", "b ", "c ", "d "] {
        slow = slow.rest(200).chunk(&text(word));
    }
    let upstream = Upstream::new([slow.chunk(&finish("stop")).chunk(&usage(9, 4))]);
    let proxy = configured(&upstream, "", "stream_idle_timeout_ms = 500");
    assert_eq!(
        deltas(&streamed(&proxy, &hello()), "response.output_text.delta"),
        "a b c d "
    );
}

#[test]
fn what_cannot_be_read_fails_the_stream() {
    for garbage in [
        "data: {\"choices\": [}\n\n",
        "data: hello\n\n",
        "data: [1, 2]\n\n",
        "data: \"text\"\n\n",
    ] {
        let events = told(
            Reply::chunks(&[text("Hel")])
                .bytes(garbage)
                .chunk(&text("lo"))
                .chunk(&finish("stop")),
        );
        assert_eq!(failure(&events)["code"], "server_error", "{garbage}");
        assert_eq!(deltas(&events, "response.output_text.delta"), "Hel");
    }
}

#[test]
fn an_error_in_the_stream_fails_it_in_the_upstreams_own_words() {
    for (error, code) in [
        (json!({"message": "No.", "code": 500}), "server_error"),
        (
            json!({"message": "No.", "code": 429}),
            "rate_limit_exceeded",
        ),
        (
            json!({"message": "No.", "type": "BadRequestError", "code": 400}),
            "invalid_prompt",
        ),
        (
            json!({"message": "No.", "code": "content_filter"}),
            "content_policy_violation",
        ),
        (
            json!({"message": "No.", "type": "exceed_context_size_error", "code": 400}),
            "context_length_exceeded",
        ),
        (json!("No."), "server_error"),
    ] {
        let events = told(
            Reply::chunks(&[text("Hel"), json!({"error": error})])
                .chunk(&text("lo"))
                .chunk(&finish("stop")),
        );
        assert_eq!(
            *failure(&events),
            json!({"code": code, "message": "No."}),
            "{error}"
        );
        assert_eq!(deltas(&events, "response.output_text.delta"), "Hel");
    }
}

#[test]
fn an_upstream_that_gave_up_has_failed() {
    assert_eq!(
        failure(&told(Reply::stream(&[text("Hel"), finish("error")])))["code"],
        "server_error"
    );
}

#[test]
fn who_leaves_frees_the_upstream() {
    let silent = Reply::chunks(&[text("Hel")]).silent();
    let unanswered = Reply::stream(&[text("Hi"), finish("stop")]).after(15_000);
    for (reply, heard) in [
        (silent, "Hel"),
        (unanswered.clone(), "response.in_progress"),
    ] {
        let upstream = Upstream::new([reply]);
        let proxy = Proxy::to(&upstream.base_url());
        let mut client = Live::start(&proxy.url(""), &hello());
        client.wait_for(heard, Duration::from_secs(10));
        drop(client);
        upstream.wait_until_left(1);
    }
    let blocking = Reply::chunks(&[text("Hel")]).silent();
    for reply in [blocking, unanswered] {
        let upstream = Upstream::new([reply]);
        let proxy = Proxy::to(&upstream.base_url());
        let client = Live::send(&proxy.url(""), &hello());
        upstream.wait_until_asked(1);
        drop(client);
        upstream.wait_until_left(1);
        assert_eq!(upstream.asked().len(), 1, "nobody waits for a second try");
    }
}

#[test]
fn a_silent_stream_is_kept_alive() {
    let slow = || {
        Reply::chunks(&[text("Hel")])
            .rest(550)
            .chunk(&text("lo"))
            .chunk(&finish("stop"))
            .chunk(&usage(9, 4))
    };
    // While it thinks before its first word, and while it does in between.
    for reply in [slow(), slow().after(550)] {
        let upstream = Upstream::new([reply]);
        let proxy = configured(
            &upstream,
            "keepalive_interval_ms = 100\nfirst_status_wait_ms = 50",
            "",
        );
        let events = streamed(&proxy, &hello());
        assert_eq!(last(&events)["status"], "completed");
        assert!(keepalives(&events) >= 3, "{:?}", kinds(&events));
        assert!(keepalives(&events) <= 12, "{:?}", kinds(&events));
    }
    let upstream = Upstream::new([slow()]);
    let proxy = configured(&upstream, "keepalive_interval_ms = 0", "");
    assert_eq!(keepalives(&streamed(&proxy, &hello())), 0);
    let proxy = configured(&upstream, "", "");
    assert_eq!(
        keepalives(&streamed(&proxy, &hello())),
        0,
        "half a second is not silent by default"
    );
}

#[test]
fn a_keepalive_does_not_save_an_upstream_that_is_silent_for_too_long() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).silent()]);
    let proxy = configured(
        &upstream,
        "keepalive_interval_ms = 100",
        "stream_idle_timeout_ms = 450",
    );
    let events = streamed(&proxy, &hello());
    assert!(keepalives(&events) >= 2, "{:?}", kinds(&events));
    assert_eq!(failure(&events)["code"], "server_error");
}

#[test]
fn an_upstream_that_never_hangs_up_after_its_last_word_is_not_waited_for() {
    let took = |reply: Reply| {
        let upstream = Upstream::new([reply.silent()]);
        let proxy = Proxy::to(&upstream.base_url());
        let began = Instant::now();
        assert_eq!(last(&streamed(&proxy, &hello()))["status"], "completed");
        let took = began.elapsed();
        upstream.wait_until_left(1);
        took
    };
    let all = [text("Hi"), finish("stop")];
    // Only the token counts are missing: they are given some time.
    let waited = took(Reply::chunks(&all));
    assert!(waited < Duration::from_secs(8), "it took {waited:?}");
    // Nothing is missing.
    let waited = took(Reply::chunks(&all).chunk(&usage(9, 4)));
    assert!(waited < Duration::from_secs(3), "it took {waited:?}");
    // After [DONE] there is nothing to wait for at all.
    let waited = took(Reply::stream(&all));
    assert!(waited < Duration::from_millis(1500), "it took {waited:?}");
}

#[test]
fn token_counts_that_come_a_little_late_are_waited_for() {
    let events = told(
        Reply::chunks(&[text("Hi"), finish("stop")])
            .rest(700)
            .chunk(&usage(1234, 4))
            .silent(),
    );
    assert_eq!(last(&events)["usage"]["input_tokens"], 1234);
}

#[test]
fn it_does_not_matter_in_which_pieces_the_bytes_come() {
    let stream = [
        "\u{feff}: hello\r\n\r\n",
        "event: chunk\r\nid: 7\r\ndata: ",
        &text("wörld 🦙").to_string(),
        "\r\n\r\n",
    ]
    .concat()
        + "data:"
        + &finish("stop").to_string()
        + "\n\n"
        + "data: "
        + &usage(9, 4).to_string()
        + "\n\ndata: [DONE]\n\n";
    let bytewise = stream
        .bytes()
        .fold(Reply::new(200, "text/event-stream"), |reply, byte| {
            reply.bytes([byte])
        });
    let at_once = Reply::new(200, "text/event-stream").bytes(stream);
    for reply in [bytewise, at_once] {
        let events = told(reply);
        assert_eq!(deltas(&events, "response.output_text.delta"), "wörld 🦙");
        assert_eq!(last(&events)["usage"]["total_tokens"], 13);
    }
}

#[test]
fn an_upstream_can_not_fill_the_memory() {
    let long = "x".repeat(5000);
    let many = |reply: Reply| (0..100).fold(reply, |reply, _| reply.chunk(&text(&"y".repeat(50))));
    for (own, reply) in [
        (
            "max_event_bytes = 2000",
            Reply::chunks(&[text(&long)]).silent(),
        ),
        (
            "max_event_bytes = 2000",
            Reply::new(200, "text/event-stream")
                .bytes(format!("data: {long}"))
                .silent(),
        ),
        (
            "max_event_bytes = 2000",
            Reply::new(200, "application/json")
                .bytes(format!("{{\"a\":\"{long}"))
                .silent(),
        ),
        ("max_answer_bytes = 2000", many(Reply::chunks(&[])).silent()),
    ] {
        let upstream = Upstream::new([reply]);
        let proxy = configured(&upstream, "", own);
        let events = streamed(&proxy, &hello());
        assert!(
            failure(&events)["message"]
                .as_str()
                .is_some_and(|words| words.contains("2000")),
            "{:?}",
            failure(&events)
        );
        upstream.wait_until_left(1);
    }
}

#[test]
fn a_long_answer_arrives_whole() {
    let words: Vec<String> = (0..20_000).map(|n| format!("word{n} ")).collect();
    let reply = words
        .iter()
        .fold(Reply::chunks(&[]), |reply, word| reply.chunk(&text(word)));
    let events = told(reply.chunk(&finish("stop")).chunk(&usage(9, 20_000)));
    assert_eq!(
        deltas(&events, "response.output_text.delta"),
        words.concat()
    );
}

#[test]
fn many_streams_at_once_do_not_mix() {
    let upstream = Upstream::new((0..40).map(|n| {
        let word = format!("<{n}>");
        let reply = (0..20).fold(Reply::chunks(&[]), |reply, _| {
            reply.chunk(&text(&word)).rest(5)
        });
        reply.chunk(&finish("stop")).chunk(&usage(9, 4))
    }));
    let proxy = Proxy::to(&upstream.base_url());
    let url = proxy.url("/v1/responses");
    let request = with(hello(), json!({"stream": true}));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..39)
            .map(|_| scope.spawn(|| crate::support::http::post(&url, &request)))
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        for client in clients {
            let events = read_stream(&client.join().expect("an answer"));
            let said = deltas(&events, "response.output_text.delta");
            let word = said[..=said.find('>').expect("a word")].to_owned();
            assert_eq!(said, word.repeat(20));
            assert!(seen.insert(word.clone()), "{word} was said to two clients");
        }
    });
}
