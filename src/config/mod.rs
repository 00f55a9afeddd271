//! The configuration that the program uses: typed, checked, with every default filled in.
//!
//! What the file may say is in `raw`, which file it is in `find`, what lies over it in `load`, how
//! it becomes a `Config` in `resolve`. Built-in defaults give way to the file, the file to
//! variables like `ANTIPHON__SERVER__LISTEN`, and these to the command line.

mod error;
mod find;
mod load;
mod place;
mod raw;
mod resolve;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use error::{ConfigError, Place, Problem};
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
    /// What is logged.
    pub log: Log,
    /// What becomes of the models' thinking.
    pub reasoning: Reasoning,
    /// Where responses and conversations are kept.
    pub store: Store,
    /// The upstreams in the file's order; there is at least one.
    pub upstreams: Vec<Upstream>,
    /// The models' entries in the file's order.
    pub models: Vec<Model>,
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
    /// The address; with port 0 the system picks one.
    pub listen: SocketAddr,
    /// Whether an address that other machines can reach is meant.
    pub allow_public: bool,
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
    /// The longest request body.
    pub max_body_bytes: usize,
    /// The most connections at a time.
    pub max_connections: usize,
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
    /// The file with the key that seals it; `None` where there is no home folder to keep one in.
    pub seal_key_file: Option<PathBuf>,
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
    /// How often a request is sent again when it fails before its first event.
    pub request_max_retries: u32,
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
    /// The name of the dialect profile, or `auto`.
    pub profile: String,
    /// Keys that override the profile's.
    pub dialect: toml::Table,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The names that the entry is for.
    pub name: Pattern,
    /// The upstream's name; it is one of `Config::upstreams`.
    pub upstream: String,
    /// The model's name at the upstream; `None` sends the client's name unchanged.
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
    /// The effort that is sent upstream whatever the client chose.
    pub reasoning_effort: Option<String>,
}

/// The names that a model's entry is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Exact(String),
    /// All that begin like this: `gpt-*` is `gpt-`, `*` is the empty text.
    Prefix(String),
}

impl Pattern {
    /// Whether the entry is for `model`.
    #[must_use]
    pub fn matches(&self, model: &str) -> bool {
        match self {
            Self::Exact(name) => name == model,
            Self::Prefix(start) => model.starts_with(start),
        }
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
