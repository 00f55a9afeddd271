//! What is special about a SQLite file, and about opening any place.

use std::path::Path;
use std::time::{Duration, Instant};

use antiphon::store::{Place, Settings, Store, StoreError};
use bytes::Bytes;
use secrecy::SecretString;
use sqlx::{Connection, Executor};
use tokio::task::JoinSet;

use super::world::{ME, World, history, response, save, until};
use crate::support::postgres;

fn at(path: &Path) -> Settings {
    Settings::new(Place::Sqlite(path.to_path_buf()))
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/store.db");
    let store = Store::open(at(&path)).await.unwrap();
    save(&store, &["a"]).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let files: Vec<_> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .flatten()
        .collect();
    assert!(files.len() >= 2, "the database and its journal");
    for file in files {
        assert_eq!(mode(&file.path()), 0o600, "{file:?}");
    }
    store.close().await;
}

#[tokio::test]
async fn it_is_all_there_after_a_restart_and_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = Store::open(at(&path)).await.unwrap();
    save(&store, &["a", "b<a"]).await;
    store.close().await;
    assert!(matches!(
        store.ping().await,
        Err(StoreError::Unavailable { .. })
    ));
    let refused = store.save(response("late", None), Vec::new()).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    // Once it is closed, everything is in the one file.
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    let store = Store::open(at(&copy)).await.unwrap();
    assert_eq!(history(&store, "b").await.unwrap(), ["a", "b"]);
    store.close().await;
}

#[tokio::test]
async fn what_is_no_place_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(
        &text,
        "this is no database, but it is longer than a header of one is.\n".repeat(50),
    )
    .unwrap();
    for path in [
        folder.path().to_path_buf(),
        text.join("below"),
        text,
        "/proc/store/x.db".into(),
    ] {
        let Err(error) = Store::open(at(&path)).await else {
            panic!("{} opened", path.display());
        };
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn passwords_are_not_told() {
    for url in [
        "postgres://me:hunter2@127.0.0.1:1/db",
        "postgres://me:hunter2@127.0.0.1:notaport/db",
        "postgres://me:hunter2@127.0.0.1:1/db?sslmode=hunter2",
        "postgres://me:hunter2@no.such.host.invalid/db",
    ] {
        let mut settings = Settings::new(Place::Postgres(SecretString::from(url)));
        settings.acquire_timeout = Duration::from_secs(1);
        settings.timeout = Duration::from_secs(1);
        assert!(!format!("{settings:?}").contains("hunter2"));
        let Err(error) = Store::open(settings).await else {
            panic!("{url} opened");
        };
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_open_a_new_place_at_once() {
    for world in [World::sqlite(), World::postgres()].into_iter().flatten() {
        for _ in 0..3 {
            let mut opening = JoinSet::new();
            for _ in 0..4 {
                opening.spawn(Store::open(world.settings()));
            }
            let stores: Result<Vec<Store>, StoreError> =
                opening.join_all().await.into_iter().collect();
            for (at, store) in stores.unwrap().iter().enumerate() {
                let id = format!("resp_{at}");
                assert_eq!(store.response(ME, &id).await, Ok(None));
                save(store, &[&id]).await;
                store.delete(ME, &id).await.unwrap();
                store.close().await;
            }
        }
    }
}

#[tokio::test]
async fn a_newer_programs_store_is_refused_in_words() {
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 SELECT 99, 'the future', TRUE, checksum, 0 FROM _sqlx_migrations";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    Store::open(at(&path)).await.unwrap().close().await;
    let url = format!("sqlite://{}", path.display());
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    other.execute(newer).await.unwrap();
    other.close().await.unwrap();
    refused(at(&path)).await;

    let Some(url) = postgres::url() else { return };
    let settings = Settings::new(Place::Postgres(SecretString::from(url.as_str())));
    Store::open(settings.clone()).await.unwrap().close().await;
    let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
    other.execute(newer).await.unwrap();
    refused(settings).await;
}

async fn refused(settings: Settings) {
    let Err(error) = Store::open(settings).await else {
        panic!("a store of the future opened");
    };
    assert!(matches!(error, StoreError::Migration { .. }), "{error:?}");
    assert!(error.to_string().contains("version 99"), "{error}");
}

/// Another process that keeps the file to itself for a while is waited for, up to the time limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_file_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut settings = at(&path);
    settings.timeout = Duration::from_millis(700);
    settings.queue_length = 2;
    let store = Store::open(settings).await.unwrap();
    save(&store, &["a"]).await;
    let url = format!("sqlite://{}", path.display());
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();

    let began = Instant::now();
    let mut saving = JoinSet::new();
    for at in 0..2 {
        let store = store.clone();
        saving.spawn(async move {
            store
                .save(response(&format!("w{at}"), None), Vec::new())
                .await
        });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The queue has an end, and readers are not concerned.
    let refused = store.save(response("full", None), Vec::new()).await;
    assert_eq!(refused, Err(StoreError::Full));
    assert_eq!(history(&store, "a").await.unwrap(), ["a"]);
    assert_eq!(
        saving.join_all().await,
        [Err(StoreError::Timeout), Err(StoreError::Timeout)]
    );
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );

    other.execute("ROLLBACK").await.unwrap();
    until("it writes again", || async {
        let id = format!("later{}", began.elapsed().as_nanos());
        store.save(response(&id, None), Vec::new()).await.is_ok()
    })
    .await;
    store.close().await;
}

#[tokio::test]
async fn a_swept_file_gets_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut settings = at(&path);
    settings.max_bytes = Some(1_000_000);
    settings.sweep_interval = Some(Duration::from_millis(50));
    let store = Store::open(settings.clone()).await.unwrap();
    for at in 0..100 {
        let record = antiphon::store::Record {
            body: Bytes::from(vec![b'x'; 300_000]),
            ..response(&format!("r{at}"), None)
        };
        store.save(record, Vec::new()).await.unwrap();
    }
    until("it sweeps of its own accord", || async {
        store.response(ME, "r96").await.unwrap().is_none()
    })
    .await;
    store.close().await;
    let store = Store::open(settings).await.unwrap();
    store.sweep().await.unwrap();
    assert!(store.response(ME, "r99").await.unwrap().is_some());
    store.close().await;
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 8_000_000, "{size}");
}
