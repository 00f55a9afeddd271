//! What stands in a path, with a refusal in the API's envelope for what is no text.

use axum::extract::FromRequestParts;
use axum::extract::Path;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::Failure;
use crate::responses::ErrorObject;
use crate::upstream::Refusal;

/// The variable segments of a path.
pub(super) struct Segments<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(_) => {
                let message = format!("Invalid URL ({} {})", parts.method, parts.uri.path());
                let error = ErrorObject::invalid(message).with_code("unknown_url");
                Err(Failure(Refusal::new(404, error)))
            }
        }
    }
}
