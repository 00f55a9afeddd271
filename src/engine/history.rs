//! What a request continues: a chain of responses, a conversation, single items.

use std::collections::HashMap;

use bytes::Bytes;

use super::Engine;
use super::caller::Caller;
use super::keep::unavailable;
use crate::json::{self, TextOr};
use crate::responses::input::InputItem;
use crate::responses::{CreateResponse, ErrorObject, kept};
use crate::store::{Status, Turn};
use crate::upstream::Refusal;

/// What a request continues, loaded.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The responses before, the oldest first.
    pub(super) turns: Vec<Turn>,
    /// The conversation's items.
    conversation: Vec<Bytes>,
    /// Items that are referred to, by their ids.
    referred: HashMap<String, String>,
}

impl History {
    /// Puts what was loaded into the request.
    ///
    /// # Errors
    /// When what is stored cannot be read.
    pub(super) fn enter<'a>(&'a self, request: &mut CreateResponse<'a>) -> Result<(), Refusal> {
        for turn in &self.turns {
            for list in [&turn.input, &turn.output] {
                let items: Vec<InputItem<'a>> = read(list)?;
                request.history.extend(items);
            }
        }
        for item in &self.conversation {
            request.history.push(read(item)?);
        }
        if let Some(TextOr::List(items)) = request.input.as_mut().map(|input| &mut input.value) {
            for item in items {
                if let InputItem::Reference(Some(id)) = item
                    && let Some(json) = self.find(id)
                {
                    *item = read(json.as_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// Whether there is nothing of it.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.conversation.is_empty() && self.referred.is_empty()
    }

    /// The JSON of an item that the request refers to.
    pub(super) fn find(&self, id: &str) -> Option<&str> {
        self.referred.get(id).map(String::as_str)
    }

    /// All items as JSON, the oldest first.
    pub(super) fn raw_items(&self) -> Vec<&str> {
        let lists = self
            .turns
            .iter()
            .flat_map(|turn| [&turn.input, &turn.output]);
        let chain = lists.flat_map(|list| kept::split(list).into_iter().map(|(_, raw)| raw.get()));
        let conversation = self.conversation.iter();
        chain
            .chain(conversation.filter_map(|item| std::str::from_utf8(item).ok()))
            .collect()
    }

    fn size(&self) -> usize {
        let turns = self.turns.iter();
        let turns: usize = turns.map(|turn| turn.input.len() + turn.output.len()).sum();
        let items: usize = self.conversation.iter().map(Bytes::len).sum();
        turns + items
    }
}

fn read<'a, T: serde::Deserialize<'a>>(item: &'a [u8]) -> Result<T, Refusal> {
    json::from_slice(item).map_err(|error| {
        let message = format!("a stored item cannot be read: {error}");
        Refusal::new(500, ErrorObject::server(message))
    })
}

impl Engine {
    /// Loads what a request continues.
    ///
    /// # Errors
    /// When it is not there, not the caller's, or cannot be had now.
    pub(super) async fn history(
        &self,
        request: &CreateResponse<'_>,
        caller: &Caller,
    ) -> Result<History, Refusal> {
        match request.continues() || references(request).next().is_some() {
            true => Box::pin(self.load_history(request, caller)).await,
            false => Ok(History::default()),
        }
    }

    async fn load_history(
        &self,
        request: &CreateResponse<'_>,
        caller: &Caller,
    ) -> Result<History, Refusal> {
        let mut history = History::default();
        if let Some(id) = &request.previous_response_id {
            history.turns = self.chain(id, caller).await?;
        }
        if let Some(id) = request.conversation_id() {
            history.conversation = self.conversation_items(&id, caller).await?;
        }
        if history.size() > self.settings.max_history_bytes {
            let message = format!(
                "What this request continues is longer than {} bytes.",
                self.settings.max_history_bytes
            );
            let error = ErrorObject::invalid(message).with_code("context_length_exceeded");
            return Err(Refusal::bad_request(error));
        }
        self.referred(request, caller, &mut history).await?;
        Ok(history)
    }

    async fn chain(&self, id: &str, caller: &Caller) -> Result<Vec<Turn>, Refusal> {
        let remembered = caller.lane.as_ref().and_then(|lane| lane.history(id));
        let turns = match (remembered, &self.kept.store) {
            (Some(turns), _) => Some(turns),
            (None, Some(store)) => {
                let history = store.history(&caller.tenant, id).await;
                history.map_err(|error| unavailable(&error))?
            }
            (None, None) => None,
        };
        let turns = turns.ok_or_else(|| {
            let mut refusal = no_previous(id);
            refusal.error.message.push_str(self.kept.unkept.reason(id));
            refusal
        })?;
        match turns.last() {
            Some(turn) if !turn.status.is_final() => {
                let word = match turn.status {
                    Status::Queued => "queued",
                    _ => "in progress",
                };
                let message = format!("Previous response with id '{id}' is still {word}.");
                let error = ErrorObject::invalid(message).with_param("previous_response_id");
                Err(Refusal::bad_request(error))
            }
            _ => Ok(turns),
        }
    }

    async fn conversation_items(&self, id: &str, caller: &Caller) -> Result<Vec<Bytes>, Refusal> {
        let items = match &self.kept.store {
            Some(store) => store
                .all_items(&caller.tenant, id)
                .await
                .map_err(|error| unavailable(&error))?,
            None => None,
        };
        let items = items.ok_or_else(|| no_conversation(id))?;
        Ok(items.into_iter().map(|item| item.json).collect())
    }

    /// Finds the items that a request refers to, in what it continues and among all that is stored.
    async fn referred(
        &self,
        request: &CreateResponse<'_>,
        caller: &Caller,
        history: &mut History,
    ) -> Result<(), Refusal> {
        let wanted: Vec<&str> = references(request).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut responses: Vec<String> = wanted
            .iter()
            .filter_map(|id| kept::response_of(id))
            .filter(|id| history.turns.iter().all(|turn| turn.id != *id))
            .collect();
        responses.sort();
        responses.dedup();
        let others = match &self.kept.store {
            Some(store) if !responses.is_empty() => store
                .turns(&caller.tenant, &responses)
                .await
                .map_err(|error| unavailable(&error))?,
            _ => Vec::new(),
        };
        let mut referred = HashMap::new();
        let mut look = |list: &[u8]| {
            for (id, raw) in kept::split(list) {
                if wanted.contains(&id.as_str()) {
                    referred.insert(id.to_string(), raw.get().to_owned());
                }
            }
        };
        for turn in history.turns.iter().chain(&others) {
            look(&turn.input);
            look(&turn.output);
        }
        for item in &history.conversation {
            look(&[b"[", &item[..], b"]"].concat());
        }
        history.referred = referred;
        Ok(())
    }
}

/// The ids of the items that a request refers to.
fn references<'r>(request: &'r CreateResponse<'_>) -> impl Iterator<Item = &'r str> {
    let items = match request.input.as_ref().map(|input| &input.value) {
        Some(TextOr::List(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter().filter_map(|item| match item {
        InputItem::Reference(Some(id)) => Some(id.as_str()),
        _ => None,
    })
}

fn no_previous(id: &str) -> Refusal {
    let error = ErrorObject::invalid(format!("Previous response with id '{id}' not found."));
    Refusal::bad_request(
        error
            .with_param("previous_response_id")
            .with_code("previous_response_not_found"),
    )
}

pub(super) fn no_conversation(id: &str) -> Refusal {
    let message = format!("Conversation with id '{id}' not found.");
    Refusal::new(404, ErrorObject::invalid(message))
}
