//! One upstream: asked for chat completions and for its models.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use http_body_util::BodyExt;
use reqwest::{Client, Url};
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};

use super::asking::Asking;
use super::refusal::Refusal;
use super::secrets::Secrets;
use crate::profile::Profile;
use crate::responses::ErrorObject;
use crate::translate::Limits;

/// The most bytes of an error's body that are read.
const ERROR_BYTES: usize = 64 * 1024;
/// How long an error's body may take.
const ERROR_WAIT: Duration = Duration::from_secs(5);
/// A configured header whose value is this long may be a key; shorter ones are names and versions.
const SECRET_HEADER_BYTES: usize = 16;

/// What an upstream is built from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name in the configuration.
    pub name: String,
    /// Where its API is; `/chat/completions` is put behind.
    pub base_url: Url,
    /// Sent as a bearer token.
    pub key: Option<SecretString>,
    /// Sent with each request.
    pub headers: HeaderMap,
    /// Put behind each URL.
    pub query: Vec<(String, SecretString)>,
    /// How often a request is sent again before it has failed.
    pub max_retries: usize,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the status line may take.
    pub first_byte_timeout: Duration,
    /// How long it may be silent within an answer.
    pub idle_timeout: Duration,
    /// What it may send.
    pub limits: Limits,
    /// Its dialect, and the name of the table's entry.
    pub profile: Profile,
    /// The name of that dialect.
    pub profile_name: String,
}

/// Why an upstream could not be built.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The key has characters that no header takes.
    #[error("the key of upstream `{0}` cannot stand in a header")]
    Key(String),
    /// The HTTP client could not be built.
    #[error("upstream `{0}`: {1}")]
    Client(String, reqwest::Error),
}

/// A model server.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
    client: Client,
    headers: HeaderMap,
    secrets: Secrets,
}

/// TLS as all upstreams use it: the system's certificates, modern versions.
///
/// # Errors
/// When the system has no certificates that can be read.
pub fn build_tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth())
}

impl Upstream {
    /// Builds one; nothing is sent yet.
    ///
    /// # Errors
    /// When the key or the HTTP client is unusable.
    pub fn new(settings: Settings, tls: ClientConfig) -> Result<Self, UpstreamError> {
        let mut headers = settings.headers.clone();
        if let Some(key) = &settings.key {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
                .map_err(|_| UpstreamError::Key(settings.name.clone()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(settings.connect_timeout)
            .tcp_nodelay(true)
            // A redirected POST would lose its body.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("antiphon/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| UpstreamError::Client(settings.name.clone(), error))?;
        let secrets = secrets_of(&settings);
        Ok(Self {
            settings,
            client,
            headers,
            secrets,
        })
    }

    /// What it was built from.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks for a completion; nothing is sent until the answer is waited for.
    #[must_use]
    pub fn chat(self: &Arc<Self>, body: Bytes, stream: bool) -> Asking {
        Asking::new(Arc::clone(self), body, stream)
    }

    /// The error without this upstream's secrets.
    #[must_use]
    pub fn without_secrets(&self, mut error: ErrorObject) -> ErrorObject {
        error.message = self.secrets.hide(&error.message);
        error.param = error.param.map(|param| self.secrets.hide(&param));
        error.code = error.code.map(|code| self.secrets.hide(&code).into());
        error
    }

    pub(super) async fn chat_once(
        &self,
        body: Bytes,
        stream: bool,
    ) -> Result<reqwest::Body, Refusal> {
        let accept = if stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let request = self
            .client
            .post(self.url("chat/completions"))
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, accept)
            .body(body);
        let wait = self.settings.first_byte_timeout;
        let answer = match tokio::time::timeout(wait, request.send()).await {
            Ok(Ok(answer)) => http::Response::from(answer),
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => return Err(Refusal::of_silence(&self.settings.name, wait)),
        };
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        Err(self.refused(&head, body).await)
    }

    /// Asks `GET` of a path below the base URL, or above it if it begins with a slash, and reads the
    /// whole answer.
    pub(super) async fn get(&self, path: &str, limit: usize) -> Result<Bytes, Refusal> {
        self.read(self.client.get(self.url(path)), limit).await
    }

    /// Posts JSON to such a path, and reads the whole answer.
    pub(super) async fn post(
        &self,
        path: &str,
        json: Bytes,
        limit: usize,
    ) -> Result<Bytes, Refusal> {
        let request = self.client.post(self.url(path));
        let request = request.header(CONTENT_TYPE, "application/json").body(json);
        self.read(request, limit).await
    }

    async fn read(&self, request: reqwest::RequestBuilder, limit: usize) -> Result<Bytes, Refusal> {
        let answer = request
            .headers(self.headers.clone())
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let (head, body) = http::Response::from(answer).into_parts();
        if !head.status.is_success() {
            return Err(self.refused(&head, body).await);
        }
        let body = http_body_util::Limited::new(body, limit)
            .collect()
            .await
            .map_err(|error| {
                let message = format!(
                    "the upstream `{}`: its answer broke off: {error}",
                    self.settings.name
                );
                Refusal::new(502, ErrorObject::server(message))
            })?;
        Ok(body.to_bytes())
    }

    /// What another status than 2xx means. Secrets are taken out before anything is read or cut.
    async fn refused(&self, head: &http::response::Parts, body: reqwest::Body) -> Refusal {
        let body = read_error(body).await;
        let body = self.secrets.hide(&String::from_utf8_lossy(&body));
        let mut refusal = Refusal::of_answer(
            &self.settings.name,
            head.status.as_u16(),
            &head.headers,
            body.as_bytes(),
        );
        // Once more: JSON may have spelt them with escapes.
        refusal.error = self.without_secrets(refusal.error);
        refusal
    }

    fn unreachable(&self, error: &reqwest::Error) -> Refusal {
        Refusal::of_transport(&self.settings.name, self.settings.base_url.as_str(), error)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.settings.base_url.clone();
        let whole = match path.strip_prefix('/') {
            Some(path) => format!("/{path}"),
            None => format!("{}/{path}", url.path().trim_end_matches('/')),
        };
        url.set_path(&whole);
        if !self.settings.query.is_empty() {
            let pairs = self
                .settings
                .query
                .iter()
                .map(|(key, value)| (key, value.expose_secret()));
            url.query_pairs_mut().extend_pairs(pairs);
        }
        url
    }
}

/// The key, and the headers that may hold one: `x-api-key` and the like.
fn secrets_of(settings: &Settings) -> Secrets {
    let headers = settings.headers.values();
    let headers: Vec<SecretString> = headers
        .filter_map(|value| value.to_str().ok())
        .map(|value| value.strip_prefix("Bearer ").unwrap_or(value).into())
        .filter(|value: &SecretString| value.expose_secret().len() >= SECRET_HEADER_BYTES)
        .collect();
    Secrets::new(settings.key.iter().chain(&headers))
}

/// Reads what there is of an error's body, in bounded time and space.
async fn read_error(mut body: reqwest::Body) -> Vec<u8> {
    let mut out = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                out.extend_from_slice(&data);
            }
            if out.len() >= ERROR_BYTES {
                break;
            }
        }
    };
    // What was read until then is still worth reading.
    let _ = tokio::time::timeout(ERROR_WAIT, read).await;
    out
}
