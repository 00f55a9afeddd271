//! What travels inside of `encrypted_content`, so that a stateless client brings it back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::details::Details;

/// Makes text unreadable to all but this proxy, and back. The implementation has its own keys and
/// randomness; the core only calls it.
pub trait Seal: Send + Sync {
    /// Seals; the result is plain ASCII.
    fn seal(&self, plain: &[u8]) -> String;

    /// Opens; `None` for what this proxy did not seal.
    fn open(&self, sealed: &str) -> Option<Vec<u8>>;
}

/// A seal for each tenant: what is sealed for one opens for no other.
pub trait Seals: Send + Sync {
    /// The tenant's.
    fn of(&self, tenant: &str) -> Arc<dyn Seal>;
}

/// The upstream's thinking with what is needed to put it back in its place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Carry {
    /// How the upstream gave it.
    #[serde(rename = "f")]
    pub field: CarryField,
    /// The thinking.
    #[serde(rename = "t", default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// `reasoning_details`, which some upstreams want back as they gave them: signed and sealed
    /// parts among them.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Box<RawValue>>,
    /// What some upstreams attach to a call and want back with it (a thought's signature), by the
    /// call's id.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<(String, Box<RawValue>)>,
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
    /// Thinking of which nothing but the text is known.
    #[must_use]
    pub fn plain(field: CarryField, text: String) -> Self {
        Self {
            field,
            text,
            details: Vec::new(),
            extras: Vec::new(),
        }
    }

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

/// What is gathered of an answer for the next carry.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) details: Details,
    pub(super) extras: Vec<(String, Box<RawValue>)>,
}

impl Carried {
    pub(super) fn is_empty(&self) -> bool {
        self.details.is_empty() && self.extras.is_empty()
    }

    /// The carry of some thinking, with all that was gathered.
    pub(super) fn take(&mut self, field: CarryField, text: String) -> Carry {
        Carry {
            field,
            text,
            details: self.details.take(),
            extras: std::mem::take(&mut self.extras),
        }
    }
}
