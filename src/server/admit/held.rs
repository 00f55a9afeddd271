//! A body that keeps its request's leave until it is sent, or given up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use crate::admission::Permit;

/// A body with leave.
pub(super) struct Held<B> {
    // Goes first, as it tells what it spent.
    body: B,
    _permit: Arc<Permit>,
}

impl<B> Held<B> {
    pub(super) fn new(body: B, permit: Arc<Permit>) -> Self {
        Self {
            body,
            _permit: permit,
        }
    }
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
