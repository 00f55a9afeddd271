//! When to try again, in the ways that servers say it.

use std::time::Duration;

use http::header::{HeaderMap, RETRY_AFTER};

/// Azure says it in milliseconds, beside or instead of the header that all others use.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// When to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryAfter {
    /// After a while.
    Wait {
        /// How long.
        wait: Duration,
        /// Whether it was said in milliseconds.
        exact: bool,
    },
    /// At a time of the day, as HTTP writes it.
    Date(String),
}

impl RetryAfter {
    /// After so many seconds.
    #[must_use]
    pub fn seconds(seconds: u64) -> Self {
        Self::Wait {
            wait: Duration::from_secs(seconds),
            exact: false,
        }
    }

    /// What an answer's headers say, if it is anything that makes sense.
    pub(super) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let text = |value: &http::HeaderValue| value.to_str().ok().map(|it| it.trim().to_owned());
        if let Some(millis) = headers.get(RETRY_AFTER_MS).and_then(text)
            && let Some(wait) = parse(&millis, 0.001)
        {
            return Some(Self::Wait { wait, exact: true });
        }
        let value = headers.get(RETRY_AFTER).and_then(text)?;
        match parse(&value, 1.0) {
            Some(wait) => Some(Self::Wait { wait, exact: false }),
            None => value.ends_with("GMT").then_some(Self::Date(value)),
        }
    }

    /// How long that is, unless it is a date.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Wait { wait, .. } => Some(*wait),
            Self::Date(_) => None,
        }
    }

    /// The value of `Retry-After`: HTTP knows whole seconds only, so they are rounded up.
    #[must_use]
    pub fn header(&self) -> String {
        match self {
            Self::Wait { wait, .. } => {
                let part = u64::from(wait.subsec_nanos() > 0);
                wait.as_secs().saturating_add(part).to_string()
            }
            Self::Date(date) => date.clone(),
        }
    }

    /// The value of `retry-after-ms`, if that was said.
    #[must_use]
    pub fn millis_header(&self) -> Option<String> {
        match self {
            Self::Wait { wait, exact: true } => Some(wait.as_millis().to_string()),
            Self::Wait { exact: false, .. } | Self::Date(_) => None,
        }
    }
}

/// A number of units, each of which has so many seconds.
fn parse(text: &str, unit: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &'static str) -> Option<RetryAfter> {
        let mut headers = HeaderMap::new();
        headers.insert(name, http::HeaderValue::from_static(value));
        RetryAfter::of_headers(&headers)
    }

    #[test]
    fn seconds_are_told_as_whole_ones() {
        for (said, told) in [("7", "7"), ("0", "0"), ("1.2", "2"), (" 3 ", "3")] {
            let after = read("retry-after", said).unwrap();
            assert_eq!(after.header(), told);
            assert_eq!(after.millis_header(), None);
        }
    }

    #[test]
    fn milliseconds_are_told_in_both_ways() {
        let after = read("retry-after-ms", "1250").unwrap();
        assert_eq!(after.wait(), Some(Duration::from_millis(1250)));
        assert_eq!(after.header(), "2");
        assert_eq!(after.millis_header().as_deref(), Some("1250"));
    }

    #[test]
    fn a_date_stays_as_it_is_and_nonsense_is_nothing() {
        let date = "Fri, 21 Nov 2026 00:00:00 GMT";
        let after = read("retry-after", date).unwrap();
        assert_eq!((after.wait(), after.header()), (None, date.to_owned()));
        for nonsense in ["soon", "-1", "NaN", "inf", ""] {
            assert_eq!(read("retry-after", nonsense), None, "{nonsense}");
        }
    }
}
