//! How many requests an upstream has at a time. More wait in line, for a while; the line has an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The way in to an upstream.
#[derive(Debug)]
pub(super) struct Gate {
    free: Option<Arc<Semaphore>>,
    most_waiting: usize,
    wait: Duration,
    waiting: AtomicUsize,
    in_flight: AtomicUsize,
}

/// Leave to ask, until the answer's end.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    /// Goes back to those in line when it is dropped.
    _free: Option<OwnedSemaphorePermit>,
}

/// Why there is no leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shut {
    /// As many wait as may.
    LineIsFull,
    /// Nobody ended in time.
    Waited(Duration),
}

impl Gate {
    pub(super) fn new(most: Option<usize>, most_waiting: usize, wait: Duration) -> Self {
        let most = most.map(|most| most.min(Semaphore::MAX_PERMITS));
        Self {
            free: most.map(|most| Arc::new(Semaphore::new(most))),
            most_waiting,
            wait,
            waiting: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// Requests that are being answered, or asked.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests in line.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether the next one would have to wait.
    pub(super) fn is_full(&self) -> bool {
        let free = self.free.as_ref();
        free.is_some_and(|free| free.available_permits() == 0)
    }

    /// Waits in line, for as long as is allowed.
    pub(super) async fn enter(self: Arc<Self>) -> Result<Permit, Shut> {
        let free = match &self.free {
            None => None,
            Some(free) => match Arc::clone(free).try_acquire_owned() {
                Ok(free) => Some(free),
                Err(_) => Some(self.wait_for(Arc::clone(free)).await?),
            },
        };
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Permit {
            gate: self,
            _free: free,
        })
    }

    async fn wait_for(&self, free: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Shut> {
        /// Leaves the line, however the wait ends.
        struct InLine<'g>(&'g AtomicUsize);

        impl Drop for InLine<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }

        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _in_line = InLine(&self.waiting);
        if before >= self.most_waiting {
            return Err(Shut::LineIsFull);
        }
        match tokio::time::timeout(self.wait, free.acquire_owned()).await {
            Ok(Ok(free)) => Ok(free),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Shut::Waited(self.wait)),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(most: usize, waiting: usize, millis: u64) -> Arc<Gate> {
        Arc::new(Gate::new(
            Some(most),
            waiting,
            Duration::from_millis(millis),
        ))
    }

    #[tokio::test]
    async fn who_comes_too_many_waits_until_another_ends() {
        let gate = gate(1, 1, 5_000);
        let first = Arc::clone(&gate).enter().await.unwrap();
        assert!(gate.is_full());
        let second = tokio::spawn(Arc::clone(&gate).enter());
        while gate.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let third = Arc::clone(&gate).enter().await;
        assert_eq!(third.unwrap_err(), Shut::LineIsFull);
        assert_eq!(gate.in_flight(), 1);
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
        drop(second);
        assert_eq!(gate.in_flight(), 0);
        assert!(!gate.is_full());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let gate = gate(1, 9, 20);
        let _first = Arc::clone(&gate).enter().await.unwrap();
        let second = Arc::clone(&gate).enter().await;
        assert_eq!(second.unwrap_err(), Shut::Waited(Duration::from_millis(20)));
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn without_a_limit_they_are_only_counted() {
        let gate = Arc::new(Gate::new(None, 0, Duration::ZERO));
        let one = Arc::clone(&gate).enter().await.unwrap();
        let two = Arc::clone(&gate).enter().await.unwrap();
        assert_eq!((gate.in_flight(), gate.is_full()), (2, false));
        drop((one, two));
        assert_eq!(gate.in_flight(), 0);
    }
}
