//! A request's body, read in bounded time and space.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_ENCODING;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::responses::ErrorObject;
use crate::upstream::Refusal;

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
    match Limited::new(&mut body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
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
