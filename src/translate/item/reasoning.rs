//! Thinking under construction, shown as a summary, as it is, or not at all.

use super::{Out, Place};
use crate::responses::event::{ContentDelta, Part, PartEvent, SummaryPartEvent};
use crate::responses::item::{ReasoningItem, ReasoningPart, SummaryPart};
use crate::responses::{OutputItem, ResponseEvent};
use crate::translate::carry::{Carried, CarryField};
use crate::translate::turn::{Sealing, Thinking};

/// Thinking that is open, with its one part.
#[derive(Debug)]
pub(in super::super) struct OpenReasoning {
    place: Place,
    shown: Thinking,
    field: CarryField,
    text: String,
}

impl OpenReasoning {
    pub(in super::super) fn open(
        place: Place,
        shown: Thinking,
        field: CarryField,
        out: &mut Out<'_>,
    ) -> Self {
        let this = Self {
            place,
            shown,
            field,
            text: String::new(),
        };
        let empty = ReasoningItem {
            id: this.place.id.clone(),
            summary: Vec::new(),
            content: None,
            encrypted_content: None,
            kept: None,
        };
        out.added(this.place.index, &OutputItem::Reasoning(empty));
        let at = this.place.at();
        match shown {
            Thinking::Summary => {
                let part = &SummaryPart {
                    text: String::new(),
                };
                out.emit(&ResponseEvent::SummaryPartAdded(SummaryPartEvent {
                    at,
                    summary_index: 0,
                    part,
                }));
            }
            Thinking::Content => {
                let part = Part::Reasoning(&ReasoningPart {
                    text: String::new(),
                });
                out.emit(&ResponseEvent::ContentPartAdded(PartEvent {
                    at,
                    content_index: 0,
                    part,
                }));
            }
            Thinking::Hidden => {}
        }
        this
    }

    pub(in super::super) fn text(&mut self, delta: &str, out: &mut Out<'_>) {
        let at = self.place.at();
        match self.shown {
            Thinking::Summary => {
                out.emit(&ResponseEvent::SummaryTextDelta {
                    at,
                    summary_index: 0,
                    delta,
                });
            }
            Thinking::Content => {
                out.emit(&ResponseEvent::ReasoningTextDelta(ContentDelta {
                    at,
                    content_index: 0,
                    delta,
                }));
            }
            Thinking::Hidden => {}
        }
        self.text.push_str(delta);
    }

    /// Closes it. What the upstream wants back beside the text is sealed with it.
    pub(in super::super) fn close(
        self,
        sealing: Option<&Sealing>,
        carried: &mut Carried,
        out: &mut Out<'_>,
    ) -> (u32, OutputItem) {
        let Self {
            place,
            shown,
            field,
            text,
        } = self;
        let at = place.at();
        let mut summary = Vec::new();
        let mut content = None;
        let sealed = sealing.map(|sealing| carried.take(field, text.clone()).seal(&*sealing.seal));
        let shows = sealing.is_some_and(|sealing| sealing.shown);
        let (encrypted_content, kept) = if shows {
            (sealed, None)
        } else {
            (None, sealed)
        };
        match shown {
            Thinking::Summary => {
                out.emit(&ResponseEvent::SummaryTextDone {
                    at,
                    summary_index: 0,
                    text: &text,
                });
                let part = SummaryPart { text };
                out.emit(&ResponseEvent::SummaryPartDone(SummaryPartEvent {
                    at,
                    summary_index: 0,
                    part: &part,
                }));
                summary.push(part);
            }
            Thinking::Content => {
                out.emit(&ResponseEvent::ReasoningTextDone {
                    at,
                    content_index: 0,
                    text: &text,
                });
                let part = ReasoningPart { text };
                out.emit(&ResponseEvent::ContentPartDone(PartEvent {
                    at,
                    content_index: 0,
                    part: Part::Reasoning(&part),
                }));
                content = Some(vec![part]);
            }
            Thinking::Hidden => {}
        }
        let index = place.index;
        let item = OutputItem::Reasoning(ReasoningItem {
            id: place.id,
            summary,
            content,
            encrypted_content,
            kept,
        });
        out.done(index, &item);
        (index, item)
    }
}
