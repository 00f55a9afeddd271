//! The keys that clients may show, and what each of them may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::bucket::{Bucket, Rate};
use super::refused::Refusals;
use crate::glob;
use crate::key::{self, KeyHash};

/// How much a key, or all clients together, may have; `None` has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Responses under way.
    pub max_streams: Option<usize>,
    /// Requests in a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens in a minute, read and written.
    pub tokens_per_minute: Option<u64>,
    /// How long one response may take.
    pub max_stream: Option<Duration>,
}

impl Rates {
    pub(super) fn requests(&self) -> Option<Rate> {
        self.requests_per_minute.map(Rate)
    }

    pub(super) fn tokens(&self) -> Option<Rate> {
        self.tokens_per_minute.map(Rate)
    }
}

/// What a key is made from.
#[derive(Debug, Clone)]
pub struct KeySettings {
    /// Its name.
    pub name: String,
    /// What its secret is known by.
    pub hash: KeyHash,
    /// Whose what is stored is.
    pub tenant: String,
    /// Patterns of the models' names that it may ask for.
    pub models: Vec<String>,
    /// The longest body of its requests, where that is shorter than the server's.
    pub max_body_bytes: Option<usize>,
    /// What it may have.
    pub rates: Rates,
}

/// A client's key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Whose what is stored is.
    pub tenant: String,
    /// The longest body of its requests, where that is shorter than the server's.
    pub max_body_bytes: Option<usize>,
    hash: KeyHash,
    models: Vec<String>,
    pub(super) rates: Rates,
    pub(super) account: Arc<Account>,
}

/// What a key has of what it may have. It goes on when the configuration changes.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) streams: AtomicUsize,
    pub(super) meter: Meter,
    pub(super) refusals: Refusals,
}

/// What was had in a minute.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) requests: Bucket,
    pub(super) tokens: Bucket,
}

impl Key {
    /// Whether it may ask for a model. With a profile the name is `MODEL@PROFILE`.
    #[must_use]
    pub fn may_use(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| glob::fits(pattern, model))
    }

    /// Takes a place for a response, if it has one left.
    pub(super) fn take_place(&self) -> bool {
        let most = self.rates.max_streams.unwrap_or(usize::MAX);
        let order = Ordering::AcqRel;
        let taken = self
            .account
            .streams
            .fetch_update(order, Ordering::Acquire, |streams| {
                (streams < most).then_some(streams + 1)
            });
        taken.is_ok()
    }

    pub(super) fn leave_place(&self) {
        self.account.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// All keys.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Arc<Key>>);

impl Keys {
    /// Those of the settings; of one that was there before, what it has goes on.
    pub(super) fn new(settings: Vec<KeySettings>, before: &Self) -> Self {
        let accounts = |name: &str| {
            let before = before.0.iter().find(|key| key.name == name);
            before.map(|key| Arc::clone(&key.account))
        };
        let keys = settings.into_iter().map(|settings| {
            Arc::new(Key {
                account: accounts(&settings.name).unwrap_or_default(),
                name: settings.name,
                tenant: settings.tenant,
                max_body_bytes: settings.max_body_bytes,
                hash: settings.hash,
                models: settings.models,
                rates: settings.rates,
            })
        });
        Self(keys.collect())
    }

    /// The key of a secret. All are compared, in a time that does not tell which is near.
    pub(super) fn find(&self, secret: &[u8]) -> Option<&Arc<Key>> {
        if secret.len() > key::LONGEST {
            return None;
        }
        let hash = KeyHash::of(secret);
        let mut found = None;
        for key in &self.0 {
            if key.hash.is(&hash) {
                found = Some(key);
            }
        }
        found
    }

    /// The key that another configuration had.
    pub(super) fn same(&self, other: &Key) -> Option<&Arc<Key>> {
        let mut keys = self.0.iter();
        keys.find(|key| key.hash == other.hash && key.tenant == other.tenant)
    }

    /// The first key of a tenant.
    pub(super) fn of_tenant(&self, tenant: &str) -> Option<&Arc<Key>> {
        self.0.iter().find(|key| key.tenant == tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, secret: &str) -> KeySettings {
        KeySettings {
            name: name.into(),
            hash: KeyHash::of(secret.as_bytes()),
            tenant: name.into(),
            models: vec!["gpt-*".into(), "exact".into()],
            max_body_bytes: None,
            rates: Rates {
                max_streams: Some(1),
                ..Rates::default()
            },
        }
    }

    fn name<'k>(keys: &'k Keys, secret: &str) -> Option<&'k str> {
        keys.find(secret.as_bytes()).map(|key| key.name.as_str())
    }

    #[test]
    fn a_secret_finds_its_key() {
        let all = vec![settings("a", "one"), settings("b", "two")];
        let keys = Keys::new(all, &Keys::default());
        assert_eq!(name(&keys, "one"), Some("a"));
        assert_eq!(name(&keys, "two"), Some("b"));
        for wrong in ["", "on", "one ", "One", "sha256:one"] {
            assert_eq!(name(&keys, wrong), None, "{wrong}");
        }
        assert_eq!(name(&keys, &"x".repeat(2 * key::LONGEST)), None);
    }

    #[test]
    fn a_key_is_for_the_models_that_it_names() {
        let keys = Keys::new(vec![settings("a", "one")], &Keys::default());
        let key = keys.find(b"one").unwrap();
        assert!(key.may_use("gpt-5") && key.may_use("exact") && key.may_use("gpt-5@fast"));
        assert!(!key.may_use("exact@fast") && !key.may_use("qwen3") && !key.may_use(""));
    }

    #[test]
    fn what_a_key_has_goes_on_under_its_name() {
        let before = Keys::new(
            vec![settings("a", "one"), settings("b", "two")],
            &Keys::default(),
        );
        let old = before.find(b"one").unwrap();
        assert!(old.take_place() && !old.take_place());
        let after = Keys::new(vec![settings("a", "other"), settings("c", "two")], &before);
        let new = after.find(b"other").unwrap();
        assert!(!new.take_place());
        old.leave_place();
        assert!(new.take_place());
        assert!(
            after.find(b"two").unwrap().take_place(),
            "that is another one"
        );
        assert!(after.same(old).is_none(), "its secret is another");
        assert!(before.same(old).is_some());
        assert_eq!(after.of_tenant("c").map(|key| key.name.as_str()), Some("c"));
    }
}
