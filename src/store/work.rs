//! How operations come to a connection: reads side by side, writes as work that the store owns.
//!
//! On SQLite all writes go through one task, which commits those that wait together: one
//! transaction for many, each caller answered after it. On Postgres each write is a task and a
//! transaction of its own. Either way a caller that goes away leaves nothing half-done, and no more
//! than `queue_length` writes are under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgPool, SqlitePool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::conn::{Conn, Fault, Link};
use super::types::{Settings, StoreError};
use crate::telemetry::{Metrics, StoreWork};

/// The most writes in one transaction.
const BATCH: usize = 64;

const FOREVER: Duration = Duration::from_hours(24);

/// How often a write that was in another's way is done again.
const TRIES: u32 = 6;

/// How long it waits before that, the first time.
const PAUSE: Duration = Duration::from_millis(5);

/// Something that is asked of the database. A write may be run more than once: each time but the
/// last it left nothing behind.
pub(super) trait Operation: Send + Sync {
    /// What it finds out.
    type Answer: Send;

    fn run(&self, conn: &mut Conn) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;
}

/// The connections.
pub(super) enum Pools {
    Sqlite {
        readers: SqlitePool,
        /// With one connection; in memory the same pool as `readers`.
        writer: SqlitePool,
        /// Whether its one connection is all that there is of it.
        memory: bool,
    },
    Postgres(PgPool),
}

/// What all handles on a store and its tasks share.
pub(super) struct Core {
    /// The place in words, without a password.
    pub(super) what: String,
    pub(super) pools: Pools,
    pub(super) timeout: Duration,
    pub(super) mark: Arc<str>,
    metrics: Arc<Metrics>,
    pub(super) news: broadcast::Sender<Arc<str>>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    room: Arc<Semaphore>,
    queue: mpsc::Sender<Box<dyn Task>>,
}

impl Core {
    /// The shared part, with its writer running.
    pub(super) fn start(
        what: String,
        pools: Pools,
        settings: &Settings,
        mark: Arc<str>,
    ) -> Arc<Self> {
        let queue_length = settings.queue_length.clamp(1, Semaphore::MAX_PERMITS);
        let (queue, waiting) = mpsc::channel(queue_length);
        let core = Arc::new(Self {
            what,
            pools,
            timeout: settings.timeout,
            mark,
            metrics: Arc::clone(&settings.metrics),
            news: broadcast::channel(1024).0,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            room: Arc::new(Semaphore::new(queue_length)),
            queue,
        });
        if matches!(core.pools, Pools::Sqlite { .. }) {
            core.tasks.spawn(write_in_turn(Arc::clone(&core), waiting));
        }
        core
    }

    /// Asks; once more where the connection turns out to be lost.
    pub(super) async fn read<O: Operation>(&self, operation: &O) -> Result<O::Answer, StoreError> {
        let began = Instant::now();
        let deadline = began + self.timeout;
        let first = self.read_once(operation, deadline).await;
        let answer = match first {
            Err(fault) if fault.passes() => self.read_once(operation, deadline).await,
            answer => answer,
        };
        let answer = answer.map_err(|fault| fault.told(&self.what));
        self.count(StoreWork::Read, began, answer.as_ref().err());
        answer
    }

    fn count(&self, work: StoreWork, began: Instant, error: Option<&StoreError>) {
        let failed = error.is_some_and(StoreError::is_failure);
        self.metrics.stored(work, began.elapsed(), failed);
    }

    async fn read_once<O: Operation>(
        &self,
        operation: &O,
        deadline: Instant,
    ) -> Result<O::Answer, Fault> {
        let mut conn = self.connect(false, deadline).await?;
        operation.run(&mut conn).await
    }

    /// Writes. Resolves once it lasts; what is begun is ended even if nobody waits for it.
    pub(super) async fn write<O>(&self, operation: O) -> Result<O::Answer, StoreError>
    where
        O: Operation + 'static,
        O::Answer: 'static,
    {
        let began = Instant::now();
        let answer = self.write_in_time(operation, began + self.timeout).await;
        self.count(StoreWork::Write, began, answer.as_ref().err());
        answer
    }

    async fn write_in_time<O>(
        &self,
        operation: O,
        deadline: Instant,
    ) -> Result<O::Answer, StoreError>
    where
        O: Operation + 'static,
        O::Answer: 'static,
    {
        let closed = || StoreError::Unavailable {
            what: self.what.clone(),
            why: "it is closed".to_owned(),
        };
        if self.stop.is_cancelled() {
            return Err(closed());
        }
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.map_err(|_| StoreError::Full)?;
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Asked {
            operation,
            answer: None,
            reply,
            deadline,
            _room: room,
        });
        match &self.pools {
            Pools::Sqlite { .. } => self.queue.try_send(task).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Full,
                mpsc::error::TrySendError::Closed(_) => closed(),
            })?,
            Pools::Postgres(pool) => {
                let alone = Alone {
                    pool: pool.clone(),
                    what: self.what.clone(),
                    mark: Arc::clone(&self.mark),
                    news: self.news.clone(),
                };
                self.tasks.spawn(async move { alone.write(task).await });
            }
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    /// A connection of the pool.
    async fn connect(&self, to_write: bool, deadline: Instant) -> Result<Conn, Fault> {
        let link = async {
            Ok::<_, Fault>(match &self.pools {
                Pools::Sqlite { writer, .. } if to_write => Link::Sqlite(writer.acquire().await?),
                Pools::Sqlite { readers, .. } => Link::Sqlite(readers.acquire().await?),
                Pools::Postgres(pool) => Link::Postgres(pool.acquire().await?),
            })
        };
        let link = timeout_at(deadline, link).await;
        let link = link.unwrap_or(Err(Fault::Timeout))?;
        let only = matches!(self.pools, Pools::Sqlite { memory: true, .. });
        // Memory answers; and a statement that is left alone could not be told from one that is lost.
        let deadline = if only { deadline + FOREVER } else { deadline };
        Ok(Conn::new(link, deadline, Arc::clone(&self.mark), only))
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// A write that waits for its turn.
trait Task: Send {
    /// Runs inside of a transaction, and keeps the answer.
    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> Running<'a>;

    /// Until when its caller waits.
    fn deadline(&self) -> Instant;

    /// Tells its caller.
    fn end(self: Box<Self>, end: Result<(), StoreError>);
}

struct Asked<O: Operation> {
    operation: O,
    answer: Option<O::Answer>,
    reply: oneshot::Sender<Result<O::Answer, StoreError>>,
    deadline: Instant,
    /// Given back when the work is over.
    _room: OwnedSemaphorePermit,
}

impl<O: Operation> Task for Asked<O> {
    fn run<'a>(&'a mut self, conn: &'a mut Conn) -> Running<'a> {
        Box::pin(async move {
            self.answer = Some(self.operation.run(conn).await?);
            Ok(())
        })
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn end(self: Box<Self>, end: Result<(), StoreError>) {
        let answer = match (end, self.answer) {
            (Ok(()), Some(answer)) => Ok(answer),
            (Ok(()), None) => Err(StoreError::Timeout),
            (Err(error), _) => Err(error),
        };
        // Whoever asked may be gone.
        let _ = self.reply.send(answer);
    }
}

/// One transaction with all of `tasks`.
async fn together(conn: &mut Conn, tasks: &mut [Box<dyn Task>]) -> Result<Vec<Arc<str>>, Fault> {
    conn.begin().await?;
    for task in tasks {
        if let Err(fault) = task.run(conn).await {
            conn.rollback().await;
            return Err(fault);
        }
    }
    match conn.commit().await {
        // It may have been committed: doing it again could do it twice.
        Err(Fault::Database(error @ sqlx::Error::Io(_))) => Err(Fault::Unsure(error)),
        Err(fault) => {
            conn.rollback().await;
            Err(fault)
        }
        news => news,
    }
}

/// SQLite's writer: takes what waits, commits it together, answers.
async fn write_in_turn(core: Arc<Core>, mut waiting: mpsc::Receiver<Box<dyn Task>>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut kept = None;
    let stop = core.stop.clone();
    loop {
        tokio::select! {
            biased;
            taken = waiting.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            () = stop.cancelled(), if !waiting.is_closed() => {
                // What waits already is still written.
                waiting.close();
                continue;
            }
        }
        let late = batch.extract_if(.., |task| task.deadline() <= Instant::now());
        late.for_each(|task| task.end(Err(StoreError::Timeout)));
        if batch.is_empty() {
            continue;
        }
        if batch.len() > 1 && core.write_once(&mut kept, &mut batch).await.is_ok() {
            batch.drain(..).for_each(|task| task.end(Ok(())));
            continue;
        }
        // One of them is in the way of the others, or it is just one.
        for task in batch.drain(..) {
            let mut task = [task];
            let end = core.write_once(&mut kept, &mut task).await;
            let [task] = task;
            task.end(end.map_err(|fault| fault.told(&core.what)));
        }
    }
}

impl Core {
    /// One transaction of SQLite's writer, which keeps its connection from one to the next.
    async fn write_once(
        &self,
        kept: &mut Option<Conn>,
        tasks: &mut [Box<dyn Task>],
    ) -> Result<(), Fault> {
        let deadline = Instant::now() + self.timeout;
        let mut conn = match kept.take() {
            Some(conn) => conn.until(deadline),
            None => self.connect(true, deadline).await?,
        };
        let news = together(&mut conn, tasks).await;
        *kept = conn.keep();
        for id in news? {
            // Nobody may be listening.
            let _ = self.news.send(id);
        }
        Ok(())
    }
}

/// What a write on Postgres needs.
struct Alone {
    pool: PgPool,
    what: String,
    mark: Arc<str>,
    news: broadcast::Sender<Arc<str>>,
}

impl Alone {
    async fn write(self, task: Box<dyn Task>) {
        let deadline = task.deadline();
        let mut task = [task];
        let mut tries = 1;
        let end = loop {
            match self.once(&mut task, deadline).await {
                Err(fault) if fault.passes() && tries < TRIES => {
                    sleep(PAUSE * tries).await;
                    tries += 1;
                }
                end => break end,
            }
        };
        let [task] = task;
        task.end(end.map_err(|fault| fault.told(&self.what)));
    }

    async fn once(&self, task: &mut [Box<dyn Task>], deadline: Instant) -> Result<(), Fault> {
        let link = timeout_at(deadline, self.pool.acquire()).await;
        let link = Link::Postgres(link.map_err(|_| Fault::Timeout)??);
        let mut conn = Conn::new(link, deadline, Arc::clone(&self.mark), false);
        for id in together(&mut conn, task).await? {
            // Nobody may be listening.
            let _ = self.news.send(id);
        }
        Ok(())
    }
}
