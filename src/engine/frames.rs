//! Events one by one, each as the bytes that a client gets.

use bytes::Bytes;

use crate::responses::ResponseEvent;
use crate::responses::response::Response;
use crate::sse;
use crate::store::Event;
use crate::translate::{self, Sink};

/// A sink that keeps each event by itself.
#[derive(Debug, Default)]
pub(super) struct Frames {
    sink: translate::Bytes,
    events: Vec<Event>,
    /// Bytes of the events.
    pub(super) size: usize,
    /// The next event's number, if there was one.
    pub(super) next: Option<u64>,
}

impl Frames {
    /// Takes what is there.
    pub(super) fn take(&mut self) -> Vec<Event> {
        self.size = 0;
        std::mem::take(&mut self.events)
    }

    /// Puts back what was taken, in front of what came since.
    pub(super) fn put_back(&mut self, mut events: Vec<Event>) {
        self.size += events.iter().map(|event| event.data.len()).sum::<usize>();
        events.append(&mut self.events);
        self.events = events;
    }

    /// Adds events behind all others.
    pub(super) fn add(&mut self, events: Vec<Event>) {
        self.size += events.iter().map(|event| event.data.len()).sum::<usize>();
        self.events.extend(events);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn close(&mut self, sequence: u64) {
        let data = self.sink.take();
        self.size += data.len();
        self.next = Some(sequence + 1);
        self.events.push(Event { sequence, data });
    }
}

impl Sink for Frames {
    fn event(&mut self, sequence: u64, event: &ResponseEvent<'_>) {
        self.sink.event(sequence, event);
        self.close(sequence);
    }

    fn lifecycle(&mut self, sequence: u64, kind: &'static str, response: &Response<'_>) {
        self.sink.lifecycle(sequence, kind, response);
        self.close(sequence);
    }
}

/// An event about a response whose object is there as JSON.
pub(super) fn lifecycle(kind: &str, sequence: u64, response: &[u8]) -> Event {
    let mut out = Vec::with_capacity(response.len() + 128);
    sse::write_event(&mut out, kind, |out| {
        out.extend_from_slice(
            format!("{{\"type\":\"{kind}\",\"sequence_number\":{sequence},\"response\":")
                .as_bytes(),
        );
        out.extend_from_slice(response);
        out.push(b'}');
    });
    Event {
        sequence,
        data: Bytes::from(out),
    }
}

/// An event that is there as JSON.
pub(super) fn frame(kind: &str, json: &str) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + 64);
    sse::write_event(&mut out, kind, |out| out.extend_from_slice(json.as_bytes()));
    Bytes::from(out)
}
