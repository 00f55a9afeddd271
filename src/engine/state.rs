//! Stored responses, as the API shows them.

use super::background::{ended, last_event};
use super::caller::Caller;
use super::follow::Follow;
use super::keep::unavailable;
use super::{Engine, Reply, frames};
use crate::responses::{ErrorObject, kept, replay};
use crate::sse;
use crate::store::{Page, Record, Status, Store};
use crate::upstream::Refusal;

/// How a stored response is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown {
    /// With what was sealed.
    pub sealed: bool,
    /// As a stream.
    pub stream: bool,
    /// From the event behind this one on.
    pub starting_after: Option<u64>,
}

/// A page of a list that is asked for.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Which part.
    pub page: Page,
    /// With what was sealed.
    pub sealed: bool,
}

impl Engine {
    /// `GET /v1/responses/{id}`
    ///
    /// # Errors
    /// 404 for what is not there or another's, 503 when the store fails.
    pub async fn response(
        &self,
        id: &str,
        caller: &Caller,
        shown: Shown,
    ) -> Result<Reply, Refusal> {
        let (store, record) = self.stored(id, caller).await?;
        if !shown.stream {
            // Its object is written at the beginning and at the end; that it has begun is written
            // beside it.
            let body = match record.status {
                Status::InProgress => kept::ended(&record.body, record.status.as_str(), None),
                _ => record.body.to_vec(),
            };
            return Ok(Reply::Whole(kept::join(
                &body,
                &record.output,
                shown.sealed,
            )));
        }
        if record.background {
            let follow = self.follow(store, record.tenant, record.id, shown.starting_after);
            return Ok(Reply::Follow(follow));
        }
        let events = replay::replay(&record.body, &record.output, shown.sealed);
        let mut chunk = Vec::new();
        for event in &events {
            if shown
                .starting_after
                .is_none_or(|after| event.sequence > after)
            {
                chunk.extend_from_slice(&frames::frame(event.kind, &event.json));
            }
        }
        if self.settings.done_sentinel {
            chunk.extend_from_slice(sse::DONE);
        }
        Ok(Reply::Follow(Follow::of_chunk(chunk.into())))
    }

    /// `DELETE /v1/responses/{id}`
    ///
    /// # Errors
    /// As [`Engine::response`].
    pub async fn delete_response(&self, id: &str, caller: &Caller) -> Result<Vec<u8>, Refusal> {
        let store = self.kept.store.as_ref().ok_or_else(|| not_found(id))?;
        let deleted = store
            .delete(&caller.tenant, id)
            .await
            .map_err(|error| unavailable(&error))?;
        if !deleted {
            return Err(not_found(id));
        }
        self.kept.held.stop(id);
        Ok(deleted_object(id, "response"))
    }

    /// `POST /v1/responses/{id}/cancel`
    ///
    /// # Errors
    /// As [`Engine::response`]; 400 for a response that is not of the background.
    pub async fn cancel_response(&self, id: &str, caller: &Caller) -> Result<Vec<u8>, Refusal> {
        let (store, record) = self.stored(id, caller).await?;
        if !record.background {
            let error = ErrorObject::invalid("Cannot cancel a synchronous response.");
            return Err(Refusal::bad_request(error));
        }
        if record.status.is_final() {
            return Ok(kept::join(&record.body, &record.output, false));
        }
        let output = self.partial_output(&record).await;
        let record = ended(record, Status::Cancelled, None, output);
        let json = kept::join(&record.body, &record.output, false);
        let last = last_event(&record);
        let cancelled = store
            .cancel(record, last)
            .await
            .map_err(|error| unavailable(&error))?;
        self.kept.held.stop(id);
        if cancelled {
            tracing::info!(response.id = %id, "cancelled");
            return Ok(json);
        }
        // It came to its end just before.
        let (_, record) = self.stored(id, caller).await?;
        Ok(kept::join(&record.body, &record.output, false))
    }

    /// `GET /v1/responses/{id}/input_items`
    ///
    /// # Errors
    /// As [`Engine::response`]; 400 for a cursor that is not in the list.
    pub async fn input_items(
        &self,
        id: &str,
        caller: &Caller,
        listing: &Listing,
    ) -> Result<String, Refusal> {
        let (_, record) = self.stored(id, caller).await?;
        let mut items: Vec<(String, String)> = kept::split(&record.input)
            .into_iter()
            .map(|(id, raw)| (id.to_string(), kept::show(raw, listing.sealed)))
            .collect();
        let page = &listing.page;
        if !page.ascending {
            items.reverse();
        }
        let find = |cursor: &str, param: &'static str| {
            let at = items.iter().position(|(id, _)| id == cursor);
            at.ok_or_else(|| {
                let message = format!("No item with id '{cursor}' found to page from.");
                Refusal::bad_request(ErrorObject::invalid(message).with_param(param))
            })
        };
        let start = match &page.after {
            Some(cursor) => find(cursor, "after")? + 1,
            None => 0,
        };
        let end = match &page.before {
            Some(cursor) => find(cursor, "before")?,
            None => items.len(),
        };
        let part = items.get(start..end.max(start)).unwrap_or_default();
        // Before a cursor, the nearest are wanted.
        let nearest = page.before.is_some() && page.after.is_none();
        let has_more = part.len() > page.limit;
        let part = match nearest {
            true => part.get(part.len().saturating_sub(page.limit)..),
            false => part.get(..page.limit.min(part.len())),
        };
        Ok(kept::page(part.unwrap_or_default(), has_more))
    }

    async fn stored(&self, id: &str, caller: &Caller) -> Result<(&Store, Record), Refusal> {
        let store = self.kept.store.as_ref().ok_or_else(|| not_found(id))?;
        let record = store
            .response(&caller.tenant, id)
            .await
            .map_err(|error| unavailable(&error))?;
        let record = record.ok_or_else(|| {
            let mut refusal = not_found(id);
            refusal.error.message.push_str(self.kept.unkept.reason(id));
            refusal
        })?;
        Ok((store, record))
    }
}

fn not_found(id: &str) -> Refusal {
    let message = format!("Response with id '{id}' not found.");
    Refusal::new(404, ErrorObject::invalid(message))
}

/// What a client is told of something that is gone.
pub(super) fn deleted_object(id: &str, object: &str) -> Vec<u8> {
    // A string always serialises.
    let id = serde_json::to_string(id).unwrap_or_default();
    format!("{{\"id\":{id},\"object\":\"{object}\",\"deleted\":true}}").into_bytes()
}
