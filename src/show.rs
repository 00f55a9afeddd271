//! Responses events for people: what `antiphon demo` and `antiphon replay` print on a terminal.
//!
//! ```text
//! response.created            resp_0199a2b…  model demo
//!   ┌ message    msg_1
//!   │ Hello, I am …
//!   └ done
//! response.completed          12 in · 34 out tokens  (5 reasoning, 0 cached)
//! ```
//!
//! Text appears as its deltas arrive. Events that only repeat what was shown (`….done` of a part)
//! print nothing; the verbose style hides nothing and prints a line for each event.

mod text;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use serde_json::Value;

use self::text::{clean, one_line, short, string};

/// The column in which the details of a response-wide event start.
const DETAILS_COLUMN: usize = 28;

/// How events are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Use ANSI colours.
    pub color: bool,
    /// Print each event as one line of JSON instead.
    pub verbose: bool,
}

/// Prints the events of one stream.
#[derive(Debug)]
pub struct Printer<W: Write> {
    out: W,
    style: Style,
    /// Items that were added and are not done, the one written to last at the end.
    open: Vec<Block>,
    /// Whether the cursor is at the start of a line.
    at_start: bool,
}

/// An item on the terminal.
#[derive(Debug)]
struct Block {
    output_index: Option<u64>,
    label: String,
    /// Which part of the item the last delta was for.
    part: Option<Part>,
}

/// What one run of deltas belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    kind: String,
    index: u64,
}

/// The colours, by what they are for.
#[derive(Debug, Clone, Copy)]
enum Ink {
    Plain,
    Dim,
    Title,
    Good,
    Warning,
    Bad,
    Call,
}

impl Ink {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::Title => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Call => "\x1b[36m",
        }
    }
}

impl<W: Write> Printer<W> {
    /// A printer at the start of a stream.
    pub fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            open: Vec::new(),
            at_start: true,
        }
    }

    /// Prints one event, given as the data of its SSE frame.
    ///
    /// Data that is not an event is shown as such; it is no error.
    ///
    /// # Errors
    /// When writing fails.
    pub fn event(&mut self, json: &[u8]) -> io::Result<()> {
        let data = String::from_utf8_lossy(json);
        let event = serde_json::from_str(&data).unwrap_or(Value::Null);
        if self.style.verbose {
            self.verbose(&event, &data)?;
        } else if event.is_object() {
            self.readable(&event)?;
        } else if data.trim() != "[DONE]" {
            self.aside(&format!("not an event: {}", one_line(&data)))?;
        }
        self.out.flush()
    }

    /// Ends the output when the stream is over. Items still open are marked as cut off; after a
    /// complete stream this prints nothing.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(&mut self) -> io::Result<()> {
        self.cut_off()?;
        self.out.flush()
    }

    fn verbose(&mut self, event: &Value, data: &str) -> io::Result<()> {
        let number = match event.get("sequence_number") {
            Some(number) => number.to_string(),
            None => "-".to_owned(),
        };
        let kind = clean(string(event, "/type"));
        self.paint(Ink::Dim, &format!("{number:>4}"))?;
        self.paint(Ink::Title, &format!("  {kind}"))?;
        self.paint(Ink::Plain, &format!("  {}\n", one_line(data)))
    }

    fn readable(&mut self, event: &Value) -> io::Result<()> {
        let kind = string(event, "/type");
        match kind {
            "response.created" | "response.queued" => {
                let id = short(string(event, "/response/id"));
                let model = clean(string(event, "/response/model"));
                let model = if model.is_empty() {
                    model
                } else {
                    format!("  model {model}")
                };
                self.headline(kind, Ink::Title, &format!("{id}{model}"))
            }
            "response.output_item.added" => self.open(event),
            "response.output_item.done" => self.close(event),
            "response.completed" => {
                let usage = text::usage(event.pointer("/response/usage"));
                self.headline(kind, Ink::Good, &usage)
            }
            "response.incomplete" => {
                let reason = string(event, "/response/incomplete_details/reason");
                let reason = if reason.is_empty() {
                    "no reason given"
                } else {
                    reason
                };
                let usage = text::usage(event.pointer("/response/usage"));
                self.headline(kind, Ink::Warning, &format!("{}  {usage}", clean(reason)))
            }
            "response.failed" => {
                let error = event.pointer("/response/error").unwrap_or(&Value::Null);
                self.headline(kind, Ink::Bad, &text::error(error))
            }
            "error" => {
                // The API puts code and message into the event itself, others into an object.
                let error = event.get("error").filter(|error| error.is_object());
                self.headline(kind, Ink::Bad, &text::error(error.unwrap_or(event)))
            }
            _ if is_repetition(kind) => Ok(()),
            _ => match (kind.strip_suffix(".delta"), event.get("delta")) {
                (Some(part), Some(Value::String(delta))) => self.delta(event, part, delta),
                _ if kind.is_empty() => self.aside(&format!(
                    "event without type: {}",
                    one_line(&event.to_string())
                )),
                _ => self.aside(&clean(kind)),
            },
        }
    }

    /// A line about the response as a whole.
    fn headline(&mut self, kind: &str, ink: Ink, details: &str) -> io::Result<()> {
        self.end_line()?;
        if !matches!(ink, Ink::Title) {
            self.cut_off()?;
        }
        self.paint(ink, &format!("{kind:<DETAILS_COLUMN$}"))?;
        let ink = if matches!(ink, Ink::Good) {
            Ink::Plain
        } else {
            ink
        };
        let mut lines = details.lines();
        self.paint(ink, lines.next().unwrap_or(""))?;
        for line in lines {
            self.paint(ink, &format!("\n{:DETAILS_COLUMN$}{line}", ""))?;
        }
        self.paint(Ink::Plain, "\n")
    }

    /// One dim line beside the story: something this printer has no picture for.
    fn aside(&mut self, text: &str) -> io::Result<()> {
        self.end_line()?;
        self.paint(Ink::Dim, &format!("  · {text}"))?;
        self.paint(Ink::Plain, "\n")
    }

    fn open(&mut self, event: &Value) -> io::Result<()> {
        self.end_line()?;
        let label = text::label(event.get("item").unwrap_or(&Value::Null));
        self.edge("┌", &label)?;
        self.open.push(Block {
            output_index: event.get("output_index").and_then(Value::as_u64),
            label,
            part: None,
        });
        Ok(())
    }

    fn close(&mut self, event: &Value) -> io::Result<()> {
        let item = event.get("item").unwrap_or(&Value::Null);
        let output_index = event.get("output_index").and_then(Value::as_u64);
        let known = self
            .open
            .iter()
            .any(|block| block.output_index == output_index);
        if known {
            self.focus(output_index)?;
        } else {
            // Some servers send items whole, without announcing them.
            self.open(event)?;
        }
        let part = self.open.last().and_then(|block| block.part.clone());
        let ink = match string(item, "/type") {
            "message" => Ink::Plain,
            "reasoning" => Ink::Dim,
            _ => Ink::Call,
        };
        if part.is_none() {
            self.write_text(ink, &text::body(item))?;
        }
        self.end_line()?;
        self.open.pop();
        match string(item, "/status") {
            "" | "completed" => self.edge("└", "done"),
            status => self.edge("└", &clean(status)),
        }
    }

    fn delta(&mut self, event: &Value, kind: &str, delta: &str) -> io::Result<()> {
        let output_index = event.get("output_index").and_then(Value::as_u64);
        self.focus(output_index)?;
        let ink = match kind {
            "response.output_text" => Ink::Plain,
            "response.refusal" => Ink::Bad,
            kind if kind.contains("reasoning") => Ink::Dim,
            _ => Ink::Call,
        };
        let index = ["content_index", "summary_index"];
        let index = index.iter().find_map(|key| event.get(*key)?.as_u64());
        let part = Part {
            kind: kind.to_owned(),
            index: index.unwrap_or(0),
        };
        let last = self.open.last_mut().map(|block| &mut block.part);
        if let Some(last) = last.filter(|last| last.as_ref() != Some(&part)) {
            *last = Some(part);
            self.end_line()?;
            if kind == "response.refusal" {
                self.write_text(ink, "refusal: ")?;
            }
        }
        self.write_text(ink, delta)
    }

    /// Turns to the item at `output_index`, saying so when another one was written to before.
    fn focus(&mut self, output_index: Option<u64>) -> io::Result<()> {
        // An event without an index is about the item written to last.
        let at = match output_index {
            Some(_) => self
                .open
                .iter()
                .position(|block| block.output_index == output_index),
            None => self.open.len().checked_sub(1),
        };
        if let Some(at) = at.filter(|at| at + 1 < self.open.len()) {
            self.end_line()?;
            let block = self.open.remove(at);
            self.edge("├", &block.label)?;
            self.open.push(block);
        }
        Ok(())
    }

    /// Closes what is still open when the response ends.
    fn cut_off(&mut self) -> io::Result<()> {
        self.end_line()?;
        while let Some(block) = self.open.pop() {
            let label = match block.label.split_once(' ') {
                Some((kind, _)) => kind,
                None => &block.label,
            };
            self.edge("└", &format!("{label} cut off"))?;
        }
        Ok(())
    }

    fn edge(&mut self, corner: &str, text: &str) -> io::Result<()> {
        self.paint(Ink::Dim, &format!("  {corner} {text}"))?;
        self.paint(Ink::Plain, "\n")
    }

    /// Text inside an item, with the gutter before each of its lines.
    fn write_text(&mut self, ink: Ink, text: &str) -> io::Result<()> {
        for (at, line) in clean(text).split('\n').enumerate() {
            if at > 0 {
                if self.at_start {
                    self.paint(Ink::Dim, "  │")?;
                }
                self.paint(Ink::Plain, "\n")?;
                self.at_start = true;
            }
            if !line.is_empty() {
                if self.at_start {
                    self.paint(Ink::Dim, "  │ ")?;
                }
                self.paint(ink, line)?;
                self.at_start = false;
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        if !self.at_start {
            self.paint(Ink::Plain, "\n")?;
            self.at_start = true;
        }
        Ok(())
    }

    fn paint(&mut self, ink: Ink, text: &str) -> io::Result<()> {
        let code = if self.style.color { ink.code() } else { "" };
        let reset = if code.is_empty() { "" } else { "\x1b[0m" };
        write!(self.out, "{code}{text}{reset}")
    }
}

/// Events that only repeat or announce what other events show.
fn is_repetition(kind: &str) -> bool {
    matches!(
        kind,
        "response.in_progress"
            | "response.content_part.added"
            | "response.content_part.done"
            | "response.output_text.done"
            | "response.refusal.done"
            | "response.reasoning_text.done"
            | "response.reasoning_summary_part.added"
            | "response.reasoning_summary_part.done"
            | "response.reasoning_summary_text.done"
            | "response.function_call_arguments.done"
            | "response.custom_tool_call_input.done"
            | "response.mcp_call_arguments.done"
    )
}
