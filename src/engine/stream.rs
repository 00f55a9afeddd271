//! The body of a streamed answer. It reads from the upstream when the client reads from it: there
//! is no queue between the two, so a slow client slows the upstream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};

use super::keep::Keeping;
use super::run::{Run, Step};
use crate::translate::Outcome;
use crate::{sse, translate};

/// How long the last event waits for the store.
const KEEP_WAIT: Duration = Duration::from_secs(1);

/// A response as server-sent events.
pub struct ResponseStream {
    run: Option<Run>,
    sink: translate::Bytes,
    done_sentinel: bool,
    keeping: Option<Box<Keeping>>,
    /// The response is being stored. Its last event waits for that, so that who has seen it can
    /// refer to the response; all events before it do not.
    storing: Option<Storing>,
}

/// A response on its way into the store, as far as its client waits for it.
pub(super) type Storing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Keeps a response in a task of its own: a client that leaves now has its response all the same, and
/// one that stays does not wait for long.
pub(super) fn keep(keeping: Box<Keeping>, outcome: Outcome) -> Storing {
    let kept = tokio::spawn(keeping.keep(outcome));
    Box::pin(async move {
        let _ = tokio::time::timeout(KEEP_WAIT, kept).await;
    })
}

impl ResponseStream {
    pub(super) fn new(
        run: Run,
        sink: translate::Bytes,
        done_sentinel: bool,
        keeping: Option<Box<Keeping>>,
    ) -> Self {
        Self {
            run: Some(run),
            sink,
            done_sentinel,
            keeping,
            storing: None,
        }
    }

    /// A stream that is all there.
    pub(super) fn of_bytes(mut sink: translate::Bytes, done_sentinel: bool) -> Self {
        if done_sentinel {
            sink.out.extend_from_slice(sse::DONE);
        }
        Self {
            run: None,
            sink,
            done_sentinel,
            keeping: None,
            storing: None,
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
        let frame = |out: Bytes| Poll::Ready(Some(Ok(Frame::data(out))));
        loop {
            if let Some(storing) = &mut this.storing {
                match storing.as_mut().poll(cx) {
                    Poll::Ready(()) => this.storing = None,
                    Poll::Pending => {
                        let before = this.sink.take_before_lifecycle();
                        return match before.is_empty() {
                            true => Poll::Pending,
                            false => frame(before),
                        };
                    }
                }
            }
            if !this.sink.out.is_empty() {
                return frame(this.sink.take());
            }
            let Some(run) = &mut this.run else {
                return Poll::Ready(None);
            };
            match run.poll_step(cx, &mut this.sink) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Step::Read) => {}
                Poll::Ready(Step::Over(outcome)) => {
                    this.run = None;
                    this.storing = this.keeping.take().map(|keeping| keep(keeping, *outcome));
                    if this.done_sentinel {
                        this.sink.out.extend_from_slice(sse::DONE);
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.run.is_none() && self.sink.out.is_empty() && self.storing.is_none()
    }
}
