//! Clients' keys: who is let in, what they may ask for, and whose what they store is.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use antiphon::key::KeyHash;
use serde_json::{Value, json};

use super::stored::{Client, counting, id};
use super::{JSON, hello, refusal, with};
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::socket::Socket;
use crate::support::upstream::{Reply, Upstream};

/// A key's section, for a secret.
pub(super) fn key(name: &str, secret: &str, more: &str) -> String {
    let hash = KeyHash::of(secret.as_bytes());
    format!("[[keys]]\nname = \"{name}\"\nhash = \"{hash}\"\n{more}\n")
}

/// A configuration with one upstream and keys.
pub(super) fn with_keys(upstream: &Upstream, own: &str, keys: &[String]) -> String {
    let upstream = upstream.base_url();
    format!(
        "[upstreams.mock]\nbase_url = \"{upstream}\"\n{own}\n{}",
        keys.concat()
    )
}

fn serving(upstream: &Upstream, keys: &[String]) -> Proxy {
    Proxy::builder()
        .config(&with_keys(upstream, "", keys))
        .start()
}

fn asked_with(proxy: &Proxy, header: (&str, &str)) -> http::Reply {
    let body = hello().to_string();
    let url = proxy.url("/v1/responses");
    http::request("POST", &url, &[JSON, header], body.as_bytes())
}

#[test]
fn who_has_no_key_is_refused_on_every_path() {
    let upstream = counting();
    let proxy = serving(&upstream, &[key("a", "sk-right", "")]);
    let paths = [
        ("POST", "/v1/responses"),
        ("POST", "/responses"),
        ("POST", "/v1/responses/compact"),
        ("POST", "/v1/responses/input_tokens"),
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items"),
        ("POST", "/v1/conversations"),
        ("GET", "/v1/conversations/conv_1"),
        ("POST", "/v1/conversations/conv_1/items"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/a/b"),
        ("GET", "/models"),
        ("GET", "/api/version"),
        ("GET", "/api/tags"),
        ("POST", "/api/pull"),
    ];
    for (n, (method, path)) in paths.into_iter().enumerate() {
        // So few wrong ones that none is slowed.
        let wrong = ("authorization", "Bearer sk-wrong-0123456789");
        let headers = if n < 6 { vec![JSON, wrong] } else { vec![JSON] };
        let reply = http::request(method, &proxy.url(path), &headers, b"{}");
        let error = refusal(&reply, 401);
        assert_eq!(error["code"], "invalid_api_key", "{method} {path}");
        assert_eq!(error["type"], "invalid_request_error");
        assert!(!reply.text().contains("sk-wrong"), "{}", reply.text());
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert!(reply.header("x-request-id").is_some());
    }
    let url = proxy.url("/v1/responses");
    assert_eq!(Socket::try_open(&url, None).err(), Some(401));
    assert_eq!(Socket::try_open(&url, Some("sk-wrong")).err(), Some(401));
    assert_eq!(upstream.asked().len(), 0);
    for open in ["/healthz", "/readyz", "/"] {
        assert_eq!(http::get(&proxy.url(open)).status, 200, "{open}");
    }
    assert_eq!(http::get(&proxy.url("/v1/nothing")).status, 404);
    assert!(!proxy.log().contains("sk-wrong"), "{}", proxy.log());
}

#[test]
fn a_key_is_shown_in_one_of_three_headers() {
    let upstream = counting();
    let proxy = serving(&upstream, &[key("a", "sk-right", "")]);
    for header in [
        ("authorization", "Bearer sk-right"),
        ("authorization", "bearer  sk-right "),
        ("api-key", "sk-right"),
        ("x-api-key", "sk-right"),
    ] {
        assert_eq!(asked_with(&proxy, header).status, 200, "{header:?}");
    }
    for header in [
        ("authorization", "Bearer"),
        ("authorization", "Basic sk-right"),
        ("authorization", "Bearer sk-righ"),
        ("x-key", "sk-right"),
    ] {
        assert_eq!(asked_with(&proxy, header).status, 401, "{header:?}");
    }
    let mut socket = Socket::open(&proxy.url("/v1/responses"), Some("sk-right"));
    let answer = socket.ask(&with(hello(), json!({"type": "response.create"})));
    assert_eq!(answer.last().expect("events").kind(), "response.completed");
}

#[test]
fn a_key_is_for_the_models_that_it_names() {
    let models = json!({"data": [{"id": "small"}, {"id": "large"}, {"id": "small-2"}]});
    let upstream = counting().models(Reply::json(200, &models));
    let keys = [
        key("all", "sk-all", ""),
        key("some", "sk-some", "models = [\"small*\", \"named\"]"),
    ];
    let more = "[models.named]\nmodel = \"large\"\n[profiles.big]\nmodel = \"large\"\n";
    let proxy = Proxy::builder()
        .config(&with_keys(&upstream, more, &keys))
        .start();
    let all = Client::with_key(&proxy, "sk-all");
    let some = Client::with_key(&proxy, "sk-some");
    let listed = |client: &Client<'_>, list: &str, key: &str| {
        let page = client.get("/models");
        let entries = page[list].as_array().expect("a list").clone();
        let names = entries.iter().map(|entry| entry[key].as_str());
        names
            .map(|name| name.expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        listed(&all, "data", "id"),
        ["named", "small", "large", "small-2"]
    );
    assert_eq!(listed(&some, "data", "id"), ["named", "small", "small-2"]);
    assert_eq!(
        listed(&some, "models", "slug"),
        ["named", "small", "small-2"]
    );
    some.get("/models/small");
    some.refused("GET", "/models/large", &Value::Null, 404);

    for model in ["small", "small-2", "small@big", "named"] {
        some.create(json!({"model": model, "input": "x"}));
    }
    for model in ["large", "unheard-of", "named@big"] {
        for path in [
            "/responses",
            "/responses/compact",
            "/responses/input_tokens",
        ] {
            let request = json!({"model": model, "input": "x"});
            let error = some.refused("POST", path, &request, 404);
            assert_eq!(error["code"], "model_not_found");
            assert_eq!(error["param"], "model");
            let words =
                format!("The model `{model}` does not exist or you do not have access to it.");
            assert_eq!(error["message"], words);
        }
        let background = json!({"model": model, "input": "x", "background": true});
        some.refused("POST", "/responses", &background, 404);
    }
    all.create(json!({"model": "named@big", "input": "x"}));
    // However a profile is picked, it is asked for.
    let headers = [JSON, ("api-key", "sk-some"), ("x-antiphon-profile", "big")];
    let body = json!({"model": "named", "input": "x"}).to_string();
    let url = proxy.url("/v1/responses");
    refusal(&http::request("POST", &url, &headers, body.as_bytes()), 404);

    let mut socket = Socket::open(&url, Some("sk-some"));
    let answer = socket.ask(&json!({"type": "response.create", "model": "large", "input": "x"}));
    assert_eq!(answer[0].data["error"]["code"], "model_not_found");

    let some_key = [JSON, ("api-key", "sk-some")];
    let tags = http::request("GET", &proxy.url("/api/tags"), &some_key, b"").json();
    assert_eq!(tags["models"].as_array().map(Vec::len), Some(3), "{tags}");
    let pull = |model: &str| {
        let body = json!({"model": model}).to_string();
        http::request("POST", &proxy.url("/api/pull"), &some_key, body.as_bytes()).status
    };
    assert_eq!((pull("small"), pull("large")), (200, 404));
}

#[test]
fn what_is_stored_is_the_tenants() {
    let upstream = counting();
    let keys = [
        key("one", "sk-one", "tenant = \"us\""),
        key("two", "sk-two", "tenant = \"us\""),
        key("three", "sk-three", ""),
    ];
    let proxy = serving(&upstream, &keys);
    let [one, two, three] =
        ["sk-one", "sk-two", "sk-three"].map(|secret| Client::with_key(&proxy, secret));
    let made = id(&one.create(json!({"input": "ours"})));
    two.get(&format!("/responses/{made}"));
    two.create(json!({"input": "more", "previous_response_id": made}));
    three.refused("GET", &format!("/responses/{made}"), &Value::Null, 404);
    let background = id(&two.create(json!({"input": "ours", "background": true})));
    assert_eq!(one.wait(&background)["status"], "completed");
    three.refused(
        "GET",
        &format!("/responses/{background}"),
        &Value::Null,
        404,
    );

    // Without keys, nobody is that tenant any more: not even who has that key.
    proxy.rewrite(&with_keys(&upstream, "", &[]));
    proxy.wait_for_log("the configuration was reloaded", 1);
    for client in [
        one,
        Client::without_key(&proxy),
        Client::with_key(&proxy, "tenant:us"),
    ] {
        client.refused("GET", &format!("/responses/{made}"), &Value::Null, 404);
    }
    let nobodys = id(&one.create(json!({"input": "by hash"})));
    proxy.rewrite(&with_keys(&upstream, "", &keys));
    proxy.wait_for_log("the configuration was reloaded", 2);
    one.refused("GET", &format!("/responses/{nobodys}"), &Value::Null, 404);
    one.get(&format!("/responses/{made}"));
}

#[test]
fn keys_come_and_go_while_requests_run() {
    let upstream = counting();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("keys.toml");
    let write = |keys: &[String]| {
        let new = folder.path().join("new");
        fs::write(&new, keys.concat()).expect("it is written");
        fs::rename(&new, &file).expect("it is put in place");
    };
    write(&[key("old", "sk-old", "")]);
    let auth = format!("[auth]\nkeys_file = \"{}\"\n", file.display());
    let proxy = Proxy::builder()
        .config(&with_keys(&upstream, &auth, &[]))
        .env("ANTIPHON_KEY", "sk-of-the-environment")
        .start();
    let status = |secret: &str| asked_with(&proxy, ("api-key", secret)).status;
    assert_eq!(
        (status("sk-old"), status("sk-of-the-environment")),
        (200, 200)
    );
    assert_eq!(status("sk-new"), 401);
    let mut socket = Socket::open(&proxy.url("/v1/responses"), Some("sk-old"));
    let request = with(hello(), json!({"type": "response.create"}));
    assert_eq!(
        socket.ask(&request).last().expect("events").kind(),
        "response.completed"
    );

    write(&[key("new", "sk-new", "")]);
    proxy.wait_for_log("the configuration was reloaded", 1);
    assert_eq!((status("sk-new"), status("sk-old")), (200, 401));
    // A connection does not outlive its key.
    let refused = &socket.ask(&request)[0].data;
    assert_eq!(
        (&refused["status"], &refused["error"]["code"]),
        (&json!(401), &json!("invalid_api_key"))
    );

    write(&["nonsense".to_owned()]);
    proxy.wait_for_log("the old one stays", 1);
    assert_eq!(status("sk-new"), 200);
}

#[test]
fn a_file_of_keys_that_is_emptied_lets_nobody_in() {
    let upstream = counting();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("keys.toml");
    fs::write(&file, key("old", "sk-old", "")).expect("it is written");
    let auth = format!("[auth]\nkeys_file = \"{}\"\n", file.display());
    let proxy = Proxy::builder()
        .config(&with_keys(&upstream, &auth, &[]))
        .start();
    let status = |secret: &str| asked_with(&proxy, ("api-key", secret)).status;
    assert_eq!((status("sk-old"), status("sk-other")), (200, 401));
    fs::write(&file, "# nobody any more\n").expect("it is written");
    proxy.wait_for_log("a key is asked for, and there is none", 1);
    assert_eq!((status("sk-old"), status("sk-other")), (200, 401));
    fs::write(&file, key("new", "sk-new", "")).expect("it is written");
    proxy.wait_for_log("the configuration was reloaded", 1);
    assert_eq!((status("sk-old"), status("sk-new")), (401, 200));
}

#[test]
fn a_key_for_us_never_goes_on() {
    let secret = "sk-ours-0123456789";
    for (own, header, value) in [
        ("", "authorization", None),
        (
            "auth = \"passthrough\"",
            "authorization",
            Some("Bearer theirs-0123456789"),
        ),
        (
            "auth = \"passthrough\"\nprofile = \"azure\"",
            "api-key",
            Some("theirs-0123456789"),
        ),
    ] {
        let upstream = counting();
        let proxy = Proxy::builder()
            .config(&with_keys(&upstream, own, &[key("a", secret, "")]))
            .start();
        let bearer = format!("Bearer {secret}");
        let shown = [
            JSON,
            ("authorization", bearer.as_str()),
            ("api-key", secret),
            ("x-api-key", secret),
        ];
        let theirs = ("x-upstream-key", "theirs-0123456789");
        let url = proxy.url("/v1/responses");
        for (headers, value) in [
            (shown.to_vec(), None),
            (
                shown.iter().copied().chain([theirs]).collect::<Vec<_>>(),
                value,
            ),
        ] {
            let body = hello().to_string();
            assert_eq!(
                http::request("POST", &url, &headers, body.as_bytes()).status,
                200
            );
            let said = upstream.received().pop().expect("it was asked");
            for name in ["authorization", "api-key", "x-api-key", "x-upstream-key"] {
                let sent = if name == header { value } else { None };
                assert_eq!(said.header(name), sent, "{own} {name}");
            }
        }
    }
}

#[test]
fn a_clients_own_key_for_an_upstream_is_not_told_either() {
    let told = "Incorrect API key: theirs-0123456789";
    let upstream = Upstream::new([Reply::error(401, told)]);
    let proxy = Proxy::builder()
        .config(&with_keys(
            &upstream,
            "auth = \"passthrough\"",
            &[key("a", "sk-a", "")],
        ))
        .start();
    let headers = [
        JSON,
        ("api-key", "sk-a"),
        ("x-upstream-key", "theirs-0123456789"),
    ];
    let body = hello().to_string();
    let url = proxy.url("/v1/responses");
    let reply = http::request("POST", &url, &headers, body.as_bytes());
    assert_eq!(
        refusal(&reply, 401)["message"],
        "Incorrect API key: [redacted]"
    );
    assert_eq!(
        reply.header("www-authenticate"),
        None,
        "that is another's word"
    );
}

/// Four clients send wrong keys as fast as they can.
#[test]
fn who_guesses_keys_is_slow_and_disturbs_nobody() {
    let upstream = counting();
    let proxy = serving(&upstream, &[key("a", "sk-right", "")]);
    let (over, wrong) = (AtomicBool::new(false), AtomicUsize::new(0));
    let url = proxy.url("/v1/responses");
    thread::scope(|scope| {
        for n in 0..4 {
            let (over, wrong, url) = (&over, &wrong, &url);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let guess = format!("sk-guess-{n}-{}", wrong.fetch_add(1, Ordering::Relaxed));
                    let headers = [JSON, ("api-key", guess.as_str())];
                    let reply = http::request("POST", url, &headers, b"{}");
                    assert_eq!(reply.status, 401);
                }
            });
        }
        let began = Instant::now();
        let mut served = 0;
        while began.elapsed() < Duration::from_secs(3) {
            assert_eq!(asked_with(&proxy, ("api-key", "sk-right")).status, 200);
            served += 1;
        }
        over.store(true, Ordering::Relaxed);
        assert!(served > 20, "{served} requests were served");
    });
    let wrong = wrong.into_inner();
    assert!(wrong <= 10 + 4 * 5, "{wrong} guesses in three seconds");
    let log = proxy.log();
    let lines = log.matches("requests without a right key").count();
    assert_eq!(lines, 1, "{log}");
    assert!(!log.contains("sk-guess"), "{log}");
}

#[test]
fn a_long_body_without_a_key_is_not_read_for_long_and_the_answer_arrives() {
    let upstream = counting();
    let proxy = serving(&upstream, &[key("a", "sk-right", "")]);
    let url = proxy.url("/v1/responses");
    let reply = http::request("POST", &url, &[JSON], &vec![b' '; 900_000]);
    refusal(&reply, 401);
}

#[test]
fn nothing_is_asked_where_keys_are_switched_off() {
    let upstream = counting();
    let off = "[auth]\nmode = \"none\"\n";
    let proxy = Proxy::builder()
        .config(&with_keys(
            &upstream,
            off,
            &[key("a", "sk-right", "models = [\"none\"]")],
        ))
        .start();
    assert_eq!(asked_with(&proxy, ("api-key", "sk-any")).status, 200);
    super::whole(&proxy, &hello());
}
