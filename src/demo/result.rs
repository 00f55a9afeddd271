//! Tool results, told in words: what came back, quoted without the lines the client wraps it in.

use serde_json::Value;

use super::script::{COMMAND, is_shell, text_of};

/// How many lines of a tool result are quoted, and how much of each.
const QUOTED_LINES: usize = 8;
const QUOTED_WIDTH: usize = 120;

/// What a tool sent back, without the lines Codex wraps it in.
struct Output {
    lines: Vec<String>,
    exit_code: Option<i64>,
}

impl Output {
    fn of(text: &str) -> Self {
        // Older clients, and Codex's code mode, wrap the output in an object.
        if let Ok(wrapped) = serde_json::from_str::<Value>(text)
            && let Some(inner) = wrapped.get("output").and_then(Value::as_str)
        {
            let code = wrapped.pointer("/metadata/exit_code");
            let code = code.or_else(|| wrapped.get("exit_code"));
            return Self {
                exit_code: code.and_then(Value::as_i64),
                ..Self::of(inner)
            };
        }
        let mut output = Self {
            lines: Vec::new(),
            exit_code: None,
        };
        // The wrapper is at the top only: the same words further down are the command's own.
        let mut wrapper = true;
        for line in text.lines().map(str::trim_end) {
            let code = ["Process exited with code ", "Exit code: "];
            let code = code.iter().find_map(|start| line.strip_prefix(start));
            match code.and_then(|code| code.trim().parse().ok()) {
                Some(code) if wrapper => output.exit_code = Some(code),
                _ if wrapper && is_wrapper(line) => {}
                _ => {
                    wrapper = false;
                    output.lines.push(line.to_owned());
                }
            }
        }
        while output.lines.last().is_some_and(String::is_empty) {
            output.lines.pop();
        }
        output
    }

    /// The first lines as an indented block.
    fn quoted(&self) -> String {
        let mut quoted = String::new();
        for line in self.lines.iter().take(QUOTED_LINES) {
            let start: String = line.chars().take(QUOTED_WIDTH).collect();
            let cut = if start.len() < line.len() { "…" } else { "" };
            quoted.push_str(&format!("    {start}{cut}\n"));
        }
        if let Some(more @ 1..) = self.lines.len().checked_sub(QUOTED_LINES) {
            quoted.push_str(&format!("    … and {more} more lines\n"));
        }
        quoted
    }

    /// Whether the client says that nothing was run at all.
    fn was_refused(&self) -> bool {
        let first = self.lines.first().map_or("", String::as_str);
        let starts = ["aborted", "unsupported call", "failed to parse"];
        self.exit_code.is_none()
            && (starts.iter().any(|start| first.starts_with(start))
                || first.contains("rejected")
                || first.contains(" failed: "))
    }
}

fn is_wrapper(line: &str) -> bool {
    let starts = [
        "Chunk ID:",
        "Wall time",
        "Original token count:",
        "Script completed",
        "Process running with session ID",
    ];
    line.is_empty() || line == "Output:" || starts.iter().any(|start| line.starts_with(start))
}

/// An honest account of a tool result.
pub(super) fn summary(result: &Value, messages: &[Value]) -> String {
    let output = Output::of(&text_of(result));
    let call = call_of(result, messages);
    let tool = call.and_then(|call| call.get("name")?.as_str());
    let subject = match tool {
        Some(tool) if !is_shell(tool) => format!("The tool `{tool}`"),
        _ => "The command".to_owned(),
    };
    let opening = match (output.exit_code, output.lines.is_empty()) {
        _ if output.was_refused() => format!("{subject} was not run. This came back instead:"),
        (Some(code), true) if code != 0 => {
            format!("{subject} ended with exit code {code} and printed nothing.")
        }
        (Some(code), false) if code != 0 => {
            format!("{subject} ended with exit code {code}. Its output begins with:")
        }
        (_, true) => format!("{subject} ran and sent nothing back."),
        (_, false) => format!("{subject} ran. This is what came back:"),
    };
    let quoted = output.quoted();
    let arguments = call.and_then(|call| call.get("arguments")?.as_str());
    let ours = arguments.is_some_and(|arguments| {
        // The command is a string, or one of an array of them.
        let arguments = serde_json::from_str::<Value>(arguments).unwrap_or_default();
        let command = arguments.get("cmd").or_else(|| arguments.get("command"));
        command.is_some_and(|command| command == COMMAND || command.get(2) == Some(&COMMAND.into()))
    });
    let harmless = if ours {
        "It was a harmless command: it prints a greeting, the working directory and its files, \
         and changes nothing. "
    } else {
        ""
    };
    format!(
        "{opening}\n\n{quoted}{}{harmless}This answer was written by the script of the Antiphon \
         demo, not by a model. For a real one, name your Ollama or vLLM server in `proxy.toml`, \
         start `antiphon` with it, and point Codex at that address.",
        if quoted.is_empty() { "" } else { "\n" },
    )
}

/// The function call that a tool result belongs to.
fn call_of<'a>(result: &Value, messages: &'a [Value]) -> Option<&'a Value> {
    let id = result.get("tool_call_id")?;
    let calls = messages
        .iter()
        .rev()
        .filter_map(|message| message.get("tool_calls")?.as_array());
    let call = calls.flatten().find(|call| call.get("id") == Some(id))?;
    call.get("function")
}
