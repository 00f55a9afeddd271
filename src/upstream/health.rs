//! How an upstream's models fare: one breaker for each, with what a request adds to it.
//!
//! Nothing is kept of models that are well, and of at most so many others, since clients choose
//! names.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::asking::millis;
use super::breaker::{Breaker, BreakerSettings, Change, Standing, State};
use super::refusal::{Fault, Refusal};
use crate::time::Instant;

/// The most models of one upstream of which something is remembered.
const MOST_MODELS: usize = 1024;
/// How long an upstream is left alone that is busy and does not say for how long.
const BUSY: Duration = Duration::from_secs(2);

/// What is known of an upstream.
#[derive(Debug)]
pub(super) struct Health {
    upstream: String,
    settings: BreakerSettings,
    models: Mutex<BTreeMap<String, Breaker>>,
}

/// What is known of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelHealth {
    /// The model's name at the upstream.
    pub model: String,
    /// How things stand.
    pub state: State,
    /// Failures in a row.
    pub failures: u32,
    /// How often it was taken out, ever.
    pub opened: u64,
}

impl Health {
    pub(super) fn new(upstream: String, settings: BreakerSettings) -> Self {
        Self {
            upstream,
            settings,
            models: Mutex::default(),
        }
    }

    pub(super) fn standing(&self, model: &str) -> Standing {
        let models = self.lock();
        let breaker = models.get(model);
        breaker.map_or(Standing::Ready, |breaker| breaker.standing(Instant::now()))
    }

    /// A request is sent; what becomes of it is to be told.
    pub(super) fn begin(self: &Arc<Self>, model: &str) -> Trial {
        let mut models = self.lock();
        let breaker = models.get_mut(model);
        let tries = breaker.is_some_and(|breaker| breaker.begin(Instant::now()));
        drop(models);
        if tries {
            tracing::info!(upstream = %self.upstream, %model, state = State::Probation.name(), "breaker: a request tries it");
        }
        Trial {
            health: Arc::clone(self),
            model: model.to_owned(),
            tries,
            over: false,
        }
    }

    pub(super) fn models(&self) -> Vec<ModelHealth> {
        let now = Instant::now();
        let models = self.lock();
        let known = models.iter().map(|(model, breaker)| ModelHealth {
            model: model.clone(),
            state: breaker.state(now),
            failures: breaker.failures(),
            opened: breaker.opened(),
        });
        known.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Breaker>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a model's record, making one if there is room.
    fn record(&self, model: &str, change: impl FnOnce(&mut Breaker) -> Option<Change>) {
        let mut models = self.lock();
        if !models.contains_key(model) {
            if models.len() >= MOST_MODELS {
                let now = Instant::now();
                models.retain(|_, breaker| !breaker.is_blank(now));
            }
            if models.len() >= MOST_MODELS {
                return;
            }
            models.insert(model.to_owned(), Breaker::new(self.settings));
        }
        let changed = models.get_mut(model).and_then(|breaker| {
            let changed = change(breaker);
            Some((changed?, breaker.failures()))
        });
        drop(models);
        match changed {
            Some((Change::Opened(pause), failures)) => tracing::warn!(
                upstream = %self.upstream,
                %model,
                state = State::Open.name(),
                failures,
                pause_ms = millis(pause),
                "breaker: the upstream is taken out"
            ),
            Some((Change::Closed, _)) => tracing::info!(
                upstream = %self.upstream,
                %model,
                state = State::Closed.name(),
                "breaker: the upstream is back"
            ),
            None => {}
        }
    }

    /// Changes a model's record, if there is one.
    fn amend(&self, model: &str, change: impl FnOnce(&mut Breaker) -> Option<Change>) {
        let is_there = self.lock().contains_key(model);
        if is_there {
            self.record(model, change);
        }
    }
}

/// One request to one model. Dropped without a verdict it says nothing: the client left.
#[derive(Debug)]
pub struct Trial {
    health: Arc<Health>,
    model: String,
    tries: bool,
    over: bool,
}

impl Trial {
    /// The model's name at the upstream.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// It begins to answer.
    pub fn answers(&mut self) {
        let tries = std::mem::take(&mut self.tries);
        if tries {
            self.health
                .amend(&self.model, |breaker| breaker.answers(true));
        }
    }

    /// It answered to the end.
    pub fn succeeded(mut self) {
        self.over = true;
        self.health
            .amend(&self.model, |breaker| breaker.succeeded(Instant::now()));
    }

    /// It refused, or broke off.
    pub fn failed(mut self, refusal: &Refusal) {
        let now = Instant::now();
        match refusal.fault {
            // Who answers that a request is wrong is well.
            Fault::Request => {
                self.answers();
                self.succeeded();
            }
            Fault::Denied => {}
            Fault::Busy => {
                self.over = true;
                let tries = self.tries;
                let wait = refusal
                    .retry_after
                    .as_ref()
                    .and_then(super::RetryAfter::wait);
                self.health.record(&self.model, |breaker| {
                    breaker.busy(tries, now, wait.unwrap_or(BUSY));
                    None
                });
            }
            Fault::Upstream => {
                self.over = true;
                let tries = self.tries;
                self.health
                    .record(&self.model, |breaker| breaker.failed(tries, now, chance()));
            }
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if self.tries && !self.over {
            self.health.amend(&self.model, |breaker| {
                breaker.give_up();
                None
            });
        }
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    #[expect(clippy::cast_precision_loss, reason = "a rough one will do")]
    let fraction = random as f64 / u64::MAX as f64;
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::responses::ErrorObject;

    fn health(failures: u32) -> Arc<Health> {
        let settings = BreakerSettings {
            failures,
            pause: Duration::from_secs(60),
            max_pause: Duration::from_secs(60),
        };
        Arc::new(Health::new("u".into(), settings))
    }

    fn refusal(fault: Fault) -> Refusal {
        Refusal {
            fault,
            ..Refusal::new(500, ErrorObject::server("x"))
        }
    }

    fn is_out(health: &Health, model: &str) -> bool {
        matches!(health.standing(model), Standing::Out(_))
    }

    #[test]
    fn a_model_is_taken_out_and_others_are_not() {
        let health = health(2);
        health.begin("m").failed(&refusal(Fault::Upstream));
        assert!(!is_out(&health, "m"));
        health.begin("m").failed(&refusal(Fault::Upstream));
        assert!(is_out(&health, "m"));
        assert!(!is_out(&health, "n"));
        let report = health.models();
        assert_eq!(report.len(), 1);
        assert_eq!(
            (report[0].state, report[0].failures, report[0].opened),
            (State::Open, 2, 1)
        );
    }

    #[test]
    fn what_clients_do_wrong_takes_nobody_out() {
        let health = health(1);
        for fault in [Fault::Request, Fault::Denied] {
            for _ in 0..9 {
                health.begin("m").failed(&refusal(fault));
            }
        }
        drop(health.begin("m"));
        assert_eq!(health.standing("m"), Standing::Ready);
        assert_eq!(health.models(), []);
    }

    #[test]
    fn a_wrong_request_between_failures_shows_that_it_answers() {
        let health = health(2);
        health.begin("m").failed(&refusal(Fault::Upstream));
        health.begin("m").failed(&refusal(Fault::Request));
        health.begin("m").failed(&refusal(Fault::Upstream));
        assert!(!is_out(&health, "m"));
    }

    #[test]
    fn names_that_clients_make_up_do_not_fill_the_memory() {
        let health = health(1);
        for n in 0..3 * MOST_MODELS {
            health
                .begin(&n.to_string())
                .failed(&refusal(Fault::Upstream));
        }
        assert_eq!(health.models().len(), MOST_MODELS);
    }
}
