//! Content parts that a client sends: text, pictures, files, refusals.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Text, TextOr};

/// The content of a message or of a call's output.
pub type Content<'a> = TextOr<'a, Part<'a>>;

/// One content part.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "PartFields<'a>", bound(deserialize = "'de: 'a"))]
pub enum Part<'a> {
    /// `input_text`, `output_text`, `text`, `summary_text`, `reasoning_text`.
    Text(Text<'a>),
    /// `refusal`: what the assistant said when it declined.
    Refusal(Text<'a>),
    /// `input_image`.
    Image(Image<'a>),
    /// `input_file`.
    File(File<'a>),
    /// `input_audio`: its object, as it came.
    Audio(&'a RawValue),
    /// `encrypted_content`: what one agent tells another; the text is the model's own.
    Encrypted(Text<'a>),
    /// A part of a kind that we do not know.
    Other(Text<'a>),
}

/// A picture: a URL (also a data URL), or the id of an uploaded file.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    /// `https:` or `data:` URL.
    pub url: Option<Text<'a>>,
    /// Id of an uploaded file.
    pub file_id: Option<Text<'a>>,
    /// `auto`, `low`, `high` or `original`.
    pub detail: Option<Text<'a>>,
}

/// A file: its data, its URL, or the id of an uploaded one.
#[derive(Debug, Clone)]
pub struct File<'a> {
    /// A data URL.
    pub data: Option<Text<'a>>,
    /// Where it can be fetched.
    pub url: Option<Text<'a>>,
    /// Id of an uploaded file.
    pub id: Option<Text<'a>>,
    /// Its name.
    pub name: Option<Text<'a>>,
}

/// All keys that any part has; serde's tagged enums cannot hold a `RawValue`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct PartFields<'a> {
    #[serde(rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(default)]
    text: Option<Text<'a>>,
    #[serde(default)]
    refusal: Option<Text<'a>>,
    #[serde(default)]
    image_url: Option<TextOr<'a, ImageUrl<'a>>>,
    #[serde(default)]
    detail: Option<Text<'a>>,
    #[serde(default)]
    file_id: Option<Text<'a>>,
    #[serde(default)]
    file_data: Option<Text<'a>>,
    #[serde(default)]
    file_url: Option<Text<'a>>,
    #[serde(default)]
    filename: Option<Text<'a>>,
    #[serde(default, borrow)]
    input_audio: Option<&'a RawValue>,
    #[serde(default)]
    encrypted_content: Option<Text<'a>>,
}

/// The Chat shape of a picture, which some clients send here too.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct ImageUrl<'a> {
    #[serde(default)]
    url: Option<Text<'a>>,
    #[serde(default)]
    detail: Option<Text<'a>>,
}

impl<'a> From<PartFields<'a>> for Part<'a> {
    fn from(fields: PartFields<'a>) -> Self {
        let kind = fields.kind.unwrap_or_default();
        match kind.as_str() {
            "input_image" | "image_url" => {
                Self::Image(image(fields.image_url, fields.file_id, fields.detail))
            }
            "input_file" | "file" => Self::File(File {
                data: fields.file_data,
                url: fields.file_url,
                id: fields.file_id,
                name: fields.filename,
            }),
            "refusal" => Self::Refusal(fields.refusal.or(fields.text).unwrap_or_default()),
            "encrypted_content" => Self::Encrypted(fields.encrypted_content.unwrap_or_default()),
            "input_audio" => match fields.input_audio {
                Some(audio) => Self::Audio(audio),
                None => Self::Other(kind),
            },
            _ => match fields.text {
                Some(text) => Self::Text(text),
                None => Self::Other(kind),
            },
        }
    }
}

fn image<'a>(
    url: Option<TextOr<'a, ImageUrl<'a>>>,
    file_id: Option<Text<'a>>,
    detail: Option<Text<'a>>,
) -> Image<'a> {
    match url {
        Some(TextOr::Text(url)) => Image {
            url: Some(url),
            file_id,
            detail,
        },
        Some(TextOr::One(nested)) => Image {
            url: nested.url,
            file_id,
            detail: detail.or(nested.detail),
        },
        _ => Image {
            url: None,
            file_id,
            detail,
        },
    }
}
