//! Upstreams with a pace of their own: what they send is nothing to the client for a while, or comes
//! late, or the connection outlives the answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{configured, hello, kinds, last, streamed, with};
use crate::support::events::SseEvent;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, call, finish, text, usage};

/// Ten pieces, one each 80 ms.
fn slowly(reply: Reply, piece: impl Fn(Reply) -> Reply) -> Reply {
    (0..10).fold(reply, |reply, _| piece(reply.rest(80)))
}

/// What a client gets that is to hear something each 100 ms.
fn kept_alive(reply: Reply, request: &Value) -> Vec<SseEvent> {
    let upstream = Upstream::new([reply]);
    let proxy = configured(&upstream, "keepalive_interval_ms = 100", "");
    let events = streamed(&proxy, request);
    assert_eq!(last(&events)["status"], "completed");
    events
}

/// How many keepalives there are, side by side, where the stream is longest without other news.
fn longest_quiet(events: &[SseEvent]) -> usize {
    let kinds = kinds(events);
    let quiet = kinds.split(|kind| *kind != "keepalive");
    quiet.map(<[&str]>::len).max().unwrap_or_default()
}

#[test]
fn a_stream_is_kept_alive_while_the_upstream_sends_only_comments() {
    let comments = |reply| slowly(reply, |reply| reply.bytes(": PROCESSING\n\n"));
    for begun in [Reply::chunks(&[]), Reply::chunks(&[text("Hel")])] {
        let reply = comments(begun)
            .chunk(&text("lo"))
            .chunk(&finish("stop"))
            .chunk(&usage(9, 4));
        let events = kept_alive(reply, &hello());
        let quiet = longest_quiet(&events);
        assert!((3..=12).contains(&quiet), "{:?}", kinds(&events));
    }
}

#[test]
fn a_stream_is_kept_alive_while_a_calls_arguments_are_gathered() {
    let begun = Reply::chunks(&[call(
        0,
        Some(("c0", "local_shell")),
        "{\"command\":[\"echo\"",
    )]);
    let reply = slowly(begun, |reply| reply.chunk(&call(0, None, ",\"a\"")))
        .chunk(&call(0, None, "]}"))
        .chunk(&finish("tool_calls"))
        .chunk(&usage(9, 4));
    let request = with(hello(), json!({"tools": [{"type": "local_shell"}]}));
    let events = kept_alive(reply, &request);
    let quiet = longest_quiet(&events);
    assert!((3..=12).contains(&quiet), "{:?}", kinds(&events));
    let own = &last(&events)["output"][0];
    assert_eq!(own["type"], "local_shell_call", "{own}");
    let command = own["action"]["command"].as_array().expect("a command");
    assert_eq!(command.len(), 11, "{own}");
}

#[test]
fn token_counts_that_come_three_seconds_late_still_count() {
    let late = Reply::chunks(&[text("Hi"), finish("stop")])
        .rest(3000)
        .chunk(&usage(1234, 56));
    // That comments come in between changes nothing.
    let busy = slowly(Reply::chunks(&[text("Hi"), finish("stop")]), |reply| {
        reply.rest(220).bytes(": ping\n\n")
    });
    for reply in [late, busy.chunk(&usage(1234, 56))] {
        let upstream = Upstream::new([reply.silent()]);
        let events = streamed(&Proxy::to(&upstream.base_url()), &hello());
        let response = last(&events);
        assert_eq!(response["status"], "completed");
        let counts = &response["usage"];
        assert_eq!(
            (&counts["input_tokens"], &counts["output_tokens"]),
            (&json!(1234), &json!(56))
        );
    }
}

#[test]
fn a_connection_that_stays_open_after_all_was_said_is_not_waited_for() {
    let open = Reply::chunks(&[text("Hi"), finish("stop"), usage(9, 4)]).silent();
    // Comments do not prolong it.
    let chatty = Reply::chunks(&[text("Hi"), finish("stop"), usage(9, 4)]);
    let chatty = (0..40).fold(chatty, |reply, _| reply.rest(100).bytes(": ping\n\n"));
    for reply in [open, chatty.silent()] {
        let upstream = Upstream::new([reply]);
        let proxy = Proxy::to(&upstream.base_url());
        let began = Instant::now();
        let events = streamed(&proxy, &hello());
        let took = began.elapsed();
        assert!(took < Duration::from_millis(1500), "it took {took:?}");
        assert_eq!(last(&events)["usage"]["input_tokens"], 9);
        upstream.wait_until_left(1);
    }
}
