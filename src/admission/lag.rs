//! Whether the process keeps up: a task sleeps for a moment again and again, and sees how late it wakes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::time::Instant;

/// How long it sleeps.
const NAP: Duration = Duration::from_millis(100);
/// How many times in a row it must be too late before the process is overloaded: one long pause is
/// not yet too much work.
const IN_A_ROW: u64 = 10;

/// How late the process is.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// The latest that is allowed, in milliseconds; 0 for any.
    most: AtomicU64,
    /// How many times in a row it was later.
    late: AtomicU64,
    watched: AtomicBool,
}

impl Lag {
    /// Sets what is allowed, and begins or ends to watch; there must be a runtime.
    pub(super) fn allow(self: &Arc<Self>, most: Option<Duration>) {
        let most = most.map_or(0, |most| {
            u64::try_from(most.as_millis()).unwrap_or(u64::MAX)
        });
        self.most.store(most, Ordering::Release);
        if most > 0 && !self.watched.swap(true, Ordering::AcqRel) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Whether the process has been too late for a while.
    pub(super) fn is_too_much(&self) -> bool {
        self.late.load(Ordering::Relaxed) >= IN_A_ROW
    }

    /// Takes in how late it was this time; false once nobody wants to know.
    fn woke(&self, late: Duration) -> bool {
        let most = self.most.load(Ordering::Acquire);
        if most > 0 && late > Duration::from_millis(most) {
            self.late.fetch_add(1, Ordering::Relaxed);
        } else {
            self.late.store(0, Ordering::Relaxed);
        }
        most > 0
    }
}

async fn watch(lag: Weak<Lag>) {
    loop {
        let due = Instant::now() + NAP;
        tokio::time::sleep_until(due).await;
        let Some(lag) = lag.upgrade() else { return };
        if !lag.woke(due.elapsed()) {
            lag.watched.store(false, Ordering::Release);
            // It may have been wanted again in between.
            if lag.most.load(Ordering::Acquire) == 0 || lag.watched.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pause_is_not_too_much_work() {
        let lag = Lag::default();
        lag.most.store(50, Ordering::Relaxed);
        for _ in 0..5 {
            for _ in 0..IN_A_ROW - 1 {
                assert!(lag.woke(Duration::from_millis(51)));
                assert!(!lag.is_too_much());
            }
            assert!(lag.woke(Duration::from_millis(50)));
        }
        for _ in 0..IN_A_ROW {
            lag.woke(Duration::from_secs(1));
        }
        assert!(lag.is_too_much());
        lag.woke(Duration::ZERO);
        assert!(!lag.is_too_much());
        lag.most.store(0, Ordering::Relaxed);
        assert!(!lag.woke(Duration::from_secs(9)));
    }

    /// Work that never gives way keeps the only thread of this runtime.
    #[tokio::test]
    async fn a_process_that_cannot_keep_up_is_known() {
        let lag = Arc::new(Lag::default());
        lag.allow(Some(Duration::from_millis(20)));
        let began = Instant::now();
        while !lag.is_too_much() {
            std::thread::sleep(Duration::from_millis(150));
            tokio::task::yield_now().await;
            assert!(began.elapsed() < Duration::from_secs(30), "it is not seen");
        }
        while lag.is_too_much() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(began.elapsed() < Duration::from_secs(60), "it stays");
        }
        lag.allow(None);
        while lag.watched.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(
                began.elapsed() < Duration::from_secs(90),
                "it is still watched"
            );
        }
    }
}
