//! Word of what happens in other processes: Postgres' LISTEN and NOTIFY.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::broadcast;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The channel that all replicas listen to.
pub(super) const CHANNEL: &str = "antiphon";

/// How long to wait before the next try to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// Passes on what the other replicas tell, until `stop`. `pool` is for this alone: the connection
/// is kept. What is told while it is lost is lost; whoever listens has to look now and then anyway.
pub(super) async fn listen(
    pool: PgPool,
    mark: Arc<str>,
    news: broadcast::Sender<Arc<str>>,
    stop: CancellationToken,
) {
    let ears = async {
        loop {
            if let Err(error) = hear(&pool, &mark, &news).await {
                tracing::debug!(%error, "news of other replicas are not heard for now");
            }
            sleep(PAUSE).await;
        }
    };
    stop.run_until_cancelled(ears).await;
    pool.close().await;
}

async fn hear(
    pool: &PgPool,
    mark: &str,
    news: &broadcast::Sender<Arc<str>>,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let heard = listener.recv().await?;
        // What this store told itself, its listeners know.
        if let Some((from, id)) = heard.payload().split_once(' ')
            && from != mark
        {
            // Nobody may be listening.
            let _ = news.send(id.into());
        }
    }
}
