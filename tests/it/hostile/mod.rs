//! All that a hostile client can do, at the same time, to one proxy: its memory stays bounded, each is told
//! what is wrong or is let go, and those who ask politely do not notice.
//!
//! Each of these has tests of its own elsewhere (`api/care.rs`, `api/http1.rs`, `api/http2.rs`, `api/bodies.rs`,
//! `api/overload.rs`, `api/keys.rs`); here they come together.

mod attacks;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::load::client::{self, Heard};
use crate::load::upstream::Upstream;
use crate::load::{memory, runtime, tell};
use crate::support::proxy::Proxy;
use attacks::{Attack, Seen};

/// The key of those who ask politely.
const SECRET: &str = "sk-polite-0123456789abcdef";
/// How long it all goes on.
const TIME: Duration = Duration::from_secs(8);
/// Connections of which nothing, or half a word, ever comes.
const HALF_OPEN: usize = 10_000;
/// How late an answer to a polite client may be, in a debug build on a machine with other work.
const LATEST: Duration = Duration::from_secs(5);
/// How much more memory it may have than before: 32 MB of bodies, each of them unpacked, read and translated;
/// a few KB for each connection; and what clients that do not read have been sent, see below.
const MOST_MEMORY: usize = 400 << 20;

fn proxy(upstream: &Upstream) -> Proxy {
    let hash = antiphon::key::KeyHash::of(SECRET.as_bytes());
    Proxy::builder()
        .config(&format!(
            "[server]\nmax_body_bytes = 4194304\nheader_timeout_ms = 4000\nbody_timeout_ms = 4000\n\
             [limits]\nmax_bodies_bytes = 33554432\n\
             [upstreams.mock]\nbase_url = \"{}\"\n\
             [[keys]]\nname = \"polite\"\nhash = \"{hash}\"\n",
            upstream.base_url()
        ))
        .start()
}

#[test]
fn whatever_some_clients_do_others_are_served() {
    attacks::prepare();
    let (runtime, epoch) = (runtime(), Instant::now());
    let upstream = runtime.block_on(Upstream::start(epoch));
    let proxy = proxy(&upstream);
    let host = proxy.address().to_owned();
    let calm = runtime.block_on(polite(&host, Duration::from_secs(1)));
    let idle = memory(&proxy);
    let (seen, asked, stream, most, half_open) = runtime.block_on(async {
        let half_open = attacks::half_open(&host, HALF_OPEN).await;
        let mut attackers = JoinSet::new();
        for attack in Attack::ALL {
            for _ in 0..attack.clients() {
                let host = host.clone();
                attackers.spawn(async move { (attack, attack.go_on(&host, TIME).await) });
            }
        }
        let pieces = usize::try_from(TIME.as_millis() / 250).expect("a small number");
        let stream = {
            let (host, model) = (host.clone(), format!("tick-{pieces}-250"));
            tokio::spawn(async move { client::listen(&host, &model, epoch, SECRET).await })
        };
        let watch = async {
            let mut most = 0;
            let began = Instant::now();
            while began.elapsed() < TIME {
                most = most.max(memory(&proxy));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            most
        };
        let (asked, most) = tokio::join!(polite(&host, TIME), watch);
        let mut seen: BTreeMap<Attack, Seen> = BTreeMap::new();
        for (attack, more) in attackers.join_all().await {
            seen.entry(attack).or_default().add(&more);
        }
        let stream: Heard = stream.await.expect("it ends");
        assert!(stream.is_whole(pieces), "{stream:#?}");
        (seen, asked, stream, most, half_open)
    });
    let mut figures = format!(
        "{half_open} half-open connections; {} polite requests, the slowest after {:?} ({:?} when all is calm); a stream's last \
         piece late by {} µs at most; memory {} MB before, {} MB at most",
        asked.len(),
        asked.iter().max().expect("some were asked"),
        calm.iter().max().expect("some were asked"),
        stream.late.iter().max().expect("it was heard"),
        idle >> 20,
        most >> 20,
    );
    for (attack, seen) in &seen {
        let _ = write!(figures, "; {attack:?} {seen}");
    }
    tell(&figures);
    for (attack, seen) in &seen {
        attack.check(seen);
    }
    assert!(asked.iter().all(|took| *took < LATEST), "{figures}");
    assert!(asked.len() > 5, "{figures}");
    // What clients that do not read were sent is kept until their answers end, as each ends with all of it.
    assert!(most < idle + upstream.flooded() + MOST_MEMORY, "{figures}");
    // All is as before once they are gone.
    let calm = runtime.block_on(polite(&host, Duration::from_secs(1)));
    assert!(calm.iter().all(|took| *took < LATEST), "{calm:?}");
    for words in ["panicked", SECRET] {
        assert!(!proxy.log().contains(words), "{words}: {}", proxy.log());
    }
}

/// Asks for a short answer again and again, each time over a connection of its own; how long each took.
async fn polite(host: &str, time: Duration) -> Vec<Duration> {
    let mut took = Vec::new();
    let began = Instant::now();
    while began.elapsed() < time {
        let asked = Instant::now();
        let heard = client::listen(host, "tick-1-1", began, SECRET).await;
        assert!(heard.is_whole(1), "{heard:#?}");
        took.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    took
}
