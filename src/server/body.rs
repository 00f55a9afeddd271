//! A request's body, read in bounded time and space.

use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::CONTENT_ENCODING;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::responses::ErrorObject;
use crate::upstream::Refusal;

/// Room that is made for a body before it comes.
const MOST_PROMISED: usize = 1024 * 1024;
/// How much more of a body that is too long is read, and for how long.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;
const DRAIN_WAIT: Duration = Duration::from_secs(5);

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

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Refusal> {
    match gather(Limited::new(&mut body, limit)).await {
        Ok(whole) => Ok(whole),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            drain(body).await;
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

/// Puts the pieces of a body together, each as it comes: it is in the cache then.
async fn gather(body: Limited<&mut Body>) -> Result<Bytes, BoxError> {
    let mut body = std::pin::pin!(body);
    let promised = body.size_hint().lower().try_into().unwrap_or(usize::MAX);
    // Who promises more has to send it before there is room for it.
    let mut whole = Vec::with_capacity(promised.min(MOST_PROMISED));
    while let Some(frame) = body.frame().await {
        if let Some(piece) = frame?.data_ref() {
            whole.extend_from_slice(piece);
        }
    }
    Ok(whole.into())
}

/// Reads on for nothing: a connection that is closed while the client still sends is reset, and
/// the refusal is lost with it.
async fn drain(body: Body) {
    let rest = Limited::new(body, DRAIN_BYTES);
    let read = async {
        let mut rest = std::pin::pin!(rest);
        while let Some(Ok(_)) = rest.frame().await {}
    };
    // Whoever sends for longer must do without.
    let _ = tokio::time::timeout(DRAIN_WAIT, read).await;
}
