//! The top keys of a function tool, to show them as the API's own answers do: resolved.

use serde_json::value::RawValue;

use crate::json::{self, Members, write_string};

/// Writes a tool as an answer shows it: a function with `parameters`, `description` and `strict`, which
/// clients may leave out and readers of an answer rely on.
pub(super) fn write(out: &mut Vec<u8>, tool: &RawValue) {
    let members: Option<Members<'_>> = json::from_raw(tool).ok();
    let is_function = |members: &Members<'_>| members.text("type").as_deref() == Some("function");
    let Some(members) = members.filter(is_function) else {
        out.extend_from_slice(tool.get().as_bytes());
        return;
    };
    let mut gap = b'{';
    let mut member = |key: &str, value: &str| {
        out.push(std::mem::replace(&mut gap, b','));
        write_string(out, key);
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    };
    for (key, value) in members.iter() {
        match (key, value.get()) {
            // Null is "as the API thinks best", and that is not strict here.
            ("strict", "null") => member(key, "false"),
            (key, value) => member(key, value),
        }
    }
    for (key, value) in [
        ("parameters", "null"),
        ("description", "null"),
        ("strict", "false"),
    ] {
        if !members.has(key) {
            member(key, value);
        }
    }
    out.push(b'}');
}
