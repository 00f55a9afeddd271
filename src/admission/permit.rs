//! Leave for one request: its places, and the tokens that it spends. It ends with the last byte of the
//! answer, since it travels in the answer's body.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::keys::{Account, Key, Meter, Rates};
use super::refused::{Limit, Scope};
use super::{Admission, Levels, Refusal};
use crate::gate;
use crate::time::Instant;

/// Leave for one request.
pub struct Permit {
    admission: Arc<Admission>,
    key: Option<Arc<Key>>,
    /// Its place among all, and whether it has one of its key's.
    place: Option<gate::Permit>,
    own_place: bool,
    /// It counts among the requests of a minute.
    counted: bool,
    end: Option<End>,
    /// Tokens that were taken in advance.
    reserved: AtomicU64,
    /// Tokens that were really spent.
    spent: AtomicU64,
}

/// When a response must be over.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// That moment.
    pub at: Instant,
    /// How long it may take in all.
    pub after: Duration,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl Permit {
    pub(super) fn new(admission: Arc<Admission>, key: Option<Arc<Key>>) -> Self {
        Self {
            admission,
            key,
            place: None,
            own_place: false,
            counted: false,
            end: None,
            reserved: AtomicU64::new(0),
            spent: AtomicU64::new(0),
        }
    }

    /// Takes a place among those of its key.
    pub(super) fn take_own_place(&mut self) -> Result<(), Refusal> {
        let Some(key) = &self.key else { return Ok(()) };
        self.own_place = key.take_place();
        match self.own_place {
            true => Ok(()),
            false => {
                let most = key.rates.max_streams.unwrap_or(usize::MAX);
                let scope = Scope {
                    key: Some(key),
                    limit: u64::try_from(most).unwrap_or(u64::MAX),
                    ..Scope::default()
                };
                Err(self.admission.refuse(Limit::Streams, scope))
            }
        }
    }

    /// Counts it among the requests of this minute; no new one begins without any tokens left.
    pub(super) fn count(&mut self) -> Result<(), Refusal> {
        self.take(Limit::Tokens, 1)?;
        self.give_back(Limit::Tokens, 1);
        self.take(Limit::Requests, 1)?;
        self.counted = true;
        Ok(())
    }

    /// Its place among all; from now on its time runs.
    pub(super) fn enter(&mut self, place: gate::Permit) {
        self.place = Some(place);
        self.begin();
    }

    pub(super) fn begin(&mut self) {
        let key = self.key.as_ref().and_then(|key| key.rates.max_stream);
        let times = key.into_iter().chain(self.admission.rates.max_stream);
        self.end = times.min().and_then(|after| {
            // What lies beyond all clocks is no end.
            let at = Instant::now().checked_add(after)?;
            Some(End { at, after })
        });
    }

    /// It came to nothing before it began: it does not count.
    pub(super) fn uncount(&mut self) {
        if std::mem::take(&mut self.counted) {
            self.give_back(Limit::Requests, 1);
        }
    }

    /// When its response must be over.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Takes tokens in advance: what the request has of them, by estimate. That is not made where
    /// nobody counts them.
    ///
    /// # Errors
    /// There are not so many left.
    pub fn reserve(&self, estimate: impl FnOnce() -> u64) -> Result<(), Refusal> {
        if !self.counts_tokens() {
            return Ok(());
        }
        let tokens = estimate();
        self.take(Limit::Tokens, tokens)?;
        self.reserved.fetch_add(tokens, Ordering::AcqRel);
        Ok(())
    }

    /// Whether anybody counts tokens.
    #[must_use]
    pub fn counts_tokens(&self) -> bool {
        self.meters()
            .any(|(_, rates, _)| rates.tokens_per_minute.is_some())
    }

    /// Tells that so many tokens were spent. What was reserved is settled with it at the end.
    pub fn spend(&self, tokens: u64) {
        self.spent.fetch_add(tokens, Ordering::AcqRel);
    }

    /// Tells that what was reserved was spent, as far as is known.
    pub fn spend_reserved(&self) {
        self.spend(self.reserved.load(Ordering::Acquire));
    }

    /// What is left of the limits.
    #[must_use]
    pub fn levels(&self) -> Levels {
        self.admission.levels(self.key.as_deref())
    }

    /// Where it is counted: for its key, and for all together.
    fn meters(&self) -> impl Iterator<Item = (&Meter, &Rates, Option<&Key>)> {
        meters(&self.admission, self.key.as_deref())
    }

    /// Takes so much, of all or of none.
    fn take(&self, limit: Limit, many: u64) -> Result<(), Refusal> {
        let now = self.admission.house.now();
        let mut taken = Vec::new();
        for (meter, rates, key) in self.meters() {
            let Some((bucket, rate)) = meter.of(limit, rates) else {
                continue;
            };
            let Err(wait) = bucket.take(rate, many, now) else {
                taken.push((bucket, rate));
                continue;
            };
            for (bucket, rate) in taken {
                bucket.give_back(rate, many);
            }
            let level = bucket.level(rate, now);
            let scope = Scope {
                key,
                limit: level.limit,
                used: level.limit - level.left,
                wanted: many,
                wait: Some(wait),
            };
            return Err(self.admission.refuse(limit, scope));
        }
        Ok(())
    }

    fn give_back(&self, limit: Limit, many: u64) {
        for (meter, rates, _) in self.meters() {
            if let Some((bucket, rate)) = meter.of(limit, rates) {
                bucket.give_back(rate, many);
            }
        }
    }

    /// Brings what was taken in advance to what was spent.
    fn settle(&self) {
        let reserved = self.reserved.load(Ordering::Acquire);
        let spent = self.spent.load(Ordering::Acquire);
        if spent <= reserved {
            self.give_back(Limit::Tokens, reserved - spent);
            return;
        }
        let now = self.admission.house.now();
        for (meter, rates, _) in self.meters() {
            if let Some((bucket, rate)) = meter.of(Limit::Tokens, rates) {
                bucket.spend(rate, spent - reserved, now);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.settle();
        if self.place.is_none() {
            // Its client left while it waited in line.
            self.uncount();
        }
        if let (true, Some(key)) = (self.own_place, &self.key) {
            key.leave_place();
        }
    }
}

/// Where the requests of a key are counted: for the key, and for all together.
pub(super) fn meters<'a>(
    admission: &'a Admission,
    key: Option<&'a Key>,
) -> impl Iterator<Item = (&'a Meter, &'a Rates, Option<&'a Key>)> {
    let own = key.map(|key| {
        let account: &Account = &key.account;
        (&account.meter, &key.rates, Some(key))
    });
    let all = (&admission.house.meter, &admission.rates, None);
    own.into_iter().chain(std::iter::once(all))
}
