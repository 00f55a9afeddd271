//! A connection's bytes: over TCP, TLS or a unix socket. A client that takes nothing for too long is let go.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::places::Place;

/// How HTTP/2 begins, as far as no method of HTTP/1 that is in use does.
const HTTP2: [u8; 3] = *b"PRI";

/// A connection's bytes.
#[derive(Debug)]
pub(super) struct Io {
    stream: Stream,
    /// The first bytes, as far as they were looked at and not given on.
    first: First,
    place: Arc<Place>,
    /// When to give up on a client that takes nothing. It is there only while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
}

/// What carries them.
#[derive(Debug)]
pub(super) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

#[derive(Debug, Default)]
struct First {
    bytes: [u8; HTTP2.len()],
    read: u8,
    given: u8,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

impl Io {
    pub(super) fn new(stream: Stream, place: Arc<Place>) -> Self {
        Self {
            stream,
            first: First::default(),
            place,
            stall: None,
        }
    }

    /// Finds out by the first bytes what the client speaks. `None` if it left without a word.
    pub(super) fn poll_version(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Version>>> {
        loop {
            let read = usize::from(self.first.read);
            let (known, rest) = self.first.bytes.split_at_mut(read);
            if *known != HTTP2[..read] {
                return Poll::Ready(Ok(Some(Version::Http1)));
            }
            if rest.is_empty() {
                return Poll::Ready(Ok(Some(Version::Http2)));
            }
            let mut buf = ReadBuf::new(rest);
            ready!(self.stream.poll_read(cx, &mut buf))?;
            match u8::try_from(buf.filled().len()) {
                Ok(0) | Err(_) if read == 0 => return Poll::Ready(Ok(None)),
                // It left in the middle of a word, which is for the parser to judge.
                Ok(0) | Err(_) => return Poll::Ready(Ok(Some(Version::Http1))),
                Ok(more) => self.first.read += more,
            }
        }
    }

    /// Watches over a write: a timer runs only while it waits.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            if self.stall.is_some() {
                self.stall = None;
                self.place.stalls(false);
            }
            return write;
        }
        let limit = self.place.write_timeout();
        let place = &self.place;
        let stall = self.stall.get_or_insert_with(|| {
            place.stalls(true);
            Box::pin(tokio::time::sleep(limit))
        });
        ready!(stall.as_mut().poll(cx));
        tracing::info!(
            limit_ms = crate::upstream::millis(limit),
            "a client took nothing of its answer for too long: its connection is closed"
        );
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first.given < this.first.read {
            let (from, to) = (usize::from(this.first.given), usize::from(this.first.read));
            let some = (to - from).min(buf.remaining());
            buf.put_slice(&this.first.bytes[from..from + some]);
            // It is not more than there are bytes.
            this.first.given += some as u8;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = ready!(this.stream.poll_read(cx, buf));
        if buf.filled().len() > before {
            this.place.hears();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = this.stream.poll_write(cx, bytes);
        this.watch(cx, write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = this.stream.poll_write_vectored(cx, bytes);
        this.watch(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // All others have nothing to flush.
        let Stream::Tls(stream) = &mut this.stream else {
            return Poll::Ready(Ok(()));
        };
        let flush = Pin::new(stream).poll_flush(cx);
        this.watch(cx, flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shutdown = match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        this.watch(cx, shutdown)
    }
}

impl Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }
}
