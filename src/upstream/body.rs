//! The body of an upstream's answer, by whichever way it comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use super::direct;

/// A body under way.
#[derive(Debug)]
pub(super) enum Body {
    /// From a connection of its own.
    Direct(direct::Body),
    /// From the HTTP client.
    Client(reqwest::Body),
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// On a connection of its own.
    #[error(transparent)]
    Direct(#[from] io::Error),
    /// In the HTTP client.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

impl Body {
    /// Nothing more of it is wanted, as it said all: its connection may be used again.
    pub(super) fn release(self) {
        match self {
            Self::Direct(body) => body.release(),
            // The client sees to it by itself.
            Self::Client(_) => {}
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame =
            match self.get_mut() {
                Self::Direct(body) => ready!(Pin::new(body).poll_frame(cx))
                    .map(|frame| frame.map_err(BodyError::from)),
                Self::Client(body) => ready!(Pin::new(body).poll_frame(cx))
                    .map(|frame| frame.map_err(BodyError::from)),
            };
        Poll::Ready(frame)
    }
}
