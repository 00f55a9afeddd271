//! How many tokens a request would be.

use super::Engine;
use super::caller::Caller;
use super::prepare::{Order, Purpose};
use crate::time::unix_now;
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
        body: &[u8],
        id: &str,
        caller: &Caller,
    ) -> Result<TokenCount, Refusal> {
        let order = Order {
            id,
            created_at: unix_now(),
            caller,
            purpose: Purpose::Count,
            announced: 0,
            lead: None,
            drop_turns: 0,
        };
        let prepared = self.prepare(body, &order).await?;
        let counted = prepared.upstream.count_tokens(&prepared.chat).await;
        Ok(match counted {
            Some(tokens) => TokenCount {
                tokens,
                counted: true,
            },
            None => TokenCount {
                tokens: crate::translate::count_chat_tokens(&prepared.chat),
                counted: false,
            },
        })
    }
}
