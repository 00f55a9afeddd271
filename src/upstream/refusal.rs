//! An answer other than the one that was hoped for, ready to be told to the client.

use std::fmt;
use std::time::Duration;

use http::header::HeaderMap;

use super::direct::Failure;
use super::retry_after::RetryAfter;
use crate::chat::error::UpstreamError;
use crate::gate::Shut;
use crate::responses::ErrorObject;
use crate::translate::fault;

/// Codes of a 429 that does not pass by waiting.
const SPENT: &[&str] = &["insufficient_quota", "usage_not_included"];
/// What a client is told to wait, in seconds, where the upstream names no time: Codex does not
/// repeat a 429 at all without being told when.
const WAIT: u64 = 2;

/// Why a request came to nothing before its answer began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status for the client.
    pub status: u16,
    /// When to try again, as the upstream says; what the client is told is [`Self::told_wait`].
    pub retry_after: Option<RetryAfter>,
    /// Whether the same request may fare better in a moment.
    pub passing: bool,
    /// Whose fault it is.
    pub fault: Fault,
    /// What happened.
    pub kind: Kind,
    /// The error for the client.
    pub error: ErrorObject,
}

/// Whose fault a refusal is, which decides whether another upstream is asked and what is thought of
/// this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request's: nobody else would do better.
    Request,
    /// The upstream's: it is broken, silent, or set up wrongly (a bad key, a model that it does not
    /// have). Another one may serve, and it counts.
    Upstream,
    /// Nobody's: the upstream has no room now. Another one may serve.
    Busy,
    /// Not known: it may be this upstream's rules or the request. Another one may serve, and it
    /// counts for nothing.
    Denied,
}

/// What happened, in a word by which refusals are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The upstream answered with this status; or, where no upstream was asked, the client is.
    Http(u16),
    /// The upstream could not be reached.
    Unreachable,
    /// It did not take the connection in time.
    ConnectTimeout,
    /// It took the request and said nothing in time.
    NoAnswer,
    /// It was silent for too long in the middle of its answer.
    Silent,
    /// The connection or the answer broke off.
    BrokeOff,
    /// Its answer holds an error, or ends in one.
    InAnswer,
    /// Too many wait for it.
    LineFull,
    /// It was waited for in line for too long.
    LineTimeout,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http(status) => return write!(f, "http_{status}"),
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::NoAnswer => "no_answer",
            Self::Silent => "silent",
            Self::BrokeOff => "broke_off",
            Self::InAnswer => "in_answer",
            Self::LineFull => "line_full",
            Self::LineTimeout => "line_timeout",
        })
    }
}

impl Fault {
    /// Whether another upstream may serve.
    #[must_use]
    pub fn moves_on(self) -> bool {
        self != Self::Request
    }
}

impl Refusal {
    /// The client's fault.
    #[must_use]
    pub fn bad_request(error: ErrorObject) -> Self {
        Self::new(400, error)
    }

    /// A failure with that status, which does not pass.
    #[must_use]
    pub fn new(status: u16, error: ErrorObject) -> Self {
        Self {
            status,
            retry_after: None,
            passing: false,
            fault: Fault::Request,
            kind: Kind::Http(status),
            error,
        }
    }

    /// The status that a failure has which was found in an answer that had begun.
    #[must_use]
    pub fn of_failure(error: ErrorObject) -> Self {
        let status = match error.code.as_deref() {
            Some(
                "context_length_exceeded"
                | "invalid_prompt"
                | "content_policy_violation"
                | "cyber_policy",
            ) => 400,
            Some(
                "rate_limit_exceeded" | "slow_down" | "insufficient_quota" | "usage_not_included",
            ) => 429,
            Some("model_not_found") => 404,
            Some("server_is_overloaded" | "server_shutting_down") => 503,
            _ => 502,
        };
        let mut refusal = Self::new(status, error);
        refusal.kind = Kind::InAnswer;
        refusal.fault = match status {
            400 => Fault::Request,
            429 if !refusal.is_spent() => Fault::Busy,
            _ => Fault::Upstream,
        };
        refusal
    }

    /// The upstream has as many requests as it may have.
    pub(super) fn of_line(upstream: &str, shut: Shut) -> Self {
        let message = match shut {
            Shut::LineIsFull => format!(
                "the upstream `{upstream}` has as many requests as it may have, and as many wait as may"
            ),
            Shut::Waited(time) => format!(
                "the upstream `{upstream}` has as many requests as it may have, and none ended within {} s",
                time.as_secs_f64()
            ),
        };
        let error = ErrorObject::new("rate_limit_error", message).with_code("rate_limit_exceeded");
        Self {
            fault: Fault::Busy,
            kind: match shut {
                Shut::LineIsFull => Kind::LineFull,
                Shut::Waited(_) => Kind::LineTimeout,
            },
            ..Self::new(429, error)
        }
    }

    /// Whether a limit of this server refuses.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        // Other servers' limits are no fault of the request.
        self.status == 429 && self.fault == Fault::Request
    }

    /// When the client is told to try again: as the upstream said, or soon if it is busy and said
    /// nothing.
    #[must_use]
    pub fn told_wait(&self) -> Option<RetryAfter> {
        let busy = match self.status {
            429 => !self.is_spent(),
            503 => true,
            _ => false,
        };
        let own = || busy.then(|| RetryAfter::seconds(WAIT));
        self.retry_after.clone().or_else(own)
    }

    /// The upstream answered with a status other than 2xx.
    pub(super) fn of_answer(upstream: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        // A redirect of a POST leads nowhere.
        if (300..400).contains(&status) {
            let message = format!(
                "the upstream `{upstream}` answered with a redirect (HTTP {status}): check its base_url"
            );
            return Self {
                fault: Fault::Upstream,
                kind: Kind::Http(status),
                ..Self::new(502, ErrorObject::server(message))
            };
        }
        let error = fault::of_status(status, UpstreamError::parse(body));
        if error.code.as_deref() == Some("context_length_exceeded") {
            return Self {
                kind: Kind::Http(status),
                ..Self::new(400, error)
            };
        }
        let told = match status {
            // Codex hides the message of a 500 behind "high demand"; a 502 is shown.
            500 => 502,
            // Not a status that clients know.
            529 => 503,
            400..=599 => status,
            _ => 502,
        };
        let mut refusal = Self {
            retry_after: RetryAfter::of_headers(headers),
            kind: Kind::Http(status),
            ..Self::new(told, error)
        };
        refusal.fault = match status {
            429 if !refusal.is_spent() => Fault::Busy,
            401 | 402 | 404 | 408 | 429 | 500.. => Fault::Upstream,
            // A model that this account may not use, or a text that this service does not like.
            403 => Fault::Denied,
            _ => Fault::Request,
        };
        refusal.passing = match status {
            429 => !refusal.is_spent(),
            // The server behind that one has the request already: it is not given it twice.
            504 => false,
            status => status >= 500,
        };
        refusal
    }

    /// The upstream could not be reached, or broke off before it said anything.
    pub(super) fn of_transport(upstream: &str, url: &str, failure: &Failure) -> Self {
        let (status, kind, message) = match failure {
            Failure::Timeout => {
                let message = format!(
                    "the upstream `{upstream}` at {url} did not take the connection in time"
                );
                return Self {
                    fault: Fault::Upstream,
                    kind: Kind::ConnectTimeout,
                    ..Self::new(504, ErrorObject::server(message))
                };
            }
            Failure::Connect(reason) => (
                503,
                Kind::Unreachable,
                format!("cannot reach the upstream `{upstream}` at {url}: {reason}"),
            ),
            Failure::Broken(reason) => (
                502,
                Kind::BrokeOff,
                format!("the upstream `{upstream}` at {url} broke off: {reason}"),
            ),
        };
        Self {
            passing: true,
            fault: Fault::Upstream,
            kind,
            ..Self::new(status, ErrorObject::server(message))
        }
    }

    fn is_spent(&self) -> bool {
        let code = self.error.code.as_deref();
        code.is_some_and(|code| SPENT.contains(&code))
    }

    /// The upstream took the request and said nothing.
    pub(super) fn of_silence(upstream: &str, waited: Duration) -> Self {
        let message = format!(
            "the upstream `{upstream}` did not begin to answer within {} s",
            waited.as_secs_f64()
        );
        Self {
            fault: Fault::Upstream,
            kind: Kind::NoAnswer,
            ..Self::new(504, ErrorObject::server(message))
        }
    }

    /// The upstream broke off after it had begun to answer.
    #[must_use]
    pub fn of_break(error: ErrorObject) -> Self {
        Self {
            fault: Fault::Upstream,
            kind: Kind::BrokeOff,
            passing: true,
            ..Self::new(502, error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, header: Option<(&'static str, &'static str)>, body: &str) -> Refusal {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, http::HeaderValue::from_static(value));
        }
        Refusal::of_answer("up", status, &headers, body.as_bytes())
    }

    fn told(refusal: &Refusal) -> Option<String> {
        refusal.told_wait().map(|wait| wait.header())
    }

    #[test]
    fn only_what_may_pass_is_passing() {
        for (status, passing) in [
            (302, false),
            (400, false),
            (401, false),
            (404, false),
            (429, true),
            (500, true),
            (503, true),
            (504, false),
            (529, true),
        ] {
            assert_eq!(answer(status, None, "").passing, passing, "{status}");
        }
        let spent = answer(429, None, r#"{"error":{"code":"insufficient_quota"}}"#);
        assert!(!spent.passing);
        assert_eq!(told(&spent), None);
    }

    #[test]
    fn who_is_busy_says_when_to_come_back() {
        assert_eq!(told(&answer(429, None, "")).as_deref(), Some("2"));
        assert_eq!(told(&answer(503, None, "")).as_deref(), Some("2"));
        assert_eq!(told(&answer(529, None, "")).as_deref(), Some("2"));
        assert_eq!(told(&answer(502, None, "")), None);
        assert_eq!(told(&answer(400, None, "")), None);
        let said = answer(429, Some(("retry-after", "9")), "");
        assert_eq!(told(&said).as_deref(), Some("9"));
        let said = answer(429, Some(("retry-after-ms", "8500")), "");
        assert_eq!(told(&said).as_deref(), Some("9"));
    }

    #[test]
    fn whose_fault_it_is() {
        for (status, fault) in [
            (302, Fault::Upstream),
            (400, Fault::Request),
            (401, Fault::Upstream),
            (402, Fault::Upstream),
            (403, Fault::Denied),
            (404, Fault::Upstream),
            (408, Fault::Upstream),
            (413, Fault::Request),
            (422, Fault::Request),
            (429, Fault::Busy),
            (500, Fault::Upstream),
            (504, Fault::Upstream),
        ] {
            assert_eq!(answer(status, None, "").fault, fault, "{status}");
        }
        let spent = r#"{"error":{"code":"insufficient_quota"}}"#;
        assert_eq!(answer(429, None, spent).fault, Fault::Upstream);
        let long = r#"{"error":{"message":"maximum context length is 1"}}"#;
        assert_eq!(answer(500, None, long).fault, Fault::Request);
    }

    #[test]
    fn a_failure_within_an_answer_says_it_too() {
        let failure = |code: &'static str| {
            Refusal::of_failure(ErrorObject::new("server_error", "x").with_code(code))
        };
        assert_eq!(told(&failure("rate_limit_exceeded")).as_deref(), Some("2"));
        assert_eq!(told(&failure("server_is_overloaded")).as_deref(), Some("2"));
        assert_eq!(told(&failure("insufficient_quota")), None);
        assert_eq!(failure("anything").status, 502);
    }
}
