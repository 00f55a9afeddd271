//! How much there is of something at a time. Who comes when it is all taken waits in line, for a while;
//! the line has an end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of places that may change while some of them are taken.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    size: Mutex<usize>,
    /// How many of those that come back are not given out again: there are fewer now.
    owed: AtomicUsize,
}

/// Some places, until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    slots: Arc<Slots>,
    /// There until it is dropped.
    permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(crate) fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(size)),
            size: Mutex::new(size),
            owed: AtomicUsize::new(0),
        }
    }

    /// Changes their number. What is taken stays taken.
    pub(crate) fn resize(&self, size: usize) {
        let size = size.min(Semaphore::MAX_PERMITS);
        let mut old = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if size < *old {
            let less = *old - size;
            let gone = self.free.forget_permits(less);
            self.owed.fetch_add(less - gone, Ordering::AcqRel);
        } else {
            let more = size - *old;
            self.free.add_permits(more - self.pay(more));
        }
        *old = size;
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Takes so many, if they are free and nobody waits for them.
    pub(crate) fn try_take(self: &Arc<Self>, many: u32) -> Option<Taken> {
        let permit = Arc::clone(&self.free).try_acquire_many_owned(many).ok()?;
        Some(self.taken(permit))
    }

    /// Waits for so many; who came first gets them first.
    pub(crate) async fn take(self: &Arc<Self>, many: u32) -> Taken {
        match Arc::clone(&self.free).acquire_many_owned(many).await {
            Ok(permit) => self.taken(permit),
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    fn taken(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Taken {
        Taken {
            slots: Arc::clone(self),
            permit: Some(permit),
        }
    }

    /// Takes up to so many off what is owed, and says how many.
    fn pay(&self, most: usize) -> usize {
        let pay = |owed: usize| Some(owed.saturating_sub(most));
        let before = self
            .owed
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, pay);
        before.unwrap_or_default().min(most)
    }
}

impl Taken {
    /// Puts others of the same slots to these.
    pub(crate) fn merge(&mut self, mut other: Self) {
        match (&mut self.permit, other.permit.take()) {
            (Some(own), Some(more)) => own.merge(more),
            (own, more) => *own = own.take().or(more),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(mut permit) = self.permit.take() else {
            return;
        };
        let paid = self.slots.pay(permit.num_permits());
        if let Some(gone) = permit.split(paid) {
            gone.forget();
        }
    }
}

/// A line in front of places.
#[derive(Debug)]
pub(crate) struct Gate {
    slots: Option<Arc<Slots>>,
    waiting: AtomicUsize,
    inside: AtomicUsize,
}

/// How long a line is, and how long one waits in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The most that wait.
    pub(crate) most: usize,
    /// How long.
    pub(crate) wait: Duration,
}

/// Leave to be inside, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    /// Goes back to those in line when it is dropped.
    _place: Option<Taken>,
}

/// Why there is no leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shut {
    /// As many wait as may.
    LineIsFull,
    /// Nobody ended in time.
    Waited(Duration),
}

impl Gate {
    /// A gate with so many places, or as many as come.
    pub(crate) fn new(most: Option<usize>) -> Self {
        Self {
            slots: most.map(|most| Arc::new(Slots::new(most))),
            waiting: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
        }
    }

    /// Changes the number of places, where there is one.
    pub(crate) fn resize(&self, most: usize) {
        if let Some(slots) = &self.slots {
            slots.resize(most);
        }
    }

    /// Those who are inside.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    /// Those who wait in line.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether the next one would have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.as_ref().is_some_and(|slots| slots.free() == 0)
    }

    /// Waits in line, for as long as is allowed.
    pub(crate) async fn enter(self: Arc<Self>, line: Line) -> Result<Permit, Shut> {
        let place = match &self.slots {
            None => None,
            Some(slots) => match slots.try_take(1) {
                Some(place) => Some(place),
                None => Some(self.wait_for(slots, line).await?),
            },
        };
        self.inside.fetch_add(1, Ordering::Relaxed);
        Ok(Permit {
            gate: self,
            _place: place,
        })
    }

    async fn wait_for(&self, slots: &Arc<Slots>, line: Line) -> Result<Taken, Shut> {
        /// Leaves the line, however the wait ends.
        struct InLine<'g>(&'g AtomicUsize);

        impl Drop for InLine<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }

        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _in_line = InLine(&self.waiting);
        if before >= line.most {
            return Err(Shut::LineIsFull);
        }
        let taken = tokio::time::timeout(line.wait, slots.take(1)).await;
        taken.map_err(|_| Shut::Waited(line.wait))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(most: usize, millis: u64) -> Line {
        Line {
            most,
            wait: Duration::from_millis(millis),
        }
    }

    #[tokio::test]
    async fn who_comes_too_many_waits_until_another_ends() {
        let gate = Arc::new(Gate::new(Some(1)));
        let line = line(1, 5_000);
        let first = Arc::clone(&gate).enter(line).await.unwrap();
        assert!(gate.is_full());
        let second = tokio::spawn(Arc::clone(&gate).enter(line));
        while gate.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let third = Arc::clone(&gate).enter(line).await;
        assert_eq!(third.unwrap_err(), Shut::LineIsFull);
        assert_eq!(gate.inside(), 1);
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
        drop(second);
        assert_eq!(gate.inside(), 0);
        assert!(!gate.is_full());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let gate = Arc::new(Gate::new(Some(1)));
        let _first = Arc::clone(&gate).enter(line(9, 20)).await.unwrap();
        let second = Arc::clone(&gate).enter(line(9, 20)).await;
        assert_eq!(second.unwrap_err(), Shut::Waited(Duration::from_millis(20)));
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn without_a_limit_they_are_only_counted() {
        let gate = Arc::new(Gate::new(None));
        let one = Arc::clone(&gate).enter(line(0, 0)).await.unwrap();
        let two = Arc::clone(&gate).enter(line(0, 0)).await.unwrap();
        assert_eq!((gate.inside(), gate.is_full()), (2, false));
        drop((one, two));
        assert_eq!(gate.inside(), 0);
    }

    #[test]
    fn places_can_become_fewer_while_they_are_taken() {
        let slots = Arc::new(Slots::new(3));
        let mut three = slots.try_take(2).unwrap();
        three.merge(slots.try_take(1).unwrap());
        slots.resize(2);
        assert_eq!(slots.free(), 0);
        drop(three);
        assert_eq!(slots.free(), 2, "one of them is gone");
        let two = slots.try_take(2).unwrap();
        slots.resize(1);
        slots.resize(4);
        assert_eq!(slots.free(), 2, "what was owed is paid first");
        drop(two);
        assert_eq!(slots.free(), 4);
    }
}
