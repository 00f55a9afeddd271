//! Clients of streams: most listen, some are slow.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// How late each piece was, in microseconds.
    pub(super) late: Vec<u32>,
    /// The stream came to its good end.
    completed: bool,
    /// Why not, if it did not.
    error: String,
    /// The last bytes that came.
    last: String,
}

impl Heard {
    pub(super) fn is_whole(&self, pieces: usize) -> bool {
        self.completed && self.late.len() == pieces
    }
}

/// What stands before the stamp of a piece: in our events, and in those of a chat.
const MARKS: [&[u8]; 2] = [b"\"delta\":\"", b"\"content\":\""];
/// What says that all was said.
const ENDS: [&[u8]; 2] = [b"event: response.completed\n", b"data: [DONE]\n"];

/// Reads a stream to its end.
pub(super) async fn listen(address: &str, model: &str, epoch: Instant) -> Heard {
    let mut heard = Heard::default();
    if let Err(error) = read(address, model, epoch, &mut heard).await {
        heard.error = error.to_string();
    }
    heard
}

async fn read(
    address: &str,
    model: &str,
    epoch: Instant,
    heard: &mut Heard,
) -> std::io::Result<()> {
    let mut stream = ask(address, model).await?;
    let (mut rest, mut bytes) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let count = stream.read(&mut bytes).await?;
        let now = epoch.elapsed().as_micros();
        if count == 0 {
            return Ok(());
        }
        rest.extend_from_slice(&bytes[..count]);
        let mut taken = 0;
        while let Some(end) = position(&rest[taken..], b"\n\n") {
            let event = &rest[taken..taken + end + 1];
            if let Some(stamp) = stamp(event) {
                let late = now.saturating_sub(stamp);
                heard.late.push(u32::try_from(late).unwrap_or(u32::MAX));
            }
            heard.completed |= ENDS.iter().any(|mark| position(event, mark).is_some());
            heard.last = String::from_utf8_lossy(&event[..event.len().min(300)]).into_owned();
            taken += end + 2;
        }
        rest.drain(..taken);
    }
}

/// The moment at which a piece was sent; nothing if this event is none.
fn stamp(event: &[u8]) -> Option<u128> {
    let found = MARKS.iter().find_map(|mark| {
        let at = position(event, mark)?;
        event.get(at + mark.len()..)
    });
    let digits: Vec<u8> = found?
        .iter()
        .copied()
        .take_while(u8::is_ascii_digit)
        .collect();
    String::from_utf8(digits).ok()?.parse().ok()
}

fn position(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, mark)
}

/// Asks for a flood, and reads it slowly, or not at all.
pub(super) async fn dawdle(address: &str, never: bool) {
    let Ok(mut stream) = ask(address, "flood").await else {
        return;
    };
    let mut bytes = [0; 256];
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !never && !matches!(stream.read(&mut bytes).await, Ok(count) if count > 0) {
            return;
        }
    }
}

async fn ask(address: &str, model: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let body = format!(r#"{{"model":"{model}","input":"x","stream":true}}"#);
    // The same words for the proxy and for the upstream itself, which reads the body alone.
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    Ok(stream)
}
