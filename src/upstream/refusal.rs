//! An answer other than the one that was hoped for, ready to be told to the client.

use std::error::Error;
use std::time::Duration;

use http::header::{HeaderMap, RETRY_AFTER};

use crate::chat::error::UpstreamError;
use crate::responses::ErrorObject;
use crate::translate::fault;

/// Why a request came to nothing before its answer began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status for the client.
    pub status: u16,
    /// When to try again, as the upstream says.
    pub retry_after: Option<String>,
    /// The error for the client.
    pub error: ErrorObject,
}

impl Refusal {
    /// The client's fault.
    #[must_use]
    pub fn bad_request(error: ErrorObject) -> Self {
        Self {
            status: 400,
            retry_after: None,
            error,
        }
    }

    /// A failure with that status.
    #[must_use]
    pub fn new(status: u16, error: ErrorObject) -> Self {
        Self {
            status,
            retry_after: None,
            error,
        }
    }

    /// The status that a failure has which was found in an answer that had begun.
    #[must_use]
    pub fn of_failure(error: ErrorObject) -> Self {
        let status = match error.code.as_deref() {
            Some("context_length_exceeded" | "invalid_prompt" | "content_policy_violation") => 400,
            Some("rate_limit_exceeded" | "insufficient_quota") => 429,
            Some("model_not_found") => 404,
            _ => 502,
        };
        Self {
            status,
            retry_after: None,
            error,
        }
    }

    /// The upstream answered with a status other than 2xx.
    pub(super) fn of_answer(upstream: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let error = fault::of_status(status, UpstreamError::parse(body));
        let retry_after = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let told = match status {
            // A redirect of a POST leads nowhere.
            300..=399 => {
                return Self::new(
                    502,
                    ErrorObject::server(format!(
                        "the upstream `{upstream}` answered with a redirect (HTTP {status}): check its base_url"
                    )),
                );
            }
            // Codex hides the message of a 500 behind "high demand"; a 502 is shown.
            500 => 502,
            // Not a status that clients know.
            529 => 503,
            400..=599 => status,
            _ => 502,
        };
        let told = if error.code.as_deref() == Some("context_length_exceeded") {
            400
        } else {
            told
        };
        Self {
            status: told,
            retry_after,
            error,
        }
    }

    /// The upstream could not be reached, or broke off before it said anything.
    pub(super) fn of_transport(upstream: &str, url: &str, error: &reqwest::Error) -> Self {
        let reason = root_cause(error);
        if error.is_timeout() {
            let message =
                format!("the upstream `{upstream}` at {url} did not take the connection in time");
            return Self::new(504, ErrorObject::server(message));
        }
        if error.is_connect() {
            let message = format!("cannot reach the upstream `{upstream}` at {url}: {reason}");
            let retry_after = Some("2".to_owned());
            return Self {
                status: 503,
                retry_after,
                error: ErrorObject::server(message),
            };
        }
        Self::new(
            502,
            ErrorObject::server(format!(
                "the upstream `{upstream}` at {url} broke off: {reason}"
            )),
        )
    }

    /// The upstream took the request and said nothing.
    pub(super) fn of_silence(upstream: &str, waited: Duration) -> Self {
        let message = format!(
            "the upstream `{upstream}` did not begin to answer within {} s",
            waited.as_secs_f64()
        );
        Self::new(504, ErrorObject::server(message))
    }
}

/// The innermost error, which says what really happened.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
