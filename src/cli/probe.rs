//! `antiphon check --probe`: small real requests to each upstream, to find out what it supports, and the
//! profile that follows from that.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};

use crate::profile::Profile;
use crate::telemetry::trace::TraceContext;
use crate::upstream::{Question, Refusal, Upstream, WireApi};

/// How long one request may take.
const WAIT: Duration = Duration::from_secs(60);
/// How long all requests to one upstream may take.
const WAIT_IN_ALL: Duration = Duration::from_secs(240);
/// The most bytes of an answer that are read.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// A picture of one pixel.
const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// What came of one question.
#[derive(Debug, Clone, PartialEq)]
enum Finding {
    Yes(String),
    No(String),
    /// The request was taken, and the answer does not show it.
    Unseen(String),
}

/// What was found out about one upstream.
#[derive(Debug)]
pub(super) struct Report {
    upstream: String,
    model: String,
    profile: String,
    findings: Vec<(&'static str, Finding)>,
    /// Lines for `[upstreams.NAME.dialect]`.
    dialect: Vec<(String, String)>,
    /// Why there is nothing to report.
    failure: Option<String>,
}

impl Report {
    /// Whether it answers at all.
    pub(super) fn is_well(&self) -> bool {
        self.failure.is_none()
    }

    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Self {
            upstream, model, ..
        } = self;
        writeln!(
            out,
            "\nProbe of {upstream}, model {model}, profile {}:",
            self.profile
        )?;
        for (what, finding) in &self.findings {
            let (mark, words) = match finding {
                Finding::Yes(words) => ("yes", words),
                Finding::No(words) => ("no", words),
                Finding::Unseen(words) => ("unseen", words),
            };
            writeln!(
                out,
                "  {}",
                format!("{what:<18}{mark:<8}{words}").trim_end()
            )?;
        }
        if let Some(failure) = &self.failure {
            return writeln!(out, "  FAILED: {failure}");
        }
        if self.dialect.is_empty() {
            return writeln!(out, "  Its profile fits: nothing to set.");
        }
        writeln!(out, "  What follows, for proxy.toml:\n")?;
        writeln!(out, "[upstreams.{}.dialect]", quoted(upstream))?;
        for (key, value) in &self.dialect {
            writeln!(out, "{key} = {value}")?;
        }
        Ok(())
    }
}

fn quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match name.chars().all(bare) {
        true => name.to_owned(),
        false => format!("{name:?}"),
    }
}

/// Probes one upstream with one of its models, within bounded time.
pub(super) async fn probe(upstream: Arc<Upstream>, model: Option<String>) -> Report {
    let mut report = Report {
        upstream: upstream.settings().name.clone(),
        model: model.clone().unwrap_or_else(|| "?".to_owned()),
        profile: upstream.settings().dialect.name.clone(),
        findings: Vec::new(),
        dialect: Vec::new(),
        failure: None,
    };
    let Some(model) = model else {
        let failure = "no model is known to ask for: name one with --model";
        report.failure = Some(failure.to_owned());
        return report;
    };
    let dialect = upstream.find_out().await;
    report.profile.clone_from(&dialect.name);
    if upstream.settings().wire_api == WireApi::Responses {
        let body = json!({"model": model, "input": "Say hi.", "max_output_tokens": 16});
        let prober = Prober { upstream, model };
        match prober.send(&body, false).await {
            Ok(_) => report.findings.push(("responses", yes(""))),
            Err(error) => report.failure = Some(error),
        }
        return report;
    }
    let prober = Prober { upstream, model };
    // What is found before time is up is worth telling.
    let probing = prober.all(&dialect.profile, &mut report);
    if tokio::time::timeout(WAIT_IN_ALL, probing).await.is_err() {
        let failure = format!("it took longer than {} s in all", WAIT_IN_ALL.as_secs());
        report.failure = Some(failure);
    }
    report
}

struct Prober {
    upstream: Arc<Upstream>,
    model: String,
}

impl Prober {
    async fn all(&self, profile: &Profile, report: &mut Report) {
        let limit = match self.limit().await {
            Ok((field, only, finding)) => {
                report.findings.push(("token limit", finding));
                (field, only)
            }
            Err(error) => {
                report.failure = Some(error);
                return;
            }
        };
        let (limit, only) = limit;
        let mut found = Found::new(profile, limit);
        if only {
            // Where both are taken, what the profile says is as good.
            found.want("max_tokens_field", limit);
        }
        self.stream(&mut found).await;
        self.tools(&mut found).await;
        self.forms(&mut found).await;
        self.thinking(&mut found).await;
        report.findings.append(&mut found.findings);
        report.dialect = found.dialect;
    }

    /// The name of the limit of tokens, and whether it is the only one; and whether it answers at all.
    async fn limit(&self) -> Result<(&'static str, bool, Finding), String> {
        let asked = |field: &str| {
            let mut body = self.question("Say hi.");
            body[field] = 16.into();
            body
        };
        let first = self.send(&asked("max_tokens"), false).await;
        let newer = self.send(&asked("max_completion_tokens"), false).await;
        match (first, newer) {
            (Ok(_), Ok(_)) => Ok((
                "max_tokens",
                false,
                yes("max_tokens, max_completion_tokens"),
            )),
            (Ok(_), Err(_)) => Ok(("max_tokens", true, yes("max_tokens"))),
            (Err(_), Ok(_)) => Ok(("max_completion_tokens", true, yes("max_completion_tokens"))),
            (Err(error), Err(_)) => Err(error),
        }
    }

    async fn stream(&self, found: &mut Found) {
        let mut body = self.limited("Say hi.", found.limit, 32);
        body["stream"] = true.into();
        body["stream_options"] = json!({"include_usage": true});
        let with_usage = self.send(&body, true).await;
        let (answer, asks) = match with_usage {
            Ok(answer) => (Ok(answer), true),
            Err(_) => {
                if let Some(body) = body.as_object_mut() {
                    body.remove("stream_options");
                }
                (self.send(&body, true).await, false)
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return found.tell("streaming", Finding::No(error)),
        };
        let chunks = answer.matches("data:").count();
        let streams = match chunks {
            0 => Finding::No("it answers in one piece".to_owned()),
            _ => yes(&format!("{chunks} events")),
        };
        found.tell("streaming", streams);
        let counts = answer.contains("\"prompt_tokens\"");
        let usage = match (asks, counts) {
            (true, true) => yes(""),
            (false, true) => yes("unasked; asking is refused"),
            (_, false) => Finding::No("counts will be estimated".to_owned()),
        };
        found.tell("usage", usage);
        found.want(
            "stream_usage",
            if asks { "include_usage" } else { "unasked" },
        );
    }

    async fn tools(&self, found: &mut Found) {
        let tools = json!([tool("get_weather", "city"), tool("get_time", "city")]);
        let words = "What is the weather in Paris, and the time in London? Use the tools.";
        let asked = |more: Value| {
            let mut body = self.limited(words, found.limit, 256);
            body["tools"] = tools.clone();
            merge(&mut body, more);
            body
        };
        let plain = self.send(&asked(json!({})), false).await;
        let called = match &plain {
            Ok(answer) => calls(answer),
            Err(error) => {
                found.tell("tools", Finding::No(error.clone()));
                return;
            }
        };
        let unseen = || Finding::Unseen("the model did not call".to_owned());
        found.tell("tools", if called > 0 { yes("") } else { unseen() });

        let parallel = self
            .send(&asked(json!({"parallel_tool_calls": true})), false)
            .await;
        let finding = match &parallel {
            Ok(answer) if calls(answer) > 1 => yes("several calls at once"),
            Ok(_) => Finding::Unseen("taken; the model made no two calls".to_owned()),
            Err(error) => Finding::No(error.clone()),
        };
        found.tell("parallel calls", finding);
        found.want(
            "parallel_tool_calls",
            if parallel.is_ok() { "pass" } else { "drop" },
        );

        let required = self
            .send(&asked(json!({"tool_choice": "required"})), false)
            .await;
        let named = json!({"tool_choice": {"type": "function", "function": {"name": "get_time"}}});
        let named = self.send(&asked(named), false).await;
        let any = match required {
            Ok(_) => None,
            Err(_) => Some(
                self.send(&asked(json!({"tool_choice": "any"})), false)
                    .await,
            ),
        };
        let finding = match (&required, &any) {
            (Ok(answer), _) if calls(answer) > 0 => yes(""),
            (Ok(_), _) => Finding::Unseen("taken, and not kept to".to_owned()),
            (Err(_), Some(Ok(_))) => yes("as `any`"),
            (Err(error), _) => Finding::No(error.clone()),
        };
        found.tell("required choice", finding);
        let finding = match &named {
            Ok(answer) if calls(answer) > 0 => yes(""),
            Ok(_) => Finding::Unseen("taken, and not kept to".to_owned()),
            Err(error) => Finding::No(error.clone()),
        };
        found.tell("named choice", finding);
        let words = match (required.is_ok(), named.is_ok(), matches!(any, Some(Ok(_)))) {
            (true, true, _) => "pass",
            (true, false, _) => "words",
            (false, _, true) => "any",
            (false, true, false) => "no_required",
            (false, false, false) => "auto",
        };
        found.want("tool_choice", words);

        let mut strict = tools.clone();
        strict[0]["function"]["strict"] = true.into();
        let strict = self.send(&asked(json!({"tools": strict})), false).await;
        found.tell("strict tools", taken(&strict));
        found.want("strict", if strict.is_ok() { "pass_true" } else { "strip" });
    }

    async fn forms(&self, found: &mut Found) {
        let schema = json!({
            "type": "object",
            "properties": {"answer": {"type": "string"}},
            "required": ["answer"],
            "additionalProperties": false,
        });
        let mut body = self.limited("Is the sky blue? Answer in JSON.", found.limit, 64);
        body["response_format"] = json!({
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": true, "schema": schema},
        });
        let answer = self.send(&body, false).await;
        let finding = match &answer {
            Ok(answer) if fits(answer) => yes(""),
            Ok(_) => Finding::Unseen("taken, and not kept to".to_owned()),
            Err(error) => Finding::No(error.clone()),
        };
        found.tell("json_schema", finding);

        let mut body = self.limited("x", found.limit, 16);
        body["messages"] = json!([{"role": "user", "content": [
            {"type": "text", "text": "What colour is it?"},
            {"type": "image_url", "image_url": {"url": PIXEL}},
        ]}]);
        let answer = self.send(&body, false).await;
        found.tell("pictures", taken(&answer));

        let mut body = self.limited("x", found.limit, 16);
        body["messages"] = json!([
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Say hi."},
        ]);
        let answer = self.send(&body, false).await;
        // Taken is not heard: some templates leave the role out, so the profile stays as it is.
        let developer = taken(&answer);
        if answer.is_err() {
            found.want("system_role", "system");
        }
        found.tell("developer role", developer);
    }

    async fn thinking(&self, found: &mut Found) {
        let body = self.limited("What is 17 times 23? Think first.", found.limit, 256);
        let answer = self.send(&body, false).await.unwrap_or_default();
        let keys = ["reasoning_content", "reasoning", "reasoning_details"];
        let message = message(&answer);
        let is_there = |key: &&&str| match &message[**key] {
            Value::String(text) => !text.is_empty(),
            Value::Array(parts) => !parts.is_empty(),
            _ => false,
        };
        let text = message["content"].as_str().unwrap_or_default().trim_start();
        let finding = match keys.iter().find(is_there) {
            Some(key) => yes(&format!("as `{key}`")),
            None if text.starts_with("<think>") => yes("in <think> tags"),
            None => Finding::Unseen("the model showed none".to_owned()),
        };
        found.tell("thinking", finding);

        let mut body = self.limited("Say hi.", found.limit, 64);
        body["reasoning_effort"] = "low".into();
        let answer = self.send(&body, false).await;
        found.tell("effort", taken(&answer));
        found.want(
            "effort",
            if answer.is_ok() {
                "reasoning_effort"
            } else {
                "drop"
            },
        );

        let mut body = self.limited("Say hi.", found.limit, 16);
        let call = json!({"id": "call_0123456789abcdef", "type": "function", "function": {"name": "get_time", "arguments": "{\"city\":\"Rome\"}"}});
        body["tools"] = json!([tool("get_time", "city")]);
        body["messages"] = json!([
            {"role": "user", "content": "What time is it in Rome?"},
            {"role": "assistant", "content": null, "reasoning_content": "I ask.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_0123456789abcdef", "content": "noon"},
        ]);
        let back = self.send(&body, false).await;
        found.tell("thinking back", taken(&back));
        if back.is_err() {
            found.want("reasoning_back", "drop");
        }
    }

    fn question(&self, words: &str) -> Value {
        json!({"model": self.model, "messages": [{"role": "user", "content": words}]})
    }

    fn limited(&self, words: &str, field: &str, tokens: u64) -> Value {
        let mut body = self.question(words);
        body[field] = tokens.into();
        body
    }

    /// The text of the answer, or what is wrong, in few words.
    async fn send(&self, body: &Value, stream: bool) -> Result<String, String> {
        let question = Question {
            model: self.model.clone(),
            body: Bytes::from(body.to_string()),
            stream,
            caller: http::HeaderMap::new(),
            trace: TraceContext::default(),
        };
        // It is not asked again: a refusal is what is looked for.
        let mut asking = self.upstream.ask(question, true);
        let asked = async {
            let answer = asking.answer().await.map_err(short)?;
            let body = Limited::new(answer, ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| format!("its answer broke off: {error}"))?;
            Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
        };
        let answer: Result<String, String> = match tokio::time::timeout(WAIT, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", WAIT.as_secs())),
        };
        // Some servers answer 200 and an error.
        let answer = answer?;
        let whole: Value = serde_json::from_str(&answer).unwrap_or_default();
        let first = answer.lines().find_map(|line| line.strip_prefix("data:"));
        let first: Value = serde_json::from_str(first.unwrap_or_default()).unwrap_or_default();
        for value in [whole, first] {
            if value.get("choices").is_none_or(Value::is_null)
                && let Some(error) = value.get("error").filter(|error| !error.is_null())
            {
                let said = error["message"].as_str().or_else(|| error.as_str());
                return Err(cut(said.unwrap_or("it answered with an error")));
            }
        }
        Ok(answer)
    }
}

/// What was found so far, and what the profile says.
struct Found {
    limit: &'static str,
    profile: toml::Table,
    findings: Vec<(&'static str, Finding)>,
    dialect: Vec<(String, String)>,
}

impl Found {
    fn new(profile: &Profile, limit: &'static str) -> Self {
        Self {
            limit,
            profile: profile.to_table(),
            findings: Vec::new(),
            dialect: Vec::new(),
        }
    }

    fn tell(&mut self, what: &'static str, finding: Finding) {
        self.findings.push((what, finding));
    }

    /// A key of the profile should have that value.
    fn want(&mut self, key: &str, value: &str) {
        if self.profile.get(key).and_then(toml::Value::as_str) != Some(value) {
            self.dialect.push((key.to_owned(), format!("{value:?}")));
        }
    }
}

fn yes(words: &str) -> Finding {
    Finding::Yes(words.to_owned())
}

fn taken(answer: &Result<String, String>) -> Finding {
    match answer {
        Ok(_) => yes(""),
        Err(error) => Finding::No(error.clone()),
    }
}

fn tool(name: &str, parameter: &str) -> Value {
    let parameters = json!({
        "type": "object",
        "properties": {parameter: {"type": "string"}},
        "required": [parameter],
        "additionalProperties": false,
    });
    json!({"type": "function", "function": {"name": name, "description": name, "parameters": parameters}})
}

fn merge(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}

fn message(answer: &str) -> Value {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    answer["choices"][0]["message"].clone()
}

fn calls(answer: &str) -> usize {
    message(answer)["tool_calls"].as_array().map_or(0, Vec::len)
}

/// Whether the answer is JSON as it was wanted.
fn fits(answer: &str) -> bool {
    let message = message(answer);
    let text = message["content"].as_str().unwrap_or_default();
    serde_json::from_str::<Value>(text).is_ok_and(|value| value["answer"].is_string())
}

#[expect(clippy::needless_pass_by_value, reason = "an error is mapped by it")]
fn short(refusal: Refusal) -> String {
    cut(&format!("{}: {}", refusal.status, refusal.error.message))
}

/// One line, not too long for a terminal.
fn cut(words: &str) -> String {
    const MOST: usize = 160;
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}
