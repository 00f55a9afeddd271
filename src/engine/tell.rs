//! What stands between a response's events and the client: they are counted, and no secret of the
//! upstream's is among them.

use crate::responses::ResponseEvent;
use crate::responses::response::{Response, State};
use crate::translate::Sink;
use crate::upstream::Upstream;

/// A sink on the way to another one.
pub(super) struct Telling<'s> {
    sink: &'s mut dyn Sink,
    upstream: &'s Upstream,
    told: bool,
}

impl<'s> Telling<'s> {
    pub(super) fn new(sink: &'s mut dyn Sink, upstream: &'s Upstream) -> Self {
        Self {
            sink,
            upstream,
            told: false,
        }
    }

    /// Whether there was any event.
    pub(super) fn told(&self) -> bool {
        self.told
    }
}

impl Sink for Telling<'_> {
    fn event(&mut self, sequence_number: u64, event: &ResponseEvent<'_>) {
        self.told = true;
        self.sink.event(sequence_number, event);
    }

    fn lifecycle(&mut self, sequence_number: u64, kind: &'static str, response: &Response<'_>) {
        self.told = true;
        let State::Failed(error) = response.state else {
            return self.sink.lifecycle(sequence_number, kind, response);
        };
        let error = self.upstream.without_secrets(error.clone());
        let response = Response {
            state: State::Failed(&error),
            ..*response
        };
        self.sink.lifecycle(sequence_number, kind, &response);
    }
}
