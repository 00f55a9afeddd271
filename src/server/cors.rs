//! Which web pages may ask, and what they may see: CORS.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tower::{Layer, ServiceExt};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::AppState;
use super::admit::header_names;
use super::caught::Caught;

/// What stands for all.
const ALL: &str = "*";
/// Headers of ours that pages may see.
const SHOWN: [HeaderName; 4] = [
    RETRY_AFTER,
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-antiphon-token-count"),
];

/// The pages that may ask.
#[derive(Clone)]
pub struct Cors {
    origins: Vec<HeaderValue>,
    layer: CorsLayer,
}

impl Cors {
    /// Pages of these origins, which may send these headers; `*` stands for all.
    #[must_use]
    pub fn new(origins: &[String], headers: &[String], max_age: Duration) -> Self {
        let values = origins.iter().filter_map(|origin| origin.parse().ok());
        let origins: Vec<HeaderValue> = values.collect();
        let allowed = match origins.iter().any(|origin| origin == ALL) {
            true => AllowOrigin::any(),
            false => AllowOrigin::list(origins.clone()),
        };
        let headers = match headers.iter().any(|name| name == ALL) {
            // A star alone would leave `Authorization` out.
            true => AllowHeaders::mirror_request(),
            false => {
                let names = headers.iter().filter_map(|name| name.parse().ok());
                AllowHeaders::list(names.collect::<Vec<HeaderName>>())
            }
        };
        let shown: Vec<HeaderName> = SHOWN.into_iter().chain(header_names()).collect();
        let layer = CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers(headers)
            .expose_headers(shown)
            .max_age(max_age);
        Self { origins, layer }
    }

    /// Whether pages of that origin may ask.
    pub(super) fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins
            .iter()
            .any(|known| known == ALL || known == origin)
    }
}

/// Answers browsers that ask first, and tells them what they may show: also if there is a panic.
pub(super) async fn answer(state: &AppState, request: Request, next: Next) -> Response {
    let live = state.live();
    let Some(cors) = &live.cors else {
        return Caught::new(next.run(request)).await;
    };
    let rest = tower::service_fn(|request| {
        let answer = Caught::new(next.clone().run(request));
        async { Ok::<_, Infallible>(answer.await) }
    });
    match cors.layer.layer(rest).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
