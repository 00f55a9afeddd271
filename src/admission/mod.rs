//! Who may come in, and how much of it: clients' keys, and the limits on what they ask for.
//!
//! * `keys`: whose secret it is; `guesses`: what comes of wrong ones;
//! * `permit`: leave for one request, until the last byte of its answer;
//! * `bucket`: so much a minute; `bodies`: the memory for requests; `lag`: whether the process keeps up;
//! * `refused`: the one place in which limits refuse.
//!
//! An [`Admission`] is made of each configuration. What is counted goes on when the next one takes its
//! place. Nothing here is locked while anything is waited for.

mod bodies;
mod bucket;
mod guesses;
mod keys;
mod lag;
mod permit;
mod refused;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use bodies::Room;
pub use bucket::Level;
pub use keys::{Key, KeySettings, Rates};
pub use permit::{End, Permit};
pub use refused::Limit;

use crate::gate::{Gate, Line, Shut};
use crate::responses::ErrorObject;
use crate::telemetry::Metrics;
use crate::time::Instant;
use crate::upstream::Refusal;
use bodies::Bodies;
use bucket::{Bucket, Rate};
use guesses::{Guess, Guesses};
use keys::{Keys, Meter};
use lag::Lag;
use permit::meters;
use refused::{Refusals, Scope};

/// What stands before a configured tenant where it is stored: no hash of a key can look like it.
const TENANT: &str = "tenant:";

/// What an admission is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether a key is asked for.
    pub need_key: bool,
    /// The keys.
    pub keys: Vec<KeySettings>,
    /// What all clients together may have.
    pub rates: Rates,
    /// The most requests that wait for a place.
    pub max_queue: usize,
    /// How long they wait.
    pub queue_timeout: Duration,
    /// The most bytes of requests that are read and not yet dealt with.
    pub max_bodies_bytes: usize,
    /// How late the process may be; `None` for any.
    pub max_lag: Option<Duration>,
}

/// Who may come in, by one configuration.
#[derive(Debug)]
pub struct Admission {
    need_key: bool,
    keys: Keys,
    rates: Rates,
    line: Line,
    house: Arc<House>,
}

/// What is counted for all clients together, whatever the configuration.
#[derive(Debug)]
struct House {
    born: Instant,
    gate: Arc<Gate>,
    meter: Meter,
    bodies: Arc<Bodies>,
    lag: Arc<Lag>,
    guesses: Guesses,
    refusals: Refusals,
    metrics: Arc<Metrics>,
}

/// What a request is let in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// To ask a model: it counts among the requests of a minute.
    Ask,
    /// To watch what is made elsewhere: it takes a place, and no more.
    Watch,
}

/// What is left of the limits on requests and tokens, where there are such: of a key's and of all
/// clients' limit the one of which less is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    /// Requests in a minute.
    pub requests: Option<Level>,
    /// Tokens in a minute.
    pub tokens: Option<Level>,
}

impl Admission {
    /// The first one of a process; there must be a runtime.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        let house = House {
            born: Instant::now(),
            gate: Arc::new(Gate::new(Some(places(&settings)))),
            meter: Meter::default(),
            bodies: Arc::new(Bodies::new(settings.max_bodies_bytes)),
            lag: Arc::default(),
            guesses: Guesses::new(),
            refusals: Refusals::default(),
            metrics,
        };
        Self::of(settings, Arc::new(house), &Keys::default())
    }

    /// The one of another configuration: what is counted goes on.
    #[must_use]
    pub fn after(&self, settings: Settings) -> Self {
        self.house.gate.resize(places(&settings));
        self.house.bodies.resize(settings.max_bodies_bytes);
        Self::of(settings, Arc::clone(&self.house), &self.keys)
    }

    fn of(settings: Settings, house: Arc<House>, before: &Keys) -> Self {
        house.lag.allow(settings.max_lag);
        Self {
            need_key: settings.need_key,
            keys: Keys::new(settings.keys, before),
            rates: settings.rates,
            line: Line {
                most: settings.max_queue,
                wait: settings.queue_timeout,
            },
            house,
        }
    }

    /// Whether a key is asked for.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        self.need_key
    }

    /// Whose secret it is; nobody's where no key is asked for. `from` is where the request comes
    /// from. Who sends many wrong ones gets the answer late.
    ///
    /// # Errors
    /// 401 for a key that is missing or wrong.
    pub async fn know(
        &self,
        secret: Option<&[u8]>,
        from: Option<IpAddr>,
    ) -> Result<Option<Arc<Key>>, Refusal> {
        if !self.need_key {
            return Ok(None);
        }
        let guess = match secret {
            None => Guess::Missing,
            Some(secret) => match self.keys.find(secret) {
                Some(key) => return Ok(Some(Arc::clone(key))),
                None => Guess::Wrong,
            },
        };
        self.house.guesses.note(guess, from, self.house.now()).await;
        Err(stranger(guess))
    }

    /// Whether a key, or nobody, that was let in under an earlier configuration still is.
    ///
    /// # Errors
    /// 401 for a key that is gone.
    pub fn know_again(&self, key: Option<&Key>) -> Result<Option<Arc<Key>>, Refusal> {
        match key {
            _ if !self.need_key => Ok(None),
            None => Err(stranger(Guess::Missing)),
            Some(key) => match self.keys.same(key) {
                Some(key) => Ok(Some(Arc::clone(key))),
                None => Err(stranger(Guess::Wrong)),
            },
        }
    }

    /// Lets a request in; it may have to wait in line.
    ///
    /// # Errors
    /// 429 for a key that has had enough, 503 when there is no room for anybody.
    pub async fn enter(
        self: Arc<Self>,
        key: Option<Arc<Key>>,
        work: Work,
    ) -> Result<Permit, Refusal> {
        if self.house.lag.is_too_much() {
            return Err(self.refuse(Limit::Lag, Scope::default()));
        }
        let mut permit = Permit::new(Arc::clone(&self), key);
        permit.take_own_place()?;
        if work == Work::Ask {
            permit.count()?;
        }
        match Arc::clone(&self.house.gate).enter(self.line).await {
            Ok(place) => {
                permit.enter(place);
                Ok(permit)
            }
            Err(shut) => {
                permit.uncount();
                let limit = match shut {
                    Shut::LineIsFull => Limit::Queue,
                    Shut::Waited(_) => Limit::QueueTimeout,
                };
                Err(self.refuse(limit, Scope::default()))
            }
        }
    }

    /// Leave for work that is done for a tenant without a client, and takes no place: it is told for
    /// how long it may go on, and what it spends is counted for the first key of the tenant.
    #[must_use]
    pub fn background(self: Arc<Self>, tenant: &str) -> Permit {
        let tenant = tenant.strip_prefix(TENANT);
        let key = tenant.and_then(|tenant| self.keys.of_tenant(tenant));
        let key = key.cloned();
        let mut permit = Permit::new(self, key);
        permit.begin();
        permit
    }

    /// Room for the body of a request, of which nothing has come yet.
    #[must_use]
    pub fn room(&self) -> Room {
        self.house.bodies.room()
    }

    /// There was no room for a body in time.
    #[must_use]
    pub fn no_room(&self) -> Refusal {
        self.refuse(Limit::Bodies, Scope::default())
    }

    /// What is left of the limits of a key and of all clients.
    #[must_use]
    pub fn levels(&self, key: Option<&Key>) -> Levels {
        let now = self.house.now();
        let least = |limit| {
            let levels = meters(self, key).filter_map(|(meter, rates, _)| {
                let (bucket, rate) = meter.of(limit, rates)?;
                Some(bucket.level(rate, now))
            });
            levels.min_by_key(|level| level.left)
        };
        Levels {
            requests: least(Limit::Requests),
            tokens: least(Limit::Tokens),
        }
    }

    fn refuse(&self, limit: Limit, scope: Scope<'_>) -> Refusal {
        let house = &self.house;
        match limit.sheds() {
            true => house.metrics.shed(limit.name()),
            false => {
                let tenant = scope.key.map(|key| key.tenant.as_str());
                house.metrics.limited(tenant, limit.name());
            }
        }
        // The log tells of each key by itself.
        let refusals = scope.key.map(|key| &key.account.refusals);
        let refusals = refusals.unwrap_or(&house.refusals);
        refusals.refuse(limit, scope, house.now())
    }
}

impl House {
    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Meter {
    /// The bucket that a limit fills, where there is such a limit.
    fn of(&self, limit: Limit, rates: &Rates) -> Option<(&Bucket, Rate)> {
        match limit {
            Limit::Requests => Some((&self.requests, rates.requests()?)),
            Limit::Tokens => Some((&self.tokens, rates.tokens()?)),
            _ => None,
        }
    }
}

impl Key {
    /// Whose what it stores is, as the store has it.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("{TENANT}{}", self.tenant)
    }

    /// The tenant that the store's word for an owner means; nothing for those without a key.
    #[must_use]
    pub fn tenant_of(owner: &str) -> Option<&str> {
        owner.strip_prefix(TENANT)
    }
}

fn places(settings: &Settings) -> usize {
    settings.rates.max_streams.unwrap_or(usize::MAX)
}

/// What somebody without a right key is told, in OpenAI's words. The key is not repeated.
fn stranger(guess: Guess) -> Refusal {
    let message = match guess {
        Guess::Missing => {
            "You didn't provide an API key. You need to provide your API key in an Authorization header \
             using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        }
        Guess::Wrong => "Incorrect API key provided.",
    };
    let error = ErrorObject::invalid(message).with_code("invalid_api_key");
    Refusal::new(401, error)
}
