//! Pieces of text for a terminal: short ids, compact JSON, and nothing that could steer the
//! terminal itself.

use serde_json::Value;

/// How many characters of an event's JSON one line shows.
pub(super) const LINE_WIDTH: usize = 160;

/// How much of an id is shown; enough to tell two of them apart.
const ID_WIDTH: usize = 16;

/// The string at `pointer`, or nothing.
pub(super) fn string<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The start of an id.
pub(super) fn short(id: &str) -> String {
    if id.chars().count() <= ID_WIDTH {
        return clean(id);
    }
    let start: String = id.chars().take(ID_WIDTH - 4).collect();
    format!("{}…", clean(&start))
}

/// `text` without control characters except newline and tab. What a model writes must not be able
/// to move the cursor, recolour the terminal or set its title.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .filter(|letter| *letter != '\r')
        .map(|letter| match letter {
            '\n' | '\t' => letter,
            letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
            letter => letter,
        })
        .collect()
}

/// JSON on one line, its keys in the order they came, cut at [`LINE_WIDTH`] characters.
pub(super) fn one_line(json: &str) -> String {
    let mut line = String::new();
    let mut letters = 0;
    let mut in_string = false;
    let mut escaped = false;
    for letter in json.trim().chars() {
        if !in_string && letter.is_whitespace() {
            continue;
        }
        if letters == LINE_WIDTH {
            line.push('…');
            break;
        }
        letters += 1;
        line.push(if letter.is_control() { ' ' } else { letter });
        if escaped {
            escaped = false;
        } else if in_string && letter == '\\' {
            escaped = true;
        } else if letter == '"' {
            in_string = !in_string;
        }
    }
    line
}

/// The token counts of a `usage` object in words.
pub(super) fn usage(usage: Option<&Value>) -> String {
    let Some(usage) = usage.filter(|usage| usage.is_object()) else {
        return "no usage reported".to_owned();
    };
    let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    format!(
        "{} in · {} out tokens  ({} reasoning, {} cached)",
        count("/input_tokens"),
        count("/output_tokens"),
        count("/output_tokens_details/reasoning_tokens"),
        count("/input_tokens_details/cached_tokens"),
    )
}

/// Code and message of an error object, whichever of them is there.
pub(super) fn error(error: &Value) -> String {
    let code = [string(error, "/code"), string(error, "/type")];
    let code = code
        .into_iter()
        .find(|code| !code.is_empty() && *code != "error");
    let message = string(error, "/message");
    match (code, message) {
        (Some(code), "") => clean(code),
        (Some(code), message) => clean(&format!("{code}: {message}")),
        (None, "") => "no details given".to_owned(),
        (None, message) => clean(message),
    }
}

/// The name of an item: its type, what it calls, and its id.
pub(super) fn label(item: &Value) -> String {
    let kind = clean(string(item, "/type"));
    let (namespace, name) = (string(item, "/namespace"), string(item, "/name"));
    let server = string(item, "/server_label");
    let owner = if namespace.is_empty() {
        server
    } else {
        namespace
    };
    let name = match owner {
        "" => clean(name),
        owner => clean(&format!("{owner}/{name}")),
    };
    // A call is known by the id that its output will carry.
    let ids = [string(item, "/call_id"), string(item, "/id")];
    let id = ids.into_iter().find(|id| !id.is_empty()).unwrap_or("");
    let mut label = format!("{kind:<9}");
    for part in [name, short(id)] {
        if !part.is_empty() {
            label.push_str("  ");
            label.push_str(&part);
        }
    }
    label.trim_end().to_owned()
}

/// What a finished item contains, for streams that send no deltas.
pub(super) fn body(item: &Value) -> String {
    let texts = |key: &str| {
        let parts = item.get(key).and_then(Value::as_array);
        let parts = parts.map_or(&[][..], Vec::as_slice).iter();
        let texts = parts.filter_map(|part| match part.get("refusal") {
            Some(refusal) => Some(format!("refusal: {}", refusal.as_str()?)),
            None => Some(part.get("text")?.as_str()?.to_owned()),
        });
        texts.collect::<Vec<_>>().join("\n")
    };
    match string(item, "/type") {
        "message" => texts("content"),
        "reasoning" => {
            let (summary, content) = (texts("summary"), texts("content"));
            if summary.is_empty() { content } else { summary }
        }
        "custom_tool_call" => string(item, "/input").to_owned(),
        _ => match item.get("arguments") {
            Some(Value::String(arguments)) => arguments.clone(),
            Some(arguments) => arguments.to_string(),
            None => match item.get("action") {
                Some(action) => one_line(&action.to_string()),
                None => String::new(),
            },
        },
    }
}
