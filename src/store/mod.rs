//! What outlives a request: responses, conversations, and work in the background.

mod types;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;

pub use types::{
    Conversation, Event, Item, Items, Job, Page, Place, Record, Settings, Status, StoreError,
    Swept, Turn,
};

/// A handle on the store, cheap to clone.
#[derive(Clone)]
pub struct Store(broadcast::Sender<Arc<str>>);
type R<T> = Result<T, StoreError>;
fn no<T>() -> R<T> {
    Err(StoreError::Unavailable {
        what: String::new(),
        why: "not built yet".to_owned(),
    })
}
#[expect(
    missing_docs,
    unused_variables,
    clippy::unused_async,
    clippy::needless_pass_by_value,
    reason = "signatures first"
)]
impl Store {
    pub async fn open(settings: Settings) -> R<Self> {
        Ok(Self(broadcast::channel(1).0))
    }
    pub async fn save(&self, record: Record, items: Vec<Item>) -> R<()> {
        no()
    }
    pub async fn response(&self, tenant: &str, id: &str) -> R<Option<Record>> {
        no()
    }
    pub async fn delete(&self, tenant: &str, id: &str) -> R<bool> {
        no()
    }
    pub async fn history(&self, tenant: &str, id: &str) -> R<Option<Vec<Turn>>> {
        no()
    }
    pub async fn turns(&self, tenant: &str, ids: &[String]) -> R<Vec<Turn>> {
        no()
    }
    pub async fn create_conversation(&self, conversation: Conversation, items: Vec<Item>) -> R<()> {
        no()
    }
    pub async fn conversation(&self, tenant: &str, id: &str) -> R<Option<Conversation>> {
        no()
    }
    pub async fn update_conversation(
        &self,
        tenant: &str,
        id: &str,
        metadata: Bytes,
    ) -> R<Option<Conversation>> {
        no()
    }
    pub async fn delete_conversation(&self, tenant: &str, id: &str) -> R<bool> {
        no()
    }
    pub async fn add_items(&self, tenant: &str, conversation: &str, items: Vec<Item>) -> R<bool> {
        no()
    }
    pub async fn items(&self, tenant: &str, conversation: &str, page: &Page) -> R<Option<Items>> {
        no()
    }
    pub async fn all_items(&self, tenant: &str, conversation: &str) -> R<Option<Vec<Item>>> {
        no()
    }
    pub async fn item(&self, tenant: &str, conversation: &str, item: &str) -> R<Option<Item>> {
        no()
    }
    pub async fn delete_item(&self, tenant: &str, conversation: &str, item: &str) -> R<bool> {
        no()
    }
    pub async fn enqueue(&self, record: Record, request: Bytes) -> R<()> {
        no()
    }
    pub async fn claim(&self, worker: &str, lease: Duration, limit: usize) -> R<Vec<Job>> {
        no()
    }
    pub async fn renew(&self, worker: &str, ids: &[String], lease: Duration) -> R<Vec<String>> {
        no()
    }
    pub async fn append_events(&self, worker: &str, id: &str, events: Vec<Event>) -> R<bool> {
        no()
    }
    pub async fn finish(
        &self,
        worker: &str,
        record: Record,
        items: Vec<Item>,
        events: Vec<Event>,
    ) -> R<bool> {
        no()
    }
    /// `last` is given the next free sequence number, and may be asked more than once.
    pub async fn cancel(
        &self,
        record: Record,
        last: impl Fn(u64) -> Vec<Event> + Send + Sync + 'static,
    ) -> R<bool> {
        no()
    }
    pub async fn lost(&self, limit: usize) -> R<Vec<Record>> {
        no()
    }
    /// `last` is given the next free sequence number, and may be asked more than once.
    pub async fn fail_lost(
        &self,
        record: Record,
        last: impl Fn(u64) -> Vec<Event> + Send + Sync + 'static,
    ) -> R<bool> {
        no()
    }
    pub async fn events(
        &self,
        tenant: &str,
        id: &str,
        after: Option<u64>,
        limit: usize,
    ) -> R<Vec<Event>> {
        no()
    }
    pub async fn last_sequence(&self, id: &str) -> R<Option<u64>> {
        no()
    }
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Arc<str>> {
        self.0.subscribe()
    }
    pub async fn sweep(&self) -> R<Swept> {
        no()
    }
    pub async fn ping(&self) -> R<()> {
        no()
    }
    pub async fn close(&self) {}
}
