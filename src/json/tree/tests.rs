//! Tests of the tree: what is read is written again.

use proptest::prelude::*;

use super::*;

fn rewritten(text: &str) -> String {
    let mut out = String::new();
    Tree::parse(text).unwrap().write(&mut out);
    out
}

#[test]
fn order_and_numbers_stay() {
    let text = r#"{"b":1.50e+3,"a":[0,-0.0,123456789012345678901234567890],"":{"x":null}}"#;
    assert_eq!(rewritten(text), text);
}

#[test]
fn white_space_goes() {
    assert_eq!(
        rewritten(" { \"a\" : [ 1 , true ] } \n"),
        r#"{"a":[1,true]}"#
    );
}

#[test]
fn last_of_equal_keys_wins_in_the_place_of_the_first() {
    assert_eq!(rewritten(r#"{"a":1,"b":2,"a":3}"#), r#"{"a":3,"b":2}"#);
    let many: String = (0..40)
        .map(|at| format!(r#""k{}":{at},"#, at % 20))
        .collect();
    let text = rewritten(&format!("{{{}\"end\":0}}", many));
    assert!(text.starts_with(r#"{"k0":20,"k1":21,"#), "{text}");
}

#[test]
fn escapes_are_decoded_and_only_the_needed_ones_written() {
    let text = r#"["\u00e9\/\"\\\n\u0001\ud83d\ude00","\ud800"]"#;
    assert_eq!(rewritten(text), "[\"é/\\\"\\\\\\n\\u0001😀\",\"\u{fffd}\"]");
}

#[test]
fn what_is_too_deep_stays_raw() {
    let text = format!("{}{}{}", "[".repeat(500), r#" "]" "#, "]".repeat(500));
    assert_eq!(rewritten(&text), text);
}

#[test]
fn what_is_not_json_is_not_read() {
    for text in [
        "", "{", "[1,]", "{\"a\"}", "01", "nul", "\"\t\"", "1 2", "{}x",
    ] {
        assert_eq!(Tree::parse(text), None, "{text}");
    }
}

#[test]
fn members_are_changed_in_place() {
    let mut tree = Tree::parse(r#"{"a":1,"b":2}"#).unwrap();
    assert_eq!(tree.insert("a", Tree::Null), Some(Tree::Number("1".into())));
    assert_eq!(tree.insert("c", Tree::object()), None);
    assert_eq!(tree.remove("b"), Some(Tree::Number("2".into())));
    assert_eq!(tree.remove("b"), None);
    let mut out = String::new();
    tree.write(&mut out);
    assert_eq!(out, r#"{"a":null,"c":{}}"#);
}

proptest! {
    #[test]
    fn any_string_comes_back(text in any::<String>()) {
        let json = serde_json::to_string(&text).unwrap();
        let tree = Tree::parse(&json).unwrap();
        prop_assert_eq!(tree.as_str(), Some(&*text));
        let mut out = String::new();
        tree.write(&mut out);
        prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }

    #[test]
    fn arbitrary_text_is_read_exactly_if_it_is_json(text in r#"[{}\[\]",:\\ua0-9.e\-ntruls ]{0,24}"#) {
        let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
        prop_assert_eq!(Tree::parse(&text).is_some(), is_json);
        if is_json {
            let once = rewritten(&text);
            prop_assert_eq!(rewritten(&once), once);
        }
    }
}
