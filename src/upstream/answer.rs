//! An upstream's answer: its body, which keeps the upstream's place in line until its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};

use super::body::{Body as Way, BodyError};
use crate::gate::Permit;

/// An answer that is being read. Its place is free again when it is dropped.
#[derive(Debug)]
pub struct Answer {
    body: Way,
    content_type: Option<HeaderValue>,
    _permit: Permit,
}

impl Answer {
    pub(super) fn new(body: Way, content_type: Option<HeaderValue>, permit: Permit) -> Self {
        Self {
            body,
            content_type,
            _permit: permit,
        }
    }

    /// Nothing more of it is wanted, as it said all: its connection may be used again.
    pub fn release(self) {
        self.body.release();
    }

    /// What it says that it is.
    #[must_use]
    pub fn content_type(&self) -> Option<&HeaderValue> {
        self.content_type.as_ref()
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
