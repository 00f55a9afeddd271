//! The short way to an upstream without TLS: HTTP/1.1 on a connection that belongs to one answer.
//!
//! Model servers on one's own machines speak plain HTTP, and there what the proxy costs shows. An
//! HTTP client that runs each connection as a task of its own pays for every delta with a second
//! wake-up, a channel between the tasks and buffers that each open stream holds. Here the client's
//! own task reads the upstream's socket, into a buffer that all streams of a thread share: an open
//! stream holds no buffer, and one read is one write.
//!
//! All else (TLS, HTTP/2, proxies) is `reqwest`'s, see [`super::client`].

mod body;
mod framing;
mod head;
mod pool;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Response};
use reqwest::Url;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use url::{Host, Position};

pub(super) use body::Body;
use head::Head;
use pool::Pool;

/// The most bytes of one read. All streams of a thread share the buffer.
const READ_BYTES: usize = 32 * 1024;
/// The most bytes of the head of an answer.
const HEAD_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A server that is asked directly.
#[derive(Debug)]
pub(super) struct Direct {
    host: Host,
    port: u16,
    connect_timeout: Duration,
    pool: Arc<Pool>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server did not take the connection in time.
    Timeout,
    /// The server cannot be reached.
    Connect(String),
    /// It broke off, or answers in something else than HTTP.
    Broken(String),
}

impl Direct {
    /// The server of a URL, if there is nothing about it that needs more.
    pub(super) fn new(url: &Url, connect_timeout: Duration) -> Option<Self> {
        let plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
        Some(Self {
            host: url.host().filter(|_| plain)?.to_owned(),
            port: url.port_or_known_default()?,
            connect_timeout,
            pool: Arc::default(),
        })
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, Failure> {
        let request = write_head(method, url, headers, body.len());
        while let Some(stream) = self.pool.take() {
            // The server may close a connection in the moment in which it is used again. If it has
            // not said a word, it has not taken the request.
            match self.exchange(stream, &request, body.clone()).await {
                Err(error) if is_stale(&error) => {}
                answer => return answer.map_err(|error| Failure::Broken(error.to_string())),
            }
        }
        let stream = self.connect().await?;
        let answer = self.exchange(stream, &request, body).await;
        answer.map_err(|error| Failure::Broken(error.to_string()))
    }

    async fn exchange(
        &self,
        mut stream: TcpStream,
        request: &[u8],
        body: Bytes,
    ) -> io::Result<Response<Body>> {
        let mut to_write = Bytes::copy_from_slice(request).chain(body);
        let mut read = Vec::new();
        let head =
            std::future::poll_fn(|cx| poll_exchange(&mut stream, cx, &mut to_write, &mut read));
        let Head {
            parts,
            framing,
            keep_alive,
            length,
        } = head.await?;
        read.drain(..length);
        // A server may answer before it has read all; the rest is not worth sending.
        let reusable = keep_alive && !to_write.has_remaining();
        let pool = reusable.then(|| Arc::clone(&self.pool));
        let body = Body::new(stream, framing, read, pool);
        Ok(Response::from_parts(parts, body))
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let unreached = |error: io::Error| Failure::Connect(error.to_string());
        let addresses: Vec<SocketAddr> = match &self.host {
            Host::Ipv4(address) => vec![(*address, self.port).into()],
            Host::Ipv6(address) => vec![(*address, self.port).into()],
            Host::Domain(name) => {
                let found = lookup_host((name.as_str(), self.port));
                match tokio::time::timeout(self.connect_timeout, found).await {
                    Ok(found) => found.map_err(unreached)?.collect(),
                    Err(_) => return Err(Failure::Timeout),
                }
            }
        };
        // An address that swallows packets must not cost the time of those after it.
        let share = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut failure = Failure::Connect("its name has no address".into());
        for address in addresses {
            let connecting = TcpStream::connect(address);
            match tokio::time::timeout(self.connect_timeout / share, connecting).await {
                Ok(Ok(stream)) => {
                    // A request goes out at once.
                    stream.set_nodelay(true).map_err(unreached)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = unreached(error),
                Err(_) => failure = Failure::Timeout,
            }
        }
        Err(failure)
    }
}

/// The head of a request.
fn write_head(method: &Method, url: &Url, headers: &HeaderMap, body_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(url[Position::BeforePath..Position::AfterQuery].as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut header = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    if !headers.contains_key(HOST) {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        header(HOST.as_str().as_bytes(), host.as_bytes());
    }
    for (name, value) in headers {
        // How the body is framed is not for others to say.
        if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            header(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if method != Method::GET {
        let mut digits = itoa::Buffer::new();
        let length = digits.format(body_bytes);
        header(CONTENT_LENGTH.as_str().as_bytes(), length.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Writes what is to be written and reads until the head of the answer is whole. Both go side by
/// side, as a server may answer early.
fn poll_exchange(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    to_write: &mut impl Buf,
    read: &mut Vec<u8>,
) -> Poll<io::Result<Head>> {
    let broken = loop {
        if !to_write.has_remaining() {
            break None;
        }
        let mut slices = [IoSlice::new(&[]); 2];
        let count = to_write.chunks_vectored(&mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        match Pin::new(&mut *stream).poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(0)) => break Some(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(written)) => to_write.advance(written),
            Poll::Ready(Err(error)) => break Some(error),
            Poll::Pending => break None,
        }
    };
    loop {
        let got = poll_read(stream, cx, |bytes| {
            read.extend_from_slice(bytes);
            bytes.len()
        });
        match got {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(broken.unwrap_or_else(|| closed(read)))),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            // Who does not take the request may still have said why.
            Poll::Pending => return broken.map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
        if let Some(head) = head::parse(read)? {
            return Poll::Ready(Ok(head));
        }
        if read.len() > HEAD_BYTES {
            let message = "the head of its answer is too long";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
    }
}

/// Reads once, into the buffer that all streams of the thread share.
fn poll_read<T>(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled())))
    })
}

/// The server closed the connection before the head of its answer was whole.
fn closed(read: &[u8]) -> io::Error {
    let kind = match read {
        [] => io::ErrorKind::ConnectionAborted,
        _ => io::ErrorKind::UnexpectedEof,
    };
    io::Error::new(kind, "connection closed before message completed")
}

/// Whether a connection that was used before had been closed by the server.
fn is_stale(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}
