//! One upstream: asked for chat completions and for its models.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, SERVER, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};

use super::answer::Answer;
use super::asking::{Asking, Question};
use super::body::Body;
use super::breaker::{BreakerSettings, Standing};
use super::dialect::{DialectSettings, Known};
use super::health::{Health, ModelHealth, Trial};
use super::refusal::{Fault, Refusal};
use super::secrets::Secrets;
use super::site::Site;
use super::way::{Tls, Way};
use crate::gate::{Gate, Line, Permit, Shut};
use crate::json::Edits;
use crate::profile::KeyHeader;
use crate::responses::ErrorObject;
use crate::telemetry::Metrics;
use crate::translate::Limits;

/// The header in which Azure and some gateways want the key.
const API_KEY: HeaderName = HeaderName::from_static("api-key");
/// The header in which clients give their key for an upstream, where `Authorization` has the one for
/// this server.
pub const UPSTREAM_KEY: HeaderName = HeaderName::from_static("x-upstream-key");
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
    /// Where its API is; `/chat/completions` is put behind. `{model}` in its path stands for the
    /// model's name.
    pub base_url: Url,
    /// Which API that is.
    pub wire_api: WireApi,
    /// Sent as a bearer token, or in the header that the dialect wants.
    pub key: Option<SecretString>,
    /// Whether the client's own key is sent instead.
    pub passthrough: bool,
    /// Sent with each request.
    pub headers: HeaderMap,
    /// Put behind each URL.
    pub query: Vec<(String, SecretString)>,
    /// The proxy on the way to it.
    pub proxy: ProxySetting,
    /// Certificates to trust beside the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// How often a request is sent again before it has failed.
    pub max_retries: usize,
    /// How often it is asked again when its stream breaks before anything of it was told.
    pub stream_retries: usize,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the status line may take.
    pub first_byte_timeout: Duration,
    /// How long it may be silent within an answer.
    pub idle_timeout: Duration,
    /// What it may send.
    pub limits: Limits,
    /// The most requests at a time.
    pub max_concurrency: Option<usize>,
    /// The most that wait for others to end, and for how long.
    pub queue: (usize, Duration),
    /// When it is taken out.
    pub breaker: BreakerSettings,
    /// What is changed in each request for it, over what its dialect changes.
    pub edits: Edits,
    /// Its dialect.
    pub dialect: DialectSettings,
    /// Where its failures are counted.
    pub metrics: Arc<Metrics>,
}

/// Which API an upstream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireApi {
    /// Chat Completions.
    Chat,
    /// Responses.
    Responses,
}

/// The proxy on the way to an upstream.
#[derive(Debug, Clone)]
pub enum ProxySetting {
    /// As the environment says, but none for this machine.
    Environment,
    /// None.
    None,
    /// This one; its address may hold a password.
    Url(SecretString),
}

/// Why an upstream could not be built.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The key has characters that no header takes.
    #[error("the key of upstream `{0}` cannot stand in a header")]
    Key(String),
    /// The proxy's address is none. It may hold a password, so it is not shown.
    #[error("upstream `{0}`: its `proxy` is not an address")]
    Proxy(String),
    /// TLS could not be set up.
    #[error("upstream `{0}`: TLS cannot be set up: {1}")]
    Tls(String, rustls::Error),
    /// The HTTP client could not be built.
    #[error("upstream `{0}`: {1}")]
    Client(String, reqwest::Error),
}

/// A model server.
#[derive(Debug)]
pub struct Upstream {
    settings: Settings,
    site: Site,
    way: Way,
    headers: HeaderMap,
    secrets: Secrets,
    known: Known,
    gate: Arc<Gate>,
    health: Arc<Health>,
}

impl Upstream {
    /// Builds one; nothing is sent yet. `tls` is what upstreams without certificates of their own
    /// share.
    ///
    /// # Errors
    /// When the key, the proxy, the certificates or the HTTP client are unusable.
    pub fn new(settings: Settings, tls: &Tls) -> Result<Self, UpstreamError> {
        let name = || settings.name.clone();
        let mut headers = settings.headers.clone();
        if let Some(key) = &settings.key {
            let (header, value) = match settings.dialect.profile.key_header {
                KeyHeader::Bearer => (AUTHORIZATION, format!("Bearer {}", key.expose_secret())),
                KeyHeader::ApiKey => (API_KEY, key.expose_secret().to_owned()),
            };
            let mut value = HeaderValue::try_from(value).map_err(|_| UpstreamError::Key(name()))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let agent = HeaderValue::from_static(concat!("antiphon/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(agent);
        let way = Way::new(&settings, tls)?;
        Ok(Self {
            secrets: secrets_of(&settings),
            known: Known::new(&settings.dialect, &settings.edits),
            gate: Arc::new(Gate::new(settings.max_concurrency)),
            health: Arc::new(Health::new(settings.name.clone(), settings.breaker)),
            site: Site::new(&settings),
            settings,
            way,
            headers,
        })
    }

    /// What it was built from.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// What the configuration changes in each request, over what the dialect changes.
    #[must_use]
    pub fn own_edits(&self) -> &Edits {
        &self.settings.edits
    }

    /// Asks; nothing is sent until the answer is waited for. `hasty` says that somebody else can be
    /// asked, so that only who is busy is asked again.
    #[must_use]
    pub fn ask(self: &Arc<Self>, question: Question, hasty: bool) -> Asking {
        Asking::new(Arc::clone(self), question, hasty)
    }

    /// How good an idea it is to ask for a model now.
    #[must_use]
    pub fn standing(&self, model: &str) -> Standing {
        self.health.standing(model)
    }

    /// A request for a model is about to be sent; what becomes of it is to be told to the trial.
    #[must_use]
    pub fn begin(&self, model: &str) -> Trial {
        self.health.begin(model)
    }

    /// What is known of its models' health.
    #[must_use]
    pub fn health(&self) -> Vec<ModelHealth> {
        self.health.models()
    }

    /// Requests that are being answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.gate.inside()
    }

    /// Requests that wait in line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.gate.waiting()
    }

    /// Whether the next request would have to wait in line.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.gate.is_full()
    }

    pub(super) fn enter(&self) -> Pin<Box<dyn Future<Output = Result<Permit, Shut>> + Send>> {
        let (most, wait) = self.settings.queue;
        Box::pin(Arc::clone(&self.gate).enter(Line { most, wait }))
    }

    /// The error without this upstream's secrets.
    #[must_use]
    pub fn without_secrets(&self, mut error: ErrorObject) -> ErrorObject {
        error.message = self.secrets.hide(&error.message);
        error.param = error.param.map(|param| self.secrets.hide(&param));
        error.code = error.code.map(|code| self.secrets.hide(&code).into());
        error
    }

    pub(super) async fn ask_once(
        &self,
        question: Question,
        permit: Permit,
    ) -> Result<Answer, Refusal> {
        let accept = match question.stream {
            true => "text/event-stream",
            false => "application/json",
        };
        let mut headers = self.headers.clone();
        question.trace.write(&mut headers);
        headers.extend(self.of_caller(&question.caller));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let url = self.site.asked(&question.model);
        let asked = self.send(Method::POST, url, headers, question.body);
        let wait = self.settings.first_byte_timeout;
        let answer = match tokio::time::timeout(wait, asked).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Refusal::of_silence(&self.settings.name, wait)),
        };
        let (mut head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(Answer::new(body, head.headers.remove(CONTENT_TYPE), permit));
        }
        let mut refusal = self.refused(&head, body).await;
        if self.settings.passthrough {
            refusal.error = hide_caller(&question.caller, refusal.error);
            // The client's own key, the client's own limits.
            refusal.fault = match head.status.as_u16() {
                401..=403 => Fault::Request,
                429 => Fault::Denied,
                _ => refusal.fault,
            };
        }
        Err(refusal)
    }

    /// What of the client's own headers goes to this upstream: its key, if that is wanted, and
    /// nothing else ever.
    fn of_caller(&self, caller: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !self.settings.passthrough {
            return headers;
        }
        if let Some(key) = caller.get(UPSTREAM_KEY) {
            let (name, value) = match self.settings.dialect.profile.key_header {
                KeyHeader::Bearer => (AUTHORIZATION, [b"Bearer ", key.as_bytes()].concat()),
                KeyHeader::ApiKey => (API_KEY, key.as_bytes().to_vec()),
            };
            // It was a header's value, and is one with a word before it.
            if let Ok(mut value) = HeaderValue::from_bytes(&value) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            return headers;
        }
        for name in [AUTHORIZATION, API_KEY] {
            if let Some(value) = caller.get(&name) {
                let mut value = value.clone();
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        headers
    }

    /// Asks `GET` of a path below the base URL, or above it if it begins with a slash, and reads the
    /// whole answer.
    pub(super) async fn get(&self, path: &str, limit: usize) -> Result<Bytes, Refusal> {
        Ok(self.get_with_server(path, limit).await?.1)
    }

    /// The same, with the `Server` header.
    pub(super) async fn get_with_server(
        &self,
        path: &str,
        limit: usize,
    ) -> Result<(String, Bytes), Refusal> {
        let headers = self.headers.clone();
        let answer = self.send(Method::GET, self.site.url(path, ""), headers, Bytes::new());
        self.read(answer.await?, limit).await
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
        let answer = self.send(Method::POST, self.site.url(path, ""), headers, json);
        Ok(self.read(answer.await?, limit).await?.1)
    }

    /// Sends a request and waits for the head of the answer.
    async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, Refusal> {
        let answer = self.way.send(method, url, headers, body).await;
        answer.map_err(|failure| {
            let url = self.settings.base_url.as_str();
            let mut refusal = Refusal::of_transport(&self.settings.name, url, &failure);
            refusal.error = self.without_secrets(refusal.error);
            refusal
        })
    }

    /// Reads a whole answer, and what server it says it is from.
    async fn read(&self, answer: Response<Body>, limit: usize) -> Result<(String, Bytes), Refusal> {
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            return Err(self.refused(&head, body).await);
        }
        let server = head.headers.get(SERVER).and_then(|it| it.to_str().ok());
        let server = server.unwrap_or_default().to_owned();
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
        Ok((server, body.to_bytes()))
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
}

/// The error without the client's own key.
fn hide_caller(caller: &HeaderMap, mut error: ErrorObject) -> ErrorObject {
    let words: Vec<SecretString> = caller
        .values()
        .filter_map(|value| value.to_str().ok())
        .map(|value| value.split_once(' ').map_or(value, |(_, key)| key).into())
        .collect();
    error.message = Secrets::new(&words).hide(&error.message);
    error
}

/// The key, and the headers that may hold one: `x-api-key` and the like.
fn secrets_of(settings: &Settings) -> Secrets {
    let headers = settings.headers.values();
    let headers: Vec<SecretString> = headers
        .filter_map(|value| value.to_str().ok())
        .map(|value| value.strip_prefix("Bearer ").unwrap_or(value).into())
        .filter(|value: &SecretString| value.expose_secret().len() >= SECRET_HEADER_BYTES)
        .collect();
    let query = settings.query.iter().map(|(_, value)| value);
    let query = query.filter(|value| value.expose_secret().len() >= SECRET_HEADER_BYTES);
    let proxy = match &settings.proxy {
        ProxySetting::Url(url) => passwords(url),
        ProxySetting::Environment | ProxySetting::None => Vec::new(),
    };
    let key = settings.key.iter();
    Secrets::new(key.chain(&headers).chain(query).chain(&proxy))
}

/// What of a proxy's address must not be told.
fn passwords(url: &SecretString) -> Vec<SecretString> {
    let parsed = Url::parse(url.expose_secret()).ok();
    let password = parsed.and_then(|url| url.password().map(SecretString::from));
    password.into_iter().chain([url.clone()]).collect()
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
