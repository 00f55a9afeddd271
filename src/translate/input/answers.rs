//! Which call each output answers.
//!
//! Ids of calls are not as unique as they should be: some servers count from zero in every answer,
//! and a call that was broken off may come again. So an output belongs to the latest turn before it
//! that has an open call of its id, and within one turn to the first such call.

use std::collections::HashMap;

use crate::responses::ErrorObject;
use crate::responses::input::{CallKind, InputItem, Role};

/// Calls without an output so far, by id: the number of their turn and of their item.
type Open<'i> = HashMap<&'i str, Vec<(usize, usize)>>;

/// For each item the number of the call that it answers, if it is an output that answers one.
pub(super) fn pair(items: &[InputItem<'_>]) -> Vec<Option<usize>> {
    let mut open: Open<'_> = HashMap::new();
    let mut pairs = vec![None; items.len()];
    let mut astray = Vec::new();
    let mut turn = 0;
    for (n, item) in items.iter().enumerate() {
        match item {
            InputItem::Call(call) => open.entry(&call.call_id).or_default().push((turn, n)),
            InputItem::Message {
                role: Role::User | Role::System,
                ..
            }
            | InputItem::AgentMessage { .. }
            | InputItem::Compaction(_) => turn += 1,
            item => {
                let Some(id) = answered(item) else { continue };
                turn += 1;
                match (take_latest(&mut open, id), pairs.get_mut(n)) {
                    (Some(call), Some(answered)) => *answered = Some(call),
                    _ => astray.push((n, id)),
                }
            }
        }
    }
    // In odd histories an output stands before its call.
    for (n, id) in astray {
        let later = open.get_mut(id).and_then(|calls| {
            let at = calls.iter().position(|(_, call)| *call > n)?;
            Some(calls.remove(at).1)
        });
        if let Some(answered) = pairs.get_mut(n) {
            *answered = later;
        }
    }
    pairs
}

/// Whether each call has its output and each output its call.
///
/// # Errors
/// What the API says of the first that has not.
pub(super) fn check(items: &[InputItem<'_>], pairs: &[Option<usize>]) -> Result<(), ErrorObject> {
    let mut answered = vec![false; items.len()];
    for call in pairs.iter().flatten() {
        if let Some(answered) = answered.get_mut(*call) {
            *answered = true;
        }
    }
    for ((item, answers), answered) in items.iter().zip(pairs).zip(answered) {
        let (what, id) = match item {
            InputItem::Call(call) if !answered => {
                let what = match call.kind {
                    CallKind::Custom => "No tool output found for custom tool call",
                    _ => "No tool output found for function call",
                };
                (what, call.call_id.as_str())
            }
            InputItem::Output(output) if answers.is_none() => {
                let Some(id) = &output.call_id else { continue };
                let what = "No tool call found for function call output with call_id";
                (what, id.as_str())
            }
            _ => continue,
        };
        return Err(ErrorObject::invalid(format!("{what} {id}.")).with_param("input"));
    }
    Ok(())
}

/// The id of the call that an item answers, if it is an output.
fn answered<'i>(item: &'i InputItem<'_>) -> Option<&'i str> {
    match item {
        InputItem::Output(output) => output.call_id.as_deref(),
        InputItem::Tools(found) => found.call_id.as_deref(),
        _ => None,
    }
}

/// The first open call of the latest turn that has one.
fn take_latest(open: &mut Open<'_>, id: &str) -> Option<usize> {
    let calls = open.get_mut(id)?;
    let (latest, _) = *calls.last()?;
    let at = calls.partition_point(|(turn, _)| *turn < latest);
    Some(calls.remove(at).1)
}
