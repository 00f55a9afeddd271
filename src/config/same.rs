//! Whether two configurations mean the same upstream, secrets included: a reload keeps what has
//! not changed.

use secrecy::{ExposeSecret, SecretString};

use super::{Proxy, Store, StorePlace, Tls, Upstream};

impl Upstream {
    /// Whether nothing about it differs.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        // Taken apart in full, so that a new key cannot be forgotten.
        let Self {
            name,
            base_url,
            wire_api,
            auth,
            key,
            key_source,
            http_headers,
            query_params,
            missing_variables,
            proxy,
            ca_file,
            ca_pem,
            request_max_retries,
            stream_max_retries,
            connect_timeout,
            first_byte_timeout,
            stream_idle_timeout,
            max_event_bytes,
            max_answer_bytes,
            max_concurrency,
            max_queue,
            queue_timeout,
            breaker_failures,
            breaker_pause,
            breaker_max_pause,
            drop_fields,
            extra_body,
            profile,
            dialect,
        } = self;
        *ca_file == other.ca_file
            && *ca_pem == other.ca_pem
            && *name == other.name
            && *base_url == other.base_url
            && *wire_api == other.wire_api
            && *auth == other.auth
            && is_same_secret(key.as_ref(), other.key.as_ref())
            && *key_source == other.key_source
            && are_same(http_headers, &other.http_headers)
            && are_same(query_params, &other.query_params)
            && *missing_variables == other.missing_variables
            && is_same_proxy(proxy, &other.proxy)
            && *request_max_retries == other.request_max_retries
            && *stream_max_retries == other.stream_max_retries
            && *connect_timeout == other.connect_timeout
            && *first_byte_timeout == other.first_byte_timeout
            && *stream_idle_timeout == other.stream_idle_timeout
            && *max_event_bytes == other.max_event_bytes
            && *max_answer_bytes == other.max_answer_bytes
            && *max_concurrency == other.max_concurrency
            && *max_queue == other.max_queue
            && *queue_timeout == other.queue_timeout
            && *breaker_failures == other.breaker_failures
            && *breaker_pause == other.breaker_pause
            && *breaker_max_pause == other.breaker_max_pause
            && *drop_fields == other.drop_fields
            && *extra_body == other.extra_body
            && *profile == other.profile
            && *dialect == other.dialect
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            cert_file,
            cert_pem,
            key_file,
            key_pem,
            client_ca_file,
            client_ca_pem,
        } = self;
        *cert_file == other.cert_file
            && *cert_pem == other.cert_pem
            && *key_file == other.key_file
            && is_same_secret(Some(key_pem), Some(&other.key_pem))
            && *client_ca_file == other.client_ca_file
            && *client_ca_pem == other.client_ca_pem
    }
}

impl Eq for Tls {}

impl Store {
    /// Whether nothing differs, the address's password included.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let Self {
            place,
            chosen,
            max_connections,
            timeout,
            retention,
            max_bytes,
            lease,
            background_concurrency,
        } = self;
        place.is_same(&other.place)
            && *chosen == other.chosen
            && *max_connections == other.max_connections
            && *timeout == other.timeout
            && *retention == other.retention
            && *max_bytes == other.max_bytes
            && *lease == other.lease
            && *background_concurrency == other.background_concurrency
    }
}

impl StorePlace {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) | (Self::Memory, Self::Memory) => true,
            (Self::Sqlite(one), Self::Sqlite(other)) => one == other,
            (Self::Postgres(one), Self::Postgres(other)) => is_same_secret(Some(one), Some(other)),
            (Self::None | Self::Memory | Self::Sqlite(_) | Self::Postgres(_), _) => false,
        }
    }
}

fn is_same_secret(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(ExposeSecret::expose_secret) == other.map(ExposeSecret::expose_secret)
}

fn are_same(ones: &[(String, SecretString)], others: &[(String, SecretString)]) -> bool {
    ones.len() == others.len()
        && ones
            .iter()
            .zip(others)
            .all(|(one, other)| one.0 == other.0 && is_same_secret(Some(&one.1), Some(&other.1)))
}

fn is_same_proxy(one: &Proxy, other: &Proxy) -> bool {
    match (one, other) {
        (Proxy::Environment, Proxy::Environment) | (Proxy::None, Proxy::None) => true,
        (Proxy::Url(one), Proxy::Url(other)) => is_same_secret(Some(one), Some(other)),
        (Proxy::Environment | Proxy::None | Proxy::Url(_), _) => false,
    }
}
