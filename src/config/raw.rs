//! What the configuration file may say, key by key, before anything is checked.
//!
//! The names of these fields are the names of the keys. [`keys`] reads them back from serde, so
//! that messages about unknown keys need no second list.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor, value};
use serde::forward_to_deserialize_any;

/// The whole file.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawConfig {
    pub(super) default_upstream: Option<String>,
    pub(super) server: RawServer,
    pub(super) auth: RawAuth,
    pub(super) keys: Vec<RawKey>,
    pub(super) limits: RawLimits,
    pub(super) cors: RawCors,
    pub(super) log: RawLog,
    pub(super) metrics: RawMetrics,
    pub(super) tracing: RawTracing,
    pub(super) reasoning: RawReasoning,
    pub(super) store: RawStore,
    pub(super) upstreams: BTreeMap<String, RawUpstream>,
    pub(super) models: BTreeMap<String, RawModel>,
    pub(super) profiles: BTreeMap<String, RawPreset>,
}

/// The section `[server]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawServer {
    pub(super) listen: Option<RawList>,
    pub(super) unix_mode: Option<String>,
    pub(super) allow_public: Option<bool>,
    pub(super) tls: Option<RawTls>,
    pub(super) done_sentinel: Option<bool>,
    pub(super) keepalive_interval_ms: Option<u64>,
    pub(super) first_status_wait_ms: Option<u64>,
    pub(super) header_timeout_ms: Option<u64>,
    pub(super) body_timeout_ms: Option<u64>,
    pub(super) idle_timeout_ms: Option<u64>,
    pub(super) write_timeout_ms: Option<u64>,
    pub(super) max_header_bytes: Option<u64>,
    pub(super) max_headers: Option<u64>,
    pub(super) max_body_bytes: Option<u64>,
    pub(super) max_connections: Option<u64>,
    pub(super) http2_max_streams: Option<u32>,
    pub(super) http2_ping_interval_ms: Option<u64>,
    pub(super) http2_ping_timeout_ms: Option<u64>,
    pub(super) shutdown_delay_ms: Option<u64>,
    pub(super) drain_timeout_ms: Option<u64>,
}

/// The section `[server.tls]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawTls {
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) client_ca_file: Option<String>,
}

/// The section `[auth]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawAuth {
    pub(super) mode: Option<String>,
    pub(super) keys_file: Option<String>,
}

/// A section `[[keys]]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawKey {
    pub(super) name: Option<String>,
    pub(super) hash: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) models: Option<Vec<String>>,
    pub(super) max_body_bytes: Option<u64>,
    pub(super) max_streams: Option<u64>,
    pub(super) requests_per_minute: Option<u64>,
    pub(super) tokens_per_minute: Option<u64>,
    pub(super) max_stream_seconds: Option<u64>,
}

/// A file of keys.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawKeysFile {
    pub(super) keys: Vec<RawKey>,
}

/// The section `[limits]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawLimits {
    pub(super) max_streams: Option<u64>,
    pub(super) max_queue: Option<u64>,
    pub(super) queue_timeout_ms: Option<u64>,
    pub(super) requests_per_minute: Option<u64>,
    pub(super) tokens_per_minute: Option<u64>,
    pub(super) max_stream_seconds: Option<u64>,
    pub(super) max_bodies_bytes: Option<u64>,
    pub(super) max_lag_ms: Option<u64>,
}

/// The section `[cors]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawCors {
    pub(super) allow_origins: Vec<String>,
    pub(super) allow_headers: Option<Vec<String>>,
    pub(super) max_age_seconds: Option<u64>,
}

/// One text, or several.
#[derive(Debug)]
pub(super) struct RawList(pub(super) Vec<String>);

/// The section `[log]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawLog {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
    pub(super) content: Option<bool>,
}

/// The section `[metrics]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawMetrics {
    pub(super) enabled: Option<bool>,
    pub(super) listen: Option<String>,
}

/// The section `[tracing]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawTracing {
    pub(super) otlp_endpoint: Option<String>,
    pub(super) sample_ratio: Option<f64>,
    pub(super) timeout_ms: Option<u64>,
}

/// The section `[reasoning]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawReasoning {
    pub(super) show: Option<String>,
    pub(super) seal_key_file: Option<String>,
}

/// The section `[store]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawStore {
    pub(super) url: Option<String>,
    pub(super) url_env: Option<String>,
    pub(super) max_connections: Option<u64>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) retention_days: Option<u64>,
    pub(super) max_size_mb: Option<u64>,
    pub(super) lease_ms: Option<u64>,
    pub(super) background_concurrency: Option<u64>,
}

/// The section `[upstreams.NAME]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawUpstream {
    pub(super) base_url: Option<String>,
    pub(super) wire_api: Option<String>,
    pub(super) auth: Option<String>,
    pub(super) env_key: Option<String>,
    pub(super) api_key_file: Option<String>,
    pub(super) http_headers: BTreeMap<String, String>,
    pub(super) env_http_headers: BTreeMap<String, String>,
    pub(super) query_params: BTreeMap<String, String>,
    pub(super) proxy: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) request_max_retries: Option<u32>,
    pub(super) stream_max_retries: Option<u32>,
    pub(super) connect_timeout_ms: Option<u64>,
    pub(super) first_byte_timeout_ms: Option<u64>,
    pub(super) stream_idle_timeout_ms: Option<u64>,
    pub(super) max_event_bytes: Option<u64>,
    pub(super) max_answer_bytes: Option<u64>,
    pub(super) max_concurrency: Option<u64>,
    pub(super) max_queue: Option<u64>,
    pub(super) queue_timeout_ms: Option<u64>,
    pub(super) breaker_failures: Option<u32>,
    pub(super) breaker_pause_ms: Option<u64>,
    pub(super) breaker_max_pause_ms: Option<u64>,
    pub(super) drop_fields: Vec<String>,
    pub(super) extra_body: toml::Table,
    pub(super) profile: Option<String>,
    pub(super) dialect: toml::Table,
}

/// The section `[models."NAME"]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawModel {
    pub(super) upstream: Option<String>,
    pub(super) upstreams: Option<toml::value::Array>,
    pub(super) strategy: Option<String>,
    pub(super) model: Option<String>,
    pub(super) display_name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) context_window: Option<u64>,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) reasoning_efforts: Option<Vec<String>>,
    pub(super) default_reasoning_effort: Option<String>,
    pub(super) input: Option<Vec<String>>,
    pub(super) apply_patch: Option<bool>,
    pub(super) multi_agent: Option<bool>,
    pub(super) verbosity: Option<bool>,
    pub(super) base_instructions_file: Option<String>,
    pub(super) reasoning_effort: Option<String>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) presence_penalty: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) extra_body: toml::Table,
}

/// The section `[profiles.NAME]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct RawPreset {
    pub(super) upstream: Option<String>,
    pub(super) upstreams: Option<toml::value::Array>,
    pub(super) strategy: Option<String>,
    pub(super) model: Option<String>,
    pub(super) reasoning_effort: Option<String>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) presence_penalty: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) extra_body: toml::Table,
}

impl<'de> Deserialize<'de> for RawList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = RawList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawList, E> {
                Ok(RawList(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<RawList, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = texts.next_element()? {
                    all.push(text);
                }
                Ok(RawList(all))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

/// The names of a struct's keys, as its derived `Deserialize` knows them.
pub(super) fn keys<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It always fails: the names are all that is wanted of it.
    let _ = T::deserialize(KeyNames(&mut names));
    names
}

/// A source of nothing, which notes the names that it is asked for.
struct KeyNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for KeyNames<'_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(value::Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(value::Error::custom("only the names are wanted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
