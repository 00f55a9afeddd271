//! Upstreams, routes and their settings, out of the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use url::Url;

use super::StartError;
use crate::config::{self, Config, KeySource, Pattern, SealKey, Show};
use crate::engine::{
    self, Engine, Lasting, Modality, ModelMetadata, Names, Overrides, Preset, Route, Routes, Target,
};
use crate::json::Edits;
use crate::profile;
use crate::seal::{SealError, SealingKey};
use crate::server::{Pem, tls_settings};
use crate::telemetry::Metrics;
use crate::translate::{Limits, Thinking};
use crate::upstream::{
    self, BreakerSettings, DialectSettings, ProxySetting, Strategy, Upstream, WireApi,
};

/// Builds all upstreams.
///
/// # Errors
/// See [`StartError`].
pub fn build_upstreams(config: &Config) -> Result<Vec<Arc<Upstream>>, StartError> {
    rebuild_upstreams(config, &Arc::default(), None)
}

/// The same, but those of which nothing has changed since another configuration stay as they are,
/// with their connections, their lines and what is known of their health.
pub(super) fn rebuild_upstreams(
    config: &Config,
    metrics: &Arc<Metrics>,
    before: Option<(&Config, &Engine)>,
) -> Result<Vec<Arc<Upstream>>, StartError> {
    let tls = upstream::Tls::default();
    let kept = before.map(|(config, engine)| {
        let known = config.upstreams.iter().zip(engine.upstreams());
        known.map(|(entry, upstream)| (entry.name.as_str(), (entry, upstream)))
    });
    let kept: BTreeMap<&str, _> = kept.into_iter().flatten().collect();
    let build = |entry: &config::Upstream| match kept.get(entry.name.as_str()) {
        Some((old, upstream)) if entry.is_same(old) => Ok(Arc::clone(upstream)),
        _ => {
            let upstream = Upstream::new(upstream_settings(entry, metrics)?, &tls)?;
            Ok(Arc::new(upstream))
        }
    };
    config.upstreams.iter().map(build).collect()
}

/// How connections of clients are protected, if they are.
///
/// # Errors
/// The certificate or its key is unusable.
pub fn server_tls(
    server: &config::Server,
) -> Result<Option<Arc<rustls::ServerConfig>>, StartError> {
    let Some(tls) = &server.tls else {
        return Ok(None);
    };
    let settings = tls_settings(Pem {
        cert: &tls.cert_pem,
        key: tls.key_pem.expose_secret(),
        client_ca: tls.client_ca_pem.as_deref(),
    })?;
    Ok(Some(settings))
}

/// Whether an upstream's profile and its overrides are right, in words if not.
///
/// # Errors
/// What is wrong.
pub fn check_dialect(name: &str, url: &Url, overrides: &toml::Table) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default();
    profile::resolve(name, host, url.port(), overrides)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// Builds an engine. `before` is what it replaces: what has not changed is taken over.
pub(super) fn build_engine(
    config: &Config,
    lasting: &Lasting,
    before: Option<(&Config, &Engine)>,
) -> Result<Engine, StartError> {
    let settings = engine::Settings {
        thinking: match config.reasoning.show {
            Show::Auto => None,
            Show::Summary => Some(Thinking::Summary),
            Show::Content => Some(Thinking::Content),
            Show::Hidden => Some(Thinking::Hidden),
        },
        first_status_wait: config.server.first_status_wait,
        keepalive_interval: config.server.keepalive_interval,
        done_sentinel: config.server.done_sentinel,
        max_history_bytes: config.server.max_body_bytes,
        log_content: config.log.content,
    };
    let upstreams = rebuild_upstreams(config, &lasting.metrics, before)?;
    Ok(Engine::new(
        settings,
        upstreams,
        routes(config),
        lasting.clone(),
    ))
}

/// The key in its file. Where the usual file cannot be made (a read-only root), thinking that was
/// sealed before a restart is lost after it, which is no reason not to start. A file that somebody named is
/// one: replicas that each seal with a key of their own lose thinking all the time.
pub(super) fn sealing_key(config: &Config) -> Result<SealingKey, StartError> {
    let path = match &config.reasoning.seal_key {
        SealKey::Named(path) => return Ok(SealingKey::from_file(path)?),
        SealKey::Usual(path) => path,
        SealKey::Nowhere => {
            tracing::warn!(
                "no folder to keep the sealing key in: sealed thinking opens until the next restart"
            );
            return Ok(SealingKey::ephemeral()?);
        }
    };
    match SealingKey::from_file(path) {
        Ok(key) => Ok(key),
        Err(error @ SealError::File { .. }) => {
            tracing::warn!(%error, "sealed thinking opens until the next restart only");
            Ok(SealingKey::ephemeral()?)
        }
        Err(error) => Err(error.into()),
    }
}

fn upstream_settings(
    entry: &config::Upstream,
    metrics: &Arc<Metrics>,
) -> Result<upstream::Settings, StartError> {
    for variable in &entry.missing_variables {
        let what = match &entry.key_source {
            KeySource::Variable(name) if name == variable => "no key is sent",
            _ => "its header is not sent",
        };
        tracing::warn!(upstream = %entry.name, %variable, "the variable is not set: {what}");
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &entry.http_headers {
        let bad = || StartError::Header {
            upstream: entry.name.clone(),
            header: name.clone(),
        };
        let key = HeaderName::try_from(name).map_err(|_| bad())?;
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    let host = entry.base_url.host_str().unwrap_or_default();
    let (profile_name, profile) =
        profile::resolve(&entry.profile, host, entry.base_url.port(), &entry.dialect)
            .map_err(|error| StartError::Profile(entry.name.clone(), error))?;
    // Where the host tells, or the user does, there is nothing to ask.
    let asks = entry.profile == "auto" && !profile::has_host(host);
    Ok(upstream::Settings {
        name: entry.name.clone(),
        base_url: entry.base_url.clone(),
        wire_api: match entry.wire_api {
            config::WireApi::Chat => WireApi::Chat,
            config::WireApi::Responses => WireApi::Responses,
        },
        key: entry.key.clone(),
        passthrough: entry.auth == config::Auth::Passthrough,
        proxy: match &entry.proxy {
            config::Proxy::Environment => ProxySetting::Environment,
            config::Proxy::None => ProxySetting::None,
            config::Proxy::Url(url) => ProxySetting::Url(url.clone()),
        },
        extra_roots: extra_roots(entry)?,
        headers,
        query: entry.query_params.clone(),
        max_retries: usize::try_from(entry.request_max_retries).unwrap_or(usize::MAX),
        stream_retries: usize::try_from(entry.stream_max_retries).unwrap_or(usize::MAX),
        connect_timeout: entry.connect_timeout,
        first_byte_timeout: entry.first_byte_timeout,
        idle_timeout: entry.stream_idle_timeout,
        limits: Limits {
            event_bytes: entry.max_event_bytes,
            answer_bytes: entry.max_answer_bytes,
        },
        max_concurrency: entry.max_concurrency,
        queue: (entry.max_queue, entry.queue_timeout),
        breaker: BreakerSettings {
            failures: entry.breaker_failures,
            pause: entry.breaker_pause,
            max_pause: entry.breaker_max_pause,
        },
        edits: Edits {
            drop: entry.drop_fields.clone(),
            merge: as_json(&entry.extra_body),
        },
        dialect: DialectSettings {
            name: profile_name,
            profile,
            ask: asks.then(|| entry.dialect.clone()),
        },
        metrics: Arc::clone(metrics),
    })
}

/// The certificates of `ca_file`.
fn extra_roots(entry: &config::Upstream) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let (Some(file), Some(pem)) = (&entry.ca_file, &entry.ca_pem) else {
        return Ok(Vec::new());
    };
    let bad = |error: String| StartError::Certificates(entry.name.clone(), file.clone(), error);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|error| bad(error.to_string()))?;
    match found.is_empty() {
        true => Err(bad("it holds no certificate".to_owned())),
        false => Ok(found),
    }
}

/// A table as JSON, if there is anything in it. The configuration was checked for what JSON lacks.
fn as_json(table: &toml::Table) -> Vec<String> {
    let json = serde_json::to_string(table).ok();
    json.filter(|_| !table.is_empty()).into_iter().collect()
}

fn routes(config: &Config) -> Routes {
    let place = |name: &str| {
        let mut upstreams = config.upstreams.iter();
        upstreams.position(|upstream| upstream.name == name)
    };
    let targets = |targets: &[config::Target]| {
        let targets = targets.iter().filter_map(|target| {
            Some(Target {
                upstream: place(&target.upstream)?,
                model: target.model.clone(),
                weight: target.weight,
            })
        });
        targets.collect::<Vec<_>>()
    };
    let route = |model: &config::Model| Route {
        names: match &model.name {
            Pattern::Exact(name) => Names::Exact(name.clone()),
            Pattern::Glob(glob) => Names::Glob(glob.clone()),
        },
        targets: targets(&model.targets),
        strategy: strategy(model.strategy),
        model: model.model.clone(),
        overrides: overrides(&model.overrides),
        metadata: metadata(model),
    };
    let mut routes: Vec<Route> = config.models.iter().map(route).collect();
    // All other names go to the default upstream as they are.
    routes.extend(place(&config.default_upstream).map(|upstream| Route {
        names: Names::Glob("*".to_owned()),
        targets: vec![Target {
            upstream,
            model: None,
            weight: 1,
        }],
        strategy: Strategy::default(),
        model: None,
        overrides: Overrides::default(),
        metadata: ModelMetadata {
            apply_patch: true,
            ..ModelMetadata::default()
        },
    }));
    let presets = config.presets.iter().map(|preset| {
        let own = Preset {
            targets: targets(&preset.targets),
            strategy: preset.strategy.map(strategy),
            model: preset.model.clone(),
            max_output_tokens: preset.max_output_tokens,
            overrides: overrides(&preset.overrides),
        };
        (preset.name.clone(), own)
    });
    Routes::new(routes, presets.collect())
}

fn strategy(strategy: config::Strategy) -> Strategy {
    match strategy {
        config::Strategy::Fallback => Strategy::Fallback,
        config::Strategy::Weighted => Strategy::Weighted,
        config::Strategy::LeastBusy => Strategy::LeastBusy,
    }
}

fn overrides(overrides: &config::Overrides) -> Overrides {
    Overrides {
        effort: overrides.reasoning_effort.clone(),
        temperature: overrides.temperature,
        top_p: overrides.top_p,
        presence_penalty: overrides.presence_penalty,
        frequency_penalty: overrides.frequency_penalty,
        extra_body: as_json(&overrides.extra_body),
    }
}

fn metadata(model: &config::Model) -> ModelMetadata {
    let modality = |modality: &config::Modality| match modality {
        config::Modality::Text => Modality::Text,
        config::Modality::Image => Modality::Image,
    };
    ModelMetadata {
        display_name: model.display_name.clone(),
        description: model.description.clone(),
        context_window: model.context_window,
        max_output_tokens: model.max_output_tokens,
        reasoning_efforts: model.reasoning_efforts.clone(),
        default_reasoning_effort: model.default_reasoning_effort.clone(),
        input: model.input.iter().map(modality).collect(),
        apply_patch: model.apply_patch,
        multi_agent: model.multi_agent,
        verbosity: model.verbosity,
        base_instructions: model.base_instructions.clone(),
    }
}
