//! What is true at the moment in which Prometheus reads, and is counted nowhere.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::names::Names;

/// What is true now.
#[derive(Debug, Clone, Default)]
pub struct Now {
    /// The upstreams of the configuration.
    pub upstreams: Vec<UpstreamNow>,
    /// Connections of clients.
    pub connections: usize,
    /// Those of them that are `WebSocket`s.
    pub websockets: usize,
    /// Background responses that this process makes.
    pub background: usize,
}

/// An upstream, now.
#[derive(Debug, Clone)]
pub struct UpstreamNow {
    /// Its name.
    pub name: String,
    /// Requests that it is answering.
    pub in_flight: usize,
    /// Requests that wait in its line.
    pub waiting: usize,
    /// Its models of which there is something to tell.
    pub models: Vec<ModelNow>,
}

/// A model at an upstream, now.
#[derive(Debug, Clone)]
pub struct ModelNow {
    /// Its name at the upstream.
    pub name: String,
    /// 0 while all is well, 1 while a request tries it, 2 while it is left alone.
    pub breaker: u8,
    /// How often it was taken out.
    pub opened: u64,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Upstream {
    upstream: Arc<str>,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Model {
    upstream: Arc<str>,
    model: Arc<str>,
}

impl Now {
    pub(super) fn register(&self, registry: &mut Registry, models: &Names) {
        let in_flight = Family::<Upstream, Gauge>::default();
        let waiting = Family::<Upstream, Gauge>::default();
        let breaker = Family::<Model, Gauge>::default();
        let opened = Family::<Upstream, Counter>::default();
        for upstream in &self.upstreams {
            let labels = Upstream {
                upstream: upstream.name.as_str().into(),
            };
            in_flight
                .get_or_create(&labels)
                .set(whole(upstream.in_flight));
            waiting.get_or_create(&labels).set(whole(upstream.waiting));
            let times = opened.get_or_create_owned(&labels);
            for model in &upstream.models {
                times.inc_by(model.opened);
                let label = models.label(&model.name, false);
                let is_named = *label == *model.name;
                // Clients make up names: those that nobody knows are told of together, and only while
                // something is wrong.
                if is_named || model.breaker > 0 {
                    let labels = Model {
                        upstream: Arc::clone(&labels.upstream),
                        model: label,
                    };
                    let state = breaker.get_or_create_owned(&labels);
                    state.set(state.get().max(model.breaker.into()));
                }
            }
        }
        registry.register(
            "antiphon_upstream_requests_in_flight",
            "Requests that the upstream is answering",
            in_flight,
        );
        registry.register(
            "antiphon_upstream_requests_waiting",
            "Requests that wait in the upstream's line",
            waiting,
        );
        registry.register(
            "antiphon_breaker_state",
            "Models (by their names at the upstream) that failed lately: 0 closed, 1 on probation, 2 open",
            breaker,
        );
        registry.register(
            "antiphon_breaker_opened",
            "How often a model of the upstream was taken out",
            opened,
        );
        let gauge = |value: usize| {
            let gauge: Gauge = Gauge::default();
            gauge.set(whole(value));
            gauge
        };
        registry.register(
            "antiphon_connections",
            "Clients' connections, with and without a request under way",
            gauge(self.connections),
        );
        registry.register(
            "antiphon_websockets",
            "Clients' connections that are WebSockets",
            gauge(self.websockets),
        );
        registry.register(
            "antiphon_background_in_flight",
            "Background responses that this process makes",
            gauge(self.background),
        );
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
