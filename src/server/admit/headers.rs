//! What is left of the limits, in OpenAI's headers.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::admission::{Level, Levels};

/// The names for one limit: what it is, what is left, when all of it is there again.
type Names = [HeaderName; 3];

const REQUESTS: Names = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: Names = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// All of them, which web pages may see.
pub(in crate::server) fn names() -> impl Iterator<Item = HeaderName> {
    REQUESTS.into_iter().chain(TOKENS)
}

/// Puts them on an answer, as far as there are limits.
pub(super) fn tell(levels: Levels, headers: &mut HeaderMap) {
    for (names, level) in [(REQUESTS, levels.requests), (TOKENS, levels.tokens)] {
        let Some(Level {
            limit,
            left,
            full_in,
        }) = level
        else {
            continue;
        };
        let [limit_name, left_name, reset_name] = names;
        headers.insert(limit_name, HeaderValue::from(limit));
        headers.insert(left_name, HeaderValue::from(left));
        // Digits and letters always are a value.
        if let Ok(reset) = HeaderValue::try_from(time(full_in)) {
            headers.insert(reset_name, reset);
        }
    }
}

/// A time as OpenAI writes it: `12ms`, `1.5s`, `6m0s`.
fn time(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let fraction = match millis {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, minutes) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_openai_writes_them() {
        for (millis, text) in [
            (0, "0ms"),
            (12, "12ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (8_640, "8.64s"),
            (59_001, "59.001s"),
            (86_400, "1m26.4s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(time(Duration::from_millis(millis)), text);
        }
        assert_eq!(time(Duration::from_nanos(1)), "1ms", "never too early");
    }
}
