//! Refusals that come after a stream has begun.

use std::fmt::Write;

use crate::engine::over;
use crate::responses::ErrorObject;
use crate::translate::fault;
use crate::upstream::Refusal;

/// A refusal that came after the stream had begun.
pub(in crate::engine) fn late(refusal: Refusal) -> ErrorObject {
    let mut error = refusal.error;
    // Codex reads the time from the message, as there are no headers any more.
    if let (429, Some(wait)) = (refusal.status, &refusal.retry_after)
        && let Some(wait) = wait.wait()
        && !error.message.contains("try again in")
    {
        let _ = write!(error.message, " (try again in {}s)", wait.as_secs_f64());
    }
    let known = error.code.as_deref();
    if !known.is_some_and(|code| fault::is_known(code) || code == over::CODE) {
        let code = match refusal.status {
            429 => "rate_limit_exceeded",
            // A client that is told so does not try the same again.
            400..=499 => "invalid_prompt",
            _ => "server_error",
        };
        error.code = Some(code.into());
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::RetryAfter;

    fn code(status: u16, code: Option<&'static str>) -> Option<String> {
        let mut error = ErrorObject::invalid("x");
        error.code = code.map(Into::into);
        late(Refusal::new(status, error)).code.map(String::from)
    }

    #[test]
    fn a_late_refusal_has_a_code_that_codex_acts_upon() {
        for (status, own, told) in [
            (400, None, "invalid_prompt"),
            (401, Some("invalid_api_key"), "invalid_prompt"),
            (404, Some("model_not_found"), "model_not_found"),
            (429, Some("throttled"), "rate_limit_exceeded"),
            (429, Some("insufficient_quota"), "insufficient_quota"),
            (503, None, "server_error"),
            (503, Some("server_is_overloaded"), "server_is_overloaded"),
            (503, Some("slow_down"), "slow_down"),
            (502, Some("oops"), "server_error"),
            (504, None, "server_error"),
        ] {
            assert_eq!(code(status, own).as_deref(), Some(told), "{status} {own:?}");
        }
    }

    #[test]
    fn a_late_refusal_says_when_to_come_back() {
        let error = ErrorObject::invalid("Slow down.").with_code("rate_limit_exceeded");
        let refusal = Refusal {
            retry_after: Some(RetryAfter::seconds(9)),
            ..Refusal::new(429, error)
        };
        assert_eq!(late(refusal).message, "Slow down. (try again in 9s)");
    }
}
