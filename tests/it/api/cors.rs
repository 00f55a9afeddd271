//! Web pages that use the API from a browser.

use super::keys::{key, with_keys};
use super::stored::counting;
use super::{JSON, hello, refusal};
use crate::support::http::{self, Reply};
use crate::support::proxy::Proxy;

const PAGE: &str = "https://app.example";

fn serving(more: &str) -> Proxy {
    let upstream = counting();
    let keys = [key("a", "sk-right", "requests_per_minute = 60")];
    let config = with_keys(&upstream, more, &keys);
    // The upstream goes; nothing of it is needed but its address.
    Proxy::builder().config(&config).start()
}

fn preflight(proxy: &Proxy, origin: &str) -> Reply {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,x-stainless-os",
        ),
    ];
    http::request("OPTIONS", &proxy.url("/v1/responses"), &headers, b"")
}

#[test]
fn a_page_that_is_named_may_ask_and_see() {
    let proxy = serving(&format!(
        "[cors]\nallow_origins = [\"{PAGE}\", \"http://localhost:1\"]\n"
    ));
    let reply = preflight(&proxy, PAGE);
    assert_eq!(reply.status, 200, "no key is needed to ask whether one may");
    assert_eq!(reply.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(
        reply.header("access-control-allow-headers"),
        Some("authorization,content-type,x-stainless-os")
    );
    assert_eq!(reply.header("access-control-max-age"), Some("600"));
    let methods = reply
        .header("access-control-allow-methods")
        .unwrap_or_default();
    assert!(
        methods.contains("POST") && methods.contains("DELETE"),
        "{methods}"
    );

    let with_key = [JSON, ("origin", PAGE), ("authorization", "Bearer sk-right")];
    let url = proxy.url("/v1/models");
    for (headers, status) in [(&with_key[..], 200), (&with_key[..2], 401)] {
        let reply = http::request("GET", &url, headers, b"");
        assert_eq!(reply.status, status);
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some(PAGE),
            "also what fails"
        );
        let shown = reply
            .header("access-control-expose-headers")
            .unwrap_or_default();
        for name in [
            "x-request-id",
            "retry-after",
            "retry-after-ms",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-tokens",
        ] {
            assert!(shown.contains(name), "{name}: {shown}");
        }
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
}

#[test]
fn other_pages_get_no_leave() {
    for more in [
        "",
        "[cors]\nallow_origins = [\"https://other.example\"]\nallow_headers = [\"authorization\"]\nmax_age_seconds = 5\n",
    ] {
        let proxy = serving(more);
        let reply = preflight(&proxy, PAGE);
        assert_eq!(reply.header("access-control-allow-origin"), None);
        let headers = [JSON, ("origin", PAGE), ("authorization", "Bearer sk-right")];
        let reply = http::request("GET", &proxy.url("/v1/models"), &headers, b"");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[test]
fn any_page_may_ask_where_all_may() {
    let proxy = serving("[cors]\nallow_origins = [\"*\"]\nmax_age_seconds = 5\n");
    let reply = preflight(&proxy, PAGE);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-max-age"), Some("5"));
}

/// A page of anybody's could else have the user's browser ask what listens on the user's machine.
#[test]
fn without_keys_foreign_pages_are_turned_away() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let ask = |origin: &str| {
        let body = hello().to_string();
        let headers = [("content-type", "text/plain"), ("origin", origin)];
        http::request(
            "POST",
            &proxy.url("/v1/responses"),
            &headers,
            body.as_bytes(),
        )
    };
    for foreign in ["https://evil.example", "null"] {
        assert_eq!(refusal(&ask(foreign), 403)["code"], "origin_not_allowed");
    }
    assert_eq!(upstream.asked().len(), 0);
    for own in ["http://localhost:3000", "vscode-webview://x"] {
        assert_eq!(ask(own).status, 200, "{own}");
    }
}

/// Pages cannot show a key when they open a socket, but nothing else hinders them.
#[test]
fn foreign_pages_open_no_sockets() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let open = |origin: &str| {
        let headers = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("origin", origin),
        ];
        http::request("GET", &proxy.url("/v1/responses"), &headers, b"").status
    };
    assert_eq!(open("https://evil.example"), 403);
}
