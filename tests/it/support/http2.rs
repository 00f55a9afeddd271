//! HTTP/2, frame by frame: a client that can also do what no proper one does.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) const DATA: u8 = 0;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

const TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW: u16 = 4;

/// A connection.
#[derive(Debug)]
pub(crate) struct Http2<S> {
    pub(crate) stream: S,
    /// What came on streams whose answers were not asked for yet.
    came: HashMap<u32, Answer>,
    /// The window of each stream, and how much of it was taken and not given back, by stream.
    window: u32,
    owed: HashMap<u32, u32>,
    /// The code of the last goodbye.
    goodbye: Option<u32>,
    /// Whether what came makes room for more.
    pub(crate) takes: bool,
    /// How long it takes for each piece.
    pub(crate) pace: Duration,
}

/// What came on a stream.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) ended: bool,
    /// The code with which it was called off.
    pub(crate) reset: Option<u32>,
}

/// A frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

impl Http2<TcpStream> {
    /// A connection to an address, with the window that each stream begins with.
    pub(crate) fn connect(address: &str, window: u32) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time limit");
        stream.set_nodelay(true).expect("a plain socket");
        Self::over(stream, window)
    }
}

impl<S: Read + Write> Http2<S> {
    /// Begins to speak HTTP/2.
    pub(crate) fn over(stream: S, window: u32) -> Self {
        let mut this = Self {
            stream,
            came: HashMap::new(),
            window,
            owed: HashMap::new(),
            goodbye: None,
            takes: true,
            pace: Duration::ZERO,
        };
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        this.stream.write_all(preface).expect("it is sent");
        // Answers that refer to earlier ones would take more to be read.
        let mut settings = TABLE_SIZE.to_be_bytes().to_vec();
        settings.extend(0_u32.to_be_bytes());
        settings.extend(INITIAL_WINDOW.to_be_bytes());
        settings.extend(window.to_be_bytes());
        this.send(SETTINGS, 0, 0, &settings);
        this
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        self.try_send(kind, flags, id, payload)
            .expect("the frame is sent");
    }

    /// Sends a frame, if the server still listens.
    pub(crate) fn try_send(
        &mut self,
        kind: u8,
        flags: u8,
        id: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let length = u32::try_from(payload.len()).expect("a short frame");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(id.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame)
    }

    /// Asks for something.
    pub(crate) fn get(&mut self, id: u32, path: &str) {
        let head = head("GET", path, &[]);
        self.send(HEADERS, END_HEADERS | END_STREAM, id, &head);
    }

    /// Sends JSON.
    pub(crate) fn post(&mut self, id: u32, path: &str, body: &str) {
        let head = head("POST", path, &[("content-type", "application/json")]);
        self.send(HEADERS, END_HEADERS, id, &head);
        self.send(DATA, END_STREAM, id, body.as_bytes());
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                panic!("the server said nothing for too long")
            }
            Err(_) => return None,
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            id: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
            payload,
        })
    }

    /// Reads one frame, does what every client does with it, and gives it back.
    pub(crate) fn step(&mut self) -> Option<Frame> {
        let frame = self.frame()?;
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                let _ = self.try_send(SETTINGS, ACK, 0, &[]);
            }
            PING if frame.flags & ACK == 0 => {
                let _ = self.try_send(PING, ACK, 0, &frame.payload);
            }
            HEADERS => {
                let answer = self.came.entry(frame.id).or_default();
                answer.status = status(&frame.payload);
                answer.ended |= frame.flags & END_STREAM != 0;
            }
            DATA => {
                let answer = self.came.entry(frame.id).or_default();
                answer.body.extend_from_slice(&frame.payload);
                answer.ended |= frame.flags & END_STREAM != 0;
                let taken = u32::try_from(frame.payload.len()).expect("a short frame");
                std::thread::sleep(self.pace);
                self.take_in(frame.id, taken);
            }
            RST_STREAM => {
                let answer = self.came.entry(frame.id).or_default();
                let code: [u8; 4] = frame.payload[..4].try_into().expect("a code");
                answer.reset = Some(u32::from_be_bytes(code));
                answer.ended = true;
            }
            GOAWAY => {
                let code: [u8; 4] = frame.payload[4..8].try_into().expect("a code");
                self.goodbye = Some(u32::from_be_bytes(code));
            }
            _ => {}
        }
        Some(frame)
    }

    /// Makes room for more once half of a window is gone: less at a time would part all that comes into
    /// ever smaller pieces.
    fn take_in(&mut self, id: u32, taken: u32) {
        if !self.takes {
            return;
        }
        for (id, window) in [(0, 65_535), (id, self.window)] {
            let owed = self.owed.entry(id).or_default();
            *owed += taken;
            if *owed * 2 >= window {
                let room = std::mem::take(owed);
                // The stream may be over.
                let _ = self.try_send(WINDOW_UPDATE, 0, id, &room.to_be_bytes());
            }
        }
    }

    /// Reads until this has come on a stream.
    pub(crate) fn wait_for(&mut self, id: u32, words: &str) {
        loop {
            let body = self.came.get(&id).map(|answer| &answer.body[..]);
            let body = body.unwrap_or_default();
            if String::from_utf8_lossy(body).contains(words) {
                return;
            }
            assert!(self.step().is_some(), "{words} did not come");
        }
    }

    /// Reads the whole answer on a stream.
    pub(crate) fn answer(&mut self, id: u32) -> Answer {
        while !self.has_ended(id) {
            assert!(
                self.step().is_some(),
                "the connection ended before {id} did"
            );
        }
        self.take(id)
    }

    /// Whether all of an answer has come.
    pub(crate) fn has_ended(&self, id: u32) -> bool {
        self.came.get(&id).is_some_and(|answer| answer.ended)
    }

    /// What has come of an answer.
    pub(crate) fn take(&mut self, id: u32) -> Answer {
        self.came.remove(&id).unwrap_or_default()
    }

    /// Reads until the connection ends; returns the code of the last goodbye.
    pub(crate) fn goodbye(&mut self) -> Option<u32> {
        while self.step().is_some() {}
        self.goodbye
    }
}

/// The head of a request: literals that nobody is to remember, which needs no tables.
pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "127.0.0.1"),
        (":path", path),
    ];
    let mut head = Vec::new();
    for (name, value) in pseudo.iter().chain(headers) {
        head.push(0);
        for text in [name, value] {
            number(&mut head, text.len());
            head.extend(text.as_bytes());
        }
    }
    head
}

/// A length, with 7 bits in its first byte.
fn number(out: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        out.push(u8::try_from(length).expect("it is less"));
        return;
    };
    out.push(127);
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).expect("it is less") | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).expect("it is less"));
}

/// The status at the beginning of an answer's head.
fn status(head: &[u8]) -> u16 {
    // The table may be resized first.
    let start = head.iter().position(|byte| byte >> 5 != 1).unwrap_or(0);
    let head = &head[start..];
    match head[0] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        0x08 | 0x48 | 0x18 => digits(head[1] & 128 != 0, &head[2..2 + usize::from(head[1] & 127)]),
        other => panic!("the status is written in an unknown way: {other:#x} in {head:x?}"),
    }
}

/// A number, as it is or in the code that makes it shorter.
fn digits(coded: bool, bytes: &[u8]) -> u16 {
    if !coded {
        let text = std::str::from_utf8(bytes).expect("digits");
        return text.parse().expect("a number");
    }
    let bit = |at: usize| bytes.get(at / 8).map_or(1, |byte| byte >> (7 - at % 8) & 1);
    let (mut number, mut at) = (0, 0);
    while bytes.len() * 8 - at >= 5 {
        let five = (0..5).fold(0, |sum, n| sum << 1 | u16::from(bit(at + n)));
        // 0 to 2 have five bits, 3 to 9 six.
        let (digit, width) = match five {
            0..=2 => (five, 5),
            _ => {
                let six = five << 1 | u16::from(bit(at + 5));
                if !(25..=31).contains(&six) {
                    break;
                }
                (six - 25 + 3, 6)
            }
        };
        number = number * 10 + digit;
        at += width;
    }
    number
}
