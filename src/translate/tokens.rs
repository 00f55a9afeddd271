//! How many tokens something is, where nobody counts: by its length.

/// How many tokens so many bytes are, about: four bytes are one.
#[must_use]
pub fn estimate_tokens(bytes: usize) -> u64 {
    const BYTES_PER_TOKEN: usize = 4;
    u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX)
}

/// How many tokens a text is, about: four plain letters are one, and so is each letter of a script
/// in which a letter is a syllable or a word.
#[must_use]
pub fn count_tokens(text: &[u8]) -> u64 {
    let plain = text.iter().filter(|byte| byte.is_ascii()).count();
    // Of a letter of three or four bytes only the first has these bits.
    let wide = text.iter().filter(|byte| **byte >= 0xe0).count();
    let narrow = text
        .iter()
        .filter(|byte| (0xc0..0xe0).contains(*byte))
        .count();
    estimate_tokens(plain + 2 * narrow) + u64::try_from(wide).unwrap_or(u64::MAX)
}
