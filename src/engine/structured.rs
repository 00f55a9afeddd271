//! Answers that must fit a schema which the upstream does not enforce: checked before the client sees
//! them.
//!
//! The answer is gathered, and read by a pipeline to which nobody listens. If its text fits, the same
//! bytes go the ordinary way. If it does not, the upstream is asked once more, with its answer and what
//! is wrong with it; if that does not help, the response fails. Calls, refusals, and answers that were
//! cut or failed are told as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jsonschema::{ValidationError, Validator};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tracing::Span;

use crate::responses::item::ContentPart;
use crate::responses::response::Head;
use crate::responses::{ErrorObject, OutputItem, Usage};
use crate::time::unix_now;
use crate::translate::{
    Ending, Ignore, Outcome, Pipeline, Progress, Thinking, ToolMap, TurnContext,
};
use crate::upstream::{Dialect, Upstream};

/// The word by which programs tell an answer that does not fit.
const CODE: &str = "invalid_structured_output";

/// Reads a schema.
///
/// # Errors
/// What is wrong with it, as the client's fault.
pub(super) fn compile(schema: &RawValue) -> Result<Validator, ErrorObject> {
    let invalid = |what: &str| {
        ErrorObject::invalid(format!("Invalid schema for 'text.format': {what}"))
            .with_param("text.format.schema")
            .with_code("invalid_json_schema")
    };
    let schema: Value =
        serde_json::from_str(schema.get()).map_err(|error| invalid(&error.to_string()))?;
    jsonschema::validator_for(&schema).map_err(|error| invalid(&error.to_string()))
}

/// An answer that is being checked.
pub(super) struct Structured {
    validator: Arc<Validator>,
    upstream: Arc<Upstream>,
    /// What the upstream was asked.
    chat: Bytes,
    logprobs: bool,
    head: Head,
    tools: ToolMap,
    pipeline: Option<Pipeline>,
    /// The answer as it came.
    held: Vec<u8>,
    too_long: bool,
    dialect: Arc<Dialect>,
    /// The upstream was asked again.
    repairing: bool,
    /// What the first answer took.
    spent: Usage,
    /// The request's, for the log.
    span: Span,
}

/// What became of an answer.
pub(super) enum Judgement {
    /// These bytes are to be told, and this is how they end, and what was spent besides.
    Tell(Vec<u8>, Option<ErrorObject>, Usage),
    /// The upstream is asked again.
    Again(Bytes),
}

impl Structured {
    /// A check of what `answering` (an upstream, its dialect, the way back for its calls) says to `chat`.
    pub(super) fn new(
        validator: Arc<Validator>,
        answering: (&Arc<Upstream>, &Arc<Dialect>, &ToolMap),
        chat: &Bytes,
        head: Head,
        logprobs: bool,
    ) -> Self {
        let (upstream, dialect, tools) = answering;
        let mut this = Self {
            validator,
            upstream: Arc::clone(upstream),
            dialect: Arc::clone(dialect),
            chat: chat.clone(),
            logprobs,
            head,
            tools: tools.clone(),
            pipeline: None,
            held: Vec::new(),
            too_long: false,
            repairing: false,
            spent: Usage::default(),
            span: Span::current(),
        };
        this.pipeline = Some(this.begin());
        this
    }

    fn begin(&self) -> Pipeline {
        let context = TurnContext::new(self.head.clone(), self.tools.clone(), Thinking::Content);
        let limits = self.upstream.settings().limits;
        let profile = &self.dialect.profile;
        Pipeline::start(context, profile, self.logprobs, limits, &mut Ignore)
    }

    /// Whether this is the upstream that was asked to mend its answer.
    pub(super) fn awaits(&self, upstream: &Arc<Upstream>) -> bool {
        self.repairing && Arc::ptr_eq(&self.upstream, upstream)
    }

    /// No more bytes come: what is wrong with the answer, if it is no whole one.
    pub(super) fn close(&mut self) -> Option<ErrorObject> {
        self.pipeline.as_mut()?.close(&mut Ignore)
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Progress {
        let limits = self.upstream.settings().limits;
        if self.held.len() + bytes.len() > limits.answer_bytes.max(limits.event_bytes) {
            self.too_long = true;
            return Progress::Over;
        }
        self.held.extend_from_slice(bytes);
        match &mut self.pipeline {
            Some(pipeline) => pipeline.push(bytes, &mut Ignore),
            None => Progress::Over,
        }
    }

    /// Whether the upstream has told token counts.
    pub(super) fn has_usage(&self) -> bool {
        self.pipeline.as_ref().is_some_and(Pipeline::has_usage)
    }

    /// The answer is over, or failed because of `cause`.
    pub(super) fn judge(&mut self, cause: Option<ErrorObject>, may_repair: bool) -> Judgement {
        let held = std::mem::take(&mut self.held);
        let spent = self.spent;
        if self.too_long {
            let error = ErrorObject::server("the upstream's answer is too long to be checked");
            return Judgement::Tell(Vec::new(), Some(error), spent);
        }
        let Some(pipeline) = self.pipeline.take() else {
            return Judgement::Tell(held, cause, spent);
        };
        let asked = self.chat.len();
        let (outcome, _) = pipeline.finish(cause.clone(), unix_now(), asked, &mut Ignore);
        let Some(text) = text_to_check(&outcome) else {
            return Judgement::Tell(held, cause, spent);
        };
        match check(&self.validator, &text) {
            Ok(json) if json == text.trim() => Judgement::Tell(held, cause, spent),
            Ok(json) => Judgement::Tell(as_document(&outcome, json), cause, spent),
            Err(violation) if self.repairing => {
                let error = ErrorObject::server(format!(
                    "the model's answer does not fit the JSON schema, nor did it when asked to mend \
                     it: {}",
                    violation.told
                ));
                Judgement::Tell(Vec::new(), Some(error.with_code(CODE)), spent)
            }
            Err(violation) => match self.complain(&text, &violation).filter(|_| may_repair) {
                Some(chat) => {
                    self.spent = outcome.usage.unwrap_or_default();
                    self.repairing = true;
                    self.pipeline = Some(self.begin());
                    self.chat = chat.clone();
                    Judgement::Again(chat)
                }
                None => Judgement::Tell(held, cause, spent),
            },
        }
    }

    /// The question with a complaint about its answer.
    fn complain(&self, text: &str, violation: &Violation) -> Option<Bytes> {
        tracing::info!(
            parent: &self.span,
            response.id = %self.head.id,
            upstream = %self.upstream.settings().name,
            violation = %violation.told,
            "the answer does not fit its schema"
        );
        with_complaint(&self.chat, text, violation)
    }
}

/// The text of an answer that is nothing else; none where it is for other reasons that it does not
/// fit.
fn text_to_check(outcome: &Outcome) -> Option<String> {
    if !matches!(outcome.ending, Ending::Completed(_)) {
        return None;
    }
    let mut text = String::new();
    for item in &outcome.output {
        match item {
            OutputItem::Reasoning(_) => {}
            OutputItem::Message(message) => {
                for part in &message.content {
                    match part {
                        ContentPart::OutputText { text: more, .. } => text.push_str(more),
                        ContentPart::Refusal { .. } => return None,
                    }
                }
            }
            _ => return None,
        }
    }
    Some(text)
}

/// The first thing that is wrong with an answer.
struct Violation {
    /// In full, for the model.
    detailed: String,
    /// Without what the model said, as it is logged.
    told: String,
}

/// The JSON that an answer is, without a fence around it.
fn check<'t>(validator: &Validator, text: &'t str) -> Result<&'t str, Violation> {
    let text = text.trim();
    let parsed = serde_json::from_str::<Value>(text).map(|value| (text, value));
    let parsed = parsed.or_else(|error| {
        let inner = unfenced(text).ok_or(error)?;
        serde_json::from_str(inner).map(|value| (inner, value))
    });
    let (json, value) = parsed.map_err(|error| {
        let what = format!("it is not JSON: {error}");
        Violation {
            detailed: what.clone(),
            told: what,
        }
    })?;
    match validator.iter_errors(&value).next() {
        None => Ok(json),
        Some(error) => Err(Violation {
            detailed: with_place(&error, &error.to_string()),
            told: with_place(&error, &error.masked().to_string()),
        }),
    }
}

fn with_place(error: &ValidationError<'_>, what: &str) -> String {
    let place = error.instance_path().to_string();
    match place.is_empty() {
        true => what.to_owned(),
        false => format!("at {place}: {what}"),
    }
}

/// What stands in a fence that is all of the text.
fn unfenced(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("```")?.strip_suffix("```")?;
    let (kind, inside) = inside.split_once('\n')?;
    matches!(kind.trim(), "" | "json" | "JSON").then(|| inside.trim())
}

/// The request with the answer and a complaint behind it.
fn with_complaint(chat: &[u8], text: &str, violation: &Violation) -> Option<Bytes> {
    let mut request: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(chat).ok()?;
    let messages = request.get("messages")?;
    let mut messages: Vec<Box<RawValue>> = serde_json::from_str(messages.get()).ok()?;
    let complaint = format!(
        "This answer does not fit the JSON schema: {}. Answer again with the whole corrected JSON \
         value and nothing else.",
        violation.detailed
    );
    for (role, content) in [("assistant", text), ("user", &complaint)] {
        messages.push(to_raw_value(&json!({"role": role, "content": content})).ok()?);
    }
    request.insert("messages".into(), to_raw_value(&messages).ok()?);
    serde_json::to_vec(&request).ok().map(Bytes::from)
}

/// An answer in one piece with that text in place of its own.
fn as_document(outcome: &Outcome, text: &str) -> Vec<u8> {
    let mut thinking = String::new();
    for item in &outcome.output {
        if let OutputItem::Reasoning(item) = item {
            for part in item.content.iter().flatten() {
                thinking.push_str(&part.text);
            }
        }
    }
    let mut message = json!({"role": "assistant", "content": text});
    if !thinking.is_empty() {
        message["reasoning_content"] = thinking.into();
    }
    let mut document =
        json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
    if let Some(usage) = outcome.usage {
        document["usage"] = json!({
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {
                "cached_tokens": usage.input_tokens_details.cached_tokens,
                "cache_write_tokens": usage.input_tokens_details.cache_write_tokens,
            },
            "completion_tokens_details": {
                "reasoning_tokens": usage.output_tokens_details.reasoning_tokens,
            },
        });
    }
    document.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<&str, String> {
        let schema = r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}"#;
        let schema = RawValue::from_string(schema.into()).unwrap();
        check(&compile(&schema).unwrap(), text).map_err(|violation| violation.told)
    }

    #[test]
    fn an_answer_is_json_that_fits_in_a_fence_or_not() {
        for text in [
            "{\"a\":1}",
            " {\"a\":1}\n",
            "```json\n{\"a\":1}\n```",
            "```\n{\"a\":1}```",
        ] {
            assert_eq!(checked(text).as_deref(), Ok("{\"a\":1}"), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_what_was_said() {
        let told = |text: &str| checked(text).unwrap_err();
        assert!(told("Hello").starts_with("it is not JSON: "));
        assert!(told("```js\n{\"a\":1}\n```").starts_with("it is not JSON: "));
        assert_eq!(told("{}"), "\"a\" is a required property");
        let place = told("{\"a\":\"secret\"}");
        assert!(place.starts_with("at /a: "), "{place}");
        assert!(!place.contains("secret"), "{place}");
    }

    #[test]
    fn a_schema_that_is_none_is_the_clients_fault() {
        for schema in [
            "{\"type\":\"thing\"}",
            "{\"$ref\":\"https://example.com/x\"}",
        ] {
            let schema = RawValue::from_string(schema.into()).unwrap();
            let error = compile(&schema).expect_err("it is no schema");
            assert_eq!(error.param.as_deref(), Some("text.format.schema"));
        }
    }
}
