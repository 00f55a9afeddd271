//! Which upstreams, and which of their models, stand behind the name that a client uses, and what is
//! asked of them whatever the client says.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::catalog::ModelMetadata;
use crate::responses::ErrorObject;
use crate::upstream::{Refusal, Strategy};

/// What parts a model's name from the profile that a request picks.
const PROFILE_MARK: char = '@';

/// Where the requests for some names go.
#[derive(Debug, Clone)]
pub struct Route {
    /// The names.
    pub names: Names,
    /// The upstreams; there is at least one.
    pub targets: Vec<Target>,
    /// Which of them is asked first.
    pub strategy: Strategy,
    /// The upstreams' own name of the model; `None` leaves the client's.
    pub model: Option<String>,
    /// What is asked for, whatever the client does.
    pub overrides: Overrides,
    /// What clients are told of the model.
    pub metadata: ModelMetadata,
}

/// One upstream of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The upstream's place in the engine's list.
    pub upstream: usize,
    /// The model's name there, if it is not the route's.
    pub model: Option<String>,
    /// Its share.
    pub weight: u32,
}

/// What is asked for, whatever the client does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// How hard to think.
    pub effort: Option<String>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// JSON objects that are merged into the request, one after another.
    pub extra_body: Vec<String>,
}

/// A profile that a request can pick.
#[derive(Debug, Clone, Default)]
pub struct Preset {
    /// The upstreams; empty leaves the route's.
    pub targets: Vec<Target>,
    /// Which of them is asked first; `None` leaves the route's.
    pub strategy: Option<Strategy>,
    /// The upstreams' own name of the model; `None` leaves the route's.
    pub model: Option<String>,
    /// The limit for requests that set none.
    pub max_output_tokens: Option<u64>,
    /// What is asked for, whatever the client does.
    pub overrides: Overrides,
}

/// The names of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// This one.
    Exact(String),
    /// All that are like this, where `*` stands for anything.
    Glob(String),
}

impl Names {
    /// How well a name fits: `None` if it does not.
    fn fit(&self, name: &str) -> Option<usize> {
        match self {
            Self::Exact(exact) => (exact == name).then_some(usize::MAX),
            Self::Glob(glob) => {
                let literal = glob.chars().filter(|c| *c != '*').count();
                crate::glob::fits(glob, name).then_some(literal)
            }
        }
    }
}

/// All routes, and the profiles that requests can pick.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    routes: Vec<Route>,
    presets: BTreeMap<String, Preset>,
}

impl Routes {
    /// Routes in the order of the configuration, the one for all other names last.
    #[must_use]
    pub fn new(routes: Vec<Route>, presets: BTreeMap<String, Preset>) -> Self {
        Self { routes, presets }
    }

    /// The route of a name: its own entry, else the pattern that says the most of it, the first of
    /// equals.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Route> {
        self.find_with_fit(name).map(|(_, route)| route)
    }

    fn find_with_fit(&self, name: &str) -> Option<(usize, &Route)> {
        let mut best: Option<(usize, &Route)> = None;
        for route in &self.routes {
            if let Some(fit) = route.names.fit(name)
                && best.is_none_or(|(best, _)| fit > best)
            {
                best = Some((fit, route));
            }
        }
        best
    }

    /// All routes, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// The models that the configuration names, by clients' names and by the upstreams' own.
    pub(super) fn model_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let own = |targets: &[Target]| {
            let own = targets.iter().filter_map(|target| target.model.clone());
            own.collect::<Vec<_>>()
        };
        for route in &self.routes {
            if let Names::Exact(name) = &route.names {
                names.push(name.clone());
            }
            names.extend(route.model.clone());
            names.extend(own(&route.targets));
        }
        for preset in self.presets.values() {
            names.extend(preset.model.clone());
            names.extend(own(&preset.targets));
        }
        names
    }

    /// What a request gets that names `model`, and the profile `picked` in a header.
    ///
    /// A profile can also stand behind an `@` in the model's name. As names may hold an `@` of their
    /// own, what stands behind one is a profile only if there is a profile of that name, and no model
    /// of the whole name.
    ///
    /// # Errors
    /// There is no such profile, or no route for the name.
    pub fn choose<'r>(
        &'r self,
        model: &'r str,
        picked: Option<&'r str>,
    ) -> Result<Choice<'r>, Refusal> {
        let preset = picked.map(|name| self.preset(name)).transpose()?;
        let whole = self.find_with_fit(model);
        if whole.is_none_or(|(fit, _)| fit < usize::MAX)
            && let Some((name, suffix)) = model.rsplit_once(PROFILE_MARK)
        {
            if let (Some(preset), Some(route)) = (self.presets.get(suffix), self.find(name)) {
                return Ok(Choice {
                    route,
                    preset: Some(preset),
                    name,
                    profile: Some(suffix),
                });
            }
            let is_own = |name| self.find_with_fit(name).map(|(fit, _)| fit) == Some(usize::MAX);
            // Nobody but us would know `m@x` where `m` is an entry and `m@x` fits no pattern.
            if !self.presets.is_empty() && is_own(name) && whole.is_none_or(|(fit, _)| fit == 0) {
                return Err(self.unknown_profile(suffix));
            }
        }
        let (_, route) = whole.ok_or_else(|| unknown_model(model))?;
        Ok(Choice {
            route,
            preset,
            name: model,
            profile: picked,
        })
    }

    fn preset(&self, name: &str) -> Result<&Preset, Refusal> {
        let preset = self.presets.get(name);
        preset.ok_or_else(|| self.unknown_profile(name))
    }

    fn unknown_profile(&self, name: &str) -> Refusal {
        let known: Vec<&str> = self.presets.keys().map(String::as_str).collect();
        let known = match known.is_empty() {
            true => "the configuration has none".to_owned(),
            false => format!("there are: {}", known.join(", ")),
        };
        let error = ErrorObject::invalid(format!("There is no profile '{name}'; {known}."));
        Refusal::bad_request(error.with_param("model").with_code("profile_not_found"))
    }
}

/// What a request gets.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'r> {
    route: &'r Route,
    preset: Option<&'r Preset>,
    /// The name that the client used, without a profile.
    name: &'r str,
    /// The profile's name.
    profile: Option<&'r str>,
}

impl<'r> Choice<'r> {
    /// The upstreams that can be asked.
    #[must_use]
    pub fn targets(&self) -> &'r [Target] {
        match self.preset {
            Some(preset) if !preset.targets.is_empty() => &preset.targets,
            _ => &self.route.targets,
        }
    }

    /// Which of them is asked first.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        let preset = self.preset.and_then(|preset| preset.strategy);
        preset.unwrap_or(self.route.strategy)
    }

    /// The model's name at one of the upstreams: whoever is nearer to the request says it.
    #[must_use]
    pub fn model(&self, target: &'r Target) -> &'r str {
        let preset = self.preset.and_then(|preset| preset.model.as_deref());
        let is_presets = self.preset.is_some_and(|preset| !preset.targets.is_empty());
        let target = target.model.as_deref();
        let nearest = if is_presets {
            target.or(preset)
        } else {
            preset.or(target)
        };
        nearest.or(self.route.model.as_deref()).unwrap_or(self.name)
    }

    /// What was asked for: the model's name, and behind an `@` that of a profile, however it was
    /// picked.
    #[must_use]
    pub fn full_name(&self) -> Cow<'r, str> {
        match self.profile {
            Some(profile) => format!("{}{PROFILE_MARK}{profile}", self.name).into(),
            None => self.name.into(),
        }
    }

    /// The limit for requests that set none.
    #[must_use]
    pub fn max_output_tokens(&self) -> Option<u64> {
        let preset = self.preset.and_then(|preset| preset.max_output_tokens);
        preset.or(self.route.metadata.max_output_tokens)
    }

    /// How many tokens the model takes, where it is known.
    #[must_use]
    pub fn context_window(&self) -> Option<u64> {
        self.route.metadata.context_window
    }

    /// What is asked for, whatever the client does: the profile's word over the route's.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        let route = &self.route.overrides;
        let Some(preset) = self.preset.map(|preset| &preset.overrides) else {
            return route.clone();
        };
        let extra = route.extra_body.iter().chain(&preset.extra_body);
        Overrides {
            effort: preset.effort.clone().or_else(|| route.effort.clone()),
            temperature: preset.temperature.or(route.temperature),
            top_p: preset.top_p.or(route.top_p),
            presence_penalty: preset.presence_penalty.or(route.presence_penalty),
            frequency_penalty: preset.frequency_penalty.or(route.frequency_penalty),
            extra_body: extra.cloned().collect(),
        }
    }
}

fn unknown_model(model: &str) -> Refusal {
    let message =
        format!("The model `{model}` does not exist: no entry of the configuration has it.");
    let error = ErrorObject::invalid(message)
        .with_param("model")
        .with_code("model_not_found");
    Refusal::new(404, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(names: Names, model: &str) -> Route {
        Route {
            names,
            targets: vec![target(0)],
            strategy: Strategy::Fallback,
            model: Some(model.into()),
            overrides: Overrides::default(),
            metadata: ModelMetadata::default(),
        }
    }

    fn target(upstream: usize) -> Target {
        Target {
            upstream,
            model: None,
            weight: 1,
        }
    }

    fn glob(glob: &str) -> Route {
        route(Names::Glob(glob.into()), glob)
    }

    fn exact(name: &str) -> Route {
        route(Names::Exact(name.into()), name)
    }

    fn presets(names: &[&str]) -> BTreeMap<String, Preset> {
        let preset = |name: &&str| {
            let model = Some(format!("of {name}"));
            let preset = Preset {
                model,
                ..Preset::default()
            };
            ((*name).to_owned(), preset)
        };
        names.iter().map(preset).collect()
    }

    fn chosen(routes: &Routes, model: &str, picked: Option<&str>) -> Result<String, String> {
        let choice = routes.choose(model, picked);
        let choice =
            choice.map_err(|refusal| refusal.error.code.unwrap_or_default().to_string())?;
        Ok(choice.model(&choice.targets()[0]).to_owned())
    }

    #[test]
    fn the_entry_that_says_the_most_wins() {
        let all = vec![
            glob("*"),
            glob("gpt-*"),
            glob("*-mini"),
            glob("gpt-5*"),
            exact("gpt-5"),
        ];
        let routes = Routes::new(all, BTreeMap::new());
        for (name, winner) in [
            ("gpt-5", "gpt-5"),
            ("gpt-5.5", "gpt-5*"),
            ("gpt-4-mini", "*-mini"),
            ("gpt-4", "gpt-*"),
            ("o4", "*"),
        ] {
            assert_eq!(chosen(&routes, name, None).as_deref(), Ok(winner), "{name}");
        }
    }

    #[test]
    fn a_profile_is_picked_by_header_or_suffix() {
        let all = vec![exact("gpt-5.5"), exact("pinned@fast"), glob("*")];
        let routes = Routes::new(all, presets(&["fast", "deep"]));
        for (model, picked, is) in [
            ("gpt-5.5", None, Ok("gpt-5.5")),
            ("gpt-5.5", Some("deep"), Ok("of deep")),
            ("gpt-5.5@fast", None, Ok("of fast")),
            ("gpt-5.5@fast", Some("deep"), Ok("of fast")),
            ("other@fast", None, Ok("of fast")),
            ("pinned@fast", None, Ok("pinned@fast")),
            ("qwen3:8b", None, Ok("*")),
            ("org/model@main", None, Ok("*")),
            ("gpt-5.5@fats", None, Err("profile_not_found")),
            ("gpt-5.5", Some("fats"), Err("profile_not_found")),
        ] {
            let told = chosen(&routes, model, picked);
            assert_eq!(
                told,
                is.map(str::to_owned).map_err(str::to_owned),
                "{model}"
            );
        }
        let without = Routes::new(vec![exact("m")], BTreeMap::new());
        let unknown = Err("model_not_found".to_owned());
        assert_eq!(chosen(&without, "m@fast", None), unknown);
    }

    #[test]
    fn what_is_asked_for_has_one_name_however_it_is_asked_for() {
        let routes = Routes::new(vec![glob("*")], presets(&["fast"]));
        for (model, picked, name) in [
            ("m", None, "m"),
            ("m@fast", None, "m@fast"),
            ("m", Some("fast"), "m@fast"),
            ("m@main", None, "m@main"),
        ] {
            assert_eq!(routes.choose(model, picked).unwrap().full_name(), name);
        }
    }

    #[test]
    fn who_is_nearest_to_the_request_names_the_model() {
        let mut own = route(Names::Exact("m".into()), "routes");
        own.targets[0].model = Some("targets".into());
        let mut presets = presets(&["model"]);
        let mut with_targets = Preset {
            targets: vec![target(1)],
            ..Preset::default()
        };
        presets.insert("bare".into(), with_targets.clone());
        with_targets.model = Some("presets".into());
        with_targets.targets[0].model = Some("presets target".into());
        presets.insert("both".into(), with_targets);
        let routes = Routes::new(vec![own], presets);
        for (picked, model) in [
            (None, "targets"),
            (Some("model"), "of model"),
            (Some("bare"), "routes"),
            (Some("both"), "presets target"),
        ] {
            assert_eq!(
                chosen(&routes, "m", picked).as_deref(),
                Ok(model),
                "{picked:?}"
            );
        }
    }

    #[test]
    fn the_profiles_word_counts_more_than_the_routes() {
        let mut own = exact("m");
        own.overrides.effort = Some("low".into());
        own.overrides.top_p = Some(0.5);
        own.overrides.extra_body = vec!["1".into()];
        own.metadata.max_output_tokens = Some(1);
        let mut preset = Preset {
            max_output_tokens: Some(2),
            ..Preset::default()
        };
        preset.overrides.effort = Some("high".into());
        preset.overrides.extra_body = vec!["2".into()];
        let routes = Routes::new(vec![own], [("p".to_owned(), preset)].into());
        let choice = routes.choose("m@p", None).unwrap();
        let overrides = choice.overrides();
        assert_eq!(overrides.effort.as_deref(), Some("high"));
        assert_eq!(overrides.top_p, Some(0.5));
        assert_eq!(overrides.extra_body, ["1", "2"]);
        assert_eq!(choice.max_output_tokens(), Some(2));
    }
}
