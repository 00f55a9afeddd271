//! A real Postgres server for the tests: one for all of them, with a fresh database for each.
//!
//! It runs beside a shell that waits for this process to end, and then stops it and removes its
//! files. Where Postgres is not installed, the tests that need it say so and pass; with `CI=true`
//! they fail.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::process::Running;
use super::real::say;

const LIMIT: Duration = Duration::from_secs(90);

/// The address of an empty database that nobody else uses.
pub(crate) fn url() -> Option<String> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    Some(SERVER.get_or_init(Server::start).as_ref()?.database())
}

/// A server of its own, for tests that stop it. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Running,
    port: u16,
}

impl Server {
    /// Starts it.
    pub(crate) fn start() -> Option<Self> {
        let programs = programs()?;
        // The port is free now; whoever takes it until then makes the start fail loudly.
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let mut command = as_nobody_much();
        command
            .args(["sh", "-c", include_str!("../../real/postgres.sh"), "sh"])
            .arg(programs)
            .arg(port.to_string())
            .current_dir("/");
        let (process, _) = Running::start(&mut command, "ready on ", LIMIT);
        Some(Self { process, port })
    }

    /// The address of a new, empty database.
    pub(crate) fn database(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let all = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
        let create = format!("CREATE DATABASE {name}");
        // Tests may have a runtime already, or none.
        let made = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime starts");
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&all).await?;
                connection.execute(AssertSqlSafe(create)).await?;
                connection.close().await
            })
        });
        made.join()
            .expect("the thread ends")
            .expect("a database can be made");
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Stops it at once, as if its machine had lost power.
    pub(crate) fn stop(&mut self) {
        self.tell("stop", "has stopped");
    }

    /// Starts it again, on the same port with the same databases.
    pub(crate) fn restart(&mut self) {
        self.tell("start", "has started");
    }

    /// Keeps it from answering, with all connections left open.
    pub(crate) fn freeze(&mut self) {
        self.tell("freeze", "is frozen");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&mut self) {
        self.tell("thaw", "is thawed");
    }

    fn tell(&mut self, command: &str, answer: &str) {
        let before = self.process.log().matches(answer).count();
        self.process.tell(command);
        let deadline = Instant::now() + LIMIT;
        while self.process.log().matches(answer).count() == before {
            assert!(Instant::now() < deadline, "{}", self.process.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.close_stdin();
    }
}

/// The folder with Postgres' programs.
fn programs() -> Option<PathBuf> {
    let has_them = |folder: &PathBuf| {
        ["initdb", "pg_ctl"]
            .iter()
            .all(|name| folder.join(name).exists())
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps them out of the path, a folder for each version.
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut versions: Vec<PathBuf> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    versions.sort();
    let found = std::env::split_paths(&path)
        .chain(versions.into_iter().rev())
        .find(has_them);
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "Postgres (initdb, pg_ctl) is not installed, and these tests must not pass unseen"
        );
        say("not tested with Postgres: initdb and pg_ctl are not installed here");
    }
    found
}

/// The beginning of a command that does not run as root, whom Postgres refuses.
fn as_nobody_much() -> Command {
    let root = Path::new("/proc/self").metadata().is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    if !root {
        return Command::new("env");
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = if users.lines().any(|line| line.starts_with("postgres:")) {
        "postgres"
    } else {
        "nobody"
    };
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={user}"),
        "--regid=65534",
        "--clear-groups",
    ]);
    command
}
