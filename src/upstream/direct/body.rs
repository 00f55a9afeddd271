//! The body of an answer, read by whoever wants it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::net::TcpStream;

use super::framing::Framing;
use super::pool::Pool;

/// How long the end of a body is awaited of which nothing more is wanted, to use the connection
/// again, and how much of it is read.
const TAIL_WAIT: Duration = Duration::from_millis(500);
const TAIL_BYTES: usize = 16 * 1024;

/// A body under way. All that came by one read is one frame.
#[derive(Debug)]
pub(in crate::upstream) struct Body {
    /// None once the body has ended.
    stream: Option<TcpStream>,
    framing: Framing,
    /// What came together with the head.
    early: Vec<u8>,
    /// Where the connection goes when the body is whole, if it may be used again.
    pool: Option<Arc<Pool>>,
}

impl Body {
    pub(super) fn new(
        stream: TcpStream,
        framing: Framing,
        early: Vec<u8>,
        pool: Option<Arc<Pool>>,
    ) -> Self {
        Self {
            stream: Some(stream),
            framing,
            early,
            pool,
        }
    }

    /// Nothing more of it is wanted: the connection is used again once its end has come.
    pub(in crate::upstream) fn release(mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        if let (Some(_), Some(_), Ok(runtime)) = (&self.stream, &self.pool, runtime) {
            runtime.spawn(tokio::time::timeout(TAIL_WAIT, async move {
                let mut read = 0;
                while let Some(Ok(frame)) = self.frame().await {
                    read += frame.data_ref().map_or(0, Bytes::len);
                    if read > TAIL_BYTES {
                        return;
                    }
                }
            }));
        }
    }

    /// Takes bytes of the connection; what is body is returned.
    fn take(framing: &mut Framing, bytes: &[u8], clean: &mut bool) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes.len());
        // Behind the body there is nothing that was asked for.
        *clean = framing.decode(bytes, &mut out)?.is_empty();
        Ok(out)
    }

    /// The body is whole.
    fn end(&mut self, clean: bool) {
        if let (Some(stream), Some(pool), true) = (self.stream.take(), self.pool.take(), clean) {
            pool.put(stream);
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let mut clean = true;
        while let Some(stream) = &mut this.stream {
            if this.framing.is_done() {
                this.end(clean);
                break;
            }
            let framing = &mut this.framing;
            let taken = if this.early.is_empty() {
                ready!(super::poll_read(stream, cx, |bytes| match bytes {
                    [] => Ok(None),
                    bytes => Self::take(framing, bytes, &mut clean).map(Some),
                }))
            } else {
                let early = std::mem::take(&mut this.early);
                Ok(Self::take(framing, &early, &mut clean).map(Some))
            };
            let out = match taken.flatten() {
                Ok(Some(out)) => out,
                Ok(None) => {
                    this.stream = None;
                    return Poll::Ready(match this.framing {
                        Framing::Close => None,
                        _ => Some(Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "end of file before message length reached",
                        ))),
                    });
                }
                Err(error) => {
                    this.stream = None;
                    return Poll::Ready(Some(Err(error)));
                }
            };
            if this.framing.is_done() {
                this.end(clean);
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into_boxed_slice().into()))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none()
    }
}
