//! What hostile clients do, and what they get to see.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SECRET;
use crate::load::client;

/// What one kind of client does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attack {
    /// A head that comes byte by byte.
    SlowHead,
    /// A body that comes byte by byte.
    SlowBody,
    /// An answer that is not read.
    NeverReads,
    /// A head without end.
    LongHead,
    /// Thousands of headers.
    ManyHeaders,
    /// A body that is too long.
    LongBody,
    /// JSON that is nested a million times.
    DeepJson,
    /// A little that is hundreds of MB unpacked.
    GzipBomb,
    ZstdBomb,
    /// A request in which another one hides.
    Smuggled,
    /// A wrong key.
    WrongKey,
    /// Bytes that are no HTTP.
    Noise,
}

/// Made once: to make them takes time that belongs to the polite ones.
static GZIP_BOMB: LazyLock<Vec<u8>> = LazyLock::new(gzip_bomb);
static ZSTD_BOMB: LazyLock<Vec<u8>> = LazyLock::new(zstd_bomb);

/// Makes what takes time.
pub(super) fn prepare() {
    LazyLock::force(&GZIP_BOMB);
    LazyLock::force(&ZSTD_BOMB);
}

/// How connections ended: with a status, or without a word (0).
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<u16, usize>);

impl Seen {
    fn note(&mut self, status: u16) {
        *self.0.entry(status).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (status, count) in &other.0 {
            *self.0.entry(*status).or_default() += count;
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (status, count)) in self.0.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            match status {
                0 => write!(f, "{space}closed×{count}")?,
                status => write!(f, "{space}{status}×{count}")?,
            }
        }
        Ok(())
    }
}

impl Attack {
    pub(super) const ALL: [Self; 12] = [
        Self::SlowHead,
        Self::SlowBody,
        Self::NeverReads,
        Self::LongHead,
        Self::ManyHeaders,
        Self::LongBody,
        Self::DeepJson,
        Self::GzipBomb,
        Self::ZstdBomb,
        Self::Smuggled,
        Self::WrongKey,
        Self::Noise,
    ];

    /// How many clients do it at a time.
    pub(super) fn clients(self) -> usize {
        match self {
            Self::SlowHead | Self::SlowBody => 100,
            Self::NeverReads => 6,
            Self::WrongKey => 20,
            Self::LongHead | Self::ManyHeaders | Self::Noise => 4,
            Self::LongBody | Self::DeepJson | Self::GzipBomb | Self::ZstdBomb => 2,
            Self::Smuggled => 4,
        }
    }

    /// Does it for so long.
    pub(super) async fn go_on(self, host: &str, time: Duration) -> Seen {
        let mut seen = Seen::default();
        let began = Instant::now();
        while began.elapsed() < time {
            let left = time.saturating_sub(began.elapsed());
            // Who is not let go in time leaves.
            match timeout(left, self.once(host)).await {
                Ok(Ok(status)) => seen.note(status),
                Ok(Err(_)) => seen.note(0),
                Err(_) => break,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seen
    }

    /// Does it once; the status that came of it, or 0.
    async fn once(self, host: &str) -> std::io::Result<u16> {
        let known = format!("authorization: Bearer {SECRET}\r\n");
        let request = |headers: &str, body: &[u8]| {
            let mut request = head(host, headers, body.len()).into_bytes();
            request.extend_from_slice(body);
            request
        };
        let bytes = match self {
            Self::SlowHead => return slowly(host, &head(host, &known, 2)).await,
            Self::SlowBody => {
                let mut stream = TcpStream::connect(host).await?;
                stream
                    .write_all(head(host, &known, 1 << 20).as_bytes())
                    .await?;
                return trickle(stream, &" ".repeat(1000)).await;
            }
            Self::NeverReads => {
                client::dawdle(host, true, SECRET).await;
                return Ok(0);
            }
            Self::LongHead => format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(1 << 20)).into_bytes(),
            Self::ManyHeaders => {
                let headers: String = (0..20_000).map(|n| format!("x-{n}: 1\r\n")).collect();
                request(&headers, b"{}")
            }
            Self::LongBody => request(&known, &vec![b' '; 6 << 20]),
            Self::DeepJson => {
                let deep = format!("{{\"model\":\"m\",\"input\":{}", "[".repeat(1 << 20));
                request(&known, deep.as_bytes())
            }
            Self::GzipBomb => request(&format!("{known}content-encoding: gzip\r\n"), &GZIP_BOMB),
            Self::ZstdBomb => request(&format!("{known}content-encoding: zstd\r\n"), &ZSTD_BOMB),
            Self::Smuggled => {
                let hidden = b"0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n";
                request(&format!("{known}transfer-encoding: chunked\r\n"), hidden)
            }
            Self::WrongKey => request("authorization: Bearer sk-wrong-wrong-wrong\r\n", b"{}"),
            Self::Noise => (0..2000_u32)
                .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
                .collect(),
        };
        let mut stream = TcpStream::connect(host).await?;
        // It may be closed before it is read to its end.
        let _ = stream.write_all(&bytes).await;
        answered(&mut stream).await
    }

    /// That it came to what it should.
    pub(super) fn check(self, seen: &Seen) {
        let may_be: &[u16] = match self {
            Self::SlowHead | Self::SlowBody => &[0, 408],
            Self::NeverReads => &[0],
            Self::LongHead | Self::ManyHeaders => &[431, 0],
            Self::LongBody | Self::GzipBomb | Self::ZstdBomb => &[413, 503, 408],
            Self::DeepJson => &[400, 503, 408],
            Self::Smuggled | Self::Noise => &[400, 0],
            Self::WrongKey => &[401],
        };
        let odd = seen.0.keys().find(|status| !may_be.contains(status));
        assert_eq!(odd, None, "{self:?}: {seen}");
        // Some are told; the others only when their connection is reset before they read.
        let told = match self {
            Self::SlowHead | Self::NeverReads => None,
            Self::SlowBody => Some(408),
            _ => may_be.first().copied(),
        };
        if let Some(told) = told {
            assert!(
                seen.0.contains_key(&told),
                "{self:?} was never {told}: {seen}"
            );
        }
    }
}

/// Opens as many connections as it can, up to a number, and says half a word on every second of them. They
/// stay open until the end of the test.
pub(super) async fn half_open(host: &str, most: usize) -> usize {
    let mut open = Vec::with_capacity(most);
    while open.len() < most {
        let Ok(mut stream) = TcpStream::connect(host).await else {
            break;
        };
        if open.len() % 2 == 0 {
            let _ = stream.write_all(b"POST /v1/resp").await;
        }
        open.push(stream);
    }
    let count = open.len();
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(open);
    });
    count
}

fn head(host: &str, headers: &str, length: usize) -> String {
    format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {host}\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Sends a text a byte at a time.
async fn slowly(host: &str, text: &str) -> std::io::Result<u16> {
    trickle(TcpStream::connect(host).await?, text).await
}

async fn trickle(mut stream: TcpStream, text: &str) -> std::io::Result<u16> {
    for byte in text.bytes() {
        let mut answer = [0; 64];
        tokio::select! {
            read = stream.read(&mut answer) => return Ok(status(&answer[..read?])),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        stream.write_all(&[byte]).await?;
    }
    answered(&mut stream).await
}

/// The status of an answer.
async fn answered(stream: &mut TcpStream) -> std::io::Result<u16> {
    let mut answer = Vec::new();
    let mut bytes = [0; 256];
    while answer.len() < 12 {
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&bytes[..read]);
    }
    Ok(status(&answer))
}

fn status(answer: &[u8]) -> u16 {
    let line = answer
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let line = line.and_then(|digits| std::str::from_utf8(digits).ok());
    line.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// A GB of spaces in 32 KB: a frame with a window of 128 KB, and blocks of one byte that is repeated.
fn zstd_bomb() -> Vec<u8> {
    const BLOCK: u32 = 128 << 10;
    const BLOCKS: u32 = (1 << 30) / BLOCK;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    for n in 1..=BLOCKS {
        let head = u32::from(n == BLOCKS) | 1 << 1 | BLOCK << 3;
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.push(b' ');
    }
    frame
}

/// 256 MB of spaces in about 1 MB.
fn gzip_bomb() -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..256 {
        packed.write_all(&zeros).expect("it is kept in memory");
    }
    packed.finish().expect("it is kept in memory")
}
