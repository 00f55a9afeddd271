//! A request on its way through its tries, until an upstream begins to answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::answer::Answer;
use super::client::Upstream;
use super::refusal::Refusal;
use super::retry::Retries;
use crate::gate::{Permit, Shut};
use crate::telemetry::trace::TraceContext;

type Try = Pin<Box<dyn Future<Output = Result<Answer, Refusal>> + Send>>;
type Entry = Pin<Box<dyn Future<Output = Result<Permit, Shut>> + Send>>;

/// What an upstream is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The upstream's name of the model.
    pub model: String,
    /// The request's body.
    pub body: Bytes,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The client's own key, for upstreams that get it.
    pub caller: HeaderMap,
    /// The trace that it belongs to.
    pub trace: TraceContext,
}

/// A question to an upstream that is not answered yet.
pub struct Asking {
    upstream: Arc<Upstream>,
    question: Question,
    retries: Retries,
    /// Somebody else can be asked: only who says that it is busy is asked again.
    hasty: bool,
    /// The wait in line.
    entry: Option<Entry>,
    /// The try that is running; it outlives who waits for it.
    running: Option<Try>,
}

impl Asking {
    pub(super) fn new(upstream: Arc<Upstream>, question: Question, hasty: bool) -> Self {
        let retries = Retries::new(upstream.settings().max_retries);
        Self {
            upstream,
            question,
            retries,
            hasty,
            entry: None,
            running: None,
        }
    }

    /// Waits until the answer begins.
    ///
    /// # Errors
    /// The last refusal, once another try makes no sense.
    pub async fn answer(&mut self) -> Result<Answer, Refusal> {
        loop {
            let answer = match self.enter().await {
                Ok(()) => self.run().await,
                Err(refusal) => Err(refusal),
            };
            if let Some(answer) = self.settle(answer).await {
                return answer;
            }
        }
    }

    /// Waits until the answer begins, but not while one try is left unanswered for longer than
    /// `patience`: `None` then, and nothing is lost. The pauses between tries do not count, since an
    /// upstream that refused once is likely to refuse for good, which is better known at once; nor
    /// does the wait in line.
    pub async fn answer_soon(&mut self, patience: Duration) -> Option<Result<Answer, Refusal>> {
        loop {
            let answer = match self.enter().await {
                Ok(()) => tokio::time::timeout(patience, self.run()).await.ok()?,
                Err(refusal) => Err(refusal),
            };
            if let Some(answer) = self.settle(answer).await {
                return Some(answer);
            }
        }
    }

    /// Gets leave to ask, which is part of the next try, unless one is running already.
    async fn enter(&mut self) -> Result<(), Refusal> {
        if self.running.is_some() {
            return Ok(());
        }
        let upstream = &self.upstream;
        let entry = self.entry.get_or_insert_with(|| upstream.enter());
        let permit = entry.as_mut().await;
        self.entry = None;
        let permit =
            permit.map_err(|shut| Refusal::of_line(&self.upstream.settings().name, shut))?;
        let (upstream, question) = (Arc::clone(&self.upstream), self.question.clone());
        self.running = Some(Box::pin(async move {
            upstream.ask_once(question, permit).await
        }));
        Ok(())
    }

    /// Goes on with the running try.
    async fn run(&mut self) -> Result<Answer, Refusal> {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let answer = running.as_mut().await;
        self.running = None;
        answer
    }

    /// What a try came to; `None` if there is to be another one, after a pause that is over now.
    async fn settle(&mut self, answer: Result<Answer, Refusal>) -> Option<Result<Answer, Refusal>> {
        let refusal = match answer {
            Ok(answer) => return Some(Ok(answer)),
            Err(refusal) => refusal,
        };
        let settings = self.upstream.settings();
        let kind = refusal.kind.to_string();
        settings.metrics.upstream_error(&settings.name, &kind);
        if self.hasty && refusal.status != 429 {
            return Some(Err(refusal));
        }
        let Some(wait) = self.retries.next(&refusal) else {
            return Some(Err(refusal));
        };
        settings.metrics.upstream_retry(&settings.name);
        tracing::warn!(
            upstream = %settings.name,
            status = refusal.status,
            wait_ms = millis(wait),
            error = %refusal.error.message,
            "the upstream refused: trying again"
        );
        tokio::time::sleep(wait).await;
        None
    }
}

/// Milliseconds as a number that a log can write as one.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
