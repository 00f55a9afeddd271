//! Conversations: lists of items that requests read and append to.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::caller::Caller;
use super::history::no_conversation;
use super::keep::{self, unavailable};
use super::state::{Listing, deleted_object};
use super::{Engine, check};
use crate::json::{self, Text};
use crate::responses::request::Metadata;
use crate::responses::{CreateResponse, ErrorObject, kept};
use crate::store::{Conversation, Item, Store};
use crate::time::unix_now;
use crate::upstream::Refusal;

/// The most items that are added at a time.
const MAX_ITEMS: usize = 20;

/// The body of the requests about conversations.
#[derive(Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct ConversationBody<'a> {
    #[serde(default, borrow)]
    items: Option<&'a RawValue>,
    /// Twice an option: `null` clears what is there, and is something else than nothing.
    #[serde(default, deserialize_with = "given")]
    metadata: Option<Option<Metadata<'a>>>,
}

fn given<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    value: D,
) -> Result<Option<Option<Metadata<'a>>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Engine {
    /// `POST /v1/conversations`. `id` is 32 hex digits.
    ///
    /// # Errors
    /// 400 for what cannot be read, 503 when the store fails.
    pub async fn create_conversation(
        &self,
        body: &[u8],
        id: &str,
        caller: &Caller,
    ) -> Result<String, Refusal> {
        let store = self.shelf()?;
        let body = mend(body);
        let body = read(&body)?;
        let metadata = write_metadata(body.metadata.flatten().as_ref())?;
        let items = new_items(body.items, id)?;
        let conversation = Conversation {
            id: format!("conv_{id}"),
            tenant: caller.tenant.clone(),
            created_at: unix_now(),
            metadata,
        };
        let shown = show(&conversation);
        store
            .create_conversation(conversation, items)
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(shown)
    }

    /// `GET /v1/conversations/{id}`
    ///
    /// # Errors
    /// 404 for what is not there or another's, 503 when the store fails.
    pub async fn conversation(&self, id: &str, caller: &Caller) -> Result<String, Refusal> {
        let store = self.shelf().map_err(|_| no_conversation(id))?;
        let found = store
            .conversation(&caller.tenant, id)
            .await
            .map_err(|error| unavailable(&error))?;
        found
            .map(|conversation| show(&conversation))
            .ok_or_else(|| no_conversation(id))
    }

    /// `POST /v1/conversations/{id}`
    ///
    /// # Errors
    /// As [`Engine::conversation`], and 400 without metadata.
    pub async fn update_conversation(
        &self,
        id: &str,
        body: &[u8],
        caller: &Caller,
    ) -> Result<String, Refusal> {
        let store = self.shelf().map_err(|_| no_conversation(id))?;
        let body = mend(body);
        let body = read(&body)?;
        let metadata = body.metadata.ok_or_else(|| check::missing("metadata"))?;
        let metadata = write_metadata(metadata.as_ref())?;
        let found = store
            .update_conversation(&caller.tenant, id, metadata)
            .await
            .map_err(|error| unavailable(&error))?;
        found
            .map(|conversation| show(&conversation))
            .ok_or_else(|| no_conversation(id))
    }

    /// `DELETE /v1/conversations/{id}`
    ///
    /// # Errors
    /// As [`Engine::conversation`].
    pub async fn delete_conversation(&self, id: &str, caller: &Caller) -> Result<Vec<u8>, Refusal> {
        let store = self.shelf().map_err(|_| no_conversation(id))?;
        let deleted = store
            .delete_conversation(&caller.tenant, id)
            .await
            .map_err(|error| unavailable(&error))?;
        match deleted {
            true => Ok(deleted_object(id, "conversation.deleted")),
            false => Err(no_conversation(id)),
        }
    }

    /// `POST /v1/conversations/{id}/items`. `digits` are 32 hex digits for the items' ids.
    ///
    /// # Errors
    /// As [`Engine::conversation`], and 400 for items that cannot be read.
    pub async fn add_items(
        &self,
        id: &str,
        body: &[u8],
        digits: &str,
        caller: &Caller,
    ) -> Result<String, Refusal> {
        let store = self.shelf().map_err(|_| no_conversation(id))?;
        let body = mend(body);
        let body = read(&body)?;
        if body.items.is_none() {
            return Err(check::missing("items"));
        }
        let items = new_items(body.items, digits)?;
        let shown: Vec<(String, String)> =
            items.iter().map(|item| show_item(item, false)).collect();
        let added = store
            .add_items(&caller.tenant, id, items)
            .await
            .map_err(|error| unavailable(&error))?;
        match added {
            true => Ok(kept::page(&shown, false)),
            false => Err(no_conversation(id)),
        }
    }

    /// `GET /v1/conversations/{id}/items`
    ///
    /// # Errors
    /// As [`Engine::conversation`], and 400 for a cursor that is not in the list.
    pub async fn list_items(
        &self,
        id: &str,
        caller: &Caller,
        listing: &Listing,
    ) -> Result<String, Refusal> {
        let store = self.shelf().map_err(|_| no_conversation(id))?;
        let found = store
            .items(&caller.tenant, id, &listing.page)
            .await
            .map_err(|error| unavailable(&error))?;
        let found = found.ok_or_else(|| no_conversation(id))?;
        let shown: Vec<(String, String)> = found
            .items
            .iter()
            .map(|item| show_item(item, listing.sealed))
            .collect();
        Ok(kept::page(&shown, found.has_more))
    }

    /// `GET /v1/conversations/{id}/items/{item}`
    ///
    /// # Errors
    /// As [`Engine::conversation`].
    pub async fn item(
        &self,
        id: &str,
        item: &str,
        caller: &Caller,
        sealed: bool,
    ) -> Result<String, Refusal> {
        let store = self.shelf().map_err(|_| no_conversation(id))?;
        let found = store
            .item(&caller.tenant, id, item)
            .await
            .map_err(|error| unavailable(&error))?;
        found
            .map(|item| show_item(&item, sealed).1)
            .ok_or_else(|| no_item(item, id))
    }

    /// `DELETE /v1/conversations/{id}/items/{item}`; what is left is the conversation.
    ///
    /// # Errors
    /// As [`Engine::conversation`].
    pub async fn delete_item(
        &self,
        id: &str,
        item: &str,
        caller: &Caller,
    ) -> Result<String, Refusal> {
        let store = self.shelf().map_err(|_| no_conversation(id))?;
        let deleted = store
            .delete_item(&caller.tenant, id, item)
            .await
            .map_err(|error| unavailable(&error))?;
        if !deleted {
            return Err(no_item(item, id));
        }
        self.conversation(id, caller).await
    }

    fn shelf(&self) -> Result<&Store, Refusal> {
        self.kept.store.as_ref().ok_or_else(|| {
            let message =
                "This server keeps nothing (store.url = \"none\"): it has no conversations.";
            let error = ErrorObject::invalid(message).with_code("unsupported_operation");
            Refusal::bad_request(error)
        })
    }
}

fn read(body: &[u8]) -> Result<ConversationBody<'_>, Refusal> {
    let wrong = |message: String| Refusal::bad_request(ErrorObject::invalid(message));
    match body.trim_ascii_start().first() {
        None => return Ok(ConversationBody::default()),
        // A list of values would be read too.
        Some(b'[') => return Err(wrong("The body must be a JSON object.".to_owned())),
        Some(_) => {}
    }
    serde_json::from_slice(body).map_err(|error| {
        wrong(format!(
            "We could not parse the JSON body of your request: {error}."
        ))
    })
}

/// The body without halves of surrogate pairs, which stricter readers than ours stumble over.
fn mend(body: &[u8]) -> Cow<'_, [u8]> {
    CreateResponse::mend_surrogates(body).map_or(Cow::Borrowed(body), Cow::Owned)
}

fn no_item(item: &str, conversation: &str) -> Refusal {
    let message = format!("Item with id '{item}' not found in conversation '{conversation}'.");
    Refusal::new(404, ErrorObject::invalid(message))
}

fn write_metadata(metadata: Option<&Metadata<'_>>) -> Result<Bytes, Refusal> {
    let Some(metadata) = metadata else {
        return Ok(Bytes::from_static(b"{}"));
    };
    let pairs = metadata.0.iter();
    check::check_metadata(pairs.map(|(key, value)| (key.as_str(), value.as_str())))?;
    // Strings always serialise.
    Ok(Bytes::from(
        serde_json::to_vec(metadata).unwrap_or_default(),
    ))
}

fn new_items(items: Option<&RawValue>, digits: &str) -> Result<Vec<Item>, Refusal> {
    let Some(raw) = items.filter(|raw| raw.get() != "null") else {
        return Ok(Vec::new());
    };
    let wrong = |message: String| {
        let error = ErrorObject::invalid(message).with_param("items");
        Refusal::bad_request(error.with_code("invalid_value"))
    };
    // Read as a request's items are, so that none comes in that no request could use.
    let read: Vec<crate::responses::InputItem<'_>> = json::from_raw(raw)
        .map_err(|error| wrong(format!("Invalid value for 'items': {error}")))?;
    if read.len() > MAX_ITEMS {
        return Err(wrong(format!(
            "Invalid 'items': at most {MAX_ITEMS} items can be added at a time, not {}.",
            read.len()
        )));
    }
    let kept = kept::keep_input(raw, digits, |_| None);
    Ok(kept.iter().map(keep::item).collect())
}

fn show(conversation: &Conversation) -> String {
    let id: Text<'_> = Text::from(conversation.id.as_str());
    // A string always serialises.
    let id = serde_json::to_string(&id).unwrap_or_default();
    let metadata = String::from_utf8_lossy(&conversation.metadata);
    format!(
        "{{\"id\":{id},\"object\":\"conversation\",\"created_at\":{},\"metadata\":{metadata}}}",
        conversation.created_at
    )
}

fn show_item(item: &Item, sealed: bool) -> (String, String) {
    let raw: Result<&RawValue, _> = serde_json::from_slice(&item.json);
    let json = raw.map_or_else(
        |_| String::from_utf8_lossy(&item.json).into_owned(),
        |raw| kept::show(raw, sealed),
    );
    (item.id.clone(), json)
}
