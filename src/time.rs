//! The clocks. Nothing else in the program asks the system for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;

/// Unix time in seconds.
#[must_use]
pub fn unix_now() -> u64 {
    since_epoch().as_secs()
}

/// Unix time in milliseconds.
#[must_use]
pub fn unix_now_ms() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

fn since_epoch() -> Duration {
    // A clock before 1970 is no clock.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
