//! The upstream: answers are rendered beforehand, and each event is a write of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

use crate::load::now_stamp;
use crate::script::{SCRIPTS, STAMP, Script};

/// A rendered answer.
struct Answer {
    pause: Duration,
    /// Events as chunks of HTTP.
    events: Vec<Vec<u8>>,
    /// All of it in one piece.
    whole: String,
}

type Answers = Rc<HashMap<(bool, &'static str), Answer>>;

/// Begins to answer; a current-thread runtime is taken for granted.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let render = |script: &Script, finished: bool| Answer {
        pause: script.pause,
        events: chunks(if finished {
            script.events()
        } else {
            script.chat()
        }),
        whole: if finished {
            script.whole()
        } else {
            script.completion()
        },
    };
    std::thread::spawn(move || {
        let answers: Answers = Rc::new(
            SCRIPTS
                .iter()
                .flat_map(|script| {
                    [false, true].map(|done| ((done, script.model), render(script, done)))
                })
                .collect(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let listener = listener.into_std().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime.unwrap(), async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of descriptors for a moment.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                tokio::task::spawn_local(serve(stream, Rc::clone(&answers)));
            }
        });
    });
    address
}

fn chunks(events: Vec<String>) -> Vec<Vec<u8>> {
    let chunk = |event: String| format!("{:x}\r\n{event}\r\n", event.len()).into_bytes();
    events.into_iter().map(chunk).collect()
}

/// Serves a connection until the client leaves.
async fn serve(mut stream: TcpStream, answers: Answers) {
    stream.set_nodelay(true).unwrap();
    let mut read = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut read).await {
        let model = between(&body, "\"model\":\"", "\"").unwrap_or_default();
        let finished = head.contains("/responses");
        let answer = answers
            .iter()
            .find(|((done, name), _)| *done == finished && *name == model);
        let sent = match answer {
            Some((_, answer)) if body.contains("\"stream\":true") => {
                play(&mut stream, answer).await
            }
            Some((_, answer)) => say(&mut stream, "200 OK", &answer.whole).await,
            None => say(&mut stream, "404 Not Found", "{}").await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn say(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await
}

async fn play(stream: &mut TcpStream, answer: &Answer) -> std::io::Result<()> {
    const HEAD: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(HEAD).await?;
    let begun = Instant::now();
    let mut deltas = 0;
    for event in &answer.events {
        if is_delta(event) && !answer.pause.is_zero() {
            sleep_until(begun + answer.pause * deltas).await;
            deltas += 1;
        }
        match find(event, &[b'@'; STAMP]) {
            Some(at) => {
                let mut event = event.clone();
                event[at..at + STAMP].copy_from_slice(now_stamp().as_bytes());
                stream.write_all(&event).await?;
            }
            None => stream.write_all(event).await?,
        }
        // Others' turn, as if each token had taken its time.
        tokio::task::yield_now().await;
    }
    stream.write_all(b"0\r\n\r\n").await
}

fn is_delta(event: &[u8]) -> bool {
    const MARKS: [&[u8]; 3] = [b"{\"content\":\"", b"{\"tool_calls\"", b".delta\n"];
    let is_first = find(event, b"\"role\"").is_some();
    !is_first && MARKS.iter().any(|mark| find(event, mark).is_some())
}

/// Reads a request: its head and its body.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, String)> {
    let head_end = loop {
        if let Some(at) = find(read, b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, read).await?;
    };
    let head = String::from_utf8_lossy(&read[..head_end]).to_lowercase();
    let length: usize = between(&head, "content-length: ", "\r\n")?.parse().ok()?;
    while read.len() < head_end + length {
        more(stream, read).await?;
    }
    let body = String::from_utf8_lossy(&read[head_end..head_end + length]).into_owned();
    read.drain(..head_end + length);
    Some((head, body))
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    read.reserve(64 * 1024);
    let count = stream.read_buf(read).await.ok()?;
    (count > 0).then_some(())
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}
