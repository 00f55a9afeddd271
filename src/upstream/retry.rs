//! When a request is sent once more: only before anything of its answer came, only where another
//! try may help, and not for long.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::refusal::Refusal;

/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait. An upstream that wants longer is passed on to the client, which may wait
/// better than a connection.
const LONGEST: Duration = Duration::from_secs(3);

/// The waits between tries.
pub(super) struct Retries {
    waits: ExponentialBackoff,
}

impl Retries {
    pub(super) fn new(most: usize) -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .with_max_times(most)
            .with_jitter()
            .build();
        Self { waits }
    }

    /// How long to wait before the next try; `None` if there is to be none.
    pub(super) fn next(&mut self, refusal: &Refusal) -> Option<Duration> {
        if !may_help(refusal) {
            return None;
        }
        let own = self.waits.next()?;
        match refusal.retry_after.as_deref().map(str::parse::<f64>) {
            None => Some(own),
            Some(Ok(seconds)) if (0.0..=LONGEST.as_secs_f64()).contains(&seconds) => {
                Some(own.max(Duration::from_secs_f64(seconds)))
            }
            // Longer than we wait, or a date.
            Some(_) => None,
        }
    }
}

fn may_help(refusal: &Refusal) -> bool {
    match refusal.status {
        429 => refusal.error.code.as_deref() != Some("insufficient_quota"),
        // A silent upstream has the request already: it is not given it twice.
        504 => false,
        500.. => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::responses::ErrorObject;

    fn refusal(status: u16, retry_after: Option<&str>) -> Refusal {
        let retry_after = retry_after.map(str::to_owned);
        Refusal {
            status,
            retry_after,
            error: ErrorObject::server("x"),
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_a_few_times() {
        let mut retries = Retries::new(2);
        let busy = refusal(503, None);
        assert!(
            retries
                .next(&busy)
                .is_some_and(|wait| wait >= FIRST && wait < 3 * FIRST)
        );
        assert!(retries.next(&busy).is_some());
        assert_eq!(retries.next(&busy), None);
    }

    #[test]
    fn a_refusal_is_a_refusal() {
        for status in [400, 401, 404, 422, 504] {
            assert_eq!(
                Retries::new(3).next(&refusal(status, None)),
                None,
                "{status}"
            );
        }
    }

    #[test]
    fn the_upstreams_own_wait_counts_if_it_is_short() {
        let wait = Retries::new(3).next(&refusal(429, Some("1.5"))).unwrap();
        assert!(wait >= Duration::from_millis(1500));
        assert_eq!(Retries::new(3).next(&refusal(429, Some("7"))), None);
        assert_eq!(
            Retries::new(3).next(&refusal(429, Some("Fri, 21 Nov 2026 00:00:00 GMT"))),
            None
        );
    }
}
