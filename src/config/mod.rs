//! The configuration that the program uses: typed, checked, with every default filled in.
//!
//! What the file may say is in `raw`, which file it is in `find`, what lies over it in `load`, how
//! it becomes a `Config` in `resolve`. Built-in defaults give way to the file, the file to
//! variables like `ANTIPHON__SERVER__LISTEN`, and these to the command line.

mod clients;
mod error;
mod find;
mod listen;
mod load;
mod place;
mod raw;
mod resolve;
mod same;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use clients::{ClientKey, Clients, Cors, Limits, Rates};
pub use error::{ConfigError, Place, Problem};
pub use listen::{Listen, Tls};
pub use load::{DialectCheck, Flags, load};

/// Everything that can be set. Its `Debug` shows no secrets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the settings came from, the environment aside.
    pub source: Source,
    /// The name of the upstream for models that have no entry; it is one of `upstreams`.
    pub default_upstream: String,
    /// How clients are listened to.
    pub server: Server,
    /// Who may ask.
    pub clients: Clients,
    /// What there is for all clients together.
    pub limits: Limits,
    /// Which web pages may ask; `None` for none.
    pub cors: Option<Cors>,
    /// What is logged.
    pub log: Log,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    /// Traces for a collector.
    pub tracing: Tracing,
    /// What becomes of the models' thinking.
    pub reasoning: Reasoning,
    /// Where responses and conversations are kept.
    pub store: Store,
    /// The upstreams in the file's order; there is at least one.
    pub upstreams: Vec<Upstream>,
    /// The models' entries in the file's order.
    pub models: Vec<Model>,
    /// The profiles that requests can pick, in the file's order.
    pub presets: Vec<Preset>,
}

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The `proxy.toml` that the program carries.
    BuiltIn,
    /// The command line alone.
    Flags,
}

/// `[server]`: how clients are listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where; there is at least one place.
    pub listen: Vec<Listen>,
    /// Who may use unix sockets, as `chmod` has it.
    pub unix_mode: u32,
    /// Whether an address that other machines can reach is meant although no key is asked for.
    pub allow_public: bool,
    /// How connections over TCP are protected; `None` for not at all.
    pub tls: Option<Tls>,
    /// Whether `data: [DONE]` follows the last event.
    pub done_sentinel: bool,
    /// How long a stream is silent before it gets a keepalive event; `None` for never.
    pub keepalive_interval: Option<Duration>,
    /// How long the upstream's status line is awaited before `response.created` goes out.
    pub first_status_wait: Duration,
    /// How long a client may take for its request's head.
    pub header_timeout: Duration,
    /// How long a client may take for its request's body.
    pub body_timeout: Duration,
    /// How long a connection may ask nothing between two requests.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// The longest head of a request.
    pub max_header_bytes: usize,
    /// The most headers of a request.
    pub max_headers: usize,
    /// The longest request body.
    pub max_body_bytes: usize,
    /// The most connections at a time.
    pub max_connections: usize,
    /// The most requests at a time on one HTTP/2 connection.
    pub http2_max_streams: u32,
    /// How often an HTTP/2 client is asked whether it is still there; `None` for never.
    pub http2_ping_interval: Option<Duration>,
    /// How long it may take to say so.
    pub http2_ping_timeout: Duration,
    /// How long clients are still served once the program is asked to stop and says that it is not
    /// ready any more.
    pub shutdown_delay: Duration,
    /// How long responses in progress may take to end once the program is asked to stop.
    pub drain_timeout: Duration,
}

/// `[log]`: what is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A filter directive of `tracing`, not yet parsed.
    pub level: String,
    /// What a line looks like.
    pub format: LogFormat,
    /// Whether requests and answers are logged too, as people and models wrote them.
    pub content: bool,
}

/// `[metrics]`: numbers for Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Whether they are told at all.
    pub enabled: bool,
    /// An address of their own; else they are at that of the API.
    pub listen: Option<SocketAddr>,
}

/// `[tracing]`: traces for a collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Where the collector takes traces, by OTLP over HTTP; none are made without one.
    pub endpoint: Option<Url>,
    /// The share of the traces that begin here which is kept, from 0 to 1.
    pub sample_ratio: Option<f64>,
    /// How long the collector may take.
    pub timeout: Duration,
}

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// `[reasoning]`: what becomes of the models' thinking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasoning {
    /// How clients see it.
    pub show: Show,
    /// Where the key is that seals it.
    pub seal_key: SealKey,
}

/// Where the key is that seals thinking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealKey {
    /// In the file that the configuration names.
    Named(PathBuf),
    /// In the usual file.
    Usual(PathBuf),
    /// There is no home folder to keep one in.
    Nowhere,
}

/// How clients see the models' thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// As the request asks.
    Auto,
    /// As a summary.
    Summary,
    /// As reasoning text.
    Content,
    /// Not at all.
    Hidden,
}

/// `[store]`: where responses and conversations are kept.
#[derive(Debug, Clone)]
pub struct Store {
    /// The place.
    pub place: StorePlace,
    /// Whether the configuration names the place. The usual place, which nobody named, may turn out
    /// not to exist (a read-only root) without that being a mistake.
    pub chosen: bool,
    /// The most connections to it.
    pub max_connections: u32,
    /// How long one operation may take.
    pub timeout: Duration,
    /// How long things are kept; `None` for ever.
    pub retention: Option<Duration>,
    /// How much is kept; `None` without a limit.
    pub max_bytes: Option<u64>,
    /// How long background work is safe from being declared lost without a sign of its worker.
    pub lease: Duration,
    /// The most background responses that this process makes at a time.
    pub background_concurrency: usize,
}

/// Where responses and conversations are kept.
#[derive(Debug, Clone)]
pub enum StorePlace {
    /// Nowhere: nothing is stored.
    None,
    /// In this process.
    Memory,
    /// In a SQLite file.
    Sqlite(PathBuf),
    /// In a Postgres database. Its address may hold a password.
    Postgres(SecretString),
}

/// `[upstreams.NAME]`: a server that speaks Chat Completions.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name in this configuration.
    pub name: String,
    /// The address that `/chat/completions` is put behind: no trailing slash, no query, no
    /// password.
    pub base_url: Url,
    /// Which API it is asked by.
    pub wire_api: WireApi,
    /// Whose key it gets.
    pub auth: Auth,
    /// The key for its `Authorization` header.
    pub key: Option<SecretString>,
    /// Where the key was to come from.
    pub key_source: KeySource,
    /// Headers for each request. Values are kept secret, since some servers' keys travel so.
    pub http_headers: Vec<(String, SecretString)>,
    /// Query parameters for each request, those of the address in front.
    pub query_params: Vec<(String, SecretString)>,
    /// Environment variables that are named here but not set.
    pub missing_variables: Vec<String>,
    /// The proxy on the way to it.
    pub proxy: Proxy,
    /// A file with more certificates to trust.
    pub ca_file: Option<PathBuf>,
    /// What is in it, as PEM.
    pub ca_pem: Option<String>,
    /// How often a request is sent again when it fails before its first event.
    pub request_max_retries: u32,
    /// How often it is asked again when its stream breaks before the client heard anything of it.
    pub stream_max_retries: u32,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the status line may take.
    pub first_byte_timeout: Duration,
    /// How long a stream may be silent.
    pub stream_idle_timeout: Duration,
    /// The longest single event.
    pub max_event_bytes: usize,
    /// The most text that one answer may have, all its events together.
    pub max_answer_bytes: usize,
    /// The most requests at a time; `None` for any number.
    pub max_concurrency: Option<usize>,
    /// The most requests that wait for others to end.
    pub max_queue: usize,
    /// How long they wait.
    pub queue_timeout: Duration,
    /// After how many failures in a row it is taken out for a while; 0 for never.
    pub breaker_failures: u32,
    /// For how long at first.
    pub breaker_pause: Duration,
    /// For how long at most.
    pub breaker_max_pause: Duration,
    /// Fields of the request that are never sent, as dotted paths.
    pub drop_fields: Vec<String>,
    /// What is merged into each request.
    pub extra_body: toml::Table,
    /// The name of the dialect profile, or `auto`.
    pub profile: String,
    /// Keys that override the profile's.
    pub dialect: toml::Table,
}

/// Which API an upstream is asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireApi {
    /// Chat Completions: requests and answers are translated.
    Chat,
    /// Responses: both pass nearly untouched.
    Responses,
}

/// Whose key an upstream gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// The one of the configuration.
    Key,
    /// The client's own.
    Passthrough,
}

/// The proxy on the way to an upstream.
#[derive(Debug, Clone)]
pub enum Proxy {
    /// What `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say; none for this machine.
    Environment,
    /// None.
    None,
    /// This one. Its address may hold a password.
    Url(SecretString),
}

/// Where an upstream's key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// It has none.
    None,
    /// The environment variable of this name. Where that is not set, there is no key.
    Variable(String),
    /// A file.
    File(PathBuf),
}

/// `[models."NAME"]`: a model that clients can name.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The names that the entry is for.
    pub name: Pattern,
    /// Where it goes; there is at least one.
    pub targets: Vec<Target>,
    /// Which of them is asked first.
    pub strategy: Strategy,
    /// The model's name at the upstreams; `None` sends the client's name unchanged.
    pub model: Option<String>,
    /// Its name for people.
    pub display_name: Option<String>,
    /// A sentence about it.
    pub description: Option<String>,
    /// How many tokens it can see.
    pub context_window: Option<u64>,
    /// How many tokens an answer may have.
    pub max_output_tokens: Option<u64>,
    /// The efforts that clients can choose; none means that the model does not say.
    pub reasoning_efforts: Vec<String>,
    /// The effort for clients that choose none.
    pub default_reasoning_effort: Option<String>,
    /// What it can read.
    pub input: Vec<Modality>,
    /// Whether Codex is told to edit files with `apply_patch`.
    pub apply_patch: bool,
    /// Whether Codex is told to offer its sub-agents.
    pub multi_agent: bool,
    /// Whether the model knows `text.verbosity`.
    pub verbosity: bool,
    /// What replaces Codex's own instructions.
    pub base_instructions: Option<String>,
    /// What is sent upstream whatever the client chose.
    pub overrides: Overrides,
}

/// What is sent upstream whatever the client chose.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// `reasoning_effort`
    pub reasoning_effort: Option<String>,
    /// `temperature`
    pub temperature: Option<f64>,
    /// `top_p`
    pub top_p: Option<f64>,
    /// `presence_penalty`
    pub presence_penalty: Option<f64>,
    /// `frequency_penalty`
    pub frequency_penalty: Option<f64>,
    /// What is merged into the request.
    pub extra_body: toml::Table,
}

/// `[profiles.NAME]`: settings that a request can pick.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// Where its requests go; empty leaves that to the model's entry.
    pub targets: Vec<Target>,
    /// Which of them is asked first; `None` leaves that to the model's entry.
    pub strategy: Option<Strategy>,
    /// The model's name at the upstreams.
    pub model: Option<String>,
    /// The limit for requests that set none.
    pub max_output_tokens: Option<u64>,
    /// What is sent upstream whatever the client chose.
    pub overrides: Overrides,
}

/// One upstream of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name; it is one of `Config::upstreams`.
    pub upstream: String,
    /// The model's name there, if it differs from what the entry says.
    pub model: Option<String>,
    /// Its share of the requests.
    pub weight: u32,
}

/// Which of several upstreams is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// The first that is well.
    Fallback,
    /// Each as often as its weight says.
    Weighted,
    /// The one with the fewest requests in flight.
    LeastBusy,
}

/// The names that a model's entry is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Exact(String),
    /// All that are like this, where `*` stands for anything.
    Glob(String),
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Exact(name) | Self::Glob(name)) = self;
        f.write_str(name)
    }
}

/// What a model can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modality {
    /// Text.
    Text,
    /// Pictures.
    Image,
}
