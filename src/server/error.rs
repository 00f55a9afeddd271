//! Refusals as HTTP answers, in the API's envelope.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::responses::ErrorObject;
use crate::upstream::Refusal;

/// Azure's clients read it before `Retry-After`.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Refusal);

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: &'a ErrorObject,
        }

        let Self(refusal) = self;
        let status =
            StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Four strings always serialise.
        let body = serde_json::to_vec(&Envelope {
            error: &refusal.error,
        })
        .unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = refusal.told_wait() {
            if let Ok(value) = HeaderValue::try_from(wait.header()) {
                headers.insert(RETRY_AFTER, value);
            }
            if let Some(Ok(value)) = wait.millis_header().map(HeaderValue::try_from) {
                headers.insert(RETRY_AFTER_MS, value);
            }
        }
        response
    }
}
