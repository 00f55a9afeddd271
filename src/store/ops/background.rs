//! Responses that are made without a client waiting: the database is their queue and their log.
//!
//! A row in `jobs` is there from the enqueueing to the end, whichever comes: its deletion decides
//! who may write the end. A worker holds a job until it ends or is declared lost, even past its
//! lease.

use std::time::Duration;

use bytes::Bytes;

use super::super::conn::{Conn, Fault, Value};
use super::super::types::{Event, Item, Job, Record, Status};
use super::super::work::Operation;
use super::{
    items, list, number, record, record_columns, responses, saturated, unsigned, weight_of,
};

/// Puts a response at the end of the queue.
pub(in super::super) struct Enqueue {
    pub(in super::super) record: Record,
    pub(in super::super) request: Bytes,
}

impl Operation for Enqueue {
    type Answer = ();

    async fn run(&self, conn: &mut Conn) -> Result<(), Fault> {
        let stand = responses::insert(conn, &self.record).await?;
        // The conversation is alive, and must not be swept under the work's feet.
        items::follow(conn, &self.record, &[]).await?;
        let sql = "INSERT INTO jobs (response, chain, conversation, worker, lease, request) \
                   VALUES ($1, $2, $3, NULL, 0, $4)";
        let values = [
            Value::Text(&self.record.id),
            Value::Int(stand.chain),
            Value::Maybe(self.record.conversation.as_deref()),
            Value::Bytes(&self.request),
        ];
        conn.execute(sql, &values).await?;
        conn.tell(&self.record.id).await
    }
}

/// Whether anything waits: workers look often, and should not lock anything for it.
pub(in super::super) struct Waiting;

impl Operation for Waiting {
    type Answer = bool;

    async fn run(&self, conn: &mut Conn) -> Result<bool, Fault> {
        let sql = "SELECT CAST(1 AS BIGINT) FROM jobs WHERE worker IS NULL LIMIT 1";
        Ok(number(conn, sql, &[]).await? == 1)
    }
}

/// Gives a worker the oldest that wait.
pub(in super::super) struct Claim {
    pub(in super::super) worker: String,
    pub(in super::super) lease: Duration,
    pub(in super::super) limit: usize,
}

impl Operation for Claim {
    type Answer = Vec<Job>;

    async fn run(&self, conn: &mut Conn) -> Result<Vec<Job>, Fault> {
        let sql = conn.pick(
            "SELECT number FROM jobs WHERE worker IS NULL ORDER BY number LIMIT $1",
            "SELECT number FROM jobs WHERE worker IS NULL ORDER BY number LIMIT $1 \
             FOR UPDATE SKIP LOCKED",
        );
        let rows = conn.rows(sql, &[Value::Int(saturated(self.limit))]).await?;
        let until = conn
            .now_ms()
            .await?
            .saturating_add(saturated(self.lease.as_millis()));
        let mut jobs = Vec::with_capacity(rows.len());
        for row in rows {
            let number = Value::Int(row.int(0)?);
            let sql = "UPDATE jobs SET worker = $1, lease = $2 WHERE number = $3";
            let values = [Value::Text(&self.worker), Value::Int(until), number];
            conn.execute(sql, &values).await?;
            let sql = "UPDATE responses SET status = $1 \
                       WHERE id = (SELECT response FROM jobs WHERE number = $2)";
            let values = [Value::Text(Status::InProgress.as_str()), number];
            conn.execute(sql, &values).await?;
            let sql = concat!(
                "SELECT ",
                record_columns!(),
                ", j.request FROM jobs j JOIN responses r ON r.id = j.response WHERE j.number = $1"
            );
            if let Some(row) = conn.row(sql, &[number]).await? {
                jobs.push(Job {
                    record: record(&row)?,
                    request: row.bytes(10)?,
                });
            }
        }
        Ok(jobs)
    }
}

/// Lengthens leases.
pub(in super::super) struct Renew {
    pub(in super::super) worker: String,
    pub(in super::super) ids: Vec<String>,
    pub(in super::super) lease: Duration,
}

impl Operation for Renew {
    type Answer = Vec<String>;

    async fn run(&self, conn: &mut Conn) -> Result<Vec<String>, Fault> {
        let until = conn
            .now_ms()
            .await?
            .saturating_add(saturated(self.lease.as_millis()));
        let mut held = Vec::with_capacity(self.ids.len());
        for ids in self.ids.chunks(100) {
            let sql = format!(
                "UPDATE jobs SET lease = $1 WHERE worker = $2 AND response IN {} RETURNING response",
                list(2, ids.len())
            );
            let mut values = vec![Value::Int(until), Value::Text(&self.worker)];
            values.extend(ids.iter().map(|id| Value::Text(id)));
            for row in conn.rows(sqlx::AssertSqlSafe(sql), &values).await? {
                held.push(row.text(0)?);
            }
        }
        Ok(held)
    }
}

/// Writes events down, while the worker holds the response.
pub(in super::super) struct Append {
    pub(in super::super) worker: String,
    pub(in super::super) id: String,
    pub(in super::super) events: Vec<Event>,
}

impl Operation for Append {
    type Answer = bool;

    async fn run(&self, conn: &mut Conn) -> Result<bool, Fault> {
        // Who ends the response waits for this, or this sees that it has ended.
        let sql = conn.pick(
            "SELECT number FROM jobs WHERE response = $1 AND worker = $2",
            "SELECT number FROM jobs WHERE response = $1 AND worker = $2 FOR SHARE",
        );
        let values = [Value::Text(&self.id), Value::Text(&self.worker)];
        if conn.row(sql, &values).await?.is_none() {
            return Ok(false);
        }
        append(conn, &self.id, &self.events).await?;
        conn.tell(&self.id).await?;
        Ok(true)
    }
}

/// How many events go into one statement: the remote database's answers are what takes long.
const STRIDE: usize = 32;

async fn append(conn: &mut Conn, id: &str, events: &[Event]) -> Result<(), Fault> {
    let (whole, rest) = events.as_chunks::<STRIDE>();
    let sql = insertion(STRIDE);
    for events in whole {
        conn.execute(sqlx::AssertSqlSafe(sql.clone()), &values(id, events))
            .await?;
    }
    let sql = insertion(1);
    for event in rest {
        let values = values(id, std::slice::from_ref(event));
        conn.execute(sqlx::AssertSqlSafe(sql.clone()), &values)
            .await?;
    }
    Ok(())
}

fn insertion(events: usize) -> String {
    let row = |at: usize| format!("($1, ${}, ${})", 2 * at + 2, 2 * at + 3);
    let rows: Vec<String> = (0..events).map(row).collect();
    // A worker that was not told whether they were written writes them again.
    format!(
        "INSERT INTO events (response, sequence, data) VALUES {} \
         ON CONFLICT (response, sequence) DO NOTHING",
        rows.join(", ")
    )
}

fn values<'a>(id: &'a str, events: &'a [Event]) -> Vec<Value<'a>> {
    let pairs = events.iter().flat_map(|event| {
        [
            Value::Int(saturated(event.sequence)),
            Value::Bytes(&event.data),
        ]
    });
    std::iter::once(Value::Text(id)).chain(pairs).collect()
}

/// Writes the end of a response, while the worker holds it.
pub(in super::super) struct Finish {
    pub(in super::super) worker: String,
    pub(in super::super) record: Record,
    pub(in super::super) items: Vec<Item>,
    pub(in super::super) events: Vec<Event>,
}

impl Operation for Finish {
    type Answer = bool;

    async fn run(&self, conn: &mut Conn) -> Result<bool, Fault> {
        let sql = "DELETE FROM jobs WHERE response = $1 AND worker = $2";
        let values = [Value::Text(&self.record.id), Value::Text(&self.worker)];
        if conn.execute(sql, &values).await? == 0 {
            return Ok(false);
        }
        append(conn, &self.record.id, &self.events).await?;
        items::follow(conn, &self.record, &self.items).await?;
        end(conn, &self.record).await
    }
}

/// Makes the last events of a response out of the next free sequence number.
pub(in super::super) type Last = Box<dyn Fn(u64) -> Vec<Event> + Send + Sync>;

/// Ends a response that nobody has ended, from outside.
pub(in super::super) struct Stop {
    pub(in super::super) record: Record,
    pub(in super::super) last: Last,
    /// Only if its lease has passed.
    pub(in super::super) lost: bool,
}

impl Operation for Stop {
    type Answer = bool;

    async fn run(&self, conn: &mut Conn) -> Result<bool, Fault> {
        let id = Value::Text(&self.record.id);
        let tenant = Value::Text(&self.record.tenant);
        let taken = if self.lost {
            let now = Value::Int(conn.now_ms().await?);
            let sql = "DELETE FROM jobs WHERE worker IS NOT NULL AND lease < $3 AND response IN \
                       (SELECT id FROM responses WHERE id = $1 AND tenant = $2)";
            conn.execute(sql, &[id, tenant, now]).await?
        } else {
            let sql = "DELETE FROM jobs WHERE response IN \
                       (SELECT id FROM responses WHERE id = $1 AND tenant = $2)";
            conn.execute(sql, &[id, tenant]).await?
        };
        if taken == 0 {
            return Ok(false);
        }
        let sql =
            "SELECT CAST(COALESCE(MAX(sequence), -1) AS BIGINT) FROM events WHERE response = $1";
        let next = unsigned(number(conn, sql, &[id]).await? + 1);
        append(conn, &self.record.id, &(self.last)(next)).await?;
        end(conn, &self.record).await
    }
}

/// The response becomes what it is in the end, whose job is gone already.
async fn end(conn: &mut Conn, record: &Record) -> Result<bool, Fault> {
    let id = Value::Text(&record.id);
    let tenant = Value::Text(&record.tenant);
    let sql = "SELECT chain, bytes FROM responses WHERE id = $1 AND tenant = $2";
    let Some(row) = conn.row(sql, &[id, tenant]).await? else {
        return Ok(false);
    };
    let (chain, before) = (row.int(0)?, row.int(1)?);
    let sql =
        "SELECT CAST(COALESCE(SUM(length(data)), 0) AS BIGINT) FROM events WHERE response = $1";
    let bytes = weight_of(record) + number(conn, sql, &[id]).await?;
    let sql = "UPDATE responses SET status = $3, bytes = $4, input = $5, output = $6, body = $7 \
               WHERE id = $1 AND tenant = $2";
    let values = [
        id,
        tenant,
        Value::Text(record.status.as_str()),
        Value::Int(bytes),
        Value::Bytes(&record.input),
        Value::Bytes(&record.output),
        Value::Bytes(&record.body),
    ];
    conn.execute(sql, &values).await?;
    let sql = "UPDATE chains SET bytes = bytes + $1 WHERE id = $2";
    let values = [bytes - before, chain].map(Value::Int);
    conn.execute(sql, &values).await?;
    conn.tell(&record.id).await?;
    Ok(true)
}

/// The responses whose workers have let their leases pass.
pub(in super::super) struct Lost {
    pub(in super::super) limit: usize,
}

impl Operation for Lost {
    type Answer = Vec<Record>;

    async fn run(&self, conn: &mut Conn) -> Result<Vec<Record>, Fault> {
        let now = conn.now_ms().await?;
        let sql = concat!(
            "SELECT ",
            record_columns!(),
            " FROM jobs j JOIN responses r ON r.id = j.response \
             WHERE j.worker IS NOT NULL AND j.lease < $1 ORDER BY j.number LIMIT $2"
        );
        let values = [now, saturated(self.limit)].map(Value::Int);
        let rows = conn.rows(sql, &values).await?;
        rows.iter().map(record).collect()
    }
}

/// A response's events.
pub(in super::super) struct Events<'a> {
    pub(in super::super) tenant: &'a str,
    pub(in super::super) id: &'a str,
    pub(in super::super) after: Option<u64>,
    pub(in super::super) limit: usize,
}

impl Operation for Events<'_> {
    type Answer = Vec<Event>;

    async fn run(&self, conn: &mut Conn) -> Result<Vec<Event>, Fault> {
        let sql = "SELECT e.sequence, e.data FROM events e JOIN responses r ON r.id = e.response \
                   WHERE r.id = $1 AND r.tenant = $2 AND e.sequence > $3 \
                   ORDER BY e.sequence LIMIT $4";
        let values = [
            Value::Text(self.id),
            Value::Text(self.tenant),
            Value::Int(self.after.map_or(-1, saturated)),
            Value::Int(saturated(self.limit)),
        ];
        let rows = conn.rows(sql, &values).await?;
        let event = |row: &super::Row| {
            Ok(Event {
                sequence: unsigned(row.int(0)?),
                data: row.bytes(1)?,
            })
        };
        rows.iter().map(event).collect()
    }
}

/// The number of a response's last event.
pub(in super::super) struct LastSequence<'a> {
    pub(in super::super) id: &'a str,
}

impl Operation for LastSequence<'_> {
    type Answer = Option<u64>;

    async fn run(&self, conn: &mut Conn) -> Result<Option<u64>, Fault> {
        let sql = "SELECT sequence FROM events WHERE response = $1 ORDER BY sequence DESC LIMIT 1";
        let row = conn.row(sql, &[Value::Text(self.id)]).await?;
        row.map(|row| row.int(0).map(unsigned)).transpose()
    }
}
