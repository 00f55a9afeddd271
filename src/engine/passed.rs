//! An answer in the client's own language, passed on as it comes.
//!
//! Only whole events are passed on, so that a connection which breaks off in the middle of one can
//! still be followed by a failure that the client can read. What passes is looked at for the log, and
//! is not changed.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use serde::Deserialize;
use tokio::time::Sleep;

use super::account::{Account, PassedOn};
use super::recipe::Leg;
use super::{check, over};
use crate::admission::{End, Permit};
use crate::closing::Watch;
use crate::json::Text;
use crate::responses::ErrorObject;
use crate::sse;
use crate::telemetry::Tokens;
use crate::telemetry::trace::Call;
use crate::time::Instant;
use crate::upstream::{Answer, Refusal, Trial, Upstream};

/// An answer that is passed on.
pub struct Passed {
    answer: Option<Answer>,
    upstream: Arc<Upstream>,
    /// Whole events, or the whole document.
    ready: Vec<u8>,
    /// The beginning of the next event.
    rest: Vec<u8>,
    seen: Seen,
    stream: bool,
    trial: Option<Trial>,
    account: Option<Box<Account>>,
    /// For traces, until the account has it.
    call: Option<Call>,
    silence: Pin<Box<Sleep>>,
    /// The request's id here.
    id: String,
    model: String,
    /// Tells when the process ends, once the client is sent what is passed on.
    watch: Option<Watch>,
    /// To be told what it spends.
    permit: Option<Arc<Permit>>,
}

/// What the log tells of an answer.
#[derive(Debug, Default)]
struct Seen {
    /// The response's id at the upstream.
    id: Option<String>,
    sequence: u64,
    /// The status of the response, once it is over.
    status: Option<String>,
    tokens: Tokens,
}

impl Passed {
    /// Reads an answer up to its first event, or all of it if it is not streamed.
    pub(super) async fn open(
        answer: Answer,
        leg: &Leg,
        id: String,
        permit: Option<Arc<Permit>>,
    ) -> Result<Self, Refusal> {
        let upstream = Arc::clone(&leg.stop.upstream);
        let idle = upstream.settings().idle_timeout;
        let mut this = Self {
            answer: Some(answer),
            upstream,
            ready: Vec::new(),
            rest: Vec::new(),
            seen: Seen::default(),
            stream: leg.question.stream,
            trial: None,
            account: None,
            call: None,
            silence: Box::pin(tokio::time::sleep(idle)),
            id,
            model: leg.stop.model.clone(),
            watch: None,
            permit,
        };
        this.wait(Instant::now());
        while this.ready.is_empty() {
            match std::future::poll_fn(|cx| this.poll_read(cx)).await {
                Some(Ok(())) => {}
                Some(Err(refusal)) => return Err(refusal),
                None => break,
            }
        }
        if this.ready.trim_ascii().is_empty() {
            let error = ErrorObject::server("the upstream's answer was empty");
            return Err(Refusal::of_break(error));
        }
        if this.stream && this.ready.trim_ascii_start().starts_with(b"{") {
            let error = ErrorObject::server("the upstream did not stream its answer");
            return Err(Refusal::of_break(error));
        }
        Ok(this)
    }

    pub(super) fn on_trial(&mut self, mut trial: Trial, call: Option<Call>) {
        trial.answers();
        self.trial = Some(trial);
        self.call = call;
    }

    /// Who tells of its end.
    pub(super) fn is_accounted_by(&mut self, account: Option<Box<Account>>) {
        self.account = account;
        if let Some(account) = &mut self.account {
            account.is_answered_by(&self.upstream, self.call.take());
        }
    }

    /// Passes on until then at most.
    pub(super) fn until(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// The whole answer, of one that is not streamed.
    pub(super) fn into_document(mut self) -> Vec<u8> {
        let document = std::mem::take(&mut self.ready);
        self.seen.look(&document, true);
        self.end(None);
        document
    }

    /// When it must be over.
    fn must_end(&self) -> Option<End> {
        self.permit.as_ref().and_then(|permit| permit.end())
    }

    /// Waits from now on for as long as the upstream may be silent, or for what is left of its time.
    fn wait(&mut self, now: Instant) {
        let silent = now + self.upstream.settings().idle_timeout;
        let until = self.must_end().map_or(silent, |end| end.at.min(silent));
        self.silence.as_mut().reset(until);
    }

    /// Reads once. What is whole is ready then; `None` at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), Refusal>>> {
        let must_end = self.must_end();
        let Some(answer) = &mut self.answer else {
            return Poll::Ready(None);
        };
        let settings = self.upstream.settings();
        let broken = |message: String| {
            Poll::Ready(Some(Err(Refusal::of_break(ErrorObject::server(message)))))
        };
        let frame = Pin::new(answer).poll_frame(cx);
        if frame.is_pending() {
            ready!(self.silence.as_mut().poll(cx));
        }
        let now = Instant::now();
        // Also of one that never pauses.
        if let Some(end) = must_end.filter(|end| now >= end.at) {
            return Poll::Ready(Some(Err(check::too_slow(&end))));
        }
        let Poll::Ready(frame) = frame else {
            let seconds = settings.idle_timeout.as_secs_f64();
            return broken(format!(
                "the upstream `{}` was silent for {seconds} s in the middle of its answer",
                settings.name
            ));
        };
        let limit = settings.limits.event_bytes;
        match frame {
            Some(Ok(frame)) => {
                self.wait(now);
                if let Ok(data) = frame.into_data() {
                    self.rest.extend_from_slice(&data);
                }
                if self.stream {
                    self.cut();
                }
                if self.rest.len() > limit {
                    return broken(format!(
                        "the upstream's event or answer is longer than {limit} bytes"
                    ));
                }
                Poll::Ready(Some(Ok(())))
            }
            Some(Err(error)) => broken(format!(
                "the upstream `{}` broke off in the middle of its answer: {error}",
                settings.name
            )),
            None => {
                self.answer = None;
                // A last event may lack its blank line.
                let rest = std::mem::take(&mut self.rest);
                self.ready.extend_from_slice(&rest);
                if self.stream {
                    self.seen.look_at_all(&rest);
                }
                Poll::Ready(None)
            }
        }
    }

    /// Moves the events that are whole from `rest` to `ready`.
    fn cut(&mut self) {
        let Some(end) = end_of_events(&self.rest) else {
            return;
        };
        let after = self.rest.split_off(end);
        let whole = std::mem::replace(&mut self.rest, after);
        self.seen.look_at_all(&whole);
        self.ready.extend_from_slice(&whole);
    }

    /// It is over: says so to the log and to the trial.
    fn end(&mut self, failure: Option<&Refusal>) {
        self.answer = None;
        let Some(trial) = self.trial.take() else {
            return;
        };
        self.tell_spent();
        let mut account = self.account.take();
        if let (Some(refusal), Some(account)) = (failure, &mut account) {
            account.upstream_failed(refusal);
        }
        if let Some(account) = account {
            let passed = PassedOn {
                id: self.seen.id.as_deref(),
                status: self.seen.status.as_deref(),
                tokens: self.seen.tokens,
            };
            account.passed_on(passed, failure);
        }
        match failure {
            Some(refusal) => trial.failed(refusal),
            None => trial.succeeded(),
        }
    }

    /// Tells what it spent: what the upstream says, else what its question was taken for.
    fn tell_spent(&self) {
        let Some(permit) = &self.permit else { return };
        let tokens = self.seen.tokens;
        match tokens.input.saturating_add(tokens.output) {
            0 => permit.spend_reserved(),
            tokens => permit.spend(tokens),
        }
    }

    /// The answer broke off: the client is told in its own language.
    fn break_off(&mut self, mut refusal: Refusal) {
        refusal.error = self.upstream.without_secrets(refusal.error);
        let id = self.seen.id.clone();
        let id = id.unwrap_or_else(|| format!("resp_{}", self.id));
        let sequence = self.seen.sequence + 1;
        self.end(Some(&refusal));
        let event = serde_json::json!({
            "type": "response.failed",
            "sequence_number": sequence,
            "response": {
                "id": id,
                "object": "response",
                "created_at": crate::time::unix_now(),
                "model": self.model,
                "status": "failed",
                "error": {"code": refusal.error.code, "message": refusal.error.message},
                "incomplete_details": null,
                "output": [],
                "usage": null,
            },
        });
        sse::write_event(&mut self.ready, "response.failed", |out| {
            out.extend_from_slice(event.to_string().as_bytes());
        });
    }
}

impl Body for Passed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            if !this.ready.is_empty() {
                let ready = std::mem::take(&mut this.ready);
                if let Some(account) = &mut this.account {
                    account.heard(Instant::now());
                }
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from(ready)))));
            }
            if this.answer.is_none() {
                this.end(None);
                return Poll::Ready(None);
            }
            if let Some(watch) = &mut this.watch
                && watch.is_over(cx)
                && this.seen.status.is_none()
            {
                let cut_off = over::cut_off(watch.closing());
                this.break_off(cut_off);
                continue;
            }
            match ready!(this.poll_read(cx)) {
                Some(Ok(())) => {}
                Some(Err(refusal)) => this.break_off(refusal),
                None if this.seen.status.is_none() => {
                    this.ready.clear();
                    let message = "the upstream's stream ended in the middle of its answer";
                    this.break_off(Refusal::of_break(ErrorObject::server(message)));
                }
                None => {}
            }
        }
    }
}

impl Drop for Passed {
    /// A client that leaves takes the upstream's connection with it.
    fn drop(&mut self) {
        if self.trial.is_some() && self.seen.status.is_some() {
            // It has all that counts.
            self.end(None);
        } else if self.trial.is_some() {
            self.tell_spent();
        }
    }
}

/// Where the last event that is whole ends: behind a blank line.
fn end_of_events(bytes: &[u8]) -> Option<usize> {
    let ends = [b"\n\n".as_slice(), b"\r\n\r\n", b"\r\r"];
    let found = ends.iter().filter_map(|end| {
        let at = memchr::memmem::rfind(bytes, end)?;
        Some(at + end.len())
    });
    found.max()
}

/// An event, or a response, as far as it is looked at.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Look<'a> {
    #[serde(default)]
    sequence_number: Option<u64>,
    #[serde(default)]
    response: Option<LookInside<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct LookInside<'a> {
    #[serde(default)]
    id: Option<Text<'a>>,
    #[serde(default)]
    status: Option<Text<'a>>,
    #[serde(default)]
    usage: Option<LookUsage>,
}

#[derive(Deserialize)]
struct LookUsage {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    input_tokens_details: LookDetails,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    output_tokens_details: LookDetails,
}

#[derive(Default, Deserialize)]
struct LookDetails {
    #[serde(default)]
    cached_tokens: u64,
    #[serde(default)]
    reasoning_tokens: u64,
}

impl Seen {
    fn look_at_all(&mut self, events: &[u8]) {
        for line in events.split(|byte| *byte == b'\n' || *byte == b'\r') {
            let data = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
            if let Some(data) = data.filter(|data| data.starts_with(b"{")) {
                self.look(data, false);
            }
        }
    }

    fn look(&mut self, json: &[u8], is_response: bool) {
        let (sequence, response) = match is_response {
            true => (None, serde_json::from_slice::<LookInside<'_>>(json).ok()),
            false => match serde_json::from_slice::<Look<'_>>(json) {
                Ok(look) => (look.sequence_number, look.response),
                Err(_) => return,
            },
        };
        self.sequence = self.sequence.max(sequence.unwrap_or_default());
        let Some(response) = response else { return };
        self.id = response
            .id
            .map(|id| id.to_string())
            .or_else(|| self.id.take());
        let status = response.status.as_deref();
        let over = ["completed", "failed", "incomplete", "cancelled"];
        if let Some(status) = status.filter(|status| is_response || over.contains(status)) {
            self.status = Some(status.to_owned());
        }
        if let Some(usage) = response.usage {
            self.tokens = Tokens {
                input: usage.input_tokens,
                cached: usage.input_tokens_details.cached_tokens,
                output: usage.output_tokens,
                reasoning: usage.output_tokens_details.reasoning_tokens,
            };
        }
    }
}
