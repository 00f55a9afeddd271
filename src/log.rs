//! The log: lines for people on a terminal, JSON elsewhere. It goes to standard error.
//!
//! What must never be in it: keys, and, unless the configuration asks for it, what people and models
//! say to each other.

use std::io::{self, IsTerminal, Write};

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
    let terminal = io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    match json {
        true => lines
            .with_writer(io::stderr)
            .json()
            .flatten_event(true)
            // The request that a line belongs to, once.
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
        false => lines
            .with_writer(|| Margin(io::stderr()))
            .with_ansi(terminal)
            .compact()
            .boxed(),
    }
}

/// Begins all but the first line of an event with a margin: what clients and servers say may hold the ends of
/// lines, and what follows them must not look like an event. One write is one event.
struct Margin<W>(W);

impl<W: Write> Write for Margin<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        const MARGIN: &[u8] = b"\n    | ";
        let (text, end) = match event {
            [text @ .., b'\n'] => (text, &b"\n"[..]),
            text => (text, &b""[..]),
        };
        if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
        let mut lines = text.split(|byte| matches!(byte, b'\n' | b'\r'));
        let mut shown = lines.next().unwrap_or_default().to_vec();
        for line in lines {
            shown.extend_from_slice(MARGIN);
            shown.extend_from_slice(line);
        }
        shown.extend_from_slice(end);
        self.0.write_all(&shown)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `level` in `[log]`, or `RUST_LOG` where there is none, cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the log's level `{level}` (`level` in [log], or else RUST_LOG) is no filter: {error}")]
pub struct LogError {
    level: String,
    error: ParseError,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: &str) -> String {
        let mut margin = Margin(Vec::new());
        margin.write_all(event.as_bytes()).unwrap();
        String::from_utf8(margin.0).unwrap()
    }

    #[test]
    fn what_is_said_in_an_event_does_not_look_like_another_one() {
        assert_eq!(written("INFO all is well\n"), "INFO all is well\n");
        assert_eq!(
            written("WARN no model x\nINFO key=admin\r\n\n"),
            "WARN no model x\n    | INFO key=admin\n    | \n    | \n"
        );
    }
}
