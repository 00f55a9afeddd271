//! Ids that no other response has, on this machine or another.

use std::fmt::Write;

use crate::time::unix_now_ms;

/// 32 hex digits: 12 of the time in milliseconds, so that ids sort by age, and 20 of chance.
#[must_use]
pub(crate) fn new_id() -> String {
    let mut chance = [0_u8; 10];
    // A system without randomness leaves zeros; the time alone still tells most ids apart.
    let _ = getrandom::fill(&mut chance);
    let mut id = format!("{:012x}", unix_now_ms());
    for byte in chance {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}
