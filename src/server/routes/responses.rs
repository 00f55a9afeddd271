//! `/v1/responses`

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, UPGRADE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use crate::engine::{Caller, Reply};
use crate::ids::new_id;
use crate::responses::ErrorObject;
use crate::server::error::Failure;
use crate::server::{AppState, body};
use crate::upstream::{Refusal, RetryAfter};

/// `POST`: a response, streamed or whole.
pub(in crate::server) async fn create(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, Failure> {
    if state.draining.is_cancelled() {
        let error = ErrorObject::server("The server is about to end; try again.")
            .with_code("server_shutting_down");
        return Err(Failure(Refusal {
            retry_after: Some(RetryAfter::seconds(1)),
            ..Refusal::new(503, error)
        }));
    }
    let caller = caller(request.headers())?;
    let live = state.live();
    let body = body::read(request, live.max_body_bytes, live.body_timeout).await?;
    let id = new_id();
    let reply = live
        .engine
        .create(body, &id, caller)
        .await
        .inspect_err(|refusal| log(&id, refusal))?;
    Ok(match reply {
        Reply::Stream(stream) => event_stream(Body::new(stream)),
        Reply::Passed(stream) => event_stream(Body::new(stream)),
        Reply::Whole(json) => {
            let mut response = json.into_response();
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
    })
}

/// `GET`: the WebSocket form of the API is not offered. Clients take 426 for "use POST", at once
/// and without a warning.
pub(in crate::server) async fn upgrade(headers: HeaderMap) -> Failure {
    let wants_websocket = headers
        .get(UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains("websocket"));
    if wants_websocket {
        let error =
            ErrorObject::invalid("This server has no WebSocket mode: use POST /v1/responses.");
        return Failure(Refusal::new(
            426,
            error.with_code("websocket_not_supported"),
        ));
    }
    let error = ErrorObject::invalid("Not allowed to GET on /v1/responses");
    Failure(Refusal::new(405, error.with_code("method_not_supported")))
}

/// What of the request's headers counts. All others are for this server, and go nowhere.
fn caller(headers: &HeaderMap) -> Result<Caller, Failure> {
    const PROFILE: &str = "x-antiphon-profile";
    let profile = match headers.get(PROFILE).map(HeaderValue::to_str) {
        None => None,
        Some(Ok(name)) if name.trim().is_empty() => None,
        Some(Ok(name)) => Some(name.trim().to_owned()),
        Some(Err(_)) => {
            let error = ErrorObject::invalid(format!("The header '{PROFILE}' is not a name."));
            let error = error.with_param("model").with_code("profile_not_found");
            return Err(Failure(Refusal::bad_request(error)));
        }
    };
    let mut keys = HeaderMap::new();
    for name in [AUTHORIZATION, HeaderName::from_static("api-key")] {
        if let Some(value) = headers.get(&name) {
            let mut value = value.clone();
            value.set_sensitive(true);
            keys.insert(name, value);
        }
    }
    Ok(Caller { profile, keys })
}

fn event_stream(body: Body) -> Response {
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

fn log(id: &str, refusal: &Refusal) {
    tracing::warn!(
        response.id = %format_args!("resp_{id}"),
        http.status = refusal.status,
        error.code = refusal.error.code.as_deref(),
        error.param = refusal.error.param.as_deref(),
        error = %refusal.error.message,
        "request refused"
    );
}
