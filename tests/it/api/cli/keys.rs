//! `antiphon key`, and what the other commands say of keys.

use std::io::Write;
use std::process::{Output, Stdio};

use super::{antiphon, err, folder, out, run};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream};

const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// The secret that was shown.
fn secret(output: &Output) -> String {
    let words = err(output).split_whitespace();
    let mut secrets = words.filter(|word| word.starts_with("sk-antiphon-"));
    secrets.next().expect("a secret").to_owned()
}

#[test]
fn a_new_key_opens_a_proxy_that_has_its_lines() {
    let home = folder();
    let output = run(home.path(), &["key", "new", "--name", "laptop"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let secret = secret(&output);
    assert!(
        !out(&output).contains(&secret),
        "only its hash is for the file"
    );
    let upstream =
        Upstream::saying("Hi").models(Reply::json(200, &serde_json::json!({"data": []})));
    let config = format!(
        "[upstreams.a]\nbase_url = \"{}\"\n{}",
        upstream.base_url(),
        out(&output)
    );
    let proxy = Proxy::builder().config(&config).start();
    let status =
        |key: &str| http::request("GET", &proxy.url("/v1/models"), &[("api-key", key)], b"").status;
    assert_eq!((status(&secret), status("sk-antiphon-other")), (200, 401));
    assert!(
        proxy.log().contains("clients need a key"),
        "{}",
        proxy.log()
    );

    let other = run(home.path(), &["key", "new"]);
    assert!(out(&other).contains("name = \"client\""), "{}", out(&other));
    assert_ne!(self::secret(&other), secret);
    let bad = run(home.path(), &["key", "new", "--name", "a\"b"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(err(&bad).contains("is not a name"), "{}", err(&bad));
}

#[test]
fn a_key_of_ones_own_is_hashed() {
    let home = folder();
    let hash = |secret: &str| {
        let mut child = antiphon(home.path(), &["key", "hash"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("its standard input");
        stdin.write_all(secret.as_bytes()).expect("it reads");
        drop(stdin);
        child.wait_with_output().expect("it ends")
    };
    let output = hash("sixteen-letters-\n");
    assert_eq!(
        out(&output),
        "sha256:b91f786cc5c8c59cfb62e65b7ddc67ed36ba0624282a5ed6801af93f695df6e3\n"
    );
    for wrong in ["short\n", "", "two words that are long\n"] {
        let output = hash(wrong);
        assert_eq!(
            (output.status.code(), out(&output)),
            (Some(2), ""),
            "{wrong}"
        );
        assert!(err(&output).contains("a key "), "{}", err(&output));
        assert!(!err(&output).contains("two words"), "{}", err(&output));
    }
}

#[test]
fn codex_is_told_where_its_key_is() {
    let home = folder();
    let config = format!(
        "[upstreams.a]\nbase_url = \"http://127.0.0.1:1/v1\"\n[[keys]]\nname = \"a\"\nhash = \"{HASH}\"\n"
    );
    std::fs::write(home.path().join("proxy.toml"), config).expect("it is written");
    let output = run(home.path(), &["codex"]);
    let snippet: toml::Table = out(&output).parse().expect("TOML");
    let provider = &snippet["model_providers"]["antiphon"];
    assert_eq!(provider["env_key"].as_str(), Some("ANTIPHON_KEY"));
    assert!(provider.get("experimental_bearer_token").is_none());
    assert!(
        err(&output).contains("export ANTIPHON_KEY="),
        "{}",
        err(&output)
    );

    // A file that was written for a proxy without keys is brought up to date.
    let none = antiphon(home.path(), &["codex", "--write"])
        .env("ANTIPHON__AUTH__MODE", "none")
        .output()
        .expect("the program starts");
    assert_eq!(none.status.code(), Some(0), "{}", err(&none));
    let file = home.path().join(".codex/config.toml");
    let written = || std::fs::read_to_string(&file).expect("Codex's file");
    assert!(
        written().contains("experimental_bearer_token"),
        "{}",
        written()
    );
    let output = run(home.path(), &["codex", "--write"]);
    assert!(
        err(&output).contains("export ANTIPHON_KEY="),
        "{}",
        err(&output)
    );
    assert!(
        written().contains("env_key = \"ANTIPHON_KEY\""),
        "{}",
        written()
    );
    assert!(
        !written().contains("experimental_bearer_token"),
        "{}",
        written()
    );

    let check = run(home.path(), &["check"]);
    assert!(
        out(&check).contains("Clients need:  a key; there is one"),
        "{}",
        out(&check)
    );
}

#[test]
fn the_demo_needs_no_key() {
    let home = folder();
    let output = antiphon(home.path(), &["demo", "--once", "--listen", "127.0.0.1:0"])
        .env("ANTIPHON_KEY", "sk-of-the-environment")
        .output()
        .expect("the program starts");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        out(&output),
        err(&output)
    );
}
