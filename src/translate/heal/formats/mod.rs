//! The formats: one small parser for each family of them.
//!
//! | parser | reads |
//! |---|---|
//! | [`json`] | objects behind a mark, or bare |
//! | [`tags`] | a name and arguments in tags, each value apart |
//! | [`sections`] | a name and a JSON object between a model's special tokens |
//! | [`python`] | a call as Python writes it |
//! | [`harmony`] | messages to functions and channels |

mod harmony;
mod json;
mod python;
mod sections;
mod tags;

use super::cursor::{Cursor, Parsed};
use super::offer::{Call, Offers};
use crate::profile::HealFormat;

/// Tokens that end an answer, which a server ought to have kept.
pub(super) const STOPS: &[&str] = &[
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|call|>",
    "<|endoftext|>",
];

/// What markup turned out to be.
#[derive(Debug)]
pub(super) enum Effect {
    /// Calls; at least one.
    Calls(Vec<Call>),
    /// What follows is of that channel; `None` ends one.
    Channel(Option<Channel>),
}

/// What a model says in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// Thinking.
    Analysis,
    /// Text.
    Final,
}

/// Where markup stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'o> {
    /// What may be called.
    pub(super) offers: &'o Offers,
    /// It begins a line, or the answer.
    pub(super) begins_line: bool,
    /// The channel that is open.
    pub(super) channel: Option<Channel>,
    /// Channels may be opened here.
    pub(super) channels: bool,
}

/// Reads markup from its opener on.
pub(super) fn parse(
    format: HealFormat,
    c: &mut Cursor<'_>,
    setting: &Setting<'_>,
) -> Parsed<Effect> {
    let offers = setting.offers;
    match format {
        HealFormat::Hermes => json::tagged(c, offers),
        HealFormat::BareJson => json::bare(c, offers),
        HealFormat::PythonTag => json::python_tag(c, offers),
        HealFormat::CallToken => json::call_token(c, offers),
        HealFormat::ParameterTags => tags::parameters(c, offers),
        HealFormat::ArgumentTags => tags::arguments(c, offers),
        HealFormat::Dsml => tags::dsml(c, offers),
        HealFormat::Invoke => tags::invoke(c, offers),
        HealFormat::CallSection => sections::fenced(c, offers),
        HealFormat::CallIds => sections::call_ids(c, offers),
        HealFormat::Harmony => return harmony::message(c, setting),
    }
    .map(Effect::Calls)
}
