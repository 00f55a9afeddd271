//! Turns what was written into what is meant: every value checked, every default filled in.

mod clients;
mod listen;
mod observe;
mod route;
mod store;
mod upstream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{ConfigError, Place, Problem, did_you_mean};
use super::find::{absolute, home};
use super::load::DialectCheck;
use super::place::Places;
use super::raw::{RawConfig, RawReasoning, RawServer};
use super::{
    Config, Log, LogFormat, Model, Preset, Reasoning, SealKey, Server, Show, Source, Upstream,
};

/// Checks the settings one after another and collects what is wrong with them.
pub(super) struct Resolver<'a> {
    pub(super) places: &'a Places<'a>,
    pub(super) env: &'a BTreeMap<String, String>,
    /// The folder that the program was started in.
    pub(super) folder: &'a Path,
    pub(super) check_dialect: DialectCheck,
    pub(super) problems: Vec<Problem>,
}

impl Resolver<'_> {
    /// The configuration, if nothing is wrong with it.
    pub(super) fn finish(mut self, raw: RawConfig, source: Source) -> Result<Config, ConfigError> {
        let names: Vec<String> = raw.upstreams.keys().cloned().collect();
        let default_upstream = self.default_upstream(raw.default_upstream, &names);
        let server = self.server(&raw.server);
        let clients = self.clients(&raw.auth, raw.keys);
        self.public(&server, &clients);
        let limits = self.limits(&raw.limits, server.max_body_bytes);
        let cors = self.cors(raw.cors);
        let format = [
            ("auto", LogFormat::Auto),
            ("human", LogFormat::Human),
            ("json", LogFormat::Json),
        ];
        let log = Log {
            level: raw.log.level.unwrap_or_else(|| self.usual_level()),
            format: self.one_of(&["log", "format"], raw.log.format.as_deref(), &format),
            content: raw.log.content.unwrap_or(false),
        };
        let metrics = self.metrics(&raw.metrics, &server);
        let tracing = self.tracing(&raw.tracing);
        let reasoning = self.reasoning(&raw.reasoning);
        let store = self.store(&raw.store);

        let places = self.places;
        let mut upstreams: Vec<(usize, Upstream)> = Vec::new();
        for (name, raw) in raw.upstreams {
            let order = places.order(&["upstreams", &name]);
            upstreams.extend(self.upstream(name, raw).map(|upstream| (order, upstream)));
        }
        upstreams.sort_by_key(|(order, _)| *order);
        let mut models: Vec<(usize, Model)> = Vec::new();
        for (name, raw) in raw.models {
            let order = places.order(&["models", &name]);
            models.push((order, self.model(&name, raw, &default_upstream, &names)));
        }
        models.sort_by_key(|(order, _)| *order);
        let mut presets: Vec<(usize, Preset)> = Vec::new();
        for (name, raw) in raw.profiles {
            let order = places.order(&["profiles", &name]);
            presets.push((order, self.preset(&name, raw, &names)));
        }
        presets.sort_by_key(|(order, _)| *order);

        if !self.problems.is_empty() {
            return Err(ConfigError::new(self.problems));
        }
        let upstreams = upstreams
            .into_iter()
            .map(|(_, upstream)| upstream)
            .collect();
        let models = models.into_iter().map(|(_, model)| model).collect();
        let presets = presets.into_iter().map(|(_, preset)| preset).collect();
        Ok(Config {
            source,
            default_upstream,
            server,
            clients,
            limits,
            cors,
            log,
            metrics,
            tracing,
            reasoning,
            store,
            upstreams,
            models,
            presets,
        })
    }

    fn wrong(&mut self, path: &[&str], message: &str, help: Option<String>) {
        let message = format!("`{}`: {message}", dotted(path));
        self.problems
            .push(self.places.at_value(path, message, help));
    }

    fn wrong_variable(&mut self, name: &str, message: String, help: Option<String>) {
        self.problems.push(Problem {
            place: Place::Variable(name.to_owned()),
            message,
            help,
        });
    }

    fn default_upstream(&mut self, named: Option<String>, names: &[String]) -> String {
        match (named, names) {
            (_, []) => {
                let message = "there is no upstream to send requests to".to_owned();
                let help = "add a section [upstreams.NAME] with a `base_url`".to_owned();
                self.problems.push(self.places.whole(message, Some(help)));
                String::new()
            }
            (Some(name), names) => {
                self.reference(&["default_upstream"], &name, names);
                name
            }
            (None, [only]) => only.clone(),
            (None, names) => {
                let message = format!(
                    "there are several upstreams ({}), and `default_upstream` does not say which \
                     of them models without an entry go to",
                    names.join(", ")
                );
                let help = names
                    .first()
                    .map(|name| format!("add `default_upstream = \"{name}\"` at the top"));
                self.problems.push(self.places.whole(message, help));
                String::new()
            }
        }
    }

    /// Checks that an upstream of this name exists.
    fn reference(&mut self, path: &[&str], name: &str, names: &[String]) {
        if names.iter().any(|known| known == name) || names.is_empty() {
            return;
        }
        let help = did_you_mean(name, names.iter().map(String::as_str))
            .or_else(|| Some(format!("the upstreams are: {}", names.join(", "))));
        self.wrong(path, &format!("there is no upstream `{name}`"), help);
    }

    fn server(&mut self, raw: &RawServer) -> Server {
        let listen = self.listen(raw.listen.as_ref());
        let allow_public = raw.allow_public.unwrap_or(false);
        let keepalive = raw.keepalive_interval_ms.unwrap_or(15_000);
        let ping = raw.http2_ping_interval_ms.unwrap_or(30_000);
        let streams = raw.http2_max_streams.map(u64::from);
        let streams = self.count(&["server", "http2_max_streams"], streams);
        Server {
            listen,
            unix_mode: self.unix_mode(raw),
            allow_public,
            tls: self.tls(raw.tls.as_ref()),
            done_sentinel: raw.done_sentinel.unwrap_or(true),
            keepalive_interval: (keepalive > 0).then(|| Duration::from_millis(keepalive)),
            first_status_wait: Duration::from_millis(raw.first_status_wait_ms.unwrap_or(500)),
            header_timeout: self.time(
                &["server", "header_timeout_ms"],
                raw.header_timeout_ms,
                10_000,
            ),
            body_timeout: self.time(&["server", "body_timeout_ms"], raw.body_timeout_ms, 60_000),
            idle_timeout: self.time(&["server", "idle_timeout_ms"], raw.idle_timeout_ms, 120_000),
            write_timeout: self.time(
                &["server", "write_timeout_ms"],
                raw.write_timeout_ms,
                120_000,
            ),
            max_header_bytes: self.size(
                &["server", "max_header_bytes"],
                raw.max_header_bytes,
                64 << 10,
            ),
            max_headers: self.size(&["server", "max_headers"], raw.max_headers, 100),
            max_body_bytes: self.size(&["server", "max_body_bytes"], raw.max_body_bytes, 64 << 20),
            max_connections: self.size(&["server", "max_connections"], raw.max_connections, 10_000),
            http2_max_streams: streams.map_or(128, |most| u32::try_from(most).unwrap_or(u32::MAX)),
            http2_ping_interval: (ping > 0).then(|| Duration::from_millis(ping)),
            http2_ping_timeout: self.time(
                &["server", "http2_ping_timeout_ms"],
                raw.http2_ping_timeout_ms,
                20_000,
            ),
            shutdown_delay: Duration::from_millis(raw.shutdown_delay_ms.unwrap_or(0)),
            drain_timeout: Duration::from_millis(raw.drain_timeout_ms.unwrap_or(30_000)),
        }
    }

    /// The level where nothing says one.
    fn usual_level(&self) -> String {
        match self.env.get("RUST_LOG") {
            Some(level) if !level.trim().is_empty() => level.clone(),
            _ => "info".to_owned(),
        }
    }

    fn reasoning(&mut self, raw: &RawReasoning) -> Reasoning {
        let show = [
            ("auto", Show::Auto),
            ("summary", Show::Summary),
            ("content", Show::Content),
            ("hidden", Show::Hidden),
        ];
        let seal_key = match &raw.seal_key_file {
            Some(file) => SealKey::Named(self.path(&["reasoning", "seal_key_file"], file)),
            None => match self.state() {
                Some(state) => SealKey::Usual(state.join("seal.key")),
                None => SealKey::Nowhere,
            },
        };
        Reasoning {
            show: self.one_of(&["reasoning", "show"], raw.show.as_deref(), &show),
            seal_key,
        }
    }

    /// A time that is more than none.
    fn time(&mut self, path: &[&str], raw: Option<u64>, default: u64) -> Duration {
        Duration::from_millis(self.count(path, raw).unwrap_or(default))
    }

    /// A size that is more than nothing.
    fn size(&mut self, path: &[&str], raw: Option<u64>, default: usize) -> usize {
        let count = self.count(path, raw);
        count.map_or(default, |count| {
            usize::try_from(count).unwrap_or(usize::MAX)
        })
    }

    fn count(&mut self, path: &[&str], raw: Option<u64>) -> Option<u64> {
        if raw == Some(0) {
            self.wrong(path, "must be more than 0", None);
            return None;
        }
        raw
    }

    /// The meaning of a word; without a word the first.
    fn one_of<T: Copy, const N: usize>(
        &mut self,
        path: &[&str],
        word: Option<&str>,
        known: &[(&str, T); N],
    ) -> T {
        const { assert!(N > 0, "there must be a first word") };
        let Some(word) = word else { return known[0].1 };
        if let Some((_, meaning)) = known.iter().find(|(name, _)| *name == word) {
            return *meaning;
        }
        let words = known.iter().map(|(name, _)| *name);
        let help = did_you_mean(word, words.clone()).or_else(|| {
            Some(format!(
                "it can be: {}",
                words.collect::<Vec<_>>().join(", ")
            ))
        });
        self.wrong(path, &format!("there is no `{word}`"), help);
        known[0].1
    }

    /// A file's path: from the user's folder, from the configuration's, or from the current one.
    fn path(&self, path: &[&str], file: &str) -> PathBuf {
        if let Some((rest, home)) = file.strip_prefix("~/").zip(home(self.env)) {
            return home.join(rest);
        }
        let folder = self.places.folder(path);
        folder
            .unwrap_or_else(|| self.folder.to_path_buf())
            .join(file)
    }

    fn read(&mut self, path: &[&str], file: &str) -> Option<String> {
        let file = self.path(path, file);
        std::fs::read_to_string(&file)
            .map_err(|error| {
                self.wrong(
                    path,
                    &format!("{} can't be read: {error}", file.display()),
                    None,
                );
            })
            .ok()
    }
}

fn dotted(path: &[&str]) -> String {
    path.iter()
        .map(|name| super::place::quoted(name))
        .collect::<Vec<_>>()
        .join(".")
}
