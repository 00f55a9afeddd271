//! What the log has of a run.

use super::Run;
use crate::translate::Outcome;
use crate::upstream::millis;

impl Run {
    /// Tells which calls were found in the text: the server's own parser is missing, or is another.
    pub(super) fn log_healed(&self, outcome: &Outcome) {
        for healed in &outcome.healed {
            tracing::info!(
                parent: &self.span,
                response.id = %outcome.head.id,
                model = %self.settings.model,
                upstream = %self.upstream().name,
                format = healed.format,
                calls = healed.calls,
                "tool calls healed"
            );
        }
    }

    /// The one line that each response has in the log.
    pub(super) fn log(&self, outcome: &Outcome, estimated: bool) {
        let response = outcome.response();
        let usage = outcome.usage.unwrap_or_default();
        let first_ms = millis(self.first.unwrap_or_default());
        let total_ms = millis(self.began.elapsed());
        match outcome.failure() {
            None => tracing::info!(
                parent: &self.span,
                response.id = %outcome.head.id,
                model = %self.settings.model,
                upstream = %self.upstream().name,
                status = response.state.status(),
                input_tokens = usage.input_tokens,
                cached_tokens = usage.input_tokens_details.cached_tokens,
                output_tokens = usage.output_tokens,
                tokens_estimated = estimated,
                items = outcome.output.len(),
                first_ms,
                total_ms,
                "response"
            ),
            Some(error) => tracing::warn!(
                parent: &self.span,
                response.id = %outcome.head.id,
                model = %self.settings.model,
                upstream = %self.upstream().name,
                status = "failed",
                error.code = error.code.as_deref(),
                error = %error.message,
                first_ms,
                total_ms,
                "response"
            ),
        }
    }
}

impl Drop for Run {
    /// A client that leaves takes its run with it, and with the run the upstream's connection.
    fn drop(&mut self) {
        if let Some(pipeline) = &self.pipeline {
            self.tell_left(pipeline);
            tracing::info!(
                parent: &self.span,
                response.id = %pipeline.id(),
                model = %self.settings.model,
                upstream = %self.upstream().name,
                status = "cancelled",
                total_ms = millis(self.began.elapsed()),
                "the client left"
            );
        }
    }
}
