//! A client for the tests: one request, one connection, the whole answer.

#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// The body without its transfer coding.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The first header of this name, given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.text())
            .unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The body as a stream of server-sent events, each of which must be named after the type in its data.
    pub(crate) fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        let kind = self.header("content-type").unwrap_or_default();
        assert!(
            kind.starts_with("text/event-stream"),
            "content-type {kind}: {}",
            self.text()
        );
        self.text().split("\n\n").filter_map(event).collect()
    }
}

/// Sends a JSON body.
pub(crate) fn post(url: &str, body: &Value) -> Reply {
    let headers = [("content-type", "application/json")];
    request("POST", url, &headers, body.to_string().as_bytes())
}

/// Fetches an address.
pub(crate) fn get(url: &str) -> Reply {
    request("GET", url, &[], b"")
}

/// Sends any request over a connection that is there.
pub(crate) fn over(
    stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let answer = exchange(
        stream,
        &head(method, "localhost", path, headers, body),
        body,
    )
    .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    parse(&answer)
}

/// Sends any request to an `http://` address.
pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let rest = url.strip_prefix("http://").expect("an http address");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let head = head(method, host, &format!("/{path}"), headers, body);
    let answer = || -> std::io::Result<Vec<u8>> {
        let stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        exchange(stream, &head, body)
    };
    let answer = answer().unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    parse(&answer)
}

fn head(method: &str, host: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

fn exchange(mut stream: impl Read + Write, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Over TLS it need not say goodbye: the answer tells where it ends.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(answer),
        Err(error) => Err(error),
        Ok(_) => Ok(answer),
    }
}

fn parse(answer: &[u8]) -> Reply {
    let (head, rest) = split_at(answer, b"\r\n\r\n").expect("the answer has a head");
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut reply = Reply {
        status: status.expect("a status line"),
        headers,
        body: rest.to_vec(),
    };
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = unchunk(rest);
    }
    reply
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let (size, after) = split_at(rest, b"\r\n").expect("the answer was cut off");
        let size = String::from_utf8_lossy(size);
        let size = size.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(after.get(..size).expect("the answer was cut off"));
        rest = after.get(size + 2..).expect("the answer was cut off");
    }
}

fn split_at<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes
        .windows(mark.len())
        .position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

fn event(frame: &str) -> Option<Value> {
    let field = |name| frame.lines().find_map(|line| line.strip_prefix(name));
    let data = field("data: ").filter(|data| *data != "[DONE]")?;
    let value: Value =
        serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}"));
    assert_eq!(field("event: "), value["type"].as_str(), "{frame}");
    Some(value)
}
