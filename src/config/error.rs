//! What is wrong with a configuration, said so that the reader can go and mend it: the place, the
//! line, and what was probably meant.

use std::fmt;
use std::path::PathBuf;

/// Why there is no usable configuration. Its text has one paragraph for each problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", paragraphs(.problems))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Each thing that is wrong; there is at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

fn paragraphs(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Where a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a line of a file.
    Line {
        /// The file, as it was named.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
        /// How many characters are meant.
        width: usize,
        /// The whole line, with what may be secret masked.
        text: String,
    },
    /// In a file as a whole.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
    /// In a flag of the command line.
    Flag(&'static str),
    /// In no one source.
    Nowhere,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line {
                file, line, column, ..
            } => {
                write!(f, "{}:{line}:{column}: ", file.display())?;
            }
            Place::File(file) => write!(f, "{}: ", file.display())?,
            Place::Variable(name) => write!(f, "{name}: ")?,
            Place::Flag(name) => write!(f, "{name}: ")?,
            Place::Nowhere => {}
        }
        f.write_str(&self.message)?;
        if let Place::Line {
            line,
            column,
            width,
            text,
            ..
        } = &self.place
        {
            let gutter = " ".repeat(line.to_string().len());
            // A tab stays a tab, or the caret would stand in the wrong place on a terminal.
            let lead: String = text
                .chars()
                .take(column - 1)
                .map(|c| if c == '\t' { c } else { ' ' })
                .collect();
            let caret = "^".repeat(*width);
            write!(f, "\n{gutter} |\n{line} | {text}\n{gutter} | {lead}{caret}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

/// The name among `known` that was probably meant by `word`, as a line of help.
pub(super) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (distance(&word.to_lowercase(), name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

/// How many letters must be put in, left out, changed or swapped with their neighbour.
pub(super) fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut cost = (last[j] + usize::from(a != b))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

/// Serde's words for a value of the wrong type, in the reader's words, with the line of help.
///
/// The value itself is left out: it may be a secret that was put in the wrong place.
pub(super) fn reword(message: &str) -> (String, Option<String>) {
    let Some((found, expected)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    else {
        return (message.to_owned(), None);
    };
    let expected = match expected {
        "u64" | "u32" => "a whole number",
        "a map" => "a table",
        "a sequence" => "an array",
        "a boolean" => "true or false",
        other => other,
    };
    let found = match found.split([' ', '(']).next() {
        Some("string") => "a string",
        Some("map") => "a table",
        Some("sequence") => "an array",
        _ => found,
    };
    let scalar = ["integer", "floating", "boolean"]
        .iter()
        .any(|kind| found.starts_with(kind));
    let help =
        (expected.starts_with("a string") && scalar).then(|| "put it in double quotes".to_owned());
    (format!("expected {expected}, found {found}"), help)
}
