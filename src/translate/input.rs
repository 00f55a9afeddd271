//! The conversation: input items become messages that strict chat servers take.
//!
//! A chat wants what one turn of the model said in one assistant message (text and calls), and each
//! call's output right behind it. Clients send items in another order: all that the model said, then
//! all outputs (Codex), or call and output by turns. So outputs are looked up by the id of their
//! call, and wherever a turn of the model ends, its message goes out with all of its outputs.

mod content;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use content::join;

use super::carry::{Carry, CarryField, Seal};
use super::note::Note;
use super::tools::{INPUT, ToolMap};
use crate::chat::Message;
use crate::chat::message::{
    Assistant, Content as ChatContent, Function, FunctionTag, Part as ChatPart, ToolCall,
};
use crate::json::{Text, TextOr};
use crate::profile::{EmptyContent, LateSystem, Profile, ReasoningBack, SystemRole};
use crate::responses::ErrorObject;
use crate::responses::content::Content;
use crate::responses::input::{
    Call, CallKind, InputItem, Output, OutputBody, Payload, Reasoning, Role,
};

/// What the model is told of a call whose output the client did not send.
const UNANSWERED: &str = "(no output: this call was not answered)";
/// What parts the pieces of one message.
const GAP: &str = "\n\n";

/// Items on their way to messages.
pub(super) struct Conversation<'a, 'c> {
    profile: &'c Profile,
    tools: &'c ToolMap,
    seal: &'c dyn Seal,
    notes: &'c mut Vec<Note>,
    /// Outputs by their call's id; several calls may share an id.
    outputs: HashMap<Cow<'a, str>, VecDeque<OutputBody<'a>>>,
    /// What goes into the one message in front.
    system: Vec<Cow<'a, str>>,
    messages: Vec<Message<'a>>,
    turn: ModelTurn<'a>,
}

/// What the model said in one turn.
#[derive(Default)]
struct ModelTurn<'a> {
    text: Vec<Cow<'a, str>>,
    reasoning: Vec<Carry>,
    calls: Vec<ToolCall<'a>>,
    /// An output of one of its calls went by: whatever the model says next is another turn.
    answered: bool,
}

impl ModelTurn<'_> {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.reasoning.is_empty() && self.calls.is_empty()
    }
}

impl<'a, 'c> Conversation<'a, 'c> {
    pub(super) fn new(
        profile: &'c Profile,
        tools: &'c ToolMap,
        seal: &'c dyn Seal,
        notes: &'c mut Vec<Note>,
    ) -> Self {
        Self {
            profile,
            tools,
            seal,
            notes,
            outputs: HashMap::new(),
            system: Vec::new(),
            messages: Vec::new(),
            turn: ModelTurn::default(),
        }
    }

    /// The system message of the request itself.
    pub(super) fn instructions(&mut self, text: Cow<'a, str>) {
        self.system.push(text);
    }

    /// Adds all items.
    ///
    /// # Errors
    /// A part that no chat can carry and that must not be lost silently.
    pub(super) fn items(&mut self, items: Vec<InputItem<'a>>) -> Result<(), ErrorObject> {
        let items = self.collect_outputs(items);
        for (n, item) in items.into_iter().enumerate() {
            self.item(item, n)?;
        }
        Ok(())
    }

    /// All messages, the system message in front.
    ///
    /// # Errors
    /// As [`Self::items`].
    pub(super) fn finish(mut self) -> Result<Vec<Message<'a>>, ErrorObject> {
        self.end_turn()?;
        if self.system.is_empty() {
            return Ok(self.messages);
        }
        let content = join(self.system, GAP);
        let system = match self.profile.system_role {
            SystemRole::System => Message::System { content },
            SystemRole::Developer => Message::Developer { content },
        };
        self.messages.insert(0, system);
        Ok(self.messages)
    }

    /// Takes the outputs whose calls are here out of the items; an empty shell stays in their place,
    /// to tell where a turn ends.
    fn collect_outputs(&mut self, items: Vec<InputItem<'a>>) -> Vec<InputItem<'a>> {
        let mut waiting: HashMap<Cow<'a, str>, usize> = HashMap::new();
        for item in &items {
            if let InputItem::Call(call) = item {
                *waiting.entry(call.call_id.0.clone()).or_default() += 1;
            }
        }
        let take = |item| match item {
            InputItem::Output(Output {
                call_id: Some(id),
                body,
            }) if take_one(&mut waiting, &id) => {
                self.outputs
                    .entry(id.0.clone())
                    .or_default()
                    .push_back(body);
                InputItem::Output(Output {
                    call_id: Some(id),
                    body: OutputBody::Empty,
                })
            }
            InputItem::Tools(found) => {
                if let Some(id) = found.call_id.clone()
                    && take_one(&mut waiting, &id)
                {
                    let names = tool_names(&found.tools);
                    let body = OutputBody::Content(TextOr::Text(names.into()));
                    self.outputs.entry(id.0).or_default().push_back(body);
                }
                InputItem::Tools(found)
            }
            // An orphan: told apart by keeping its id out.
            InputItem::Output(Output { call_id, body }) => {
                self.notes.push(Note::OutputOrphaned(
                    call_id.as_deref().unwrap_or("without an id").into(),
                ));
                InputItem::Output(Output {
                    call_id: None,
                    body,
                })
            }
            item => item,
        };
        items.into_iter().map(take).collect()
    }

    fn item(&mut self, item: InputItem<'a>, n: usize) -> Result<(), ErrorObject> {
        match item {
            InputItem::Message {
                role: Role::Assistant,
                content,
            } => self.said(content),
            InputItem::Message {
                role: Role::User,
                content,
            } => {
                self.end_turn()?;
                let content = self.user_content(content, &format!("input[{n}].content"))?;
                self.messages.push(Message::User { content });
            }
            InputItem::Message {
                role: Role::System,
                content,
            } => self.system_message(content)?,
            InputItem::Reasoning(reasoning) => self.reasoned(reasoning),
            InputItem::Call(call) => self.called(call),
            InputItem::Output(Output {
                call_id: Some(_), ..
            }) => {
                self.turn.answered |= !self.turn.calls.is_empty();
            }
            InputItem::Output(Output {
                call_id: None,
                body,
            }) => self.orphan(body, n)?,
            InputItem::Tools(found) => {
                self.turn.answered |= found.call_id.is_some() && !self.turn.calls.is_empty();
            }
            InputItem::AgentMessage { author, content } => {
                self.end_turn()?;
                let from = author.as_deref().unwrap_or("another agent").to_owned();
                let text = self.text_of(content);
                self.push_user(format!("Message from agent {from}:\n{text}"));
            }
            // Read before the conversation was.
            InputItem::Configuration(_) => {}
            InputItem::Compaction(sealed) => self.compacted(sealed.as_deref())?,
            InputItem::Reference(id) => return self.referred(id.as_deref(), n),
            InputItem::Other(kind) => self.notes.push(Note::ItemLeftOut(kind.to_string())),
        }
        Ok(())
    }

    /// The model's text.
    fn said(&mut self, content: Content<'a>) {
        self.begin_part_of_turn();
        let text = match content {
            TextOr::Text(text) => text.into_cow(),
            content => Cow::Owned(self.text_of(content)),
        };
        if !text.is_empty() {
            self.turn.text.push(text);
        }
    }

    fn reasoned(&mut self, reasoning: Reasoning<'a>) {
        self.begin_part_of_turn();
        let opened = reasoning
            .encrypted_content
            .as_deref()
            .map(|sealed| Carry::open(self.seal, sealed));
        if let Some(Some(carry)) = opened {
            self.turn.reasoning.push(carry);
            return;
        }
        let plain = if reasoning.content.is_empty() {
            reasoning.summary
        } else {
            reasoning.content
        };
        let text = self.text_of(TextOr::List(plain));
        if !text.is_empty() {
            self.turn
                .reasoning
                .push(Carry::plain(CarryField::ReasoningContent, text));
        } else if opened.is_some() {
            self.notes.push(Note::SealIgnored);
        }
    }

    fn called(&mut self, call: Call<'a>) {
        self.begin_part_of_turn();
        let namespace = call.namespace.as_deref();
        let name = match (&call.name, call.kind) {
            (Some(name), _) => self.tools.sent_name(namespace, name).into_owned(),
            (None, CallKind::LocalShell) => "local_shell".into(),
            (None, CallKind::Shell) => "shell".into(),
            (None, CallKind::ApplyPatch) => "apply_patch".into(),
            (None, CallKind::ToolSearch) => "tool_search".into(),
            (None, CallKind::Function | CallKind::Custom) => "unnamed".into(),
        };
        let arguments = self.arguments(call.kind, call.payload, &call.call_id);
        self.turn.calls.push(ToolCall {
            id: call.call_id.into_cow(),
            kind: FunctionTag::Function,
            function: Function {
                name: Cow::Owned(name),
                arguments,
            },
            extra_content: None,
        });
    }

    /// Arguments as strict servers want them: always a JSON object.
    fn arguments(&mut self, kind: CallKind, payload: Payload<'a>, id: &Text<'a>) -> Cow<'a, str> {
        match (kind, payload) {
            (CallKind::Custom, Payload::Text(text)) => Cow::Owned(wrap(INPUT, &text)),
            (_, Payload::Json(raw)) => Cow::Borrowed(raw.get()),
            (_, Payload::Text(text)) if text.trim().is_empty() => Cow::Borrowed("{}"),
            (_, Payload::Text(text)) if is_object(&text) => text.into_cow(),
            (_, Payload::Text(text)) => {
                self.notes.push(Note::ArgumentsMended(id.to_string()));
                Cow::Owned(wrap("arguments", &text))
            }
        }
    }

    fn system_message(&mut self, content: Content<'a>) -> Result<(), ErrorObject> {
        let text = match content {
            TextOr::Text(text) => text.into_cow(),
            content => Cow::Owned(self.text_of(content)),
        };
        let leading = self.messages.is_empty() && self.turn.is_empty();
        match self.profile.late_system {
            _ if leading => self.system.push(text),
            LateSystem::Merge => self.system.push(text),
            LateSystem::Keep => {
                self.end_turn()?;
                self.messages.push(match self.profile.system_role {
                    SystemRole::System => Message::System { content: text },
                    SystemRole::Developer => Message::Developer { content: text },
                });
            }
            LateSystem::User => {
                self.end_turn()?;
                self.push_user(format!("<developer>\n{text}\n</developer>"));
            }
        }
        Ok(())
    }

    fn orphan(&mut self, body: OutputBody<'a>, n: usize) -> Result<(), ErrorObject> {
        self.end_turn()?;
        let (text, pictures) = self.output(body, &format!("input[{n}].output"))?;
        self.push_user(format!("Output of an earlier tool call:\n{text}"));
        self.push_pictures(pictures);
        Ok(())
    }

    fn compacted(&mut self, sealed: Option<&str>) -> Result<(), ErrorObject> {
        self.end_turn()?;
        match sealed.and_then(|sealed| Carry::open(self.seal, sealed)) {
            Some(summary) => {
                self.push_user(format!(
                    "Summary of the conversation so far:\n{}",
                    summary.text
                ));
            }
            None => self.notes.push(Note::SealIgnored),
        }
        Ok(())
    }

    /// Without a store, references to thinking can be done without; anything else would be lost.
    fn referred(&mut self, id: Option<&str>, n: usize) -> Result<(), ErrorObject> {
        let id = id.unwrap_or_default();
        if id.starts_with("rs_") {
            self.notes
                .push(Note::ItemLeftOut(format!("item_reference to {id}")));
            return Ok(());
        }
        Err(
            ErrorObject::invalid(format!("Item with id '{id}' not found."))
                .with_param(format!("input[{n}].id")),
        )
    }

    /// A turn whose calls were answered is over before the model says more.
    fn begin_part_of_turn(&mut self) {
        if self.turn.answered {
            self.flush_turn();
        }
    }

    fn end_turn(&mut self) -> Result<(), ErrorObject> {
        self.flush_turn();
        Ok(())
    }

    /// The assistant message, its tool messages, and the pictures that these cannot hold.
    fn flush_turn(&mut self) {
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
        let ids: Vec<Cow<'a, str>> = turn.calls.iter().map(|call| call.id.clone()).collect();
        let message = self.assistant(turn);
        self.messages.push(Message::Assistant(message));
        let mut pictures = Vec::new();
        for id in ids {
            let body = self.outputs.get_mut(&id).and_then(VecDeque::pop_front);
            let content = match body {
                None => {
                    self.notes.push(Note::CallUnanswered(id.to_string()));
                    Cow::Borrowed(UNANSWERED)
                }
                Some(OutputBody::Content(TextOr::Text(text))) => text.into_cow(),
                Some(body) => {
                    let (text, mut more) = self.output_of(body);
                    if !more.is_empty() {
                        pictures.push(ChatPart::Text {
                            text: Cow::Owned(format!("Output of tool call {id}:")),
                        });
                        pictures.append(&mut more);
                    }
                    text
                }
            };
            self.messages.push(Message::Tool {
                tool_call_id: id,
                content: ChatContent::Text(content),
            });
        }
        self.push_pictures(pictures);
    }

    /// Under what name a turn's thinking goes back, if it does.
    fn field_back(&self, first: &Carry) -> Option<CarryField> {
        match self.profile.reasoning_back {
            ReasoningBack::AsReceived => Some(first.field),
            ReasoningBack::ReasoningContent => Some(CarryField::ReasoningContent),
            ReasoningBack::Reasoning => Some(CarryField::Reasoning),
            ReasoningBack::ThinkTags => Some(CarryField::ThinkTags),
            ReasoningBack::Drop => None,
        }
    }

    fn assistant(&self, turn: ModelTurn<'a>) -> Assistant<'a> {
        let mut message = Assistant {
            tool_calls: turn.calls,
            ..Assistant::default()
        };
        let mut text = turn.text;
        let field = turn
            .reasoning
            .first()
            .and_then(|first| self.field_back(first));
        let thoughts = turn.reasoning.iter().map(|carry| carry.text.as_str());
        let thought = thoughts
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(GAP);
        match field {
            Some(CarryField::ReasoningContent) if !thought.is_empty() => {
                message.reasoning_content = Some(Cow::Owned(thought));
            }
            Some(CarryField::Reasoning) if !thought.is_empty() => {
                message.reasoning = Some(Cow::Owned(thought));
            }
            Some(CarryField::ThinkTags) if !thought.is_empty() => {
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

    fn push_user(&mut self, text: String) {
        self.messages.push(Message::User {
            content: ChatContent::Text(Cow::Owned(text)),
        });
    }

    fn push_pictures(&mut self, pictures: Vec<ChatPart<'a>>) {
        if !pictures.is_empty() {
            self.messages.push(Message::User {
                content: ChatContent::Parts(pictures),
            });
        }
    }
}

/// Counts one call with that id as answered, if one is open.
fn take_one(waiting: &mut HashMap<Cow<'_, str>, usize>, id: &str) -> bool {
    match waiting.get_mut(id) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

/// What a search for tools found, in words.
fn tool_names(tools: &[&serde_json::value::RawValue]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Named<'a> {
        #[serde(default)]
        name: Option<Text<'a>>,
    }
    let names: Vec<String> = tools
        .iter()
        .filter_map(|raw| serde_json::from_str::<Named<'_>>(raw.get()).ok()?.name)
        .map(|name| name.to_string())
        .collect();
    match names.is_empty() {
        true => "No tools were found.".into(),
        false => format!("Now available: {}.", names.join(", ")),
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
    text.trim_start().starts_with('{')
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
