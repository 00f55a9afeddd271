//! curl and Python in front of each kind of listener: they read HTTP and TLS by code that we have not written.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{hello, with};
use crate::grammar;
use crate::support::events;
use crate::support::proxy::Proxy;
use crate::support::real::needs;
use crate::support::tls::Authority;
use crate::support::upstream::Upstream;

struct World {
    proxy: Proxy,
    _upstream: Upstream,
}

/// A proxy with a certificate; with `mutual` clients need one, too. A unix socket is beside.
fn world(tls: bool, mutual: bool) -> World {
    let upstream = Upstream::saying("Hello");
    let authority = Authority::new();
    let server = authority.issue(&["localhost", "127.0.0.1"]);
    let client = authority.issue(&["me"]);
    let mut toml = String::new();
    if tls {
        toml += "[server.tls]\ncert_file = \"tls.crt\"\nkey_file = \"tls.key\"\n";
    }
    if mutual {
        toml += "client_ca_file = \"ca.pem\"\n";
    }
    let proxy = Proxy::builder()
        .config(&format!(
            "{toml}[upstreams.mock]\nbase_url = \"{}\"\n",
            upstream.base_url()
        ))
        .file("tls.crt", &server.cert)
        .file("tls.key", &server.key)
        .file("ca.pem", &authority.pem)
        .file("me.crt", &client.cert)
        .file("me.key", &client.key)
        .listen("127.0.0.1:0,unix:a.sock")
        .start();
    World {
        proxy,
        _upstream: upstream,
    }
}

/// Runs curl in the proxy's folder; returns the version of HTTP that was spoken, and the body.
fn curl(home: &Path, url: &str, args: &[&str]) -> Option<(String, Vec<u8>)> {
    let request = with(hello(), json!({"stream": true})).to_string();
    let output = Command::new("curl")
        .args(["-sS", "--no-buffer", "-w", "%{stderr}%{http_version}"])
        .args(["-H", "content-type: application/json", "-d", &request])
        .args(args)
        .arg(url)
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .expect("curl starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some((said, output.stdout))
}

fn is_whole(body: &[u8]) {
    let events = events::parse(body);
    grammar::check(&events);
    assert_eq!(
        super::last(&events)["output"][0]["content"][0]["text"],
        "Hello"
    );
}

#[test]
fn curl_reads_streams_from_each_listener() {
    let Some(()) = needs("curl", &["--http2", "--version"], "curl") else {
        return;
    };
    let plain = world(false, false);
    let home = plain.proxy.file("");
    let url = plain.proxy.url("/v1/responses");
    for (args, version) in [
        (&["--http1.1"][..], "1.1"),
        (&["--http1.0"], "1"),
        (&["--http2-prior-knowledge"], "2"),
        // An upgrade that is not answered.
        (&["--http2"], "1.1"),
        (&["--unix-socket", "a.sock"], "1.1"),
        (&["--unix-socket", "a.sock", "--http2-prior-knowledge"], "2"),
    ] {
        let (spoken, body) = curl(&home, &url, args).unwrap_or_else(|| panic!("{args:?} failed"));
        assert_eq!(spoken, version, "{args:?}");
        is_whole(&body);
    }
    let secure = world(true, false);
    let home = secure.proxy.file("");
    let url = secure
        .proxy
        .url("/v1/responses")
        .replace("http://", "https://");
    for (args, version) in [
        (&["--cacert", "ca.pem", "--http1.1"][..], "1.1"),
        (&["--cacert", "ca.pem", "--http2"], "2"),
        (&["--cacert", "ca.pem", "--tlsv1.3"], "2"),
        (&["--cacert", "ca.pem", "--tls-max", "1.2"], "2"),
    ] {
        let (spoken, body) = curl(&home, &url, args).unwrap_or_else(|| panic!("{args:?} failed"));
        assert_eq!(spoken, version, "{args:?}");
        is_whole(&body);
    }
    for refused in [
        &["--cacert", "tls.key"][..],
        &["--cacert", "ca.pem", "--tls-max", "1.1"],
    ] {
        assert!(curl(&home, &url, refused).is_none(), "{refused:?}");
    }
    let mutual = world(true, true);
    let home = mutual.proxy.file("");
    let url = mutual
        .proxy
        .url("/v1/responses")
        .replace("http://", "https://");
    assert!(curl(&home, &url, &["--cacert", "ca.pem"]).is_none());
    let own = ["--cacert", "ca.pem", "--cert", "me.crt", "--key", "me.key"];
    let (_, body) = curl(&home, &url, &own).expect("it is let in");
    is_whole(&body);
}

#[test]
fn python_reads_a_stream_over_tls() {
    let Some(()) = needs("python3", &["-c", "import ssl"], "Python's ssl") else {
        return;
    };
    const SCRIPT: &str = r#"
import http.client, json, socket, ssl, sys
port, request = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cafile="ca.pem")
context.load_cert_chain("me.crt", "me.key")
client = http.client.HTTPSConnection("localhost", port, context=context)
for _ in range(3):
    client.request("POST", "/v1/responses", request, {"content-type": "application/json"})
    answer = client.getresponse()
    assert answer.status == 200, answer.status
    body = answer.read()
sys.stdout.buffer.write(body)
"#;
    let world = world(true, true);
    let port = world.proxy.address().rsplit(':').next().expect("a port");
    let request = with(hello(), json!({"stream": true})).to_string();
    let output = Command::new("python3")
        .args(["-c", SCRIPT, port, &request])
        .current_dir(world.proxy.file(""))
        .stdin(Stdio::null())
        .output()
        .expect("Python starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    is_whole(&output.stdout);
}
