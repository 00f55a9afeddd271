//! Conversations themselves.

use bytes::Bytes;

use super::super::conn::{Conn, Fault, Row, Value};
use super::super::types::{Conversation, Item, StoreError};
use super::super::work::Operation;
use super::{items, now, saturated, unsigned, weight};

fn conversation(row: &Row) -> Result<Conversation, Fault> {
    Ok(Conversation {
        id: row.text(0)?,
        tenant: row.text(1)?,
        created_at: unsigned(row.int(2)?),
        metadata: row.bytes(3)?,
    })
}

/// Begins a conversation.
pub(in super::super) struct Create {
    pub(in super::super) conversation: Conversation,
    pub(in super::super) items: Vec<Item>,
}

impl Operation for Create {
    type Answer = ();

    async fn run(&self, conn: &mut Conn) -> Result<(), Fault> {
        if let Some(twice) = items::twice(&self.items) {
            return Err(Fault::Said(StoreError::Conflict(twice.to_owned())));
        }
        let new = &self.conversation;
        let created_at = saturated(new.created_at);
        let sql = "INSERT INTO conversations (id, tenant, created_at, next, newest, bytes, metadata) \
                   VALUES ($1, $2, $3, 0, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
        let values = [
            Value::Text(&new.id),
            Value::Text(&new.tenant),
            Value::Int(created_at),
            Value::Int(weight(&[&new.metadata])),
            Value::Bytes(&new.metadata),
        ];
        if conn.execute(sql, &values).await? == 0 {
            return Err(Fault::Said(StoreError::Conflict(new.id.clone())));
        }
        items::append(conn, &new.tenant, &new.id, &self.items, created_at).await?;
        Ok(())
    }
}

/// A conversation by its id.
pub(in super::super) struct Get<'a> {
    pub(in super::super) tenant: &'a str,
    pub(in super::super) id: &'a str,
}

impl Operation for Get<'_> {
    type Answer = Option<Conversation>;

    async fn run(&self, conn: &mut Conn) -> Result<Option<Conversation>, Fault> {
        let sql = "SELECT id, tenant, created_at, metadata FROM conversations \
                   WHERE id = $1 AND tenant = $2";
        let values = [Value::Text(self.id), Value::Text(self.tenant)];
        let row = conn.row(sql, &values).await?;
        row.as_ref().map(conversation).transpose()
    }
}

/// Gives a conversation other metadata.
pub(in super::super) struct Update {
    pub(in super::super) tenant: String,
    pub(in super::super) id: String,
    pub(in super::super) metadata: Bytes,
}

impl Operation for Update {
    type Answer = Option<Conversation>;

    async fn run(&self, conn: &mut Conn) -> Result<Option<Conversation>, Fault> {
        let now = now(conn).await?;
        let sql = "UPDATE conversations SET bytes = bytes - length(metadata) + $1, metadata = $2, \
                   newest = CASE WHEN newest < $3 THEN $3 ELSE newest END \
                   WHERE id = $4 AND tenant = $5 RETURNING id, tenant, created_at, metadata";
        let values = [
            Value::Int(saturated(self.metadata.len())),
            Value::Bytes(&self.metadata),
            Value::Int(now),
            Value::Text(&self.id),
            Value::Text(&self.tenant),
        ];
        let row = conn.row(sql, &values).await?;
        row.as_ref().map(conversation).transpose()
    }
}

/// Takes a conversation away, with its items. Responses that were made in it stay.
pub(in super::super) struct Delete {
    pub(in super::super) tenant: String,
    pub(in super::super) id: String,
}

impl Operation for Delete {
    type Answer = bool;

    async fn run(&self, conn: &mut Conn) -> Result<bool, Fault> {
        let sql = "DELETE FROM conversations WHERE id = $1 AND tenant = $2";
        let values = [Value::Text(&self.id), Value::Text(&self.tenant)];
        Ok(conn.execute(sql, &values).await? > 0)
    }
}
