//! When the program is asked to end.

use tokio::sync::mpsc;

/// Tells each time the system asks the program to end: by SIGTERM, or by Ctrl-C. It is listened for from
/// the call on; there must be a runtime.
pub(crate) fn tell(asks: &mpsc::Sender<()>) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::SignalKind;

        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            tell_of(kind, asks.clone());
        }
    }
    #[cfg(not(unix))]
    let asks = asks.clone();
    #[cfg(not(unix))]
    tokio::spawn(async move {
        loop {
            if let Err(error) = tokio::signal::ctrl_c().await {
                tracing::warn!(%error, "Ctrl-C cannot be caught");
                return;
            }
            if asks.send(()).await.is_err() {
                return;
            }
        }
    });
}

#[cfg(unix)]
fn tell_of(kind: tokio::signal::unix::SignalKind, asks: mpsc::Sender<()>) {
    match tokio::signal::unix::signal(kind) {
        Ok(mut signals) => {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    // One that waits to be heard is as good as two.
                    let _ = asks.try_send(());
                }
            });
        }
        Err(error) => tracing::warn!(%error, ?kind, "a signal cannot be caught"),
    }
}
