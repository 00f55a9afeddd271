//! Tests of fields that may be anything.

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Odd<'a> {
    #[serde(default, deserialize_with = "text")]
    text: Option<Text<'a>>,
    #[serde(default, deserialize_with = "word")]
    word: Option<Text<'a>>,
    #[serde(default, deserialize_with = "count")]
    count: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    whole: Option<i64>,
    #[serde(default, deserialize_with = "float")]
    float: Option<f64>,
    #[serde(default, deserialize_with = "bytes")]
    bytes: Option<Vec<u8>>,
    #[serde(default, deserialize_with = "object")]
    object: Option<Box<Self>>,
    #[serde(default, deserialize_with = "list")]
    list: Option<Vec<Self>>,
}

/// Every kind of value.
const VALUES: [&str; 14] = [
    "null",
    "true",
    "0",
    "-1",
    "7.9",
    "1e300",
    "18446744073709551616",
    r#""""#,
    r#""a\n""#,
    "[]",
    r#"[null,1,"a",[[]],{"text":[]}]"#,
    "{}",
    r#"{"x":{"y":[{}]}}"#,
    r#"{"text":5,"list":{"word":{}}}"#,
];

fn odd(json: &str) -> Odd<'_> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn no_value_spoils_the_object_around_it() {
    let keys = [
        "text", "word", "count", "whole", "float", "bytes", "object", "list",
    ];
    for key in keys {
        for value in VALUES {
            let other = if key == "word" { "text" } else { "word" };
            let json = format!(r#"{{"{key}":{value},"{other}":"end"}}"#);
            let odd = odd(&json);
            let end = if key == "word" { odd.text } else { odd.word };
            assert_eq!(end.as_deref(), Some("end"), "{json}");
        }
    }
}

#[test]
fn numbers_come_in_strings_and_with_parts() {
    let count = |json: &str| odd(&format!(r#"{{"count":{json}}}"#)).count;
    assert_eq!(count("7"), Some(7));
    assert_eq!(count("7.9"), Some(7));
    assert_eq!(count(r#"" 7 ""#), Some(7));
    assert_eq!(count(r#""7.0""#), Some(7));
    assert_eq!(count("-7"), None);
    assert_eq!(count("-0.5"), None);
    assert_eq!(count(r#""NaN""#), None);
    assert_eq!(count(r#""many""#), None);
    assert_eq!(odd(r#"{"whole":"0"}"#).whole, Some(0));
    assert_eq!(odd(r#"{"whole":-3.0}"#).whole, Some(-3));
    assert_eq!(odd(r#"{"whole":null}"#).whole, None);
    assert_eq!(odd(r#"{"float":"-0.5"}"#).float, Some(-0.5));
}

#[test]
fn a_word_may_be_a_number() {
    assert_eq!(odd(r#"{"word":12}"#).word.as_deref(), Some("12"));
    assert_eq!(odd(r#"{"word":-1}"#).word.as_deref(), Some("-1"));
    assert_eq!(odd(r#"{"text":12}"#).text, None);
}

#[test]
fn text_is_borrowed() {
    let odd = odd(r#"{"text":"plain","word":"plain"}"#);
    for text in [odd.text, odd.word] {
        assert!(matches!(text.unwrap().into_cow(), Cow::Borrowed("plain")));
    }
}

#[test]
fn bytes_are_bytes_or_nothing() {
    assert_eq!(odd(r#"{"bytes":[0,255]}"#).bytes, Some(vec![0, 255]));
    assert_eq!(odd(r#"{"bytes":[0,256,1]}"#).bytes, None);
    assert_eq!(odd(r#"{"bytes":[null]}"#).bytes, None);
    assert_eq!(odd(r#"{"bytes":{}}"#).bytes, None);
}

#[test]
fn a_list_keeps_its_objects() {
    let texts = |json: &str| -> Option<Vec<String>> {
        let list = odd(json).list?;
        let text = |odd: Odd<'_>| odd.text.unwrap_or_default().to_string();
        Some(list.into_iter().map(text).collect())
    };
    let list = texts(r#"{"list":[null,{"text":"a"},5,"b",{"text":"c"},[{"text":"d"}]]}"#);
    assert_eq!(list.unwrap(), ["a", "c"]);
    assert_eq!(texts(r#"{"list":{"text":"a"}}"#).unwrap(), ["a"]);
    assert_eq!(texts(r#"{"list":"a"}"#), None);
}

#[test]
fn raw_elements_stay_as_they_are_written() {
    let raws = |json: &str| -> Option<Vec<String>> {
        let list = raw_list(&mut serde_json::Deserializer::from_str(json)).unwrap()?;
        Some(list.iter().map(|raw| raw.get().to_owned()).collect())
    };
    let list = raws(r#"[{ "a": 1 }, null, "b\ud83d", 5]"#);
    assert_eq!(list.unwrap(), [r#"{ "a": 1 }"#, r#""b\ud83d""#, "5"]);
    assert_eq!(raws(r#"{"a": 1}"#).unwrap(), [r#"{"a": 1}"#]);
    assert_eq!(raws(r#""text""#), None);
    assert_eq!(raws("5"), None);
    assert_eq!(raws("null"), None);
}

#[test]
fn what_is_not_json_is_an_error() {
    for json in [r#"{"count":}"#, r#"{"list":[{]}"#, r#"{"text":"\ud83d"}"#] {
        assert!(serde_json::from_str::<Odd<'_>>(json).is_err(), "{json}");
    }
}
