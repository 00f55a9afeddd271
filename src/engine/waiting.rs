//! The time before a response's run begins: a client that leaves then is worth a line in the log.

use std::sync::Arc;

use super::Prepared;
use crate::admission::Permit;
use crate::time::Instant;
use crate::upstream::millis;

/// Logs that the client left if it is dropped before [`Waiting::over`].
#[must_use = "dropped at once it says that the client left"]
pub(super) struct Waiting {
    id: String,
    model: String,
    upstream: String,
    since: Instant,
    over: bool,
    permit: Option<Arc<Permit>>,
}

impl Waiting {
    pub(super) fn new(prepared: &Prepared) -> Self {
        Self {
            id: prepared.context.head.id.clone(),
            model: prepared.context.head.model.clone(),
            upstream: prepared.upstream.settings().name.clone(),
            since: Instant::now(),
            over: false,
            permit: prepared.permit.clone(),
        }
    }

    /// The upstream answered or refused, or is waited for elsewhere.
    pub(super) fn over(mut self) {
        self.over = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over {
            if let Some(permit) = &self.permit {
                permit.spend_reserved();
            }
            tracing::info!(
                response.id = %self.id,
                model = %self.model,
                upstream = %self.upstream,
                status = "cancelled",
                total_ms = millis(self.since.elapsed()),
                "the client left before the upstream answered"
            );
        }
    }
}
