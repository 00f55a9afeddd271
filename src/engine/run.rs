//! One upstream's answer, read to its end: the pipeline with a clock and a connection around it.

mod clock;
mod end;
mod late;
mod limit;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::Body as _;
use tokio::time::Sleep;
use tracing::{Instrument, Span};

use super::account::Account;
use super::attempt::{Arrival, Arrived, Journey};
use super::structured::Structured;
use super::tell::Telling;
use crate::admission::{End, Permit};
use crate::closing::Watch;
use crate::responses::ErrorObject;
use crate::responses::response::{Echo, Head};
use crate::time::Instant;
use crate::translate::{Outcome, Pipeline, Progress, Sink};
use crate::upstream::{self, Answer, Refusal, Trial, Upstream};

pub(super) use late::late;

/// The way to an upstream that answers, and on from there.
type Travel = Pin<Box<dyn Future<Output = (Box<Journey>, Result<Arrived, Refusal>)> + Send>>;

/// Where the answer comes from.
pub(super) enum Source {
    /// An upstream has the request and has not answered.
    Asking(Travel),
    /// It answers.
    Answer(Answer),
    /// Nothing of it is wanted any more.
    Over,
}

/// What a run is told of its surroundings.
pub(super) struct RunSettings {
    /// Who answers, as far as is known.
    pub(super) upstream: Arc<Upstream>,
    /// Whether the client hears of the answer as it comes.
    pub(super) stream: bool,
    /// Whether the client wants to know how probable each token was.
    pub(super) logprobs: bool,
    /// The model as the client named it.
    pub(super) model: String,
    /// How long the client may hear nothing.
    pub(super) keepalive_interval: Option<Duration>,
    /// How long the request for the upstream is, as its tokens are estimated by it.
    pub(super) asked: usize,
    /// Tells when the process ends, and all that runs with it.
    pub(super) watch: Watch,
    /// Leave for the request, where requests are counted.
    pub(super) permit: Option<Arc<Permit>>,
}

/// An answer that is being read.
pub(super) struct Run {
    pipeline: Option<Pipeline>,
    /// Checks the answer before the pipeline gets it.
    check: Option<Box<Structured>>,
    source: Source,
    settings: RunSettings,
    /// The way to other upstreams, as long as this one's answer can still be forgotten.
    journey: Option<Box<Journey>>,
    /// To be told how it ends.
    trial: Option<Trial>,
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
    /// When it must be over.
    must_end: Option<End>,
    /// Told of it, as long as it goes on.
    account: Option<Box<Account>>,
}

/// What a step of a run came to.
pub(super) enum Step {
    /// Something was written to the sink, perhaps.
    Read,
    /// It is over.
    Over(Box<Outcome>),
}

impl Run {
    pub(super) fn new(
        pipeline: Pipeline,
        source: Source,
        settings: RunSettings,
        account: Option<Box<Account>>,
    ) -> Self {
        let now = Instant::now();
        let idle = settings.upstream.settings().idle_timeout;
        let interval = settings.keepalive_interval.unwrap_or(idle);
        let first = now + interval.min(idle);
        let must_end = settings.permit.as_ref().and_then(|permit| permit.end());
        let first = must_end.map_or(first, |end| end.at.min(first));
        Self {
            pipeline: Some(pipeline),
            check: None,
            source,
            settings,
            journey: None,
            trial: None,
            heard: now,
            told: now,
            alarm: Box::pin(tokio::time::sleep_until(first)),
            finished: None,
            must_end,
            account,
        }
    }

    /// A run of an upstream that has begun to answer; `journey` leads on to others.
    pub(super) fn answering(
        pipeline: Pipeline,
        journey: Box<Journey>,
        arrival: Arrival,
        settings: RunSettings,
        account: Option<Box<Account>>,
    ) -> Self {
        let nothing = std::future::pending::<(Box<Journey>, Result<Arrived, Refusal>)>();
        let mut run = Self::new(
            pipeline,
            Source::Asking(Box::pin(nothing)),
            settings,
            account,
        );
        run.adopt(journey, arrival);
        run
    }

    /// An upstream begins to answer; `journey` leads on to others.
    pub(super) fn adopt(&mut self, journey: Box<Journey>, arrival: Arrival) {
        let Arrival {
            answer,
            upstream,
            dialect,
            tools,
            trial,
            chat,
            asked,
            validator,
            call,
        } = arrival;
        let is_repair = self
            .check
            .as_ref()
            .is_some_and(|check| check.awaits(&upstream));
        if !is_repair {
            let head = self.pipeline.as_ref().map(|pipeline| Head {
                id: pipeline.id().to_owned(),
                created_at: 0,
                model: self.settings.model.clone(),
                echo: Echo::default(),
            });
            self.check = validator.zip(head).map(|(validator, head)| {
                let answering = (&upstream, &dialect, &tools);
                let check =
                    Structured::new(validator, answering, &chat, head, self.settings.logprobs);
                Box::new(check)
            });
        }
        if let Some(pipeline) = &mut self.pipeline {
            let limits = upstream.settings().limits;
            pipeline.begin_again(tools, &dialect.profile, self.settings.logprobs, limits);
        }
        if let Some(account) = &mut self.account {
            account.is_answered_by(&upstream, call);
            account.unheard();
        }
        self.settings.upstream = upstream;
        self.settings.asked = asked;
        self.source = Source::Answer(answer);
        self.journey = Some(journey);
        self.trial = Some(trial);
        self.heard = Instant::now();
        self.finished = None;
        let silent = self.heard + self.upstream().idle_timeout;
        if silent < self.alarm.deadline() {
            self.alarm.as_mut().reset(silent);
        }
    }

    /// Leaves an answer that failed for another one, if the client has heard nothing of it.
    fn go_on(&mut self, refusal: Refusal) -> bool {
        let unheard =
            !self.settings.stream || self.pipeline.as_ref().is_none_or(Pipeline::is_blank);
        let Some(journey) = &self.journey else {
            return false;
        };
        if !unheard || !journey.may_go_on(&refusal) {
            return false;
        }
        let Some(mut journey) = self.journey.take() else {
            return false;
        };
        tracing::warn!(
            parent: self.span(),
            upstream = %self.upstream().name,
            error = %refusal.error.message,
            "the answer broke off before anything of it was told: asking again"
        );
        self.blame(&refusal);
        if let Some(trial) = self.trial.take() {
            trial.failed(&refusal);
        }
        let asking = async move {
            let arrived = journey.go_on(refusal).await;
            (journey, arrived)
        };
        self.source = Source::Asking(Box::pin(asking.instrument(self.span())));
        self.finished = None;
        true
    }

    /// Asks the same upstream once more, for an answer that fits.
    fn repair(&mut self, chat: bytes::Bytes) {
        let Some(mut journey) = self.journey.take() else {
            return;
        };
        if let Some(trial) = self.trial.take() {
            trial.succeeded();
        }
        let asking = async move {
            let arrived = journey.repair(chat).await;
            (journey, arrived)
        };
        self.source = Source::Asking(Box::pin(asking.instrument(self.span())));
        self.heard = Instant::now();
        self.finished = None;
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
        if self.settings.watch.is_over(cx) {
            return Poll::Ready(self.cut_off(sink));
        }
        if self.is_overdue() {
            return Poll::Ready(self.ring(sink));
        }
        match self.poll_source(cx) {
            Poll::Ready(Some(Ok(bytes))) => return Poll::Ready(self.take(&bytes, sink)),
            Poll::Ready(Some(Err(error))) => {
                let broke = Refusal::of_break(error);
                return Poll::Ready(self.end(Some(broke), sink));
            }
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
                    (journey, Ok(Arrived::Chat(arrival))) => self.adopt(journey, *arrival),
                    (_, Err(refusal)) => return Poll::Ready(Some(Err(late(refusal)))),
                    // Not asked any more once a stream has begun.
                    (_, Ok(Arrived::Passed(_))) => {
                        let error =
                            ErrorObject::server("the upstream answered in another language");
                        return Poll::Ready(Some(Err(error)));
                    }
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
                Source::Over => return Poll::Ready(None),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Step {
        let now = Instant::now();
        self.heard = now;
        let counted = self.has_usage();
        let (progress, told) = match (&mut self.check, &mut self.pipeline) {
            (_, None) => return Step::Read,
            (Some(check), _) => (check.push(bytes), false),
            (None, Some(pipeline)) => {
                let mut telling = Telling::new(&mut *sink, &self.settings.upstream);
                let progress = pipeline.push(bytes, &mut telling);
                (progress, telling.told())
            }
        };
        let news = told || counted != self.has_usage();
        // Comments, and what is gathered or hidden, are nothing to the client.
        if told {
            self.told = now;
            if let Some(account) = &mut self.account {
                account.heard(now);
            }
        }
        let is_blank = self.pipeline.as_ref().is_none_or(Pipeline::is_blank);
        if self.journey.is_some() && !is_blank {
            if let Some(trial) = &mut self.trial {
                trial.answers();
            }
            if self.settings.stream {
                // What was told cannot be taken back.
                self.journey = None;
            }
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

    /// Whether the upstream has told token counts.
    fn has_usage(&self) -> bool {
        match &self.check {
            Some(check) => check.has_usage(),
            None => self.pipeline.as_ref().is_some_and(Pipeline::has_usage),
        }
    }

    fn upstream(&self) -> &upstream::Settings {
        self.settings.upstream.settings()
    }

    fn span(&self) -> Span {
        let account = self.account.as_ref();
        account.map_or_else(Span::none, |account| account.span().clone())
    }

    /// Counts a failure of the upstream.
    fn blame(&mut self, refusal: &Refusal) {
        if let Some(account) = &mut self.account {
            account.upstream_failed(refusal);
        }
    }
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
