//! The program out of its configuration: upstreams, routes, key, engine, listener; and what becomes of
//! it when the configuration changes.

mod build;
mod guard;
mod shelf;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::admission::Admission;
use crate::closing::{Closing, Step};
use crate::config::{self, Config, ConfigError};
use crate::engine::{BackgroundSettings, Engine, Kept, Lasting, Worker};
use crate::ids::new_id;
use crate::profile;
use crate::seal::SealError;
use crate::server::{
    self, AcceptSettings, Acceptor, Address, AppState, Http2Settings, ListenSettings, Listeners,
    Live, Tls, TlsError,
};
use crate::store::StoreError;
use crate::telemetry::{ExportError, ExportSettings, Exporter, Metrics};
use crate::upstream;
pub use build::server_tls;
use build::{build_engine, sealing_key};
pub use build::{build_upstreams, check_dialect};
use shelf::open_store;

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The place.
        address: Address,
        /// What the system says.
        error: std::io::Error,
    },
    /// The certificate for clients, or its key, is unusable.
    #[error("[server.tls]: {0}")]
    ServerTls(#[from] TlsError),
    /// The system's certificates cannot be read.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
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
    /// An upstream's file of certificates is unusable.
    #[error("upstream `{0}`: the certificates of {1} cannot be read: {2}")]
    Certificates(String, PathBuf, String),
    /// There is no key to seal with.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Traces cannot be sent.
    #[error(transparent)]
    Traces(#[from] ExportError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The program, built and bound, not yet serving.
pub struct App {
    listeners: Listeners,
    /// For operators alone.
    operators: Option<Listeners>,
    /// Whether clients' addresses have the numbers.
    with_metrics: bool,
    state: AppState,
    accept: AcceptSettings,
    tls: Option<Tls>,
    background: BackgroundSettings,
    shutdown_delay: Duration,
    drain_timeout: Duration,
    reloader: Arc<Reloader>,
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All that ran was done.
    Whole,
    /// So much that ran was cut off.
    CutOff(usize),
}

/// How long what is cut off may take to say so, to be stored and to leave.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The same if somebody asked twice.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Puts another configuration in the place of the one that is served.
pub struct Reloader {
    state: AppState,
    lasting: Lasting,
    tls: Option<Tls>,
    /// What is served now.
    config: Mutex<Config>,
}

/// Begins to send traces, if the configuration names a collector; there must be a runtime.
///
/// # Errors
/// See [`StartError`].
pub fn send_traces(config: &Config) -> Result<Option<Exporter>, StartError> {
    let Some(endpoint) = &config.tracing.endpoint else {
        return Ok(None);
    };
    let tls = upstream::Tls::default().config()?;
    let settings = ExportSettings {
        endpoint: endpoint.clone(),
        sample_ratio: config.tracing.sample_ratio,
        timeout: config.tracing.timeout,
    };
    Ok(Some(Exporter::start(&settings, tls)?))
}

impl App {
    /// Builds everything and takes all addresses. Upstreams are not asked anything: they may be down.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let metrics = Arc::<Metrics>::default();
        let key = Arc::new(sealing_key(config)?);
        let lasting = Lasting {
            seals: Arc::new(key),
            kept: Kept::new(open_store(&config.store, Arc::clone(&metrics)).await?),
            closing: Closing::default(),
            metrics,
        };
        let engine = build_engine(config, &lasting, None)?;
        let server = &config.server;
        let tls = server_tls(server)?.map(Tls::new);
        let listeners = listen(server)?;
        let operators = listen_for_operators(config)?;
        let admission = Admission::new(guard::admission(config), Arc::clone(&lasting.metrics));
        let state = AppState::new(
            live(config, engine, admission),
            server.max_connections,
            lasting.closing.clone(),
            Arc::clone(&lasting.metrics),
        );
        let reloader = Arc::new(Reloader {
            state: state.clone(),
            lasting,
            tls: tls.clone(),
            config: Mutex::new(config.clone()),
        });
        let background = BackgroundSettings {
            concurrency: config.store.background_concurrency,
            lease: config.store.lease,
        };
        Ok(Self {
            listeners,
            operators,
            with_metrics: config.metrics.enabled && config.metrics.listen.is_none(),
            state,
            accept: accept_settings(server),
            tls,
            background,
            shutdown_delay: server.shutdown_delay,
            drain_timeout: server.drain_timeout,
            reloader,
        })
    }

    /// What puts another configuration in place while this serves.
    #[must_use]
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Where it listens: as URLs, or as `unix:PATH`.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        let scheme = match self.tls {
            Some(_) => "https",
            None => "http",
        };
        let place = |address: &Address| match address {
            Address::Tcp(address) => format!("{scheme}://{address}"),
            Address::Unix(_) => address.to_string(),
        };
        self.listeners.addresses().iter().map(place).collect()
    }

    /// Serves until it is asked to end. Then it says that it is not ready, takes no new work after a
    /// while, and lets what runs end, for a while; what then still runs is cut off. Who asks once more
    /// does not want to wait for that, and who asks a third time for nothing.
    pub async fn serve(self, mut asked: mpsc::Receiver<()>) -> Ended {
        let (state, closing) = (self.state.clone(), self.state.closing.clone());
        let (one, other) = (state.clone(), state.clone());
        let engine = move || Arc::clone(&one.live().engine);
        let permit = move |tenant: &str| Arc::clone(&other.live().admission).background(tenant);
        let worker = Worker::new(engine, permit, self.background, new_id());
        let working = worker.map(|worker| tokio::spawn(worker.run(closing.clone())));
        let operators = self.operators.map(|listeners| {
            let router = server::operators(state.clone());
            // Operators see the end too: theirs comes after it.
            let acceptor = Acceptor::new(listeners, router, self.accept, None, Closing::default());
            tokio::spawn(acceptor.serve())
        });
        let router = server::router(self.state, self.with_metrics);
        let acceptor = Acceptor::new(
            self.listeners,
            router,
            self.accept,
            self.tls,
            closing.clone(),
        );
        let connections = acceptor.connections();
        state.takes(connections.clone());
        let all_ended = async {
            acceptor.serve().await;
            state.sockets_closed().await;
            if let Some(working) = working {
                // A worker that panicked has ended too.
                let _ = working.await;
            }
        };
        let left = tokio::select! {
            biased;
            () = all_ended => 0,
            // Their clients take nothing, not even the end.
            () = go(&closing, &mut asked, self.shutdown_delay, self.drain_timeout) => connections.busy(),
        };
        state.live().engine.close().await;
        if let Some(operators) = operators {
            operators.abort();
        }
        match closing.cut_off().max(left) {
            0 => Ended::Whole,
            cut_off => Ended::CutOff(cut_off),
        }
    }
}

/// Goes step by step to the end, from the moment on when somebody asks for it.
async fn go(closing: &Closing, asked: &mut mpsc::Receiver<()>, delay: Duration, drain: Duration) {
    if asked.recv().await.is_none() {
        // Nobody is left who could.
        std::future::pending::<()>().await;
    }
    tracing::info!("asked to end");
    closing.go_to(Step::Leaving);
    let mut hurry = has_come(asked, delay).await;
    closing.go_to(Step::Draining);
    hurry = hurry || has_come(asked, drain).await;
    if hurry {
        tracing::info!("asked once more: what runs is cut off");
    }
    closing.go_to(Step::Over);
    let last_words = if hurry { LAST_WORD } else { LAST_WORDS };
    has_come(asked, last_words).await;
}

/// Whether it was asked for within that time.
async fn has_come(asked: &mut mpsc::Receiver<()>, limit: Duration) -> bool {
    match tokio::time::timeout(limit, asked.recv()).await {
        Ok(Some(())) => true,
        // Nobody is left who could ask.
        Ok(None) => {
            tokio::time::sleep(limit).await;
            false
        }
        Err(_) => false,
    }
}

/// Takes all places to listen.
fn listen(server: &config::Server) -> Result<Listeners, StartError> {
    let addresses: Vec<Address> = server.listen.iter().map(address).collect();
    let settings = ListenSettings {
        unix_mode: server.unix_mode,
        write_timeout: server.write_timeout,
    };
    Listeners::bind(&addresses, settings)
        .map_err(|(address, error)| StartError::Listen { address, error })
}

fn address(listen: &config::Listen) -> Address {
    match listen {
        config::Listen::Tcp(address) => Address::Tcp(*address),
        config::Listen::Unix(path) => Address::Unix(path.clone()),
    }
}

fn accept_settings(server: &config::Server) -> AcceptSettings {
    AcceptSettings {
        max_connections: server.max_connections,
        header_timeout: server.header_timeout,
        idle_timeout: server.idle_timeout,
        write_timeout: server.write_timeout,
        max_header_bytes: server.max_header_bytes,
        max_headers: server.max_headers,
        http2: Http2Settings {
            max_streams: server.http2_max_streams,
            ping_interval: server.http2_ping_interval,
            ping_timeout: server.http2_ping_timeout,
        },
    }
}

/// Takes the address that is for operators alone, if there is one.
fn listen_for_operators(config: &Config) -> Result<Option<Listeners>, StartError> {
    let Some(address) = config.metrics.listen.filter(|_| config.metrics.enabled) else {
        return Ok(None);
    };
    let settings = ListenSettings {
        unix_mode: config.server.unix_mode,
        write_timeout: config.server.write_timeout,
    };
    let listeners = Listeners::bind(&[Address::Tcp(address)], settings)
        .map_err(|(address, error)| StartError::Listen { address, error })?;
    for address in listeners.addresses() {
        tracing::info!("metrics at http://{address}/metrics");
    }
    Ok(Some(listeners))
}

impl Reloader {
    /// Looks at the configuration that is served now.
    pub fn served<T>(&self, look: impl FnOnce(&Config) -> T) -> T {
        look(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves this configuration from now on. Requests that run end under the old one. What is wrong
    /// with it is logged, and changes nothing.
    pub fn apply(&self, config: Result<Config, ConfigError>) {
        let new = match config {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(%error, "the configuration is wrong: the old one stays");
                self.lasting.metrics.reloaded(Some(false));
                return;
            }
        };
        let mut old = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if format!("{:?}", *old) == format!("{new:?}")
            && has_same_secrets(&old, &new)
            && old.server.tls == new.server.tls
        {
            tracing::debug!("nothing has changed in the configuration");
            self.lasting.metrics.reloaded(None);
            return;
        }
        let before = self.state.live();
        let built = server_tls(&new.server).and_then(|tls| {
            let engine = build_engine(&new, &self.lasting, Some((&old, &before.engine)))?;
            Ok((tls, engine))
        });
        let (tls, engine) = match built {
            Ok(built) => built,
            Err(error) => {
                tracing::error!(%error, "the configuration cannot be applied: the old one stays");
                self.lasting.metrics.reloaded(Some(false));
                return;
            }
        };
        let late = needs_restart(&old, &new);
        if !late.is_empty() {
            tracing::warn!(settings = %late.join(", "), "settings that only a restart applies have changed");
        }
        let kept = engine.upstreams().iter().filter(|upstream| {
            let mut known = before.engine.upstreams().iter();
            known.any(|known| Arc::ptr_eq(known, upstream))
        });
        let kept = kept.count();
        let admission = before.admission.after(guard::admission(&new));
        if let (Some(shown), Some(tls)) = (&self.tls, tls) {
            shown.replace(tls);
        }
        self.state.replace(live(&new, engine, admission));
        if old.clients.need_key && !new.clients.need_key {
            tracing::warn!("clients need no key any more");
        }
        self.lasting.metrics.reloaded(Some(true));
        // Whoever reads it may count on it.
        tracing::info!(
            upstreams = new.upstreams.len(),
            upstreams_kept = kept,
            models = new.models.len(),
            profiles = new.presets.len(),
            keys = new.clients.keys.len(),
            certificate_kept = old.server.tls == new.server.tls,
            "the configuration was reloaded"
        );
        *old = new;
    }
}

/// What requests are served by.
fn live(config: &Config, engine: Engine, admission: Admission) -> Live {
    Live {
        engine: Arc::new(engine),
        admission: Arc::new(admission),
        cors: guard::cors(config),
        max_body_bytes: config.server.max_body_bytes,
        body_timeout: config.server.body_timeout,
    }
}

/// Whether no upstream, no key and no store differs, secrets included.
fn has_same_secrets(one: &Config, other: &Config) -> bool {
    let pairs = one.upstreams.iter().zip(&other.upstreams);
    one.clients == other.clients
        && one.store.is_same(&other.store)
        && one.upstreams.len() == other.upstreams.len()
        && pairs.into_iter().all(|(a, b)| a.is_same(b))
}

/// The settings that differ and are read only when the program starts.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (one, other) = (&old.server, &new.server);
    let settings = [
        ("server.listen", one.listen != other.listen),
        ("server.unix_mode", one.unix_mode != other.unix_mode),
        // Its files may change, but not whether there are any.
        ("server.tls", one.tls.is_some() != other.tls.is_some()),
        (
            "server.header_timeout_ms",
            one.header_timeout != other.header_timeout,
        ),
        (
            "server.idle_timeout_ms",
            one.idle_timeout != other.idle_timeout,
        ),
        (
            "server.write_timeout_ms",
            one.write_timeout != other.write_timeout,
        ),
        (
            "server.max_header_bytes",
            one.max_header_bytes != other.max_header_bytes,
        ),
        ("server.max_headers", one.max_headers != other.max_headers),
        (
            "server.max_connections",
            one.max_connections != other.max_connections,
        ),
        (
            "server.http2_max_streams",
            one.http2_max_streams != other.http2_max_streams,
        ),
        (
            "server.http2_ping_interval_ms",
            one.http2_ping_interval != other.http2_ping_interval,
        ),
        (
            "server.http2_ping_timeout_ms",
            one.http2_ping_timeout != other.http2_ping_timeout,
        ),
        (
            "server.shutdown_delay_ms",
            one.shutdown_delay != other.shutdown_delay,
        ),
        (
            "server.drain_timeout_ms",
            one.drain_timeout != other.drain_timeout,
        ),
        ("log.level", old.log.level != new.log.level),
        ("log.format", old.log.format != new.log.format),
        ("metrics", old.metrics != new.metrics),
        ("tracing", old.tracing != new.tracing),
        ("store", !old.store.is_same(&new.store)),
        (
            "reasoning.seal_key_file",
            old.reasoning.seal_key != new.reasoning.seal_key,
        ),
    ];
    let changed = settings.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(name, _)| name).collect()
}
