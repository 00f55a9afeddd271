//! Patterns for names, in which `*` stands for anything.

/// Whether a text is like a pattern in which `*` stands for anything.
pub(crate) fn fits(glob: &str, text: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces = rest.split('*');
    let last = pieces.next_back().unwrap_or_default();
    for piece in pieces {
        // The first place is as good as any later one.
        match text.split_once(piece) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    #[test]
    fn stars_stand_for_anything_anywhere() {
        for (glob, text, expected) in [
            ("*", "", true),
            ("*", "x/y", true),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "o-gpt-1", false),
            ("*-mini", "gpt-5-mini", true),
            ("*-mini", "gpt-5-mini-2", false),
            ("a*b*c", "a--b--b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("*x*", "abxc", true),
            ("plain", "plain", true),
        ] {
            assert_eq!(super::fits(glob, text), expected, "{glob} {text}");
        }
    }
}
