//! `/v1/conversations`

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::json_bytes;
use crate::ids::new_id;
use crate::server::error::Failure;
use crate::server::query::Query;
use crate::server::segments::Segments;
use crate::server::{AppState, body, caller};

async fn whole(state: &AppState, request: Request) -> Result<axum::body::Bytes, Failure> {
    let live = state.live();
    Ok(body::read(request, live.max_body_bytes, live.body_timeout).await?)
}

/// `POST /v1/conversations`
pub(in crate::server) async fn create(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, Failure> {
    let caller = caller::of(request.headers())?;
    let body = whole(&state, request).await?;
    let made = state
        .live()
        .engine
        .create_conversation(&body, &new_id(), &caller)
        .await?;
    Ok(json_bytes(made))
}

/// `GET /v1/conversations/{id}`
pub(in crate::server) async fn show(
    State(state): State<AppState>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = caller::of(&headers)?;
    Ok(json_bytes(
        state.live().engine.conversation(&id, &caller).await?,
    ))
}

/// `POST /v1/conversations/{id}`
pub(in crate::server) async fn update(
    State(state): State<AppState>,
    Segments(id): Segments<String>,
    request: Request,
) -> Result<Response, Failure> {
    let caller = caller::of(request.headers())?;
    let body = whole(&state, request).await?;
    let updated = state
        .live()
        .engine
        .update_conversation(&id, &body, &caller)
        .await?;
    Ok(json_bytes(updated))
}

/// `DELETE /v1/conversations/{id}`
pub(in crate::server) async fn delete(
    State(state): State<AppState>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = caller::of(&headers)?;
    Ok(json_bytes(
        state
            .live()
            .engine
            .delete_conversation(&id, &caller)
            .await?,
    ))
}

/// `POST /v1/conversations/{id}/items`
pub(in crate::server) async fn add_items(
    State(state): State<AppState>,
    Segments(id): Segments<String>,
    request: Request,
) -> Result<Response, Failure> {
    let caller = caller::of(request.headers())?;
    let body = whole(&state, request).await?;
    let added = state
        .live()
        .engine
        .add_items(&id, &body, &new_id(), &caller)
        .await?;
    Ok(json_bytes(added))
}

/// `GET /v1/conversations/{id}/items`
pub(in crate::server) async fn list_items(
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
            .list_items(&id, &caller, &listing)
            .await?,
    ))
}

/// `GET /v1/conversations/{id}/items/{item}`
pub(in crate::server) async fn show_item(
    State(state): State<AppState>,
    Segments((id, item)): Segments<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = caller::of(&headers)?;
    let sealed = Query::of(&uri).shows_sealed();
    Ok(json_bytes(
        state
            .live()
            .engine
            .item(&id, &item, &caller, sealed)
            .await?,
    ))
}

/// `DELETE /v1/conversations/{id}/items/{item}`
pub(in crate::server) async fn delete_item(
    State(state): State<AppState>,
    Segments((id, item)): Segments<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = caller::of(&headers)?;
    Ok(json_bytes(
        state.live().engine.delete_item(&id, &item, &caller).await?,
    ))
}
