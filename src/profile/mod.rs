//! What an upstream's dialect does differently, as data.
//!
//! Each field of [`Profile`] is one habit, and its first variant is what most servers want. The
//! built-in table is `builtin.toml`; a user may override any field. Code reads each field in one
//! place, and no upstream's name stands anywhere in the translation.

mod heal;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use heal::{Heal, HealFormat, HealMarks};
pub use resolve::{ProfileError, Witness, has_host, names, resolve, signs};

/// One upstream's dialect.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// The header that the key travels in.
    pub key_header: KeyHeader,
    /// The role of the application's own message.
    pub system_role: SystemRole,
    /// What becomes of system and developer messages after the first user message.
    pub late_system: LateSystem,
    /// The name of the limit of tokens.
    pub max_tokens_field: MaxTokensField,
    /// How token counts are had in a stream.
    pub stream_usage: StreamUsage,
    /// Under what name thinking goes back.
    pub reasoning_back: ReasoningBack,
    /// Which messages of the model must not lack their thinking.
    pub reasoning_required: ReasoningRequired,
    /// How the wanted effort is said.
    pub effort: Effort,
    /// The upstream's words for the client's efforts. A word that is not in it goes as it is; one
    /// whose counterpart is empty is left out.
    pub effort_words: BTreeMap<String, String>,
    /// How it is said whether to think at all.
    pub thinking_switch: ThinkingSwitch,
    /// Whether `<think>` at the beginning of the text is thinking.
    pub think_tags: ThinkTags,
    /// In what words a call is demanded.
    pub tool_choice: ToolChoice,
    /// What the ids of calls must be like.
    pub call_ids: CallIds,
    /// What becomes of a tool's `strict`.
    pub strict: Strict,
    /// What becomes of `parallel_tool_calls`.
    pub parallel_tool_calls: Keep,
    /// What becomes of `text.verbosity`.
    pub verbosity: Drop,
    /// What becomes of `prompt_cache_key`.
    pub prompt_cache_key: Drop,
    /// What becomes of `service_tier`.
    pub service_tier: Drop,
    /// What becomes of `safety_identifier`.
    pub safety_identifier: Drop,
    /// What an assistant message that only calls has for content.
    pub empty_content: EmptyContent,
    /// What becomes of a picture's `detail`.
    pub image_detail: Keep,
    /// What becomes of user messages in a row.
    pub user_runs: UserRuns,
    /// What becomes of a conversation in which no user speaks.
    pub no_user_message: NoUserMessage,
    /// How tokens are counted without asking the model.
    pub token_count: TokenCount,
    /// How the answer's schema is told.
    pub response_format: AnswerFormat,
    /// How tools are offered.
    pub tools: Tools,
    /// Which formats of calls in the text are taken for calls.
    pub heal: Heal,
    /// Fields that are never sent, as dotted paths.
    pub drop_fields: Vec<String>,
    /// What is merged into each request.
    pub extra_body: toml::Table,
}

/// How tokens are counted without asking the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenCount {
    /// The server does not say: they are estimated.
    #[default]
    Estimate,
    /// `POST /tokenize` takes the chat's messages and says `count`.
    Messages,
    /// `POST /apply-template` makes a prompt of the messages, `POST /tokenize` takes it apart.
    Template,
}

/// The header that the key travels in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyHeader {
    /// `Authorization: Bearer …`
    #[default]
    Bearer,
    /// `api-key: …`
    ApiKey,
}

/// How it is said whether to think at all. The effort `none` says no, any other says yes; a request
/// without an effort leaves it to the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThinkingSwitch {
    /// By the effort, or not at all.
    #[default]
    Unsaid,
    /// `"thinking": {"type": "enabled"}`
    Type,
    /// `"enable_thinking": true`
    EnableThinking,
    /// `"chat_template_kwargs": {"enable_thinking": true}`
    Template,
}

/// In what words a call is demanded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As the client says: a word, or the one function to call.
    #[default]
    Pass,
    /// Words only: the one function to call becomes `required`, and the only one on offer.
    Words,
    /// `required` is called `any`.
    Any,
    /// Without `required`, which becomes `auto`.
    NoRequired,
    /// `auto` and `none` only.
    Auto,
}

/// What the ids of calls must be like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum CallIds {
    /// Anything.
    #[default]
    #[serde(rename = "keep")]
    Keep,
    /// Nine letters and digits; others are replaced, each always by the same.
    #[serde(rename = "alphanumeric_9")]
    Alphanumeric9,
}

/// The role of the application's own message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// `system`: every chat template knows it.
    #[default]
    System,
    /// `developer`: OpenAI's newer models.
    Developer,
}

/// What becomes of system and developer messages after the first user message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateSystem {
    /// They stay in their place as user messages, marked as what they are. Chat templates (Qwen's,
    /// Mistral's) refuse a second system message, and moving it to the front would spoil the
    /// server's prompt cache.
    #[default]
    User,
    /// They stay what they are.
    Keep,
    /// They join the one system message in front.
    Merge,
}

/// The name of the limit of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// `max_tokens`: all servers but OpenAI's newer models.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// How token counts are had in a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamUsage {
    /// By `stream_options.include_usage`.
    #[default]
    IncludeUsage,
    /// They come, or don't, but asking is refused.
    Unasked,
}

/// Under what name thinking goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningBack {
    /// As it came: under the same key, or in `<think>` tags.
    #[default]
    AsReceived,
    /// As `reasoning_content`.
    ReasoningContent,
    /// As `reasoning`.
    Reasoning,
    /// In `<think>` tags at the beginning of the text.
    ThinkTags,
    /// Not at all: Groq and OpenAI refuse the key.
    Drop,
}

/// Which messages of the model must not lack their thinking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningRequired {
    /// None.
    #[default]
    No,
    /// Those with calls. Where a client did not keep it, the latest thinking since the user spoke
    /// stands in, else a blank: `DeepSeek` and Kimi answer 400 "`reasoning_content` … must be passed
    /// back" without, and take the empty string for missing.
    OnCalls,
}

/// How the wanted effort is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// `reasoning_effort`, the client's word unchanged.
    #[default]
    ReasoningEffort,
    /// Not at all.
    Drop,
}

/// Whether `<think>` at the beginning of the text is thinking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThinkTags {
    /// It is, up to `</think>`.
    #[default]
    Split,
    /// It is text like any other.
    Text,
}

/// What becomes of a tool's `strict`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strict {
    /// `true` is passed on; `false` and null, which are the default in a chat, are left out.
    #[default]
    PassTrue,
    /// It is always left out.
    Strip,
}

/// Whether a field is passed on; by default it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// It is.
    #[default]
    Pass,
    /// It is not.
    Drop,
}

/// Whether a field is passed on; by default it is not, since strict servers refuse what they do not
/// know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drop {
    /// It is not.
    #[default]
    Drop,
    /// It is.
    Pass,
}

/// What an assistant message that only calls has for content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyContent {
    /// `null`, as OpenAI has it.
    #[default]
    Null,
    /// The empty string.
    Empty,
}

/// What becomes of user messages in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserRuns {
    /// They stay apart.
    #[default]
    Keep,
    /// They become one, for chat templates that want users and models to speak by turns (Mistral's,
    /// Gemma's).
    Merge,
}

/// What becomes of a conversation in which no user speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoUserMessage {
    /// The last part of the system message in front is said by the user instead. Chat templates
    /// refuse what has no question (Qwen's: "No user query found in messages"), and a made-up blank
    /// is refused by others.
    #[default]
    Move,
    /// It stays as it is.
    Keep,
}

/// How tools are offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tools {
    /// As `tools`, and called by `tool_calls`.
    #[default]
    Native,
    /// In the system message, and called and answered in the text: for models without tools.
    Prompt,
}

/// How the answer's schema is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFormat {
    /// As `response_format` of the type `json_schema`, which the upstream enforces.
    #[default]
    JsonSchema,
    /// In the system message, beside `response_format` of the type `json_object`. The answer is
    /// checked.
    JsonObject,
    /// In the system message alone. The answer is checked.
    Prompt,
}
