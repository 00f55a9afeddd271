//! How many files the process may have open, connections included.

/// Files that are neither a client's connection nor the one to its upstream.
const OWN: u64 = 128;

/// Allows as many files as the system lets the process have, and warns if so many connections, each with
/// one to an upstream, do not fit.
pub(crate) fn allow(connections: usize) {
    let needed = u64::try_from(connections).unwrap_or(u64::MAX);
    let needed = needed.saturating_mul(2).saturating_add(OWN);
    if let Some(allowed) = raise()
        && allowed < needed
    {
        tracing::warn!(
            allowed,
            needed,
            "fewer files may be open than `max_connections` may need: raise the limit (`ulimit -n`) or lower the number"
        );
    }
}

/// Raises the limit as far as it goes; says what it is now, if there is one that is known.
#[cfg(unix)]
fn raise() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let before = getrlimit(Resource::Nofile);
    let mut raised = before;
    raised.current = before.maximum;
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            before.current
        }
    }
}

#[cfg(not(unix))]
fn raise() -> Option<u64> {
    None
}
