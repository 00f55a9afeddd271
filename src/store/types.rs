//! What the store holds, in the API's own terms. Bodies are bytes here: nothing below reads them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;

use crate::telemetry::Metrics;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where things are kept.
    pub place: Place,
    /// The most connections that read at a time; for Postgres, the most connections.
    pub max_connections: u32,
    /// How long an operation may wait for a connection.
    pub acquire_timeout: Duration,
    /// How long an operation may take in all, the wait for a connection included.
    pub timeout: Duration,
    /// The most writes that may wait or run at a time; further ones end as [`StoreError::Full`].
    pub queue_length: usize,
    /// How old the newest response of a chain, or the newest change of a conversation, may be.
    pub max_age: Option<Duration>,
    /// How many bytes of bodies may be kept.
    pub max_bytes: Option<u64>,
    /// How often the store sweeps of its own accord; `None` for never.
    pub sweep_interval: Option<Duration>,
    /// Where operations are counted.
    pub metrics: Arc<Metrics>,
}

impl Settings {
    /// The usual settings for a place: no sweeping.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self {
            place,
            max_connections: 8,
            acquire_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            queue_length: 1024,
            max_age: None,
            max_bytes: None,
            sweep_interval: None,
            metrics: Arc::default(),
        }
    }
}

/// Where things are kept.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a file. It and its folder are made where they are missing.
    Sqlite(PathBuf),
    /// In a Postgres database, by its address. The address may hold a password.
    Postgres(SecretString),
    /// Nowhere: what is stored lives as long as the store.
    Memory,
}

/// Why an operation of the store failed. No text of it holds a password or a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The place cannot be reached or used now.
    #[error("the store {what} is not available: {why}")]
    Unavailable {
        /// The place, without a password.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// Too many writes are waiting.
    #[error("the store has too many writes waiting")]
    Full,
    /// The time limit has passed. A write may still happen.
    #[error("the store did not answer in time")]
    Timeout,
    /// There is something of this id already.
    #[error("there is `{0}` already")]
    Conflict(String),
    /// The cursor of a page names nothing in the list.
    #[error("there is no item `{0}` to page from")]
    UnknownCursor(String),
    /// The place holds what this version of the program does not understand.
    #[error("the store {what} cannot be used by this version: {why}")]
    Migration {
        /// The place, without a password.
        what: String,
        /// What is wrong.
        why: String,
    },
}

impl StoreError {
    /// Whether it is the store's own failure, and not an answer.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Conflict(_) | Self::UnknownCursor(_) => false,
            Self::Unavailable { .. } | Self::Full | Self::Timeout | Self::Migration { .. } => true,
        }
    }
}

/// How far a response has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Waits for its turn.
    Queued,
    /// Is being made.
    InProgress,
    /// Is whole.
    Completed,
    /// Was cut off.
    Incomplete,
    /// Broke.
    Failed,
    /// Was called off.
    Cancelled,
}

impl Status {
    /// The API's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// What the API's word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        const ALL: [Status; 6] = [
            Status::Queued,
            Status::InProgress,
            Status::Completed,
            Status::Incomplete,
            Status::Failed,
            Status::Cancelled,
        ];
        ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether nothing can follow it.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }
}

/// A response as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id: `resp_…`.
    pub id: String,
    /// Whose it is. Nobody else can see that it exists.
    pub tenant: String,
    /// The response that it continues.
    pub previous: Option<String>,
    /// The conversation that it belongs to.
    pub conversation: Option<String>,
    /// Unix time in seconds.
    pub created_at: u64,
    /// Whether it is made without a client waiting.
    pub background: bool,
    /// How far it has come.
    pub status: Status,
    /// The response object without its output.
    pub body: Bytes,
    /// A JSON array of its own input items, without those of the responses before it.
    pub input: Bytes,
    /// A JSON array of its output items.
    pub output: Bytes,
}

/// One response of a history: what went in, and what came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The response's id.
    pub id: String,
    /// How far it has come.
    pub status: Status,
    /// A JSON array of its own input items.
    pub input: Bytes,
    /// A JSON array of its output items.
    pub output: Bytes,
}

/// An item of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// The item, its id included.
    pub json: Bytes,
}

/// Which part of a conversation's items is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Only items behind this one, in the page's order.
    pub after: Option<String>,
    /// Only items in front of this one, in the page's order. Without `after` these are the nearest.
    pub before: Option<String>,
    /// The most items.
    pub limit: usize,
    /// The oldest first, or the newest.
    pub ascending: bool,
}

/// A page of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    /// The items in the page's order.
    pub items: Vec<Item>,
    /// Whether there are more in the direction of the page.
    pub has_more: bool,
}

/// A conversation without its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its id: `conv_…`.
    pub id: String,
    /// Whose it is. Nobody else can see that it exists.
    pub tenant: String,
    /// Unix time in seconds.
    pub created_at: u64,
    /// A JSON object.
    pub metadata: Bytes,
}

/// One event of a background response's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its `sequence_number`.
    pub sequence: u64,
    /// The event as it is sent.
    pub data: Bytes,
}

/// A background response that a worker has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The response, now in progress.
    pub record: Record,
    /// What its worker needs to make it, as it was enqueued.
    pub request: Bytes,
}

/// What a sweep has dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Responses.
    pub responses: u64,
    /// Conversations.
    pub conversations: u64,
    /// Bytes of bodies in both.
    pub bytes: u64,
}
