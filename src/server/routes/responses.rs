//! `/v1/responses`

use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Request, State};
use axum::http::header::UPGRADE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};

use super::{event_stream, json_bytes};
use crate::engine::{Reply, shutting_down};
use crate::ids::new_id;
use crate::responses::ErrorObject;
use crate::server::admit::{self, Admitted, Asker};
use crate::server::error::Failure;
use crate::server::query::Query;
use crate::server::segments::Segments;
use crate::server::{AppState, Place, Tenancy, socket};
use crate::upstream::Refusal;

/// `POST`: a response, streamed or whole.
pub(in crate::server) async fn create(
    State(state): State<AppState>,
    asker: Asker,
    request: Request,
) -> Result<Response, Response> {
    let Admitted {
        live,
        caller,
        body,
        permit,
    } = admit::enter(&state, asker, request).await?;
    let id = new_id();
    // What a response takes is set apart, or else each layer around this would move it.
    let reply = Box::pin(live.engine.create(body, &id, &caller)).await;
    Ok(admit::answer(reply, permit))
}

/// `POST /v1/responses/compact`: a conversation, summed up.
pub(in crate::server) async fn compact(
    State(state): State<AppState>,
    asker: Asker,
    request: Request,
) -> Result<Response, Response> {
    let Admitted {
        live,
        caller,
        body,
        permit,
    } = admit::enter(&state, asker, request).await?;
    let id = new_id();
    let compacted = live.engine.compact(body, &id, &caller).await;
    Ok(admit::answer(compacted.map(Reply::Whole), permit))
}

/// `POST /v1/responses/input_tokens`: how many tokens a request would be. A header says whether they
/// were counted.
pub(in crate::server) async fn input_tokens(
    State(state): State<AppState>,
    asker: Asker,
    request: Request,
) -> Result<Response, Response> {
    const HOW: HeaderName = HeaderName::from_static("x-antiphon-token-count");
    let Admitted {
        live,
        caller,
        body,
        permit,
    } = admit::enter(&state, asker, request).await?;
    let id = new_id();
    let count = live.engine.count_tokens(&body, &id, &caller).await;
    let count = count.inspect_err(|refusal| log(&id, refusal));
    let how = match &count {
        Ok(count) if count.counted => Some("upstream"),
        Ok(_) => Some("estimate"),
        Err(_) => None,
    };
    let json = count.map(|count| {
        let tokens = count.tokens;
        format!("{{\"object\":\"response.input_tokens\",\"input_tokens\":{tokens}}}")
    });
    let mut response = admit::answer(json.map(|json| Reply::Whole(json.into_bytes())), permit);
    if let Some(how) = how {
        response
            .headers_mut()
            .insert(HOW, HeaderValue::from_static(how));
    }
    Ok(response)
}

/// `GET /v1/responses/{id}`: a stored response, whole or as a stream.
pub(in crate::server) async fn show(
    asker: Asker,
    Segments(id): Segments<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    let shown = Query::of(&uri).shown()?;
    let permit = match shown.stream {
        true => Some(admit::watch(&asker).await?),
        false => None,
    };
    let Asker { live, caller } = asker;
    let reply = live.engine.response(&id, &caller, shown).await?;
    Ok(match (reply, permit) {
        (Reply::Whole(json), _) => json_bytes(json),
        (reply, Some(permit)) => admit::answer(Ok(reply), permit),
        (Reply::Follow(follow), None) => event_stream(Body::new(follow)),
        (Reply::Stream(stream), None) => event_stream(Body::new(stream)),
        (Reply::Passed(stream), None) => event_stream(Body::new(stream)),
    })
}

/// `DELETE /v1/responses/{id}`
pub(in crate::server) async fn delete(
    Asker { live, caller }: Asker,
    Segments(id): Segments<String>,
) -> Result<Response, Failure> {
    Ok(json_bytes(live.engine.delete_response(&id, &caller).await?))
}

/// `POST /v1/responses/{id}/cancel`
pub(in crate::server) async fn cancel(
    Asker { live, caller }: Asker,
    Segments(id): Segments<String>,
) -> Result<Response, Failure> {
    Ok(json_bytes(live.engine.cancel_response(&id, &caller).await?))
}

/// `GET /v1/responses/{id}/input_items`
pub(in crate::server) async fn input_items(
    Asker { live, caller }: Asker,
    Segments(id): Segments<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    let listing = Query::of(&uri).listing()?;
    Ok(json_bytes(
        live.engine.input_items(&id, &caller, &listing).await?,
    ))
}

/// `GET`: the WebSocket form of the API.
pub(in crate::server) async fn upgrade(
    State(state): State<AppState>,
    asker: Asker,
    headers: HeaderMap,
    place: Option<Extension<Arc<Place>>>,
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
    let max_body_bytes = asker.max_body_bytes();
    let caller = asker.caller;
    let open = state.sockets.open.clone();
    upgrade
        .max_message_size(max_body_bytes)
        .max_frame_size(max_body_bytes)
        .on_upgrade(move |socket| {
            open.track_future(async move {
                let tenancy = place.map(|Extension(place)| Tenancy::new(place));
                socket::serve(socket, state, caller, tenancy).await;
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

/// What limits refuse is logged by them, now and then.
fn log(id: &str, refusal: &Refusal) {
    if refusal.is_limit() {
        return;
    }
    tracing::warn!(
        response.id = %format_args!("resp_{id}"),
        http.status = refusal.status,
        error.code = refusal.error.code.as_deref(),
        error.param = refusal.error.param.as_deref(),
        error = %refusal.error.message,
        "request refused"
    );
}
