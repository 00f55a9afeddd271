//! What messages and outputs hold: text, pictures, files.

use std::borrow::Cow;

use super::{Conversation, GAP};
use crate::chat::message::{Content as ChatContent, File as ChatFile, ImageUrl, Part as ChatPart};
use crate::json::{Text, TextOr};
use crate::profile::Keep;
use crate::responses::ErrorObject;
use crate::responses::content::{Content, Image, Part};
use crate::responses::input::OutputBody;
use crate::translate::note::Note;

/// What a tool message says when the output is nothing but a picture.
const SEE_BELOW: &str = "(the output is in the next message)";

impl<'a> Conversation<'a, '_> {
    /// An output as text, and the pictures in it.
    pub(super) fn output_of(&mut self, body: OutputBody<'a>) -> (Cow<'a, str>, Vec<ChatPart<'a>>) {
        // A picture that cannot be shown is no reason to refuse a whole conversation.
        self.output(body, "input")
            .unwrap_or_else(|error| (Cow::Owned(error.message), Vec::new()))
    }

    pub(super) fn output(
        &mut self,
        body: OutputBody<'a>,
        param: &str,
    ) -> Result<(Cow<'a, str>, Vec<ChatPart<'a>>), ErrorObject> {
        let parts = match body {
            OutputBody::Content(TextOr::Text(text)) => return Ok((text.into_cow(), Vec::new())),
            OutputBody::Content(TextOr::List(parts)) => parts,
            OutputBody::Content(TextOr::One(part)) => vec![*part],
            OutputBody::Json(raw) => return Ok((Cow::Borrowed(raw.get()), Vec::new())),
            OutputBody::Content(TextOr::Odd) | OutputBody::Empty => {
                return Ok((Cow::Borrowed(""), Vec::new()));
            }
        };
        let (texts, pictures): (Vec<_>, Vec<_>) = self
            .parts(parts, param)?
            .into_iter()
            .partition(|part| matches!(part, ChatPart::Text { .. }));
        let texts: Vec<_> = texts
            .into_iter()
            .filter_map(|part| {
                if let ChatPart::Text { text } = part {
                    Some(text)
                } else {
                    None
                }
            })
            .collect();
        let text = match texts.is_empty() && !pictures.is_empty() {
            true => Cow::Borrowed(SEE_BELOW),
            false => join(texts, "\n"),
        };
        Ok((text, pictures))
    }

    /// Text as one string where there is nothing else: all servers take that.
    pub(super) fn user_content(
        &mut self,
        content: Content<'a>,
        param: &str,
    ) -> Result<ChatContent<'a>, ErrorObject> {
        let parts = match content {
            TextOr::Text(text) => return Ok(ChatContent::Text(text.into_cow())),
            TextOr::List(parts) => parts,
            TextOr::One(part) => vec![*part],
            TextOr::Odd => Vec::new(),
        };
        let parts = self.parts(parts, param)?;
        if parts
            .iter()
            .any(|part| !matches!(part, ChatPart::Text { .. }))
        {
            return Ok(ChatContent::Parts(parts));
        }
        let texts = parts
            .into_iter()
            .filter_map(|part| {
                if let ChatPart::Text { text } = part {
                    Some(text)
                } else {
                    None
                }
            })
            .collect();
        Ok(ChatContent::Text(join(texts, GAP)))
    }

    fn parts(
        &mut self,
        parts: Vec<Part<'a>>,
        param: &str,
    ) -> Result<Vec<ChatPart<'a>>, ErrorObject> {
        let mut out = Vec::with_capacity(parts.len());
        for (n, part) in parts.into_iter().enumerate() {
            match part {
                Part::Text(text) | Part::Refusal(text) | Part::Encrypted(text) => {
                    out.push(ChatPart::Text {
                        text: text.into_cow(),
                    });
                }
                Part::Image(image) => out.push(self.picture(image, &format!("{param}[{n}]"))?),
                Part::File(file) if file.data.is_some() || file.id.is_some() => {
                    out.push(ChatPart::File {
                        file: ChatFile {
                            file_data: file.data.map(Text::into_cow),
                            file_id: file.id.map(Text::into_cow),
                            filename: file.name.map(Text::into_cow),
                        },
                    });
                }
                Part::File(_) => {
                    return Err(ErrorObject::invalid(
                        "A chat server cannot fetch files: send 'file_data' instead of 'file_url'.",
                    )
                    .with_param(format!("{param}[{n}].file_url"))
                    .with_code("unsupported_value"));
                }
                Part::Audio(input_audio) => out.push(ChatPart::InputAudio { input_audio }),
                Part::Other(kind) => self.notes.push(Note::PartLeftOut(kind.to_string())),
            }
        }
        Ok(out)
    }

    fn picture(&self, image: Image<'a>, param: &str) -> Result<ChatPart<'a>, ErrorObject> {
        let Some(url) = image.url else {
            return Err(ErrorObject::invalid(
                "A chat server has no uploaded files: send 'image_url' instead of 'file_id'.",
            )
            .with_param(format!("{param}.image_url"))
            .with_code("unsupported_value"));
        };
        let detail = match (self.profile.image_detail, image.detail) {
            (Keep::Drop, _) | (_, None) => None,
            // A chat's finest is called `high`.
            (Keep::Pass, Some(detail)) if detail.as_str() == "original" => {
                Some(Cow::Borrowed("high"))
            }
            (Keep::Pass, Some(detail)) => Some(detail.into_cow()),
        };
        Ok(ChatPart::ImageUrl {
            image_url: ImageUrl {
                url: url.into_cow(),
                detail,
            },
        })
    }

    /// The text of a message in which only text can stand.
    pub(super) fn text_of(&mut self, content: Content<'a>) -> String {
        let parts = match content {
            TextOr::Text(text) => return text.to_string(),
            TextOr::List(parts) => parts,
            TextOr::One(part) => vec![*part],
            TextOr::Odd => Vec::new(),
        };
        let mut out: Vec<Cow<'a, str>> = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Part::Text(text) | Part::Refusal(text) | Part::Encrypted(text) => {
                    out.push(text.into_cow());
                }
                Part::Image(_) => self.notes.push(Note::PartLeftOut("input_image".into())),
                Part::File(_) => self.notes.push(Note::PartLeftOut("input_file".into())),
                Part::Audio(_) => self.notes.push(Note::PartLeftOut("input_audio".into())),
                Part::Other(kind) => self.notes.push(Note::PartLeftOut(kind.to_string())),
            }
        }
        join(out, GAP).into_owned()
    }
}

/// Joins without a copy where there is but one piece.
pub(super) fn join<'a>(mut pieces: Vec<Cow<'a, str>>, gap: &str) -> Cow<'a, str> {
    match pieces.len() {
        0 => Cow::Borrowed(""),
        1 => pieces.remove(0),
        _ => Cow::Owned(pieces.join(gap)),
    }
}
