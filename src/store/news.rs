//! Word of what happens in other processes: Postgres' LISTEN and NOTIFY.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The channel that all replicas listen to.
pub(super) const CHANNEL: &str = "antiphon";

/// How long to wait before the next try to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// How long silence is believed before the database is asked whether it is still there, and how
/// long that may take.
const SILENCE: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(5);

/// Passes on what the other replicas tell, until `stop`, over a connection of its own. What is told
/// while it is lost is lost; whoever listens has to look now and then anyway.
pub(super) async fn listen(
    options: PgConnectOptions,
    mark: Arc<str>,
    news: broadcast::Sender<Arc<str>>,
    stop: CancellationToken,
) {
    let ears = async {
        loop {
            if let Err(error) = hear(&options, &mark, &news).await {
                tracing::debug!(%error, "news of other replicas are not heard for now");
            }
            sleep(PAUSE).await;
        }
    };
    stop.run_until_cancelled(ears).await;
}

async fn hear(
    options: &PgConnectOptions,
    mark: &str,
    news: &broadcast::Sender<Arc<str>>,
) -> Result<(), sqlx::Error> {
    // Not to be kept when it fails: its connection may be one that never says anything again.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let Ok(heard) = timeout(SILENCE, listener.recv()).await else {
            let answer = timeout(ANSWER, listener.execute("SELECT 1")).await;
            answer.map_err(|_| sqlx::Error::PoolTimedOut)??;
            continue;
        };
        let heard = heard?;
        // What this store told itself, its listeners know.
        if let Some((from, id)) = heard.payload().split_once(' ')
            && from != mark
        {
            // Nobody may be listening.
            let _ = news.send(id.into());
        }
    }
}
