//! Sends traces to a collector, by OTLP over HTTP.
//!
//! The library gathers spans in a queue with an end and sends them from a thread of its own; what does
//! not fit is dropped with a word in the log. Its own variables (`OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_…`, `OTEL_TRACES_SAMPLER`) count.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use reqwest::Url;
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::trace::TARGET;

/// How long the collector may take for what is still to be sent when the program ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where traces go.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// The collector's endpoint for traces, with its path.
    pub endpoint: Url,
    /// The share of traces that is kept, from 0 to 1, of those that begin here; `None` leaves it to the
    /// library's variables, which keep all.
    pub sample_ratio: Option<f64>,
    /// How long one request to the collector may take.
    pub timeout: Duration,
}

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent: {0}")]
pub enum ExportError {
    /// The HTTP client could not be built.
    Client(#[from] reqwest::Error),
    /// The library is not content with its settings.
    Library(#[from] ExporterBuildError),
}

/// Sends traces as long as it lives.
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Begins; there must be a runtime. `tls` is for a collector behind it.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn start(settings: &ExportSettings, tls: ClientConfig) -> Result<Self, ExportError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(settings.timeout)
            .redirect(reqwest::redirect::Policy::none());
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Courier {
                client: client.build()?,
                runtime: Handle::current(),
            })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.endpoint.as_str())
            .with_timeout(settings.timeout)
            .build()?;
        let mut provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource());
        if let Some(ratio) = settings.sample_ratio {
            let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
            provider = provider.with_sampler(sampler);
        }
        Ok(Self(provider.build()))
    }

    /// What hands the program's spans over.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
    {
        let tracer = self.0.tracer("antiphon");
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            // A parent is looked for among the spans themselves: the request's other span, which the log has,
            // is what tasks enter.
            .with_context_activation(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
    }

    /// Sends what is still to be sent.
    pub async fn end(self) {
        // It waits for its thread, which waits for the network.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST_WORDS));
        match ended.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces were not sent"),
            Err(error) => tracing::warn!(%error, "the last traces were not sent"),
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

/// Who we are: by the library's variables, else by our own name.
fn resource() -> Resource {
    let named = Resource::builder().build();
    let name = named.iter().find(|(key, _)| key.as_str() == "service.name");
    let is_unnamed = name.is_none_or(|(_, name)| name.as_str().starts_with("unknown_service"));
    let mut builder = Resource::builder();
    if is_unnamed {
        builder = builder.with_service_name("antiphon");
    }
    builder
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ))
        .build()
}

/// Carries requests for the library, whose thread has no runtime.
#[derive(Debug)]
struct Courier {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Courier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut response = Response::new(answer.bytes().await?);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok::<_, reqwest::Error>(response)
        });
        Ok(sent.await??)
    }
}
