//! Calls as JSON objects: `{"name": …, "arguments": …}` and what models make of it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::offer::{Call, Offers, mend};

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// The keys under which arguments stand.
const ARGUMENTS: [&str; 2] = ["arguments", "parameters"];
/// What else a call that is the whole answer may have.
const BESIDE: [&str; 3] = ["name", "type", "id"];

/// How much is asked of a call in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// It stands behind a mark, so it is meant for one.
    Marked,
    /// It could be an answer that only looks like one: it must have the keys of a call and no others,
    /// and the arguments that the tool cannot do without.
    Bare,
}

/// The call that an object is, or the calls that a list of them is; none if one of them is none.
pub(super) fn calls(raw: &str, offers: &Offers, strictness: Strictness) -> Option<Vec<Call>> {
    let raw = mend(raw);
    if raw.trim_start().starts_with('[') {
        let list: Vec<&RawValue> = serde_json::from_str(&raw).ok()?;
        let calls: Option<Vec<Call>> = list
            .iter()
            .map(|raw| call(raw.get(), offers, strictness))
            .collect();
        return calls.filter(|calls| !calls.is_empty());
    }
    call(&raw, offers, strictness).map(|call| vec![call])
}

fn call(raw: &str, offers: &Offers, strictness: Strictness) -> Option<Call> {
    let mut members: Members<'_> = serde_json::from_str(raw).ok()?;
    // As an API would have it.
    if let Some(inner) = members.get("function")
        && inner.get().starts_with('{')
        && !members.contains_key("name")
    {
        members = serde_json::from_str(inner.get()).ok()?;
    }
    let name: String = serde_json::from_str(members.get("name")?.get()).ok()?;
    let offer = offers.find(&name)?;
    let arguments = ARGUMENTS.iter().find_map(|key| members.get(*key));
    let call = match (arguments, strictness) {
        (Some(raw), _) => offer.call_with_json(raw.get())?,
        (None, Strictness::Marked) => offer.call_with_json("{}")?,
        (None, Strictness::Bare) => return None,
    };
    let known = |key: &String| BESIDE.contains(&&**key) || ARGUMENTS.contains(&&**key);
    let fits = match strictness {
        Strictness::Marked => true,
        Strictness::Bare => members.keys().all(known) && offer.is_fit(&call.arguments),
    };
    fits.then_some(call)
}

/// Whether what has come of an object can be a call: the first key, and the name behind it, tell
/// most objects apart. Nothing while that is not known.
pub(super) fn may_be_call(text: &str, offers: &Offers, strictness: Strictness) -> Option<bool> {
    let marked = strictness == Strictness::Marked;
    let inside = text.strip_prefix('{')?.trim_start();
    let (key, rest) = match string(inside) {
        Read::String(key, rest) => (key, rest.trim_start()),
        Read::More => return None,
        Read::Other => return Some(marked),
    };
    if !matches!(key, "name" | "type") {
        return Some(marked || ARGUMENTS.contains(&key) || key == "function");
    }
    let value = match rest.strip_prefix(':') {
        Some(value) => string(value.trim_start()),
        None if rest.is_empty() => return None,
        None => return Some(false),
    };
    match value {
        Read::String(name, _) if key == "name" => Some(offers.find(name).is_some()),
        Read::String(kind, _) => Some(marked || kind == "function"),
        Read::More => None,
        Read::Other => Some(marked),
    }
}

enum Read<'t> {
    String(&'t str, &'t str),
    More,
    Other,
}

/// A string without escapes, and what comes behind it.
fn string(text: &str) -> Read<'_> {
    const LONGEST: usize = 256;
    let Some(inside) = text.strip_prefix('"') else {
        return match text.is_empty() {
            true => Read::More,
            false => Read::Other,
        };
    };
    match inside.split_once('"') {
        Some((text, rest)) if !text.contains('\\') => Read::String(text, rest),
        None if inside.len() <= LONGEST => Read::More,
        _ => Read::Other,
    }
}
