//! Bytes of an upstream's answer in, events out: the whole way in one piece.

use super::event::FinishReason;
use super::normalize::Normalizer;
use super::sink::Sink;
use super::turn::{End, Ending, Outcome, Turn, TurnContext};
use crate::chat::Chunk;
use crate::chat::error::UpstreamError;
use crate::profile::Profile;
use crate::responses::{ErrorObject, Usage};
use crate::sse::Decoder;

/// Limits on what an upstream may send.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of one event, or of an answer that is not streamed.
    pub event_bytes: usize,
    /// The most bytes of text, thinking and arguments in one answer.
    pub answer_bytes: usize,
}

/// Whether there is anything left to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The answer goes on.
    More,
    /// All was said; only token counts may still come.
    Finished,
    /// Nothing that comes can change the answer: call [`Pipeline::finish`].
    Over,
}

/// Reads an upstream's answer, streamed or not, and makes the events of a response.
#[must_use = "a pipeline must be finished, or the stream has no terminal event"]
pub struct Pipeline {
    framing: Framing,
    reader: Reader,
    turn: Turn,
    limits: Limits,
}

/// What is read, apart from the framing, so that both can be borrowed at once.
struct Reader {
    normalizer: Normalizer,
    /// Chunks read.
    chunks: usize,
    /// What went wrong.
    failure: Option<ErrorObject>,
    /// `[DONE]` came.
    done: bool,
}

enum Framing {
    /// Nothing came but white space.
    Unknown,
    /// An event stream.
    Events(Decoder),
    /// One JSON document.
    Document(Vec<u8>),
}

impl Pipeline {
    /// Begins, and announces the response.
    pub fn start(
        context: TurnContext,
        profile: &Profile,
        logprobs: bool,
        limits: Limits,
        sink: &mut dyn Sink,
    ) -> Self {
        Self {
            framing: Framing::Unknown,
            reader: Reader {
                normalizer: Normalizer::new(profile, logprobs),
                chunks: 0,
                failure: None,
                done: false,
            },
            turn: Turn::start(context, sink),
            limits,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Progress {
        let mut bytes = bytes;
        if let Framing::Unknown = self.framing {
            // A server may stream although it was not asked to, or not stream although it was: what
            // comes tells, not what was announced.
            bytes = bytes.trim_ascii_start();
            self.framing = match bytes.first() {
                None => return Progress::More,
                Some(b'{' | b'[') => Framing::Document(Vec::new()),
                Some(_) => Framing::Events(Decoder::new(self.limits.event_bytes)),
            };
        }
        match &mut self.framing {
            Framing::Unknown => {}
            Framing::Document(document) => {
                if document.len() + bytes.len() > self.limits.event_bytes {
                    self.reader.fail(format!(
                        "the upstream's answer is longer than {} bytes",
                        self.limits.event_bytes
                    ));
                } else {
                    document.extend_from_slice(bytes);
                }
            }
            Framing::Events(decoder) => {
                let (reader, turn) = (&mut self.reader, &mut self.turn);
                if let Err(error) = decoder.push(bytes, |data| reader.data(data, turn, sink)) {
                    reader.fail(error.to_string());
                }
            }
        }
        if self.turn.written() > self.limits.answer_bytes {
            self.reader.fail(format!(
                "the answer is longer than {} bytes",
                self.limits.answer_bytes
            ));
        }
        self.progress()
    }

    /// Whether there is anything left to wait for.
    #[must_use]
    pub fn progress(&self) -> Progress {
        if self.reader.failure.is_some() || self.reader.done {
            Progress::Over
        } else if self.reader.normalizer.finish_reason().is_some() {
            Progress::Finished
        } else {
            Progress::More
        }
    }

    /// Says that all is well.
    pub fn keepalive(&mut self, sink: &mut dyn Sink) {
        self.turn.keepalive(sink);
    }

    /// The response's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.turn.id()
    }

    /// Says that no more bytes come, because the answer is over, or because of `cause`. `now` is
    /// unix time in seconds; `asked` is the size of the request in bytes, by which token counts are
    /// estimated where the upstream gives none.
    pub fn finish(
        mut self,
        cause: Option<ErrorObject>,
        now: u64,
        asked: usize,
        sink: &mut dyn Sink,
    ) -> (Outcome, bool) {
        let (reader, turn) = (&mut self.reader, &mut self.turn);
        match &mut self.framing {
            Framing::Unknown => {}
            Framing::Events(decoder) => decoder.finish(|data| reader.data(data, turn, sink)),
            Framing::Document(document) => reader.document(document, turn, sink),
        }
        if reader.failure.is_none() {
            // What upstream said last may have made it whole before the connection broke.
            let whole = reader.done || reader.normalizer.finish_reason().is_some();
            reader.failure = cause.filter(|_| !whole);
        }
        if reader.failure.is_none() {
            reader.normalizer.end(|event| turn.apply(event, sink));
        }
        let end = self.reader.end();
        let told = self.reader.normalizer.usage();
        let failed = matches!(end, End::Failed(_));
        let estimated = told.is_none() && !failed;
        let usage = told.or_else(|| estimated.then(|| estimate(asked, self.turn.written())));
        (self.turn.finish(end, usage, now, sink), estimated)
    }
}

impl Reader {
    /// Takes the data of one event.
    fn data(&mut self, data: &[u8], turn: &mut Turn, sink: &mut dyn Sink) {
        if self.done || self.failure.is_some() {
            return;
        }
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.done = true;
        } else if !data.is_empty() {
            self.chunk(data, turn, sink);
        }
    }

    /// Takes an answer that came in one piece.
    fn document(&mut self, document: &[u8], turn: &mut Turn, sink: &mut dyn Sink) {
        if self.failure.is_some() {
            return;
        }
        let empty = |chunk: &Chunk<'_>| {
            chunk.choices.0.is_none() && chunk.error.is_none() && chunk.base_resp.is_none()
        };
        let unlike = match serde_json::from_slice::<Chunk<'_>>(document) {
            Ok(chunk) => empty(&chunk),
            Err(_) => true,
        };
        // Some servers report errors with HTTP 200, in shapes of their own.
        match UpstreamError::read(document).filter(|_| unlike) {
            Some(error) => self.failure = Some(failure_of(error)),
            None => self.chunk(document, turn, sink),
        }
        if self.failure.is_none() && self.normalizer.finish_reason().is_none() && !unlike {
            // A whole message needs no reason to be whole.
            self.done = true;
        }
    }

    fn chunk(&mut self, data: &[u8], turn: &mut Turn, sink: &mut dyn Sink) {
        self.chunks += 1;
        match serde_json::from_slice::<Chunk<'_>>(data) {
            Ok(chunk) => {
                if let Err(error) = self
                    .normalizer
                    .chunk(chunk, |event| turn.apply(event, sink))
                {
                    self.failure = Some(failure_of(error));
                }
            }
            Err(error) => self.fail(format!(
                "the upstream sent a chunk that cannot be read: {error}"
            )),
        }
    }

    fn fail(&mut self, message: String) {
        self.failure
            .get_or_insert_with(|| ErrorObject::server(message));
    }

    /// How the answer ended, by all that is known.
    fn end(&mut self) -> End {
        if let Some(failure) = self.failure.take() {
            return End::Failed(failure);
        }
        if self.chunks == 0 {
            return End::Failed(ErrorObject::server("the upstream's answer was empty"));
        }
        let reason = match self.normalizer.finish_reason() {
            Some(FinishReason::Error) => {
                return End::Failed(ErrorObject::server(
                    "the upstream gave up in the middle of its answer",
                ));
            }
            Some(reason) => reason,
            None if self.done => FinishReason::Stop,
            None => {
                return End::Failed(ErrorObject::server(
                    "the upstream's stream ended in the middle of its answer",
                ));
            }
        };
        if self.normalizer.has_unnamed_call() && reason == FinishReason::Stop {
            return End::Failed(ErrorObject::server(
                "the upstream sent a tool call without a name",
            ));
        }
        End::Finished(reason)
    }
}

impl Outcome {
    /// The error, of a response that failed.
    #[must_use]
    pub fn failure(&self) -> Option<&ErrorObject> {
        match &self.ending {
            Ending::Failed(error) => Some(error),
            Ending::Completed(_) | Ending::Incomplete(_) => None,
        }
    }
}

/// What an upstream reports in its stream, in the API's terms.
fn failure_of(error: UpstreamError) -> ErrorObject {
    super::fault::in_stream(error)
}

/// Token counts where the upstream gives none: four bytes are about a token.
fn estimate(asked: usize, written: usize) -> Usage {
    const BYTES_PER_TOKEN: usize = 4;
    let tokens = |bytes: usize| u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX);
    Usage::new(tokens(asked), tokens(written), 0, 0, 0)
}
