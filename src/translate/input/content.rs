//! What messages and outputs hold: text, pictures, files.

use std::borrow::Cow;

use super::{Conversation, GAP};
use crate::chat::message::{Content as ChatContent, File as ChatFile, ImageUrl, Part as ChatPart};
use crate::json::{Text, TextOr};
use crate::profile::Keep;
use crate::responses::ErrorObject;
use crate::responses::content::{Content, Image, Part};
use crate::responses::input::{CommandOutput, OutputBody};
use crate::translate::note::Note;

/// What a tool message says when the output is nothing but a picture.
const SEE_BELOW: &str = "(the output is in the next message)";

/// A part that has no place in a chat.
enum Unfit<'a> {
    /// A picture of which only the id of an uploaded file is known.
    StoredPicture,
    /// A file of which only the address is known.
    DistantFile,
    /// A part of a kind that we do not know.
    Unknown(Text<'a>),
}

impl Unfit<'_> {
    /// What it is called.
    fn kind(&self) -> &str {
        match self {
            Self::StoredPicture => "input_image",
            Self::DistantFile => "input_file",
            Self::Unknown(kind) if kind.is_empty() => "unknown",
            Self::Unknown(kind) => kind,
        }
    }

    /// The answer to a request that has it in a message, at `param`.
    fn refusal(&self, param: &str) -> ErrorObject {
        let (message, key) = match self {
            Self::StoredPicture => (
                "A chat server has no uploaded files: send 'image_url' instead of 'file_id'.",
                "image_url",
            ),
            Self::DistantFile | Self::Unknown(_) => (
                "A chat server cannot fetch files: send 'file_data' instead of 'file_url'.",
                "file_url",
            ),
        };
        ErrorObject::invalid(message)
            .with_param(format!("{param}.{key}"))
            .with_code("unsupported_value")
    }
}

impl<'a> Conversation<'a, '_> {
    /// An output as text, and the pictures in it. What cannot be shown is no reason to refuse a
    /// whole conversation: the model is told in its place.
    pub(super) fn output(&mut self, body: OutputBody<'a>) -> (Cow<'a, str>, Vec<ChatPart<'a>>) {
        let parts = match body {
            OutputBody::Quoted(raw) => {
                let text = Text::of_raw(raw).unwrap_or_default();
                return (text.into_cow(), Vec::new());
            }
            OutputBody::Content(TextOr::Text(text)) => return (text.into_cow(), Vec::new()),
            OutputBody::Content(TextOr::List(parts)) => parts,
            OutputBody::Content(TextOr::One(part)) => vec![*part],
            OutputBody::Commands(commands) => return (commands_text(&commands), Vec::new()),
            OutputBody::Json(raw) => return (Cow::Borrowed(raw.get()), Vec::new()),
            OutputBody::Content(TextOr::Odd) | OutputBody::Empty => {
                return (Cow::Borrowed(""), Vec::new());
            }
        };
        let mut texts = Vec::with_capacity(parts.len());
        let mut pictures = Vec::new();
        for part in parts {
            match self.part(part) {
                Ok(ChatPart::Text { text }) => texts.push(text),
                Ok(picture) => pictures.push(picture),
                Err(unfit) => {
                    let kind = unfit.kind();
                    texts.push(Cow::Owned(format!(
                        "({kind}: this part of the output cannot be shown)"
                    )));
                    self.notes.push(Note::PartLeftOut(kind.to_owned()));
                }
            }
        }
        let text = match texts.is_empty() && !pictures.is_empty() {
            true => Cow::Borrowed(SEE_BELOW),
            false => join(texts, "\n"),
        };
        (text, pictures)
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
            match self.part(part) {
                Ok(part) => out.push(part),
                Err(Unfit::Unknown(kind)) => self.notes.push(Note::PartLeftOut(kind.to_string())),
                Err(unfit) => return Err(unfit.refusal(&format!("{param}[{n}]"))),
            }
        }
        Ok(out)
    }

    fn part(&self, part: Part<'a>) -> Result<ChatPart<'a>, Unfit<'a>> {
        Ok(match part {
            Part::Text(text) | Part::Refusal(text) | Part::Encrypted(text) => ChatPart::Text {
                text: text.into_cow(),
            },
            Part::Image(image) => self.picture(image)?,
            Part::File(file) if file.data.is_some() || file.id.is_some() => ChatPart::File {
                file: ChatFile {
                    file_data: file.data.map(Text::into_cow),
                    file_id: file.id.map(Text::into_cow),
                    filename: file.name.map(Text::into_cow),
                },
            },
            Part::File(_) => return Err(Unfit::DistantFile),
            Part::Audio(input_audio) => ChatPart::InputAudio { input_audio },
            Part::Other(kind) => return Err(Unfit::Unknown(kind)),
        })
    }

    fn picture(&self, image: Image<'a>) -> Result<ChatPart<'a>, Unfit<'a>> {
        let url = image.url.ok_or(Unfit::StoredPicture)?;
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
    pub(super) fn text_of(&mut self, content: Content<'a>, gap: &str) -> String {
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
        join(out, gap).into_owned()
    }
}

/// What a shell's commands printed and how each ended, for a model to read.
fn commands_text<'a>(commands: &[CommandOutput<'_>]) -> Cow<'a, str> {
    let texts: Vec<String> = commands.iter().map(command_text).collect();
    Cow::Owned(texts.join(GAP))
}

fn command_text(command: &CommandOutput<'_>) -> String {
    let mut lines = Vec::new();
    let printed = |text: &str| text.trim_end_matches('\n').to_owned();
    if !command.stdout.is_empty() {
        lines.push(printed(&command.stdout));
    }
    if let Some(errors) = command.stderr.as_deref().filter(|text| !text.is_empty()) {
        lines.push(format!("stderr:\n{}", printed(errors)));
    }
    if let Some(outcome) = &command.outcome {
        match (outcome.kind.as_deref(), outcome.exit_code) {
            (Some("timeout"), _) => lines.push("(timed out)".into()),
            (_, Some(code)) => lines.push(format!("(exit code {code})")),
            _ => {}
        }
    }
    lines.join("\n")
}

/// Joins without a copy where there is but one piece.
pub(super) fn join<'a>(mut pieces: Vec<Cow<'a, str>>, gap: &str) -> Cow<'a, str> {
    match pieces.len() {
        0 => Cow::Borrowed(""),
        1 => pieces.remove(0),
        _ => Cow::Owned(pieces.join(gap)),
    }
}
