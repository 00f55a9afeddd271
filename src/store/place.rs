//! Opens the places: makes the file, connects, and brings the tables up to date.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, SqliteConnection};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::conn::busy;
use super::types::{Place, Settings, StoreError};
use super::work::Pools;

/// The tables' versions, the same numbers for both databases.
const SQLITE: &[&str] = &[include_str!("migrations/sqlite/0001_first.sql")];
const POSTGRES: &[&str] = &[include_str!("migrations/postgres/0001_first.sql")];

/// The page of a file that is made. A response is up to a few hundred kilobytes, of which each page is
/// written and copied by itself; of a small one a handful of pages changes.
const PAGE_BYTES: u32 = 16 * 1024;

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(60);

/// A connection that was not used for so long is tried before it is used.
const FRESH: Duration = Duration::from_secs(1);

/// How long it may take to answer then.
const PING: Duration = Duration::from_secs(1);

/// A place that is open: its name for people, its connections, and what is needed to listen.
pub(super) struct Opened {
    pub(super) what: String,
    pub(super) pools: Pools,
    pub(super) listener: Option<PgConnectOptions>,
}

pub(super) async fn open(settings: &Settings) -> Result<Opened, StoreError> {
    match &settings.place {
        Place::Sqlite(path) => file(path, settings).await,
        Place::Memory => memory(settings).await,
        Place::Postgres(url) => postgres(url.expose_secret(), settings).await,
    }
}

fn unavailable(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable {
        what: what.to_owned(),
        why: why.to_string(),
    }
}

fn sqlite_options(settings: &Settings) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Normal)
        // A lock that does not come is told before the time limit cuts everything off.
        .busy_timeout(settings.timeout * 3 / 4)
        // What is deleted is overwritten wherever that costs no further writing.
        .pragma("secure_delete", "fast")
        .pragma("journal_size_limit", "67108864")
        .thread_name(|number| format!("sqlite-{number}"))
        .disable_statement_logging()
}

fn sqlite_pool(settings: &Settings, connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(settings.acquire_timeout)
        .test_before_acquire(false)
        .max_lifetime(None)
        .idle_timeout(IDLE)
}

async fn file(path: &Path, settings: &Settings) -> Result<Opened, StoreError> {
    let what = path.display().to_string();
    make(path).map_err(|error| unavailable(&what, error))?;
    let options = sqlite_options(settings).filename(path);
    let deadline = Instant::now() + settings.timeout;
    // Only the first connection makes the file what it is. Others may be at the same, and SQLite
    // does not wait by itself for the change of the journal's mode.
    let first = options
        .clone()
        .page_size(PAGE_BYTES)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal);
    let mut conn = loop {
        match first.connect().await {
            Ok(conn) => break conn,
            Err(sqlx::Error::Database(error))
                if error.code().as_deref().is_some_and(busy) && Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(unavailable(&what, error)),
        }
    };
    migrate_sqlite(&mut conn)
        .await
        .map_err(|error| migration(&what, error))?;
    // The pools' connections keep the file open from here on.
    let readers =
        sqlite_pool(settings, settings.max_connections).connect_lazy_with(options.clone());
    let writer = sqlite_pool(settings, 1)
        .idle_timeout(None)
        .connect_lazy_with(options);
    let held = writer.acquire().await;
    drop(held.map_err(|error| unavailable(&what, error))?);
    conn.close()
        .await
        .map_err(|error| unavailable(&what, error))?;
    Ok(Opened {
        what,
        pools: Pools::Sqlite {
            readers,
            writer,
            memory: false,
        },
        listener: None,
    })
}

/// Makes the file and its folder for their owner only. What is there already keeps its permissions.
fn make(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        let mut make = std::fs::DirBuilder::new();
        make.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut make, 0o700);
        make.create(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // SQLite gives the files beside it the same permissions.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

async fn memory(settings: &Settings) -> Result<Opened, StoreError> {
    let what = "in memory".to_owned();
    // One connection for everything: with it the database would go.
    let pool = sqlite_pool(settings, 1)
        .idle_timeout(None)
        .connect_with(sqlite_options(settings))
        .await
        .map_err(|error| unavailable(&what, error))?;
    let mut conn = pool
        .acquire()
        .await
        .map_err(|error| unavailable(&what, error))?;
    migrate_sqlite(&mut conn)
        .await
        .map_err(|error| migration(&what, error))?;
    drop(conn);
    Ok(Opened {
        what,
        pools: Pools::Sqlite {
            readers: pool.clone(),
            writer: pool,
            memory: true,
        },
        listener: None,
    })
}

async fn postgres(url: &str, settings: &Settings) -> Result<Opened, StoreError> {
    // The parser's own message could repeat a part of the address.
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        unavailable(
            "postgres",
            "the address cannot be read; write it as postgres://USER@HOST:PORT/DATABASE",
        )
    })?;
    let options = options
        .application_name("antiphon")
        .disable_statement_logging();
    let what = format!(
        "postgres://{}:{}/{}",
        options.get_host(),
        options.get_port(),
        options
            .get_database()
            .unwrap_or_else(|| options.get_username())
    );
    let deadline = Instant::now() + settings.acquire_timeout.max(settings.timeout);
    let conn = timeout_at(deadline, options.connect()).await;
    let mut conn = conn
        .map_err(|_| StoreError::Timeout)?
        .map_err(|error| unavailable(&what, error))?;
    // Another replica may be at it; it takes as long as it takes there. A lock that is left behind
    // goes with the connection.
    let migrator = migrator(POSTGRES);
    let migrated = timeout(
        settings.timeout.max(Duration::from_mins(1)),
        migrator.run_direct(None, &mut conn, false),
    );
    migrated
        .await
        .map_err(|_| StoreError::Timeout)?
        .map_err(|error| migration(&what, error))?;
    // Whether it went politely does not matter.
    let _ = conn.close().await;
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections.max(1))
        .acquire_timeout(settings.acquire_timeout)
        .idle_timeout(IDLE)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH {
                    let answer = timeout(PING, conn.ping()).await;
                    answer.map_err(std::io::Error::from)??;
                }
                Ok(true)
            })
        });
    Ok(Opened {
        what,
        pools: Pools::Postgres(pool.connect_lazy_with(options.clone())),
        listener: Some(options),
    })
}

/// Inside of one transaction that shuts out other processes: sqlx has no lock of its own for SQLite.
async fn migrate_sqlite(conn: &mut SqliteConnection) -> Result<(), MigrateError> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    migrator(SQLITE)
        .run_direct(None, &mut *transaction, false)
        .await?;
    Ok(transaction.commit().await?)
}

fn migrator(versions: &[&'static str]) -> Migrator {
    let migrations = (1..).zip(versions).map(|(version, sql)| {
        let name = format!("version {version}").into();
        let sql = SqlSafeStr::into_sql_str(*sql);
        Migration::new(version, name, MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

fn migration(what: &str, error: MigrateError) -> StoreError {
    let why = match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            return unavailable(what, error);
        }
        MigrateError::VersionMissing(version) => format!(
            "its tables have version {version}, which is newer than this program knows (it knows {}); \
             use a newer program, or another store",
            SQLITE.len()
        ),
        error => error.to_string(),
    };
    StoreError::Migration {
        what: what.to_owned(),
        why,
    }
}
