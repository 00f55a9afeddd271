//! The body of a streamed answer. It reads from the upstream when the client reads from it: there
//! is no queue between the two, so a slow client slows the upstream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::run::{Run, Step};
use crate::{sse, translate};

/// A response as server-sent events.
pub struct ResponseStream {
    run: Option<Run>,
    sink: translate::Bytes,
    done_sentinel: bool,
}

impl ResponseStream {
    pub(super) fn new(run: Run, sink: translate::Bytes, done_sentinel: bool) -> Self {
        Self {
            run: Some(run),
            sink,
            done_sentinel,
        }
    }
}

impl Body for ResponseStream {
    type Data = Bytes;
    type Error = Infallible;

    /// Each read of the upstream becomes at most one write to the client.
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            if !this.sink.out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(this.sink.take()))));
            }
            let Some(run) = &mut this.run else {
                return Poll::Ready(None);
            };
            match run.poll_step(cx, &mut this.sink) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Step::Read) => {}
                Poll::Ready(Step::Over(_)) => {
                    this.run = None;
                    if this.done_sentinel {
                        this.sink.out.extend_from_slice(sse::DONE);
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.run.is_none() && self.sink.out.is_empty()
    }
}
