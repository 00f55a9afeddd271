//! The operations, one type each: what is asked, and the statements that answer it.

pub(super) mod background;
pub(super) mod conversations;
pub(super) mod items;
pub(super) mod responses;
pub(super) mod sweep;

use super::conn::{Conn, Fault, Row, Value};
use super::types::{Record, Status};

/// What a row weighs besides its bodies: its index entries and its frame.
const ROW: usize = 256;

/// The weight of a row, as the limit on the store's size counts it.
fn weight(bodies: &[&[u8]]) -> i64 {
    let bytes: usize = bodies.iter().map(|body| body.len()).sum();
    saturated(bytes + ROW)
}

fn weight_of(record: &Record) -> i64 {
    weight(&[&record.body, &record.input, &record.output])
}

/// Databases count with a sign.
fn saturated(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// What cannot be negative but in a database that somebody else wrote to.
fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

/// The columns that [`record`] reads, for a table that is called `r`.
macro_rules! record_columns {
    () => {
        "r.id, r.tenant, r.previous, r.conversation, r.created_at, r.background, r.status, r.input, \
         r.output, r.body"
    };
}
use record_columns;

fn record(row: &Row) -> Result<Record, Fault> {
    Ok(Record {
        id: row.text(0)?,
        tenant: row.text(1)?,
        previous: row.maybe(2)?,
        conversation: row.maybe(3)?,
        created_at: unsigned(row.int(4)?),
        background: row.int(5)? != 0,
        status: status(&row.text(6)?),
        input: row.bytes(7)?,
        output: row.bytes(8)?,
        body: row.bytes(9)?,
    })
}

/// A word that no version wrote can only be damage.
fn status(word: &str) -> Status {
    Status::parse(word).unwrap_or(Status::Failed)
}

/// `($2, $3, …)` for so many values, behind `before` others.
fn list(before: usize, values: usize) -> String {
    let numbers: Vec<String> = (1..=values).map(|at| format!("${}", before + at)).collect();
    format!("({})", numbers.join(", "))
}

/// Unix time in seconds by the database's clock.
async fn now(conn: &mut Conn) -> Result<i64, Fault> {
    Ok(conn.now_ms().await? / 1000)
}

/// The first number of the first row; 0 without one.
async fn number(conn: &mut Conn, sql: &'static str, values: &[Value<'_>]) -> Result<i64, Fault> {
    let row = conn.row(sql, values).await?;
    row.map_or(Ok(0), |row| row.int(0))
}
