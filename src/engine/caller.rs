//! Who asks, and what their connection remembers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use crate::admission::{Key, Permit};
use crate::store::Turn;
use crate::telemetry::trace::TraceContext;

/// Who asks.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Whose responses these are: nobody else sees them. Empty for those who give no key.
    pub tenant: String,
    /// The profile that it picks.
    pub profile: Option<String>,
    /// The client's own key for an upstream, in the headers that it came in.
    pub keys: HeaderMap,
    /// The trace that it brings.
    pub trace: TraceContext,
    /// The key that it was let in with, if it needed one.
    pub key: Option<Arc<Key>>,
    /// Its leave for this request, where requests are counted.
    pub permit: Option<Arc<Permit>>,
    /// The lane of a connection that remembers its latest response, stored or not.
    pub lane: Option<Lane>,
}

/// What a connection remembers: of each lane the latest response, with all that led to it.
#[derive(Debug, Default)]
pub struct Session {
    lanes: Mutex<HashMap<String, Vec<Turn>>>,
}

/// One lane of a connection: responses that follow each other.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The connection.
    pub session: Arc<Session>,
    /// The lane's name; empty for the one without.
    pub name: String,
}

impl Lane {
    /// The history that ends with the response, if some lane of the connection remembers it.
    pub(super) fn history(&self, id: &str) -> Option<Vec<Turn>> {
        let lanes = self.lock();
        let ends = |turns: &&Vec<Turn>| turns.last().is_some_and(|turn| turn.id == id);
        lanes.values().find(ends).cloned()
    }

    /// Remembers a history, and forgets the lane's last one.
    pub(super) fn remember(&self, turns: Vec<Turn>) {
        self.lock().insert(self.name.clone(), turns);
    }

    /// Forgets the response if it is this lane's latest: what was to follow it failed.
    pub fn forget(&self, id: &str) {
        let mut lanes = self.lock();
        let is_latest = lanes
            .get(&self.name)
            .and_then(|turns| turns.last())
            .is_some_and(|turn| turn.id == id);
        if is_latest {
            lanes.remove(&self.name);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Turn>>> {
        // Nothing panics while it is held.
        self.session
            .lanes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
