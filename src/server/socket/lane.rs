//! One lane of a connection: its requests, one after the other.

use std::pin::pin;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::message::{self, Asked};
use crate::admission::{Permit, Work};
use crate::engine::{Caller, Reply};
use crate::ids::new_id;
use crate::server::AppState;
use crate::sse::Decoder;
use crate::telemetry::trace;
use crate::upstream::Refusal;

/// Works off the requests of a lane.
pub(super) struct Worker {
    pub(super) state: AppState,
    pub(super) caller: Caller,
    pub(super) name: Option<String>,
    pub(super) outbox: mpsc::Sender<String>,
}

impl Worker {
    /// Works until the connection is gone.
    pub(super) async fn run(self, mut asked: mpsc::Receiver<Asked>) {
        while let Some(asked) = asked.recv().await {
            let trace = trace::of_work("response.create", &self.caller.trace);
            let id = format!("req_{}", new_id());
            let trace_id = trace::trace_id(&trace);
            let key = self.caller.key.as_deref().map(|key| key.name.as_str());
            let span = tracing::error_span!(parent: trace.id(), "request", %id, trace_id, key);
            let Some(()) = self.answer(asked).instrument(span).await else {
                return;
            };
        }
    }

    /// Answers one request; `None` if nobody listens any more.
    async fn answer(&self, asked: Asked) -> Option<()> {
        let Asked {
            body,
            previous,
            permit,
            under_way,
            ..
        } = asked;
        let id = new_id();
        let went_well = match self.create(body, &id).await {
            Ok((reply, _permit)) => match reply {
                Reply::Passed(stream) => self.tell(Body::new(stream)).await?,
                Reply::Stream(stream) => self.tell(Body::new(stream)).await?,
                Reply::Follow(follow) => self.tell(Body::new(follow)).await?,
                // Over a socket all is streamed.
                Reply::Whole(_) => true,
            },
            Err(refusal) => {
                self.refuse(&refusal).await?;
                false
            }
        };
        if let (false, Some(previous), Some(lane)) = (went_well, previous, &self.caller.lane) {
            lane.forget(&previous);
        }
        drop((permit, under_way));
        Some(())
    }

    /// Lets a request in, and asks.
    async fn create(&self, body: Bytes, id: &str) -> Result<(Reply, Arc<Permit>), Refusal> {
        let live = self.state.live();
        let key = live.admission.know_again(self.caller.key.as_deref())?;
        let admission = Arc::clone(&live.admission);
        let permit = Arc::new(admission.enter(key.clone(), Work::Ask).await?);
        let caller = Caller {
            key,
            permit: Some(Arc::clone(&permit)),
            ..self.caller.clone()
        };
        Ok((live.engine.create(body, id, &caller).await?, permit))
    }

    /// Sends each event as a message; says whether the response came to a good end.
    async fn tell(&self, body: Body) -> Option<bool> {
        let mut body = pin!(body);
        let mut decoder = Decoder::new(usize::MAX);
        let mut went_well = false;
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            let mut events = Vec::new();
            // What we wrote ourselves is never too long.
            let _ = decoder.push(&bytes, |data| {
                if data != b"[DONE]" {
                    events.push(message::event(data, self.name.as_deref()));
                }
            });
            for event in events {
                went_well = event.starts_with("{\"type\":\"response.completed\"")
                    || event.starts_with("{\"type\":\"response.incomplete\"");
                self.outbox.send(event).await.ok()?;
            }
        }
        Some(went_well)
    }

    async fn refuse(&self, refusal: &Refusal) -> Option<()> {
        let event = message::refusal(refusal, self.name.as_deref());
        self.outbox.send(event).await.ok()
    }
}
