//! Items out, as JSON.
//!
//! A text stands in four of the events of its stream, and in all but one of them within an item or a
//! part; so the kinds that hold long strings are written by hand, in runs. What is written is what
//! `Serialize` says.

use super::{
    ContentPart, CustomToolCallItem, FunctionCallItem, ItemStatus, MessageItem, OutputItem,
    ReasoningItem,
};
use crate::json::{write_option as option, write_text as text, write_value as value};

impl OutputItem {
    /// Writes the item as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Message(item) => item.write(out),
            Self::FunctionCall(item) => item.write(out),
            Self::CustomToolCall(item) => item.write(out),
            Self::Reasoning(item) => item.write(out),
            Self::LocalShellCall(_)
            | Self::ShellCall(_)
            | Self::ApplyPatchCall(_)
            | Self::ToolSearchCall(_)
            | Self::Compaction(_) => value(out, "", self),
        }
    }
}

impl ContentPart {
    /// Writes the part as JSON.
    pub(in crate::responses) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::OutputText {
                text: said,
                annotations,
                logprobs,
            } => {
                text(out, "{\"type\":\"output_text\",\"text\":", said);
                value(out, ",\"annotations\":", annotations);
                value(out, ",\"logprobs\":", logprobs);
            }
            Self::Refusal { refusal } => {
                text(out, "{\"type\":\"refusal\",\"refusal\":", refusal);
            }
        }
        out.push(b'}');
    }
}

impl MessageItem {
    fn write(&self, out: &mut Vec<u8>) {
        text(out, "{\"type\":\"message\",\"id\":", &self.id);
        status(out, self.status);
        out.extend_from_slice(b",\"role\":\"assistant\",\"content\":");
        list(out, &self.content, ContentPart::write);
        out.push(b'}');
    }
}

impl FunctionCallItem {
    fn write(&self, out: &mut Vec<u8>) {
        text(out, "{\"type\":\"function_call\",\"id\":", &self.id);
        status(out, self.status);
        text(out, ",\"arguments\":", &self.arguments);
        text(out, ",\"call_id\":", &self.call_id);
        text(out, ",\"name\":", &self.name);
        option(out, ",\"namespace\":", self.namespace.as_deref());
        out.push(b'}');
    }
}

impl CustomToolCallItem {
    fn write(&self, out: &mut Vec<u8>) {
        text(out, "{\"type\":\"custom_tool_call\",\"id\":", &self.id);
        status(out, self.status);
        text(out, ",\"call_id\":", &self.call_id);
        text(out, ",\"input\":", &self.input);
        text(out, ",\"name\":", &self.name);
        option(out, ",\"namespace\":", self.namespace.as_deref());
        out.push(b'}');
    }
}

impl ReasoningItem {
    fn write(&self, out: &mut Vec<u8>) {
        text(out, "{\"type\":\"reasoning\",\"id\":", &self.id);
        out.extend_from_slice(b",\"summary\":");
        list(out, &self.summary, |part, out| {
            text(out, "{\"type\":\"summary_text\",\"text\":", &part.text);
            out.push(b'}');
        });
        if let Some(content) = &self.content {
            out.extend_from_slice(b",\"content\":");
            list(out, content, |part, out| {
                text(out, "{\"type\":\"reasoning_text\",\"text\":", &part.text);
                out.push(b'}');
            });
        }
        let sealed = self.encrypted_content.as_deref();
        option(out, ",\"encrypted_content\":", sealed);
        out.push(b'}');
    }
}

fn status(out: &mut Vec<u8>, status: ItemStatus) {
    let key: &[u8] = match status {
        ItemStatus::InProgress => b",\"status\":\"in_progress\"",
        ItemStatus::Completed => b",\"status\":\"completed\"",
        ItemStatus::Incomplete => b",\"status\":\"incomplete\"",
    };
    out.extend_from_slice(key);
}

/// Writes a list.
pub(in crate::responses) fn list<T>(
    out: &mut Vec<u8>,
    elements: &[T],
    write: impl Fn(&T, &mut Vec<u8>),
) {
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
    use crate::responses::item::{
        ActionCallItem, Annotation, AssistantRole, CompactionItem, Logprob, ReasoningPart,
        SummaryPart,
    };

    fn parts() -> Vec<ContentPart> {
        let logprob = Logprob {
            token: "a\"".into(),
            logprob: -0.5,
            bytes: vec![97],
            top_logprobs: Vec::new(),
        };
        let citation = Annotation::UrlCitation {
            url: "https://x".into(),
            title: "t".into(),
            start_index: 1,
            end_index: 2,
        };
        vec![
            ContentPart::OutputText {
                text: "é\n\"a\" and more than a word".into(),
                annotations: vec![citation],
                logprobs: vec![logprob.clone(), logprob],
            },
            ContentPart::OutputText {
                text: String::new(),
                annotations: Vec::new(),
                logprobs: Vec::new(),
            },
            ContentPart::Refusal {
                refusal: "no\t".into(),
            },
        ]
    }

    fn call(status: ItemStatus, namespace: Option<String>) -> [OutputItem; 2] {
        [
            OutputItem::FunctionCall(FunctionCallItem {
                id: "fc_1".into(),
                status,
                arguments: "{\"a\": \"b\\n\"}".into(),
                call_id: "call_\"1\"".into(),
                name: "f".into(),
                namespace: namespace.clone(),
            }),
            OutputItem::CustomToolCall(CustomToolCallItem {
                id: "ctc_1".into(),
                status,
                call_id: "c".into(),
                input: "*** Begin\n".into(),
                name: "g".into(),
                namespace,
            }),
        ]
    }

    fn thought(content: Option<Vec<ReasoningPart>>, sealed: Option<String>) -> OutputItem {
        let part = |text: &str| SummaryPart { text: text.into() };
        OutputItem::Reasoning(ReasoningItem {
            id: "rs_1".into(),
            summary: vec![part("a\n"), part("b")],
            content,
            encrypted_content: sealed,
            kept: Some("never".into()),
        })
    }

    #[test]
    fn an_item_is_written_as_it_serialises() {
        let mut items = Vec::new();
        for count in 0..=3 {
            items.push(OutputItem::Message(MessageItem {
                id: "msg_1".into(),
                status: ItemStatus::Completed,
                role: AssistantRole::Assistant,
                content: parts().into_iter().take(count).collect(),
            }));
        }
        for status in [
            ItemStatus::InProgress,
            ItemStatus::Completed,
            ItemStatus::Incomplete,
        ] {
            items.extend(call(status, None));
            items.extend(call(status, Some("n\\".into())));
        }
        let part = ReasoningPart {
            text: "Hm\u{1}".into(),
        };
        items.push(thought(None, None));
        items.push(thought(Some(Vec::new()), Some("sealed".into())));
        items.push(thought(Some(vec![part.clone(), part]), None));
        items.push(OutputItem::Compaction(CompactionItem {
            id: "cmp_1".into(),
            encrypted_content: "x".into(),
        }));
        items.push(OutputItem::ShellCall(ActionCallItem {
            id: "sh_1".into(),
            status: ItemStatus::Completed,
            call_id: "c".into(),
            action: RawValue::from_string("{\"commands\": []}".into()).unwrap(),
        }));
        for item in items {
            let mut out = Vec::new();
            item.write(&mut out);
            let expected = serde_json::to_string(&item).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
