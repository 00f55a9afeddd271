//! Each format, as models write it.

use super::*;

const PARIS: &str = r#"→get_weather{"city":"Paris"}"#;

/// Text that is one call, in all formats and in that one alone.
fn one(format: HealFormat, text: &str, call: &str) {
    assert_eq!(all(text), [call], "{text}");
    assert_eq!(
        at_every_cut(text, &plan(&[format]), false),
        [call],
        "{text}"
    );
    let others: Vec<_> = HealFormat::ALL
        .into_iter()
        .filter(|other| *other != format)
        .collect();
    assert_eq!(
        at_every_cut(text, &plan(&others), false),
        [text],
        "switched off: {text}"
    );
    assert_eq!(
        all(&format!("Let me see.\n\n{text}\n")),
        ["Let me see.\n\n", call],
        "{text}"
    );
}

#[test]
fn hermes() {
    for text in [
        r#"<tool_call>{"name":"get_weather","arguments":{"city":"Paris"}}</tool_call>"#,
        "<tool_call>\n{\"name\":\"get_weather\",\"arguments\":{\"city\":\"Paris\"}}\n</tool_call>",
        r#"<tool_call>{"arguments":{"city":"Paris"},"name":"get_weather"}</tool_call>"#,
        r#"<tool_call>{"name":"get_weather","parameters":{"city":"Paris"}}</tool_call>"#,
        r#"<tool_call>{"name":"get_weather","arguments":"{\"city\":\"Paris\"}"}</tool_call>"#,
        r#"<tool_call>{"id":1,"type":"function","function":{"name":"get_weather","arguments":{"city":"Paris"}}}</tool_call>"#,
        r#"<tool_call>[{"name":"get_weather","arguments":{"city":"Paris"}}]</tool_call>"#,
        r#"<tool_call>{"name":"functions.get_weather","arguments":{"city":"Paris"}}</tool_call>"#,
        // The closing tag is missing, the last brace is, or there is one too many.
        r#"<tool_call>{"name":"get_weather","arguments":{"city":"Paris"}}"#,
        r#"<tool_call>{"name":"get_weather","arguments":{"city":"Paris"}</tool_call>"#,
        r#"<tool_call>{"name":"get_weather","arguments":{"city":"Paris"}}}</tool_call>"#,
        r#"<tool_call>{"name":"get_weather","arguments":{"city":"Paris"}}<|im_end|>"#,
    ] {
        one(HealFormat::Hermes, text, PARIS);
    }
    one(
        HealFormat::Hermes,
        "<tool_call>{\"name\":\"get_weather\",\"arguments\":{\"city\":\"a\nb\tc\"}}</tool_call>",
        r#"→get_weather{"city":"a\nb\tc"}"#,
    );
    one(
        HealFormat::Hermes,
        r#"<tool_call>{"name":"now"}</tool_call>"#,
        "→now{}",
    );
    one(
        HealFormat::Hermes,
        r#"<tool_call>{"name":"now","arguments":null}</tool_call>"#,
        "→now{}",
    );
    one(
        HealFormat::Hermes,
        r#"<tool_call>{"name":"apply_patch","arguments":"*** Begin Patch\n"}</tool_call>"#,
        r#"→apply_patch{"input":"*** Begin Patch\n"}"#,
    );
}

#[test]
fn several_calls_and_text_around_them() {
    let call = |city: &str| {
        format!(
            r#"<tool_call>{{"name":"get_weather","arguments":{{"city":"{city}"}}}}</tool_call>"#
        )
    };
    let heard = |city: &str| format!(r#"→get_weather{{"city":"{city}"}}"#);
    let (a, b) = (call("A"), call("B"));
    assert_eq!(all(&format!("{a}\n{b}")), [heard("A"), heard("B")]);
    assert_eq!(
        all(&format!("One.\n{a}\nTwo.\n{b}\n\nThree.")),
        [
            "One.\n".to_owned(),
            heard("A"),
            "Two.\n".into(),
            heard("B"),
            "Three.".into()
        ]
    );
    let open = a.replace("</tool_call>", "");
    assert_eq!(all(&format!("{open}\n{b}")), [heard("A"), heard("B")]);
    let inner = a.replace("<tool_call>", "").replace("</tool_call>", "");
    assert_eq!(
        all(&format!("<tool_call>\n{inner}\n{inner}\n</tool_call>")),
        [heard("A"), heard("A")]
    );
}

#[test]
fn parameter_tags() {
    for text in [
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
        "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>",
        "<tool_call><function=get_weather><parameter=city>Paris</parameter></function></tool_call>",
        "<tool_call><function=\"get_weather\"><parameter=\"city\">Paris</parameter></function></tool_call>",
        "<tool_call><function=get_weather><parameter=city>Paris</parameter></tool_call>",
        "<tool_call><function=get_weather><parameter=city>Paris</parameter>",
    ] {
        one(HealFormat::ParameterTags, text, PARIS);
    }
    one(
        HealFormat::ParameterTags,
        "<tool_call>\n<function=get_weather>\n<parameter=city>\n\n a </parameter> b\n\n</parameter>\n<parameter=days>\n3\n</parameter>\n<parameter=live>\nTrue\n</parameter>\n<parameter=tags>\n[\"x\", \"</parameter>\"]\n</parameter>\n<parameter=at>\n{\"a\": 1}\n</parameter>\n</function>\n</tool_call>",
        r#"→get_weather{"city":"\n a </parameter> b\n","days":3,"live":true,"tags":["x","</parameter>"],"at":{"a":1}}"#,
    );
    one(
        HealFormat::ParameterTags,
        "<tool_call>\n<function=now>\n</function>\n</tool_call>",
        "→now{}",
    );
}

#[test]
fn values_are_typed_by_the_schema() {
    let typed = |key: &str, value: &str| {
        let text = format!("<function=get_weather><parameter={key}>{value}</parameter></function>");
        let heard = all(&text).remove(0);
        let start = "→get_weather{".len() + key.len() + 3;
        heard[start..heard.len() - 1].to_owned()
    };
    for (key, value, json) in [
        ("city", "5", "\"5\""),
        ("city", "true", "\"true\""),
        ("city", "null", "\"null\""),
        ("city", "{\"a\": 1}", r#""{\"a\": 1}""#),
        ("days", "5", "5"),
        ("days", " -5 ", "-5"),
        ("days", "five", "\"five\""),
        ("days", "12345678901234567890123", "12345678901234567890123"),
        ("live", "false", "false"),
        ("live", "yes", "\"yes\""),
        ("tags", "[1, 2]", "[1,2]"),
        ("tags", "x", "\"x\""),
        ("at", "{\"b\": [1]}", "{\"b\":[1]}"),
        ("note", "null", "null"),
        ("note", "5", "\"5\""),
        ("limit", "1.50", "1.50"),
        ("limit", "None", "null"),
        ("unit", "c", "\"c\""),
        ("unknown", "5", "\"5\""),
    ] {
        assert_eq!(typed(key, value), json, "{key} {value}");
    }
}

#[test]
fn python_tag() {
    for text in [
        r#"<|python_tag|>{"name": "get_weather", "parameters": {"city":"Paris"}}"#,
        r#"<|python_tag|>{"type": "function", "name": "get_weather", "parameters": {"city":"Paris"}}<|eom_id|>"#,
        r#"<|python_tag|>get_weather.call(city="Paris")"#,
        r#"<|python_tag|>get_weather(city='Paris')<|eot_id|>"#,
        r#"<|python_tag|>[get_weather(city="Paris")]"#,
        r#"<function=get_weather>{"city":"Paris"}</function>"#,
        r#"<function=get_weather>{"city":"Paris"}</function><|eom_id|>"#,
        r#"<function=get_weather>{"city":"Paris"}"#,
    ] {
        one(HealFormat::PythonTag, text, PARIS);
    }
    one(
        HealFormat::PythonTag,
        r#"<|python_tag|>get_weather.call(city="a, \"b\")\n", days=3, live=True, tags=["x", 'y'], at={"k": None}, limit=-1.5)"#,
        r#"→get_weather{"city":"a, \"b\")\n","days":3,"live":true,"tags":["x","y"],"at":{"k":null},"limit":-1.5}"#,
    );
    assert_eq!(
        all(
            r#"<|python_tag|>{"name":"get_weather","parameters":{"city":"Paris"}}; {"name":"now","parameters":{}}"#
        ),
        [PARIS, "→now{}"]
    );
    assert_eq!(
        all("<|python_tag|>[get_weather(city=\"Paris\"), now()]"),
        [PARIS, "→now{}"]
    );
    assert_eq!(all("<|python_tag|>print(1)"), ["<|python_tag|>print(1)"]);
}

#[test]
fn bare_json() {
    let bare = |text: &str, calls: &[&str]| {
        assert_eq!(all(text), calls, "{text}");
        let others: Vec<_> = HealFormat::ALL
            .into_iter()
            .filter(|other| *other != HealFormat::BareJson)
            .collect();
        assert_eq!(at_every_cut(text, &plan(&others), false).concat(), text);
    };
    bare(
        r#"{"name": "get_weather", "parameters": {"city":"Paris"}}"#,
        &[PARIS],
    );
    bare(
        r#"{"type": "function", "name": "get_weather", "arguments": {"city":"Paris"}}"#,
        &[PARIS],
    );
    bare(
        r#"{"type":"function","function":{"name":"get_weather","arguments":{"city":"Paris"}}}"#,
        &[PARIS],
    );
    bare(
        r#"{"name":"get_weather","parameters":{"city":"Paris"}}; {"name":"now","parameters":{}}"#,
        &[PARIS, "→now{}"],
    );
    assert_eq!(
        all(" \n{\"name\":\"get_weather\",\"parameters\":{\"city\":\"Paris\"}}\n"),
        [" \n", PARIS]
    );
    for text in [
        r#"Here: {"name":"get_weather","parameters":{"city":"Paris"}}"#,
        r#"{"name":"get_weather","parameters":{"city":"Paris"}} is what I would call."#,
        r#"{"name":"get_weather","parameters":{"town":"Paris"}}"#,
        r#"{"name":"get_weather","parameters":["Paris"]}"#,
        r#"{"name":"get_weather"}"#,
        r#"{"name":"get_weather","parameters":{"city":"Paris"},"because":"x"}"#,
        r#"{"name":"unknown","parameters":{}}"#,
        r#"{"name":"get_weather","description":"x","parameters":{"city":"Paris"}}"#,
        r#"{"city":"Paris"}"#,
        r#"{"name":"#,
        "{",
        "{}",
        "{ x }",
        "```json\n{\"name\":\"now\",\"parameters\":{}}\n```",
    ] {
        assert_eq!(all(text), [text]);
    }
}

#[test]
fn call_token() {
    for text in [
        r#"[TOOL_CALLS][{"name": "get_weather", "arguments": {"city":"Paris"}, "id": "abcdefghi"}]"#,
        r#"[TOOL_CALLS] [{"name":"get_weather","arguments":{"city":"Paris"}}]</s>"#,
        r#"[TOOL_CALLS]{"name":"get_weather","arguments":{"city":"Paris"}}"#,
        r#"[TOOL_CALLS]get_weather[ARGS]{"city":"Paris"}"#,
        r#"[TOOL_CALLS]get_weather{"city":"Paris"}"#,
        r#"[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{"city":"Paris"}"#,
    ] {
        one(HealFormat::CallToken, text, PARIS);
    }
    assert_eq!(
        all(r#"[TOOL_CALLS]get_weather[ARGS]{"city":"Paris"}[TOOL_CALLS]now[ARGS]{}"#),
        [PARIS, "→now{}"]
    );
    assert_eq!(
        all(
            r#"[TOOL_CALLS][{"name":"get_weather","arguments":{"city":"Paris"}},{"name":"now","arguments":{}}]"#
        ),
        [PARIS, "→now{}"]
    );
    let unknown = r#"[TOOL_CALLS][{"name":"get_weather","arguments":{"city":"Paris"}},{"name":"then","arguments":{}}]"#;
    assert_eq!(all(unknown), [unknown]);
}

#[test]
fn call_sections() {
    for text in [
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\":\"Paris\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\":\"Paris\"}<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
        "<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\":\"Paris\"}<｜tool▁call▁end｜>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\":\"Paris\"}",
    ] {
        one(HealFormat::CallSection, text, PARIS);
    }
    assert_eq!(
        all(
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\":\"Paris\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>Done."
        ),
        [PARIS, "→now{}", "Done."]
    );
    one(
        HealFormat::CallSection,
        "<｜tool▁call▁begin｜>apply_patch<｜tool▁sep｜>*** Begin\n*** End<｜tool▁call▁end｜>",
        r#"→apply_patch{"input":"*** Begin\n*** End"}"#,
    );
}

#[test]
fn dsml() {
    for text in [
        "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">Paris</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        "<｜DSML｜tool_calls><｜DSML｜invoke name=\"get_weather\"><｜DSML｜parameter name=\"city\">Paris</｜DSML｜parameter></｜DSML｜invoke></｜DSML｜tool_calls>",
        "<｜DSML｜invoke name=\"get_weather\"><｜DSML｜parameter name=\"city\" string=\"true\">Paris</｜DSML｜parameter></｜DSML｜invoke>",
    ] {
        one(HealFormat::Dsml, text, PARIS);
    }
    assert_eq!(
        all(
            "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\"> 5\n</｜DSML｜parameter>\n<｜DSML｜parameter name=\"x\" string=\"false\">[1]</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>"
        ),
        [r#"→get_weather{"city":" 5\n","x":[1]}"#, "→now{}"]
    );
}

#[test]
fn argument_tags() {
    for text in [
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>",
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>",
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value>",
    ] {
        one(HealFormat::ArgumentTags, text, PARIS);
    }
    one(
        HealFormat::ArgumentTags,
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>a</arg_value>b</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>",
        r#"→get_weather{"city":"a</arg_value>b","days":2}"#,
    );
    one(
        HealFormat::ArgumentTags,
        "<tool_call>now</tool_call>",
        "→now{}",
    );
    let talk = "<tool_call>get_weather</tool_call>";
    assert_eq!(all(talk), [talk]);
}

#[test]
fn call_ids() {
    for text in [
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\":\"Paris\"}<|tool_call_end|><|tool_calls_section_end|>",
        "<|tool_call_begin|> get_weather:12 <|tool_call_argument_begin|> {\"city\":\"Paris\"} <|tool_call_end|>",
        "<|tool_call_begin|>functions.get_weather<|tool_call_argument_begin|>{\"city\":\"Paris\"}<|tool_call_end|>",
    ] {
        one(HealFormat::CallIds, text, PARIS);
    }
    assert_eq!(
        all(
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\":\"Paris\"}<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|><|tool_call_end|><|tool_calls_section_end|>"
        ),
        [PARIS, "→now{}"]
    );
}

#[test]
fn invoke() {
    for text in [
        "<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">Paris</parameter>\n</invoke>\n</minimax:tool_call>",
        "<minimax:tool_call><invoke name=\"get_weather\"><parameter name=\"city\">\nParis\n</parameter></invoke></minimax:tool_call>",
        "<function_calls><invoke name=\"get_weather\"><parameter name=\"city\">Paris</parameter></invoke></function_calls>",
        "<invoke name=\"get_weather\"><parameter name=\"city\">Paris</parameter></invoke>",
        "<tool_calls>\n{\"name\": \"get_weather\", \"arguments\": {\"city\":\"Paris\"}}\n</tool_calls>",
        "<tool_calls>[{\"name\": \"get_weather\", \"arguments\": {\"city\":\"Paris\"}}]</tool_calls>",
    ] {
        one(HealFormat::Invoke, text, PARIS);
    }
    assert_eq!(
        all(
            "<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">Paris</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>"
        ),
        [PARIS, "→now{}"]
    );
    assert_eq!(
        all(
            "<tool_calls>\n{\"name\":\"get_weather\",\"arguments\":{\"city\":\"Paris\"}}\n{\"name\":\"now\",\"arguments\":{}}\n</tool_calls>"
        ),
        [PARIS, "→now{}"]
    );
}

#[test]
fn harmony() {
    for text in [
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\":\"Paris\"}<|call|>",
        "<|start|>assistant<|channel|>commentary to=functions.get_weather<|constrain|>json<|message|>{\"city\":\"Paris\"}<|call|>",
        "<|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>{\"city\":\"Paris\"}",
        "<|channel|>analysis to=functions.get_weather<|message|> {\"city\":\"Paris\"} <|end|>",
    ] {
        one(HealFormat::Harmony, text, PARIS);
    }
    one(
        HealFormat::Harmony,
        "<|channel|>commentary to=functions.apply_patch<|message|>*** Begin\n<|call|>",
        r#"→apply_patch{"input":"*** Begin\n"}"#,
    );
    assert_eq!(
        all(
            "<|channel|>analysis<|message|>Hm `x.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\":\"Paris\"}<|call|>"
        ),
        ["~Hm `x.", PARIS]
    );
    assert_eq!(
        all(
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello <b>.<|return|>"
        ),
        ["~Hm.", "Hello <b>."]
    );
    for text in [
        "<|channel|>commentary to=functions.unknown<|message|>{}<|call|>",
        "The token <|channel|>analysis<|message|> opens thinking.",
        "<|start|>user<|message|>",
        "a <|end|> b",
    ] {
        assert_eq!(all(text), [text]);
    }
}
