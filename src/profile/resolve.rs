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
    merged.remove(HOSTS);
    merged.remove(PORTS);
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
            system_role,
            late_system,
            max_tokens_field,
            stream_usage,
            reasoning_back,
            reasoning_required,
            effort,
            effort_words,
            think_tags,
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
        } = self;
        let keys: &[(&str, &dyn fmt::Debug)] = &[
            ("system_role", system_role),
            ("late_system", late_system),
            ("max_tokens_field", max_tokens_field),
            ("stream_usage", stream_usage),
            ("reasoning_back", reasoning_back),
            ("reasoning_required", reasoning_required),
            ("effort", effort),
            ("think_tags", think_tags),
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
        keys.iter()
            .map(|(key, value)| ((*key).to_owned(), word(*value).into()))
            .chain([words, ("heal".to_owned(), heal.to_value())])
            .collect()
    }
}

/// A variant's name in snake case, which is how a configuration writes it.
fn word(variant: &dyn fmt::Debug) -> String {
    let mut out = String::new();
    for c in format!("{variant:?}").chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
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

/// The entry that knows the host, else the one that knows the port on a loopback host.
fn recognise(table: &Table, host: &str, port: Option<u16>) -> String {
    let list =
        |entry: &toml::Value, key: &str| entry.get(key).and_then(toml::Value::as_array).cloned();
    let by_host = table.iter().find(|(_, entry)| {
        list(entry, HOSTS).into_iter().flatten().any(|end| {
            end.as_str().is_some_and(|end| {
                host == end
                    || host
                        .strip_suffix(end)
                        .is_some_and(|head| head.ends_with('.'))
            })
        })
    });
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
