//! Bytes in, the data of each event out.
//!
//! Only `data` lines matter to us. Lines may end in LF, CRLF or CR, an event may have several data
//! lines, comments and other fields are passed over, a byte order mark is skipped. An event whose
//! data came in one piece is handed out without a copy.

/// A push decoder of an event stream.
#[derive(Debug)]
pub struct Decoder {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Data of the event at hand, its lines joined by LF.
    data: Vec<u8>,
    /// Whether the event at hand has data, which may be empty.
    has_data: bool,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Nothing was read yet: a byte order mark may come.
    at_start: bool,
    /// The most bytes of one event.
    limit: usize,
}

/// An event was longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the upstream's stream is longer than {limit} bytes")]
pub struct TooLong {
    /// The limit, in bytes.
    pub limit: usize,
}

impl Decoder {
    /// A decoder that refuses events of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            after_cr: false,
            at_start: true,
            limit,
        }
    }

    /// Takes the next bytes and hands out the data of each event that they complete.
    ///
    /// # Errors
    /// [`TooLong`], after which the decoder is of no more use.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), TooLong> {
        let mut rest = bytes;
        // Data of the event at hand that lies whole in `bytes`, not copied so far.
        let mut borrowed: Option<&[u8]> = None;
        while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
            let (head, tail) = rest.split_at(at);
            let ends_in_cr = tail.first() == Some(&b'\r');
            rest = tail.get(1..).unwrap_or_default();
            if std::mem::take(&mut self.after_cr)
                && !ends_in_cr
                && head.is_empty()
                && self.line.is_empty()
            {
                continue;
            }
            self.after_cr = ends_in_cr;
            if self.line.is_empty() {
                self.end_line(head, &mut borrowed, &mut each)?;
            } else {
                self.line.extend_from_slice(head);
                let line = std::mem::take(&mut self.line);
                self.end_carried_line(&line, &mut borrowed, &mut each)?;
                self.line = line;
                self.line.clear();
            }
        }
        if let Some(data) = borrowed {
            self.data.extend_from_slice(data);
        }
        if !rest.is_empty() {
            self.after_cr = false;
        }
        self.line.extend_from_slice(rest);
        self.check(self.line.len() + self.data.len())
    }

    /// Says that no more bytes come: hands out an event that was not closed by a blank line.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        let line = std::mem::take(&mut self.line);
        let mut borrowed = None;
        if !line.is_empty() {
            // A line too long to be taken is no event.
            let _ = self.end_carried_line(&line, &mut borrowed, &mut each);
        }
        if std::mem::take(&mut self.has_data) {
            each(&self.data);
            self.data.clear();
        }
    }

    fn end_line<'b>(
        &mut self,
        line: &'b [u8],
        borrowed: &mut Option<&'b [u8]>,
        each: &mut impl FnMut(&[u8]),
    ) -> Result<(), TooLong> {
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                match borrowed.take() {
                    Some(data) => each(data),
                    None => {
                        each(&self.data);
                        self.data.clear();
                    }
                }
            }
            return Ok(());
        }
        let Some(data) = self.data_of(line) else {
            return Ok(());
        };
        self.check(self.data.len() + data.len())?;
        if self.has_data {
            if let Some(first) = borrowed.take() {
                self.data.extend_from_slice(first);
            }
            self.data.push(b'\n');
            self.data.extend_from_slice(data);
        } else {
            *borrowed = Some(data);
        }
        self.has_data = true;
        Ok(())
    }

    /// The same for a line that came in pieces: its data is copied, as the line will not last.
    fn end_carried_line(
        &mut self,
        line: &[u8],
        borrowed: &mut Option<&[u8]>,
        each: &mut impl FnMut(&[u8]),
    ) -> Result<(), TooLong> {
        if let Some(data) = borrowed.take() {
            self.data.extend_from_slice(data);
        }
        let mut own = None;
        self.end_line(line, &mut own, each)?;
        if let Some(data) = own {
            self.data.extend_from_slice(data);
        }
        Ok(())
    }

    /// The value of a data line.
    fn data_of<'b>(&mut self, line: &'b [u8]) -> Option<&'b [u8]> {
        let line = match std::mem::take(&mut self.at_start) {
            true => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
            false => line,
        };
        let value = line.strip_prefix(b"data")?;
        match value.strip_prefix(b":") {
            Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
            // A field without a colon has an empty value; `database: x` is no data.
            None => value.is_empty().then_some(value),
        }
    }

    fn check(&self, length: usize) -> Result<(), TooLong> {
        if length > self.limit {
            Err(TooLong { limit: self.limit })
        } else {
            Ok(())
        }
    }
}
