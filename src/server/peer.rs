//! Where a request comes from.

use std::net::{IpAddr, SocketAddr};

use axum::http::Extensions;

/// The address at the other end of a connection, put beside each of its requests. A proxy in front has
/// its own: what it says of its clients is not believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Peer {
    pub(super) fn of(extensions: &Extensions) -> Option<IpAddr> {
        extensions.get::<Self>().map(|peer| peer.0.ip())
    }
}
