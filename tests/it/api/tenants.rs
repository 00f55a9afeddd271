//! What belongs to one key is not there for another.

use serde_json::{Value, json};

use super::stored::{Client, calling, counting, id, last_dialogue, weather};
use crate::support::proxy::Proxy;
use crate::support::socket::Socket;

#[test]
fn nobody_sees_what_is_anothers() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let clients = [
        Client::with_key(&proxy, "sk-one"),
        Client::with_key(&proxy, "sk-two"),
        Client::without_key(&proxy),
    ];
    for (n, owner) in clients.iter().enumerate() {
        let response = id(&owner.create(json!({"input": "mine"})));
        let running = id(&owner.create(json!({"input": "mine", "background": true})));
        owner.wait(&running);
        let conversation = id(&owner.post(
            "/conversations",
            &json!({"items": [{"id": "msg_own", "role": "user", "content": "mine"}]}),
        ));
        let item = format!("/conversations/{conversation}/items/msg_own");
        for (m, other) in clients.iter().enumerate() {
            if n == m {
                owner.get(&item);
                continue;
            }
            let (at, all) = (
                format!("/conversations/{conversation}"),
                format!("/conversations/{conversation}/items"),
            );
            for (method, path, body) in [
                ("GET", format!("/responses/{response}"), Value::Null),
                (
                    "GET",
                    format!("/responses/{response}?stream=true"),
                    Value::Null,
                ),
                (
                    "GET",
                    format!("/responses/{running}?stream=true"),
                    Value::Null,
                ),
                ("DELETE", format!("/responses/{response}"), Value::Null),
                ("POST", format!("/responses/{response}/cancel"), Value::Null),
                ("POST", format!("/responses/{running}/cancel"), Value::Null),
                (
                    "GET",
                    format!("/responses/{response}/input_items"),
                    Value::Null,
                ),
                ("GET", at.clone(), Value::Null),
                ("POST", at.clone(), json!({"metadata": {"a": "b"}})),
                ("DELETE", at, Value::Null),
                ("GET", all.clone(), Value::Null),
                (
                    "POST",
                    all,
                    json!({"items": [{"role": "user", "content": "x"}]}),
                ),
                ("GET", item.clone(), Value::Null),
                ("DELETE", item.clone(), Value::Null),
                (
                    "POST",
                    "/responses".into(),
                    json!({"model": "m", "input": "x", "conversation": conversation}),
                ),
            ] {
                let theirs = other.refused(method, &path, &body, 404);
                // And it is not told that there is something.
                let words = theirs["message"].as_str().expect("words");
                assert!(words.contains("not found"), "{method} {path}: {words}");
            }
            for path in [
                "/responses",
                "/responses/compact",
                "/responses/input_tokens",
            ] {
                let request = json!({"model": "m", "input": "x", "previous_response_id": response});
                let error = other.refused("POST", path, &request, 400);
                assert_eq!(error["code"], "previous_response_not_found");
            }
        }
        // It is all still there.
        owner.get(&format!("/responses/{response}"));
        owner.get(&format!("/conversations/{conversation}"));
    }
}

#[test]
fn nobody_refers_to_what_is_anothers() {
    let upstream = calling();
    let proxy = Proxy::to(&upstream.base_url());
    let (one, two) = (Client::new(&proxy), Client::with_key(&proxy, "sk-two"));
    let made = one.create(
        json!({"input": "x", "tools": [weather()], "include": ["reasoning.encrypted_content"]}),
    );
    let call = id(&made["output"][1]);
    let request = json!({"model": "m", "input": [{"type": "item_reference", "id": call}]});
    two.refused("POST", "/responses", &request, 404);

    // Thinking that another sealed is left out.
    let output = json!({"type": "function_call_output", "call_id": "call_1", "output": "18"});
    let mut thought = made["output"][0].clone();
    assert!(thought["encrypted_content"].is_string());
    thought["content"] = json!([]);
    let input = json!([{"role": "user", "content": "x"}, thought, made["output"][1], output]);
    for (client, knows) in [(one, true), (two, false)] {
        client.create(json!({"input": input, "tools": [weather()]}));
        assert_eq!(last_dialogue(&upstream).len(), 3);
        let asked = upstream.asked().pop().expect("it was asked");
        let back = &asked["messages"][1]["reasoning_content"];
        assert_eq!(back == "I had better ask.", knows, "{back}");
    }
}

#[test]
fn a_socket_has_the_key_it_was_opened_with() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let made = id(&Client::new(&proxy).create(json!({"input": "mine"})));
    let url = proxy.url("/v1/responses");
    let request = json!({"type": "response.create", "model": "m", "input": "x", "previous_response_id": made});
    for (key, sees) in [
        (Some("sk-one"), true),
        (Some("sk-two"), false),
        (None, false),
    ] {
        let answer = Socket::open(&url, key).ask(&request);
        let last = &answer.last().expect("an event").data;
        if sees {
            assert_eq!(last["type"], "response.completed");
        } else {
            assert_eq!(last["error"]["code"], "previous_response_not_found");
        }
    }
}
