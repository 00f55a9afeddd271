//! The section `[store]`.

use super::*;

/// All that it says, but whether the place was chosen.
pub(super) fn facts(store: &Store) -> String {
    let store = Store {
        chosen: true,
        ..store.clone()
    };
    format!("{} {store:?}", url(&store))
}

/// The place in one text, its password included.
fn url(store: &Store) -> String {
    match &store.place {
        StorePlace::None => "none".to_owned(),
        StorePlace::Memory => "memory".to_owned(),
        StorePlace::Sqlite(path) => format!("file {}", path.display()),
        StorePlace::Postgres(url) => url.expose_secret().to_owned(),
    }
}

fn with(section: &str) -> World {
    World::with(&format!("{ONE}[store]\n{section}\n")).env("HOME", "/home/me")
}

#[test]
fn the_usual_place_is_the_users_own() {
    let store = World::new().env("HOME", "/home/me").config().store;
    assert_eq!(url(&store), "file /home/me/.local/state/antiphon/store.db");
    assert!(!store.chosen);
    let world = World::new()
        .env("XDG_STATE_HOME", "/state")
        .env("HOME", "/home/me");
    assert_eq!(url(&world.config().store), "file /state/antiphon/store.db");
    let homeless = World::new().config().store;
    assert_eq!(
        (url(&homeless).as_str(), homeless.chosen),
        ("memory", false)
    );
    assert_eq!(homeless.max_bytes, Some(256 << 20));
}

#[test]
fn a_place_can_be_written_in_many_ways() {
    for (written, expected) in [
        ("memory", "memory"),
        ("sqlite::memory:", "memory"),
        ("none", "none"),
        ("/var/store.db", "file /var/store.db"),
        ("~/store.db", "file /home/me/store.db"),
        ("sqlite:/var/store.db", "file /var/store.db"),
        ("sqlite:///var/store.db", "file /var/store.db"),
        ("sqlite:~/x", "file /home/me/x"),
        ("sqlite:store", "file HERE/store"),
        ("sqlite://store.db", "file HERE/store.db"),
        ("store.db", "file HERE/store.db"),
        ("./store", "file HERE/./store"),
        (
            "postgres://me:pw@db:5432/x?sslmode=require",
            "postgres://me:pw@db:5432/x?sslmode=require",
        ),
        (
            "postgresql:///x?host=/run/postgresql",
            "postgresql:///x?host=/run/postgresql",
        ),
    ] {
        let world = with(&format!("url = \"{written}\""));
        let here = world.folder.path().display().to_string();
        let store = world.config().store;
        assert_eq!(url(&store).replace(&here, "HERE"), expected, "{written}");
        assert!(store.chosen);
    }
}

#[test]
fn the_variable_goes_before_the_file() {
    let both = "url_env = \"DB\"\nurl = \"memory\"";
    let store = with(both)
        .env("DB", "postgres://me:hunter2@db/x")
        .config()
        .store;
    assert_eq!(url(&store), "postgres://me:hunter2@db/x");
    assert!(!format!("{store:?}").contains("hunter2"));
    assert_eq!(url(&with(both).env("DB", "").config().store), "memory");
    assert_eq!(url(&with(both).config().store), "memory");
    let world = with("url = \"memory\"").env("ANTIPHON__STORE__URL", "none");
    assert_eq!(url(&world.config().store), "none");
    assert_eq!(
        with("url_env = \"DB\"").error(),
        "proxy.toml:4:11: `store.url_env`: the variable DB is not set, and there is no `url` either\n  \
         |\n4 | url_env = \"DB\"\n  |           ^^^^"
    );
}

#[test]
fn limits_can_be_set_and_taken_away() {
    let store = with("max_connections = 3\ntimeout_ms = 20\nretention_days = 2\nmax_size_mb = 7\nlease_ms = 40\nbackground_concurrency = 5").config().store;
    assert_eq!(store.max_connections, 3);
    assert_eq!(store.timeout, Duration::from_millis(20));
    assert_eq!(store.retention, Some(Duration::from_secs(172_800)));
    assert_eq!(store.max_bytes, Some(7 << 20));
    assert_eq!(store.lease, Duration::from_millis(40));
    assert_eq!(store.background_concurrency, 5);
    let store = with("retention_days = 0\nmax_size_mb = 0\nurl = \"memory\"")
        .config()
        .store;
    assert_eq!((store.retention, store.max_bytes), (None, None));
    for key in [
        "max_connections",
        "timeout_ms",
        "lease_ms",
        "background_concurrency",
    ] {
        let error = with(&format!("{key} = 0")).error();
        assert!(
            error.contains(&format!("`store.{key}`: must be more than 0")),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_place_is_told_without_its_password() {
    for (written, expected) in [
        ("memroy", "`memroy` is no place for a store"),
        ("memroy", "`memory`"),
        (
            "mysql://me:hunter2@db/x",
            "`…@db/x` is no place for a store",
        ),
        ("mysql://me:hunter2@db/x", "postgres://USER@HOST/DATABASE"),
        ("sqlite:", "names no file"),
        ("sqlite:x.db?mode=ro", "names no file"),
        ("", "is no place for a store"),
        (
            "postgres://me:hunter2@db:port/x",
            "`…@db:port/x` is not a Postgres address",
        ),
    ] {
        let error = with(&format!("url = \"{written}\"")).error();
        assert!(
            error.starts_with("proxy.toml:4:7: `store.url`: "),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let error = with("url_env = \"DB\"").env("DB", &format!("{written}:hunter2://"));
        let error = error
            .load()
            .map(|_| String::new())
            .unwrap_or_else(|error| error.to_string());
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = with("urll = \"memory\"").error();
    assert!(
        error.contains("unknown key `urll` in [store]") && error.contains("`url`"),
        "{error}"
    );
    // The line is shown for another mistake in it, too.
    let error = with("url = \"postgres://me:hunter2@db/x\" x").error();
    assert!(!error.contains("hunter2"), "{error}");
}
