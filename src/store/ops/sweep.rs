//! Drops what is too old, or the oldest where there is too much: a little in each transaction, so
//! that nobody waits long.
//!
//! A chain goes as a whole, by its newest response, and only when no other chain begins with it: a
//! living history keeps its beginning. Work that has not ended keeps its chain and conversation.

use super::super::conn::{Conn, Fault, Value};
use super::super::types::Swept;
use super::super::work::Operation;
use super::{ROW, list, now, number, saturated, unsigned};

/// The most rows that one transaction drops.
const BUDGET: i64 = 64;

/// How many pages of a SQLite file stay free for what comes next, and how many one transaction
/// gives back to the system.
const SPARE_PAGES: i64 = 256;

/// One transaction's share of a sweep.
pub(in super::super) struct Sweep {
    /// The age in seconds from which on things go.
    pub(in super::super) max_age: Option<i64>,
    /// The size that the store may have.
    pub(in super::super) max_bytes: Option<i64>,
}

impl Operation for Sweep {
    /// What went, and whether there may be more to do.
    type Answer = (Swept, bool);

    async fn run(&self, conn: &mut Conn) -> Result<(Swept, bool), Fault> {
        let mut swept = Swept::default();
        let mut budget = BUDGET;
        if let Some(max_age) = self.max_age {
            let before = now(conn).await?.saturating_sub(max_age);
            while budget > 0 && oldest(conn, before, &mut budget, &mut swept).await? {}
        }
        if let Some(max_bytes) = self.max_bytes
            && budget > 0
        {
            let surplus = size(conn).await?.saturating_sub(max_bytes);
            let surplus = unsigned(surplus);
            let already = swept.bytes;
            while budget > 0
                && swept.bytes - already < surplus
                && oldest(conn, i64::MAX, &mut budget, &mut swept).await?
            {}
        }
        Ok((swept, budget <= 0))
    }
}

/// What the bodies weigh.
async fn size(conn: &mut Conn) -> Result<i64, Fault> {
    let chains = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM chains";
    let conversations = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM conversations";
    Ok(number(conn, chains, &[]).await? + number(conn, conversations, &[]).await?)
}

/// Drops the oldest chain or conversation whose newest part is from before that time, or as much
/// of it as the budget allows. Says whether there was one.
async fn oldest(
    conn: &mut Conn,
    before: i64,
    budget: &mut i64,
    swept: &mut Swept,
) -> Result<bool, Fault> {
    // What another transaction has in its hands is living, or swept by another replica.
    let sql = conn.pick(
        "SELECT id, newest FROM chains c WHERE newest < $1 \
         AND NOT EXISTS (SELECT 1 FROM chain_parts WHERE part = c.id) \
         AND NOT EXISTS (SELECT 1 FROM jobs WHERE chain = c.id) \
         ORDER BY newest, id LIMIT 1",
        "SELECT id, newest FROM chains c WHERE newest < $1 \
         AND NOT EXISTS (SELECT 1 FROM chain_parts WHERE part = c.id) \
         AND NOT EXISTS (SELECT 1 FROM jobs WHERE chain = c.id) \
         ORDER BY newest, id LIMIT 1 FOR UPDATE SKIP LOCKED",
    );
    let chain = conn.row(sql, &[Value::Int(before)]).await?;
    let sql = conn.pick(
        "SELECT id, newest FROM conversations c WHERE newest < $1 \
         AND NOT EXISTS (SELECT 1 FROM jobs WHERE conversation = c.id) \
         ORDER BY newest, id LIMIT 1",
        "SELECT id, newest FROM conversations c WHERE newest < $1 \
         AND NOT EXISTS (SELECT 1 FROM jobs WHERE conversation = c.id) \
         ORDER BY newest, id LIMIT 1 FOR UPDATE SKIP LOCKED",
    );
    let conversation = conn.row(sql, &[Value::Int(before)]).await?;
    match (chain, conversation) {
        (None, None) => Ok(false),
        (Some(chain), Some(conversation)) if conversation.int(1)? < chain.int(1)? => {
            drop_conversation(conn, &conversation.text(0)?, budget, swept).await?;
            Ok(true)
        }
        (Some(chain), _) => {
            drop_chain(conn, chain.int(0)?, budget, swept).await?;
            Ok(true)
        }
        (None, Some(conversation)) => {
            drop_conversation(conn, &conversation.text(0)?, budget, swept).await?;
            Ok(true)
        }
    }
}

async fn drop_chain(
    conn: &mut Conn,
    chain: i64,
    budget: &mut i64,
    swept: &mut Swept,
) -> Result<(), Fault> {
    let sql = "SELECT id, bytes FROM responses WHERE chain = $1 ORDER BY place LIMIT $2";
    let rows = conn.rows(sql, &[chain, *budget].map(Value::Int)).await?;
    let mut ids = Vec::with_capacity(rows.len());
    let mut bytes = 0;
    for row in &rows {
        ids.push(row.text(0)?);
        bytes += row.int(1)?;
    }
    if !ids.is_empty() {
        let sql = format!("DELETE FROM responses WHERE id IN {}", list(0, ids.len()));
        let values: Vec<Value<'_>> = ids.iter().map(|id| Value::Text(id)).collect();
        conn.execute(sqlx::AssertSqlSafe(sql), &values).await?;
    }
    let all = saturated(rows.len()) < *budget;
    let sql = if all {
        "DELETE FROM chains WHERE id = $1"
    } else {
        "UPDATE chains SET bytes = bytes - $2 WHERE id = $1"
    };
    let values = [chain, bytes].map(Value::Int);
    let values = if all { &values[..1] } else { &values[..] };
    conn.execute(sql, values).await?;
    *budget -= saturated(rows.len()) + 1;
    swept.responses += rows.len() as u64;
    swept.bytes += unsigned(bytes);
    Ok(())
}

async fn drop_conversation(
    conn: &mut Conn,
    id: &str,
    budget: &mut i64,
    swept: &mut Swept,
) -> Result<(), Fault> {
    let sql = "SELECT place, CAST(length(json) AS BIGINT) FROM items WHERE conversation = $1 \
               ORDER BY place LIMIT $2";
    let values = [Value::Text(id), Value::Int(*budget)];
    let rows = conn.rows(sql, &values).await?;
    if saturated(rows.len()) < *budget {
        let sql = "DELETE FROM conversations WHERE id = $1 RETURNING bytes";
        if let Some(row) = conn.row(sql, &[Value::Text(id)]).await? {
            swept.conversations += 1;
            swept.bytes += unsigned(row.int(0)?);
        }
    } else {
        let mut bytes = 0;
        let mut last = 0;
        for row in &rows {
            last = row.int(0)?;
            bytes += row.int(1)? + saturated(ROW);
        }
        let sql = "DELETE FROM items WHERE conversation = $1 AND place <= $2";
        let values = [Value::Text(id), Value::Int(last)];
        conn.execute(sql, &values).await?;
        let sql = "UPDATE conversations SET bytes = bytes - $2 WHERE id = $1";
        let values = [Value::Text(id), Value::Int(bytes)];
        conn.execute(sql, &values).await?;
        swept.bytes += unsigned(bytes);
    }
    *budget -= saturated(rows.len()) + 1;
    Ok(())
}

/// Gives pages of a SQLite file that hold nothing back to the system. Postgres does so by itself.
pub(in super::super) struct GiveBack;

impl Operation for GiveBack {
    /// Whether there is more to give back.
    type Answer = bool;

    async fn run(&self, conn: &mut Conn) -> Result<bool, Fault> {
        if conn.pick("sqlite", "postgres") == "postgres" {
            return Ok(false);
        }
        if number(conn, "PRAGMA freelist_count", &[]).await? <= SPARE_PAGES {
            return Ok(false);
        }
        conn.execute("PRAGMA incremental_vacuum(128)", &[]).await?;
        Ok(true)
    }
}
