//! Held against `serde_json`.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;
use crate::json::{Text, TextOr, repair};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Mixed<'a> {
    text: Text<'a>,
    #[serde(default)]
    number: Option<f64>,
    #[serde(default)]
    list: Vec<TextOr<'a, Inner<'a>>>,
    #[serde(default)]
    flag: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Inner<'a> {
    a: Text<'a>,
}

/// Whether it is read as `serde_json` reads it, where it must be, and not refused where it need not.
fn check(text: &str) {
    let expected = serde_json::from_str::<Value>(text);
    let halves = repair(text.as_bytes()).is_some();
    let values = read::<Value>(text);
    let raw = read::<&RawValue>(text).map(RawValue::get);
    let passed_over = read::<IgnoredAny>(text).is_some();
    match expected {
        Err(_) => {
            assert_eq!(values, None, "{text}");
            // A value that is passed over may be a number too large to be read.
            let any = serde_json::from_str::<IgnoredAny>(text).is_ok();
            assert_eq!(passed_over, any && !halves, "{text}");
        }
        Ok(_) if halves => assert_eq!((values, raw, passed_over), (None, None, false), "{text}"),
        Ok(expected) => {
            assert_eq!(values, Some(expected), "{text}");
            assert_eq!(raw, Some(text.trim_ascii()), "{text}");
            assert!(passed_over, "{text}");
        }
    }
    let mixed = serde_json::from_str::<Mixed<'_>>(text);
    assert_eq!(from_str::<Mixed<'_>>(text).ok(), mixed.ok(), "{text}");
    let known: Option<&RawValue> = serde_json::from_str(text).ok();
    if let Some(known) = known.filter(|_| !halves) {
        let read: Option<Value> = Deserialize::deserialize(Known(known)).ok();
        assert_eq!(read, serde_json::from_str(known.get()).ok(), "{text}");
        let same: Option<&RawValue> = Deserialize::deserialize(Known(known)).unwrap();
        let expected: Option<&RawValue> = serde_json::from_str(known.get()).unwrap();
        assert_eq!(same.map(RawValue::get), expected.map(RawValue::get));
    }
}

#[test]
fn what_is_json_is_read_as_serde_json_reads_it() {
    for text in [
        "null",
        "true",
        " false ",
        "0",
        "-0",
        "12",
        "-1.5e+10",
        "1E2",
        "0.1",
        "18446744073709551616",
        "1e308",
        "\"\"",
        r#""a\n\"\\\/\b\f\r\t\u00e9\ud83d\ude00é""#,
        "[]",
        "[ ]",
        "{}",
        "{ }",
        "[1,2]",
        "\t[ 1 , [ ] , { } ]\r\n",
        r#"{"a":1,"b":{"c":[null,"x"]}}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"\u0061":"b"}"#,
        "\"0123456\"",
        "\"01234567\"",
        "\"012345678\"",
        r#""012345\n8""#,
        r#""0123456\n8""#,
        r#""01234567\n""#,
        r#""\u0041234567\u00e9""#,
        r#"{"text":"a\n","number":1,"list":["b","\t",{"a":"c"},[],5],"flag":true,"more":[{}]}"#,
    ] {
        check(text);
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "",
        " ",
        "nul",
        "nulll",
        "tru",
        "True",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "1e400",
        "--1",
        "0x1",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"a\u{1}bcdefgh\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83d\\n\"",
        "\"\\ud83d\\ud83d\"",
        "\"\\ud83d",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{1:2}",
        "{\"a\":1]",
        "[1}",
        "1 2",
        "{} {}",
        "[]]",
        "{\"text\":1}",
        "{\"text\":\"a\",\"text\":\"b\"}",
        "\u{a0}1",
        "'a'",
        "NaN",
        "{\"more\":[1,{\"a\":[}]}",
    ] {
        check(text);
    }
}

#[test]
fn nesting_is_read_however_deep_it_is() {
    for depth in [1, 63, 64, 65, 66, 127, 128, 129, 5000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(from_str::<IgnoredAny>(&text).is_ok(), "{depth}");
            assert_eq!(from_str::<&RawValue>(&text).unwrap().get(), text);
            assert_eq!(read::<&RawValue>(&text).is_some(), depth <= 64, "{depth}");
            let value = from_str::<Value>(&text);
            assert_eq!(value.ok(), serde_json::from_str(&text).ok(), "{depth}");
            let cut = &text[..text.len() - 1];
            assert!(from_str::<IgnoredAny>(cut).is_err(), "{depth}");
        }
    }
}

#[test]
fn strings_are_borrowed_unless_they_have_escapes() {
    let text = r#"{"a":"plain","b\n":"es\ncaped"}"#;
    let read: BTreeMap<Text<'_>, Text<'_>> = read(text).unwrap();
    let borrowed = |text: &Text<'_>| matches!(text.0, Cow::Borrowed(_));
    let kinds: Vec<_> = read
        .iter()
        .map(|(key, value)| (borrowed(key), borrowed(value)))
        .collect();
    assert_eq!(kinds, [(true, true), (false, false)]);
}

#[test]
fn errors_are_those_of_serde_json() {
    for text in ["{\"text\":1}", "{\"text\":\"a\"", "[\n1"] {
        let error = from_str::<Mixed<'_>>(text).unwrap_err().to_string();
        let expected = serde_json::from_str::<Mixed<'_>>(text).unwrap_err();
        assert_eq!(error, expected.to_string());
    }
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("-1.5e3".to_owned()),
        "[ \\t]?(true|[0-9]{1,3})[ \\n]?",
        "\"([a-zé ]|\\\\n|\\\\\"|\\\\u00e9|\\\\ud83d\\\\ude00){0,20}\"",
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..6);
        let key = "(text|list|a|number|\\\\u0061)";
        let members = prop::collection::vec((key, inner), 0..6);
        prop_oneof![
            list.prop_map(|items| format!("[{}]", items.join(","))),
            members.prop_map(|members| {
                let each = members
                    .iter()
                    .map(|(key, value)| format!("\"{key}\": {value}"));
                format!("{{{}}}", each.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_json_is_read_as_serde_json_reads_it(text in json()) {
        check(&text);
    }

    #[test]
    fn json_with_a_fault_is_read_as_serde_json_reads_it(
        text in json(),
        at in any::<prop::sample::Index>(),
        fault in "[\\x00-\\x7f]{0,2}",
        cut in 0_usize..3,
    ) {
        let at = text.floor_char_boundary(at.index(text.len()));
        let end = text.ceil_char_boundary((at + cut).min(text.len()));
        check(&[&text[..at], &fault, &text[end..]].concat());
    }

    #[test]
    fn any_text_is_read_as_serde_json_reads_it(text in "[\\[\\]{}:,\"\\\\a-f0-9 .eu-]{0,16}") {
        check(&text);
    }
}
