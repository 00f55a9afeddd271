//! How many tokens something is, where nobody counts: by its length.

/// How many tokens so many bytes are, about: four bytes are one.
#[must_use]
pub fn estimate_tokens(bytes: usize) -> u64 {
    const BYTES_PER_TOKEN: usize = 4;
    u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX)
}

/// What a picture or a file counts for, in bytes of text: about 800 tokens, whatever its size.
const ATTACHMENT: usize = 3200;

/// The pieces of a request for a chat that are text; base64 is left out of them.
fn texts(chat: &[u8]) -> impl Iterator<Item = &[u8]> {
    const MARK: &[u8] = b";base64,";
    let mut rest = Some(chat);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = memchr::memmem::find(text, MARK) else {
            return rest.take();
        };
        let (before, data) = text.split_at(at + MARK.len());
        let end = memchr::memchr(b'"', data).unwrap_or(data.len());
        rest = data.get(end..);
        Some(before)
    })
}

/// The length of a request for a chat as its tokens are estimated by it: pictures and files in it
/// are as long as the text that is worth as much.
#[must_use]
pub fn text_bytes(chat: &[u8]) -> usize {
    let lengths = texts(chat).map(|text| text.len() + ATTACHMENT);
    lengths.sum::<usize>().saturating_sub(ATTACHMENT)
}

/// How many tokens a request for a chat is, about: four plain letters are one, and so is each letter
/// of a script in which a letter is a syllable or a word.
#[must_use]
pub fn count_chat_tokens(chat: &[u8]) -> u64 {
    let counts = texts(chat).map(|text| count_tokens(text) + estimate_tokens(ATTACHMENT));
    counts
        .sum::<u64>()
        .saturating_sub(estimate_tokens(ATTACHMENT))
}

/// How many tokens a text is, about: four plain letters are one, and so is each letter of a script
/// in which a letter is a syllable or a word.
#[must_use]
fn count_tokens(text: &[u8]) -> u64 {
    let plain = text.iter().filter(|byte| byte.is_ascii()).count();
    // Of a letter of three or four bytes only the first has these bits.
    let wide = text.iter().filter(|byte| **byte >= 0xe0).count();
    let narrow = text
        .iter()
        .filter(|byte| (0xc0..0xe0).contains(*byte))
        .count();
    estimate_tokens(plain + 2 * narrow) + u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_counts_by_its_length_and_script() {
        assert_eq!(text_bytes(b"twelve bytes"), 12);
        assert_eq!(count_chat_tokens(b"twelve bytes"), 3);
        assert_eq!(count_chat_tokens("日本語".as_bytes()), 3);
    }

    #[test]
    fn a_picture_counts_as_one_however_large() {
        let chat =
            |size: usize| format!("{{\"url\":\"data:image/png;base64,{}\"}}", "A".repeat(size));
        let (small, large) = (chat(10), chat(1_000_000));
        assert_eq!(text_bytes(small.as_bytes()), text_bytes(large.as_bytes()));
        let tokens = count_chat_tokens(large.as_bytes());
        assert!((800..900).contains(&tokens), "{tokens}");
        let two = format!("[{large},{large}]");
        assert!(count_chat_tokens(two.as_bytes()) > 2 * tokens - 2);
        assert!(text_bytes(b"data:x;base64,AAAA") > 3000);
    }
}
