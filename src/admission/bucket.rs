//! So much a minute: the generic cell rate algorithm in one number, which is when the bucket will be full
//! again.
//!
//! A bucket holds what a minute allows, and fills evenly. Time is handed in, as nanoseconds since any
//! moment. How much a minute allows is handed in too: where that changes, what was taken stays taken in
//! proportion. No crate does what tokens need: to be taken although there are too few (how many there
//! are is known only afterwards), and to be given back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a bucket allows in a minute; it is more than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u64);

/// How full a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// What it holds when it is full.
    pub limit: u64,
    /// What is in it.
    pub left: u64,
    /// When it will be full again.
    pub full_in: Duration,
}

const MINUTE: u64 = 60_000_000_000;
/// The deepest debt: what a year fills.
const DEEPEST: u64 = 365 * 24 * 60 * MINUTE;

/// A bucket, which is full at first.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at: AtomicU64,
}

impl Rate {
    /// How long it takes to fill so much.
    fn time(self, many: u64) -> u64 {
        let time = u128::from(many) * u128::from(MINUTE) / u128::from(self.0.max(1));
        u64::try_from(time).unwrap_or(DEEPEST).min(DEEPEST)
    }
}

impl Bucket {
    /// Takes so much, if it is there; else says how long it takes until it is. More than a bucket
    /// holds is taken out of a full one, which is in debt then.
    pub(super) fn take(&self, rate: Rate, many: u64, now: u64) -> Result<(), Duration> {
        let cost = rate.time(many);
        let needed = cost.min(MINUTE);
        let taken = self
            .full_at
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |full_at| {
                let used = full_at.saturating_sub(now);
                (used + needed <= MINUTE).then(|| now + used.saturating_add(cost).min(DEEPEST))
            });
        taken.map(|_| ()).map_err(|full_at| {
            let used = full_at.saturating_sub(now);
            Duration::from_nanos((used + needed).saturating_sub(MINUTE))
        })
    }

    /// Takes so much, whether it is there or not.
    pub(super) fn spend(&self, rate: Rate, many: u64, now: u64) {
        let cost = rate.time(many);
        self.change(|full_at| now + (full_at.saturating_sub(now) + cost).min(DEEPEST));
    }

    /// Gives so much back that was taken.
    pub(super) fn give_back(&self, rate: Rate, many: u64) {
        let cost = rate.time(many);
        self.change(|full_at| full_at.saturating_sub(cost));
    }

    /// How full it is.
    pub(super) fn level(&self, rate: Rate, now: u64) -> Level {
        let used = self.full_at.load(Ordering::Acquire).saturating_sub(now);
        let left = u128::from(MINUTE.saturating_sub(used)) * u128::from(rate.0);
        Level {
            limit: rate.0,
            left: u64::try_from(left / u128::from(MINUTE)).unwrap_or(u64::MAX),
            full_in: Duration::from_nanos(used),
        }
    }

    fn change(&self, change: impl Fn(u64) -> u64) {
        let change = |full_at| Some(change(full_at));
        // It always changes.
        let _ = self
            .full_at
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_minutes_worth_is_there_at_once_and_then_it_fills_evenly() {
        for rate in [1, 3, 7, 60, 1000] {
            let (bucket, rate) = (Bucket::default(), Rate(rate));
            for n in 0..rate.0 {
                let level = bucket.level(rate, 5);
                assert_eq!((level.limit, level.left), (rate.0, rate.0 - n));
                assert_eq!(bucket.take(rate, 1, 5), Ok(()), "{rate:?} {n}");
            }
            let wait = bucket.take(rate, 1, 5).unwrap_err();
            let nanos = u64::try_from(wait.as_nanos()).unwrap();
            assert!(nanos <= MINUTE / rate.0 && nanos + 2 * rate.0 >= MINUTE / rate.0);
            assert!(bucket.take(rate, 1, 5 + nanos - 1).is_err());
            assert_eq!(bucket.take(rate, 1, 5 + nanos), Ok(()));
        }
    }

    #[test]
    fn more_than_it_holds_is_taken_from_a_full_one_and_must_be_filled_up_again() {
        let (bucket, rate) = (Bucket::default(), Rate(100));
        assert_eq!(bucket.take(rate, 250, 0), Ok(()));
        let level = bucket.level(rate, 0);
        assert_eq!((level.left, level.full_in), (0, Duration::from_secs(150)));
        let wait = bucket.take(rate, 1, 0).unwrap_err();
        assert_eq!(wait, Duration::from_millis(90_600));
        // From one that is not full it is not.
        assert!(bucket.take(rate, 250, 149 * SECOND).is_err());
        assert_eq!(bucket.take(rate, 250, 150 * SECOND), Ok(()));
    }

    #[test]
    fn what_was_taken_in_advance_is_settled() {
        let (bucket, rate) = (Bucket::default(), Rate(60));
        bucket.take(rate, 40, 0).unwrap();
        bucket.give_back(rate, 30);
        assert_eq!(bucket.level(rate, 0).left, 50);
        bucket.spend(rate, 80, 0);
        assert_eq!(bucket.level(rate, 0).full_in, Duration::from_secs(90));
        bucket.give_back(rate, 1_000);
        assert_eq!(bucket.level(rate, SECOND).left, 60, "never more than full");
        bucket.spend(rate, u64::MAX, 0);
        bucket.spend(rate, u64::MAX, 0);
        assert!(bucket.take(rate, u64::MAX, 0).is_err());
    }

    #[test]
    fn another_rate_keeps_how_full_it_is() {
        let bucket = Bucket::default();
        bucket.take(Rate(10), 5, 0).unwrap();
        assert_eq!(bucket.level(Rate(100), 0).left, 50);
    }
}
