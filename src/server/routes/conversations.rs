//! `/v1/conversations`

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::Response;

use super::json_bytes;
use crate::ids::new_id;
use crate::server::admit::Asker;
use crate::server::body;
use crate::server::error::Failure;
use crate::server::query::Query;
use crate::server::segments::Segments;

async fn whole(asker: &Asker, request: Request) -> Result<Bytes, Failure> {
    let (live, limit) = (&asker.live, asker.max_body_bytes());
    Ok(body::read(request, limit, live.body_timeout, &live.admission).await?)
}

/// `POST /v1/conversations`
pub(in crate::server) async fn create(asker: Asker, request: Request) -> Result<Response, Failure> {
    let body = whole(&asker, request).await?;
    let Asker { live, caller } = asker;
    let made = live
        .engine
        .create_conversation(&body, &new_id(), &caller)
        .await?;
    Ok(json_bytes(made))
}

/// `GET /v1/conversations/{id}`
pub(in crate::server) async fn show(
    Asker { live, caller }: Asker,
    Segments(id): Segments<String>,
) -> Result<Response, Failure> {
    Ok(json_bytes(live.engine.conversation(&id, &caller).await?))
}

/// `POST /v1/conversations/{id}`
pub(in crate::server) async fn update(
    asker: Asker,
    Segments(id): Segments<String>,
    request: Request,
) -> Result<Response, Failure> {
    let body = whole(&asker, request).await?;
    let Asker { live, caller } = asker;
    let updated = live.engine.update_conversation(&id, &body, &caller).await?;
    Ok(json_bytes(updated))
}

/// `DELETE /v1/conversations/{id}`
pub(in crate::server) async fn delete(
    Asker { live, caller }: Asker,
    Segments(id): Segments<String>,
) -> Result<Response, Failure> {
    Ok(json_bytes(
        live.engine.delete_conversation(&id, &caller).await?,
    ))
}

/// `POST /v1/conversations/{id}/items`
pub(in crate::server) async fn add_items(
    asker: Asker,
    Segments(id): Segments<String>,
    request: Request,
) -> Result<Response, Failure> {
    let body = whole(&asker, request).await?;
    let Asker { live, caller } = asker;
    let added = live
        .engine
        .add_items(&id, &body, &new_id(), &caller)
        .await?;
    Ok(json_bytes(added))
}

/// `GET /v1/conversations/{id}/items`
pub(in crate::server) async fn list_items(
    Asker { live, caller }: Asker,
    Segments(id): Segments<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    let listing = Query::of(&uri).listing()?;
    Ok(json_bytes(
        live.engine.list_items(&id, &caller, &listing).await?,
    ))
}

/// `GET /v1/conversations/{id}/items/{item}`
pub(in crate::server) async fn show_item(
    Asker { live, caller }: Asker,
    Segments((id, item)): Segments<(String, String)>,
    uri: Uri,
) -> Result<Response, Failure> {
    let sealed = Query::of(&uri).shows_sealed();
    Ok(json_bytes(
        live.engine.item(&id, &item, &caller, sealed).await?,
    ))
}

/// `DELETE /v1/conversations/{id}/items/{item}`
pub(in crate::server) async fn delete_item(
    Asker { live, caller }: Asker,
    Segments((id, item)): Segments<(String, String)>,
) -> Result<Response, Failure> {
    Ok(json_bytes(
        live.engine.delete_item(&id, &item, &caller).await?,
    ))
}
