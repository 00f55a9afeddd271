//! Where the paths of an upstream lie.

use std::fmt::{self, Write as _};

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::client::{Settings, WireApi};

/// How `{model}` looks in a URL.
const MODEL: &str = "%7Bmodel%7D";

/// The URLs of one upstream.
pub(super) struct Site {
    base: Url,
    query: Vec<(String, SecretString)>,
    /// The path of what asks a model.
    path: &'static str,
    /// The URL of that, where it is the same for each model.
    asked: Option<Url>,
}

impl Site {
    pub(super) fn new(settings: &Settings) -> Self {
        let path = match settings.wire_api {
            WireApi::Chat => "chat/completions",
            WireApi::Responses => "responses",
        };
        Self::at(settings.base_url.clone(), settings.query.clone(), path)
    }

    fn at(base: Url, query: Vec<(String, SecretString)>, path: &'static str) -> Self {
        let mut site = Self {
            base,
            query,
            path,
            asked: None,
        };
        if !site.base.path().contains(MODEL) {
            site.asked = Some(site.url(site.path, ""));
        }
        site
    }

    /// Where a model is asked.
    pub(super) fn asked(&self, model: &str) -> Url {
        match &self.asked {
            Some(url) => url.clone(),
            None => self.url(self.path, model),
        }
    }

    /// A path below the base URL, or above it if it begins with a slash; of one model, or of none.
    pub(super) fn url(&self, path: &str, model: &str) -> Url {
        let mut url = self.base.clone();
        match path.strip_prefix('/') {
            Some(_) => url.set_path(path),
            None => url.set_path(&format!("{}/{path}", self.below(model))),
        }
        if !self.query.is_empty() {
            let pairs = self.query.iter();
            let pairs = pairs.map(|(key, value)| (key, value.expose_secret()));
            url.query_pairs_mut().extend_pairs(pairs);
        }
        url
    }

    /// What paths are put behind.
    fn below(&self, model: &str) -> String {
        let base = self.base.path().trim_end_matches('/');
        match base.split_once(MODEL) {
            None => base.to_owned(),
            Some((before, after)) if !model.is_empty() => {
                format!("{before}{}{after}", as_segment(model))
            }
            // What is of no one model stands above: Azure has `/openai/models` beside
            // `/openai/deployments/NAME/…`.
            Some((before, _)) => {
                let before = before.trim_end_matches('/');
                let above = before.rsplit_once('/').map_or("", |(above, _)| above);
                above.to_owned()
            }
        }
    }
}

impl fmt::Debug for Site {
    /// What stands behind the `?` may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// A name as one segment of a path.
fn as_segment(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(base: &str, query: &[(&str, &str)]) -> Site {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.into());
        let query = query.iter().map(owned).collect();
        Site::at(base.parse().unwrap(), query, "chat/completions")
    }

    #[test]
    fn paths_lie_below_the_base_or_beside_it() {
        let site = site("http://h/v1/", &[]);
        assert_eq!(site.asked("m").as_str(), "http://h/v1/chat/completions");
        assert_eq!(site.asked("n"), site.asked("m"));
        assert_eq!(site.url("models", "").as_str(), "http://h/v1/models");
        assert_eq!(site.url("/api/show", "").as_str(), "http://h/api/show");
    }

    #[test]
    fn a_model_has_a_place_of_its_own() {
        let site = site(
            "https://a/openai/deployments/{model}/",
            &[("api-version", "2024 x")],
        );
        assert_eq!(
            site.asked("org/m").as_str(),
            "https://a/openai/deployments/org%2Fm/chat/completions?api-version=2024+x"
        );
        assert_eq!(
            site.url("models", "").as_str(),
            "https://a/openai/models?api-version=2024+x"
        );
    }

    #[test]
    fn what_may_be_a_key_is_not_shown() {
        let shown = format!("{:?}", site("http://h/v1", &[("key", "sk-secret")]));
        assert!(!shown.contains("sk-secret"), "{shown}");
        assert!(shown.contains("http://h/v1"), "{shown}");
    }
}
