//! Text that only looks like a call, and calls that hold what looks like the end of one.

use super::*;

fn same(text: &str) {
    assert_eq!(all(text), [text]);
}

#[test]
fn talk_about_markup_stays_text() {
    for text in [
        "<tool_call> is the tag that opens a call, and </tool_call> closes it.",
        "Use `<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>` to call.",
        "```\n<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>\n```\n",
        "Like so:\n\n```xml\n<tool_call>\n{\"name\":\"now\",\"arguments\":{}}\n</tool_call>\n```\nThat is all.",
        "``<function=now></function>``",
        "<tool_call>{\"name\":\"now\",\"arguments\":{}} and then some",
        "<tool_call>{\"name\":\"now\",\"arguments\":[1]}</tool_call>",
        "<tool_call>{\"name\":\"now\",\"arguments\":\"x\"}</tool_call>",
        "<tool_call>{\"name\":\"now\",\"arguments\":{}",
        "<tool_call>{\"tool\":\"now\"}</tool_call>",
        "<tool_call>{name: now}</tool_call>",
        "<tool_call>",
        "<tool_call></tool_call>",
        "<tool_",
        "a < b, c <- d, <<<<< [[[ <",
        "<function=now",
        "<function=now> was called",
        "<function=get_weather><parameter=city>Paris",
        "<function=get_weather><parameter=days>3</parameter>",
        "<|python_tag|>",
        "<|python_tag|>import os",
        "[TOOL_CALLS]",
        "[TOOL_CALLS] comes first",
        "[TOOL_CALLS]now",
        "[TOOL_CALLS]now[ARGS]{\"a\":",
        "<｜tool▁calls▁begin｜> is a token",
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\nx\n```<｜tool▁call▁end｜>",
        "<｜DSML｜invoke name=\"now\">",
        "<invoke name=\"get_weather\"></invoke",
        "<tool_calls>\n</tool_calls>",
        "<tool_calls>\n{\"name\":\"now\",\"arguments\":{}}\nand so on",
        "<|tool_call_begin|>now<|tool_call_argument_begin|>{<|tool_call_end|>",
        "<|channel|>commentary to=functions.now<|message|>hello<|call|>",
        "<tool_call>now and then</tool_call>",
        "vec![<T as Into<U>>::into(x); 3]",
    ] {
        same(text);
    }
}

#[test]
fn unknown_tools_stay_text() {
    for text in [
        "<tool_call>{\"name\":\"then\",\"arguments\":{}}</tool_call>",
        "<tool_call>\n<function=then>\n</function>\n</tool_call>",
        "<function=then>{}</function>",
        "<tool_call>then</tool_call>",
        "<|python_tag|>{\"name\":\"then\",\"parameters\":{}}",
        "{\"name\":\"then\",\"parameters\":{}}",
        "[TOOL_CALLS]then[ARGS]{}",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>then<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "<｜DSML｜function_calls><｜DSML｜invoke name=\"then\"></｜DSML｜invoke></｜DSML｜function_calls>",
        "<|tool_call_begin|>functions.then:0<|tool_call_argument_begin|>{}<|tool_call_end|>",
        "<minimax:tool_call><invoke name=\"then\"></invoke></minimax:tool_call>",
        "<|channel|>commentary to=functions.then<|message|>{}<|call|>",
    ] {
        same(text);
    }
}

#[test]
fn code_that_was_closed_hides_nothing() {
    let call = "<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>";
    for before in [
        "```sh\nls\n```\n",
        "Run `ls`, ",
        "A stray ` backtick\n",
        "```sh\nls\n```",
        "It's `a` and ``b`c``: ",
    ] {
        assert_eq!(
            all(&format!("{before}{call}")),
            [before, "→now{}"],
            "{before:?}"
        );
    }
    let mixed = format!("`{call}` means this:\n{call}");
    assert_eq!(
        all(&mixed),
        [format!("`{call}` means this:\n"), "→now{}".into()]
    );
}

#[test]
fn a_call_behind_what_only_looked_like_one_is_found() {
    let call = "<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>";
    for before in [
        "<tool_call>",
        "<tool_call>{",
        "<tool_call>{\"name\":\"",
        "<function=now>",
        "<|python_tag|>",
    ] {
        let heard = all(&format!("{before}{call}"));
        assert_eq!(heard, [before, "→now{}"], "{before}");
    }
    let bare = format!("{{\"name\":\"now\",\"parameters\":{{}}}} or {call}");
    assert_eq!(
        all(&bare),
        ["{\"name\":\"now\",\"parameters\":{}} or ", "→now{}"]
    );
}

#[test]
fn arguments_may_hold_anything() {
    let city = r#"a </tool_call> <tool_call> } ] { [ \" \\ é 🦀 \ud83e\udd80 ```"#;
    let call = format!(
        "<tool_call>{{\"name\":\"get_weather\",\"arguments\":{{\"city\":\"{city}\",\"at\":{{\"x\":[{{}},[]]}}}}}}</tool_call>"
    );
    assert_eq!(
        all(&call),
        [format!(
            "→get_weather{{\"city\":\"{city}\",\"at\":{{\"x\":[{{}},[]]}}}}"
        )]
    );
}

#[test]
fn long_arguments_are_read_once() {
    let long = "x<y> ".repeat(60_000);
    let json = format!(
        "<tool_call>{{\"name\":\"get_weather\",\"arguments\":{{\"city\":\"{long}\"}}}}</tool_call>"
    );
    let tags = format!(
        "<tool_call><function=get_weather><parameter=city>{long}</parameter></function></tool_call>"
    );
    let plan = plan(&HealFormat::ALL);
    for text in [json, tags] {
        let pieces: Vec<&str> = text
            .as_bytes()
            .chunks(5)
            .map(|piece| std::str::from_utf8(piece).unwrap())
            .collect();
        assert_eq!(
            heard(&pieces, &plan, false),
            [format!("→get_weather{{\"city\":\"{long}\"}}")]
        );
    }
}

#[test]
fn openers_without_end_cost_linear_time() {
    let plan = plan(&HealFormat::ALL);
    for opener in [
        "<tool_call>{\"a\":\"",
        "<function=now><parameter=a>",
        "<tool_call>",
        "[TOOL_CALLS]now[ARGS]{",
        "`",
        "<",
    ] {
        let text = opener.repeat(20_000);
        let pieces: Vec<&str> = text
            .as_bytes()
            .chunks(7)
            .map(|piece| std::str::from_utf8(piece).unwrap())
            .collect();
        assert_eq!(heard(&pieces, &plan, false).concat(), text);
        assert_eq!(heard(&[&text], &plan, false).concat(), text);
    }
}

#[test]
fn plain_text_is_not_held() {
    let plan = plan(&HealFormat::ALL);
    let mut healer = Healer::new(&plan, 1 << 20);
    let mut said = String::new();
    let mut fed = String::new();
    let longest = HealFormat::ALL
        .iter()
        .flat_map(|format| format.marks().openers)
        .map(|opener| opener.len())
        .max()
        .unwrap();
    let text =
        "Text with <b>tags</b>, [lists], <tool_x>, {\"json\": 1}, `code` and <tool_call> talk. ";
    for letter in text.repeat(3).chars() {
        fed.push(letter);
        healer.text(letter.encode_utf8(&mut [0; 4]), Vec::new(), &mut |heard| {
            if let Heard::Text(text, _) = heard {
                said.push_str(text);
            }
        });
        assert!(
            fed.len() - said.len() <= longest,
            "{:?} is held",
            &fed[said.len()..]
        );
    }
}

#[test]
fn what_names_no_tool_is_not_held() {
    let plan = plan(&HealFormat::ALL);
    for text in [
        "<tool_call> now is the time",
        "<tool_call>nobody",
        "<function=nobody",
        "<tool_call>{\"name\":\"nobody\",\"arguments\":{\"a\":\"",
        "{\"name\":\"Ada\",\"age\":",
        "{\"type\":\"object\",\"properties\":",
        "[TOOL_CALLS] comes",
        "<|python_tag|>import",
        "<|tool_call_begin|>functions.nobody:0",
    ] {
        let mut healer = Healer::new(&plan, 1 << 20);
        let mut items = Items::default();
        for letter in text.chars() {
            let mut letters = [0; 4];
            healer.text(letter.encode_utf8(&mut letters), Vec::new(), &mut |heard| {
                items.add(&heard);
            });
        }
        assert_eq!(items.0, [text]);
    }
}

#[test]
fn what_is_too_long_to_hold_is_text() {
    let plan = plan(&HealFormat::ALL);
    let mut healer = Healer::new(&plan, 64);
    let mut items = Items::default();
    let text = format!(
        "<tool_call>{{\"name\":\"get_weather\",\"arguments\":{{\"city\":\"{}\"}}}}</tool_call>",
        "x".repeat(90)
    );
    for letter in text.chars() {
        healer.text(letter.encode_utf8(&mut [0; 4]), Vec::new(), &mut |heard| {
            items.add(&heard);
        });
    }
    healer.finish(false, &mut |heard| items.add(&heard));
    assert_eq!(items.0, [text]);
}

#[test]
fn a_cut_answer_has_no_call_of_which_something_may_be_missing() {
    let plan = plan(&HealFormat::ALL);
    let tags = "<function=get_weather><parameter=city>Paris</parameter>";
    assert_eq!(at_every_cut(tags, &plan, true), [tags]);
    let json = "<tool_call>{\"name\":\"now\",\"arguments\":{}}";
    assert_eq!(at_every_cut(json, &plan, true), ["→now{}"]);
}
