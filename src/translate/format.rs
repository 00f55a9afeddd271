//! The form of the answer.

use std::borrow::Cow;

use crate::chat::request::{JsonSchema, ResponseFormat};
use crate::responses::ErrorObject;
use crate::responses::request::{CreateResponse, TextFormat};

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
