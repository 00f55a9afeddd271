//! Eight bytes at a time, as one number: what in the text of a JSON string needs a second look.
//!
//! Strings are nearly all of what passes through, and nearly all of a string is plain. Text as code
//! has it is plain for some twenty bytes and then has a quote or a line's end, which is too short for
//! instructions that look at more bytes together to be worth their beginning.

/// How many bytes are looked at together.
pub(super) const WORD: usize = 8;

/// A byte in each of eight lanes.
const fn lanes(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; WORD])
}

/// The bytes of a word that may not stand in a JSON string as they are: quotes, backslashes and
/// control characters. Each has the highest bit of its lane, the first byte in the lowest lane.
pub(super) fn marks(word: [u8; WORD]) -> u64 {
    let word = u64::from_le_bytes(word);
    // Without their highest bits, no sum reaches the next lane. A sum has that bit unless the byte is
    // what is looked for; a byte that has it itself is none of it.
    let low = word & lanes(0x7f);
    // With this bit turned, a quote follows the control characters, and a space does not.
    let neither_control_nor_quote = (low ^ lanes(b'"' ^ b' ')) + lanes(0x80 - 0x21);
    let not_backslash = (low ^ lanes(b'\\')) + lanes(0x7f);
    !((neither_control_nor_quote & not_backslash) | word) & lanes(0x80)
}

/// How many bytes stand before the first that is marked.
pub(super) fn before_first(marks: u64) -> usize {
    // At most 8, which any number holds.
    (marks.trailing_zeros() / 8) as usize
}

/// Whether a byte may not stand in a JSON string as it is.
pub(super) fn is_marked(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_marked_in_each_lane_whatever_stands_beside_it() {
        for beside in [
            b'x', 0, 0x1f, 0x20, b'"', b'!', b'\\', b'[', 0x7f, 0x80, 0xa2, 0xff,
        ] {
            for byte in 0..=u8::MAX {
                for lane in 0..WORD {
                    let mut word = [beside; WORD];
                    word[lane] = byte;
                    let expected = word.map(|byte| if is_marked(byte) { 0x80 } else { 0 });
                    assert_eq!(marks(word).to_le_bytes(), expected, "{word:?}");
                }
            }
        }
    }

    #[test]
    fn marks_are_counted_from_the_first_byte() {
        assert_eq!(before_first(marks(*b"ab\"cd\\ef")), 2);
        assert_eq!(before_first(marks(*b"abcdefg\n")), 7);
        assert_eq!(before_first(0), 8);
    }
}
