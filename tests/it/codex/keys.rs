//! Codex with a key of its own: let in, kept to its models, told to wait.

use serde_json::json;

use super::{ended_with, say};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::real::Codex;
use crate::support::upstream::Upstream;

/// The hash of a key that Codex does not have.
const OTHER: &str = "sha256:ae448ac86c4e8e4dec645729708ef41873ae79c6dff84eff73360989487f08e5";

fn serving(upstream: &Upstream, hash: &str, limits: &str) -> Proxy {
    let key = format!("[[keys]]\nname = \"codex\"\nhash = \"{hash}\"\n{limits}\n");
    let base_url = upstream.base_url();
    Proxy::builder()
        .config(&format!(
            "[upstreams.mock]\nbase_url = \"{base_url}\"\n{key}"
        ))
        .start()
}

/// What Codex shows in these tests is the word `unused`.
fn hash() -> String {
    antiphon::key::KeyHash::of(b"unused").to_string()
}

#[test]
fn codex_is_let_in_by_its_key() {
    let upstream = Upstream::by(|_| say("Let in."));
    let proxy = serving(&upstream, &hash(), "models = [\"tiny\"]\nmax_streams = 4");
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let catalog = format!("model_catalog_url = \"{}/models\"", proxy.base_url());
    let codex = codex.provider(&catalog);
    ended_with(&codex.run("Hello?"), "Let in.", &proxy);

    let run = codex.model("large").run("Hello?");
    let told = format!("{:?}", run.failed());
    assert!(
        told.contains("The model `large` does not exist or you do not have access to it."),
        "{told}\n{}",
        proxy.log()
    );
    assert_eq!(upstream.asked().len(), 1);
}

#[test]
fn codex_without_the_right_key_says_so() {
    let upstream = Upstream::by(|_| say("Let in."));
    let proxy = serving(&upstream, OTHER, "");
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let run = codex.run("Hello?");
    let told = format!("{:?}", run.failed());
    assert!(
        told.contains("401 Unauthorized") && told.contains("Incorrect API key provided."),
        "{told}\n{}",
        proxy.log()
    );
    assert_eq!(upstream.asked().len(), 0);
}

#[test]
fn codex_waits_when_its_key_has_had_enough() {
    let upstream = Upstream::by(|_| say("Waited."));
    let proxy = serving(&upstream, &hash(), "requests_per_minute = 20");
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let body = json!({"model": "tiny", "input": "x", "store": false, "stream": true}).to_string();
    let headers = [("content-type", "application/json"), ("api-key", "unused")];
    let url = proxy.url("/v1/responses");
    while http::request("POST", &url, &headers, body.as_bytes()).status == 200 {}
    let asked = upstream.asked().len();
    let run = codex.run("Hello?");
    // It says that it tries again, which is an event of the kind that failures have.
    let well = run.code == Some(0) && run.last_message() == "Waited.";
    assert!(well, "{:#?}\n{}\n{}", run.events, run.stderr, proxy.log());
    assert_eq!(upstream.asked().len(), asked + 1);
}
