//! Server-sent events: a push decoder for what upstreams send, a writer for what clients get.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, TooLong};
pub use encode::{DONE, write_event};
