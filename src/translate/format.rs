//! The form of the answer: as a field that the upstream enforces, or in words, and then it must be
//! checked.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::chat::request::{JsonSchema, ResponseFormat};
use crate::profile::AnswerFormat;
use crate::responses::ErrorObject;
use crate::responses::request::{CreateResponse, TextFormat};

/// A form that the upstream does not enforce.
#[derive(Debug)]
pub(super) struct Worded {
    /// What the model is told.
    pub(super) told: String,
    /// What the answer must fit.
    pub(super) schema: Box<RawValue>,
}

/// Tells the form in words as far as the upstream does not know it as a field.
pub(super) fn in_words(
    format: &mut Option<ResponseFormat<'_>>,
    by: AnswerFormat,
) -> Option<Worded> {
    const ALONE: &str = "and nothing else: no text around it, and no code fence";
    let field = match by {
        AnswerFormat::JsonSchema => return None,
        AnswerFormat::JsonObject => Some(ResponseFormat::JsonObject),
        AnswerFormat::Prompt => None,
    };
    let worded = match format.as_ref()? {
        // It is enforced.
        ResponseFormat::JsonObject if field.is_some() => return None,
        ResponseFormat::JsonObject => Worded {
            told: format!("Your final answer must be one JSON object {ALONE}."),
            schema: RawValue::from_string(r#"{"type":"object"}"#.into()).ok()?,
        },
        ResponseFormat::JsonSchema { json_schema } => {
            let schema = json_schema.schema?;
            let about = json_schema.description.as_deref().unwrap_or_default();
            let about = about.trim();
            let gap = if about.is_empty() { "" } else { " " };
            Worded {
                told: format!(
                    "Your final answer must be one JSON value {ALONE}.{gap}{about} It must fit this \
                     JSON Schema:\n{}",
                    schema.get()
                ),
                schema: schema.to_owned(),
            }
        }
    };
    *format = field;
    Some(worded)
}

/// `text.format` as a chat's `response_format`.
pub(super) fn response_format<'a>(
    request: &CreateResponse<'a>,
) -> Result<Option<ResponseFormat<'a>>, ErrorObject> {
    let Some(raw) = request.text.as_ref().and_then(|text| text.format) else {
        return Ok(None);
    };
    if raw.get() == "null" {
        return Ok(None);
    }
    let format: TextFormat<'a> = serde_json::from_str(raw.get()).map_err(|error| {
        ErrorObject::invalid(format!("Invalid value for 'text.format': {error}"))
            .with_param("text.format")
            .with_code("invalid_value")
    })?;
    match format.kind.as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(ResponseFormat::JsonObject)),
        "json_schema" => {
            let missing = |key: &str| {
                ErrorObject::invalid(format!("Missing required parameter: 'text.format.{key}'."))
                    .with_param(format!("text.format.{key}"))
                    .with_code("missing_required_parameter")
            };
            let name = format.name.map_or(Cow::Borrowed("response"), |name| name.into_cow());
            Ok(Some(ResponseFormat::JsonSchema {
                json_schema: JsonSchema {
                    name,
                    description: format.description.map(|text| text.into_cow()),
                    schema: Some(format.schema.ok_or_else(|| missing("schema"))?),
                    strict: format.strict,
                },
            }))
        }
        other => Err(ErrorObject::invalid(format!(
            "Invalid value: '{other}'. Supported values are: 'json_object', 'json_schema', and 'text'."
        ))
        .with_param("text.format.type")
        .with_code("invalid_value")),
    }
}
