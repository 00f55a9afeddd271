//! The way of requests to an upstream: a connection of its own, or the HTTP client.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, Response};
use reqwest::{Client, Url};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls_platform_verifier::{BuilderVerifierExt, Verifier};
use secrecy::ExposeSecret;

use super::body::Body;
use super::client::{ProxySetting, Settings, UpstreamError};
use super::direct::{Direct, Failure};

/// How requests get there.
#[derive(Debug)]
pub(super) enum Way {
    /// Without TLS and without a proxy between.
    Direct(Direct),
    /// All else.
    Client(Client),
}

/// TLS as all upstreams use it: the system's certificates, modern versions. They are read once, when
/// they are first needed, as reading them takes longer than all else before the program listens.
#[derive(Debug, Default)]
pub struct Tls(OnceLock<ClientConfig>);

impl Tls {
    /// The configuration.
    ///
    /// # Errors
    /// When the system has no certificates that can be read.
    pub fn config(&self) -> Result<ClientConfig, rustls::Error> {
        if let Some(config) = self.0.get() {
            return Ok(config.clone());
        }
        let config = build(&[])?;
        Ok(self.0.get_or_init(|| config).clone())
    }
}

/// TLS with the system's certificates and those of `extra_roots`.
fn build(extra_roots: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    if extra_roots.is_empty() {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    }
    let verifier = Verifier::new_with_extra_roots(extra_roots.iter().cloned(), provider)?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

impl Way {
    /// `tls` is what upstreams without certificates of their own share.
    pub(super) fn new(settings: &Settings, tls: &Tls) -> Result<Self, UpstreamError> {
        let name = || settings.name.clone();
        let proxied = match &settings.proxy {
            ProxySetting::Environment => !is_this_machine(&settings.base_url) && has_proxy(),
            ProxySetting::None => false,
            ProxySetting::Url(_) => true,
        };
        if !proxied && let Some(direct) = Direct::new(&settings.base_url, settings.connect_timeout)
        {
            return Ok(Self::Direct(direct));
        }
        let tls = match settings.extra_roots.is_empty() {
            true => tls.config(),
            false => build(&settings.extra_roots),
        };
        let tls = tls.map_err(|error| UpstreamError::Tls(name(), error))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(settings.connect_timeout)
            .tcp_nodelay(true)
            // A redirected POST would lose its body.
            .redirect(reqwest::redirect::Policy::none());
        let client = match &settings.proxy {
            ProxySetting::Environment if is_this_machine(&settings.base_url) => client.no_proxy(),
            ProxySetting::Environment => client,
            ProxySetting::None => client.no_proxy(),
            ProxySetting::Url(url) => {
                let proxy = reqwest::Proxy::all(url.expose_secret());
                client.proxy(proxy.map_err(|_| UpstreamError::Proxy(name()))?)
            }
        };
        let client = client.build();
        client
            .map(Self::Client)
            .map_err(|error| UpstreamError::Client(name(), error))
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, Failure> {
        match self {
            Self::Direct(direct) => {
                let answer = direct.send(&method, &url, &headers, body).await;
                answer.map(|answer| answer.map(Body::Direct))
            }
            Self::Client(client) => {
                let request = client.request(method, url).headers(headers).body(body);
                let answer = request.send().await.map_err(|error| failure(&error));
                answer.map(|answer| Response::from(answer).map(Body::Client))
            }
        }
    }
}

/// Whether the environment names a proxy for plain HTTP; the HTTP client knows how to use it.
fn has_proxy() -> bool {
    ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Why the HTTP client has no answer.
fn failure(error: &reqwest::Error) -> Failure {
    // The innermost error says what really happened.
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() {
        Failure::Timeout
    } else if error.is_connect() {
        Failure::Connect(cause.to_string())
    } else {
        Failure::Broken(cause.to_string())
    }
}
