//! The items of conversations. Each has a place; places are never given out twice.

use std::collections::HashSet;

use super::super::conn::{Conn, Fault, Row, Value};
use super::super::types::{Item, Items, Page, Record, StoreError};
use super::super::work::Operation;
use super::{list, now, number, saturated, weight};

fn item(row: &Row) -> Result<Item, Fault> {
    Ok(Item {
        id: row.text(0)?,
        json: row.bytes(1)?,
    })
}

/// Puts items at the end. Says how many were new, `None` if there is no such conversation. Those
/// that it has already, by their ids, stay as they are.
pub(super) async fn append(
    conn: &mut Conn,
    tenant: &str,
    conversation: &str,
    items: &[Item],
    at: i64,
) -> Result<Option<usize>, Fault> {
    let bytes: i64 = items.iter().map(weigh).sum();
    // The row's lock puts those who append at the same time one behind the other.
    let sql = "UPDATE conversations SET next = next + $1, bytes = bytes + $2, \
               newest = CASE WHEN newest < $3 THEN $3 ELSE newest END \
               WHERE id = $4 AND tenant = $5 RETURNING next";
    let values = [
        Value::Int(saturated(items.len())),
        Value::Int(bytes),
        Value::Int(at),
        Value::Text(conversation),
        Value::Text(tenant),
    ];
    let Some(row) = conn.row(sql, &values).await? else {
        return Ok(None);
    };
    let first = row.int(0)? - saturated(items.len());
    let sql = "INSERT INTO items (conversation, place, id, json) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (conversation, id) DO NOTHING";
    let mut new = 0;
    for (place, item) in (first..).zip(items) {
        let values = [
            Value::Text(conversation),
            Value::Int(place),
            Value::Text(&item.id),
            Value::Bytes(&item.json),
        ];
        if conn.execute(sql, &values).await? > 0 {
            new += 1;
        } else {
            lighten(conn, conversation, weigh(item)).await?;
        }
    }
    Ok(Some(new))
}

fn weigh(item: &Item) -> i64 {
    weight(&[&item.json])
}

async fn lighten(conn: &mut Conn, conversation: &str, bytes: i64) -> Result<(), Fault> {
    let sql = "UPDATE conversations SET bytes = bytes - $1 WHERE id = $2";
    let values = [Value::Int(bytes), Value::Text(conversation)];
    conn.execute(sql, &values).await.map(drop)
}

/// The conversation goes on by what a response added to it. If it was deleted meanwhile, there is
/// nothing to go on.
pub(super) async fn follow(conn: &mut Conn, record: &Record, items: &[Item]) -> Result<(), Fault> {
    let Some(conversation) = &record.conversation else {
        return Ok(());
    };
    let at = saturated(record.created_at);
    append(conn, &record.tenant, conversation, items, at).await?;
    Ok(())
}

/// Puts items at the end of a conversation: all, or none if it has one of them.
pub(in super::super) struct Add {
    pub(in super::super) tenant: String,
    pub(in super::super) conversation: String,
    pub(in super::super) items: Vec<Item>,
}

impl Operation for Add {
    type Answer = bool;

    async fn run(&self, conn: &mut Conn) -> Result<bool, Fault> {
        if let Some(twice) = taken(conn, &self.conversation, &self.tenant, &self.items).await? {
            return Err(Fault::Said(StoreError::Conflict(twice)));
        }
        let now = now(conn).await?;
        let added = append(conn, &self.tenant, &self.conversation, &self.items, now).await?;
        match added {
            Some(new) if new < self.items.len() => {
                Err(Fault::Said(StoreError::Conflict(self.conversation.clone())))
            }
            added => Ok(added.is_some()),
        }
    }
}

/// An item's id that comes twice.
pub(super) fn twice(items: &[Item]) -> Option<&str> {
    let mut seen = HashSet::with_capacity(items.len());
    let mut ids = items.iter().map(|item| item.id.as_str());
    ids.find(|id| !seen.insert(*id))
}

/// An item's id that the conversation has already, or that comes twice.
async fn taken(
    conn: &mut Conn,
    conversation: &str,
    tenant: &str,
    items: &[Item],
) -> Result<Option<String>, Fault> {
    if let Some(twice) = twice(items) {
        return Ok(Some(twice.to_owned()));
    }
    for items in items.chunks(100) {
        let sql = format!(
            "SELECT i.id FROM items i JOIN conversations c ON c.id = i.conversation \
             WHERE c.id = $1 AND c.tenant = $2 AND i.id IN {} LIMIT 1",
            list(2, items.len())
        );
        let mut values = vec![Value::Text(conversation), Value::Text(tenant)];
        values.extend(items.iter().map(|item| Value::Text(&item.id)));
        if let Some(row) = conn.row(sqlx::AssertSqlSafe(sql), &values).await? {
            return row.text(0).map(Some);
        }
    }
    Ok(None)
}

/// Whether the conversation is there for this tenant.
async fn known(conn: &mut Conn, tenant: &str, conversation: &str) -> Result<bool, Fault> {
    let sql = "SELECT CAST(1 AS BIGINT) FROM conversations WHERE id = $1 AND tenant = $2";
    let values = [Value::Text(conversation), Value::Text(tenant)];
    Ok(number(conn, sql, &values).await? == 1)
}

/// One page of a conversation's items.
pub(in super::super) struct List<'a> {
    pub(in super::super) tenant: &'a str,
    pub(in super::super) conversation: &'a str,
    pub(in super::super) page: &'a Page,
}

impl List<'_> {
    /// The place that a cursor stands for.
    async fn place(&self, conn: &mut Conn, cursor: Option<&String>) -> Result<Option<i64>, Fault> {
        let Some(cursor) = cursor else {
            return Ok(None);
        };
        let sql = "SELECT place FROM items WHERE conversation = $1 AND id = $2";
        let values = [Value::Text(self.conversation), Value::Text(cursor)];
        match conn.row(sql, &values).await? {
            Some(row) => row.int(0).map(Some),
            None => Err(Fault::Said(StoreError::UnknownCursor(cursor.clone()))),
        }
    }
}

impl Operation for List<'_> {
    type Answer = Option<Items>;

    async fn run(&self, conn: &mut Conn) -> Result<Option<Items>, Fault> {
        if !known(conn, self.tenant, self.conversation).await? {
            return Ok(None);
        }
        let page = self.page;
        let after = self.place(conn, page.after.as_ref()).await?;
        let before = self.place(conn, page.before.as_ref()).await?;
        let (low, high) = if page.ascending {
            (after, before)
        } else {
            (before, after)
        };
        // With `before` alone the page ends there, so it is read backwards.
        let backwards = before.is_some() && after.is_none();
        let sql = if page.ascending == backwards {
            "SELECT id, json FROM items WHERE conversation = $1 AND place > $2 AND place < $3 \
             ORDER BY place DESC LIMIT $4"
        } else {
            "SELECT id, json FROM items WHERE conversation = $1 AND place > $2 AND place < $3 \
             ORDER BY place LIMIT $4"
        };
        let values = [
            Value::Text(self.conversation),
            Value::Int(low.unwrap_or(-1)),
            Value::Int(high.unwrap_or(i64::MAX)),
            Value::Int(saturated(page.limit.saturating_add(1))),
        ];
        let rows = conn.rows(sql, &values).await?;
        let has_more = rows.len() > page.limit;
        let rows = rows.iter().take(page.limit);
        let mut items = rows.map(item).collect::<Result<Vec<_>, _>>()?;
        if backwards {
            items.reverse();
        }
        Ok(Some(Items { items, has_more }))
    }
}

/// All items of a conversation, the oldest first.
pub(in super::super) struct All<'a> {
    pub(in super::super) tenant: &'a str,
    pub(in super::super) conversation: &'a str,
}

impl Operation for All<'_> {
    type Answer = Option<Vec<Item>>;

    async fn run(&self, conn: &mut Conn) -> Result<Option<Vec<Item>>, Fault> {
        if !known(conn, self.tenant, self.conversation).await? {
            return Ok(None);
        }
        let sql = "SELECT id, json FROM items WHERE conversation = $1 ORDER BY place";
        let rows = conn.rows(sql, &[Value::Text(self.conversation)]).await?;
        rows.iter().map(item).collect::<Result<_, _>>().map(Some)
    }
}

/// One item.
pub(in super::super) struct Get<'a> {
    pub(in super::super) tenant: &'a str,
    pub(in super::super) conversation: &'a str,
    pub(in super::super) item: &'a str,
}

impl Operation for Get<'_> {
    type Answer = Option<Item>;

    async fn run(&self, conn: &mut Conn) -> Result<Option<Item>, Fault> {
        let sql = "SELECT i.id, i.json FROM items i JOIN conversations c ON c.id = i.conversation \
                   WHERE c.id = $1 AND c.tenant = $2 AND i.id = $3";
        let values = [
            Value::Text(self.conversation),
            Value::Text(self.tenant),
            Value::Text(self.item),
        ];
        let row = conn.row(sql, &values).await?;
        row.as_ref().map(item).transpose()
    }
}

/// Takes an item out of its conversation.
pub(in super::super) struct Delete {
    pub(in super::super) tenant: String,
    pub(in super::super) conversation: String,
    pub(in super::super) item: String,
}

impl Operation for Delete {
    type Answer = bool;

    async fn run(&self, conn: &mut Conn) -> Result<bool, Fault> {
        let sql = "DELETE FROM items WHERE id = $3 AND conversation IN \
                   (SELECT id FROM conversations WHERE id = $1 AND tenant = $2) RETURNING json";
        let values = [
            Value::Text(&self.conversation),
            Value::Text(&self.tenant),
            Value::Text(&self.item),
        ];
        let Some(row) = conn.row(sql, &values).await? else {
            return Ok(false);
        };
        lighten(conn, &self.conversation, weight(&[&row.bytes(0)?])).await?;
        Ok(true)
    }
}
