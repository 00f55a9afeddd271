//! Events out, as the bytes of a stream.
//!
//! Written by hand and not by serde: deltas are nearly all that a stream consists of, and each is
//! three constants, an id, two or three small numbers and a string. Items and parts, of which there
//! are few, are serde's.

use serde::Serialize;

use super::{At, ContentDelta, Delta, ItemEvent, Part, PartEvent, ResponseEvent, SummaryPartEvent};
use crate::json::{write_string, write_value};
use crate::responses::item::Logprob;

/// Room for what stands around the strings of an event.
const FRAME_BYTES: usize = 256;

/// Begins the JSON of an event: an open object with the two keys that all events have.
pub fn write_head(out: &mut Vec<u8>, kind: &str, sequence_number: u64) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"sequence_number\":");
    out.extend_from_slice(itoa::Buffer::new().format(sequence_number).as_bytes());
}

impl ResponseEvent<'_> {
    /// Writes the event as JSON.
    pub fn write(&self, out: &mut Vec<u8>, sequence_number: u64) {
        write_head(out, self.kind(), sequence_number);
        self.write_members(&mut Members(out));
        out.push(b'}');
    }

    /// About how many bytes it takes, its name in front of it included: room for it is best made
    /// at once.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        let text = match self {
            Self::OutputTextDelta { delta, .. } | Self::SummaryTextDelta { delta, .. } => delta,
            Self::RefusalDelta(ContentDelta { delta, .. })
            | Self::ReasoningTextDelta(ContentDelta { delta, .. })
            | Self::FunctionCallArgumentsDelta(Delta { delta, .. })
            | Self::CustomToolCallInputDelta(Delta { delta, .. }) => delta,
            _ => "",
        };
        FRAME_BYTES + text.len()
    }

    fn write_members(&self, out: &mut Members<'_>) {
        match self {
            Self::OutputItemAdded(event) | Self::OutputItemDone(event) => event.write(out),
            Self::ContentPartAdded(event) | Self::ContentPartDone(event) => event.write(out),
            Self::OutputTextDelta {
                at,
                content_index,
                delta,
                logprobs,
            } => {
                at.write(out);
                out.content_index(*content_index);
                out.text(",\"delta\":", delta);
                out.logprobs(logprobs);
            }
            Self::OutputTextDone {
                at,
                content_index,
                text,
                logprobs,
            } => {
                at.write(out);
                out.content_index(*content_index);
                out.text(",\"text\":", text);
                out.logprobs(logprobs);
            }
            Self::AnnotationAdded {
                at,
                content_index,
                annotation_index,
                annotation,
            } => {
                at.write(out);
                out.content_index(*content_index);
                out.value(",\"annotation_index\":", annotation_index);
                out.value(",\"annotation\":", annotation);
            }
            Self::RefusalDelta(event) | Self::ReasoningTextDelta(event) => event.write(out),
            Self::RefusalDone {
                at,
                content_index,
                refusal,
            } => {
                at.write(out);
                out.content_index(*content_index);
                out.text(",\"refusal\":", refusal);
            }
            Self::ReasoningTextDone {
                at,
                content_index,
                text,
            } => {
                at.write(out);
                out.content_index(*content_index);
                out.text(",\"text\":", text);
            }
            Self::SummaryPartAdded(event) | Self::SummaryPartDone(event) => event.write(out),
            Self::SummaryTextDelta {
                at,
                summary_index,
                delta,
            } => {
                at.write(out);
                out.summary_index(*summary_index);
                out.text(",\"delta\":", delta);
            }
            Self::SummaryTextDone {
                at,
                summary_index,
                text,
            } => {
                at.write(out);
                out.summary_index(*summary_index);
                out.text(",\"text\":", text);
            }
            Self::FunctionCallArgumentsDelta(event) | Self::CustomToolCallInputDelta(event) => {
                event.write(out);
            }
            Self::FunctionCallArgumentsDone { at, arguments } => {
                at.write(out);
                out.text(",\"arguments\":", arguments);
            }
            Self::CustomToolCallInputDone { at, input } => {
                at.write(out);
                out.text(",\"input\":", input);
            }
            Self::CompactionCompacting(at) => at.write(out),
            Self::Keepalive {} => {}
        }
    }
}

impl At<'_> {
    fn write(&self, out: &mut Members<'_>) {
        out.text(",\"item_id\":", self.item_id);
        out.number(",\"output_index\":", self.output_index);
    }
}

impl ItemEvent<'_> {
    fn write(&self, out: &mut Members<'_>) {
        out.number(",\"output_index\":", self.output_index);
        out.0.extend_from_slice(b",\"item\":");
        self.item.write(out.0);
    }
}

impl PartEvent<'_, Part<'_>> {
    fn write(&self, out: &mut Members<'_>) {
        self.at.write(out);
        out.content_index(self.content_index);
        out.0.extend_from_slice(b",\"part\":");
        match self.part {
            Part::Content(part) => part.write(out.0),
            Part::Reasoning(part) => out.value("", part),
        }
    }
}

impl SummaryPartEvent<'_> {
    fn write(&self, out: &mut Members<'_>) {
        self.at.write(out);
        out.summary_index(self.summary_index);
        out.value(",\"part\":", self.part);
    }
}

impl ContentDelta<'_> {
    fn write(&self, out: &mut Members<'_>) {
        self.at.write(out);
        out.content_index(self.content_index);
        out.text(",\"delta\":", self.delta);
    }
}

impl Delta<'_> {
    fn write(&self, out: &mut Members<'_>) {
        self.at.write(out);
        out.text(",\"delta\":", self.delta);
    }
}

/// An open JSON object; each `key` is `,"name":`.
struct Members<'o>(&'o mut Vec<u8>);

impl Members<'_> {
    fn text(&mut self, key: &'static str, text: &str) {
        self.0.extend_from_slice(key.as_bytes());
        write_string(self.0, text);
    }

    fn number(&mut self, key: &'static str, number: u32) {
        self.0.extend_from_slice(key.as_bytes());
        let mut digits = itoa::Buffer::new();
        self.0.extend_from_slice(digits.format(number).as_bytes());
    }

    fn content_index(&mut self, index: u32) {
        self.number(",\"content_index\":", index);
    }

    fn summary_index(&mut self, index: u32) {
        self.number(",\"summary_index\":", index);
    }

    fn logprobs(&mut self, logprobs: &[Logprob]) {
        match logprobs {
            [] => self.0.extend_from_slice(b",\"logprobs\":[]"),
            logprobs => self.value(",\"logprobs\":", logprobs),
        }
    }

    /// Writes a value that cannot fail to serialise: items, parts, numbers.
    fn value<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) {
        write_value(self.0, key, value);
    }
}
