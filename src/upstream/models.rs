//! What models an upstream has, and what it tells of them.

use std::time::Duration;

use serde::Deserialize;

use super::client::Upstream;
use super::refusal::Refusal;
use crate::json::Text;
use crate::responses::ErrorObject;

/// The most bytes of a list of models; OpenRouter's has half a megabyte.
const LIST_BYTES: usize = 8 * 1024 * 1024;
/// How long a list of models may take.
const LIST_WAIT: Duration = Duration::from_secs(3);

/// A model as its server describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name.
    pub id: String,
    /// Unix time at which it was made, if told.
    pub created: u64,
    /// Whose it is, if told.
    pub owned_by: Option<String>,
    /// The most tokens that it can hold, if told.
    pub context_window: Option<u64>,
    /// `text`, `image`, …, if told.
    pub input_modalities: Option<Vec<String>>,
}

impl Upstream {
    /// Asks for the list of models.
    ///
    /// # Errors
    /// When the upstream cannot be reached, refuses, or answers something else.
    pub async fn models(&self) -> Result<Vec<ModelInfo>, Refusal> {
        let name = &self.settings().name;
        let body = match tokio::time::timeout(LIST_WAIT, self.get("models", LIST_BYTES)).await {
            Ok(body) => body?,
            Err(_) => return Err(Refusal::of_silence(name, LIST_WAIT)),
        };
        let list: List<'_> = serde_json::from_slice(&body).map_err(|error| {
            let message =
                format!("the upstream `{name}` answered /models with something else: {error}");
            Refusal::new(502, ErrorObject::server(message))
        })?;
        let models = list.data.or(list.models).unwrap_or_default();
        Ok(models.into_iter().filter_map(Listed::into_info).collect())
    }
}

/// Whose the models of a list are.
pub(super) fn owners(body: &[u8]) -> Vec<String> {
    let list: Option<List<'_>> = serde_json::from_slice(body).ok();
    let models = list.and_then(|list| list.data.or(list.models));
    let owners = models.into_iter().flatten();
    owners
        .filter_map(|model| model.owned_by.map(|owner| owner.to_string()))
        .collect()
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct List<'a> {
    #[serde(default)]
    data: Option<Vec<Listed<'a>>>,
    #[serde(default)]
    models: Option<Vec<Listed<'a>>>,
}

/// One model, with the keys by which servers tell its size.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Listed<'a> {
    #[serde(alias = "name", default)]
    id: Option<Text<'a>>,
    #[serde(default)]
    created: Option<f64>,
    #[serde(default)]
    owned_by: Option<Text<'a>>,
    /// vLLM, SGLang
    #[serde(default)]
    max_model_len: Option<u64>,
    /// OpenRouter, Together
    #[serde(default)]
    context_length: Option<u64>,
    /// Groq
    #[serde(default)]
    context_window: Option<u64>,
    /// LM Studio
    #[serde(default)]
    loaded_context_length: Option<u64>,
    /// LM Studio, Mistral
    #[serde(alias = "max_context_length", default)]
    max_context: Option<u64>,
    /// llama.cpp
    #[serde(default)]
    meta: Option<Meta>,
    /// OpenRouter
    #[serde(default)]
    architecture: Option<Architecture<'a>>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    n_ctx: Option<u64>,
    #[serde(default)]
    n_ctx_train: Option<u64>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Architecture<'a> {
    #[serde(default)]
    input_modalities: Option<Vec<Text<'a>>>,
}

impl Listed<'_> {
    fn into_info(self) -> Option<ModelInfo> {
        let meta = self.meta.and_then(|meta| meta.n_ctx.or(meta.n_ctx_train));
        let modalities = self
            .architecture
            .and_then(|architecture| architecture.input_modalities);
        Some(ModelInfo {
            id: self.id?.to_string(),
            // Some servers write it with a fraction.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped before"
            )]
            created: self.created.unwrap_or(0.0).clamp(0.0, 4e9) as u64,
            owned_by: self.owned_by.map(|owner| owner.to_string()),
            context_window: self
                .loaded_context_length
                .or(self.max_model_len)
                .or(self.context_length)
                .or(self.context_window)
                .or(self.max_context)
                .or(meta)
                .filter(|size| *size > 0),
            input_modalities: modalities
                .map(|list| list.iter().map(|word| word.to_string()).collect()),
        })
    }
}
