//! Who asks: told by the key that a request carries.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::admission::Key;
use crate::engine::Caller;
use crate::responses::ErrorObject;
use crate::telemetry::trace::TraceContext;
use crate::upstream::{Refusal, UPSTREAM_KEY};

/// The headers that may hold a key, the first that is there counts.
const HEADERS: [HeaderName; 3] = [
    AUTHORIZATION,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
];
/// What stands before a key in `Authorization`.
const BEARER: &[u8] = b"bearer";
/// How many bytes of a key's hash tell its tenant.
const TENANT_BYTES: usize = 16;

/// The key that a request shows.
pub(super) fn secret(headers: &HeaderMap) -> Option<&[u8]> {
    let value = HEADERS.iter().find_map(|name| headers.get(name))?;
    let value = value.as_bytes().trim_ascii();
    let secret = match value.split_at_checked(BEARER.len()) {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case(BEARER)
                && rest.first().is_none_or(u8::is_ascii_whitespace) =>
        {
            rest.trim_ascii()
        }
        _ => value,
    };
    Some(secret).filter(|secret| !secret.is_empty())
}

/// Who asks, and the profile that is picked. All other headers are for this server, and go nowhere.
///
/// With a key that was asked for, `key`, what is stored is its tenant's, and the key goes nowhere
/// either. Without, what is stored belongs to the key it came with; those who send none share what is
/// nobody's.
///
/// # Errors
/// 400 for a profile that is no name.
pub(super) fn of(headers: &HeaderMap, key: Option<Arc<Key>>) -> Result<Caller, Refusal> {
    let tenant = match &key {
        Some(key) => key.owner(),
        None => secret(headers).map(tenant).unwrap_or_default(),
    };
    let mut keys = HeaderMap::new();
    let own = HEADERS.into_iter().filter(|_| key.is_none());
    for name in own.chain([UPSTREAM_KEY]) {
        if let Some(value) = headers.get(&name) {
            let mut value = value.clone();
            value.set_sensitive(true);
            keys.insert(name, value);
        }
    }
    Ok(Caller {
        tenant,
        profile: profile(headers)?,
        keys,
        key,
        permit: None,
        trace: TraceContext::of(headers),
        lane: None,
    })
}

fn profile(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    const PROFILE: &str = "x-antiphon-profile";
    match headers.get(PROFILE).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(name)) => Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty())),
        Some(Err(_)) => {
            let error = ErrorObject::invalid(format!("The header '{PROFILE}' is not a name."));
            let error = error.with_param("model").with_code("profile_not_found");
            Err(Refusal::bad_request(error))
        }
    }
}

/// A key is not kept; what is kept does not tell it.
fn tenant(key: &[u8]) -> String {
    let hash = digest(&SHA256, key);
    let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or_default();
    let mut tenant = String::with_capacity(2 * TENANT_BYTES);
    for byte in hash.as_ref().iter().take(TENANT_BYTES) {
        tenant.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    tenant
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant_of(name: &'static str, value: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        of(&headers, None).unwrap().tenant
    }

    #[test]
    fn the_same_key_is_the_same_tenant_wherever_it_stands() {
        let one = tenant_of("authorization", "Bearer sk-1");
        assert_eq!(one.len(), 2 * TENANT_BYTES);
        assert_eq!(one, tenant_of("authorization", "bearer  sk-1 "));
        assert_eq!(one, tenant_of("api-key", "sk-1"));
        assert_ne!(one, tenant_of("api-key", "sk-2"));
        assert!(!one.contains("sk-1"));
        assert_eq!(tenant_of("authorization", "Bearer "), "");
        assert_eq!(of(&HeaderMap::new(), None).unwrap().tenant, "");
    }
}
