//! Calls in the text: each format cut at every byte, and all that only looks like a call.

mod formats;
mod properties;
mod text;
mod thinking;

use serde_json::value::RawValue;

use super::*;

/// Tools of all kinds.
pub(super) fn plan(formats: &[HealFormat]) -> Arc<Plan> {
    let offer = |name: &str, schema: &str, freeform| Offer {
        name: name.into(),
        schema: RawValue::from_string(schema.into()).unwrap(),
        freeform,
    };
    let weather = r##"{"type":"object","properties":{
        "city":{"type":"string"},"days":{"type":"integer"},"live":{"type":"boolean"},
        "tags":{"type":"array","items":{"type":"string"}},"at":{"$ref":"#/$defs/at"},
        "note":{"type":["string","null"]},"limit":{"anyOf":[{"type":"number"},{"type":"null"}]},
        "unit":{"enum":["c","f"]}},
        "required":["city"],"$defs":{"at":{"type":"object"}}}"##;
    let free = r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#;
    Arc::new(Plan {
        offers: Offers(vec![
            offer("get_weather", weather, false),
            offer("now", r#"{"type":"object","properties":{}}"#, false),
            offer(
                "mcp__files__read",
                r#"{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}"#,
                false,
            ),
            offer("apply_patch", free, true),
        ]),
        formats: formats.to_vec(),
    })
}

/// What is said, piece by piece: text as it is, `~` and thoughts, `name{…}` for calls. Text that was
/// given out in pieces is one.
pub(super) fn heard(pieces: &[&str], plan: &Arc<Plan>, cut: bool) -> Vec<String> {
    let mut healer = Healer::new(plan, 1 << 24);
    let mut items = Items::default();
    for piece in pieces {
        healer.text(piece, Vec::new(), &mut |heard| items.add(&heard));
    }
    healer.finish(cut, &mut |heard| items.add(&heard));
    items.0
}

#[derive(Default)]
pub(super) struct Items(pub(super) Vec<String>);

impl Items {
    pub(super) fn add(&mut self, heard: &Heard<'_>) {
        let is_call = |item: &str| item.starts_with('→');
        match heard {
            Heard::Text(text, _) => match self.0.last_mut() {
                Some(last) if !last.starts_with('~') && !is_call(last) => last.push_str(text),
                _ => self.0.push((*text).to_owned()),
            },
            Heard::Thought(text, _) => match self.0.last_mut() {
                Some(last) if last.starts_with('~') => last.push_str(text),
                _ => self.0.push(format!("~{text}")),
            },
            Heard::Call(name, arguments) => {
                assert!(
                    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(arguments)
                        .is_ok(),
                    "{arguments}"
                );
                self.0.push(format!("→{name}{arguments}"));
            }
        }
    }
}

/// Cuts text in two at every place, and into letters: the same is heard each time.
pub(super) fn at_every_cut(text: &str, plan: &Arc<Plan>, cut: bool) -> Vec<String> {
    let whole = heard(&[text], plan, cut);
    for (at, _) in text.char_indices() {
        let (a, b) = text.split_at(at);
        assert_eq!(heard(&[a, b], plan, cut), whole, "{a:?} {b:?}");
    }
    let letters: Vec<String> = text.chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    assert_eq!(
        heard(&letters, plan, cut),
        whole,
        "letter by letter: {text}"
    );
    whole
}

/// What is heard of text, with all formats.
pub(super) fn all(text: &str) -> Vec<String> {
    at_every_cut(text, &plan(&HealFormat::ALL), false)
}
