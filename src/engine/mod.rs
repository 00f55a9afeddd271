//! The life of one response: read the request, find its upstream, translate, ask, translate back.

mod catalog;
mod route;
mod run;
mod stream;
mod structured;
mod tell;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tracing::{Instrument, Span};

pub use catalog::{CatalogEntry, Modality, ModelMetadata};
pub use route::{Names, Route, Routes};
pub use stream::ResponseStream;

use crate::responses::response::{Echo, Head};
use crate::responses::{CreateResponse, ErrorObject};
use crate::time::unix_now;
use crate::translate::{
    self, Ignore, LowerError, LoweringOptions, Note, Pipeline, Seal, Thinking, ToolMap, TurnContext,
};
use crate::upstream::{Refusal, Upstream};
use run::{Run, RunSettings, Source};
use structured::Structured;
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

/// An answer.
pub enum Reply {
    /// A stream of events.
    Stream(Box<ResponseStream>),
    /// A response object, as JSON.
    Whole(Vec<u8>),
}

/// A request on its way: everything of it that outlives its bytes.
struct Prepared {
    upstream: Arc<Upstream>,
    /// The body for the upstream.
    chat: Bytes,
    context: TurnContext,
    stream: bool,
    logprobs: bool,
    /// What the answer must fit, where the upstream does not see to it.
    validator: Option<jsonschema::Validator>,
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

    /// Answers a request. `id` is 32 hex digits that no other response has.
    ///
    /// # Errors
    /// What is known before the answer begins: a request that is wrong, an upstream that refuses.
    pub async fn create(&self, body: Bytes, id: &str) -> Result<Reply, Refusal> {
        let prepared = self.prepare(&body, id)?;
        drop(body);
        if prepared.stream {
            Ok(self.stream(prepared).await?)
        } else {
            self.whole(prepared).await
        }
    }

    /// A stream begins as soon as the upstream has accepted, or has been thinking about it for a
    /// moment: a refusal that comes in time is an HTTP error, a later one ends the stream. A quick
    /// refusal is an HTTP error even if it takes several tries.
    async fn stream(&self, prepared: Prepared) -> Result<Reply, Refusal> {
        let asked = prepared.chat.len();
        let mut asking = prepared.upstream.chat(prepared.chat.clone(), true);
        let waiting = Waiting::new(&prepared);
        let early = asking.answer_soon(self.settings.first_status_wait).await;
        waiting.over();
        let source = match early {
            Some(answer) => Source::Answer(answer?),
            // What it logs belongs to this request, wherever it is waited for.
            None => Source::Asking(Box::pin(asking.answer().instrument(Span::current()))),
        };
        let mut sink = translate::Bytes::default();
        let run = self.run(prepared, source, asked, &mut sink);
        Ok(Reply::Stream(Box::new(ResponseStream::new(
            run,
            sink,
            self.settings.done_sentinel,
        ))))
    }

    async fn whole(&self, prepared: Prepared) -> Result<Reply, Refusal> {
        let asked = prepared.chat.len();
        let waiting = Waiting::new(&prepared);
        let asking = prepared.upstream.chat(prepared.chat.clone(), false);
        let answer = asking.answer().await;
        waiting.over();
        let mut run = self.run(prepared, Source::Answer(answer?), asked, &mut Ignore);
        let outcome = std::future::poll_fn(|cx| run.poll_outcome(cx, &mut Ignore)).await;
        if let Some(error) = outcome.failure() {
            return Err(Refusal::of_failure(error.clone()));
        }
        let mut json = Vec::new();
        outcome.response().write(&mut json);
        Ok(Reply::Whole(json))
    }

    fn run(
        &self,
        prepared: Prepared,
        source: Source,
        asked: usize,
        sink: &mut dyn translate::Sink,
    ) -> Run {
        let Prepared {
            upstream,
            context,
            logprobs,
            stream,
            validator,
            chat,
        } = prepared;
        let settings = upstream.settings();
        let run_settings = RunSettings {
            upstream: Arc::clone(&upstream),
            model: context.head.model.clone(),
            keepalive_interval: self.settings.keepalive_interval.filter(|_| stream),
            asked,
        };
        let check = validator.map(|validator| {
            Structured::new(validator, &upstream, chat, (stream, logprobs), &context)
        });
        let pipeline = Pipeline::start(context, &settings.profile, logprobs, settings.limits, sink);
        let mut run = Run::new(pipeline, source, run_settings);
        if let Some(check) = check {
            run.check(check);
        }
        run
    }

    fn prepare(&self, body: &[u8], id: &str) -> Result<Prepared, Refusal> {
        let prepare = |body: &[u8]| {
            let request = CreateResponse::parse(body).map_err(Refusal::bad_request)?;
            self.prepare_request(request, id)
        };
        if let Some(mended) = CreateResponse::mend_surrogates(body) {
            return prepare(&mended);
        }
        prepare(body).or_else(|refusal| {
            let mended = match refusal.status {
                400 => CreateResponse::mend(body),
                _ => None,
            };
            // Where mending does not help, the first complaint is the one to tell.
            mended.and_then(|body| prepare(&body).ok()).ok_or(refusal)
        })
    }

    fn prepare_request(
        &self,
        mut request: CreateResponse<'_>,
        id: &str,
    ) -> Result<Prepared, Refusal> {
        refuse_unsupported(&request)?;
        let model = request.model.clone().ok_or_else(no_model)?;
        let (route, upstream) = self.find(&model).ok_or_else(|| unknown_model(&model))?;
        let head = Head {
            id: format!("resp_{id}"),
            created_at: unix_now(),
            model: model.to_string(),
            echo: Echo::new(&request),
        };
        // Not before the echo, which tells what the client said.
        request.max_output_tokens = request
            .max_output_tokens
            .or(route.metadata.max_output_tokens);
        let thinking = self
            .settings
            .thinking
            .unwrap_or_else(|| asked_thinking(&request));
        let seals = request.includes("reasoning.encrypted_content");
        let logprobs = request.includes("message.output_text.logprobs");
        let stream = request.stream.unwrap_or(false);
        let options = LoweringOptions {
            profile: &upstream.settings().profile,
            model: route.model.as_deref().unwrap_or(&model),
            effort: route.effort.as_deref(),
            seal: &*self.seal,
        };
        let Translated {
            chat,
            tools,
            notes,
            schema,
        } = lower(request, &options)?;
        log_lowered(&head, upstream, &chat, &notes);
        let validator = schema.as_deref().map(structured::compile).transpose();
        let validator = validator.map_err(Refusal::bad_request)?;
        let context = TurnContext {
            head,
            tools,
            thinking,
            seal: seals.then(|| Arc::clone(&self.seal)),
        };
        Ok(Prepared {
            upstream: Arc::clone(upstream),
            chat,
            context,
            stream,
            logprobs,
            validator,
        })
    }

    fn find(&self, model: &str) -> Option<(&Route, &Arc<Upstream>)> {
        let route = self.routes.find(model)?;
        Some((route, self.upstreams.get(route.upstream)?))
    }
}

fn log_lowered(head: &Head, upstream: &Upstream, chat: &Bytes, notes: &[Note]) {
    let upstream = &upstream.settings().name;
    for note in notes {
        tracing::info!(response.id = %head.id, upstream = %upstream, "{note}");
    }
    tracing::debug!(
        response.id = %head.id,
        upstream = %upstream,
        bytes = chat.len(),
        "request translated"
    );
}

/// A translated request, without its borrows.
struct Translated {
    /// The body for the upstream.
    chat: Bytes,
    tools: ToolMap,
    notes: Vec<Note>,
    /// What the answer must fit, where the upstream does not see to it.
    schema: Option<Box<RawValue>>,
}

/// Translates, and writes the body for the upstream.
fn lower<'a>(
    request: CreateResponse<'a>,
    options: &LoweringOptions<'a>,
) -> Result<Translated, Refusal> {
    let lowered = translate::lower(request, options).map_err(|error| match error {
        LowerError::Invalid(error) => Refusal::bad_request(error),
        LowerError::ItemNotFound(error) => Refusal::new(404, error),
    })?;
    let chat = serde_json::to_vec(&lowered.chat).map_err(|error| {
        Refusal::new(
            500,
            ErrorObject::server(format!("the chat request cannot be written: {error}")),
        )
    })?;
    Ok(Translated {
        chat: Bytes::from(chat),
        tools: lowered.tools,
        notes: lowered.notes,
        schema: lowered.schema,
    })
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
    let given = |raw: Option<&RawValue>| raw.is_some_and(|raw| raw.get() != "null");
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

fn unknown_model(model: &str) -> Refusal {
    let message =
        format!("The model `{model}` does not exist: no entry of the configuration has it.");
    let error = ErrorObject::invalid(message)
        .with_param("model")
        .with_code("model_not_found");
    Refusal::new(404, error)
}
