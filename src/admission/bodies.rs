//! The memory that requests may have together while they are read and translated.
//!
//! A body takes what has come of it, not what it says it will be: who says much and sends little keeps
//! nobody out. When all is taken, bodies wait for others to be dealt with. So that those which have a
//! part each do not wait for each other, one of them at a time may have more than there is.

use std::sync::Arc;

use crate::gate::{Slots, Taken};

/// What is counted: bytes in such pieces.
const PIECE: usize = 1024;

/// All of it.
#[derive(Debug)]
pub(super) struct Bodies {
    pieces: Arc<Slots>,
    beyond: Arc<Slots>,
}

/// What one body has of it, until this is dropped.
#[derive(Debug)]
pub struct Room {
    bodies: Arc<Bodies>,
    pieces: u32,
    taken: Option<Taken>,
    /// It may have more than there is.
    beyond: Option<Taken>,
    waits: bool,
}

impl Bodies {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            pieces: Arc::new(Slots::new(bytes / PIECE)),
            beyond: Arc::new(Slots::new(1)),
        }
    }

    pub(super) fn resize(&self, bytes: usize) {
        self.pieces.resize(bytes / PIECE);
    }

    /// Room for a body of which nothing has come yet.
    pub(super) fn room(self: &Arc<Self>) -> Room {
        Room {
            bodies: Arc::clone(self),
            pieces: 0,
            taken: None,
            beyond: None,
            waits: false,
        }
    }
}

impl Room {
    /// Makes room for so many bytes in all; waits for others, if need be.
    pub async fn grow(&mut self, bytes: usize) {
        self.waits = false;
        let more = self.missing(bytes);
        if more == 0 || self.try_more(more) {
            return;
        }
        self.waits = true;
        let (pieces, beyond) = (&self.bodies.pieces, &self.bodies.beyond);
        tokio::select! {
            biased;
            taken = pieces.take(more) => self.add(more, taken),
            beyond = beyond.take(1) => self.beyond = Some(beyond),
        }
        self.waits = false;
    }

    /// Makes room for so many bytes in all, if there is some at once.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let more = self.missing(bytes);
        more == 0 || self.try_more(more)
    }

    /// Whether it was waiting for others when it was looked at last.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// How many pieces are wanting for so many bytes.
    fn missing(&self, bytes: usize) -> u32 {
        if self.beyond.is_some() {
            return 0;
        }
        let all = u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX);
        all.saturating_sub(self.pieces)
    }

    fn try_more(&mut self, more: u32) -> bool {
        let taken = self.bodies.pieces.try_take(more);
        let is_there = taken.is_some();
        if let Some(taken) = taken {
            self.add(more, taken);
        }
        is_there
    }

    fn add(&mut self, more: u32, taken: Taken) {
        self.pieces += more;
        match &mut self.taken {
            Some(own) => own.merge(taken),
            None => self.taken = Some(taken),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether a body got its room.
    async fn comes(growing: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_millis(50), growing)
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn bodies_wait_for_each_other_and_never_all_of_them() {
        let bodies = Arc::new(Bodies::new(10 * PIECE));
        let (mut one, mut two, mut three) = (bodies.room(), bodies.room(), bodies.room());
        one.grow(4 * PIECE).await;
        two.grow(6 * PIECE).await;
        // All is taken: one of them may go on, whatever it needs.
        assert!(comes(one.grow(9 * PIECE)).await);
        assert!(comes(one.grow(90 * PIECE)).await);
        assert!(!comes(two.grow(7 * PIECE)).await);
        assert!(two.waits() && !three.try_grow(1));
        assert!(comes(two.grow(6 * PIECE)).await, "it has that");
        drop(one);
        assert!(comes(two.grow(10 * PIECE)).await);
        assert!(!two.waits());
        assert!(comes(three.grow(5 * PIECE)).await, "that one is beyond now");
        drop((two, three));
        assert_eq!((bodies.pieces.free(), bodies.beyond.free()), (10, 1));
    }

    #[tokio::test]
    async fn who_is_first_in_line_goes_first() {
        let bodies = Arc::new(Bodies::new(2 * PIECE));
        let (mut all, mut beyond, mut waits) = (bodies.room(), bodies.room(), bodies.room());
        all.grow(2 * PIECE).await;
        beyond.grow(1).await;
        let waiting = tokio::spawn(async move {
            waits.grow(PIECE).await;
            waits
        });
        tokio::task::yield_now().await;
        drop(all);
        let waits = waiting.await.unwrap();
        assert_eq!(bodies.pieces.free(), 1);
        drop((beyond, waits));
        assert_eq!((bodies.pieces.free(), bodies.beyond.free()), (2, 1));
    }
}
