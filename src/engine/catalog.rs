//! What models there are: those that the configuration names, and those that the upstreams list.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::Engine;
use super::route::{Names, Route};
use crate::time::Instant;
use crate::upstream::{ModelInfo, Upstream};

/// How long an upstream's list is taken for true.
const FRESH: Duration = Duration::from_secs(30);

/// What clients are told of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelMetadata {
    /// Its name for people.
    pub display_name: Option<String>,
    /// A sentence about it.
    pub description: Option<String>,
    /// How many tokens it can see.
    pub context_window: Option<u64>,
    /// How many tokens an answer may have.
    pub max_output_tokens: Option<u64>,
    /// The efforts that clients can choose.
    pub reasoning_efforts: Vec<String>,
    /// The effort for clients that choose none.
    pub default_reasoning_effort: Option<String>,
    /// What it can read; empty means that nobody said.
    pub input: Vec<Modality>,
    /// Whether Codex is told to edit files with `apply_patch`.
    pub apply_patch: bool,
    /// Whether Codex is told to offer its sub-agents.
    pub multi_agent: bool,
    /// Whether the model knows `text.verbosity`.
    pub verbosity: bool,
    /// What replaces Codex's own instructions.
    pub base_instructions: Option<String>,
}

/// What a model can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modality {
    /// Text.
    Text,
    /// Pictures.
    Image,
}

/// One model that a client can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogEntry {
    /// The name.
    pub name: String,
    /// Unix time at which it was made, 0 where nobody said.
    pub created: u64,
    /// Whose it is, or the upstream's name.
    pub owned_by: String,
    /// What clients are told of it.
    pub metadata: ModelMetadata,
}

/// The upstreams' lists as they were last read.
#[derive(Debug, Default)]
pub(super) struct Cache {
    lists: Mutex<Vec<Listed>>,
}

#[derive(Debug, Clone)]
struct Listed {
    read_at: Instant,
    models: Arc<Vec<ModelInfo>>,
}

impl Engine {
    /// All models. Upstreams that do not answer are left out; what they listed last still counts.
    pub async fn catalog(&self) -> Vec<CatalogEntry> {
        let lists = self.lists().await;
        let mut entries: Vec<CatalogEntry> = Vec::new();
        for route in self.routes.iter() {
            if let Names::Exact(name) = &route.names {
                let told = route.targets.iter().find_map(|target| {
                    let own = target.model.as_deref().or(route.model.as_deref());
                    let own = own.unwrap_or(name);
                    let models = lists.get(target.upstream)?;
                    models.iter().find(|model| model.id == own)
                });
                self.push(&mut entries, name, route, told);
            }
        }
        for (at, models) in lists.iter().enumerate() {
            for model in models.iter() {
                // A name that another upstream would get is not on offer here.
                if let Some(route) = self.routes.find(&model.id)
                    && route.model.is_none()
                    && route
                        .targets
                        .iter()
                        .any(|target| target.upstream == at && target.model.is_none())
                {
                    self.push(&mut entries, &model.id, route, Some(model));
                }
            }
        }
        entries
    }

    /// Whether some route takes that name.
    #[must_use]
    pub fn knows(&self, model: &str) -> bool {
        self.routes.find(model).is_some()
    }

    fn push(
        &self,
        entries: &mut Vec<CatalogEntry>,
        name: &str,
        route: &Route,
        told: Option<&ModelInfo>,
    ) {
        if entries.iter().any(|entry| entry.name == name) {
            return;
        }
        let mut metadata = route.metadata.clone();
        let upstream = route
            .targets
            .first()
            .and_then(|target| self.upstreams.get(target.upstream))
            .map_or("", |upstream| &upstream.settings().name);
        if let Some(told) = told {
            metadata.context_window = metadata.context_window.or(told.context_window);
            if let (true, Some(modalities)) = (metadata.input.is_empty(), &told.input_modalities) {
                let known = [("text", Modality::Text), ("image", Modality::Image)];
                metadata.input = known
                    .into_iter()
                    .filter(|(word, _)| modalities.iter().any(|modality| modality == word))
                    .map(|(_, modality)| modality)
                    .collect();
            }
        }
        entries.push(CatalogEntry {
            name: name.to_owned(),
            created: told.map_or(0, |told| told.created),
            owned_by: told
                .and_then(|told| told.owned_by.clone())
                .unwrap_or_else(|| upstream.to_owned()),
            metadata,
        });
    }

    /// The upstreams' lists, all asked at once where they are not fresh.
    async fn lists(&self) -> Vec<Arc<Vec<ModelInfo>>> {
        // Held while asking, so that many clients at once are one question.
        let mut lists = self.catalog.lists.lock().await;
        let now = Instant::now();
        let stale = lists.len() != self.upstreams.len()
            || lists
                .iter()
                .any(|listed| now.duration_since(listed.read_at) >= FRESH);
        if stale {
            let asked: Vec<_> = self
                .upstreams
                .iter()
                .map(|upstream| tokio::spawn(ask(Arc::clone(upstream))))
                .collect();
            let mut fresh = Vec::with_capacity(asked.len());
            for (at, asked) in asked.into_iter().enumerate() {
                let models = match asked.await {
                    Ok(Some(models)) => Arc::new(models),
                    _ => lists
                        .get(at)
                        .map(|listed| Arc::clone(&listed.models))
                        .unwrap_or_default(),
                };
                fresh.push(Listed {
                    read_at: now,
                    models,
                });
            }
            *lists = fresh;
        }
        lists
            .iter()
            .map(|listed| Arc::clone(&listed.models))
            .collect()
    }
}

async fn ask(upstream: Arc<Upstream>) -> Option<Vec<ModelInfo>> {
    match upstream.models().await {
        Ok(models) => Some(models),
        Err(refusal) => {
            tracing::warn!(
                upstream = %upstream.settings().name,
                error = %refusal.error.message,
                "the upstream does not list its models"
            );
            None
        }
    }
}
