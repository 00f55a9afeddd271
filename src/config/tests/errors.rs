//! Each kind of mistake, with the whole message.

use super::super::error::distance;
use super::{ONE, World};

#[test]
fn an_unknown_key_is_shown_with_the_right_one() {
    let world = World::with(&format!("{ONE}[server]\n  listne = \"127.0.0.1:1\"\n"));
    assert_eq!(
        world.error(),
        "proxy.toml:4:3: unknown key `listne` in [server]\n  \
           |\n\
         4 |   listne = \"127.0.0.1:1\"\n  \
           |   ^^^^^^\n\
         help: did you mean `listen`?"
    );
}

#[test]
fn unknown_keys_are_told_all_at_once_with_what_else_is_wrong() {
    let world = World::with(&format!(
        "[servr]\n{ONE}frobnicate = 1\nprofil = \"auto\"\n[models.\"gpt-5.5\"]\nmodle = \"a\"\ninput = [\"txt\"]\n"
    ));
    assert_eq!(
        world.error(),
        "proxy.toml:1:2: unknown key `servr`\n  |\n1 | [servr]\n  |  ^^^^^\n\
         help: did you mean `server`?\n\n\
         proxy.toml:4:1: unknown key `frobnicate` in [upstreams.a]\n  |\n4 | frobnicate = 1\n  | ^^^^^^^^^^\n\n\
         proxy.toml:5:1: unknown key `profil` in [upstreams.a]\n  |\n5 | profil = \"auto\"\n  | ^^^^^^\n\
         help: did you mean `profile`?\n\n\
         proxy.toml:7:1: unknown key `modle` in [models.\"gpt-5.5\"]\n  |\n7 | modle = \"a\"\n  | ^^^^^\n\
         help: did you mean `model`?\n\n\
         proxy.toml:8:9: `models.\"gpt-5.5\".input`: there is no `txt`\n  |\n8 | input = [\"txt\"]\n  |         ^^^^^^^\n\
         help: did you mean `text`?"
    );
}

#[test]
fn a_key_in_the_file_is_masked_and_told_where_to_go() {
    let world = World::with(&format!("{ONE}api_key = \"sk-12345\"\n"));
    assert_eq!(
        world.error(),
        "proxy.toml:3:1: unknown key `api_key` in [upstreams.a]\n  |\n3 | api_key = \"********\"\n  | ^^^^^^^\n\
         help: name the environment variable with the key in `env_key`, or a file with it in `api_key_file`"
    );
    let world = World::with(&format!("{ONE}env_key = \"sk-12345\"\n"));
    assert_eq!(
        world.error(),
        "proxy.toml:3:11: `upstreams.a.env_key`: this is not the name of an environment variable\n  \
           |\n3 | env_key = \"********\"\n  |           ^^^^^^^^^^\n\
         help: put the variable's name here, not what is in it"
    );
    let world = World::with(&format!("{ONE}http_headers = \"Bearer sk-1\"\n"));
    assert!(!world.error().contains("sk-1"), "{}", world.error());
    for line in [
        "env_key = sk-1",
        "http_headers.authorization = \"sk-1",
        "[upstreams.b.http_headers]\na = 'sk-1",
    ] {
        let error = World::with(&format!("{ONE}{line}\n")).error();
        assert!(!error.contains("sk-1") && error.contains("****"), "{error}");
    }
}

#[test]
fn a_variable_is_named() {
    let world = World::with(ONE).env("ANTIPHON__SERVER__LISTNE", "1");
    assert_eq!(
        world.error(),
        "ANTIPHON__SERVER__LISTNE: unknown key `listne` in [server]\nhelp: did you mean `listen`?"
    );
    let world = World::with(ONE).env("ANTIPHON__SERVER__LISTEN", "8787");
    assert_eq!(
        world.error(),
        "ANTIPHON__SERVER__LISTEN: `server.listen`: expected a string or an array of strings, found integer `8787`\n\
         help: put it in double quotes"
    );
    let world = World::with(ONE).env("ANTIPHON__MODELS__M__INPUT", "[1]");
    assert_eq!(
        world.error(),
        "ANTIPHON__MODELS__M__INPUT: `models.m.input`: expected a string, found integer `1`\n\
         help: put it in double quotes"
    );
    let world = World::with(ONE).env("ANTIPHON__UPSTREAMS__B__PROFILE", "auto");
    assert!(
        world
            .error()
            .contains("ANTIPHON__UPSTREAMS__B__PROFILE: `upstreams.b`: it has no `base_url`")
    );
    let world = World::with(ONE).env("ANTIPHON____LISTEN", "1");
    assert_eq!(
        world.error(),
        "ANTIPHON____LISTEN: the name of a section or key is empty\n\
         help: write it like ANTIPHON__SERVER__LISTEN"
    );
}

#[test]
fn a_flag_is_named() {
    let mut world = World::with(ONE);
    world.flags.listen = Some("localhost:80".to_owned());
    assert_eq!(
        world.error(),
        "--listen: `server.listen`: `localhost:80` is not an address\nhelp: write it as 127.0.0.1:80"
    );
    assert_eq!(
        World::new().upstream("host:1/v1").error(),
        "--upstream: `upstreams.default.base_url`: `host:1/v1` does not begin with http:// or https://\n\
         help: did you mean `http://host:1/v1`?"
    );
}

#[test]
fn a_wrong_type_is_shown_in_place() {
    let world = World::with(&format!("{ONE}[server]\nkeepalive_interval_ms = \"15s\"\n"));
    assert_eq!(
        world.error(),
        "proxy.toml:4:25: `server.keepalive_interval_ms`: expected a whole number, found a string\n  \
           |\n4 | keepalive_interval_ms = \"15s\"\n  |                         ^^^^^"
    );
    let first_line = |text: &str| World::with(text).error().lines().next().unwrap().to_owned();
    assert_eq!(
        first_line("server = 1"),
        "proxy.toml:1:10: `server`: expected a table, found integer `1`"
    );
    assert_eq!(
        first_line("[server]\nmax_body_bytes = -1"),
        "proxy.toml:2:18: `server.max_body_bytes`: expected a whole number, found integer `-1`"
    );
    assert_eq!(
        first_line("[server]\nallow_public = \"yes\""),
        "proxy.toml:2:16: `server.allow_public`: expected true or false, found a string"
    );
    assert_eq!(
        first_line("upstreams = []"),
        "proxy.toml:1:13: `upstreams`: expected a table, found an array"
    );
}

#[test]
fn what_is_not_toml_is_shown_in_place() {
    assert_eq!(
        World::with("[server]\nlisten = 127.0.0.1:1\n").error(),
        "proxy.toml:2:15: invalid float\n  |\n2 | listen = 127.0.0.1:1\n  |               ^^^^^^\n\
         help: text goes in double quotes"
    );
    assert!(
        World::with("a = 1\na = 2")
            .error()
            .starts_with("proxy.toml:2:1: duplicate key")
    );
}

#[test]
fn a_missing_file_is_named() {
    let mut world = World::new();
    world.flags.config = Some("none.toml".into());
    assert_eq!(
        world.error(),
        "none.toml: the configuration can't be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_public_address_is_refused_with_what_to_do() {
    let world = World::with(&format!("{ONE}[server]\nlisten = \"0.0.0.0:80\"\n"));
    assert_eq!(
        world.error(),
        "proxy.toml:4:10: `server.listen`: other machines can reach 0.0.0.0:80, and anyone who does can use your upstreams\n  \
           |\n4 | listen = \"0.0.0.0:80\"\n  |          ^^^^^^^^^^^^\n\
         help: have clients show a key (`antiphon key new`, or the variable ANTIPHON_KEY), listen on 127.0.0.1, or set `allow_public = true` in [server] (ANTIPHON__SERVER__ALLOW_PUBLIC=true) if only those you trust can reach it"
    );
}

#[test]
fn references_must_lead_somewhere() {
    let world = World::with(
        "default_upstream = \"olama\"\n[upstreams.ollama]\nbase_url = \"http://a\"\n[models.m]\nupstream = \"vllm\"\n",
    );
    assert_eq!(
        world.error(),
        "proxy.toml:1:20: `default_upstream`: there is no upstream `olama`\n  |\n1 | default_upstream = \"olama\"\n  |                    ^^^^^^^\n\
         help: did you mean `ollama`?\n\n\
         proxy.toml:5:12: `models.m.upstream`: there is no upstream `vllm`\n  |\n5 | upstream = \"vllm\"\n  |            ^^^^^^\n\
         help: the upstreams are: ollama"
    );
}

#[test]
fn several_upstreams_need_a_default() {
    assert_eq!(
        World::with(&format!("{ONE}[upstreams.b]\nbase_url = \"http://b\"\n")).error(),
        "proxy.toml: there are several upstreams (a, b), and `default_upstream` does not say which \
         of them models without an entry go to\n\
         help: add `default_upstream = \"a\"` at the top"
    );
    assert_eq!(
        World::with("").error(),
        "proxy.toml: there is no upstream to send requests to\n\
         help: add a section [upstreams.NAME] with a `base_url`"
    );
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let first_line = |text: &str| World::with(text).error().lines().next().unwrap().to_owned();
    let upstream = |text: &str| first_line(&format!("{ONE}{text}\n"));
    let url = |url: &str| first_line(&format!("[upstreams.a]\nbase_url = \"{url}\""));
    for (line, message) in [
        (
            url("ftp://a"),
            "2:12: `upstreams.a.base_url`: `ftp://a` does not begin with http:// or https://",
        ),
        (
            url("http://a:x"),
            "2:12: `upstreams.a.base_url`: `http://a:x` is not a URL: invalid port number",
        ),
        (
            url("http://me:pw@a"),
            "2:12: `upstreams.a.base_url`: a URL must not hold a name or password",
        ),
        (
            first_line("[upstreams.a]"),
            "1:12: `upstreams.a`: it has no `base_url`",
        ),
        (
            upstream("max_event_bytes = 0"),
            "3:19: `upstreams.a.max_event_bytes`: must be more than 0",
        ),
        (
            upstream("stream_idle_timeout_ms = 0"),
            "3:26: `upstreams.a.stream_idle_timeout_ms`: must be more than 0",
        ),
        (
            upstream("env_key = \"A\"\napi_key_file = \"b\""),
            "4:16: `upstreams.a.api_key_file`: the key can't come from `env_key` as well as from a file",
        ),
        (
            upstream("api_key_file = \"none\""),
            "3:16: `upstreams.a.api_key_file`: none can't be read: No such file or directory (os error 2)",
        ),
        (
            upstream("http_headers = { \"a b\" = \"c\" }"),
            "3:18: `a b` is not the name of a header",
        ),
        (
            upstream("[models.m]\nupstreams = [\"a\", \"b\"]"),
            "4:13: `models.m.upstreams`: there is no upstream `b`",
        ),
        (
            upstream("[models.m]\nupstreams = [\"a\", \"a\"]"),
            "4:13: `models.m.upstreams`: `a` is there twice",
        ),
        (
            upstream("[models.m]\nupstream = \"a\"\nupstreams = [\"a\"]"),
            "5:13: `models.m.upstreams`: there can be `upstream` or `upstreams`, not both",
        ),
        (
            upstream("[models.m]\nupstreams = [{ upstream = \"a\", weigth = 2 }]"),
            "4:13: `models.m.upstreams`: unknown key `weigth`",
        ),
        (
            upstream("[models.m]\nupstreams = [{ upstream = \"a\", weight = 0 }]"),
            "4:13: `models.m.upstreams`: `weight` must be a whole number from 1 to 1000",
        ),
        (
            upstream("[models.m]\nupstreams = []"),
            "4:13: `models.m.upstreams`: there must be at least one",
        ),
        (
            upstream("[models.m]\nstrategy = \"fall_back\""),
            "4:12: `models.m.strategy`: there is no `fall_back`",
        ),
        (
            upstream("[models.m]\ntemperature = 3"),
            "4:15: `models.m.temperature`: must be from 0 to 2",
        ),
        (
            upstream("[profiles.\"a b\"]"),
            "3:11: `a b` is not a profile's name",
        ),
        (
            upstream("[profiles.p]\nupstream = \"x\""),
            "4:12: `profiles.p.upstream`: there is no upstream `x`",
        ),
        (
            upstream("extra_body = { model = \"m\" }"),
            "3:16: `model` is the proxy's to fill in",
        ),
        (
            upstream("extra_body = { a = 2020-01-01 }"),
            "3:20: `upstreams.a.extra_body.a`: JSON has no such value",
        ),
        (
            upstream("drop_fields = [\"messages\"]"),
            "3:15: `upstreams.a.drop_fields`: `messages` can't be left out",
        ),
        (
            upstream("proxy = \"me:secret@proxy\""),
            "3:9: `upstreams.a.proxy`: this is not the address of a proxy",
        ),
        (
            upstream("auth = \"passthrough\"\nenv_key = \"A\""),
            "3:8: `upstreams.a.auth`: the client's own key is passed on, so there can be no other",
        ),
        (
            upstream("ca_file = \"none.pem\""),
            "3:11: `upstreams.a.ca_file`: none.pem can't be read: No such file or directory (os error 2)",
        ),
        (
            upstream("wire_api = \"completions\""),
            "3:12: `upstreams.a.wire_api`: there is no `completions`",
        ),
        (
            upstream("[models.a]\nbase_instructions_file = \"x.md\""),
            "4:26: `models.a.base_instructions_file`: x.md can't be read: No such file or directory (os error 2)",
        ),
        (
            upstream(
                "[models.a]\nreasoning_efforts = [\"low\"]\ndefault_reasoning_effort = \"lo\"",
            ),
            "5:28: `models.a.default_reasoning_effort`: `lo` is not among the model's `reasoning_efforts`",
        ),
        (
            upstream("[log]\nformat = \"jsn\""),
            "4:10: `log.format`: there is no `jsn`",
        ),
        (
            upstream("[reasoning]\nshow = \"never\""),
            "4:8: `reasoning.show`: there is no `never`",
        ),
    ] {
        assert_eq!(line, format!("proxy.toml:{message}"));
    }
}

#[test]
fn a_dialect_is_checked_in_place() {
    let world = |text: &str| World::with(&format!("{ONE}{text}\n")).error();
    assert_eq!(
        world("[upstreams.a.dialect]\nmax_token_field = \"x\""),
        "proxy.toml:4:1: `upstreams.a.dialect.max_token_field`: unknown field `max_token_field`, expected one of `max_tokens_field`, `x`\n  \
           |\n4 | max_token_field = \"x\"\n  | ^^^^^^^^^^^^^^^\n\
         help: did you mean `max_tokens_field`?"
    );
    assert_eq!(
        world("dialect.max_tokens_field = \"max_token\""),
        "proxy.toml:3:28: `upstreams.a.dialect.max_tokens_field`: unknown variant `max_token`, expected `max_tokens`\n  \
           |\n3 | dialect.max_tokens_field = \"max_token\"\n  |                            ^^^^^^^^^^^\n\
         help: did you mean `max_tokens`?"
    );
    assert_eq!(
        world("profile = \"generik\""),
        "proxy.toml:3:11: `upstreams.a.profile`: there is no profile `generik`; there are: auto, generic\n  \
           |\n3 | profile = \"generik\"\n  |           ^^^^^^^^^"
    );
}

#[test]
fn the_distance_counts_swapped_neighbours_once() {
    assert_eq!(distance("listne", "listen"), 1);
    assert_eq!(distance("", "abc"), 3);
    assert_eq!(distance("kitten", "sitting"), 3);
    assert_eq!(distance("same", "same"), 0);
}
