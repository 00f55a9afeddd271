//! The query of a request, as the API's clients write it.

use axum::http::Uri;

use crate::engine::{Listing, Shown};
use crate::responses::ErrorObject;
use crate::store::Page;
use crate::upstream::Refusal;

/// How many items a page has if nothing is said, and at most.
const LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;

/// The pairs of a query. A list is a key again and again, with or without `[]` behind it.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default().as_bytes();
        let pairs = url::form_urlencoded::parse(query);
        let bare = |key: &str| key.split('[').next().unwrap_or_default().to_owned();
        Self(
            pairs
                .map(|(key, value)| (bare(&key), value.into_owned()))
                .collect(),
        )
    }

    fn get(&self, key: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == key);
        pair.map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Whether what was sealed is to be shown.
    pub(super) fn shows_sealed(&self) -> bool {
        self.0.iter().any(|(key, value)| {
            key == "include"
                && value
                    .split(',')
                    .any(|word| word == "reasoning.encrypted_content")
        })
    }

    /// How a response is to be shown.
    ///
    /// # Errors
    /// 400 for a number that is none.
    pub(super) fn shown(&self) -> Result<Shown, Refusal> {
        Ok(Shown {
            sealed: self.shows_sealed(),
            stream: matches!(self.get("stream"), Some("true" | "True" | "1")),
            starting_after: self.number("starting_after")?,
        })
    }

    /// Which part of a list is wanted.
    ///
    /// # Errors
    /// 400 for a limit or an order that is none.
    pub(super) fn listing(&self) -> Result<Listing, Refusal> {
        let limit = match self.number("limit")? {
            None => LIMIT,
            Some(limit) => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                if !(1..=MAX_LIMIT).contains(&limit) {
                    let message = format!(
                        "Invalid 'limit': expected a value from 1 to {MAX_LIMIT}, but got {limit} instead."
                    );
                    return Err(invalid("limit", message));
                }
                limit
            }
        };
        let ascending = match self.get("order") {
            None | Some("desc") => false,
            Some("asc") => true,
            Some(word) => {
                let message =
                    format!("Invalid value: '{word}'. Supported values are: 'asc' and 'desc'.");
                return Err(invalid("order", message));
            }
        };
        Ok(Listing {
            page: Page {
                after: self.get("after").map(str::to_owned),
                before: self.get("before").map(str::to_owned),
                limit,
                ascending,
            },
            sealed: self.shows_sealed(),
        })
    }

    fn number(&self, key: &'static str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = value.parse().map_err(|_| {
            let message = format!("Invalid type for '{key}': expected an integer.");
            invalid(key, message)
        })?;
        Ok(Some(number))
    }
}

fn invalid(param: &'static str, message: String) -> Refusal {
    let error = ErrorObject::invalid(message).with_param(param);
    Refusal::bad_request(error.with_code("invalid_value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&format!("/x?{text}").parse().unwrap())
    }

    #[test]
    fn lists_are_written_in_three_ways() {
        for text in [
            "include[]=a&include[]=reasoning.encrypted_content",
            "include%5B%5D=reasoning.encrypted_content",
            "include=a,reasoning.encrypted_content",
            "include[0]=reasoning.encrypted_content",
        ] {
            assert!(query(text).shows_sealed(), "{text}");
        }
        assert!(!query("include=other").shows_sealed());
    }

    #[test]
    fn a_page_is_of_one_to_a_hundred() {
        let listing = query("limit=5&order=asc&after=msg_1").listing().unwrap();
        assert_eq!((listing.page.limit, listing.page.ascending), (5, true));
        assert_eq!(listing.page.after.as_deref(), Some("msg_1"));
        assert_eq!(query("").listing().unwrap().page.limit, LIMIT);
        for text in ["limit=0", "limit=101", "limit=x", "limit=-1", "order=up"] {
            assert_eq!(query(text).listing().unwrap_err().status, 400, "{text}");
        }
    }

    #[test]
    fn a_stream_may_start_later() {
        let shown = query("stream=true&starting_after=7").shown().unwrap();
        assert!(shown.stream && shown.starting_after == Some(7));
        assert!(query("starting_after=x").shown().is_err());
        assert!(!query("stream=false").shown().unwrap().stream);
    }
}
