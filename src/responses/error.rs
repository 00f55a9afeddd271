//! The error object, of an HTTP answer and of a failed response.

use std::borrow::Cow;

use serde::Serialize;

/// `{message, type, param, code}`: all four keys are always there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorObject {
    /// What went wrong, in words for a person.
    pub message: String,
    /// The class: `invalid_request_error`, `server_error`, …
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The key of the request that is to blame.
    pub param: Option<String>,
    /// A word that programs can tell it by.
    pub code: Option<Cow<'static, str>>,
}

impl ErrorObject {
    /// An error of the class `kind`.
    #[must_use]
    pub fn new(kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            kind: kind.into(),
            param: None,
            code: None,
        }
    }

    /// The client's fault.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid_request_error", message)
    }

    /// Not the client's fault.
    #[must_use]
    pub fn server(message: impl Into<String>) -> Self {
        Self::new("server_error", message).with_code("server_error")
    }

    /// Names the key that is to blame.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Gives it a word that programs can tell it by.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }
}
