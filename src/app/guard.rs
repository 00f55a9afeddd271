//! Who is let in, out of the configuration.

use crate::admission::{KeySettings, Rates, Settings};
use crate::config::{self, Config};
use crate::server::Cors;

/// Keys and limits.
pub(super) fn admission(config: &Config) -> Settings {
    let key = |key: &config::ClientKey| KeySettings {
        name: key.name.clone(),
        hash: key.hash,
        tenant: key.tenant.clone(),
        models: key.models.clone(),
        max_body_bytes: key.max_body_bytes,
        rates: rates(&key.rates),
    };
    Settings {
        need_key: config.clients.need_key,
        keys: config.clients.keys.iter().map(key).collect(),
        rates: rates(&config.limits.rates),
        max_queue: config.limits.max_queue,
        queue_timeout: config.limits.queue_timeout,
        max_bodies_bytes: config.limits.max_bodies_bytes,
        max_lag: config.limits.max_lag,
    }
}

fn rates(rates: &config::Rates) -> Rates {
    Rates {
        max_streams: rates.max_streams,
        requests_per_minute: rates.requests_per_minute,
        tokens_per_minute: rates.tokens_per_minute,
        max_stream: rates.max_stream,
    }
}

/// The web pages that may ask.
pub(super) fn cors(config: &Config) -> Option<Cors> {
    let cors = config.cors.as_ref()?;
    Some(Cors::new(
        &cors.allow_origins,
        &cors.allow_headers,
        cors.max_age,
    ))
}
