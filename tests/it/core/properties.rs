//! What holds for all answers, made up at random: the events are legal, nothing that was said is
//! lost, and the network's cuts do not matter.

use antiphon::translate::ToolMap;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{profile, run};
use crate::grammar;
use crate::support::events::{SseEvent, parse};

/// One thing that an upstream says.
#[derive(Debug, Clone)]
enum Said {
    Text(String),
    Thought(String),
    /// A call: its name, its arguments, cut into so many fragments.
    Call(String, Value, usize),
}

/// How a server sends calls.
#[derive(Debug, Clone, Copy)]
enum Calls {
    /// Index, id and name first, then fragments.
    Fragments,
    /// All in one chunk, without an index.
    WholeUnindexed,
    /// Id and name in each fragment.
    Repeated,
    /// Arguments as an object.
    Object,
}

fn word() -> impl Strategy<Value = String> {
    // Letters, blanks, quotes, backslashes, several bytes, and nothing that reads as a tag.
    proptest::string::string_regex("[a-zé😀\"\\\\/{}\\[\\]:,\u{0}-\u{1f} ]{1,12}")
        .expect("a pattern")
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => word().prop_map(Said::Text),
        2 => word().prop_map(Said::Thought),
        2 => ("[a-z_]{1,10}", word(), 1..5_usize)
            .prop_map(|(name, value, cuts)| Said::Call(name, json!({"value": value, "n": [1, {"x": "}"}]}), cuts)),
    ]
}

fn calls() -> impl Strategy<Value = Calls> {
    prop_oneof![
        Just(Calls::Fragments),
        Just(Calls::WholeUnindexed),
        Just(Calls::Repeated),
        Just(Calls::Object)
    ]
}

/// The stream of a server that says all that, in that way.
fn wire(all: &[Said], calls: Calls, ending: &str) -> Vec<u8> {
    let mut chunks = vec![json!({"role": "assistant", "content": ""})];
    let mut index = 0;
    for said in all {
        match said {
            Said::Text(text) => chunks.push(json!({"content": text})),
            Said::Thought(text) => chunks.push(json!({"reasoning_content": text})),
            Said::Call(name, arguments, cuts) => {
                chunks.extend(call(name, arguments, *cuts, index, calls));
                index += 1;
            }
        }
    }
    let mut out = String::new();
    for delta in chunks {
        let chunk = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        out.push_str(&format!("data: {chunk}{ending}"));
    }
    let last = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    out.push_str(&format!("data: {last}{ending}data: [DONE]{ending}"));
    out.into_bytes()
}

fn call(name: &str, arguments: &Value, cuts: usize, index: usize, calls: Calls) -> Vec<Value> {
    let id = format!("call_{index}");
    let text = arguments.to_string();
    let tool = |call: Value| json!({"tool_calls": [call]});
    let pieces: Vec<String> = {
        let letters: Vec<char> = text.chars().collect();
        letters
            .chunks(letters.len() / cuts + 1)
            .map(|piece| piece.iter().collect())
            .collect()
    };
    match calls {
        Calls::WholeUnindexed => {
            vec![tool(json!({"id": id, "function": {"name": name, "arguments": text}}))]
        }
        Calls::Object => {
            vec![tool(json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}}))]
        }
        Calls::Repeated => pieces
            .iter()
            .map(|piece| tool(json!({"index": index, "id": id, "function": {"name": name, "arguments": piece}})))
            .collect(),
        Calls::Fragments => {
            let first = tool(json!({"index": index, "id": id, "function": {"name": name, "arguments": ""}}));
            let rest = pieces.iter().map(|piece| tool(json!({"index": index, "function": {"arguments": piece}})));
            std::iter::once(first).chain(rest).collect()
        }
    }
}

fn response(events: &[SseEvent]) -> &Value {
    &events.last().expect("a terminal event").data["response"]
}

/// All text of one kind of item in the output.
fn texts(response: &Value, kind: &str) -> String {
    let items = response["output"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|item| item["type"] == kind);
    items
        .flat_map(|item| item["content"].as_array().into_iter().flatten())
        .filter_map(|part| part["text"].as_str())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_arrives_in_legal_events(
        all in proptest::collection::vec(said(), 0..12),
        calls in calls(),
        ending in prop_oneof![Just("\n\n"), Just("\r\n\r\n"), Just("\r\r")],
    ) {
        let bytes = wire(&all, calls, ending);
        let out = run(&[&bytes], &profile("generic"), ToolMap::default());
        let events = parse(&out);
        grammar::check(&events);
        let response = response(&events);
        prop_assert_eq!(&response["status"], "completed");

        let made: Vec<_> = response["output"].as_array().into_iter().flatten()
            .filter(|item| item["type"] == "function_call")
            .map(|item| {
                let arguments: Value = serde_json::from_str(item["arguments"].as_str().unwrap_or_default()).unwrap_or_default();
                (item["name"].as_str().unwrap_or_default().to_owned(), arguments)
            })
            .collect();
        let meant: Vec<_> = all.iter()
            .filter_map(|said| if let Said::Call(name, arguments, _) = said { Some((name.clone(), arguments.clone())) } else { None })
            .collect();
        prop_assert_eq!(made, meant, "calls");

        // White space between items is nobody's; all else must be there, in order.
        let solid = |text: String| text.split_whitespace().collect::<String>();
        let meant: String = all.iter().filter_map(|said| if let Said::Text(text) = said { Some(text.as_str()) } else { None }).collect();
        prop_assert_eq!(solid(texts(response, "message")), solid(meant), "text");
        let meant: String = all.iter().filter_map(|said| if let Said::Thought(text) = said { Some(text.as_str()) } else { None }).collect();
        prop_assert_eq!(solid(texts(response, "reasoning")), solid(meant), "thinking");
    }

    #[test]
    fn cuts_do_not_matter(
        all in proptest::collection::vec(said(), 0..8),
        calls in calls(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let bytes = wire(&all, calls, "\r\n\r\n");
        let whole = run(&[&bytes], &profile("generic"), ToolMap::default());
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for place in places.into_iter().chain([bytes.len()]) {
            pieces.push(&bytes[from..place]);
            from = place;
        }
        prop_assert_eq!(run(&pieces, &profile("generic"), ToolMap::default()), whole);
    }

    #[test]
    fn any_bytes_end_in_one_legal_terminal_event(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let events = parse(&run(&[&bytes], &profile("generic"), ToolMap::default()));
        grammar::check(&events);
    }

    #[test]
    fn any_json_ends_in_one_legal_terminal_event(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just(r#"{"choices":[{"delta":{"content":"a"}}]}"#),
                Just(r#"{"choices":[{"delta":{"content":null,"reasoning":"r"}}]}"#),
                Just(r#"{"choices":[{"delta":{"content":[{"type":"text","text":"t"},{"type":"thinking","thinking":[{"text":"q"}]}]}}]}"#),
                Just(r#"{"choices":[{"delta":{"refusal":"no"}}]}"#),
                Just(r#"{"choices":[{"delta":{"content":"<think>"}}]}"#),
                Just(r#"{"choices":[{"delta":{"content":"</think>\n"}}]}"#),
                Just(r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#),
                Just(r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}}]}"#),
                Just(r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"g","arguments":"1}"}}]}}]}"#),
                Just(r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"","function":{"name":"","arguments":null}}]}}]}"#),
                Just(r#"{"choices":[{"delta":{"function_call":{"name":"l","arguments":"{}"}}}]}"#),
                Just(r#"{"choices":[{"delta":{"annotations":[{"type":"url_citation","url_citation":{"url":"u"}}]}}]}"#),
                Just(r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#),
                Just(r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#),
                Just(r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#),
                Just(r#"{"error":"it broke"}"#),
                Just("[DONE]"),
                Just("{"),
            ],
            0..14,
        )
    ) {
        let bytes: String = pieces.iter().map(|piece| format!("data: {piece}\n\n")).collect();
        let events = parse(&run(&[bytes.as_bytes()], &profile("generic"), ToolMap::default()));
        grammar::check(&events);
    }
}
