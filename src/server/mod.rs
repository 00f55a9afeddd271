//! How clients are answered.
//!
//! The table of contents is [`router`]; each route has a file of its own in `routes/`.

mod accept;
mod admit;
mod body;
mod caller;
mod caught;
mod cors;
mod error;
mod origin;
mod peer;
mod query;
mod routes;
mod segments;
mod socket;
mod tls;

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use accept::{
    AcceptSettings, Acceptor, Address, Connections, Http2Settings, ListenSettings, Listeners,
};
pub use cors::Cors;
pub use tls::{Pem, Tls, TlsError, tls_settings};

use crate::admission::Admission;
use crate::closing::Closing;
use crate::engine::Engine;
use crate::ids::new_id;
use crate::responses::ErrorObject;
use crate::telemetry::Metrics;
use crate::telemetry::trace::{self, TraceContext};
use crate::upstream::Refusal;
use accept::{Place, Tenancy, UnderWay};
use error::Failure;
use socket::Sockets;

/// What the routes share. Clones are the same one: each layer of each request takes one.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// See [`AppState`].
pub struct Shared {
    live: ArcSwap<Live>,
    /// How far the end of the program has come.
    pub closing: Closing,
    /// Set once the program is to end: no new work is taken.
    pub draining: CancellationToken,
    sockets: Sockets,
    metrics: Arc<Metrics>,
    connections: OnceLock<Connections>,
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
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
    pub fn new(live: Live, max_sockets: usize, closing: Closing, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared {
            live: ArcSwap::from_pointee(live),
            draining: closing.draining().clone(),
            closing,
            sockets: Sockets::new(max_sockets),
            metrics,
            connections: OnceLock::new(),
        }))
    }
}

impl Shared {
    /// Connections are taken, and can be counted.
    pub fn takes(&self, connections: Connections) {
        // Only the first ones are clients' connections.
        let _ = self.connections.set(connections);
    }

    /// How many connections there are.
    fn connections(&self) -> usize {
        self.connections.get().map_or(0, Connections::count)
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

/// What operators ask, and nobody else: for an address of its own.
pub fn operators(state: AppState) -> Router {
    Router::new()
        .route("/metrics", get(routes::metrics::scrape))
        .route("/healthz", get(routes::health::live))
        .route("/readyz", get(routes::health::ready))
        .fallback(no_such_path)
        .with_state(state)
}

/// All routes, with `/metrics` among them if it has no other place. The API's are there with and without
/// `/v1`, as clients differ in what they take for the base URL.
///
/// Each layer boxes what each route is, and each request clones it with all that is within. So there are
/// two, which do in functions what could be layers.
pub fn router(state: AppState, with_metrics: bool) -> Router {
    let mut guarded = Router::new()
        // What Codex asks an Ollama before it trusts it (`--oss`).
        .route("/api/version", get(routes::ollama::version))
        .route("/api/tags", get(routes::ollama::tags))
        .route("/api/pull", post(routes::ollama::pull));
    for (path, methods) in api() {
        guarded = guarded.route(path, methods.clone());
        guarded = guarded.route(&format!("/v1{path}"), methods);
    }
    if with_metrics {
        guarded = guarded.route("/metrics", get(routes::metrics::scrape));
    }
    let guarded = guarded
        .method_not_allowed_fallback(no_such_method)
        .route_layer(middleware::from_fn_with_state(state.clone(), admit::known));
    Router::new()
        .merge(guarded)
        .route("/healthz", get(routes::health::live))
        .route("/readyz", get(routes::health::ready))
        .route("/", get(routes::health::root))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(state.clone(), tell))
        .with_state(state)
}

/// The routes of the API.
fn api() -> [(&'static str, MethodRouter<AppState>); 12] {
    use routes::{conversations, models, responses};
    [
        (
            "/responses",
            post(responses::create).get(responses::upgrade),
        ),
        ("/responses/compact", post(responses::compact)),
        ("/responses/input_tokens", post(responses::input_tokens)),
        (
            "/responses/{id}",
            get(responses::show).delete(responses::delete),
        ),
        ("/responses/{id}/cancel", post(responses::cancel)),
        ("/responses/{id}/input_items", get(responses::input_items)),
        ("/conversations", post(conversations::create)),
        (
            "/conversations/{id}",
            get(conversations::show)
                .post(conversations::update)
                .delete(conversations::delete),
        ),
        (
            "/conversations/{id}/items",
            get(conversations::list_items).post(conversations::add_items),
        ),
        (
            "/conversations/{id}/items/{item}",
            get(conversations::show_item).delete(conversations::delete_item),
        ),
        ("/models", get(models::list)),
        ("/models/{*model}", get(models::show)),
    ]
}

/// Gives each answer an id, which each line in the log about it has too, and counts it. A client, or
/// a proxy before us, may bring an id of its own.
async fn tell(
    State(state): State<AppState>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    const NAME: HeaderName = HeaderName::from_static("x-request-id");
    let id = match request.headers().get(NAME).map(HeaderValue::to_str) {
        Some(Ok(id)) if is_id(id) => id.to_owned(),
        _ => format!("req_{}", new_id()),
    };
    let method = word_of(request.method());
    // Paths that lead nowhere are as many as clients make up.
    let route = path.as_ref().map_or("unknown", MatchedPath::as_str);
    let brought = TraceContext::of(request.headers());
    let trace = trace::of_request(method, route, request.uri().path(), &brought);
    // A span of the highest level, or else a log of warnings only would be without ids.
    let trace_id = trace::trace_id(&trace);
    let key = tracing::field::Empty;
    let span = tracing::error_span!(parent: trace.id(), "request", id = %id, trace_id, key);
    let answer = cors::answer(&state, request, next);
    let mut response = answer.instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().entry(NAME).or_insert(value);
    }
    let status = response.status().as_u16();
    trace::answered(&trace, status);
    let route = route.strip_prefix("/v1").unwrap_or(route);
    state.metrics.request(route, method, status);
    response
}

/// Whether a client's id is one: short, and nothing that a log could be deceived by.
fn is_id(text: &str) -> bool {
    const LONGEST: usize = 128;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain)
}

/// The method as a label.
fn word_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
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
