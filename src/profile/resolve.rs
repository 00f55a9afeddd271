//! Which dialect an upstream has: the table's entry, by name or by its URL, with the user's own
//! keys on top.

use serde::Deserialize;
use toml::Table;

use super::Profile;

const BUILTIN: &str = include_str!("builtin.toml");

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
    let entry = table.get(&name).and_then(toml::Value::as_table);
    let Some(entry) = entry else {
        return Err(ProfileError::Unknown { name });
    };
    let mut merged = entry.clone();
    merged.remove("hosts");
    merged.remove("ports");
    for (key, value) in overrides {
        merged.insert(key.clone(), value.clone());
    }
    let profile = Profile::deserialize(merged)
        .map_err(|error| ProfileError::Invalid(error.message().to_owned()))?;
    Ok((name, profile))
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
        list(entry, "hosts").into_iter().flatten().any(|end| {
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
            list(entry, "ports").into_iter().flatten().any(|known| {
                known
                    .as_integer()
                    .is_some_and(|known| port.map(i64::from) == Some(known))
            })
        })
    };
    by_host
        .or_else(by_port)
        .map_or_else(|| "generic".to_owned(), |(name, _)| name.clone())
}
