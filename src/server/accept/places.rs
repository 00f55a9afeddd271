//! The places that connections have. There are only so many; when all are taken, the connection that has
//! waited longest without a request under way gives up its own for one that comes.
//!
//! No lock is taken while a response streams: a connection enters its place when it comes, and a request
//! when it begins and when it ends. Meanwhile the connection only counts its turns.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a connection that is to give up its place may take before another one is asked for its own.
const GIVES_UP: Duration = Duration::from_millis(50);
/// How many connections are looked at for one that can be asked.
const LOOKS: usize = 16;
/// No place.
const NONE: u32 = u32::MAX;
/// Not among those who wait.
const OUT: u32 = u32::MAX - 1;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    list: Mutex<List>,
    most: usize,
    write_timeout: Duration,
    /// Somebody left.
    freed: Notify,
}

#[derive(Debug)]
struct List {
    entries: Vec<Entry>,
    free: Vec<u32>,
    taken: usize,
    /// Who has waited longest, and who has for the shortest time.
    first: u32,
    last: u32,
}

/// One place. Those without a request under way are in a row, by their neighbours' numbers.
#[derive(Debug)]
struct Entry {
    /// Who has it.
    place: Weak<Place>,
    /// What wakes it.
    waker: Option<Waker>,
    before: u32,
    after: u32,
}

/// The place of one connection, which goes with the last of those who hold it.
#[derive(Debug)]
pub(in crate::server) struct Place {
    places: Arc<Places>,
    number: u32,
    /// Requests under way.
    under_way: AtomicU32,
    /// It is to be given up.
    evicted: AtomicBool,
    /// A write waits for the client.
    stalled: AtomicBool,
    /// Something came since the last request ended.
    heard: AtomicBool,
    /// Requests so far; so many that they begin anew are as good.
    asked: AtomicU32,
    /// It is told when its last request ends, as that may end in another task.
    shared: AtomicBool,
    /// How often the connection was polled; it alone counts.
    turn: AtomicU32,
}

/// A request under way.
#[derive(Debug)]
pub(in crate::server) struct UnderWay(Arc<Place>);

impl Places {
    pub(super) fn new(most: usize, write_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            list: Mutex::new(List {
                entries: Vec::new(),
                free: Vec::new(),
                taken: 0,
                first: NONE,
                last: NONE,
            }),
            most: most.min(OUT as usize),
            write_timeout,
            freed: Notify::new(),
        })
    }

    /// A place for a connection that came; somebody is asked to make room if there is none.
    pub(super) async fn take(self: &Arc<Self>) -> Arc<Place> {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_take() {
                return place;
            }
            self.make_room();
            // Who was asked may have begun a request meanwhile: then another one is.
            let _ = tokio::time::timeout(GIVES_UP, freed).await;
        }
    }

    /// A place, if there is one.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Arc<Place>> {
        let mut list = self.lock();
        if list.taken >= self.most {
            return None;
        }
        list.taken += 1;
        let number = list.free.pop().unwrap_or_else(|| {
            list.entries.push(Entry {
                place: Weak::new(),
                waker: None,
                before: OUT,
                after: OUT,
            });
            // There are at most as many as fit.
            u32::try_from(list.entries.len() - 1).unwrap_or(NONE)
        });
        let place = Arc::new(Place {
            places: Arc::clone(self),
            number,
            under_way: AtomicU32::new(0),
            evicted: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            asked: AtomicU32::new(0),
            shared: AtomicBool::new(false),
            turn: AtomicU32::new(0),
        });
        if let Some(entry) = list.entry(number) {
            entry.place = Arc::downgrade(&place);
        }
        list.queue(number);
        Some(place)
    }

    /// Asks the connection that has waited longest to leave. Says whether there is one.
    pub(super) fn make_room(&self) -> bool {
        // Dropped after the lock is given back, as the last of them to go wants it.
        let mut looked_at = Vec::new();
        let mut list = self.lock();
        for _ in 0..LOOKS {
            let first = list.first;
            list.unqueue(first);
            let Some(entry) = list.entry(first) else {
                return false;
            };
            let waker = entry.waker.clone();
            // It is about to leave by itself.
            let Some(place) = entry.place.upgrade() else {
                continue;
            };
            if place.stalled.load(Ordering::Relaxed) {
                // Its client has not taken all of the last answer.
                list.queue(first);
                looked_at.push(place);
                continue;
            }
            place.evicted.store(true, Ordering::Release);
            drop(list);
            if let Some(waker) = waker {
                waker.wake();
            }
            return true;
        }
        drop(list);
        drop(looked_at);
        false
    }

    /// Has every connection look around.
    pub(super) fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let list = self.lock();
            let wakers = list.entries.iter().filter_map(|entry| entry.waker.clone());
            wakers.collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many connections there are.
    pub(super) fn taken(&self) -> usize {
        self.lock().taken
    }

    /// How many of them have a request under way.
    pub(super) fn busy(&self) -> usize {
        let mut list = self.lock();
        let (mut waiting, mut at) = (0, list.first);
        while let Some(entry) = list.entry(at) {
            waiting += 1;
            at = entry.after;
        }
        list.taken.saturating_sub(waiting)
    }

    /// Waits until all have left.
    pub(super) async fn all_left(&self) {
        loop {
            let freed = self.freed.notified();
            if self.taken() == 0 {
                return;
            }
            freed.await;
        }
    }

    /// How long a client may take nothing of what is written to it.
    pub(super) fn write_timeout(&self) -> Duration {
        self.write_timeout
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // Nothing panics while it is held.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn entry(&mut self, number: u32) -> Option<&mut Entry> {
        self.entries.get_mut(number as usize)
    }

    /// Puts it behind all who wait.
    fn queue(&mut self, number: u32) {
        let last = std::mem::replace(&mut self.last, number);
        if let Some(entry) = self.entry(number) {
            (entry.before, entry.after) = (last, NONE);
        }
        match self.entry(last) {
            Some(entry) => entry.after = number,
            None => self.first = number,
        }
    }

    /// Takes it out of those who wait, if it is among them.
    fn unqueue(&mut self, number: u32) {
        let Some(entry) = self.entry(number) else {
            return;
        };
        if entry.before == OUT {
            return;
        }
        let before = std::mem::replace(&mut entry.before, OUT);
        let after = std::mem::replace(&mut entry.after, OUT);
        match self.entry(before) {
            Some(entry) => entry.after = after,
            None => self.first = after,
        }
        match self.entry(after) {
            Some(entry) => entry.before = before,
            None => self.last = before,
        }
    }
}

impl Place {
    /// A request begins.
    pub(in crate::server) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut list = self.places.lock();
        let before = self.under_way.fetch_add(1, Ordering::AcqRel);
        if before == 0 {
            list.unqueue(self.number);
            self.evicted.store(false, Ordering::Release);
            self.heard.store(false, Ordering::Relaxed);
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        drop(list);
        UnderWay(Arc::clone(self))
    }

    /// Whether no request is under way.
    pub(in crate::server) fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }

    /// Whether it is to be given up.
    pub(in crate::server) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire)
    }

    /// It is not given up after all.
    pub(super) fn stay(&self) {
        let mut list = self.places.lock();
        self.evicted.store(false, Ordering::Release);
        if self.is_idle() {
            list.unqueue(self.number);
            list.queue(self.number);
        }
    }

    /// What wakes the connection from now on.
    pub(in crate::server) fn leave_waker(&self, waker: &Waker) {
        if let Some(entry) = self.places.lock().entry(self.number) {
            entry.waker = Some(waker.clone());
        }
    }

    /// Its requests are worked on in tasks of their own.
    pub(super) fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    /// The connection is polled, once more.
    pub(super) fn take_turn(&self) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
    }

    /// How many requests there were so far.
    pub(super) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Something came from the client.
    pub(super) fn hears(&self) {
        if self.is_idle() {
            self.heard.store(true, Ordering::Relaxed);
        }
    }

    /// Whether something came since the last request ended.
    pub(super) fn has_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// A write waits for the client, or does not any more.
    pub(super) fn stalls(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Whether a write waits for the client.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// How long that may last.
    pub(super) fn write_timeout(&self) -> Duration {
        self.places.write_timeout()
    }

    fn end(&self) {
        let mut list = self.places.lock();
        let before = self.under_way.fetch_sub(1, Ordering::AcqRel);
        if before != 1 {
            return;
        }
        list.queue(self.number);
        let told = match self.shared.load(Ordering::Relaxed) {
            true => list
                .entry(self.number)
                .and_then(|entry| entry.waker.clone()),
            false => None,
        };
        drop(list);
        if let Some(waker) = told {
            waker.wake();
        }
    }
}

impl UnderWay {
    /// Whether it is worked on in a task of its own.
    pub(super) fn is_shared(&self) -> bool {
        self.0.shared.load(Ordering::Relaxed)
    }

    /// Which poll of its connection this is, if it is that which polls the answer.
    pub(super) fn turn(&self) -> Option<u32> {
        (!self.is_shared()).then(|| self.0.turn.load(Ordering::Relaxed))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut list = self.places.lock();
        list.unqueue(self.number);
        let waker = list.entry(self.number).and_then(|entry| {
            entry.place = Weak::new();
            entry.waker.take()
        });
        list.free.push(self.number);
        list.taken -= 1;
        drop(list);
        drop(waker);
        self.places.freed.notify_one();
    }
}

/// Somebody who has a place, and is to learn when to give it up.
#[derive(Debug)]
pub(in crate::server) struct Tenancy {
    place: Arc<Place>,
    /// The waker that was left.
    known: Option<Waker>,
}

impl Tenancy {
    pub(in crate::server) fn new(place: Arc<Place>) -> Self {
        Self { place, known: None }
    }

    /// A request begins.
    pub(in crate::server) fn begin(&self) -> UnderWay {
        self.place.begin()
    }

    /// Ready when the place is to be given up.
    pub(in crate::server) fn poll_end(&mut self, cx: &Context<'_>) -> Poll<()> {
        let known = self.known.as_ref();
        if !known.is_some_and(|known| known.will_wake(cx.waker())) {
            self.place.leave_waker(cx.waker());
            self.known = Some(cx.waker().clone());
        }
        match self.place.is_evicted() && self.place.is_idle() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
