//! What travels inside of `encrypted_content`, so that a stateless client brings it back.

use serde::{Deserialize, Serialize};

/// Makes text unreadable to all but this proxy, and back. The implementation has its own keys and
/// randomness; the core only calls it.
pub trait Seal: Send + Sync {
    /// Seals; the result is plain ASCII.
    fn seal(&self, plain: &[u8]) -> String;

    /// Opens; `None` for what this proxy did not seal.
    fn open(&self, sealed: &str) -> Option<Vec<u8>>;
}

/// The upstream's thinking with what is needed to put it back in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// How the upstream gave it.
    #[serde(rename = "f")]
    pub field: CarryField,
    /// The thinking.
    #[serde(rename = "t")]
    pub text: String,
}

/// How an upstream gave its thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CarryField {
    /// As `reasoning_content`.
    #[serde(rename = "rc")]
    ReasoningContent,
    /// As `reasoning`, or in `reasoning_details`.
    #[serde(rename = "r")]
    Reasoning,
    /// In `<think>` tags, or as a thinking part of the content.
    #[serde(rename = "t")]
    ThinkTags,
}

impl Carry {
    /// Packs and seals.
    #[must_use]
    pub fn seal(&self, seal: &dyn Seal) -> String {
        // Two strings always serialise.
        seal.seal(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Opens and unpacks.
    #[must_use]
    pub fn open(seal: &dyn Seal, sealed: &str) -> Option<Self> {
        serde_json::from_slice(&seal.open(sealed)?).ok()
    }
}
