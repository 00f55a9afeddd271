//! Web pages that ask: a page of anybody's, open in the user's browser, can reach what listens on the
//! user's machine. Browsers say which page asks.

use axum::http::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use url::{Host, Url};

use super::Cors;
use crate::responses::ErrorObject;
use crate::upstream::Refusal;

/// The page that asks, if it is none that may. Pages of this machine may, and so may what is no page
/// of the web (an editor's, an app's); of others only those that the configuration names.
pub(super) fn foreign<B>(request: &Request<B>, cors: Option<&Cors>) -> Option<String> {
    let origin = request.headers().get(ORIGIN)?;
    if cors.is_some_and(|cors| cors.allows(origin)) {
        return None;
    }
    let text = String::from_utf8_lossy(origin.as_bytes()).into_owned();
    let Ok(url) = Url::parse(&text) else {
        // `null`: a page that hides where it comes from.
        return Some(text);
    };
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let is_own = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback() || is_host(&url, request),
        Some(Host::Ipv6(address)) => address.is_loopback() || is_host(&url, request),
        None => false,
    };
    (!is_own).then_some(text)
}

/// Whether the page comes from the very address that it asks. Names are not looked at: whoever has
/// one can have it point here.
fn is_host<B>(url: &Url, request: &Request<B>) -> bool {
    // In HTTP/2 it stands with the path.
    let host = request.uri().authority().map(Authority::as_str);
    let named = || request.headers().get(HOST)?.to_str().ok();
    let host = host.or_else(named);
    let asked = host.and_then(|host| Url::parse(&format!("{}://{host}", url.scheme())).ok());
    asked.is_some_and(|asked| asked.host() == url.host())
}

/// Told to such a page.
pub(super) fn refuse(page: &str) -> Refusal {
    // It goes back to who wrote it, and a long one need not.
    let page: String = page.chars().take(100).collect();
    let message = format!(
        "Web pages of '{page}' may not use this server: `allow_origins` in [cors] does not name them."
    );
    let error = ErrorObject::invalid(message).with_code("origin_not_allowed");
    Refusal::new(403, error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn is_foreign(origin: &str, host: &str, cors: Option<&Cors>) -> bool {
        let ask = |uri: &str| Request::builder().uri(uri).header(ORIGIN, origin);
        let one = ask("/v1/models").header(HOST, host).body(()).unwrap();
        let two = ask(&format!("http://{host}/v1/models")).body(()).unwrap();
        let is_foreign = foreign(&one, cors).is_some();
        assert_eq!(foreign(&two, cors).is_some(), is_foreign, "over HTTP/2");
        is_foreign
    }

    #[test]
    fn pages_of_this_machine_and_what_is_no_page_may_ask() {
        for own in [
            "http://localhost:3000",
            "https://app.localhost",
            "http://127.0.0.1:5173",
            "http://[::1]",
            "http://192.168.1.5:8787",
            "vscode-webview://abc",
            "tauri://localhost",
            "file://",
        ] {
            assert!(!is_foreign(own, "192.168.1.5:8787", None), "{own}");
        }
        assert_eq!(foreign(&Request::new(()), None), None);
    }

    #[test]
    fn other_pages_may_not_unless_they_are_named() {
        let cors = Cors::new(&["https://app.example".into()], &[], Duration::ZERO);
        for page in [
            "https://app.example",
            "http://app.example",
            "http://evil.example:8787",
            "http://192.168.1.6",
            "http://localhost.evil.example",
            "null",
            "nonsense",
        ] {
            assert!(is_foreign(page, "evil.example:8787", None), "{page}");
            let named = page == "https://app.example";
            assert_eq!(
                is_foreign(page, "evil.example:8787", Some(&cors)),
                !named,
                "{page}"
            );
        }
        let all = Cors::new(&["*".into()], &[], Duration::ZERO);
        assert!(!is_foreign("null", "x", Some(&all)));
    }
}
