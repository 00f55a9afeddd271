//! What is told to operators: `[log]`, `[metrics]`, `[tracing]`, and the variables of OpenTelemetry.

use super::*;

const UPSTREAM: &str = "[upstreams.a]\nbase_url = \"http://a/v1\"\n";

fn with(text: &str) -> World {
    World::with(&format!("{text}\n{UPSTREAM}"))
}

fn endpoint(world: &World) -> Option<String> {
    world.config().tracing.endpoint.map(String::from)
}

#[test]
fn numbers_are_told_where_the_api_is_unless_they_have_an_address() {
    let config = with("").config();
    assert!(config.metrics.enabled && config.metrics.listen.is_none());
    let config = with("[metrics]\nenabled = false\nlisten = \"127.0.0.1:9464\"").config();
    assert!(!config.metrics.enabled);
    assert_eq!(config.metrics.listen, "127.0.0.1:9464".parse().ok());
    let taken = with("[metrics]\nlisten = \"127.0.0.1:8787\"").error();
    assert!(taken.contains("clients are served there"), "{taken}");
    let error = with("[metrics]\nlisten = \"9464\"").error();
    assert!(error.contains("`9464` is not an address"), "{error}");
}

#[test]
fn traces_go_to_the_files_collector_else_to_that_of_the_variables() {
    let none = with("");
    assert_eq!(endpoint(&none), None);
    let base = with("").env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/below/");
    let told = Some("http://c:4318/below/v1/traces".to_owned());
    assert_eq!(endpoint(&base), told);
    let whole = base.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d:4318/t");
    assert_eq!(endpoint(&whole), Some("http://d:4318/t".to_owned()));
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "TRUE"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        let off = with("")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")
            .env(name, value);
        assert_eq!(endpoint(&off), None, "{name}");
    }
    let own = with("[tracing]\notlp_endpoint = \"http://own:4318\"\nsample_ratio = 0.1")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    assert_eq!(endpoint(&own), Some("http://own:4318/v1/traces".to_owned()));
    assert_eq!(own.config().tracing.sample_ratio, Some(0.1));
    let off =
        with("[tracing]\notlp_endpoint = \"\"").env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    assert_eq!(endpoint(&off), None);
}

#[test]
fn what_cannot_be_is_told() {
    let error = with("[tracing]\notlp_endpoint = \"collector:4317\"\nsample_ratio = 1.5").error();
    assert!(error.contains("not the address of a collector"), "{error}");
    assert!(error.contains("must be from 0 to 1"), "{error}");
}

#[test]
fn content_is_logged_only_when_asked_for() {
    assert!(!with("").config().log.content);
    assert!(with("[log]\ncontent = true").config().log.content);
}
