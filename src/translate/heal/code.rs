//! Whether text stands in code: markup that is shown in code is talked about, not meant.
//!
//! A fence is three or more backticks at the beginning of a line, to the next such line. A run of
//! backticks within a line begins inline code, which ends with a run as long, or with its line: a
//! backtick without a partner must not turn the rest of an answer into code.

use memchr::{memchr2, memrchr};

/// Follows text as it is given out, however it is cut.
#[derive(Debug)]
pub(super) struct Code {
    /// How long the fence is that is open; 0 for none.
    fence: usize,
    /// How long the backticks are that began inline code; 0 for none.
    inline: usize,
    /// Backticks so far that may be followed by more.
    run: usize,
    /// Nothing but blanks came in this line.
    line_is_blank: bool,
}

impl Default for Code {
    fn default() -> Self {
        Self {
            fence: 0,
            inline: 0,
            run: 0,
            line_is_blank: true,
        }
    }
}

impl Code {
    /// Follows some text.
    pub(super) fn follow(&mut self, text: &str) {
        let bytes = text.as_bytes();
        // Most text has no backtick, and all that counts of it is its last line.
        if self.run == 0 && memchr::memchr(b'`', bytes).is_none() {
            let line = match memrchr(b'\n', bytes) {
                Some(end) => {
                    self.new_line();
                    bytes.get(end + 1..).unwrap_or_default()
                }
                None => bytes,
            };
            self.line_is_blank &= is_blank(line);
            return;
        }
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let plain = memchr2(b'`', b'\n', rest).unwrap_or(rest.len());
            if let Some(next) = rest.first().filter(|next| **next != b'`') {
                self.end_run(*next);
            }
            self.line_is_blank &= is_blank(rest.get(..plain).unwrap_or_default());
            match rest.get(plain) {
                Some(b'`') => self.run += 1,
                Some(_) => self.new_line(),
                None => {}
            }
            at += plain + 1;
        }
    }

    /// Whether what comes next, which is no backtick, stands in code.
    pub(super) fn holds_next(&mut self, next: u8) -> bool {
        self.end_run(next);
        self.fence > 0 || self.inline > 0
    }

    /// Whether what comes next begins a line.
    pub(super) fn at_line_start(&self) -> bool {
        self.line_is_blank && self.run == 0
    }

    /// A call stood here: what comes next is as good as a new line.
    pub(super) fn call_ended(&mut self) {
        self.new_line();
    }

    fn new_line(&mut self) {
        self.inline = 0;
        self.line_is_blank = true;
    }

    fn end_run(&mut self, next: u8) {
        let run = std::mem::take(&mut self.run);
        if run == 0 {
            return;
        }
        let begins_line = std::mem::take(&mut self.line_is_blank);
        if self.fence > 0 {
            // Behind a closing fence there is no word.
            if begins_line && run >= self.fence && !next.is_ascii_alphanumeric() {
                self.fence = 0;
            }
        } else if self.inline > 0 {
            if run == self.inline {
                self.inline = 0;
            }
        } else if begins_line && run >= 3 {
            self.fence = run;
        } else {
            self.inline = run;
        }
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_code(before: &str) -> bool {
        let mut whole = Code::default();
        whole.follow(before);
        let mut single = Code::default();
        for letter in before.chars() {
            single.follow(letter.encode_utf8(&mut [0; 4]));
        }
        let held = whole.holds_next(b'<');
        assert_eq!(held, single.holds_next(b'<'), "{before:?} letter by letter");
        held
    }

    #[test]
    fn code_is_known_however_the_text_is_cut() {
        for (before, held) in [
            ("", false),
            ("text ", false),
            ("`", true),
            ("`a` ", false),
            ("``a` ", true),
            ("``a`` ", false),
            ("a `b\n", false),
            ("```\n", true),
            ("```xml\n", true),
            ("  ```xml\na\n\n", true),
            ("```\na\n```\n", false),
            ("```\na\n```", false),
            ("```\na\n```js", true),
            ("````\n```\n", true),
            ("````\n```\n````\n", false),
            ("a ```b``` ", false),
            ("a ```b", true),
            ("```\na `b\n", true),
            ("é`", true),
        ] {
            assert_eq!(in_code(before), held, "{before:?}");
        }
    }
}
