//! Where the body of an answer ends, and what of the bytes is body.

use std::io;

/// The most bytes of chunk extensions and trailers, which are passed over, in one answer. Some
/// servers sign each chunk.
const PASSED_OVER_BYTES: usize = 1024 * 1024;

/// How a body is framed.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// In chunks.
    Chunked(Chunks),
    /// To the end of the connection.
    Close,
}

/// A chunked body under way.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    passed_over: usize,
}

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the size of a chunk; whether a digit came.
    Size(u64, bool),
    /// Behind the size.
    Extension(u64),
    /// At the line feed behind the size.
    SizeEnd(u64),
    /// In a chunk with so many bytes left.
    Data(u64),
    /// At the line's end behind a chunk.
    DataReturn,
    DataEnd,
    /// At the beginning of a trailer, or of the last line.
    Line,
    /// In a trailer.
    Trailer,
    TrailerEnd,
    /// At the line feed of the last line.
    LastEnd,
    Done,
}

impl Framing {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks {
            place: Place::Size(0, false),
            passed_over: 0,
        })
    }

    /// Whether the body is whole.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.place == Place::Done,
            Self::Close => false,
        }
    }

    /// Takes the next bytes and appends what is body to `out`; returns what comes behind its end.
    pub(super) fn decode<'b>(
        &mut self,
        bytes: &'b [u8],
        out: &mut Vec<u8>,
    ) -> io::Result<&'b [u8]> {
        match self {
            Self::Length(left) => {
                let (body, rest) = split(bytes, *left);
                *left -= body.len() as u64;
                out.extend_from_slice(body);
                Ok(rest)
            }
            Self::Chunked(chunks) => chunks.decode(bytes, out),
            Self::Close => {
                out.extend_from_slice(bytes);
                Ok(&[])
            }
        }
    }
}

impl Chunks {
    fn decode<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>) -> io::Result<&'b [u8]> {
        let mut rest = bytes;
        while self.place != Place::Done {
            if let Place::Data(left) = self.place {
                let (data, behind) = split(rest, left);
                out.extend_from_slice(data);
                rest = behind;
                self.place = match left - data.len() as u64 {
                    0 => Place::DataReturn,
                    left => Place::Data(left),
                };
            }
            let Some((byte, behind)) = rest.split_first() else {
                break;
            };
            rest = behind;
            self.place = self.step(*byte)?;
        }
        Ok(rest)
    }

    /// Takes a byte that is not body.
    fn step(&mut self, byte: u8) -> io::Result<Place> {
        Ok(match (self.place, byte) {
            (Place::Size(size, _), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = size.checked_mul(16).ok_or_else(|| invalid("chunk size"))?;
                Place::Size(size | u64::from(digit), true)
            }
            (Place::Size(size, true) | Place::Extension(size), b'\r') => Place::SizeEnd(size),
            (Place::Size(size, true), b';' | b' ' | b'\t') => Place::Extension(size),
            (Place::Extension(size), _) if byte != b'\n' => {
                self.pass_over()?;
                Place::Extension(size)
            }
            (Place::SizeEnd(0), b'\n') => Place::Line,
            (Place::SizeEnd(size), b'\n') => Place::Data(size),
            (Place::DataReturn, b'\r') => Place::DataEnd,
            (Place::DataEnd, b'\n') => Place::Size(0, false),
            (Place::Line, b'\r') => Place::LastEnd,
            (Place::LastEnd, b'\n') => Place::Done,
            (Place::Trailer, b'\r') => Place::TrailerEnd,
            (Place::TrailerEnd, b'\n') => Place::Line,
            (Place::Line | Place::Trailer, _) if byte != b'\n' => {
                self.pass_over()?;
                Place::Trailer
            }
            (Place::Size(..) | Place::Extension(_) | Place::SizeEnd(_), _) => {
                return Err(invalid("chunk size"));
            }
            _ => return Err(invalid("end of a chunk")),
        })
    }

    fn pass_over(&mut self) -> io::Result<()> {
        self.passed_over += 1;
        match self.passed_over <= PASSED_OVER_BYTES {
            true => Ok(()),
            false => Err(invalid("length of the chunk extensions")),
        }
    }
}

fn split(bytes: &[u8], at: u64) -> (&[u8], &[u8]) {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    bytes.split_at(at.min(bytes.len()))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("invalid {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of bytes that are cut at every place and one by one, and what is left behind it.
    fn decoded(mut make: impl FnMut() -> Framing, bytes: &[u8]) -> (String, usize, bool) {
        let mut run = |pieces: &[&[u8]]| {
            let mut framing = make();
            let (mut out, mut rest) = (Vec::new(), 0);
            for piece in pieces {
                rest += framing.decode(piece, &mut out).unwrap().len();
            }
            (String::from_utf8(out).unwrap(), rest, framing.is_done())
        };
        let whole = run(&[bytes]);
        for at in 0..bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert_eq!(run(&[a, b]), whole, "cut at {at}");
        }
        assert_eq!(run(&bytes.chunks(1).collect::<Vec<_>>()), whole);
        whole
    }

    #[test]
    fn chunks_are_joined_and_all_else_is_passed_over() {
        let bytes =
            b"3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n1 \r\n\n\r\n0\r\nA: b\r\nC: d\r\n\r\n!";
        let (body, rest, done) = decoded(Framing::chunked, bytes);
        assert_eq!((body.as_str(), rest, done), ("abc0123456789\n", 1, true));
    }

    #[test]
    fn a_body_that_is_not_whole_is_not_done() {
        let (body, _, done) = decoded(Framing::chunked, b"3\r\nabc\r\n0\r\n");
        assert_eq!((body.as_str(), done), ("abc", false));
        let (body, _, done) = decoded(|| Framing::Length(4), b"abc");
        assert_eq!((body.as_str(), done), ("abc", false));
        let (body, _, done) = decoded(|| Framing::Close, b"abc");
        assert_eq!((body.as_str(), done), ("abc", false));
    }

    #[test]
    fn a_length_counts() {
        let (body, rest, done) = decoded(|| Framing::Length(3), b"abcd");
        assert_eq!((body.as_str(), rest, done), ("abc", 1, true));
    }

    #[test]
    fn broken_chunks_are_errors() {
        for bytes in [
            "x\r\n",
            "\r\n",
            ";\r\n",
            "3\nabc",
            "3\rabc",
            "3\r\nabcd",
            "3\r\nabc\n",
            "0\r\n\n",
            "0\r\nA\n",
            "11111111111111111\r\n",
        ] {
            let mut out = Vec::new();
            let result = Framing::chunked().decode(bytes.as_bytes(), &mut out);
            assert!(result.is_err(), "{bytes:?}");
        }
        let endless = "1;".to_owned() + &"x".repeat(PASSED_OVER_BYTES + 1);
        let result = Framing::chunked().decode(endless.as_bytes(), &mut Vec::new());
        assert!(result.is_err());
    }
}
