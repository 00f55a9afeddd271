//! The Chat Completions API as types: what we send to an upstream, and what it sends back. Serde
//! only.
//!
//! * [`request`]: the body of `POST …/chat/completions`, [`message`] its messages;
//! * [`chunk`]: what comes back, streamed or whole;
//! * [`error`]: the many shapes of an error body.

mod blank;
pub mod chunk;
pub mod error;
pub mod message;
pub mod request;
pub mod single;
#[cfg(test)]
mod tests;
mod usage;

pub use chunk::Chunk;
pub use message::Message;
pub use request::ChatRequest;
