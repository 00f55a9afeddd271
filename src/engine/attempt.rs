//! A request on its way from upstream to upstream, until one answers.
//!
//! Each upstream is asked in turn, in the order that the route's strategy and the upstreams' health
//! give. Whoever fails before the client has heard anything of its answer is left for the next one.
//! When all have failed, and one of them in a way that may pass, they are all asked again after a
//! pause, for as long as a single upstream would be.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jsonschema::Validator;

use super::passed::Passed;
use super::recipe::{Leg, Recipe, Stop};
use crate::responses::{CreateResponse, ErrorObject};
use crate::telemetry::trace::Call;
use crate::translate::{self, ToolMap};
use crate::upstream::{
    Answer, Asking, Candidate, Dialect, Fault, Refusal, Retries, Strategy, Trial, Upstream, millis,
    order,
};

/// The first pause before a broken stream is asked for again; each further one is twice as long.
const AFTER_BREAK: Duration = Duration::from_millis(100);
/// The longest of these pauses.
const LONGEST_AFTER_BREAK: Duration = Duration::from_secs(2);

/// An answer that begins, and who gives it.
pub(super) struct Arrival {
    pub(super) answer: Answer,
    pub(super) upstream: Arc<Upstream>,
    pub(super) dialect: Arc<Dialect>,
    pub(super) tools: ToolMap,
    /// To be told how it ends.
    pub(super) trial: Trial,
    /// The question.
    pub(super) chat: Bytes,
    /// How long that is, as its tokens are estimated by it.
    pub(super) asked: usize,
    /// What the answer must fit, where the upstream does not see to it.
    pub(super) validator: Option<Arc<Validator>>,
    /// For traces.
    pub(super) call: Option<Call>,
}

/// What came of asking.
pub(super) enum Arrived {
    /// A chat completion, to be translated.
    Chat(Box<Arrival>),
    /// An answer in the client's own language.
    Passed(Box<Passed>),
}

/// What all upstreams of a route are chosen by.
pub(super) struct Plan {
    pub(super) stops: Vec<Stop>,
    pub(super) strategy: Strategy,
    /// What requests that share a prompt have in common.
    pub(super) sticky: Option<String>,
}

impl Plan {
    /// The places of the stops in the order in which they are asked now.
    pub(super) fn order(&self, id: &str) -> Vec<usize> {
        let candidates: Vec<Candidate<'_>> = self
            .stops
            .iter()
            .map(|stop| Candidate {
                name: (&stop.upstream.settings().name, &stop.model),
                weight: stop.weight,
                standing: stop.upstream.standing(&stop.model),
                in_flight: stop.upstream.in_flight(),
                full: stop.upstream.is_full(),
            })
            .collect();
        order(self.strategy, self.sticky.as_deref(), id, &candidates)
    }
}

/// The way of a request.
pub(super) struct Journey {
    recipe: Recipe,
    plan: Plan,
    /// The client's request, as long as it may have to be said to another upstream.
    body: Option<Bytes>,
    /// Who is asked in this round, by place; the current one is not among them.
    ahead: Vec<usize>,
    /// Who need not be asked again, by place.
    spent: Vec<bool>,
    current: usize,
    leg: Leg,
    asking: Option<Asking>,
    trial: Option<Trial>,
    call: Option<Call>,
    rounds: Retries,
    /// How often an answer broke off.
    breaks: usize,
    /// The refusal of this round that is the best reason to try another one.
    passing: Option<Refusal>,
}

impl Drop for Journey {
    /// Nobody waits any more. An upstream that was asked works on the question nevertheless, so that it is
    /// paid for by estimate; one that answered tells by itself what was spent.
    fn drop(&mut self) {
        if self.asking.is_some()
            && let Some(permit) = &self.recipe.permit
        {
            permit.spend_reserved();
        }
    }
}

impl Journey {
    /// Begins with the first upstream of the plan. `body` is what `request` was read from.
    ///
    /// # Errors
    /// The request cannot be said to that upstream.
    pub(super) fn begin(
        recipe: Recipe,
        plan: Plan,
        request: CreateResponse<'_>,
        body: &Bytes,
    ) -> Result<Self, Refusal> {
        let mut ahead = plan.order(&recipe.id);
        if ahead.is_empty() {
            return Err(nobody());
        }
        let current = ahead.remove(0);
        let stop = plan.stops.get(current).cloned().ok_or_else(nobody)?;
        let retries = plan
            .stops
            .iter()
            .map(|stop| stop.upstream.settings().max_retries);
        let several = plan.stops.len() > 1;
        Ok(Self {
            rounds: Retries::new(retries.max().unwrap_or_default()),
            spent: vec![false; plan.stops.len()],
            body: several.then(|| body.clone()),
            leg: recipe.say(request, body, stop)?,
            recipe,
            plan,
            ahead,
            current,
            asking: None,
            trial: None,
            call: None,
            breaks: 0,
            passing: None,
        })
    }

    /// Who is asked first, and in what dialect.
    pub(super) fn first(&self) -> (Arc<Upstream>, Arc<Dialect>) {
        let leg = &self.leg;
        (Arc::clone(&leg.stop.upstream), Arc::clone(&leg.dialect))
    }

    /// Whether an answer may be one that is passed on: then no stream can begin before it is there.
    pub(super) fn may_pass(&self) -> bool {
        self.plan.stops.iter().any(Stop::passes)
    }

    /// How many turns the conversation has.
    pub(super) fn turns(&self) -> usize {
        self.leg.turns
    }

    /// The question, as it is now.
    pub(super) fn chat(&self) -> &[u8] {
        &self.leg.question.body
    }

    /// Asks the same upstream once more, with another body.
    pub(super) async fn repair(&mut self, chat: Bytes) -> Result<Arrived, Refusal> {
        self.leg.asked = translate::text_bytes(&chat);
        self.leg.question.body = chat;
        self.asking = None;
        self.go().await
    }

    /// The client hears of a response from now on, so that no other's can be passed on.
    pub(super) fn announced(&mut self) {
        for (spent, stop) in self.spent.iter_mut().zip(&self.plan.stops) {
            *spent |= stop.passes();
        }
        let spent = &self.spent;
        self.ahead
            .retain(|at| !spent.get(*at).copied().unwrap_or(true));
    }

    /// Waits until an upstream answers.
    ///
    /// # Errors
    /// The last refusal, once all were asked.
    pub(super) async fn go(&mut self) -> Result<Arrived, Refusal> {
        loop {
            let answer = self.ask().answer().await;
            if let Some(arrived) = self.arrive(answer).await {
                return arrived;
            }
        }
    }

    /// The same, but not while one try is left unanswered for longer than `patience`: `None` then,
    /// and nothing is lost.
    pub(super) async fn go_soon(&mut self, patience: Duration) -> Option<Result<Arrived, Refusal>> {
        loop {
            let answer = self.ask().answer_soon(patience).await?;
            if let Some(arrived) = self.arrive(answer).await {
                return Some(arrived);
            }
        }
    }

    /// Whether an answer that broke off may be asked for again.
    pub(super) fn may_go_on(&self, refusal: &Refusal) -> bool {
        let most = self.leg.stop.upstream.settings().stream_retries;
        let others = self.plan.stops.len() - 1;
        let helps = others > 0 || refusal.passing;
        refusal.fault.moves_on() && helps && self.breaks < most.max(others)
    }

    /// The answer broke off before the client heard anything of it: goes on with the next upstream.
    pub(super) async fn go_on(&mut self, refusal: Refusal) -> Result<Arrived, Refusal> {
        if self.plan.stops.len() == 1 {
            self.pause().await;
        } else {
            self.breaks += 1;
            if !self.advance(refusal.clone()).await {
                return Err(refusal);
            }
        }
        self.go().await
    }

    /// Waits before the same upstream is asked again after its answer broke off.
    async fn pause(&mut self) {
        let doublings = u32::try_from(self.breaks).unwrap_or(u32::MAX);
        let pause = AFTER_BREAK.saturating_mul(2_u32.saturating_pow(doublings));
        self.breaks += 1;
        tokio::time::sleep(pause.min(LONGEST_AFTER_BREAK)).await;
    }

    /// The question to the current upstream.
    fn ask(&mut self) -> &mut Asking {
        let (leg, recipe) = (&self.leg, &self.recipe);
        let (trial, call) = (&mut self.trial, &mut self.call);
        let hasty = self.plan.stops.len() > 1;
        self.asking.get_or_insert_with(|| {
            let mut question = leg.question.clone();
            let begun = leg.call();
            question.trace = begun.context(&recipe.trace);
            *call = Some(begun);
            *trial = Some(leg.stop.upstream.begin(&leg.stop.model));
            leg.stop.upstream.ask(question, hasty)
        })
    }

    /// What an upstream's answer comes to; `None` if the next one is to be asked.
    async fn arrive(
        &mut self,
        answer: Result<Answer, Refusal>,
    ) -> Option<Result<Arrived, Refusal>> {
        self.asking = None;
        let leg = &self.leg;
        let call = self.call.take();
        let trial = self.trial.take();
        let trial = trial.unwrap_or_else(|| leg.stop.upstream.begin(&leg.stop.model));
        let refusal = match answer {
            Ok(answer) if leg.stop.passes() => {
                let permit = self.recipe.permit.clone();
                match Passed::open(answer, leg, self.recipe.id.clone(), permit).await {
                    Ok(mut passed) => {
                        passed.on_trial(trial, call);
                        return Some(Ok(Arrived::Passed(Box::new(passed))));
                    }
                    Err(refusal) => {
                        let settings = leg.stop.upstream.settings();
                        let kind = refusal.kind.to_string();
                        settings.metrics.upstream_error(&settings.name, &kind);
                        fail(call, &refusal);
                        trial.failed(&refusal);
                        if self.plan.stops.len() == 1 && self.may_go_on(&refusal) {
                            self.pause().await;
                            return None;
                        }
                        refusal
                    }
                }
            }
            Ok(answer) => {
                return Some(Ok(Arrived::Chat(Box::new(Arrival {
                    answer,
                    upstream: Arc::clone(&leg.stop.upstream),
                    dialect: Arc::clone(&leg.dialect),
                    tools: leg.tools.clone(),
                    trial,
                    chat: leg.question.body.clone(),
                    asked: leg.asked,
                    validator: leg.validator.clone(),
                    call,
                }))));
            }
            Err(refusal) => {
                fail(call, &refusal);
                trial.failed(&refusal);
                refusal
            }
        };
        if self.plan.stops.len() > 1 && self.advance(refusal.clone()).await {
            return None;
        }
        Some(Err(refusal))
    }

    /// Turns to the next upstream, after a pause if all were asked. Says whether there is one.
    async fn advance(&mut self, refusal: Refusal) -> bool {
        if !refusal.fault.moves_on() {
            return false;
        }
        let failed = Arc::clone(&self.leg.stop.upstream);
        let failed = failed.settings();
        if !refusal.passing
            && refusal.fault != Fault::Busy
            && let Some(spent) = self.spent.get_mut(self.current)
        {
            *spent = true;
        }
        if refusal.passing {
            self.passing = Some(refusal.clone());
        }
        let mut waited = Duration::ZERO;
        loop {
            if self.ahead.is_empty() {
                // One that may fare better in a moment is reason enough for another round.
                let Some(reason) = self.passing.take() else {
                    return false;
                };
                let Some(wait) = self.rounds.next(&reason) else {
                    return false;
                };
                tokio::time::sleep(wait).await;
                waited = wait;
                let spent = &self.spent;
                self.ahead = self.plan.order(&self.recipe.id);
                self.ahead
                    .retain(|at| !spent.get(*at).copied().unwrap_or(true));
                if self.ahead.is_empty() {
                    return false;
                }
            }
            self.current = self.ahead.remove(0);
            let stop = self.plan.stops.get(self.current).cloned();
            let (Some(stop), Some(body)) = (stop, &self.body) else {
                return false;
            };
            match self.recipe.again(body, stop) {
                Ok(leg) => {
                    self.asking = None;
                    failed.metrics.upstream_fallback(&failed.name);
                    tracing::warn!(
                        response.id = %self.recipe.id,
                        upstream = %failed.name,
                        next = %leg.stop.upstream.settings().name,
                        status = refusal.status,
                        wait_ms = millis(waited),
                        error = %refusal.error.message,
                        "the upstream failed: asking the next one"
                    );
                    self.leg = leg;
                    return true;
                }
                // It cannot be said in that one's language; the others' failure is the one to tell.
                Err(_) => {
                    if let Some(spent) = self.spent.get_mut(self.current) {
                        *spent = true;
                    }
                }
            }
        }
    }
}

/// A call came to nothing.
fn fail(call: Option<Call>, refusal: &Refusal) {
    if let Some(call) = call {
        call.failed(refusal.kind.to_string(), &refusal.error.message);
    }
}

/// What cannot be: a route has upstreams.
fn nobody() -> Refusal {
    Refusal::new(
        500,
        ErrorObject::server("there is no upstream to ask for that model"),
    )
}
