//! Tells Codex about this proxy: the lines for its `config.toml`, and putting them there without
//! disturbing anything else in it.

mod merge;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use merge::merge;

/// What Codex has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The proxy's address with its `/v1`.
    pub base_url: String,
    /// The model to begin with; `None` leaves Codex its own choice.
    pub model: Option<String>,
    /// What Codex shows as its key.
    pub key: Key,
}

/// What Codex shows as its key. It needs one even where the proxy asks for none: without a key
/// it does not fetch the list of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// This word, written into the file.
    Word(String),
    /// What is in this environment variable of Codex.
    Variable(String),
}

impl Default for Key {
    fn default() -> Self {
        Self::Word("local".to_owned())
    }
}

/// What is to be set, as `key` and value of TOML.
type Pair = (&'static str, toml_edit::Value);

impl Snippet {
    /// The keys in front of all tables.
    fn top(&self) -> Vec<Pair> {
        let model = self.model.iter().map(|model| ("model", model.into()));
        model
            .chain([("model_provider", "antiphon".into())])
            .collect()
    }

    /// The keys of the provider's table.
    fn provider(&self) -> Vec<Pair> {
        let base_url = self.base_url.trim_end_matches('/');
        let key = match &self.key {
            Key::Word(word) => ("experimental_bearer_token", word.into()),
            Key::Variable(name) => ("env_key", name.into()),
        };
        vec![
            ("name", "Antiphon".into()),
            ("base_url", base_url.into()),
            ("wire_api", "responses".into()),
            key,
            ("model_catalog_url", format!("{base_url}/models").into()),
            ("stream_idle_timeout_ms", 300_000.into()),
        ]
    }
}

/// The lines for an empty `config.toml`.
#[must_use]
pub fn snippet(s: &Snippet) -> String {
    format!(
        "{}\n{}",
        lines("", &s.top(), "\n"),
        merge::new_table(s, "\n")
    )
}

fn lines(prefix: &str, pairs: &[Pair], newline: &str) -> String {
    pairs
        .iter()
        .map(|(key, value)| format!("{prefix}{key} = {value}{newline}"))
        .collect()
}

/// Why Codex's configuration was left alone.
#[derive(Debug, thiserror::Error)]
pub enum CodexConfigError {
    /// It is not TOML.
    #[error("line {line} is not TOML ({message}); nothing was changed")]
    NotToml {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that ought to be a table or a text is something else.
    #[error("`{key}` is {found} there, which leaves no place for Antiphon; nothing was changed")]
    Conflict {
        /// The key.
        key: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The lines could not be put in so that they mean what they should.
    #[error("it is written in a way that can't be added to; put the lines in by hand")]
    Unmergeable,
    /// Reading or writing failed.
    #[error("can't {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// One of the above, with the file that it is about.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Self>,
    },
}

/// What [`write()`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Codex's file.
    pub path: PathBuf,
    /// What became of it.
    pub change: Change,
    /// The copy of what was there before.
    pub backup: Option<PathBuf>,
}

/// What became of Codex's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There was none, and now there is.
    Created,
    /// It was changed.
    Updated,
    /// It said everything already.
    Unchanged,
}

/// Codex's `config.toml`: in `$CODEX_HOME`, or in `~/.codex`. `None` where there is no home.
#[must_use]
pub fn config_path(env: impl IntoIterator<Item = (String, String)>) -> Option<PathBuf> {
    let mut codex_home = None;
    let mut home = None;
    let mut profile = None;
    for (name, value) in env.into_iter().filter(|(_, value)| !value.is_empty()) {
        match name.as_str() {
            "CODEX_HOME" => codex_home = Some(PathBuf::from(value)),
            "HOME" => home = Some(PathBuf::from(value)),
            "USERPROFILE" => profile = Some(PathBuf::from(value)),
            _ => {}
        }
    }
    let folder = codex_home.or_else(|| home.or(profile).map(|home| home.join(".codex")))?;
    Some(folder.join("config.toml"))
}

/// Puts the snippet into the file at `path`, which is made if there is none. What was there
/// before is kept beside it under a name with the time `now_unix`.
///
/// # Errors
/// A file that is not TOML or has other things in these places; a folder that can't be written
/// to. In each case the file is as it was.
pub fn write(path: &Path, s: &Snippet, now_unix: u64) -> Result<Written, CodexConfigError> {
    put(path, s, now_unix).map_err(|source| CodexConfigError::File {
        path: path.to_path_buf(),
        source: Box::new(source),
    })
}

fn put(path: &Path, s: &Snippet, now_unix: u64) -> Result<Written, CodexConfigError> {
    let existing = match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(CodexConfigError::Io {
                doing: "read it",
                source,
            });
        }
    };
    let merged = merge(existing.as_deref().unwrap_or_default(), s)?;
    let done = |change, backup| Written {
        path: path.to_path_buf(),
        change,
        backup,
    };
    if existing.as_deref() == Some(merged.as_str()) {
        return Ok(done(Change::Unchanged, None));
    }
    let io = |doing| move |source| CodexConfigError::Io { doing, source };
    if existing.is_none() {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io("make its folder"))?;
        }
        replace(path, &merged, None).map_err(io("write it"))?;
        return Ok(done(Change::Created, None));
    }
    // Many keep their settings elsewhere and link to them; the link stays, its target changes.
    let target = fs::canonicalize(path).map_err(io("find it"))?;
    let backup = back_up(path, now_unix).map_err(io("make a copy of it"))?;
    let permissions = fs::metadata(&target)
        .map_err(io("read its permissions"))?
        .permissions();
    replace(&target, &merged, Some(permissions)).map_err(io("write it"))?;
    Ok(done(Change::Updated, Some(backup)))
}

/// Copies the file beside itself, never over an earlier copy.
fn back_up(path: &Path, now_unix: u64) -> io::Result<PathBuf> {
    let backup = (now_unix..)
        .map(|time| path.with_file_name(format!("config.toml.antiphon-{time}.bak")))
        .find(|backup| !backup.exists());
    let backup = backup.ok_or(io::ErrorKind::AlreadyExists)?;
    fs::copy(path, &backup)?;
    Ok(backup)
}

/// Writes a file so that others see either the old one or the new one.
fn replace(path: &Path, text: &str, permissions: Option<fs::Permissions>) -> io::Result<()> {
    let temporary = path.with_file_name(format!(".config.toml.antiphon-{}", std::process::id()));
    let write = || {
        let mut file = create_private(&temporary)?;
        file.write_all(text.as_bytes())?;
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // The first error is the one to tell; a file left behind does no harm.
        let _ = fs::remove_file(&temporary);
    })
}

/// A new file for its owner alone, since it may hold a key.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
