//! `truncation: "auto"`: the oldest turns are left out, each whole, so that no call loses its output.

use crate::responses::input::{InputItem, Role};

/// Whether a turn begins here: somebody speaks to the model.
fn begins_turn(item: &InputItem<'_>) -> bool {
    matches!(
        item,
        InputItem::Message {
            role: Role::User,
            ..
        } | InputItem::AgentMessage { .. }
            | InputItem::Compaction(_)
    )
}

/// Whether an item holds for all turns.
fn stays(item: &InputItem<'_>) -> bool {
    matches!(
        item,
        InputItem::Message {
            role: Role::System,
            ..
        } | InputItem::Tools(_)
            | InputItem::Configuration(_)
    )
}

/// How many turns there are. Messages in a row are one beginning.
pub(super) fn turns(items: &[InputItem<'_>]) -> usize {
    numbered(items).last().copied().unwrap_or_default()
}

/// The number of the turn that each item is in, counted from 1; 0 is what comes before the first.
fn numbered(items: &[InputItem<'_>]) -> Vec<usize> {
    let mut turn = 0;
    let mut in_answer = true;
    items
        .iter()
        .map(|item| {
            if begins_turn(item) {
                turn += usize::from(in_answer);
                in_answer = false;
            } else if !stays(item) {
                in_answer = true;
            }
            turn
        })
        .collect()
}

/// Leaves out the first turns, never the last one.
pub(super) fn drop_oldest(items: &mut Vec<InputItem<'_>>, count: usize) {
    if count == 0 {
        return;
    }
    let numbers = numbered(items);
    let last = numbers.last().copied().unwrap_or_default();
    let count = count.min(last.saturating_sub(1));
    let mut numbers = numbers.into_iter();
    items.retain(|item| {
        let turn = numbers.next().unwrap_or_default();
        stays(item) || turn > count
    });
}
