//! All numbers of the program, and how they are told.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::histogram::{Histogram, STORE, With};
use super::names::{Names, OTHER};
use super::now::Now;
use super::process;
use super::series::{Families, Series};

/// How many upstreams, models and tenants are told apart, taken together.
const MOST_SERIES: usize = 4096;

/// The label of clients for whom no key is configured.
const ANONYMOUS: &str = "anonymous";

/// The label of what concerns all tenants.
const ALL: &str = "all";

/// The numbers of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    models: Names,
    families: Families,
    series: RwLock<HashMap<String, Arc<Series>>>,
    under_way: Gauge,
    requests: Family<RequestLabels, Counter>,
    upstream_errors: Family<ErrorLabels, Counter>,
    upstream_retries: Family<UpstreamLabels, Counter>,
    upstream_fallbacks: Family<UpstreamLabels, Counter>,
    healed: Family<HealedLabels, Counter>,
    dropped_tools: Family<ToolLabels, Counter>,
    store: [Histogram; 2],
    store_errors: [Counter; 2],
    limited: Family<LimitLabels, Counter>,
    shed: Family<ShedLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    reloaded: Gauge,
}

/// What is asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreWork {
    /// A read.
    Read,
    /// A write.
    Write,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: Arc<str>,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: Arc<str>,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabels {
    upstream: Arc<str>,
    kind: Arc<str>,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HealedLabels {
    upstream: Arc<str>,
    model: Arc<str>,
    format: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ToolLabels {
    upstream: Arc<str>,
    r#type: Arc<str>,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StoreLabels {
    operation: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    tenant: Arc<str>,
    limit: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ShedLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("antiphon_build", "The program", Info::new(version));
        let under_way = registered(
            &mut registry,
            "antiphon_streams_in_flight",
            "Responses under way, streamed or not",
        );
        let requests = registered(
            &mut registry,
            "antiphon_http_requests",
            "Requests by route and status; a stream counts when its head goes out",
        );
        let families = Families::register(&mut registry);
        let upstream_errors = registered(
            &mut registry,
            "antiphon_upstream_errors",
            "Failures of upstreams, each try by itself",
        );
        let upstream_retries = registered(
            &mut registry,
            "antiphon_upstream_retries",
            "How often the same upstream was asked again",
        );
        let upstream_fallbacks = registered(
            &mut registry,
            "antiphon_upstream_fallbacks",
            "How often the upstream was left for the next one",
        );
        let healed = registered(
            &mut registry,
            "antiphon_healed_calls",
            "Tool calls that were found in the text",
        );
        let dropped_tools = registered(
            &mut registry,
            "antiphon_dropped_tools",
            "Tools that were left out of requests, as no chat server can run them",
        );
        let (store, store_errors) = store(&mut registry);
        let limited = registered(
            &mut registry,
            "antiphon_limited",
            "Requests that were refused by a limit of a key, or of all clients together (tenant all)",
        );
        let shed = registered(
            &mut registry,
            "antiphon_shed",
            "Requests that were turned away because there was too much to do",
        );
        let reloads = registered(
            &mut registry,
            "antiphon_config_reloads",
            "How often the configuration was read again: applied, unchanged, rejected",
        );
        let reloaded = registered(
            &mut registry,
            "antiphon_config_last_reload_successful",
            "Whether the configuration was right when it was last read",
        );
        let this = Self {
            registry,
            models: Names::default(),
            families,
            series: RwLock::default(),
            under_way,
            requests,
            upstream_errors,
            upstream_retries,
            upstream_fallbacks,
            healed,
            dropped_tools,
            store,
            store_errors,
            limited,
            shed,
            reloads,
            reloaded,
        };
        this.reloaded.set(1);
        this
    }
}

/// Registers a metric that begins at nothing.
fn registered<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: prometheus_client::registry::Metric + Default + Clone,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn store(registry: &mut Registry) -> ([Histogram; 2], [Counter; 2]) {
    let seconds = Family::<StoreLabels, Histogram, With>::new_with_constructor(With(&STORE));
    registry.register(
        "antiphon_store_operation_seconds",
        "How long an operation of the store took, the wait for its turn included",
        seconds.clone(),
    );
    let errors: Family<StoreLabels, Counter> = registered(
        registry,
        "antiphon_store_errors",
        "Operations of the store that failed",
    );
    let labels = ["read", "write"].map(|operation| StoreLabels { operation });
    (
        labels
            .clone()
            .map(|labels| seconds.get_or_create_owned(&labels)),
        labels.map(|labels| errors.get_or_create_owned(&labels)),
    )
}

impl Metrics {
    /// These models are configured: each has a label of its own, from the beginning.
    pub fn know_models(&self, names: impl IntoIterator<Item = String>) {
        self.models.add(names);
    }

    /// The numbers of an upstream, a model and a tenant. Labels are bounded: a model has one of its own
    /// if it is configured, or once an upstream `answered` to its name, and then only so many; the
    /// tenants are those of configured keys. All the rest is `other` and `anonymous`.
    #[must_use]
    pub fn series(
        &self,
        upstream: &str,
        model: &str,
        tenant: Option<&str>,
        answered: bool,
    ) -> Arc<Series> {
        let model = self.models.label(model, answered);
        let tenant = tenant.unwrap_or(ANONYMOUS);
        let mut key = String::with_capacity(upstream.len() + model.len() + tenant.len() + 2);
        // Writing to a string cannot fail.
        let _ = write!(key, "{upstream}\0{model}\0{tenant}");
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&key) {
            return Arc::clone(series);
        }
        let full = known.len() >= MOST_SERIES;
        drop(known);
        let (key, model, tenant) = match full {
            true => (format!("{upstream}\0"), OTHER.into(), OTHER.into()),
            false => (key, model, tenant.into()),
        };
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let series = known
            .entry(key)
            .or_insert_with(|| Arc::new(self.families.series(upstream, &model, &tenant)));
        Arc::clone(series)
    }

    /// A response begins; it is under way until what is returned is dropped.
    pub fn begin(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    /// A request was answered, or began to be.
    pub fn request(&self, route: &str, method: &'static str, status: u16) {
        let labels = RequestLabels {
            route: route.into(),
            method,
            status,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// An upstream failed.
    pub fn upstream_error(&self, upstream: &str, kind: &str) {
        let labels = ErrorLabels {
            upstream: upstream.into(),
            kind: kind.into(),
        };
        self.upstream_errors.get_or_create(&labels).inc();
    }

    /// An upstream is asked again.
    pub fn upstream_retry(&self, upstream: &str) {
        let upstream = upstream.into();
        let labels = UpstreamLabels { upstream };
        self.upstream_retries.get_or_create(&labels).inc();
    }

    /// An upstream is left for the next one.
    pub fn upstream_fallback(&self, upstream: &str) {
        let upstream = upstream.into();
        let labels = UpstreamLabels { upstream };
        self.upstream_fallbacks.get_or_create(&labels).inc();
    }

    /// Calls were found in the text of an answer.
    pub fn healed(&self, upstream: &str, model: &str, format: &'static str, calls: usize) {
        let labels = HealedLabels {
            upstream: upstream.into(),
            model: self.models.label(model, true),
            format,
        };
        let calls = u64::try_from(calls).unwrap_or(u64::MAX);
        self.healed.get_or_create(&labels).inc_by(calls);
    }

    /// A tool was left out. Its type is a word of the API, or `other`: clients may send any.
    pub fn dropped_tool(&self, upstream: &str, kind: &str) {
        const HOSTED: [&str; 8] = [
            "web_search",
            "web_search_preview",
            "file_search",
            "code_interpreter",
            "image_generation",
            "mcp",
            "computer",
            "computer_use_preview",
        ];
        let known = HOSTED.into_iter().find(|known| *known == kind);
        let labels = ToolLabels {
            upstream: upstream.into(),
            r#type: known.unwrap_or(OTHER).into(),
        };
        self.dropped_tools.get_or_create(&labels).inc();
    }

    /// The store did something, or failed to.
    pub fn stored(&self, work: StoreWork, took: Duration, failed: bool) {
        let [read, write] = &self.store;
        let [read_errors, write_errors] = &self.store_errors;
        let (seconds, errors) = match work {
            StoreWork::Read => (read, read_errors),
            StoreWork::Write => (write, write_errors),
        };
        seconds.observe(took);
        if failed {
            errors.inc();
        }
    }

    /// A limit refused a request: a key's, or one of all clients together.
    pub fn limited(&self, tenant: Option<&str>, limit: &'static str) {
        let tenant = tenant.unwrap_or(ALL).into();
        self.limited
            .get_or_create(&LimitLabels { tenant, limit })
            .inc();
    }

    /// A request was turned away because there was too much to do.
    pub fn shed(&self, reason: &'static str) {
        self.shed.get_or_create(&ShedLabels { reason }).inc();
    }

    /// The configuration was read again. `None`: nothing had changed.
    pub fn reloaded(&self, applied: Option<bool>) {
        let result = match applied {
            Some(true) => "applied",
            None => "unchanged",
            Some(false) => "rejected",
        };
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
        self.reloaded.set((applied != Some(false)).into());
    }

    /// All numbers, as Prometheus reads them.
    #[must_use]
    pub fn encode(&self, now: &Now) -> String {
        let mut moment = Registry::default();
        now.register(&mut moment, &self.models);
        process::register(&mut moment);
        let mut out = String::with_capacity(16 * 1024);
        // Writing to a string cannot fail.
        let _ = encode_registry(&mut out, &self.registry);
        let _ = encode_registry(&mut out, &moment);
        let _ = encode_eof(&mut out);
        out
    }
}

/// A response under way.
#[derive(Debug)]
#[must_use = "it is over when this is dropped"]
pub struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}
