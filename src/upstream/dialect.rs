//! Which dialect an upstream speaks: the configuration's word, else what its address says, else what
//! the server says of itself. The last is asked in the background, once somebody wants the answer, so
//! that no request waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::client::Upstream;
use super::refusal::Refusal;
use crate::json::Edits;
use crate::profile::{self, Profile, Witness};

/// How long one question to a server about itself may take.
const QUESTION_WAIT: Duration = Duration::from_secs(3);
/// How long the request that made somebody wonder goes first: some servers do one thing at a time.
const MANNERS: Duration = Duration::from_secs(1);
/// The most bytes of an answer that are read.
const ANSWER_BYTES: usize = 1024 * 1024;
/// How long after an attempt that told nothing the next one may be made.
const AGAIN: Duration = Duration::from_secs(60);

/// A dialect, ready to be spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct Dialect {
    /// The name of the table's entry.
    pub name: String,
    /// The habits.
    pub profile: Profile,
    /// What is changed in each request for it.
    pub edits: Edits,
}

/// What is known of an upstream's dialect before it is asked.
#[derive(Debug, Clone)]
pub struct DialectSettings {
    /// The name of the table's entry.
    pub name: String,
    /// The habits.
    pub profile: Profile,
    /// Whether the server itself may know better, and what lies over its profile then.
    pub ask: Option<toml::Table>,
}

/// An upstream's dialect, as far as it is known by now.
#[derive(Debug)]
pub(super) struct Known {
    now: RwLock<Arc<Dialect>>,
    /// Nothing more is to be found out, or somebody is about to.
    settled: AtomicBool,
}

impl Known {
    pub(super) fn new(settings: &DialectSettings, own: &Edits) -> Self {
        let dialect = Dialect::new(settings.name.clone(), settings.profile.clone(), own);
        Self {
            now: RwLock::new(Arc::new(dialect)),
            settled: AtomicBool::new(settings.ask.is_none()),
        }
    }

    fn get(&self) -> Arc<Dialect> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, dialect: Dialect) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(dialect);
    }
}

impl Dialect {
    fn new(name: String, profile: Profile, own: &Edits) -> Self {
        let mut edits = Edits {
            drop: profile.drop_fields.clone(),
            merge: Vec::new(),
        };
        if !profile.extra_body.is_empty() {
            // A table without dates serialises; the configuration was checked for that.
            edits
                .merge
                .extend(serde_json::to_string(&profile.extra_body));
        }
        edits.drop.extend(own.drop.iter().cloned());
        edits.merge.extend(own.merge.iter().cloned());
        Self {
            name,
            profile,
            edits,
        }
    }
}

impl Upstream {
    /// Its dialect, as far as it is known by now. Asked for the first time this makes somebody find
    /// out, if there is anything to find out.
    #[must_use]
    pub fn dialect(self: &Arc<Self>) -> Arc<Dialect> {
        let known = self.known();
        if !known.settled.swap(true, Ordering::Relaxed) {
            let upstream = Arc::clone(self);
            // Without a runtime nobody asks; then the address has to do.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move {
                    tokio::time::sleep(MANNERS).await;
                    upstream.find_out().await
                });
            }
        }
        known.get()
    }

    /// Asks the server what it is, unless that is known. Returns the dialect.
    pub async fn find_out(self: &Arc<Self>) -> Arc<Dialect> {
        let Some(overrides) = &self.settings().dialect.ask else {
            return self.known().get();
        };
        let known = self.known();
        known.settled.store(true, Ordering::Relaxed);
        match self.recognise().await {
            Ok(Some(name)) => self.adopt(&name, overrides),
            // It answers, and is nobody that is known.
            Ok(None) => {}
            Err(refusal) if refusal.status < 500 => {}
            Err(_) => {
                // A server that is down says nothing, and may be up later.
                let upstream = Arc::downgrade(self);
                tokio::spawn(async move {
                    tokio::time::sleep(AGAIN).await;
                    if let Some(upstream) = upstream.upgrade() {
                        upstream.known().settled.store(false, Ordering::Relaxed);
                    }
                });
            }
        }
        known.get()
    }

    fn adopt(&self, name: &str, overrides: &toml::Table) {
        let known = self.known();
        if known.get().name == name {
            return;
        }
        // The names are the table's own, so this cannot fail but by overrides, which were checked.
        if let Ok((name, profile)) = profile::resolve(name, "", None, overrides) {
            tracing::info!(upstream = %self.settings().name, profile = %name, "the server says what it is");
            known.set(Dialect::new(name, profile, self.own_edits()));
        }
    }

    /// What the server says that it is: by its list of models, else by paths that only one kind has.
    async fn recognise(&self) -> Result<Option<String>, Refusal> {
        let signs = profile::signs();
        // All that are known have this one; who has not is somebody else, or down.
        let (server, body) = self.ask_about("models").await?;
        let owners = super::models::owners(&body);
        let told = signs.iter().find(|(_, witness)| match witness {
            Witness::OwnedBy(word) => owners.iter().any(|owner| owner == word),
            Witness::Server(word) => server.to_ascii_lowercase().starts_with(word.as_str()),
            Witness::Path { .. } => false,
        });
        if let Some((name, _)) = told {
            return Ok(Some(name.clone()));
        }
        for (name, witness) in &signs {
            let Witness::Path { path, key } = witness else {
                continue;
            };
            if let Ok((_, body)) = self.ask_about(path).await
                && crate::json::Object::from_slice(&body).is_some_and(|it| it.get(key).is_some())
            {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    /// The `Server` header and the body of a path.
    async fn ask_about(&self, path: &str) -> Result<(String, bytes::Bytes), Refusal> {
        let asked = self.get_with_server(path, ANSWER_BYTES);
        match tokio::time::timeout(QUESTION_WAIT, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::of_silence(&self.settings().name, QUESTION_WAIT)),
        }
    }
}
