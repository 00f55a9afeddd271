//! Where events go.

use crate::responses::ResponseEvent;
use crate::responses::event::write_head;
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
    /// Takes what was written before the last event about the response.
    #[must_use]
    pub fn take_before_lifecycle(&mut self) -> bytes::Bytes {
        let at = std::mem::take(&mut self.lifecycle_at).min(self.out.len());
        if at == 0 {
            return bytes::Bytes::new();
        }
        let rest = self.out.split_off(at);
        std::mem::replace(&mut self.out, rest).into()
    }

    /// Takes what was written, for one write to the client. No buffer is left behind: most streams
    /// are waiting for their next delta, and there may be thousands.
    #[must_use]
    pub fn take(&mut self) -> bytes::Bytes {
        self.lifecycle_at = 0;
        std::mem::take(&mut self.out).into_boxed_slice().into()
    }
}

impl Sink for Bytes {
    fn event(&mut self, sequence_number: u64, event: &ResponseEvent<'_>) {
        self.out.reserve(event.size_hint());
        sse::write_event(&mut self.out, event.kind(), |out| {
            event.write(out, sequence_number);
        });
    }

    fn lifecycle(&mut self, sequence_number: u64, kind: &'static str, response: &Response<'_>) {
        self.lifecycle_at = self.out.len();
        // What announces a response comes twice.
        let times = if kind == "response.created" { 2 } else { 1 };
        self.out.reserve(times * response.size_hint());
        sse::write_event(&mut self.out, kind, |out| {
            write_head(out, kind, sequence_number);
            out.extend_from_slice(b",\"response\":");
            response.write(out);
            out.push(b'}');
        });
    }
}
