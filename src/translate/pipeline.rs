//! Bytes of an upstream's answer in, events out: the whole way in one piece.

use super::normalize::Normalizer;
use super::reader::Reader;
use super::sink::Sink;
use super::tokens::estimate_tokens;
use super::tools::ToolMap;
use super::turn::{End, Ending, Outcome, Turn, TurnContext};
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
    /// What other answers took for this response.
    spent: Usage,
}

enum Framing {
    /// Nothing came but white space, or these bytes, which may begin a byte order mark.
    Unknown(Vec<u8>),
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
            framing: Framing::Unknown(Vec::new()),
            reader: reader(&context.tools, profile, logprobs, limits),
            turn: Turn::start(context, sink),
            limits,
            spent: Usage::default(),
        }
    }

    /// Counts tokens of another answer that was needed for this response.
    pub fn spend(&mut self, usage: Usage) {
        self.spent = self.spent.plus(usage);
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Progress {
        self.reader.witness(bytes);
        if let Framing::Unknown(lead) = &mut self.framing {
            // A server may stream although it was not asked to, or not stream although it was: what
            // comes tells, not what was announced.
            if lead.is_empty() {
                return self.begin(bytes, sink);
            }
            let mut whole = std::mem::take(lead);
            whole.extend_from_slice(bytes);
            return self.begin(&whole, sink);
        }
        self.read(bytes, sink)
    }

    /// Finds out by the first byte that is neither white space nor a byte order mark what comes.
    fn begin(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Progress {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if MARK.starts_with(bytes) {
            self.framing = Framing::Unknown(bytes.to_vec());
            return Progress::More;
        }
        let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes).trim_ascii_start();
        self.framing = match bytes.first() {
            None => Framing::Unknown(Vec::new()),
            Some(b'{' | b'[') => Framing::Document(Vec::new()),
            Some(_) => Framing::Events(Decoder::new(self.limits.event_bytes)),
        };
        self.read(bytes, sink)
    }

    fn read(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Progress {
        match &mut self.framing {
            Framing::Unknown(_) => {}
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
        if self.reader.is_over() {
            Progress::Over
        } else if self.reader.normalizer().finish_reason().is_some() {
            Progress::Finished
        } else {
            Progress::More
        }
    }

    /// Takes what is still held back, as no more bytes come. Returns what is wrong with the answer,
    /// if it is no whole one; then another upstream may be asked, as long as the client has not heard
    /// anything.
    pub fn close(&mut self, sink: &mut dyn Sink) -> Option<ErrorObject> {
        let (reader, turn) = (&mut self.reader, &mut self.turn);
        match std::mem::replace(&mut self.framing, Framing::Unknown(Vec::new())) {
            Framing::Unknown(_) => {}
            Framing::Events(mut decoder) => decoder.finish(|data| reader.data(data, turn, sink)),
            Framing::Document(document) => reader.document(&document, turn, sink),
        }
        reader.failure()
    }

    /// Whether the client has heard of nothing but the response itself.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.turn.is_blank()
    }

    /// Forgets what came: another answer begins, in another dialect perhaps. Nobody may have heard
    /// of the first one: see [`Self::is_blank`].
    pub fn begin_again(
        &mut self,
        tools: ToolMap,
        profile: &Profile,
        logprobs: bool,
        limits: Limits,
    ) {
        self.framing = Framing::Unknown(Vec::new());
        self.reader = reader(&tools, profile, logprobs, limits);
        self.turn.begin_again(tools);
        self.limits = limits;
    }

    /// Says that all is well.
    pub fn keepalive(&mut self, sink: &mut dyn Sink) {
        self.turn.keepalive(sink);
    }

    /// Whether the upstream has told token counts.
    #[must_use]
    pub fn has_usage(&self) -> bool {
        self.reader.normalizer().usage().is_some()
    }

    /// What was spent so far: what the upstream told, else what can be guessed. `asked` is the size of
    /// the request in bytes.
    #[must_use]
    pub fn spent(&self, asked: usize) -> Usage {
        let told = self.reader.normalizer().usage();
        let usage = told.unwrap_or_else(|| estimate(asked, self.turn.written()));
        usage.plus(self.spent)
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
        self.close(sink);
        let (reader, turn) = (&mut self.reader, &mut self.turn);
        reader.close(cause, turn, sink);
        let end = reader.end();
        let told = reader.normalizer().usage();
        let failed = matches!(end, End::Failed(_));
        let estimated = told.is_none() && !failed;
        let usage = told.or_else(|| estimated.then(|| estimate(asked, self.turn.written())));
        let usage = usage.map(|usage| usage.plus(self.spent));
        let healed = reader.normalizer().healed().to_vec();
        let mut outcome = self.turn.finish(end, usage, now, sink);
        outcome.healed = healed;
        (outcome, estimated)
    }
}

fn reader(tools: &ToolMap, profile: &Profile, logprobs: bool, limits: Limits) -> Reader {
    let mut normalizer = Normalizer::new(profile, logprobs);
    if let Some(plan) = tools.healing() {
        normalizer.heal(plan, limits.answer_bytes);
    }
    Reader::new(normalizer)
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

/// Token counts where the upstream gives none.
fn estimate(asked: usize, written: usize) -> Usage {
    Usage::new(estimate_tokens(asked), estimate_tokens(written), 0, 0, 0)
}
