//! Calls in tags: a name, and each argument's value apart, as text that the tool's schema types.

use super::super::cursor::{Cursor, Parsed, Stop};
use super::super::offer::{Call, Offer, Offers, Value};
use super::super::payload::{self, Strictness};
use crate::profile::HealFormat;

const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";

/// `<function=NAME><parameter=KEY>VALUE</parameter></function>`, in `<tool_call>` or not. A line
/// feed at either end of a value is the template's.
pub(super) fn parameters(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    const FUNCTION_END: &str = "</function>";
    const PARAMETER: &str = "<parameter=";
    if c.take(CALL)? {
        c.space();
    }
    c.expect("<function=")?;
    let name = c.tool_name(offers, b">\n")?;
    let offer = offers.find(unquoted(name)).ok_or(Stop::No)?;
    c.expect(">")?;
    let mut values = Vec::new();
    loop {
        c.space();
        if c.is_at_whole_end() && !values.is_empty() {
            return finished(offer, values).map(|call| vec![call]);
        }
        if c.take(FUNCTION_END)? || c.sees(&[CALL_END])? {
            break;
        }
        c.expect(PARAMETER)?;
        let key = unquoted(c.name(b">\n")?);
        c.expect(">")?;
        let value = c.value("</parameter>", &[PARAMETER, FUNCTION_END, CALL_END])?;
        values.push((key, Value::Plain(one_line_feed_less(value))));
    }
    let call = offer.call_with_values(values).ok_or(Stop::No)?;
    Ok(vec![call])
}

/// `<tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value></tool_call>`. A name alone is a
/// call only of a tool that needs nothing.
pub(super) fn arguments(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    const KEY: &str = "<arg_key>";
    c.expect(CALL)?;
    c.space();
    let offer = offers.find(c.tool_name(offers, b"<{\n")?).ok_or(Stop::No)?;
    let mut values = Vec::new();
    loop {
        c.space();
        if c.is_at_whole_end() && !values.is_empty() {
            return finished(offer, values).map(|call| vec![call]);
        }
        if c.take(CALL_END)? || c.sees(&[CALL])? {
            break;
        }
        c.expect(KEY)?;
        let key = c.until("</arg_key>")?.trim();
        c.space();
        c.expect("<arg_value>")?;
        let value = c.value("</arg_value>", &[KEY, CALL_END, CALL])?;
        values.push((key, Value::Plain(value)));
    }
    finished(offer, values).map(|call| vec![call])
}

/// The tags of one template.
struct Tags {
    format: HealFormat,
    invoke: &'static str,
    invoke_end: &'static str,
    parameter: &'static str,
    parameter_end: &'static str,
    /// Whether a line feed at either end of a value is the template's.
    padded: bool,
}

/// `<｜DSML｜invoke name="NAME">` with parameters that say whether they are text or JSON.
pub(super) fn dsml(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    const TAGS: Tags = Tags {
        format: HealFormat::Dsml,
        invoke: "<｜DSML｜invoke",
        invoke_end: "</｜DSML｜invoke>",
        parameter: "<｜DSML｜parameter",
        parameter_end: "</｜DSML｜parameter>",
        padded: false,
    };
    invoked(c, offers, &TAGS)
}

/// The same without special tokens; or JSON in lines, which comes in a section of its own.
pub(super) fn invoke(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    const TAGS: Tags = Tags {
        format: HealFormat::Invoke,
        invoke: "<invoke",
        invoke_end: "</invoke>",
        parameter: "<parameter",
        parameter_end: "</parameter>",
        padded: true,
    };
    if c.take("<tool_calls>")? {
        return lines(c, offers);
    }
    invoked(c, offers, &TAGS)
}

/// `{…}`, line by line, up to `</tool_calls>`.
fn lines(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    let mut calls = Vec::new();
    loop {
        c.space();
        let done = !calls.is_empty() && (c.is_at_end() || c.take("</tool_calls>")?);
        if done {
            return Ok(calls);
        }
        if !matches!(c.peek()?, Some(b'{' | b'[')) {
            return Err(Stop::No);
        }
        let found = payload::calls(c.json()?, offers, Strictness::Marked);
        calls.extend(found.ok_or(Stop::No)?);
        c.space();
        // In a list without its brackets.
        if !c.is_at_end() {
            c.skip(b',')?;
        }
    }
}

fn invoked(c: &mut Cursor<'_>, offers: &Offers, tags: &Tags) -> Parsed<Vec<Call>> {
    // An opener that is a whole tag stands around the calls.
    let openers = tags.format.marks().openers.iter();
    for section in openers.filter(|opener| opener.ends_with('>')) {
        if c.take(section)? {
            c.space();
            break;
        }
    }
    c.expect(tags.invoke)?;
    let (name, _) = attributes(c)?;
    let offer = offers.find(name).ok_or(Stop::No)?;
    let mut values = Vec::new();
    loop {
        c.space();
        if c.is_at_whole_end() && !values.is_empty() {
            return finished(offer, values).map(|call| vec![call]);
        }
        if c.take(tags.invoke_end)? {
            break;
        }
        c.expect(tags.parameter)?;
        let (key, is_text) = attributes(c)?;
        let value = c.value(tags.parameter_end, &[tags.parameter, tags.invoke_end])?;
        let value = match is_text {
            Some(true) => Value::Text(value),
            Some(false) => Value::Json(value),
            None if tags.padded => Value::Plain(one_line_feed_less(value)),
            None => Value::Plain(value),
        };
        values.push((key, value));
    }
    let call = offer.call_with_values(values).ok_or(Stop::No)?;
    Ok(vec![call])
}

/// ` name="NAME" string="true">`: the name, and whether the value is text, if that is said.
fn attributes<'t>(c: &mut Cursor<'t>) -> Parsed<(&'t str, Option<bool>)> {
    let inside = c.name(b">\n")?;
    c.expect(">")?;
    let rest = inside.trim_start().strip_prefix("name=").ok_or(Stop::No)?;
    let (name, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or(Stop::No)?,
        None => rest.split_once(' ').unwrap_or((rest, "")),
    };
    let is_text = match rest.trim() {
        r#"string="true""# | "string=true" => Some(true),
        r#"string="false""# | "string=false" => Some(false),
        _ => None,
    };
    Ok((name, is_text))
}

/// A call whose last tag did not come, or that has no arguments: it counts if nothing is missing.
fn finished(offer: &Offer, values: Vec<(&str, Value<'_>)>) -> Parsed<Call> {
    let call = offer.call_with_values(values).ok_or(Stop::No)?;
    match offer.is_fit(&call.arguments) {
        true => Ok(call),
        false => Err(Stop::No),
    }
}

fn unquoted(name: &str) -> &str {
    let name = name.trim();
    name.strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
        .unwrap_or(name)
}

fn one_line_feed_less(value: &str) -> &str {
    let value = value
        .strip_prefix("\r\n")
        .or_else(|| value.strip_prefix('\n'))
        .unwrap_or(value);
    value
        .strip_suffix("\r\n")
        .or_else(|| value.strip_suffix('\n'))
        .unwrap_or(value)
}
