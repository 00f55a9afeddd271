//! Names of tools, as chat servers take them: `[A-Za-z0-9_-]`, at most 64 characters.

use std::borrow::Cow;

/// The most characters of a function's name.
const LONGEST: usize = 64;
/// What stands between a namespace and a name in it.
const GAP: &str = "__";
/// Digits of the hash at the end of a name that was changed.
const DIGITS: usize = 8;
/// The hash with its underscore.
const TAIL: usize = DIGITS + 1;

/// The one name under which a tool is offered. Names that fit stay as they are; others are cut or
/// mended and end in a hash of what they were, so that they stay apart and the same each time.
pub(super) fn flatten<'a>(namespace: Option<&str>, name: &'a str) -> Cow<'a, str> {
    match namespace {
        // The namespace that stands for "no namespace".
        None | Some("" | "functions") if fits(name) => Cow::Borrowed(name),
        None | Some("" | "functions") => Cow::Owned(with_hash(&mend(name), name)),
        Some(namespace) => {
            let gap = if namespace.ends_with(GAP) { "" } else { GAP };
            let full = format!("{namespace}{gap}{name}");
            if fits(&full) {
                return Cow::Owned(full);
            }
            // The tool's own name tells the model more than what it belongs to.
            let own = mend(name);
            let room = LONGEST.checked_sub(own.len() + GAP.len() + TAIL);
            Cow::Owned(match room.filter(|room| *room > 0) {
                Some(room) => {
                    let head: String = mend(namespace).chars().take(room).collect();
                    let head = head.trim_end_matches('_');
                    with_hash(&format!("{head}{GAP}{own}"), &full)
                }
                None => with_hash(&own, &full),
            })
        }
    }
}

/// A name that is not taken, made from one that is.
pub(super) fn apart(name: &str, namespace: Option<&str>, attempt: usize) -> String {
    let full = format!("{}/{name}/{attempt}", namespace.unwrap_or_default());
    with_hash(&mend(name), &full)
}

fn fits(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST && name.chars().all(allowed)
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn mend(name: &str) -> String {
    let mended = |c| if allowed(c) { c } else { '_' };
    name.chars().map(mended).collect()
}

/// `name`, cut where needed, and eight hex digits of the hash of `full`.
fn with_hash(name: &str, full: &str) -> String {
    let head: String = name.chars().take(LONGEST - TAIL).collect();
    format!("{head}_{:08x}", fold(fnv1a(full.as_bytes())))
}

/// FNV-1a: stable over versions and machines, which the standard hasher is not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn fold(hash: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
    u32::from_le_bytes([a ^ e, b ^ f, c ^ g, d ^ h])
}
