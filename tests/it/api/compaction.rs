//! Conversations that grow too long: summed up, cut, or refused; and how long they are.

use serde_json::{Value, json};

use super::stored::{Client, id, ids, kinds_of, last_dialogue, reply, said, weather};
use super::{config, kinds};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream};

/// An upstream that sums up when it is asked to, and else answers.
fn summing() -> Upstream {
    Upstream::by(|request| {
        let sums_up = is_summary(request);
        reply(request, if sums_up { "SUMMARY" } else { "fine" })
    })
}

fn is_summary(request: &Value) -> bool {
    let last = request["messages"].as_array().and_then(|all| all.last());
    let words = last.and_then(|message| message["content"].as_str());
    words.is_some_and(|words| words.contains("Write a summary"))
}

fn long(n: usize) -> Value {
    json!({"role": "user", "content": format!("{n}: {}", "word ".repeat(300))})
}

#[test]
fn a_conversation_is_compacted_by_hand() {
    let upstream = summing();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let input = json!([
        {"role": "user", "content": "Tuesday."},
        {"role": "assistant", "content": "Understood."},
        {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "18"},
    ]);
    let request = json!({"model": "m", "input": input, "instructions": "Be brief.", "max_output_tokens": 16, "tools": [weather()]});
    let compacted = client.post("/responses/compact", &request);
    assert_eq!(compacted["object"], "response.compaction");
    assert!(id(&compacted).starts_with("resp_") && compacted["created_at"].is_u64());
    assert_eq!(compacted["usage"]["total_tokens"], 13);
    assert_eq!(kinds_of(&compacted["output"]), ["message", "compaction"]);
    assert_eq!(compacted["output"][0]["role"], "user");
    let asked = &upstream.asked()[0];
    assert!(
        asked["tools"].is_null() && asked["max_tokens"].is_null(),
        "{asked}"
    );

    // What is handed back verbatim stands for all of it.
    let mut next = compacted["output"].as_array().cloned().expect("items");
    next.push(json!({"role": "user", "content": "When?"}));
    client.create(json!({"input": next, "store": false}));
    let told = last_dialogue(&upstream);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0] == "user: Tuesday." && told[1].contains("SUMMARY") && told[2] == "user: When?");

    // There is nothing to continue under its id, and something must be there to sum up.
    client.refused(
        "GET",
        &format!("/responses/{}", id(&compacted)),
        &Value::Null,
        404,
    );
    for wrong in [
        json!({"input": "x"}),
        json!({"model": "m"}),
        json!({"model": "m", "input": 5}),
        json!({"model": "m", "previous_response_id": "resp_none"}),
    ] {
        client.refused("POST", "/responses/compact", &wrong, 400);
    }

    let first = client.create(json!({"input": "My name is Ada."}));
    let of_chain = client.post(
        "/responses/compact",
        &json!({"model": "m", "previous_response_id": id(&first)}),
    );
    assert_eq!(kinds_of(&of_chain["output"]), ["message", "compaction"]);
    assert_eq!(
        last_dialogue(&upstream)[..2],
        ["user: My name is Ada.", "assistant: fine"]
    );
}

#[test]
fn a_summary_of_somebody_else_is_left_out() {
    let upstream = summing();
    let proxy = Proxy::to(&upstream.base_url());
    let compacted = Client::new(&proxy).post(
        "/responses/compact",
        &json!({"model": "m", "input": "Secret."}),
    );
    let sealed = &compacted["output"][1];
    for item in [
        sealed.clone(),
        json!({"type": "compaction", "encrypted_content": "garbage"}),
    ] {
        let other = Client::with_key(&proxy, "sk-two");
        other.create(json!({"input": [item, {"role": "user", "content": "Hello"}]}));
        assert_eq!(last_dialogue(&upstream), ["user: Hello"]);
    }
}

#[test]
fn a_conversation_is_compacted_when_it_is_long() {
    let upstream = summing();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let rule = json!([{"type": "compaction", "compact_threshold": 1000}]);
    let first = client.create(json!({"input": [long(1)], "context_management": rule}));
    assert_eq!(kinds_of(&first["output"]), ["message"]);

    for stream in [false, true] {
        let request = json!({"input": [{"role": "assistant", "content": "long ".repeat(900)}, {"role": "user", "content": "now"}],
            "previous_response_id": id(&first), "context_management": rule, "max_output_tokens": 33});
        let asked = upstream.asked().len();
        let second = if stream {
            let events = client.stream(request);
            assert_eq!(
                kinds(&events)[2..5],
                [
                    "response.output_item.added",
                    "response.compaction.compacting",
                    "response.output_item.done"
                ]
            );
            super::last(&events).clone()
        } else {
            client.create(request)
        };
        assert_eq!(kinds_of(&second["output"]), ["compaction", "message"]);
        assert_eq!(said(&second), "fine");
        assert_eq!(upstream.asked().len(), asked + 2);
        // The model sees what people said, and the summary.
        assert_eq!(
            last_dialogue(&upstream).len(),
            3,
            "{:?}",
            last_dialogue(&upstream)
        );
        // So does it in the next turn, which is short.
        client.create(json!({"input": "next", "previous_response_id": id(&second), "context_management": rule}));
        let told = last_dialogue(&upstream);
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(
            told[2].contains("SUMMARY") && told[3] == "assistant: fine" && told[4] == "user: next"
        );
        assert_eq!(upstream.asked().len(), asked + 3);
    }
}

#[test]
fn what_is_made_in_the_background_is_compacted_there() {
    let upstream = summing();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let rule = json!([{"type": "compaction", "compact_threshold": 100}]);
    let queued = client.create(json!({"input": [long(1), {"role": "assistant", "content": "a"}, long(2)], "context_management": rule, "background": true}));
    let done = client.wait(&id(&queued));
    assert_eq!(kinds_of(&done["output"]), ["compaction", "message"]);
    let summaries = upstream
        .asked()
        .iter()
        .filter(|request| is_summary(request))
        .count();
    assert_eq!(
        (summaries, upstream.asked().len()),
        (1, 2),
        "it is summed up once"
    );
}

#[test]
fn a_client_asks_for_a_summary_in_the_conversation() {
    let upstream = summing();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let input = json!([{"role": "user", "content": "Tuesday."}, {"role": "assistant", "content": "Yes."}, {"type": "compaction_trigger"}]);
    for stream in [false, true] {
        let request = json!({"input": input, "tools": [weather()], "text": {"format": {"type": "json_object"}}});
        let made = if stream {
            let events = client.stream(request);
            let told: Vec<&str> = kinds(&events).into_iter().skip(2).collect();
            assert_eq!(
                told,
                [
                    "response.output_item.added",
                    "response.compaction.compacting",
                    "response.output_item.done",
                    "response.completed"
                ]
            );
            super::last(&events).clone()
        } else {
            client.create(request)
        };
        assert_eq!(kinds_of(&made["output"]), ["compaction"]);
        let asked = upstream.asked().pop().expect("it was asked");
        assert!(asked["tools"].is_null() && asked["response_format"].is_null());
        client.create(json!({"input": "When?", "previous_response_id": id(&made)}));
        let told = last_dialogue(&upstream);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[1].contains("SUMMARY") && told[2] == "user: When?");
        assert_eq!(
            ids(&client.get(&format!("/responses/{}/input_items", id(&made)))).len(),
            3
        );
    }
}

#[test]
fn an_empty_summary_is_a_failure() {
    let upstream = Upstream::by(|request| reply(request, "  "));
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    client.refused(
        "POST",
        "/responses/compact",
        &json!({"model": "m", "input": "x"}),
        502,
    );
    let refusing = Upstream::new([Reply::error(429, "slow down")]);
    let proxy = Proxy::builder()
        .config(&config(&refusing.base_url(), "", "request_max_retries = 0"))
        .start();
    Client::new(&proxy).refused(
        "POST",
        "/responses/compact",
        &json!({"model": "m", "input": "x"}),
        429,
    );
}

/// An upstream that takes no more than some bytes.
fn narrow(most: usize) -> Upstream {
    Upstream::by(move |request| {
        if request["messages"].to_string().len() > most {
            let error = json!({"error": {"message": "This model's maximum context length is 1000 tokens.",
                "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}});
            return Reply::json(400, &error);
        }
        reply(request, "fine")
    })
}

fn turns(count: usize) -> Value {
    let turn = |n| [long(n), json!({"role": "assistant", "content": "yes"})];
    let mut items: Vec<Value> = (0..count).flat_map(turn).collect();
    items.insert(0, json!({"role": "developer", "content": "RULES"}));
    items.push(json!({"role": "user", "content": "the last"}));
    items.into()
}

#[test]
fn the_oldest_turns_are_left_out_if_the_client_allows_it() {
    let upstream = narrow(6000);
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    for truncation in [json!("disabled"), Value::Null] {
        let error = client.refused(
            "POST",
            "/responses",
            &json!({"model": "m", "input": turns(8), "truncation": truncation}),
            400,
        );
        assert_eq!(error["code"], "context_length_exceeded");
    }
    for stream in [false, true] {
        let request = json!({"input": turns(8), "truncation": "auto"});
        let made = match stream {
            true => super::last(&client.stream(request)).clone(),
            false => client.create(request),
        };
        assert_eq!(
            (&made["truncation"], said(&made)),
            (&json!("auto"), "fine".to_owned())
        );
        let told = last_dialogue(&upstream);
        assert_eq!(told.first().map(String::as_str), Some("system: RULES"));
        assert_eq!(told.last().map(String::as_str), Some("user: the last"));
        assert!(
            told[1].starts_with("user: ") && told.len() < 12,
            "{}",
            told.len()
        );
        // Nothing of what is kept is lost.
        let page = client.get(&format!("/responses/{}/input_items?limit=100", id(&made)));
        assert_eq!(ids(&page).len(), 18);
    }
    // One turn that is too long by itself is not cut.
    let words = "word ".repeat(2000);
    client.refused(
        "POST",
        "/responses",
        &json!({"model": "m", "input": words, "truncation": "auto"}),
        400,
    );
}

#[test]
fn what_a_model_takes_is_kept_to_without_asking() {
    let upstream = narrow(6000);
    let toml = config(&upstream.base_url(), "", "")
        + "[models.m]\nupstream = \"mock\"\ncontext_window = 1200\n";
    let proxy = Proxy::builder().config(&toml).start();
    let client = Client::new(&proxy);
    client.create(json!({"input": turns(8), "truncation": "auto"}));
    assert_eq!(upstream.asked().len(), 1);
    assert_eq!(
        last_dialogue(&upstream).last().map(String::as_str),
        Some("user: the last")
    );
}

#[test]
fn tokens_are_counted() {
    let upstream = summing();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let count = |body: Value| {
        let counted = client.post("/responses/input_tokens", &body);
        assert_eq!(counted["object"], "response.input_tokens");
        assert_eq!(counted.as_object().map(serde_json::Map::len), Some(2));
        counted["input_tokens"].as_u64().expect("a number")
    };
    let short = count(json!({"model": "m", "input": "Hello"}));
    let longer = count(
        json!({"model": "m", "input": [long(1)], "instructions": "Be brief.", "tools": [weather()]}),
    );
    assert!(short > 0 && longer > short + 250, "{short} {longer}");
    // A picture is not as long as its bytes.
    let picture = format!("data:image/png;base64,{}", "A".repeat(400_000));
    let parts = json!([{"type": "input_image", "image_url": picture}]);
    let seen = count(json!({"model": "m", "input": [{"role": "user", "content": parts}]}));
    assert!((500..2000).contains(&seen), "{seen}");
    // All of it may be missing.
    assert!(count(json!({"input": "Hello"})) > 0);
    count(json!({"model": "m"}));
    count(json!({}));
    let first = client.create(json!({"input": [long(1)]}));
    assert!(
        count(json!({"model": "m", "input": "x", "previous_response_id": id(&first)}))
            > longer - 100
    );
    let made = client.post("/conversations", &json!({"items": [long(1)]}));
    assert!(count(json!({"model": "m", "input": "x", "conversation": id(&made)})) > 250);
    client.refused(
        "POST",
        "/responses/input_tokens",
        &json!({"model": "m", "input": 5}),
        400,
    );
    client.refused(
        "POST",
        "/responses/input_tokens",
        &json!({"model": "m", "input": "x", "previous_response_id": "resp_none"}),
        400,
    );
    // Nothing is kept or asked for it.
    assert_eq!(upstream.asked().len(), 1);
}
