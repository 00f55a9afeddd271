//! Conversations: made, changed, listed, deleted, and spoken in.

use std::thread;

use serde_json::{Value, json};

use super::stored::{Client, calling, counting, id, ids, kinds_of, last_dialogue, reply, weather};
use super::with;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, text};

fn user(words: &str) -> Value {
    json!({"role": "user", "content": words})
}

#[test]
fn a_conversation_is_made_changed_and_deleted() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let empty = client.ok("POST", "/conversations", &Value::Null);
    assert_eq!(
        (&empty["object"], &empty["metadata"]),
        (&json!("conversation"), &json!({}))
    );
    assert!(id(&empty).starts_with("conv_") && empty["created_at"].is_u64());
    assert_eq!(
        ids(&client.get(&format!("/conversations/{}/items", id(&empty)))).len(),
        0
    );

    let made = client.post(
        "/conversations",
        &json!({"metadata": {"topic": "x"}, "items": [user("hi")]}),
    );
    let path = format!("/conversations/{}", id(&made));
    assert_eq!(client.get(&path), made);
    let changed = client.post(&path, &json!({"metadata": {"topic": "y"}}));
    assert_eq!(
        changed,
        with(made.clone(), json!({"metadata": {"topic": "y"}}))
    );
    assert_eq!(client.get(&path), changed);
    let error = client.refused("POST", &path, &json!({}), 400);
    assert_eq!(
        (&error["param"], &error["code"]),
        (&json!("metadata"), &json!("missing_required_parameter"))
    );
    assert_eq!(
        client.post(&path, &json!({"metadata": null}))["metadata"],
        json!({})
    );

    let deleted = client.ok("DELETE", &path, &Value::Null);
    assert_eq!(
        deleted,
        json!({"id": id(&made), "object": "conversation.deleted", "deleted": true})
    );
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/items")),
    ] {
        client.refused(method, &path, &Value::Null, 404);
    }
    client.refused("POST", &path, &json!({"metadata": {}}), 404);
    client.refused(
        "POST",
        &format!("{path}/items"),
        &json!({"items": [user("x")]}),
        404,
    );
    client.refused(
        "POST",
        "/responses",
        &json!({"model": "m", "input": "x", "conversation": id(&made)}),
        404,
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let many: serde_json::Map<String, Value> =
        (0..17).map(|n| (n.to_string(), json!("v"))).collect();
    for body in [
        json!({"metadata": many}),
        json!({"metadata": {"k".repeat(65): "v"}}),
        json!({"metadata": {"k": "v".repeat(513)}}),
        json!({"metadata": {"k": 1}}),
        json!({"metadata": []}),
        json!({"items": "hello"}),
        json!({"items": [5]}),
        json!({"items": [{"type": "message"}]}),
        json!({"items": [{"type": "function_call", "name": "f"}]}),
        json!({"items": (0..21).map(|_| user("x")).collect::<Vec<_>>()}),
        json!({"items": [with(user("x"), json!({"id": "msg_same"})), with(user("y"), json!({"id": "msg_same"}))]}),
        json!([]),
    ] {
        client.refused("POST", "/conversations", &body, 400);
    }
    let made = client.post(
        "/conversations",
        &json!({"metadata": {"k".repeat(64): "é".repeat(512)}}),
    );
    let path = format!("/conversations/{}/items", id(&made));
    for body in [
        json!({}),
        json!({"items": null}),
        json!({"items": [5]}),
        json!({"items": "x"}),
    ] {
        client.refused("POST", &path, &body, 400);
    }
    let own = with(user("x"), json!({"id": "msg_own"}));
    client.post(&path, &json!({"items": [own]}));
    // An id that is there already: the client's mistake, not the store's.
    client.refused("POST", &path, &json!({"items": [own]}), 400);
    assert_eq!(ids(&client.get(&path)), ["msg_own"]);
}

#[test]
fn items_are_added_listed_and_taken_away() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let made = client.post("/conversations", &json!({"items": [user("no. 0")]}));
    let path = format!("/conversations/{}/items", id(&made));
    for n in (1..25).step_by(12) {
        let items: Vec<Value> = (n..n + 12).map(|n| user(&format!("no. {n}"))).collect();
        let added = client.post(&path, &json!({"items": items}));
        assert_eq!(ids(&added).len(), 12);
        assert_eq!(added["has_more"], false);
        assert_eq!(
            added["data"][0]["content"][0],
            json!({"type": "input_text", "text": format!("no. {n}")})
        );
    }
    let page = |query: &str| client.get(&format!("{path}?{query}"));
    let all = ids(&page("limit=100&order=asc"));
    assert_eq!(all.len(), 25);
    assert_eq!(
        ids(&page("limit=3")),
        all.iter().rev().take(3).cloned().collect::<Vec<_>>()
    );
    assert_eq!(page("limit=3")["has_more"], true);
    assert_eq!(
        ids(&page(&format!("limit=2&after={}", all[3]))),
        [all[2].clone(), all[1].clone()]
    );
    assert_eq!(
        page(&format!("limit=2&after={}", all[2]))["has_more"],
        false
    );
    for query in [
        "limit=0",
        "limit=101",
        "order=x",
        "after=msg_none",
        "after=%00",
    ] {
        client.refused("GET", &format!("{path}?{query}"), &Value::Null, 400);
    }

    let one = format!("{path}/{}", all[7]);
    assert_eq!(client.get(&one)["content"][0]["text"], "no. 7");
    let left = client.ok("DELETE", &one, &Value::Null);
    assert_eq!(left, made, "what is left is the conversation");
    client.refused("GET", &one, &Value::Null, 404);
    client.refused("DELETE", &one, &Value::Null, 404);
    assert_eq!(ids(&page("limit=100")).len(), 24);
}

#[test]
fn a_response_reads_and_goes_on_with_its_conversation() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let made = client.post("/conversations", &json!({"items": [user("before")]}));
    let items =
        |order: &str| client.get(&format!("/conversations/{}/items?order={order}", id(&made)));

    let first = client.create(json!({"input": "one", "conversation": id(&made)}));
    assert_eq!(first["conversation"], json!({"id": id(&made)}));
    assert_eq!(last_dialogue(&upstream), ["user: before", "user: one"]);
    let events = client.stream(json!({"input": [user("two")], "conversation": {"id": id(&made)}}));
    let second = super::last(&events);
    assert_eq!(second["conversation"], json!({"id": id(&made)}));
    assert_eq!(
        last_dialogue(&upstream),
        [
            "user: before",
            "user: one",
            "assistant: answer to 2",
            "user: two"
        ]
    );
    let listed = items("asc");
    let ids = ids(&listed);
    assert_eq!(kinds_of(&listed["data"]), ["message"; 5]);
    assert_eq!(ids[2], id(&first["output"][0]));
    assert_eq!(ids[4], id(&second["output"][0]));

    // What is not stored as a response is said in the conversation nevertheless.
    let third = client.create(json!({"input": "three", "conversation": id(&made), "store": false}));
    client.refused(
        "GET",
        &format!("/responses/{}", id(&third)),
        &Value::Null,
        404,
    );
    assert_eq!(items("asc")["data"].as_array().map(Vec::len), Some(7));
    // Nothing new to say is allowed: the conversation is there.
    client.post(
        "/responses",
        &json!({"model": "m", "conversation": id(&made)}),
    );

    // A null is none; two pasts cannot be.
    assert_eq!(
        client
            .create(json!({"input": "x", "conversation": null}))
            .get("conversation")
            .unwrap_or(&Value::Null),
        &Value::Null
    );
    let both = json!({"model": "m", "input": "x", "conversation": id(&made), "previous_response_id": id(&first)});
    client.refused("POST", "/responses", &both, 400);
    for odd in [
        json!(5),
        json!([]),
        json!({}),
        json!({"id": 5}),
        json!(true),
    ] {
        let error = client.refused(
            "POST",
            "/responses",
            &json!({"model": "m", "input": "x", "conversation": odd}),
            400,
        );
        assert_eq!(error["param"], "conversation");
    }
}

#[test]
fn a_tool_loop_runs_in_a_conversation() {
    let upstream = calling();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let made = client.post("/conversations", &json!({}));
    let ask = |input: Value| json!({"model": "m", "input": input, "tools": [weather()], "conversation": id(&made)});
    let first = client.post("/responses", &ask(json!("How is it?")));
    let output = json!([{"type": "function_call_output", "call_id": first["output"][1]["call_id"], "output": "18"}]);
    client.post("/responses", &ask(output));
    assert_eq!(
        last_dialogue(&upstream),
        ["user: How is it?", "assistant: ", "tool: 18"]
    );
    let path = format!("/conversations/{}/items", id(&made));
    let listed = client.get(&format!("{path}?order=asc"));
    assert_eq!(
        kinds_of(&listed["data"]),
        [
            "message",
            "reasoning",
            "function_call",
            "function_call_output",
            "message"
        ]
    );
    assert_eq!(listed["data"][1].get("encrypted_content"), None);
    let shown = client.get(&format!(
        "{path}?order=asc&include[]=reasoning.encrypted_content"
    ));
    assert!(shown["data"][1]["encrypted_content"].is_string());
    let asked = upstream.asked().pop().expect("it was asked");
    assert_eq!(
        asked["messages"][1]["reasoning_content"],
        "I had better ask."
    );
}

#[test]
fn what_failed_is_not_said_in_the_conversation() {
    let upstream = Upstream::by(
        |request| match request["messages"].as_array().map(Vec::len) {
            Some(1) => Reply::chunks(&[text("half a")]).cut(),
            _ => reply(request, "fine"),
        },
    );
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let made = client.post("/conversations", &json!({}));
    let failed = client.stream(json!({"input": "x", "conversation": id(&made)}));
    assert_eq!(super::last(&failed)["status"], "failed");
    assert_eq!(
        ids(&client.get(&format!("/conversations/{}/items", id(&made)))).len(),
        0
    );
}

#[test]
fn those_who_speak_at_once_are_all_heard() {
    let upstream = Upstream::by(|request| reply(request, "heard").after(100));
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let made = client.post("/conversations", &json!({}));
    let conversation = id(&made);
    thread::scope(|scope| {
        for n in 0..8 {
            let conversation = &conversation;
            scope.spawn(move || {
                client.create(json!({"input": format!("no. {n}"), "conversation": conversation}));
            });
        }
    });
    let listed = client.get(&format!(
        "/conversations/{conversation}/items?limit=100&order=asc"
    ));
    let data = listed["data"].as_array().expect("data");
    assert_eq!(data.len(), 16);
    // What belongs together stands together.
    for pair in data.chunks(2) {
        assert_eq!(
            (&pair[0]["role"], &pair[1]["role"]),
            (&json!("user"), &json!("assistant"))
        );
    }
}
