//! When the program is asked to end.

use std::future::Future;

/// Completes when the system asks the program to end: SIGTERM, or Ctrl-C. It is listened for from
/// the call on, not only once this is waited for; there must be a runtime.
pub(crate) fn requested() -> impl Future<Output = ()> {
    let asked = signals();
    async move {
        asked.await;
        tracing::info!("asked to end");
    }
}

#[cfg(unix)]
fn signals() -> impl Future<Output = ()> {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    async fn came(signal: Option<Signal>) {
        match signal {
            Some(mut signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }

    let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(|kind| {
        signal(kind)
            .inspect_err(|error| tracing::warn!(%error, ?kind, "a signal cannot be caught"))
            .ok()
    });
    async move {
        tokio::select! {
            () = came(terminate) => {}
            () = came(interrupt) => {}
        }
    }
}

#[cfg(not(unix))]
async fn signals() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(%error, "Ctrl-C cannot be caught");
        std::future::pending::<()>().await;
    }
}
