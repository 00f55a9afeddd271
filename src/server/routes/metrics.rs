//! `/metrics`: numbers for Prometheus.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::engine::UpstreamHealth;
use crate::server::AppState;
use crate::telemetry::{ModelNow, Now, UpstreamNow};
use crate::upstream;

/// `GET /metrics`, in the text format of `OpenMetrics`.
pub(in crate::server) async fn scrape(State(state): State<AppState>) -> Response {
    const FORMAT: HeaderValue =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    let engine = &state.live().engine;
    let now = Now {
        upstreams: engine.health().into_iter().map(upstream).collect(),
        connections: state.connections(),
        websockets: state.sockets.open.len(),
        background: engine.background(),
    };
    let mut response = state.metrics.encode(&now).into_response();
    response.headers_mut().insert(CONTENT_TYPE, FORMAT);
    response
}

fn upstream(health: UpstreamHealth) -> UpstreamNow {
    let model = |model: upstream::ModelHealth| ModelNow {
        breaker: match model.state {
            upstream::State::Closed => 0,
            upstream::State::Probation => 1,
            upstream::State::Open => 2,
        },
        opened: model.opened,
        name: model.model,
    };
    UpstreamNow {
        name: health.upstream,
        in_flight: health.in_flight,
        waiting: health.waiting,
        models: health.models.into_iter().map(model).collect(),
    }
}
