//! A request's body, read in bounded time and space.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, EXPECT};
use axum::middleware::Next;
use axum::response::Response;
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use tower::{Layer, ServiceExt};
use tower_http::decompression::{DecompressionBody, RequestDecompressionLayer};

use crate::admission::{Admission, Room};
use crate::responses::ErrorObject;
use crate::upstream::Refusal;

/// How much of a body that nobody wants is read, and for how long.
pub(super) struct Patience {
    bytes: usize,
    wait: Duration,
}

/// With those who may ask.
pub(super) const OF_CLIENTS: Patience = Patience {
    bytes: 64 * 1024 * 1024,
    wait: Duration::from_secs(5),
};

/// With those who may not.
pub(super) const OF_STRANGERS: Patience = Patience {
    bytes: 1024 * 1024,
    wait: Duration::from_secs(1),
};

/// The most that is made room for in advance: what a request says of its length is not believed
/// beyond that.
const MOST_AHEAD: usize = 1024 * 1024;

/// Unpacks the body on its way, if it is packed in a way that is known. What is not is left as it is, for
/// [`read`] to refuse.
pub(super) async fn unpacked(request: Request, next: Next) -> Response {
    let rest = tower::service_fn(|request: http::Request<DecompressionBody<Body>>| {
        let answer = next.clone().run(request.map(Body::new));
        async { Ok::<_, Infallible>(answer.await) }
    });
    let layer = RequestDecompressionLayer::new().pass_through_unaccepted(true);
    match layer.layer(rest).oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

/// Reads the whole body; compressed ones were unpacked before. The bytes keep their room until the
/// last of them is gone.
pub(super) async fn read(
    request: Request,
    limit: usize,
    timeout: Duration,
    admission: &Admission,
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
    let mut room = admission.room();
    let whole = collect(request.into_body(), limit, &mut room);
    match tokio::time::timeout(timeout, whole).await {
        Ok(bytes) => Ok(kept(bytes?, room)),
        Err(_) if room.waits() => Err(admission.no_room()),
        Err(_) => {
            let seconds = timeout.as_secs_f64();
            let error = ErrorObject::invalid(format!(
                "The request's body did not arrive within {seconds} s."
            ));
            Err(Refusal::new(408, error.with_code("request_timeout")))
        }
    }
}

/// Bytes that keep their room until the last of them is gone.
pub(super) fn kept(bytes: Vec<u8>, room: Room) -> Bytes {
    struct Kept {
        bytes: Vec<u8>,
        _room: Room,
    }

    impl AsRef<[u8]> for Kept {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }

    Bytes::from_owner(Kept { bytes, _room: room })
}

async fn collect(mut body: Body, limit: usize, room: &mut Room) -> Result<Vec<u8>, Refusal> {
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > limit {
        return Err(too_long(body, limit).await);
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let error =
                ErrorObject::invalid(format!("The request's body cannot be read: {error}."));
            Refusal::bad_request(error)
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = whole.len() + data.len();
        if length > limit {
            // It is not kept while the rest is waited for.
            drop(whole);
            return Err(too_long(body, limit).await);
        }
        room.grow(length).await;
        if whole.is_empty() {
            whole.reserve_exact(told.clamp(length, MOST_AHEAD.max(length)));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

async fn too_long(body: Body, limit: usize) -> Refusal {
    drain(body, &OF_CLIENTS).await;
    let error = ErrorObject::invalid(format!("The request's body is longer than {limit} bytes."));
    Refusal::new(413, error.with_code("request_too_large"))
}

/// Reads a body that nobody wants, where its client would not hear the answer otherwise.
pub(super) async fn discard(request: Request, patience: &Patience) {
    // Who asks whether to send is told not to. Over HTTP/2 an answer may come before its request is whole,
    // but there are clients that take the reset after it for a failure.
    if !request.headers().contains_key(EXPECT) {
        drain(request.into_body(), patience).await;
    }
}

/// Reads on for nothing: a connection that is closed while the client still sends is reset, and
/// the refusal is lost with it.
async fn drain(body: Body, patience: &Patience) {
    let rest = Limited::new(body, patience.bytes);
    let read = async {
        let mut rest = std::pin::pin!(rest);
        while let Some(Ok(_)) = rest.frame().await {}
    };
    // Whoever sends for longer must do without.
    let _ = tokio::time::timeout(patience.wait, read).await;
}
