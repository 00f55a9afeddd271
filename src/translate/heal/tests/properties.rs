//! What holds for all text, made up at random.

use proptest::prelude::*;

use super::*;

/// Pieces of markup in any order, none of which comes to a call of a tool that is offered.
fn text() -> impl Strategy<Value = String> {
    let words = proptest::sample::select(vec![
        "<tool_call>",
        "</tool_call>",
        "<function=",
        ">",
        "<parameter=city>",
        "</parameter>",
        "</function>",
        "<|python_tag|>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "<｜DSML｜invoke name=",
        "<invoke name=\"",
        "</invoke>",
        "<arg_key>",
        "</arg_key>",
        "<|tool_call_begin|>",
        "<|channel|>commentary",
        "{\"name\":\"",
        "\",\"arguments\":",
        "{}",
        "}",
        "{",
        "[",
        "]",
        "\"",
        "`",
        "```",
        "\n",
        " ",
        "<",
        "a",
        "é",
        "🦀",
        "then",
        "get_weathe",
        "functions.",
        ":0",
        "<tool_calls>",
    ]);
    proptest::collection::vec(words, 0..24).prop_map(|words| words.concat())
}

fn cuts(text: &str, cuts: &[prop::sample::Index]) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut places: Vec<usize> = cuts
        .iter()
        .map(|cut| cut.index(letters.len() + 1))
        .collect();
    places.extend([0, letters.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| letters[pair[0]..pair[1]].iter().collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn text_without_a_call_comes_out_as_it_was(text in text(), at in prop::collection::vec(any::<prop::sample::Index>(), 0..6), cut: bool) {
        let pieces = cuts(&text, &at);
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let said = heard(&pieces, &plan(&HealFormat::ALL), cut);
        prop_assert_eq!(said.concat(), text);
    }

    #[test]
    fn cuts_do_not_matter(before in text(), after in text(), at in prop::collection::vec(any::<prop::sample::Index>(), 0..6), number in 0..6_usize) {
        let call = [
            "<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>",
            "<function=get_weather>\n<parameter=city>\nx\n</parameter>\n</function>",
            "[TOOL_CALLS]now[ARGS]{}",
            "<|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>{}<|tool_call_end|>",
            "<invoke name=\"now\"></invoke>",
            "<tool_call>now</tool_call>",
        ][number];
        let text = format!("{before}\n{call}\n{after}");
        let pieces = cuts(&text, &at);
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let plan = plan(&HealFormat::ALL);
        prop_assert_eq!(heard(&pieces, &plan, false), heard(&[&text], &plan, false));
    }
}
