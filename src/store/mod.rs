//! What outlives a request: responses, conversations, and work in the background; in a SQLite
//! file, in Postgres, or in memory.
//!
//! Start at `ops/responses.rs`, which says how a history is found in one read. `types` is what is
//! kept, `place` opens the databases, `conn` is one connection to either, `work` brings operations
//! and connections together, `news` hears of what other processes do.
//!
//! Whose something is (its tenant) is a part of every question: what is another's looks like
//! nothing.

mod conn;
mod news;
mod ops;
mod place;
mod types;
mod work;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::DropGuard;

use ops::{background, conversations, items, responses, sweep};
use work::{Core, Pools};

pub use types::{
    Conversation, Event, Item, Items, Job, Page, Place, Record, Settings, Status, StoreError,
    Swept, Turn,
};

/// A handle on the store, cheap to clone. Every operation ends within the settings' time limit.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    keeping: Keeping,
    /// Ends the store's own tasks with the last handle.
    _stop: DropGuard,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.place()).finish()
    }
}

/// What a sweep leaves.
#[derive(Clone, Copy)]
struct Keeping {
    max_age: Option<Duration>,
    max_bytes: Option<u64>,
}

#[expect(
    clippy::missing_errors_doc,
    reason = "all fail alike: see `StoreError`; what else can go wrong is said"
)]
impl Store {
    /// Opens the place, making it where it is missing and bringing its tables up to date. Several
    /// replicas may do so at once.
    pub async fn open(settings: Settings) -> Result<Self, StoreError> {
        let opened = place::open(&settings).await?;
        let mark: Arc<str> = crate::ids::new_id().into();
        let core = Core::start(opened.what, opened.pools, &settings, Arc::clone(&mark));
        if let Some(options) = opened.listener {
            let ears = news::listen(options, mark, core.news.clone(), core.stop.clone());
            core.tasks.spawn(ears);
        }
        let keeping = Keeping {
            max_age: settings.max_age,
            max_bytes: settings.max_bytes,
        };
        if let Some(every) = settings.sweep_interval.filter(|every| !every.is_zero()) {
            core.tasks
                .spawn(sweep_forever(Arc::clone(&core), keeping, every));
        }
        let stop = core.stop.clone().drop_guard();
        Ok(Self {
            inner: Arc::new(Inner {
                core,
                keeping,
                _stop: stop,
            }),
        })
    }

    /// Where it keeps things, in words and without a password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.core().what
    }

    fn core(&self) -> &Core {
        &self.inner.core
    }

    /// Keeps a response that has ended, and appends `items` to its conversation if it has one (one
    /// that was deleted meanwhile stays deleted; items that it has already stay as they are). It
    /// is committed when this resolves. [`StoreError::Conflict`] if the id is taken.
    pub async fn save(&self, record: Record, items: Vec<Item>) -> Result<(), StoreError> {
        let save = responses::Save { record, items };
        self.core().write(save).await
    }

    /// A response.
    pub async fn response(&self, tenant: &str, id: &str) -> Result<Option<Record>, StoreError> {
        self.core().read(&responses::Get { tenant, id }).await
    }

    /// Erases a response, whatever its status. Says whether it was there. Those that continue it
    /// stay, but have no history any more.
    pub async fn delete(&self, tenant: &str, id: &str) -> Result<bool, StoreError> {
        let (tenant, id) = (tenant.to_owned(), id.to_owned());
        self.core().write(responses::Delete { tenant, id }).await
    }

    /// The chain of responses that ends in this one, the oldest first. `None` if it, or one that it
    /// builds on, is not there.
    pub async fn history(&self, tenant: &str, id: &str) -> Result<Option<Vec<Turn>>, StoreError> {
        self.core().read(&responses::History { tenant, id }).await
    }

    /// Those of the responses that are there, in any order.
    pub async fn turns(&self, tenant: &str, ids: &[String]) -> Result<Vec<Turn>, StoreError> {
        self.core().read(&responses::Turns { tenant, ids }).await
    }

    /// Begins a conversation. [`StoreError::Conflict`] if its id is taken, or an item's comes twice.
    pub async fn create_conversation(
        &self,
        conversation: Conversation,
        items: Vec<Item>,
    ) -> Result<(), StoreError> {
        let create = conversations::Create {
            conversation,
            items,
        };
        self.core().write(create).await
    }

    /// A conversation.
    pub async fn conversation(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<Conversation>, StoreError> {
        self.core().read(&conversations::Get { tenant, id }).await
    }

    /// Gives a conversation other metadata, and gives it back.
    pub async fn update_conversation(
        &self,
        tenant: &str,
        id: &str,
        metadata: Bytes,
    ) -> Result<Option<Conversation>, StoreError> {
        let update = conversations::Update {
            tenant: tenant.to_owned(),
            id: id.to_owned(),
            metadata,
        };
        self.core().write(update).await
    }

    /// Erases a conversation and its items. Says whether it was there.
    pub async fn delete_conversation(&self, tenant: &str, id: &str) -> Result<bool, StoreError> {
        let (tenant, id) = (tenant.to_owned(), id.to_owned());
        self.core()
            .write(conversations::Delete { tenant, id })
            .await
    }

    /// Appends items, all or none. Says whether the conversation is there.
    /// [`StoreError::Conflict`] if it has one of these ids already.
    pub async fn add_items(
        &self,
        tenant: &str,
        conversation: &str,
        items: Vec<Item>,
    ) -> Result<bool, StoreError> {
        let add = items::Add {
            tenant: tenant.to_owned(),
            conversation: conversation.to_owned(),
            items,
        };
        self.core().write(add).await
    }

    /// A page of a conversation's items. [`StoreError::UnknownCursor`] if the conversation has no
    /// such item as the page names.
    pub async fn items(
        &self,
        tenant: &str,
        conversation: &str,
        page: &Page,
    ) -> Result<Option<Items>, StoreError> {
        let list = items::List {
            tenant,
            conversation,
            page,
        };
        self.core().read(&list).await
    }

    /// All of a conversation's items, the oldest first.
    pub async fn all_items(
        &self,
        tenant: &str,
        conversation: &str,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        let all = items::All {
            tenant,
            conversation,
        };
        self.core().read(&all).await
    }

    /// One item.
    pub async fn item(
        &self,
        tenant: &str,
        conversation: &str,
        item: &str,
    ) -> Result<Option<Item>, StoreError> {
        let get = items::Get {
            tenant,
            conversation,
            item,
        };
        self.core().read(&get).await
    }

    /// Erases an item. Says whether it was there.
    pub async fn delete_item(
        &self,
        tenant: &str,
        conversation: &str,
        item: &str,
    ) -> Result<bool, StoreError> {
        let delete = items::Delete {
            tenant: tenant.to_owned(),
            conversation: conversation.to_owned(),
            item: item.to_owned(),
        };
        self.core().write(delete).await
    }

    /// Keeps a response that waits to be made, and what its worker needs for it.
    pub async fn enqueue(&self, record: Record, request: Bytes) -> Result<(), StoreError> {
        let enqueue = background::Enqueue { record, request };
        self.core().write(enqueue).await
    }

    /// Takes what waits, the oldest first. It is then in progress, and held by this worker, whose
    /// name no other process may have. A lease that passes lets others declare it [lost](Self::lost);
    /// it is never given to a second worker.
    pub async fn claim(
        &self,
        worker: &str,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Job>, StoreError> {
        if limit == 0 || !self.core().read(&background::Waiting).await? {
            return Ok(Vec::new());
        }
        let claim = background::Claim {
            worker: worker.to_owned(),
            lease,
            limit,
        };
        self.core().write(claim).await
    }

    /// Lengthens leases to `lease` from now. Gives those that the worker still holds: the others
    /// were cancelled, deleted or declared lost.
    pub async fn renew(
        &self,
        worker: &str,
        ids: &[String],
        lease: Duration,
    ) -> Result<Vec<String>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let renew = background::Renew {
            worker: worker.to_owned(),
            ids: ids.to_vec(),
            lease,
        };
        self.core().write(renew).await
    }

    /// Writes events down. Those whose number is written already stay as they are, so that this can
    /// be asked again. `false` if the worker does not hold the response any more.
    pub async fn append_events(
        &self,
        worker: &str,
        id: &str,
        events: Vec<Event>,
    ) -> Result<bool, StoreError> {
        let append = background::Append {
            worker: worker.to_owned(),
            id: id.to_owned(),
            events,
        };
        self.core().write(append).await
    }

    /// Ends a response: its last events, its items for the conversation, and itself, all or nothing.
    /// `false` if the worker does not hold it any more.
    pub async fn finish(
        &self,
        worker: &str,
        record: Record,
        items: Vec<Item>,
        events: Vec<Event>,
    ) -> Result<bool, StoreError> {
        let finish = background::Finish {
            worker: worker.to_owned(),
            record,
            items,
            events,
        };
        self.core().write(finish).await
    }

    /// Ends a response that waits or is in progress, whoever holds it. `last` makes its last events
    /// out of the next free sequence number; it may be called more than once. `false` if the
    /// response has ended already.
    pub async fn cancel(
        &self,
        record: Record,
        last: impl Fn(u64) -> Vec<Event> + Send + Sync + 'static,
    ) -> Result<bool, StoreError> {
        let stop = background::Stop {
            record,
            last: Box::new(last),
            lost: false,
        };
        self.core().write(stop).await
    }

    /// Responses in progress whose lease has passed, by the database's clock.
    pub async fn lost(&self, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.core().read(&background::Lost { limit }).await
    }

    /// Like [`cancel`](Self::cancel) for a response that is still lost. `false` if it is not.
    pub async fn fail_lost(
        &self,
        record: Record,
        last: impl Fn(u64) -> Vec<Event> + Send + Sync + 'static,
    ) -> Result<bool, StoreError> {
        let stop = background::Stop {
            record,
            last: Box::new(last),
            lost: true,
        };
        self.core().write(stop).await
    }

    /// A response's events behind the one with this number, in their order.
    pub async fn events(
        &self,
        tenant: &str,
        id: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let events = background::Events {
            tenant,
            id,
            after,
            limit,
        };
        self.core().read(&events).await
    }

    /// The number of a response's last event.
    pub async fn last_sequence(&self, id: &str) -> Result<Option<u64>, StoreError> {
        self.core().read(&background::LastSequence { id }).await
    }

    /// The ids of background responses with news (queued, events, the end), from here and, with
    /// Postgres, from the other replicas. Some may be missed, so look now and then anyway.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Arc<str>> {
        self.core().news.subscribe()
    }

    /// Drops what is too old, and the oldest while there is too much.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        sweep(self.core(), self.inner.keeping).await
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.core().read(&background::Waiting).await.map(drop)
    }

    /// Ends what waits, and leaves the database in order. Operations fail from here on.
    pub async fn close(&self) {
        let core = self.core();
        core.stop.cancel();
        core.tasks.close();
        let limit = core.timeout;
        // A dead database must not hold up the end of the program.
        let _ = tokio::time::timeout(limit, core.tasks.wait()).await;
        let pools = async {
            match &core.pools {
                Pools::Sqlite {
                    readers, writer, ..
                } => {
                    readers.close().await;
                    writer.close().await;
                }
                Pools::Postgres(pool) => pool.close().await,
            }
        };
        let _ = tokio::time::timeout(limit, pools).await;
    }
}

async fn sweep(core: &Core, keeping: Keeping) -> Result<Swept, StoreError> {
    let mut all = Swept::default();
    if keeping.max_age.is_none() && keeping.max_bytes.is_none() {
        return Ok(all);
    }
    loop {
        let (swept, more) = core
            .write(sweep::Sweep {
                max_age: keeping
                    .max_age
                    .map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)),
                max_bytes: keeping
                    .max_bytes
                    .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            })
            .await?;
        all.responses += swept.responses;
        all.conversations += swept.conversations;
        all.bytes += swept.bytes;
        if !more {
            break;
        }
    }
    while core.write(sweep::GiveBack).await? {}
    Ok(all)
}

/// Sweeps at once and then now and then, until the store is closed.
async fn sweep_forever(core: Arc<Core>, keeping: Keeping, every: Duration) {
    let sweeps = async {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match sweep(&core, keeping).await {
                Ok(swept) if swept == Swept::default() => {}
                Ok(swept) => tracing::info!(
                    responses = swept.responses,
                    conversations = swept.conversations,
                    bytes = swept.bytes,
                    "old entries of the store were dropped"
                ),
                Err(error) => tracing::warn!(%error, "the store could not be swept"),
            }
        }
    };
    core.stop.run_until_cancelled(sweeps).await;
}
