//! What the sources say together, and what the shipped file says alone.

mod clients;
mod docs;
mod errors;
mod listen;
mod observe;
mod store;

use std::fs;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::find::SHIPPED;
use super::load::load_in;
use super::raw::{
    self, RawAuth, RawConfig, RawCors, RawKey, RawLimits, RawLog, RawMetrics, RawModel, RawPreset,
    RawReasoning, RawServer, RawStore, RawTls, RawTracing, RawUpstream,
};
use super::*;

/// A folder to start the program in, with what it is started with.
struct World {
    folder: TempDir,
    env: Vec<(String, String)>,
    flags: Flags,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            env: Vec::new(),
            flags: Flags::default(),
        }
    }

    fn with(text: &str) -> Self {
        Self::new().file("proxy.toml", text)
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The variable `name` holds a path in the folder.
    fn env_folder(self, name: &str, path: &str) -> Self {
        let path = self.folder.path().join(path);
        self.env(name, path.to_str().unwrap())
    }

    fn upstream(mut self, url: &str) -> Self {
        self.flags.upstream = Some(url.to_owned());
        self
    }

    fn load(&self) -> Result<Config, ConfigError> {
        load_in(self.folder.path(), &self.flags, self.env.clone(), dialect)
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The message without the folder's name, which is another one each time.
    fn error(&self) -> String {
        let folder = format!("{}/", self.folder.path().display());
        self.load().unwrap_err().to_string().replace(&folder, "")
    }
}

/// A dialect room in small.
fn dialect(profile: &str, _: &Url, table: &toml::Table) -> Result<(), String> {
    if !["auto", "generic"].contains(&profile) {
        return Err(format!(
            "there is no profile `{profile}`; there are: auto, generic"
        ));
    }
    for (key, value) in table {
        if key != "max_tokens_field" {
            return Err(format!(
                "unknown field `{key}`, expected one of `max_tokens_field`, `x`"
            ));
        }
        if value.as_str() != Some("max_tokens") {
            let value = value.as_str().unwrap_or_default();
            return Err(format!("unknown variant `{value}`, expected `max_tokens`"));
        }
    }
    Ok(())
}

const ONE: &str = "[upstreams.a]\nbase_url = \"http://a/v1\"\n";

/// The shipped file with every setting switched on.
fn everything() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting.to_owned(),
        _ => line.to_owned(),
    };
    SHIPPED.lines().map(on).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_loads() {
    let config = World::new().config();
    assert_eq!(config.source, Source::BuiltIn);
    assert_eq!(config.default_upstream, "ollama");
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(
        config.upstreams[0].base_url.as_str(),
        "http://127.0.0.1:11434/v1"
    );
    assert!(config.models.is_empty());
}

#[test]
fn the_shipped_file_shows_every_key_where_it_belongs() {
    let root: toml::Table = everything().parse().unwrap();
    let section = |path: &[&str]| {
        let root = toml::Value::Table(root.clone());
        path.iter()
            .fold(root, |table, key| table[key].clone())
            .as_table()
            .unwrap()
            .clone()
    };
    let shows = |table: &toml::Table, keys: &[&str]| {
        let missing: Vec<_> = keys
            .iter()
            .filter(|key| !table.contains_key(**key))
            .collect();
        assert_eq!(missing, Vec::<&&str>::new(), "not in proxy.toml");
    };
    shows(&root, raw::keys::<RawConfig>());
    shows(&section(&["server"]), raw::keys::<RawServer>());
    shows(&section(&["server", "tls"]), raw::keys::<RawTls>());
    shows(&section(&["auth"]), raw::keys::<RawAuth>());
    shows(&section(&["limits"]), raw::keys::<RawLimits>());
    shows(&section(&["cors"]), raw::keys::<RawCors>());
    let key = root["keys"][0].as_table().unwrap();
    shows(key, raw::keys::<RawKey>());
    shows(&section(&["log"]), raw::keys::<RawLog>());
    shows(&section(&["metrics"]), raw::keys::<RawMetrics>());
    shows(&section(&["tracing"]), raw::keys::<RawTracing>());
    shows(&section(&["reasoning"]), raw::keys::<RawReasoning>());
    shows(&section(&["store"]), raw::keys::<RawStore>());
    let mut model = section(&["models", "gpt-5.5"]);
    // The two cannot stand side by side.
    model.insert("upstream".to_owned(), "shown in words".into());
    assert!(SHIPPED.contains("\n#   upstream = \"ollama\"\n"));
    shows(&model, raw::keys::<RawModel>());
    let mut preset = section(&["profiles", "fast"]);
    preset.extend(section(&["profiles", "spread"]));
    shows(&preset, raw::keys::<RawPreset>());
    let mut upstream = section(&["upstreams", "ollama"]);
    upstream.extend(section(&["upstreams", "vllm"]));
    shows(&upstream, raw::keys::<RawUpstream>());
    assert_eq!(
        raw::keys::<RawServer>().len(),
        20,
        "or the test would pass on nothing"
    );
}

#[test]
fn the_shipped_file_shows_the_true_defaults() {
    let on = everything()
        .replace("/run/secrets/vllm-key", "vllm-key")
        .replace("/etc/ssl/our-ca.pem", "vllm-key")
        .replace("/etc/antiphon/", "");
    let world = World::with(&on)
        .file("vllm-key", "secret\n")
        .file("instructions.md", "Be brief.")
        .file("tls.crt", "a")
        .file("tls.key", "b")
        .file("clients-ca.pem", "c")
        .file("keys.toml", "")
        .env("HOME", "/home/me");
    let mut shown = world.config();
    // Without the section there is none.
    assert!(shown.server.tls.take().is_some());
    let default = World::new().env("HOME", "/home/me").config();
    assert_eq!(shown.server, default.server);
    assert_eq!(
        shown.limits.rates.max_streams,
        default.limits.rates.max_streams
    );
    let shown_limits = Limits {
        rates: default.limits.rates,
        ..shown.limits
    };
    assert_eq!(shown_limits, default.limits, "a minute has none");
    assert_eq!(shown.log, default.log);
    let named = match &default.reasoning.seal_key {
        SealKey::Usual(place) => SealKey::Named(place.clone()),
        other => other.clone(),
    };
    let shown_reasoning = Reasoning {
        seal_key: named,
        ..default.reasoning
    };
    assert_eq!(shown.reasoning, shown_reasoning);
    assert_eq!(store::facts(&shown.store), store::facts(&default.store));
    assert_eq!(shown.default_upstream, default.default_upstream);
    let limits = |config: &Config| {
        let u = &config.upstreams[0];
        let times = [
            u.connect_timeout,
            u.first_byte_timeout,
            u.stream_idle_timeout,
        ];
        (
            times,
            u.max_event_bytes,
            u.max_answer_bytes,
            (u.request_max_retries, u.stream_max_retries),
            (u.max_queue, u.queue_timeout),
            (u.breaker_failures, u.breaker_pause, u.breaker_max_pause),
            (u.wire_api, u.auth, format!("{:?}", u.proxy)),
            u.profile.clone(),
        )
    };
    assert_eq!(limits(&shown), limits(&default));
}

#[test]
fn a_whole_file_is_understood() {
    let config = World::with(
        r#"
default_upstream = "z"
[server]
keepalive_interval_ms = 0
drain_timeout_ms = 0
[upstreams.z]
base_url = "https://z.example/v1/?api-version=1"
query_params = { b = "2" }
http_headers = { "X-A" = "b" }
env_http_headers = { "X-B" = "B_VALUE", "X-C" = "NOT_SET" }
env_key = "Z_KEY"
dialect.max_tokens_field = "max_tokens"
[upstreams.a]
base_url = "http://127.0.0.1:1/v1/chat/completions/"
api_key_file = "keys/a"
[models."gpt-*"]
model = "big"
[models.b]
upstream = "a"
input = ["text"]
base_instructions_file = "b.md"
[models."*"]
"#,
    )
    .file("keys/a", "  key of a\n")
    .file("b.md", "Be b.")
    .env("Z_KEY", "key of z")
    .env("B_VALUE", "value of b")
    .config();
    assert_eq!(config.default_upstream, "z");
    assert_eq!(config.server.keepalive_interval, None);
    assert_eq!(config.server.drain_timeout, Duration::ZERO);
    let [z, a] = config.upstreams.as_slice() else {
        panic!("in the file's order")
    };
    assert_eq!(z.base_url.as_str(), "https://z.example/v1");
    assert_eq!(a.base_url.as_str(), "http://127.0.0.1:1/v1");
    let shown = |pairs: &[(String, SecretString)]| {
        pairs
            .iter()
            .map(|(k, v)| format!("{k}={}", v.expose_secret()))
            .collect::<Vec<_>>()
            .join("&")
    };
    assert_eq!(shown(&z.query_params), "api-version=1&b=2");
    assert_eq!(shown(&z.http_headers), "X-A=b&X-B=value of b");
    assert_eq!(z.missing_variables, ["NOT_SET"]);
    assert_eq!(z.key.as_ref().unwrap().expose_secret(), "key of z");
    assert_eq!(z.key_source, KeySource::Variable("Z_KEY".to_owned()));
    assert_eq!(z.dialect["max_tokens_field"].as_str(), Some("max_tokens"));
    assert_eq!(a.key.as_ref().unwrap().expose_secret(), "key of a");
    let names: Vec<&Pattern> = config.models.iter().map(|model| &model.name).collect();
    let glob = |text: &str| Pattern::Glob(text.to_owned());
    assert_eq!(
        names,
        [&glob("gpt-*"), &Pattern::Exact("b".to_owned()), &glob("*")]
    );
    assert_eq!(config.models[0].targets[0].upstream, "z");
    assert_eq!(config.models[0].input, [Modality::Text, Modality::Image]);
    assert_eq!(config.models[1].targets[0].upstream, "a");
    assert_eq!(config.models[1].base_instructions.as_deref(), Some("Be b."));
    let debug = format!("{config:?}");
    for secret in ["key of", "value of b", "\"2\""] {
        assert!(!debug.contains(secret), "{secret} is in {debug}");
    }
}

#[test]
fn a_key_that_is_not_set_is_noted() {
    let world = World::with(&format!("{ONE}env_key = \"A_KEY\"\n"));
    for world in [
        world.env("OTHER", "1"),
        World::with(&format!("{ONE}env_key = \"A_KEY\"\n")).env("A_KEY", " "),
    ] {
        let config = world.config();
        assert!(config.upstreams[0].key.is_none());
        assert_eq!(config.upstreams[0].missing_variables, ["A_KEY"]);
    }
}

#[test]
fn the_environment_is_above_the_file_and_flags_are_above_both() {
    let mut world = World::with(&format!(
        "[server]\nlisten = \"127.0.0.1:1\"\nmax_connections = 5\n{ONE}"
    ))
    .env("ANTIPHON__SERVER__LISTEN", "127.0.0.1:2")
    .env("ANTIPHON__server__Done_Sentinel", "false");
    let config = world.config();
    assert_eq!(config.server.addresses()[0].port(), 2);
    assert!(!config.server.done_sentinel);
    assert_eq!(config.server.max_connections, 5);
    world.flags.listen = Some("127.0.0.1:0".to_owned());
    assert_eq!(world.config().server.addresses()[0].port(), 0);
    world.flags.listen = Some(String::new());
    assert_eq!(
        world.config().server.addresses()[0].port(),
        2,
        "an empty flag says nothing"
    );
}

#[test]
fn variables_reach_names_with_dashes_and_dots() {
    let config = World::with(
        "[upstreams.My-Box]\nbase_url = \"http://a\"\n[models.\"gpt-5.5\"]\nmodel = \"a\"\n",
    )
    .env("ANTIPHON__UPSTREAMS__MY_BOX__BASE_URL", "http://b")
    .env("ANTIPHON__UPSTREAMS__MY_BOX__HTTP_HEADERS", "{ a = \"b\" }")
    .env("ANTIPHON__MODELS__GPT_5_5__MODEL", "\"123\"")
    .env("ANTIPHON__MODELS__GPT_5_5__INPUT", "[\"text\"]")
    .env("ANTIPHON__MODELS__NEW__MODEL", "2024-10-21")
    .config();
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(config.upstreams[0].base_url.as_str(), "http://b/");
    assert_eq!(config.upstreams[0].http_headers.len(), 1);
    assert_eq!(config.models[0].model.as_deref(), Some("123"));
    assert_eq!(config.models[0].input, [Modality::Text]);
    assert_eq!(config.models[1].name, Pattern::Exact("new".to_owned()));
    assert_eq!(
        config.models[1].model.as_deref(),
        Some("2024-10-21"),
        "a date is text here"
    );
}

#[test]
fn a_value_cannot_break_out_of_its_line() {
    let config = World::with(ONE)
        .env("ANTIPHON__LOG__LEVEL", "1\nw = 2")
        .config();
    assert_eq!(config.log.level, "1\nw = 2");
}

#[test]
fn files_are_looked_for_in_order() {
    let one = |name: &str| format!("[upstreams.{name}]\nbase_url = \"http://a\"\n");
    let mut world = World::new()
        .file(".config/antiphon/proxy.toml", &one("home"))
        .env_folder("HOME", "");
    assert_eq!(world.config().default_upstream, "home");
    world = world
        .file("xdg/antiphon/proxy.toml", &one("xdg"))
        .env_folder("XDG_CONFIG_HOME", "xdg");
    assert_eq!(world.config().default_upstream, "xdg");
    world = world.file("proxy.toml", &one("beside"));
    assert_eq!(world.config().default_upstream, "beside");
    world = world.file("other.toml", &one("other"));
    world.flags.config = Some("other.toml".into());
    let config = world.config();
    assert_eq!(config.default_upstream, "other");
    assert_eq!(
        config.source,
        Source::File(world.folder.path().join("other.toml"))
    );
}

#[test]
fn an_upstream_flag_needs_no_file() {
    let world = World::with("not even toml").upstream("http://host:1/v1/");
    let config = world.env("ANTIPHON_UPSTREAM_KEY", "k").config();
    assert_eq!(config.source, Source::Flags);
    assert_eq!(config.default_upstream, "default");
    assert_eq!(config.upstreams[0].name, "default");
    assert_eq!(config.upstreams[0].base_url.as_str(), "http://host:1/v1");
    assert_eq!(
        config.upstreams[0].key.as_ref().unwrap().expose_secret(),
        "k"
    );
    let keyless = World::new().upstream("http://host").config();
    assert_eq!(keyless.upstreams[0].key_source, KeySource::None);
}

#[test]
fn an_upstream_flag_replaces_the_file_s_upstreams_and_their_secrets() {
    let mut world = World::with(
        "default_upstream = \"a\"\n[upstreams.a]\nbase_url = \"http://a\"\n[upstreams.default]\n\
         base_url = \"http://b\"\nenv_key = \"B\"\n[models.m]\nupstream = \"a\"\nmodel = \"x\"\n\
         context_window = 9\n",
    )
    .upstream("http://new")
    .env("B", "secret")
    .env("ANTIPHON__UPSTREAMS__DEFAULT__REQUEST_MAX_RETRIES", "0");
    world.flags.config = Some("proxy.toml".into());
    let config = world.config();
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(config.upstreams[0].base_url.as_str(), "http://new/");
    assert!(config.upstreams[0].key.is_none());
    assert_eq!(config.upstreams[0].request_max_retries, 0);
    let model = &config.models[0];
    assert_eq!(
        (model.targets[0].upstream.as_str(), &model.model),
        ("default", &None)
    );
    assert_eq!(model.context_window, Some(9));
}

#[test]
fn the_seal_key_has_its_place() {
    let place = |world: World| world.config().reasoning.seal_key;
    let state = place(World::new().env("HOME", "/h").env("XDG_STATE_HOME", "/s"));
    assert_eq!(state, SealKey::Usual("/s/antiphon/seal.key".into()));
    let home = place(
        World::new()
            .env("HOME", "/h")
            .env("XDG_STATE_HOME", "relative"),
    );
    let under = "/h/.local/state/antiphon/seal.key";
    assert_eq!(home, SealKey::Usual(under.into()));
    assert_eq!(place(World::new()), SealKey::Nowhere);
    let world = World::with(&format!("[reasoning]\nseal_key_file = \"k\"\n{ONE}"));
    let beside = world.folder.path().join("k");
    assert_eq!(place(world), SealKey::Named(beside));
}

#[test]
fn the_usual_variable_sets_the_log_s_level_where_nothing_else_does() {
    let level = |world: World| world.config().log.level;
    assert_eq!(level(World::with(ONE)), "info");
    assert_eq!(level(World::with(ONE).env("RUST_LOG", " ")), "info");
    assert_eq!(level(World::with(ONE).env("RUST_LOG", "warn")), "warn");
    let written = World::with(&format!("[log]\nlevel = \"debug\"\n{ONE}"));
    assert_eq!(level(written.env("RUST_LOG", "warn")), "debug");
    let set = World::with(ONE).env("ANTIPHON__LOG__LEVEL", "error");
    assert_eq!(level(set.env("RUST_LOG", "warn")), "error");
}

#[test]
fn a_public_address_is_meant_when_it_says_so() {
    let world = World::with(ONE).env("ANTIPHON__SERVER__LISTEN", "0.0.0.0:1");
    assert!(world.load().is_err());
    assert!(
        world
            .env("ANTIPHON__SERVER__ALLOW_PUBLIC", "true")
            .config()
            .server
            .allow_public
    );
    World::with(ONE)
        .env("ANTIPHON__SERVER__LISTEN", "[::1]:1")
        .config();
}

/// A file with two upstreams and this.
fn two(text: &str) -> World {
    World::with(&format!(
        "default_upstream = \"a\"\n{text}\n[upstreams.a]\nbase_url = \"http://a\"\n\
         [upstreams.b]\nbase_url = \"http://b\"\n"
    ))
}

#[test]
fn routes_name_their_upstreams_in_several_ways() {
    let config = two(
        "[models.m]\nupstreams = [\"b\", { upstream = \"a\", model = \"x\", weight = 3 }]\n\
         strategy = \"weighted\"\ntemperature = 1\nextra_body = { k = [1, { a = true }] }\n\
         [models.\"*-mini*\"]\n[profiles.\"fast.1\"]\nupstream = \"b\"\nmodel = \"small\"\n\
         reasoning_effort = \"low\"\nmax_output_tokens = 5\n[profiles.bare]\n",
    )
    .config();
    let target = |upstream: &str, model: Option<&str>, weight| Target {
        upstream: upstream.to_owned(),
        model: model.map(str::to_owned),
        weight,
    };
    let [model, mini] = config.models.as_slice() else {
        panic!("two models")
    };
    assert_eq!(
        model.targets,
        [target("b", None, 1), target("a", Some("x"), 3)]
    );
    assert_eq!(model.strategy, Strategy::Weighted);
    assert_eq!(model.overrides.temperature, Some(1.0));
    assert_eq!(mini.name, Pattern::Glob("*-mini*".to_owned()));
    assert_eq!(mini.targets, [target("a", None, 1)]);
    let [fast, bare] = config.presets.as_slice() else {
        panic!("two profiles")
    };
    assert_eq!(fast.name, "fast.1");
    assert_eq!(fast.targets, [target("b", None, 1)]);
    assert_eq!((fast.strategy, bare.strategy), (None, None));
    assert_eq!(fast.max_output_tokens, Some(5));
    assert_eq!(bare.targets, []);
}

#[test]
fn upstreams_have_proxies_and_limits() {
    let config = World::with(&format!(
        "{ONE}proxy = \"socks5h://me:secret@proxy:1080\"\nwire_api = \"responses\"\n\
         auth = \"passthrough\"\nmax_concurrency = 3\nmax_queue = 0\ndrop_fields = [\"a.b\"]\n\
         extra_body = {{ k = 1 }}\nbreaker_failures = 0\nbreaker_pause_ms = 90000\n"
    ))
    .config();
    let a = &config.upstreams[0];
    let Proxy::Url(url) = &a.proxy else {
        panic!("a proxy")
    };
    assert_eq!(url.expose_secret(), "socks5h://me:secret@proxy:1080");
    assert_eq!(
        (a.wire_api, a.auth),
        (WireApi::Responses, Auth::Passthrough)
    );
    assert_eq!((a.max_concurrency, a.max_queue), (Some(3), 0));
    assert_eq!(
        a.breaker_max_pause,
        Duration::from_secs(90),
        "not below the first"
    );
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn what_has_not_changed_is_the_same() {
    let load = |text: &str, value: &str| {
        World::with(&format!("{ONE}env_key = \"K\"\n{text}"))
            .env("K", value)
            .config()
            .upstreams
            .remove(0)
    };
    let one = load("", "k");
    assert!(one.is_same(&load("", "k")));
    for (text, value) in [
        ("", "other"),
        ("max_queue = 1", "k"),
        ("proxy = \"none\"", "k"),
        ("query_params = { a = \"b\" }", "k"),
        ("dialect = { max_tokens_field = \"max_tokens\" }", "k"),
    ] {
        assert!(!one.is_same(&load(text, value)), "{text} {value}");
    }
}
