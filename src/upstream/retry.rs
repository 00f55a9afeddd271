//! When a request is sent once more: only before anything of its answer came, only where another
//! try may help, and not for long.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::refusal::Refusal;
use crate::time::Instant;

/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait. An upstream that wants longer is passed on to the client, which may wait
/// better than a connection.
const LONGEST: Duration = Duration::from_secs(3);
/// How long after the first refusal the last try may begin. A client that streams hears nothing
/// until then, so it must be short.
const IN_ALL: Duration = Duration::from_secs(5);

/// The waits between tries.
pub(crate) struct Retries {
    waits: ExponentialBackoff,
    /// When the upstream refused first.
    since: Option<Instant>,
}

impl Retries {
    pub(crate) fn new(most: usize) -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .with_max_times(most)
            .with_jitter()
            .build();
        Self { waits, since: None }
    }

    /// How long to wait before the next try; `None` if there is to be none.
    pub(crate) fn next(&mut self, refusal: &Refusal) -> Option<Duration> {
        if !refusal.passing {
            return None;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let own = self.waits.next()?;
        let wait = match &refusal.retry_after {
            None => own,
            // A date is not waited for.
            Some(said) => own.max(said.wait().filter(|said| *said <= LONGEST)?),
        };
        (since.elapsed() + wait <= IN_ALL).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::responses::ErrorObject;
    use crate::upstream::RetryAfter;

    fn busy(said: Option<RetryAfter>) -> Refusal {
        Refusal {
            retry_after: said,
            passing: true,
            ..Refusal::new(503, ErrorObject::server("x"))
        }
    }

    fn millis(millis: u64) -> Option<RetryAfter> {
        let wait = Duration::from_millis(millis);
        Some(RetryAfter::Wait { wait, exact: true })
    }

    #[test]
    fn what_may_pass_is_tried_again_a_few_times() {
        let mut retries = Retries::new(2);
        let wait = retries.next(&busy(None)).unwrap();
        assert!(wait >= FIRST && wait < 3 * FIRST);
        assert!(retries.next(&busy(None)).is_some());
        assert_eq!(retries.next(&busy(None)), None);
    }

    #[test]
    fn a_refusal_is_a_refusal() {
        let refusal = Refusal::new(502, ErrorObject::server("x"));
        assert_eq!(Retries::new(3).next(&refusal), None);
    }

    #[test]
    fn the_upstreams_own_wait_counts_if_it_is_short() {
        let wait = Retries::new(3).next(&busy(millis(1500))).unwrap();
        assert!(wait >= Duration::from_millis(1500));
        assert_eq!(Retries::new(3).next(&busy(millis(7000))), None);
        let date = RetryAfter::Date("Fri, 21 Nov 2026 00:00:00 GMT".into());
        assert_eq!(Retries::new(3).next(&busy(Some(date))), None);
    }

    #[test]
    fn all_tries_together_are_short() {
        let mut retries = Retries::new(9);
        retries.since = Instant::now().checked_sub(IN_ALL / 2);
        assert!(retries.next(&busy(None)).is_some());
        assert_eq!(retries.next(&busy(millis(2600))), None);
        retries.since = Instant::now().checked_sub(IN_ALL);
        assert_eq!(retries.next(&busy(None)), None);
    }
}
