//! Calls as Python writes them: `name(key="text", n=1)`, `name.call(…)`, and lists of those.

use super::super::cursor::{Cursor, Parsed, Stop};
use super::super::offer::{Call, Offers};
use crate::json::Tree;

/// How deep a value may be.
const DEEPEST: usize = 32;

/// One call, or a list of them.
pub(super) fn calls(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Vec<Call>> {
    if !c.skip(b'[')? {
        return call(c, offers).map(|call| vec![call]);
    }
    let mut calls = Vec::new();
    loop {
        c.space();
        calls.push(call(c, offers)?);
        c.space();
        if c.skip(b']')? {
            return Ok(calls);
        }
        comma(c)?;
    }
}

fn call(c: &mut Cursor<'_>, offers: &Offers) -> Parsed<Call> {
    let name = c.tool_name(offers, b"(\n")?;
    let offer = offers
        .find(name)
        .or_else(|| offers.find(name.strip_suffix(".call")?));
    let offer = offer.ok_or(Stop::No)?;
    expect(c, b'(')?;
    let mut arguments = Vec::new();
    loop {
        c.space();
        if c.skip(b')')? {
            break;
        }
        let key = c.name(b"=(),\n")?.trim();
        expect(c, b'=')?;
        c.space();
        arguments.push((key.into(), value(c, 0)?));
        c.space();
        if c.skip(b')')? {
            break;
        }
        comma(c)?;
    }
    let mut json = String::new();
    Tree::Object(arguments).write(&mut json);
    offer.call_with_json(&json).ok_or(Stop::No)
}

fn value<'t>(c: &mut Cursor<'t>, depth: usize) -> Parsed<Tree<'t>> {
    if depth > DEEPEST {
        return Err(Stop::No);
    }
    match c.peek()? {
        Some(quote @ (b'"' | b'\'')) => text(c, quote).map(Tree::string),
        Some(b'[') => {
            let mut values = Vec::new();
            list(c, b'[', b']', |c| {
                values.push(value(c, depth + 1)?);
                Ok(())
            })?;
            Ok(Tree::Array(values))
        }
        Some(b'{') => {
            let mut members = Vec::new();
            list(c, b'{', b'}', |c| {
                let quote = c.peek()?.filter(|byte| matches!(byte, b'"' | b'\''));
                let key = text(c, quote.ok_or(Stop::No)?)?;
                c.space();
                expect(c, b':')?;
                c.space();
                members.push((key.into(), value(c, depth + 1)?));
                Ok(())
            })?;
            Ok(Tree::Object(members))
        }
        Some(_) => match c.name(b",)]}\n ")? {
            "True" | "true" => Ok(Tree::Bool(true)),
            "False" | "false" => Ok(Tree::Bool(false)),
            "None" | "null" => Ok(Tree::Null),
            number => match Tree::parse(number) {
                Some(number @ Tree::Number(_)) => Ok(number),
                _ => Err(Stop::No),
            },
        },
        None => Err(Stop::No),
    }
}

/// What stands between two brackets, with commas between.
fn list<'t>(
    c: &mut Cursor<'t>,
    open: u8,
    close: u8,
    mut each: impl FnMut(&mut Cursor<'t>) -> Parsed<()>,
) -> Parsed<()> {
    expect(c, open)?;
    loop {
        c.space();
        if c.skip(close)? {
            return Ok(());
        }
        each(c)?;
        c.space();
        if c.skip(close)? {
            return Ok(());
        }
        comma(c)?;
    }
}

/// A string in its quotes.
fn text(c: &mut Cursor<'_>, quote: u8) -> Parsed<String> {
    expect(c, quote)?;
    let closer = if quote == b'"' { "\"" } else { "'" };
    let mut out = String::new();
    loop {
        let letter = c.letter(closer)?;
        match letter {
            letter if letter == char::from(quote) => return Ok(out),
            '\\' => match c.letter(closer)? {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                '\n' => {}
                same @ ('\\' | '"' | '\'') => out.push(same),
                other => out.extend(['\\', other]),
            },
            letter => out.push(letter),
        }
    }
}

fn comma(c: &mut Cursor<'_>) -> Parsed<()> {
    expect(c, b',')
}

fn expect(c: &mut Cursor<'_>, byte: u8) -> Parsed<()> {
    match c.skip(byte)? {
        true => Ok(()),
        false => Err(Stop::No),
    }
}
