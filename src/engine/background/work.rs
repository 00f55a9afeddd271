//! One response that is made without a client: from the queued request to its stored end.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::super::account::Account;
use super::super::caller::Caller;
use super::super::frames::Frames;
use super::super::keep::Keeping;
use super::super::prepare::{Order, Purpose, only_translated};
use super::super::run::{Run, Step, late};
use super::super::{Asked, Engine};
use super::{ANNOUNCED, ended, last_event};
use crate::admission::Permit;
use crate::responses::{ErrorObject, kept};
use crate::store::{Record, Status, Store, StoreError};
use crate::time::Instant;
use crate::translate::Outcome;
use crate::upstream::Refusal;

/// How long events are gathered before they are stored.
const GATHER: Duration = Duration::from_millis(100);
/// How many bytes of events are gathered.
const GATHER_BYTES: usize = 64 * 1024;
/// How often the end of a response is told to a store that fails.
const END_TRIES: u32 = 20;

/// One response under way.
pub(super) struct Work {
    pub(super) engine: Arc<Engine>,
    /// Leave for it.
    pub(super) permit: Arc<Permit>,
    pub(super) store: Store,
    /// Who does it.
    pub(super) worker: String,
    pub(super) record: Record,
    /// It was called off.
    pub(super) stop: CancellationToken,
}

impl Work {
    /// Makes the response and stores it, with its events.
    pub(super) async fn run(&self, request: Bytes) {
        let mut frames = Frames::default();
        let made = tokio::select! {
            () = self.stop.cancelled() => return,
            made = self.make(request, &mut frames) => made,
        };
        let (record, items) = match made {
            Ok(Some((mut keeping, outcome))) => keeping.record(outcome),
            // Somebody else has it now.
            Ok(None) => return,
            Err(error) => {
                let flushed = self.flush(&mut frames).await;
                if flushed.is_ok_and(|held| !held) {
                    return;
                }
                let output = self.engine.partial_output(&self.record).await;
                let record = ended(self.record.clone(), Status::Failed, Some(&error), output);
                let last = last_event(&record);
                frames.add(last(frames.next.unwrap_or(ANNOUNCED)));
                (record, Vec::new())
            }
        };
        let events = frames.take();
        for n in 0..END_TRIES {
            let (record, items, events) = (record.clone(), items.clone(), events.clone());
            match self.store.finish(&self.worker, record, items, events).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::error!(response.id = %self.record.id, %error, "its end cannot be stored");
                }
            }
            tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(n.min(5))).await;
        }
    }

    /// Makes the response; `None` if it is this worker's no more.
    async fn make(
        &self,
        request: Bytes,
        frames: &mut Frames,
    ) -> Result<Option<(Box<Keeping>, Outcome)>, ErrorObject> {
        let caller = Caller {
            tenant: self.record.tenant.clone(),
            permit: Some(Arc::clone(&self.permit)),
            ..Caller::default()
        };
        let mut order = Order {
            created_at: self.record.created_at,
            announced: ANNOUNCED,
            ..Order::new(
                kept::digits_of(&self.record.id),
                &caller,
                Purpose::Background,
            )
        };
        let mut account = Some(Account::open(&self.engine, order.id, &caller));
        let begun = self.begin(request, &mut order, &mut account, frames).await;
        if let (Err(refusal), Some(account)) = (&begun, account) {
            account.refused(refusal);
        }
        let (keeping, run) = begun.map_err(late)?;
        match self.read(run, frames).await {
            Some(outcome) => Ok(Some((keeping, outcome))),
            None => Ok(None),
        }
    }

    async fn begin(
        &self,
        request: Bytes,
        order: &mut Order<'_>,
        account: &mut Option<Box<Account>>,
        frames: &mut Frames,
    ) -> Result<(Box<Keeping>, Run), Refusal> {
        let prepared = self.engine.prepare(&request, order).await?;
        if let Some(account) = account {
            account.concerns(&prepared);
        }
        let prepared = self.engine.fit(prepared, &request, order).await?;
        let asked = self.engine.ask(prepared, request, order.clone()).await?;
        let Asked::Answer(mut prepared, arrival) = asked else {
            return Err(only_translated("Background work"));
        };
        let Some(keeping) = prepared.keeping.take() else {
            let error = ErrorObject::server("background work needs a store");
            return Err(Refusal::new(500, error));
        };
        let run = self.engine.run(prepared, arrival, frames, account.take());
        Ok((keeping, run))
    }

    /// Reads the answer, and stores its events as they come.
    async fn read(&self, mut run: Run, frames: &mut Frames) -> Option<Outcome> {
        let mut due = Instant::now();
        loop {
            let step = tokio::select! {
                step = poll_fn(|cx| run.poll_step(cx, frames)) => Some(step),
                () = tokio::time::sleep_until(due) => None,
            };
            if let Some(Step::Over(outcome)) = step {
                return Some(*outcome);
            }
            let now = Instant::now();
            if frames.is_empty() {
                due = now + GATHER;
            } else if due <= now || frames.size > GATHER_BYTES {
                due = now + GATHER;
                if let Ok(false) = self.flush(frames).await {
                    return None;
                }
            }
        }
    }

    /// Stores the events that were gathered; says whether the response is still this worker's.
    async fn flush(&self, frames: &mut Frames) -> Result<bool, StoreError> {
        let events = frames.take();
        let stored = self
            .store
            .append_events(&self.worker, &self.record.id, events.clone())
            .await;
        if let Err(error) = &stored {
            tracing::error!(response.id = %self.record.id, %error, "events cannot be stored");
            frames.put_back(events);
        }
        stored
    }
}
