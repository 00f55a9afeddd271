//! Many streams at once, for a while: what they cost, how late they are, and what a slow reader or the
//! end of the process does to the others.
//!
//! By itself this is a small run of the debug build. `ANTIPHON_LOAD_STREAMS`, `ANTIPHON_LOAD_SECONDS` and
//! `ANTIPHON_TEST_BINARY` make it a real one:
//!
//! ```sh
//! cargo build --release
//! ANTIPHON_TEST_BINARY=target/release/antiphon ANTIPHON_LOAD_STREAMS=2000 ANTIPHON_LOAD_SECONDS=120 \
//!     cargo test --test it load:: -- --test-threads 1
//! ```

mod client;
mod upstream;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::support::proxy::Proxy;
use client::Heard;
use upstream::Upstream;

/// How long one of the streams that everybody reads pauses between two pieces.
const PAUSE: Duration = Duration::from_millis(250);
/// How many of the clients read slowly, or not at all.
const SLOW: usize = 4;
const NEVER: usize = 4;

/// How much is asked of this run.
struct Size {
    streams: usize,
    time: Duration,
    /// How much later than without us the latest hundredth may be, in milliseconds. A debug build among
    /// other tests is not in time.
    most_added: f64,
}

impl Size {
    fn of_environment() -> Self {
        let number = |name: &str, default: u32| {
            let value = std::env::var(name).ok();
            value.map_or(default, |value| value.parse().expect(name))
        };
        Self {
            streams: number("ANTIPHON_LOAD_STREAMS", 200) as usize,
            time: Duration::from_secs(number("ANTIPHON_LOAD_SECONDS", 4).into()),
            most_added: match std::env::var_os("ANTIPHON_TEST_BINARY") {
                Some(_) => 100.0,
                None => 2_000.0,
            },
        }
    }

    fn pieces(&self) -> usize {
        usize::try_from(self.time.as_millis() / PAUSE.as_millis()).expect("a small number")
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Prints a figure past the test harness.
fn tell(figure: &str) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "load: {figure}");
}

/// The proxy's resident memory, in bytes.
fn memory(proxy: &Proxy) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: usize = kilobytes.expect("a number").parse().expect("a number");
    kilobytes * 1024
}

/// All of `count` streams of `pieces` each, begun over a second.
async fn streams(address: &str, count: usize, pieces: usize, epoch: Instant) -> Vec<Heard> {
    let mut clients = JoinSet::new();
    let model = format!("tick-{pieces}-{}", PAUSE.as_millis());
    for n in 0..count {
        let (address, model) = (address.to_owned(), model.clone());
        clients.spawn(async move {
            let begun = Duration::from_secs(1).mul_f64(n as f64 / count as f64);
            tokio::time::sleep(begun).await;
            client::listen(&address, &model, epoch).await
        });
    }
    clients.join_all().await
}

/// What is late by so much is the given share of all, in milliseconds.
fn late(heard: &[Heard], share: f64) -> f64 {
    let mut all: Vec<u32> = heard.iter().flat_map(|one| one.late.clone()).collect();
    all.sort_unstable();
    let at = (all.len() as f64 * share) as usize;
    let micros = all.get(at.min(all.len().saturating_sub(1)));
    f64::from(*micros.expect("something was heard")) / 1000.0
}

#[test]
fn many_streams_are_carried_with_bounded_memory_and_in_time() {
    let size = Size::of_environment();
    let (runtime, epoch) = (runtime(), Instant::now());
    let upstream = runtime.block_on(Upstream::start(epoch));
    let direct = {
        let pieces = size.pieces().min(20);
        runtime.block_on(streams(&upstream.address(), size.streams, pieces, epoch))
    };
    let proxy = Proxy::to(&upstream.base_url());
    // The first request pays for what all others find.
    runtime.block_on(streams(&proxy.host(), 1, 1, epoch));
    let idle = memory(&proxy);
    let mut samples = Vec::new();
    let heard = runtime.block_on(async {
        let host = proxy.host();
        let mut slow = JoinSet::new();
        for n in 0..SLOW + NEVER {
            let (host, never) = (host.clone(), n >= SLOW);
            slow.spawn(async move { client::dawdle(&host, never).await });
        }
        let all = streams(&host, size.streams, size.pieces(), epoch);
        let mut all = std::pin::pin!(all);
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                heard = &mut all => break heard,
                _ = ticks.tick() => samples.push(memory(&proxy)),
            }
        }
    });
    let failed: Vec<&Heard> = heard
        .iter()
        .filter(|one| !one.is_whole(size.pieces()))
        .collect();
    let most = samples.iter().copied().max().unwrap_or(idle);
    let settled = samples.get(samples.len() / 2).copied().unwrap_or(most);
    // All of an answer's text is kept until its end, which repeats it: for slow readers that is what their
    // upstreams could send.
    let flooded = upstream.flooded();
    let each = most.saturating_sub(idle + flooded) / (size.streams + SLOW + NEVER);
    let mut figures = String::new();
    let _ = write!(
        figures,
        "{} streams for {:?}, {} failed; memory {:.1} MB idle, {:.1} MB in the middle, {:.1} MB at most, {:.1} KB a stream",
        size.streams,
        size.time,
        failed.len(),
        mega(idle),
        mega(settled),
        mega(most),
        each as f64 / 1024.0,
    );
    for share in [0.5, 0.99] {
        let (with, without) = (late(&heard, share), late(&direct, share));
        let _ = write!(
            figures,
            "; p{:.0} late {with:.2} ms, {without:.2} ms without us",
            share * 100.0
        );
    }
    let offered = mega(flooded / (SLOW + NEVER));
    let _ = write!(
        figures,
        "; each slow reader's upstream could send {offered:.1} MB"
    );
    tell(&figures);
    assert!(failed.is_empty(), "{:#?}", failed.first());
    assert!(each < 64 * 1024, "{figures}");
    // What is kept of a stream grows with its text, which is kept once; it does not grow with time else.
    assert!(most < settled + settled / 2, "{figures}");
    let added = late(&heard, 0.99) - late(&direct, 0.99);
    assert!(added < size.most_added, "{figures}");
    assert!(
        offered < 32.0,
        "the upstream was read for nobody: {figures}"
    );
}

fn mega(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[test]
fn no_stream_that_can_end_in_time_is_lost_when_the_process_ends() {
    let size = Size::of_environment();
    let (runtime, epoch) = (runtime(), Instant::now());
    let upstream = runtime.block_on(Upstream::start(epoch));
    let proxy = Proxy::to(&upstream.base_url());
    const PIECES: usize = 16;
    let heard = runtime.block_on(async {
        let host = proxy.host();
        let all = streams(&host, size.streams, PIECES, epoch);
        let mut all = std::pin::pin!(all);
        tokio::select! {
            _ = &mut all => panic!("they last for longer"),
            // All have begun, none has ended.
            () = upstream.has_begun(size.streams) => {}
        }
        let pid = proxy.pid().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("kill runs").success());
        all.await
    });
    let lost: Vec<&Heard> = heard.iter().filter(|one| !one.is_whole(PIECES)).collect();
    tell(&format!(
        "{} streams while the process was asked to end, {} lost",
        size.streams,
        lost.len()
    ));
    assert!(lost.is_empty(), "{:#?}", lost.first());
    assert_eq!(proxy.wait_for_end(Duration::from_secs(20)), Some(0));
}
