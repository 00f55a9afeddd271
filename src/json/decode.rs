//! The inside of a JSON string, decoded.
//!
//! Long texts are decoded on their way to an upstream, so it is done a word at a time. What is still
//! arriving, or is to be mended, is for [`super::unescape`].

use super::word::{self, WORD};

/// Decodes what stands between the quotes of a JSON string; `None` for what is no such thing, and for
/// half a surrogate pair, which no text can hold.
pub(super) fn decode(inside: &str) -> Option<String> {
    let mut out = Vec::with_capacity(inside.len() + WORD);
    let mut rest = inside.as_bytes();
    while let Some((block, behind)) = rest.split_first_chunk::<WORD>() {
        let marks = word::marks(*block);
        // A whole word is copied sooner than a part of one, and what is too much is taken back.
        let start = out.len();
        out.extend_from_slice(block);
        if marks == 0 {
            rest = behind;
            continue;
        }
        let plain = word::before_first(marks);
        out.truncate(start + plain);
        rest = take_escape(&mut out, rest.get(plain..)?)?;
    }
    while let Some((byte, behind)) = rest.split_first() {
        if word::is_marked(*byte) {
            rest = take_escape(&mut out, rest)?;
        } else {
            out.push(*byte);
            rest = behind;
        }
    }
    String::from_utf8(out).ok()
}

/// Decodes the escape that the text begins with; returns what stands behind it.
fn take_escape<'t>(out: &mut Vec<u8>, text: &'t [u8]) -> Option<&'t [u8]> {
    let [b'\\', kind, behind @ ..] = text else {
        return None;
    };
    out.push(match kind {
        b'"' | b'\\' | b'/' => *kind,
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'u' => return take_unit(out, text),
        _ => return None,
    });
    Some(behind)
}

/// Decodes the `\uXXXX` that the text begins with, and the one behind it if both are a pair.
fn take_unit<'t>(out: &mut Vec<u8>, text: &'t [u8]) -> Option<&'t [u8]> {
    let first = unit(text)?;
    let mut behind = text.get(6..)?;
    let mut scalar = first;
    if (0xd800..0xdc00).contains(&first) {
        let second = unit(behind).filter(|unit| (0xdc00..0xe000).contains(unit))?;
        scalar = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        behind = behind.get(6..)?;
    }
    // A second half without a first is none.
    let character = char::from_u32(scalar)?;
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(behind)
}

/// The UTF-16 code unit of the `\uXXXX` that bytes begin with.
pub(super) fn unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit * 16 + char::from(*digit).to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(inside: &str) {
        let expected: Option<String> = serde_json::from_str(&format!("\"{inside}\"")).ok();
        assert_eq!(decode(inside), expected, "{inside}");
    }

    #[test]
    fn each_escape_is_decoded_at_each_place() {
        for escape in [
            "\\n",
            "\\t",
            "\\r",
            "\\b",
            "\\f",
            "\\/",
            "\\\\",
            "\\\"",
            "\\u0041",
            "\\u00e9",
            "\\u20AC",
            "\\uffff",
            "\\ud83d\\ude00",
            "é",
            "",
            "\\\\\\n",
            "\\\\u0041",
        ] {
            for before in 0..10 {
                for after in [0, 1, 7, 8, 9] {
                    check(&format!(
                        "{}{escape}{}",
                        "x".repeat(before),
                        "y".repeat(after)
                    ));
                    check(&format!(
                        "{}{escape}{escape}{}",
                        "é".repeat(before),
                        "\\n".repeat(after)
                    ));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(decode(&written[1..written.len() - 1]), Some(text.clone()));
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            prop_assert_eq!(decode(&units.collect::<String>()), Some(text));
        }

        #[test]
        fn what_is_no_string_is_none_as_for_serde_json(
            inside in "([a-zé]{0,9}|\\\\[\"\\\\/bfnrtux0]|\\\\u(d8|dc|00)[0-9a-g]{2}|[\x00-\x7f]){0,6}"
        ) {
            check(&inside);
        }
    }
}
