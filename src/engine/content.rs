//! What people and models say to each other, in the log: only where the configuration asks for it.

/// The most bytes of one text that are logged.
const MOST: usize = 64 * 1024;

/// Logs a text.
pub(super) fn log(what: &'static str, response: &str, text: &[u8]) {
    let shown = text.get(..MOST).unwrap_or(text);
    tracing::info!(
        response.id = %response,
        what,
        bytes = text.len(),
        content = %String::from_utf8_lossy(shown),
        "content"
    );
}
