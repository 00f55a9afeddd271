//! The inside of a JSON string that is known to be right, decoded.
//!
//! Long texts are decoded on their way to an upstream, so it is done a word at a time. What is still
//! arriving, or may be wrong, is for [`super::unescape`].

use super::word::{self, WORD};

/// Decodes what stands between the quotes of a JSON string, in which escapes are right and surrogate
/// pairs whole. Of what is not, the rest is lost.
pub(super) fn decode(inside: &str) -> String {
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
        rest = take_escape(&mut out, rest.get(plain..).unwrap_or_default());
    }
    while let Some((byte, behind)) = rest.split_first() {
        if *byte == b'\\' {
            rest = take_escape(&mut out, rest);
        } else {
            out.push(*byte);
            rest = behind;
        }
    }
    // What was text with escapes is text without them.
    String::from_utf8(out).unwrap_or_default()
}

/// Decodes the escape that the text begins with; returns what stands behind it.
fn take_escape<'t>(out: &mut Vec<u8>, text: &'t [u8]) -> &'t [u8] {
    let [b'\\', kind, behind @ ..] = text else {
        return &[];
    };
    out.push(match kind {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'u' => return take_unit(out, text),
        // A quote, a backslash, a slash.
        plain => *plain,
    });
    behind
}

/// Decodes the `\uXXXX` that the text begins with, and the one behind it if both are a pair.
fn take_unit<'t>(out: &mut Vec<u8>, text: &'t [u8]) -> &'t [u8] {
    let decoded = unit(text).and_then(|first| {
        let behind = text.get(6..)?;
        if !(0xd800..0xdc00).contains(&first) {
            return Some((char::from_u32(first)?, behind));
        }
        let second = unit(behind).filter(|unit| (0xdc00..0xe000).contains(unit))?;
        let scalar = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        Some((char::from_u32(scalar)?, behind.get(6..)?))
    });
    let Some((character, behind)) = decoded else {
        return &[];
    };
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    behind
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
        let expected: String = serde_json::from_str(&format!("\"{inside}\"")).unwrap();
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
            prop_assert_eq!(decode(&written[1..written.len() - 1]), text.clone());
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            prop_assert_eq!(decode(&units.collect::<String>()), text);
        }
    }
}
