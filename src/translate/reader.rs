//! What an upstream sends, chunk by chunk, whatever it is wrapped in.

use super::event::{ChatEvent, FinishReason};
use super::fault;
use super::likeness::Likeness;
use super::normalize::Normalizer;
use super::sink::Sink;
use super::turn::{End, Turn};
use crate::chat::Chunk;
use crate::chat::error::UpstreamError;
use crate::json::{self, repair};
use crate::responses::ErrorObject;

/// How much of an answer is kept to tell what it was, if it turns out to be no answer.
const HEAD_BYTES: usize = 4096;

/// Reads chunks into a turn, and remembers how the answer ended.
#[derive(Debug)]
pub(super) struct Reader {
    normalizer: Normalizer,
    /// The way past the parser for chunks like the last one.
    likeness: Likeness,
    /// Chunks read.
    chunks: usize,
    /// One of them had a choice.
    answered: bool,
    /// The beginning of the answer, until something of it was understood.
    head: Vec<u8>,
    /// What went wrong.
    failure: Option<ErrorObject>,
    /// `[DONE]` came, or a document was whole.
    done: bool,
}

impl Reader {
    pub(super) fn new(normalizer: Normalizer) -> Self {
        Self {
            normalizer,
            likeness: Likeness::default(),
            chunks: 0,
            answered: false,
            head: Vec::new(),
            failure: None,
            done: false,
        }
    }

    pub(super) fn normalizer(&self) -> &Normalizer {
        &self.normalizer
    }

    /// Whether nothing that comes can change the answer.
    pub(super) fn is_over(&self) -> bool {
        self.failure.is_some() || self.done
    }

    /// Keeps the beginning of the answer.
    pub(super) fn witness(&mut self, bytes: &[u8]) {
        if self.chunks == 0 && self.head.len() < HEAD_BYTES {
            let room = HEAD_BYTES - self.head.len();
            self.head
                .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    /// Takes the data of one event.
    pub(super) fn data(&mut self, data: &[u8], turn: &mut Turn, sink: &mut dyn Sink) {
        if self.is_over() {
            return;
        }
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.done = true;
        } else if !data.is_empty() {
            self.chunk(data, turn, sink);
        }
    }

    /// Takes an answer that came in one piece: a completion, an error in a shape of the server's
    /// own, or chunks one to a line.
    pub(super) fn document(&mut self, document: &[u8], turn: &mut Turn, sink: &mut dyn Sink) {
        if self.is_over() {
            return;
        }
        if document.trim_ascii_start().starts_with(b"[") {
            self.failure = UpstreamError::read(document).map(fault::in_stream);
            if self.failure.is_none() {
                self.fail("the upstream answered with a list, not with a chat completion".into());
            }
            return;
        }
        let lines = || {
            document
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::trim_ascii)
        };
        let has_lines = memchr::memchr(b'\n', document).is_some();
        let objects = || lines().filter(|line| line.starts_with(b"{")).count();
        if has_lines
            && objects() > 1
            && json::from_slice::<serde::de::IgnoredAny>(document).is_err()
        {
            for line in lines() {
                self.data(line, turn, sink);
            }
            return;
        }
        let head = std::mem::take(&mut self.head);
        self.chunk(document, turn, sink);
        if self.failure.is_none() && !self.answered {
            self.head = head;
            self.failure = Some(self.what_it_was());
        }
        // A whole message needs no reason to be whole.
        self.done = true;
    }

    /// No more bytes come.
    pub(super) fn close(
        &mut self,
        cause: Option<ErrorObject>,
        turn: &mut Turn,
        sink: &mut dyn Sink,
    ) {
        if self.failure.is_none() {
            // What the upstream said last may have made it whole before the connection broke.
            let whole = self.done || self.normalizer.finish_reason().is_some();
            self.failure = cause.filter(|_| !whole);
        }
        if self.failure.is_none() {
            self.normalizer.end(|event| turn.apply(event, sink));
        }
    }

    pub(super) fn fail(&mut self, message: String) {
        self.failure
            .get_or_insert_with(|| ErrorObject::server(message));
    }

    /// What went wrong, if no more bytes come and the normaliser was not told so yet.
    pub(super) fn failure(&self) -> Option<ErrorObject> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        if self.chunks == 0 || !self.answered {
            return Some(self.what_it_was());
        }
        let cut = self.normalizer.finish_reason().is_none() && !self.done;
        let given_up = self.normalizer.finish_reason() == Some(FinishReason::Error);
        (cut || given_up).then(|| ErrorObject::server("the upstream's stream broke off"))
    }

    /// How the answer ended, by all that is known.
    pub(super) fn end(&mut self) -> End {
        if let Some(failure) = self.failure.take() {
            return End::Failed(failure);
        }
        if self.chunks == 0 {
            return End::Failed(self.what_it_was());
        }
        if !self.answered {
            return End::Failed(ErrorObject::server(
                "the upstream's answer has no choice in it",
            ));
        }
        let failed = |message: &str| End::Failed(ErrorObject::server(message));
        let reason = match self.normalizer.finish_reason() {
            Some(FinishReason::Error) => {
                return failed("the upstream gave up in the middle of its answer");
            }
            Some(reason) => reason,
            None if self.done && !self.normalizer.has_cut_call() => FinishReason::Stop,
            None if self.done => {
                return failed("the upstream ended its answer in the middle of a tool call");
            }
            None => return failed("the upstream's stream ended in the middle of its answer"),
        };
        if self.normalizer.has_unnamed_call() && reason == FinishReason::Stop {
            return failed("the upstream sent a tool call without a name");
        }
        End::Finished(reason)
    }

    fn chunk(&mut self, data: &[u8], turn: &mut Turn, sink: &mut dyn Sink) {
        if let Some(brought) = self.likeness.read(data) {
            let step = |event: ChatEvent<'_>| turn.apply(event, sink);
            self.normalizer.again(brought, step);
            return;
        }
        if !data.starts_with(b"{") {
            // serde would read a list as an object, by position.
            self.chunks += 1;
            self.fail("the upstream sent a chunk that cannot be read: it is no object".into());
            return;
        }
        match json::from_slice::<Chunk<'_>>(data) {
            Ok(chunk) => {
                self.likeness.remember(&chunk, data);
                self.take(chunk, data, turn, sink);
            }
            Err(error) => {
                // Halves of surrogate pairs, broken UTF-8, bare NaN: worth a second look.
                let repaired = repair(data);
                let again = repaired.as_deref().map(serde_json::from_slice::<Chunk<'_>>);
                match (again, UpstreamError::read_stray(data)) {
                    (Some(Ok(chunk)), _) => self.take(chunk, data, turn, sink),
                    (_, Some(error)) => {
                        self.chunks += 1;
                        self.failure = Some(fault::in_stream(error));
                    }
                    _ => {
                        self.chunks += 1;
                        self.fail(format!(
                            "the upstream sent a chunk that cannot be read: {error}"
                        ));
                    }
                }
            }
        }
    }

    fn take(&mut self, chunk: Chunk<'_>, data: &[u8], turn: &mut Turn, sink: &mut dyn Sink) {
        self.chunks += 1;
        self.answered |= chunk.choices.0.is_some();
        self.head = Vec::new();
        if chunk.is_stray()
            && let Some(error) = UpstreamError::read_stray(data)
        {
            self.failure = Some(fault::in_stream(error));
            return;
        }
        let read = self
            .normalizer
            .chunk(chunk, |event| turn.apply(event, sink));
        if let Err(error) = read {
            self.failure = Some(fault::in_stream(error));
        }
    }

    /// Says of an answer without a chunk what it was instead.
    fn what_it_was(&self) -> ErrorObject {
        // What comes behind the sentinel is nobody's, and is not always read.
        let end = memchr::memmem::find(&self.head, b"[DONE]").unwrap_or(self.head.len());
        let text = self.head.get(..end).unwrap_or_default().trim_ascii();
        if text.is_empty() {
            return ErrorObject::server("the upstream's answer was empty");
        }
        // Comments of an event stream may stand before an error that is not framed as one.
        let lines = text.split(|byte| *byte == b'\n');
        let stray = lines
            .filter(|line| line.starts_with(b"{"))
            .find_map(UpstreamError::read_stray);
        match stray {
            Some(error) => fault::in_stream(error),
            None => {
                let said = UpstreamError::parse(text).message;
                ErrorObject::server(format!(
                    "the upstream's answer is not a chat completion: {said}"
                ))
            }
        }
    }
}
