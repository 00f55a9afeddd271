//! Whether a model at an upstream is well: a circuit breaker. Failures in a row take it out for a
//! while; then one real request tries it, and what becomes of that decides. Each time in a row it
//! stays out for twice as long.
//!
//! It knows no clock and no chance: both are handed in.

use std::time::Duration;

use crate::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// How many failures in a row; 0 for never.
    pub failures: u32,
    /// The first pause.
    pub pause: Duration,
    /// The longest pause.
    pub max_pause: Duration,
}

/// How things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All is well, as far as is known.
    Closed,
    /// It is left alone until its pause is over.
    Open,
    /// The pause is over, and a request tries it, or the next one will.
    Probation,
}

impl State {
    /// Its name, for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probation => "probation",
        }
    }
}

/// How good an idea it is to ask now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing speaks against it.
    Ready,
    /// It said that it is busy until then.
    Busy(Instant),
    /// It is out until then, or as long as another request tries it.
    Out(Instant),
}

/// What a verdict changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It was taken out, for so long.
    Opened(Duration),
    /// It is back.
    Closed,
}

/// The record of one model at one upstream.
#[derive(Debug, Clone)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    /// In a row.
    failures: u32,
    /// How often it was taken out in a row; 0 while it is closed.
    outages: u32,
    /// When its pause is over, if it is out.
    until: Option<Instant>,
    /// Some request tries it.
    trying: bool,
    busy_until: Option<Instant>,
    /// How often it was taken out, ever.
    opened: u64,
}

impl Breaker {
    /// One of which nothing is known.
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            failures: 0,
            outages: 0,
            until: None,
            trying: false,
            busy_until: None,
            opened: 0,
        }
    }

    /// How things stand.
    pub(super) fn state(&self, now: Instant) -> State {
        match self.until {
            None => State::Closed,
            Some(until) if now < until => State::Open,
            Some(_) => State::Probation,
        }
    }

    /// How good an idea it is to ask now.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        match (self.until, self.busy_until) {
            (Some(until), _) if self.trying || now < until => Standing::Out(until),
            (_, Some(until)) if now < until => Standing::Busy(until),
            _ => Standing::Ready,
        }
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// How often it was taken out, ever.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_blank(&self, now: Instant) -> bool {
        self.failures == 0
            && self.until.is_none()
            && self.opened == 0
            && self.busy_until.is_none_or(|until| until <= now)
    }

    /// A request is sent. Says whether it is the one that tries.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let tries = self.state(now) == State::Probation && !self.trying;
        self.trying |= tries;
        tries
    }

    /// The request that tries came to nothing that says anything: the client left.
    pub(super) fn give_up(&mut self) {
        self.trying = false;
    }

    /// It began to answer. For the one that tries this is enough.
    pub(super) fn answers(&mut self, tries: bool) -> Option<Change> {
        (tries && self.until.is_some()).then(|| self.close())
    }

    /// It answered to the end.
    pub(super) fn succeeded(&mut self, now: Instant) -> Option<Change> {
        self.failures = 0;
        // What was asked before it was taken out says nothing about now.
        (self.state(now) == State::Probation).then(|| self.close())
    }

    /// It failed. `chance` is from 0 to 1; by it the pause is up to a fifth longer, so that many
    /// proxies do not come back at once.
    pub(super) fn failed(&mut self, tries: bool, now: Instant, chance: f64) -> Option<Change> {
        self.failures = self.failures.saturating_add(1);
        let enough = self.settings.failures > 0 && self.failures >= self.settings.failures;
        let opens = match self.until {
            None => enough,
            // What was asked before does not count twice.
            Some(_) => tries,
        };
        if tries {
            self.trying = false;
        }
        if !opens {
            return None;
        }
        let doubled = 2_u32.saturating_pow(self.outages);
        let pause = self.settings.pause.saturating_mul(doubled);
        let pause = pause.min(self.settings.max_pause);
        let pause = pause.saturating_add(pause.mul_f64(0.2 * chance.clamp(0.0, 1.0)));
        self.outages = self.outages.saturating_add(1);
        self.opened += 1;
        self.until = Some(now + pause);
        Some(Change::Opened(pause))
    }

    /// It said that it is busy, which is no failure: it is left alone for so long.
    pub(super) fn busy(&mut self, tries: bool, now: Instant, wait: Duration) {
        if tries {
            self.trying = false;
        }
        self.busy_until = Some(now + wait.min(self.settings.max_pause));
    }

    fn close(&mut self) -> Change {
        self.failures = 0;
        self.outages = 0;
        self.until = None;
        self.trying = false;
        Change::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings {
            failures: 3,
            pause: PAUSE,
            max_pause: 4 * PAUSE,
        })
    }

    fn opened(breaker: &mut Breaker, now: Instant) -> Instant {
        assert_eq!(breaker.failed(false, now, 0.0), None);
        assert_eq!(breaker.failed(false, now, 0.0), None);
        let change = breaker.failed(false, now, 0.0);
        assert_eq!(change, Some(Change::Opened(PAUSE)));
        now + PAUSE
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 0..5 {
            assert_eq!(breaker.failed(false, now, 0.0), None);
            assert_eq!(breaker.failed(false, now, 0.0), None);
            assert_eq!(breaker.succeeded(now), None);
        }
        assert_eq!(breaker.standing(now), Standing::Ready);
        let until = opened(&mut breaker, now);
        assert_eq!(breaker.standing(now), Standing::Out(until));
        assert_eq!((breaker.state(now), breaker.opened()), (State::Open, 1));
    }

    #[test]
    fn one_request_tries_it_after_the_pause() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let until = opened(&mut breaker, now);
        assert!(!breaker.begin(now), "it is out");
        assert_eq!(breaker.state(until), State::Probation);
        assert_eq!(breaker.standing(until), Standing::Ready);
        assert!(breaker.begin(until));
        assert_eq!(
            breaker.standing(until),
            Standing::Out(until),
            "one is enough"
        );
        assert!(!breaker.begin(until));
        assert_eq!(
            breaker.answers(false),
            None,
            "an older request says nothing"
        );
        assert_eq!(breaker.answers(true), Some(Change::Closed));
        assert_eq!(breaker.standing(until), Standing::Ready);
        assert_eq!(breaker.failed(false, until, 0.0), None, "it begins anew");
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let mut until = opened(&mut breaker, now);
        for pause in [2, 4, 4] {
            assert!(breaker.begin(until));
            let change = breaker.failed(true, until, 0.0);
            assert_eq!(change, Some(Change::Opened(pause * PAUSE)));
            until += pause * PAUSE;
        }
        assert!(breaker.begin(until));
        assert_eq!(breaker.succeeded(until), Some(Change::Closed));
        opened(&mut breaker, until);
        assert_eq!(breaker.opened(), 5);
    }

    #[test]
    fn a_try_that_says_nothing_is_given_to_the_next() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let until = opened(&mut breaker, now);
        assert!(breaker.begin(until));
        breaker.give_up();
        assert!(breaker.begin(until));
    }

    #[test]
    fn failures_while_it_is_out_do_not_lengthen_the_pause() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let until = opened(&mut breaker, now);
        assert_eq!(breaker.failed(false, now, 0.0), None);
        assert_eq!(breaker.standing(now), Standing::Out(until));
        assert_eq!(breaker.succeeded(now), None, "it was asked before");
        assert_eq!(breaker.standing(now), Standing::Out(until));
    }

    #[test]
    fn chance_lengthens_the_pause_a_little() {
        let (mut breaker, now) = (breaker(), Instant::now());
        breaker.failed(false, now, 1.0);
        breaker.failed(false, now, 1.0);
        let change = breaker.failed(false, now, 1.0);
        assert_eq!(change, Some(Change::Opened(PAUSE.mul_f64(1.2))));
    }

    #[test]
    fn who_is_busy_is_left_alone_and_not_blamed() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 0..9 {
            breaker.busy(false, now, PAUSE);
        }
        assert_eq!(breaker.state(now), State::Closed);
        assert_eq!(breaker.standing(now), Standing::Busy(now + PAUSE));
        assert_eq!(breaker.standing(now + PAUSE), Standing::Ready);
        breaker.busy(false, now, 99 * PAUSE);
        assert_eq!(breaker.standing(now), Standing::Busy(now + 4 * PAUSE));
    }

    #[test]
    fn without_a_limit_it_never_opens() {
        let mut breaker = Breaker::new(BreakerSettings {
            failures: 0,
            pause: PAUSE,
            max_pause: PAUSE,
        });
        for _ in 0..99 {
            assert_eq!(breaker.failed(false, Instant::now(), 0.0), None);
        }
    }
}
