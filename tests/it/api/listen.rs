//! Where is listened: several places, unix sockets among them, and how the program is asked for its health.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{hello, read_stream, streamed, with};
use crate::support::http;
use crate::support::process;
use crate::support::proxy::Proxy;
use crate::support::tls::Authority;
use crate::support::upstream::{Reply, Upstream, text};

const PATIENCE: Duration = Duration::from_secs(20);

fn over_unix(path: &Path, method: &str, target: &str, body: &str) -> http::Reply {
    let stream = UnixStream::connect(path).expect("somebody listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    let headers = [("content-type", "application/json")];
    http::over(stream, method, target, &headers, body.as_bytes())
}

/// The program in the folder of a proxy, with the same configuration.
fn antiphon(proxy: &Proxy, args: &[&str]) -> Output {
    let home = proxy.file("");
    Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(args)
        .current_dir(&home)
        .env_clear()
        .env("HOME", &home)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// Asks for the health; returns the code and the one line.
fn health(proxy: &Proxy, listen: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut args = vec!["health", "--listen", listen];
    args.extend(more);
    let output = antiphon(proxy, &args);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    (output.status.code(), said.trim().to_owned())
}

#[test]
fn all_places_are_served_side_by_side() {
    let upstream = Upstream::saying("Hello");
    let proxy = Proxy::builder()
        .upstream(&upstream.base_url())
        .listen("127.0.0.1:0,127.0.0.1:0,unix:a.sock,unix:b.sock")
        .start();
    proxy.wait_for_log("listening on http://127.0.0.1:", 2);
    proxy.wait_for_log("listening on unix:", 2);
    streamed(&proxy, &hello());
    let request = with(hello(), json!({"stream": true})).to_string();
    for name in ["a.sock", "b.sock"] {
        let path = proxy.file(name);
        assert_eq!(over_unix(&path, "GET", "/healthz", "").text(), "ok\n");
        read_stream(&over_unix(&path, "POST", "/v1/responses", &request));
        let file = fs::metadata(&path).expect("it is there");
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, 0o660);
    }
    proxy.signal("TERM");
    proxy.wait_for_log("\"ended\"", 1);
    assert!(!proxy.file("a.sock").exists() && !proxy.file("b.sock").exists());
}

#[test]
fn a_unix_socket_can_be_the_only_place() {
    let upstream = Upstream::saying("Hello");
    let proxy = Proxy::builder()
        .config(&format!(
            "[server]\nunix_mode = \"0600\"\n[upstreams.mock]\nbase_url = \"{}\"\n",
            upstream.base_url()
        ))
        .listen("unix:only.sock")
        .start();
    let path = proxy.file("only.sock");
    assert!(!proxy.log().contains("http://127.0.0.1:0"));
    assert_eq!(over_unix(&path, "GET", "/readyz", "").status, 200);
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // Codex cannot use it, and is not told that it can.
    let codex = antiphon(&proxy, &["codex", "--listen", "unix:only.sock"]);
    assert_eq!(codex.status.code(), Some(1));
    assert!(codex.stdout.is_empty());
    let said = String::from_utf8_lossy(&codex.stderr).into_owned();
    assert!(said.contains("unix sockets only"), "{said}");
    let args = [
        "codex",
        "--listen",
        "unix:only.sock",
        "--base-url",
        "https://proxy.test/v1",
    ];
    let codex = antiphon(&proxy, &args);
    let said = String::from_utf8_lossy(&codex.stdout).into_owned();
    assert!(
        said.contains("base_url = \"https://proxy.test/v1\""),
        "{said}"
    );
    let check = antiphon(&proxy, &["check", "--listen", "127.0.0.1:1,unix:only.sock"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("http://127.0.0.1:1, unix:"), "{said}");
}

#[test]
fn what_a_killed_process_left_is_replaced_and_what_is_used_is_not() {
    let upstream = Upstream::saying("Hello");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a.sock");
    let listen = format!("unix:{}", path.display());
    let start = || {
        Proxy::builder()
            .upstream(&upstream.base_url())
            .listen(&listen)
            .start()
    };
    // Dropped as `kill -9` does it.
    drop(start());
    assert!(path.exists(), "nobody took it away");
    let proxy = start();
    proxy.wait_for_log("a socket that nobody listens on is replaced", 1);
    let second = antiphon(
        &proxy,
        &[
            "serve",
            "--upstream",
            "http://127.0.0.1:1",
            "--listen",
            &listen,
        ],
    );
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another process listens on it"), "{said}");
    assert_eq!(over_unix(&path, "GET", "/readyz", "").status, 200);
    let file = proxy.file("proxy.txt");
    fs::write(&file, "precious").expect("it is written");
    let third = antiphon(
        &proxy,
        &[
            "serve",
            "--upstream",
            "http://127.0.0.1:1",
            "--listen",
            "unix:proxy.txt",
        ],
    );
    assert_eq!(third.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious");
}

#[test]
fn health_is_asked_over_tcp_and_over_unix_sockets() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).silent()]);
    let proxy = Proxy::builder()
        .upstream(&upstream.base_url())
        .listen("127.0.0.1:0,unix:a.sock")
        .arg("--config")
        .arg("/dev/null")
        .env("ANTIPHON__SERVER__SHUTDOWN_DELAY_MS", "60000")
        .start();
    let port = proxy
        .address()
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    for listen in [
        proxy.address().to_owned(),
        format!("0.0.0.0:{port}"),
        "unix:a.sock".to_owned(),
        format!("{},unix:a.sock", proxy.address()),
    ] {
        for more in [&["--live"][..], &[]] {
            // A public address is none for the configuration; here it is asked about only.
            let (code, said) = match listen.starts_with("0.0.0.0") {
                true => public_health(&proxy, &listen, more),
                false => health(&proxy, &listen, more),
            };
            assert_eq!(code, Some(0), "{listen}: {said}");
            assert!(said.ends_with(": ok"), "{said}");
        }
    }
    proxy.signal("TERM");
    proxy.wait_for_log("asked to end", 1);
    let (code, said) = health(&proxy, proxy.address(), &[]);
    assert_eq!(code, Some(1));
    assert!(said.ends_with(" /readyz: 503 draining"), "{said}");
    assert_eq!(health(&proxy, "unix:a.sock", &["--live"]).0, Some(0));
}

fn public_health(proxy: &Proxy, listen: &str, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(["health", "--listen", listen])
        .args(more)
        .env("HOME", proxy.file(""))
        .env("ANTIPHON__SERVER__ALLOW_PUBLIC", "true")
        .current_dir(proxy.file(""))
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.code(), said)
}

#[test]
fn who_does_not_answer_is_not_well() {
    let upstream = Upstream::saying("Hello");
    let proxy = Proxy::to(&upstream.base_url());
    let nobody = super::dead_port().to_string();
    for listen in [&nobody, "unix:none.sock", "127.0.0.1:0", "nonsense"] {
        let output = antiphon(&proxy, &["health", "--listen", listen]);
        assert_eq!(output.status.code(), Some(1), "{listen}");
    }
    // One that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("its address").to_string();
    let began = Instant::now();
    let (code, said) = health(&proxy, &address, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn health_is_asked_over_tls() {
    let upstream = Upstream::saying("Hello");
    let (authority, clients) = (Authority::new(), Authority::new());
    let identity = authority.issue(&["proxy.test"]);
    let toml = |more: &str| {
        format!(
            "[server.tls]\ncert_file = \"tls.crt\"\nkey_file = \"tls.key\"\n{more}\n[upstreams.mock]\nbase_url = \"{}\"\n",
            upstream.base_url()
        )
    };
    for (issuer, listen, well) in [
        (None, "127.0.0.1:0", true),
        // The server's own certificate is one that it would let in.
        (Some(&authority), "127.0.0.1:0", true),
        (Some(&clients), "127.0.0.1:0", false),
        (Some(&clients), "127.0.0.1:0,unix:a.sock", true),
    ] {
        let more = issuer.map_or("", |_| "client_ca_file = \"ca.pem\"");
        let proxy = Proxy::builder()
            .config(&toml(more))
            .file("tls.crt", &identity.cert)
            .file("tls.key", &identity.key)
            .file("ca.pem", issuer.map_or("", |issuer| &issuer.pem))
            .listen(listen)
            .start();
        let listen = listen.replace("127.0.0.1:0", proxy.address());
        let (code, said) = health(&proxy, &listen, &[]);
        assert_eq!(code, Some(i32::from(!well)), "{listen}: {said}");
        assert_eq!(
            said.contains("give `listen` a unix socket too"),
            !well,
            "{said}"
        );
        if !listen.contains("unix") {
            let codex = antiphon(&proxy, &["codex", "--listen", &listen]);
            let said = String::from_utf8_lossy(&codex.stdout).into_owned();
            assert!(said.contains(&format!("https://{listen}/v1")), "{said}");
        }
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_found_before_it_serves() {
    let upstream = Upstream::saying("Hello");
    let proxy = Proxy::to(&upstream.base_url());
    let authority = Authority::new();
    let (one, other) = (authority.issue(&["a"]), authority.issue(&["b"]));
    fs::write(proxy.file("tls.crt"), one.cert).expect("it is written");
    fs::write(proxy.file("tls.key"), other.key).expect("it is written");
    let toml = format!(
        "[server.tls]\ncert_file = \"tls.crt\"\nkey_file = \"tls.key\"\n[upstreams.mock]\nbase_url = \"{}\"\n",
        upstream.base_url()
    );
    fs::write(proxy.file("proxy.toml"), toml).expect("it is written");
    for (args, code) in [
        (&["check"][..], 2),
        (&["serve", "--listen", "127.0.0.1:0"], 1),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_antiphon"))
            .args(args)
            .current_dir(proxy.file(""))
            .env("HOME", proxy.file(""))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let status = process::wait(&mut child, PATIENCE).expect("it ends");
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}
