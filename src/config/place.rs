//! Where each setting stands: one table out of the file, the environment and the flags, in which
//! every value still knows its source.
//!
//! The TOML parser gives each value the bytes of the text that it was read from. Settings from
//! outside the file are parsed as if they stood behind its end, so that a span alone tells which
//! source it belongs to.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeArray, DeTable, DeValue, Error};

use super::error::{Place, Problem};

/// One setting from outside the file.
#[derive(Debug)]
pub(super) struct Setting {
    path: Vec<String>,
    origin: Place,
    /// `v = VALUE`, behind as many spaces as there are bytes before it.
    text: String,
    start: usize,
}

impl Setting {
    /// A setting whose value is the TOML `value` and whose spans begin after `start`.
    pub(super) fn new(path: Vec<String>, value: &str, origin: Place, start: usize) -> Self {
        let text = format!("{}v = {value}", " ".repeat(start));
        Self {
            path,
            origin,
            text,
            start,
        }
    }

    /// The first byte that the next setting may have.
    pub(super) fn end(&self) -> usize {
        self.text.len() + 1
    }

    fn span(&self) -> Range<usize> {
        self.start..self.text.len()
    }

    /// Puts the value in its place, making the tables on the way.
    pub(super) fn lay_over<'a>(&'a self, table: &mut DeTable<'a>) -> Result<(), Error> {
        let value = DeTable::parse(&self.text)?.into_inner().into_iter().next();
        let (Some((_, value)), Some((last, parents))) = (value, self.path.split_last()) else {
            return Ok(());
        };
        let mut at = table;
        for parent in parents {
            let name = actual_name(at, parent);
            if !at.contains_key(name.as_str()) {
                let empty = DeValue::Table(DeTable::new());
                at.insert(
                    toml::Spanned::new(self.span(), name.clone().into()),
                    toml::Spanned::new(self.span(), empty),
                );
            }
            let Some(inner) = at.get_mut(name.as_str()) else {
                return Ok(());
            };
            // What is no table here is wrong in its own source, and is told from there.
            let DeValue::Table(inner) = inner.get_mut() else {
                return Ok(());
            };
            at = inner;
        }
        let name = actual_name(at, last);
        at.insert(toml::Spanned::new(self.span(), name.into()), value);
        Ok(())
    }
}

/// The key of the table that `segment` of a variable's name means. Shells allow neither `-` nor
/// `.` in a variable's name, so that `_` stands for these too.
fn actual_name(table: &DeTable<'_>, segment: &str) -> String {
    let plain = |name: &str| {
        name.to_lowercase()
            .replace(|c: char| !c.is_alphanumeric(), "_")
    };
    table
        .keys()
        .map(|key| key.get_ref().as_ref())
        .find(|key| plain(key) == plain(segment))
        .unwrap_or(segment)
        .to_owned()
}

/// The merged table with what is needed to tell where a key in it came from.
pub(super) struct Places<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    pub(super) settings: &'a [Setting],
    pub(super) table: DeTable<'a>,
}

impl Places<'_> {
    /// A problem with the key at `path`, or with its nearest table that is there.
    pub(super) fn at_key(&self, path: &[&str], message: String, help: Option<String>) -> Problem {
        let place = self
            .locate(path)
            .map_or(Place::Nowhere, |(key, _)| self.place(&key));
        Problem {
            place,
            message,
            help,
        }
    }

    /// A problem with the value at `path`, or with its nearest table that is there.
    pub(super) fn at_value(&self, path: &[&str], message: String, help: Option<String>) -> Problem {
        let place = self
            .locate(path)
            .map_or(Place::Nowhere, |(_, value)| self.place(&value));
        Problem {
            place,
            message,
            help,
        }
    }

    /// A problem with no one key.
    pub(super) fn whole(&self, message: String, help: Option<String>) -> Problem {
        Problem {
            place: Place::File(self.file.to_path_buf()),
            message,
            help,
        }
    }

    /// Where in the file's order the key stands.
    pub(super) fn order(&self, path: &[&str]) -> usize {
        self.locate(path).map_or(usize::MAX, |(key, _)| key.start)
    }

    /// The folder that a relative path in this value starts from: the file's, for what the file
    /// says; `None` for what comes from elsewhere.
    pub(super) fn folder(&self, path: &[&str]) -> Option<PathBuf> {
        let (_, value) = self.locate(path)?;
        let inside = value.end <= self.text.len();
        inside
            .then(|| self.file.parent().map(Path::to_path_buf))
            .flatten()
    }

    /// The spans of a key and its value. Where the value is a table, its key stands for it; where
    /// it is missing, the table that lacks it. In a list, a name is the number of an entry.
    fn locate(&self, path: &[&str]) -> Option<(Range<usize>, Range<usize>)> {
        let mut inside = Inside::Table(&self.table);
        let mut found = None;
        for name in path {
            let entry = match inside {
                Inside::Table(table) => {
                    let entry = table.get_key_value(*name);
                    entry.map(|(key, value)| (key.span(), value))
                }
                Inside::List(list) => {
                    let at: Option<usize> = name.parse().ok();
                    let entry = at.and_then(|at| list.get(at));
                    entry.map(|value| (value.span(), value))
                }
                Inside::Nothing => None,
            };
            let Some((key, value)) = entry else { break };
            let span = match value.get_ref() {
                DeValue::Table(_) => key.clone(),
                _ => value.span(),
            };
            inside = match value.get_ref() {
                DeValue::Table(inner) => Inside::Table(inner),
                DeValue::Array(list) => Inside::List(list),
                _ => Inside::Nothing,
            };
            found = Some((key, span));
        }
        found
    }

    /// The full name of the key whose value holds these bytes.
    pub(super) fn name_of(&self, span: &Range<usize>) -> Option<String> {
        fn inside(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
            table.iter().find_map(|(key, value)| {
                let deeper = match value.get_ref() {
                    DeValue::Table(inner) => inside(inner, span),
                    _ => None,
                };
                let here = value.span().start <= span.start && span.end <= value.span().end;
                let mut path = deeper.or_else(|| here.then(Vec::new))?;
                path.insert(0, quoted(key.get_ref()));
                Some(path)
            })
        }
        inside(&self.table, span).map(|path| path.join("."))
    }

    /// The source that a span belongs to.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        if span.start <= self.text.len() {
            return line_of(self.file, self.text, span);
        }
        let setting = self
            .settings
            .iter()
            .find(|setting| setting.span().contains(&span.start));
        setting.map_or(Place::Nowhere, |setting| setting.origin.clone())
    }
}

/// What a name is looked for in.
enum Inside<'t, 'i> {
    Table(&'t DeTable<'i>),
    List(&'t DeArray<'i>),
    Nothing,
}

/// A key as TOML writes it.
pub(super) fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

/// The line of the file that a span begins in.
pub(super) fn line_of(file: &Path, text: &str, span: &Range<usize>) -> Place {
    let start = text.floor_char_boundary(span.start);
    let before = text.get(..start).unwrap_or_default();
    let first = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text
        .get(first..)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default();
    let lead = text.get(first..start).unwrap_or_default().chars().count();
    let meant = text
        .get(start..text.floor_char_boundary(span.end))
        .unwrap_or_default();
    let width = meant.lines().next().unwrap_or_default().chars().count();
    let section = before
        .lines()
        .rev()
        .find(|line| line.starts_with('['))
        .unwrap_or_default();
    let room = line.chars().count().saturating_sub(lead);
    Place::Line {
        file: file.to_path_buf(),
        line: before.matches('\n').count() + 1,
        column: lead + 1,
        width: width.min(room).max(1),
        text: mask(section, line),
    }
}

fn stars_behind_scheme(text: &str) -> String {
    let (scheme, secret) = match text.split_once("://") {
        Some((scheme, secret)) => (format!("{scheme}://"), secret),
        None => (String::new(), text),
    };
    format!("{scheme}{}", "*".repeat(secret.chars().count()))
}

/// The line with what may be secret made unreadable; names of environment variables stay.
fn mask(section: &str, line: &str) -> String {
    let Some((name, value)) = line.split_once('=') else {
        return line.to_owned();
    };
    let word = name.trim().trim_matches(['"', '\'']).to_lowercase();
    let parts = [
        "key", "secret", "password", "auth", "header", "query", "proxy", "hash",
    ];
    let pairs = ["http_headers]", "query_params]"];
    let suspicious = parts.iter().any(|part| word.contains(part))
        || word.ends_with("token")
        || pairs.iter().any(|end| section.trim_end().ends_with(end));
    // An address shows all but who logs in, and how.
    if word == "url" {
        return match value.rsplit_once('@') {
            Some((before, rest)) => format!("{name}={}@{rest}", stars_behind_scheme(before)),
            None => line.to_owned(),
        };
    }
    // A file's path is no secret, and is what its reader has to see.
    if !suspicious || word.ends_with("_file") {
        return line.to_owned();
    }
    let variable = |s: &str| {
        s.chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let stars = |s: &str| {
        s.chars()
            .map(|c| if c == ' ' { c } else { '*' })
            .collect::<String>()
    };
    let pieces: Vec<&str> = value.split(['"', '\'']).collect();
    let masked: Vec<String> = pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| {
            // Every second piece stands between quotes; without any, the value is bare.
            let text = at % 2 == 1 || pieces.len() == 1;
            if text && !variable(piece.trim()) {
                stars(piece)
            } else {
                (*piece).to_owned()
            }
        })
        .collect();
    format!("{name}={}", masked.join("\""))
}
