//! How connections are taken and cared for, from where is listened to the last byte.
//!
//! * `listener`: where is listened; `places`: how many connections there are, and who makes room;
//! * `connection`: one of them, with its time limits; `io` its bytes;
//! * `service`: requests on their way to the routes.

mod connection;
mod io;
mod listener;
mod places;
mod service;

use std::future::poll_fn;
use std::io::{Error, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;

pub use listener::{Address, ListenSettings, Listeners};
pub(super) use places::{Place, Tenancy, UnderWay};

use super::tls::Tls;
use crate::closing::Closing;
use connection::Connection;
use listener::Socket;
use places::Places;
use service::Streams;

/// How connections are taken.
#[derive(Debug, Clone, Copy)]
pub struct AcceptSettings {
    /// The most at a time. One more takes the place of the one that has been idle for the longest, or
    /// waits in the system's queue.
    pub max_connections: usize,
    /// How long a request's head may take; of the first request all that comes before it, too.
    pub header_timeout: Duration,
    /// How long a connection may be without a request after its first.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// The longest head, and the most headers.
    pub max_header_bytes: usize,
    /// The most headers.
    pub max_headers: usize,
    /// What HTTP/2 is held to.
    pub http2: Http2Settings,
}

/// What an HTTP/2 connection is held to.
#[derive(Debug, Clone, Copy)]
pub struct Http2Settings {
    /// The most streams at a time.
    pub max_streams: u32,
    /// How often the client is asked whether it is still there.
    pub ping_interval: Option<Duration>,
    /// How long it may take to say so.
    pub ping_timeout: Duration,
}

/// The wait after the system refused a connection, for want of file descriptors most likely.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// How much of an answer, or of a request's body, is held for a connection over HTTP/1, and for a stream
/// over HTTP/2, before whoever gives it has to wait.
const BUFFER_BYTES: usize = 128 * 1024;
/// How many headers hyper reads without a buffer that is made for each request.
const USUAL_HEADERS: usize = 100;
/// How many streams a client may open and call off faster than they are looked at, and how many of its
/// faults are answered by calling off a stream, before its connection is closed.
const MAX_PENDING_RESETS: usize = 20;
const MAX_FAULTS: usize = 1024;

/// What all connections have in common.
struct Shared {
    settings: AcceptSettings,
    router: Router,
    tls: Option<Tls>,
    closing: Closing,
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
}

/// Takes connections at all places and serves them.
pub struct Acceptor {
    listeners: Listeners,
    places: Arc<Places>,
    shared: Arc<Shared>,
}

impl Acceptor {
    /// Nothing is taken yet. With `tls`, connections over TCP are protected.
    #[must_use]
    pub fn new(
        listeners: Listeners,
        router: Router,
        settings: AcceptSettings,
        tls: Option<Tls>,
        closing: Closing,
    ) -> Self {
        Self {
            listeners,
            places: Places::new(settings.max_connections, settings.write_timeout),
            shared: Arc::new(Shared {
                http1: http1(&settings),
                http2: http2(&settings),
                settings,
                router,
                tls,
                closing,
            }),
        }
    }

    /// What tells how many connections there are.
    #[must_use]
    pub fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.places))
    }

    /// Serves until no new work is to be taken, and then until the last connection has ended.
    pub async fn serve(mut self) {
        let draining = self.shared.closing.draining().clone();
        let mut drained = pin!(draining.cancelled());
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut drained => break,
                accepted = poll_fn(|cx| self.listeners.poll_accept(cx)) => accepted,
            };
            let socket = match accepted {
                Ok(socket) => socket,
                Err(error) => {
                    self.recover(&error).await;
                    continue;
                }
            };
            tokio::select! {
                biased;
                () = &mut drained => break,
                place = self.places.take() => self.begin(socket, place),
            }
        }
        self.take_rest();
        let Self {
            listeners, places, ..
        } = self;
        // Whoever comes now is told by the system that nobody listens.
        drop(listeners);
        places.wake_all();
        let running = places.taken();
        if running > 0 {
            tracing::info!(connections = running, "waiting for running requests to end");
        }
        places.all_left().await;
    }

    fn begin(&self, socket: Socket, place: Arc<Place>) {
        socket.hurry();
        let connection = Connection::new(socket, place, Arc::clone(&self.shared));
        tokio::spawn(connection);
    }

    /// A connection could not be taken.
    async fn recover(&self, error: &Error) {
        // The client left before it was its turn.
        if matches!(
            error.kind(),
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
        ) {
            return;
        }
        tracing::warn!(%error, "a connection could not be taken");
        // Likely for want of file descriptors, which idle connections have.
        self.places.make_room();
        tokio::time::sleep(AFTER_ERROR).await;
    }

    /// Takes those who wait in the system's queue: they are told to go elsewhere, and not just cut off.
    fn take_rest(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(socket)) = self.listeners.poll_accept(&mut cx) {
            let Some(place) = self.places.try_take() else {
                return;
            };
            self.begin(socket, place);
        }
    }
}

/// Tells of connections.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Places>);

impl Connections {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.taken()
    }

    /// How many have a request under way.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.0.busy()
    }
}

fn http1(settings: &AcceptSettings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The connection has its own clock, which knows of more than heads.
        .header_read_timeout(None)
        .max_header_size(settings.max_header_bytes)
        .max_buf_size(BUFFER_BYTES.max(settings.max_header_bytes.saturating_add(1)));
    if settings.max_headers != USUAL_HEADERS {
        builder.max_headers(settings.max_headers);
    }
    builder
}

fn http2(settings: &AcceptSettings) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams {
        write_timeout: settings.write_timeout,
    });
    let limits = settings.http2;
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_FAULTS)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    builder
}
