//! JSON that is kept, read before it is complete, or brought into another shape.
//!
//! Most JSON that passes through is borrowed or stays raw: [`from_str`] and [`read()`] go over what is
//! not looked into, and [`Text`] and [`TextOr`] read strings without copying them. What is here beside
//! is for the rest: [`partial`] reads a field of an object that is still arriving, [`lenient`] reads
//! fields that may be anything, [`repair()`] mends what is not quite JSON, [`write_string`] writes
//! strings, [`tree`] holds a value that is to be rewritten, and [`schema`] brings the schema of a tool
//! to the subset that model servers
//! accept. Everything is pure, total and bounded in depth, since the input comes from models and
//! strangers.

mod decode;
mod edit;
pub mod lenient;
mod members;
pub mod partial;
mod read;
mod repair;
mod scan;
pub mod schema;
mod text;
mod text_or;
pub mod tree;
mod unescape;
mod word;
mod write;

pub use edit::{Edits, Object};
pub use members::Members;
pub use partial::{FieldDecoder, Finish};
pub(crate) use read::Known;
pub use read::{Spanned, as_text, from_raw, from_slice, from_str, is_json, read};
pub use repair::{lossy, repair, string_lossy};
pub use text::Text;
pub use text_or::TextOr;
pub use tree::Tree;
pub use write::write_string;
pub(crate) use write::{write_option, write_text, write_value};
