//! `antiphon profiles`

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use toml::Table;

use super::{EXIT_USAGE, fail, written};
use crate::profile::{self, Profile, ProfileError};

#[derive(Debug, Args)]
pub(super) struct ProfilesArgs {
    /// Print this one in full, as TOML for `[upstreams.NAME.dialect]`
    name: Option<String>,
}

pub(super) fn run(args: &ProfilesArgs) -> ExitCode {
    let text = match &args.name {
        Some(name) => full(name),
        None => list(),
    };
    match text {
        Ok(text) => written(io::stdout().lock().write_all(text.as_bytes())),
        Err(error) => fail(&error, EXIT_USAGE),
    }
}

/// All of them, each with what it is known by and what it does differently.
fn list() -> Result<String, ProfileError> {
    let mut out = String::new();
    for name in profile::names() {
        let entry = Profile::built_in(&name)?;
        let known: Vec<String> = entry
            .hosts
            .into_iter()
            .chain(
                entry
                    .ports
                    .iter()
                    .map(|port| format!("port {port} on this machine")),
            )
            .collect();
        let known = match known.is_empty() {
            true => String::new(),
            false => format!("  ({})", known.join(", ")),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name}{known}");
        for line in lines(&entry.differs) {
            let _ = writeln!(out, "    {line}");
        }
    }
    out.push_str("\n`antiphon profiles NAME` prints one in full.\n");
    Ok(out)
}

fn full(name: &str) -> Result<String, ProfileError> {
    let (name, profile) = profile::resolve(name, "", None, &Table::new())?;
    let mut out = format!("# profile = \"{name}\"\n");
    for line in lines(&profile.to_table()) {
        out.push_str(&line);
        out.push('\n');
    }
    Ok(out)
}

fn lines(table: &Table) -> impl Iterator<Item = String> {
    table.iter().map(|(key, value)| format!("{key} = {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_each_profile_and_what_it_does() {
        let list = list().unwrap();
        for name in profile::names() {
            assert!(list.lines().any(|line| line.starts_with(&name)), "{name}");
        }
        assert!(list.contains("ollama  (port 11434 on this machine)\n"));
        assert!(list.contains("deepseek  (api.deepseek.com)\n"));
        assert!(list.contains("    strict = \"strip\"\n"));
    }

    #[test]
    fn one_in_full_can_be_given_as_a_dialect() {
        for name in profile::names() {
            let dialect: Table = full(&name).unwrap().parse().unwrap();
            let (_, alone) = profile::resolve(&name, "", None, &Table::new()).unwrap();
            let (_, over) = profile::resolve("generic", "", None, &dialect).unwrap();
            assert_eq!(alone, over, "{name}");
        }
        assert!(full("olama").is_err());
    }
}
