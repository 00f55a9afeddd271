//! Puts the snippet into an existing file. The parser only says where things stand; the text
//! itself is cut open at these places and nowhere else, so that all the rest stays byte for byte.

use std::ops::Range;

use toml_edit::{Document, InlineTable, Item, Key as TomlKey, Table, TableLike, Value};

use super::{CodexConfigError, Pair, Snippet, lines};

const PROVIDERS: &str = "model_providers";
const PROVIDER: &str = "antiphon";

/// Keys that the user may have tuned; they are set only where they are missing.
const TUNABLE: [&str; 2] = ["name", "stream_idle_timeout_ms"];

/// The two ways to give a key, of which a provider has one.
const KEYS: [&str; 2] = ["experimental_bearer_token", "env_key"];

/// The file's text with the snippet in it. Whatever else is in it stays as it is, and merging
/// twice is merging once.
///
/// # Errors
/// A text that is not TOML, or that has other things in these places.
pub fn merge(existing: &str, s: &Snippet) -> Result<String, CodexConfigError> {
    let document = parse(existing)?;
    let mut edits = Edits {
        text: existing,
        cuts: Vec::new(),
    };
    edits.top(document.as_table(), &s.top())?;
    edits.provider(document.as_table(), s)?;
    let merged = edits.finish();
    // Whatever the shape of the file was: what comes out must say what it should.
    let check = parse(&merged).map_err(|_| CodexConfigError::Unmergeable)?;
    if says(check.as_table(), s) {
        Ok(merged)
    } else {
        Err(CodexConfigError::Unmergeable)
    }
}

fn parse(text: &str) -> Result<Document<&str>, CodexConfigError> {
    Document::parse(text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        CodexConfigError::NotToml {
            line: before.matches('\n').count() + 1,
            message: error
                .message()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    })
}

/// The provider's table for the end of a file.
pub(super) fn new_table(s: &Snippet, newline: &str) -> String {
    format!(
        "[{PROVIDERS}.{PROVIDER}]{newline}{}",
        lines("", &s.provider(), newline)
    )
}

fn says(root: &Table, s: &Snippet) -> bool {
    let provider = root
        .get(PROVIDERS)
        .and_then(Item::as_table_like)
        .and_then(|providers| providers.get(PROVIDER))
        .and_then(Item::as_table_like);
    let has = |table: &dyn TableLike, (key, value): &Pair| {
        table
            .get(key)
            .and_then(Item::as_value)
            .is_some_and(|there| TUNABLE.contains(key) || same(there, value))
    };
    s.top().iter().all(|pair| has(root, pair))
        && provider.is_some_and(|table| s.provider().iter().all(|pair| has(table, pair)))
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.value() == b.value(),
        (Value::Integer(a), Value::Integer(b)) => a.value() == b.value(),
        _ => false,
    }
}

/// The text with the places where something is put in or replaced.
struct Edits<'a> {
    text: &'a str,
    cuts: Vec<(Range<usize>, String)>,
}

impl Edits<'_> {
    fn finish(mut self) -> String {
        // From the end, so that the earlier places stay true. Two at one place keep their order,
        // since the later one is put in first.
        self.cuts.sort_by_key(|(span, _)| span.start);
        let mut merged = self.text.to_owned();
        for (span, new) in self.cuts.into_iter().rev() {
            merged.replace_range(span, &new);
        }
        merged
    }

    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        }
    }

    fn insert(&mut self, at: usize, new: String) {
        self.cuts.push((at..at, new));
    }

    /// Puts whole lines behind the line that `at` is in.
    fn insert_below(&mut self, at: usize, new: String) {
        let rest = self.text.get(at..).unwrap_or_default();
        match rest.find('\n') {
            Some(end) => self.insert(at + end + 1, new),
            None => self.insert(self.text.len(), format!("{}{new}", self.newline())),
        }
    }

    fn top(&mut self, root: &Table, pairs: &[Pair]) -> Result<(), CodexConfigError> {
        let missing = self.update(root, pairs)?;
        if missing.is_empty() {
            return Ok(());
        }
        let new = lines("", &missing, self.newline());
        if let Some(end) = last_value(root) {
            self.insert_below(end, new);
            return Ok(());
        }
        // There are no keys in front of the first table yet.
        let mark = if self.text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        let gap = if self.text.len() > mark {
            self.newline()
        } else {
            ""
        };
        self.insert(mark, format!("{new}{gap}"));
        Ok(())
    }

    /// Gives the keys that are there their new values and returns those that are not there.
    fn update(
        &mut self,
        table: &dyn TableLike,
        pairs: &[Pair],
    ) -> Result<Vec<Pair>, CodexConfigError> {
        let mut missing = Vec::new();
        for (key, value) in pairs {
            let other = KEYS.iter().find(|_| KEYS.contains(key)).and_then(|_| {
                let other = KEYS.iter().find(|other| *other != key)?;
                table.get_key_value(other)
            });
            match (table.get_key_value(key), other) {
                (Some((_, item)), _) => self.set(key, item, value)?,
                (None, Some((old, item))) => {
                    // A provider has a key in one way only, so that one takes the other's place.
                    if let Some(span) = whole_pair(old, item) {
                        self.cuts.push((span, format!("{key} = {value}")));
                    }
                }
                (None, None) => missing.push((*key, value.clone())),
            }
        }
        Ok(missing)
    }

    fn set(
        &mut self,
        key: &'static str,
        item: &Item,
        value: &Value,
    ) -> Result<(), CodexConfigError> {
        let Some(there) = item.as_value().filter(|there| !there.is_inline_table()) else {
            return Err(CodexConfigError::Conflict {
                key,
                found: "a table",
            });
        };
        if !TUNABLE.contains(&key)
            && !same(there, value)
            && let Some(span) = there.span()
        {
            self.cuts.push((span, value.to_string()));
        }
        Ok(())
    }

    fn provider(&mut self, root: &Table, s: &Snippet) -> Result<(), CodexConfigError> {
        let pairs = s.provider();
        let Some(providers) = root.get(PROVIDERS) else {
            self.append(s);
            return Ok(());
        };
        let dotted = match providers {
            Item::Table(table) => table.is_dotted(),
            Item::Value(Value::InlineTable(_)) => false,
            other => return Err(conflict(PROVIDERS, other)),
        };
        let there = providers
            .as_table_like()
            .and_then(|table| table.get(PROVIDER));
        let Some(there) = there else {
            match providers {
                Item::Value(Value::InlineTable(table)) => {
                    let inner = joined(&pairs);
                    self.insert_inline(table, &format!("{PROVIDER} = {{ {inner} }}"));
                }
                Item::Table(table) if dotted => {
                    let prefix = format!("{PROVIDERS}.{PROVIDER}.");
                    self.insert_dotted(table, &prefix, &pairs);
                }
                _ => self.append(s),
            }
            return Ok(());
        };
        let Some(provider) = there.as_table_like() else {
            return Err(conflict("model_providers.antiphon", there));
        };
        let missing = self.update(provider, &pairs)?;
        if missing.is_empty() {
            return Ok(());
        }
        match (providers, there) {
            (_, Item::Table(table)) if table.is_dotted() => {
                let prefix = if dotted {
                    format!("{PROVIDERS}.{PROVIDER}.")
                } else {
                    format!("{PROVIDER}.")
                };
                self.insert_dotted(table, &prefix, &missing);
            }
            (_, Item::Table(table)) => self.insert_lines(table, s, &missing),
            (Item::Value(Value::InlineTable(outer)), Item::Value(Value::InlineTable(table)))
                if table.is_dotted() =>
            {
                let pairs = missing
                    .iter()
                    .map(|(key, value)| format!("{PROVIDER}.{key} = {value}"));
                self.insert_inline(outer, &pairs.collect::<Vec<_>>().join(", "));
            }
            (_, Item::Value(Value::InlineTable(table))) => {
                self.insert_inline(table, &joined(&missing));
            }
            (_, other) => return Err(conflict("model_providers.antiphon", other)),
        }
        Ok(())
    }

    /// Puts the whole table behind everything else.
    fn append(&mut self, s: &Snippet) {
        let newline = self.newline();
        // Keys put behind the text's last line have ended that line.
        let ends = self.text.is_empty()
            || self.text.ends_with('\n')
            || self
                .cuts
                .iter()
                .any(|(span, _)| span.start == self.text.len());
        let gap = if ends { "" } else { newline };
        self.insert(
            self.text.len(),
            format!("{gap}{newline}{}", new_table(s, newline)),
        );
    }

    /// Puts keys into a table that has a header.
    fn insert_lines(&mut self, table: &Table, s: &Snippet, missing: &[Pair]) {
        let new = lines("", missing, self.newline());
        match last_value(table).or_else(|| table.span().map(|span| span.end)) {
            Some(end) if !table.is_implicit() => self.insert_below(end, new),
            // Only tables inside it have headers; its own may still follow.
            _ => self.append(s),
        }
    }

    fn insert_dotted(&mut self, table: &Table, prefix: &str, pairs: &[Pair]) {
        if let Some(end) = last_value(table) {
            self.insert_below(end, lines(prefix, pairs, self.newline()));
        }
    }

    fn insert_inline(&mut self, table: &InlineTable, new: &str) {
        let last = table
            .get_values()
            .iter()
            .filter_map(|(_, value)| value.span())
            .map(|s| s.end)
            .max();
        match (last, table.span()) {
            (Some(end), _) => self.insert(end, format!(", {new}")),
            // `{}`: right behind its first brace.
            (None, Some(span)) => self.insert(span.start + 1, format!(" {new} ")),
            (None, None) => {}
        }
    }
}

fn joined(pairs: &[Pair]) -> String {
    let pairs = pairs.iter().map(|(key, value)| format!("{key} = {value}"));
    pairs.collect::<Vec<_>>().join(", ")
}

/// Where the last of a table's own values ends, those under dotted keys among them.
fn last_value(table: &Table) -> Option<usize> {
    table
        .get_values()
        .iter()
        .filter_map(|(_, value)| value.span())
        .map(|span| span.end)
        .max()
}

fn whole_pair(key: &TomlKey, item: &Item) -> Option<Range<usize>> {
    Some(key.span()?.start..item.span()?.end)
}

fn conflict(key: &'static str, item: &Item) -> CodexConfigError {
    let found = match item {
        Item::ArrayOfTables(_) => "an array of tables",
        _ => "not a table",
    };
    CodexConfigError::Conflict { key, found }
}
