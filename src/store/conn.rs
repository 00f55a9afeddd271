//! One connection to either database, so that every operation is written once. All statements use
//! `$1`, which both understand; a statement knows its time limit.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Postgres, Row as _, SqlSafeStr, Sqlite};
use tokio::time::{Instant, timeout_at};

use super::types::StoreError;

/// Why a statement, or an operation out of several, failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// What the caller is to be told.
    Said(StoreError),
    /// What the database says.
    Database(sqlx::Error),
    /// The connection was lost while a commit was under way.
    Unsure(sqlx::Error),
    /// The time limit has passed.
    Timeout,
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Fault {
    /// Whether the same operation may well succeed when it is done again: the connection was lost,
    /// or another transaction was in the way.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                let code = error.code();
                // Serialization, deadlock, a chain that a sweep took away, shutdown and start.
                matches!(
                    code.as_deref(),
                    Some("40001" | "40P01" | "23503" | "57P01" | "57P02" | "57P03")
                )
            }
            Self::Database(sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => true,
            Self::Database(_) | Self::Unsure(_) | Self::Said(_) | Self::Timeout => false,
        }
    }

    /// What the caller is told. `what` names the place.
    pub(super) fn told(self, what: &str) -> StoreError {
        let unavailable = |why: String| StoreError::Unavailable {
            what: what.to_owned(),
            why,
        };
        match self {
            Self::Said(error) => error,
            Self::Timeout => StoreError::Timeout,
            Self::Database(sqlx::Error::PoolTimedOut) => {
                unavailable("no connection could be had in time".to_owned())
            }
            // Another process kept the file locked for as long as we may wait.
            Self::Database(sqlx::Error::Database(error))
                if error.code().as_deref().is_some_and(busy) =>
            {
                StoreError::Timeout
            }
            Self::Database(error) | Self::Unsure(error) => unavailable(error.to_string()),
        }
    }
}

/// SQLite's codes for "busy" and "locked"; the extended ones have them in their lowest byte.
pub(super) fn busy(code: &str) -> bool {
    // Postgres' codes have five characters, these have at most four.
    code.len() < 5
        && code
            .parse::<u32>()
            .is_ok_and(|code| matches!(code & 0xff, 5 | 6))
}

/// A value to put into a statement.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Maybe(Option<&'a str>),
    Int(i64),
    Bytes(&'a [u8]),
}

/// A row that a statement gave.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn int(&self, at: usize) -> Result<i64, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(at)?,
            Self::Postgres(row) => row.try_get(at)?,
        })
    }

    pub(super) fn text(&self, at: usize) -> Result<String, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(at)?,
            Self::Postgres(row) => row.try_get(at)?,
        })
    }

    pub(super) fn maybe(&self, at: usize) -> Result<Option<String>, Fault> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(at)?,
            Self::Postgres(row) => row.try_get(at)?,
        })
    }

    pub(super) fn maybe_bytes(&self, at: usize) -> Result<Option<Bytes>, Fault> {
        let bytes: Option<Vec<u8>> = match self {
            Self::Sqlite(row) => row.try_get(at)?,
            Self::Postgres(row) => row.try_get(at)?,
        };
        Ok(bytes.map(Bytes::from))
    }

    pub(super) fn bytes(&self, at: usize) -> Result<Bytes, Fault> {
        let bytes: Vec<u8> = match self {
            Self::Sqlite(row) => row.try_get(at)?,
            Self::Postgres(row) => row.try_get(at)?,
        };
        Ok(bytes.into())
    }
}

/// What a connection is to.
pub(super) enum Link {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// A connection for one operation, or one batch of them.
pub(super) struct Conn {
    link: Option<Link>,
    deadline: Instant,
    /// Whether something is under way that would meet the next user of the connection.
    unclean: bool,
    news: Vec<Arc<str>>,
    /// The mark of this store in what it tells the others.
    mark: Arc<str>,
    /// Whether the connection is all that there is of the database.
    only: bool,
}

/// Puts the values into a query, one after another.
macro_rules! bound {
    ($sql:expr, $values:expr, $text:expr) => {
        $values
            .iter()
            .fold(sqlx::query($sql), |query, value| match value {
                Value::Text(text) => query.bind($text(*text)),
                Value::Maybe(text) => query.bind(text.map($text)),
                Value::Int(int) => query.bind(*int),
                Value::Bytes(bytes) => query.bind(*bytes),
            })
    };
}

/// Runs a statement on either database under the time limit.
macro_rules! run {
    ($conn:expr, $sql:expr, $values:expr, $how:ident, $map:expr) => {{
        let Some(link) = &mut $conn.link else {
            return Err(Fault::Timeout);
        };
        // What SQLite does for a caller that has gone it does alone, and ends.
        let astray = $conn.unclean || matches!(link, Link::Postgres(_));
        let unclean = std::mem::replace(&mut $conn.unclean, astray);
        let work = async {
            match link {
                Link::Sqlite(link) => bound!($sql, $values, str::to_owned)
                    .$how(&mut **link)
                    .await
                    .map($map.0),
                Link::Postgres(link) => bound!($sql, $values, without_nul)
                    .$how(&mut **link)
                    .await
                    .map($map.1),
            }
        };
        match timeout_at($conn.deadline, work).await {
            Ok(result) => {
                $conn.unclean = unclean;
                Ok(result?)
            }
            Err(_) => Err(Fault::Timeout),
        }
    }};
}

/// Postgres has no text with a NUL in it. Ids of ours have none, so what is asked for with one is
/// unknown, and must be unknown here too rather than an error.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Conn {
    pub(super) fn new(link: Link, deadline: Instant, mark: Arc<str>, only: bool) -> Self {
        Self {
            link: Some(link),
            deadline,
            unclean: false,
            news: Vec::new(),
            mark,
            only,
        }
    }

    /// The same connection for what comes next.
    pub(super) fn until(mut self, deadline: Instant) -> Self {
        self.deadline = deadline;
        self
    }

    /// The connection, if it can be kept: nothing is under way, and others need not share it.
    pub(super) fn keep(self) -> Option<Self> {
        (!self.unclean && !self.only).then_some(self)
    }

    /// The number of rows that the statement changed.
    pub(super) async fn execute(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value<'_>],
    ) -> Result<u64, Fault> {
        run!(
            self,
            sql,
            values,
            execute,
            (
                |done: sqlx::sqlite::SqliteQueryResult| done.rows_affected(),
                |done: sqlx::postgres::PgQueryResult| done.rows_affected(),
            )
        )
    }

    /// All rows.
    pub(super) async fn rows(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Fault> {
        run!(
            self,
            sql,
            values,
            fetch_all,
            (
                |rows: Vec<SqliteRow>| rows.into_iter().map(Row::Sqlite).collect::<Vec<_>>(),
                |rows: Vec<PgRow>| rows.into_iter().map(Row::Postgres).collect::<Vec<_>>(),
            )
        )
    }

    /// The only row, if there is one.
    pub(super) async fn row(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, Fault> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Whether this is SQLite, in a file or in memory.
    pub(super) fn is_sqlite(&self) -> bool {
        !matches!(&self.link, Some(Link::Postgres(_)))
    }

    /// The statement in the dialect of this database.
    pub(super) fn pick(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match &self.link {
            Some(Link::Postgres(_)) => postgres,
            Some(Link::Sqlite(_)) | None => sqlite,
        }
    }

    /// The database's clock in milliseconds. Replicas' own clocks differ.
    pub(super) async fn now_ms(&mut self) -> Result<i64, Fault> {
        let sql = self.pick(
            "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
        );
        let row = self.row(sql, &[]).await?;
        row.ok_or(Fault::Database(sqlx::Error::RowNotFound))?.int(0)
    }

    /// The transaction begins. On SQLite it is the only one that writes from here on, so that it
    /// cannot fail in its middle because of another process.
    pub(super) async fn begin(&mut self) -> Result<(), Fault> {
        self.news.clear();
        let begin = self.pick("BEGIN IMMEDIATE", "BEGIN");
        // It may begin even after nobody waits for it any more.
        self.unclean = true;
        let begun = self.execute(begin, &[]).await;
        if matches!(begun, Err(Fault::Database(sqlx::Error::Database(_)))) {
            self.unclean = false;
        }
        begun.map(drop)
    }

    /// The transaction is over and lasts. Gives the ids of responses with news.
    pub(super) async fn commit(&mut self) -> Result<Vec<Arc<str>>, Fault> {
        self.execute("COMMIT", &[]).await?;
        self.unclean = false;
        Ok(std::mem::take(&mut self.news))
    }

    /// The transaction never was.
    pub(super) async fn rollback(&mut self) {
        self.news.clear();
        // Where even that fails, the connection is thrown away.
        if self.execute("ROLLBACK", &[]).await.is_ok() {
            self.unclean = false;
        }
    }

    /// Lets everybody know, once the transaction lasts, that there is news of a response.
    pub(super) async fn tell(&mut self, id: &str) -> Result<(), Fault> {
        self.news.push(id.into());
        if matches!(self.link, Some(Link::Postgres(_))) {
            let payload = format!("{} {id}", self.mark);
            self.execute(
                "SELECT pg_notify($1, $2)",
                &[Value::Text(super::news::CHANNEL), Value::Text(&payload)],
            )
            .await?;
        }
        Ok(())
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if !self.unclean || self.only {
            return;
        }
        // The pool makes a new one. Closing politely could wait for what never comes.
        match self.link.take() {
            Some(Link::Sqlite(link)) => drop(link.detach()),
            Some(Link::Postgres(link)) => drop(link.detach()),
            None => {}
        }
    }
}
