//! The WebSocket form of the API: many responses over one connection.
//!
//! A client sends `response.create`; each event of the answer goes back as a text message. Requests
//! that name a `stream_id` run in lanes of their own: one after the other within a lane, side by side
//! with other lanes. The connection remembers the latest response of each lane, so that the next one
//! can continue it whether it is stored or not.

mod lane;
mod message;

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{AppState, Tenancy, body};
use crate::engine::{Caller, Lane, Session, shutting_down};
use crate::responses::ErrorObject;
use crate::time::Instant;
use crate::upstream::Refusal;
use lane::Worker;
use message::{Asked, Incoming};

/// How many lanes with a name a connection has at most.
const MAX_LANES: usize = 32;
/// How many responses a connection has under way at most, those that wait in their lane included.
const MAX_UNDER_WAY: usize = 16;
/// How many messages wait for a client that reads slowly, before its upstreams have to wait too.
const OUTBOX: usize = 16;
/// How long a connection lives. The client is told to make another one.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
/// How often a client is asked whether it is still there, and how long it may say nothing.
const PING: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(120);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often it is looked whether a connection may be closed, once the process is to end.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// All connections of the process.
#[derive(Debug, Clone)]
pub(super) struct Sockets {
    /// Those that are open.
    pub(super) open: TaskTracker,
    /// How many more there may be.
    pub(super) free: Arc<Semaphore>,
}

impl Sockets {
    pub(super) fn new(most: usize) -> Self {
        Self {
            open: TaskTracker::new(),
            free: Arc::new(Semaphore::new(most)),
        }
    }
}

/// One connection.
pub(super) struct Connection {
    state: AppState,
    caller: Caller,
    session: Arc<Session>,
    lanes: HashMap<String, mpsc::Sender<Asked>>,
    under_way: Arc<Semaphore>,
    outbox: mpsc::Sender<String>,
    /// What is under way; dropped with the connection, and the upstreams' connections with it.
    workers: TaskTracker,
    gone: CancellationToken,
    /// Its place among all connections, which it may have to give up while it asks nothing.
    tenancy: Option<Tenancy>,
}

/// Why a connection ends.
enum End {
    /// The client left, or does not answer any more.
    Gone,
    /// The process is to end.
    Draining,
    /// Its place is needed.
    Evicted,
    /// It has lived for long enough.
    Old,
    /// The client does not keep to the protocol, or to the limits.
    Broken(String),
}

/// Sends a message; false if the client takes none any more.
async fn say(socket: &mut WebSocket, message: Message) -> bool {
    let sent = tokio::time::timeout(SILENCE, socket.send(message)).await;
    matches!(sent, Ok(Ok(())))
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    socket: WebSocket,
    state: AppState,
    caller: Caller,
    tenancy: Option<Tenancy>,
) {
    let (outbox, events) = mpsc::channel(OUTBOX);
    let connection = Connection {
        state,
        caller,
        session: Arc::default(),
        lanes: HashMap::new(),
        under_way: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
        outbox,
        workers: TaskTracker::new(),
        gone: CancellationToken::new(),
        tenancy,
    };
    connection.run(socket, events).await;
}

impl Connection {
    async fn run(mut self, mut socket: WebSocket, mut events: mpsc::Receiver<String>) {
        tracing::debug!("a WebSocket is open");
        let born = Instant::now();
        let mut heard = born;
        let mut ping = tokio::time::interval(PING);
        let end = loop {
            let drained = self.state.draining.is_cancelled() && self.is_idle();
            if drained && events.is_empty() {
                break End::Draining;
            }
            let evicted = poll_fn(|cx| match &mut self.tenancy {
                Some(tenancy) => tenancy.poll_end(cx),
                None => Poll::Pending,
            });
            tokio::select! {
                () = evicted => break End::Evicted,
                event = events.recv() => {
                    let Some(event) = event else { break End::Gone };
                    if !say(&mut socket, Message::text(event)).await {
                        break End::Gone;
                    }
                }
                message = socket.recv() => {
                    heard = Instant::now();
                    let answer = match message {
                        Some(Ok(Message::Text(text))) => self.take(&text),
                        Some(Ok(Message::Binary(_))) => {
                            let error = ErrorObject::invalid("Messages must be text.");
                            Some(message::refusal(&Refusal::bad_request(error), None))
                        }
                        // Pings are answered below us.
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => None,
                        Some(Err(error)) => break End::Broken(error.to_string()),
                        Some(Ok(Message::Close(_))) | None => break End::Gone,
                    };
                    if let Some(answer) = answer
                        && !say(&mut socket, Message::text(answer)).await
                    {
                        break End::Gone;
                    }
                }
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE {
                        break End::Gone;
                    }
                    if born.elapsed() > MAX_AGE && self.is_idle() {
                        break End::Old;
                    }
                    if !say(&mut socket, Message::Ping(Default::default())).await {
                        break End::Gone;
                    }
                }
                // From then on, whether all is said is looked at again and again.
                () = self.state.draining.cancelled(), if !self.state.draining.is_cancelled() => {}
                () = tokio::time::sleep(DRAIN_LOOK), if self.state.draining.is_cancelled() => {}
            }
        };
        self.gone.cancel();
        self.close(socket, &end).await;
    }

    /// Says goodbye. Who is gone does not hear it.
    async fn close(&self, mut socket: WebSocket, end: &End) {
        let (code, reason) = match end {
            End::Gone => return,
            // All that is left of the error's type here is its words.
            End::Broken(why) if why.contains("too long") || why.contains("too big") => {
                (close_code::SIZE, "the message is too large")
            }
            End::Broken(why) => {
                tracing::debug!(error = %why, "a connection is broken");
                (close_code::PROTOCOL, "that is not understood")
            }
            End::Draining => (close_code::AWAY, "the server is about to end"),
            End::Evicted => (close_code::AGAIN, "the place is needed; connect again"),
            End::Old => {
                let minutes = MAX_AGE.as_secs() / 60;
                let error = ErrorObject::invalid(format!(
                    "Responses websocket connection limit reached ({minutes} minutes). Create a new websocket connection to continue."
                ));
                let error = error.with_code("websocket_connection_limit_reached");
                let answer = message::refusal(&Refusal::bad_request(error), None);
                let _ = socket.send(Message::text(answer)).await;
                (close_code::NORMAL, "the connection is old")
            }
        };
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let goodbye = async {
            let _ = socket.send(Message::Close(Some(frame))).await;
            // What the client still sends is read until it says goodbye too: a connection that is
            // closed with something unread takes the goodbye along.
            while let Some(Ok(_)) = socket.recv().await {}
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    fn is_idle(&self) -> bool {
        self.under_way.available_permits() == MAX_UNDER_WAY
    }

    /// Takes a message; what is to be said at once, if anything.
    fn take(&mut self, text: &str) -> Option<String> {
        match message::read(text) {
            Ok(Incoming::Create(mut asked)) => {
                let lane = asked.lane.clone();
                let taken = self.keep(text).and_then(|body| {
                    asked.body = body;
                    self.hand_over(asked)
                });
                let refused = taken.err()?;
                Some(message::refusal(&refused, lane.as_deref()))
            }
            Ok(Incoming::Other(answer)) => Some(answer),
            Err((refusal, lane)) => Some(message::refusal(&refusal, lane.as_deref())),
        }
    }

    /// A message that waits in its lane has room among all requests.
    fn keep(&self, text: &str) -> Result<Bytes, Refusal> {
        let live = self.state.live();
        let mut room = live.admission.room();
        match room.try_grow(text.len()) {
            true => Ok(body::kept(text.as_bytes().to_vec(), room)),
            false => Err(live.admission.no_room()),
        }
    }

    /// Gives a request to its lane.
    fn hand_over(&mut self, mut asked: Asked) -> Result<(), Refusal> {
        if self.state.draining.is_cancelled() {
            return Err(shutting_down());
        }
        let too_many = |what: String| {
            let error = ErrorObject::invalid(what).with_code("websocket_stream_limit_reached");
            Refusal::bad_request(error)
        };
        let permit = Arc::clone(&self.under_way).try_acquire_owned();
        asked.permit = Some(permit.map_err(|_| {
            too_many(format!(
                "At most {MAX_UNDER_WAY} responses can be under way on a connection."
            ))
        })?);
        asked.under_way = self.tenancy.as_ref().map(Tenancy::begin);
        let name = asked.lane.clone().unwrap_or_default();
        if !self.lanes.contains_key(&name) {
            let named = self.lanes.keys().filter(|lane| !lane.is_empty()).count();
            if !name.is_empty() && named >= MAX_LANES {
                return Err(too_many(format!(
                    "A connection can have at most {MAX_LANES} named streams."
                )));
            }
            self.open_lane(name.clone());
        }
        let full = || too_many("Too many requests wait in this stream.".to_owned());
        match self.lanes.get(&name) {
            // There is room for all that may be under way.
            Some(lane) => lane.try_send(asked).map_err(|_| full()),
            None => Err(full()),
        }
    }

    fn open_lane(&mut self, name: String) {
        let (send, asked) = mpsc::channel(MAX_UNDER_WAY);
        let worker = Worker {
            state: self.state.clone(),
            caller: Caller {
                lane: Some(Lane {
                    session: Arc::clone(&self.session),
                    name: name.clone(),
                }),
                ..self.caller.clone()
            },
            name: (!name.is_empty()).then(|| name.clone()),
            outbox: self.outbox.clone(),
        };
        let gone = self.gone.clone();
        self.workers.spawn(async move {
            tokio::select! {
                () = worker.run(asked) => {}
                () = gone.cancelled() => {}
            }
        });
        self.lanes.insert(name, send);
    }
}
