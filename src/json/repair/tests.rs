//! Tests of what mends near-JSON.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn repaired(text: &str) -> Option<String> {
    repair(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn lone_surrogates_become_replacement_characters() {
    for (text, want) in [
        (r#""\ud83d""#, r#""\ufffd""#),
        (r#""a\uDE00b""#, r#""a\ufffdb""#),
        (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
        (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
        (r#""\ud83dx\ude00""#, r#""\ufffdx\ufffd""#),
        (r#""\ud83d\n""#, r#""\ufffd\n""#),
        (r#""\\\ud83d""#, r#""\\\ufffd""#),
        (
            r#"{"\ud83d": ["\\ud83d", "\ud83d"]}"#,
            r#"{"\ufffd": ["\\ud83d", "\ufffd"]}"#,
        ),
    ] {
        assert_eq!(repaired(text).as_deref(), Some(want), "{text}");
        assert!(serde_json::from_str::<Value>(want).is_ok(), "{want}");
    }
}

#[test]
fn bare_words_for_numbers_become_null() {
    let text = r#"{"a":NaN,"b":[-Infinity, Infinity,nan,-inf],"c":"NaN"}"#;
    let want = r#"{"a":null,"b":[null, null,null,null],"c":"NaN"}"#;
    assert_eq!(repaired(text).as_deref(), Some(want));
}

#[test]
fn bytes_that_are_no_text_become_replacement_characters() {
    let mended = repair(b"{\"a\":\"\xf0\x9f\",\"b\":\"\xed\xa0\xbd\"}").unwrap();
    let value: Value = serde_json::from_slice(&mended).unwrap();
    assert_eq!(value["a"], "\u{fffd}");
    assert!(value["b"].as_str().unwrap().starts_with('\u{fffd}'));
}

#[test]
fn what_is_right_or_beyond_help_is_left_alone() {
    for text in [
        "",
        "null",
        "[1e5,-1.5E-3,true,false]",
        r#""\ud83d\ude00""#,
        r#""\\ud83d""#,
        r#""NaN, \"Infinity\"""#,
        "not json at all",
        r#"{"a": "cut \"#,
        r#"{"a": "cut \ud8"#,
        r#""\é\u12é4""#,
    ] {
        assert_eq!(repaired(text), None, "{text}");
    }
}

#[test]
fn strings_are_decoded_whatever_their_escapes() {
    let decoded = |raw| string_lossy(raw).map(Cow::into_owned);
    assert!(matches!(
        string_lossy(r#""plain""#),
        Some(Cow::Borrowed("plain"))
    ));
    assert_eq!(
        decoded(r#""a\n\ud83d\ude00""#).as_deref(),
        Some("a\n\u{1f600}")
    );
    assert_eq!(
        decoded(r#" "{\"a\":\"\ud83d" "#).as_deref(),
        Some("{\"a\":\"\u{fffd}")
    );
    assert_eq!(decoded(r#""\ude00\"}""#).as_deref(), Some("\u{fffd}\"}"));
    assert_eq!(decoded(r#""cut"#).as_deref(), Some("cut"));
    assert_eq!(decoded("{}"), None);
    assert_eq!(decoded(""), None);
}

#[test]
fn lossy_reads_twice_at_most() {
    let read = |json: &[u8]| serde_json::from_slice::<String>(json).ok();
    assert_eq!(lossy(br#""a""#, read).as_deref(), Some("a"));
    assert_eq!(lossy(br#""\ud83d""#, read).as_deref(), Some("\u{fffd}"));
    assert_eq!(lossy(b"5", read), None);
}

/// JSON strings, some with unpaired halves.
fn pieces(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(pieces), 0..12)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn valid_json_needs_no_repair(
        text in any::<String>(),
        number in any::<f64>(),
        inside in pieces(&["a", "é", "\\n", "\\\\", "\\\"", "NaN", "\\u00e9", "\\ud83d\\ude00"]),
    ) {
        let quoted = serde_json::to_string(&text).unwrap();
        let json = format!(r#"{{{quoted}:[null,{},true,"{inside}"]}}"#, serde_json::json!(number));
        prop_assert!(serde_json::from_str::<Value>(&json).is_ok());
        prop_assert_eq!(repair(json.as_bytes()), None);
    }

    #[test]
    fn lone_surrogates_are_repaired_to_what_parses(
        inside in pieces(&["a", "é", "\\n", "\\\\", "\\\"", "\\u00e9", "\\ud83d", "\\ude00", "u"]),
    ) {
        let json = format!(r#"{{"a":"{inside}","b":[Infinity]}}"#);
        let mended = repair(json.as_bytes()).unwrap();
        let value: Value = serde_json::from_slice(&mended).unwrap();
        let quoted = format!("\"{inside}\"");
        let decoded = string_lossy(&quoted).unwrap();
        prop_assert_eq!(value["a"].as_str(), Some(&*decoded));
        prop_assert_eq!(repair(&mended), None);
    }

    #[test]
    fn any_bytes_are_survived(bytes in any::<Vec<u8>>(), text in r#"[\\u"{}NaInf0-9d-]{0,40}"#) {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            if let Some(mended) = repair(bytes) {
                prop_assert!(str::from_utf8(&mended).is_ok());
                prop_assert_eq!(repair(&mended), None);
            }
        }
    }
}
