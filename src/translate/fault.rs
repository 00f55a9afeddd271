//! What an upstream's failure is called in the API's terms.
//!
//! Codex decides by status and code whether to try again, to compact the conversation, or to show
//! the message; so the code must be right, and the message must be the upstream's own.

use crate::chat::error::UpstreamError;
use crate::responses::ErrorObject;

/// Words in which servers say that a conversation is too long for the model.
const OVERFLOW: &[&str] = &[
    "maximum context length",
    "context_length_exceeded",
    "context length exceeded",
    "exceed_context_size",
    "exceeds the available context size",
    "exceeds the context window",
    "exceed context limit",
    "exceed the context window",
    "larger than the context window",
    "outside the context window",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "input length and `max_tokens` exceed",
    "longer than the model's context length",
    "maximum prompt length",
    "maximum number of tokens allowed",
    "too many tokens in the prompt",
    "reduce the length of the messages",
    "input token count",
    "range of input length should be",
    "greater than the context length",
    "tokens to keep from the initial prompt",
    "exceeded model token limit",
    "tokens + `max_new_tokens` must be",
    "exceeds max length",
    "too many tokens:",
    "exceeds the context length",
    "prompt is too large",
    "exceeds the maximum number of tokens",
];

/// Codes that Codex knows and acts upon: they are passed on as they are.
const KNOWN: &[&str] = &[
    "context_length_exceeded",
    "insufficient_quota",
    "usage_not_included",
    "invalid_prompt",
    "cyber_policy",
    "content_policy_violation",
    "model_not_found",
    "server_is_overloaded",
    "slow_down",
    "rate_limit_exceeded",
];

/// Whether Codex acts upon a code; for all others it tries the same again.
#[must_use]
pub fn is_known(code: &str) -> bool {
    KNOWN.contains(&code)
}

/// The error object of an HTTP answer with that status.
#[must_use]
pub fn of_status(status: u16, error: UpstreamError) -> ErrorObject {
    let message = match error.message.is_empty() {
        true => format!("the upstream answered with HTTP {status} and said nothing"),
        false => error.message,
    };
    // A 500 too: to try the same again cannot help, to shorten it can.
    if (400..=500).contains(&status)
        && is_overflow(&message, error.code.as_deref(), error.kind.as_deref())
    {
        return ErrorObject::invalid(message)
            .with_code("context_length_exceeded")
            .with_param("input");
    }
    if status == 404 && is_unknown_model(&message, error.kind.as_deref()) {
        return ErrorObject::invalid(message)
            .with_code("model_not_found")
            .with_param("model");
    }
    let kind = match status {
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let mut object = ErrorObject::new(kind, message);
    object.param = error.param.map(|param| our_name(&param));
    object.code = word(error.code.as_deref())
        .map(|code| code.to_owned().into())
        .or_else(|| code_of(status));
    object
}

/// The code of a status whose error has none.
fn code_of(status: u16) -> Option<std::borrow::Cow<'static, str>> {
    match status {
        401 => Some("invalid_api_key".into()),
        429 => Some("rate_limit_exceeded".into()),
        500.. => Some("server_error".into()),
        _ => None,
    }
}

/// The error of a response whose stream had begun.
#[must_use]
pub fn in_stream(error: UpstreamError) -> ErrorObject {
    let UpstreamError {
        message,
        kind,
        code,
        ..
    } = error;
    let message = match message.is_empty() {
        true => "the upstream reported an error and said nothing more".to_owned(),
        false => message,
    };
    if is_overflow(&message, code.as_deref(), kind.as_deref()) {
        return ErrorObject::invalid(message)
            .with_code("context_length_exceeded")
            .with_param("input");
    }
    let number = code.as_deref().and_then(|code| code.parse::<u16>().ok());
    let named = [code.as_deref(), kind.as_deref()];
    let is = |words: &[&str]| named.iter().flatten().any(|name| words.contains(name));
    let known = KNOWN.iter().find(|known| is(&[known]));
    let code = if let Some(known) = known {
        known
    } else if number == Some(429)
        || is(&["rate_limit_error", "RESOURCE_EXHAUSTED", "RateLimitReached"])
    {
        "rate_limit_exceeded"
    } else if is(&["content_filter"]) {
        "content_policy_violation"
    } else if is_unknown_model(&message, kind.as_deref()) {
        "model_not_found"
    } else if matches!(number, Some(400..=428 | 430..=499))
        || is(&[
            "invalid_request_error",
            "BadRequestError",
            "authentication_error",
            "permission_error",
        ])
    {
        "invalid_prompt"
    } else {
        "server_error"
    };
    ErrorObject::new("server_error", message).with_code(code)
}

fn is_overflow(message: &str, code: Option<&str>, kind: Option<&str>) -> bool {
    let message = message.to_ascii_lowercase();
    [code, kind].into_iter().flatten().any(|word| {
        word.contains("context_length_exceeded") || word.contains("exceed_context_size")
    }) || OVERFLOW.iter().any(|words| message.contains(words))
}

/// Whether a server says that it has no such model.
fn is_unknown_model(message: &str, kind: Option<&str>) -> bool {
    let message = message.to_ascii_lowercase();
    let missing = [
        "not found",
        "does not exist",
        "not exist",
        "unknown model",
        "no such model",
    ];
    message.contains("model")
        && (missing.iter().any(|words| message.contains(words))
            || kind.is_some_and(|kind| kind.to_ascii_lowercase().contains("model_not_found")))
}

/// A code that says more than the status does: words, not numbers.
fn word(code: Option<&str>) -> Option<&str> {
    code.filter(|code| code.parse::<i64>().is_err() && !code.is_empty())
}

/// A key of the chat request by the name that it has in ours.
fn our_name(param: &str) -> String {
    match param {
        "max_tokens" | "max_completion_tokens" => "max_output_tokens".into(),
        "response_format" => "text.format".into(),
        "reasoning_effort" => "reasoning.effort".into(),
        other => match other.strip_prefix("messages") {
            Some(_) => "input".into(),
            None => other.to_owned(),
        },
    }
}
