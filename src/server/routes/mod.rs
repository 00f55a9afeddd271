//! The routes, one file for each path.

pub(super) mod conversations;
pub(super) mod health;
pub(super) mod metrics;
pub(super) mod models;
pub(super) mod ollama;
pub(super) mod responses;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A JSON answer.
fn json<T: Serialize>(value: &T) -> Response {
    // The bodies are our own plain structs.
    json_bytes(serde_json::to_vec(value).unwrap_or_default())
}

/// An answer that is JSON already.
fn json_bytes(body: impl Into<Bytes>) -> Response {
    json_type(body.into().into_response())
}

/// An answer whose body is JSON.
pub(in crate::server) fn json_type(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A stream of events.
pub(in crate::server) fn event_stream(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Asks nginx not to gather events before it passes them on.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}
