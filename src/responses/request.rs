//! The body of `POST /v1/responses`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::ErrorObject;
use super::input::InputItem;
use crate::json::{self, Spanned, Text, TextOr, repair};

/// A request for a response. Keys that we do not know are let pass, as the API's clients send more
/// than is written down.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct CreateResponse<'a> {
    /// The model's name.
    #[serde(default)]
    pub model: Option<Text<'a>>,
    /// What is said: a string, or items.
    #[serde(default)]
    pub input: Option<Spanned<'a, TextOr<'a, InputItem<'a>>>>,
    /// The system message; it does not carry over from a previous response.
    #[serde(default, borrow)]
    pub instructions: Option<&'a RawValue>,
    /// Whether to stream.
    #[serde(default)]
    pub stream: Option<bool>,
    /// The tools, each unread.
    #[serde(default, borrow)]
    pub tools: Option<Vec<&'a RawValue>>,
    /// Which of them to call.
    #[serde(default, borrow)]
    pub tool_choice: Option<&'a RawValue>,
    /// Whether several may be called at once.
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    /// The most calls of hosted tools.
    #[serde(default)]
    pub max_tool_calls: Option<u64>,
    /// The most tokens of the answer, thinking included.
    #[serde(default)]
    pub max_output_tokens: Option<u64>,
    /// 0 to 2.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// 0 to 1.
    #[serde(default)]
    pub top_p: Option<f64>,
    /// 0 to 20.
    #[serde(default)]
    pub top_logprobs: Option<u64>,
    /// Not of this API, but sent by some clients; handed on.
    #[serde(default)]
    pub presence_penalty: Option<f64>,
    /// Not of this API, but sent by some clients; handed on.
    #[serde(default)]
    pub frequency_penalty: Option<f64>,
    /// Not of this API, but sent by some clients; handed on.
    #[serde(default, borrow)]
    pub seed: Option<&'a RawValue>,
    /// Not of this API, but sent by some clients; handed on.
    #[serde(default, borrow)]
    pub stop: Option<&'a RawValue>,
    /// Not of this API, but sent by some clients; handed on.
    #[serde(default, borrow)]
    pub logit_bias: Option<&'a RawValue>,
    /// Format and verbosity of the text.
    #[serde(default, deserialize_with = "object")]
    pub text: Option<TextOptions<'a>>,
    /// Effort and summary of the thinking.
    #[serde(default, deserialize_with = "object")]
    pub reasoning: Option<ReasoningOptions<'a>>,
    /// What else the answer is to hold.
    #[serde(default)]
    pub include: Option<Vec<Text<'a>>>,
    /// Up to 16 pairs of strings.
    #[serde(default)]
    pub metadata: Option<Metadata<'a>>,
    /// Whether the response is kept.
    #[serde(default)]
    pub store: Option<bool>,
    /// Whether the work goes on without the client.
    #[serde(default)]
    pub background: Option<bool>,
    /// The response that this one continues.
    #[serde(default)]
    pub previous_response_id: Option<Text<'a>>,
    /// The conversation that this one is part of.
    #[serde(default, borrow)]
    pub conversation: Option<&'a RawValue>,
    /// `auto` or `disabled`.
    #[serde(default)]
    pub truncation: Option<Text<'a>>,
    /// The wanted tier.
    #[serde(default)]
    pub service_tier: Option<Text<'a>>,
    /// Requests with the same key share a prompt cache.
    #[serde(default)]
    pub prompt_cache_key: Option<Text<'a>>,
    /// `in_memory` or `24h`.
    #[serde(default)]
    pub prompt_cache_retention: Option<Text<'a>>,
    /// Stands for the end user.
    #[serde(default)]
    pub safety_identifier: Option<Text<'a>>,
    /// The older name for it.
    #[serde(default)]
    pub user: Option<Text<'a>>,
    /// A stored prompt template.
    #[serde(default, borrow)]
    pub prompt: Option<&'a RawValue>,
    /// When the server sums up what came before.
    #[serde(default, borrow)]
    pub context_management: Option<&'a RawValue>,
    /// Over a WebSocket: whether an answer is wanted, or what comes before is only handed in.
    #[serde(default)]
    pub generate: Option<bool>,
    /// What the request continues, out of a store: not of the body.
    #[serde(skip)]
    pub history: Vec<InputItem<'a>>,
    /// How many turns of what it continues are to be left out, the oldest first: not of the body.
    #[serde(skip)]
    pub drop_turns: usize,
}

impl<'a> CreateResponse<'a> {
    /// Reads a request body.
    ///
    /// # Errors
    /// What the API answers with 400: not JSON, or a value of a type that its key does not take,
    /// with the key's path in `param`.
    pub fn parse(body: &'a [u8]) -> Result<Self, ErrorObject> {
        if let Some(request) = Self::read(body) {
            return Ok(request);
        }
        match serde_json::from_slice(body) {
            Ok(Object(request)) => Ok(request),
            Err(error) => Err(explain(body, &error)),
        }
    }

    /// Reads a request body in which nothing is out of the ordinary, and nothing to be mended: the
    /// fast way, which leaves all others to [`Self::parse`].
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let Object(request) = json::read(json::as_text(body)?)?;
        Some(request)
    }

    /// The body without what keeps it from being JSON although its meaning is plain: halves of
    /// surrogate pairs (JavaScript cuts strings there), broken UTF-8. `None` if that is not it.
    #[must_use]
    pub fn mend(body: &[u8]) -> Option<Vec<u8>> {
        repair(body)
    }

    /// The body without halves of surrogate pairs, if it has any: parts of it go on unread, to the
    /// upstream and back to the client, whose parsers may be stricter than ours.
    #[must_use]
    pub fn mend_surrogates(body: &[u8]) -> Option<Vec<u8>> {
        let is_there = |escape: &[u8]| memchr::memmem::find(body, escape).is_some();
        (is_there(b"\\ud") || is_there(b"\\uD"))
            .then(|| repair(body))
            .flatten()
    }

    /// The `input`, unread. `body` is what the request was read from.
    #[must_use]
    pub fn raw_input(&self, body: &'a [u8]) -> Option<&'a RawValue> {
        if let Some(input) = &self.input
            && input.raw.is_some()
        {
            return input.raw;
        }

        #[derive(Deserialize)]
        struct Input<'a> {
            #[serde(default, borrow)]
            input: Option<&'a RawValue>,
        }

        let body: Input<'a> = json::from_slice(body).ok()?;
        body.input
    }

    /// Whether it goes on from something that is stored.
    #[must_use]
    pub fn continues(&self) -> bool {
        self.previous_response_id.is_some() || self.conversation_id().is_some()
    }

    /// The id of its conversation: a string, or an object that has it.
    #[must_use]
    pub fn conversation_id(&self) -> Option<Text<'a>> {
        #[derive(Deserialize)]
        #[serde(bound(deserialize = "'de: 'a"))]
        struct Conversation<'a> {
            id: Text<'a>,
        }

        let raw = self.conversation?.get();
        serde_json::from_str(raw)
            .or_else(|_| serde_json::from_str::<Conversation<'a>>(raw).map(|named| named.id))
            .ok()
    }

    /// The tokens from which on the server is to sum up what came before, if it is to.
    #[must_use]
    pub fn compact_threshold(&self) -> Option<u64> {
        #[derive(Deserialize)]
        struct Rule<'a> {
            #[serde(rename = "type", borrow)]
            kind: Text<'a>,
            #[serde(default)]
            compact_threshold: Option<u64>,
        }

        let rules: Vec<Rule<'a>> = serde_json::from_str(self.context_management?.get()).ok()?;
        let rule = rules
            .into_iter()
            .find(|rule| rule.kind.as_str() == "compaction")?;
        rule.compact_threshold
    }

    /// Whether the answer is asked to hold `what`.
    #[must_use]
    pub fn includes(&self, what: &str) -> bool {
        self.include
            .iter()
            .flatten()
            .any(|asked| asked.as_str() == what)
    }
}

/// Reads the body once more, slower, to tell where it went wrong.
fn explain(body: &[u8], error: &serde_json::Error) -> ErrorObject {
    let deserializer = &mut serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, CreateResponse<'_>>(deserializer) {
        Err(error) if error.inner().is_data() && error.path().iter().next().is_some() => {
            let param = error.path().to_string().replace(".[", "[");
            let message = strip_position(&error.inner().to_string());
            ErrorObject::invalid(format!("Invalid value for '{param}': {message}"))
                .with_param(param)
                .with_code("invalid_value")
        }
        _ if error.is_data() => ErrorObject::invalid(format!(
            "The body must be a JSON object: {}.",
            strip_position(&error.to_string())
        )),
        _ => ErrorObject::invalid(format!(
            "We could not parse the JSON body of your request: {error}."
        )),
    }
}

/// serde's messages end with a place in the bytes, which the path says better.
fn strip_position(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(at) => message.get(..at).unwrap_or(message).to_owned(),
        None => message.to_owned(),
    }
}

/// What is an object and nothing else: a derived struct would take a list of its values too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    let object: Option<Object<T>> = Option::deserialize(value)?;
    Ok(object.map(|Object(value)| value))
}

/// `text`: format and verbosity.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct TextOptions<'a> {
    /// `text`, `json_object` or `json_schema`, as it came.
    #[serde(default, borrow)]
    pub format: Option<&'a RawValue>,
    /// `low`, `medium`, `high`.
    #[serde(default)]
    pub verbosity: Option<Text<'a>>,
}

/// `text.format`, read.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct TextFormat<'a> {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    pub kind: Text<'a>,
    /// The schema's name.
    #[serde(default)]
    pub name: Option<Text<'a>>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<Text<'a>>,
    /// The schema.
    #[serde(default, borrow)]
    pub schema: Option<&'a RawValue>,
    /// Whether the answer must fit it.
    #[serde(default)]
    pub strict: Option<bool>,
}

/// `reasoning`: effort, summary and what else is asked of the thinking.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct ReasoningOptions<'a> {
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`, or what a model has of its own.
    #[serde(default)]
    pub effort: Option<Text<'a>>,
    /// `auto`, `concise`, `detailed`.
    #[serde(default)]
    pub summary: Option<Text<'a>>,
    /// The older name of `summary`.
    #[serde(default, skip_serializing)]
    pub generate_summary: Option<Text<'a>>,
    /// `auto`, `current_turn`, `all_turns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Text<'a>>,
    /// `standard`, `pro`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Text<'a>>,
}

/// Pairs of strings, in the client's order.
#[derive(Debug, Clone, Default)]
pub struct Metadata<'a>(pub Vec<(Text<'a>, Text<'a>)>);

impl Serialize for Metadata<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Metadata<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Metadata<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose values are strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Metadata(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}
