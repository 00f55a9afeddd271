//! One upstream's answer, read to its end: the pipeline with a clock and a connection around it.

use std::fmt::{self, Write};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::Body as _;
use tokio::time::Sleep;
use tracing::Span;

use super::tell::Telling;
use crate::responses::ErrorObject;
use crate::time::{Instant, unix_now};
use crate::translate::{Ending, Outcome, Pipeline, Progress, Sink, fault};
use crate::upstream::{self, Refusal, Upstream, millis};

/// How long token counts are awaited once all else was said.
const COUNTS_WAIT: Duration = Duration::from_secs(5);
/// How long `[DONE]` or the connection's end are awaited once nothing is missing. Some servers send
/// neither.
const END_WAIT: Duration = Duration::from_millis(300);

/// Where the answer comes from.
pub(super) enum Source {
    /// The upstream has the request and has not answered.
    Asking(Pin<Box<dyn Future<Output = Result<reqwest::Body, Refusal>> + Send>>),
    /// It answers.
    Answer(reqwest::Body),
}

/// What a run is told of its surroundings.
#[derive(Debug)]
pub(super) struct RunSettings {
    /// Who answers.
    pub(super) upstream: Arc<Upstream>,
    /// The model as the client named it, for the log.
    pub(super) model: String,
    /// How long the client may hear nothing.
    pub(super) keepalive_interval: Option<Duration>,
    /// The size of the request for the upstream, in bytes.
    pub(super) asked: usize,
}

/// An answer that is being read.
pub(super) struct Run {
    pipeline: Option<Pipeline>,
    source: Source,
    settings: RunSettings,
    /// When something last came from the upstream.
    heard: Instant,
    /// When something last went to the client.
    told: Instant,
    /// The next moment at which something is due. It is not moved with each event, only looked at
    /// anew when it comes: one timer serves a stream all its life.
    alarm: Pin<Box<Sleep>>,
    /// The answer is whole, and this is when anything that counts last came: the word that it is
    /// whole, text or calls nevertheless, token counts.
    finished: Option<Instant>,
    began: Instant,
    first: Option<Duration>,
    /// The request's, for the log: others than the request's own task may read a stream.
    span: Span,
}

/// What a step of a run came to.
pub(super) enum Step {
    /// Something was written to the sink, perhaps.
    Read,
    /// It is over.
    Over(Box<Outcome>),
}

impl Run {
    pub(super) fn new(pipeline: Pipeline, source: Source, settings: RunSettings) -> Self {
        let now = Instant::now();
        let idle = settings.upstream.settings().idle_timeout;
        let first = settings
            .keepalive_interval
            .map_or(idle, |interval| interval.min(idle));
        Self {
            pipeline: Some(pipeline),
            source,
            settings,
            heard: now,
            told: now,
            alarm: Box::pin(tokio::time::sleep_until(now + first)),
            finished: None,
            began: now,
            first: None,
            span: Span::current(),
        }
    }

    /// Reads to the end.
    pub(super) fn poll_outcome(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Poll<Box<Outcome>> {
        loop {
            if let Step::Over(outcome) = ready!(self.poll_step(cx, sink)) {
                return Poll::Ready(outcome);
            }
        }
    }

    /// Reads what has come, or does what is due.
    ///
    /// After [`Step::Over`] it must not be called again.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>, sink: &mut dyn Sink) -> Poll<Step> {
        if self.is_overdue() {
            return Poll::Ready(self.ring(sink));
        }
        match self.poll_source(cx) {
            Poll::Ready(Some(Ok(bytes))) => return Poll::Ready(self.take(&bytes, sink)),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(self.end(Some(error), sink)),
            Poll::Ready(None) => return Poll::Ready(self.end(None, sink)),
            Poll::Pending => {}
        }
        ready!(self.alarm.as_mut().poll(cx));
        Poll::Ready(self.ring(sink))
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<bytes::Bytes, ErrorObject>>> {
        loop {
            match &mut self.source {
                Source::Asking(answer) => match ready!(answer.as_mut().poll(cx)) {
                    Ok(body) => {
                        self.source = Source::Answer(body);
                        self.heard = Instant::now();
                    }
                    Err(refusal) => return Poll::Ready(Some(Err(late(refusal)))),
                },
                Source::Answer(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                    Some(Err(error)) => {
                        let message = format!(
                            "the upstream `{}` broke off in the middle of its answer: {}",
                            self.upstream().name,
                            Innermost(&error)
                        );
                        return Poll::Ready(Some(Err(ErrorObject::server(message))));
                    }
                    None => return Poll::Ready(None),
                },
            }
        }
    }

    fn take(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Step {
        let now = Instant::now();
        self.heard = now;
        self.first.get_or_insert(now - self.began);
        let Some(pipeline) = &mut self.pipeline else {
            return Step::Read;
        };
        let counted = pipeline.has_usage();
        let mut telling = Telling::new(&mut *sink, &self.settings.upstream);
        let progress = pipeline.push(bytes, &mut telling);
        let told = telling.told();
        let news = told || counted != pipeline.has_usage();
        // Comments, and what is gathered or hidden, are nothing to the client.
        if told {
            self.told = now;
        }
        match progress {
            Progress::More => Step::Read,
            Progress::Over => self.end(None, sink),
            Progress::Finished => {
                if news || self.finished.is_none() {
                    self.finished = Some(now);
                }
                if let Some(until) = self.whole_at()
                    && until < self.alarm.deadline()
                {
                    self.alarm.as_mut().reset(until);
                }
                Step::Read
            }
        }
    }

    /// Whether something is due although the upstream never pauses: what it sends may be nothing to
    /// the client.
    fn is_overdue(&self) -> bool {
        let interval = self.settings.keepalive_interval;
        interval.is_some_and(|interval| self.heard >= self.told + interval)
            || self.whole_at().is_some_and(|until| self.heard >= until)
    }

    /// When an answer that is whole is taken for all that comes.
    fn whole_at(&self) -> Option<Instant> {
        let counted = self.pipeline.as_ref().is_some_and(Pipeline::has_usage);
        let wait = if counted { END_WAIT } else { COUNTS_WAIT };
        self.finished.map(|since| since + wait)
    }

    /// When the upstream has been silent for too long. While it has not answered, its own time
    /// limit counts.
    fn silent_at(&self) -> Option<Instant> {
        match self.source {
            Source::Answer(_) => Some(self.heard + self.upstream().idle_timeout),
            Source::Asking(_) => None,
        }
    }

    /// The alarm rang: finds out what for, and sets it anew.
    fn ring(&mut self, sink: &mut dyn Sink) -> Step {
        let now = Instant::now();
        if self.whole_at().is_some_and(|until| now >= until) {
            return self.end(None, sink);
        }
        if self.silent_at().is_some_and(|until| now >= until) {
            let message = format!(
                "the upstream `{}` was silent for {} s in the middle of its answer",
                self.upstream().name,
                self.upstream().idle_timeout.as_secs_f64()
            );
            return self.end(Some(ErrorObject::server(message)), sink);
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
        ];
        let next = next.into_iter().flatten().min();
        let next = next.unwrap_or_else(|| now + self.upstream().idle_timeout);
        self.alarm.as_mut().reset(next);
        Step::Read
    }

    fn end(&mut self, cause: Option<ErrorObject>, sink: &mut dyn Sink) -> Step {
        let Some(pipeline) = self.pipeline.take() else {
            return Step::Read;
        };
        let upstream = &self.settings.upstream;
        let mut sink = Telling::new(sink, upstream);
        let (mut outcome, estimated) =
            pipeline.finish(cause, unix_now(), self.settings.asked, &mut sink);
        if let Ending::Failed(error) = &mut outcome.ending {
            *error = upstream.without_secrets(error.clone());
        }
        self.log(&outcome, estimated);
        Step::Over(Box::new(outcome))
    }

    fn upstream(&self) -> &upstream::Settings {
        self.settings.upstream.settings()
    }

    /// The one line that each response has in the log.
    fn log(&self, outcome: &Outcome, estimated: bool) {
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

/// A refusal that came after the stream had begun.
pub(super) fn late(refusal: Refusal) -> ErrorObject {
    let mut error = refusal.error;
    // Codex reads the time from the message, as there are no headers any more.
    if let (429, Some(wait)) = (refusal.status, &refusal.retry_after)
        && let Some(wait) = wait.wait()
        && !error.message.contains("try again in")
    {
        let _ = write!(error.message, " (try again in {}s)", wait.as_secs_f64());
    }
    let known = error.code.as_deref();
    if !known.is_some_and(fault::is_known) {
        let code = match refusal.status {
            429 => "rate_limit_exceeded",
            // A client that is told so does not try the same again.
            400..=499 => "invalid_prompt",
            _ => "server_error",
        };
        error.code = Some(code.into());
    }
    error
}

/// The innermost error, which says what really happened.
struct Innermost<'e>(&'e dyn std::error::Error);

impl fmt::Display for Innermost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause = self.0;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        fmt::Display::fmt(cause, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::RetryAfter;

    fn code(status: u16, code: Option<&'static str>) -> Option<String> {
        let mut error = ErrorObject::invalid("x");
        error.code = code.map(Into::into);
        late(Refusal::new(status, error)).code.map(String::from)
    }

    #[test]
    fn a_late_refusal_has_a_code_that_codex_acts_upon() {
        for (status, own, told) in [
            (400, None, "invalid_prompt"),
            (401, Some("invalid_api_key"), "invalid_prompt"),
            (404, Some("model_not_found"), "model_not_found"),
            (429, Some("throttled"), "rate_limit_exceeded"),
            (429, Some("insufficient_quota"), "insufficient_quota"),
            (503, None, "server_error"),
            (503, Some("server_is_overloaded"), "server_is_overloaded"),
            (503, Some("slow_down"), "slow_down"),
            (502, Some("oops"), "server_error"),
            (504, None, "server_error"),
        ] {
            assert_eq!(code(status, own).as_deref(), Some(told), "{status} {own:?}");
        }
    }

    #[test]
    fn a_late_refusal_says_when_to_come_back() {
        let error = ErrorObject::invalid("Slow down.").with_code("rate_limit_exceeded");
        let refusal = Refusal {
            retry_after: Some(RetryAfter::seconds(9)),
            ..Refusal::new(429, error)
        };
        assert_eq!(late(refusal).message, "Slow down. (try again in 9s)");
    }
}
