//! Which dialect an upstream has: the table's entry, by name or by its URL, with the user's own
//! keys on top.

use core::net::IpAddr;
use std::fmt;

use serde::Deserialize;
use toml::Table;

use super::Profile;

const BUILTIN: &str = include_str!("builtin.toml");
/// The keys of an entry that are none of the profile's.
const HOSTS: &str = "hosts";
const PORTS: &str = "ports";
const OWNED_BY: &str = "owned_by";
const SERVER: &str = "server";
const PATHS: &str = "paths";
const SIGNS: [&str; 5] = [HOSTS, PORTS, OWNED_BY, SERVER, PATHS];

/// Why there is no such profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No built-in profile has that name.
    #[error("there is no profile `{name}`; there are: auto, {}", names().join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// A key or value is wrong.
    #[error("{0}")]
    Invalid(String),
}

/// Finds the profile `name`, or by the upstream's host and port for `auto`, and lays `overrides`
/// over it. Returns it with the name of the entry that it came from.
///
/// # Errors
/// A name that is not in the table, a key that no profile has, a value that its key does not take.
pub fn resolve(
    name: &str,
    host: &str,
    port: Option<u16>,
    overrides: &Table,
) -> Result<(String, Profile), ProfileError> {
    let table = builtin()?;
    let name = if name == "auto" {
        recognise(&table, host, port)
    } else {
        name.to_owned()
    };
    let mut merged = entry(&table, &name)?.clone();
    for sign in SIGNS {
        merged.remove(sign);
    }
    for (key, value) in overrides {
        merged.insert(key.clone(), value.clone());
    }
    let profile = Profile::deserialize(merged)
        .map_err(|error| ProfileError::Invalid(error.message().to_owned()))?;
    Ok((name, profile))
}

/// A built-in profile as the table has it.
#[derive(Debug, Clone, PartialEq)]
pub struct BuiltIn {
    /// Ends of host names by which it is known.
    pub hosts: Vec<String>,
    /// Ports by which it is known on this machine.
    pub ports: Vec<i64>,
    /// The keys whose values are not the default.
    pub differs: Table,
}

impl Profile {
    /// A built-in profile as the table has it.
    ///
    /// # Errors
    /// A name that is not in the table.
    pub fn built_in(name: &str) -> Result<BuiltIn, ProfileError> {
        let table = builtin()?;
        let mut differs = entry(&table, name)?.clone();
        let mut take = |key| match differs.remove(key) {
            Some(toml::Value::Array(list)) => list,
            _ => Vec::new(),
        };
        let hosts = take(HOSTS);
        let ports = take(PORTS);
        for sign in SIGNS {
            differs.remove(sign);
        }
        let host = |host: &toml::Value| host.as_str().map(str::to_owned);
        Ok(BuiltIn {
            hosts: hosts.iter().filter_map(host).collect(),
            ports: ports.iter().filter_map(toml::Value::as_integer).collect(),
            differs,
        })
    }

    /// All its keys, as a configuration would have them.
    #[must_use]
    pub fn to_table(&self) -> Table {
        // Taken apart in full, so that a new key cannot be forgotten.
        let Self {
            key_header,
            system_role,
            late_system,
            max_tokens_field,
            stream_usage,
            reasoning_back,
            reasoning_required,
            effort,
            effort_words,
            thinking_switch,
            think_tags,
            tool_choice,
            call_ids,
            strict,
            parallel_tool_calls,
            verbosity,
            prompt_cache_key,
            service_tier,
            safety_identifier,
            empty_content,
            image_detail,
            user_runs,
            no_user_message,
            token_count,
            response_format,
            tools,
            heal,
            drop_fields,
            extra_body,
        } = self;
        let keys: &[(&str, &dyn fmt::Debug)] = &[
            ("key_header", key_header),
            ("system_role", system_role),
            ("late_system", late_system),
            ("max_tokens_field", max_tokens_field),
            ("stream_usage", stream_usage),
            ("reasoning_back", reasoning_back),
            ("reasoning_required", reasoning_required),
            ("effort", effort),
            ("thinking_switch", thinking_switch),
            ("think_tags", think_tags),
            ("tool_choice", tool_choice),
            ("call_ids", call_ids),
            ("strict", strict),
            ("parallel_tool_calls", parallel_tool_calls),
            ("verbosity", verbosity),
            ("prompt_cache_key", prompt_cache_key),
            ("service_tier", service_tier),
            ("safety_identifier", safety_identifier),
            ("empty_content", empty_content),
            ("image_detail", image_detail),
            ("user_runs", user_runs),
            ("no_user_message", no_user_message),
            ("token_count", token_count),
            ("response_format", response_format),
            ("tools", tools),
        ];
        let words = effort_words
            .iter()
            .map(|(client, upstream)| (client.clone(), upstream.clone().into()));
        let words = (
            "effort_words".to_owned(),
            toml::Value::Table(words.collect()),
        );
        let fields = drop_fields.iter().cloned().map(toml::Value::from);
        let fields = (
            "drop_fields".to_owned(),
            toml::Value::Array(fields.collect()),
        );
        let extra = ("extra_body".to_owned(), extra_body.clone().into());
        keys.iter()
            .map(|(key, value)| ((*key).to_owned(), word(*value).into()))
            .chain([words, ("heal".to_owned(), heal.to_value()), fields, extra])
            .collect()
    }
}

/// A variant's name in snake case, which is how a configuration writes it.
fn word(variant: &dyn fmt::Debug) -> String {
    let mut out = String::new();
    for c in format!("{variant:?}").chars() {
        if (c.is_ascii_uppercase() || c.is_ascii_digit()) && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn entry<'t>(table: &'t Table, name: &str) -> Result<&'t Table, ProfileError> {
    table
        .get(name)
        .and_then(toml::Value::as_table)
        .ok_or_else(|| ProfileError::Unknown {
            name: name.to_owned(),
        })
}

/// The names of the built-in profiles.
#[must_use]
pub fn names() -> Vec<String> {
    builtin()
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

fn builtin() -> Result<Table, ProfileError> {
    BUILTIN
        .parse()
        .map_err(|error: toml::de::Error| ProfileError::Invalid(error.to_string()))
}

/// Something that a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// What its list of models has for their owner.
    OwnedBy(String),
    /// The beginning of its `Server` header, in lower case.
    Server(String),
    /// A path that answers with an object.
    Path {
        /// The path.
        path: String,
        /// A key of the object.
        key: String,
    },
}

/// What the servers of the table say of themselves.
#[must_use]
pub fn signs() -> Vec<(String, Witness)> {
    let mut signs = Vec::new();
    for (name, entry) in builtin().unwrap_or_default() {
        let mut add = |witness| signs.push((name.clone(), witness));
        for word in texts(&entry, OWNED_BY) {
            add(Witness::OwnedBy(word));
        }
        for word in texts(&entry, SERVER) {
            add(Witness::Server(word.to_ascii_lowercase()));
        }
        let paths = entry.get(PATHS).and_then(toml::Value::as_table);
        for (path, key) in paths.into_iter().flatten() {
            if let Some(key) = key.as_str() {
                let (path, key) = (path.clone(), key.to_owned());
                add(Witness::Path { path, key });
            }
        }
    }
    signs
}

fn texts(entry: &toml::Value, key: &str) -> Vec<String> {
    let list = entry.get(key).and_then(toml::Value::as_array);
    let words = list.into_iter().flatten().filter_map(toml::Value::as_str);
    words.map(str::to_owned).collect()
}

/// Whether some entry knows the host, so that there is nothing to ask.
#[must_use]
pub fn has_host(host: &str) -> bool {
    builtin().is_ok_and(|table| {
        table
            .iter()
            .any(|(_, entry)| texts(entry, HOSTS).iter().any(|end| is_at(host, end)))
    })
}

fn is_at(host: &str, end: &str) -> bool {
    host == end
        || host
            .strip_suffix(end)
            .is_some_and(|head| head.ends_with('.'))
}

/// The entry that knows the host, else the one that knows the port on a loopback host.
fn recognise(table: &Table, host: &str, port: Option<u16>) -> String {
    let list =
        |entry: &toml::Value, key: &str| entry.get(key).and_then(toml::Value::as_array).cloned();
    let by_host = table
        .iter()
        .find(|(_, entry)| texts(entry, HOSTS).iter().any(|end| is_at(host, end)));
    let by_port = || {
        table.iter().find(|(_, entry)| {
            list(entry, PORTS).into_iter().flatten().any(|known| {
                known
                    .as_integer()
                    .is_some_and(|known| port.map(i64::from) == Some(known))
            })
        })
    };
    by_host
        .or_else(|| is_this_machine(host).then(by_port).flatten())
        .map_or_else(|| "generic".to_owned(), |(name, _)| name.clone())
}

/// Whether a port says what server it is: elsewhere, 8000 and 8080 are anyone's.
fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => matches!(host, "localhost" | "host.docker.internal"),
    }
}
