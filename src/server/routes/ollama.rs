//! What Codex asks an Ollama before it trusts it (`codex --oss`): just enough to be trusted.

use axum::extract::Request;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::json;
use super::models::catalog;
use crate::json::Text;
use crate::responses::ErrorObject;
use crate::server::admit::Asker;
use crate::server::body;
use crate::server::error::Failure;
use crate::upstream::Refusal;

/// The oldest Ollama with the Responses API is 0.13.4; ours has it too.
const VERSION: &str = "0.14.0";

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

#[derive(Serialize)]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Serialize)]
struct Tag {
    name: String,
    model: String,
}

#[derive(Serialize)]
struct Pulled {
    status: &'static str,
}

/// `GET /api/version`
pub(in crate::server) async fn version() -> Response {
    json(&Version { version: VERSION })
}

/// `GET /api/tags`: the models, as Ollama lists them.
pub(in crate::server) async fn tags(asker: Asker) -> Response {
    let models = catalog(&asker).await;
    json(&Tags {
        models: models
            .into_iter()
            .map(|entry| Tag {
                name: entry.name.clone(),
                model: entry.name,
            })
            .collect(),
    })
}

/// `POST /api/pull`: a model that some upstream takes is there already; nothing is ever fetched.
pub(in crate::server) async fn pull(asker: Asker, request: Request) -> Result<Response, Failure> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Pull<'a> {
        #[serde(alias = "name", default)]
        model: Text<'a>,
    }

    let (live, limit) = (&asker.live, asker.max_body_bytes());
    let body = body::read(request, limit, live.body_timeout, &live.admission).await?;
    let wanted: Pull<'_> = serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad_request(ErrorObject::invalid(error.to_string())))?;
    let key = asker.caller.key.as_ref();
    let may_use = key.is_none_or(|key| key.may_use(&wanted.model));
    if may_use && live.engine.knows(&wanted.model) {
        return Ok(json(&Pulled { status: "success" }));
    }
    let message = format!("no upstream has the model `{}`", wanted.model.as_str());
    Err(Failure(Refusal::new(
        404,
        ErrorObject::invalid(message).with_code("model_not_found"),
    )))
}
