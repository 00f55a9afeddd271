//! One turn of the model: its text, thinking and calls, and the message that they become.

use std::borrow::Cow;

use super::content::join;
use super::{Conversation, GAP, UNANSWERED};
use crate::chat::Message;
use crate::chat::message::{
    Assistant, Content as ChatContent, Function, FunctionTag, Part as ChatPart, ToolCall,
};
use crate::json::{self, Text, TextOr};
use crate::profile::{EmptyContent, ReasoningBack, ReasoningRequired};
use crate::responses::input::{Call, CallKind, OutputBody, Payload};
use crate::translate::carry::{Carry, CarryField};
use crate::translate::note::Note;
use crate::translate::tools::INPUT;

/// What the model said in one turn.
#[derive(Default)]
pub(super) struct ModelTurn<'a> {
    pub(super) text: Vec<Cow<'a, str>>,
    pub(super) reasoning: Vec<Carry>,
    /// Its calls, each with the number of its item.
    pub(super) calls: Vec<(usize, ToolCall<'a>)>,
    /// An output of one of its calls went by: whatever the model says next is another turn.
    pub(super) answered: bool,
}

impl ModelTurn<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.reasoning.is_empty() && self.calls.is_empty()
    }
}

impl<'a> Conversation<'a, '_> {
    pub(super) fn called(&mut self, call: Call<'a>, n: usize) {
        self.begin_part_of_turn();
        let namespace = call.namespace.as_deref();
        let name = match (&call.name, call.kind) {
            (Some(name), kind) => self.tools.sent_name(kind, namespace, name).into_owned(),
            (None, CallKind::LocalShell) => "local_shell".into(),
            (None, CallKind::Shell) => "shell".into(),
            (None, CallKind::ApplyPatch) => "apply_patch".into(),
            (None, CallKind::ToolSearch) => "tool_search".into(),
            (None, CallKind::Function | CallKind::Custom) => "unnamed".into(),
        };
        let arguments = self.arguments(call.kind, call.payload, &call.call_id);
        let call = ToolCall {
            id: call.call_id.into_cow(),
            kind: FunctionTag::Function,
            function: Function {
                name: Cow::Owned(name),
                arguments,
            },
            extra_content: None,
        };
        self.turn.calls.push((n, call));
    }

    /// Arguments as strict servers want them: always a JSON object.
    fn arguments(&mut self, kind: CallKind, payload: Payload<'a>, id: &Text<'a>) -> Cow<'a, str> {
        match (kind, payload) {
            (CallKind::Custom, Payload::Text(text)) => Cow::Owned(wrap(INPUT, &text)),
            (_, Payload::Json(raw)) if raw.get().starts_with('{') => Cow::Borrowed(raw.get()),
            (_, Payload::Json(raw)) => {
                self.notes.push(Note::ArgumentsMended(id.to_string()));
                Cow::Owned(format!("{{\"arguments\":{}}}", raw.get()))
            }
            (_, Payload::Text(text)) if text.trim().is_empty() => Cow::Borrowed("{}"),
            (_, Payload::Text(text)) if is_object(&text) => text.into_cow(),
            (_, Payload::Text(text)) => {
                self.notes.push(Note::ArgumentsMended(id.to_string()));
                Cow::Owned(wrap("arguments", &text))
            }
        }
    }

    /// A turn whose calls were answered is over before the model says more.
    pub(super) fn begin_part_of_turn(&mut self) {
        if self.turn.answered {
            self.end_turn();
        }
    }

    /// The assistant message, its tool messages, and the pictures that these cannot hold.
    pub(super) fn end_turn(&mut self) {
        let turn = std::mem::take(&mut self.turn);
        if turn.is_empty() {
            return;
        }
        if turn.text.is_empty() && turn.calls.is_empty() {
            // Strict servers refuse a message that says nothing and calls nothing.
            self.notes
                .push(Note::ItemLeftOut("reasoning without an answer".into()));
            return;
        }
        let calls: Vec<(usize, Cow<'a, str>)> = turn
            .calls
            .iter()
            .map(|(n, call)| (*n, call.id.clone()))
            .collect();
        let message = self.assistant(turn);
        self.messages.push(Message::Assistant(message));
        let mut pictures = Vec::new();
        for (n, id) in calls {
            let content = self.answer(n, &id, &mut pictures);
            self.messages.push(Message::Tool {
                tool_call_id: id,
                content,
            });
        }
        self.push_pictures(pictures);
    }

    /// What the tool message for the call in item `n` says.
    fn answer(&mut self, n: usize, id: &str, pictures: &mut Vec<ChatPart<'a>>) -> ChatContent<'a> {
        let text = match self.outputs.get_mut(n).and_then(Option::take) {
            None => {
                self.notes.push(Note::CallUnanswered(id.to_owned()));
                Cow::Borrowed(UNANSWERED)
            }
            Some(OutputBody::Quoted(raw)) => return ChatContent::Quoted(raw),
            Some(OutputBody::Content(TextOr::Text(text))) => text.into_cow(),
            Some(body) => {
                let (text, mut more) = self.output(body);
                if !more.is_empty() {
                    pictures.push(ChatPart::Text {
                        text: Cow::Owned(format!("Output of tool call {id}:")),
                    });
                    pictures.append(&mut more);
                }
                text
            }
        };
        ChatContent::Text(text)
    }

    /// Under what name a turn's thinking goes back, if it does; `came` is how it came.
    fn field_back(&self, came: CarryField) -> Option<CarryField> {
        match self.profile.reasoning_back {
            ReasoningBack::AsReceived => Some(came),
            ReasoningBack::ReasoningContent => Some(CarryField::ReasoningContent),
            ReasoningBack::Reasoning => Some(CarryField::Reasoning),
            ReasoningBack::ThinkTags => Some(CarryField::ThinkTags),
            ReasoningBack::Drop => None,
        }
    }

    /// The thinking of a turn, and how it came. Where it must not be missing beside calls, the
    /// latest since the person spoke stands in, since servers think once and call often; else a
    /// blank, as the empty string counts as missing.
    fn thought(&mut self, turn: &ModelTurn<'a>) -> Option<(CarryField, String)> {
        let texts = turn.reasoning.iter().map(|carry| carry.text.as_str());
        let text = texts
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(GAP);
        if !text.is_empty() {
            let came = turn.reasoning.first()?.field;
            let thought = (came, text);
            if self.profile.reasoning_required == ReasoningRequired::OnCalls {
                self.last_thought = Some(thought.clone());
            }
            return Some(thought);
        }
        match self.profile.reasoning_required {
            ReasoningRequired::OnCalls if !turn.calls.is_empty() => {
                let blank = || (CarryField::ReasoningContent, " ".to_owned());
                Some(self.last_thought.clone().unwrap_or_else(blank))
            }
            ReasoningRequired::OnCalls | ReasoningRequired::No => None,
        }
    }

    fn assistant(&mut self, turn: ModelTurn<'a>) -> Assistant<'a> {
        let thought = self.thought(&turn);
        let came = turn.reasoning.first().map(|carry| carry.field);
        let came = came.or_else(|| thought.as_ref().map(|(came, _)| *came));
        let field = came.and_then(|came| self.field_back(came));
        let mut message = Assistant {
            tool_calls: turn.calls.into_iter().map(|(_, call)| call).collect(),
            ..Assistant::default()
        };
        let mut text = turn.text;
        match (field, thought) {
            (Some(CarryField::ReasoningContent), Some((_, thought))) => {
                message.reasoning_content = Some(Cow::Owned(thought));
            }
            (Some(CarryField::Reasoning), Some((_, thought))) => {
                message.reasoning = Some(Cow::Owned(thought));
            }
            (Some(CarryField::ThinkTags), Some((_, thought))) if !thought.trim().is_empty() => {
                let said = join(text, GAP);
                text = vec![Cow::Owned(format!(
                    "<think>\n{thought}\n</think>{GAP}{said}"
                ))];
            }
            _ => {}
        }
        for carry in turn.reasoning {
            if field == Some(CarryField::Reasoning) {
                message.reasoning_details.extend(carry.details);
            }
            for (id, extra) in carry.extras {
                let call = message.tool_calls.iter_mut().find(|call| call.id == id);
                if let Some(call) = call {
                    call.extra_content = Some(extra);
                }
            }
        }
        message.content = match (text.is_empty(), message.tool_calls.is_empty()) {
            (false, _) => Some(join(text, GAP)),
            (true, true) => Some(Cow::Borrowed("")),
            (true, false) => match self.profile.empty_content {
                EmptyContent::Null => None,
                EmptyContent::Empty => Some(Cow::Borrowed("")),
            },
        };
        message
    }
}

/// `{"key":"text"}`
fn wrap(key: &str, text: &str) -> String {
    // A string always serialises.
    let text = serde_json::to_string(text).unwrap_or_default();
    format!("{{\"{key}\":{text}}}")
}

/// Whether text is a JSON object.
fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && json::is_json(text)
}
