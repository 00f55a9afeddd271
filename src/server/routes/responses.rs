//! `/v1/responses`

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, UPGRADE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};

use super::json_bytes;
use crate::engine::{Caller, Reply};
use crate::ids::new_id;
use crate::responses::ErrorObject;
use crate::server::error::Failure;
use crate::server::query::Query;
use crate::server::segments::Segments;
use crate::server::{AppState, Live, body, caller, socket};
use crate::upstream::{Refusal, RetryAfter};

/// `POST`: a response, streamed or whole.
pub(in crate::server) async fn create(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, Failure> {
    let (live, caller, body) = read(&state, request).await?;
    let id = new_id();
    // What a response takes is set apart, or else each layer around this would move it.
    let reply = Box::pin(live.engine.create(body, &id, &caller))
        .await
        .inspect_err(|refusal| log(&id, refusal))?;
    Ok(answer(reply))
}

/// `POST /v1/responses/compact`: a conversation, summed up.
pub(in crate::server) async fn compact(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, Failure> {
    let (live, caller, body) = read(&state, request).await?;
    let id = new_id();
    let compacted = live
        .engine
        .compact(body, &id, &caller)
        .await
        .inspect_err(|refusal| log(&id, refusal))?;
    Ok(json_bytes(compacted))
}

/// `POST /v1/responses/input_tokens`: how many tokens a request would be. A header says whether they
/// were counted.
pub(in crate::server) async fn input_tokens(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, Failure> {
    const HOW: HeaderName = HeaderName::from_static("x-antiphon-token-count");
    let (live, caller, body) = read(&state, request).await?;
    let id = new_id();
    let count = live
        .engine
        .count_tokens(&body, &id, &caller)
        .await
        .inspect_err(|refusal| log(&id, refusal))?;
    let json = format!(
        "{{\"object\":\"response.input_tokens\",\"input_tokens\":{}}}",
        count.tokens
    );
    let how = if count.counted {
        "upstream"
    } else {
        "estimate"
    };
    let mut response = json_bytes(json);
    response
        .headers_mut()
        .insert(HOW, HeaderValue::from_static(how));
    Ok(response)
}

/// `GET /v1/responses/{id}`: a stored response, whole or as a stream.
pub(in crate::server) async fn show(
    State(state): State<AppState>,
    Segments(id): Segments<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = caller::of(&headers)?;
    let shown = Query::of(&uri).shown()?;
    Ok(answer(
        state.live().engine.response(&id, &caller, shown).await?,
    ))
}

/// `DELETE /v1/responses/{id}`
pub(in crate::server) async fn delete(
    State(state): State<AppState>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = caller::of(&headers)?;
    Ok(json_bytes(
        state.live().engine.delete_response(&id, &caller).await?,
    ))
}

/// `POST /v1/responses/{id}/cancel`
pub(in crate::server) async fn cancel(
    State(state): State<AppState>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = caller::of(&headers)?;
    Ok(json_bytes(
        state.live().engine.cancel_response(&id, &caller).await?,
    ))
}

/// `GET /v1/responses/{id}/input_items`
pub(in crate::server) async fn input_items(
    State(state): State<AppState>,
    Segments(id): Segments<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = caller::of(&headers)?;
    let listing = Query::of(&uri).listing()?;
    Ok(json_bytes(
        state
            .live()
            .engine
            .input_items(&id, &caller, &listing)
            .await?,
    ))
}

/// Who asks, and what; not while the program is about to end.
async fn read(state: &AppState, request: Request) -> Result<(Arc<Live>, Caller, Bytes), Failure> {
    if state.draining.is_cancelled() {
        return Err(Failure(shutting_down()));
    }
    let caller = caller::of(request.headers())?;
    let live = state.live();
    let body = body::read(request, live.max_body_bytes, live.body_timeout).await?;
    Ok((live, caller, body))
}

fn answer(reply: Reply) -> Response {
    match reply {
        Reply::Passed(stream) => event_stream(Body::new(stream)),
        Reply::Stream(stream) => event_stream(Body::new(stream)),
        Reply::Follow(follow) => event_stream(Body::new(follow)),
        Reply::Whole(json) => json_bytes(json),
    }
}

/// `GET`: the WebSocket form of the API.
pub(in crate::server) async fn upgrade(
    State(state): State<AppState>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let wants = headers
        .get(UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains("websocket"));
    let upgrade = match upgrade {
        Ok(upgrade) if !state.draining.is_cancelled() => upgrade,
        Ok(_) => return Failure(shutting_down()).into_response(),
        Err(_) if !wants => {
            let error = ErrorObject::invalid("Not allowed to GET on /v1/responses");
            let refusal = Refusal::new(405, error.with_code("method_not_supported"));
            return Failure(refusal).into_response();
        }
        Err(rejection) => return Failure(no_socket(&rejection.body_text())).into_response(),
    };
    let Ok(permit) = Arc::clone(&state.sockets.free).try_acquire_owned() else {
        return Failure(no_socket("there are too many connections")).into_response();
    };
    let caller = match caller::of(&headers) {
        Ok(caller) => caller,
        Err(refusal) => return Failure(refusal).into_response(),
    };
    let max_body_bytes = state.live().max_body_bytes;
    let open = state.sockets.open.clone();
    upgrade
        .max_message_size(max_body_bytes)
        .max_frame_size(max_body_bytes)
        .on_upgrade(move |socket| {
            open.track_future(async move {
                socket::serve(socket, state, caller).await;
                drop(permit);
            })
        })
}

/// Clients take 426 for "use POST", at once and without a warning.
fn no_socket(why: &str) -> Refusal {
    let message = format!("This connection cannot become a WebSocket ({why}): use POST.");
    let error = ErrorObject::invalid(message).with_code("websocket_not_supported");
    Refusal::new(426, error)
}

fn shutting_down() -> Refusal {
    let error = ErrorObject::server("The server is about to end; try again.")
        .with_code("server_shutting_down");
    Refusal {
        retry_after: Some(RetryAfter::seconds(1)),
        ..Refusal::new(503, error)
    }
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
