//! The program out of its configuration: upstreams, routes, key, engine, listener.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use url::Url;

use crate::config::{self, Config, KeySource, Pattern, Show, StorePlace};
use crate::engine::{
    self, BackgroundSettings, Engine, Modality, ModelMetadata, Names, Route, Routes, Worker,
};
use crate::ids::new_id;
use crate::profile;
use crate::seal::{SealError, SealingKey};
use crate::server::{self, AcceptSettings, AppState, ServerSettings};
use crate::store::{self, Store, StoreError};
use crate::translate::{Limits, Thinking};
use crate::upstream::{self, Upstream};

/// How often what is stored is looked through for what is too old or too much.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How much is kept in memory where there is no place for a file.
const MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// An upstream's settings are unusable.
    #[error(transparent)]
    Upstream(#[from] upstream::UpstreamError),
    /// An upstream's profile is unusable.
    #[error("upstream `{0}`: {1}")]
    Profile(String, profile::ProfileError),
    /// A header's name or value is none.
    #[error("upstream `{upstream}`: `{header}` cannot be a header")]
    Header {
        /// The upstream.
        upstream: String,
        /// The header's name.
        header: String,
    },
    /// There is no key to seal with.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The program, built and bound, not yet serving.
pub struct App {
    listener: TcpListener,
    address: SocketAddr,
    state: AppState,
    accept: AcceptSettings,
    background: BackgroundSettings,
}

impl App {
    /// Builds everything and takes the address. Upstreams are not asked anything: they may be down.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let store = open_store(&config.store).await?;
        let engine = Arc::new(build_engine(config, store)?);
        let server = &config.server;
        let listen = |error| StartError::Listen {
            address: server.listen,
            error,
        };
        let listener = TcpListener::bind(server.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let state = AppState::new(
            engine,
            ServerSettings {
                max_body_bytes: server.max_body_bytes,
                body_timeout: server.body_timeout,
                max_sockets: server.max_connections,
            },
        );
        let accept = AcceptSettings {
            max_connections: server.max_connections,
            header_timeout: server.header_timeout,
            drain_timeout: server.drain_timeout,
        };
        let background = BackgroundSettings {
            concurrency: config.store.background_concurrency,
            lease: config.store.lease,
            drain: server.drain_timeout,
        };
        Ok(Self {
            listener,
            address,
            state,
            accept,
            background,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then lets running responses end. Says whether all of them did.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> bool {
        let draining = self.state.draining.clone();
        let engine = Arc::clone(&self.state.engine);
        let worker = Worker::new(Arc::clone(&engine), self.background, new_id());
        let working = worker.map(|worker| tokio::spawn(worker.run(draining.clone())));
        let stop = async move {
            stop.await;
            draining.cancel();
        };
        let state = self.state.clone();
        let router = server::router(self.state);
        let drain = self.accept.drain_timeout;
        let mut all_ended = server::serve(self.listener, router, self.accept, stop).await;
        let sockets = tokio::time::timeout(drain, state.sockets_closed());
        all_ended &= sockets.await.is_ok();
        if let Some(working) = working {
            // A worker that panicked has ended too.
            let _ = working.await;
        }
        engine.close().await;
        all_ended
    }
}

/// Builds all upstreams.
///
/// # Errors
/// See [`StartError`].
pub fn build_upstreams(config: &Config) -> Result<Vec<Arc<Upstream>>, StartError> {
    let tls = upstream::Tls::default();
    config
        .upstreams
        .iter()
        .map(|entry| Ok(Arc::new(Upstream::new(upstream_settings(entry)?, &tls)?)))
        .collect()
}

/// Whether an upstream's profile and its overrides are right, in words if not.
///
/// # Errors
/// What is wrong.
pub fn check_dialect(name: &str, url: &Url, overrides: &toml::Table) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default();
    profile::resolve(name, host, url.port(), overrides)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn build_engine(config: &Config, store: Option<Store>) -> Result<Engine, StartError> {
    let settings = engine::Settings {
        thinking: match config.reasoning.show {
            Show::Auto => None,
            Show::Summary => Some(Thinking::Summary),
            Show::Content => Some(Thinking::Content),
            Show::Hidden => Some(Thinking::Hidden),
        },
        first_status_wait: config.server.first_status_wait,
        keepalive_interval: config.server.keepalive_interval,
        done_sentinel: config.server.done_sentinel,
        max_history_bytes: config.server.max_body_bytes,
    };
    let seals = Arc::new(Arc::new(sealing_key(config)?));
    Ok(Engine::new(
        settings,
        build_upstreams(config)?,
        routes(config),
        seals,
        store,
    ))
}

/// The store of the configuration. Where the usual file, which nobody asked for, cannot be made (a
/// read-only root), a little is kept in memory: it is gone after a restart, which is no reason not to
/// start.
async fn open_store(config: &config::Store) -> Result<Option<Store>, StartError> {
    let place = match &config.place {
        StorePlace::None => return Ok(None),
        StorePlace::Memory => store::Place::Memory,
        StorePlace::Sqlite(path) => store::Place::Sqlite(path.clone()),
        StorePlace::Postgres(address) => store::Place::Postgres(address.clone()),
    };
    let settings = store::Settings {
        max_connections: config.max_connections,
        timeout: config.timeout,
        acquire_timeout: config.timeout,
        max_age: config.retention,
        max_bytes: config.max_bytes,
        sweep_interval: Some(SWEEP_INTERVAL),
        ..store::Settings::new(place)
    };
    match Store::open(settings.clone()).await {
        Ok(store) => Ok(Some(store)),
        Err(error) if !config.chosen => {
            tracing::warn!(%error, "responses are kept in memory, until the next restart");
            let settings = store::Settings {
                place: store::Place::Memory,
                max_bytes: Some(MEMORY_BYTES),
                ..settings
            };
            Ok(Some(Store::open(settings).await?))
        }
        Err(error) => Err(error.into()),
    }
}

/// The key in its file. Where the default file cannot be made (a read-only root), thinking that was
/// sealed before a restart is lost after it, which is no reason not to start.
fn sealing_key(config: &Config) -> Result<SealingKey, StartError> {
    let Some(path) = &config.reasoning.seal_key_file else {
        tracing::warn!(
            "no folder to keep the sealing key in: sealed thinking opens until the next restart"
        );
        return Ok(SealingKey::ephemeral()?);
    };
    match SealingKey::from_file(path) {
        Ok(key) => Ok(key),
        Err(error @ SealError::File { .. }) => {
            tracing::warn!(%error, "sealed thinking opens until the next restart only");
            Ok(SealingKey::ephemeral()?)
        }
        Err(error) => Err(error.into()),
    }
}

fn upstream_settings(entry: &config::Upstream) -> Result<upstream::Settings, StartError> {
    for variable in &entry.missing_variables {
        let what = match &entry.key_source {
            KeySource::Variable(name) if name == variable => "no key is sent",
            _ => "its header is not sent",
        };
        tracing::warn!(upstream = %entry.name, %variable, "the variable is not set: {what}");
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &entry.http_headers {
        let bad = || StartError::Header {
            upstream: entry.name.clone(),
            header: name.clone(),
        };
        let key = HeaderName::try_from(name).map_err(|_| bad())?;
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    let host = entry.base_url.host_str().unwrap_or_default();
    let (profile_name, profile) =
        profile::resolve(&entry.profile, host, entry.base_url.port(), &entry.dialect)
            .map_err(|error| StartError::Profile(entry.name.clone(), error))?;
    Ok(upstream::Settings {
        name: entry.name.clone(),
        base_url: entry.base_url.clone(),
        key: entry.key.clone(),
        headers,
        query: entry.query_params.clone(),
        max_retries: usize::try_from(entry.request_max_retries).unwrap_or(usize::MAX),
        connect_timeout: entry.connect_timeout,
        first_byte_timeout: entry.first_byte_timeout,
        idle_timeout: entry.stream_idle_timeout,
        limits: Limits {
            event_bytes: entry.max_event_bytes,
            answer_bytes: entry.max_answer_bytes,
        },
        profile,
        profile_name,
    })
}

fn routes(config: &Config) -> Routes {
    let place = |name: &str| {
        config
            .upstreams
            .iter()
            .position(|upstream| upstream.name == name)
    };
    let mut routes: Vec<Route> = config
        .models
        .iter()
        .filter_map(|model| {
            Some(Route {
                names: match &model.name {
                    Pattern::Exact(name) => Names::Exact(name.clone()),
                    Pattern::Prefix(start) => Names::Prefix(start.clone()),
                },
                upstream: place(&model.upstream)?,
                model: model.model.clone(),
                effort: model.reasoning_effort.clone(),
                metadata: metadata(model),
            })
        })
        .collect();
    // All other names go to the default upstream as they are.
    routes.extend(place(&config.default_upstream).map(|upstream| Route {
        names: Names::Prefix(String::new()),
        upstream,
        model: None,
        effort: None,
        metadata: ModelMetadata {
            apply_patch: true,
            ..ModelMetadata::default()
        },
    }));
    Routes::new(routes)
}

fn metadata(model: &config::Model) -> ModelMetadata {
    let modality = |modality: &config::Modality| match modality {
        config::Modality::Text => Modality::Text,
        config::Modality::Image => Modality::Image,
    };
    ModelMetadata {
        display_name: model.display_name.clone(),
        description: model.description.clone(),
        context_window: model.context_window,
        max_output_tokens: model.max_output_tokens,
        reasoning_efforts: model.reasoning_efforts.clone(),
        default_reasoning_effort: model.default_reasoning_effort.clone(),
        input: model.input.iter().map(modality).collect(),
        apply_patch: model.apply_patch,
        multi_agent: model.multi_agent,
        verbosity: model.verbosity,
        base_instructions: model.base_instructions.clone(),
    }
}
