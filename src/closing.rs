//! How the process ends, step by step, and how everybody at work learns of it.
//!
//! A stream asks with each poll whether all is over, which is one atomic load. What wakes a stream that
//! waits for its upstream is a waker that it leaves here once; they are many, so they are kept in several
//! lists, each with a lock of its own.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio_util::sync::CancellationToken;

/// In how many lists the wakers are.
const LISTS: usize = 16;

/// A step towards the end. None is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// All is well.
    Serving,
    /// Whoever sends clients here is told to stop that; those who come are still served.
    Leaving,
    /// No new work is taken.
    Draining,
    /// What still runs is cut off.
    Over,
}

/// The end of the process, as far as it has come. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Closing(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    step: AtomicU8,
    draining: CancellationToken,
    lists: [Mutex<List>; LISTS],
    /// Counts those who came, so that they spread over the lists.
    came: AtomicUsize,
    /// What was cut off.
    cut_off: AtomicUsize,
}

/// Who is to be woken. A place of the list belongs to one [`Watch`] as long as that lives.
#[derive(Debug, Default)]
struct List {
    wakers: Vec<Option<Waker>>,
    free: Vec<Place>,
}

impl Closing {
    /// How far it has come.
    #[must_use]
    pub fn step(&self) -> Step {
        match self.0.step.load(Ordering::SeqCst) {
            0 => Step::Serving,
            1 => Step::Leaving,
            2 => Step::Draining,
            _ => Step::Over,
        }
    }

    /// Whether what still runs is cut off.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.step() == Step::Over
    }

    /// Goes on to a step, if it has not come so far. Everybody learns of it.
    pub fn go_to(&self, step: Step) {
        self.0.step.fetch_max(step as u8, Ordering::SeqCst);
        if step >= Step::Draining {
            self.0.draining.cancel();
        }
        if step == Step::Over {
            for list in &self.0.lists {
                // Whoever is woken may want the list.
                let woken: Vec<Waker> = lock(list)
                    .wakers
                    .iter_mut()
                    .filter_map(Option::take)
                    .collect();
                woken.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Set once no new work is taken.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// Somebody's way to learn that all is over.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch {
            closing: self.clone(),
            left: None,
        }
    }

    /// Something was cut off.
    pub fn count_cut_off(&self) {
        self.0.cut_off.fetch_add(1, Ordering::Relaxed);
    }

    /// How much was cut off.
    #[must_use]
    pub fn cut_off(&self) -> usize {
        self.0.cut_off.load(Ordering::Relaxed)
    }
}

/// Somebody who is to learn that all is over.
#[derive(Debug)]
pub struct Watch {
    closing: Closing,
    /// The waker that was left, and where.
    left: Option<(Waker, Place)>,
}

/// Where a waker is: the list is the rest of a division, the place in it the result. Two numbers would
/// make each stream larger.
#[derive(Debug, Clone, Copy)]
struct Place(u32);

impl Watch {
    /// Whether all is over. Who is told that it is not is woken once it is.
    pub fn is_over(&mut self, cx: &Context<'_>) -> bool {
        if self.closing.is_over() {
            return true;
        }
        let left = self.left.as_ref();
        if !left.is_some_and(|(waker, _)| waker.will_wake(cx.waker())) {
            self.leave(cx.waker());
            // It may have come true since it was looked at, and before the waker was there.
            return self.closing.is_over();
        }
        false
    }

    /// Waits until all is over.
    pub async fn over(&mut self) {
        poll_fn(|cx| match self.is_over(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// The end that this watches for.
    #[must_use]
    pub fn closing(&self) -> &Closing {
        &self.closing
    }

    fn leave(&mut self, waker: &Waker) {
        let place = match self.left.take() {
            Some((_, place)) => place,
            None => self.closing.0.place(),
        };
        if let Some(left) = self.closing.0.list(place).wakers.get_mut(place.at()) {
            *left = Some(waker.clone());
        }
        self.left = Some((waker.clone(), place));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((_, place)) = self.left.take() {
            let mut list = self.closing.0.list(place);
            if let Some(left) = list.wakers.get_mut(place.at()) {
                *left = None;
            }
            list.free.push(place);
        }
    }
}

impl Place {
    fn list(self) -> usize {
        self.0 as usize % LISTS
    }

    fn at(self) -> usize {
        self.0 as usize / LISTS
    }
}

impl Shared {
    fn list(&self, place: Place) -> MutexGuard<'_, List> {
        lock(&self.lists[place.list()])
    }

    /// A place that is nobody's.
    fn place(&self) -> Place {
        let list = self.came.fetch_add(1, Ordering::Relaxed) % LISTS;
        let mut places = lock(&self.lists[list]);
        places.free.pop().unwrap_or_else(|| {
            let place = places.wakers.len() * LISTS + list;
            places.wakers.push(None);
            // As many streams do not fit into memory.
            Place(u32::try_from(place).unwrap_or(u32::MAX))
        })
    }
}

fn lock(list: &Mutex<List>) -> MutexGuard<'_, List> {
    // Nothing panics while it is held.
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicU32);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn entries(closing: &Closing) -> usize {
        let lists = closing.0.lists.iter();
        lists.map(|list| lock(list).wakers.len()).sum()
    }

    #[test]
    fn each_is_woken_once_and_told() {
        let closing = Closing::default();
        let (one, other) = (Arc::new(Counted::default()), Arc::new(Counted::default()));
        let wakers = [
            Waker::from(Arc::clone(&one)),
            Waker::from(Arc::clone(&other)),
        ];
        let mut watches: Vec<Watch> = (0..100).map(|_| closing.watch()).collect();
        for watch in &mut watches {
            for waker in &wakers {
                assert!(!watch.is_over(&Context::from_waker(waker)));
            }
        }
        for step in [Step::Leaving, Step::Draining] {
            closing.go_to(step);
        }
        assert!(closing.draining().is_cancelled());
        assert_eq!(other.0.load(Ordering::SeqCst), 0, "it is not over yet");
        closing.go_to(Step::Over);
        assert_eq!(one.0.load(Ordering::SeqCst), 0, "it was replaced");
        assert_eq!(other.0.load(Ordering::SeqCst), 100);
        for watch in &mut watches {
            assert!(watch.is_over(&Context::from_waker(&wakers[0])));
        }
        closing.go_to(Step::Leaving);
        assert_eq!(closing.step(), Step::Over, "there is no way back");
    }

    #[test]
    fn places_are_used_again() {
        let closing = Closing::default();
        let waker = Waker::from(Arc::new(Counted::default()));
        for _ in 0..1000 {
            let mut watch = closing.watch();
            assert!(!watch.is_over(&Context::from_waker(&waker)));
        }
        assert!(entries(&closing) <= LISTS, "{}", entries(&closing));
    }

    #[test]
    fn a_watch_is_small() {
        assert!(size_of::<Watch>() <= 32, "there is one for each stream");
        assert_eq!(size_of::<Option<Waker>>(), 16);
    }

    #[tokio::test]
    async fn who_waits_learns_of_it_whenever_it_comes() {
        for round in 0..200 {
            let closing = Closing::default();
            let mut watch = closing.watch();
            let waiting = tokio::spawn(async move { watch.over().await });
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            let ending = tokio::task::spawn_blocking(move || closing.go_to(Step::Over));
            let waited = tokio::time::timeout(Duration::from_secs(10), waiting);
            assert!(waited.await.is_ok_and(|joined| joined.is_ok()));
            assert!(ending.await.is_ok());
        }
    }
}
