//! A chat server that says what it is told to, byte by byte, and remembers what it was asked.
//!
//! It speaks HTTP by hand, so that it can also do what no proper server does: be silent, stop in the
//! middle, hang up.

#![expect(
    clippy::needless_pass_by_value,
    reason = "JSON is written where it is handed over"
)]

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long the tests wait for something that ought to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// One answer, step by step.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    wait: Duration,
    status: u16,
    headers: Vec<(String, String)>,
    steps: Vec<Step>,
    end: End,
}

#[derive(Debug, Clone)]
enum Step {
    Send(Vec<u8>),
    Rest(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// As it should.
    Whole,
    /// The connection is closed before the body's end.
    Cut,
    /// Nothing more comes, and the connection stays open until the client closes it.
    Silent,
}

impl Reply {
    /// An answer without a body yet.
    pub(crate) fn new(status: u16, content_type: &str) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self {
            wait: Duration::ZERO,
            status,
            headers,
            steps: Vec::new(),
            end: End::Whole,
        }
    }

    /// A JSON document.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json").bytes(body.to_string())
    }

    /// None at all: the connection is closed instead.
    pub(crate) fn none() -> Self {
        Self::new(0, "").cut()
    }

    /// An error as `OpenAI` shapes it.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::json(
            status,
            &json!({"error": {"message": message, "type": "t", "param": null, "code": null}}),
        )
    }

    /// The beginning of an event stream, with no `[DONE]`.
    pub(crate) fn chunks(chunks: &[Value]) -> Self {
        chunks
            .iter()
            .fold(Self::new(200, "text/event-stream"), Self::chunk)
    }

    /// A whole event stream.
    pub(crate) fn stream(chunks: &[Value]) -> Self {
        Self::chunks(chunks).bytes("data: [DONE]\n\n")
    }

    /// Adds one chunk.
    pub(crate) fn chunk(self, chunk: &Value) -> Self {
        self.bytes(format!("data: {chunk}\n\n"))
    }

    /// Adds bytes, which are sent in one piece.
    pub(crate) fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Send(bytes.into()));
        self
    }

    /// Adds a rest.
    pub(crate) fn rest(mut self, milliseconds: u64) -> Self {
        self.steps
            .push(Step::Rest(Duration::from_millis(milliseconds)));
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits before the status line.
    pub(crate) fn after(mut self, milliseconds: u64) -> Self {
        self.wait = Duration::from_millis(milliseconds);
        self
    }

    /// Hangs up at the end, in the middle of the body.
    pub(crate) fn cut(mut self) -> Self {
        self.end = End::Cut;
        self
    }

    /// Says nothing more at the end, and does not hang up either.
    pub(crate) fn silent(mut self) -> Self {
        self.end = End::Silent;
        self
    }
}

/// A chunk with more of the answer.
pub(crate) fn delta(delta: Value) -> Value {
    chunk(delta, Value::Null)
}

/// A chunk with more text.
pub(crate) fn text(text: &str) -> Value {
    delta(json!({"content": text}))
}

/// A chunk with a piece of a call; the first one has an id and a name.
pub(crate) fn call(index: usize, first: Option<(&str, &str)>, arguments: &str) -> Value {
    let mut call = json!({"index": index, "function": {"arguments": arguments}});
    if let Some((id, name)) = first {
        call["id"] = id.into();
        call["type"] = "function".into();
        call["function"]["name"] = name.into();
    }
    delta(json!({"tool_calls": [call]}))
}

/// The chunk that says why the answer ends.
pub(crate) fn finish(reason: &str) -> Value {
    chunk(json!({}), reason.into())
}

/// The chunk with the token counts.
pub(crate) fn usage(prompt: u64, completion: u64) -> Value {
    let mut chunk = chunk(json!({}), Value::Null);
    chunk["choices"] = json!([]);
    chunk["usage"] = counts(prompt, completion);
    chunk
}

/// A whole answer that is not streamed.
pub(crate) fn completion(message: Value, reason: &str) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": counts(9, 4),
    })
}

fn counts(prompt: u64, completion: u64) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

fn chunk(delta: Value, reason: Value) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
    })
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    /// Null where there was no body, or one that cannot be read.
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) bytes: Vec<u8>,
    /// When it began to come.
    pub(crate) at: Instant,
}

impl Received {
    /// The first header of this name, given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A running chat server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// What answers a chat request by looking at its body.
#[derive(Clone)]
struct Script(Arc<dyn Fn(&Value) -> Reply + Send + Sync>);

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

#[derive(Debug, Default)]
struct State {
    /// What is answered to chat requests, one after another; the last one stays.
    replies: VecDeque<Reply>,
    /// Answers chat requests in their place.
    script: Option<Script>,
    models: Option<Reply>,
    received: Vec<Received>,
    /// Clients that closed their connection before the answer was whole.
    left: usize,
    /// Bytes of answers that were taken.
    sent: usize,
    over: bool,
}

impl Upstream {
    /// A server that gives these answers to chat requests, one after another, the last one for ever;
    /// it has no list of models.
    pub(crate) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::<Shared>::default();
        shared.lock().replies.extend(replies);
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if own.lock().over {
                    return;
                }
                let own = Arc::clone(&own);
                thread::spawn(move || own.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// A server that looks at each chat request to answer it; it has no list of models.
    pub(crate) fn by(script: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        let upstream = Self::new([]);
        upstream.shared.lock().script = Some(Script(Arc::new(script)));
        upstream
    }

    /// A server that streams one answer: that text.
    pub(crate) fn saying(words: &str) -> Self {
        Self::new([Reply::stream(&[text(words), finish("stop"), usage(9, 4)])])
    }

    /// Answers `GET /models` with this, from now on.
    pub(crate) fn models(self, reply: Reply) -> Self {
        self.shared.lock().models = Some(reply);
        self
    }

    /// Where its API is.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    /// The chat requests so far.
    pub(crate) fn asked(&self) -> Vec<Value> {
        let received = self.received().into_iter();
        let asked = received.filter(|request| request.method == "POST");
        asked.map(|request| request.body).collect()
    }

    /// Waits until it was asked for so many answers.
    pub(crate) fn wait_until_asked(&self, times: usize) {
        let is_question = |request: &&Received| request.method == "POST";
        self.wait_until("a request came", |state| {
            state.received.iter().filter(is_question).count() >= times
        });
    }

    /// Waits until that many clients have closed their connection before the answer was whole.
    pub(crate) fn wait_until_left(&self, clients: usize) {
        self.wait_until("the client left", |state| state.left >= clients);
    }

    /// How many bytes of its answers were taken so far.
    pub(crate) fn sent(&self) -> usize {
        self.shared.lock().sent
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let waited =
            self.shared
                .changed
                .wait_timeout_while(self.shared.lock(), PATIENCE, |state| !holds(state));
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "waited in vain until {what}: {:#?}",
            state.received
        );
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        // Wakes the listener, so that it sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection, one request: what is to be said about it is said by closing it.
    fn serve(&self, stream: TcpStream) {
        let Some(request) = read(&stream) else {
            return;
        };
        let mut state = self.lock();
        let reply = match (request.method.as_str(), &state.script) {
            ("POST", Some(script)) => Some(script.0(&request.body)),
            ("POST", None) if state.replies.len() > 1 => state.replies.pop_front(),
            ("POST", None) => state.replies.front().cloned(),
            _ => state.models.clone(),
        };
        state.received.push(request);
        drop(state);
        self.changed.notify_all();
        let reply = reply.unwrap_or_else(|| Reply::error(404, "there is nothing here"));
        let sent = |bytes| self.lock().sent += bytes;
        if answer(&stream, &reply, sent).is_err() {
            self.lock().left += 1;
            self.changed.notify_all();
        }
    }
}

/// Reads a request; nothing if the connection is closed before it is whole.
fn read(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let at = Instant::now();
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Received {
        method,
        path,
        headers,
        body: Value::Null,
        bytes: Vec::new(),
        at,
    };
    let length = request
        .header("content-length")
        .map_or(Ok(0), str::parse)
        .ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if !body.is_empty() {
        // What is nested too deeply to be read stays a null.
        request.body = serde_json::from_slice(&body).unwrap_or_default();
    }
    request.bytes = body;
    Some(request)
}

/// Gives the answer; fails if the client is gone before the end.
fn answer(mut stream: &TcpStream, reply: &Reply, sent: impl Fn(usize)) -> io::Result<()> {
    rest(stream, reply.wait)?;
    if reply.status == 0 {
        return stream.shutdown(Shutdown::Both);
    }
    let mut head = format!(
        "HTTP/1.1 {} Scripted\r\nconnection: close\r\ntransfer-encoding: chunked\r\n",
        reply.status
    );
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.set_nodelay(true)?;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    for step in &reply.steps {
        match step {
            Step::Rest(time) => rest(stream, *time)?,
            Step::Send(bytes) => {
                let mut piece = format!("{:x}\r\n", bytes.len()).into_bytes();
                piece.extend_from_slice(bytes);
                piece.extend_from_slice(b"\r\n");
                stream.write_all(&piece)?;
                sent(bytes.len());
            }
        }
    }
    match reply.end {
        End::Whole => stream.write_all(b"0\r\n\r\n"),
        End::Cut => stream.shutdown(Shutdown::Both),
        End::Silent => rest(stream, PATIENCE),
    }
}

/// Does nothing for a while; fails as soon as the client closes the connection.
fn rest(mut stream: &TcpStream, time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut [0; 64]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return Err(error);
            }
            // Time is up, or something came that nobody asked for.
            _ => {}
        }
    }
}
