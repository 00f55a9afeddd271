//! The many shapes in which upstreams say what went wrong.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::blank::is_blank;
use crate::json::lenient::{self, Loose};
use crate::json::{Text, TextOr, lossy};

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
        Self::find(body, Sign::None).unwrap_or_else(|| Self {
            message: plain(body),
            ..Self::default()
        })
    }

    /// Reads what may be an error in one of the known shapes, or something else. A `message` needs
    /// a sign beside it that it is one of an error.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        Self::find(body, Sign::Beside)
    }

    /// Reads what came in the place of a chunk. Where there is no answer and no token count, a
    /// `message` alone is an error too, unless it says that it is something else.
    #[must_use]
    pub fn read_stray(data: &[u8]) -> Option<Self> {
        Self::find(data, Sign::Stray)
    }

    /// Reads the value of an `error` key.
    #[must_use]
    pub fn from_value(value: &RawValue) -> Self {
        let error = lossy(value.get().as_bytes(), |json| {
            serde_json::from_slice::<TextOr<'_, Inner<'_>>>(json)
                .ok()?
                .into_error()
        });
        error.unwrap_or_else(|| match value.get() {
            "true" => with_message(NO_MESSAGE),
            text => with_message(&plain(text.as_bytes())),
        })
    }

    /// Reads a `base_resp`, which is there on success too.
    #[must_use]
    pub fn from_base_resp(value: &RawValue) -> Option<Self> {
        lossy(value.get().as_bytes(), |json| {
            serde_json::from_slice::<BaseResp<'_>>(json)
                .ok()?
                .to_error()
        })
    }

    fn find(body: &[u8], sign: Sign) -> Option<Self> {
        lossy(body.trim_ascii(), |json| {
            if json.first() == Some(&b'[') {
                // Google wraps its error in a list.
                let list: Vec<Loose<Envelope<'_>>> = serde_json::from_slice(json).ok()?;
                return list
                    .into_iter()
                    .find_map(|Loose(envelope)| envelope?.into_error(sign));
            }
            serde_json::from_slice::<Envelope<'_>>(json)
                .ok()?
                .into_error(sign)
        })
    }
}

/// For an error of which nothing else is known.
const NO_MESSAGE: &str = "the upstream reported an error without a message";

/// What a `message` needs to be the message of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// Nothing: it is known that there was an error.
    None,
    /// A code or a type, or that the object calls itself an error.
    Beside,
    /// That nothing says it is something else.
    Stray,
}

/// The outermost object.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Envelope<'a> {
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
    /// FastAPI: a text, or a list of complaints.
    #[serde(default, borrow)]
    detail: Option<&'a RawValue>,
    /// Older vLLM and SGLang, Mistral (an object with `detail`), many gateways.
    #[serde(default)]
    message: Option<TextOr<'a, Nested<'a>>>,
    #[serde(default, deserialize_with = "lenient::object")]
    base_resp: Option<BaseResp<'a>>,
    #[serde(rename = "type", default, deserialize_with = "lenient::word")]
    kind: Option<Text<'a>>,
    #[serde(default, deserialize_with = "lenient::word")]
    param: Option<Text<'a>>,
    #[serde(default, borrow)]
    code: Option<&'a RawValue>,
    /// `error`, or what else it is.
    #[serde(default, deserialize_with = "lenient::text")]
    object: Option<Text<'a>>,
    #[serde(default, deserialize_with = "lenient::list")]
    choices: Option<Vec<IgnoredAny>>,
    #[serde(default, deserialize_with = "lenient::object")]
    usage: Option<IgnoredAny>,
}

/// The object in `error`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Inner<'a> {
    #[serde(default)]
    message: Option<TextOr<'a, IgnoredAny>>,
    #[serde(rename = "type", default)]
    kind: Option<TextOr<'a, IgnoredAny>>,
    #[serde(default)]
    param: Option<TextOr<'a, IgnoredAny>>,
    #[serde(default, borrow)]
    code: Option<&'a RawValue>,
    /// Google's word for a class.
    #[serde(default)]
    status: Option<TextOr<'a, IgnoredAny>>,
    #[serde(default, deserialize_with = "lenient::object")]
    metadata: Option<Metadata<'a>>,
}

/// `OpenRouter` tells here what the model's host said.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Metadata<'a> {
    #[serde(default)]
    raw: Option<TextOr<'a, IgnoredAny>>,
    #[serde(default)]
    provider_name: Option<TextOr<'a, IgnoredAny>>,
}

/// One complaint of a validator.
#[derive(Default, Deserialize)]
#[serde(remote = "Self", bound(deserialize = "'de: 'a"))]
struct Complaint<'a> {
    #[serde(default, deserialize_with = "lenient::text")]
    msg: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "lenient::raw_list")]
    loc: Option<Vec<&'a RawValue>>,
}

/// Mistral's `message` is an object.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Nested<'a> {
    #[serde(default, borrow)]
    detail: Option<&'a RawValue>,
}

/// MiniMax's status.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct BaseResp<'a> {
    #[serde(default, deserialize_with = "lenient::whole")]
    status_code: Option<i64>,
    #[serde(default, deserialize_with = "lenient::text")]
    status_msg: Option<Text<'a>>,
}

impl Envelope<'_> {
    fn into_error(self, sign: Sign) -> Option<UpstreamError> {
        if sign == Sign::Stray && (self.has_choices() || self.usage.is_some()) {
            return None;
        }
        let mut error = self
            .own_error()
            .or_else(|| self.base_resp.as_ref().and_then(BaseResp::to_error))
            .or_else(|| {
                let detail = self.detail.filter(|raw| !is_blank(raw))?;
                (!self.has_choices()).then(|| complaints_of(detail))
            })
            .or_else(|| self.is_error(sign).then(|| self.in_message()).flatten())?;
        error.kind = error.kind.or_else(|| owned(self.kind.as_ref()));
        error.param = error.param.or_else(|| owned(self.param.as_ref()));
        error.code = error.code.or_else(|| self.code.and_then(word));
        Some(error)
    }

    /// What stands in `error`, if anything does.
    fn own_error(&self) -> Option<UpstreamError> {
        let raw = self.error.filter(|raw| !is_blank(raw))?;
        if raw.get().starts_with(['"', '{', '[']) {
            return Some(UpstreamError::from_value(raw));
        }
        // It only says that there is one: a boolean or a number.
        let said = self.in_message();
        Some(said.unwrap_or_else(|| UpstreamError::from_value(raw)))
    }

    /// What stands in `message`.
    fn in_message(&self) -> Option<UpstreamError> {
        match self.message.as_ref()? {
            TextOr::One(nested) => nested.detail.map(complaints_of),
            TextOr::Text(text) if !text.trim().is_empty() => Some(with_message(text.as_str())),
            _ => None,
        }
    }

    /// Whether a message is one of an error.
    fn is_error(&self, sign: Sign) -> bool {
        let object = self.object.as_deref().unwrap_or_default();
        if sign == Sign::None || object == "error" {
            return true;
        }
        let kind = self.kind.as_deref().filter(|kind| !kind.is_empty());
        let code = self.code.and_then(word).filter(|code| !code.is_empty());
        let is_good = |code: &str| GOOD.iter().any(|good| code.eq_ignore_ascii_case(good));
        let is_mere = |kind: &str| MERE.iter().any(|mere| kind.eq_ignore_ascii_case(mere));
        if self.has_choices()
            || object.starts_with("chat.completion")
            || is_mere(object)
            || kind.is_some_and(is_mere)
            || code.as_deref().is_some_and(is_good)
            // An `error` that got here is one that says there is none.
            || self.error.is_some()
        {
            return false;
        }
        sign == Sign::Stray || kind.is_some() || code.is_some()
    }

    fn has_choices(&self) -> bool {
        self.choices.as_ref().is_some_and(|list| !list.is_empty())
    }
}

/// Codes of success.
const GOOD: [&str; 4] = ["0", "200", "ok", "success"];

/// Kinds of messages that are no errors.
const MERE: [&str; 9] = [
    "ping",
    "heartbeat",
    "keepalive",
    "keep-alive",
    "status",
    "progress",
    "info",
    "debug",
    "warning",
];

impl TextOr<'_, Inner<'_>> {
    fn into_error(self) -> Option<UpstreamError> {
        match self {
            Self::Text(text) => Some(with_message(text.as_str())),
            Self::One(inner) => inner.into_error(),
            Self::List(list) => list.into_iter().find_map(Inner::into_error),
            Self::Odd => None,
        }
    }
}

impl Inner<'_> {
    /// Nothing, if it has none of the known keys.
    fn into_error(self) -> Option<UpstreamError> {
        let mut message = text(self.message).unwrap_or_default();
        if let Some(metadata) = self.metadata
            && let Some(raw) = text(metadata.raw)
        {
            let host = text(metadata.provider_name).unwrap_or_else(|| "the model's host".into());
            message = format!("{message} ({host}: {})", plain(raw.as_bytes()));
        }
        let error = UpstreamError {
            message,
            kind: text(self.kind).or_else(|| text(self.status)),
            param: text(self.param),
            code: self.code.and_then(word),
        };
        if error == UpstreamError::default() {
            return None;
        }
        Some(error.or_say(NO_MESSAGE))
    }
}

impl UpstreamError {
    /// With these words, if it has none.
    fn or_say(mut self, words: &str) -> Self {
        if self.message.is_empty() {
            words.clone_into(&mut self.message);
        }
        self
    }
}

impl BaseResp<'_> {
    fn to_error(&self) -> Option<UpstreamError> {
        let code = self.status_code.filter(|code| *code != 0)?;
        Some(UpstreamError {
            message: owned(self.status_msg.as_ref()).unwrap_or_default(),
            code: Some(code.to_string()),
            ..UpstreamError::default()
        })
    }
}

lenient::text_or_fields!(Complaint.msg);

fn complaints_of(raw: &RawValue) -> UpstreamError {
    let error = lossy(raw.get().as_bytes(), |json| {
        let detail = match serde_json::from_slice(json).ok()? {
            TextOr::Text(text) => return Some(with_message(text.as_str())),
            TextOr::List(list) => list,
            TextOr::One(one) => vec![*one],
            TextOr::Odd => return None,
        };
        let lines: Vec<String> = detail.into_iter().filter_map(complaint).collect();
        (!lines.is_empty()).then(|| with_message(&lines.join("; ")))
    });
    error.unwrap_or_else(|| with_message(&plain(raw.get().as_bytes())))
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

fn owned(text: Option<&Text<'_>>) -> Option<String> {
    text.map(|text| text.to_string())
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
    let Some((at, _)) = folded.char_indices().nth(LONGEST) else {
        return folded;
    };
    // Never inside of a word: it may be a key, which is known only whole.
    let head = folded.get(..at).unwrap_or_default();
    let of_word = |c: char| c.is_alphanumeric() || "_-.+/=~".contains(c);
    format!("{}…", head.trim_end_matches(of_word).trim_end())
}
