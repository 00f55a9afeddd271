//! Responses and the chains that they form.
//!
//! A response has a chain and a place in it. The first that continues the end of a chain gets the
//! next place; any other begins a chain of its own, which lists the parts of older chains that it
//! begins with. So a whole history is a few ranges of one index, however long and however often
//! forked. Places are never given out twice, and a history is whole only if it has as many
//! responses as its last one's place says: one that was deleted, or never known, shows as a gap.

use bytes::{Buf, Bytes};

use super::super::conn::{Conn, Fault, Value};
use super::super::types::{Item, Record, StoreError, Turn};
use super::super::work::Operation;
use super::{list, record, record_columns, saturated, status, unsigned, weight_of};

/// Where a response stands.
#[derive(Clone, Copy)]
pub(in super::super) struct Stand {
    pub(super) chain: i64,
    place: i64,
}

/// Keeps a response that has ended.
pub(in super::super) struct Save {
    pub(in super::super) record: Record,
    pub(in super::super) items: Vec<Item>,
}

impl Operation for Save {
    type Answer = ();

    async fn run(&self, conn: &mut Conn) -> Result<(), Fault> {
        insert(conn, &self.record).await?;
        super::items::follow(conn, &self.record, &self.items).await
    }
}

/// Puts the response into its chain.
pub(super) async fn insert(conn: &mut Conn, record: &Record) -> Result<Stand, Fault> {
    let bytes = weight_of(record);
    let created_at = saturated(record.created_at);
    let stand = stand(conn, record, created_at, bytes).await?;
    let sql = "INSERT INTO responses (id, tenant, chain, place, previous, conversation, created_at, \
               background, status, bytes, input, output, body) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
               ON CONFLICT (id) DO NOTHING";
    let values = [
        Value::Text(&record.id),
        Value::Text(&record.tenant),
        Value::Int(stand.chain),
        Value::Int(stand.place),
        Value::Maybe(record.previous.as_deref()),
        Value::Maybe(record.conversation.as_deref()),
        Value::Int(created_at),
        Value::Int(record.background.into()),
        Value::Text(record.status.as_str()),
        Value::Int(bytes),
        Value::Bytes(&record.input),
        Value::Bytes(&record.output),
        Value::Bytes(&record.body),
    ];
    match conn.execute(sql, &values).await? {
        0 => Err(Fault::Said(StoreError::Conflict(record.id.clone()))),
        _ => Ok(stand),
    }
}

/// Finds the place behind the response that this one continues.
async fn stand(
    conn: &mut Conn,
    record: &Record,
    created_at: i64,
    bytes: i64,
) -> Result<Stand, Fault> {
    let Some(previous) = &record.previous else {
        let chain = begin(conn, 1, created_at, bytes).await?;
        return Ok(Stand { chain, place: 0 });
    };
    let sql = "SELECT chain, place FROM responses WHERE id = $1 AND tenant = $2";
    let values = [Value::Text(previous), Value::Text(&record.tenant)];
    let Some(row) = conn.row(sql, &values).await? else {
        // It is gone, so place 0 stays empty and this history is never whole.
        let chain = begin(conn, 2, created_at, bytes).await?;
        return Ok(Stand { chain, place: 1 });
    };
    let (chain, place) = (row.int(0)?, row.int(1)? + 1);
    let sql = "UPDATE chains SET next = next + 1, bytes = bytes + $1, \
               newest = CASE WHEN newest < $2 THEN $2 ELSE newest END \
               WHERE id = $3 AND next = $4";
    let values = [bytes, created_at, chain, place].map(Value::Int);
    if conn.execute(sql, &values).await? == 1 {
        return Ok(Stand { chain, place });
    }
    let fork = begin(conn, place + 1, created_at, bytes).await?;
    let sql = "INSERT INTO chain_parts (chain, part, upto) \
               SELECT $1, part, upto FROM chain_parts WHERE chain = $2";
    conn.execute(sql, &[fork, chain].map(Value::Int)).await?;
    let sql = "INSERT INTO chain_parts (chain, part, upto) VALUES ($1, $2, $3)";
    let values = [fork, chain, place - 1].map(Value::Int);
    conn.execute(sql, &values).await?;
    Ok(Stand { chain: fork, place })
}

async fn begin(conn: &mut Conn, next: i64, newest: i64, bytes: i64) -> Result<i64, Fault> {
    let sql = "INSERT INTO chains (next, newest, bytes) VALUES ($1, $2, $3) RETURNING id";
    let values = [next, newest, bytes].map(Value::Int);
    let row = conn.row(sql, &values).await?;
    row.ok_or(Fault::Database(sqlx::Error::RowNotFound))?.int(0)
}

/// A response by its id.
pub(in super::super) struct Get<'a> {
    pub(in super::super) tenant: &'a str,
    pub(in super::super) id: &'a str,
}

impl Operation for Get<'_> {
    type Answer = Option<Record>;

    async fn run(&self, conn: &mut Conn) -> Result<Option<Record>, Fault> {
        let sql = concat!(
            "SELECT ",
            record_columns!(),
            " FROM responses r WHERE r.id = $1 AND r.tenant = $2"
        );
        let values = [Value::Text(self.id), Value::Text(self.tenant)];
        let row = conn.row(sql, &values).await?;
        row.as_ref().map(record).transpose()
    }
}

/// Takes a response away, with its work and its events.
pub(in super::super) struct Delete {
    pub(in super::super) tenant: String,
    pub(in super::super) id: String,
}

impl Operation for Delete {
    type Answer = bool;

    async fn run(&self, conn: &mut Conn) -> Result<bool, Fault> {
        let values = [Value::Text(&self.id), Value::Text(&self.tenant)];
        // Locks are taken in the order in which all others take them: the job first.
        let sql = "DELETE FROM jobs WHERE response IN \
                   (SELECT id FROM responses WHERE id = $1 AND tenant = $2)";
        let worked = conn.execute(sql, &values).await? > 0;
        let sql = "DELETE FROM responses WHERE id = $1 AND tenant = $2 RETURNING chain, bytes";
        let Some(row) = conn.row(sql, &values).await? else {
            return Ok(false);
        };
        let (chain, bytes) = (row.int(0)?, row.int(1)?);
        let sql = "UPDATE chains SET bytes = bytes - $1 WHERE id = $2";
        conn.execute(sql, &[bytes, chain].map(Value::Int)).await?;
        // The last one's chain goes with it, unless another begins with it.
        let sql = "DELETE FROM chains WHERE id = $1 \
                   AND NOT EXISTS (SELECT 1 FROM responses WHERE chain = $1) \
                   AND NOT EXISTS (SELECT 1 FROM chain_parts WHERE part = $1)";
        conn.execute(sql, &[Value::Int(chain)]).await?;
        if worked {
            conn.tell(&self.id).await?;
        }
        Ok(true)
    }
}

/// The text of [`HISTORY`].
macro_rules! history {
    () => {
        "WITH last AS (SELECT chain, place FROM responses WHERE id = $1 AND tenant = $2) \
         SELECT r.place, r.id, r.status, r.input, r.output FROM last \
         JOIN responses r ON r.chain = last.chain AND r.place <= last.place \
         UNION ALL \
         SELECT r.place, r.id, r.status, r.input, r.output FROM last \
         JOIN chain_parts p ON p.chain = last.chain \
         JOIN responses r ON r.chain = p.part AND r.place <= p.upto"
    };
}

/// The statement behind [`History`].
pub(in super::super) const HISTORY: &str = history!();

/// Between the columns and between the rows of [`HISTORY_IN_ONE`]: signs that JSON has nowhere.
const COLUMN: u8 = 1;
const ROW: u8 = 2;

/// The same in one row, since SQLite hands each row from one thread to another.
const HISTORY_IN_ONE: &str = concat!(
    "SELECT group_concat(concat_ws(char(1), place, id, status, input, output), char(2)) FROM (",
    history!(),
    ")"
);

/// All that led to a response, and it.
pub(in super::super) struct History<'a> {
    pub(in super::super) tenant: &'a str,
    pub(in super::super) id: &'a str,
}

impl Operation for History<'_> {
    type Answer = Option<Vec<Turn>>;

    async fn run(&self, conn: &mut Conn) -> Result<Option<Vec<Turn>>, Fault> {
        let values = [Value::Text(self.id), Value::Text(self.tenant)];
        let mut turns = if conn.is_sqlite() {
            let row = conn.row(HISTORY_IN_ONE, &values).await?;
            let told = row.map(|row| row.maybe_bytes(0)).transpose()?.flatten();
            told.map(|told| taken_apart(&told)).unwrap_or_default()
        } else {
            let mut turns = Vec::new();
            for row in conn.rows(HISTORY, &values).await? {
                let turn = Turn {
                    id: row.text(1)?,
                    status: status(&row.text(2)?),
                    input: row.bytes(3)?,
                    output: row.bytes(4)?,
                };
                turns.push((unsigned(row.int(0)?), turn));
            }
            turns
        };
        // The parts come in any order.
        turns.sort_unstable_by_key(|(place, _)| *place);
        let whole = !turns.is_empty() && (0..).zip(&turns).all(|(at, (place, _))| at == *place);
        // Sorted and without a gap, the last is the one that was asked for.
        Ok(whole.then(|| turns.into_iter().map(|(_, turn)| turn).collect()))
    }
}

/// The turns in the one row, which they share.
fn taken_apart(told: &Bytes) -> Vec<(u64, Turn)> {
    let mut start = 0;
    let ends = memchr::memchr_iter(ROW, told).chain([told.len()]);
    let rows = ends.map(|end| told.slice(std::mem::replace(&mut start, end + 1)..end));
    rows.filter_map(turn).collect()
}

/// A turn and its place.
fn turn(row: Bytes) -> Option<(u64, Turn)> {
    let mut rest = row;
    let mut column = || {
        let end = memchr::memchr(COLUMN, &rest)?;
        let column = rest.split_to(end);
        rest.advance(1);
        Some(column)
    };
    let (place, id, state, input) = (column()?, column()?, column()?, column()?);
    let turn = Turn {
        id: std::str::from_utf8(&id).ok()?.to_owned(),
        status: status(std::str::from_utf8(&state).ok()?),
        input,
        output: rest,
    };
    Some((std::str::from_utf8(&place).ok()?.parse().ok()?, turn))
}

/// Single responses' turns.
pub(in super::super) struct Turns<'a> {
    pub(in super::super) tenant: &'a str,
    pub(in super::super) ids: &'a [String],
}

impl Operation for Turns<'_> {
    type Answer = Vec<Turn>;

    async fn run(&self, conn: &mut Conn) -> Result<Vec<Turn>, Fault> {
        let mut turns = Vec::new();
        for ids in self.ids.chunks(100) {
            let sql = format!(
                "SELECT id, status, input, output FROM responses WHERE tenant = $1 AND id IN {}",
                list(1, ids.len())
            );
            let mut values = vec![Value::Text(self.tenant)];
            values.extend(ids.iter().map(|id| Value::Text(id)));
            for row in conn.rows(sqlx::AssertSqlSafe(sql), &values).await? {
                turns.push(Turn {
                    id: row.text(0)?,
                    status: status(&row.text(1)?),
                    input: row.bytes(2)?,
                    output: row.bytes(3)?,
                });
            }
        }
        Ok(turns)
    }
}
