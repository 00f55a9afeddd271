//! What a summary stands for, and what stands before it.
//!
//! A `compaction` item sums up all items before it. Clients may leave those out and need not: what
//! the model did then is superseded by the summary, what people said stays as far as it is short.

use super::carry::{Carry, CarryField, Seal};
use crate::json::{Text, TextOr};
use crate::responses::content::{Content, Part};
use crate::responses::input::{InputItem, Role};

/// How much of what people said before a summary is kept beside it, in bytes: about 20,000 tokens.
pub const KEPT_BYTES: usize = 80_000;

/// What the model is asked for when it is to sum up.
pub const PROMPT: &str = "\
This conversation is about to be cut. Write a summary of everything so far, from which you (or another model) \
can go on without having seen it. Say what the user wants and every limit they set; what was done, with the names \
of files, commands, functions and values that matter; what was found out and decided, and why; what failed; what is \
still to be done, in order. Quote exactly what must not change. Do not call tools, do not address the user, do not \
continue the work: answer with the summary and nothing else.";

/// Seals a summary, to travel in `encrypted_content`.
#[must_use]
pub fn seal(summary: String, seal: &dyn Seal) -> String {
    Carry::plain(CarryField::Reasoning, summary).seal(seal)
}

/// Drops what the latest summary that opens stands for.
pub(super) fn supersede(items: &mut Vec<InputItem<'_>>, seal: &dyn Seal) {
    let opens = |item: &InputItem<'_>| match item {
        InputItem::Compaction(Some(sealed)) => Carry::open(seal, sealed).is_some(),
        _ => false,
    };
    let Some(summary) = items.iter().rposition(opens) else {
        return;
    };
    let rest = items.split_off(summary);
    let mut left = KEPT_BYTES;
    let mut kept: Vec<InputItem<'_>> = Vec::new();
    for item in std::mem::take(items).into_iter().rev() {
        let stays = match &item {
            InputItem::Message {
                role: Role::System, ..
            }
            | InputItem::Tools(_)
            | InputItem::Configuration(_) => true,
            InputItem::Message {
                role: Role::User,
                content,
            } => {
                let size = size_of(content);
                let fits = size <= left;
                // The latest that does not fit ends it: no gaps.
                left = if fits { left - size } else { 0 };
                fits
            }
            _ => false,
        };
        if stays {
            kept.push(item);
        }
    }
    kept.reverse();
    items.extend(kept);
    items.extend(rest);
}

fn size_of(content: &Content<'_>) -> usize {
    match content {
        TextOr::Text(text) => text.len(),
        TextOr::List(parts) => parts.iter().map(part_size).sum(),
        TextOr::One(part) => part_size(part),
        TextOr::Odd => 0,
    }
}

fn part_size(part: &Part<'_>) -> usize {
    match part {
        Part::Text(text) | Part::Refusal(text) | Part::Encrypted(text) => text.len(),
        // Pictures and files are worth more than the text around them.
        _ => KEPT_BYTES,
    }
}

/// The conversation as one that asks for its summary: without tools to call and formats to keep.
#[must_use]
pub fn ask<'a>(mut items: Vec<InputItem<'a>>) -> Vec<InputItem<'a>> {
    items.retain(|item| !matches!(item, InputItem::CompactionTrigger | InputItem::Tools(_)));
    items.push(InputItem::Message {
        role: Role::User,
        content: TextOr::Text(Text::from(PROMPT)),
    });
    items
}
