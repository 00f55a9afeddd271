//! What is told of a response once it is over, however it ends: one line in the log, and its numbers.

use std::sync::Arc;

use tracing::Span;

use super::caller::Caller;
use super::prepare::Prepared;
use super::{Engine, content};
use crate::admission::Key;
use crate::responses::response::IncompleteReason;
use crate::responses::{OutputItem, Usage};
use crate::telemetry::trace::Call;
use crate::telemetry::{Ended, Metrics, Series, Tally, Tokens, UnderWay};
use crate::time::Instant;
use crate::translate::{Ending, Outcome};
use crate::upstream::{Refusal, Upstream, millis};

/// After how many gaps a stream adds them to all others': one that is long is seen before its end.
const GAPS: u32 = 512;

/// A response under way. Dropped before its end was told it says that the client left.
pub(super) struct Account {
    metrics: Arc<Metrics>,
    _under_way: UnderWay,
    /// With `resp_`.
    id: String,
    /// The model as the client named it; empty as long as nobody knows.
    model: String,
    /// The client's tenant, if it has a key that is configured.
    tenant: Option<Box<str>>,
    /// Who answers, as far as is known.
    upstream: Option<Arc<Upstream>>,
    /// Whether the client hears of the answer as it comes.
    stream: bool,
    /// Nobody waits for it.
    background: bool,
    since: Instant,
    /// When the client first heard something of the answer itself, and when it last did.
    first: Option<Instant>,
    last: Instant,
    gaps: Tally,
    series: Option<Arc<Series>>,
    /// The call that is being answered, for traces.
    call: Option<Call>,
    /// Whether the log has the answer itself too.
    log_content: bool,
    /// The request's: others than its own task may read a stream.
    span: Span,
    /// What a client that left had spent, as far as it can be told.
    spent: Option<Usage>,
    over: bool,
}

/// What another server's answer said of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct PassedOn<'a> {
    /// The response's id there.
    pub(super) id: Option<&'a str>,
    pub(super) status: Option<&'a str>,
    pub(super) tokens: Tokens,
}

impl Account {
    /// A request came. It is boxed, as it goes through many hands.
    pub(super) fn open(engine: &Engine, id: &str, caller: &Caller) -> Box<Self> {
        let now = Instant::now();
        Box::new(Self {
            _under_way: engine.metrics.begin(),
            metrics: Arc::clone(&engine.metrics),
            id: format!("resp_{id}"),
            model: String::new(),
            tenant: Key::tenant_of(&caller.tenant).map(Box::from),
            upstream: None,
            stream: false,
            background: false,
            since: now,
            first: None,
            last: now,
            gaps: Tally::default(),
            series: None,
            call: None,
            log_content: engine.settings.log_content,
            span: Span::current(),
            spent: None,
            over: false,
        })
    }

    /// It is known what is asked for.
    pub(super) fn concerns(&mut self, prepared: &Prepared) {
        self.model.clone_from(&prepared.context.head.model);
        self.stream = prepared.stream && !prepared.background;
        self.background = prepared.background;
        self.is_answered_by(&prepared.upstream, None);
    }

    /// An upstream answers, perhaps another one than was thought.
    pub(super) fn is_answered_by(&mut self, upstream: &Arc<Upstream>, call: Option<Call>) {
        self.upstream = Some(Arc::clone(upstream));
        self.series = None;
        self.call = call;
    }

    /// The request's span.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// The client hears something of the answer.
    pub(super) fn heard(&mut self, now: Instant) {
        let last = std::mem::replace(&mut self.last, now);
        if self.first.is_none() {
            self.first = Some(now);
            if self.stream {
                self.series(true).first(now - self.since);
            }
        } else if self.stream {
            self.gaps.observe(now - last);
            if self.gaps.len() >= GAPS {
                self.add_gaps();
            }
        }
    }

    /// What was heard is forgotten: the answer is asked for anew, and the client heard nothing of it.
    pub(super) fn unheard(&mut self) {
        self.first = None;
    }

    /// The upstream failed.
    pub(super) fn upstream_failed(&mut self, refusal: &Refusal) {
        let kind = refusal.kind.to_string();
        self.metrics.upstream_error(self.upstream_name(), &kind);
        if let Some(call) = self.call.take() {
            call.failed(kind, &refusal.error.message);
        }
    }

    /// Somebody else goes on with it, and tells of its end.
    pub(super) fn hand_over(mut self) {
        self.over = true;
    }

    /// It never began.
    pub(super) fn refused(mut self, refusal: &Refusal) {
        self.over = true;
        // What limits refuse is logged by them, now and then.
        if !refusal.is_limit() {
            tracing::warn!(
                parent: &self.span,
                response.id = %self.id,
                model = told(&self.model),
                http.status = refusal.status,
                error.code = refusal.error.code.as_deref(),
                error.param = refusal.error.param.as_deref(),
                error = %refusal.error.message,
                total_ms = self.total_ms(),
                "request refused"
            );
        }
        self.count(Ended::Refused, Tokens::default(), false);
    }

    /// It has come to its end.
    pub(super) fn ended(mut self, outcome: &Outcome, estimated: bool) {
        self.over = true;
        if self.log_content {
            let mut answer = Vec::new();
            outcome.response().write(&mut answer);
            let _in_request = self.span.enter();
            content::log("answer", &self.id, &answer);
        }
        self.tell_healed(outcome);
        let usage = outcome.usage.unwrap_or_default();
        let status = outcome.response().state.status();
        match outcome.failure() {
            None => tracing::info!(
                parent: &self.span,
                response.id = %self.id,
                model = %self.model,
                upstream = %self.upstream_name(),
                status,
                input_tokens = usage.input_tokens,
                cached_tokens = usage.input_tokens_details.cached_tokens,
                output_tokens = usage.output_tokens,
                tokens_estimated = estimated,
                items = outcome.output.len(),
                first_ms = self.first_ms(),
                total_ms = self.total_ms(),
                "response"
            ),
            Some(error) => tracing::warn!(
                parent: &self.span,
                response.id = %self.id,
                model = %self.model,
                upstream = %self.upstream_name(),
                status,
                error.code = error.code.as_deref(),
                error = %error.message,
                first_ms = self.first_ms(),
                total_ms = self.total_ms(),
                "response"
            ),
        }
        let how = match &outcome.ending {
            Ending::Completed(_) => Ended::Completed,
            Ending::Incomplete(_) => Ended::Incomplete,
            Ending::Failed(_) => Ended::Failed,
        };
        if let Some(call) = self.call.take() {
            call.ended(&self.id, finish(outcome), tokens(&usage), self.first);
        }
        self.count(how, tokens(&usage), how != Ended::Failed);
    }

    /// The client leaves. What an upstream that has not answered `spent` is not known; its limits guess.
    pub(super) fn left(mut self, spent: Option<Usage>) {
        self.spent = spent;
    }

    /// The answer was another server's, and was passed on; `error` says that it broke off.
    pub(super) fn passed_on(mut self, passed: PassedOn<'_>, error: Option<&Refusal>) {
        self.over = true;
        if let Some(refusal) = error {
            tracing::warn!(
                parent: &self.span,
                response.id = %self.id,
                model = %self.model,
                upstream = %self.upstream_name(),
                status = Ended::Failed.name(),
                error = %refusal.error.message,
                first_ms = self.first_ms(),
                total_ms = self.total_ms(),
                "response passed on"
            );
        } else {
            tracing::info!(
                parent: &self.span,
                response.id = %self.id,
                upstream.response.id = passed.id,
                model = %self.model,
                upstream = %self.upstream_name(),
                status = passed.status,
                input_tokens = passed.tokens.input,
                output_tokens = passed.tokens.output,
                first_ms = self.first_ms(),
                total_ms = self.total_ms(),
                "response passed on"
            );
        }
        let how = match (error, passed.status) {
            (Some(_), _) | (None, Some("failed")) => Ended::Failed,
            (None, Some("incomplete")) => Ended::Incomplete,
            (None, Some("cancelled")) => Ended::Cancelled,
            (None, _) => Ended::Completed,
        };
        if let Some(call) = self.call.take() {
            let id = passed.id.unwrap_or(&self.id);
            let finish = match how {
                Ended::Completed => "stop",
                Ended::Incomplete => "length",
                _ => "error",
            };
            call.ended(id, finish, passed.tokens, self.first);
        }
        self.count(how, passed.tokens, true);
    }

    /// Tells which calls were found in the text: the server's own parser is missing, or is another.
    fn tell_healed(&self, outcome: &Outcome) {
        for healed in &outcome.healed {
            tracing::info!(
                parent: &self.span,
                response.id = %self.id,
                model = %self.model,
                upstream = %self.upstream_name(),
                format = healed.format,
                calls = healed.calls,
                "tool calls healed"
            );
            self.metrics.healed(
                self.upstream_name(),
                &self.model,
                healed.format,
                healed.calls,
            );
        }
    }

    fn count(&mut self, how: Ended, tokens: Tokens, answered: bool) {
        let took = self.since.elapsed();
        self.add_gaps();
        let series = self.series(answered);
        series.tokens(tokens);
        series.ended(how, took);
    }

    fn add_gaps(&mut self) {
        if !self.gaps.is_empty() {
            let series = self.series(true);
            series.gaps(&mut self.gaps);
        }
    }

    /// Its numbers. Whether an upstream `answered` decides whether the model's name may be a label.
    fn series(&mut self, answered: bool) -> Arc<Series> {
        if let Some(series) = &self.series {
            return Arc::clone(series);
        }
        let tenant = self.tenant.as_deref();
        let series = self
            .metrics
            .series(self.upstream_name(), &self.model, tenant, answered);
        if answered {
            self.series = Some(Arc::clone(&series));
        }
        series
    }

    fn upstream_name(&self) -> &str {
        let upstream = self.upstream.as_ref();
        upstream.map_or("", |upstream| &upstream.settings().name)
    }

    fn first_ms(&self) -> Option<u64> {
        self.first.map(|first| millis(first - self.since))
    }

    fn total_ms(&self) -> u64 {
        millis(self.since.elapsed())
    }
}

impl Drop for Account {
    /// A client that leaves takes all of it along, the upstream's connection too.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let message = match self.first {
            _ if self.background => "the response was called off",
            Some(_) => "the client left",
            None => "the client left before the upstream answered",
        };
        tracing::info!(
            parent: &self.span,
            response.id = %self.id,
            model = told(&self.model),
            upstream = told(self.upstream_name()),
            status = Ended::Cancelled.name(),
            input_tokens = self.spent.map(|spent| spent.input_tokens),
            output_tokens = self.spent.map(|spent| spent.output_tokens),
            first_ms = self.first_ms(),
            total_ms = self.total_ms(),
            "{message}"
        );
        let spent = self.spent.as_ref().map(tokens);
        self.count(Ended::Cancelled, spent.unwrap_or_default(), spent.is_some());
    }
}

/// A word that the log has only if there is one.
fn told(word: &str) -> Option<&str> {
    Some(word).filter(|word| !word.is_empty())
}

/// Why the model stopped, in the words of a chat.
fn finish(outcome: &Outcome) -> &'static str {
    match &outcome.ending {
        Ending::Completed(_) if outcome.output.iter().any(OutputItem::is_call) => "tool_calls",
        Ending::Completed(_) => "stop",
        Ending::Incomplete(IncompleteReason::ContentFilter) => "content_filter",
        Ending::Incomplete(IncompleteReason::MaxOutputTokens) => "length",
        Ending::Failed(_) => "error",
    }
}

fn tokens(usage: &Usage) -> Tokens {
    Tokens {
        input: usage.input_tokens,
        cached: usage.input_tokens_details.cached_tokens,
        output: usage.output_tokens,
        reasoning: usage.output_tokens_details.reasoning_tokens,
    }
}
