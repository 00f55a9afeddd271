//! What is made of a request before it is translated, beside what it asks for itself.

use crate::json::{Text, TextOr};
use crate::responses::CreateResponse;
use crate::responses::input::{InputItem, Role};
use crate::translate::compaction;

/// What is made of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    /// A summary of its conversation.
    pub(super) sums_up: bool,
    /// A summary that was made first takes the place of its conversation.
    pub(super) lead: Option<String>,
    /// So many turns are left out.
    pub(super) drop_turns: usize,
    /// The answer is streamed, whatever it asks for.
    pub(super) streams: bool,
    /// It came over a WebSocket.
    pub(super) over_socket: bool,
}

impl Shape {
    /// Makes it so.
    pub(super) fn apply(&self, request: &mut CreateResponse<'_>) {
        request.drop_turns = self.drop_turns;
        request.stream = Some(self.streams);
        if asks_for_summary(request)
            && let Some(TextOr::List(items)) = request.input.as_mut().map(|input| &mut input.value)
        {
            items.pop();
        }
        if self.sums_up {
            // The client's limit is for answers; a summary that is cut is worth nothing.
            request.max_output_tokens = None;
            request.stop = None;
            ask_for_summary(request);
        } else if let Some(sealed) = &self.lead {
            push(
                request,
                InputItem::Compaction(Some(Text::from(sealed.clone()))),
            );
        }
    }
}

/// Whether the last item asks for a summary of all before.
pub(super) fn asks_for_summary(request: &CreateResponse<'_>) -> bool {
    match request.input.as_ref().map(|input| &input.value) {
        Some(TextOr::List(items)) => matches!(items.last(), Some(InputItem::CompactionTrigger)),
        _ => false,
    }
}

/// The conversation as one that asks for its summary: without tools and without a format.
fn ask_for_summary(request: &mut CreateResponse<'_>) {
    let items = match request.input.take().map(|input| input.value) {
        Some(TextOr::List(items)) => items,
        Some(TextOr::Text(text)) => vec![spoken(text)],
        // What it continues may be all there is.
        None => Vec::new(),
        // It will be refused for what it is.
        odd => {
            request.input = odd.map(Into::into);
            return;
        }
    };
    request.input = Some(TextOr::List(compaction::ask(items)).into());
    request
        .history
        .retain(|item| !matches!(item, InputItem::Tools(_)));
    request.tools = None;
    request.tool_choice = None;
    request.parallel_tool_calls = None;
    if let Some(text) = &mut request.text {
        text.format = None;
    }
}

fn push<'a>(request: &mut CreateResponse<'a>, item: InputItem<'a>) {
    match request.input.as_mut().map(|input| &mut input.value) {
        Some(TextOr::List(items)) => items.push(item),
        Some(TextOr::Text(text)) => {
            let spoken = spoken(std::mem::take(text));
            request.input = Some(TextOr::List(vec![spoken, item]).into());
        }
        _ => request.input = Some(TextOr::List(vec![item]).into()),
    }
}

fn spoken(text: Text<'_>) -> InputItem<'_> {
    InputItem::Message {
        role: Role::User,
        content: TextOr::Text(text),
    }
}
