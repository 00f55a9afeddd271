//! The way in: whose request it is, and leave for what asks a model.
//!
//! Whoever comes without a right key is sent away by [`known`], which stands before all routes of the
//! API. A route that asks a model lets the request in by [`enter`], before its body is read. Its leave
//! travels in the body of the answer.

mod headers;
mod held;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{CONTENT_ENCODING, HOST, UPGRADE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::Full;

use super::error::Failure;
use super::peer::Peer;
use super::routes::{event_stream, json_type};
use super::{AppState, Live, body, caller, origin};
use crate::admission::{Key, Permit, Work};
use crate::engine::{Caller, Reply, shutting_down};
use crate::responses::ErrorObject;
use crate::upstream::Refusal;
pub(super) use headers::names as header_names;
use held::Held;

/// Who is known to ask, put beside the request.
#[derive(Clone)]
struct Known {
    live: Arc<Live>,
    key: Option<Arc<Key>>,
}

/// Lets through only who has a key, where one is needed.
pub(super) async fn known(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    if !names_its_host(&request) {
        body::discard(request, &body::OF_STRANGERS).await;
        let error = ErrorObject::invalid("A request names its host once, in a `Host` header.");
        return Failure(Refusal::new(400, error)).into_response();
    }
    let live = state.live();
    let secret = caller::secret(request.headers());
    let from = Peer::of(request.extensions());
    let key = match live.admission.know(secret, from).await {
        Ok(key) => key,
        Err(refusal) => {
            body::discard(request, &body::OF_STRANGERS).await;
            let mut response = Failure(refusal).into_response();
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
    };
    // Pages cannot show a key when they open a socket, so that these are looked at in any case.
    let is_open = key.is_none() || request.headers().contains_key(UPGRADE);
    if is_open && let Some(page) = origin::foreign(&request, live.cors.as_ref()) {
        let refusal = origin::refuse(&page);
        body::discard(request, &body::OF_STRANGERS).await;
        return Failure(refusal).into_response();
    }
    if let Some(key) = &key {
        // Each line in the log about the request has it.
        tracing::Span::current().record("key", key.name.as_str());
    }
    request.extensions_mut().insert(Known { live, key });
    // Only what has the right key is unpacked.
    match request.headers().contains_key(CONTENT_ENCODING) {
        true => body::unpacked(request, next).await,
        false => next.run(request).await,
    }
}

/// Whether a request says once which server it is meant for, as HTTP/1.1 demands (RFC 9112, 3.2): another
/// server on the way may have read a request with two in another way.
fn names_its_host(request: &Request) -> bool {
    request.version() != Version::HTTP_11 || request.headers().get_all(HOST).iter().count() == 1
}

/// Who asks, and what the request is served by.
pub(super) struct Asker {
    pub(super) live: Arc<Live>,
    pub(super) caller: Caller,
}

impl Asker {
    /// The longest body that it may send.
    pub(super) fn max_body_bytes(&self) -> usize {
        max_body_bytes(&self.live, self.caller.key.as_deref())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // A route that nobody stands before is nobody's.
        let Some(Known { live, key }) = parts.extensions.get::<Known>().cloned() else {
            let error = ErrorObject::server("This path is not guarded.");
            return Err(Failure(Refusal::new(500, error)));
        };
        let caller = caller::of(&parts.headers, key)?;
        Ok(Self { live, caller })
    }
}

/// A request that was let in.
pub(super) struct Admitted {
    pub(super) live: Arc<Live>,
    pub(super) caller: Caller,
    pub(super) body: Bytes,
    /// For the answer to keep.
    pub(super) permit: Arc<Permit>,
}

/// Lets a request in that asks a model, and reads it; not while the program is about to end.
///
/// # Errors
/// The answer that says why not.
pub(super) async fn enter(
    state: &AppState,
    asker: Asker,
    request: Request,
) -> Result<Admitted, Response> {
    if state.draining.is_cancelled() {
        return Err(Failure(shutting_down()).into_response());
    }
    let limit = asker.max_body_bytes();
    let Asker { live, mut caller } = asker;
    let admission = &live.admission;
    let permit = match Arc::clone(admission)
        .enter(caller.key.clone(), Work::Ask)
        .await
    {
        Ok(permit) => Arc::new(permit),
        Err(refusal) => {
            body::discard(request, &body::OF_CLIENTS).await;
            let mut response = Failure(refusal).into_response();
            let levels = admission.levels(caller.key.as_deref());
            headers::tell(levels, response.headers_mut());
            return Err(response);
        }
    };
    let body = match body::read(request, limit, live.body_timeout, admission).await {
        Ok(body) => body,
        Err(refusal) => {
            let mut response = Failure(refusal).into_response();
            headers::tell(permit.levels(), response.headers_mut());
            return Err(response);
        }
    };
    caller.permit = Some(Arc::clone(&permit));
    Ok(Admitted {
        live,
        caller,
        body,
        permit,
    })
}

/// Leave to watch what is made elsewhere.
pub(super) async fn watch(asker: &Asker) -> Result<Arc<Permit>, Refusal> {
    let admission = Arc::clone(&asker.live.admission);
    let permit = admission.enter(asker.caller.key.clone(), Work::Watch);
    Ok(Arc::new(permit.await?))
}

/// The answer to a request that was let in.
pub(super) fn answer(reply: Result<Reply, Refusal>, permit: Arc<Permit>) -> Response {
    let levels = permit.levels();
    let mut response = match reply {
        Ok(Reply::Passed(stream)) => event_stream(Body::new(Held::new(stream, permit))),
        Ok(Reply::Stream(stream)) => event_stream(Body::new(Held::new(stream, permit))),
        Ok(Reply::Follow(follow)) => event_stream(Body::new(Held::new(follow, permit))),
        Ok(Reply::Whole(json)) => {
            let body = Full::new(Bytes::from(json));
            json_type(Body::new(Held::new(body, permit)).into_response())
        }
        Err(refusal) => Failure(refusal).into_response(),
    };
    headers::tell(levels, response.headers_mut());
    response
}

/// The longest body that the holder of a key may send.
pub(super) fn max_body_bytes(live: &Live, key: Option<&Key>) -> usize {
    let own = key.and_then(|key| key.max_body_bytes);
    own.unwrap_or(usize::MAX).min(live.max_body_bytes)
}
