//! `antiphon codex`

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::{ConfigArgs, EXIT_USAGE, environment, fail, written};
use crate::codex::{self, Change, Snippet};
use crate::config::{Config, Pattern};
use crate::time::unix_now;

/// The variable in which Codex is to find its key for this proxy, where it needs one.
const KEY_VARIABLE: &str = "ANTIPHON_KEY";

#[derive(Debug, Args)]
pub(super) struct CodexArgs {
    /// Merge it into ~/.codex/config.toml (or `$CODEX_HOME/config.toml`); all else in that file stays
    /// as it is, and a backup is kept
    #[arg(long)]
    write: bool,
    /// The model that Codex begins with [default: the first that the configuration names]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Where Codex reaches this proxy, if not at the address that it listens on: a name that its
    /// certificate is for, or that of a machine before it
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
}

pub(super) fn run(args: &ConfigArgs, codex: CodexArgs) -> ExitCode {
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    let Some(snippet) = snippet_for(&config, codex.model, codex.base_url) else {
        let message = "Codex needs an address, and this listens on unix sockets only: add one to `listen`, or give --base-url";
        return fail(&message, 1);
    };
    match codex.write {
        true => write(&snippet),
        false => written(print(&snippet)),
    }
}

fn snippet_for(
    config: &Config,
    model: Option<String>,
    base_url: Option<String>,
) -> Option<Snippet> {
    let named = || {
        config.models.iter().find_map(|model| match &model.name {
            Pattern::Exact(name) => Some(name.clone()),
            Pattern::Glob(_) => None,
        })
    };
    let server = &config.server;
    let own = || {
        let address = server.addresses().into_iter().next()?;
        Some(format!("{}://{address}/v1", server.scheme()))
    };
    Some(Snippet {
        base_url: base_url.or_else(own)?,
        model: model.or_else(named),
        key: match config.clients.need_key {
            true => codex::Key::Variable(KEY_VARIABLE.to_owned()),
            false => codex::Key::default(),
        },
    })
}

fn print(snippet: &Snippet) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(codex::snippet(snippet).as_bytes())?;
    out.flush()?;
    let mut notes = io::stderr().lock();
    if snippet.model.is_none() {
        writeln!(
            notes,
            "\n# Add `model = \"…\"` at the top, or start Codex with `-m NAME`."
        )?;
    }
    if let Some(note) = key_note(snippet) {
        writeln!(notes, "\n# {note}")?;
    }
    writeln!(
        notes,
        "# This belongs into ~/.codex/config.toml; `antiphon codex --write` puts it there."
    )
}

/// What is left to do where Codex needs a key.
fn key_note(snippet: &Snippet) -> Option<String> {
    match &snippet.key {
        codex::Key::Variable(name) => Some(format!(
            "Codex needs its key in the environment: export {name}=…  (`antiphon key new` makes one.)"
        )),
        codex::Key::Word(_) => None,
    }
}

fn write(snippet: &Snippet) -> ExitCode {
    let Some(path) = codex::config_path(environment()) else {
        return fail(
            &"neither CODEX_HOME nor HOME is set: I do not know where Codex's file is",
            1,
        );
    };
    match codex::write(&path, snippet, unix_now()) {
        Ok(done) => {
            let what = match (&done.change, &done.backup) {
                (Change::Created, _) => "made".to_owned(),
                (Change::Updated, Some(backup)) => {
                    format!("changed; as it was, it is in {}", backup.display())
                }
                (Change::Updated, None) => "changed".to_owned(),
                (Change::Unchanged, _) => "had it all already".to_owned(),
            };
            let told = writeln!(io::stdout(), "{}: {what}", done.path.display());
            written(told.and_then(|()| match key_note(snippet) {
                Some(note) => writeln!(io::stderr(), "{note}"),
                None => Ok(()),
            }))
        }
        Err(error) => fail(&error, 1),
    }
}
