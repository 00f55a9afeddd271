//! One upstream: its address, its key, its headers and its dialect.

use secrecy::SecretString;
use url::Url;

use super::super::error::did_you_mean;
use super::super::raw::RawUpstream;
use super::super::{Auth, KeySource, Proxy, Upstream, WireApi};
use super::Resolver;

impl Resolver<'_> {
    /// The upstream; `None` if it has no usable address.
    pub(super) fn upstream(&mut self, name: String, raw: RawUpstream) -> Option<Upstream> {
        let section = ["upstreams", name.as_str()];
        let at = |key: &'static str| [section[0], section[1], key];
        let mut missing_variables = Vec::new();
        let address = self.base_url(&section, raw.base_url.as_deref());
        let (key_source, key) = self.key(&section, &raw, &mut missing_variables);
        let auth = self.auth(&section, &raw);
        let http_headers = self.headers(&section, &raw, &mut missing_variables);
        let profile = raw.profile.unwrap_or_else(|| "auto".to_owned());
        let connect = self.time(&at("connect_timeout_ms"), raw.connect_timeout_ms, 10_000);
        let first_byte = self.time(
            &at("first_byte_timeout_ms"),
            raw.first_byte_timeout_ms,
            600_000,
        );
        let idle = self.time(
            &at("stream_idle_timeout_ms"),
            raw.stream_idle_timeout_ms,
            300_000,
        );
        let wire_api = [("chat", WireApi::Chat), ("responses", WireApi::Responses)];
        let wire_api = self.one_of(&at("wire_api"), raw.wire_api.as_deref(), &wire_api);
        let proxy = self.proxy(&at("proxy"), raw.proxy.as_deref());
        let ca_file = raw.ca_file.as_deref();
        let ca_pem = ca_file.and_then(|file| self.read(&at("ca_file"), file));
        let ca_file = ca_file.map(|file| self.path(&at("ca_file"), file));
        let max_concurrency = self.count(&at("max_concurrency"), raw.max_concurrency);
        let queue_timeout = self.time(&at("queue_timeout_ms"), raw.queue_timeout_ms, 30_000);
        let pause = self.time(&at("breaker_pause_ms"), raw.breaker_pause_ms, 1_000);
        let max_pause = self.time(
            &at("breaker_max_pause_ms"),
            raw.breaker_max_pause_ms,
            60_000,
        );
        self.drop_fields(&section, &raw.drop_fields);
        self.extra_body(&section, &raw.extra_body);
        let event = self.size(&at("max_event_bytes"), raw.max_event_bytes, 16 << 20);
        let answer = self.size(&at("max_answer_bytes"), raw.max_answer_bytes, 256 << 20);
        let (base_url, mut query_params) = address?;
        if let Err(message) = (self.check_dialect)(&profile, &base_url, &raw.dialect) {
            self.wrong_dialect(&section, &profile, &raw.dialect, &message);
        }
        query_params.extend(secrets(raw.query_params));
        Some(Upstream {
            base_url,
            wire_api,
            auth,
            key,
            key_source,
            http_headers,
            query_params,
            missing_variables,
            proxy,
            ca_file,
            ca_pem,
            request_max_retries: raw.request_max_retries.unwrap_or(3),
            stream_max_retries: raw.stream_max_retries.unwrap_or(2),
            connect_timeout: connect,
            first_byte_timeout: first_byte,
            stream_idle_timeout: idle,
            max_event_bytes: event,
            max_answer_bytes: answer,
            max_concurrency: max_concurrency.map(whole),
            max_queue: raw.max_queue.map_or(100, whole),
            queue_timeout,
            breaker_failures: raw.breaker_failures.unwrap_or(5),
            breaker_pause: pause,
            breaker_max_pause: max_pause.max(pause),
            drop_fields: raw.drop_fields,
            extra_body: raw.extra_body,
            profile,
            dialect: raw.dialect,
            name,
        })
    }

    /// The address and the parameters that were written into it.
    fn base_url(
        &mut self,
        section: &[&str; 2],
        raw: Option<&str>,
    ) -> Option<(Url, Vec<(String, SecretString)>)> {
        let path = [section[0], section[1], "base_url"];
        let Some(text) = raw else {
            let help = "add one, like base_url = \"http://127.0.0.1:11434/v1\"".to_owned();
            self.wrong(section, "it has no `base_url`", Some(help));
            return None;
        };
        let mut url = match Url::parse(text.trim()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => url,
            // `localhost:1234` parses as a URL whose scheme is `localhost`.
            result => {
                let why = match result {
                    Err(error) if text.contains("://") => format!("`{text}` is not a URL: {error}"),
                    _ => format!("`{text}` does not begin with http:// or https://"),
                };
                let help =
                    (!text.contains("://")).then(|| format!("did you mean `http://{text}`?"));
                self.wrong(&path, &why, help);
                return None;
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            let help = "put it into `env_key`, `api_key_file` or `env_http_headers`".to_owned();
            self.wrong(&path, "a URL must not hold a name or password", Some(help));
            return None;
        }
        let query = url
            .query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned()));
        let query = secrets(query.collect::<Vec<_>>());
        url.set_query(None);
        url.set_fragment(None);
        let trimmed = url.path().trim_end_matches('/');
        let trimmed = trimmed
            .strip_suffix("/chat/completions")
            .or_else(|| trimmed.strip_suffix("/responses"))
            .unwrap_or(trimmed);
        let trimmed = trimmed.trim_end_matches('/').to_owned();
        url.set_path(&trimmed);
        Some((url, query))
    }

    /// Whose key it gets; where the client's own is passed on, there can be no other.
    fn auth(&mut self, section: &[&str; 2], raw: &RawUpstream) -> Auth {
        let path = [section[0], section[1], "auth"];
        let auth = [("key", Auth::Key), ("passthrough", Auth::Passthrough)];
        let auth = self.one_of(&path, raw.auth.as_deref(), &auth);
        if auth == Auth::Passthrough && (raw.env_key.is_some() || raw.api_key_file.is_some()) {
            let help = Some("take `env_key` and `api_key_file` out".to_owned());
            let message = "the client's own key is passed on, so there can be no other";
            self.wrong(&path, message, help);
        }
        auth
    }

    /// The proxy on the way. What stands there may hold a password, and is not repeated.
    fn proxy(&mut self, path: &[&str], raw: Option<&str>) -> Proxy {
        match raw.map(str::trim) {
            None | Some("environment") => return Proxy::Environment,
            Some("none") => return Proxy::None,
            Some(text) => {
                let schemes = ["http", "https", "socks5", "socks5h"];
                let url = Url::parse(text).ok();
                let usable = url.filter(|url| schemes.contains(&url.scheme()) && url.has_host());
                if let Some(url) = usable {
                    return Proxy::Url(String::from(url).into());
                }
            }
        }
        let help = "write it as http://HOST:PORT or socks5h://HOST:PORT, or \"none\", or \
                    \"environment\""
            .to_owned();
        self.wrong(path, "this is not the address of a proxy", Some(help));
        Proxy::Environment
    }

    fn key(
        &mut self,
        section: &[&str; 2],
        raw: &RawUpstream,
        missing: &mut Vec<String>,
    ) -> (KeySource, Option<SecretString>) {
        match (&raw.env_key, &raw.api_key_file) {
            (None, None) => (KeySource::None, None),
            (Some(_), Some(_)) => {
                let path = [section[0], section[1], "api_key_file"];
                let help = Some("take one of the two out".to_owned());
                self.wrong(
                    &path,
                    "the key can't come from `env_key` as well as from a file",
                    help,
                );
                (KeySource::None, None)
            }
            (Some(variable), None) => {
                let path = [section[0], section[1], "env_key"];
                let key = self.variable(&path, variable, missing);
                (
                    KeySource::Variable(variable.clone()),
                    key.and_then(|key| self.sendable(&path, &key)),
                )
            }
            (None, Some(file)) => {
                let path = [section[0], section[1], "api_key_file"];
                let key = self.read(&path, file).and_then(|key| {
                    if key.trim().is_empty() {
                        self.wrong(&path, &format!("{file} is empty"), None);
                        return None;
                    }
                    self.sendable(&path, key.trim())
                });
                (KeySource::File(self.path(&path, file)), key)
            }
        }
    }

    /// The value of an environment variable; empty counts as not set.
    fn variable(&mut self, path: &[&str], name: &str, missing: &mut Vec<String>) -> Option<String> {
        let usable = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(usable) {
            // What stands there may well be the key itself, so that it is not repeated.
            let help = "put the variable's name here, not what is in it".to_owned();
            self.wrong(
                path,
                "this is not the name of an environment variable",
                Some(help),
            );
            return None;
        }
        let value = self
            .env
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty());
        if value.is_none() && !missing.iter().any(|known| known == name) {
            missing.push(name.to_owned());
        }
        value.map(str::to_owned)
    }

    /// The text as a secret, if a header can carry it.
    fn sendable(&mut self, path: &[&str], text: &str) -> Option<SecretString> {
        if text.chars().any(|c| c.is_control() && c != '\t') {
            self.wrong(
                path,
                "its value has characters that a header can't carry",
                None,
            );
            return None;
        }
        Some(text.into())
    }

    fn headers(
        &mut self,
        section: &[&str; 2],
        raw: &RawUpstream,
        missing: &mut Vec<String>,
    ) -> Vec<(String, SecretString)> {
        let mut headers = Vec::new();
        for (name, value) in &raw.http_headers {
            let path = [section[0], section[1], "http_headers", name];
            self.header_name(&path, name);
            headers.extend(
                self.sendable(&path, value)
                    .map(|value| (name.clone(), value)),
            );
        }
        for (name, variable) in &raw.env_http_headers {
            let path = [section[0], section[1], "env_http_headers", name];
            self.header_name(&path, name);
            let value = self.variable(&path, variable, missing);
            let value = value.and_then(|value| self.sendable(&path, &value));
            headers.extend(value.map(|value| (name.clone(), value)));
        }
        headers
    }

    fn header_name(&mut self, path: &[&str], name: &str) {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            let message = format!("`{name}` is not the name of a header");
            let problem = self.places.at_key(path, message, None);
            self.problems.push(problem);
        }
    }

    /// Puts a dialect's problem next to the key or value that its message names first.
    fn wrong_dialect(
        &mut self,
        section: &[&str; 2],
        profile: &str,
        dialect: &toml::Table,
        message: &str,
    ) {
        // Every second piece stands between backticks.
        let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let first = words.first().copied().unwrap_or_default();
        let help = did_you_mean(first, words.iter().skip(1).copied());
        if dialect.contains_key(first) {
            let path = [section[0], section[1], "dialect", first];
            let message = format!("`{}`: {message}", super::dotted(&path));
            let problem = self.places.at_key(&path, message, help);
            self.problems.push(problem);
        } else if let Some((key, _)) = dialect
            .iter()
            .find(|(_, value)| value.as_str() == Some(first))
        {
            self.wrong(&[section[0], section[1], "dialect", key], message, help);
        } else if first == profile || dialect.is_empty() {
            self.wrong(&[section[0], section[1], "profile"], message, help);
        } else {
            self.wrong(&[section[0], section[1], "dialect"], message, help);
        }
    }
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn secrets(pairs: impl IntoIterator<Item = (String, String)>) -> Vec<(String, SecretString)> {
    pairs
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect()
}
