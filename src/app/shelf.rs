//! The store, out of the configuration.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::config::{self, StorePlace};
use crate::store::{self, Store};
use crate::telemetry::Metrics;

/// How often what is stored is looked through for what is too old or too much.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How much is kept in memory where there is no place for a file.
const MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// The store of the configuration. Where the usual file, which nobody asked for, cannot be made (a
/// read-only root), a little is kept in memory: it is gone after a restart, which is no reason not to
/// start.
pub(super) async fn open_store(
    config: &config::Store,
    metrics: Arc<Metrics>,
) -> Result<Option<Store>, StartError> {
    let place = match &config.place {
        StorePlace::None => return Ok(None),
        StorePlace::Memory => store::Place::Memory,
        StorePlace::Sqlite(path) => store::Place::Sqlite(path.clone()),
        StorePlace::Postgres(address) => store::Place::Postgres(address.clone()),
    };
    let settings = store::Settings {
        max_connections: config.max_connections,
        timeout: config.timeout,
        // A part of it, so that a store that is away is told from one that is slow.
        acquire_timeout: config.timeout / 2,
        max_age: config.retention,
        max_bytes: config.max_bytes,
        sweep_interval: Some(SWEEP_INTERVAL),
        metrics,
        ..store::Settings::new(place)
    };
    match Store::open(settings.clone()).await {
        Ok(store) => Ok(Some(store)),
        Err(error) if !config.chosen => {
            tracing::warn!(%error, "responses are kept in memory, until the next restart");
            let settings = store::Settings {
                place: store::Place::Memory,
                max_bytes: Some(config.max_bytes.unwrap_or(MEMORY_BYTES).min(MEMORY_BYTES)),
                ..settings
            };
            Ok(Some(Store::open(settings).await?))
        }
        Err(error) => Err(error.into()),
    }
}
