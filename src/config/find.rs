//! Which file is the configuration.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Place, Problem};
use super::{Flags, Source};

/// The file for those who have none: a server on this machine.
pub(super) const SHIPPED: &str = include_str!("../../proxy.toml");

/// The source and its text.
pub(super) fn choose(
    folder: &Path,
    flags: &Flags,
    env: &BTreeMap<String, String>,
) -> Result<(Source, String), ConfigError> {
    let unreadable = |path: &Path, error: &io::Error| {
        let message = format!("the configuration can't be read: {error}");
        Problem {
            place: Place::File(path.to_path_buf()),
            message,
            help: None,
        }
    };
    if let Some(path) = flags.config() {
        let text = std::fs::read_to_string(folder.join(path));
        let text = text.map_err(|error| unreadable(path, &error))?;
        return Ok((Source::File(folder.join(path)), text));
    }
    if flags.upstream().is_some() {
        return Ok((Source::Flags, String::new()));
    }
    let beside = folder.join("proxy.toml");
    let own = config_home(env).map(|home| home.join("antiphon").join("proxy.toml"));
    for path in std::iter::once(beside).chain(own) {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok((Source::File(path), text)),
            Err(error) if absent(&error) => {}
            Err(error) => return Err(unreadable(&path, &error).into()),
        }
    }
    Ok((Source::BuiltIn, SHIPPED.to_owned()))
}

fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn config_home(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    absolute(env, "XDG_CONFIG_HOME").or_else(|| home(env).map(|home| home.join(".config")))
}

/// The folder that a variable names. The XDG rules want relative ones ignored.
pub(super) fn absolute(env: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    env.get(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// The user's own folder.
pub(super) fn home(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    absolute(env, "HOME").or_else(|| absolute(env, "USERPROFILE"))
}
