//! What must not be told to anyone: some servers repeat the key that they refuse.

use secrecy::{ExposeSecret, SecretString};

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";
/// Shorter texts (`none`, `ollama`) are no secrets, but words that errors are written in.
const SHORTEST: usize = 8;
/// The beginning of most services' keys, and how much must follow to make it one.
const PREFIX: &str = "sk-";
const LEAST_AFTER_PREFIX: usize = 16;

/// An upstream's secrets.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<SecretString>);

impl Secrets {
    pub(super) fn new<'s>(secrets: impl IntoIterator<Item = &'s SecretString>) -> Self {
        let long = |secret: &&SecretString| secret.expose_secret().len() >= SHORTEST;
        let mut secrets: Vec<_> = secrets.into_iter().filter(long).cloned().collect();
        // One may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self(secrets)
    }

    /// The text without any of them, nor anything else that looks like a key.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.expose_secret()) {
                text = text.replace(secret.expose_secret(), REDACTED);
            }
        }
        hide_keys(&text)
    }
}

/// Whatever begins with `sk-` as a word and is long enough.
fn hide_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(PREFIX) {
        let inside = out.ends_with(|c: char| c.is_ascii_alphanumeric());
        let begins = match before.chars().next_back() {
            Some(last) => !last.is_ascii_alphanumeric(),
            None => !inside,
        };
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
            .unwrap_or(after.len());
        out.push_str(before);
        if begins && end >= LEAST_AFTER_PREFIX {
            out.push_str(REDACTED);
            rest = after.split_at(end).1;
        } else {
            out.push_str(PREFIX);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_secrets_are_hidden_wherever_they_stand() {
        let secrets = [SecretString::from("tok_12345678"), "tok_12345678_b".into()];
        let secrets = Secrets::new(&secrets);
        assert_eq!(
            secrets.hide("bad key tok_12345678, tok_12345678_b!"),
            "bad key [redacted], [redacted]!"
        );
    }

    #[test]
    fn a_short_key_is_a_word() {
        let secrets = Secrets::new(&[SecretString::from("ollama")]);
        assert_eq!(secrets.hide("no ollama here"), "no ollama here");
    }

    #[test]
    fn what_looks_like_a_key_is_hidden() {
        let hide = |text| Secrets::default().hide(text);
        assert_eq!(
            hide("Incorrect API key provided: sk-proj-abcdefghijklmnop. See"),
            "Incorrect API key provided: [redacted]. See"
        );
        assert_eq!(hide("sk-aaaaaaaaaaaaaaaa"), "[redacted]");
        for harmless in [
            "sk-short",
            "the task-abcdefghijklmnopqrst failed",
            "sk-",
            "desk-sk-",
            "ä sk-ä",
        ] {
            assert_eq!(hide(harmless), harmless);
        }
    }
}
