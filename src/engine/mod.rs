//! The life of one response: read the request, load what it continues, find its upstream, translate,
//! ask, translate back, keep.
//!
//! * `prepare`: from the bytes of a request to a question for an upstream; `check` what it may not
//!   ask for, `history` what it continues;
//! * `run`: an upstream's answer under a clock; `stream` the body that a client reads;
//! * `keep`: what becomes of a response that is over;
//! * `background`: responses that are made without a client; `follow` those who watch;
//! * `state`, `conversations`: what is stored, as the API shows it; `count`, `compact`: the rest.

mod account;
mod attempt;
mod background;
mod caller;
mod catalog;
mod check;
mod compact;
mod content;
mod conversations;
mod count;
mod follow;
mod frames;
mod history;
mod keep;
mod notes;
mod over;
mod passed;
mod prepare;
mod recipe;
mod route;
mod run;
mod shape;
mod state;
mod stream;
mod structured;
mod tell;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::{Instrument, Span};

pub use background::{BackgroundSettings, Worker};
pub use caller::{Caller, Lane, Session};
pub use catalog::{CatalogEntry, Modality, ModelMetadata};
pub use count::TokenCount;
pub use follow::Follow;
pub use keep::Kept;
pub use over::shutting_down;
pub use passed::Passed;
pub use route::{Choice, Names, Overrides, Preset, Route, Routes, Target};
pub use state::{Listing, Shown};
pub use stream::ResponseStream;

use crate::admission::End;
use crate::closing::Closing;
use crate::responses::Usage;
use crate::responses::response::{Head, Response, State};
use crate::telemetry::Metrics;
use crate::time::unix_now;
use crate::translate::{self, Ending, Ignore, Outcome, Pipeline, Seals, Sink as _, Thinking};
use crate::upstream::{ModelHealth, Refusal, Upstream};
use account::Account;
use attempt::{Arrival, Arrived};
use prepare::{Order, Prepared, Purpose};
use run::{Run, RunSettings, Source};

/// How often a request is made shorter before it is given up.
const MAX_TRUNCATIONS: usize = 16;

/// What an engine is built from.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How thinking is shown; `None` decides by what the request asks.
    pub thinking: Option<Thinking>,
    /// How long the upstream's status line is awaited before the stream begins without it.
    pub first_status_wait: Duration,
    /// How long a stream may be silent before a keepalive; `None` for never.
    pub keepalive_interval: Option<Duration>,
    /// Whether `data: [DONE]` ends a stream.
    pub done_sentinel: bool,
    /// The most bytes of what a request continues.
    pub max_history_bytes: usize,
    /// Whether requests and answers are logged too, as people and models wrote them.
    pub log_content: bool,
}

/// What stays the same however often the engine is built anew.
#[derive(Clone)]
pub struct Lasting {
    /// Seal thinking.
    pub seals: Arc<dyn Seals>,
    /// What is stored.
    pub kept: Kept,
    /// How far the end of the process has come.
    pub closing: Closing,
    /// The numbers.
    pub metrics: Arc<Metrics>,
}

/// Answers requests for responses.
pub struct Engine {
    settings: Settings,
    upstreams: Vec<Arc<Upstream>>,
    routes: Routes,
    seals: Arc<dyn Seals>,
    kept: Kept,
    closing: Closing,
    catalog: catalog::Cache,
    told: Arc<notes::Told>,
    metrics: Arc<Metrics>,
}

/// How an upstream fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamHealth {
    /// Its name.
    pub upstream: String,
    /// Requests that are being answered.
    pub in_flight: usize,
    /// Requests that wait in its line.
    pub waiting: usize,
    /// Its models of which there is anything to tell.
    pub models: Vec<ModelHealth>,
}

/// An answer.
pub enum Reply {
    /// A stream of another server's events, as they come.
    Passed(Box<Passed>),
    /// A stream of events, as they are made.
    Stream(Box<ResponseStream>),
    /// A stream of events of a response in the background.
    Follow(Follow),
    /// A response object, as JSON.
    Whole(Vec<u8>),
}

/// What came of asking.
enum Asked {
    /// An upstream begins to answer, or will.
    Answer(Box<Prepared>, Option<Box<Arrival>>),
    /// It answers in the client's own language.
    Passed(Box<Passed>),
}

impl Engine {
    /// Builds one. `routes` refer to `upstreams` by their place in the list.
    #[must_use]
    pub fn new(
        settings: Settings,
        upstreams: Vec<Arc<Upstream>>,
        routes: Routes,
        lasting: Lasting,
    ) -> Self {
        let Lasting {
            seals,
            kept,
            closing,
            metrics,
        } = lasting;
        metrics.know_models(routes.model_names());
        Self {
            settings,
            upstreams,
            routes,
            seals,
            kept,
            closing,
            catalog: catalog::Cache::default(),
            told: Arc::default(),
            metrics,
        }
    }

    /// Closes the store, once nothing is made any more.
    pub async fn close(&self) {
        if let Some(store) = &self.kept.store {
            store.close().await;
        }
    }

    /// All upstreams.
    #[must_use]
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// How all upstreams fare.
    #[must_use]
    pub fn health(&self) -> Vec<UpstreamHealth> {
        let health = |upstream: &Arc<Upstream>| UpstreamHealth {
            upstream: upstream.settings().name.clone(),
            in_flight: upstream.in_flight(),
            waiting: upstream.waiting(),
            models: upstream.health(),
        };
        self.upstreams.iter().map(health).collect()
    }

    /// How many background responses this process makes.
    #[must_use]
    pub fn background(&self) -> usize {
        self.kept.held.len()
    }

    /// Answers a request. `id` is 32 hex digits that no other response has.
    ///
    /// # Errors
    /// What is known before the answer begins: a request that is wrong, an upstream that refuses.
    pub async fn create(&self, body: Bytes, id: &str, caller: &Caller) -> Result<Reply, Refusal> {
        let mut account = Some(Account::open(self, id, caller));
        let reply = self.answer(body, id, caller, &mut account).await;
        if let (Err(refusal), Some(account)) = (&reply, account) {
            account.refused(refusal);
        }
        reply
    }

    /// The same; whoever goes on with the answer takes the account.
    async fn answer(
        &self,
        body: Bytes,
        id: &str,
        caller: &Caller,
        account: &mut Option<Box<Account>>,
    ) -> Result<Reply, Refusal> {
        let mut order = Order::new(id, caller, Purpose::Answer);
        let prepared = self.prepare(&body, &order).await?;
        if let Some(account) = account {
            account.concerns(&prepared);
        }
        if !prepared.warm_up {
            prepared.reserve()?;
        }
        if prepared.background {
            // Whoever makes it makes it fit.
            let queued = self.enqueue(prepared, body).await?;
            hand_over(account);
            return Ok(queued);
        }
        if prepared.warm_up {
            hand_over(account);
            return Ok(self.warm_up(prepared).await);
        }
        let prepared = self.fit(prepared, &body, &mut order).await?;
        if prepared.stream {
            self.stream(prepared, body, order, account).await
        } else {
            self.whole(prepared, body, order, account).await
        }
    }

    /// Prepares a request anew, its conversation summed up or cut first where the client allows it
    /// and the model takes no more.
    async fn fit(
        &self,
        mut prepared: Box<Prepared>,
        body: &Bytes,
        order: &mut Order<'_>,
    ) -> Result<Box<Prepared>, Refusal> {
        loop {
            if prepared.compact_first {
                let sealed = self.sum_up(body, order).await?;
                order.lead = Some(sealed);
            } else if prepared.droppable > 0 && prepared.is_too_long() {
                order.drop_turns += prepared.cut();
            } else {
                return Ok(prepared);
            }
            prepared = self.prepare(body, order).await?;
        }
    }

    /// A stream begins as soon as an upstream has accepted, or has been thinking about it for a
    /// moment: a refusal that comes in time is an HTTP error, a later one ends the stream. A quick
    /// refusal is an HTTP error even if it takes several tries.
    async fn stream(
        &self,
        prepared: Box<Prepared>,
        body: Bytes,
        order: Order<'_>,
        account: &mut Option<Box<Account>>,
    ) -> Result<Reply, Refusal> {
        let (mut prepared, arrival) = match self.ask(prepared, body, order).await? {
            Asked::Answer(prepared, arrival) => (prepared, arrival),
            Asked::Passed(mut passed) => {
                passed.is_accounted_by(account.take());
                passed.until(self.closing.watch());
                return Ok(Reply::Passed(passed));
            }
        };
        let keeping = prepared.keeping.take();
        let mut sink = translate::Bytes::default();
        let run = self.run(prepared, arrival, &mut sink, account.take());
        Ok(Reply::Stream(Box::new(ResponseStream::new(
            run,
            sink,
            self.settings.done_sentinel,
            keeping,
        ))))
    }

    async fn whole(
        &self,
        prepared: Box<Prepared>,
        body: Bytes,
        order: Order<'_>,
        account: &mut Option<Box<Account>>,
    ) -> Result<Reply, Refusal> {
        let (mut prepared, arrival) = match self.ask(prepared, body, order).await? {
            Asked::Answer(prepared, arrival) => (prepared, arrival),
            Asked::Passed(mut passed) => {
                passed.is_accounted_by(account.take());
                return Ok(Reply::Whole(passed.into_document()));
            }
        };
        let keeping = prepared.keeping.take();
        let outcome = self.outcome(prepared, arrival, account.take()).await;
        let failure = outcome.failure().cloned().map(Refusal::of_failure);
        let mut json = Vec::new();
        outcome.response().write(&mut json);
        if let Some(keeping) = keeping {
            stream::keep(keeping, outcome).await;
        }
        match failure {
            Some(refusal) => Err(refusal),
            None => Ok(Reply::Whole(json)),
        }
    }

    /// Reads an answer to its end while nobody listens.
    async fn outcome(
        &self,
        prepared: Box<Prepared>,
        arrival: Option<Box<Arrival>>,
        account: Option<Box<Account>>,
    ) -> Outcome {
        let mut run = self.run(prepared, arrival, &mut Ignore, account);
        *std::future::poll_fn(|cx| run.poll_outcome(cx, &mut Ignore)).await
    }

    /// Asks the upstreams. What streams may begin without their answer.
    async fn ask(
        &self,
        mut prepared: Box<Prepared>,
        body: Bytes,
        mut order: Order<'_>,
    ) -> Result<Asked, Refusal> {
        for _ in 0..MAX_TRUNCATIONS {
            let refusal = match self.ask_once(&mut prepared).await {
                Err(refusal) => refusal,
                Ok(Some(Arrived::Passed(passed))) => return Ok(Asked::Passed(passed)),
                Ok(Some(Arrived::Chat(arrival))) => {
                    return Ok(Asked::Answer(prepared, Some(arrival)));
                }
                Ok(None) => return Ok(Asked::Answer(prepared, None)),
            };
            let is_too_long = refusal.error.code.as_deref() == Some("context_length_exceeded");
            if !is_too_long || prepared.droppable == 0 {
                return Err(refusal);
            }
            order.drop_turns += prepared.cut();
            prepared = self.prepare(&body, &order).await?;
        }
        Err(check::too_long())
    }

    async fn ask_once(&self, prepared: &mut Prepared) -> Result<Option<Arrived>, Refusal> {
        let must_end = prepared.permit.as_ref().and_then(|permit| permit.end());
        let journey = &mut prepared.journey;
        let streams = prepared.stream || prepared.background;
        // What is passed on begins with its own first event, so that none of ours may be before. And
        // what may be asked once more, shorter, must not have begun to answer.
        let early = async {
            if streams && prepared.droppable == 0 && !journey.may_pass() {
                journey.go_soon(self.settings.first_status_wait).await
            } else {
                Some(in_time(must_end, journey.go()).await)
            }
        };
        let mut watch = self.closing.watch();
        let early = tokio::select! {
            biased;
            () = watch.over() => Some(Err(over::cut_off(&self.closing))),
            early = early => early,
        };
        early.transpose()
    }

    /// Begins a response. Without an arrival the upstreams are waited for by the run.
    fn run(
        &self,
        prepared: Box<Prepared>,
        arrival: Option<Box<Arrival>>,
        sink: &mut dyn translate::Sink,
        account: Option<Box<Account>>,
    ) -> Run {
        let Prepared {
            mut journey,
            upstream,
            dialect,
            context,
            logprobs,
            stream,
            background,
            permit,
            ..
        } = *prepared;
        let limits = upstream.settings().limits;
        let settings = RunSettings {
            upstream,
            // What was stored cannot be taken back either.
            stream: stream || background,
            logprobs,
            model: context.head.model.clone(),
            keepalive_interval: self.settings.keepalive_interval.filter(|_| stream),
            asked: 0,
            watch: self.closing.watch(),
            permit,
        };
        let pipeline = Pipeline::start(context, &dialect.profile, logprobs, limits, sink);
        journey.announced();
        let Some(arrival) = arrival else {
            let asking = async move {
                let arrived = journey.go().await;
                (journey, arrived)
            };
            // What it logs belongs to this request, wherever it is waited for.
            let source = Source::Asking(Box::pin(asking.instrument(Span::current())));
            return Run::new(pipeline, source, settings, account);
        };
        Run::answering(pipeline, journey, *arrival, settings, account)
    }

    /// Answers with nothing, which a later request can continue.
    async fn warm_up(&self, prepared: Box<Prepared>) -> Reply {
        let Prepared {
            context,
            keeping,
            stream,
            ..
        } = *prepared;
        let mut sink = translate::Bytes::default();
        let began = Response {
            head: &context.head,
            state: State::InProgress,
            output: &[],
            usage: None,
        };
        sink.lifecycle(0, "response.created", &began);
        sink.lifecycle(1, "response.in_progress", &began);
        let outcome = empty_outcome(context.head);
        sink.lifecycle(2, "response.completed", &outcome.response());
        let mut json = Vec::new();
        outcome.response().write(&mut json);
        if let Some(keeping) = keeping {
            keeping.keep(outcome).await;
        }
        if stream {
            Reply::Stream(Box::new(ResponseStream::of_bytes(
                sink,
                self.settings.done_sentinel,
            )))
        } else {
            Reply::Whole(json)
        }
    }
}

/// Whoever goes on with a response tells of its end.
fn hand_over(account: &mut Option<Box<Account>>) {
    if let Some(account) = account.take() {
        account.hand_over();
    }
}

/// Waits for an answer for as long as it may take in all.
async fn in_time<T>(
    must_end: Option<End>,
    answer: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    match must_end {
        None => answer.await,
        Some(end) => match tokio::time::timeout_at(end.at, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(check::too_slow(&end)),
        },
    }
}

fn empty_outcome(head: Head) -> Outcome {
    Outcome {
        ending: Ending::Completed(unix_now().max(head.created_at)),
        head,
        output: Vec::new(),
        usage: Some(Usage::default()),
        healed: Vec::new(),
    }
}

impl Prepared {
    /// Whether the model is known to take less than this.
    fn is_too_long(&self) -> bool {
        self.context_window
            .is_some_and(|window| prepare::tokens(self.journey.chat()) > window)
    }

    /// How many turns are left out next, of those that may be.
    fn cut(&self) -> usize {
        self.droppable.div_ceil(4)
    }
}
