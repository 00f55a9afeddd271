//! A chat server for many streams. The model's name says what it answers: `tick-PIECES-MILLIS` is so many
//! pieces at that pace, each of which says when it was sent; `flood` is as much as is taken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// How much a flood has, in bytes: more than any buffers hold.
const FLOOD: usize = 256 << 20;

pub(super) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    epoch: Instant,
    flooded: AtomicUsize,
    begun: AtomicUsize,
    news: Notify,
}

impl Upstream {
    pub(super) async fn start(epoch: Instant) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            epoch,
            flooded: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            news: Notify::new(),
        });
        let own = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = Arc::clone(&own);
                tokio::spawn(async move { own.serve(stream).await });
            }
        });
        Self { address, shared }
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// How many bytes all floods could send so far.
    pub(super) fn flooded(&self) -> usize {
        self.shared.flooded.load(Ordering::Relaxed)
    }

    /// Waits until so many answers have begun.
    pub(super) async fn has_begun(&self, count: usize) {
        loop {
            let news = self.shared.news.notified();
            if self.shared.begun.load(Ordering::Relaxed) >= count {
                return;
            }
            news.await;
        }
    }
}

impl Shared {
    /// Answers one request after another.
    async fn serve(&self, mut stream: TcpStream) {
        let mut read = Vec::new();
        while let Some((body, is_last)) = request(&mut stream, &mut read).await {
            let model = body.split("\"model\":\"").nth(1).unwrap_or_default();
            let model = model.split('"').next().unwrap_or_default().to_owned();
            // Who is left says no more.
            if self.answer(&mut stream, &model).await.is_err() || is_last {
                return;
            }
        }
    }

    async fn answer(&self, stream: &mut TcpStream, model: &str) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.news.notify_waiters();
        let mut words = model.split('-');
        match (words.next(), words.next(), words.next()) {
            (Some("tick"), Some(pieces), Some(millis)) => {
                let pause = Duration::from_millis(millis.parse().expect("milliseconds"));
                let mut ticks = tokio::time::interval(pause);
                for _ in 0..pieces.parse().expect("a number") {
                    ticks.tick().await;
                    let stamp = self.epoch.elapsed().as_micros();
                    piece(stream, &delta(&format!("{stamp} "))).await?;
                }
            }
            _ => {
                let text = delta(&"x".repeat(16 * 1024));
                for _ in 0..FLOOD / text.len() {
                    piece(stream, &text).await?;
                    self.flooded.fetch_add(text.len(), Ordering::Relaxed);
                }
            }
        }
        let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let usage =
            r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}"#;
        piece(stream, end).await?;
        piece(stream, usage).await?;
        piece(stream, "[DONE]").await?;
        stream.write_all(b"0\r\n\r\n").await
    }
}

fn delta(text: &str) -> String {
    format!(
        r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#
    )
}

async fn piece(stream: &mut TcpStream, data: &str) -> std::io::Result<()> {
    let event = format!("data: {data}\n\n");
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    stream.write_all(chunk.as_bytes()).await
}

/// Reads a request: its body, and whether it is to be the last one; nothing at the connection's end.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, bool)> {
    loop {
        if let Some(at) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..at]).to_ascii_lowercase();
            let length = head.split("content-length:").nth(1);
            let length = length.and_then(|rest| rest.split("\r\n").next());
            let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
            if read.len() >= at + 4 + length {
                let body = String::from_utf8_lossy(&read[at + 4..at + 4 + length]).into_owned();
                read.drain(..at + 4 + length);
                return Some((body, head.contains("connection: close")));
            }
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(count) if count > 0 => read.extend_from_slice(&bytes[..count]),
            _ => return None,
        }
    }
}
