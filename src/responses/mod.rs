//! The Responses API as types: what a client sends, and what it is sent. Serde only.
//!
//! * [`request`]: the body of `POST /v1/responses`;
//! * [`input`]: its items, [`content`] their parts, [`tool`] its tools;
//! * [`item`]: the items of an answer; [`event`] the events that announce them;
//! * [`response`]: the response object; [`usage`], [`error`] what it holds;
//! * [`kept`]: items as a store keeps them; [`replay`]: their events, made again.

pub mod content;
pub mod error;
pub mod event;
pub mod input;
pub mod item;
pub mod kept;
pub mod replay;
pub mod request;
pub mod response;
pub mod tool;
pub mod usage;

pub use content::Part;
pub use error::ErrorObject;
pub use event::ResponseEvent;
pub use input::InputItem;
pub use item::OutputItem;
pub use request::CreateResponse;
pub use tool::Tool;
pub use usage::Usage;
