//! From the bytes of a request to a question for an upstream.

use std::sync::Arc;

use bytes::Bytes;

use super::attempt::{Journey, Plan};
use super::caller::Caller;
use super::history::History;
use super::keep::Keeping;
use super::recipe::{Recipe, Stop};
use super::route::Choice;
use super::shape::{self, Shape};
use super::{Engine, check};
use crate::admission::Permit;
use crate::json::{Text, TextOr};
use crate::responses::kept::{self, KeptList};
use crate::responses::response::{Echo, Head};
use crate::responses::{CreateResponse, ErrorObject};
use crate::translate::{self, Sealing, Thinking, ToolMap, TurnContext};
use crate::upstream::{Dialect, Refusal, Upstream};

/// What a response is made as.
#[derive(Clone)]
pub(super) struct Order<'o> {
    /// 32 hex digits that no other response has.
    pub(super) id: &'o str,
    /// Unix seconds.
    pub(super) created_at: u64,
    /// Who asks.
    pub(super) caller: &'o Caller,
    /// What is made of the request.
    pub(super) purpose: Purpose,
    /// Events that were told before.
    pub(super) announced: u64,
    /// A summary that was made first.
    pub(super) lead: Option<String>,
    /// How many turns are left out.
    pub(super) drop_turns: usize,
}

/// What is made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The answer it asks for.
    Answer,
    /// The same, but nobody listens while it is made.
    Background,
    /// A summary of its conversation.
    Summary,
    /// Nothing: only its length is wanted, so that everything may be missing.
    Count,
}

impl<'o> Order<'o> {
    /// A response that begins now.
    pub(super) fn new(id: &'o str, caller: &'o Caller, purpose: Purpose) -> Self {
        Self {
            id,
            created_at: crate::time::unix_now(),
            caller,
            purpose,
            announced: 0,
            lead: None,
            drop_turns: 0,
        }
    }
}

/// A request on its way: everything of it that outlives its bytes. In a box, as it goes through many hands, each of
/// which would have room for it.
pub(super) struct Prepared {
    pub(super) journey: Box<Journey>,
    /// Who is asked first.
    pub(super) upstream: Arc<Upstream>,
    /// Its dialect.
    pub(super) dialect: Arc<Dialect>,
    pub(super) context: TurnContext,
    /// Whether the client wants a stream.
    pub(super) stream: bool,
    pub(super) logprobs: bool,
    /// How the response is kept, if it is.
    pub(super) keeping: Option<Box<Keeping>>,
    /// The work goes on without the client.
    pub(super) background: bool,
    /// Nothing is asked of the model: the client only hands in what comes before.
    pub(super) warm_up: bool,
    /// Turns of the conversation that may be left out, if the client allows it.
    pub(super) droppable: usize,
    /// The conversation is this long, in tokens by estimate, and is to be summed up first.
    pub(super) compact_first: bool,
    /// How many tokens the model takes, where it is known.
    pub(super) context_window: Option<u64>,
    /// Leave for the request, where requests are counted.
    pub(super) permit: Option<Arc<Permit>>,
}

impl Engine {
    /// Reads a request, loads what it continues, and translates it.
    ///
    /// # Errors
    /// A request that is wrong, or that continues what is not there.
    pub(super) async fn prepare(
        &self,
        body: &Bytes,
        order: &Order<'_>,
    ) -> Result<Box<Prepared>, Refusal> {
        match CreateResponse::read(body) {
            Some(request) => self.prepare_request(request, body, order).await,
            None => Box::pin(self.prepare_odd(body, order)).await,
        }
    }

    /// The same for a body that is wrong, or may have to be mended.
    async fn prepare_odd(&self, body: &Bytes, order: &Order<'_>) -> Result<Box<Prepared>, Refusal> {
        if let Some(mended) = CreateResponse::mend_surrogates(body) {
            return self.prepare_body(&Bytes::from(mended), order).await;
        }
        let refusal = match self.prepare_body(body, order).await {
            Err(refusal) if refusal.status == 400 => refusal,
            prepared => return prepared,
        };
        // Where mending does not help, the first complaint is the one to tell.
        match CreateResponse::mend(body) {
            Some(mended) => {
                let prepared = self.prepare_body(&Bytes::from(mended), order).await;
                prepared.map_err(|_| refusal)
            }
            None => Err(refusal),
        }
    }

    async fn prepare_body(
        &self,
        body: &Bytes,
        order: &Order<'_>,
    ) -> Result<Box<Prepared>, Refusal> {
        let request = CreateResponse::parse(body).map_err(Refusal::bad_request)?;
        self.prepare_request(request, body, order).await
    }

    async fn prepare_request<'a>(
        &self,
        mut request: CreateResponse<'a>,
        body: &'a Bytes,
        order: &Order<'_>,
    ) -> Result<Box<Prepared>, Refusal> {
        let model = match (request.model.clone(), order.purpose) {
            (Some(model), _) => model,
            (None, Purpose::Count) => Text::from(""),
            (None, _) => return Err(check::no_model()),
        };
        let choice = self
            .routes
            .choose(&model, order.caller.profile.as_deref())?;
        check::may_use(order.caller, &choice)?;
        let mut stops = self.stops(&choice);
        let passes_all = stops.iter().all(Stop::passes);
        let history = match passes_all && order.purpose != Purpose::Summary {
            // What such a server keeps it finds itself.
            true => Arc::default(),
            false => {
                check::request(&request, self.kept.store.is_some())?;
                Arc::new(self.history(&request, order.caller).await?)
            }
        };
        if !passes_all && (!history.is_empty() || needs_translation(&request, order)) {
            // Nor can it know what we keep.
            stops.retain(|stop| !stop.passes());
        }
        history.enter(&mut request)?;
        let course = Course {
            choice,
            stops,
            passes_all,
            history: Arc::clone(&history),
        };
        self.begin(request, body, course, order)
    }

    fn begin<'a>(
        &self,
        mut request: CreateResponse<'a>,
        body: &'a Bytes,
        course: Course<'_>,
        order: &Order<'_>,
    ) -> Result<Box<Prepared>, Refusal> {
        let over_socket = order.caller.lane.is_some();
        if over_socket {
            // Over a socket all is streamed, and nothing is made without it.
            request.stream = Some(true);
            request.background = None;
        }
        if self.kept.store.is_none() && !course.passes_all {
            request.store = Some(false);
        }
        if order.purpose == Purpose::Count && request.input.is_none() {
            request.input = Some(TextOr::List(Vec::new()).into());
        }
        let model = request.model.clone().unwrap_or_default();
        let head = Head {
            id: format!("resp_{}", order.id),
            created_at: order.created_at,
            model: model.to_string(),
            echo: Echo::new(&request),
        };
        let seal = self.seals.of(&order.caller.tenant);
        let keeping = match course.passes_all {
            true => None,
            false => self.keeping(&request, body, &course.history, order),
        };
        let sums_up = order.purpose == Purpose::Summary || shape::asks_for_summary(&request);
        if sums_up && request.input.is_none() && !request.continues() {
            return Err(check::missing("input"));
        }
        let background = request.background == Some(true) && !course.passes_all;
        let stream = request.stream.unwrap_or(false);
        // What is made in the background is told as it comes.
        let streams = stream || background;
        let shows_sealed = request.includes("reasoning.encrypted_content");
        let mut context = TurnContext::new(head, ToolMap::default(), self.thinking(&request));
        context.sealing = (shows_sealed || keeping.is_some()).then(|| Sealing {
            seal: Arc::clone(&seal),
            shown: shows_sealed,
        });
        context.announced = order.announced;
        context.lead.clone_from(&order.lead);
        context.summary = sums_up.then(|| Arc::clone(&seal));
        let logprobs = request.includes("message.output_text.logprobs");
        let may_compact = !sums_up && order.lead.is_none() && !course.passes_all;
        let threshold = request.compact_threshold().filter(|_| may_compact);
        let truncates = request.truncation.as_deref() == Some("auto");
        let warm_up = request.generate == Some(false);
        let recipe = Recipe {
            id: order.id.to_owned(),
            overrides: course.choice.overrides(),
            max_output_tokens: course.choice.max_output_tokens(),
            seal,
            caller: order.caller.keys.clone(),
            trace: order.caller.trace.clone(),
            permit: order.caller.permit.clone(),
            stream: streams,
            history: Arc::clone(&course.history),
            shape: Shape {
                sums_up,
                lead: order.lead.clone(),
                drop_turns: order.drop_turns,
                streams,
                over_socket,
            },
            told: Arc::clone(&self.told),
            log_content: self.settings.log_content && order.purpose != Purpose::Count,
        };
        let plan = Plan {
            strategy: course.choice.strategy(),
            stops: course.stops,
            sticky: request.prompt_cache_key.as_deref().map(str::to_owned),
        };
        let journey = Journey::begin(recipe, plan, request, body)?;
        let (upstream, dialect) = journey.first();
        let turns = journey.turns();
        let compact_first = threshold.is_some_and(|most| tokens(journey.chat()) >= most);
        Ok(Box::new(Prepared {
            journey: Box::new(journey),
            upstream,
            dialect,
            context,
            stream,
            logprobs,
            keeping,
            background,
            warm_up,
            droppable: match truncates {
                true => turns.saturating_sub(1 + order.drop_turns),
                false => 0,
            },
            compact_first,
            context_window: course.choice.context_window(),
            permit: order.caller.permit.clone(),
        }))
    }

    fn thinking(&self, request: &CreateResponse<'_>) -> Thinking {
        self.settings
            .thinking
            .unwrap_or_else(|| asked_thinking(request))
    }

    /// How the response is kept, if anything keeps it.
    fn keeping(
        &self,
        request: &CreateResponse<'_>,
        body: &[u8],
        history: &History,
        order: &Order<'_>,
    ) -> Option<Box<Keeping>> {
        if matches!(order.purpose, Purpose::Summary | Purpose::Count) {
            return None;
        }
        let conversation = request.conversation_id().map(|id| id.to_string());
        let background = request.background == Some(true);
        let stores = request.store.unwrap_or(true) || background;
        let lane = order.caller.lane.clone();
        let uses_store = self.kept.store.is_some() && (stores || conversation.is_some());
        if !uses_store && lane.is_none() {
            return None;
        }
        // Not before it is known that somebody wants it: most requests are long, and not stored.
        let input = match request.raw_input(body) {
            Some(raw) => kept::keep_input(raw, order.id, |id| history.find(id)),
            None => KeptList::default(),
        };
        Some(Box::new(Keeping {
            store: self.kept.store.clone().filter(|_| uses_store),
            history: match lane {
                Some(_) => history.turns.clone(),
                None => Vec::new(),
            },
            lane,
            tenant: order.caller.tenant.clone(),
            previous: request
                .previous_response_id
                .as_ref()
                .map(|id| id.to_string()),
            conversation,
            stores,
            background,
            input,
            unkept: Arc::clone(&self.kept.unkept),
        }))
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

impl Prepared {
    /// Takes the tokens of its input in advance.
    ///
    /// # Errors
    /// Its key, or all clients together, have not so many left.
    pub(super) fn reserve(&self) -> Result<(), Refusal> {
        let count = || translate::count_chat_tokens(self.journey.chat());
        let permit = self.permit.as_ref();
        permit.map_or(Ok(()), |permit| permit.reserve(count))
    }
}

/// How many tokens a request for a chat is, by estimate.
pub(super) fn tokens(chat: &[u8]) -> u64 {
    translate::estimate_tokens(translate::text_bytes(chat))
}

/// Where a request may go, and what it takes along.
struct Course<'c> {
    choice: Choice<'c>,
    stops: Vec<Stop>,
    /// All of the upstreams speak the client's own language.
    passes_all: bool,
    history: Arc<History>,
}

/// Whether only an upstream can answer to which a request is translated.
fn needs_translation(request: &CreateResponse<'_>, order: &Order<'_>) -> bool {
    order.purpose != Purpose::Answer
        || request.background == Some(true)
        || request.compact_threshold().is_some()
        || shape::asks_for_summary(request)
}

/// Told of a request that cannot be made by an upstream which speaks the client's own language.
pub(super) fn only_translated(what: &str) -> Refusal {
    let message = format!(
        "{what} is not possible for this model: its server speaks the Responses API itself (wire_api = \"responses\"). Ask it there."
    );
    let error = ErrorObject::invalid(message).with_code("unsupported_operation");
    Refusal::bad_request(error)
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
