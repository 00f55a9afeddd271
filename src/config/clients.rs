//! Who may ask, and how much: `[auth]`, `[[keys]]`, `[limits]` and `[cors]`.

use std::path::PathBuf;
use std::time::Duration;

use crate::key::KeyHash;

/// `[auth]` and `[[keys]]`: who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// Whether a key is asked for.
    pub need_key: bool,
    /// The file with more keys.
    pub keys_file: Option<PathBuf>,
    /// The keys of all sources, names and hashes each only once.
    pub keys: Vec<ClientKey>,
}

/// `[[keys]]`: one client's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKey {
    /// Its name, by which its counters go on when the configuration changes.
    pub name: String,
    /// What its secret is known by.
    pub hash: KeyHash,
    /// Whose what is stored is.
    pub tenant: String,
    /// Patterns of the models' names that it may ask for.
    pub models: Vec<String>,
    /// The longest body of its requests, where that is shorter than the server's.
    pub max_body_bytes: Option<usize>,
    /// What it may have.
    pub rates: Rates,
}

/// What a key may have, or all clients together; `None` has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Responses under way.
    pub max_streams: Option<usize>,
    /// Requests in a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens in a minute, read and written.
    pub tokens_per_minute: Option<u64>,
    /// How long one response may take.
    pub max_stream: Option<Duration>,
}

/// `[limits]`: what there is for all clients together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many responses and how much a minute.
    pub rates: Rates,
    /// The most requests that wait for a place.
    pub max_queue: usize,
    /// How long they wait.
    pub queue_timeout: Duration,
    /// The most bytes of requests that are read and not yet dealt with.
    pub max_bodies_bytes: usize,
    /// How late the process may be before new work is turned away; `None` for any.
    pub max_lag: Option<Duration>,
}

/// `[cors]`: which web pages may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Their origins; `*` stands for all.
    pub allow_origins: Vec<String>,
    /// The headers that they may send; `*` stands for all.
    pub allow_headers: Vec<String>,
    /// How long a browser may remember the answer.
    pub max_age: Duration,
}
