//! The core: Responses to Chat and back. Pure, synchronous, total.
//!
//! ```text
//! CreateResponse ── request::lower ──▶ ChatRequest (+ ToolMap, to find the way back)
//!
//! bytes ── sse::Decoder ─▶ data ── chat::Chunk ─▶ Normalizer ── ChatEvent ─▶ Turn ── ResponseEvent ─▶ Sink
//!                                                 quirks end here            order is made here
//! ```
//!
//! [`Pipeline`] is the second line in one piece: bytes are pushed in as they come, events come out.
//! A blocking answer takes the same way: a whole completion enters the [`Normalizer`] as one big
//! chunk, and a sink that listens to nothing leaves the response object at the end.
//!
//! Nothing in here knows a clock, a socket, a source of randomness or an upstream's name: ids and
//! time are handed in, habits are [`crate::profile::Profile`] fields.

mod carry;
pub mod compaction;
mod details;
mod dialect;
mod event;
pub mod fault;
mod format;
mod heal;
mod input;
mod item;
mod likeness;
mod names;
mod normalize;
mod note;
mod pipeline;
mod prompt;
mod reader;
mod request;
mod sink;
#[cfg(test)]
mod tests;
mod think;
mod tokens;
mod toolcalls;
mod tools;
mod truncate;
mod turn;

pub use carry::{Carry, CarryField, Seal, Seals};
pub use event::{ChatEvent, FinishReason};
pub use heal::Healed;
pub use normalize::Normalizer;
pub use note::Note;
pub use pipeline::{Limits, Pipeline, Progress};
pub use request::{LowerError, Lowered, LoweringOptions, lower};
pub use sink::{Bytes, Ignore, Sink};
pub use tokens::{count_chat_tokens, estimate_tokens, text_bytes};
pub use tools::ToolMap;
pub use turn::{End, Ending, Outcome, Sealing, Thinking, Turn, TurnContext};
