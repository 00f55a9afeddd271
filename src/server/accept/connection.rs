//! One connection from its first byte to its last: what protects it, what version of HTTP it speaks, and how
//! long it may take over each.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::{Accept, TlsAcceptor};

use super::Shared;
use super::io::{Io, Stream, Version};
use super::listener::Socket;
use super::places::Place;
use super::service::{Service, Streams};
use crate::closing::Step;
use crate::server::peer::Peer;
use crate::server::tls::HTTP2;
use crate::time::Instant;

/// How long a connection without a request may take to close. Over HTTP/2 the last answer may still be on
/// its way, which is not seen from here; who has all of it leaves at once.
const LEAVES: Duration = Duration::from_secs(1);
const HTTP2_LEAVES: Duration = Duration::from_secs(5);

/// A connection at work.
pub(super) struct Connection {
    stage: Stage,
    /// Where it comes from.
    peer: Option<Peer>,
    shared: Arc<Shared>,
    place: Arc<Place>,
    /// What it waits for, after how many requests, and until when.
    waits: (Waits, u32),
    alarm: Option<Pin<Box<Sleep>>>,
    /// It is known how to wake it.
    known: bool,
    /// It takes no further requests.
    leaves: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are of the largest one"
)]
enum Stage {
    /// TLS is agreed on.
    Handshake(Box<Accept<TcpStream>>),
    /// The first bytes tell the version.
    Greeting(Option<Io>),
    Http1(http1::UpgradeableConnection<TokioIo<Io>, Service>),
    /// In a box, as most are of the other kind, and that is smaller.
    Http2(Box<http2::Connection<TokioIo<Io>, Service, Streams>>),
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Nothing that is this file's business: a request is under way.
    Nothing,
    /// The first request, all that comes before it included.
    First,
    /// The next request.
    Next,
    /// The rest of a request's head.
    Head,
    /// The connection's end.
    End,
}

impl Connection {
    pub(super) fn new(socket: Socket, place: Arc<Place>, shared: Arc<Shared>) -> Self {
        let plain = |stream| Stage::Greeting(Some(Io::new(stream, Arc::clone(&place))));
        let peer = match &socket {
            Socket::Tcp(_, peer) => Some(Peer(*peer)),
            #[cfg(unix)]
            Socket::Unix(_) => None,
        };
        let stage = match (socket, &shared.tls) {
            (Socket::Tcp(stream, _), Some(tls)) => {
                let accept = TlsAcceptor::from(tls.current()).accept(stream);
                Stage::Handshake(Box::new(accept))
            }
            (Socket::Tcp(stream, _), None) => plain(Stream::Tcp(stream)),
            #[cfg(unix)]
            (Socket::Unix(stream), _) => plain(Stream::Unix(stream)),
        };
        Self {
            stage,
            peer,
            shared,
            place,
            waits: (Waits::Nothing, 0),
            alarm: None,
            known: false,
            leaves: false,
        }
    }

    /// Goes on as far as it goes. Ready at the end.
    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.stage {
                Stage::Handshake(accept) => match ready!(Pin::new(accept).poll(cx)) {
                    Ok(stream) => {
                        let agreed = stream.get_ref().1.alpn_protocol();
                        let is_http2 = agreed == Some(HTTP2);
                        let io = Io::new(Stream::Tls(Box::new(stream)), Arc::clone(&self.place));
                        if is_http2 {
                            self.speak(Version::Http2, io);
                        } else {
                            self.stage = Stage::Greeting(Some(io));
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "TLS failed");
                        return Poll::Ready(());
                    }
                },
                Stage::Greeting(io) => {
                    let version = match io {
                        Some(io) => ready!(io.poll_version(cx)),
                        None => return Poll::Ready(()),
                    };
                    match (version, io.take()) {
                        (Ok(Some(version)), Some(io)) => self.speak(version, io),
                        (Ok(_), _) => return Poll::Ready(()),
                        (Err(error), _) => {
                            tracing::debug!(%error, "a connection ended");
                            return Poll::Ready(());
                        }
                    }
                }
                Stage::Http1(connection) => {
                    return ended(ready!(Pin::new(connection).poll(cx)));
                }
                Stage::Http2(connection) => {
                    return ended(ready!(Pin::new(connection).poll(cx)));
                }
            }
        }
    }

    fn speak(&mut self, version: Version, io: Io) {
        let (shared, io) = (&self.shared, TokioIo::new(io));
        let service = Service::new(Arc::clone(shared), Arc::clone(&self.place), self.peer);
        self.stage = match version {
            Version::Http1 => {
                let connection = shared.http1.serve_connection(io, service);
                Stage::Http1(connection.with_upgrades())
            }
            Version::Http2 => {
                self.place.share();
                let connection = shared.http2.serve_connection(io, service);
                Stage::Http2(Box::new(connection))
            }
        };
    }

    /// Takes no further requests. Says whether that changes anything at once.
    fn leave(&mut self) -> bool {
        match &mut self.stage {
            // What it is for is not known yet.
            Stage::Handshake(_) => return false,
            // Nothing was said.
            Stage::Greeting(io) => *io = None,
            Stage::Http1(connection) => Pin::new(connection).graceful_shutdown(),
            Stage::Http2(connection) => Pin::new(&mut **connection).graceful_shutdown(),
        }
        self.leaves = true;
        true
    }

    fn waits(&self) -> Waits {
        let place = &self.place;
        // A write that waits has a limit of its own.
        if !place.is_idle() || place.is_stalled() {
            Waits::Nothing
        } else if self.leaves || self.is_draining() {
            Waits::End
        } else if place.asked() == 0 {
            Waits::First
        } else if matches!(self.stage, Stage::Http1(_)) && place.has_heard() {
            Waits::Head
        } else {
            // What comes over HTTP/2 need not be a request.
            Waits::Next
        }
    }

    /// Ready with what it waited for, once that has been too long.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<Waits> {
        let waits = self.waits();
        let since = (waits, self.place.asked());
        let settings = &self.shared.settings;
        let limit = match waits {
            Waits::Nothing => {
                self.waits = since;
                self.alarm = None;
                return Poll::Pending;
            }
            Waits::First | Waits::Head => settings.header_timeout,
            Waits::Next => settings.idle_timeout,
            Waits::End if matches!(self.stage, Stage::Http2(_)) => HTTP2_LEAVES,
            Waits::End => LEAVES,
        };
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        // A request may have begun and ended since it was looked at last.
        if self.waits != since {
            self.waits = since;
            alarm.as_mut().reset(Instant::now() + limit);
        }
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(waits)
    }

    fn is_draining(&self) -> bool {
        self.shared.closing.step() >= Step::Draining
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.place.take_turn();
        if !this.known {
            // A task's waker stays the same.
            this.place.leave_waker(cx.waker());
            this.known = true;
        }
        if this.place.is_evicted() {
            if this.place.is_idle() && !this.place.is_stalled() {
                tracing::debug!("an idle connection makes room for another one");
                return Poll::Ready(());
            }
            this.place.stay();
        }
        loop {
            if this.poll_stage(cx).is_ready() {
                return Poll::Ready(());
            }
            if this.is_draining() && !this.leaves && this.leave() {
                continue;
            }
            let waits = ready!(this.poll_alarm(cx));
            // Those who are in the middle of nothing are told.
            let in_peace = waits == Waits::Next || matches!(this.stage, Stage::Http2(_));
            if waits == Waits::End || !in_peace {
                tracing::debug!(?waits, "a connection took too long");
                return Poll::Ready(());
            }
            this.leave();
        }
    }
}

fn ended<E: Display>(ended: Result<(), E>) -> Poll<()> {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
    Poll::Ready(())
}
