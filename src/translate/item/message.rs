//! A message under construction: text and refusals, with their annotations.

use super::{Out, Place};
use crate::responses::event::{ContentDelta, Part, PartEvent};
use crate::responses::item::{
    Annotation, AssistantRole, ContentPart, ItemStatus, Logprob, MessageItem,
};
use crate::responses::{OutputItem, ResponseEvent};

/// A message that is open. Its last part is open too.
#[derive(Debug)]
pub(in super::super) struct OpenMessage {
    place: Place,
    parts: Vec<ContentPart>,
}

impl OpenMessage {
    pub(in super::super) fn open(place: Place, out: &mut Out<'_>) -> Self {
        let this = Self {
            place,
            parts: Vec::new(),
        };
        out.added(
            this.place.index,
            &this.item(ItemStatus::InProgress, Vec::new()),
        );
        this
    }

    pub(in super::super) fn text(
        &mut self,
        delta: &str,
        logprobs: Vec<Logprob>,
        out: &mut Out<'_>,
    ) {
        if !matches!(self.parts.last(), Some(ContentPart::OutputText { .. })) {
            self.open_part(
                ContentPart::OutputText {
                    text: String::new(),
                    annotations: Vec::new(),
                    logprobs: Vec::new(),
                },
                out,
            );
        }
        let content_index = self.content_index();
        if !delta.is_empty() {
            out.emit(&ResponseEvent::OutputTextDelta {
                at: self.place.at(),
                content_index,
                delta,
                logprobs: &logprobs,
            });
        }
        if let Some(ContentPart::OutputText {
            text,
            logprobs: all,
            ..
        }) = self.parts.last_mut()
        {
            text.push_str(delta);
            all.extend(logprobs);
        }
    }

    pub(in super::super) fn refusal(&mut self, delta: &str, out: &mut Out<'_>) {
        if !matches!(self.parts.last(), Some(ContentPart::Refusal { .. })) {
            self.open_part(
                ContentPart::Refusal {
                    refusal: String::new(),
                },
                out,
            );
        }
        let content_index = self.content_index();
        out.emit(&ResponseEvent::RefusalDelta(ContentDelta {
            at: self.place.at(),
            content_index,
            delta,
        }));
        if let Some(ContentPart::Refusal { refusal }) = self.parts.last_mut() {
            refusal.push_str(delta);
        }
    }

    /// Adds a citation to the text part at hand; gives it back where there is none.
    pub(in super::super) fn annotate(
        &mut self,
        annotation: Annotation,
        out: &mut Out<'_>,
    ) -> Option<Annotation> {
        let content_index = self.content_index();
        let Some(ContentPart::OutputText { annotations, .. }) = self.parts.last_mut() else {
            return Some(annotation);
        };
        out.emit(&ResponseEvent::AnnotationAdded {
            at: self.place.at(),
            content_index,
            annotation_index: annotations.len(),
            annotation: &annotation,
        });
        annotations.push(annotation);
        None
    }

    pub(in super::super) fn close(
        mut self,
        status: ItemStatus,
        out: &mut Out<'_>,
    ) -> (u32, OutputItem) {
        self.close_part(out);
        let index = self.place.index;
        let parts = std::mem::take(&mut self.parts);
        let item = self.item(status, parts);
        out.done(index, &item);
        (index, item)
    }

    fn open_part(&mut self, part: ContentPart, out: &mut Out<'_>) {
        self.close_part(out);
        let content_index = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        out.emit(&ResponseEvent::ContentPartAdded(PartEvent {
            at: self.place.at(),
            content_index,
            part: Part::Content(&part),
        }));
        // There is seldom another one.
        self.parts.reserve_exact(1);
        self.parts.push(part);
    }

    fn close_part(&mut self, out: &mut Out<'_>) {
        let content_index = self.content_index();
        let at = self.place.at();
        let Some(part) = self.parts.last() else {
            return;
        };
        out.emit(&match part {
            ContentPart::OutputText { text, logprobs, .. } => ResponseEvent::OutputTextDone {
                at,
                content_index,
                text,
                logprobs,
            },
            ContentPart::Refusal { refusal } => ResponseEvent::RefusalDone {
                at,
                content_index,
                refusal,
            },
        });
        out.emit(&ResponseEvent::ContentPartDone(PartEvent {
            at,
            content_index,
            part: Part::Content(part),
        }));
    }

    fn content_index(&self) -> u32 {
        u32::try_from(self.parts.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    fn item(&self, status: ItemStatus, content: Vec<ContentPart>) -> OutputItem {
        OutputItem::Message(MessageItem {
            id: self.place.id.clone(),
            status,
            role: AssistantRole::Assistant,
            content,
        })
    }
}
