//! `/healthz`, `/readyz` and `/`

use axum::extract::State;
use axum::http::StatusCode;

use crate::closing::Step;
use crate::server::AppState;

/// `GET /healthz`: the process is alive.
pub(in crate::server) async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: new work is welcome. An upstream that is down is no reason to say no: the proxy
/// tells clients better than a load balancer would.
pub(in crate::server) async fn ready(State(state): State<AppState>) -> (StatusCode, &'static str) {
    match state.closing.step() {
        Step::Serving => (StatusCode::OK, "ok\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

/// `GET /`: for people, and for what Ollama's clients ask first.
pub(in crate::server) async fn root() -> &'static str {
    concat!(
        "Antiphon ",
        env!("CARGO_PKG_VERSION"),
        " is running. The API is at /v1.\n"
    )
}
