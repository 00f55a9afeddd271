//! A small Chat Completions server with a script instead of a model, so that Antiphon can be tried
//! (and tested) on a machine where no model server runs.
//!
//! ```text
//! client ── /v1/responses ──▶ Antiphon ── /v1/chat/completions ──▶ this server
//! ```
//!
//! * `script` decides what is said: a pure function from the request to a list of steps.
//! * `result` puts the output of a tool into words.
//! * `upstream` says it the way a well-behaved server does, streamed or in one piece.
//! * `filler` makes values that fit a JSON schema, for structured output and tool arguments.
//!
//! The server only listens on the loopback interface and never runs anything itself. The one
//! command it asks clients to run prints a greeting, the working directory and its files.

mod filler;
mod result;
mod script;
mod upstream;

#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The only model the demo server offers.
pub const MODEL: &str = "antiphon-demo";

/// How fast the demo server streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The pause before each chunk but the first.
    pub between_chunks: Duration,
}

impl Pace {
    /// No pauses: for tests and benchmarks.
    pub const NONE: Self = Self {
        between_chunks: Duration::ZERO,
    };
}

impl Default for Pace {
    /// Slow enough that one sees the text arrive.
    fn default() -> Self {
        Self {
            between_chunks: Duration::from_millis(15),
        }
    }
}

/// A demo server that runs in the background. Dropping it stops the listener.
#[derive(Debug)]
pub struct DemoUpstream {
    base_url: String,
    task: JoinHandle<()>,
}

impl DemoUpstream {
    /// The base URL an upstream entry needs, such as `http://127.0.0.1:40123/v1`.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }
}

impl Drop for DemoUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the demo server on a free port of the loopback interface.
///
/// # Errors
/// When the port cannot be bound.
pub async fn spawn() -> io::Result<DemoUpstream> {
    spawn_paced(Pace::default()).await
}

/// Starts the demo server with another pace than the default one.
///
/// # Errors
/// When the port cannot be bound.
pub async fn spawn_paced(pace: Pace) -> io::Result<DemoUpstream> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let base_url = format!("http://{}/v1", listener.local_addr()?);
    let router = upstream::router(pace);
    let task = tokio::spawn(async move {
        // `axum::serve` retries failed accepts by itself and has no error of its own to report.
        let _ = axum::serve(listener, router).await;
    });
    Ok(DemoUpstream { base_url, task })
}
