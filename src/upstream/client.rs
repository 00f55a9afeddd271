//! One upstream: asked for chat completions and for its models.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, USER_AGENT};
use http::{HeaderValue, Method, Response};
use http_body_util::BodyExt;
use reqwest::{Client, Url};
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};

use super::asking::Asking;
use super::body::Body;
use super::direct::{Direct, Failure};
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
    /// The system's certificates cannot be read.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A model server.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
    way: Way,
    headers: HeaderMap,
    secrets: Secrets,
}

/// How requests get there.
#[derive(Debug)]
enum Way {
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
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        Ok(self.0.get_or_init(|| config).clone())
    }
}

impl Way {
    fn new(settings: &Settings, tls: &Tls) -> Result<Self, UpstreamError> {
        if !has_proxy()
            && let Some(direct) = Direct::new(&settings.base_url, settings.connect_timeout)
        {
            return Ok(Self::Direct(direct));
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls.config()?)
            .connect_timeout(settings.connect_timeout)
            .tcp_nodelay(true)
            // A redirected POST would lose its body.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| UpstreamError::Client(settings.name.clone(), error))?;
        Ok(Self::Client(client))
    }
}

/// Whether the environment names a proxy for plain HTTP; the HTTP client knows how to use it.
fn has_proxy() -> bool {
    ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

impl Upstream {
    /// Builds one; nothing is sent yet.
    ///
    /// # Errors
    /// When the key or the HTTP client is unusable.
    pub fn new(settings: Settings, tls: &Tls) -> Result<Self, UpstreamError> {
        let mut headers = settings.headers.clone();
        if let Some(key) = &settings.key {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
                .map_err(|_| UpstreamError::Key(settings.name.clone()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let agent = HeaderValue::from_static(concat!("antiphon/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(agent);
        let way = Way::new(&settings, tls)?;
        let secrets = secrets_of(&settings);
        Ok(Self {
            settings,
            way,
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

    pub(super) async fn chat_once(&self, body: Bytes, stream: bool) -> Result<Body, Refusal> {
        let accept = if stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let asked = self.send(Method::POST, "chat/completions", headers, body);
        let wait = self.settings.first_byte_timeout;
        let answer = match tokio::time::timeout(wait, asked).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Refusal::of_silence(&self.settings.name, wait)),
        };
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        Err(self.refused(&head, body).await)
    }

    /// Sends a request to a path, as [`Self::get`] reads it, and waits for the head of the answer.
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, Refusal> {
        let url = self.url(path);
        let answer = match &self.way {
            Way::Direct(direct) => {
                let answer = direct.send(&method, &url, &headers, body).await;
                answer.map(|answer| answer.map(Body::Direct))
            }
            Way::Client(client) => {
                let request = client.request(method, url).headers(headers).body(body);
                let answer = request.send().await.map_err(|error| failure(&error));
                answer.map(|answer| Response::from(answer).map(Body::Client))
            }
        };
        answer.map_err(|failure| {
            let url = self.settings.base_url.as_str();
            Refusal::of_transport(&self.settings.name, url, &failure)
        })
    }

    /// Asks `GET` of a path below the base URL, or above it if it begins with a slash, and reads the
    /// whole answer.
    pub(super) async fn get(&self, path: &str, limit: usize) -> Result<Bytes, Refusal> {
        let headers = self.headers.clone();
        let answer = self.send(Method::GET, path, headers, Bytes::new()).await?;
        self.read(answer, limit).await
    }

    /// Posts JSON to such a path, and reads the whole answer.
    pub(super) async fn post(
        &self,
        path: &str,
        json: Bytes,
        limit: usize,
    ) -> Result<Bytes, Refusal> {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.send(Method::POST, path, headers, json).await?;
        self.read(answer, limit).await
    }

    async fn read(&self, answer: Response<Body>, limit: usize) -> Result<Bytes, Refusal> {
        let (head, body) = answer.into_parts();
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
    async fn refused(&self, head: &http::response::Parts, body: Body) -> Refusal {
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
async fn read_error(mut body: Body) -> Vec<u8> {
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
