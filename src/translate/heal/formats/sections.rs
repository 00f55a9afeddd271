//! Calls between special tokens: a name, and a JSON object.

use super::super::cursor::{Cursor, Parsed, Stop};
use super::super::offer::{Call, Offer, Offers};
use super::STOPS;

/// `<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME` and an object in a fence, or
/// `NAME<｜tool▁sep｜>{…}`.
pub(super) fn fenced(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    const BEGIN: &str = "<｜tool▁call▁begin｜>";
    const END: &str = "<｜tool▁call▁end｜>";
    if c.take("<｜tool▁calls▁begin｜>")? {
        c.space();
    }
    c.expect(BEGIN)?;
    let head = c.name(b"<\n")?.trim();
    c.expect("<｜tool▁sep｜>")?;
    c.space();
    let is_kind = head == "function" && c.peek()? != Some(b'{');
    let name = match is_kind {
        true => c.tool_name(offers, b"\n`{")?,
        false => head,
    };
    let offer = offers.find(name).ok_or(Stop::No)?;
    c.space();
    let has_fence = c.take("```")?;
    if has_fence {
        c.take("json")?;
        c.space();
    }
    let call = with_arguments(c, offer, END)?;
    c.space();
    if has_fence && !c.is_at_end() {
        c.take("```")?;
        c.space();
    }
    ends(c, END, BEGIN)?;
    Ok(vec![call])
}

/// `<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{…}<|tool_call_end|>`
pub(super) fn call_ids(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    const BEGIN: &str = "<|tool_call_begin|>";
    const END: &str = "<|tool_call_end|>";
    if c.take("<|tool_calls_section_begin|>")? {
        c.space();
    }
    c.expect(BEGIN)?;
    let id = c.tool_name(offers, b"<\n{")?.trim();
    let name = match id.rsplit_once(':') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => id,
    };
    let offer = offers.find(name).ok_or(Stop::No)?;
    c.expect("<|tool_call_argument_begin|>")?;
    c.space();
    let call = with_arguments(c, offer, END)?;
    c.space();
    ends(c, END, BEGIN)?;
    Ok(vec![call])
}

/// An object; nothing, where the closer comes at once; a freeform tool's own text up to it.
fn with_arguments(c: &mut Cursor<'_>, offer: &Offer, end: &'static str) -> Parsed<Call> {
    let call = match c.peek()? {
        Some(b'{' | b'"') => offer.call_with_json(c.json()?),
        _ if c.sees(&[end])? => offer.call_with_json("{}"),
        _ if offer.freeform => {
            let mut value = *c;
            let text = value.until(end)?;
            let text = text.trim_end().trim_end_matches("```");
            // The closer stays, for the caller to take.
            let call = offer.call_with_text(text.trim_end());
            c.skip_to(end)?;
            Some(call)
        }
        _ => None,
    };
    call.ok_or(Stop::No)
}

/// The closer, or what stands where it was forgotten.
fn ends(c: &mut Cursor<'_>, end: &str, begin: &str) -> Parsed<()> {
    if c.is_at_end() || c.take(end)? || c.sees(&[begin])? || c.sees(STOPS)? {
        return Ok(());
    }
    Err(Stop::No)
}
