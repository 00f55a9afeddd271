//! What operators can see of the program from outside: numbers at `/metrics`, and traces.
//!
//! [`Metrics`] is made once and handed down; it outlives every reload of the configuration. Rooms count
//! what happens in them, and nothing is asked of them while Prometheus reads, but for what is true at
//! that moment ([`Now`]).
//!
//! Labels are bounded: see [`Metrics::series`].

mod export;
mod histogram;
mod metrics;
mod names;
mod now;
mod process;
mod series;
#[cfg(test)]
mod tests;
pub mod trace;

pub use export::{ExportError, ExportSettings, Exporter};
pub use histogram::Tally;
pub use metrics::{Metrics, StoreWork, UnderWay};
pub use now::{ModelNow, Now, UpstreamNow};
pub use series::{Ended, Series, Tokens};
