//! Connections that wait to be used again.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::time::Instant;

/// How long a connection is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(90);
/// How often those are looked for that were kept for too long.
const SWEEP: Duration = Duration::from_secs(30);
/// The most connections that are kept.
const MOST: usize = 1024;

/// Connections of one server, the one that was used last on top.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Idle>);

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<(Instant, TcpStream)>,
    /// Somebody sweeps.
    swept: bool,
}

impl Pool {
    /// A connection that is still open, as far as is known.
    pub(super) fn take(&self) -> Option<TcpStream> {
        loop {
            let (since, stream) = self.idle().connections.pop()?;
            if since.elapsed() < KEPT && is_open(&stream) {
                return Some(stream);
            }
        }
    }

    /// Keeps a connection on which nothing is expected any more.
    pub(super) fn put(self: &Arc<Self>, stream: TcpStream) {
        let mut idle = self.idle();
        if idle.connections.len() >= MOST {
            return;
        }
        idle.connections.push((Instant::now(), stream));
        // At the program's end there is nobody left to sweep.
        if !idle.swept
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            idle.swept = true;
            let pool = Arc::downgrade(self);
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(SWEEP).await;
                    if pool.upgrade().is_none_or(|pool| !pool.sweep()) {
                        return;
                    }
                }
            });
        }
    }

    /// Closes what was kept for too long, or was closed by the server; says whether any is left.
    fn sweep(&self) -> bool {
        let mut idle = self.idle();
        idle.connections
            .retain(|(since, stream)| since.elapsed() < KEPT && is_open(stream));
        idle.swept = !idle.connections.is_empty();
        idle.swept
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.idle().connections.is_empty()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that sends anything now, or an end, has done with the connection.
fn is_open(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
