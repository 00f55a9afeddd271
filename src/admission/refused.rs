//! The one place in which limits refuse: each refusal has a name, a sentence for the client, and is
//! counted and logged here with the key that it concerns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Key, Refusal};
use crate::responses::ErrorObject;
use crate::upstream::RetryAfter;

/// How long the log is silent about a limit that goes on to refuse.
const LOG_PAUSE: u64 = 60_000_000_000;
/// When to come back where nobody knows.
const SOON: Duration = Duration::from_secs(2);

/// What refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `requests_per_minute`
    Requests,
    /// `tokens_per_minute`
    Tokens,
    /// `max_streams` of a key.
    Streams,
    /// `max_streams` of all: the line before it is full.
    Queue,
    /// `max_streams` of all: no place came free in time.
    QueueTimeout,
    /// `max_lag_ms`: the process cannot keep up.
    Lag,
    /// `max_bodies_bytes`
    Bodies,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Requests,
        Self::Tokens,
        Self::Streams,
        Self::Queue,
        Self::QueueTimeout,
        Self::Lag,
        Self::Bodies,
    ];

    /// Whether it turns away new work because there is too much of it for all, whoever asks.
    #[must_use]
    pub fn sheds(self) -> bool {
        match self {
            Self::Requests | Self::Tokens | Self::Streams => false,
            Self::Queue | Self::QueueTimeout | Self::Lag | Self::Bodies => true,
        }
    }

    /// Its name, in the log and in metrics: that of its key in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_minute",
            Self::Tokens => "tokens_per_minute",
            Self::Streams => "max_streams",
            Self::Queue => "max_queue",
            Self::QueueTimeout => "queue_timeout_ms",
            Self::Lag => "max_lag_ms",
            Self::Bodies => "max_bodies_bytes",
        }
    }
}

/// How often each limit refused, and what of it the log has. What operators see is in
/// [`Metrics`](crate::telemetry::Metrics).
#[derive(Debug, Default)]
pub(super) struct Refusals([Count; Limit::ALL.len()]);

#[derive(Debug, Default)]
pub(super) struct Count {
    all: AtomicU64,
    told: AtomicU64,
    /// When the log last had a line, in nanoseconds and one; 0 for never.
    told_at: AtomicU64,
}

impl Count {
    /// Counts one more. Tells how many there were since the last line, if it is time for the next.
    pub(super) fn add(&self, now: u64) -> Option<u64> {
        let all = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        let told_at = self.told_at.load(Ordering::Relaxed);
        if told_at > 0 && now < told_at + LOG_PAUSE {
            return None;
        }
        let order = Ordering::Relaxed;
        self.told_at
            .compare_exchange(told_at, now + 1, order, order)
            .ok()?;
        let told = self.told.swap(all, order);
        Some(all.saturating_sub(told))
    }
}

impl Refusals {
    /// A refusal by a limit, of a key or of all together: logged now and then, and put into words.
    pub(super) fn refuse(&self, limit: Limit, scope: Scope<'_>, now: u64) -> Refusal {
        let refused = self.0.get(limit as usize).and_then(|count| count.add(now));
        if let Some(refused) = refused {
            tracing::warn!(
                limit = limit.name(),
                key = scope.key.map(|key| key.name.as_str()),
                tenant = scope.key.map(|key| key.tenant.as_str()),
                refused,
                "a limit refuses requests"
            );
        }
        scope.words(limit)
    }
}

/// Whose limit it is, and how far it is reached.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scope<'k> {
    /// The key; `None` for all clients together.
    pub(super) key: Option<&'k Key>,
    /// What is allowed.
    pub(super) limit: u64,
    /// What is used of it.
    pub(super) used: u64,
    /// What was wanted.
    pub(super) wanted: u64,
    /// When there will be room.
    pub(super) wait: Option<Duration>,
}

impl Scope<'_> {
    fn words(&self, limit: Limit) -> Refusal {
        let who = match self.key {
            Some(key) => format!("key '{}'", key.name),
            None => "all clients together".to_owned(),
        };
        let wait = rounded(self.wait.unwrap_or(SOON));
        let again = format!("Please try again in {}.", in_words(wait));
        let Self {
            limit: most,
            used,
            wanted,
            ..
        } = self;
        let rate = |what: &str| {
            format!(
                "Rate limit reached for {who} on {what}: Limit {most}, Used {used}, Requested {wanted}. {again}"
            )
        };
        let (kind, message) = match limit {
            Limit::Requests => ("requests", rate("requests per min (RPM)")),
            Limit::Tokens => ("tokens", rate("tokens per min (TPM)")),
            Limit::Streams => (
                "requests",
                format!(
                    "Rate limit reached for {who} on responses under way: Limit {most}. {again}"
                ),
            ),
            Limit::Queue | Limit::QueueTimeout | Limit::Lag | Limit::Bodies => (
                "server_error",
                format!("The server is currently overloaded with other requests. {again}"),
            ),
        };
        let (status, code) = match limit.sheds() {
            false => (429, "rate_limit_exceeded"),
            true => (503, "server_is_overloaded"),
        };
        Refusal {
            retry_after: Some(RetryAfter::Wait { wait, exact: true }),
            ..Refusal::new(status, ErrorObject::new(kind, message).with_code(code))
        }
    }
}

/// In whole milliseconds, and not too early.
fn rounded(wait: Duration) -> Duration {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// A time as OpenAI's messages have it, and as Codex reads it: `20ms`, `1.234s`.
fn in_words(wait: Duration) -> String {
    match (wait.as_secs(), wait.subsec_millis()) {
        (0, millis) => format!("{millis}ms"),
        (seconds, 0) => format!("{seconds}s"),
        (seconds, millis) => format!("{seconds}.{millis:03}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_when_to_come_back() {
        let refusals = Refusals::default();
        let scope = Scope {
            limit: 3,
            used: 3,
            wanted: 1,
            wait: Some(Duration::from_micros(1_234_100)),
            ..Scope::default()
        };
        let refusal = refusals.refuse(Limit::Requests, scope, 0);
        assert_eq!(
            refusal.error.message,
            "Rate limit reached for all clients together on requests per min (RPM): Limit 3, Used 3, \
             Requested 1. Please try again in 1.235s."
        );
        assert_eq!(refusal.status, 429);
        assert_eq!(refusal.error.code.as_deref(), Some("rate_limit_exceeded"));
        let wait = refusal.told_wait().unwrap();
        assert_eq!(wait.header(), "2");
        assert_eq!(wait.millis_header().as_deref(), Some("1235"));
        let refusal = refusals.refuse(Limit::Lag, Scope::default(), 0);
        assert!(refusal.error.message.ends_with("try again in 2s."));
        assert_eq!(refusal.status, 503);
        for (millis, words) in [(20, "20ms"), (2_000, "2s"), (61_050, "61.050s")] {
            assert_eq!(in_words(Duration::from_millis(millis)), words);
        }
    }

    #[test]
    fn the_log_has_a_line_a_minute() {
        let count = Count::default();
        assert_eq!(count.add(0), Some(1));
        for now in 1..1000 {
            assert_eq!(count.add(now), None);
        }
        assert_eq!(count.add(LOG_PAUSE + 1), Some(1000));
        assert_eq!(count.add(LOG_PAUSE + 2), None);
    }

    #[test]
    fn each_limit_has_its_place() {
        for (at, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, at, "{}", limit.name());
        }
    }
}
