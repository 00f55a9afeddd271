//! `/v1/models`: one body that is OpenAI's list and Codex's catalog at once.

use axum::response::Response;
use serde::Serialize;

use super::json;
use crate::engine::{CatalogEntry, Modality};
use crate::responses::ErrorObject;
use crate::server::admit::Asker;
use crate::server::error::Failure;
use crate::server::segments::Segments;
use crate::upstream::Refusal;

/// What a model is told that runs in Codex, unless the configuration says otherwise. Codex has its
/// own text for models that it knows, and takes ours for those that it knows only from here.
const BASE_INSTRUCTIONS: &str = include_str!("../../../assets/base_instructions.md");

/// The window that is told where nobody knows better: small enough that Codex compacts in time on
/// most servers, large enough for its own prompt.
const CONTEXT_WINDOW: u64 = 32_768;

/// OpenAI's keys and Codex's: each reads its own.
#[derive(Serialize)]
struct Models<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
    models: Vec<CodexModel<'a>>,
}

/// A model in OpenAI's list.
#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

/// A model in Codex's catalog: all keys that some version since 0.120 cannot do without.
#[derive(Serialize)]
struct CodexModel<'a> {
    slug: &'a str,
    display_name: &'a str,
    description: &'a str,
    default_reasoning_level: Option<&'a str>,
    supported_reasoning_levels: Vec<ReasoningLevel<'a>>,
    shell_type: &'static str,
    visibility: &'static str,
    minimal_client_version: &'static str,
    supported_in_api: bool,
    priority: usize,
    upgrade: Option<()>,
    availability_nux: Option<()>,
    base_instructions: &'a str,
    model_messages: Option<()>,
    supports_reasoning_summaries: bool,
    supports_reasoning_summary_parameter: bool,
    default_reasoning_summary: &'static str,
    support_verbosity: bool,
    default_verbosity: Option<&'static str>,
    apply_patch_tool_type: Option<&'static str>,
    web_search_tool_type: &'static str,
    truncation_policy: TruncationPolicy,
    supports_parallel_tool_calls: bool,
    supports_image_detail_original: bool,
    context_window: u64,
    max_context_window: u64,
    auto_compact_token_limit: Option<u64>,
    effective_context_window_percent: u8,
    experimental_supported_tools: [&'static str; 0],
    input_modalities: Vec<&'static str>,
    supports_search_tool: bool,
    use_responses_lite: bool,
    tool_mode: &'static str,
    multi_agent_version: &'static str,
    prefer_websockets: bool,
    reasoning_summary_format: &'static str,
    additional_speed_tiers: [&'static str; 0],
    service_tiers: [&'static str; 0],
}

#[derive(Serialize)]
struct ReasoningLevel<'a> {
    effort: &'a str,
    description: &'a str,
}

#[derive(Serialize)]
struct TruncationPolicy {
    mode: &'static str,
    limit: u32,
}

/// `GET /v1/models`
pub(in crate::server) async fn list(asker: Asker) -> Response {
    let entries = catalog(&asker).await;
    json(&Models {
        object: "list",
        data: entries.iter().map(model).collect(),
        models: entries
            .iter()
            .enumerate()
            .map(|(n, entry)| codex_model(entry, n))
            .collect(),
    })
}

/// `GET /v1/models/{model}`; names may hold slashes.
pub(in crate::server) async fn show(
    asker: Asker,
    Segments(name): Segments<String>,
) -> Result<Response, Failure> {
    let entries = catalog(&asker).await;
    match entries.iter().find(|entry| entry.name == name) {
        Some(entry) => Ok(json(&model(entry))),
        None => {
            let error = ErrorObject::invalid(format!("The model '{name}' does not exist."));
            Err(Failure(Refusal::new(
                404,
                error.with_param("model").with_code("model_not_found"),
            )))
        }
    }
}

/// The models that somebody may ask for.
pub(super) async fn catalog(asker: &Asker) -> Vec<CatalogEntry> {
    let mut entries = asker.live.engine.catalog().await;
    if let Some(key) = &asker.caller.key {
        entries.retain(|entry| key.may_use(&entry.name));
    }
    entries
}

fn model(entry: &CatalogEntry) -> Model<'_> {
    Model {
        id: &entry.name,
        object: "model",
        created: entry.created,
        owned_by: &entry.owned_by,
    }
}

fn codex_model(entry: &CatalogEntry, place: usize) -> CodexModel<'_> {
    let metadata = &entry.metadata;
    let context_window = metadata.context_window.unwrap_or(CONTEXT_WINDOW);
    let input_modalities = match metadata.input.as_slice() {
        // Better a picture refused by the upstream than one that Codex never sends.
        [] => vec!["text", "image"],
        given => given.iter().map(modality).collect(),
    };
    CodexModel {
        slug: &entry.name,
        display_name: metadata.display_name.as_deref().unwrap_or(&entry.name),
        description: metadata
            .description
            .as_deref()
            .unwrap_or("A model behind Antiphon."),
        default_reasoning_level: metadata.default_reasoning_effort.as_deref(),
        supported_reasoning_levels: metadata
            .reasoning_efforts
            .iter()
            .map(|effort| ReasoningLevel {
                effort,
                description: effort,
            })
            .collect(),
        shell_type: "shell_command",
        visibility: "list",
        minimal_client_version: "0.0.1",
        supported_in_api: true,
        priority: place + 1,
        upgrade: None,
        availability_nux: None,
        base_instructions: metadata
            .base_instructions
            .as_deref()
            .unwrap_or(BASE_INSTRUCTIONS),
        model_messages: None,
        supports_reasoning_summaries: true,
        supports_reasoning_summary_parameter: true,
        // Asks for thinking as a summary, which is the form that Codex shows.
        default_reasoning_summary: "auto",
        support_verbosity: metadata.verbosity,
        default_verbosity: None,
        apply_patch_tool_type: metadata.apply_patch.then_some("freeform"),
        web_search_tool_type: "text",
        truncation_policy: TruncationPolicy {
            mode: "tokens",
            limit: 10_000,
        },
        supports_parallel_tool_calls: true,
        supports_image_detail_original: false,
        context_window,
        max_context_window: context_window,
        auto_compact_token_limit: None,
        effective_context_window_percent: 95,
        experimental_supported_tools: [],
        input_modalities,
        supports_search_tool: false,
        use_responses_lite: false,
        tool_mode: "direct",
        multi_agent_version: if metadata.multi_agent {
            "v1"
        } else {
            "disabled"
        },
        prefer_websockets: false,
        reasoning_summary_format: "none",
        additional_speed_tiers: [],
        service_tiers: [],
    }
}

fn modality(modality: &Modality) -> &'static str {
    match modality {
        Modality::Text => "text",
        Modality::Image => "image",
    }
}
