//! Whether the arguments of a call are whole, while they still come.

/// How far a JSON object has come, read as it arrives.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct JsonProgress {
    depth: u32,
    in_string: bool,
    escaped: bool,
    pub(super) state: Wholeness,
}

/// Whether the object is there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wholeness {
    #[default]
    Nothing,
    Open,
    Whole,
    /// It is no object, and its end cannot be told.
    Bare,
}

impl JsonProgress {
    pub(super) fn is_whole(&self) -> bool {
        self.state == Wholeness::Whole
    }

    /// Reads on; says how many bytes belong to the object (all of them while it is not whole).
    pub(super) fn push(&mut self, text: &str) -> usize {
        for (at, byte) in text.bytes().enumerate() {
            match (self.state, byte) {
                (Wholeness::Bare, _) => return text.len(),
                (Wholeness::Whole, _) => return at,
                (Wholeness::Nothing, b' ' | b'\t' | b'\n' | b'\r') => {}
                (Wholeness::Nothing, b'{') => {
                    self.state = Wholeness::Open;
                    self.depth = 1;
                }
                (Wholeness::Nothing, _) => self.state = Wholeness::Bare,
                (Wholeness::Open, byte) => self.inside(byte),
            }
        }
        text.len()
    }

    fn inside(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.state = Wholeness::Whole;
                }
            }
            _ => {}
        }
    }
}
