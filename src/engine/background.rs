//! Responses that are made without a client: the store is their queue, any replica makes them.
//!
//! A replica holds what it makes by a lease that it renews. What is held by nobody any more, because
//! its replica died, ends as failed: it is not made a second time, as a client may have seen half.

mod work;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::frames;
use super::keep::{Keeping, Kept, unavailable};
use super::prepare::Prepared;
use super::{Engine, Reply};
use crate::admission::Permit;
use crate::closing::Closing;
use crate::responses::response::{Response, State};
use crate::responses::{ErrorObject, kept, replay};
use crate::store::{Event, Job, Record, Status, Store};
use crate::telemetry::trace::{self, TraceContext};
use crate::upstream::Refusal;
use work::Work;

/// Events that a follower makes up itself: that the response was created and that it was queued.
pub(super) const ANNOUNCED: u64 = 2;
/// How often work of other replicas is looked for.
const POLL: Duration = Duration::from_secs(1);
/// The least time between two looks, however much happens.
const LEAST_POLL: Duration = Duration::from_millis(50);
/// How many lost responses are ended at a time.
const LOST_AT_A_TIME: usize = 32;

/// How background work is done.
#[derive(Debug, Clone, Copy)]
pub struct BackgroundSettings {
    /// How many responses this process makes at a time.
    pub concurrency: usize,
    /// How long a replica may be silent before what it holds is lost.
    pub lease: Duration,
}

/// What this process makes, by id, each with the word to stop.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashMap<String, CancellationToken>>);

impl Held {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, CancellationToken>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn add(&self, id: &str) -> CancellationToken {
        let token = CancellationToken::new();
        self.lock().insert(id.to_owned(), token.clone());
        token
    }

    fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Stops the work on a response, if this process does it.
    pub(super) fn stop(&self, id: &str) {
        if let Some(token) = self.lock().get(id) {
            token.cancel();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// Lets go of a response when it is dropped.
struct Hold {
    held: Arc<Held>,
    id: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.remove(&self.id);
    }
}

impl Engine {
    /// Takes a request in for later.
    pub(super) async fn enqueue(
        &self,
        prepared: Box<Prepared>,
        body: Bytes,
    ) -> Result<Reply, Refusal> {
        let Prepared {
            context,
            keeping,
            stream,
            ..
        } = *prepared;
        let (Some(keeping), Some(store)) = (keeping, &self.kept.store) else {
            let error = ErrorObject::server("background work needs a store");
            return Err(Refusal::new(500, error));
        };
        let queued = Response {
            head: &context.head,
            state: State::Queued,
            output: &[],
            usage: None,
        };
        let record = queued_record(&queued, *keeping);
        let (id, tenant) = (record.id.clone(), record.tenant.clone());
        store
            .enqueue(record, body)
            .await
            .map_err(|error| unavailable(&error))?;
        tracing::info!(response.id = %id, model = %context.head.model, "queued");
        if stream {
            return Ok(Reply::Follow(self.follow(store, tenant, id, None)));
        }
        let mut json = Vec::new();
        queued.write(&mut json);
        Ok(Reply::Whole(json))
    }
}

fn queued_record(queued: &Response<'_>, keeping: Keeping) -> Record {
    let mut body = Vec::new();
    queued.write_without_output(&mut body);
    Record {
        id: queued.head.id.clone(),
        tenant: keeping.tenant,
        previous: keeping.previous,
        conversation: keeping.conversation,
        created_at: queued.head.created_at,
        background: true,
        status: Status::Queued,
        body: Bytes::from(body),
        input: Bytes::from(keeping.input.into_json()),
        output: Bytes::from_static(b"[]"),
    }
}

/// Does background work until it is told to end.
pub struct Worker {
    /// What a response that begins now is made by.
    engine: Box<dyn Fn() -> Arc<Engine> + Send + Sync>,
    /// Leave for the work of a tenant.
    permit: Box<dyn Fn(&str) -> Permit + Send + Sync>,
    kept: Kept,
    store: Store,
    settings: BackgroundSettings,
    name: String,
    tasks: TaskTracker,
}

impl Worker {
    /// A worker, if the engine has a store. `name` is one that no other has.
    #[must_use]
    pub fn new(
        engine: impl Fn() -> Arc<Engine> + Send + Sync + 'static,
        permit: impl Fn(&str) -> Permit + Send + Sync + 'static,
        settings: BackgroundSettings,
        name: String,
    ) -> Option<Self> {
        let kept = engine().kept.clone();
        Some(Self {
            engine: Box::new(engine),
            permit: Box::new(permit),
            store: kept.store.clone()?,
            kept,
            settings,
            name,
            tasks: TaskTracker::new(),
        })
    }

    /// Works until the process is to end, then lets running work end, until that is cut off.
    pub async fn run(self, closing: Closing) {
        let stop = closing.draining();
        let mut changes = self.store.changes();
        let care = self.care();
        let claim = async {
            // Taking is not broken off: what is taken and not begun would be lost.
            while !stop.is_cancelled() {
                self.claim().await;
                tokio::select! {
                    () = tokio::time::sleep(POLL) => {}
                    _ = changes.recv() => tokio::time::sleep(LEAST_POLL).await,
                    () = stop.cancelled() => {}
                }
            }
        };
        tokio::select! {
            () = claim => {}
            () = care => {}
        }
        self.end(&closing).await;
    }

    async fn end(&self, closing: &Closing) {
        self.tasks.close();
        let mut watch = closing.watch();
        // Leases are renewed as long as work goes on.
        tokio::select! {
            () = self.tasks.wait() => return,
            () = self.care() => {}
            () = watch.over() => {}
        }
        // Each is told by itself, and has its end to store.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await;
    }

    /// Takes queued work, as much as there is room for.
    async fn claim(&self) {
        let free = self
            .settings
            .concurrency
            .saturating_sub(self.kept.held.len());
        if free == 0 {
            return;
        }
        match self
            .store
            .claim(&self.name, self.settings.lease, free)
            .await
        {
            Ok(jobs) => jobs.into_iter().for_each(|job| self.begin(job)),
            Err(error) => tracing::error!(%error, "queued responses cannot be taken"),
        }
    }

    fn begin(&self, job: Job) {
        let stop = self.kept.held.add(&job.record.id);
        let work = Work {
            engine: (self.engine)(),
            permit: Arc::new((self.permit)(&job.record.tenant)),
            store: self.store.clone(),
            worker: self.name.clone(),
            record: job.record,
            stop,
        };
        let trace = trace::of_work("background response", &TraceContext::default());
        let trace_id = trace::trace_id(&trace);
        let id = format!("req_{}", kept::digits_of(&work.record.id));
        let span = tracing::error_span!(parent: trace.id(), "background", %id, trace_id);
        let work = async move {
            // However the work ends: what is held on to is never lost, and never ends.
            let _hold = Hold {
                held: Arc::clone(&work.engine.kept.held),
                id: work.record.id.clone(),
            };
            work.run(job.request).await;
        };
        self.tasks.spawn(work.instrument(span));
    }

    /// Renews leases, and ends what is held by nobody any more: side by side, as the many responses of a
    /// replica that died take longer to end than a lease lasts.
    async fn care(&self) {
        let every = (self.settings.lease / 4).clamp(Duration::from_millis(50), POLL);
        let leases = async {
            loop {
                let held = self.kept.held.ids();
                if !held.is_empty() {
                    self.renew(&held).await;
                }
                tokio::time::sleep(every).await;
            }
        };
        let lost = async {
            loop {
                self.end_lost().await;
                tokio::time::sleep(every).await;
            }
        };
        tokio::join!(leases, lost);
    }

    async fn renew(&self, held: &[String]) {
        match self
            .store
            .renew(&self.name, held, self.settings.lease)
            .await
        {
            Ok(still) => {
                for id in held.iter().filter(|id| !still.contains(id)) {
                    tracing::info!(response.id = %id, "called off, or taken away");
                    self.kept.held.stop(id);
                }
            }
            Err(error) => tracing::error!(%error, "leases cannot be renewed"),
        }
    }

    async fn end_lost(&self) {
        let lost = match self.store.lost(LOST_AT_A_TIME).await {
            Ok(lost) => lost,
            Err(error) => {
                tracing::error!(%error, "lost responses cannot be looked for");
                return;
            }
        };
        for record in lost {
            let message = "The server that worked on this response stopped; it was not finished.";
            let error = ErrorObject::server(message).with_code("worker_lost");
            let id = record.id.clone();
            let output = (self.engine)().partial_output(&record).await;
            let record = ended(record, Status::Failed, Some(&error), output);
            let last = last_event(&record);
            match self.store.fail_lost(record, last).await {
                Ok(true) => tracing::warn!(response.id = %id, "the worker was lost"),
                Ok(false) => {}
                Err(error) => tracing::error!(response.id = %id, %error, "cannot be ended"),
            }
        }
    }
}

impl Engine {
    /// The items of a background response that were whole so far.
    pub(super) async fn partial_output(&self, record: &Record) -> Bytes {
        #[derive(serde::Deserialize)]
        struct Done<'a> {
            #[serde(borrow)]
            item: &'a serde_json::value::RawValue,
        }

        let Some(store) = &self.kept.store else {
            return record.output.clone();
        };
        let mut items: Vec<String> = Vec::new();
        let mut after = None;
        while let Ok(events) = store.events(&record.tenant, &record.id, after, 500).await {
            let Some(last) = events.last() else { break };
            after = Some(last.sequence);
            for event in &events {
                const HEAD: &[u8] = b"event: response.output_item.done\ndata: ";
                let done = event.data.strip_prefix(HEAD);
                let done: Option<Done<'_>> =
                    done.and_then(|json| serde_json::from_slice(json).ok());
                items.extend(done.map(|done| done.item.get().to_owned()));
            }
        }
        Bytes::from(kept::list(items.iter().map(String::as_str)))
    }
}

/// A record of a response that came to an end before it was whole.
pub(super) fn ended(
    record: Record,
    status: Status,
    error: Option<&ErrorObject>,
    output: Bytes,
) -> Record {
    Record {
        body: Bytes::from(kept::ended(&record.body, status.as_str(), error)),
        status,
        output,
        ..record
    }
}

/// The event that ends the stream of such a response; and, where it came to its end before its
/// beginning, the one that says that it began, without which no stream is whole.
pub(super) fn last_event(record: &Record) -> impl Fn(u64) -> Vec<Event> + Send + Sync + 'static {
    let response = kept::join(&record.body, &record.output, false);
    let begun = kept::ended(&record.body, Status::InProgress.as_str(), None);
    let begun = replay::begun(&begun);
    move |next| {
        let mut events = Vec::new();
        let mut next = next.max(ANNOUNCED);
        if next == ANNOUNCED {
            events.push(frames::lifecycle(
                "response.in_progress",
                next,
                begun.as_bytes(),
            ));
            next += 1;
        }
        events.push(frames::lifecycle("response.failed", next, &response));
        events
    }
}
