//! Messages that were to be taken apart by the server: each has a channel and perhaps a recipient.
//!
//! `<|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>`
//! is a call; `analysis` without a recipient is thinking, and anything else is text.

use super::super::cursor::{Cursor, Parsed, Stop};
use super::super::offer::Offers;
use super::{Channel, Effect, Setting};

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
const CALL: &str = "<|call|>";
/// What ends a message.
const ENDS: [&str; 3] = ["<|end|>", "<|return|>", CALL];

pub(super) fn message(c: &mut Cursor<'_>, setting: &Setting<'_>) -> Parsed<Effect> {
    if setting.channel.is_some() {
        for end in ENDS {
            if c.take(end)? {
                return Ok(Effect::Channel(None));
            }
        }
    }
    let starts = c.take(START)?;
    let mut head = String::new();
    if starts {
        c.expect("assistant")?;
        head.push_str(c.name(b"<\n")?);
    }
    if !starts || !c.sees(&[MESSAGE])? {
        c.expect(CHANNEL)?;
        let channel = c.name(b"<\n")?;
        head.push(' ');
        head.push_str(channel);
        if c.take("<|constrain|>")? {
            c.name(b"<\n")?;
        }
    }
    c.expect(MESSAGE)?;
    match recipient(&head) {
        Some(name) => call(c, name, setting.offers),
        None => channel(&head, starts, setting),
    }
}

/// ` to=functions.NAME`
fn recipient(head: &str) -> Option<&str> {
    head.split_whitespace()
        .find_map(|word| word.strip_prefix("to="))
}

fn call(c: &mut Cursor<'_>, name: &str, offers: &Offers) -> Parsed<Effect> {
    let offer = offers.find(name).ok_or(Stop::No)?;
    c.space();
    let is_json = c.peek()? == Some(b'{');
    if !is_json && offer.freeform {
        let text = c.until(CALL)?;
        return Ok(Effect::Calls(vec![offer.call_with_text(text)]));
    }
    if !is_json {
        return Err(Stop::No);
    }
    let call = offer.call_with_json(c.json()?).ok_or(Stop::No)?;
    c.space();
    let ended = c.is_at_end() || c.sees(&[START, CHANNEL])?;
    if ended || c.take(CALL)? || c.sees(&ENDS)? {
        return Ok(Effect::Calls(vec![call]));
    }
    Err(Stop::No)
}

/// A message without a recipient. Its head must be that of one, where a person could have written
/// about it.
fn channel(head: &str, starts: bool, setting: &Setting<'_>) -> Parsed<Effect> {
    if !setting.channels {
        return Err(Stop::No);
    }
    if !starts && !setting.begins_line && setting.channel.is_none() {
        return Err(Stop::No);
    }
    match head.split_whitespace().next() {
        Some("analysis") => Ok(Effect::Channel(Some(Channel::Analysis))),
        Some("final" | "commentary") => Ok(Effect::Channel(Some(Channel::Final))),
        None if starts => Ok(Effect::Channel(Some(Channel::Final))),
        _ => Err(Stop::No),
    }
}
