//! Tests of the schema rewrites, one by one and on generated schemas.

use proptest::prelude::*;

use super::*;

const INLINE: SchemaRules = SchemaRules {
    refs: Refs::Inline,
    type_lists: TypeLists::Split,
    constants: Constants::ToEnum,
    identifiers: Identifiers::Drop,
};

const KEEP: SchemaRules = SchemaRules {
    refs: Refs::Keep,
    type_lists: TypeLists::Keep,
    constants: Constants::Keep,
    identifiers: Identifiers::Keep,
};

#[track_caller]
fn check_with(rules: &SchemaRules, schema: &str, expected: &str) {
    let out = normalize(schema, rules);
    assert_eq!(out, expected, "of {schema}");
    assert_eq!(normalize(&out, rules), out, "again");
}

#[track_caller]
fn check(schema: &str, expected: &str) {
    check_with(&SchemaRules::default(), schema, expected);
}

fn with_property(schema: &str) -> String {
    format!(r#"{{"type":"object","properties":{{"p":{schema}}}}}"#)
}

/// Checks the schema of one property.
#[track_caller]
fn check_property(schema: &str, expected: &str) {
    check(&with_property(schema), &with_property(expected));
}

#[track_caller]
fn check_same(schema: &str) {
    for rules in [SchemaRules::default(), INLINE, KEEP] {
        let out = normalize(schema, &rules);
        assert!(matches!(out, Cow::Borrowed(_)), "{out}");
        assert_eq!(out, schema);
    }
}

#[test]
fn plain_schemas_are_not_touched() {
    check_same(NO_PARAMETERS);
    check_same(
        r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}"#,
    );
    check_same(
        r#" { "properties" : { "type": {"type":"string", "description":"\u00e9"} }, "type":"object" } "#,
    );
    check_same(r#"{"type":"object","properties":{},"required":[],"additionalProperties":false}"#);
    check_same(
        r#"{"type":"object","properties":{"x":{"anyOf":[{"type":"string"},{"type":"null"}],"default":null},"m":{"type":"object","properties":{},"additionalProperties":{"type":"number"}}}}"#,
    );
}

#[test]
fn schemas_of_codex_are_not_touched() {
    check_same(
        r#"{"type":"object","properties":{"cmd":{"type":"string","description":"Shell command to execute."},"prefix_rule":{"type":"array","description":"Reusable approval prefix","items":{"type":"string"}},"sandbox_permissions":{"type":"string","description":"Per-command sandbox","enum":["use_default","require_escalated"]},"tty":{"type":"boolean"},"yield_time_ms":{"type":"number"}},"required":["cmd"],"additionalProperties":false}"#,
    );
    check_same(
        r#"{"type":"object","properties":{"questions":{"type":"array","description":"Questions","items":{"type":"object","properties":{"id":{"type":"string","description":"Stable identifier"},"options":{"type":"array","items":{"type":"object","properties":{"label":{"type":"string"}},"required":["label"],"additionalProperties":false}}},"required":["id","options"],"additionalProperties":false}}},"required":["questions"],"additionalProperties":false}"#,
    );
}

#[test]
fn property_names_are_not_keywords() {
    check_same(
        r#"{"type":"object","properties":{"const":{"type":"string"},"nullable":{"type":"boolean"},"$ref":{"type":"string"},"$id":{"type":"string"},"encrypted":{"type":"boolean"},"anyOf":{"type":"array","items":{}}}}"#,
    );
    check_same(
        r#"{"type":"object","properties":{"p":{"type":"object","properties":{},"default":{"nullable":true,"const":1,"type":["a"]}}}}"#,
    );
}

#[test]
fn what_is_no_object_takes_no_parameters() {
    for schema in ["", "null", "true", "[]", "\"x\"", "1", "{", "{}x", "{}"] {
        check(schema, NO_PARAMETERS);
        assert!(matches!(normalize(schema, &INLINE), Cow::Owned(_)));
    }
}

#[test]
fn the_root_is_an_object() {
    check(r#"{"type":"object"}"#, NO_PARAMETERS);
    check(
        r#"{"type":["object","null"],"nullable":true}"#,
        NO_PARAMETERS,
    );
    check(r#"{"type":"string","properties":null}"#, NO_PARAMETERS);
    check(
        r#"{"description":"d","type":"object","required":[]}"#,
        r#"{"description":"d","type":"object","properties":{},"required":[]}"#,
    );
    check(
        r#"{"properties":{"a":{"type":"string"}}}"#,
        r#"{"type":"object","properties":{"a":{"type":"string"}}}"#,
    );
}

#[test]
fn a_reference_at_the_root_is_resolved() {
    check(
        r##"{"$ref":"#/$defs/a~1b","description":"mine","$defs":{"a/b":{"type":"object","description":"its","properties":{"x":{"$ref":"#/$defs/a~1b"}}}}}"##,
        r##"{"type":"object","properties":{"x":{"$ref":"#/$defs/a~1b"}},"description":"mine","$defs":{"a/b":{"type":"object","description":"its","properties":{"x":{"$ref":"#/$defs/a~1b"}}}}}"##,
    );
    for lost in [
        "#",
        "#/$defs/none",
        "https://example.com/schema.json",
        "#/%zz",
    ] {
        check(&format!(r#"{{"$ref":"{lost}"}}"#), NO_PARAMETERS);
    }
    check(
        r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}"##,
        r##"{"type":"object","properties":{},"$defs":{"a":{"$ref":"#/$defs/a"}}}"##,
    );
}

#[test]
fn unions_at_the_root_are_merged() {
    check(
        r#"{"type":"object","anyOf":[
            {"type":"object","description":"By id.","properties":{"kind":{"const":"id"},"id":{"type":"integer"}},"required":["kind","id"],"additionalProperties":false},
            {"type":"object","description":"By name.","properties":{"kind":{"const":"name"},"name":{"type":"string"},"id":{"type":"string"}},"required":["kind","name"],"additionalProperties":false},
            {"type":"null"}]}"#,
        r#"{"type":"object","properties":{"kind":{"type":"string","enum":["id","name"]},"id":{"anyOf":[{"type":"integer"},{"type":"string"}]},"name":{"type":"string"}},"required":["kind"],"additionalProperties":false,"description":"By id.\nBy name."}"#,
    );
    check(
        r##"{"$defs":{"base":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}},"allOf":[{"$ref":"#/$defs/base"},{"properties":{"b":{}},"required":["b"],"minProperties":2}]}"##,
        r##"{"type":"object","properties":{"a":{"type":"string"},"b":{}},"$defs":{"base":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}},"required":["a","b"],"minProperties":2}"##,
    );
    check(
        r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"required":["c"],"anyOf":[{"required":["a"]},{"required":["b"]}]}"#,
        r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"required":["c"]}"#,
    );
    check(
        r#"{"oneOf":[{"allOf":[{"properties":{"a":true},"required":["a"]}]},{"properties":{"a":{"type":"string"}},"required":["a"]}]}"#,
        r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}"#,
    );
}

#[test]
fn boolean_schemas_are_spelled_out() {
    check_property("true", "{}");
    check_property("null", "{}");
    check_property("false", r#"{"not":{}}"#);
    check_property(
        r#"{"type":"array","items":true}"#,
        r#"{"type":"array","items":{}}"#,
    );
    check_property(
        r#"{"type":"object","properties":{"x":true},"additionalProperties":true}"#,
        r#"{"type":"object","properties":{"x":{}},"additionalProperties":true}"#,
    );
    check_same(&with_property(
        r#"{"type":"array","prefixItems":[{"type":"string"}],"items":false}"#,
    ));
}

#[test]
fn a_list_of_types_becomes_a_union() {
    check_property(
        r#"{"description":"d","type":["string","null"],"minLength":1,"default":null}"#,
        r#"{"description":"d","anyOf":[{"type":"string","minLength":1},{"type":"null"}],"default":null}"#,
    );
    check_property(
        r#"{"type":["string","integer","array"],"minLength":1,"minimum":0,"maxItems":3,"format":"date","properties":{}}"#,
        r#"{"anyOf":[{"type":"string","minLength":1,"format":"date"},{"type":"integer","minimum":0},{"type":"array","maxItems":3,"items":{}}]}"#,
    );
    check_property(
        r#"{"type":["string","number","null"],"enum":["a",1,null,"b"]}"#,
        r#"{"anyOf":[{"type":"string","enum":["a","b"]},{"type":"number","enum":[1]},{"type":"null"}]}"#,
    );
    check_property(
        r#"{"type":["string","null"],"enum":["a"]}"#,
        r#"{"type":"string","enum":["a"]}"#,
    );
    check_property(
        r#"{"type":["string","null"],"const":"a"}"#,
        r#"{"type":"string","enum":["a"]}"#,
    );
    check_property(
        r#"{"type":["number","null"],"enum":["a"]}"#,
        r#"{"type":"number","enum":["a"]}"#,
    );
    check_property(r#"{"type":["string"]}"#, r#"{"type":"string"}"#);
    check_property(r#"{"type":["string","string"]}"#, r#"{"type":"string"}"#);
    check_property(
        r#"{"type":[],"properties":{}}"#,
        r#"{"type":"object","properties":{}}"#,
    );
    check_property(
        r#"{"type":["object","null"],"properties":{"x":{"type":["boolean","null"]}},"anyOf":[{"required":["x"]}]}"#,
        r#"{"anyOf":[{"type":"object","properties":{"x":{"anyOf":[{"type":"boolean"},{"type":"null"}]}},"anyOf":[{"required":["x"]}]},{"type":"null"}]}"#,
    );
    check_property(
        r#"{"type":["string","integer"],"anyOf":[{"minimum":1},{"minLength":1}]}"#,
        r#"{"oneOf":[{"type":"string"},{"type":"integer"}],"anyOf":[{"minimum":1},{"minLength":1}]}"#,
    );
}

#[test]
fn implied_types_are_said() {
    check_property(
        r#"{"properties":{}}"#,
        r#"{"type":"object","properties":{}}"#,
    );
    check_property(r#"{"items":{}}"#, r#"{"type":"array","items":{}}"#);
    check_property(
        r#"{"enum":["a","b"]}"#,
        r#"{"type":"string","enum":["a","b"]}"#,
    );
    check_property(r#"{"const":"a"}"#, r#"{"type":"string","enum":["a"]}"#);
    check_property(r#"{"const":1,"enum":[1,2]}"#, r#"{"enum":[1]}"#);
    check_same(&with_property(r#"{"enum":["a",1]}"#));
    check_same(&with_property(r#"{"description":"anything"}"#));
    check_property(r#"{"type":"array"}"#, r#"{"type":"array","items":{}}"#);
}

#[test]
fn nullable_becomes_a_union() {
    check_property(
        r#"{"type":"string","nullable":true,"description":"d"}"#,
        r#"{"anyOf":[{"type":"string"},{"type":"null"}],"description":"d"}"#,
    );
    check_property(
        r#"{"type":"string","nullable":false}"#,
        r#"{"type":"string"}"#,
    );
    check_property(
        r#"{"type":"string","enum":["a"],"nullable":true}"#,
        r#"{"anyOf":[{"type":"string","enum":["a"]},{"type":"null"}]}"#,
    );
    check_property(
        r##"{"$ref":"#/$defs/x","nullable":true,"title":"t"}"##,
        r##"{"title":"t","anyOf":[{"$ref":"#/$defs/x"},{"type":"null"}]}"##,
    );
    check_property(
        r#"{"oneOf":[{"type":"string"}],"nullable":true}"#,
        r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#,
    );
    check_property(r#"{"nullable":true,"title":"t"}"#, r#"{"title":"t"}"#);
    check_with(
        &KEEP,
        &with_property(r#"{"const":"a","nullable":true}"#),
        &with_property(r#"{"type":["string","null"],"enum":["a",null]}"#),
    );
}

#[test]
fn bounds_of_draft_4_become_numbers() {
    check_property(
        r#"{"type":"number","minimum":5.0,"exclusiveMinimum":true,"maximum":9,"exclusiveMaximum":false}"#,
        r#"{"type":"number","exclusiveMinimum":5.0,"maximum":9}"#,
    );
    check_same(&with_property(r#"{"type":"number","exclusiveMinimum":5}"#));
}

#[test]
fn markers_are_dropped() {
    check(
        r#"{"$schema":"s","$id":"i","type":"object","properties":{"m":{"type":"string","encrypted":true,"$comment":"c"}}}"#,
        r#"{"type":"object","properties":{"m":{"type":"string"}}}"#,
    );
    let kept = r#"{"$schema":"s","$id":"i","type":"object","properties":{}}"#;
    check_with(&KEEP, kept, kept);
}

#[test]
fn definitions_are_rewritten_in_place() {
    check(
        r##"{"type":"object","properties":{"a":{"$ref":"#/definitions/x"}},"definitions":{"x":{"type":["string","null"]}}}"##,
        r##"{"type":"object","properties":{"a":{"$ref":"#/definitions/x"}},"definitions":{"x":{"anyOf":[{"type":"string"},{"type":"null"}]}}}"##,
    );
}

#[test]
fn references_are_inlined() {
    check_with(
        &INLINE,
        r##"{"type":"object","properties":{"a":{"$ref":"#/definitions/x%20y","description":"mine"},"b":{"$ref":"http://x"}},"definitions":{"x y":{"type":["string","null"],"description":"its"}}}"##,
        r##"{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}],"description":"mine"},"b":{}}}"##,
    );
    check_with(
        &INLINE,
        r##"{"type":"object","properties":{"n":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"object","properties":{"n":{"$ref":"#/$defs/n"}}}}}"##,
        r##"{"type":"object","properties":{"n":{"type":"object","properties":{"n":{"type":"object","properties":{"n":{"type":"object","properties":{"n":{"type":"object"}}}}}}}}}"##,
    );
    check_with(
        &INLINE,
        r##"{"type":"object","properties":{"n":{"$ref":"#/$defs/a"}},"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}"##,
        r##"{"type":"object","properties":{"n":{"type":"object"}}}"##,
    );
}

#[test]
fn inlining_is_bounded() {
    let mut defs = String::new();
    for at in 0..40 {
        let next = format!(r##"{{"$ref":"#/$defs/d{}"}}"##, at + 1);
        defs.push_str(&format!(
            r#""d{at}":{{"properties":{{"a":{next},"b":{next}}}}},"#
        ));
    }
    let schema = format!(
        r##"{{"properties":{{"p":{{"$ref":"#/$defs/d0"}}}},"$defs":{{{defs}"d40":{{}}}}}}"##
    );
    let out = normalize(&schema, &INLINE);
    assert!(out.len() < 1 << 20 && !out.contains("$ref"));
    let unions = format!("{}{}", r#"{"anyOf":["#.repeat(2_000), r#"]}"#.repeat(2_000));
    assert_eq!(normalize(&unions, &INLINE), NO_PARAMETERS);
}

#[test]
fn depth_is_bounded() {
    for levels in [60, 64, 200, 5_000] {
        let open = r#"{"type":["object","null"],"nullable":true,"properties":{"p":"#.repeat(levels);
        let close = "}}".repeat(levels);
        let schema = format!(
            r##"{{"$defs":{{"a":{open}{{"$ref":"#/$defs/a"}}{close}}},"properties":{{"x":{{"$ref":"#/$defs/a"}}}}}}"##
        );
        for rules in [SchemaRules::default(), INLINE, KEEP] {
            let out = normalize(&schema, &rules);
            assert!(out.starts_with(r#"{"type":"object","#));
            assert!(Tree::parse(&out).is_some());
        }
    }
}

/// Schemas of all kinds, sound and unsound.
fn schemas() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "true",
        "false",
        "null",
        "{}",
        "1",
        r#"{"type":"string"}"#,
        r#"{"type":"null"}"#,
        r#"{"const":"a"}"#,
        r##"{"$ref":"#/$defs/a"}"##,
        r##"{"$ref":"#/$defs/b"}"##,
        r##"{"$ref":"#"}"##,
        r#"{"type":"object"}"#,
        r#"{"required":["a","b"]}"#,
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 4, |inner| {
        let plain = prop::sample::select(vec![
            r#""type":"object""#,
            r#""type":"array""#,
            r#""type":["string","null"]"#,
            r#""type":["object","array","integer","number"]"#,
            r#""type":[]"#,
            r#""type":["null"]"#,
            r#""type":["string","boolean"]"#,
            r#""type":null"#,
            r#""type":["x",1,"number"]"#,
            r#""nullable":true"#,
            r#""nullable":false"#,
            r#""enum":["a","b"]"#,
            r#""enum":["a",1,null,2.5,{}]"#,
            r#""enum":[]"#,
            r#""const":"a""#,
            r#""const":null"#,
            r#""const":3"#,
            r#""minimum":1"#,
            r#""exclusiveMinimum":true"#,
            r#""minLength":2"#,
            r#""description":"d""#,
            r#""format":"date""#,
            r#""additionalProperties":false"#,
            r#""encrypted":true"#,
            r#""$schema":"s""#,
            r#""$comment":"c""#,
            r#""required":["a"]"#,
            r#""default":null"#,
            r##""$ref":"#/$defs/a""##,
            r##""$ref":"#/properties/a""##,
            r#""properties":null"#,
            r#""items":false"#,
            r#""x-y":1"#,
        ])
        .prop_map(str::to_owned);
        let one = (
            prop::sample::select(vec![
                "items",
                "not",
                "if",
                "additionalProperties",
                "contains",
            ]),
            inner.clone(),
        )
            .prop_map(|(key, schema)| format!("\"{key}\":{schema}"));
        let list = (
            prop::sample::select(vec!["anyOf", "oneOf", "allOf", "prefixItems", "items"]),
            prop::collection::vec(inner.clone(), 0..3),
        )
            .prop_map(|(key, schemas)| format!("\"{key}\":[{}]", schemas.join(",")));
        let map = (
            prop::sample::select(vec!["properties", "properties", "$defs", "definitions"]),
            prop::collection::vec((prop::sample::select(vec!["a", "b", "type"]), inner), 0..3),
        )
            .prop_map(|(key, schemas)| {
                let members: Vec<_> = schemas
                    .iter()
                    .map(|(name, schema)| format!("\"{name}\":{schema}"))
                    .collect();
                format!("\"{key}\":{{{}}}", members.join(","))
            });
        prop::collection::vec(prop_oneof![3 => plain, 1 => one, 1 => list, 1 => map], 0..6)
            .prop_map(|members| format!("{{{}}}", members.join(",")))
    })
}

fn all_rules() -> impl Strategy<Value = SchemaRules> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(a, b, c, d)| {
        SchemaRules {
            refs: if a { Refs::Keep } else { Refs::Inline },
            type_lists: if b { TypeLists::Split } else { TypeLists::Keep },
            constants: if c {
                Constants::ToEnum
            } else {
                Constants::Keep
            },
            identifiers: if d {
                Identifiers::Drop
            } else {
                Identifiers::Keep
            },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn once_is_enough(schema in schemas(), rules in all_rules()) {
        let once = normalize(&schema, &rules);
        let tree = Tree::parse(&once).unwrap();
        prop_assert_eq!(tree.get("type").and_then(Tree::as_str), Some("object"));
        prop_assert!(tree.get("properties").is_some_and(Tree::is_object));
        for gone in ["anyOf", "oneOf", "allOf", "$ref", "nullable"] {
            prop_assert!(!tree.has(gone));
        }
        let twice = normalize(&once, &rules);
        prop_assert_eq!(&twice, &once);
        prop_assert!(matches!(twice, Cow::Borrowed(_)), "{}", once);
        if let Cow::Owned(text) = &once {
            prop_assert_ne!(Tree::parse(&schema), Tree::parse(text), "{}", schema);
        }
    }

    #[test]
    fn any_text_is_taken(text in any::<String>()) {
        let _ = normalize(&text, &INLINE);
    }
}
