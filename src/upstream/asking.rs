//! A request on its way through its tries, until an upstream begins to answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::body::Body;
use super::client::Upstream;
use super::refusal::Refusal;
use super::retry::Retries;

type Try = Pin<Box<dyn Future<Output = Result<Body, Refusal>> + Send>>;

/// A question to an upstream that is not answered yet.
pub struct Asking {
    upstream: Arc<Upstream>,
    body: Bytes,
    stream: bool,
    retries: Retries,
    /// The try that is running; it outlives who waits for it.
    running: Option<Try>,
}

impl Asking {
    pub(super) fn new(upstream: Arc<Upstream>, body: Bytes, stream: bool) -> Self {
        let retries = Retries::new(upstream.settings().max_retries);
        Self {
            upstream,
            body,
            stream,
            retries,
            running: None,
        }
    }

    /// Waits until the answer begins.
    ///
    /// # Errors
    /// The last refusal, once another try makes no sense.
    pub async fn answer(mut self) -> Result<Body, Refusal> {
        self.answer_now().await
    }

    /// The same, with what is left of it.
    ///
    /// # Errors
    /// The last refusal, once another try makes no sense.
    pub async fn answer_now(&mut self) -> Result<Body, Refusal> {
        loop {
            let answer = self.run().await;
            if let Some(answer) = self.settle(answer).await {
                return answer;
            }
        }
    }

    /// Waits until the answer begins, but not while one try is left unanswered for longer than
    /// `patience`: `None` then, and nothing is lost. The pauses between tries do not count, since an
    /// upstream that refused once is likely to refuse for good, which is better known at once.
    pub async fn answer_soon(&mut self, patience: Duration) -> Option<Result<Body, Refusal>> {
        loop {
            let answer = tokio::time::timeout(patience, self.run()).await.ok()?;
            if let Some(answer) = self.settle(answer).await {
                return Some(answer);
            }
        }
    }

    /// Goes on with the running try, or begins one.
    async fn run(&mut self) -> Result<Body, Refusal> {
        let (upstream, body, stream) = (&self.upstream, &self.body, self.stream);
        let running = self.running.get_or_insert_with(|| {
            let (upstream, body) = (Arc::clone(upstream), body.clone());
            Box::pin(async move { upstream.chat_once(body, stream).await })
        });
        let answer = running.as_mut().await;
        self.running = None;
        answer
    }

    /// What a try came to; `None` if there is to be another one, after a pause that is over now.
    async fn settle(&mut self, answer: Result<Body, Refusal>) -> Option<Result<Body, Refusal>> {
        let refusal = match answer {
            Ok(body) => return Some(Ok(body)),
            Err(refusal) => refusal,
        };
        let Some(wait) = self.retries.next(&refusal) else {
            return Some(Err(refusal));
        };
        tracing::warn!(
            upstream = %self.upstream.settings().name,
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
