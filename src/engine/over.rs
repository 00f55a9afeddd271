//! What is told when the process ends before the work does.

use crate::closing::Closing;
use crate::responses::ErrorObject;
use crate::upstream::{Refusal, RetryAfter};

/// What the API's clients take for a reason to try again, Codex among them.
pub(super) const CODE: &str = "server_shutting_down";
/// After how many seconds somebody else is likely to answer.
const WAIT: u64 = 1;

/// The refusal of new work, once the process is to end.
#[must_use]
pub fn shutting_down() -> Refusal {
    refusal("The server is about to end; try again.".to_owned())
}

/// The failure of a response that was under way when time was up; it is counted.
pub(super) fn cut_off(closing: &Closing) -> Refusal {
    closing.count_cut_off();
    refusal(format!(
        "The server is about to end and could not finish this response; try again in {WAIT}s."
    ))
}

fn refusal(message: String) -> Refusal {
    Refusal {
        retry_after: Some(RetryAfter::seconds(WAIT)),
        // No upstream is to blame, and none is asked instead.
        ..Refusal::new(503, ErrorObject::server(message).with_code(CODE))
    }
}
