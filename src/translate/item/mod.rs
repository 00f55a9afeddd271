//! The items of an answer under construction: each opens, grows and closes by its own events.
//!
//! | item | opens with | grows by | closes with |
//! |---|---|---|---|
//! | message | `output_item.added`, `content_part.added` | `output_text.delta`, `refusal.delta`, `annotation.added` | `*.done`, `content_part.done`, `output_item.done` |
//! | reasoning | `output_item.added`, `*_part.added` | `reasoning_summary_text.delta` or `reasoning_text.delta` | the same `*.done`, `output_item.done` |
//! | function call | `output_item.added` | `function_call_arguments.delta` | `.done`, `output_item.done` |
//! | custom tool call | `output_item.added` | `custom_tool_call_input.delta` | `.done`, `output_item.done` |
//! | other calls | `output_item.added` | nothing, until they are whole | `output_item.done` |

pub(super) mod call;
pub(super) mod message;
pub(super) mod reasoning;

use super::sink::Sink;
use crate::responses::event::{At, ItemEvent};
use crate::responses::{OutputItem, ResponseEvent};

/// Numbers events and hands them to the sink.
pub(super) struct Out<'s> {
    pub(super) sequence: &'s mut u64,
    pub(super) sink: &'s mut dyn Sink,
}

impl Out<'_> {
    pub(super) fn emit(&mut self, event: &ResponseEvent<'_>) {
        self.sink.event(*self.sequence, event);
        *self.sequence += 1;
    }

    pub(super) fn added(&mut self, output_index: u32, item: &OutputItem) {
        self.emit(&ResponseEvent::OutputItemAdded(ItemEvent {
            output_index,
            item,
        }));
    }

    pub(super) fn done(&mut self, output_index: u32, item: &OutputItem) {
        self.emit(&ResponseEvent::OutputItemDone(ItemEvent {
            output_index,
            item,
        }));
    }
}

/// An item's id and its place in the output.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) id: String,
    pub(super) index: u32,
}

impl Place {
    pub(super) fn at(&self) -> At<'_> {
        At {
            item_id: &self.id,
            output_index: self.index,
        }
    }
}
