//! Calls that a model writes into its text: in which formats, and by which marks each is known.
//!
//! The marks belong to chat templates, so they are data here; how what stands between them is read
//! is the translation's business.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Which formats of calls in the text are taken for calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Heal {
    /// All that are known.
    #[default]
    Auto,
    /// None: text stays text.
    Off,
    /// These.
    Only(Vec<HealFormat>),
}

/// A format in which models write calls into their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealFormat {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`
    Hermes,
    /// `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>`
    #[serde(rename = "qwen3_coder")]
    ParameterTags,
    /// `<|python_tag|>` with JSON or a call as Python writes it; `<function=NAME>{…}</function>`
    #[serde(rename = "llama")]
    PythonTag,
    /// `{"name": …, "parameters": …}` as the whole answer
    #[serde(rename = "json")]
    BareJson,
    /// `[TOOL_CALLS]` with a list, or with `NAME[ARGS]{…}`
    #[serde(rename = "mistral")]
    CallToken,
    /// `<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME` and fenced JSON, or `NAME<｜tool▁sep｜>{…}`
    #[serde(rename = "deepseek")]
    CallSection,
    /// `<｜DSML｜invoke name="NAME"><｜DSML｜parameter name="KEY" string="true">VALUE…`
    Dsml,
    /// `<tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value></tool_call>`
    #[serde(rename = "glm")]
    ArgumentTags,
    /// `<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{…}<|tool_call_end|>`
    #[serde(rename = "kimi")]
    CallIds,
    /// `<invoke name="NAME"><parameter name="KEY">VALUE</parameter></invoke>`, and JSON in lines
    /// between `<tool_calls>` and `</tool_calls>`
    #[serde(rename = "minimax")]
    Invoke,
    /// `<|channel|>commentary to=functions.NAME<|message|>{…}<|call|>`, and the channels of text and
    /// thinking
    Harmony,
}

/// By what a format is known.
#[derive(Debug, Clone, Copy)]
pub struct HealMarks {
    /// What a configuration and the log call it.
    pub name: &'static str,
    /// A call, or the section around calls, begins with one of these.
    pub openers: &'static [&'static str],
    /// What may stand behind a call and belongs to it.
    pub closers: &'static [&'static str],
}

impl HealFormat {
    /// All formats. Where two have an opener in common, the first that fits wins.
    pub const ALL: [Self; 11] = [
        Self::Hermes,
        Self::ParameterTags,
        Self::ArgumentTags,
        Self::PythonTag,
        Self::BareJson,
        Self::CallToken,
        Self::CallSection,
        Self::Dsml,
        Self::CallIds,
        Self::Invoke,
        Self::Harmony,
    ];

    /// By what it is known.
    #[must_use]
    pub const fn marks(self) -> HealMarks {
        let (name, openers, closers): (_, &[&str], &[&str]) = match self {
            Self::Hermes => ("hermes", &["<tool_call>"], &["</tool_call>"]),
            Self::ParameterTags => (
                "qwen3_coder",
                &["<tool_call>", "<function="],
                &["</function>", "</tool_call>"],
            ),
            Self::PythonTag => (
                "llama",
                &["<|python_tag|>", "<function="],
                &["</function>", "<|eom_id|>", "<|eot_id|>"],
            ),
            // It begins where the answer does.
            Self::BareJson => ("json", &[], &[]),
            Self::CallToken => ("mistral", &["[TOOL_CALLS]"], &["</s>"]),
            Self::CallSection => (
                "deepseek",
                &["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"],
                &[
                    "<｜tool▁call▁end｜>",
                    "<｜tool▁calls▁end｜>",
                    "<｜end▁of▁sentence｜>",
                ],
            ),
            Self::Dsml => (
                "dsml",
                &[
                    "<｜DSML｜function_calls>",
                    "<｜DSML｜tool_calls>",
                    "<｜DSML｜invoke name=",
                ],
                &[
                    "</｜DSML｜function_calls>",
                    "</｜DSML｜tool_calls>",
                    "<｜end▁of▁sentence｜>",
                ],
            ),
            Self::ArgumentTags => ("glm", &["<tool_call>"], &["</tool_call>"]),
            Self::CallIds => (
                "kimi",
                &["<|tool_calls_section_begin|>", "<|tool_call_begin|>"],
                &["<|tool_call_end|>", "<|tool_calls_section_end|>"],
            ),
            Self::Invoke => (
                "minimax",
                &[
                    "<minimax:tool_call>",
                    "<function_calls>",
                    "<invoke name=",
                    "<tool_calls>",
                ],
                &["</minimax:tool_call>", "</function_calls>", "</tool_calls>"],
            ),
            Self::Harmony => (
                "harmony",
                &["<|channel|>", "<|start|>"],
                &["<|call|>", "<|end|>", "<|return|>"],
            ),
        };
        HealMarks {
            name,
            openers,
            closers,
        }
    }
}

impl Heal {
    /// The formats.
    #[must_use]
    pub fn formats(&self) -> &[HealFormat] {
        match self {
            Self::Auto => &HealFormat::ALL,
            Self::Off => &[],
            Self::Only(formats) => formats,
        }
    }

    /// As a configuration would have it.
    pub(super) fn to_value(&self) -> toml::Value {
        match self {
            Self::Auto => "auto".into(),
            Self::Off => "off".into(),
            Self::Only(formats) => formats
                .iter()
                .map(|format| toml::Value::from(format.marks().name))
                .collect::<Vec<_>>()
                .into(),
        }
    }
}

impl<'de> Deserialize<'de> for Heal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Heal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto`, `off` or a list of formats")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Heal, E> {
                match word {
                    "auto" => Ok(Heal::Auto),
                    "off" => Ok(Heal::Off),
                    other => Err(E::custom(format!(
                        "unknown value `{other}`, expected `auto`, `off` or a list of formats"
                    ))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Heal, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Heal::Only)
            }
        }

        deserializer.deserialize_any(Read)
    }
}
