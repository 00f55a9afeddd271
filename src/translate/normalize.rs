//! Chunks become [`ChatEvent`]s. All habits of upstreams' streams end here.

use std::borrow::Cow;
use std::sync::Arc;

use super::carry::CarryField;
use super::event::{ChatEvent, FinishReason};
use super::heal::{Healed, Healer, Heard, Plan};
use super::likeness::Brought;
use super::think::{Piece, ThinkSplitter};
use super::toolcalls::ToolCalls;
use crate::chat::Chunk;
use crate::chat::chunk::{self, Choice, ContentPart, Delta, ReasoningDetail, ReasoningObject};
use crate::chat::error::UpstreamError;
use crate::json::TextOr;
use crate::profile::{Profile, ThinkTags};
use crate::responses::Usage;
use crate::responses::item::{Annotation, Logprob, TopLogprob};

/// Reads one upstream's answer.
#[derive(Debug)]
pub struct Normalizer {
    think: ThinkSplitter,
    calls: ToolCalls,
    /// Finds calls in the text, where tools are offered.
    healer: Option<Box<Healer>>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    /// Thinking came by its own key: tags in the text are text then.
    saw_reasoning_key: bool,
    /// Deltas came: a whole message after them says it all again.
    saw_delta: bool,
    /// Whether the client wants logprobs.
    logprobs: bool,
    /// Of tokens whose text is held back.
    held_logprobs: Vec<Logprob>,
}

impl Normalizer {
    /// A reader for an upstream with that dialect; `logprobs` says whether the client wants them.
    #[must_use]
    pub fn new(profile: &Profile, logprobs: bool) -> Self {
        let mut think = ThinkSplitter::default();
        if profile.think_tags == ThinkTags::Text {
            think.disable();
        }
        Self {
            think,
            calls: ToolCalls::default(),
            healer: None,
            finish: None,
            usage: None,
            saw_reasoning_key: false,
            saw_delta: false,
            logprobs,
            held_logprobs: Vec::new(),
        }
    }

    /// Has calls found in the text, too, of which at most `limit` bytes are held.
    pub(super) fn heal(&mut self, plan: &Arc<Plan>, limit: usize) {
        self.healer = Some(Box::new(Healer::new(plan, limit)));
    }

    /// What was found in the text.
    pub(super) fn healed(&self) -> &[Healed] {
        self.healer.as_ref().map_or(&[], |healer| healer.healed())
    }

    /// Why the answer ended, once the upstream has said so.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Token counts, once the upstream has told them.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Whether some call's arguments began and did not end.
    #[must_use]
    pub fn has_cut_call(&self) -> bool {
        self.calls.has_cut()
    }

    /// Whether a call was begun that never got a name: it cannot be made.
    #[must_use]
    pub fn has_unnamed_call(&self) -> bool {
        self.calls.has_unnamed()
    }

    /// Reads a chunk, or a whole completion, which is one big chunk.
    ///
    /// # Errors
    /// What the upstream itself reports in the chunk.
    pub fn chunk(
        &mut self,
        chunk: Chunk<'_>,
        mut each: impl FnMut(ChatEvent<'_>),
    ) -> Result<(), UpstreamError> {
        if let Some(raw) = chunk.error() {
            return Err(UpstreamError::from_value(raw));
        }
        if let Some(error) = chunk.base_resp.and_then(UpstreamError::from_base_resp) {
            return Err(error);
        }
        if let Some(usage) = chunk.usage().and_then(counts) {
            // Where it is on every chunk it grows: the last one counts.
            self.usage = Some(usage);
        }
        let Some(choice) = chunk.choices.0 else {
            return Ok(());
        };
        if let Some(raw) = choice.error() {
            return Err(UpstreamError::from_value(raw));
        }
        self.choice(choice, &mut each);
        Ok(())
    }

    /// Reads a chunk of which only one string is new.
    pub(super) fn again(&mut self, brought: Brought<'_>, mut each: impl FnMut(ChatEvent<'_>)) {
        let each = &mut each;
        match brought {
            Brought::Content(text) => self.text(&text, Vec::new(), each),
            Brought::ReasoningContent(text) => {
                self.key_thought(&text, CarryField::ReasoningContent, each);
            }
            Brought::Reasoning(text) => self.key_thought(&text, CarryField::Reasoning, each),
            Brought::Arguments(index, raw) => {
                let function = chunk::Function {
                    name: None,
                    arguments: Some(raw),
                };
                self.call_begins(each);
                self.calls.fragment(
                    chunk::ToolCall {
                        index,
                        function: Some(function),
                        ..chunk::ToolCall::default()
                    },
                    each,
                );
            }
        }
    }

    /// No more chunks come: gives out what was held back.
    pub fn end(&mut self, mut each: impl FnMut(ChatEvent<'_>)) {
        self.finish_tags(&mut each);
        let cut = self.finish == Some(FinishReason::Length);
        if let Some(healer) = &mut self.healer {
            healer.finish(cut, &mut |heard| hear(heard, &mut self.calls, &mut each));
        }
        self.calls.finish(&mut each);
    }

    /// What was held back as a possible tag is text, or thinking, after all.
    fn finish_tags(&mut self, each: &mut impl FnMut(ChatEvent<'_>)) {
        let (healer, calls) = (&mut self.healer, &mut self.calls);
        self.think
            .finish(|piece| tell(piece, Vec::new(), healer, calls, each));
    }

    /// More thinking.
    fn thought(&mut self, text: &str, field: CarryField, each: &mut impl FnMut(ChatEvent<'_>)) {
        self.calls.end_whole(each);
        match &mut self.healer {
            None => each(ChatEvent::Reasoning { text, field }),
            Some(healer) => healer.thought(text, field, &mut |heard| {
                hear(heard, &mut self.calls, each);
            }),
        }
    }

    /// Something of the answer comes that is neither text nor thinking.
    fn interrupt(&mut self, each: &mut impl FnMut(ChatEvent<'_>)) {
        if let Some(healer) = &mut self.healer {
            healer.interrupt(&mut |heard| hear(heard, &mut self.calls, each));
        }
    }

    fn choice(&mut self, choice: Choice<'_>, each: &mut impl FnMut(ChatEvent<'_>)) {
        let logprobs = match choice.logprobs {
            Some(logprobs) if self.logprobs => logprobs.content.unwrap_or_default(),
            _ => Vec::new(),
        };
        let whole = choice.message.filter(|_| !self.saw_delta);
        self.saw_delta |= choice.delta.is_some();
        if let Some(delta) = choice.delta.or(whole) {
            self.delta(delta, logprobs, each);
        }
        if let Some(word) = choice.finish_reason.filter(|word| !word.is_empty()) {
            let reason = FinishReason::parse(&word);
            // Some servers say `stop` after they have said why.
            if reason != FinishReason::Stop || self.finish.is_none() {
                self.finish = Some(reason);
            }
        }
    }

    fn delta(
        &mut self,
        delta: Delta<'_>,
        logprobs: Vec<chunk::Logprob<'_>>,
        each: &mut impl FnMut(ChatEvent<'_>),
    ) {
        for detail in delta.reasoning_details.iter().flatten() {
            each(ChatEvent::ReasoningDetail(detail));
        }
        if let Some((text, field)) = reasoning_of(&delta) {
            self.key_thought(&text, field, each);
        }
        match delta.content {
            Some(TextOr::Text(text)) => self.text(&text, logprobs, each),
            Some(TextOr::List(parts)) => {
                for part in parts {
                    self.part(part, each);
                }
            }
            Some(TextOr::One(part)) => self.part(*part, each),
            Some(TextOr::Odd) | None => {}
        }
        if let Some(words) = delta.audio.and_then(|audio| audio.transcript) {
            self.text(&words, Vec::new(), each);
        }
        if let Some(text) = delta.refusal.filter(|text| !text.is_empty()) {
            self.calls.end_whole(each);
            self.interrupt(each);
            each(ChatEvent::Refusal(&text));
        }
        let has_calls = delta
            .tool_calls
            .as_ref()
            .is_some_and(|calls| !calls.is_empty());
        if has_calls || delta.function_call.is_some() {
            self.call_begins(each);
        }
        for call in delta.tool_calls.into_iter().flatten() {
            self.calls.fragment(call, each);
        }
        if let Some(function) = delta.function_call.filter(|_| !has_calls) {
            self.calls.legacy(function, each);
        }
        for annotation in delta.annotations.into_iter().flatten().filter_map(citation) {
            each(ChatEvent::Annotation(annotation));
        }
    }

    /// Takes thinking that came by its own key.
    /// Thinking that came by its own key: tags in the text are text then.
    fn key_thought(&mut self, text: &str, field: CarryField, each: &mut impl FnMut(ChatEvent<'_>)) {
        if text.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.saw_reasoning_key, true) {
            self.think.disable();
        }
        self.thought(text, field, each);
    }

    /// What was held back as a possible tag is text that came before the call.
    fn call_begins(&mut self, each: &mut impl FnMut(ChatEvent<'_>)) {
        self.finish_tags(each);
        self.interrupt(each);
    }

    fn text(
        &mut self,
        text: &str,
        logprobs: Vec<chunk::Logprob<'_>>,
        each: &mut impl FnMut(ChatEvent<'_>),
    ) {
        if text.is_empty() {
            return;
        }
        if !text.trim().is_empty() {
            self.calls.end_whole(each);
        }
        self.held_logprobs.extend(logprobs.into_iter().map(logprob));
        let held = &mut self.held_logprobs;
        let (healer, calls) = (&mut self.healer, &mut self.calls);
        self.think.push(text, |piece| {
            // Logprobs are told of text only.
            let logprobs = std::mem::take(held);
            tell(piece, logprobs, healer, calls, each);
        });
    }

    fn part(&mut self, part: ContentPart<'_>, each: &mut impl FnMut(ChatEvent<'_>)) {
        if let Some(thinking) = part.thinking {
            let text = match thinking {
                TextOr::Text(text) => text.to_string(),
                TextOr::List(details) => details.iter().filter_map(detail_text).collect(),
                TextOr::One(detail) => detail_text(&detail).unwrap_or_default().to_owned(),
                TextOr::Odd => String::new(),
            };
            if !text.is_empty() {
                self.think.disable();
                self.thought(&text, CarryField::ThinkTags, each);
            }
        } else if let Some(text) = part.text {
            self.text(&text, Vec::new(), each);
        }
    }
}

/// Hands on a piece of the text, by way of the healer where there is one.
fn tell(
    piece: Piece<'_>,
    logprobs: Vec<Logprob>,
    healer: &mut Option<Box<Healer>>,
    calls: &mut ToolCalls,
    each: &mut impl FnMut(ChatEvent<'_>),
) {
    let field = CarryField::ThinkTags;
    match (piece, healer) {
        (Piece::Text(text), None) => each(ChatEvent::Text { text, logprobs }),
        (Piece::Thought(text), None) => each(ChatEvent::Reasoning { text, field }),
        (Piece::Text(text), Some(healer)) => {
            healer.text(text, logprobs, &mut |heard| hear(heard, calls, each));
        }
        (Piece::Thought(text), Some(healer)) => {
            healer.thought(text, field, &mut |heard| hear(heard, calls, each));
        }
    }
}

/// Hands on what the healer heard.
fn hear(heard: Heard<'_>, calls: &mut ToolCalls, each: &mut impl FnMut(ChatEvent<'_>)) {
    match heard {
        Heard::Text(text, logprobs) => each(ChatEvent::Text { text, logprobs }),
        Heard::Thought(text, field) => each(ChatEvent::Reasoning { text, field }),
        Heard::Call(name, arguments) => calls.healed(name, arguments, each),
    }
}

/// Thinking, from the first of the places that has some: servers fill several with the same.
fn reasoning_of<'d>(delta: &'d Delta<'_>) -> Option<(Cow<'d, str>, CarryField)> {
    if let Some(TextOr::Text(text)) = &delta.reasoning_content
        && !text.is_empty()
    {
        return Some((Cow::Borrowed(&**text), CarryField::ReasoningContent));
    }
    for given in [&delta.reasoning, &delta.thinking].into_iter().flatten() {
        let text = match given {
            TextOr::Text(text) => Some(Cow::Borrowed(&**text)),
            TextOr::One(object) => object_text(object).map(Cow::Borrowed),
            TextOr::List(objects) => Some(objects.iter().filter_map(object_text).collect()),
            TextOr::Odd => None,
        };
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            return Some((text, CarryField::Reasoning));
        }
    }
    let details = delta.reasoning_details.iter().flatten();
    let text: String = details
        .filter_map(|raw| ReasoningDetail::text_of(raw))
        .collect();
    (!text.is_empty()).then_some((Cow::Owned(text), CarryField::Reasoning))
}

fn object_text<'d>(object: &'d ReasoningObject<'_>) -> Option<&'d str> {
    object.content.as_deref().or(object.text.as_deref())
}

fn detail_text<'d>(detail: &'d ReasoningDetail<'_>) -> Option<&'d str> {
    detail.text.as_deref().or(detail.summary.as_deref())
}

fn citation(annotation: chunk::Annotation<'_>) -> Option<Annotation> {
    let citation = annotation.url_citation?;
    Some(Annotation::UrlCitation {
        url: citation.url?.to_string(),
        title: citation
            .title
            .map(|title| title.to_string())
            .unwrap_or_default(),
        start_index: citation.start_index.unwrap_or(0),
        end_index: citation.end_index.unwrap_or(0),
    })
}

fn logprob(logprob: chunk::Logprob<'_>) -> Logprob {
    let top = logprob
        .top_logprobs
        .into_iter()
        .flatten()
        .map(|top| TopLogprob {
            token: top.token.to_string(),
            logprob: finite(top.logprob),
            bytes: top.bytes.unwrap_or_default(),
        });
    Logprob {
        top_logprobs: top.collect(),
        token: logprob.token.to_string(),
        logprob: finite(logprob.logprob),
        bytes: logprob.bytes.unwrap_or_default(),
    }
}

/// JSON has no infinity; servers write it as null, or as this.
fn finite(value: Option<f64>) -> f64 {
    value.filter(|value| value.is_finite()).unwrap_or(-9999.0)
}

/// Token counts, however the upstream names the parts; `None` where it names none at all.
fn counts(usage: chunk::Usage) -> Option<Usage> {
    if usage.prompt_tokens.is_none()
        && usage.completion_tokens.is_none()
        && usage.total_tokens.is_none()
    {
        return None;
    }
    let prompt = usage.prompt_tokens_details.unwrap_or_default();
    let completion = usage.completion_tokens_details.unwrap_or_default();
    let cached = prompt
        .cached_tokens
        .or(usage.prompt_cache_hit_tokens)
        .or(usage.cached_tokens)
        .unwrap_or(0);
    let input = usage.prompt_tokens.unwrap_or(0);
    let reasoning = completion.reasoning_tokens.unwrap_or(0);
    let mut output = usage
        .completion_tokens
        .unwrap_or_else(|| usage.total_tokens.unwrap_or(0).saturating_sub(input));
    // xAI and Gemini count thinking into the total only.
    if usage.total_tokens == Some(input.saturating_add(output).saturating_add(reasoning)) {
        output = output.saturating_add(reasoning);
    }
    Some(Usage::new(
        input,
        output,
        cached,
        prompt.cache_write_tokens.unwrap_or(0),
        reasoning,
    ))
}
