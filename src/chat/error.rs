//! The many shapes in which upstreams say what went wrong.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Text, TextOr};

/// What an upstream said of a failure, whatever shape it came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamError {
    /// In words.
    pub message: String,
    /// The class, if it named one.
    pub kind: Option<String>,
    /// The key of *our* request that is to blame.
    pub param: Option<String>,
    /// A word or number that programs can tell it by.
    pub code: Option<String>,
}

impl UpstreamError {
    /// Reads the body of a failed answer; text that is no known shape becomes the message, cut to a
    /// sensible length.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        Self::read(body).unwrap_or_else(|| Self {
            message: plain(body),
            ..Self::default()
        })
    }

    /// Reads a body in one of the known shapes.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let body = body.trim_ascii();
        if body.first() == Some(&b'[') {
            // Google wraps its error in a list.
            let list: Vec<Envelope<'_>> = serde_json::from_slice(body).ok()?;
            return list.into_iter().find_map(Envelope::into_error);
        }
        serde_json::from_slice::<Envelope<'_>>(body)
            .ok()?
            .into_error()
    }

    /// Reads the value of an `error` key.
    #[must_use]
    pub fn from_value(value: &RawValue) -> Self {
        let error = match serde_json::from_str::<TextOr<'_, Inner<'_>>>(value.get()) {
            Ok(error) => error.into_error(),
            Err(_) => None,
        };
        error.unwrap_or_else(|| Self {
            message: plain(value.get().as_bytes()),
            ..Self::default()
        })
    }

    /// Reads a `base_resp`, which is there on success too.
    #[must_use]
    pub fn from_base_resp(value: &RawValue) -> Option<Self> {
        serde_json::from_str::<BaseResp<'_>>(value.get())
            .ok()?
            .into_error()
    }
}

/// The outermost object.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Envelope<'a> {
    #[serde(default)]
    error: Option<TextOr<'a, Inner<'a>>>,
    /// FastAPI: a text, or a list of complaints.
    #[serde(default)]
    detail: Option<TextOr<'a, Complaint<'a>>>,
    /// Older vLLM and SGLang, Mistral (an object with `detail`), many gateways.
    #[serde(default)]
    message: Option<TextOr<'a, Nested<'a>>>,
    #[serde(default)]
    base_resp: Option<BaseResp<'a>>,
    #[serde(rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(default)]
    param: Option<Text<'a>>,
    #[serde(default, borrow)]
    code: Option<&'a RawValue>,
}

/// The object in `error`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Inner<'a> {
    #[serde(default)]
    message: Option<TextOr<'a, serde::de::IgnoredAny>>,
    #[serde(rename = "type", default)]
    kind: Option<TextOr<'a, serde::de::IgnoredAny>>,
    #[serde(default)]
    param: Option<TextOr<'a, serde::de::IgnoredAny>>,
    #[serde(default, borrow)]
    code: Option<&'a RawValue>,
    /// Google's word for a class.
    #[serde(default)]
    status: Option<TextOr<'a, serde::de::IgnoredAny>>,
    #[serde(default)]
    metadata: Option<Metadata<'a>>,
}

/// `OpenRouter` tells here what the model's host said.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Metadata<'a> {
    #[serde(default)]
    raw: Option<TextOr<'a, serde::de::IgnoredAny>>,
    #[serde(default)]
    provider_name: Option<TextOr<'a, serde::de::IgnoredAny>>,
}

/// One complaint of a validator.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Complaint<'a> {
    #[serde(default)]
    msg: Option<Text<'a>>,
    #[serde(default, borrow)]
    loc: Option<Vec<&'a RawValue>>,
}

/// Mistral's `message` is an object.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Nested<'a> {
    #[serde(default)]
    detail: Option<TextOr<'a, Complaint<'a>>>,
}

/// MiniMax's status.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct BaseResp<'a> {
    #[serde(default)]
    status_code: Option<i64>,
    #[serde(default)]
    status_msg: Option<Text<'a>>,
}

impl Envelope<'_> {
    fn into_error(self) -> Option<UpstreamError> {
        let mut error = self
            .error
            .and_then(TextOr::into_error)
            .or_else(|| self.base_resp.and_then(BaseResp::into_error))
            .or_else(|| self.detail.and_then(complaints))
            .or_else(|| match self.message {
                Some(TextOr::One(nested)) => nested.detail.and_then(complaints),
                Some(TextOr::Text(text)) => Some(with_message(text.as_str())),
                _ => None,
            })?;
        error.kind = error
            .kind
            .or_else(|| self.kind.map(|kind| kind.to_string()));
        error.param = error
            .param
            .or_else(|| self.param.map(|param| param.to_string()));
        error.code = error.code.or_else(|| self.code.and_then(word));
        Some(error)
    }
}

impl TextOr<'_, Inner<'_>> {
    fn into_error(self) -> Option<UpstreamError> {
        match self {
            Self::Text(text) => Some(with_message(text.as_str())),
            Self::One(inner) => Some(inner.into_error()),
            Self::List(list) => list.into_iter().next().map(Inner::into_error),
            Self::Odd => None,
        }
    }
}

impl Inner<'_> {
    fn into_error(self) -> UpstreamError {
        let mut message = text(self.message).unwrap_or_default();
        if let Some(metadata) = self.metadata
            && let Some(raw) = text(metadata.raw)
        {
            let host = text(metadata.provider_name).unwrap_or_else(|| "the model's host".into());
            message = format!("{message} ({host}: {})", plain(raw.as_bytes()));
        }
        if message.is_empty() {
            message = "the upstream reported an error without a message".into();
        }
        UpstreamError {
            message,
            kind: text(self.kind).or_else(|| text(self.status)),
            param: text(self.param),
            code: self.code.and_then(word),
        }
    }
}

impl BaseResp<'_> {
    fn into_error(self) -> Option<UpstreamError> {
        let code = self.status_code.filter(|code| *code != 0)?;
        Some(UpstreamError {
            message: self
                .status_msg
                .map(|text| text.to_string())
                .unwrap_or_default(),
            code: Some(code.to_string()),
            ..UpstreamError::default()
        })
    }
}

fn complaints(detail: TextOr<'_, Complaint<'_>>) -> Option<UpstreamError> {
    match detail {
        TextOr::Text(text) => Some(with_message(text.as_str())),
        TextOr::List(list) => {
            let lines: Vec<String> = list.into_iter().filter_map(complaint).collect();
            (!lines.is_empty()).then(|| with_message(&lines.join("; ")))
        }
        TextOr::One(one) => complaint(*one).map(|line| with_message(&line)),
        TextOr::Odd => None,
    }
}

fn complaint(complaint: Complaint<'_>) -> Option<String> {
    let message = complaint.msg?;
    let place: Vec<String> = complaint
        .loc
        .unwrap_or_default()
        .into_iter()
        .filter_map(word)
        .collect();
    Some(if place.is_empty() {
        message.to_string()
    } else {
        format!("{}: {}", place.join("."), message.as_str())
    })
}

fn with_message(message: &str) -> UpstreamError {
    UpstreamError {
        message: message.to_owned(),
        ..UpstreamError::default()
    }
}

fn text<T>(value: Option<TextOr<'_, T>>) -> Option<String> {
    match value {
        Some(TextOr::Text(text)) => Some(text.to_string()),
        _ => None,
    }
}

/// A string without its quotes, a number as it is written, nothing for a null.
fn word(raw: &RawValue) -> Option<String> {
    match raw.get() {
        "null" => None,
        text if text.starts_with('"') => serde_json::from_str(text).ok(),
        text => Some(text.to_owned()),
    }
}

/// Text out of something that is not JSON: tags left out, white space folded, cut.
fn plain(body: &[u8]) -> String {
    const LONGEST: usize = 400;
    let text = String::from_utf8_lossy(body.get(..body.len().min(16 * 1024)).unwrap_or(body));
    let mut out = String::new();
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                out.push(' ');
            }
            _ if in_tag => {}
            c => out.push(c),
        }
    }
    // Something that only looked like a tag has swallowed everything.
    let out = if out.trim().is_empty() {
        text.into_owned()
    } else {
        out
    };
    let folded = out.split_whitespace().collect::<Vec<_>>().join(" ");
    match folded.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", folded.get(..at).unwrap_or_default()),
        None => folded,
    }
}
