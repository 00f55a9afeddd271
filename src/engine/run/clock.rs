//! What is due when: keepalives, the end of an answer that is whole, and of one that is silent.

use std::time::Duration;

use super::super::check;
use super::{Run, Source, Step};
use crate::responses::ErrorObject;
use crate::time::Instant;
use crate::translate::Sink;
use crate::upstream::{Kind, Refusal};

/// How long token counts are awaited once all else was said.
const COUNTS_WAIT: Duration = Duration::from_secs(5);
/// How long `[DONE]` or the connection's end are awaited once nothing is missing. Some servers send
/// neither.
const END_WAIT: Duration = Duration::from_millis(300);

impl Run {
    /// Whether something is due although the upstream never pauses: what it sends may be nothing to
    /// the client.
    pub(super) fn is_overdue(&self) -> bool {
        let interval = self.settings.keepalive_interval;
        interval.is_some_and(|interval| self.heard >= self.told + interval)
            || self.whole_at().is_some_and(|until| self.heard >= until)
            || self.must_end.is_some_and(|end| self.heard >= end.at)
    }

    /// When an answer that is whole is taken for all that comes.
    pub(super) fn whole_at(&self) -> Option<Instant> {
        let wait = if self.has_usage() {
            END_WAIT
        } else {
            COUNTS_WAIT
        };
        self.finished.map(|since| since + wait)
    }

    /// When the upstream has been silent for too long. While it has not answered, its own time
    /// limit counts.
    fn silent_at(&self) -> Option<Instant> {
        match self.source {
            Source::Answer(_) => Some(self.heard + self.upstream().idle_timeout),
            Source::Asking(_) | Source::Over => None,
        }
    }

    /// The alarm rang: finds out what for, and sets it anew.
    pub(super) fn ring(&mut self, sink: &mut dyn Sink) -> Step {
        let now = Instant::now();
        if self.whole_at().is_some_and(|until| now >= until) {
            return self.end(None, sink);
        }
        if let Some(end) = self.must_end.filter(|end| now >= end.at) {
            return self.end(Some(check::too_slow(&end)), sink);
        }
        if self.silent_at().is_some_and(|until| now >= until) {
            let message = format!(
                "the upstream `{}` was silent for {} s in the middle of its answer",
                self.upstream().name,
                self.upstream().idle_timeout.as_secs_f64()
            );
            // Who is silent once is likely to be silent again, and this took long enough.
            let silent = Refusal {
                passing: false,
                kind: Kind::Silent,
                ..Refusal::of_break(ErrorObject::server(message))
            };
            return self.end(Some(silent), sink);
        }
        let interval = self.settings.keepalive_interval;
        if let Some(interval) = interval
            && now >= self.told + interval
        {
            if let Some(pipeline) = &mut self.pipeline {
                pipeline.keepalive(sink);
            }
            self.told = now;
        }
        let next = [
            self.silent_at(),
            interval.map(|interval| self.told + interval),
            self.whole_at(),
            self.must_end.map(|end| end.at),
        ];
        let next = next.into_iter().flatten().min();
        let next = next.unwrap_or_else(|| now + self.upstream().idle_timeout);
        self.alarm.as_mut().reset(next);
        Step::Read
    }
}
