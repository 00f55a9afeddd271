//! Values that fit a JSON schema, without any meaning: what the demo answers when a request asks
//! for structured output, and how it fills in the arguments of a tool it has never seen.

use serde_json::{Map, Value, json};

/// From this depth on the smallest form is taken: `null` where allowed, and empty arrays.
const SMALL_FROM: usize = 5;
/// Below this depth nothing is filled in any more; only schemas without an end get here.
const DEEPEST: usize = 16;
/// How many values one document may have, since a recursive schema can also grow in width.
const MOST_VALUES: usize = 2_000;

/// What the words in a document should look like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// Structured output: every string is a placeholder, except for a title.
    Document,
    /// Tool arguments: only what is required, with strings that suit their names.
    Arguments {
        /// What the user wrote, as a source for such things as a place.
        prompt: &'a str,
    },
}

/// A value that fits `schema`.
pub(super) fn fill(schema: &Value, purpose: Purpose<'_>) -> Value {
    let mut filler = Filler {
        root: schema,
        purpose,
        values: 0,
    };
    filler.value(schema, "", 0)
}

struct Filler<'a> {
    root: &'a Value,
    purpose: Purpose<'a>,
    values: usize,
}

impl<'a> Filler<'a> {
    fn value(&mut self, schema: &'a Value, name: &str, depth: usize) -> Value {
        self.values += 1;
        if depth > DEEPEST || self.values > MOST_VALUES {
            return Value::Null;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            return match self.resolve(target) {
                Some(found) => self.value(found, name, depth + 1),
                None => Value::Null,
            };
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(first) = schema.pointer("/enum/0") {
            return first.clone();
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(choices) = schema.get(key).and_then(Value::as_array) {
                return self.choice(choices, name, depth);
            }
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.merged(schema, parts, name, depth);
        }
        match kind(schema, depth) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "string" => Value::String(self.string(schema, name)),
            "integer" | "number" => number(schema),
            "boolean" => Value::Bool(true),
            _ => Value::Null,
        }
    }

    /// References inside the document only: `#`, `#/$defs/name` and the like.
    fn resolve(&self, target: &str) -> Option<&'a Value> {
        self.root.pointer(target.strip_prefix('#')?)
    }

    /// The first choice; deep down `null` when it is one, since that ends a recursion.
    fn choice(&mut self, choices: &'a [Value], name: &str, depth: usize) -> Value {
        let is_null = |choice: &&Value| choice.get("type").and_then(Value::as_str) == Some("null");
        if depth >= SMALL_FROM && choices.iter().any(|choice| is_null(&choice)) {
            return Value::Null;
        }
        let first = choices.iter().find(|choice| !is_null(choice));
        first.map_or(Value::Null, |choice| self.value(choice, name, depth + 1))
    }

    /// Objects of all parts in one; any other kind of value comes from the first part.
    fn merged(&mut self, schema: &'a Value, parts: &'a [Value], name: &str, depth: usize) -> Value {
        let mut merged = Map::new();
        if schema.get("properties").is_some()
            && let Value::Object(own) = self.object(schema, depth)
        {
            merged.extend(own);
        }
        for part in parts {
            match self.value(part, name, depth + 1) {
                Value::Object(object) => merged.extend(object),
                other if merged.is_empty() => return other,
                _ => {}
            }
        }
        Value::Object(merged)
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> Value {
        let properties = schema.get("properties").and_then(Value::as_object);
        let required = schema.get("required").and_then(Value::as_array);
        let names: Vec<&str> = match (required, self.purpose) {
            (Some(required), _) => required.iter().filter_map(Value::as_str).collect(),
            // An empty object would be valid too, but shows nothing.
            (None, Purpose::Document) => properties
                .map(|properties| properties.keys().map(String::as_str).collect())
                .unwrap_or_default(),
            (None, Purpose::Arguments { .. }) => Vec::new(),
        };
        let mut object = Map::new();
        for name in names {
            let value = match properties.and_then(|properties| properties.get(name)) {
                Some(property) => self.value(property, name, depth + 1),
                None => json!("demo"),
            };
            object.insert(name.to_owned(), value);
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &'a Value, name: &str, depth: usize) -> Value {
        let least = schema.get("minItems").and_then(Value::as_u64);
        let most = schema.get("maxItems").and_then(Value::as_u64);
        let wanted = least.unwrap_or(0).max(u64::from(depth < SMALL_FROM));
        let count = wanted.min(most.unwrap_or(u64::MAX)).min(64);
        let prefix = schema.get("prefixItems").and_then(Value::as_array);
        let items = schema.get("items");
        let element = |at: usize| prefix.and_then(|prefix| prefix.get(at)).or(items);
        (0..usize::try_from(count).unwrap_or(1))
            .map(|at| match element(at) {
                Some(element) => self.value(element, name, depth + 1),
                None => json!("demo"),
            })
            .collect()
    }

    fn string(&self, schema: &Value, name: &str) -> String {
        let mut text = match schema.get("format").and_then(Value::as_str) {
            Some("date") => "2026-01-01",
            Some("date-time") => "2026-01-01T00:00:00Z",
            Some("time") => "00:00:00Z",
            Some("email") => "demo@example.com",
            Some("uri" | "url") => "https://example.com",
            Some("uuid") => "00000000-0000-4000-8000-000000000000",
            Some("ipv4") => "127.0.0.1",
            _ => self.word(name),
        }
        .to_owned();
        let length = |key: &str| {
            let length = schema.get(key).and_then(Value::as_u64)?;
            Some(usize::try_from(length).unwrap_or(usize::MAX).min(4_096))
        };
        let missing = length("minLength").unwrap_or(0);
        let missing = missing.saturating_sub(text.chars().count());
        text.extend(std::iter::repeat_n('.', missing));
        if let Some(most) = length("maxLength") {
            text = text.chars().take(most).collect();
        }
        text
    }

    fn word(&self, name: &str) -> &'a str {
        match self.purpose {
            // Codex asks every upstream for the title of a new thread.
            Purpose::Document if name == "title" => "A look at Antiphon",
            Purpose::Document => "demo",
            Purpose::Arguments { prompt } => match name {
                "location" | "city" | "place" => place(prompt).unwrap_or("Paris"),
                "country" => "France",
                "unit" | "units" => "celsius",
                "query" | "q" | "search" => "Antiphon",
                "path" | "file" | "dir" | "directory" | "workdir" => ".",
                "cmd" | "command" => "pwd",
                "url" => "https://example.com",
                _ => "demo",
            },
        }
    }
}

/// The type of a schema, also when it is a list or has to be guessed from other keywords.
fn kind(schema: &Value, depth: usize) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            if depth >= SMALL_FROM && kinds.clone().any(|kind| kind == "null") {
                return "null";
            }
            kinds.find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        // Anything goes.
        _ => "string",
    }
}

/// One, or the nearest number the bounds allow.
fn number(schema: &Value) -> Value {
    let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
    let mut number = 1;
    if let Some(least) = bound("minimum") {
        number = number.max(least);
    }
    if let Some(above) = bound("exclusiveMinimum") {
        number = number.max(above.saturating_add(1));
    }
    if let Some(most) = bound("maximum") {
        number = number.min(most);
    }
    if let Some(below) = bound("exclusiveMaximum") {
        number = number.min(below.saturating_sub(1));
    }
    json!(number)
}

/// The capitalised words after "in", as in "the weather in New York?".
fn place(prompt: &str) -> Option<&str> {
    let (_, after) = prompt.rsplit_once(" in ")?;
    let mut end = 0;
    for word in after.split_inclusive(' ') {
        if !word.starts_with(char::is_uppercase) {
            break;
        }
        let name = word.trim_end_matches(|letter: char| !letter.is_alphanumeric());
        let whole = name.len() == word.trim_end().len();
        end += if whole { word.len() } else { name.len() };
        if !whole {
            break;
        }
    }
    let place = after.get(..end)?.trim();
    (!place.is_empty()).then_some(place)
}
