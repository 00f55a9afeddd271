//! The sections `[auth]`, `[[keys]]`, `[limits]` and `[cors]`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};
use url::Url;

use super::super::load::{drop_unknown, not_toml, wrong_type};
use super::super::place::Places;
use super::super::raw::{RawAuth, RawCors, RawKey, RawKeysFile, RawLimits};
use super::super::{ClientKey, Clients, Cors, Limits, Rates, Server};
use super::Resolver;
use crate::key::{KeyHash, NAME_HELP, is_name};

/// The variable with the secret of one key.
const KEY_VARIABLE: &str = "ANTIPHON_KEY";
/// What that key is called.
const VARIABLE_KEY: &str = "default";

/// When a key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// If there is one.
    Auto,
    /// Always.
    Keys,
    /// Never.
    None,
}

impl Resolver<'_> {
    pub(super) fn clients(&mut self, raw: &RawAuth, keys: Vec<RawKey>) -> Clients {
        let modes = [
            ("auto", Mode::Auto),
            ("keys", Mode::Keys),
            ("none", Mode::None),
        ];
        let mode = self.one_of(&["auth", "mode"], raw.mode.as_deref(), &modes);
        let mut known = self.keys(keys);
        let keys_file = raw.keys_file.as_deref().map(|file| {
            known.extend(self.keys_of(file));
            self.path(&["auth", "keys_file"], file)
        });
        known.extend(self.key_of_variable());
        self.each_only_once(&known);
        // A file of keys asks for one also when it is empty, as it is while somebody writes it anew, or
        // once the last key was taken out of it.
        let need_key = match mode {
            Mode::Auto => !known.is_empty() || keys_file.is_some(),
            Mode::Keys => true,
            Mode::None => false,
        };
        if need_key && known.is_empty() {
            let help = "`antiphon key new` makes one, and prints the lines for it".to_owned();
            let message = "a key is asked for, and there is none";
            let asks = if mode == Mode::Keys {
                "mode"
            } else {
                "keys_file"
            };
            self.wrong(&["auth", asks], message, Some(help));
        }
        Clients {
            need_key,
            keys_file,
            keys: known,
        }
    }

    /// Whoever can reach the server may use it, unless a key is asked for.
    pub(super) fn public(&mut self, server: &Server, clients: &Clients) {
        if server.allow_public || clients.need_key {
            return;
        }
        let Some(listen) = server.listen.iter().find(|listen| listen.is_public()) else {
            return;
        };
        let message = format!(
            "other machines can reach {listen}, and anyone who does can use your upstreams"
        );
        let help = "have clients show a key (`antiphon key new`, or the variable ANTIPHON_KEY), listen on \
                    127.0.0.1, or set `allow_public = true` in [server] \
                    (ANTIPHON__SERVER__ALLOW_PUBLIC=true) if only those you trust can reach it";
        self.wrong(&["server", "listen"], &message, Some(help.to_owned()));
    }

    fn keys(&mut self, raw: Vec<RawKey>) -> Vec<ClientKey> {
        let keys = raw.into_iter().enumerate();
        keys.filter_map(|(at, raw)| self.client_key(at, raw))
            .collect()
    }

    fn client_key(&mut self, at: usize, raw: RawKey) -> Option<ClientKey> {
        let index = at.to_string();
        let path = |key: &'static str| ["keys", index.as_str(), key];
        let Some(name) = raw.name else {
            let help = Some("add one, like name = \"laptop\"".to_owned());
            self.wrong(&["keys", &index], "the key has no `name`", help);
            return None;
        };
        self.plain(&path("name"), &name);
        if let Some(tenant) = &raw.tenant {
            self.plain(&path("tenant"), tenant);
        }
        let tenant = raw.tenant.unwrap_or_else(|| name.clone());
        let help = "`antiphon key new` makes a key with its hash; `antiphon key hash` hashes one that \
                    you have";
        let Some(hash) = raw.hash else {
            let message = format!("the key `{name}` has no `hash`");
            self.wrong(&["keys", &index], &message, Some(help.to_owned()));
            return None;
        };
        let Some(hash) = KeyHash::parse(&hash) else {
            // What stands there may be the secret itself.
            let message = "this is not `sha256:` and 64 hex digits";
            self.wrong(&path("hash"), message, Some(help.to_owned()));
            return None;
        };
        let models = raw.models.unwrap_or_else(|| vec!["*".to_owned()]);
        if models.iter().all(|model| model.trim().is_empty()) {
            let help = Some("leave it out for all of them".to_owned());
            self.wrong(&path("models"), "there is no model in it", help);
        }
        let body = self.count(&path("max_body_bytes"), raw.max_body_bytes);
        let streams = self.count(&path("max_streams"), raw.max_streams);
        let requests = self.count(&path("requests_per_minute"), raw.requests_per_minute);
        let tokens = self.count(&path("tokens_per_minute"), raw.tokens_per_minute);
        let seconds = self.count(&path("max_stream_seconds"), raw.max_stream_seconds);
        Some(ClientKey {
            name,
            hash,
            tenant,
            models,
            max_body_bytes: body.map(whole),
            rates: Rates {
                max_streams: streams.map(whole),
                requests_per_minute: requests,
                tokens_per_minute: tokens,
                max_stream: seconds.map(Duration::from_secs),
            },
        })
    }

    fn plain(&mut self, path: &[&str], name: &str) {
        if !is_name(name) {
            let help = Some(NAME_HELP.to_owned());
            self.wrong(path, &format!("`{name}` is not a name"), help);
        }
    }

    /// The keys of a file of their own.
    fn keys_of(&mut self, file: &str) -> Vec<ClientKey> {
        let Some(text) = self.read(&["auth", "keys_file"], file) else {
            return Vec::new();
        };
        let path = self.path(&["auth", "keys_file"], file);
        let mut table = match DeTable::parse(&text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                self.problems.push(not_toml(&path, &text, &error));
                return Vec::new();
            }
        };
        let places = Places {
            file: &path,
            text: &text,
            settings: &[],
            table: table.clone(),
        };
        let mut problems = Vec::new();
        drop_unknown::<RawKeysFile>(&mut table, &places, &mut problems);
        let spanned = toml::Spanned::new(0..text.len(), table);
        let raw = RawKeysFile::deserialize(Deserializer::from(spanned));
        let mut own = Resolver {
            places: &places,
            env: self.env,
            folder: self.folder,
            check_dialect: self.check_dialect,
            problems,
        };
        let keys = match raw {
            Ok(raw) => own.keys(raw.keys),
            Err(error) => {
                own.problems.push(wrong_type(&places, &error));
                Vec::new()
            }
        };
        let problems = own.problems;
        self.problems.extend(problems);
        keys
    }

    /// The key whose secret is in the environment.
    fn key_of_variable(&mut self) -> Option<ClientKey> {
        let secret = self.env.get(KEY_VARIABLE).map(|secret| secret.trim());
        let secret = secret.filter(|secret| !secret.is_empty())?;
        match KeyHash::of_secret(secret) {
            Ok(hash) => Some(ClientKey {
                name: VARIABLE_KEY.to_owned(),
                hash,
                tenant: VARIABLE_KEY.to_owned(),
                models: vec!["*".to_owned()],
                max_body_bytes: None,
                rates: Rates::default(),
            }),
            Err(message) => {
                let help = Some("`antiphon key new` makes one".to_owned());
                self.wrong_variable(KEY_VARIABLE, message, help);
                None
            }
        }
    }

    /// Two keys of one name would share their counters, and of two with one secret the second would
    /// never be seen.
    fn each_only_once(&mut self, keys: &[ClientKey]) {
        let mut names: BTreeMap<&str, ()> = BTreeMap::new();
        let mut hashes: BTreeMap<String, &str> = BTreeMap::new();
        for key in keys {
            if names.insert(&key.name, ()).is_some() {
                let help = (key.name == VARIABLE_KEY)
                    .then(|| format!("the key of {KEY_VARIABLE} has that name too"));
                let message = format!("there are two keys of the name `{}`", key.name);
                self.wrong(&["keys"], &message, help);
            }
            if let Some(other) = hashes.insert(key.hash.to_string(), &key.name) {
                let message = format!("the keys `{other}` and `{}` are the same", key.name);
                self.wrong(&["keys"], &message, None);
            }
        }
    }

    pub(super) fn limits(&mut self, raw: &RawLimits, max_body_bytes: usize) -> Limits {
        let at = |key: &'static str| ["limits", key];
        let streams = self.size(&at("max_streams"), raw.max_streams, 10_000);
        let requests = self.count(&at("requests_per_minute"), raw.requests_per_minute);
        let tokens = self.count(&at("tokens_per_minute"), raw.tokens_per_minute);
        let seconds = self.count(&at("max_stream_seconds"), raw.max_stream_seconds);
        let path = at("max_bodies_bytes");
        let default = (512 << 20).max(max_body_bytes);
        let bodies = self.size(&path, raw.max_bodies_bytes, default);
        if bodies < max_body_bytes {
            let message = format!("the longest request alone may have {max_body_bytes} bytes");
            let help = Some("raise it, or lower `max_body_bytes` in [server]".to_owned());
            self.wrong(&path, &message, help);
        }
        let lag = raw.max_lag_ms.unwrap_or(0);
        Limits {
            rates: Rates {
                max_streams: Some(streams),
                requests_per_minute: requests,
                tokens_per_minute: tokens,
                max_stream: seconds.map(Duration::from_secs),
            },
            max_queue: raw.max_queue.map_or(500, whole),
            queue_timeout: Duration::from_millis(raw.queue_timeout_ms.unwrap_or(5_000)),
            max_bodies_bytes: bodies,
            max_lag: (lag > 0).then(|| Duration::from_millis(lag)),
        }
    }

    /// What web pages may; `None` if there are none that may anything.
    pub(super) fn cors(&mut self, raw: RawCors) -> Option<Cors> {
        for (at, origin) in raw.allow_origins.iter().enumerate() {
            self.origin(&["cors", "allow_origins", &at.to_string()], origin);
        }
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let headers = raw.allow_headers.unwrap_or_else(|| vec!["*".to_owned()]);
        for (at, name) in headers.iter().enumerate() {
            if name.is_empty() || !name.chars().all(token) {
                let path = ["cors", "allow_headers", &at.to_string()];
                self.wrong(
                    &path,
                    &format!("`{name}` is not the name of a header"),
                    None,
                );
            }
        }
        let seconds = raw.max_age_seconds.unwrap_or(600);
        (!raw.allow_origins.is_empty()).then_some(Cors {
            allow_origins: raw.allow_origins,
            allow_headers: headers,
            max_age: Duration::from_secs(seconds),
        })
    }

    /// An origin as browsers write it, to which it is compared letter by letter.
    fn origin(&mut self, path: &[&str], text: &str) {
        if text == "*" || text == "null" {
            return;
        }
        let as_written = Url::parse(text).ok().map(|url| match url.origin() {
            origin if origin.is_tuple() => origin.ascii_serialization(),
            // Such as an app's own scheme.
            _ => format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default()),
        });
        match as_written {
            Some(written) if written == text => {}
            Some(written) if text.contains("://") => {
                let help = Some(format!("browsers write it as \"{written}\""));
                self.wrong(path, &format!("`{text}` is not an origin"), help);
            }
            _ => {
                let help = Some("write it like https://app.example, or \"*\" for all".to_owned());
                self.wrong(path, &format!("`{text}` is not an origin"), help);
            }
        }
    }
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
