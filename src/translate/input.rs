//! The conversation: input items become messages that strict chat servers take.
//!
//! A chat wants what one turn of the model said in one assistant message (text and calls), and each
//! call's output right behind it. Clients send items in another order: all that the model said, then
//! all outputs (Codex), or call and output by turns. So outputs are looked up by the id of their
//! call (`answers`), and wherever a turn of the model ends, its message goes out with all of its
//! outputs (`turn`).

mod answers;
mod content;
mod people;
mod turn;

use std::borrow::Cow;

use content::join;
use turn::ModelTurn;

use super::carry::{Carry, CarryField, Seal};
use super::note::Note;
use super::prompt;
use super::request::LowerError;
use super::tools::ToolMap;
use crate::chat::Message;
use crate::chat::message::{Content as ChatContent, Part as ChatPart};
use crate::json::TextOr;
use crate::profile::{LateSystem, NoUserMessage, Profile, SystemRole, UserRuns};
use crate::responses::ErrorObject;
use crate::responses::content::Content;
use crate::responses::input::{InputItem, OutputBody, Reasoning, Role};

/// What the model is told of a call whose output the client did not send.
const UNANSWERED: &str = "(no output: this call was not answered)";
/// What parts the pieces of one message.
pub(super) const GAP: &str = "\n\n";

/// Items on their way to messages.
pub(super) struct Conversation<'a, 'c> {
    profile: &'c Profile,
    tools: &'c ToolMap,
    seal: &'c dyn Seal,
    notes: &'c mut Vec<Note>,
    /// For each item its output, if it is a call that has one.
    outputs: Vec<Option<OutputBody<'a>>>,
    /// What goes into the one message in front.
    system: Vec<Cow<'a, str>>,
    messages: Vec<Message<'a>>,
    turn: ModelTurn<'a>,
    /// Calls and outputs are written as text.
    calls_are_text: bool,
    /// What we tell the model ourselves, at the end of the system message.
    told: Vec<Cow<'a, str>>,
    /// The latest thinking since the person spoke, where it may have to stand in for more.
    last_thought: Option<(CarryField, String)>,
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
            outputs: Vec::new(),
            system: Vec::new(),
            messages: Vec::new(),
            turn: ModelTurn::default(),
            calls_are_text: false,
            told: Vec::new(),
            last_thought: None,
        }
    }

    /// Has calls and outputs written as text.
    pub(super) fn write_calls_out(&mut self) {
        self.calls_are_text = true;
    }

    /// Tells the model something at the end of the system message.
    pub(super) fn tell(&mut self, text: String) {
        self.told.push(Cow::Owned(text));
    }

    /// The ids of all calls.
    pub(super) fn call_ids(&mut self) -> Vec<String> {
        self.end_turn();
        let said = self.messages.iter().filter_map(|message| match message {
            Message::Assistant(said) => Some(said),
            _ => None,
        });
        said.flat_map(|said| said.tool_calls.iter().map(|call| call.id.to_string()))
            .collect()
    }

    /// The system message of the request itself.
    pub(super) fn instructions(&mut self, text: Cow<'a, str>) {
        self.system.push(text);
    }

    /// Adds all items, of which the first `before` are not of the request itself. What `continues`
    /// something stored must be whole: each call with an output, each output with a call.
    ///
    /// # Errors
    /// A part that no chat can carry and that must not be lost silently.
    pub(super) fn items(
        &mut self,
        mut items: Vec<InputItem<'a>>,
        before: usize,
        continues: bool,
    ) -> Result<(), LowerError> {
        let pairs = answers::pair(&items);
        if continues {
            answers::check(&items, &pairs)?;
        }
        self.outputs.resize_with(items.len(), || None);
        self.messages.reserve(items.len());
        for (item, call) in items.iter_mut().zip(&pairs) {
            let Some(output) = call.and_then(|call| self.outputs.get_mut(call)) else {
                continue;
            };
            // What is left in its place tells where a turn ends.
            *output = match item {
                InputItem::Output(output) => {
                    Some(std::mem::replace(&mut output.body, OutputBody::Empty))
                }
                InputItem::Tools(found) => {
                    let names = self.tools.sent_names(&found.tools);
                    Some(OutputBody::Content(TextOr::Text(
                        found_tools(&names).into(),
                    )))
                }
                _ => None,
            };
        }
        for (n, (item, answers)) in items.into_iter().zip(pairs).enumerate() {
            if answers.is_some() {
                self.turn.answered |= !self.turn.calls.is_empty();
            } else {
                self.item(item, n.saturating_sub(before), n)?;
            }
        }
        Ok(())
    }

    /// All messages, the system message in front.
    pub(super) fn finish(mut self) -> Vec<Message<'a>> {
        self.end_turn();
        if self.calls_are_text {
            prompt::write_out(&mut self.messages);
        }
        if self.profile.no_user_message == NoUserMessage::Move
            && !people::any(&self.messages)
            && let Some(text) = self.system.pop()
        {
            let content = ChatContent::Text(text);
            self.messages.insert(0, Message::User { content });
        }
        if self.profile.user_runs == UserRuns::Merge {
            people::merge_runs(&mut self.messages);
        }
        self.system.append(&mut self.told);
        if !self.system.is_empty() {
            let text = join(self.system, GAP);
            self.messages.insert(0, system(self.profile, text));
        }
        self.messages
    }

    fn item(&mut self, item: InputItem<'a>, n: usize, place: usize) -> Result<(), LowerError> {
        match item {
            InputItem::Message {
                role: Role::Assistant,
                content,
            } => self.said(content),
            InputItem::Message {
                role: Role::User,
                content,
            } => {
                self.person_speaks();
                let content = self.user_content(content, &format!("input[{n}].content"))?;
                self.messages.push(Message::User { content });
            }
            InputItem::Message {
                role: Role::System,
                content,
            } => self.system_message(content),
            InputItem::Reasoning(reasoning) => self.reasoned(reasoning),
            InputItem::Call(call) => self.called(call, place),
            InputItem::Output(output) => {
                let id = output.call_id.as_deref().unwrap_or("without an id");
                self.notes.push(Note::OutputOrphaned(id.to_owned()));
                self.orphan(output.body);
            }
            // Read before the conversation was.
            InputItem::Tools(_) | InputItem::Configuration(_) => {}
            InputItem::AgentMessage { author, content } => {
                self.person_speaks();
                let from = author.as_deref().unwrap_or("another agent").to_owned();
                let text = self.text_of(content, GAP);
                self.push_user(format!("Message from agent {from}:\n{text}"));
            }
            InputItem::CompactionTrigger => {
                self.notes
                    .push(Note::ItemLeftOut("compaction_trigger".into()));
            }
            InputItem::Compaction(sealed) => self.compacted(sealed.as_deref()),
            InputItem::Reference(id) => return self.referred(id.as_deref(), n),
            InputItem::Other(kind) => self.notes.push(Note::ItemLeftOut(kind.to_string())),
        }
        Ok(())
    }

    /// Ends the model's turn, and all that came of the last word of a person.
    fn person_speaks(&mut self) {
        self.end_turn();
        self.last_thought = None;
    }

    /// The model's text: its parts are one text, cut where it was.
    fn said(&mut self, content: Content<'a>) {
        self.begin_part_of_turn();
        let text = match content {
            TextOr::Text(text) => text.into_cow(),
            content => Cow::Owned(self.text_of(content, "")),
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
        let text = self.text_of(TextOr::List(plain), GAP);
        if !text.is_empty() {
            self.turn
                .reasoning
                .push(Carry::plain(CarryField::ReasoningContent, text));
        } else if opened.is_some() {
            self.notes.push(Note::SealIgnored);
        }
    }

    fn system_message(&mut self, content: Content<'a>) {
        let text = match content {
            TextOr::Text(text) => text.into_cow(),
            content => Cow::Owned(self.text_of(content, GAP)),
        };
        let leading = self.messages.is_empty() && self.turn.is_empty();
        match self.profile.late_system {
            _ if leading => self.system.push(text),
            LateSystem::Merge => self.system.push(text),
            LateSystem::Keep => {
                self.end_turn();
                self.messages.push(system(self.profile, text));
            }
            LateSystem::User => {
                self.end_turn();
                self.push_user(format!("<developer>\n{text}\n</developer>"));
            }
        }
    }

    fn orphan(&mut self, body: OutputBody<'a>) {
        self.end_turn();
        let (text, pictures) = self.output(body);
        self.push_user(format!("Output of an earlier tool call:\n{text}"));
        self.push_pictures(pictures);
    }

    fn compacted(&mut self, sealed: Option<&str>) {
        self.person_speaks();
        match sealed.and_then(|sealed| Carry::open(self.seal, sealed)) {
            Some(summary) => {
                self.push_user(format!(
                    "Summary of the conversation so far:\n{}",
                    summary.text
                ));
            }
            None => self.notes.push(Note::SealIgnored),
        }
    }

    /// Without a store, references to thinking can be done without; anything else would be lost.
    fn referred(&mut self, id: Option<&str>, n: usize) -> Result<(), LowerError> {
        let id = id.unwrap_or_default();
        if id.starts_with("rs_") {
            self.notes
                .push(Note::ItemLeftOut(format!("item_reference to {id}")));
            return Ok(());
        }
        let error = ErrorObject::invalid(format!("Item with id '{id}' not found."));
        Err(LowerError::ItemNotFound(
            error.with_param(format!("input[{n}].id")),
        ))
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

/// The application's own message, in the role that it has there.
fn system<'a>(profile: &Profile, content: Cow<'a, str>) -> Message<'a> {
    match profile.system_role {
        SystemRole::System => Message::System { content },
        SystemRole::Developer => Message::Developer { content },
    }
}

/// What a search for tools found, in words.
fn found_tools(names: &[String]) -> String {
    match names.is_empty() {
        true => "No tools were found.".into(),
        false => format!("Now available: {}.", names.join(", ")),
    }
}
