//! Strings out, as JSON.
//!
//! Every delta is one string written, so it is done in runs: what needs no escape is found many
//! bytes at a time and copied in one piece. The bytes are those that `serde_json` writes.

/// How many bytes are looked at together.
const BLOCK: usize = 32;
/// A byte in each of eight lanes.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// The highest bit of each lane.
const HIGH: u64 = ONES << 7;

/// Writes a string with its quotes.
///
/// ```
/// use antiphon::json::write_string;
///
/// let mut out = Vec::new();
/// write_string(&mut out, "a \"b\"\n\u{1}é");
/// assert_eq!(out, br#""a \"b\"\n\u0001"#.iter().chain("é\"".as_bytes()).copied().collect::<Vec<_>>());
/// ```
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((run, byte, tail)) = split_at_escape(rest) {
        out.extend_from_slice(run);
        escape(out, byte);
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// What stands before the first byte that must be escaped, that byte, and what stands behind it.
fn split_at_escape(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (run, rest) = bytes.split_at_checked(plain_run(bytes))?;
    let (byte, rest) = rest.split_first()?;
    Some((run, *byte, rest))
}

/// How many bytes stand before the first that must be escaped.
fn plain_run(bytes: &[u8]) -> usize {
    // Whether any byte of a block must be is known by a few vector instructions; which one it is
    // takes longer, and is asked of one block only.
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let is_plain = |block: &&[u8; BLOCK]| {
        let any = |any: bool, byte: &u8| any | needs_escape(*byte);
        !block.iter().fold(false, any)
    };
    let plain = blocks.iter().take_while(is_plain).count() * BLOCK;
    let (words, rest) = bytes.get(plain..).unwrap_or_default().as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let hits = hits(u64::from_le_bytes(*word));
        if hits != 0 {
            return plain + n * 8 + hits.trailing_zeros() as usize / 8;
        }
    }
    let tail = rest.iter().position(|byte| needs_escape(*byte));
    plain + words.len() * 8 + tail.unwrap_or(rest.len())
}

/// The highest bit of the lanes that must be escaped. A lane above a hit may be marked wrongly, by
/// the borrow of the subtraction; the lowest mark is always right.
fn hits(word: u64) -> u64 {
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | is(b'"') | is(b'\\')) & HIGH
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digit = |nibble: u8| b"0123456789abcdef".get(usize::from(nibble)).copied();
            out.extend_from_slice(b"\\u00");
            out.extend(digit(byte >> 4));
            out.extend(digit(byte & 15));
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_character_is_written_as_serde_writes_it_at_each_place() {
        let characters = (0..0x200).chain([0x2028, 0x20ac, 0xffff, 0x1f600]);
        for character in characters.filter_map(char::from_u32) {
            for before in (0..9).chain([31, 32, 33, 47, 64]) {
                for after in [0, 1, 8] {
                    let text = ["x".repeat(before), "y".repeat(after)].join(&character.to_string());
                    assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
                }
            }
        }
    }

    #[test]
    fn escapes_side_by_side_are_all_found() {
        let texts = [
            "",
            "\"\"",
            "\\\"\n\t\u{1f}\u{0}\u{7f}",
            "é\"é\\é\n",
            "!\"!\"!\"!\"!\"!\"!",
        ];
        for text in texts {
            for times in [1, 3, 8] {
                let text = text.repeat(times);
                assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
            }
        }
    }
}
