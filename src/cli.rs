//! The command line.

mod check;
mod codex;
mod demo;
mod health;
mod key;
mod probe;
mod profiles;
mod replay;
mod serve;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::app::check_dialect;
use crate::config::{self, Config, ConfigError, Flags};

/// The exit code for a wrong configuration or command line.
const EXIT_USAGE: u8 = 2;
/// The exit code of a program that was to end, and had to cut off what still ran.
const EXIT_CUT_OFF: u8 = 3;

#[derive(Debug, Parser)]
#[command(
    name = "antiphon",
    version,
    about = "Answers the OpenAI Responses API out of servers that only speak Chat Completions.",
    long_about = "Antiphon answers the OpenAI Responses API (/v1/responses) out of servers that only speak \
                  Chat Completions: Ollama, vLLM, llama.cpp, SGLang, LM Studio, DeepSeek, OpenRouter and others. \
                  Codex and the OpenAI SDKs work through it unchanged.\n\n\
                  Without a command it serves.",
    after_help = "Examples:\n  \
                  antiphon demo                                      try it without any model\n  \
                  antiphon --upstream http://127.0.0.1:8000/v1       serve one model server, no file needed\n  \
                  antiphon codex --write                             point Codex at it\n  \
                  antiphon check                                     is the configuration right, do the servers answer?"
)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Args)]
struct ConfigArgs {
    /// The configuration file [default: ./proxy.toml, ~/.config/antiphon/proxy.toml, or Ollama on this machine]
    // An empty variable is the same as none, which clap's own parser of paths does not take.
    #[arg(long, value_name = "FILE", env = "ANTIPHON_CONFIG", global = true, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    config: Option<PathBuf>,
    /// Where to listen, instead of where the file says: an address, or `unix:PATH`, or several with commas
    /// between
    #[arg(long, value_name = "ADDR:PORT", env = "ANTIPHON_LISTEN", global = true)]
    listen: Option<String>,
    /// The one model server to use; no file is needed then, and every model's name goes there
    /// unchanged. Its key is taken from `ANTIPHON_UPSTREAM_KEY`
    #[arg(long, value_name = "URL", env = "ANTIPHON_UPSTREAM", global = true)]
    upstream: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    Serve,
    /// Try it without any model: a scripted one is built in
    ///
    /// Starts a scripted model server and the proxy in one process, streams a real conversation to
    /// the terminal, tells how to point Codex at it, and keeps serving.
    Demo(demo::DemoArgs),
    /// Check the configuration, and ask each upstream for its models
    ///
    /// With `--probe` it also sends a dozen small requests to each upstream, and prints what it supports
    /// and the settings that follow from that.
    Check(check::CheckArgs),
    /// Ask the running program whether it takes new work; for a container's health check
    Health(health::HealthArgs),
    /// Print what Codex's configuration needs, or put it there
    Codex(codex::CodexArgs),
    /// Make a key for a client, or hash one that you have
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// List the built-in dialects of servers, or print one in full
    Profiles(profiles::ProfilesArgs),
    /// Turn a recorded chat stream into events
    Replay(replay::ReplayArgs),
}

/// Runs the command line of the process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&cli.config),
        Command::Demo(args) => demo::run(&cli.config, &args),
        Command::Check(args) => check::run(&cli.config, &args),
        Command::Health(args) => health::run(&cli.config, &args),
        Command::Codex(args) => codex::run(&cli.config, args),
        Command::Key(command) => key::run(&command),
        Command::Profiles(args) => profiles::run(&args),
        Command::Replay(args) => replay::run(&args),
    }
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, ConfigError> {
        let flags = Flags {
            config: self.config.clone(),
            listen: self.listen.clone(),
            upstream: self.upstream.clone(),
        };
        config::load(&flags, environment(), check_dialect)
    }
}

/// The variables that are text; others cannot be ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

/// Says on standard error what keeps the command from its work.
fn fail(error: &impl Display, code: u8) -> ExitCode {
    // If even that cannot be written, the exit code must do.
    let _ = writeln!(io::stderr(), "antiphon: {error}");
    ExitCode::from(code)
}

/// The exit code of a command that writes to standard output: a reader that left early (`| head`)
/// is no failure.
fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

/// The runtime in which everything that waits does so.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn an_empty_path_is_no_error() {
        let cli = Cli::try_parse_from(["antiphon", "--config", "", "check"]).unwrap();
        assert_eq!(cli.config.config, Some(PathBuf::new()));
    }
}
