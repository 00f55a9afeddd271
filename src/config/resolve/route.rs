//! Where models go: their entries, the profiles that requests pick, and the upstreams of both.

use super::super::error::did_you_mean;
use super::super::raw::{RawModel, RawPreset};
use super::super::{Modality, Model, Overrides, Pattern, Preset, Strategy, Target};
use super::Resolver;

const STRATEGIES: [(&str, Strategy); 3] = [
    ("fallback", Strategy::Fallback),
    ("weighted", Strategy::Weighted),
    ("least_busy", Strategy::LeastBusy),
];

/// Fields that the proxy itself fills in, or that would change what kind of answer comes.
const OWN_FIELDS: &[&str] = &["model", "messages", "input", "stream"];

/// What an entry says of its upstreams.
struct Targets {
    one: Option<String>,
    several: Option<toml::value::Array>,
}

impl Resolver<'_> {
    pub(super) fn model(
        &mut self,
        name: &str,
        raw: RawModel,
        default: &str,
        names: &[String],
    ) -> Model {
        let section = ["models", name];
        let at = |key: &'static str| [section[0], section[1], key];
        let strategy = self.one_of(&at("strategy"), raw.strategy.as_deref(), &STRATEGIES);
        let targets = Targets {
            one: raw.upstream,
            several: raw.upstreams,
        };
        let mut targets = self.targets(&section, targets, names);
        if targets.is_empty() {
            targets.push(target(default));
        }
        let efforts = raw.reasoning_efforts.unwrap_or_default();
        if let Some(effort) = raw.default_reasoning_effort.as_deref()
            && !efforts.is_empty()
            && !efforts.iter().any(|known| known == effort)
        {
            let help = did_you_mean(effort, efforts.iter().map(String::as_str));
            let message = format!("`{effort}` is not among the model's `reasoning_efforts`");
            self.wrong(&at("default_reasoning_effort"), &message, help);
        }
        let modalities = [("text", Modality::Text), ("image", Modality::Image)];
        let input = raw
            .input
            .unwrap_or_else(|| vec!["text".to_owned(), "image".to_owned()]);
        let input = input
            .iter()
            .map(|word| self.one_of(&at("input"), Some(word.as_str()), &modalities))
            .collect();
        let instructions = raw.base_instructions_file.as_deref();
        let overrides = Overrides {
            reasoning_effort: raw.reasoning_effort,
            temperature: raw.temperature,
            top_p: raw.top_p,
            presence_penalty: raw.presence_penalty,
            frequency_penalty: raw.frequency_penalty,
            extra_body: raw.extra_body,
        };
        self.overrides(&section, &overrides);
        Model {
            name: pattern(name),
            targets,
            strategy,
            model: raw.model,
            display_name: raw.display_name,
            description: raw.description,
            context_window: self.count(&at("context_window"), raw.context_window),
            max_output_tokens: self.count(&at("max_output_tokens"), raw.max_output_tokens),
            reasoning_efforts: efforts,
            default_reasoning_effort: raw.default_reasoning_effort,
            input,
            apply_patch: raw.apply_patch.unwrap_or(true),
            multi_agent: raw.multi_agent.unwrap_or(false),
            verbosity: raw.verbosity.unwrap_or(false),
            base_instructions: instructions
                .and_then(|file| self.read(&at("base_instructions_file"), file)),
            overrides,
        }
    }

    pub(super) fn preset(&mut self, name: &str, raw: RawPreset, names: &[String]) -> Preset {
        let section = ["profiles", name];
        let at = |key: &'static str| [section[0], section[1], key];
        let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(usable) {
            // It has to stand in a header, and behind an `@` in a model's name.
            let message = format!("`{name}` is not a profile's name");
            let help = "use letters, digits, `-`, `_` and `.`".to_owned();
            let problem = self.places.at_key(&section, message, Some(help));
            self.problems.push(problem);
        }
        let strategy = raw
            .strategy
            .as_deref()
            .map(|word| self.one_of(&at("strategy"), Some(word), &STRATEGIES));
        let targets = Targets {
            one: raw.upstream,
            several: raw.upstreams,
        };
        let overrides = Overrides {
            reasoning_effort: raw.reasoning_effort,
            temperature: raw.temperature,
            top_p: raw.top_p,
            presence_penalty: raw.presence_penalty,
            frequency_penalty: raw.frequency_penalty,
            extra_body: raw.extra_body,
        };
        self.overrides(&section, &overrides);
        Preset {
            name: name.to_owned(),
            targets: self.targets(&section, targets, names),
            strategy,
            model: raw.model,
            max_output_tokens: self.count(&at("max_output_tokens"), raw.max_output_tokens),
            overrides,
        }
    }

    /// The upstreams that an entry names; none if it names none.
    fn targets(&mut self, section: &[&str; 2], raw: Targets, names: &[String]) -> Vec<Target> {
        let at = |key: &'static str| [section[0], section[1], key];
        let several = match (raw.one, raw.several) {
            (Some(_), Some(_)) => {
                let help = Some("take one of the two out".to_owned());
                let message = "there can be `upstream` or `upstreams`, not both";
                self.wrong(&at("upstreams"), message, help);
                return Vec::new();
            }
            (Some(name), None) => {
                self.reference(&at("upstream"), &name, names);
                return vec![target(&name)];
            }
            (None, None) => return Vec::new(),
            (None, Some(several)) => several,
        };
        if several.is_empty() {
            self.wrong(&at("upstreams"), "there must be at least one", None);
        }
        let mut targets: Vec<Target> = Vec::new();
        for value in several {
            let Some(target) = self.target(&at("upstreams"), value) else {
                continue;
            };
            self.reference(&at("upstreams"), &target.upstream, names);
            let is_there = targets
                .iter()
                .any(|known| known.upstream == target.upstream && known.model == target.model);
            if is_there {
                let message = format!("`{}` is there twice", target.upstream);
                let help = "give it a `weight` instead".to_owned();
                self.wrong(&at("upstreams"), &message, Some(help));
            }
            targets.push(target);
        }
        targets
    }

    /// One of `upstreams`: a name, or a table with a name and what differs there.
    fn target(&mut self, path: &[&str], value: toml::Value) -> Option<Target> {
        let mut table = match value {
            toml::Value::String(name) => return Some(target(&name)),
            toml::Value::Table(table) => table,
            _ => {
                let help = "write \"NAME\" or { upstream = \"NAME\", model = \"…\", weight = 2 }";
                self.wrong(path, "expected names or tables", Some(help.to_owned()));
                return None;
            }
        };
        let upstream = table.remove("upstream");
        let model = table.remove("model");
        let weight = table.remove("weight").unwrap_or(toml::Value::Integer(1));
        for key in table.keys() {
            let help = did_you_mean(key, ["upstream", "model", "weight"]);
            self.wrong(path, &format!("unknown key `{key}`"), help);
        }
        let upstream = upstream.as_ref().and_then(toml::Value::as_str);
        let Some(upstream) = upstream else {
            self.wrong(path, "`upstream` must be there, and be a string", None);
            return None;
        };
        let named = model
            .as_ref()
            .map(|model| model.as_str().map(str::to_owned));
        if named == Some(None) {
            self.wrong(path, "`model` must be a string", None);
        }
        let weight = weight
            .as_integer()
            .and_then(|weight| u32::try_from(weight).ok())
            .filter(|weight| (1..=1000).contains(weight));
        if weight.is_none() {
            self.wrong(path, "`weight` must be a whole number from 1 to 1000", None);
        }
        Some(Target {
            upstream: upstream.to_owned(),
            model: named.flatten(),
            weight: weight.unwrap_or(1),
        })
    }

    fn overrides(&mut self, section: &[&str; 2], overrides: &Overrides) {
        let ranges = [
            ("temperature", overrides.temperature, 0.0, 2.0),
            ("top_p", overrides.top_p, 0.0, 1.0),
            ("presence_penalty", overrides.presence_penalty, -2.0, 2.0),
            ("frequency_penalty", overrides.frequency_penalty, -2.0, 2.0),
        ];
        for (key, value, least, most) in ranges {
            if value.is_some_and(|value| !(least..=most).contains(&value)) {
                let message = format!("must be from {least} to {most}");
                self.wrong(&[section[0], section[1], key], &message, None);
            }
        }
        self.extra_body(section, &overrides.extra_body);
    }

    /// Checks that a table can be merged into a request.
    pub(super) fn extra_body(&mut self, section: &[&str; 2], table: &toml::Table) {
        for (key, value) in table {
            let path = [section[0], section[1], "extra_body", key];
            if OWN_FIELDS.contains(&key.as_str()) {
                let message = format!("`{key}` is the proxy's to fill in");
                let help = (key == "model").then(|| "use `model` of a [models] entry".to_owned());
                let problem = self.places.at_key(&path, message, help);
                self.problems.push(problem);
            } else if !is_json(value) {
                self.wrong(&path, "JSON has no such value", None);
            }
        }
    }

    /// Checks that what is dropped is not what makes a request.
    pub(super) fn drop_fields(&mut self, section: &[&str; 2], fields: &[String]) {
        let path = [section[0], section[1], "drop_fields"];
        for field in fields {
            if OWN_FIELDS.contains(&field.as_str()) {
                self.wrong(&path, &format!("`{field}` can't be left out"), None);
            }
            if field.split('.').any(str::is_empty) {
                let help = "write it like \"seed\" or \"stream_options.include_usage\"".to_owned();
                self.wrong(&path, &format!("`{field}` names no field"), Some(help));
            }
        }
    }
}

fn target(upstream: &str) -> Target {
    Target {
        upstream: upstream.to_owned(),
        model: None,
        weight: 1,
    }
}

fn pattern(name: &str) -> Pattern {
    match name.contains('*') {
        true => Pattern::Glob(name.to_owned()),
        false => Pattern::Exact(name.to_owned()),
    }
}

/// TOML knows dates and numbers that are none, JSON does not.
fn is_json(value: &toml::Value) -> bool {
    match value {
        toml::Value::Datetime(_) => false,
        toml::Value::Float(number) => number.is_finite(),
        toml::Value::Array(values) => values.iter().all(is_json),
        toml::Value::Table(table) => table.iter().all(|(_, value)| is_json(value)),
        toml::Value::String(_) | toml::Value::Integer(_) | toml::Value::Boolean(_) => true,
    }
}
