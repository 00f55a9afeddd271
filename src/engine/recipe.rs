//! How a request is said to one upstream: translated into its dialect, or passed on where it speaks the
//! client's own language. It can be said again to another one.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use jsonschema::Validator;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::content;
use super::history::History;
use super::notes::Told;
use super::route::Overrides;
use super::shape::Shape;
use super::structured;
use crate::admission::Permit;
use crate::json::{Edits, Object, Text};
use crate::responses::CreateResponse;
use crate::telemetry::trace::{Call, Called, TraceContext};
use crate::translate::{self, LowerError, LoweringOptions, Note, Seal, ToolMap};
use crate::upstream::{Dialect, Question, Refusal, Upstream, WireApi};

/// An upstream that may answer, and its name of the model.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) upstream: Arc<Upstream>,
    pub(super) model: String,
    pub(super) weight: u32,
}

impl Stop {
    pub(super) fn passes(&self) -> bool {
        self.upstream.settings().wire_api == WireApi::Responses
    }
}

/// What is asked for, whoever answers.
pub(super) struct Recipe {
    /// The response's id, for the log.
    pub(super) id: String,
    pub(super) overrides: Overrides,
    /// The limit for requests that set none.
    pub(super) max_output_tokens: Option<u64>,
    pub(super) seal: Arc<dyn Seal>,
    /// The client's own key.
    pub(super) caller: HeaderMap,
    /// The trace that the client brought.
    pub(super) trace: TraceContext,
    /// To be told what an answer spends that is passed on.
    pub(super) permit: Option<Arc<Permit>>,
    pub(super) stream: bool,
    /// What the request continues.
    pub(super) history: Arc<History>,
    /// What is made of it.
    pub(super) shape: Shape,
    /// Notes that the log has.
    pub(super) told: Arc<Told>,
    /// Whether the log has the request itself too.
    pub(super) log_content: bool,
}

/// A request as one upstream gets it.
#[derive(Clone)]
pub(super) struct Leg {
    pub(super) stop: Stop,
    pub(super) dialect: Arc<Dialect>,
    pub(super) question: Question,
    /// How long it is, as its tokens are estimated by it.
    pub(super) asked: usize,
    /// The way back for its calls.
    pub(super) tools: ToolMap,
    /// What the answer must fit, where the upstream does not see to it.
    pub(super) validator: Option<Arc<Validator>>,
    /// How many turns the conversation has.
    pub(super) turns: usize,
}

impl Leg {
    /// Begins a call, for traces.
    pub(super) fn call(&self) -> Call {
        let settings = self.stop.upstream.settings();
        Call::begin(Called {
            upstream: &settings.name,
            dialect: &self.dialect.name,
            host: settings.base_url.host_str().unwrap_or_default(),
            port: settings.base_url.port_or_known_default(),
            model: &self.stop.model,
            stream: self.question.stream,
        })
    }
}

/// A request in the words of an upstream.
struct Said {
    body: Vec<u8>,
    /// How long that is, as its tokens are estimated by it.
    asked: usize,
    tools: ToolMap,
    validator: Option<Arc<Validator>>,
    turns: usize,
}

impl Recipe {
    /// The request for one upstream, out of its body.
    pub(super) fn again(&self, body: &[u8], stop: Stop) -> Result<Leg, Refusal> {
        let mut request = CreateResponse::parse(body).map_err(Refusal::bad_request)?;
        self.history.enter(&mut request)?;
        self.say(request, body, stop)
    }

    /// The request for one upstream. `body` is what `request` was read from.
    pub(super) fn say(
        &self,
        request: CreateResponse<'_>,
        body: &[u8],
        stop: Stop,
    ) -> Result<Leg, Refusal> {
        let dialect = stop.upstream.dialect();
        let said = match stop.upstream.settings().wire_api {
            WireApi::Chat => self.lower(request, &stop, &dialect)?,
            WireApi::Responses => Said {
                body: self.pass(&request, body, &stop),
                asked: 0,
                tools: ToolMap::default(),
                validator: None,
                turns: 0,
            },
        };
        tracing::debug!(
            response.id = %self.id,
            upstream = %stop.upstream.settings().name,
            bytes = said.body.len(),
            "request translated"
        );
        if self.log_content {
            let id = format!("resp_{}", self.id);
            content::log("request of the client", &id, body);
            content::log("request to the upstream", &id, &said.body);
        }
        Ok(Leg {
            question: Question {
                model: stop.model.clone(),
                body: Bytes::from(said.body),
                stream: self.stream,
                caller: self.caller.clone(),
                trace: TraceContext::default(),
            },
            stop,
            asked: said.asked,
            dialect,
            tools: said.tools,
            validator: said.validator,
            turns: said.turns,
        })
    }

    fn lower(
        &self,
        mut request: CreateResponse<'_>,
        stop: &Stop,
        dialect: &Dialect,
    ) -> Result<Said, Refusal> {
        self.shape.apply(&mut request);
        let overrides = &self.overrides;
        request.max_output_tokens = request.max_output_tokens.or(self.max_output_tokens);
        request.temperature = overrides.temperature.or(request.temperature);
        request.top_p = overrides.top_p.or(request.top_p);
        request.presence_penalty = overrides.presence_penalty.or(request.presence_penalty);
        request.frequency_penalty = overrides.frequency_penalty.or(request.frequency_penalty);
        let options = LoweringOptions {
            profile: &dialect.profile,
            model: &stop.model,
            effort: overrides.effort.as_deref(),
            seal: &*self.seal,
        };
        let lowered = translate::lower(request, &options).map_err(|error| match error {
            LowerError::Invalid(error) => Refusal::bad_request(error),
            LowerError::ItemNotFound(error) => Refusal::new(404, error),
        })?;
        self.log(&stop.upstream, &lowered.notes);
        let validator = lowered.schema.as_deref().map(structured::compile);
        let validator = validator.transpose().map_err(Refusal::bad_request)?;
        // Only where there is anything else than text it is looked for.
        let is_text = lowered.chat.is_text();
        let chat = dialect.edits.apply(lowered.chat.into_json());
        let body = self.extra().apply(chat);
        Ok(Said {
            asked: match is_text {
                true => body.len(),
                false => translate::text_bytes(&body),
            },
            body,
            tools: lowered.tools,
            validator: validator.map(Arc::new),
            turns: lowered.turns,
        })
    }

    fn log(&self, upstream: &Upstream, notes: &[Note]) {
        let settings = upstream.settings();
        for note in notes {
            if let Note::ToolLeftOut(kind) = note {
                settings.metrics.dropped_tool(&settings.name, kind);
            }
            self.told
                .log(&format!("resp_{}", self.id), &settings.name, note);
        }
    }

    fn extra(&self) -> Edits {
        Edits {
            drop: Vec::new(),
            merge: self.overrides.extra_body.clone(),
        }
    }

    /// The client's own body for an upstream that speaks its language: the model's name is the
    /// upstream's, what the configuration wants is set, and all else stays as it is, known or not.
    fn pass(&self, request: &CreateResponse<'_>, body: &[u8], stop: &Stop) -> Vec<u8> {
        let Some(mut object) = Object::from_slice(body) else {
            return body.to_vec();
        };
        let word = |word: &str| serde_json::to_string(word).unwrap_or_default();
        object.set("model", word(&stop.model));
        if self.shape.over_socket {
            // What a message has and a request has not.
            object.set("stream", "true".to_owned());
            for key in ["type", "stream_id", "generate"] {
                object.remove(key);
            }
        }
        if let Some(effort) = &self.overrides.effort {
            object.merge(&format!(
                "{{\"reasoning\":{{\"effort\":{}}}}}",
                word(effort)
            ));
        }
        if let (None, Some(most)) = (request.max_output_tokens, self.max_output_tokens) {
            object.set("max_output_tokens", most.to_string());
        }
        let numbers = [
            ("temperature", self.overrides.temperature),
            ("top_p", self.overrides.top_p),
        ];
        for (key, number) in numbers {
            if let Some(number) = number {
                object.set(key, number.to_string());
            }
        }
        if let Some(input) = object
            .get("input")
            .and_then(|input| self.without_own(input))
        {
            object.set("input", input);
        }
        stop.upstream.own_edits().change(&mut object);
        self.extra().change(&mut object);
        object.write().into_bytes()
    }

    /// The input without the thinking that this proxy sealed: nobody else can open it, and the API
    /// refuses what it cannot open. `None` if there is none of it.
    fn without_own(&self, input: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Item<'a> {
            #[serde(rename = "type", default, borrow)]
            kind: Option<Text<'a>>,
            #[serde(default, borrow)]
            encrypted_content: Option<Text<'a>>,
        }

        if !input.contains("encrypted_content") {
            return None;
        }
        let items: Vec<&RawValue> = serde_json::from_str(input).ok()?;
        let is_own = |item: &&&RawValue| {
            serde_json::from_str::<Item<'_>>(item.get()).is_ok_and(|item| {
                item.kind.as_deref() == Some("reasoning")
                    && item
                        .encrypted_content
                        .is_some_and(|sealed| self.seal.open(&sealed).is_some())
            })
        };
        let kept: Vec<&str> = items
            .iter()
            .filter(|item| !is_own(item))
            .map(|item| item.get())
            .collect();
        (kept.len() < items.len()).then(|| format!("[{}]", kept.join(",")))
    }
}
