//! Wrong keys: the log has a line a minute of each source, and who sends many gets slow answers.
//!
//! A right key is never slowed, whoever shares its source with somebody who guesses. What is known of
//! sources is bounded: those for which there is no room share one place.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::bucket::{Bucket, Rate};
use super::refused::Count;
use crate::gate::Slots;

/// How many wrong keys a source may send in a minute before its answers are slowed.
const FREE: Rate = Rate(10);
/// How long a slowed answer takes.
const SLOWED: Duration = Duration::from_secs(1);
/// How many answers are slowed at a time; others are told at once, so that nobody can have us hold
/// on to more.
const MOST_SLOWED: usize = 256;
/// How many sources are known at a time.
const MOST_SOURCES: usize = 1024;
/// For how long nothing must come of a source before its place goes to another.
const FORGET: u64 = 60_000_000_000;

/// Where requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// An address, or a network that one client has.
    Address(IpAddr),
    /// No address: a socket of this machine.
    Local,
    /// All for which there is no room.
    Others,
}

#[derive(Debug, Default)]
struct Record {
    count: Count,
    wrong: Bucket,
    latest: u64,
}

/// All wrong keys.
#[derive(Debug)]
pub(super) struct Guesses {
    sources: Mutex<HashMap<Source, Record>>,
    slow: Arc<Slots>,
}

/// What a request without a right key has instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guess {
    /// Nothing.
    Missing,
    /// A wrong one.
    Wrong,
}

impl Guesses {
    pub(super) fn new() -> Self {
        Self {
            sources: Mutex::default(),
            slow: Arc::new(Slots::new(MOST_SLOWED)),
        }
    }

    /// Notes a request without a right key; its answer may take a while.
    pub(super) async fn note(&self, guess: Guess, address: Option<IpAddr>, now: u64) {
        if !self.counts(guess, address, now) {
            return;
        }
        if let Some(_slow) = self.slow.try_take(1) {
            tokio::time::sleep(SLOWED).await;
        }
    }

    /// Counts and logs it; says whether the source sends too many.
    fn counts(&self, guess: Guess, address: Option<IpAddr>, now: u64) -> bool {
        let source = address.map_or(Source::Local, |address| Source::Address(network(address)));
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= MOST_SOURCES && !sources.contains_key(&source) {
            sources.retain(|_, record| now < record.latest + FORGET);
        }
        let source = match sources.len() < MOST_SOURCES || sources.contains_key(&source) {
            true => source,
            false => Source::Others,
        };
        let record = sources.entry(source).or_default();
        record.latest = now;
        if let Some(refused) = record.count.add(now) {
            let from = match source {
                Source::Address(address) => address.to_string(),
                Source::Local => "this machine".to_owned(),
                Source::Others => "others".to_owned(),
            };
            let what = match guess {
                Guess::Missing => "missing",
                Guess::Wrong => "wrong",
            };
            tracing::warn!(from, key = what, refused, "requests without a right key");
        }
        guess == Guess::Wrong && record.wrong.take(FREE, 1, now).is_err()
    }
}

/// The address, or of IPv6 the part that tells networks apart: a client has all the rest.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(n: u32) -> Option<IpAddr> {
        Some(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn who_guesses_is_slowed_and_others_are_not() {
        let guesses = Guesses::new();
        for _ in 0..FREE.0 {
            assert!(!guesses.counts(Guess::Wrong, from(1), 0));
        }
        assert!(guesses.counts(Guess::Wrong, from(1), 0));
        assert!(!guesses.counts(Guess::Wrong, from(2), 0));
        assert!(!guesses.counts(Guess::Wrong, None, 0));
        for _ in 0..100 {
            assert!(
                !guesses.counts(Guess::Missing, from(3), 0),
                "that is no guess"
            );
        }
        assert!(
            !guesses.counts(Guess::Wrong, from(1), FORGET),
            "a minute later"
        );
    }

    #[test]
    fn sources_do_not_fill_the_memory() {
        let guesses = Guesses::new();
        let most = u32::try_from(MOST_SOURCES).unwrap();
        for n in 0..3 * most {
            guesses.counts(Guess::Wrong, from(n), 0);
        }
        let known = || guesses.sources.lock().unwrap().len();
        assert_eq!(known(), MOST_SOURCES + 1);
        assert!(
            guesses.counts(Guess::Wrong, from(9 * most), 0),
            "they are one"
        );
        assert!(!guesses.counts(Guess::Wrong, from(9 * most), FORGET));
        assert_eq!(known(), 1);
    }

    #[test]
    fn a_network_is_one_source() {
        let same = |one: &str, other: &str| {
            network(one.parse().unwrap()) == network(other.parse().unwrap())
        };
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
    }

    #[tokio::test]
    async fn a_slowed_answer_comes_nevertheless() {
        let guesses = Guesses::new();
        let began = crate::time::Instant::now();
        for _ in 0..=FREE.0 {
            guesses.note(Guess::Wrong, from(1), 0).await;
        }
        assert!(began.elapsed() >= SLOWED);
        assert_eq!(guesses.slow.free(), MOST_SLOWED);
    }
}
