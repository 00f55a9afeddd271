//! `GET /v1/models`: OpenAI's list and Codex's catalog in one body.

#![expect(
    clippy::needless_pass_by_value,
    reason = "JSON is written where it is handed over"
)]

use serde_json::{Value, json};

use super::{dead_port, refusal};
use crate::support::events;
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream};

fn upstream(models: Value) -> Upstream {
    Upstream::new([]).models(Reply::json(200, &json!({"object": "list", "data": models})))
}

fn list(proxy: &Proxy) -> Value {
    let reply = http::get(&proxy.url("/v1/models?client_version=0.169.0"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    events::json(reply.text())
}

fn column(list: &Value, key: &str) -> Vec<String> {
    let rows = list.as_array().expect("a list");
    rows.iter()
        .map(|row| row[key].as_str().expect(key).to_owned())
        .collect()
}

#[test]
fn one_body_is_a_list_and_a_catalog() {
    let upstream = upstream(json!([
        {"id": "small", "object": "model", "created": 1_700_000_000, "owned_by": "me"},
        {"id": "org/large"},
    ]));
    let proxy = Proxy::to(&upstream.base_url());
    let body = list(&proxy);
    assert_eq!(body["object"], "list");
    assert_eq!(column(&body["data"], "id"), ["small", "org/large"]);
    assert_eq!(column(&body["models"], "slug"), ["small", "org/large"]);
    assert_eq!(
        body["data"][0],
        json!({"id": "small", "object": "model", "created": 1_700_000_000, "owned_by": "me"})
    );
    let second = &body["data"][1];
    assert!(
        second["created"].is_u64() && second["owned_by"].is_string(),
        "{second}"
    );
    assert_eq!(
        http::get(&proxy.url("/models")).json(),
        body,
        "without /v1 too"
    );
}

#[test]
fn the_catalog_has_all_that_codex_needs() {
    let upstream = upstream(json!([{"id": "m"}]));
    let body = list(&Proxy::to(&upstream.base_url()));
    let entry = &body["models"][0];
    // One bad entry and Codex takes none. These must be there, and not null.
    for key in [
        "slug",
        "display_name",
        "supported_reasoning_levels",
        "shell_type",
        "visibility",
        "supported_in_api",
        "priority",
        "support_verbosity",
        "truncation_policy",
        "experimental_supported_tools",
        "base_instructions",
        "supports_reasoning_summaries",
        "supports_parallel_tool_calls",
        "context_window",
    ] {
        assert!(!entry[key].is_null(), "{key}: {entry}");
    }
    assert_eq!(entry["shell_type"], "shell_command");
    assert_eq!(entry["visibility"], "list");
    assert_eq!(entry["use_responses_lite"], false);
    assert_eq!(entry["supports_search_tool"], false);
    assert!(
        ["tokens", "bytes"].contains(
            &entry["truncation_policy"]["mode"]
                .as_str()
                .unwrap_or_default()
        )
    );
    assert!(entry["truncation_policy"]["limit"].as_u64() > Some(0));
    assert!(entry["context_window"].as_u64() > Some(0));
    assert!(
        [json!("freeform"), Value::Null].contains(&entry["apply_patch_tool_type"]),
        "{entry}"
    );
}

#[test]
fn the_configuration_says_what_a_model_is() {
    let upstream = upstream(json!([{"id": "real", "max_model_len": 5000}, {"id": "other"}]));
    let proxy = Proxy::builder()
        .config(&format!(
            "[upstreams.mock]\nbase_url = \"{}\"\n\
             [models.fancy]\nmodel = \"real\"\ndisplay_name = \"Fancy\"\ndescription = \"Very.\"\ncontext_window = 4096\n\
             reasoning_efforts = [\"low\", \"high\"]\ndefault_reasoning_effort = \"low\"\ninput = [\"text\"]\n\
             apply_patch = false\nmulti_agent = true\nverbosity = true\n\
             [models.plain]\nmodel = \"real\"\n",
            upstream.base_url()
        ))
        .start();
    let body = list(&proxy);
    // Named ones first, then what the upstream has besides.
    assert_eq!(
        column(&body["models"], "slug"),
        ["fancy", "plain", "real", "other"]
    );
    let fancy = &body["models"][0];
    assert_eq!(fancy["display_name"], "Fancy");
    assert_eq!(fancy["description"], "Very.");
    assert_eq!(fancy["context_window"], 4096);
    assert_eq!(
        column(&fancy["supported_reasoning_levels"], "effort"),
        ["low", "high"]
    );
    assert_eq!(fancy["default_reasoning_level"], "low");
    assert_eq!(fancy["input_modalities"], json!(["text"]));
    assert_eq!(fancy["apply_patch_tool_type"], Value::Null);
    assert_ne!(fancy["multi_agent_version"], "disabled");
    assert_eq!(fancy["support_verbosity"], true);
    let plain = &body["models"][1];
    assert_eq!(plain["display_name"], "plain");
    assert_eq!(plain["context_window"], 5000, "as the upstream says");
    assert_eq!(plain["apply_patch_tool_type"], "freeform");
    assert_eq!(plain["multi_agent_version"], "disabled");
    let priorities: Vec<_> = body["models"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| &entry["priority"])
        .collect();
    assert_eq!(priorities, [1, 2, 3, 4]);
}

#[test]
fn the_window_is_read_out_of_what_each_server_calls_it() {
    let upstream = upstream(json!([
        {"id": "vllm", "max_model_len": 1001},
        {"id": "openrouter", "context_length": 1002, "architecture": {"input_modalities": ["text", "image", "smell"]}},
        {"id": "groq", "context_window": 1003},
        {"id": "lm-studio", "max_context_length": 9999, "loaded_context_length": 1004},
        {"id": "llama.cpp", "meta": {"n_ctx": 1005, "n_ctx_train": 9999}},
        {"id": "silent"},
        {"id": "odd", "max_model_len": 0},
    ]));
    let body = list(&Proxy::to(&upstream.base_url()));
    let window = |slug: &str| {
        let entries = body["models"].as_array().into_iter().flatten();
        let mut found = entries.filter(|entry| entry["slug"] == slug);
        found
            .next()
            .map(|entry| entry["context_window"].clone())
            .expect("an entry")
    };
    for (slug, tokens) in [
        ("vllm", 1001),
        ("openrouter", 1002),
        ("groq", 1003),
        ("lm-studio", 1004),
        ("llama.cpp", 1005),
    ] {
        assert_eq!(window(slug), tokens, "{slug}");
    }
    assert!(
        window("silent").as_u64() > Some(8000),
        "a window to work with"
    );
    assert_eq!(window("odd"), window("silent"));
    assert_eq!(
        body["models"][1]["input_modalities"],
        json!(["text", "image"])
    );
}

#[test]
fn an_upstream_that_is_down_does_not_keep_the_others_from_being_listed() {
    let alive = upstream(json!([{"id": "alive"}]));
    let config = format!(
        "default_upstream = \"up\"\n[upstreams.up]\nbase_url = \"{}\"\n[upstreams.down]\nbase_url = \"http://{}/v1\"\n\
         [models.named]\nupstream = \"down\"\n",
        alive.base_url(),
        dead_port()
    );
    let body = list(&Proxy::builder().config(&config).start());
    assert_eq!(column(&body["data"], "id"), ["named", "alive"]);
}

#[test]
fn a_list_that_cannot_be_had_is_empty() {
    let broken = [
        Reply::error(500, "Oops."),
        Reply::json(404, &json!({"detail": "Not Found"})),
        Reply::new(200, "text/html").bytes("<html></html>"),
        Reply::json(200, &json!({"object": "list", "data": []})),
    ];
    for reply in broken {
        let upstream = Upstream::new([]).models(reply);
        let body = list(&Proxy::to(&upstream.base_url()));
        assert_eq!((&body["data"], &body["models"]), (&json!([]), &json!([])));
    }
    let dead = Proxy::to(&format!("http://{}/v1", dead_port()));
    assert_eq!(list(&dead)["data"], json!([]));
}

#[test]
fn an_upstream_is_not_asked_for_its_models_by_every_client() {
    let upstream = upstream(json!([{"id": "m"}]));
    let proxy = Proxy::to(&upstream.base_url());
    for _ in 0..5 {
        list(&proxy);
    }
    let asked: Vec<_> = upstream
        .received()
        .into_iter()
        .map(|request| (request.method, request.path))
        .collect();
    assert_eq!(asked, [("GET".to_owned(), "/v1/models".to_owned())]);
}

#[test]
fn one_model_can_be_looked_up() {
    let upstream = upstream(json!([{"id": "org/large", "created": 5}, {"id": "small"}]));
    let proxy = Proxy::to(&upstream.base_url());
    let found = http::get(&proxy.url("/v1/models/org/large"));
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(found.json()["id"], "org/large");
    assert_eq!(found.json()["object"], "model");
    assert_eq!(
        http::get(&proxy.url("/v1/models/org%2Flarge")).json()["id"],
        "org/large"
    );
    assert_eq!(http::get(&proxy.url("/models/small")).json()["id"], "small");

    let error = refusal(&http::get(&proxy.url("/v1/models/nobody")), 404);
    assert_eq!(error["code"], "model_not_found");
}
