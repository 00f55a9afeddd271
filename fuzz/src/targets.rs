//! What is fuzzed: each function takes any bytes and panics if a promise is broken. The ordinary
//! tests run the committed corpora through the same functions.

use antiphon::json;
use antiphon::json::partial::FieldDecoder;
use antiphon::json::schema::{SchemaRules, normalize};
use antiphon::profile::{self, Profile};
use antiphon::responses::{CreateResponse, kept};
use antiphon::responses::response::{Echo, Head};
use antiphon::sse::Decoder;
use antiphon::translate::{
    Bytes, Limits, LoweringOptions, Pipeline, Progress, Seal, Thinking, ToolMap, TurnContext, lower,
};
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

/// The decoder of event streams: any cut gives the same events.
pub fn sse_decode(data: &[u8]) {
    let decode = |pieces: &[&[u8]]| {
        let mut decoder = Decoder::new(1 << 20);
        let mut out: Vec<Vec<u8>> = Vec::new();
        for piece in pieces {
            decoder.push(piece, |event| out.push(event.to_vec())).expect("below the limit");
        }
        decoder.finish(|event| out.push(event.to_vec()));
        out
    };
    let (at, data) = cut(data);
    let whole = decode(&[data]);
    let (a, b) = data.split_at(at);
    assert_eq!(decode(&[a, b]), whole, "cut at {at}");
    let single: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(decode(&single), whole, "byte by byte");
}

/// Chunks to events: any cut gives the same events, and there is one terminal event, the last one.
pub fn pipeline(data: &[u8]) {
    let (at, data) = cut(data);
    let profile = generic();
    let whole = run(&[data], &profile);
    let (a, b) = data.split_at(at);
    assert_eq!(run(&[a, b], &profile), whole, "cut at {at}");
    check_events(&whole);
}

/// Requests: whatever reads as one lowers to JSON that reads again, or is refused.
pub fn create_response(data: &[u8]) {
    if let Some(request) = CreateResponse::read(data) {
        let slowly: CreateResponse<'_> = serde_json::from_slice(data).expect("what is read fast is read slowly");
        assert_eq!(format!("{request:?}"), format!("{slowly:?}"));
    }
    let mended = CreateResponse::mend_surrogates(data);
    let Ok(request) = CreateResponse::parse(mended.as_deref().unwrap_or(data)) else { return };
    let data = mended.as_deref().unwrap_or(data);
    if let Some(input) = request.raw_input(data) {
        let kept = kept::keep_input(input, "0123456789abcdef0123456789abcdef", |_| None);
        for (id, json) in kept.iter() {
            let item: Value = serde_json::from_slice(json).expect("a kept item is JSON");
            assert_eq!((item["id"].as_str(), item["type"].is_string()), (Some(id), true), "{item}");
        }
        serde_json::from_slice::<Vec<IgnoredAny>>(&kept.into_json()).expect("so is the list");
    }
    let echo = Echo::new(&request);
    let profile = generic();
    let options = LoweringOptions { profile: &profile, model: "m", effort: None, seal: &Plain };
    let Ok(lowered) = lower(request, &options) else { return };
    let chat = match serde_json::to_value(&lowered.chat) {
        Err(error) if error.to_string().starts_with(OUT_OF_RANGE) => return,
        chat => chat.expect("a chat request writes"),
    };
    check_pairing(&chat);
    let mut sink = Bytes::default();
    let limits = Limits { event_bytes: 1 << 20, answer_bytes: 1 << 20 };
    let pipeline = Pipeline::start(context(echo, lowered.tools), &profile, true, limits, &mut sink);
    pipeline.finish(None, 1, 0, &mut sink);
    check_events(&sink.out);
}

/// JSON: whatever is read is what `serde_json` reads, and nothing is refused without need.
pub fn read_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = json::read::<&RawValue>(text).map(RawValue::get);
    let expected = serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get);
    let nested = openings(data) > 64;
    let mended = json::repair(data).is_some();
    match read {
        Some(_) => assert_eq!(read, expected),
        None => assert!(expected.is_none() || nested || mended, "refused without need"),
    }
    if let Some(value) = json::read::<Value>(text) {
        assert_eq!(value, serde_json::from_str::<Value>(text).expect("it is JSON"));
    }
}

/// How many marks there are that may open an array or object.
fn openings(data: &[u8]) -> usize {
    data.iter().filter(|byte| matches!(byte, b'{' | b'[')).count()
}

/// Text with calls in it: any cut gives the same items, and the events are legal.
pub fn heal(data: &[u8]) {
    let (at, data) = cut(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let at = text.floor_char_boundary(at);
    let whole = heal_run(&[text]);
    let (a, b) = text.split_at(at);
    assert_eq!(items(&heal_run(&[a, b])), items(&whole), "cut at {at}");
    check_events(&whole);
}

/// The events of an answer that says these pieces, where two tools are offered.
fn heal_run(pieces: &[&str]) -> Vec<u8> {
    let request = br#"{"model":"m","input":"x","tools":[
        {"type":"function","name":"f","parameters":{"type":"object","properties":{"a":{"type":"integer"},"b":{}},"required":["a"]}},
        {"type":"custom","name":"g"}]}"#;
    let profile = generic();
    let request = CreateResponse::parse(request).expect("a request reads");
    let options = LoweringOptions { profile: &profile, model: "m", effort: None, seal: &Plain };
    let tools = lower(request, &options).expect("a request lowers").tools;
    let mut sink = Bytes::default();
    let limits = Limits { event_bytes: 1 << 20, answer_bytes: 1 << 20 };
    let context = context(Echo::new(&CreateResponse::default()), tools);
    let mut pipeline = Pipeline::start(context, &profile, false, limits, &mut sink);
    for piece in pieces {
        let chunk = serde_json::json!({"choices": [{"delta": {"content": piece}}]});
        pipeline.push(format!("data: {chunk}\n\n").as_bytes(), &mut sink);
    }
    pipeline.push(b"data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n", &mut sink);
    pipeline.finish(None, 1, 0, &mut sink);
    sink.out
}

/// The items of the response that a stream ends with.
fn items(out: &[u8]) -> Value {
    let text = std::str::from_utf8(out).expect("events are text");
    let last = text.split_terminator("\n\n").last().and_then(|frame| frame.split_once("data: "));
    let event: Value = serde_json::from_str(last.expect("an event").1).expect("an event is JSON");
    event["response"]["output"].clone()
}

/// The string inside half-arrived JSON: any cut gives the same text, and JSON gives what it says.
/// The schema normaliser reads the same bytes: what it writes is JSON, and final.
pub fn custom_input(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let decode = |pieces: &[&str]| {
        let mut decoder = FieldDecoder::new("input");
        let mut out = String::new();
        for piece in pieces {
            decoder.push(piece, &mut out);
        }
        decoder.finish(&mut out);
        out
    };
    let whole = decode(&[text]);
    let letters: Vec<String> = text.chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    assert_eq!(decode(&letters), whole, "letter by letter");
    let wrapped = serde_json::json!({ "input": text }).to_string();
    assert_eq!(decode(&[&wrapped]), text, "wrapped");

    let once = normalize(text, &SchemaRules::default()).into_owned();
    assert!(serde_json::from_str::<IgnoredAny>(&once).is_ok(), "a schema is JSON: {once}");
}

/// What `serde_json` says of a number that no `f64` holds.
const OUT_OF_RANGE: &str = "number out of range";

/// The first byte tells where to cut the rest.
fn cut(data: &[u8]) -> (usize, &[u8]) {
    match data.split_first() {
        Some((first, rest)) => ((usize::from(*first) * rest.len()) / 256, rest),
        None => (0, data),
    }
}

fn generic() -> Profile {
    profile::resolve("generic", "", None, &toml::Table::new()).expect("a built-in profile").1
}

fn context(echo: Echo, tools: ToolMap) -> TurnContext {
    let head = Head { id: "resp_00".into(), created_at: 1, model: "m".into(), echo };
    TurnContext::new(head, tools, Thinking::Summary)
}

fn run(pieces: &[&[u8]], profile: &Profile) -> Vec<u8> {
    let mut sink = Bytes::default();
    let limits = Limits { event_bytes: 1 << 20, answer_bytes: 1 << 20 };
    let context = context(Echo::new(&CreateResponse::default()), ToolMap::default());
    let mut pipeline = Pipeline::start(context, profile, true, limits, &mut sink);
    for piece in pieces {
        if pipeline.push(piece, &mut sink) == Progress::Over {
            break;
        }
    }
    pipeline.finish(None, 1, 0, &mut sink);
    sink.out
}

/// The rules of order that hold for every stream, checked without the program's types.
fn check_events(out: &[u8]) {
    let text = std::str::from_utf8(out).expect("events are text");
    let mut open = std::collections::BTreeMap::new();
    let mut terminal = false;
    let mut added = 0_u64;
    for (number, frame) in text.split_terminator("\n\n").enumerate() {
        let (name, data) = frame.split_once('\n').expect("two lines");
        let data = data.strip_prefix("data: ").expect("a data line");
        let event: Value = match serde_json::from_str(data) {
            // JSON has numbers that no `f64` holds; a client that sends one gets it told back.
            Err(error) if error.to_string().starts_with(OUT_OF_RANGE) => return,
            event => event.expect("an event is JSON"),
        };
        let kind = event["type"].as_str().expect("a type");
        assert_eq!(name.strip_prefix("event: "), Some(kind));
        assert_eq!(event["sequence_number"], number);
        assert!(!terminal, "{kind} after the terminal event");
        let index = event["output_index"].as_u64();
        match kind {
            "response.created" | "response.in_progress" => assert!(number < 2),
            "response.completed" | "response.incomplete" | "response.failed" => terminal = true,
            "response.output_item.added" => {
                assert_eq!(index, Some(added));
                added += 1;
                open.insert(index, event["item"]["id"].clone());
            }
            "response.output_item.done" => {
                assert_eq!(open.remove(&index), Some(event["item"]["id"].clone()));
            }
            _ => assert_eq!(open.get(&index), Some(&event["item_id"]), "{kind}"),
        }
    }
    assert!(terminal, "no terminal event");
}

/// Each call has its tool message right behind it, and each tool message its call.
fn check_pairing(chat: &Value) {
    let mut waiting: Vec<&Value> = Vec::new();
    for message in chat["messages"].as_array().expect("messages") {
        if message["role"] == "tool" {
            let at = waiting.iter().position(|id| **id == message["tool_call_id"]);
            waiting.remove(at.expect("a tool message follows its call"));
            continue;
        }
        assert!(waiting.is_empty(), "calls without their outputs: {waiting:?}");
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        waiting = calls.map(|call| &call["id"]).collect();
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let arguments = call["function"]["arguments"].as_str().expect("arguments are a string");
            assert!(serde_json::from_str::<Value>(arguments).is_ok_and(|value| value.is_object()), "{arguments}");
        }
    }
    assert!(waiting.is_empty(), "calls without their outputs: {waiting:?}");
}

/// Sealing that does nothing.
struct Plain;

impl Seal for Plain {
    fn seal(&self, plain: &[u8]) -> String {
        String::from_utf8_lossy(plain).into_owned()
    }

    fn open(&self, sealed: &str) -> Option<Vec<u8>> {
        Some(sealed.as_bytes().to_vec())
    }
}
