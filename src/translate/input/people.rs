//! What is special about the messages of people: there has to be one, and some servers want no two
//! in a row.

use std::borrow::Cow;

use super::GAP;
use crate::chat::Message;
use crate::chat::message::{Content, Part};

/// Whether a person speaks at all.
pub(super) fn any(messages: &[Message<'_>]) -> bool {
    messages
        .iter()
        .any(|message| matches!(message, Message::User { .. }))
}

/// Joins messages of people that stand in a row.
pub(super) fn merge_runs<'a>(messages: &mut Vec<Message<'a>>) {
    let mut merged: Vec<Message<'a>> = Vec::with_capacity(messages.len());
    for message in messages.drain(..) {
        match (merged.last_mut(), message) {
            (Some(Message::User { content }), Message::User { content: more }) => {
                let before = std::mem::replace(content, Content::Parts(Vec::new()));
                *content = joined(before, more);
            }
            (_, message) => merged.push(message),
        }
    }
    *messages = merged;
}

fn joined<'a>(first: Content<'a>, second: Content<'a>) -> Content<'a> {
    match (first, second) {
        (Content::Text(first), Content::Text(second)) => {
            Content::Text(Cow::Owned(format!("{first}{GAP}{second}")))
        }
        (first, second) => {
            let mut parts = parts(first);
            parts.extend(self::parts(second));
            Content::Parts(parts)
        }
    }
}

fn parts(content: Content<'_>) -> Vec<Part<'_>> {
    match content.read() {
        Content::Text(text) => vec![Part::Text { text }],
        Content::Parts(parts) => parts,
        // It was read.
        Content::Quoted(_) => Vec::new(),
    }
}
