//! What becomes of a response that is over: it is stored, and its connection remembers it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::background::Held;
use super::caller::Lane;
use crate::responses::kept::KeptList;
use crate::responses::{ErrorObject, OutputItem};
use crate::store::{Item, Record, Status, Store, StoreError, Turn};
use crate::translate::{Ending, Outcome};
use crate::upstream::{Refusal, RetryAfter};

/// How many responses are remembered that the store did not take.
const MAX_UNKEPT: usize = 1024;

/// Responses that the store did not take, the latest of them.
#[derive(Debug, Default)]
pub(super) struct Unkept(Mutex<VecDeque<String>>);

impl Unkept {
    fn add(&self, id: String) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= MAX_UNKEPT {
            ids.pop_front();
        }
        ids.push_back(id);
    }

    /// What a client is told who asks for one of them.
    pub(super) fn reason(&self, id: &str) -> &'static str {
        let ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match ids.iter().any(|known| known == id) {
            true => " It was made, but the store failed to keep it.",
            false => "",
        }
    }
}

/// Where responses are kept, and what goes with it: the same for all engines of a process.
#[derive(Clone, Default)]
pub struct Kept {
    pub(super) store: Option<Store>,
    /// Background responses that this process makes.
    pub(super) held: Arc<Held>,
    pub(super) unkept: Arc<Unkept>,
}

impl Kept {
    /// Keeps in this store; without one nothing is kept.
    #[must_use]
    pub fn new(store: Option<Store>) -> Self {
        Self {
            store,
            ..Self::default()
        }
    }
}

/// How a response is kept.
#[derive(Clone)]
pub(super) struct Keeping {
    pub(super) store: Option<Store>,
    pub(super) lane: Option<Lane>,
    pub(super) tenant: String,
    pub(super) previous: Option<String>,
    pub(super) conversation: Option<String>,
    /// Whether the response itself is stored, or its items in their conversation alone.
    pub(super) stores: bool,
    pub(super) background: bool,
    /// Its own input.
    pub(super) input: KeptList,
    /// What it continues, for a connection to remember.
    pub(super) history: Vec<Turn>,
    pub(super) unkept: Arc<Unkept>,
}

impl Keeping {
    /// Keeps a response. A store that fails takes nothing from the client: it is logged.
    pub(super) async fn keep(mut self: Box<Self>, outcome: Outcome) {
        let (record, items) = self.record(outcome);
        if let Some(lane) = &self.lane
            && matches!(record.status, Status::Completed | Status::Incomplete)
        {
            let mut turns = self.history;
            turns.push(Turn {
                id: record.id.clone(),
                status: record.status,
                input: record.input.clone(),
                output: record.output.clone(),
            });
            lane.remember(turns);
        }
        let Some(store) = &self.store else { return };
        let id = record.id.clone();
        let kept = match (self.stores, &self.conversation) {
            (true, _) => store.save(record, items).await,
            (false, Some(conversation)) => {
                let added = store.add_items(&self.tenant, conversation, items).await;
                added.map(|_| ())
            }
            (false, None) => Ok(()),
        };
        if let Err(error) = kept {
            tracing::error!(response.id = %id, %error, "the response is not stored");
            self.unkept.add(id);
        }
    }

    /// What is stored of a response, and what is added to its conversation.
    pub(super) fn record(&mut self, outcome: Outcome) -> (Record, Vec<Item>) {
        let mut body = Vec::new();
        outcome.response().write_without_output(&mut body);
        let status = match &outcome.ending {
            Ending::Completed(_) => Status::Completed,
            Ending::Incomplete(_) => Status::Incomplete,
            Ending::Failed(_) => Status::Failed,
        };
        let input = std::mem::take(&mut self.input);
        let output = keep_output(outcome.output);
        let items = match (&self.conversation, status) {
            (Some(_), Status::Completed | Status::Incomplete) => {
                input.iter().chain(output.iter()).map(item).collect()
            }
            _ => Vec::new(),
        };
        let record = Record {
            id: outcome.head.id,
            tenant: self.tenant.clone(),
            previous: self.previous.clone(),
            conversation: self.conversation.clone(),
            created_at: outcome.head.created_at,
            background: self.background,
            status,
            body: Bytes::from(body),
            input: Bytes::from(input.into_json()),
            output: Bytes::from(output.into_json()),
        };
        (record, items)
    }
}

fn keep_output(output: Vec<OutputItem>) -> KeptList {
    let mut kept = KeptList::default();
    for item in output {
        kept.push(item.id().to_owned(), |_, out| item.for_store().write(out));
    }
    kept
}

/// An item as a conversation takes it.
pub(super) fn item((id, json): (&str, &[u8])) -> Item {
    Item {
        id: id.to_owned(),
        json: Bytes::copy_from_slice(json),
    }
}

/// What a client is told when the store fails it.
pub(super) fn unavailable(error: &StoreError) -> Refusal {
    match error {
        StoreError::UnknownCursor(id) => {
            let message = format!("No item with id '{id}' found to page from.");
            return Refusal::bad_request(ErrorObject::invalid(message).with_param("after"));
        }
        StoreError::Conflict(id) => {
            let message = format!("There is an item with id '{id}' already.");
            let error = ErrorObject::invalid(message).with_param("items");
            return Refusal::bad_request(error.with_code("invalid_value"));
        }
        _ => tracing::error!(%error, "the store failed"),
    }
    let message = "What is stored cannot be had now; try again.";
    Refusal {
        retry_after: Some(RetryAfter::seconds(2)),
        passing: true,
        ..Refusal::new(
            503,
            ErrorObject::server(message).with_code("store_unavailable"),
        )
    }
}
