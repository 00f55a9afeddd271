//! The section `[store]`.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::super::error::did_you_mean;
use super::super::raw::RawStore;
use super::super::{Store, StorePlace};
use super::Resolver;

const URL: &[&str] = &["store", "url"];

const DAY: u64 = 24 * 60 * 60;

/// How much is kept in memory, where nobody says otherwise; and elsewhere.
const MEMORY_MB: u64 = 256;
const MAX_MB: u64 = 1024;

const FORMS: &str = "it can be a file's path, `sqlite:PATH`, `postgres://USER@HOST/DATABASE`, \
                     `memory`, or `none`";

impl Resolver<'_> {
    pub(super) fn store(&mut self, raw: &RawStore) -> Store {
        let (place, chosen) = self.place(raw);
        let days = raw.retention_days.unwrap_or(30);
        let megabytes = raw.max_size_mb.unwrap_or(match place {
            StorePlace::Memory => MEMORY_MB,
            StorePlace::None | StorePlace::Sqlite(_) | StorePlace::Postgres(_) => MAX_MB,
        });
        let connections = self.count(&["store", "max_connections"], raw.max_connections);
        let connections = connections.map_or(8, |count| u32::try_from(count).unwrap_or(u32::MAX));
        Store {
            place,
            chosen,
            max_connections: connections,
            timeout: self.time(&["store", "timeout_ms"], raw.timeout_ms, 5_000),
            retention: (days > 0).then(|| Duration::from_secs(days.saturating_mul(DAY))),
            max_bytes: (megabytes > 0).then(|| megabytes.saturating_mul(1 << 20)),
            lease: self.time(&["store", "lease_ms"], raw.lease_ms, 30_000),
            background_concurrency: self.size(
                &["store", "background_concurrency"],
                raw.background_concurrency,
                16,
            ),
        }
    }

    /// The place, and whether somebody chose it.
    fn place(&mut self, raw: &RawStore) -> (StorePlace, bool) {
        let variable = raw.url_env.as_deref();
        let set = variable.and_then(|name| self.env.get(name));
        if let (Some(url), Some(name)) = (set.filter(|url| !url.is_empty()), variable) {
            let path = ["store", "url_env"];
            // What the variable holds may be secret: only its name is told.
            let place = self.place_of(&path, url, &format!("what ${name} holds"));
            return (place, true);
        }
        if let Some(url) = &raw.url {
            let shown = shown(url);
            return (self.place_of(URL, url, &shown), true);
        }
        if let Some(name) = variable {
            let message = format!("the variable {name} is not set, and there is no `url` either");
            self.wrong(&["store", "url_env"], &message, None);
        }
        // Without a home there is nowhere to keep anything.
        let file = self.state().map(|state| state.join("store.db"));
        let place = file.map_or(StorePlace::Memory, StorePlace::Sqlite);
        (place, false)
    }

    fn place_of(&mut self, path: &[&str], url: &str, shown: &str) -> StorePlace {
        match url {
            "memory" | "sqlite::memory:" => return StorePlace::Memory,
            "none" => return StorePlace::None,
            _ => {}
        }
        if let Some(file) = url.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            if file.is_empty() || file.contains('?') {
                let help = "write it as `sqlite:PATH`; there are no parameters".to_owned();
                self.wrong(path, &format!("{shown} names no file"), Some(help));
            }
            return StorePlace::Sqlite(self.path(path, file));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            if Url::parse(url).is_err() {
                let help = "write it as `postgres://USER@HOST:PORT/DATABASE`; other characters than \
                            letters and digits in a password are written like %40";
                let message = format!("{shown} is not a Postgres address");
                self.wrong(path, &message, Some(help.to_owned()));
            }
            return StorePlace::Postgres(SecretString::from(url));
        }
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        let word = !url.contains(['/', '.', '\\']);
        if scheme.is_some() || word {
            let known = ["memory", "none", "sqlite", "postgres"];
            let help = did_you_mean(scheme.unwrap_or(url), known.iter().copied());
            let message = format!("{shown} is no place for a store");
            self.wrong(path, &message, help.or_else(|| Some(FORMS.to_owned())));
            return StorePlace::None;
        }
        StorePlace::Sqlite(self.path(path, url))
    }

    /// The user's folder for what a program keeps from one run to the next.
    pub(super) fn state(&self) -> Option<PathBuf> {
        let state = super::absolute(self.env, "XDG_STATE_HOME")
            .or_else(|| super::home(self.env).map(|home| home.join(".local").join("state")));
        state.map(|state| state.join("antiphon"))
    }
}

/// A place's address as it may be told: what stands before an `@` can be a password.
fn shown(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("`…@{rest}`"),
        None => format!("`{url}`"),
    }
}
