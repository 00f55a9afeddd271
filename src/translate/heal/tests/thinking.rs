//! Calls at the end of the thinking.

use super::*;

const CALL: &str = "<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>";

enum Said<'a> {
    Thought(&'a str),
    Text(&'a str),
    Other,
}
use Said::{Other, Text, Thought};

fn heard_of(all: &[Said<'_>]) -> Vec<String> {
    let mut healer = Healer::new(&plan(&HealFormat::ALL), 1 << 20);
    let mut items = Items::default();
    for said in all {
        let mut each = |heard: Heard<'_>| items.add(&heard);
        match said {
            Thought(text) => healer.thought(text, CarryField::Reasoning, &mut each),
            Text(text) => healer.text(text, Vec::new(), &mut each),
            Other => healer.interrupt(&mut each),
        }
    }
    healer.finish(false, &mut |heard| items.add(&heard));
    items.0
}

#[test]
fn thinking_that_ends_with_a_call_is_one() {
    assert_eq!(
        heard_of(&[Thought("Hm.\n"), Thought(CALL), Thought("\n")]),
        ["~Hm.\n", "→now{}"]
    );
    assert_eq!(
        heard_of(&[Thought(CALL), Thought(CALL), Text("\n")]),
        ["\n", "→now{}", "→now{}"]
    );
    for (at, _) in CALL.char_indices() {
        let (a, b) = CALL.split_at(at);
        assert_eq!(
            heard_of(&[Thought("Hm. "), Thought(a), Thought(b)]),
            ["~Hm. ", "→now{}"]
        );
    }
}

#[test]
fn thinking_about_a_call_is_none() {
    let thought = format!("~Hm. {CALL}\n");
    let first = format!("Hm. {CALL}\n");
    assert_eq!(
        heard_of(&[Thought(&first), Thought("No.")]),
        [format!("{thought}No.")]
    );
    assert_eq!(
        heard_of(&[Thought(&first), Text("Hello.")]),
        [thought.clone(), "Hello.".into()]
    );
    assert_eq!(
        heard_of(&[Thought(&first), Text(CALL)]),
        [thought.clone(), "→now{}".into()]
    );
    assert_eq!(
        heard_of(&[Thought(&first), Other]),
        std::slice::from_ref(&thought)
    );
    assert_eq!(
        heard_of(&[Text("Hello."), Thought(&first)]),
        ["Hello.".into(), thought.clone()]
    );
    assert_eq!(
        heard_of(&[Text("Hello."), Thought(&first), Text("Then.")]),
        ["Hello.".into(), thought, "Then.".into()]
    );
    assert_eq!(
        heard_of(&[Thought("Hm. <tool_c"), Text("Hello.")]),
        ["~Hm. <tool_c", "Hello."]
    );
    let channel = "<|channel|>analysis<|message|>";
    assert_eq!(heard_of(&[Thought(channel)]), [format!("~{channel}")]);
}
