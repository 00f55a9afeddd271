//! What a scrape looks like.

use std::time::Duration;

use super::{Ended, Metrics, ModelNow, Now, StoreWork, Tally, Tokens, UpstreamNow};

fn told(metrics: &Metrics) -> String {
    metrics.encode(&Now::default())
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|known| known == line), "{line}\n{text}");
}

#[test]
fn a_response_is_counted_under_its_upstream_model_and_tenant() {
    let metrics = Metrics::default();
    let series = metrics.series("up", "m", Some("blue"), true);
    series.ended(Ended::Completed, Duration::from_secs(2));
    series.tokens(Tokens {
        input: 9,
        cached: 4,
        output: 3,
        reasoning: 1,
    });
    series.first(Duration::from_millis(300));
    let text = told(&metrics);
    let of = r#"upstream="up",model="m",tenant="blue""#;
    has(
        &text,
        &format!("antiphon_responses_total{{{of},status=\"completed\"}} 1"),
    );
    has(
        &text,
        &format!("antiphon_responses_total{{{of},status=\"failed\"}} 0"),
    );
    for (kind, count) in [("input", 9), ("cached", 4), ("output", 3), ("reasoning", 1)] {
        has(
            &text,
            &format!("antiphon_tokens_total{{{of},kind=\"{kind}\"}} {count}"),
        );
    }
    let of = r#"upstream="up",model="m""#;
    for (le, count) in [("0.25", 0), ("0.5", 1), ("300.0", 1), ("+Inf", 1)] {
        has(
            &text,
            &format!("antiphon_time_to_first_token_seconds_bucket{{le=\"{le}\",{of}}} {count}"),
        );
    }
    has(
        &text,
        &format!("antiphon_response_duration_seconds_sum{{{of}}} 2.0"),
    );
}

#[test]
fn gaps_are_counted_apart_and_added_once() {
    let metrics = Metrics::default();
    let series = metrics.series("up", "m", None, true);
    let mut tally = Tally::default();
    for millis in [1, 20, 20, 60_000] {
        tally.observe(Duration::from_millis(millis));
    }
    assert_eq!(tally.len(), 4);
    series.gaps(&mut tally);
    series.gaps(&mut tally);
    assert!(tally.is_empty());
    let text = told(&metrics);
    let name = "antiphon_inter_token_gap_seconds";
    let of = r#"upstream="up",model="m""#;
    for (le, count) in [
        ("0.001", 1),
        ("0.01", 1),
        ("0.025", 3),
        ("30.0", 3),
        ("+Inf", 4),
    ] {
        has(&text, &format!("{name}_bucket{{le=\"{le}\",{of}}} {count}"));
    }
    has(&text, &format!("{name}_count{{{of}}} 4"));
}

#[test]
fn names_that_nobody_answers_to_share_a_label() {
    let metrics = Metrics::default();
    metrics.know_models(["configured".to_owned()]);
    for (model, answered) in [("junk", false), ("configured", false), ("real", true)] {
        let series = metrics.series("up", model, None, answered);
        series.ended(Ended::Refused, Duration::ZERO);
    }
    let text = told(&metrics);
    assert!(!text.contains("junk"));
    for model in ["other", "configured", "real"] {
        has(
            &text,
            &format!(
                "antiphon_responses_total{{upstream=\"up\",model=\"{model}\",tenant=\"anonymous\",status=\"refused\"}} 1"
            ),
        );
    }
}

#[test]
fn series_have_an_end() {
    let metrics = Metrics::default();
    for n in 0..5_000 {
        let tenant = n.to_string();
        let series = metrics.series("up", "m", Some(&tenant), true);
        series.ended(Ended::Completed, Duration::ZERO);
    }
    let text = told(&metrics);
    let lines = text.lines().filter(|line| line.contains("completed"));
    assert_eq!(lines.filter(|line| line.contains("total")).count(), 4_097);
    has(
        &text,
        "antiphon_responses_total{upstream=\"up\",model=\"other\",tenant=\"other\",status=\"completed\"} 904",
    );
}

#[test]
fn what_is_true_now_is_told_as_it_is_now() {
    let metrics = Metrics::default();
    metrics.know_models(["m".to_owned()]);
    let under_way = metrics.begin();
    let now = Now {
        upstreams: vec![UpstreamNow {
            name: "up".into(),
            in_flight: 3,
            waiting: 2,
            models: vec![ModelNow {
                name: "m".into(),
                breaker: 2,
                opened: 7,
            }],
        }],
        connections: 8,
        websockets: 5,
        background: 6,
    };
    let text = metrics.encode(&now);
    for line in [
        "antiphon_streams_in_flight 1",
        "antiphon_upstream_requests_in_flight{upstream=\"up\"} 3",
        "antiphon_upstream_requests_waiting{upstream=\"up\"} 2",
        "antiphon_breaker_state{upstream=\"up\",model=\"m\"} 2",
        "antiphon_breaker_opened_total{upstream=\"up\"} 7",
        "antiphon_connections 8",
        "antiphon_websockets 5",
        "antiphon_background_in_flight 6",
        "# EOF",
    ] {
        has(&text, line);
    }
    drop(under_way);
    let text = told(&metrics);
    has(&text, "antiphon_streams_in_flight 0");
    assert!(!text.contains("upstream=\"up\""), "it is gone: {text}");
    #[cfg(target_os = "linux")]
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
    ] {
        let start = format!("\n{name} ");
        let value = text.split_once(&start).map(|(_, rest)| rest);
        let value = value.and_then(|rest| rest.lines().next());
        let value: f64 = value.expect(name).parse().expect(name);
        assert!(value >= 0.0, "{name}");
    }
}

#[test]
fn the_rest_is_counted_too() {
    let metrics = Metrics::default();
    metrics.request("/v1/responses", "POST", 200);
    metrics.upstream_error("up", "http_500");
    metrics.upstream_retry("up");
    metrics.upstream_fallback("up");
    metrics.healed("up", "m", "hermes", 2);
    metrics.dropped_tool("up", "web_search");
    metrics.dropped_tool("up", "made \"up\"");
    metrics.stored(StoreWork::Write, Duration::from_millis(2), true);
    metrics.limited(Some("blue"), "max_streams");
    metrics.limited(None, "requests_per_minute");
    metrics.shed("max_queue");
    metrics.reloaded(Some(false));
    let text = told(&metrics);
    for line in [
        "antiphon_http_requests_total{route=\"/v1/responses\",method=\"POST\",status=\"200\"} 1",
        "antiphon_upstream_errors_total{upstream=\"up\",kind=\"http_500\"} 1",
        "antiphon_upstream_retries_total{upstream=\"up\"} 1",
        "antiphon_upstream_fallbacks_total{upstream=\"up\"} 1",
        "antiphon_healed_calls_total{upstream=\"up\",model=\"m\",format=\"hermes\"} 2",
        "antiphon_dropped_tools_total{upstream=\"up\",type=\"web_search\"} 1",
        "antiphon_dropped_tools_total{upstream=\"up\",type=\"other\"} 1",
        "antiphon_store_operation_seconds_count{operation=\"write\"} 1",
        "antiphon_store_errors_total{operation=\"write\"} 1",
        "antiphon_store_errors_total{operation=\"read\"} 0",
        "antiphon_limited_total{tenant=\"blue\",limit=\"max_streams\"} 1",
        "antiphon_limited_total{tenant=\"all\",limit=\"requests_per_minute\"} 1",
        "antiphon_shed_total{reason=\"max_queue\"} 1",
        "antiphon_config_reloads_total{result=\"rejected\"} 1",
        "antiphon_config_last_reload_successful 0",
    ] {
        has(&text, line);
    }
    metrics.reloaded(None);
    has(&told(&metrics), "antiphon_config_last_reload_successful 1");
}
