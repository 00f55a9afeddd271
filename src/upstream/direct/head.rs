//! The head of an answer: status, headers, and how the body is framed.

use std::io;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::framing::Framing;

/// The most headers of an answer.
const HEADERS: usize = 100;

/// A head that is whole.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: http::response::Parts,
    pub(super) framing: Framing,
    /// Whether the connection may be used again once the body has been read.
    pub(super) keep_alive: bool,
    /// How many bytes the head took.
    pub(super) length: usize,
}

/// Reads the head that bytes begin with; nothing if it is not whole. Interim answers (1xx) before
/// it are passed over.
pub(super) fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut length = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let rest = bytes.get(length..).unwrap_or_default();
        let httparse::Status::Complete(taken) = response.parse(rest).map_err(invalid)? else {
            return Ok(None);
        };
        length += taken;
        let status = StatusCode::from_u16(response.code.unwrap_or_default()).map_err(invalid)?;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        let headers = headers_of(response.headers)?;
        let framing = framing_of(status, &headers)?;
        let persists = match response.version {
            Some(1) => !says(&headers, "close"),
            _ => says(&headers, "keep-alive"),
        };
        let mut whole = Response::new(());
        *whole.status_mut() = status;
        *whole.headers_mut() = headers;
        return Ok(Some(Head {
            parts: whole.into_parts().0,
            keep_alive: persists && !matches!(framing, Framing::Close),
            framing,
            length,
        }));
    }
}

fn headers_of(parsed: &[httparse::Header<'_>]) -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(invalid)?;
        let value = HeaderValue::from_bytes(header.value).map_err(invalid)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// How the body is framed (RFC 9112, 6.3).
fn framing_of(status: StatusCode, headers: &HeaderMap) -> io::Result<Framing> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Length(0));
    }
    if let Some(coding) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        let last = coding.as_bytes().rsplit(|byte| *byte == b',').next();
        let chunked = last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        return Ok(match chunked {
            true => Framing::chunked(),
            false => Framing::Close,
        });
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else {
        return Ok(Framing::Close);
    };
    let length = first.to_str().ok().and_then(|text| text.parse().ok());
    match length {
        Some(length) if lengths.all(|other| other == first) => Ok(Framing::Length(length)),
        _ => Err(invalid("its content-length is no length")),
    }
}

/// Whether the connection header says so.
fn says(headers: &HeaderMap, option: &str) -> bool {
    let said = headers.get_all(CONNECTION).iter();
    said.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(option))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nA: b\r\na: c\r\n\r\n";
        for end in 0..text.len() {
            assert!(parse(&text.as_bytes()[..end]).unwrap().is_none(), "{end}");
        }
        let head = head(&format!("{text}rest"));
        assert_eq!(head.length, text.len());
        assert_eq!(head.parts.status, 200);
        assert_eq!(head.parts.headers["content-type"], "text/event-stream");
        assert_eq!(head.parts.headers.get_all("a").iter().count(), 2);
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let head = head(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 429 Too Many\r\n\r\n",
        );
        assert_eq!(head.parts.status, 429);
        assert!(parse(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap().is_none());
    }

    #[test]
    fn the_body_is_framed_as_the_head_says() {
        for (headers, framing, keep_alive) in [
            ("content-length: 5", "Length(5)", true),
            ("content-length: 5\r\ncontent-length: 5", "Length(5)", true),
            (
                "content-length: 5\r\nconnection: x, Close",
                "Length(5)",
                false,
            ),
            (
                "transfer-encoding: chunked\r\ncontent-length: 5",
                "Chunked",
                true,
            ),
            ("Transfer-Encoding: gzip, Chunked", "Chunked", true),
            ("transfer-encoding: gzip", "Close", false),
            ("connection: keep-alive", "Close", false),
        ] {
            let head = head(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n"));
            assert!(
                format!("{:?}", head.framing).starts_with(framing),
                "{headers}"
            );
            assert_eq!(head.keep_alive, keep_alive, "{headers}");
        }
    }

    #[test]
    fn an_older_server_must_ask_for_the_connection_to_be_kept() {
        assert!(!head("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n").keep_alive);
        let kept = "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: Keep-Alive\r\n\r\n";
        assert!(head(kept).keep_alive);
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        for text in [
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
