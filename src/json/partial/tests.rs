//! Tests of the field decoder: whichever way the input is cut, the text is the same.

use proptest::prelude::*;

use super::*;

fn fed<'a>(fragments: impl IntoIterator<Item = &'a str>) -> (String, Finish) {
    let mut decoder = FieldDecoder::new("input");
    let mut out = String::new();
    for fragment in fragments {
        decoder.push(fragment, &mut out);
    }
    let finish = decoder.finish(&mut out);
    assert_eq!(decoder.finish(&mut out), finish, "finish is not stable");
    (out, finish)
}

fn one_by_one(text: &str) -> (String, Finish) {
    fed(text.split_inclusive(|_: char| true))
}

/// Feeds the input whole, one character at a time and at every split.
#[track_caller]
fn check(input: &str, text: &str, finish: Finish) {
    let expected = (text.to_owned(), finish);
    assert_eq!(fed([input]), expected, "whole: {input}");
    assert_eq!(one_by_one(input), expected, "one by one: {input}");
    for (at, _) in input.char_indices() {
        let (left, right) = input.split_at(at);
        assert_eq!(fed([left, "", right]), expected, "{left} | {right}");
    }
}

#[test]
fn the_field_is_decoded() {
    let input = r#"{"input":"*** Begin \u00e9\ud83d\ude00\nPatch"}"#;
    check(input, "*** Begin é😀\nPatch", Finish::Whole);
    check(r#"{"input":""}"#, "", Finish::Whole);
    check(" \n{ \"input\"\t:\r\n \"x\" } ", "x", Finish::Whole);
    check(
        r#"{"input":"\"\\\/\b\f\n\r\t"}"#,
        "\"\\/\u{8}\u{c}\n\r\t",
        Finish::Whole,
    );
    check(r#"{"\u0069npu\u0074":"x"}"#, "x", Finish::Whole);
    check(r#"{"input":"日本😀語"}"#, "日本😀語", Finish::Whole);
}

#[test]
fn text_is_given_out_as_soon_as_it_is_certain() {
    let mut decoder = FieldDecoder::new("input");
    let mut out = String::new();
    decoder.push(r#"{"input":"ab"#, &mut out);
    assert_eq!(out, "ab");
    decoder.push("\\ud83d", &mut out);
    assert_eq!(out, "ab");
    decoder.push("\\ude00", &mut out);
    assert_eq!(out, "ab😀");
}

#[test]
fn other_members_are_skipped() {
    let input = r#"{"a":"in\"put","b":[1,{"input":"no","c":[]},"]"],"d":-1.5e+3,"e":null,
        "f":true,"g":false,"h":{},"input":"yes","z":[}"#;
    check(input, "yes", Finish::Whole);
}

#[test]
fn lone_surrogates_are_marked() {
    check(r#"{"input":"\ud83d"}"#, "\u{fffd}", Finish::Whole);
    check(
        r#"{"input":"\ude00x\ud83dx"}"#,
        "\u{fffd}x\u{fffd}x",
        Finish::Whole,
    );
    check(
        r#"{"input":"\ud83d\ud83d\ude00"}"#,
        "\u{fffd}😀",
        Finish::Whole,
    );
    check(
        r#"{"input":"\ud83d\n\ud83d\u0041"}"#,
        "\u{fffd}\n\u{fffd}A",
        Finish::Whole,
    );
    check(r#"{"input":"\ud83d\d"}"#, "\u{fffd}\\d", Finish::Whole);
}

#[test]
fn what_is_no_escape_keeps_its_backslash() {
    check(
        r#"{"input":"\d+\.\é\u12g\u"}"#,
        r"\d+\.\é\u12g\u",
        Finish::Whole,
    );
    check(
        r#"{"input":"\u00\n\ud83d\u1"}"#,
        "\\u00\n\u{fffd}\\u1",
        Finish::Whole,
    );
}

#[test]
fn control_characters_may_stand_in_the_string() {
    check(
        "{\"input\":\"a\n\tb\r\u{0}\"}",
        "a\n\tb\r\u{0}",
        Finish::Whole,
    );
}

#[test]
fn an_unfinished_string_is_cut() {
    check(r#"{"input":"abc"#, "abc", Finish::Cut);
    check(r#"{"input":"abc\"#, "abc", Finish::Cut);
    check(r#"{"input":"abc\u00e"#, "abc", Finish::Cut);
    check(r#"{"input":"abc\ud83d"#, "abc\u{fffd}", Finish::Cut);
    check(r#"{"input":""#, "", Finish::Cut);
    check(r#""abc"#, "abc", Finish::Cut);
}

#[test]
fn an_object_cut_before_the_field_gives_its_sole_string() {
    check(r#"{"patch":"a\nb"#, "a\nb", Finish::Cut);
    check(r#"{"patch":"a\"b","n":"#, "a\"b", Finish::Cut);
    check(r#"{"a":"x","b":"y"#, "", Finish::Cut);
    for input in [
        "{",
        "{\"inp",
        "{\"input\"",
        "{\"input\": ",
        "{\"a\":[1",
        "{\"a\":1,",
    ] {
        check(input, "", Finish::Cut);
    }
}

#[test]
fn bare_text_passes_unchanged() {
    check(
        "  *** Begin Patch\n{\"input\":1}",
        "  *** Begin Patch\n{\"input\":1}",
        Finish::Bare,
    );
    check("[1]", "[1]", Finish::Bare);
    check("é", "é", Finish::Bare);
}

#[test]
fn a_string_alone_is_decoded() {
    check(" \"a\\nb\" tail", "a\nb", Finish::Whole);
    check("\"\"", "", Finish::Whole);
}

#[test]
fn nothing_is_empty() {
    check("", "", Finish::Empty);
    check(" \n", "", Finish::Empty);
    check(" { } ", "", Finish::Empty);
}

#[test]
fn a_sole_string_member_is_taken_for_the_field() {
    check(r#"{"patch":"a\nb"}"#, "a\nb", Finish::Whole);
    check(r#"{"n":1,"patch":"a","l":["s"]} "#, "a", Finish::Whole);
    check(r#"{"patch":""}"#, "", Finish::Whole);
}

#[test]
fn an_object_without_the_field_is_taken_raw() {
    check(
        r#" {"a":"x", "b":"y"} "#,
        r#"{"a":"x", "b":"y"}"#,
        Finish::Bare,
    );
    check(r#"{"a":1}"#, r#"{"a":1}"#, Finish::Bare);
    check(
        r#"{"a":{"input":"x"}}"#,
        r#"{"a":{"input":"x"}}"#,
        Finish::Bare,
    );
}

#[test]
fn a_field_that_is_no_string_gives_its_json() {
    check(
        r#"{"input": {"a": [1, "x"]} }"#,
        r#"{"a": [1, "x"]}"#,
        Finish::Whole,
    );
    check(r#"{"input":12 ,"b":"x"}"#, "12", Finish::Whole);
    check(r#"{"input":[],"input":"later"}"#, "[]", Finish::Whole);
    check(r#"{"input":null}"#, "null", Finish::Whole);
    check(r#"{"input":{"a":"#, r#"{"a":"#, Finish::Cut);
}

#[test]
fn what_is_not_json_is_bare() {
    for input in [
        "{ let x = 1; }",
        "{\"a\" = 1}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":-}",
        "{\"a\":1e}",
        "{\"a\":nulL}",
        "{\"a\":[1,]}",
        "{\"a\":[1}}",
        "{\"a\":{\"b\":}}",
        "{\"a\":1,}",
        "{,}",
        "{} + 1",
        "{\"a\":\"x\"}\n}",
        "{\"input\":1}x",
        " {\"input\": x}é",
        "{{\"input\":\"x\"}}",
    ] {
        check(input, input, Finish::Bare);
    }
}

#[test]
fn what_follows_the_field_is_ignored() {
    check(r#"{"input":"a" let "#, "a", Finish::Whole);
    check(r#"{"input":"a","input":"b"}"#, "a", Finish::Whole);
    check(r#"{"input":"a"}}}{"input":"b"}"#, "a", Finish::Whole);
}

#[test]
fn depth_is_no_matter() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let input = format!(r#"{{"a":{deep},"input":"x"}}"#);
    assert_eq!(fed([&*input]), ("x".to_owned(), Finish::Whole));
    assert_eq!(one_by_one(&input), ("x".to_owned(), Finish::Whole));
}

#[test]
fn nothing_is_kept_once_the_field_has_begun() {
    let mut decoder = FieldDecoder::new("input");
    let mut out = String::new();
    decoder.push(r#"{"a":[1,2,3],"inp"#, &mut out);
    assert!(!decoder.raw.is_empty());
    decoder.push(r#"ut":""#, &mut out);
    decoder.push("some text", &mut out);
    assert_eq!(decoder.raw.capacity(), 0);
}

/// Writes every character that is not ASCII as `\uXXXX`.
fn ascii(json: &str) -> String {
    let mut out = String::new();
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// Cuts `text` at the given places.
fn cut<'a>(text: &'a str, places: &[prop::sample::Index]) -> Vec<&'a str> {
    let mut places: Vec<_> = places
        .iter()
        .map(|place| place.index(text.len() + 1))
        .collect();
    places.sort_unstable();
    let mut parts = Vec::new();
    let mut rest = text;
    for place in places.into_iter().rev() {
        if let Some((left, right)) = rest.split_at_checked(place) {
            parts.push(right);
            rest = left;
        }
    }
    parts.push(rest);
    parts.reverse();
    parts
}

fn other_members() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        "1",
        "-0.5e9",
        "null",
        "true",
        "[]",
        "{}",
        r#"[1,{"input":"x"}]"#,
        r#""te\"xt""#,
        r#""""#,
    ]);
    prop::collection::vec(("[a-h ]{0,4}", value), 0..4).prop_map(|members| {
        let mut out = String::new();
        for (key, value) in members {
            out.push_str(&format!("\"{key}\" : {value}, "));
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_text_comes_through(
        text in any::<String>(),
        before in other_members(),
        after in other_members(),
        escape in any::<bool>(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut value = serde_json::to_string(&text).unwrap();
        if escape {
            value = ascii(&value);
        }
        let json = format!("{{{before}\"input\": {value}, {after}\"end\":0}}");
        let expected = (text, Finish::Whole);
        prop_assert_eq!(&fed(cut(&json, &places)), &expected);
        prop_assert_eq!(one_by_one(&json), expected);
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), true);
    }

    #[test]
    fn arbitrary_text_gives_the_same_whichever_way_it_is_cut(
        text in prop_oneof![
            any::<String>(),
            r#"[ ]?[{"]["\\inputa :,\[\]{}0-9é]{0,24}"#,
            r#"\{("a"|"input"|"\\u0069nput") ?: ?("\\u(d83d|0041|12|de00)*\\?[nd]?"?|1|\[|\{)[,}\]" ]{0,4}("input":"x")?[}x ]{0,3}"#,
        ],
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let whole = fed([&*text]);
        prop_assert_eq!(&fed(cut(&text, &places)), &whole);
        prop_assert_eq!(one_by_one(&text), whole);
    }

    #[test]
    fn members_are_skipped_exactly_if_they_are_json(value in r#"[\[\]{}",:ab0-9.eE+\-truefalsn ]{1,16}"#) {
        // Strings are read more leniently than JSON allows, but none of these characters shows it.
        let value = value.trim();
        prop_assume!(!value.is_empty());
        let json = format!("{{\"a\":{value},\"input\":\"x\"}}");
        let sound = serde_json::from_str::<&serde_json::value::RawValue>(&json).is_ok();
        let (text, finish) = fed([&*json]);
        prop_assert_eq!((&*text, finish) == ("x", Finish::Whole), sound, "{}", json);
    }
}
