//! From the bytes of a request to a question for an upstream.

use std::sync::Arc;

use bytes::Bytes;

use super::caller::Caller;
use super::history::History;
use super::keep::Keeping;
use super::{Engine, Route, check};
use crate::json::{Text, TextOr};
use crate::responses::input::InputItem;
use crate::responses::kept::{self, KeptItem};
use crate::responses::response::{Echo, Head};
use crate::responses::{CreateResponse, ErrorObject};
use crate::translate::{
    self, LowerError, LoweringOptions, Note, Sealing, Thinking, ToolMap, TurnContext, compaction,
};
use crate::upstream::{Refusal, Upstream};

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

/// A request on its way: everything of it that outlives its bytes.
pub(super) struct Prepared {
    pub(super) upstream: Arc<Upstream>,
    /// The body for the upstream.
    pub(super) chat: Bytes,
    pub(super) context: TurnContext,
    /// Whether the client wants a stream.
    pub(super) stream: bool,
    pub(super) logprobs: bool,
    /// How the response is kept, if it is.
    pub(super) keeping: Option<Keeping>,
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
}

impl Engine {
    /// Reads a request, loads what it continues, and translates it.
    ///
    /// # Errors
    /// A request that is wrong, or that continues what is not there.
    pub(super) async fn prepare(
        &self,
        body: &[u8],
        order: &Order<'_>,
    ) -> Result<Prepared, Refusal> {
        if let Some(mended) = CreateResponse::mend_surrogates(body) {
            return self.prepare_body(&mended, order).await;
        }
        let refusal = match self.prepare_body(body, order).await {
            Err(refusal) if refusal.status == 400 => refusal,
            prepared => return prepared,
        };
        // Where mending does not help, the first complaint is the one to tell.
        match CreateResponse::mend(body) {
            Some(mended) => {
                let prepared = self.prepare_body(&mended, order).await;
                prepared.map_err(|_| refusal)
            }
            None => Err(refusal),
        }
    }

    async fn prepare_body(&self, body: &[u8], order: &Order<'_>) -> Result<Prepared, Refusal> {
        let request = CreateResponse::parse(body).map_err(Refusal::bad_request)?;
        check::request(&request, self.store.is_some())?;
        let history = self.history(&request, order.caller).await?;
        let mut request = request;
        history.enter(&mut request)?;
        let raw = CreateResponse::raw_input(body);
        self.prepare_request(request, raw, &history, order)
    }

    fn prepare_request<'a>(
        &self,
        mut request: CreateResponse<'a>,
        raw_input: Option<&'a serde_json::value::RawValue>,
        history: &'a History,
        order: &Order<'_>,
    ) -> Result<Prepared, Refusal> {
        if order.caller.lane.is_some() {
            // Over a socket all is streamed, and nothing is made without it.
            request.stream = Some(true);
            request.background = None;
        }
        if self.store.is_none() {
            request.store = Some(false);
        }
        let model = match (request.model.clone(), order.purpose) {
            (Some(model), _) => model,
            (None, Purpose::Count) => Text::from(""),
            (None, _) => return Err(check::no_model()),
        };
        if order.purpose == Purpose::Count && request.input.is_none() {
            request.input = Some(TextOr::List(Vec::new()));
        }
        let (route, upstream) = self
            .find(&model)
            .ok_or_else(|| check::unknown_model(&model))?;
        let head = Head {
            id: format!("resp_{}", order.id),
            created_at: order.created_at,
            model: model.to_string(),
            echo: Echo::new(&request),
        };
        let seal = self.seals.of(&order.caller.tenant);
        let keeping = self.keeping(&request, raw_input, history, order);
        let sums_up = take_trigger(&mut request) || order.purpose == Purpose::Summary;
        if sums_up && request.input.is_none() && !request.continues() {
            return Err(check::missing("input"));
        }
        if sums_up {
            // The client's limit is for answers; a summary that is cut is worth nothing.
            request.max_output_tokens = None;
            request.stop = None;
        }
        // Not before the echo, which tells what the client said.
        request.max_output_tokens = request
            .max_output_tokens
            .or(route.metadata.max_output_tokens);
        request.drop_turns = order.drop_turns;
        let background = request.background == Some(true);
        let stream = request.stream.unwrap_or(false);
        // What is made in the background is told as it comes.
        request.stream = Some(stream || background);
        let shows_sealed = request.includes("reasoning.encrypted_content");
        let mut context = TurnContext::new(head, ToolMap::default(), self.thinking(&request));
        context.sealing = (shows_sealed || keeping.is_some()).then(|| Sealing {
            seal: Arc::clone(&seal),
            shown: shows_sealed,
        });
        context.announced = order.announced;
        context.lead.clone_from(&order.lead);
        if sums_up {
            ask_for_summary(&mut request);
            context.summary = Some(Arc::clone(&seal));
        } else if let Some(sealed) = &order.lead {
            let summary = InputItem::Compaction(Some(Text::from(sealed.clone())));
            push(&mut request, summary);
        }
        let logprobs = request.includes("message.output_text.logprobs");
        let threshold = request
            .compact_threshold()
            .filter(|_| !sums_up && order.lead.is_none());
        let truncates = request.truncation.as_deref() == Some("auto");
        let warm_up = request.generate == Some(false);
        let options = LoweringOptions {
            profile: &upstream.settings().profile,
            model: route.model.as_deref().unwrap_or(&model),
            effort: route.effort.as_deref(),
            seal: &*seal,
        };
        let lowered = lower(request, &options)?;
        log_lowered(&context.head, upstream, &lowered.chat, &lowered.notes);
        context.tools = lowered.tools;
        let compact_first = threshold.is_some_and(|most| tokens(&lowered.chat) >= most);
        Ok(Prepared {
            upstream: Arc::clone(upstream),
            chat: lowered.chat,
            context,
            stream,
            logprobs,
            keeping,
            background,
            warm_up,
            droppable: match truncates {
                true => lowered.turns.saturating_sub(1 + order.drop_turns),
                false => 0,
            },
            compact_first,
            context_window: route.metadata.context_window,
        })
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
        raw_input: Option<&serde_json::value::RawValue>,
        history: &History,
        order: &Order<'_>,
    ) -> Option<Keeping> {
        if matches!(order.purpose, Purpose::Summary | Purpose::Count) {
            return None;
        }
        let conversation = request.conversation_id().map(|id| id.to_string());
        let background = request.background == Some(true);
        let stores = request.store.unwrap_or(true) || background;
        let lane = order.caller.lane.clone();
        let uses_store = self.store.is_some() && (stores || conversation.is_some());
        if !uses_store && lane.is_none() {
            return None;
        }
        let input: Vec<KeptItem> = match raw_input {
            Some(raw) => kept::keep_input(raw, order.id, |id| history.find(id)),
            None => Vec::new(),
        };
        Some(Keeping {
            store: self.store.clone().filter(|_| uses_store),
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
        })
    }

    fn find(&self, model: &str) -> Option<(&Route, &Arc<Upstream>)> {
        let route = self.routes.find(model)?;
        Some((route, self.upstreams.get(route.upstream)?))
    }
}

/// How many tokens a request for a chat is, by estimate.
pub(super) fn tokens(chat: &[u8]) -> u64 {
    translate::estimate_tokens(translate::text_bytes(chat))
}

/// Whether the last item asks for a summary of all before; it is taken away.
fn take_trigger(request: &mut CreateResponse<'_>) -> bool {
    let Some(TextOr::List(items)) = &mut request.input else {
        return false;
    };
    let asks = matches!(items.last(), Some(InputItem::CompactionTrigger));
    if asks {
        items.pop();
    }
    asks
}

/// The conversation as one that asks for its summary: without tools and without a format.
fn ask_for_summary<'a>(request: &mut CreateResponse<'a>) {
    let items = match request.input.take() {
        Some(TextOr::List(items)) => items,
        Some(TextOr::Text(text)) => vec![InputItem::Message {
            role: crate::responses::input::Role::User,
            content: TextOr::Text(text),
        }],
        // What it continues may be all there is.
        None => Vec::new(),
        // It will be refused for what it is.
        odd => {
            request.input = odd;
            return;
        }
    };
    request.input = Some(TextOr::List(compaction::ask(items)));
    request
        .history
        .retain(|item| !matches!(item, InputItem::Tools(_)));
    request.tools = None;
    request.tool_choice = None;
    request.parallel_tool_calls = None;
    if let Some(text) = &mut request.text {
        text.format = None;
    }
}

fn push<'a>(request: &mut CreateResponse<'a>, item: InputItem<'a>) {
    match &mut request.input {
        Some(TextOr::List(items)) => items.push(item),
        Some(TextOr::Text(text)) => {
            let spoken = InputItem::Message {
                role: crate::responses::input::Role::User,
                content: TextOr::Text(std::mem::take(text)),
            };
            request.input = Some(TextOr::List(vec![spoken, item]));
        }
        _ => request.input = Some(TextOr::List(vec![item])),
    }
}

/// What is left of a lowering once its request's bytes are gone.
struct LoweredBytes {
    chat: Bytes,
    tools: ToolMap,
    notes: Vec<Note>,
    turns: usize,
}

/// Translates, and writes the body for the upstream.
fn lower<'a>(
    request: CreateResponse<'a>,
    options: &LoweringOptions<'a>,
) -> Result<LoweredBytes, Refusal> {
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
    Ok(LoweredBytes {
        chat: Bytes::from(chat),
        tools: lowered.tools,
        notes: lowered.notes,
        turns: lowered.turns,
    })
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
