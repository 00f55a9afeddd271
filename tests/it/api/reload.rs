//! A configuration that changes while requests run.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Live, hello, last, post, read_stream, refusal, whole, with};
use crate::support::events;
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, finish, text};

const RELOADED: &str = "the configuration was reloaded";

fn words(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"]
        .as_str()
        .unwrap_or_default()
}

fn to(upstream: &Upstream, more: &str) -> String {
    format!(
        "[upstreams.mock]\nbase_url = \"{}\"\n{more}\n",
        upstream.base_url()
    )
}

#[test]
fn a_changed_file_counts_from_the_next_request_on() {
    let (one, two) = (Upstream::saying("one"), Upstream::saying("two"));
    let proxy = Proxy::builder().config(&to(&one, "")).start();
    assert_eq!(words(&whole(&proxy, &hello())), "one");
    proxy.rewrite(&to(&two, "[models.m]\nmodel = \"inner\"\n"));
    proxy.wait_for_log(RELOADED, 1);
    assert_eq!(words(&whole(&proxy, &hello())), "two");
    assert_eq!(two.asked()[0]["model"], "inner");
}

#[test]
fn a_hang_up_ends_nothing_where_there_is_no_file() {
    let upstream = Upstream::saying("one");
    let proxy = Proxy::builder()
        .upstream(&upstream.base_url())
        .env("ANTIPHON__LOG__LEVEL", "debug")
        .start();
    proxy.signal("HUP");
    proxy.wait_for_log("nothing has changed in the configuration", 1);
    assert_eq!(words(&whole(&proxy, &hello())), "one");
}

#[test]
fn a_stream_ends_under_the_configuration_that_it_began_with() {
    let slow = Reply::chunks(&[text("Hel")])
        .rest(2_500)
        .chunk(&text("lo"))
        .chunk(&finish("stop"))
        .bytes("data: [DONE]\n\n");
    let (one, two) = (Upstream::new([slow]), Upstream::saying("two"));
    let proxy = Proxy::builder().config(&to(&one, "")).start();
    let mut running = Live::start(&proxy.url(""), &hello());
    running.wait_for("Hel", Duration::from_secs(10));
    proxy.rewrite(&to(&two, ""));
    proxy.wait_for_log(RELOADED, 1);
    assert_eq!(words(&whole(&proxy, &hello())), "two");
    let events = events::parse(&running.finish());
    assert_eq!(words(last(&events)), "Hello");
}

#[test]
fn a_bad_file_changes_nothing_and_says_where_it_is_wrong() {
    let upstream = Upstream::saying("still here");
    let proxy = Proxy::builder().config(&to(&upstream, "")).start();
    for (bad, said) in [
        ("[upstreams.mock\n", "proxy.toml:1:"),
        (
            "[upstreams.mock]\nbase_url = \"http://a\"\nmax_queu = 1\n",
            "proxy.toml:3:1: unknown key `max_queu`",
        ),
        ("", "there is no upstream"),
    ] {
        proxy.rewrite(bad);
        proxy.wait_for_log(said, 1);
        assert_eq!(words(&whole(&proxy, &hello())), "still here");
    }
    assert_eq!(
        proxy.log().matches("the old one stays").count(),
        3,
        "{}",
        proxy.log()
    );
    assert!(!proxy.log().contains(RELOADED));
    // And it goes on to watch.
    proxy.rewrite(&to(&upstream, "max_queue = 1"));
    proxy.wait_for_log(RELOADED, 1);
}

#[test]
fn what_needs_a_restart_is_named() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::builder().config(&to(&upstream, "")).start();
    proxy.rewrite(&to(
        &upstream,
        "[server]\nmax_connections = 5\nmax_body_bytes = 300\n[log]\nlevel = \"debug\"\n",
    ));
    proxy.wait_for_log("server.max_connections, log", 1);
    proxy.wait_for_log(RELOADED, 1);
    let long = with(hello(), json!({"instructions": "x".repeat(400)}));
    refusal(&post(&proxy, &long), 413);
}

#[test]
fn what_is_known_of_an_upstream_stays_if_it_has_not_changed() {
    let bad = Upstream::new([Reply::error(500, "Oops.")]);
    let good = Upstream::saying("good");
    let toml = |more: &str| {
        format!(
            "default_upstream = \"bad\"\n[upstreams.bad]\nbase_url = \"{}\"\nbreaker_failures = 2\nbreaker_pause_ms = 60000\n\
             [upstreams.good]\nbase_url = \"{}\"\n{more}\n[models.\"*\"]\nupstreams = [\"bad\", \"good\"]\n",
            bad.base_url(),
            good.base_url()
        )
    };
    let proxy = Proxy::builder().config(&toml("")).start();
    for _ in 0..3 {
        assert_eq!(words(&whole(&proxy, &hello())), "good");
    }
    assert_eq!(bad.asked().len(), 2, "it is out");
    proxy.rewrite(&toml("max_queue = 7"));
    proxy.wait_for_log(RELOADED, 1);
    assert!(
        proxy.log().contains("\"upstreams_kept\":1"),
        "{}",
        proxy.log()
    );
    assert_eq!(words(&whole(&proxy, &hello())), "good");
    assert_eq!(bad.asked().len(), 2, "it is still out");
}

#[test]
fn a_signal_reads_the_file_again_and_nothing_new_is_no_news() {
    let upstream = Upstream::saying("Hi");
    let proxy = Proxy::builder()
        .config(&to(&upstream, "[log]\nlevel = \"debug\"\n"))
        .start();
    proxy.wait_for_log("nothing has changed in the configuration", 1);
    let status = Command::new("kill")
        .args(["-HUP", &proxy.pid().to_string()])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "kill works");
    proxy.wait_for_log("nothing has changed in the configuration", 2);
    assert_eq!(words(&whole(&proxy, &hello())), "Hi");
    assert!(!proxy.log().contains(RELOADED));
}

/// The configuration changes all the time while many streams run, now and then to a bad one: no stream
/// is lost.
#[test]
fn a_reload_under_load_loses_no_stream() {
    let reply = || {
        Reply::chunks(&[text("Hel")])
            .rest(60)
            .chunk(&text("lo"))
            .rest(60)
            .chunk(&finish("stop"))
            .bytes("data: [DONE]\n\n")
    };
    let (one, two) = (Upstream::new([reply()]), Upstream::new([reply()]));
    let proxy = Proxy::builder().config(&to(&one, "")).start();
    let url = proxy.url("/v1/responses");
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let reply = http::post(&url, &with(hello(), json!({"stream": true})));
                    let events = read_stream(&reply);
                    assert_eq!(last(&events)["status"], "completed");
                    assert_eq!(words(last(&events)), "Hello");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let began = Instant::now();
        for round in 0..12 {
            match round % 3 {
                0 => proxy.rewrite(&to(&two, "")),
                1 => proxy.rewrite("[upstreams"),
                _ => proxy.rewrite(&to(&one, &format!("max_queue = {}", round + 1))),
            }
            thread::sleep(Duration::from_millis(300));
        }
        over.store(true, Ordering::Relaxed);
        assert!(began.elapsed() < Duration::from_secs(60));
    });
    assert!(
        answered.load(Ordering::Relaxed) > 100,
        "{answered:?} streams"
    );
    assert!(!two.asked().is_empty() && !one.asked().is_empty());
    assert!(
        proxy.log().matches(RELOADED).count() >= 6,
        "{}",
        proxy.log().matches(RELOADED).count()
    );
    assert!(proxy.log().contains("the old one stays"));
}
