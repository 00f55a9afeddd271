//! A client's key: a secret that the client has, and its hash, which is all that is known here.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

/// What stands before a hash that is written down.
const SCHEME: &str = "sha256:";
/// How a secret that is made here begins: known by sight, and taken for a secret by programs that
/// look for such.
const PREFIX: &str = "sk-antiphon-";
/// The shortest secret that is taken. A hash of a shorter one would tell it to who has the hash.
const SHORTEST: usize = 16;
/// The longest: what is longer is no key.
pub const LONGEST: usize = 1024;

/// The hash of a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of any bytes.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        let mut hash = [0; 32];
        // Both are 32 bytes.
        for (to, from) in hash.iter_mut().zip(digest(&SHA256, secret).as_ref()) {
            *to = *from;
        }
        Self(hash)
    }

    /// The hash of a secret that somebody thought of.
    ///
    /// # Errors
    /// What is wrong with the secret, which is not repeated.
    pub fn of_secret(secret: &str) -> Result<Self, String> {
        let secret = secret.trim();
        if secret.len() < SHORTEST {
            return Err(format!(
                "a key must have {SHORTEST} characters or more, which nobody guesses"
            ));
        }
        if secret.len() > LONGEST {
            return Err(format!("a key must have at most {LONGEST} characters"));
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a key can only have letters, digits and signs of ASCII".to_owned());
        }
        Ok(Self::of(secret.as_bytes()))
    }

    /// A hash that was written down.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix(SCHEME)?.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16)?;
                *byte = *byte << 4 | u8::try_from(value).ok()?;
            }
        }
        Some(Self(hash))
    }

    /// Whether both are the same, in a time that does not tell how far they are.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Enough to tell two apart, and no more.
impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{SCHEME}{a:02x}{b:02x}{c:02x}{d:02x}…")
    }
}

/// Whether a key, or its tenant, can be called so: names stand in the log, in errors and in the store.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(usable)
}

/// What a name can be.
pub const NAME_HELP: &str = "use up to 64 letters, digits, `-`, `_`, `.` and `@`";

/// A new secret: 256 bits of chance.
///
/// # Errors
/// The system has no randomness.
pub fn new_secret() -> Result<SecretString, getrandom::Error> {
    let mut chance = [0_u8; 32];
    getrandom::fill(&mut chance)?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(chance)).into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_hash_is_written_and_read() {
        let hash = KeyHash::of(b"abc");
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        for text in [
            text,
            &text.to_uppercase().replace("SHA", "sha"),
            &format!(" {text}\n"),
        ] {
            assert!(
                KeyHash::parse(text).is_some_and(|read| read.is(&hash)),
                "{text}"
            );
        }
        for wrong in [
            "",
            "sha256:",
            "sha256:ba78",
            &text[7..],
            &text.replace('b', "g"),
        ] {
            assert_eq!(KeyHash::parse(wrong), None, "{wrong}");
        }
        assert!(!hash.is(&KeyHash::of(b"abd")));
        assert!(!format!("{hash:?}").contains(&text[20..]));
    }

    #[test]
    fn secrets_are_never_twice_the_same() {
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        let (one, two) = (one.expose_secret(), two.expose_secret());
        assert_ne!(one, two);
        assert_eq!(one.len(), "sk-antiphon-".len() + 43);
        assert!(one.starts_with("sk-antiphon-"));
        assert!(
            KeyHash::of_secret(one)
                .unwrap()
                .is(&KeyHash::of(one.as_bytes()))
        );
    }

    #[test]
    fn a_secret_must_be_hard_to_guess_and_fit_into_a_header() {
        for wrong in [
            "",
            "short",
            "fifteen letters",
            "sixteen letters and a space",
            "sixteen-lettérs-",
        ] {
            assert!(KeyHash::of_secret(wrong).is_err(), "{wrong}");
        }
        let same = KeyHash::of_secret(" sixteen-letters-\n").unwrap();
        assert!(same.is(&KeyHash::of(b"sixteen-letters-")));
        assert!(KeyHash::of_secret(&"x".repeat(LONGEST + 1)).is_err());
    }
}
