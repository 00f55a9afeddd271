//! How many tokens a request would be.

use bytes::Bytes;

use super::Engine;
use super::caller::Caller;
use super::prepare::{Order, Purpose};
use crate::upstream::Refusal;

/// A count of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCount {
    /// How many.
    pub tokens: u64,
    /// Whether the upstream counted, or they were estimated by the length.
    pub counted: bool,
}

impl Engine {
    /// Counts the tokens of a request: by the upstream, where it has an endpoint for that.
    ///
    /// # Errors
    /// A request that is wrong, or that continues what is not there.
    pub async fn count_tokens(
        &self,
        body: &Bytes,
        id: &str,
        caller: &Caller,
    ) -> Result<TokenCount, Refusal> {
        let order = Order::new(id, caller, Purpose::Count);
        let prepared = self.prepare(body, &order).await?;
        let counted = prepared
            .upstream
            .count_tokens(prepared.journey.chat())
            .await;
        Ok(match counted {
            Some(tokens) => TokenCount {
                tokens,
                counted: true,
            },
            None => TokenCount {
                tokens: crate::translate::count_chat_tokens(prepared.journey.chat()),
                counted: false,
            },
        })
    }
}
