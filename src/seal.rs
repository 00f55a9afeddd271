//! Sealing: thinking travels through the client as text that only this proxy can read.
//!
//! `version (1 byte) · key id (4 bytes) · nonce (12 bytes) · AES-256-GCM ciphertext and tag`, in
//! base64url without padding. The first five bytes are bound to the ciphertext, and with them the tenant it
//! was sealed for. Whatever does not
//! open (another key's, another server's, a changed one) is ignored, never an error.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::translate::{Seal, Seals};

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const HEAD_BYTES: usize = 5;

/// A key to seal with.
pub struct SealingKey {
    key: LessSafeKey,
    head: [u8; HEAD_BYTES],
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file is there, but cannot be read or made.
    #[error("the sealing key {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file holds something else.
    #[error("the sealing key {0}: it must hold {KEY_BYTES} bytes in base64url")]
    Content(PathBuf),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

impl SealingKey {
    /// A key that lives as long as the process.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn ephemeral() -> Result<Self, SealError> {
        Self::from_bytes(&random_key()?)
    }

    /// The key in a file, which is made, readable by its owner only, if there is none.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds something else.
    pub fn from_file(path: &Path) -> Result<Self, SealError> {
        let file = |error| SealError::File {
            path: path.to_owned(),
            error,
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = URL_SAFE_NO_PAD.encode(random_key()?);
                match create(path, &made) {
                    Ok(()) => made,
                    // Another process was faster.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        std::fs::read_to_string(path).map_err(file)?
                    }
                    Err(error) => return Err(file(error)),
                }
            }
            Err(error) => return Err(file(error)),
        };
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).unwrap_or_default();
        let bytes = bytes
            .try_into()
            .map_err(|_| SealError::Content(path.to_owned()))?;
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::Random)?;
        let hash = digest(&SHA256, bytes);
        let mut head = [VERSION, 0, 0, 0, 0];
        for (to, from) in head.iter_mut().skip(1).zip(hash.as_ref()) {
            *to = *from;
        }
        Ok(Self {
            key: LessSafeKey::new(key),
            head,
        })
    }
}

impl Seals for Arc<SealingKey> {
    fn of(&self, tenant: &str) -> Arc<dyn Seal> {
        Arc::new(TenantSeal {
            bound: [&self.head[..], tenant.as_bytes()].concat(),
            key: Self::clone(self),
        })
    }
}

/// The key for what belongs to one tenant.
struct TenantSeal {
    key: Arc<SealingKey>,
    /// The head of the sealed text and the tenant, which are bound to it.
    bound: Vec<u8>,
}

impl Seal for TenantSeal {
    fn seal(&self, plain: &[u8]) -> String {
        // The system's own randomness, as the library's takes long to begin: it measures the CPU's
        // jitter first.
        let mut nonce = [0; NONCE_LEN];
        let mut text = plain.to_vec();
        let SealingKey { key, head } = &*self.key;
        let sealed = getrandom::fill(&mut nonce).is_ok()
            && key
                .seal_in_place_append_tag(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from(&self.bound),
                    &mut text,
                )
                .is_ok();
        match sealed {
            true => URL_SAFE_NO_PAD.encode([&head[..], &nonce, &text].concat()),
            // Without randomness nothing can be sealed; the client keeps an item that opens nowhere.
            false => String::new(),
        }
    }

    fn open(&self, sealed: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        if head != self.key.head {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let key = &self.key.key;
        let plain = key
            .open_in_place(nonce, Aad::from(&self.bound), &mut text)
            .ok()?;
        Some(plain.to_vec())
    }
}

fn random_key() -> Result<[u8; KEY_BYTES], SealError> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| SealError::Random)?;
    Ok(bytes)
}

/// Writes a new file that only its owner may read. It gets its name once it is whole, so that no
/// other process reads half a key.
fn create(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_again_and_reads_as_noise() {
        let key = Arc::new(SealingKey::ephemeral().unwrap()).of("");
        let sealed = key.seal(b"the secret plan");
        assert_eq!(key.open(&sealed).unwrap(), b"the secret plan");
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        assert_ne!(
            sealed,
            key.seal(b"the secret plan"),
            "the nonce is new each time"
        );
    }

    #[test]
    fn what_was_changed_or_is_anothers_does_not_open() {
        let both = [
            SealingKey::ephemeral().unwrap(),
            SealingKey::ephemeral().unwrap(),
        ];
        let [key, other] = both.map(|key| Arc::new(key).of(""));
        let sealed = key.seal(b"x");
        assert_eq!(other.open(&sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                changed == sealed || key.open(&changed).is_none() || at == sealed.len() - 1,
                "{at}"
            );
        }
        for foreign in ["", "gAAAAABnotours==", "é", "AQ"] {
            assert_eq!(key.open(foreign), None);
        }
    }

    #[test]
    fn what_is_sealed_for_one_tenant_opens_for_no_other() {
        let key = Arc::new(SealingKey::ephemeral().unwrap());
        let sealed = key.of("a").seal(b"x");
        assert_eq!(key.of("a").open(&sealed).unwrap(), b"x");
        assert_eq!(key.of("b").open(&sealed), None);
        assert_eq!(key.of("").open(&sealed), None);
    }

    #[test]
    fn a_key_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/seal.key");
        let read = || Arc::new(SealingKey::from_file(&path).unwrap()).of("");
        let sealed = read().seal(b"x");
        assert_eq!(read().open(&sealed).unwrap(), b"x");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(
            SealingKey::from_file(&path),
            Err(SealError::Content(_))
        ));
    }
}
