//! Tests of kept items.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const DIGITS: &str = "0123456789abcdef0123456789abcdef";

fn keep(input: &str) -> Vec<String> {
    let raw: &RawValue = serde_json::from_str(input).unwrap();
    let kept = keep_input(raw, DIGITS, |id| {
        (id == "msg_known").then_some(r#"{"type":"message","id":"msg_known","role":"user","content":[],"status":"completed"}"#)
    });
    let list = String::from_utf8(kept.clone().into_json()).unwrap();
    let items: Vec<String> = kept
        .iter()
        .map(|(id, json)| {
            let item: Value = serde_json::from_slice(json).unwrap();
            assert_eq!(item["id"], id);
            String::from_utf8(json.to_vec()).unwrap()
        })
        .collect();
    assert_eq!(list, format!("[{}]", items.join(",")));
    items
}

#[test]
fn a_string_becomes_a_message() {
    assert_eq!(
        keep(r#""h\u00e9 \"you\"""#),
        [format!(
            r#"{{"type":"message","id":"msg_{DIGITS}8000","role":"user","content":[{{"type":"input_text","text":"h\u00e9 \"you\""}}],"status":"completed"}}"#
        )]
    );
}

#[test]
fn items_get_what_readers_rely_on() {
    let kept = keep(
        r#"[{"role":"assistant","content":"hi"},
            {"type":"message","role":"user","content":[{"type":"input_image","image_url":"u"}],"status":null},
            {"type":"function_call","id":"fc_own","call_id":"c","name":"f","arguments":"{}"},
            {"type":"function_call_output","call_id":"c","output":"1"},
            {"type":"reasoning","summary":[]},
            {"type":"item_reference","id":"msg_known"},
            {"id":"msg_unknown"}]"#,
    );
    assert_eq!(kept.len(), 6, "{kept:?}");
    assert!(kept[0].contains(r#""type":"output_text","text":"hi","annotations":[]"#));
    assert!(kept[1].contains(r#""detail":"auto""#) && kept[1].contains(r#""status":"completed""#));
    assert!(kept[2].contains(r#""id":"fc_own""#) && kept[2].contains(r#""status":"completed""#));
    assert!(kept[3].contains(&format!("\"fco_{DIGITS}8003\"")));
    assert!(kept[4].contains(&format!("\"rs_{DIGITS}8004\"")) && !kept[4].contains("status"));
    assert!(kept[5].contains("msg_known"));
}

#[test]
fn an_items_id_tells_its_response() {
    let response = format!("resp_{DIGITS}");
    assert_eq!(
        response_of(&format!("msg_{DIGITS}0001")),
        Some(response.clone())
    );
    assert_eq!(response_of(&format!("fco_{DIGITS}18000")), Some(response));
    assert_eq!(response_of("msg_1"), None);
    assert_eq!(response_of(&format!("rs_{DIGITS}zzzz")), None);
    assert_eq!(response_of(""), None);
}

#[test]
fn what_is_sealed_is_shown_to_those_who_ask() {
    let output = br#"[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"x"},{"type":"compaction","id":"cmp_1","encrypted_content":"y"}]"#;
    let body = br#"{"id":"resp_1"}"#;
    assert_eq!(
        String::from_utf8(join(body, output, false)).unwrap(),
        r#"{"id":"resp_1","output":[{"type":"reasoning","id":"rs_1","summary":[]},{"type":"compaction","id":"cmp_1","encrypted_content":"y"}]}"#
    );
    let shown = String::from_utf8(join(body, output, true)).unwrap();
    assert!(shown.contains(r#""encrypted_content":"x""#));
}

#[test]
fn a_page_names_its_ends() {
    let items = [
        ("a".to_owned(), "{}".to_owned()),
        ("b\"".to_owned(), "{}".to_owned()),
    ];
    assert_eq!(
        page(&items, true),
        r#"{"object":"list","data":[{},{}],"first_id":"a","last_id":"b\"","has_more":true}"#
    );
    assert_eq!(
        page(&[], false),
        r#"{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}"#
    );
}

#[test]
fn what_is_not_completed_stays_as_it_was_written() {
    let output = r#"{"type": "function_call_output", "id":"x" , "output":"a\u00e9\n\/", "more":[1.50,{"a":  1}], "status":"failed"}"#;
    assert_eq!(keep(&format!("[ {output} ]")), [output]);
    let twice = r#"{"type":"function_call","id":"x","name":"a","status":"completed", "name":"b"}"#;
    let once = r#"{"type":"function_call","id":"x","name":"b","status":"completed"}"#;
    assert_eq!(keep(&format!("[{twice}]")), [once]);
    assert!(keep("5").is_empty() && keep("null").is_empty() && keep("[5,\"a\",[]]").is_empty());
}

/// What an item is to be completed to, said on a tree of values, on which order does not show.
fn completed(item: &Value, n: usize) -> Option<Value> {
    let mut item: Map<String, Value> = item.as_object()?.clone();
    let kind = match item.get("type").and_then(Value::as_str) {
        Some(kind) => kind.to_owned(),
        None => {
            item.insert("type".into(), "message".into());
            "message".to_owned()
        }
    };
    let known = item.get("id").and_then(Value::as_str);
    if known.is_none_or(|id| id.is_empty() || id.len() > MAX_ID) {
        let id = format!("{}_{DIGITS}{:04x}", prefix(&kind), FIRST_INPUT + n);
        item.insert("id".into(), id.into());
    }
    if kind == "message" {
        let by_model = item.get("role") == Some(&json!("assistant"));
        let parts = match item.remove("content") {
            Some(Value::Array(parts)) => parts,
            Some(Value::String(text)) => vec![json!({"text": text})],
            Some(Value::Object(part)) => vec![Value::Object(part)],
            _ => Vec::new(),
        };
        let parts = parts.into_iter().map(|part| completed_part(part, by_model));
        item.insert("content".into(), parts.collect());
    }
    if kind == "reasoning" {
        item.entry("summary").or_insert_with(|| json!([]));
    }
    if kind == "message" || kind.ends_with("_call") || kind.ends_with("_call_output") {
        let status = item.entry("status").or_insert(Value::Null);
        if status.is_null() {
            *status = "completed".into();
        }
    }
    Some(Value::Object(item))
}

fn completed_part(part: Value, by_model: bool) -> Value {
    let Value::Object(mut part) = part else {
        return part;
    };
    let kind = part.get("type").and_then(Value::as_str);
    let is_text = matches!(kind, None | Some("text" | "input_text" | "output_text"));
    if is_text && part.contains_key("text") {
        let kind = if by_model {
            "output_text"
        } else {
            "input_text"
        };
        part.insert("type".into(), kind.into());
    }
    match part.get("type").and_then(Value::as_str) {
        Some("input_image") => _ = part.entry("detail").or_insert("auto".into()),
        Some("output_text") => _ = part.entry("annotations").or_insert(json!([])),
        _ => {}
    }
    Value::Object(part)
}

/// Some value, in words that mean something to an item or a part.
fn value() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "text",
        "input_text",
        "output_text",
        "input_image",
        "refusal",
        "user",
        "assistant",
        "",
        "a\n\"é",
        "completed",
    ]);
    let leaf = prop_oneof![
        word.prop_map(Value::from),
        Just(Value::Null),
        Just(json!(1.5)),
        Just(Value::from("x".repeat(MAX_ID + 1))),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        let key = prop::sample::select(vec![
            "type",
            "id",
            "role",
            "content",
            "text",
            "status",
            "summary",
            "detail",
            "annotations",
            "more \"\n",
        ]);
        let members = prop::collection::vec((key, inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| {
                let each = members.into_iter();
                each.map(|(key, value)| (key.to_owned(), value))
                    .collect::<Map<_, _>>()
                    .into()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_item_is_completed(items in prop::collection::vec(value(), 0..5)) {
        // A reference leads elsewhere, and what is neither a message nor named is taken for one.
        let refers = |item: &Value| {
            item.get("type").and_then(Value::as_str).is_none()
                && item.get("role").is_none()
                && item.get("content").is_none()
        };
        let kept = items.iter().enumerate().filter(|(_, item)| !refers(item));
        let expected: Vec<Value> = kept.filter_map(|(n, item)| completed(item, n)).collect();
        let items = serde_json::to_string_pretty(&Value::from(items)).unwrap();
        let kept: Vec<Value> = keep(&items)
            .iter()
            .map(|json| serde_json::from_str(json).unwrap())
            .collect();
        prop_assert_eq!(kept, expected);
    }
}
