//! The built `antiphon` binary, started for one test on a free port.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::evidence;
use super::process::Running;

/// A running proxy; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Running,
    address: String,
    home: TempDir,
    /// Whether it was told to log what people and models say.
    logs_content: bool,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if !self.logs_content {
            evidence::keep("logs", &self.log());
        }
    }
}

impl Proxy {
    /// Says how a proxy is to be started.
    pub(crate) fn builder() -> ProxyBuilder {
        ProxyBuilder::default()
    }

    /// A proxy in front of one upstream, all else by default.
    pub(crate) fn to(upstream: &str) -> Self {
        Self::builder().upstream(upstream).start()
    }

    /// The address that clients are given: `http://127.0.0.1:PORT/v1`.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The address of something the proxy serves, such as `/v1/responses`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it listens over TCP: `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A file in the folder that it was started in.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "the signal is sent"
        );
    }

    /// Writes another configuration file in the place of the one that it was started with.
    pub(crate) fn rewrite(&self, toml: &str) {
        let new = self.home.path().join("new.toml");
        fs::write(&new, toml).expect("the configuration is written");
        fs::rename(&new, self.home.path().join("proxy.toml")).expect("it is put in place");
    }

    /// Waits until the log has this so many times.
    pub(crate) fn wait_for_log(&self, words: &str, times: usize) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.log().matches(words).count() < times {
            assert!(
                Instant::now() < until,
                "no {words:?} in the log:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for it to end by itself; its exit code.
    pub(crate) fn wait_for_end(mut self, limit: Duration) -> Option<i32> {
        self.process.wait(limit)
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What the proxy has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// How a proxy is to be started.
#[derive(Debug, Default)]
pub(crate) struct ProxyBuilder {
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    config: Option<String>,
    files: Vec<(String, String)>,
    listen: Option<String>,
}

impl ProxyBuilder {
    /// Adds `--upstream URL`.
    pub(crate) fn upstream(self, url: &str) -> Self {
        self.arg("--upstream").arg(url)
    }

    /// Adds one argument after `serve`.
    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds a variable to the environment, which otherwise has none of the proxy's own.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a configuration file and passes it.
    pub(crate) fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.to_owned());
        self
    }

    /// Writes a file into the folder that it is started in, where the configuration is too.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Has it listen elsewhere than on a free port alone. The first place must be TCP, or the only one.
    pub(crate) fn listen(mut self, listen: &str) -> Self {
        self.listen = Some(listen.to_owned());
        self
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(self) -> Proxy {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(binary());
        let listen = self.listen.as_deref().unwrap_or("127.0.0.1:0");
        command.args(["serve", "--listen", listen]);
        for (name, text) in &self.files {
            fs::write(home.path().join(name), text).expect("the file is written");
        }
        if let Some(toml) = &self.config {
            let file = home.path().join("proxy.toml");
            fs::write(&file, toml).expect("the configuration is written");
            command.arg("--config").arg(file);
        }
        command.args(&self.args);
        clean_environment(&mut command, home.path());
        let logs_content = ("ANTIPHON__LOG__CONTENT".to_owned(), "true".to_owned());
        let logs_content = self.env.contains(&logs_content);
        for (_, value) in self.env.iter().filter(|(name, _)| name.contains("KEY")) {
            evidence::key(value);
        }
        command.envs(self.env);

        let (process, rest) =
            Running::start(&mut command, "listening on ", Duration::from_secs(20));
        // The log line may go on, as text or as JSON.
        let (_, address) = rest.split_once("://").unwrap_or_default();
        let address = address
            .split(|c: char| !c.is_ascii_digit() && !".:".contains(c))
            .next();
        let address = address.unwrap_or_default().to_owned();
        Proxy {
            process,
            address,
            home,
            logs_content,
        }
    }
}

/// The program that is tested: the one that was built with the tests, or another one.
fn binary() -> OsString {
    let other = std::env::var_os("ANTIPHON_TEST_BINARY");
    // A relative path is one below the package.
    let other = other.map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path).into());
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_antiphon").into())
}

/// Nothing of the developer's own settings or state reaches a test.
fn clean_environment(command: &mut Command, home: &Path) {
    for (name, _) in std::env::vars_os() {
        let known = name.to_string_lossy();
        if known.starts_with("ANTIPHON") || known == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", home)
        .env("XDG_STATE_HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .current_dir(home);
}
