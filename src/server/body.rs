//! A request's body, read in bounded time and space.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_ENCODING;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::responses::ErrorObject;
use crate::upstream::Refusal;

/// Reads the whole body; compressed ones were unpacked before.
pub(super) async fn read(
    request: Request,
    limit: usize,
    timeout: Duration,
) -> Result<Bytes, Refusal> {
    if let Some(coding) = request.headers().get(CONTENT_ENCODING)
        && coding != "identity"
    {
        let coding = String::from_utf8_lossy(coding.as_bytes()).into_owned();
        let error = ErrorObject::invalid(format!(
            "Unsupported content encoding '{coding}'. Supported are: 'gzip', 'zstd', and 'identity'."
        ));
        return Err(Refusal::new(
            415,
            error.with_code("unsupported_content_encoding"),
        ));
    }
    let whole = collect(request.into_body(), limit);
    match tokio::time::timeout(timeout, whole).await {
        Ok(body) => body,
        Err(_) => {
            let seconds = timeout.as_secs_f64();
            let error = ErrorObject::invalid(format!(
                "The request's body did not arrive within {seconds} s."
            ));
            Err(Refusal::new(408, error.with_code("request_timeout")))
        }
    }
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let error =
                ErrorObject::invalid(format!("The request's body is longer than {limit} bytes."));
            Err(Refusal::new(413, error.with_code("request_too_large")))
        }
        Err(error) => {
            let error =
                ErrorObject::invalid(format!("The request's body cannot be read: {error}."));
            Err(Refusal::bad_request(error))
        }
    }
}
