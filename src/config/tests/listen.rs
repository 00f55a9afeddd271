//! Where is listened, and with what certificate.

use super::*;

fn places(world: &World) -> Vec<String> {
    world.config().server.places()
}

#[test]
fn there_may_be_several_places() {
    let world = World::with(&format!(
        "[server]\nlisten = [\"127.0.0.1:1\", \"[::1]:2\", \"unix:/run/a.sock\", \"unix:b.sock\", \"unix:~/c\"]\n{ONE}"
    ))
    .env("HOME", "/home/me");
    let here = world.folder.path().join("b.sock");
    assert_eq!(
        places(&world),
        [
            "http://127.0.0.1:1",
            "http://[::1]:2",
            "unix:/run/a.sock",
            &format!("unix:{}", here.display()),
            "unix:/home/me/c"
        ]
    );
    let mut world = World::with(ONE);
    assert_eq!(places(&world), ["http://127.0.0.1:8787"]);
    world.flags.listen = Some("127.0.0.1:0, 127.0.0.1:0,unix:///run/a.sock".to_owned());
    let three = [
        "http://127.0.0.1:0",
        "http://127.0.0.1:0",
        "unix:/run/a.sock",
    ];
    assert_eq!(places(&world), three);
    world.flags.listen = None;
    let world = world.env("ANTIPHON__SERVER__LISTEN", "[\"unix:/a\"]");
    assert_eq!(places(&world), ["unix:/a"]);
}

#[test]
fn a_place_that_cannot_be_is_named() {
    for (listen, said) in [
        ("[]", "there is nothing to listen on\n"),
        ("\"unix:\"", "`unix:` has no path"),
        (
            "[\"127.0.0.1:1\", \"127.0.0.1\"]",
            "`127.0.0.1` is not an address",
        ),
        (
            "\"/run/a.sock\"",
            "help: a unix socket is written as unix:/run/a.sock",
        ),
        ("[\"unix:/a\", \"unix:/a\"]", "`unix:/a` is there twice"),
        ("[1]", "expected a string, found integer `1`"),
        (
            "[\"127.0.0.1:1\", \"0.0.0.0:2\"]",
            "other machines can reach 0.0.0.0:2",
        ),
    ] {
        let world = World::with(&format!("{ONE}[server]\nlisten = {listen}\n"));
        let error = world.error();
        assert!(error.starts_with("proxy.toml:4:1"), "{error}");
        assert!(error.contains(said), "{listen}: {error}");
    }
    for mode in ["rw-rw----", "0888", "10777"] {
        let world = World::with(&format!("{ONE}[server]\nunix_mode = \"{mode}\"\n"));
        let error = world.error();
        assert!(
            error.contains(&format!("`{mode}` is not a mode")),
            "{error}"
        );
    }
}

#[test]
fn a_unix_socket_is_not_public_and_may_have_a_mode() {
    let world = World::with(&format!(
        "[server]\nlisten = \"unix:/run/a.sock\"\nunix_mode = \"0666\"\n{ONE}"
    ));
    let server = world.config().server;
    assert_eq!(server.unix_mode, 0o666);
    assert_eq!(server.addresses(), []);
}

#[test]
fn programs_on_this_machine_reach_it_by_an_address_that_can_be_called() {
    let world = World::with(&format!(
        "[server]\nallow_public = true\nlisten = [\"192.0.2.1:1\", \"[::]:2\", \"0.0.0.0:3\"]\n{ONE}"
    ));
    let addresses: Vec<String> = world
        .config()
        .server
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["[::1]:2", "127.0.0.1:3", "192.0.2.1:1"]);
}

#[test]
fn a_certificate_is_read_with_its_key() {
    let toml = format!(
        "{ONE}[server.tls]\ncert_file = \"a.crt\"\nkey_file = \"a.key\"\nclient_ca_file = \"ca.pem\"\n"
    );
    let world = World::with(&toml)
        .file("a.crt", "the certificate")
        .file("a.key", "the key")
        .file("ca.pem", "the issuers");
    let config = world.config();
    assert_eq!(config.server.places(), ["https://127.0.0.1:8787"]);
    assert!(!format!("{config:?}").contains("the key"));
    let tls = config.server.tls.expect("it is there");
    assert_eq!(tls.cert_pem, "the certificate");
    assert_eq!(tls.key_pem.expose_secret(), "the key");
    assert_eq!(tls.client_ca_pem.as_deref(), Some("the issuers"));
    assert_eq!(tls.key_file, world.folder.path().join("a.key"));
    let other = World::with(&toml)
        .file("a.crt", "the certificate")
        .file("a.key", "another key")
        .file("ca.pem", "the issuers");
    let other = other.config().server.tls.expect("it is there");
    assert_ne!(
        Tls {
            cert_file: tls.cert_file.clone(),
            key_file: tls.key_file.clone(),
            client_ca_file: tls.client_ca_file.clone(),
            ..other
        },
        tls,
        "a key that differs is a change"
    );
}

#[test]
fn half_a_certificate_is_none() {
    for (tls, said) in [
        ("key_file = \"a\"", "`server.tls`: it has no `cert_file`"),
        ("cert_file = \"a\"", "`server.tls`: it has no `key_file`"),
        ("", "`server.tls`: it has no `cert_file`"),
        (
            "cert_file = \"a\"\nkey_file = \"none\"",
            "`server.tls.key_file`: ",
        ),
        (
            "cert_file = \"a\"\nkey_file = \"a\"\nca_file = \"a\"",
            "unknown key `ca_file` in [server.tls]",
        ),
    ] {
        let world = World::with(&format!("{ONE}[server.tls]\n{tls}\n")).file("a", "PEM");
        let error = world.error();
        assert!(error.contains(said), "{tls}: {error}");
    }
}
