//! A request for a response becomes a request for a chat completion.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::carry::Seal;
use super::compaction;
use super::dialect;
use super::format;
use super::input::Conversation;
use super::note::Note;
use super::prompt;
use super::tools::{Lowering, ToolMap};
use super::truncate;
use crate::chat::ChatRequest;
use crate::chat::request::{StreamOptions, ToolChoice};
use crate::json::{self, Text, TextOr};
use crate::profile::{
    Drop, Effort, HealFormat, Keep, MaxTokensField, Profile, StreamUsage, ThinkingSwitch, Tools,
};
use crate::responses::content::Part;
use crate::responses::input::{InputItem, Role};
use crate::responses::{CreateResponse, ErrorObject};

/// What a lowering needs beside the request.
#[derive(Clone, Copy)]
pub struct LoweringOptions<'o> {
    /// The upstream's dialect.
    pub profile: &'o Profile,
    /// The upstream's name of the model.
    pub model: &'o str,
    /// An effort that the configuration wants, whatever the client does.
    pub effort: Option<&'o str>,
    /// Opens what was sealed in earlier turns.
    pub seal: &'o dyn Seal,
}

/// A request, lowered.
#[derive(Debug)]
pub struct Lowered<'a> {
    /// What the upstream is asked.
    pub chat: ChatRequest<'a>,
    /// The way back for its calls.
    pub tools: ToolMap,
    /// What was left out or mended.
    pub notes: Vec<Note>,
    /// How many turns the conversation has, those that were left out included.
    pub turns: usize,
    /// A JSON Schema that the answer must fit, and that the upstream does not enforce.
    pub schema: Option<Box<RawValue>>,
}

/// Why a request cannot be lowered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LowerError {
    /// It is wrong, or asks for what no chat can do.
    Invalid(ErrorObject),
    /// It refers to an item that is not there.
    ItemNotFound(ErrorObject),
}

impl From<ErrorObject> for LowerError {
    fn from(error: ErrorObject) -> Self {
        Self::Invalid(error)
    }
}

/// Lowers a request.
///
/// # Errors
/// See [`LowerError`].
pub fn lower<'a>(
    mut request: CreateResponse<'a>,
    options: &LoweringOptions<'a>,
) -> Result<Lowered<'a>, LowerError> {
    let mut notes = Vec::new();
    let mut items = std::mem::take(&mut request.history);
    let own = items.len();
    take_input(&mut request, &mut items)?;
    let all = items.len();
    compaction::supersede(&mut items, options.seal);
    let turns = truncate::turns(&items);
    truncate::drop_oldest(&mut items, request.drop_turns);
    // Where items were taken out, the numbers that name an item in an error stay right as long as
    // it stands behind them.
    let own = own.saturating_sub(all - items.len());
    reconfigure(&mut request, &items);
    let mut lowering = Lowering::new(options.profile);
    lowering.add_all(
        request.tools.as_deref().unwrap_or_default(),
        None,
        "tools",
        &mut notes,
    )?;
    for (n, item) in items.iter().enumerate() {
        if let InputItem::Tools(found) = item {
            let param = format!("input[{}].tools", n.saturating_sub(own));
            lowering.add_all(&found.tools, None, &param, &mut notes)?;
        }
    }
    let choice = lowering.choice(request.tool_choice, &mut notes)?;
    let Lowering {
        map: mut tools,
        tools: offered,
        ..
    } = lowering;

    let mut conversation = Conversation::new(options.profile, &tools, options.seal, &mut notes);
    if let Some(text) = instructions(&request)? {
        conversation.instructions(text);
    }
    conversation.items(items, own, request.continues())?;
    let mut formats = options.profile.heal.formats().to_vec();
    let prompted = options.profile.tools == Tools::Prompt;
    if prompted {
        let parallel = request.parallel_tool_calls;
        conversation.write_calls_out();
        if let Some(told) = prompt::describe(&offered, choice.as_ref(), parallel) {
            conversation.tell(told);
        }
        if !formats.contains(&HealFormat::Hermes) {
            formats.insert(0, HealFormat::Hermes);
        }
    }
    let mut format = format::response_format(&request)?;
    let worded = format::in_words(&mut format, options.profile.response_format);
    let schema = worded.map(|worded| {
        conversation.tell(worded.told);
        worded.schema
    });
    let call_ids = conversation.call_ids();
    let messages = conversation.finish();
    tools.keep_call_ids(call_ids);
    if may_call(choice.as_ref()) {
        tools.heal(&offered, formats);
    }

    let mut chat = ChatRequest {
        model: Cow::Borrowed(options.model),
        messages,
        ..ChatRequest::default()
    };
    if !offered.is_empty() && !prompted {
        // Without tools, servers refuse even the mention of them.
        chat.tools = offered;
        chat.tool_choice = choice;
        chat.parallel_tool_calls = match options.profile.parallel_tool_calls {
            Keep::Pass => request.parallel_tool_calls,
            Keep::Drop => None,
        };
    }
    chat.response_format = format;
    sampling(&request, options.profile, &mut chat);
    extras(&request, options, &mut chat, &mut notes);
    if schema.is_some() {
        notes.push(Note::FormatInWords);
    }
    let asked = request
        .reasoning
        .as_ref()
        .and_then(|reasoning| reasoning.effort.as_deref());
    let effort = options.effort.or(asked);
    dialect::apply(&mut chat, options.profile, effort, &mut notes);
    Ok(Lowered {
        chat,
        tools,
        notes,
        turns,
        schema,
    })
}

/// Whether the model may call at all.
fn may_call(choice: Option<&ToolChoice<'_>>) -> bool {
    !matches!(choice, Some(ToolChoice::Mode("none")))
}

/// The last settings that the conversation makes are those of the next turn.
fn reconfigure<'a>(request: &mut CreateResponse<'a>, items: &[InputItem<'a>]) {
    for item in items {
        let InputItem::Configuration(update) = item else {
            continue;
        };
        if let Some(effort) = update.reasoning.as_ref().and_then(|new| new.effort.clone()) {
            request.reasoning.get_or_insert_default().effort = Some(effort);
        }
        if let Some(format) = update.text.as_ref().and_then(|new| new.format) {
            request.text.get_or_insert_default().format = Some(format);
        }
    }
}

/// Puts the request's own items behind those that it continues.
fn take_input<'a>(
    request: &mut CreateResponse<'a>,
    items: &mut Vec<InputItem<'a>>,
) -> Result<(), ErrorObject> {
    match request.input.take().map(|input| input.value) {
        Some(TextOr::List(own)) => {
            match items.is_empty() {
                true => *items = own,
                false => items.extend(own),
            }
            Ok(())
        }
        Some(TextOr::Text(text)) => {
            items.push(InputItem::Message {
                role: Role::User,
                content: TextOr::Text(text),
            });
            Ok(())
        }
        Some(TextOr::One(_) | TextOr::Odd) => Err(ErrorObject::invalid(
            "Invalid type for 'input': expected a string or an array of input items.",
        )
        .with_param("input")
        .with_code("invalid_type")),
        None if request.continues() => Ok(()),
        None => Err(ErrorObject::invalid("Missing required parameter: 'input'.")
            .with_param("input")
            .with_code("missing_required_parameter")),
    }
}

/// `instructions`: a string, or (in a template) items, of which the text counts.
fn instructions<'a>(request: &CreateResponse<'a>) -> Result<Option<Cow<'a, str>>, ErrorObject> {
    let Some(raw) = request.instructions else {
        return Ok(None);
    };
    let text = match json::from_raw::<TextOr<'a, InputItem<'a>>>(raw) {
        Ok(TextOr::Text(text)) => text.into_cow(),
        Ok(TextOr::List(items)) => {
            Cow::Owned(items.iter().map(item_text).collect::<Vec<_>>().join("\n\n"))
        }
        Ok(TextOr::Odd) if raw.get() == "null" => return Ok(None),
        _ => {
            return Err(ErrorObject::invalid(
                "Invalid type for 'instructions': expected a string.",
            )
            .with_param("instructions")
            .with_code("invalid_type"));
        }
    };
    Ok((!text.is_empty()).then_some(text))
}

fn item_text(item: &InputItem<'_>) -> String {
    let InputItem::Message { content, .. } = item else {
        return String::new();
    };
    match content {
        TextOr::Text(text) => text.to_string(),
        TextOr::List(parts) => parts
            .iter()
            .filter_map(|part| {
                if let Part::Text(text) = part {
                    Some(&**text)
                } else {
                    None
                }
            })
            .collect(),
        TextOr::One(_) | TextOr::Odd => String::new(),
    }
}

fn sampling<'a>(request: &CreateResponse<'a>, profile: &Profile, chat: &mut ChatRequest<'a>) {
    chat.stream = request.stream.unwrap_or(false);
    chat.stream_options = match profile.stream_usage {
        StreamUsage::IncludeUsage if chat.stream => Some(StreamOptions {
            include_usage: true,
        }),
        StreamUsage::IncludeUsage | StreamUsage::Unasked => None,
    };
    match profile.max_tokens_field {
        MaxTokensField::MaxTokens => chat.max_tokens = request.max_output_tokens,
        MaxTokensField::MaxCompletionTokens => {
            chat.max_completion_tokens = request.max_output_tokens;
        }
    }
    chat.temperature = request.temperature;
    chat.top_p = request.top_p;
    chat.presence_penalty = request.presence_penalty;
    chat.frequency_penalty = request.frequency_penalty;
    chat.seed = request.seed;
    chat.stop = request.stop;
    chat.logit_bias = request.logit_bias;
    if request.includes("message.output_text.logprobs") {
        chat.logprobs = Some(true);
        chat.top_logprobs = request.top_logprobs.filter(|count| *count > 0);
    }
}

fn extras<'a>(
    request: &CreateResponse<'a>,
    options: &LoweringOptions<'a>,
    chat: &mut ChatRequest<'a>,
    notes: &mut Vec<Note>,
) {
    let profile = options.profile;
    chat.reasoning_effort = effort(request, options, notes);
    let mut pass = |rule: Drop, key: &'static str, value: Option<Text<'a>>| match rule {
        Drop::Pass => value.map(Text::into_cow),
        Drop::Drop => {
            if value.is_some() {
                notes.push(Note::FieldLeftOut(key));
            }
            None
        }
    };
    let verbosity = request
        .text
        .as_ref()
        .and_then(|text| text.verbosity.clone());
    chat.verbosity = pass(profile.verbosity, "text.verbosity", verbosity);
    chat.prompt_cache_key = pass(
        profile.prompt_cache_key,
        "prompt_cache_key",
        request.prompt_cache_key.clone(),
    );
    let tier = request
        .service_tier
        .clone()
        .filter(|tier| tier.as_str() != "auto");
    chat.service_tier = pass(profile.service_tier, "service_tier", tier);
    let person = request
        .safety_identifier
        .clone()
        .or_else(|| request.user.clone());
    chat.safety_identifier = pass(profile.safety_identifier, "safety_identifier", person);
}

/// The configuration's effort, else the client's in the upstream's words.
fn effort<'a>(
    request: &CreateResponse<'a>,
    options: &LoweringOptions<'a>,
    notes: &mut Vec<Note>,
) -> Option<Cow<'a, str>> {
    let asked = || {
        let effort = request.reasoning.as_ref()?.effort.clone()?;
        Some(match options.profile.effort_words.get(effort.as_str()) {
            Some(word) => Cow::Borrowed(word.as_str()),
            None => effort.into_cow(),
        })
    };
    let effort = options.effort.map(Cow::Borrowed).or_else(asked)?;
    if options.profile.effort == Effort::Drop || effort.is_empty() {
        if options.profile.thinking_switch != ThinkingSwitch::Unsaid {
            // It is said by the switch.
            return None;
        }
        notes.push(Note::FieldLeftOut("reasoning.effort"));
        return None;
    }
    Some(effort)
}
