//! Real programs for the tests: llama.cpp's server with a tiny scripted model, the OpenAI Python SDK, Codex.
//!
//! Whatever is missing is installed into `target/real/` on first use, once for each set of pinned versions.
//! Where Python or npm is not to be had, the tests that need them say so and pass; with `CI=true` they fail.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::process::{self, Running};

const PYTHON_PACKAGES: &[&str] = &[
    "xllamacpp==2026.10.11549",
    "gguf==0.19.0",
    "numpy==2.4.6",
    "openai==3.52.0",
];
const AGENTS_PACKAGES: &[&str] = &[
    "openai==3.52.0",
    "openai-agents==0.24.0",
    "websockets==16.1.1",
];
/// Each in a folder of its own.
const CODEX: (&str, &str) = ("codex", "@openai/codex@0.169.0");
/// The SDK wants a newer Node.js than many systems have.
const NODE_PACKAGES: &[&str] = &["openai@7.55.0", "node@24.21.0"];
const OLD_CODEX: (&str, &str) = ("codex-old", "@openai/codex@0.140.0");
const CODEX_TIME_LIMIT: Duration = Duration::from_secs(90);

/// A Python interpreter that has the packages above.
pub(crate) fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let with_packages = || pip("python", PYTHON_PACKAGES);
    PYTHON.get_or_init(with_packages).clone()
}

/// A Python interpreter with the OpenAI SDK, what it needs for sockets, and openai-agents.
pub(crate) fn python_with_agents() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let with_packages = || pip("agents", AGENTS_PACKAGES);
    PYTHON.get_or_init(with_packages).clone()
}

/// A Python interpreter in a folder of its own, with packages.
fn pip(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let has_venv = ["-c", "import venv, ensurepip"];
    needs("python3", &has_venv, "llama.cpp and the OpenAI SDK")?;
    let folder = installed(name, &packages.join(" "), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        let install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ];
        run(Command::new(folder.join("bin/python"))
            .args(install)
            .args(packages));
    });
    Some(folder.join("bin/python"))
}

/// Python as it is installed here, without the packages.
pub(crate) fn plain_python() -> Option<PathBuf> {
    needs("python3", &["--version"], "an MCP server")?;
    let found = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    let found = found.expect("Python tells where it is");
    Some(String::from_utf8_lossy(&found.stdout).trim().into())
}

/// The Codex CLI in one of its versions.
fn codex((name, package): (&str, &str)) -> Option<PathBuf> {
    let folder = npm(name, &[package])?;
    Some(codex_binary(&folder).expect("the Codex package has a binary for this platform"))
}

/// A folder with packages out of npm.
fn npm(name: &str, packages: &[&str]) -> Option<PathBuf> {
    static NPM: OnceLock<Option<()>> = OnceLock::new();
    (*NPM.get_or_init(|| {
        needs(
            "npm",
            &["--version"],
            "Codex and the OpenAI SDK for Node.js",
        )
    }))?;
    Some(installed(name, &packages.join(" "), |folder| {
        run(Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder)
            .args(packages));
    }))
}

/// A command that runs one of the Node.js programs in `tests/real/`, with the OpenAI SDK.
pub(crate) fn node(name: &str) -> Option<Command> {
    let program = fs::read_to_string(script(name)).expect("a program is there");
    node_program(name, &program)
}

/// A command that runs a Node.js program, which gets a name of its own, with the OpenAI SDK.
pub(crate) fn node_program(name: &str, program: &str) -> Option<Command> {
    static NODE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = NODE.get_or_init(|| npm("node", NODE_PACKAGES)).clone()?;
    // A module finds its packages by where it lies itself.
    let here = folder.join(name);
    fs::write(&here, program).expect("a program is written");
    let mut command = Command::new(folder.join("node_modules/node/bin/node"));
    command.arg(here);
    Some(command)
}

/// One of the programs in `tests/real/`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/real")
        .join(name)
}

/// llama.cpp's server with the tiny model; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct LlamaServer {
    process: Running,
    base_url: String,
}

impl LlamaServer {
    /// Starts it. With the format `deepseek` thinking comes in a field of its own, with `none` inside the text.
    pub(crate) fn start(reasoning_format: &str) -> Option<Self> {
        let python = python()?;
        let model = model(&python);
        let mut command = Command::new(python);
        command.arg(script("llama_server.py")).arg(model);
        command.args(["--reasoning-format", reasoning_format]);
        let (process, url) = Running::start(&mut command, "listening on ", Duration::from_secs(60));
        Some(Self {
            process,
            base_url: format!("{url}/v1"),
        })
    }

    /// Where it speaks Chat Completions: `http://127.0.0.1:PORT/v1`.
    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        self.process.close_stdin();
    }
}

/// `codex exec` with a home and a work folder, both empty at first.
#[derive(Debug)]
pub(crate) struct Codex {
    binary: PathBuf,
    folder: Arc<TempDir>,
    base_url: String,
    model: String,
    config: String,
    provider: String,
    args: Vec<String>,
}

impl Codex {
    /// Prepares a run against the Responses API at `base_url`.
    pub(crate) fn new(base_url: &str) -> Option<Self> {
        Self::version(CODEX, base_url)
    }

    /// The same with a version from before the base instructions became a message.
    pub(crate) fn old(base_url: &str) -> Option<Self> {
        Self::version(OLD_CODEX, base_url)
    }

    fn version(version: (&str, &str), base_url: &str) -> Option<Self> {
        let binary = codex(version)?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["home", "work"] {
            fs::create_dir(folder.path().join(name)).expect("a folder for Codex");
        }
        Some(Self {
            binary,
            folder: Arc::new(folder),
            base_url: base_url.to_owned(),
            model: "tiny".to_owned(),
            config: String::new(),
            provider: String::new(),
            args: Vec::new(),
        })
    }

    /// Names another model than `tiny`.
    pub(crate) fn model(mut self, name: &str) -> Self {
        name.clone_into(&mut self.model);
        self
    }

    /// Adds lines to `config.toml`, tables included.
    pub(crate) fn config(mut self, toml: &str) -> Self {
        self.config += toml;
        self.config.push('\n');
        self
    }

    /// Adds lines to the provider's table.
    pub(crate) fn provider(mut self, toml: &str) -> Self {
        self.provider += toml;
        self.provider.push('\n');
        self
    }

    /// Adds an argument before the prompt.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Puts a file into the work folder.
    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        fs::write(self.folder.path().join("work").join(name), content)
            .expect("a file for Codex is written");
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, prompt: &str) -> CodexRun {
        self.start(&[prompt])
    }

    /// Goes on with the conversation of the last run.
    pub(crate) fn resume(&self, prompt: &str) -> CodexRun {
        self.start(&["resume", "--last", prompt])
    }

    fn start(&self, what: &[&str]) -> CodexRun {
        let folder = self.folder.path();
        let (home, work) = (folder.join("home"), folder.join("work"));
        fs::write(home.join("config.toml"), self.config_toml()).expect("config.toml is written");
        let create = |name| File::create(folder.join(name)).expect("an output file for Codex");
        let mut child = Command::new(&self.binary)
            .args(["exec", "--json", "--skip-git-repo-check"])
            // Fetched from the network at every start.
            .args(["--disable", "plugins"])
            .arg("--dangerously-bypass-approvals-and-sandbox")
            .args(&self.args)
            .args(what)
            .current_dir(&work)
            .env("HOME", &home)
            .env("CODEX_HOME", &home)
            .env("CODEX_TEST_KEY", "unused")
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            .spawn()
            .expect("Codex starts");
        let status = process::wait(&mut child, CODEX_TIME_LIMIT);
        process::end(&mut child);
        let read = |name| fs::read_to_string(folder.join(name)).expect("Codex prints UTF-8");
        let (stdout, stderr) = (read("stdout"), read("stderr"));
        let status = status.unwrap_or_else(|| {
            panic!("Codex did not end within {CODEX_TIME_LIMIT:?}:\n{stdout}\n{stderr}")
        });
        let events = stdout
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        CodexRun {
            events,
            code: status.code(),
            stderr,
            work,
            _folder: Arc::clone(&self.folder),
        }
    }

    fn config_toml(&self) -> String {
        let Self {
            base_url,
            model,
            config,
            provider,
            ..
        } = self;
        format!(
            r#"model = "{model}"
model_provider = "antiphon"
check_for_update_on_startup = false
{config}
[analytics]
enabled = false

[model_providers.antiphon]
name = "antiphon"
base_url = "{base_url}"
wire_api = "responses"
env_key = "CODEX_TEST_KEY"
request_max_retries = 1
stream_max_retries = 2
{provider}"#
        )
    }
}

/// What came of a run of Codex.
#[derive(Debug)]
pub(crate) struct CodexRun {
    /// The lines of `--json`.
    pub(crate) events: Vec<Value>,
    /// Its exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// What it complained about.
    pub(crate) stderr: String,
    /// The folder it worked in.
    pub(crate) work: PathBuf,
    _folder: Arc<TempDir>,
}

impl CodexRun {
    /// The finished items of one type, such as `command_execution`.
    pub(crate) fn items(&self, kind: &str) -> Vec<&Value> {
        let done = self
            .events
            .iter()
            .filter(|event| event["type"] == "item.completed");
        done.map(|event| &event["item"])
            .filter(|item| item["type"] == kind)
            .collect()
    }

    /// The last thing the model said.
    pub(crate) fn last_message(&self) -> &str {
        self.items("agent_message")
            .last()
            .and_then(|item| item["text"].as_str())
            .unwrap_or("")
    }

    /// The events that tell of a failure.
    pub(crate) fn failed(&self) -> Vec<&Value> {
        let failures = [Value::from("turn.failed"), Value::from("error")];
        self.events
            .iter()
            .filter(|event| failures.contains(&event["type"]))
            .collect()
    }
}

/// The tiny model's file, made anew whenever the program that makes it changes.
fn model(python: &Path) -> PathBuf {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    let folder = MODEL.get_or_init(|| {
        let mut made_by = DefaultHasher::new();
        include_str!("../../real/tiny_model.py").hash(&mut made_by);
        let stamp = format!("tiny model {:016x}", made_by.finish());
        installed("model", &stamp, |folder| {
            run(Command::new(python)
                .arg(script("tiny_model.py"))
                .arg(folder.join("tiny.gguf")));
        })
    });
    folder.join("tiny.gguf")
}

fn codex_binary(folder: &Path) -> Option<PathBuf> {
    // Not the launcher in `.bin`, which is a Node program: ending that would leave Codex itself running.
    let platforms = fs::read_dir(folder.join("node_modules/@openai")).ok()?;
    let vendors = platforms
        .flatten()
        .filter_map(|entry| fs::read_dir(entry.path().join("vendor")).ok());
    vendors
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/codex"))
        .find(|file| file.exists())
}

/// Whether a program of the system is there. If not: one line about it, or under `CI=true` a failed test.
pub(crate) fn needs(program: &str, probe: &[&str], for_what: &str) -> Option<()> {
    let mut command = Command::new(program);
    command
        .args(probe)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return Some(());
    }
    let missing = format!(
        "not tested with {for_what}: `{program} {}` does not work here",
        probe.join(" ")
    );
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "{missing}"
    );
    say(&missing);
    None
}

/// A folder of `target/real/` that `install` has filled, now or earlier, for this very `stamp`.
fn installed(name: &str, stamp: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target folder");
    let root = target.join("real");
    let folder = root.join(name);
    let stamp_file = folder.join("installed");
    fs::create_dir_all(&root).expect("target/real is created");
    // Other tests wait here, in this process or another; the system lifts the lock if we are killed.
    let lock = File::create(root.join(format!("{name}.lock"))).expect("a lock file is created");
    lock.lock().expect("the lock is taken");
    if fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
        return folder;
    }
    say(&format!("installing into {}: {stamp}", folder.display()));
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the outdated folder is removed");
    }
    fs::create_dir(&folder).expect("the folder is created");
    install(&folder);
    fs::write(stamp_file, stamp).expect("the stamp is written");
    folder
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed, {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Prints a line past the test harness, which keeps back what passing tests print.
pub(crate) fn say(line: &str) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "real parts: {line}");
}
