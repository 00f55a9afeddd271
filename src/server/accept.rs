//! The listener: connections are taken, bounded in number and in the time for a request's head, and
//! let go in peace when the program ends.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Layer;

use super::peer::Peer;

/// How connections are taken.
#[derive(Debug, Clone, Copy)]
pub struct AcceptSettings {
    /// The most at a time; further ones wait in the system's queue.
    pub max_connections: usize,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long running requests may take once the program is to end.
    pub drain_timeout: Duration,
}

/// The wait after the system refused a connection, for want of file descriptors most likely.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Serves until `stop` comes true, then lets running requests end. Says whether all of them did.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: AcceptSettings,
    stop: impl Future<Output = ()>,
) -> bool {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)));
    let graceful = GracefulShutdown::new();
    let free = Arc::new(Semaphore::new(settings.max_connections));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &free) => accepted,
            () = &mut stop => break,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            }
        };
        // Each delta is to go out at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let service = TowerToHyperService::new(Extension(Peer(peer)).layer(router.clone()));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(Serving {
            connection,
            _permit: permit,
        });
    }
    drop(listener);
    let running = graceful.count();
    if running > 0 {
        tracing::info!(connections = running, "waiting for running requests to end");
    }
    tokio::time::timeout(settings.drain_timeout, graceful.shutdown())
        .await
        .is_ok()
}

pin_project_lite::pin_project! {
    /// A connection at work. An async block in its place would hold the connection twice: where it
    /// was put, and where it is awaited.
    struct Serving<C> {
        #[pin]
        connection: C,
        _permit: OwnedSemaphorePermit,
    }
}

impl<C, E> Future for Serving<C>
where
    C: Future<Output = Result<(), E>>,
    E: Display,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = ready!(self.project().connection.poll(cx));
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
        Poll::Ready(())
    }
}

async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(free)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}
