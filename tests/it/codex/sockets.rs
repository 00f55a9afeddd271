//! Codex over a WebSocket.

use serde_json::json;

use super::{do_call, ended_with, made, results, say};
use crate::support::proxy::Proxy;
use crate::support::real::Codex;
use crate::support::upstream::Upstream;

#[test]
fn codex_runs_a_command_over_a_websocket() {
    let upstream = Upstream::by(|request| {
        if results(request).is_empty() {
            do_call(
                request,
                "exec_command",
                &json!({"cmd": "printf hello > made.txt"}),
            )
        } else {
            say("Made.")
        }
    });
    let toml =
        super::super::api::config(&upstream.base_url(), "", "") + "[log]\nlevel = \"debug\"\n";
    let proxy = Proxy::builder().config(&toml).start();
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let run = codex
        .provider("supports_websockets = true")
        .run("Make a file.");

    ended_with(&run, "Made.", &proxy);
    assert_eq!(made(&run, "made.txt").as_deref(), Some("hello"));
    assert!(
        !run.stderr.contains("Falling back"),
        "{}\n{}",
        run.stderr,
        proxy.log()
    );
    assert!(
        proxy.log().contains("a WebSocket is open"),
        "it went over HTTP:\n{}",
        proxy.log()
    );
}
