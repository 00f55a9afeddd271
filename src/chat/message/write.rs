//! Messages out, as JSON.
//!
//! A conversation is nearly all of what an upstream is asked, and nearly all of it is a few long
//! strings, so those are written in runs. What is written is what `Serialize` says.

use super::{Assistant, Content, File, ImageUrl, Message, Part, ToolCall};
use crate::json::{write_option as option, write_string, write_text as text, write_value as value};

impl Message<'_> {
    /// Writes the message.
    pub(in crate::chat) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::System { content } => text(out, "{\"role\":\"system\",\"content\":", content),
            Self::Developer { content } => {
                text(out, "{\"role\":\"developer\",\"content\":", content);
            }
            Self::User { content } => {
                out.extend_from_slice(b"{\"role\":\"user\",\"content\":");
                content.write(out);
            }
            Self::Assistant(said) => said.write(out),
            Self::Tool {
                tool_call_id,
                content,
            } => {
                text(out, "{\"role\":\"tool\",\"tool_call_id\":", tool_call_id);
                out.extend_from_slice(b",\"content\":");
                content.write(out);
            }
        }
        out.push(b'}');
    }

    /// About how many bytes the message takes.
    pub(in crate::chat) fn size_hint(&self) -> usize {
        const FRAME: usize = 64;
        let strings = match self {
            Self::System { content } | Self::Developer { content } => content.len(),
            Self::User { content } | Self::Tool { content, .. } => content.size_hint(),
            Self::Assistant(said) => {
                let thought = said.reasoning_content.as_ref().or(said.reasoning.as_ref());
                let calls = said.tool_calls.iter();
                let calls = calls.map(|call| FRAME + call.function.arguments.len());
                let spoken = said.content.as_ref();
                calls.sum::<usize>()
                    + thought.map_or(0, |text| text.len())
                    + spoken.map_or(0, |text| text.len())
            }
        };
        // Line ends and quotes take two bytes each.
        FRAME + strings + strings / 8
    }
}

impl Assistant<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"role\":\"assistant\",\"content\":");
        match &self.content {
            Some(content) => write_string(out, content),
            None => out.extend_from_slice(b"null"),
        }
        option(
            out,
            ",\"reasoning_content\":",
            self.reasoning_content.as_deref(),
        );
        option(out, ",\"reasoning\":", self.reasoning.as_deref());
        if !self.reasoning_details.is_empty() {
            value(out, ",\"reasoning_details\":", &self.reasoning_details);
        }
        if !self.tool_calls.is_empty() {
            out.extend_from_slice(b",\"tool_calls\":");
            list(out, &self.tool_calls, ToolCall::write);
        }
    }
}

impl ToolCall<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        text(out, "{\"id\":", &self.id);
        value(out, ",\"type\":", &self.kind);
        text(out, ",\"function\":{\"name\":", &self.function.name);
        text(out, ",\"arguments\":", &self.function.arguments);
        out.push(b'}');
        if let Some(extra) = &self.extra_content {
            value(out, ",\"extra_content\":", extra);
        }
        out.push(b'}');
    }
}

impl Content<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_string(out, text),
            Self::Quoted(raw) => out.extend_from_slice(raw.get().as_bytes()),
            Self::Parts(parts) => list(out, parts, Part::write),
        }
    }

    fn size_hint(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Quoted(raw) => raw.get().len(),
            Self::Parts(parts) => parts.iter().map(Part::size_hint).sum(),
        }
    }
}

impl Part<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text { text: said } => text(out, "{\"type\":\"text\",\"text\":", said),
            Self::ImageUrl {
                image_url: ImageUrl { url, detail },
            } => {
                text(out, "{\"type\":\"image_url\",\"image_url\":{\"url\":", url);
                option(out, ",\"detail\":", detail.as_deref());
                out.push(b'}');
            }
            Self::File { file } => {
                out.extend_from_slice(b"{\"type\":\"file\",\"file\":");
                file.write(out);
            }
            Self::InputAudio { input_audio } => {
                value(
                    out,
                    "{\"type\":\"input_audio\",\"input_audio\":",
                    input_audio,
                );
            }
        }
        out.push(b'}');
    }

    fn size_hint(&self) -> usize {
        const FRAME: usize = 64;
        FRAME
            + match self {
                Self::Text { text } => text.len(),
                Self::ImageUrl { image_url } => image_url.url.len(),
                Self::File { file } => file.file_data.as_ref().map_or(0, |data| data.len()),
                Self::InputAudio { input_audio } => input_audio.get().len(),
            }
    }
}

impl File<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        option(out, ",\"file_data\":", self.file_data.as_deref());
        option(out, ",\"file_id\":", self.file_id.as_deref());
        option(out, ",\"filename\":", self.filename.as_deref());
        // The first member has nothing before it to be kept apart from.
        match out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }
}

fn list<T>(out: &mut Vec<u8>, elements: &[T], write: fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (n, element) in elements.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(element, out);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::chat::ChatRequest;
    use crate::chat::message::{Function, FunctionTag};

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    fn assistant() -> Vec<Assistant<'static>> {
        let call = ToolCall {
            id: "call_\"1\"".into(),
            kind: FunctionTag::Function,
            function: Function {
                name: "f".into(),
                arguments: "{\"a\": \"b\\n\"}".into(),
            },
            extra_content: Some(raw(r#"{"google":{"thought_signature":"x"}}"#)),
        };
        let plain = ToolCall {
            extra_content: None,
            ..call.clone()
        };
        vec![
            Assistant::default(),
            Assistant {
                content: Some("é\n".into()),
                reasoning_content: Some("a".into()),
                ..Assistant::default()
            },
            Assistant {
                reasoning: Some("b".into()),
                reasoning_details: vec![raw("{\"a\":1}"), raw("2")],
                tool_calls: vec![call, plain],
                ..Assistant::default()
            },
        ]
    }

    fn parts(audio: &RawValue) -> Vec<Part<'_>> {
        let file = File {
            file_data: None,
            file_id: None,
            filename: None,
        };
        let named = File {
            file_data: Some("data:x".into()),
            filename: Some("n".into()),
            ..file.clone()
        };
        let known = File {
            file_id: Some("id".into()),
            ..file.clone()
        };
        let image = |detail: Option<&'static str>| Part::ImageUrl {
            image_url: ImageUrl {
                url: "https://x/\"".into(),
                detail: detail.map(Into::into),
            },
        };
        vec![
            Part::Text { text: "\t".into() },
            image(None),
            image(Some("low")),
            Part::File { file },
            Part::File { file: named },
            Part::File { file: known },
            Part::InputAudio { input_audio: audio },
        ]
    }

    #[test]
    fn a_request_is_written_as_it_serialises() {
        let audio = raw(r#"{"data":"x"}"#);
        let text = |text: &'static str| Content::Text(text.into());
        let mut messages: Vec<_> = assistant().into_iter().map(Message::Assistant).collect();
        messages.extend([
            Message::System {
                content: "s".into(),
            },
            Message::Developer {
                content: "\u{1}".into(),
            },
            Message::User {
                content: text("u\""),
            },
            Message::User {
                content: Content::Parts(parts(&audio)),
            },
            Message::User {
                content: Content::Parts(Vec::new()),
            },
            Message::Tool {
                tool_call_id: "c".into(),
                content: text("t"),
            },
        ]);
        for count in 0..=messages.len() {
            let request = ChatRequest {
                model: "m \"x\"".into(),
                messages: messages[..count].to_vec(),
                stream: true,
                ..ChatRequest::default()
            };
            let expected = serde_json::to_string(&request).unwrap();
            assert_eq!(String::from_utf8(request.into_json()).unwrap(), expected);
        }
    }
}
