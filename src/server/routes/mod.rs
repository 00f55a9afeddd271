//! The routes, one file for each path.

pub(super) mod conversations;
pub(super) mod health;
pub(super) mod metrics;
pub(super) mod models;
pub(super) mod ollama;
pub(super) mod responses;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A JSON answer.
fn json<T: Serialize>(value: &T) -> Response {
    // The bodies are our own plain structs.
    json_bytes(serde_json::to_vec(value).unwrap_or_default())
}

/// An answer that is JSON already.
fn json_bytes(body: impl Into<Bytes>) -> Response {
    let mut response = body.into().into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
