//! Model servers: how one is asked, when it is asked again, and what its refusals mean.

mod answer;
mod asking;
mod body;
mod breaker;
mod client;
mod dialect;
mod direct;
mod health;
mod models;
mod pick;
mod refusal;
mod retry;
mod retry_after;
mod secrets;
mod site;
mod tokens;
mod way;

pub use answer::Answer;
pub(crate) use asking::millis;
pub use asking::{Asking, Question};
pub use breaker::{BreakerSettings, Standing, State};
pub use client::{ProxySetting, Settings, UPSTREAM_KEY, Upstream, UpstreamError, WireApi};
pub use dialect::{Dialect, DialectSettings};
pub use health::{ModelHealth, Trial};
pub use models::ModelInfo;
pub use pick::{Candidate, Strategy, order};
pub use refusal::{Fault, Kind, Refusal};
pub(crate) use retry::Retries;
pub use retry_after::RetryAfter;
pub use way::Tls;
