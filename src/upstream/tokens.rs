//! How many tokens a request would be, as the server itself counts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::client::Upstream;
use crate::profile::TokenCount;

/// How long counting may take before an estimate has to do.
const WAIT: Duration = Duration::from_secs(10);
/// The most bytes of an answer: a prompt, or the list of its tokens.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// What is taken of a chat request.
#[derive(Deserialize, Serialize)]
struct Chat<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    #[serde(borrow)]
    messages: &'a RawValue,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
}

#[derive(Serialize)]
struct Content<'a> {
    content: &'a str,
    add_special: bool,
    parse_special: bool,
}

#[derive(Deserialize)]
struct Tokens {
    tokens: Vec<serde::de::IgnoredAny>,
}

impl Upstream {
    /// Counts the tokens of a chat request, where the server has a way to.
    pub async fn count_tokens(self: &Arc<Self>, chat: &[u8]) -> Option<u64> {
        let counted = match self.dialect().profile.token_count {
            TokenCount::Estimate => return None,
            TokenCount::Messages => tokio::time::timeout(WAIT, self.count_messages(chat)).await,
            TokenCount::Template => tokio::time::timeout(WAIT, self.count_template(chat)).await,
        };
        let counted = counted.ok().flatten();
        if counted.is_none() {
            let upstream = &self.settings().name;
            tracing::info!(%upstream, "the upstream does not count tokens: they are estimated");
        }
        counted
    }

    async fn count_messages(&self, chat: &[u8]) -> Option<u64> {
        let answer = self.post("/tokenize", question(chat)?, ANSWER_BYTES).await;
        let Count { count } = serde_json::from_slice(&answer.ok()?).ok()?;
        Some(count)
    }

    async fn count_template(&self, chat: &[u8]) -> Option<u64> {
        let answer = self.post("/apply-template", question(chat)?, ANSWER_BYTES);
        let Prompt { prompt } = serde_json::from_slice(&answer.await.ok()?).ok()?;
        let content = Content {
            content: &prompt,
            add_special: true,
            parse_special: true,
        };
        let content = Bytes::from(serde_json::to_vec(&content).ok()?);
        let answer = self.post("/tokenize", content, ANSWER_BYTES).await.ok()?;
        let Tokens { tokens } = serde_json::from_slice(&answer).ok()?;
        u64::try_from(tokens.len()).ok()
    }
}

fn question(chat: &[u8]) -> Option<Bytes> {
    let chat: Chat<'_> = serde_json::from_slice(chat).ok()?;
    serde_json::to_vec(&chat).ok().map(Bytes::from)
}
