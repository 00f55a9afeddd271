//! The log: lines for people on a terminal, JSON elsewhere. It goes to standard error.
//!
//! What must never be in it: keys, and what people and models say to each other.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};

/// Begins to log.
///
/// # Errors
/// A filter that cannot be read.
pub fn init(settings: &Log) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|error| LogError {
        level: settings.level.clone(),
        error,
    })?;
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber can only be a test's; the first one stays.
    let _ = match json {
        true => builder
            .json()
            .flatten_event(true)
            // The request that a line belongs to, once.
            .with_current_span(true)
            .with_span_list(false)
            .with_target(false)
            .try_init(),
        false => builder
            .with_ansi(terminal)
            .with_target(false)
            .compact()
            .try_init(),
    };
    Ok(())
}

/// `[log] level` cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("[log] level `{level}` is no filter: {error}")]
pub struct LogError {
    level: String,
    error: ParseError,
}
