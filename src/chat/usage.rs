//! How many tokens an answer took, as upstreams count them.

use serde::Deserialize;

use crate::json::lenient;

/// Token counts. Each may be missing, and what is no count is missing too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Tokens read.
    #[serde(default, deserialize_with = "lenient::count")]
    pub prompt_tokens: Option<u64>,
    /// Tokens written.
    #[serde(default, deserialize_with = "lenient::count")]
    pub completion_tokens: Option<u64>,
    /// Both together, at some servers with the thinking that the former leaves out.
    #[serde(default, deserialize_with = "lenient::count")]
    pub total_tokens: Option<u64>,
    /// Parts of the tokens read.
    #[serde(default, deserialize_with = "lenient::object")]
    pub prompt_tokens_details: Option<PromptDetails>,
    /// Parts of the tokens written.
    #[serde(default, deserialize_with = "lenient::object")]
    pub completion_tokens_details: Option<CompletionDetails>,
    /// Tokens read from a cache: DeepSeek's name.
    #[serde(default, deserialize_with = "lenient::count")]
    pub prompt_cache_hit_tokens: Option<u64>,
    /// Tokens read from a cache: Moonshot's name.
    #[serde(default, deserialize_with = "lenient::count")]
    pub cached_tokens: Option<u64>,
}

/// Parts of the tokens read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct PromptDetails {
    /// Read from a cache.
    #[serde(default, deserialize_with = "lenient::count")]
    pub cached_tokens: Option<u64>,
    /// Written to one.
    #[serde(default, deserialize_with = "lenient::count")]
    pub cache_write_tokens: Option<u64>,
}

/// Parts of the tokens written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct CompletionDetails {
    /// Spent on thinking.
    #[serde(default, deserialize_with = "lenient::count")]
    pub reasoning_tokens: Option<u64>,
}
