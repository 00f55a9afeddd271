//! Summaries: of a conversation that a client hands in to be cut, or that has grown too long.

use bytes::Bytes;

use super::account::Account;
use super::caller::Caller;
use super::prepare::{Order, Prepared, Purpose, only_translated};
use super::{Asked, Engine};
use crate::json;
use crate::json::Tree;
use crate::responses::kept::{self, KeptList};
use crate::responses::{CreateResponse, ErrorObject, OutputItem};
use crate::translate::{Outcome, compaction};
use crate::upstream::Refusal;

impl Engine {
    /// `POST /v1/responses/compact`: what people said, as far as it is short, and one sealed summary
    /// of all the rest. `id` is 32 hex digits.
    ///
    /// # Errors
    /// As for a response; and when the model has nothing to say.
    pub async fn compact(
        &self,
        body: Bytes,
        id: &str,
        caller: &Caller,
    ) -> Result<Vec<u8>, Refusal> {
        let mut account = Some(Account::open(self, id, caller));
        let compacted = self.compacted(&body, id, caller, &mut account).await;
        if let (Err(refusal), Some(account)) = (&compacted, account) {
            account.refused(refusal);
        }
        compacted
    }

    async fn compacted(
        &self,
        body: &Bytes,
        id: &str,
        caller: &Caller,
        account: &mut Option<Box<Account>>,
    ) -> Result<Vec<u8>, Refusal> {
        let order = Order::new(id, caller, Purpose::Summary);
        let prepared = self.prepare(body, &order).await?;
        prepared.reserve()?;
        // Before the model is asked: what cannot be read costs nothing.
        let people = self.people(body, id, caller).await?;
        let outcome = self.summary(prepared, body, &order, account).await?;
        let mut items = people;
        for item in &outcome.output {
            // Items always serialise.
            items.push(serde_json::to_string(item).unwrap_or_default());
        }
        let output = kept::list(items.iter().map(String::as_str));
        let usage = serde_json::to_string(&outcome.usage).unwrap_or_default();
        let json = format!(
            "{{\"id\":\"resp_{id}\",\"object\":\"response.compaction\",\"created_at\":{},\"output\":{output},\"usage\":{usage}}}",
            outcome.head.created_at
        );
        Ok(json.into_bytes())
    }

    /// A summary of what a request holds, sealed.
    pub(super) async fn sum_up(&self, body: &Bytes, order: &Order<'_>) -> Result<String, Refusal> {
        let order = Order {
            purpose: Purpose::Summary,
            ..order.clone()
        };
        // Not through itself again: what is summed up is not summed up first.
        let prepared = self.prepare(body, &order).await?;
        // A response of its own: it has its own line in the log.
        let mut account = Some(Account::open(self, order.id, order.caller));
        let outcome = self.summary(prepared, body, &order, &mut account).await;
        if let (Err(refusal), Some(account)) = (&outcome, account) {
            account.refused(refusal);
        }
        let outcome = outcome?;
        let sealed = outcome.output.into_iter().find_map(|item| match item {
            OutputItem::Compaction(item) => Some(item.encrypted_content),
            _ => None,
        });
        sealed.ok_or_else(|| Refusal::new(502, ErrorObject::server("the model gave no summary")))
    }

    async fn summary(
        &self,
        mut prepared: Box<Prepared>,
        body: &Bytes,
        order: &Order<'_>,
        account: &mut Option<Box<Account>>,
    ) -> Result<Outcome, Refusal> {
        prepared.background = false;
        prepared.stream = false;
        if let Some(account) = account {
            account.concerns(&prepared);
        }
        let asked = self.ask(prepared, body.clone(), order.clone()).await?;
        let Asked::Answer(prepared, arrival) = asked else {
            return Err(only_translated("Compaction"));
        };
        let outcome = self.outcome(prepared, arrival, account.take()).await;
        match outcome.failure() {
            Some(error) => Err(Refusal::of_failure(error.clone())),
            None => Ok(outcome),
        }
    }

    /// The messages of people in a request and in what it continues, the latest as far as they fit.
    async fn people(&self, body: &[u8], id: &str, caller: &Caller) -> Result<Vec<String>, Refusal> {
        let mended = CreateResponse::mend_surrogates(body).or_else(|| {
            let broken = CreateResponse::parse(body).is_err();
            broken.then(|| CreateResponse::mend(body)).flatten()
        });
        let body = mended.as_deref().unwrap_or(body);
        let request = CreateResponse::parse(body).map_err(Refusal::bad_request)?;
        let history = self.history(&request, caller).await?;
        let own = match request.raw_input(body) {
            Some(raw) => kept::keep_input(raw, id, |id| history.find(id)),
            None => KeptList::default(),
        };
        let own = own.iter().filter_map(|(_, json)| json::as_text(json));
        let before = history.raw_items().into_iter();
        let all: Vec<&str> = before.chain(own).collect();
        let mut left = compaction::KEPT_BYTES;
        let mut people = Vec::new();
        for json in all.into_iter().rev() {
            let Some(item) = Tree::parse(json) else {
                continue;
            };
            let is = |key: &str, word: &str| item.get(key).and_then(Tree::as_str) == Some(word);
            if !is("type", "message") || !is("role", "user") {
                continue;
            }
            if json.len() > left {
                break;
            }
            left -= json.len();
            people.push(json.to_owned());
        }
        people.reverse();
        Ok(people)
    }
}
