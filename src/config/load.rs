//! Finds the configuration and lays its sources over one another: the file, then
//! `ANTIPHON__SECTION__KEY`, then the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue, Deserializer};
use url::Url;

use super::error::{ConfigError, Place, Problem, did_you_mean, reword};
use super::find::choose;
use super::place::{Places, Setting, line_of, quoted};
use super::raw::{
    self, RawAuth, RawConfig, RawCors, RawKey, RawLimits, RawLog, RawMetrics, RawModel, RawPreset,
    RawReasoning, RawServer, RawStore, RawTls, RawTracing, RawUpstream,
};
use super::resolve::Resolver;
use super::{Config, Source};

const PREFIX: &str = "ANTIPHON__";

/// The name that the upstream of `--upstream` gets.
const FLAG_UPSTREAM: &str = "default";

/// The variable with the key for `--upstream`.
const FLAG_UPSTREAM_KEY: &str = "ANTIPHON_UPSTREAM_KEY";

/// Says whether a profile's name and the keys over it are right, for an upstream's address.
pub type DialectCheck = fn(&str, &Url, &toml::Table) -> Result<(), String>;

/// What the command line says about the configuration. Empty values count as absent, since
/// that is how they arrive out of many a container's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// `--listen ADDR:PORT`, or several places with commas between
    pub listen: Option<String>,
    /// `--upstream URL`
    pub upstream: Option<String>,
}

impl Flags {
    pub(super) fn config(&self) -> Option<&Path> {
        self.config
            .as_deref()
            .filter(|path| !path.as_os_str().is_empty())
    }

    fn listen(&self) -> Option<&str> {
        self.listen.as_deref().filter(|text| !text.is_empty())
    }

    pub(super) fn upstream(&self) -> Option<&str> {
        self.upstream.as_deref().filter(|text| !text.is_empty())
    }
}

/// Loads the configuration of a program that was started with these flags and variables.
///
/// The file is `--config`; without it none at all if there is `--upstream`; else `./proxy.toml`,
/// `$XDG_CONFIG_HOME/antiphon/proxy.toml` (`~/.config/…`), or the one that the program carries.
/// `--upstream` puts one upstream named `default` in the place of the file's upstreams, and
/// every model's name goes there unchanged.
///
/// # Errors
/// Everything that is wrong with it and could be seen in one go.
pub fn load(
    flags: &Flags,
    env: impl IntoIterator<Item = (String, String)>,
    check_dialect: DialectCheck,
) -> Result<Config, ConfigError> {
    load_in(Path::new(""), flags, env, check_dialect)
}

/// [`load`] as if the program were started in `folder`.
pub(super) fn load_in(
    folder: &Path,
    flags: &Flags,
    env: impl IntoIterator<Item = (String, String)>,
    check_dialect: DialectCheck,
) -> Result<Config, ConfigError> {
    let env: BTreeMap<String, String> = env.into_iter().collect();
    let (source, text) = choose(folder, flags, &env)?;
    let file = match &source {
        Source::File(path) => path.as_path(),
        Source::BuiltIn | Source::Flags => Path::new("<built-in proxy.toml>"),
    };
    let mut table = DeTable::parse(&text)
        .map_err(|error| not_toml(file, &text, &error))?
        .into_inner();
    if flags.upstream().is_some() {
        make_way(&mut table);
    }
    let (settings, mut problems) = settings(text.len() + 1, flags, &env);
    for setting in &settings {
        setting
            .lay_over(&mut table)
            .map_err(|error| not_toml(file, &text, &error))?;
    }
    let places = Places {
        file,
        text: &text,
        settings: &settings,
        table: table.clone(),
    };
    drop_unknown::<RawConfig>(&mut table, &places, &mut problems);
    match RawConfig::deserialize(Deserializer::from(toml::Spanned::new(0..text.len(), table))) {
        Err(error) => {
            problems.push(wrong_type(&places, &error));
            Err(ConfigError::new(problems))
        }
        Ok(raw) => {
            let resolver = Resolver {
                places: &places,
                env: &env,
                folder,
                check_dialect,
                problems,
            };
            resolver.finish(raw, source.clone())
        }
    }
}

/// Takes from the file what `--upstream` replaces. Whole upstreams go, so that no key or header
/// of theirs is sent to an address that it was not meant for.
fn make_way(table: &mut DeTable<'_>) {
    table.remove("upstreams");
    table.remove("default_upstream");
    for section in ["models", "profiles"] {
        let named = table.get_mut(section).map(toml::Spanned::get_mut);
        let Some(DeValue::Table(named)) = named else {
            continue;
        };
        for (_, entry) in named.iter_mut() {
            if let DeValue::Table(entry) = entry.get_mut() {
                for key in ["upstream", "upstreams", "strategy", "model"] {
                    entry.remove(key);
                }
            }
        }
    }
}

/// A setting from outside the file: where it belongs, its value as TOML, where it stands.
type Loose = (Vec<String>, String, Place);

/// The settings from outside the file, the later over the earlier.
fn settings(
    start: usize,
    flags: &Flags,
    env: &BTreeMap<String, String>,
) -> (Vec<Setting>, Vec<Problem>) {
    let (variables, problems) = from_variables(env);
    let mut settings: Vec<Setting> = Vec::new();
    for (path, value, origin) in variables.into_iter().chain(from_flags(flags, env)) {
        let start = settings.last().map_or(start, Setting::end);
        settings.push(Setting::new(path, &value, origin, start));
    }
    (settings, problems)
}

fn from_variables(env: &BTreeMap<String, String>) -> (Vec<Loose>, Vec<Problem>) {
    let mut settings = Vec::new();
    let mut problems = Vec::new();
    for (name, value) in env {
        let Some((head, keys)) = name.split_at_checked(PREFIX.len()) else {
            continue;
        };
        if !head.eq_ignore_ascii_case(PREFIX) {
            continue;
        }
        let path: Vec<String> = keys.split("__").map(str::to_lowercase).collect();
        let place = Place::Variable(name.clone());
        if path.iter().any(String::is_empty) {
            let message = "the name of a section or key is empty".to_owned();
            let help = Some(format!("write it like {PREFIX}SERVER__LISTEN"));
            problems.push(Problem {
                place,
                message,
                help,
            });
        } else {
            settings.push((path, literal(value), place));
        }
    }
    (settings, problems)
}

fn from_flags(flags: &Flags, env: &BTreeMap<String, String>) -> Vec<Loose> {
    let mut settings = Vec::new();
    let mut add = |keys: &[&str], value: &str, place: Place| {
        settings.push((
            keys.iter().map(|&key| key.to_owned()).collect(),
            value.to_owned(),
            place,
        ));
    };
    if let Some(listen) = flags.listen() {
        add(
            &["server", "listen"],
            &list(listen),
            Place::Flag("--listen"),
        );
    }
    if let Some(url) = flags.upstream() {
        let flag = Place::Flag("--upstream");
        add(&["default_upstream"], &text(FLAG_UPSTREAM), flag.clone());
        add(&["upstreams", FLAG_UPSTREAM, "base_url"], &text(url), flag);
        if env
            .get(FLAG_UPSTREAM_KEY)
            .is_some_and(|key| !key.is_empty())
        {
            let place = Place::Variable(FLAG_UPSTREAM_KEY.to_owned());
            add(
                &["upstreams", FLAG_UPSTREAM, "env_key"],
                &text(FLAG_UPSTREAM_KEY),
                place,
            );
        }
    }
    settings
}

/// A variable's value as TOML: itself where it is a value of TOML, else a string.
fn literal(value: &str) -> String {
    let document = format!("v = {value}");
    let parsed = DeTable::parse(&document)
        .ok()
        .map(toml::Spanned::into_inner);
    // More than one key means that the value broke out of its line.
    let alone = parsed
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("v"));
    match alone.map(toml::Spanned::into_inner) {
        None | Some(DeValue::Datetime(_)) => text(value),
        Some(_) => value.to_owned(),
    }
}

/// What stands between commas, as an array; one text alone as itself.
fn list(value: &str) -> String {
    if !value.contains(',') {
        return text(value);
    }
    let parts = value.split(',').map(|part| text(part.trim()));
    format!("[{}]", parts.collect::<Vec<_>>().join(", "))
}

fn text(value: &str) -> String {
    toml::Value::from(value).to_string()
}

pub(super) fn not_toml(file: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let place = line_of(file, text, &span);
    let message = error.message();
    let message = message
        .strip_suffix(", expected nothing")
        .unwrap_or(message)
        .to_owned();
    let bare = match &place {
        Place::Line { text, .. } => text.split_once('=').is_some_and(|(_, value)| {
            value
                .trim_start()
                .starts_with(|c: char| c.is_alphanumeric() || c == '/' || c == '~')
        }),
        _ => false,
    };
    let help = bare.then(|| "text goes in double quotes".to_owned());
    Problem {
        place,
        message,
        help,
    }
}

pub(super) fn wrong_type(places: &Places<'_>, error: &toml::de::Error) -> Problem {
    let (message, help) = reword(error.message());
    let Some(span) = error.span() else {
        return Problem {
            place: Place::Nowhere,
            message,
            help,
        };
    };
    let message = match places.name_of(&span) {
        Some(name) => format!("`{name}`: {message}"),
        None => message,
    };
    Problem {
        place: places.place(&span),
        message,
        help,
    }
}

/// Notes every key that nothing reads and takes it out, so that the rest can be looked at too. `T` is
/// the whole file.
pub(super) fn drop_unknown<'de, T: Deserialize<'de>>(
    table: &mut DeTable<'_>,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut sift = |table: &mut DeTable<'_>, section: &[&str], known: &[&str]| {
        let names = table.keys().map(|key| key.get_ref().to_string());
        let names: Vec<String> = names
            .filter(|name| !known.contains(&name.as_str()))
            .collect();
        for name in names {
            let path: Vec<&str> = section.iter().copied().chain([name.as_str()]).collect();
            problems.push(unknown(places, &path, known));
            table.remove(name.as_str());
        }
    };
    sift(table, &[], raw::keys::<T>());
    for (section, known) in [
        ("server", raw::keys::<RawServer>()),
        ("auth", raw::keys::<RawAuth>()),
        ("limits", raw::keys::<RawLimits>()),
        ("cors", raw::keys::<RawCors>()),
        ("log", raw::keys::<RawLog>()),
        ("metrics", raw::keys::<RawMetrics>()),
        ("tracing", raw::keys::<RawTracing>()),
        ("reasoning", raw::keys::<RawReasoning>()),
        ("store", raw::keys::<RawStore>()),
    ] {
        if let Some(DeValue::Table(inner)) = table.get_mut(section).map(toml::Spanned::get_mut) {
            sift(inner, &[section], known);
        }
    }
    let server = table.get_mut("server").map(toml::Spanned::get_mut);
    if let Some(DeValue::Table(server)) = server
        && let Some(DeValue::Table(tls)) = server.get_mut("tls").map(toml::Spanned::get_mut)
    {
        sift(tls, &["server", "tls"], raw::keys::<RawTls>());
    }
    if let Some(DeValue::Array(keys)) = table.get_mut("keys").map(toml::Spanned::get_mut) {
        for (at, entry) in keys.iter_mut().enumerate() {
            if let DeValue::Table(inner) = entry.get_mut() {
                sift(inner, &["keys", &at.to_string()], raw::keys::<RawKey>());
            }
        }
    }
    for (section, known) in [
        ("upstreams", raw::keys::<RawUpstream>()),
        ("models", raw::keys::<RawModel>()),
        ("profiles", raw::keys::<RawPreset>()),
    ] {
        let named = table.get_mut(section).map(toml::Spanned::get_mut);
        let Some(DeValue::Table(named)) = named else {
            continue;
        };
        for (name, entry) in named.iter_mut() {
            if let DeValue::Table(inner) = entry.get_mut() {
                sift(inner, &[section, name.get_ref().as_ref()], known);
            }
        }
    }
}

fn unknown(places: &Places<'_>, path: &[&str], known: &[&str]) -> Problem {
    let (key, section) = path
        .split_last()
        .map_or(("", path), |(key, section)| (*key, section));
    let within = match section {
        [] => String::new(),
        ["keys", ..] => " in [[keys]]".to_owned(),
        section => {
            let names: Vec<String> = section.iter().map(|name| quoted(name)).collect();
            format!(" in [{}]", names.join("."))
        }
    };
    // The likeliest of all mistakes, and no spelling of it is near the right key.
    let secrets = ["api_key", "apikey", "key", "token", "secret"];
    let is_secret = secrets.contains(&key.to_lowercase().as_str());
    let help = match section.first() {
        Some(&"upstreams") if is_secret => Some(
            "name the environment variable with the key in `env_key`, or a file with it in \
             `api_key_file`"
                .to_owned(),
        ),
        Some(&"keys") if is_secret => {
            Some("put its hash into `hash`: `antiphon key hash` says what it is".to_owned())
        }
        _ => did_you_mean(key, known.iter().copied()),
    };
    places.at_key(path, format!("unknown key `{key}`{within}"), help)
}
