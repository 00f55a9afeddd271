//! The HTTP side of the demo: `/v1/models` and `/v1/chat/completions`, the way a server that keeps
//! to the API does it. Every quirk is left out on purpose; those belong to the profiles.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_core::Stream;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep};

use super::script::{Step, script};
use super::{MODEL, Pace};

/// Requests with images in them are larger than axum's default of 2 MB.
const LARGEST_BODY: usize = 64 << 20;

/// How many characters of a call's arguments one chunk holds.
const ARGUMENTS_PER_CHUNK: usize = 12;

/// Numbers completions and calls, so that no two share an id.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// The demo server's routes.
pub(super) fn router(pace: Pace) -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(completions))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(pace)
}

async fn models() -> Response {
    reply(
        StatusCode::OK,
        &json!({
            "object": "list",
            "data": [{
                "id": MODEL,
                "object": "model",
                "created": 0,
                "owned_by": "antiphon",
                "max_model_len": 131_072,
            }],
        }),
    )
}

async fn completions(State(pace): State<Pace>, body: Bytes) -> Response {
    let request: Value = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return bad_request(&format!("the body is not JSON: {error}")),
    };
    if !request.get("messages").is_some_and(Value::is_array) {
        return bad_request("`messages` must be an array");
    }
    let answer = Answer::new(&request);
    if request.get("stream").and_then(Value::as_bool) != Some(true) {
        return reply(StatusCode::OK, &answer.whole());
    }
    let pause = pace.between_chunks;
    let stream = Paced {
        frames: answer.frames(),
        sleep: (!pause.is_zero()).then(|| Box::pin(sleep(Duration::ZERO))),
        pace,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(stream)).into_response()
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "the demo has no such endpoint")
}

fn bad_request(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, message)
}

fn error(status: StatusCode, message: &str) -> Response {
    let error = json!({
        "message": message,
        "type": "invalid_request_error",
        "param": null,
        "code": null,
    });
    reply(status, &json!({ "error": error }))
}

fn reply(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (status, headers, body.to_string()).into_response()
}

/// One answer, in the two forms the API has for it.
struct Answer {
    serial: u64,
    created: u64,
    model: Value,
    steps: Vec<Step>,
    usage: Value,
    stream_usage: bool,
}

impl Answer {
    fn new(request: &Value) -> Self {
        let steps = script(request);
        let stream_usage = request.pointer("/stream_options/include_usage");
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            created: now.map_or(0, |now| now.as_secs()),
            model: request
                .get("model")
                .cloned()
                .unwrap_or_else(|| json!(MODEL)),
            usage: usage(request, &steps),
            stream_usage: stream_usage.and_then(Value::as_bool) == Some(true),
            steps,
        }
    }

    fn id(&self) -> String {
        format!("chatcmpl-demo-{}", self.serial)
    }

    fn call_id(&self) -> String {
        format!("call_demo_{}", self.serial)
    }

    fn finish_reason(&self) -> &'static str {
        match self.steps.last() {
            Some(Step::Call { .. }) => "tool_calls",
            _ => "stop",
        }
    }

    /// The blocking form.
    fn whole(&self) -> Value {
        let mut message = json!({ "role": "assistant", "content": null });
        for step in &self.steps {
            match step {
                Step::Think(text) => message["reasoning_content"] = json!(text),
                Step::Say(text) => message["content"] = json!(text),
                Step::Call { name, arguments } => {
                    message["tool_calls"] = json!([{
                        "id": self.call_id(),
                        "type": "function",
                        "function": { "name": name, "arguments": arguments },
                    }]);
                }
            }
        }
        json!({
            "id": self.id(),
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": message,
                "logprobs": null,
                "finish_reason": self.finish_reason(),
            }],
            "usage": self.usage,
        })
    }

    /// The streamed form: one SSE frame for each chunk, and the closing one.
    fn frames(&self) -> VecDeque<Bytes> {
        let mut deltas = vec![json!({ "role": "assistant", "content": "" })];
        for step in &self.steps {
            match step {
                Step::Think(text) => deltas.extend(words(text, "reasoning_content")),
                Step::Say(text) => deltas.extend(words(text, "content")),
                Step::Call { name, arguments } => {
                    let call = |call: Value| json!({ "tool_calls": [call] });
                    deltas.push(call(json!({
                        "index": 0,
                        "id": self.call_id(),
                        "type": "function",
                        "function": { "name": name, "arguments": "" },
                    })));
                    for piece in pieces(arguments, ARGUMENTS_PER_CHUNK) {
                        let function = json!({ "arguments": piece });
                        deltas.push(call(json!({ "index": 0, "function": function })));
                    }
                }
            }
        }
        let choice = |delta: Value, finish: Option<&str>| {
            json!([{
                "index": 0,
                "delta": delta,
                "logprobs": null,
                "finish_reason": finish,
            }])
        };
        let mut frames: VecDeque<Bytes> = deltas
            .into_iter()
            .map(|delta| self.frame(&choice(delta, None), &Value::Null))
            .collect();
        let finish = choice(json!({}), Some(self.finish_reason()));
        frames.push_back(self.frame(&finish, &Value::Null));
        if self.stream_usage {
            frames.push_back(self.frame(&json!([]), &self.usage));
        }
        frames.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
        frames
    }

    fn frame(&self, choices: &Value, usage: &Value) -> Bytes {
        let mut chunk = json!({
            "id": self.id(),
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        });
        if self.stream_usage {
            // The API sends `null` in all chunks but the last when usage was asked for.
            chunk["usage"] = usage.clone();
        }
        Bytes::from(format!("data: {chunk}\n\n"))
    }
}

/// One delta for each word.
fn words(text: &str, field: &str) -> Vec<Value> {
    let words = text.split_inclusive(' ');
    words.map(|word| json!({ field: word })).collect()
}

/// `text` in pieces of `size` characters.
fn pieces(text: &str, size: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters
        .chunks(size)
        .map(|piece| piece.iter().collect())
        .collect()
}

/// Four characters to a token: near enough for a script.
fn usage(request: &Value, steps: &[Step]) -> Value {
    let estimate = |length: usize| length.div_ceil(4);
    let length = |key: &str| request.get(key).map_or(0, |value| value.to_string().len());
    let prompt = estimate(length("messages") + length("tools"));
    let mut reasoning = 0;
    let mut visible = 0;
    for step in steps {
        match step {
            Step::Think(text) => reasoning += estimate(text.len()),
            Step::Say(text) => visible += estimate(text.len()),
            Step::Call { name, arguments } => visible += estimate(name.len() + arguments.len()),
        }
    }
    let completion = reasoning + visible;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": reasoning },
    })
}

/// Frames that arrive one by one. When the client goes away the stream is dropped, and that is all.
struct Paced {
    frames: VecDeque<Bytes>,
    sleep: Option<Pin<Box<Sleep>>>,
    pace: Pace,
}

impl Stream for Paced {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(sleep) = &mut this.sleep {
            ready!(sleep.as_mut().poll(cx));
            sleep
                .as_mut()
                .reset(Instant::now() + this.pace.between_chunks);
        }
        Poll::Ready(this.frames.pop_front().map(Ok))
    }
}
