//! Token counts.

use serde::Serialize;

/// How many tokens a response took. `total_tokens` is always the sum of the other two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Of those, how many came from or went to a cache.
    pub input_tokens_details: InputDetails,
    /// Tokens written, thinking included.
    pub output_tokens: u64,
    /// Of those, how many were thinking.
    pub output_tokens_details: OutputDetails,
    /// Both together.
    pub total_tokens: u64,
}

/// Parts of the input tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct InputDetails {
    /// Read from a cache.
    pub cached_tokens: u64,
    /// Written to one.
    pub cache_write_tokens: u64,
}

/// Parts of the output tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OutputDetails {
    /// Spent on thinking.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// Counts that agree with each other, whatever the upstream's did: the total is the sum, and no
    /// part is larger than its whole.
    #[must_use]
    pub fn new(input: u64, output: u64, cached: u64, cache_write: u64, reasoning: u64) -> Self {
        Self {
            input_tokens: input,
            input_tokens_details: InputDetails {
                cached_tokens: cached.min(input),
                cache_write_tokens: cache_write.min(input),
            },
            output_tokens: output,
            output_tokens_details: OutputDetails {
                reasoning_tokens: reasoning.min(output),
            },
            total_tokens: input.saturating_add(output),
        }
    }

    /// The counts of two answers together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let add = u64::saturating_add;
        let (own, others) = (self.input_tokens_details, other.input_tokens_details);
        Self::new(
            add(self.input_tokens, other.input_tokens),
            add(self.output_tokens, other.output_tokens),
            add(own.cached_tokens, others.cached_tokens),
            add(own.cache_write_tokens, others.cache_write_tokens),
            add(
                self.output_tokens_details.reasoning_tokens,
                other.output_tokens_details.reasoning_tokens,
            ),
        )
    }
}
