//! Calls in JSON: behind a mark, or as the whole answer.

use super::super::cursor::{Cursor, Parsed, Stop};
use super::super::offer::{Call, Offers};
use super::super::payload::{self, Strictness};
use super::{STOPS, python};

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// `<tool_call>{…}</tool_call>`. The closing tag may be missing where the next call or the end
/// follows, and so may the object's last braces; a few too many are passed over.
pub(super) fn tagged(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    c.expect(OPEN)?;
    c.space();
    let mut calls = Vec::new();
    while matches!(c.peek()?, Some(b'{' | b'[')) {
        begins_like_a_call(c, offers, Strictness::Marked)?;
        let (raw, owed) = c.json_or_part(&[CLOSE])?;
        let raw = format!("{raw}{}", "}".repeat(owed));
        calls.extend(payload::calls(&raw, offers, Strictness::Marked).ok_or(Stop::No)?);
        c.space();
        if c.is_at_end() {
            return Ok(calls);
        }
        while c.skip(b'}')? {
            c.space();
        }
    }
    if calls.is_empty() {
        return Err(Stop::No);
    }
    if c.is_at_end() || c.take(CLOSE)? || c.sees(&[OPEN])? || c.sees(STOPS)? {
        return Ok(calls);
    }
    Err(Stop::No)
}

/// `{"name": …, "parameters": …}` with nothing behind it but more of them.
pub(super) fn bare(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    let mut calls = Vec::new();
    loop {
        begins_like_a_call(c, offers, Strictness::Bare)?;
        let raw = c.json()?;
        if !raw.starts_with('{') {
            return Err(Stop::No);
        }
        calls.extend(payload::calls(raw, offers, Strictness::Bare).ok_or(Stop::No)?);
        c.space();
        if c.peek()? == Some(b';') {
            c.skip(b';')?;
            c.space();
        }
        let mut stopped = false;
        while c.peek()?.is_some() && c.sees(STOPS)? {
            stopped = true;
            for stop in STOPS {
                c.take(stop)?;
            }
            c.space();
        }
        match c.peek()? {
            None => return Ok(calls),
            Some(b'{') if !stopped => {}
            Some(_) => return Err(Stop::No),
        }
    }
}

/// What begins otherwise is not waited for.
fn begins_like_a_call(c: &Cursor<'_>, offers: &Offers, strictness: Strictness) -> Parsed<()> {
    if c.peek()? != Some(b'{') {
        return Ok(());
    }
    match payload::may_be_call(c.rest(), offers, strictness) {
        Some(true) => Ok(()),
        Some(false) => Err(Stop::No),
        None => c.wait(),
    }
}

/// `<|python_tag|>`, and objects with semicolons between them, or a call as Python writes it.
pub(super) fn python_tag(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    if c.take("<function=")? {
        return function_tag(c, offers);
    }
    c.expect("<|python_tag|>")?;
    c.space();
    if c.peek()? != Some(b'{') {
        return python::calls(c, offers);
    }
    let mut calls = Vec::new();
    loop {
        begins_like_a_call(c, offers, Strictness::Marked)?;
        let raw = c.json()?;
        calls.extend(payload::calls(raw, offers, Strictness::Marked).ok_or(Stop::No)?);
        let mut next = *c;
        next.space();
        if next.is_at_end() || !next.skip(b';')? {
            return Ok(calls);
        }
        next.space();
        if next.is_at_end() || next.peek()? != Some(b'{') {
            return Ok(calls);
        }
        *c = next;
    }
}

/// `NAME>{…}</function>`; the closing tag may be missing at the end.
fn function_tag(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    let offer = offers.find(c.tool_name(offers, b"><\n")?).ok_or(Stop::No)?;
    c.expect(">")?;
    c.space();
    if c.peek()? != Some(b'{') {
        return Err(Stop::No);
    }
    let call = offer.call_with_json(c.json()?).ok_or(Stop::No)?;
    c.space();
    if c.is_at_end() || c.take("</function>")? || c.sees(STOPS)? || c.sees(&["<function="])? {
        return Ok(vec![call]);
    }
    Err(Stop::No)
}

/// `[TOOL_CALLS]`, and a list, objects, or `NAME[CALL_ID]ID[ARGS]{…}` of which both marks may be
/// missing.
pub(super) fn call_token(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    c.expect("[TOOL_CALLS]")?;
    c.space();
    if matches!(c.peek()?, Some(b'[' | b'{')) {
        begins_like_a_call(c, offers, Strictness::Marked)?;
        let calls = payload::calls(c.json()?, offers, Strictness::Marked);
        return calls.ok_or(Stop::No);
    }
    let offer = offers.find(c.tool_name(offers, b"[{")?).ok_or(Stop::No)?;
    if c.take("[CALL_ID]")? {
        c.name(b"[{")?;
    }
    c.take("[ARGS]")?;
    c.space();
    if c.peek()? != Some(b'{') {
        return Err(Stop::No);
    }
    let call = offer.call_with_json(c.json()?).ok_or(Stop::No)?;
    Ok(vec![call])
}
