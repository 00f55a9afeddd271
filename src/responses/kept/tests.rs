//! Tests of kept items.

use super::*;

const DIGITS: &str = "0123456789abcdef0123456789abcdef";

fn keep(input: &str) -> Vec<String> {
    let raw: &RawValue = serde_json::from_str(input).unwrap();
    let kept = keep_input(raw, DIGITS, |id| {
        (id == "msg_known").then_some(r#"{"type":"message","id":"msg_known","role":"user","content":[],"status":"completed"}"#)
    });
    kept.into_iter().map(|item| item.json).collect()
}

#[test]
fn a_string_becomes_a_message() {
    assert_eq!(
        keep(r#""h\u00e9 \"you\"""#),
        [format!(
            r#"{{"role":"user","type":"message","id":"msg_{DIGITS}8000","content":[{{"text":"hé \"you\"","type":"input_text"}}],"status":"completed"}}"#
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
    assert!(kept[0].contains(r#""text":"hi","type":"output_text","annotations":[]"#));
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
