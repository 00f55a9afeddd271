//! Where events go.

use crate::responses::ResponseEvent;
use crate::responses::response::Response;
use crate::sse;

/// Takes the events of a response, in order.
pub trait Sink {
    /// An event about an item.
    fn event(&mut self, sequence_number: u64, event: &ResponseEvent<'_>);

    /// An event about the response, which carries it whole. `kind` is its `type`.
    fn lifecycle(&mut self, sequence_number: u64, kind: &'static str, response: &Response<'_>);
}

/// A sink that listens to nothing: for blocking answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ignore;

impl Sink for Ignore {
    fn event(&mut self, _: u64, _: &ResponseEvent<'_>) {}

    fn lifecycle(&mut self, _: u64, _: &'static str, _: &Response<'_>) {}
}

/// A sink that writes server-sent events.
#[derive(Debug, Default)]
pub struct Bytes {
    /// What was written and not taken yet.
    pub out: Vec<u8>,
    /// Where in it the last event about the response begins.
    lifecycle_at: usize,
}

impl Bytes {
    /// Takes what was written.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.lifecycle_at = 0;
        std::mem::take(&mut self.out)
    }

    /// Takes what was written before the last event about the response.
    #[must_use]
    pub fn take_before_lifecycle(&mut self) -> Vec<u8> {
        let at = std::mem::take(&mut self.lifecycle_at).min(self.out.len());
        let rest = self.out.split_off(at);
        std::mem::replace(&mut self.out, rest)
    }
}

impl Sink for Bytes {
    fn event(&mut self, sequence_number: u64, event: &ResponseEvent<'_>) {
        let kind = event.kind();
        sse::write_event(&mut self.out, kind, |out| {
            head(out, kind, sequence_number);
            let start = out.len();
            // Writing to a vector cannot fail, and every event serialises.
            let written = serde_json::to_writer(&mut *out, event);
            debug_assert!(written.is_ok(), "an event must serialise");
            // The members join those of the head, if there are any.
            if out.len() - start <= 2 {
                out.truncate(start);
                out.push(b'}');
            } else if let Some(brace) = out.get_mut(start) {
                *brace = b',';
            }
        });
    }

    fn lifecycle(&mut self, sequence_number: u64, kind: &'static str, response: &Response<'_>) {
        self.lifecycle_at = self.out.len();
        sse::write_event(&mut self.out, kind, |out| {
            head(out, kind, sequence_number);
            out.extend_from_slice(b",\"response\":");
            response.write(out);
            out.push(b'}');
        });
    }
}

fn head(out: &mut Vec<u8>, kind: &str, sequence_number: u64) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"sequence_number\":");
    out.extend_from_slice(itoa::Buffer::new().format(sequence_number).as_bytes());
}
