//! How clients are answered.
//!
//! The table of contents is [`router`]; each route has a file of its own in `routes/`.

mod accept;
mod admit;
mod body;
mod caller;
mod cors;
mod error;
mod origin;
mod peer;
mod query;
mod routes;
mod segments;
mod socket;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tracing::Instrument;

pub use accept::{AcceptSettings, serve};
pub use cors::Cors;

use crate::admission::Admission;
use crate::engine::Engine;
use crate::ids::new_id;
use crate::responses::ErrorObject;
use crate::upstream::Refusal;
use error::Failure;
use socket::Sockets;

/// What the routes share.
#[derive(Clone)]
pub struct AppState {
    live: Arc<ArcSwap<Live>>,
    /// Set once the program is to end: no new work is taken.
    pub draining: CancellationToken,
    sockets: Sockets,
}

/// What requests are served by. A request takes it once, and ends with what it began with.
pub struct Live {
    /// Answers requests.
    pub engine: Arc<Engine>,
    /// Lets them in.
    pub admission: Arc<Admission>,
    /// The web pages that may ask; `None` for none but this machine's.
    pub cors: Option<Cors>,
    /// The most bytes of a request's body, decompressed.
    pub max_body_bytes: usize,
    /// How long a request's body may take.
    pub body_timeout: Duration,
}

impl AppState {
    /// Begins with these; there are `max_sockets` at a time.
    #[must_use]
    pub fn new(live: Live, max_sockets: usize) -> Self {
        Self {
            live: Arc::new(ArcSwap::from_pointee(live)),
            draining: CancellationToken::new(),
            sockets: Sockets::new(max_sockets),
        }
    }

    /// Waits until no `WebSocket` is open any more.
    pub async fn sockets_closed(&self) {
        self.sockets.open.close();
        self.sockets.open.wait().await;
    }

    /// What a request that comes now is served by.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// What requests that come from now on are served by.
    pub fn replace(&self, live: Live) {
        self.live.store(Arc::new(live));
    }
}

/// All routes. The API's are there with and without `/v1`, as clients differ in what they take for
/// the base URL.
pub fn router(state: AppState) -> Router {
    let api = Router::new()
        .route(
            "/responses",
            post(routes::responses::create).get(routes::responses::upgrade),
        )
        .route("/responses/compact", post(routes::responses::compact))
        .route(
            "/responses/input_tokens",
            post(routes::responses::input_tokens),
        )
        .route(
            "/responses/{id}",
            get(routes::responses::show).delete(routes::responses::delete),
        )
        .route("/responses/{id}/cancel", post(routes::responses::cancel))
        .route(
            "/responses/{id}/input_items",
            get(routes::responses::input_items),
        )
        .route("/conversations", post(routes::conversations::create))
        .route(
            "/conversations/{id}",
            get(routes::conversations::show)
                .post(routes::conversations::update)
                .delete(routes::conversations::delete),
        )
        .route(
            "/conversations/{id}/items",
            get(routes::conversations::list_items).post(routes::conversations::add_items),
        )
        .route(
            "/conversations/{id}/items/{item}",
            get(routes::conversations::show_item).delete(routes::conversations::delete_item),
        )
        .route("/models", get(routes::models::list))
        .route("/models/{*model}", get(routes::models::show));
    let guarded = Router::new()
        .merge(api.clone())
        .nest("/v1", api)
        // What Codex asks an Ollama before it trusts it (`--oss`).
        .route("/api/version", get(routes::ollama::version))
        .route("/api/tags", get(routes::ollama::tags))
        .route("/api/pull", post(routes::ollama::pull))
        .method_not_allowed_fallback(no_such_method)
        // Outermost last: what is sent without a right key is not even unpacked.
        .route_layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .route_layer(middleware::from_fn_with_state(state.clone(), admit::known));
    Router::new()
        .merge(guarded)
        .route("/healthz", get(routes::health::live))
        .route("/readyz", get(routes::health::ready))
        .route("/", get(routes::health::root))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        // Outermost last: a panic becomes a 500, pages may see also that, every answer gets a
        // request id.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(state.clone(), cors::cors))
        .layer(middleware::from_fn(request_id))
        .with_state(state)
}

/// Gives each answer an id, which each line in the log about it has too.
async fn request_id(request: Request, next: Next) -> Response {
    const NAME: HeaderName = HeaderName::from_static("x-request-id");
    let id = format!("req_{}", new_id());
    // A span of the highest level, or else a log of warnings only would be without ids.
    let span = tracing::error_span!("request", id = %id, key = tracing::field::Empty);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().entry(NAME).or_insert(value);
    }
    response
}

async fn no_such_path(request: Request) -> Failure {
    let message = format!(
        "Invalid URL ({} {})",
        request.method(),
        request.uri().path()
    );
    Failure(Refusal::new(
        404,
        ErrorObject::invalid(message).with_code("unknown_url"),
    ))
}

async fn no_such_method(request: Request) -> Failure {
    let message = format!(
        "Not allowed to {} on {}",
        request.method(),
        request.uri().path()
    );
    Failure(Refusal::new(
        405,
        ErrorObject::invalid(message).with_code("method_not_supported"),
    ))
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    tracing::error!(
        panic = what,
        "a request panicked: this is a fault of the proxy"
    );
    let error = ErrorObject::server("The proxy failed in an unforeseen way; its log says how.");
    Failure(Refusal::new(500, error)).into_response()
}
