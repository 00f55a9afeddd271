//! Model servers: how one is asked, when it is asked again, and what its refusals mean.

mod client;
mod models;
mod refusal;
mod retry;

pub use client::{Settings, Upstream, UpstreamError, build_tls};
pub use models::ModelInfo;
pub use refusal::Refusal;
