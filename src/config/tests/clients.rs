//! Who may ask: keys of all sources, limits, web pages.

use super::*;
use crate::key::KeyHash;

/// The hash of `abc`, and of `abd`.
const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const ABD: &str = "sha256:a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9";

fn key(name: &str, hash: &str) -> String {
    format!("[[keys]]\nname = \"{name}\"\nhash = \"{hash}\"\n")
}

fn names(config: &Config) -> Vec<&str> {
    let keys = config.clients.keys.iter();
    keys.map(|key| key.name.as_str()).collect()
}

#[test]
fn without_a_key_none_is_needed() {
    let config = World::with(ONE).config();
    assert!(!config.clients.need_key && config.clients.keys.is_empty());
    assert_eq!(config.cors, None);
    assert_eq!(config.limits.rates.max_streams, Some(10_000));
    assert_eq!(config.limits.rates.tokens_per_minute, None);
    assert_eq!(config.limits.max_lag, None);
}

#[test]
fn keys_come_from_the_file_from_their_own_and_from_the_environment() {
    let config = World::with(&format!(
        "{ONE}[auth]\nkeys_file = \"more.toml\"\n{}tenant = \"us\"\nmodels = [\"gpt-*\"]\nmax_streams = 2\n\
         requests_per_minute = 3\ntokens_per_minute = 4\nmax_stream_seconds = 5\nmax_body_bytes = 6\n",
        key("a", ABC)
    ))
    .file("more.toml", &key("b", ABD))
    .env("ANTIPHON_KEY", " sk-of-the-environment\n")
    .config();
    assert_eq!(names(&config), ["a", "b", "default"]);
    let [a, b, default] = config.clients.keys.as_slice() else {
        panic!("three keys")
    };
    assert!(config.clients.need_key);
    assert_eq!((a.tenant.as_str(), b.tenant.as_str()), ("us", "b"));
    assert_eq!((a.models[0].as_str(), b.models[0].as_str()), ("gpt-*", "*"));
    let rates = Rates {
        max_streams: Some(2),
        requests_per_minute: Some(3),
        tokens_per_minute: Some(4),
        max_stream: Some(Duration::from_secs(5)),
    };
    assert_eq!((a.rates, a.max_body_bytes), (rates, Some(6)));
    assert_eq!((b.rates, b.max_body_bytes), (Rates::default(), None));
    assert!(a.hash.is(&KeyHash::of(b"abc")) && b.hash.is(&KeyHash::of(b"abd")));
    assert!(default.hash.is(&KeyHash::of(b"sk-of-the-environment")));
    assert!(!format!("{config:?}").contains("sk-of"));
}

#[test]
fn keys_can_stand_in_a_variable() {
    let keys = format!("[{{ name = \"ci\", hash = \"{ABC}\", max_streams = 1 }}]");
    let world = World::with(ONE).env("ANTIPHON__KEYS", &keys);
    assert_eq!(names(&world.config()), ["ci"]);
    let world = World::with(ONE).env("ANTIPHON__KEYS", "[{ name = \"ci\", hash = \"abc\" }]");
    assert!(
        world
            .error()
            .starts_with("ANTIPHON__KEYS: `keys.0.hash`: this is not `sha256:`"),
        "{}",
        world.error()
    );
}

#[test]
fn a_key_is_as_good_as_a_wall_and_may_be_switched_off() {
    let public = |text: &str| {
        World::with(&format!("{ONE}{text}")).env("ANTIPHON__SERVER__LISTEN", "0.0.0.0:1")
    };
    public(&key("a", ABC)).config();
    public("").env("ANTIPHON_KEY", "sixteen-letters-").config();
    assert!(public("").env("ANTIPHON_KEY", "").load().is_err());
    let off = format!("[auth]\nmode = \"none\"\n{}", key("a", ABC));
    assert!(
        public(&off)
            .error()
            .contains("other machines can reach 0.0.0.0:1")
    );
    let config = World::with(&format!("{ONE}{off}")).config();
    assert!(!config.clients.need_key);
    public(&off)
        .env("ANTIPHON__SERVER__ALLOW_PUBLIC", "true")
        .config();
}

#[test]
fn a_key_that_is_asked_for_must_be_there() {
    let world = World::with(&format!("{ONE}[auth]\nmode = \"keys\"\n"));
    assert_eq!(
        world.error(),
        "proxy.toml:4:8: `auth.mode`: a key is asked for, and there is none\n  |\n4 | mode = \"keys\"\n  |        ^^^^^^\n\
         help: `antiphon key new` makes one, and prints the lines for it"
    );
}

#[test]
fn a_file_of_keys_asks_for_one_also_when_it_is_empty() {
    for (mode, is_wrong) in [("", true), ("mode = \"none\"\n", false)] {
        let world = World::with(&format!("{ONE}[auth]\nkeys_file = \"keys.toml\"\n{mode}"));
        let loaded = world.file("keys.toml", "# none yet\n").load();
        assert_eq!(loaded.is_err(), is_wrong, "{mode}");
    }
}

#[test]
fn mistakes_in_keys_are_shown_without_a_secret() {
    let world = World::with(&format!(
        "{ONE}[[keys]]\nname = \"a b\"\nhash = \"sk-1234\"\nmodels = []\n[[keys]]\nsecret = \"sk-1234\"\nmax_streams = 0\n"
    ));
    assert_eq!(
        world.error(),
        "proxy.toml:8:1: unknown key `secret` in [[keys]]\n  |\n8 | secret = \"*******\"\n  | ^^^^^^\n\
         help: put its hash into `hash`: `antiphon key hash` says what it is\n\n\
         proxy.toml:4:8: `keys.0.name`: `a b` is not a name\n  |\n4 | name = \"a b\"\n  |        ^^^^^\n\
         help: use up to 64 letters, digits, `-`, `_`, `.` and `@`\n\n\
         proxy.toml:5:8: `keys.0.hash`: this is not `sha256:` and 64 hex digits\n  |\n5 | hash = \"*******\"\n  |        ^^^^^^^^^\n\
         help: `antiphon key new` makes a key with its hash; `antiphon key hash` hashes one that you have\n\n\
         proxy.toml:7:1: `keys.1`: the key has no `name`\n  |\n7 | [[keys]]\n  | ^^^^^^^^\n\
         help: add one, like name = \"laptop\""
    );
    let world = World::with(ONE).env("ANTIPHON_KEY", "too-short");
    assert_eq!(
        world.error(),
        "ANTIPHON_KEY: a key must have 16 characters or more, which nobody guesses\n\
         help: `antiphon key new` makes one"
    );
    let twice = format!("{ONE}{}{}{}", key("a", ABC), key("a", ABD), key("b", ABC));
    let error = World::with(&twice).error();
    assert!(
        error.contains("there are two keys of the name `a`"),
        "{error}"
    );
    assert!(
        error.contains("the keys `a` and `b` are the same"),
        "{error}"
    );
}

#[test]
fn mistakes_in_the_keys_own_file_are_shown_where_they_are() {
    let auth = format!("{ONE}[auth]\nkeys_file = \"keys.toml\"\n");
    let error = |text: &str| World::with(&auth).file("keys.toml", text).error();
    assert!(error("[[keys]\n").starts_with("keys.toml:1:"));
    assert!(
        error("[[keys]]\nname = \"a\"\nhsah = \"x\"\n")
            .starts_with("keys.toml:3:1: unknown key `hsah` in [[keys]]"),
    );
    assert!(error("keys = 1\n").starts_with("keys.toml:1:8: `keys`: expected an array"));
    assert!(error("[server]\n").starts_with("keys.toml:1:2: unknown key `server`"));
    let missing = World::with(&auth).error();
    assert!(
        missing.starts_with("proxy.toml:4:13: `auth.keys_file`: keys.toml can't be read"),
        "{missing}"
    );
}

#[test]
fn limits_must_fit_together() {
    let world = World::with(&format!(
        "{ONE}[limits]\nmax_streams = 0\nmax_bodies_bytes = 1000\n"
    ));
    let error = world.error();
    assert!(
        error.contains("`limits.max_streams`: must be more than 0"),
        "{error}"
    );
    assert!(
        error.contains(
            "`limits.max_bodies_bytes`: the longest request alone may have 67108864 bytes"
        ),
        "{error}"
    );
    let config = World::with(&format!(
        "{ONE}[server]\nmax_body_bytes = 1000\n[limits]\nmax_queue = 0\nqueue_timeout_ms = 0\n\
         max_bodies_bytes = 1000\nmax_lag_ms = 7\n"
    ))
    .config();
    assert_eq!(config.limits.max_lag, Some(Duration::from_millis(7)));
    assert_eq!(config.limits.max_queue, 0);
    let large = "[server]\nmax_body_bytes = 1000000000\n";
    let config = World::with(&format!("{ONE}{large}")).config();
    assert_eq!(
        config.limits.max_bodies_bytes, 1_000_000_000,
        "as much as one needs"
    );
}

#[test]
fn origins_are_written_as_browsers_write_them() {
    let cors = |origins: &str| World::with(&format!("{ONE}[cors]\nallow_origins = [{origins}]\n"));
    for right in [
        "\"*\"",
        "\"null\"",
        "\"https://app.example\", \"http://localhost:3000\"",
        "\"tauri://localhost\"",
    ] {
        let config = cors(right).config();
        let cors = config.cors.expect("web pages may ask");
        assert_eq!(cors.max_age, Duration::from_secs(600));
        assert_eq!(cors.allow_headers, ["*"]);
    }
    assert_eq!(
        cors("\"https://App.example/\"").error(),
        "proxy.toml:4:18: `cors.allow_origins.0`: `https://App.example/` is not an origin\n  |\n\
         4 | allow_origins = [\"https://App.example/\"]\n  |                  ^^^^^^^^^^^^^^^^^^^^^^\n\
         help: browsers write it as \"https://app.example\""
    );
    assert!(
        cors("\"app.example\"")
            .error()
            .contains("write it like https://app.example")
    );
    let headers = World::with(&format!("{ONE}[cors]\nallow_headers = [\"a b\"]\n"));
    assert!(
        headers
            .error()
            .contains("`a b` is not the name of a header")
    );
}
