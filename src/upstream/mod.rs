//! Model servers: how one is asked, when it is asked again, and what its refusals mean.

mod asking;
mod body;
mod client;
mod direct;
mod models;
mod refusal;
mod retry;
mod retry_after;
mod secrets;
mod tokens;

pub use asking::Asking;
pub(crate) use asking::millis;
pub use body::{Body, BodyError};
pub use client::{Settings, Tls, Upstream, UpstreamError};
pub use models::ModelInfo;
pub use refusal::Refusal;
pub use retry_after::RetryAfter;
