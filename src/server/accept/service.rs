//! What stands between hyper and the routes: requests are counted for their connection, and an HTTP/2
//! stream whose client takes nothing for too long is let go.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use http::Request;
use http::header::UPGRADE;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::Shared;
use super::places::{Place, UnderWay};
use crate::responses::ErrorObject;
use crate::server::error::Failure;
use crate::server::peer::Peer;
use crate::upstream::Refusal;

/// How much of an answer is given to a stream of HTTP/2 at a time: whether its client takes anything is
/// seen only when a piece is gone.
const PIECE: usize = 16 * 1024;

/// The routes, for one connection.
pub(super) struct Service {
    shared: Arc<Shared>,
    place: Arc<Place>,
    peer: Option<Peer>,
}

impl Service {
    pub(super) fn new(shared: Arc<Shared>, place: Arc<Place>, peer: Option<Peer>) -> Self {
        Self {
            shared,
            place,
            peer,
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Counted>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        let under_way = Some(self.place.begin());
        let most = self.shared.settings.max_headers;
        // Those of HTTP/1 are counted while they are read.
        if request.headers().len() > most {
            let answer = Failure(too_many_headers(most)).into_response();
            return Answering {
                answer: Answer::There(Some(answer)),
                under_way,
            };
        }
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        if request.headers().contains_key(UPGRADE) {
            // What the connection becomes keeps its place.
            request.extensions_mut().insert(Arc::clone(&self.place));
        }
        let mut router = self.shared.router.clone();
        Answering {
            answer: Answer::Coming(tower::Service::call(&mut router, request)),
            under_way,
        }
    }
}

fn too_many_headers(most: usize) -> Refusal {
    let error = ErrorObject::invalid(format!("The request has more than {most} headers."));
    Refusal::new(431, error.with_code("request_header_fields_too_large"))
}

/// An answer on its way.
pub(super) struct Answering {
    answer: Answer,
    under_way: Option<UnderWay>,
}

enum Answer {
    Coming(RouteFuture<Infallible>),
    There(Option<Response>),
}

impl Future for Answering {
    type Output = Result<Response<Counted>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.answer {
            Answer::Coming(coming) => ready!(Pin::new(coming).poll(cx))?,
            Answer::There(answer) => answer.take().unwrap_or_default(),
        };
        let under_way = self.under_way.take();
        let splits = under_way.as_ref().is_some_and(UnderWay::is_shared);
        Poll::Ready(Ok(answer.map(|body| Counted {
            body,
            rest: Bytes::new(),
            splits,
            waited: None,
            under_way,
        })))
    }
}

/// A body whose request is under way until it is dropped.
pub(super) struct Counted {
    body: Body,
    /// What was too much for one piece.
    rest: Bytes,
    /// Whether it is given in pieces.
    splits: bool,
    /// In which turn of the connection there was nothing.
    waited: Option<u32>,
    under_way: Option<UnderWay>,
}

impl Counted {
    /// Keeps what is more than a piece for later.
    fn split(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut data) if data.len() > PIECE => {
                self.rest = data.split_off(PIECE);
                Frame::data(data)
            }
            Ok(data) => Frame::data(data),
            Err(other) => other,
        }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Hyper asks once more after it has written. What had nothing then wakes the connection, and is
        // asked in its next turn.
        let turn = self.under_way.as_ref().and_then(UnderWay::turn);
        if turn.is_some() && turn == self.waited {
            return Poll::Pending;
        }
        let frame = if self.rest.is_empty() {
            Pin::new(&mut self.body).poll_frame(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))))
        };
        let frame = match frame {
            Poll::Ready(Some(Ok(frame))) if self.splits => Poll::Ready(Some(Ok(self.split(frame)))),
            frame => frame,
        };
        SAID.set(match frame.is_pending() {
            true => Said::Waits,
            false => Said::Gives,
        });
        self.waited = turn.filter(|_| frame.is_pending());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest.is_empty() {
            true => self.body.size_hint(),
            false => SizeHint::default(),
        }
    }
}

thread_local! {
    /// What the body that was polled last on this thread said.
    static SAID: Cell<Said> = const { Cell::new(Said::Nothing) };
}

/// What a body said when it was polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// It was not polled.
    Nothing,
    /// It has nothing yet.
    Waits,
    /// Here is something.
    Gives,
}

/// Runs the streams of HTTP/2, each in a task of its own.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    pub(super) write_timeout: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(Watched {
            stream,
            write_timeout: self.write_timeout,
            stall: Stall::NotBegun,
        });
    }
}

pin_project! {
    /// A stream of HTTP/2. Its client may take nothing of it while the connection is well: then the
    /// body is not asked for more, and no write waits.
    struct Watched<F> {
        #[pin]
        stream: F,
        write_timeout: Duration,
        stall: Stall,
    }
}

enum Stall {
    /// There is no body yet.
    NotBegun,
    /// The body waits for its upstream.
    None,
    /// The client does not take what the body gave, and then is given up.
    Until(Pin<Box<Sleep>>),
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        SAID.set(Said::Nothing);
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match (SAID.get(), &this.stall) {
            (Said::Waits, _) => *this.stall = Stall::None,
            (Said::Nothing, Stall::NotBegun | Stall::Until(_)) => {}
            // What was given last is still not taken, or more was given.
            (Said::Nothing, Stall::None) | (Said::Gives, _) => {
                *this.stall = Stall::Until(Box::pin(tokio::time::sleep(*this.write_timeout)));
            }
        }
        if let Stall::Until(end) = this.stall {
            ready!(end.as_mut().poll(cx));
            tracing::info!(
                limit_ms = crate::upstream::millis(*this.write_timeout),
                "a client took nothing of its answer for too long: its stream is closed"
            );
            // What is dropped is reset.
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::server::accept::places::Places;

    /// A stream that gives, and whose client then takes nothing.
    struct Stuck {
        gave: bool,
        dropped: Arc<AtomicBool>,
    }

    impl Future for Stuck {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if !self.gave {
                self.gave = true;
                SAID.set(Said::Gives);
            }
            Poll::Pending
        }
    }

    impl Drop for Stuck {
        fn drop(&mut self) {
            self.dropped.store(true, Ordering::SeqCst);
        }
    }

    /// A stream without a body yet, or one whose body waits.
    struct Waiting(Said);

    impl Future for Waiting {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            SAID.set(self.0);
            Poll::Pending
        }
    }

    fn watched<F>(stream: F) -> Watched<F> {
        Watched {
            stream,
            write_timeout: Duration::from_millis(50),
            stall: Stall::NotBegun,
        }
    }

    /// A body that has nothing, and counts how often it is asked.
    struct Empty(Arc<AtomicUsize>);

    impl HttpBody for Empty {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Poll::Pending
        }
    }

    #[test]
    fn a_body_without_anything_is_asked_once_in_a_turn() {
        let place = Places::new(1, Duration::from_secs(1)).try_take().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let mut body = Counted {
            body: Body::new(Empty(Arc::clone(&asked))),
            rest: Bytes::new(),
            splits: false,
            waited: None,
            under_way: Some(place.begin()),
        };
        let mut ask = |times| {
            let cx = &mut Context::from_waker(std::task::Waker::noop());
            assert!(Pin::new(&mut body).poll_frame(cx).is_pending());
            assert!(Pin::new(&mut body).poll_frame(cx).is_pending());
            assert_eq!(asked.load(Ordering::SeqCst), times);
        };
        ask(1);
        place.take_turn();
        ask(2);
        // Over HTTP/2 the connection's turns are not the stream's.
        place.share();
        ask(4);
    }

    #[tokio::test]
    async fn a_stream_that_nobody_takes_ends() {
        let dropped = Arc::new(AtomicBool::new(false));
        let stuck = watched(Stuck {
            gave: false,
            dropped: Arc::clone(&dropped),
        });
        let ended = tokio::time::timeout(Duration::from_secs(10), stuck).await;
        assert!(ended.is_ok());
        assert!(dropped.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_stream_that_waits_for_its_upstream_goes_on() {
        for said in [Said::Nothing, Said::Waits] {
            let waiting = watched(Waiting(said));
            let ended = tokio::time::timeout(Duration::from_millis(200), waiting).await;
            assert!(ended.is_err(), "{said:?}");
        }
    }
}
