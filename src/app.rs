//! The program out of its configuration: upstreams, routes, key, engine, listener; and what becomes of
//! it when the configuration changes.

mod build;
mod guard;
mod shelf;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;

use crate::admission::Admission;
use crate::config::{Config, ConfigError};
use crate::engine::{BackgroundSettings, Engine, Kept, Worker};
use crate::ids::new_id;
use crate::profile;
use crate::seal::{SealError, SealingKey};
use crate::server::{self, AcceptSettings, AppState, Live};
use crate::store::StoreError;
use crate::upstream;
use build::{build_engine, sealing_key};
pub use build::{build_upstreams, check_dialect};
use shelf::open_store;

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
    reloader: Arc<Reloader>,
}

/// Puts another configuration in the place of the one that is served.
pub struct Reloader {
    state: AppState,
    key: Arc<SealingKey>,
    kept: Kept,
    /// What is served now.
    config: Mutex<Config>,
}

impl App {
    /// Builds everything and takes the address. Upstreams are not asked anything: they may be down.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let key = Arc::new(sealing_key(config)?);
        let kept = Kept::new(open_store(&config.store).await?);
        let engine = build_engine(config, Arc::clone(&key), kept.clone(), None)?;
        let server = &config.server;
        let listen = |error| StartError::Listen {
            address: server.listen,
            error,
        };
        let listener = TcpListener::bind(server.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let admission = Admission::new(guard::admission(config));
        let state = AppState::new(live(config, engine, admission), server.max_connections);
        let reloader = Arc::new(Reloader {
            state: state.clone(),
            key,
            kept,
            config: Mutex::new(config.clone()),
        });
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
            reloader,
        })
    }

    /// What puts another configuration in place while this serves.
    #[must_use]
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then lets running responses end. Says whether all of them did.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> bool {
        let draining = self.state.draining.clone();
        let (one, other) = (self.state.clone(), self.state.clone());
        let engine = move || Arc::clone(&one.live().engine);
        let permit = move |tenant: &str| Arc::clone(&other.live().admission).background(tenant);
        let worker = Worker::new(engine, permit, self.background, new_id());
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
        state.live().engine.close().await;
        all_ended
    }
}

impl Reloader {
    /// Serves this configuration from now on. Requests that run end under the old one. What is wrong
    /// with it is logged, and changes nothing.
    pub fn apply(&self, config: Result<Config, ConfigError>) {
        let new = match config {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(%error, "the configuration is wrong: the old one stays");
                return;
            }
        };
        let mut old = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if format!("{:?}", *old) == format!("{new:?}") && has_same_secrets(&old, &new) {
            tracing::debug!("nothing has changed in the configuration");
            return;
        }
        let before = self.state.live();
        let engine = build_engine(
            &new,
            Arc::clone(&self.key),
            self.kept.clone(),
            Some((&old, &before.engine)),
        );
        let engine = match engine {
            Ok(engine) => engine,
            Err(error) => {
                tracing::error!(%error, "the configuration cannot be applied: the old one stays");
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
        self.state.replace(live(&new, engine, admission));
        // Whoever reads it may count on it.
        tracing::info!(
            upstreams = new.upstreams.len(),
            upstreams_kept = kept,
            models = new.models.len(),
            profiles = new.presets.len(),
            keys = new.clients.keys.len(),
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

/// Whether no upstream and no key differs, secrets included.
fn has_same_secrets(one: &Config, other: &Config) -> bool {
    let pairs = one.upstreams.iter().zip(&other.upstreams);
    one.clients == other.clients
        && one.upstreams.len() == other.upstreams.len()
        && pairs.into_iter().all(|(a, b)| a.is_same(b))
}

/// The settings that differ and are read only when the program starts.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (one, other) = (&old.server, &new.server);
    let settings = [
        ("server.listen", one.listen != other.listen),
        (
            "server.header_timeout_ms",
            one.header_timeout != other.header_timeout,
        ),
        (
            "server.max_connections",
            one.max_connections != other.max_connections,
        ),
        (
            "server.drain_timeout_ms",
            one.drain_timeout != other.drain_timeout,
        ),
        ("log", old.log != new.log),
        ("store", !old.store.is_same(&new.store)),
        (
            "reasoning.seal_key_file",
            old.reasoning.seal_key_file != new.reasoning.seal_key_file,
        ),
    ];
    let changed = settings.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(name, _)| name).collect()
}
