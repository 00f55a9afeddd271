//! JSON that is kept, read before it is complete, or brought into another shape.
//!
//! Most JSON that passes through is borrowed or stays raw. What is here is for the rest:
//! [`Text`] and [`TextOr`] read strings without copying them, [`partial`] reads a field of an
//! object that is still arriving, [`lenient`] reads fields that may be anything, [`repair()`] mends
//! what is not quite JSON, [`write_string`] writes the strings of deltas, [`tree`] holds a value that
//! is to be rewritten, and [`schema`] brings the schema of a tool to the subset that model servers
//! accept. Everything is pure, total and bounded in depth, since the input comes from models and
//! strangers.

mod edit;
pub mod lenient;
pub mod partial;
mod repair;
pub mod schema;
mod text;
mod text_or;
pub mod tree;
mod unescape;
mod write;

pub use edit::{Edits, Object};
pub use partial::{FieldDecoder, Finish};
pub use repair::{lossy, repair, string_lossy};
pub use text::Text;
pub use text_or::TextOr;
pub use tree::Tree;
pub use write::write_string;
