//! What a request may not ask for, told before anything is done.

use super::caller::Caller;
use super::route::Choice;
use crate::admission::End;
use crate::responses::{CreateResponse, ErrorObject};
use crate::upstream::Refusal;

/// The API's limits of `metadata`.
const METADATA_PAIRS: usize = 16;
const METADATA_KEY: usize = 64;
const METADATA_VALUE: usize = 512;

/// Whether the request can be answered at all.
///
/// # Errors
/// What the API says, with 400.
pub(super) fn request(request: &CreateResponse<'_>, has_store: bool) -> Result<(), Refusal> {
    let given =
        |raw: Option<&serde_json::value::RawValue>| raw.is_some_and(|raw| raw.get() != "null");
    if given(request.prompt) {
        return Err(unsupported(
            "prompt",
            "stored prompts are not supported by this server",
        ));
    }
    if given(request.conversation) && request.conversation_id().is_none() {
        let error = ErrorObject::invalid(
            "Invalid type for 'conversation': expected a conversation ID or an object that has one.",
        );
        return Err(Refusal::bad_request(
            error.with_param("conversation").with_code("invalid_type"),
        ));
    }
    if given(request.conversation) && request.previous_response_id.is_some() {
        let error = ErrorObject::invalid(
            "Mutually exclusive parameters: 'conversation' and 'previous_response_id' cannot be used together.",
        );
        return Err(Refusal::bad_request(
            error
                .with_param("previous_response_id")
                .with_code("mutually_exclusive_parameters"),
        ));
    }
    let needs_store = [
        ("background", request.background == Some(true)),
        ("conversation", given(request.conversation)),
    ];
    for (param, is_asked) in needs_store {
        if is_asked && !has_store {
            let why = "this server keeps nothing (store.url = \"none\")";
            return Err(unsupported(param, why));
        }
    }
    metadata(request)
}

fn metadata(request: &CreateResponse<'_>) -> Result<(), Refusal> {
    let Some(metadata) = &request.metadata else {
        return Ok(());
    };
    check_metadata(
        metadata
            .0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    )
}

/// Whether `metadata` is within the API's limits.
///
/// # Errors
/// What the API says, with 400.
pub(super) fn check_metadata<'a>(
    pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) -> Result<(), Refusal> {
    let refuse = |param: String, message: String, code: &'static str| {
        let error = ErrorObject::invalid(message)
            .with_param(param)
            .with_code(code);
        Err(Refusal::bad_request(error))
    };
    if pairs.len() > METADATA_PAIRS {
        let message = format!(
            "Invalid 'metadata': too many properties. Expected an object with at most {METADATA_PAIRS} properties, but got an object with {} properties instead.",
            pairs.len()
        );
        return refuse("metadata".into(), message, "object_above_max_properties");
    }
    for (key, value) in pairs {
        let (param, length, most) = match key.chars().count() {
            length if length > METADATA_KEY => ("metadata".to_owned(), length, METADATA_KEY),
            _ => (
                format!("metadata.{key}"),
                value.chars().count(),
                METADATA_VALUE,
            ),
        };
        if length > most {
            let message = format!(
                "Invalid '{param}': string too long. Expected a string with maximum length {most}, but got a string with length {length} instead."
            );
            return refuse(param, message, "string_above_max_length");
        }
    }
    Ok(())
}

fn unsupported(param: &'static str, why: &str) -> Refusal {
    let error = ErrorObject::invalid(format!("Unsupported parameter: '{param}': {why}."));
    Refusal::bad_request(error.with_param(param).with_code("unsupported_parameter"))
}

pub(super) fn no_model() -> Refusal {
    missing("model")
}

pub(super) fn missing(param: &'static str) -> Refusal {
    let error = ErrorObject::invalid(format!("Missing required parameter: '{param}'."));
    Refusal::bad_request(
        error
            .with_param(param)
            .with_code("missing_required_parameter"),
    )
}

/// Whether the client's key is for what it asks for.
///
/// # Errors
/// What the API says, with 404, of models that are not there too.
pub(super) fn may_use(caller: &Caller, choice: &Choice<'_>) -> Result<(), Refusal> {
    let name = choice.full_name();
    match &caller.key {
        Some(key) if !name.is_empty() && !key.may_use(&name) => Err(no_access(&name)),
        _ => Ok(()),
    }
}

/// Told of a model that is not there for a key.
fn no_access(model: &str) -> Refusal {
    let message = format!("The model `{model}` does not exist or you do not have access to it.");
    let error = ErrorObject::invalid(message)
        .with_param("model")
        .with_code("model_not_found");
    Refusal::new(404, error)
}

/// Told of a response that took too long. It would again, which is what clients take this code for.
pub(super) fn too_slow(end: &End) -> Refusal {
    let seconds = end.after.as_secs_f64();
    let message = format!(
        "The response was not over after {seconds} s, which is the longest that it may take here."
    );
    Refusal::bad_request(ErrorObject::invalid(message).with_code("invalid_prompt"))
}

/// Told of a request that is too long however much is left out of it.
pub(super) fn too_long() -> Refusal {
    let message = "The conversation is too long for the model, and so is what can be left of it.";
    let error = ErrorObject::invalid(message)
        .with_param("input")
        .with_code("context_length_exceeded");
    Refusal::bad_request(error)
}
