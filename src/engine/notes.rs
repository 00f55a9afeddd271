//! What translations left out, told once: a client sends the same tools with each request.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::translate::Note;

/// The most notes that are remembered. When there are more, all are told anew.
const MOST: usize = 1024;

/// The notes that the log has.
#[derive(Default)]
pub(super) struct Told(Mutex<HashSet<String>>);

impl Told {
    /// Logs a note: aloud if it is news of this upstream, else for those who look closely.
    pub(super) fn log(&self, response: &str, upstream: &str, note: &Note) {
        if self.is_news(format!("{upstream}: {note}")) {
            tracing::info!(response.id = %response, upstream = %upstream, "{note}");
        } else {
            tracing::debug!(response.id = %response, upstream = %upstream, "{note}");
        }
    }

    fn is_news(&self, note: String) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MOST && !told.contains(&note) {
            told.clear();
        }
        told.insert(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_news_once() {
        let told = Told::default();
        assert!(told.is_news("a".into()));
        assert!(told.is_news("b".into()));
        assert!(!told.is_news("a".into()));
    }

    #[test]
    fn not_more_is_remembered_than_there_is_room_for() {
        let told = Told::default();
        for n in 0..=MOST {
            assert!(told.is_news(n.to_string()));
        }
        assert!(!told.is_news(MOST.to_string()));
        assert!(told.is_news("0".into()));
        assert!(told.0.lock().unwrap().len() <= 2);
    }
}
