//! The log: lines for people on a terminal, JSON elsewhere. It goes to standard error.
//!
//! What must never be in it: keys, and, unless the configuration asks for it, what people and models
//! say to each other.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use crate::telemetry::{Exporter, trace};

/// Begins to log, and to hand spans over to whoever collects traces.
///
/// # Errors
/// A filter that cannot be read.
pub fn init(settings: &Log, traces: Option<&Exporter>) -> Result<(), LogError> {
    let unreadable = |error| LogError {
        level: settings.level.clone(),
        error,
    };
    let filter = EnvFilter::try_new(&settings.level).map_err(unreadable)?;
    // The spans of traces are not the log's.
    let no_traces = format!("{}=off", trace::TARGET);
    let filter = filter.add_directive(no_traces.parse().map_err(unreadable)?);
    // A second subscriber can only be a test's; the first one stays.
    let _ = match traces {
        None => tracing_subscriber::registry()
            .with(filter)
            .with(lines(settings.format))
            .try_init(),
        // Each has a filter of its own, which costs a little more.
        Some(traces) => tracing_subscriber::registry()
            .with(lines(settings.format).with_filter(filter))
            .with(traces.layer())
            .try_init(),
    };
    Ok(())
}

/// What writes the lines.
fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    match json {
        true => lines
            .json()
            .flatten_event(true)
            // The request that a line belongs to, once.
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
        false => lines.with_ansi(terminal).compact().boxed(),
    }
}

/// `level` in `[log]`, or `RUST_LOG` where there is none, cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the log's level `{level}` (`level` in [log], or else RUST_LOG) is no filter: {error}")]
pub struct LogError {
    level: String,
    error: ParseError,
}
