//! The stream of a response that is made elsewhere: read from the store as it grows.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

use super::background::ANNOUNCED;
use super::{Engine, frames};
use crate::closing::Watch;
use crate::responses::{ErrorObject, kept};
use crate::sse;
use crate::store::{Event, Record, Store};
use crate::time::Instant;

/// How long nothing is looked for if nobody says that there is news.
const POLL: Duration = Duration::from_millis(500);
/// How many events are read at a time.
const PAGE: usize = 200;
/// How many times in a row the store may fail before the stream is given up.
const PATIENCE: usize = 20;

/// How long the end of a response is looked for, once the process ends: one that is made here ends
/// with it.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// A body that ends with the response.
pub struct Follow {
    chunks: mpsc::Receiver<Bytes>,
}

impl Body for Follow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.get_mut().chunks.poll_recv(cx);
        chunk.map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

impl Follow {
    /// A body of chunks that are all there.
    pub(super) fn of_chunk(chunk: Bytes) -> Self {
        let (send, chunks) = mpsc::channel(1);
        // There is room for one.
        let _ = send.try_send(chunk);
        Self { chunks }
    }
}

impl Engine {
    /// Follows a background response from the event behind `after` on.
    pub(super) fn follow(
        &self,
        store: &Store,
        tenant: String,
        id: String,
        after: Option<u64>,
    ) -> Follow {
        // One chunk ahead: who does not read is not read for.
        let (send, chunks) = mpsc::channel(1);
        let follower = Follower {
            store: store.clone(),
            tenant,
            id,
            after,
            send,
            keepalive: self.settings.keepalive_interval,
            told: Instant::now(),
            done: self.settings.done_sentinel,
            watch: self.closing.watch(),
            leaves: None,
        };
        tokio::spawn(follower.run());
        Follow { chunks }
    }
}

struct Follower {
    store: Store,
    tenant: String,
    id: String,
    after: Option<u64>,
    send: mpsc::Sender<Bytes>,
    keepalive: Option<Duration>,
    /// When the client last heard something.
    told: Instant,
    done: bool,
    watch: Watch,
    /// When it stops, as the process ends.
    leaves: Option<Instant>,
}

impl Follower {
    async fn run(mut self) {
        // `None`: the client left.
        if self.tell().await.is_none() {
            tracing::debug!(response.id = %self.id, "a client stopped following");
        }
    }

    async fn tell(&mut self) -> Option<()> {
        let mut changes = self.store.changes();
        let mut failures = 0;
        let mut was_over = false;
        let mut last: Option<Record> = None;
        loop {
            let news = self.news().await;
            let (events, record) = match news {
                Ok((events, Some(record))) => (events, record),
                // It was deleted, or there is nothing to tell the client of any more.
                Ok((_, None)) => return self.gone(last).await,
                Err(error) => {
                    tracing::error!(response.id = %self.id, %error, "it cannot be followed");
                    failures += 1;
                    if failures > PATIENCE {
                        return Some(());
                    }
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            failures = 0;
            self.announce(&record).await?;
            if events.is_empty() && was_over {
                if self.done {
                    self.say(Bytes::from_static(sse::DONE)).await?;
                }
                return Some(());
            }
            // Events may have come between the two reads: one more look after the end.
            was_over = record.status.is_final();
            last = Some(record);
            if !events.is_empty() {
                self.after = events.last().map(|event| event.sequence);
                let chunk: Vec<u8> = events
                    .iter()
                    .flat_map(|event| event.data.to_vec())
                    .collect();
                self.say(Bytes::from(chunk)).await?;
            } else if !was_over {
                self.wait(&mut changes).await?;
            }
        }
    }

    /// Ends the stream of a response that was deleted meanwhile.
    async fn gone(&mut self, last: Option<Record>) -> Option<()> {
        if let Some(record) = last.filter(|record| !record.status.is_final()) {
            let error = ErrorObject::server("The response was deleted.").with_code("server_error");
            let body = kept::ended(&record.body, "failed", Some(&error));
            let response = kept::join(&body, &record.output, false);
            let next = self.after.map_or(0, |after| after + 1);
            let event = frames::lifecycle("response.failed", next, &response);
            self.say(event.data).await?;
        }
        if self.done {
            self.say(Bytes::from_static(sse::DONE)).await?;
        }
        Some(())
    }

    async fn news(&self) -> Result<(Vec<Event>, Option<Record>), crate::store::StoreError> {
        let events = self
            .store
            .events(&self.tenant, &self.id, self.after, PAGE)
            .await?;
        Ok((events, self.store.response(&self.tenant, &self.id).await?))
    }

    /// Says first that the response was created and queued, which is not in the log.
    async fn announce(&mut self, record: &Record) -> Option<()> {
        let first = self.after.map_or(0, |after| after + 1);
        if first >= ANNOUNCED {
            return Some(());
        }
        let body = kept::ended(&record.body, "queued", None);
        let body = crate::responses::replay::begun(&body);
        let kinds = ["response.created", "response.queued"];
        let mut chunk = Vec::new();
        for (sequence, kind) in (0..ANNOUNCED).zip(kinds) {
            if sequence >= first {
                chunk.extend_from_slice(&frames::lifecycle(kind, sequence, body.as_bytes()).data);
            }
        }
        self.after = Some(ANNOUNCED - 1);
        self.say(Bytes::from(chunk)).await
    }

    /// Waits for news, and keeps the client's timers quiet.
    async fn wait(
        &mut self,
        changes: &mut tokio::sync::broadcast::Receiver<std::sync::Arc<str>>,
    ) -> Option<()> {
        let news = async {
            loop {
                match changes.recv().await {
                    Ok(id) if *id == *self.id => return,
                    Ok(_) => {}
                    // Too much happened to tell.
                    Err(_) => return tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let now = Instant::now();
        let left = self.leaves.map(|leaves| leaves.duration_since(now));
        tokio::select! {
            () = news => {}
            () = tokio::time::sleep(left.unwrap_or(POLL).min(POLL)) => {}
            () = self.watch.over(), if left.is_none() => self.leaves = Some(now + LAST_LOOK),
            () = self.send.closed() => return None,
        }
        if self.leaves.is_some_and(|leaves| leaves <= Instant::now()) {
            return self.leave().await;
        }
        let silent = self
            .keepalive
            .is_some_and(|interval| self.told.elapsed() >= interval);
        if silent {
            // An event would need a number, and those are the log's.
            self.say(Bytes::from_static(b": keepalive\n\n")).await?;
        }
        Some(())
    }

    /// The response goes on elsewhere, and can be followed on there: no event may say that it is over.
    async fn leave(&mut self) -> Option<()> {
        self.watch.closing().count_cut_off();
        let after = self.after.unwrap_or_default();
        let comment =
            format!(": the server is about to end; go on with starting_after={after}\n\n");
        self.say(Bytes::from(comment)).await?;
        None
    }

    async fn say(&mut self, chunk: Bytes) -> Option<()> {
        self.told = Instant::now();
        self.send.send(chunk).await.ok()
    }
}
