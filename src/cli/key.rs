//! `antiphon key`

use std::io::{self, Read, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use super::{EXIT_USAGE, fail, written};
use crate::key::{self, KeyHash, new_secret};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key for a client
    ///
    /// The key itself goes to standard error, this once and never again. The lines for proxy.toml, or
    /// for the keys' own file, go to standard output; they hold its hash only.
    New(NewArgs),
    /// Read a key from standard input, and print its hash
    Hash,
}

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// What the key is called, in the configuration and in the log
    #[arg(long, default_value = "client")]
    name: String,
}

pub(super) fn run(command: &KeyCommand) -> ExitCode {
    match command {
        KeyCommand::New(args) => new(&args.name),
        KeyCommand::Hash => hash(),
    }
}

fn new(name: &str) -> ExitCode {
    if !key::is_name(name) {
        let message = format!("`{name}` is not a name: {}", key::NAME_HELP);
        return fail(&message, EXIT_USAGE);
    }
    let secret = match new_secret() {
        Ok(secret) => secret,
        Err(error) => return fail(&format!("the system gives no randomness: {error}"), 1),
    };
    let secret = secret.expose_secret();
    let hash = KeyHash::of(secret.as_bytes());
    let said = || {
        let mut notes = io::stderr().lock();
        writeln!(notes, "The key, which is shown only now:\n\n{secret}\n")?;
        writeln!(
            notes,
            "For proxy.toml, or the file that `keys_file` in [auth] names:\n"
        )?;
        writeln!(
            io::stdout(),
            "[[keys]]\nname = \"{name}\"\nhash = \"{hash}\""
        )
    };
    written(said())
}

fn hash() -> ExitCode {
    let mut secret = String::new();
    // One more than the longest, so that what is longer is told from what fits; and its end of line.
    let most = u64::try_from(key::LONGEST + 2).unwrap_or(u64::MAX);
    if let Err(error) = io::stdin().take(most).read_to_string(&mut secret) {
        return fail(&format!("the key cannot be read: {error}"), 1);
    }
    match KeyHash::of_secret(&secret) {
        Ok(hash) => written(writeln!(io::stdout(), "{hash}")),
        Err(error) => fail(&error, EXIT_USAGE),
    }
}
