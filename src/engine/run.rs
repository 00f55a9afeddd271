//! One upstream's answer, read to its end: the pipeline with a clock and a connection around it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::Body as _;
use tokio::time::Sleep;

use crate::responses::ErrorObject;
use crate::time::{Instant, unix_now};
use crate::translate::{Outcome, Pipeline, Progress, Sink};
use crate::upstream::Refusal;

/// How long token counts are awaited once all else was said.
const TAIL_WAIT: Duration = Duration::from_secs(2);

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
    /// The upstream's name, for the log and for errors.
    pub(super) upstream: String,
    /// The model as the client named it, for the log.
    pub(super) model: String,
    /// How long the upstream may be silent.
    pub(super) idle_timeout: Duration,
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
    /// Everything but token counts has come, since then.
    finished: Option<Instant>,
    began: Instant,
    first: Option<Duration>,
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
        let first = settings
            .keepalive_interval
            .map_or(settings.idle_timeout, |interval| {
                interval.min(settings.idle_timeout)
            });
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
                            self.settings.upstream,
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
        self.told = now;
        self.first.get_or_insert(now - self.began);
        let Some(pipeline) = &mut self.pipeline else {
            return Step::Read;
        };
        match pipeline.push(bytes, sink) {
            Progress::More => Step::Read,
            Progress::Over => self.end(None, sink),
            Progress::Finished => {
                if self.finished.is_none() {
                    self.finished = Some(now);
                    self.alarm.as_mut().reset(now + TAIL_WAIT);
                }
                Step::Read
            }
        }
    }

    /// The alarm rang: finds out what for, and sets it anew.
    fn ring(&mut self, sink: &mut dyn Sink) -> Step {
        let now = Instant::now();
        if self.finished.is_some_and(|since| now >= since + TAIL_WAIT) {
            return self.end(None, sink);
        }
        // While the upstream has not answered, its own time limit counts.
        let silent_until = match self.source {
            Source::Answer(_) => Some(self.heard + self.settings.idle_timeout),
            Source::Asking(_) => None,
        };
        if silent_until.is_some_and(|until| now >= until) {
            let message = format!(
                "the upstream `{}` was silent for {} s in the middle of its answer",
                self.settings.upstream,
                self.settings.idle_timeout.as_secs_f64()
            );
            return self.end(Some(ErrorObject::server(message)), sink);
        }
        if let Some(interval) = self.settings.keepalive_interval
            && now >= self.told + interval
        {
            if let Some(pipeline) = &mut self.pipeline {
                pipeline.keepalive(sink);
            }
            self.told = now;
        }
        let next = [
            silent_until,
            self.settings
                .keepalive_interval
                .map(|interval| self.told + interval),
            self.finished.map(|since| since + TAIL_WAIT),
        ];
        let next = next
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + self.settings.idle_timeout);
        self.alarm.as_mut().reset(next);
        Step::Read
    }

    fn end(&mut self, cause: Option<ErrorObject>, sink: &mut dyn Sink) -> Step {
        let Some(pipeline) = self.pipeline.take() else {
            return Step::Read;
        };
        let (outcome, estimated) = pipeline.finish(cause, unix_now(), self.settings.asked, sink);
        self.log(&outcome, estimated);
        Step::Over(Box::new(outcome))
    }

    /// The one line that each response has in the log.
    fn log(&self, outcome: &Outcome, estimated: bool) {
        let response = outcome.response();
        let usage = outcome.usage.unwrap_or_default();
        let first_ms = self.first.unwrap_or_default().as_millis();
        let total_ms = self.began.elapsed().as_millis();
        match outcome.failure() {
            None => tracing::info!(
                response.id = %outcome.head.id,
                model = %self.settings.model,
                upstream = %self.settings.upstream,
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
                response.id = %outcome.head.id,
                model = %self.settings.model,
                upstream = %self.settings.upstream,
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
                response.id = %pipeline.id(),
                model = %self.settings.model,
                upstream = %self.settings.upstream,
                status = "cancelled",
                total_ms = self.began.elapsed().as_millis(),
                "the client left"
            );
        }
    }
}

/// A refusal that came after the stream had begun.
fn late(refusal: Refusal) -> ErrorObject {
    let mut error = refusal.error;
    let known = error.code.as_deref().is_some_and(|code| {
        matches!(
            code,
            "context_length_exceeded"
                | "rate_limit_exceeded"
                | "insufficient_quota"
                | "model_not_found"
                | "server_error"
        )
    });
    if !known {
        // A client that is told so does not try the same again.
        let code = if (400..500).contains(&refusal.status) {
            "invalid_prompt"
        } else {
            "server_error"
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
