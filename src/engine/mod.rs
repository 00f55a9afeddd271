//! The life of one response: read the request, find its upstream, translate, ask, translate back.

mod attempt;
mod catalog;
mod passed;
mod recipe;
mod route;
mod run;
mod stream;
mod tell;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tracing::{Instrument, Span};

pub use catalog::{CatalogEntry, Modality, ModelMetadata};
pub use passed::Passed;
pub use route::{Names, Overrides, Preset, Route, Routes, Target};
pub use stream::ResponseStream;

use crate::responses::response::{Echo, Head};
use crate::responses::{CreateResponse, ErrorObject};
use crate::time::unix_now;
use crate::translate::{self, Ignore, Pipeline, Seal, Thinking, ToolMap, TurnContext};
use crate::upstream::{Dialect, ModelHealth, Refusal, Upstream};
use attempt::{Arrival, Arrived, Journey, Plan};
use recipe::{Recipe, Stop};
use route::Choice;
use run::{Run, RunSettings, Source};
use waiting::Waiting;

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
}

/// Answers requests for responses.
pub struct Engine {
    settings: Settings,
    upstreams: Vec<Arc<Upstream>>,
    routes: Routes,
    seal: Arc<dyn Seal>,
    catalog: catalog::Cache,
}

/// What comes with a request beside its body.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The profile that it picks.
    pub profile: Option<String>,
    /// The client's own key, in the headers that it came in.
    pub keys: HeaderMap,
}

/// How an upstream fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamHealth {
    /// Its name.
    pub upstream: String,
    /// Requests that are being answered.
    pub in_flight: usize,
    /// Its models of which there is anything to tell.
    pub models: Vec<ModelHealth>,
}

/// An answer.
pub enum Reply {
    /// A stream of another server's events, as they come.
    Passed(Box<Passed>),
    /// A stream of events.
    Stream(Box<ResponseStream>),
    /// A response object, as JSON.
    Whole(Vec<u8>),
}

/// A request on its way: everything of it that outlives its bytes.
struct Prepared {
    journey: Box<Journey>,
    /// Who is asked first.
    upstream: Arc<Upstream>,
    /// Its dialect.
    dialect: Arc<Dialect>,
    context: TurnContext,
    stream: bool,
    logprobs: bool,
}

impl Engine {
    /// Builds one. `routes` refer to `upstreams` by their place in the list.
    #[must_use]
    pub fn new(
        settings: Settings,
        upstreams: Vec<Arc<Upstream>>,
        routes: Routes,
        seal: Arc<dyn Seal>,
    ) -> Self {
        Self {
            settings,
            upstreams,
            routes,
            seal,
            catalog: catalog::Cache::default(),
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
            models: upstream.health(),
        };
        self.upstreams.iter().map(health).collect()
    }

    /// Answers a request. `id` is 32 hex digits that no other response has.
    ///
    /// # Errors
    /// What is known before the answer begins: a request that is wrong, upstreams that all refuse.
    pub async fn create(&self, body: Bytes, id: &str, caller: Caller) -> Result<Reply, Refusal> {
        let prepared = self.prepare(&body, id, &caller)?;
        drop(body);
        if prepared.stream {
            Ok(self.stream(prepared).await?)
        } else {
            self.whole(prepared).await
        }
    }

    /// A stream begins as soon as an upstream has accepted, or has been thinking about it for a
    /// moment: a refusal that comes in time is an HTTP error, a later one ends the stream. A quick
    /// refusal is an HTTP error even if it takes several tries.
    async fn stream(&self, mut prepared: Prepared) -> Result<Reply, Refusal> {
        let waiting = Waiting::new(&prepared);
        let journey = &mut prepared.journey;
        let early = match journey.may_pass() {
            // What is passed on begins with its own first event, so that none of ours may be before.
            true => Some(journey.go().await),
            false => journey.go_soon(self.settings.first_status_wait).await,
        };
        waiting.over();
        let arrived = match early {
            Some(Ok(Arrived::Passed(passed))) => return Ok(Reply::Passed(passed)),
            Some(Ok(Arrived::Chat(arrival))) => Some(arrival),
            Some(Err(refusal)) => return Err(refusal),
            None => None,
        };
        let mut sink = translate::Bytes::default();
        let run = self.run(prepared, arrived, &mut sink);
        Ok(Reply::Stream(Box::new(ResponseStream::new(
            run,
            sink,
            self.settings.done_sentinel,
        ))))
    }

    async fn whole(&self, mut prepared: Prepared) -> Result<Reply, Refusal> {
        let waiting = Waiting::new(&prepared);
        let arrived = prepared.journey.go().await;
        waiting.over();
        let arrival = match arrived? {
            Arrived::Passed(passed) => return Ok(Reply::Whole(passed.into_document())),
            Arrived::Chat(arrival) => arrival,
        };
        let mut run = self.run(prepared, Some(arrival), &mut Ignore);
        let outcome = std::future::poll_fn(|cx| run.poll_outcome(cx, &mut Ignore)).await;
        if let Some(error) = outcome.failure() {
            return Err(Refusal::of_failure(error.clone()));
        }
        let mut json = Vec::new();
        outcome.response().write(&mut json);
        Ok(Reply::Whole(json))
    }

    /// Begins a response. Without an arrival the upstreams are waited for by the run.
    fn run(
        &self,
        prepared: Prepared,
        arrival: Option<Box<Arrival>>,
        sink: &mut dyn translate::Sink,
    ) -> Run {
        let Prepared {
            mut journey,
            upstream,
            dialect,
            context,
            logprobs,
            stream,
        } = prepared;
        let limits = upstream.settings().limits;
        let settings = RunSettings {
            upstream,
            stream,
            logprobs,
            model: context.head.model.clone(),
            keepalive_interval: self.settings.keepalive_interval.filter(|_| stream),
            asked: journey.asked(),
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
            return Run::new(pipeline, source, settings);
        };
        Run::answering(pipeline, journey, *arrival, settings)
    }

    fn prepare(&self, body: &Bytes, id: &str, caller: &Caller) -> Result<Prepared, Refusal> {
        let prepare = |body: &Bytes| {
            let request = CreateResponse::parse(body).map_err(Refusal::bad_request)?;
            self.prepare_request(request, body, id, caller)
        };
        if let Some(mended) = CreateResponse::mend_surrogates(body) {
            return prepare(&Bytes::from(mended));
        }
        prepare(body).or_else(|refusal| {
            let mended = match refusal.status {
                400 => CreateResponse::mend(body),
                _ => None,
            };
            // Where mending does not help, the first complaint is the one to tell.
            let again = mended.and_then(|body| prepare(&Bytes::from(body)).ok());
            again.ok_or(refusal)
        })
    }

    /// `body` is what `request` was read from.
    fn prepare_request(
        &self,
        request: CreateResponse<'_>,
        body: &Bytes,
        id: &str,
        caller: &Caller,
    ) -> Result<Prepared, Refusal> {
        let model = request.model.clone().ok_or_else(no_model)?;
        let choice = self.routes.choose(&model, caller.profile.as_deref())?;
        let head = Head {
            id: format!("resp_{id}"),
            created_at: unix_now(),
            model: model.to_string(),
            echo: Echo::new(&request),
        };
        let thinking = self
            .settings
            .thinking
            .unwrap_or_else(|| asked_thinking(&request));
        let seals = request.includes("reasoning.encrypted_content");
        let logprobs = request.includes("message.output_text.logprobs");
        let stream = request.stream.unwrap_or(false);
        let recipe = Recipe {
            id: id.to_owned(),
            overrides: choice.overrides(),
            max_output_tokens: choice.max_output_tokens(),
            seal: Arc::clone(&self.seal),
            caller: caller.keys.clone(),
            stream,
        };
        let plan = Plan {
            stops: self.stops(&choice),
            strategy: choice.strategy(),
            sticky: request.prompt_cache_key.as_deref().map(str::to_owned),
        };
        let journey = Journey::begin(recipe, plan, request, body)?;
        let (upstream, dialect) = journey.first();
        let context = TurnContext {
            head,
            tools: ToolMap::default(),
            thinking,
            seal: seals.then(|| Arc::clone(&self.seal)),
        };
        Ok(Prepared {
            journey: Box::new(journey),
            upstream,
            dialect,
            context,
            stream,
            logprobs,
        })
    }

    fn stops(&self, choice: &Choice<'_>) -> Vec<Stop> {
        let stops = choice.targets().iter().filter_map(|target| {
            Some(Stop {
                upstream: Arc::clone(self.upstreams.get(target.upstream)?),
                model: choice.model(target).to_owned(),
                weight: target.weight,
            })
        });
        stops.collect()
    }
}

/// Shown as a summary if one is asked for, which clients do that show thinking to people.
fn asked_thinking(request: &CreateResponse<'_>) -> Thinking {
    let summary = request.reasoning.as_ref().and_then(|reasoning| {
        reasoning
            .summary
            .as_ref()
            .or(reasoning.generate_summary.as_ref())
    });
    if summary.is_some() {
        Thinking::Summary
    } else {
        Thinking::Content
    }
}

/// What needs a store is refused, rather than answered without what the client takes for granted.
fn refuse_unsupported(request: &CreateResponse<'_>) -> Result<(), Refusal> {
    if let Some(id) = &request.previous_response_id {
        let error = ErrorObject::invalid(format!(
            "Previous response with id '{}' not found.",
            id.as_str()
        ));
        return Err(Refusal::bad_request(
            error
                .with_param("previous_response_id")
                .with_code("previous_response_not_found"),
        ));
    }
    let given =
        |raw: Option<&serde_json::value::RawValue>| raw.is_some_and(|raw| raw.get() != "null");
    let unsupported = if given(request.conversation) {
        "conversation"
    } else if given(request.prompt) {
        "prompt"
    } else if request.background == Some(true) {
        "background"
    } else {
        return Ok(());
    };
    let error = ErrorObject::invalid(format!(
        "Unsupported parameter: '{unsupported}' is not supported by this server."
    ));
    Err(Refusal::bad_request(
        error
            .with_param(unsupported)
            .with_code("unsupported_parameter"),
    ))
}

fn no_model() -> Refusal {
    let error = ErrorObject::invalid("Missing required parameter: 'model'.")
        .with_param("model")
        .with_code("missing_required_parameter");
    Refusal::bad_request(error)
}
