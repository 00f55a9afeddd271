//! One turn of the upstream's model as the events of a response.
//!
//! The order of events is made here and nowhere else:
//!
//! * `created`, `in_progress`, items, one terminal event; nothing follows it, as [`Turn::finish`]
//!   takes the turn away;
//! * at most one message or thinking is open at a time: clients attach deltas to the item that was
//!   opened last;
//! * calls may be open side by side, as their fragments may come by turns; they close in order;
//! * items that are not whole when the upstream fails are never closed: a client runs no half call.

mod context;

use super::carry::{Carried, CarryField, Seal};
use super::compaction;
use super::event::{ChatEvent, FinishReason};
use super::item::call::{OpenCall, prefix};
use super::item::message::OpenMessage;
use super::item::reasoning::OpenReasoning;
use super::item::{Out, Place};
use super::sink::{Ignore, Sink};
use super::tools::ToolMap;
use crate::responses::item::{Annotation, CompactionItem, ItemStatus, Logprob};
use crate::responses::response::{IncompleteReason, Response, State};

use crate::responses::{ErrorObject, OutputItem, ResponseEvent, Usage};

pub use context::{End, Ending, Outcome, Sealing, Thinking, TurnContext};

/// The state machine. Its methods never fail: what is wrong with an upstream's answer is known
/// before it comes here, or told by [`End::Failed`].
#[must_use = "a turn must be finished, or the stream has no terminal event"]
pub struct Turn {
    context: TurnContext,
    sequence: u64,
    items: u32,
    /// How many of them stand before the upstream's answer.
    lead: u32,
    open: Open,
    /// Calls by slot; `None` once closed.
    calls: Vec<Option<OpenCall>>,
    call_ids: Vec<String>,
    output: Vec<(u32, OutputItem)>,
    /// White space that belongs to a message only if text follows.
    blank: String,
    /// Of its tokens.
    blank_logprobs: Vec<Logprob>,
    /// Citations that came before their text.
    annotations: Vec<Annotation>,
    /// What the upstream wants back, for the next item that can hold it.
    carried: Carried,
    written: usize,
}

enum Open {
    Nothing,
    Message(OpenMessage),
    Reasoning(OpenReasoning),
}

impl Turn {
    /// Begins: announces the response.
    pub fn start(context: TurnContext, sink: &mut dyn Sink) -> Self {
        let announced = context.announced;
        let mut this = Self {
            context,
            sequence: announced,
            items: 0,
            lead: 0,
            open: Open::Nothing,
            calls: Vec::new(),
            call_ids: Vec::new(),
            output: Vec::new(),
            blank: String::new(),
            blank_logprobs: Vec::new(),
            annotations: Vec::new(),
            carried: Carried::default(),
            written: 0,
        };
        let kinds = ["response.created", "response.in_progress"];
        for kind in kinds.into_iter().skip(usize::from(announced > 0)) {
            let response = Response {
                head: &this.context.head,
                state: State::InProgress,
                output: &[],
                usage: None,
            };
            sink.lifecycle(this.sequence, kind, &response);
            this.sequence += 1;
        }
        if let Some(sealed) = this.context.lead.take() {
            this.compacted(sealed, sink);
            this.lead = this.items;
        }
        this
    }

    /// The response's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.context.head.id
    }

    /// Whether the client has heard of nothing but the response itself.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.items == self.lead
    }

    /// Forgets what was said: another upstream begins from the start. `tools` are as that one knows
    /// them. What the client has heard cannot be taken back, so there must be none of it.
    pub fn begin_again(&mut self, tools: ToolMap) {
        self.context.tools = tools;
        self.items = self.lead;
        self.open = Open::Nothing;
        self.calls.clear();
        self.call_ids.clear();
        let lead = self.lead;
        self.output.retain(|(index, _)| *index < lead);
        self.blank.clear();
        self.blank_logprobs.clear();
        self.annotations.clear();
        self.carried = Carried::default();
        self.written = 0;
    }

    /// Bytes of text, thinking and arguments so far.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written
    }

    /// Says that all is well.
    pub fn keepalive(&mut self, sink: &mut dyn Sink) {
        self.out(sink).emit(&ResponseEvent::Keepalive {});
    }

    /// Shows that what came before was summed up; `sealed` is the summary. Nothing may be open.
    fn compacted(&mut self, sealed: String, sink: &mut dyn Sink) {
        let place = self.place("cmp");
        let mut out = self.out(sink);
        let mut item = CompactionItem {
            id: place.id.clone(),
            encrypted_content: String::new(),
        };
        out.added(place.index, &OutputItem::Compaction(item.clone()));
        out.emit(&ResponseEvent::CompactionCompacting(place.at()));
        item.encrypted_content = sealed;
        let item = OutputItem::Compaction(item);
        out.done(place.index, &item);
        self.output.push((place.index, item));
    }

    /// Takes one step of the upstream's answer.
    pub fn apply(&mut self, event: ChatEvent<'_>, sink: &mut dyn Sink) {
        if self.context.summary.is_some() {
            let sequence = self.sequence;
            self.step(event, &mut Ignore);
            self.sequence = sequence;
        } else {
            self.step(event, sink);
        }
    }

    fn step(&mut self, event: ChatEvent<'_>, sink: &mut dyn Sink) {
        match event {
            ChatEvent::Text { text, logprobs } => self.text(text, logprobs, sink),
            ChatEvent::Reasoning { text, field } => self.reasoning(text, field, sink),
            ChatEvent::ReasoningDetail(raw) => {
                // Without a seal there is no way back for it.
                if self.context.sealing.is_some() {
                    self.carried.details.push(raw);
                }
            }
            ChatEvent::Refusal(text) => self.refusal(text, sink),
            ChatEvent::Annotation(annotation) => self.annotation(annotation, sink),
            ChatEvent::CallStart {
                slot,
                call_id,
                name,
                extra,
                raw,
            } => {
                let call_id = self.unique_call_id(slot, call_id);
                if let (Some(extra), Some(_)) = (extra, &self.context.sealing) {
                    self.carried
                        .extras
                        .push((call_id.clone(), extra.to_owned()));
                }
                self.call_start(slot, call_id, (name, raw), sink);
            }
            ChatEvent::CallArguments { slot, text } => {
                self.written += text.len();
                let mut out = Out {
                    sequence: &mut self.sequence,
                    sink,
                };
                if let Some(Some(call)) = self.calls.get_mut(slot) {
                    call.arguments(text, &mut out);
                }
            }
            ChatEvent::CallEnd { slot } => {
                if let Some(Some(call)) = self.calls.get_mut(slot) {
                    call.ended = true;
                }
                self.close_ended_calls(sink);
            }
        }
    }

    /// Ends: closes what is open, and says how it went. `now` is unix time in seconds.
    pub fn finish(
        mut self,
        end: End,
        usage: Option<Usage>,
        now: u64,
        sink: &mut dyn Sink,
    ) -> Outcome {
        let end = match (self.context.summary.take(), end) {
            (Some(seal), End::Finished(_)) => self.sum_up(&*seal, sink),
            (_, end) => end,
        };
        let ending = match end {
            End::Finished(FinishReason::Stop | FinishReason::Error) => {
                self.close_all(ItemStatus::Completed, sink);
                Ending::Completed(now.max(self.context.head.created_at))
            }
            End::Finished(FinishReason::Length) => {
                self.close_all(ItemStatus::Incomplete, sink);
                Ending::Incomplete(IncompleteReason::MaxOutputTokens)
            }
            End::Finished(FinishReason::ContentFilter) => {
                self.close_all(ItemStatus::Incomplete, sink);
                Ending::Incomplete(IncompleteReason::ContentFilter)
            }
            End::Failed(error) => Ending::Failed(error),
        };
        self.output.sort_by_key(|(index, _)| *index);
        let outcome = Outcome {
            head: self.context.head,
            ending,
            output: self.output.into_iter().map(|(_, item)| item).collect(),
            usage,
            healed: Vec::new(),
        };
        let response = outcome.response();
        sink.lifecycle(self.sequence, response.state.event(), &response);
        outcome
    }

    /// Shows the text of the answer as a summary, and nothing else of it.
    fn sum_up(&mut self, seal: &dyn Seal, sink: &mut dyn Sink) -> End {
        let sequence = self.sequence;
        self.close_all(ItemStatus::Completed, &mut Ignore);
        self.sequence = sequence;
        self.items = 0;
        let output = std::mem::take(&mut self.output);
        let texts: String = output
            .iter()
            .filter_map(|(_, item)| item.text())
            .collect::<Vec<_>>()
            .join("\n\n");
        if texts.trim().is_empty() {
            return End::Failed(ErrorObject::server("the model's summary is empty"));
        }
        self.compacted(compaction::seal(texts, seal), sink);
        End::Finished(FinishReason::Stop)
    }

    fn text(&mut self, text: &str, logprobs: Vec<Logprob>, sink: &mut dyn Sink) {
        self.written += text.len();
        if let Open::Message(message) = &mut self.open {
            message.text(
                text,
                logprobs,
                &mut Out {
                    sequence: &mut self.sequence,
                    sink,
                },
            );
            return;
        }
        self.blank.push_str(text);
        self.blank_logprobs.extend(logprobs);
        if text.trim().is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.blank);
        let logprobs = std::mem::take(&mut self.blank_logprobs);
        self.open_message(sink);
        let mut out = Out {
            sequence: &mut self.sequence,
            sink,
        };
        if let Open::Message(message) = &mut self.open {
            message.text(&text, logprobs, &mut out);
            for annotation in std::mem::take(&mut self.annotations) {
                message.annotate(annotation, &mut out);
            }
        }
    }

    fn refusal(&mut self, text: &str, sink: &mut dyn Sink) {
        self.written += text.len();
        self.open_message(sink);
        if let Open::Message(message) = &mut self.open {
            message.refusal(
                text,
                &mut Out {
                    sequence: &mut self.sequence,
                    sink,
                },
            );
        }
    }

    fn reasoning(&mut self, text: &str, field: CarryField, sink: &mut dyn Sink) {
        self.written += text.len();
        self.forget_blank();
        if !matches!(self.open, Open::Reasoning(_)) {
            // Thinking of nothing but white space is none.
            if text.trim().is_empty() {
                return;
            }
            self.close_open(ItemStatus::Completed, sink);
            let place = self.place("rs");
            let thinking = self.context.thinking;
            self.open = Open::Reasoning(OpenReasoning::open(
                place,
                thinking,
                field,
                &mut self.out(sink),
            ));
        }
        if let Open::Reasoning(reasoning) = &mut self.open {
            reasoning.text(
                text,
                &mut Out {
                    sequence: &mut self.sequence,
                    sink,
                },
            );
        }
    }

    fn annotation(&mut self, annotation: Annotation, sink: &mut dyn Sink) {
        let mut out = Out {
            sequence: &mut self.sequence,
            sink,
        };
        let left = match &mut self.open {
            Open::Message(message) => message.annotate(annotation, &mut out),
            _ => Some(annotation),
        };
        self.annotations.extend(left);
    }

    fn call_start(
        &mut self,
        slot: usize,
        call_id: String,
        (name, raw): (&str, bool),
        sink: &mut dyn Sink,
    ) {
        self.forget_blank();
        self.close_open(ItemStatus::Completed, sink);
        self.show_carried(sink);
        let origin = self.context.tools.raise(name);
        let place = self.place(prefix(origin.kind));
        self.call_ids.push(call_id.clone());
        let call = OpenCall::open(place, call_id, origin, raw, &mut self.out(sink));
        if self.calls.len() <= slot {
            self.calls.resize_with(slot + 1, || None);
        }
        if let Some(free) = self.calls.get_mut(slot) {
            *free = Some(call);
        }
    }

    fn forget_blank(&mut self) {
        self.blank.clear();
        self.blank_logprobs.clear();
    }

    /// Clients tell calls apart by this id, so it must be there and be unlike the others.
    fn unique_call_id(&self, slot: usize, call_id: Option<&str>) -> String {
        match call_id {
            Some(id) if self.is_new_call(id) => id.to_owned(),
            _ => format!("call_{}{slot:04x}", self.suffix()),
        }
    }

    fn is_new_call(&self, id: &str) -> bool {
        !self.context.tools.knows_call(id) && !self.call_ids.iter().any(|known| known == id)
    }

    /// Gives what the upstream wants back an item of its own, where no thinking was open to hold it.
    fn show_carried(&mut self, sink: &mut dyn Sink) {
        if self.carried.is_empty() {
            return;
        }
        let place = self.place("rs");
        let mut out = Out {
            sequence: &mut self.sequence,
            sink,
        };
        let item = OpenReasoning::open(place, Thinking::Hidden, CarryField::Reasoning, &mut out);
        let sealing = self.context.sealing.as_ref();
        self.output
            .push(item.close(sealing, &mut self.carried, &mut out));
    }

    fn open_message(&mut self, sink: &mut dyn Sink) {
        if !matches!(self.open, Open::Message(_)) {
            self.close_open(ItemStatus::Completed, sink);
            self.show_carried(sink);
            let place = self.place("msg");
            self.open = Open::Message(OpenMessage::open(place, &mut self.out(sink)));
        }
    }

    /// Closes the message or thinking that is open.
    fn close_open(&mut self, status: ItemStatus, sink: &mut dyn Sink) {
        let open = std::mem::replace(&mut self.open, Open::Nothing);
        let mut out = Out {
            sequence: &mut self.sequence,
            sink,
        };
        match open {
            Open::Nothing => {}
            Open::Message(message) => self.output.push(message.close(status, &mut out)),
            Open::Reasoning(reasoning) => {
                self.output.push(reasoning.close(
                    self.context.sealing.as_ref(),
                    &mut self.carried,
                    &mut out,
                ));
            }
        }
    }

    /// Closes calls that are whole, up to the first that is not.
    fn close_ended_calls(&mut self, sink: &mut dyn Sink) {
        let mut out = Out {
            sequence: &mut self.sequence,
            sink,
        };
        for slot in &mut self.calls {
            match slot.take() {
                None => {}
                Some(call) if call.ended => {
                    self.output
                        .push(call.close(ItemStatus::Completed, &mut out));
                }
                open => {
                    *slot = open;
                    break;
                }
            }
        }
    }

    /// Closes everything; `last` is the status of what was cut by the end, if it was.
    fn close_all(&mut self, last: ItemStatus, sink: &mut dyn Sink) {
        if self.items == self.lead {
            // An answer must have something to show, if only white space or nothing.
            self.open_message(sink);
            let blank = std::mem::take(&mut self.blank);
            let mut out = Out {
                sequence: &mut self.sequence,
                sink,
            };
            if let Open::Message(message) = &mut self.open {
                message.text(&blank, Vec::new(), &mut out);
            }
        }
        self.close_open(last, sink);
        self.show_carried(sink);
        let mut out = Out {
            sequence: &mut self.sequence,
            sink,
        };
        let calls: Vec<OpenCall> = std::mem::take(&mut self.calls)
            .into_iter()
            .flatten()
            .collect();
        let final_call = calls.len().saturating_sub(1);
        for (n, call) in calls.into_iter().enumerate() {
            // What was cut is the last thing said, and whatever had not come to its end.
            let status = if call.ended && n != final_call {
                ItemStatus::Completed
            } else {
                last
            };
            self.output.push(call.close(status, &mut out));
        }
    }

    /// The next item's id and place. Ids are the response's own with the item's number.
    fn place(&mut self, prefix: &str) -> Place {
        let index = self.items;
        self.items += 1;
        Place {
            id: format!("{prefix}_{}{index:04x}", self.suffix()),
            index,
        }
    }

    fn suffix(&self) -> &str {
        let id = &self.context.head.id;
        id.split_once('_').map_or(id.as_str(), |(_, suffix)| suffix)
    }

    fn out<'s>(&'s mut self, sink: &'s mut dyn Sink) -> Out<'s> {
        Out {
            sequence: &mut self.sequence,
            sink,
        }
    }
}
