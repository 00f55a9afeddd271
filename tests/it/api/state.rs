//! Stored responses: what is kept, shown, paged, deleted, and continued.

use serde_json::{Value, json};

use super::stored::{
    Client, calling, counting, dialogue, id, ids, kinds_of, last_dialogue, reply, said, weather,
};
use super::{config, read_stream, with};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, completion, text};

#[test]
fn a_response_is_kept_as_it_was_told() {
    let upstream = calling();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let request = json!({"input": "How is the weather?", "tools": [weather()], "metadata": {"a": "b"},
        "reasoning": {"effort": "low", "summary": "auto"}, "instructions": "Be brief."});

    let whole = client.create(request.clone());
    let events = client.stream(request);
    let streamed = super::last(&events).clone();
    for told in [&whole, &streamed] {
        assert_eq!(told["store"], true);
        let kept = client.get(&format!("/responses/{}", id(told)));
        assert_eq!(&kept, told);
    }
    // Streamed or not, the same is kept.
    assert_eq!(kinds_of(&whole["output"]), kinds_of(&streamed["output"]));
    let items = |response: &Value| {
        let page = client.get(&format!("/responses/{}/input_items", id(response)));
        page["data"][0]["content"].clone()
    };
    assert_eq!(items(&whole), items(&streamed));
    assert_eq!(
        items(&whole),
        json!([{"type": "input_text", "text": "How is the weather?"}])
    );
}

#[test]
fn a_kept_stream_is_told_again_from_any_event_on() {
    let upstream = calling();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let made = client.create(json!({"input": "x", "tools": [weather()]}));
    let path = format!("/responses/{}?stream=true", id(&made));
    let events = read_stream(&client.call("GET", &path, &Value::Null));
    assert_eq!(super::last(&events), &made);
    for after in [0, 3, events.len() - 2] {
        let part = client.call(
            "GET",
            &format!("{path}&starting_after={after}"),
            &Value::Null,
        );
        let part = crate::support::events::parse(&part.body);
        assert_eq!(part, events[after + 1..], "after {after}");
    }
    for after in [events.len() - 1, 1000] {
        let part = client.call(
            "GET",
            &format!("{path}&starting_after={after}"),
            &Value::Null,
        );
        assert_eq!(part.status, 200);
        assert!(crate::support::events::parse(&part.body).is_empty());
    }
    client.refused(
        "GET",
        &format!("{path}&starting_after=x"),
        &Value::Null,
        400,
    );
}

#[test]
fn what_is_not_stored_is_not_there() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let made = client.create(json!({"input": "x", "store": false}));
    assert_eq!(made["store"], false);
    let path = format!("/responses/{}", id(&made));
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/cancel")),
        ("GET", format!("{path}/input_items")),
        ("GET", format!("{path}?stream=true")),
    ] {
        let error = client.refused(method, &path, &Value::Null, 404);
        assert_eq!(error["type"], "invalid_request_error");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|words| words.contains(&id(&made)))
        );
    }
    let error = client.refused(
        "POST",
        "/responses",
        &json!({"model": "m", "input": "y", "previous_response_id": id(&made)}),
        400,
    );
    assert_eq!(error["code"], "previous_response_not_found");
    assert_eq!(error["param"], "previous_response_id");
}

#[test]
fn odd_ids_are_not_found_and_break_nothing() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    for odd in [
        "resp_none",
        "x",
        "..",
        "%00",
        "a%2Fb",
        "%C3%A9%F0%9F%A6%99",
        "'%20OR%201=1--",
        "%25",
        "resp_%0A",
        "%22",
        "a+b",
        &"a".repeat(5000),
    ] {
        for (method, path) in [
            ("GET", format!("/responses/{odd}")),
            ("DELETE", format!("/responses/{odd}")),
            ("POST", format!("/responses/{odd}/cancel")),
            ("GET", format!("/responses/{odd}/input_items")),
            ("GET", format!("/conversations/{odd}")),
            ("DELETE", format!("/conversations/{odd}")),
            ("GET", format!("/conversations/{odd}/items")),
            ("GET", format!("/conversations/{odd}/items/{odd}")),
        ] {
            client.refused(method, &path, &Value::Null, 404);
        }
    }
    client.refused("GET", "/responses/%ff", &Value::Null, 404);
    for odd in ["", "resp_\u{0}", "ü/🦙", "resp_none"] {
        let request = json!({"model": "m", "input": "x", "previous_response_id": odd});
        let error = client.refused("POST", "/responses", &request, 400);
        assert_eq!(error["code"], "previous_response_not_found", "{odd:?}");
        let request = json!({"model": "m", "input": "x", "conversation": odd});
        client.refused("POST", "/responses", &request, 404);
    }
    for path in ["/responses/a/b/c", "/conversations/a/b"] {
        client.refused("GET", path, &Value::Null, 404);
    }
    for (method, path) in [
        ("PUT", "/responses/x"),
        ("PATCH", "/conversations/x"),
        ("GET", "/conversations"),
        ("OPTIONS", "/responses/x"),
    ] {
        client.refused(method, path, &Value::Null, 405);
    }
    assert_eq!(
        client.call("HEAD", "/responses/x", &Value::Null).status,
        404
    );
}

#[test]
fn a_chain_is_what_went_in_and_came_out() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let first =
        client.create(json!({"input": "one", "instructions": "Be first.", "tools": [weather()]}));
    let second = client.create(
        json!({"input": [{"role": "user", "content": "two"}], "previous_response_id": id(&first)}),
    );
    assert_eq!(second["previous_response_id"], first["id"]);
    // Neither instructions nor tools are inherited.
    assert_eq!(second["instructions"], Value::Null);
    assert_eq!(second["tools"], json!([]));
    assert_eq!(
        last_dialogue(&upstream),
        ["user: one", "assistant: answer to 2", "user: two"]
    );
    assert!(upstream.asked()[1]["tools"].is_null());

    // Forks: both go on from the same place, in parallel and again later.
    let fork = |words: &str| json!({"input": words, "previous_response_id": id(&second), "instructions": "New."});
    let third = std::thread::scope(|scope| {
        let forks: Vec<_> = (0..6)
            .map(|n| scope.spawn(move || client.create(fork(&format!("three {n}")))))
            .collect();
        let made: Vec<Value> = forks
            .into_iter()
            .map(|fork| fork.join().expect("it is made"))
            .collect();
        made
    });
    for (n, made) in third.iter().enumerate() {
        client.create(json!({"input": "four", "previous_response_id": id(made)}));
        assert_eq!(
            last_dialogue(&upstream),
            [
                "user: one",
                "assistant: answer to 2",
                "user: two",
                "assistant: answer to 3",
                &format!("user: three {n}"),
                "assistant: answer to 6",
                "user: four"
            ]
        );
    }

    // Its own input only.
    assert_eq!(
        ids(&client.get(&format!("/responses/{}/input_items", id(&second)))).len(),
        1
    );
}

#[test]
fn what_a_chain_stands_on_may_be_deleted() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let first = client.create(json!({"input": "one"}));
    let second = client.create(json!({"input": "two", "previous_response_id": id(&first)}));
    let path = format!("/responses/{}", id(&first));
    let deleted = client.ok("DELETE", &path, &Value::Null);
    assert_eq!(
        deleted,
        json!({"id": id(&first), "object": "response", "deleted": true})
    );
    client.refused("DELETE", &path, &Value::Null, 404);
    client.refused("GET", &path, &Value::Null, 404);
    client.get(&format!("/responses/{}", id(&second)));
    for gone in [&first, &second] {
        let request = json!({"model": "m", "input": "x", "previous_response_id": id(gone)});
        let error = client.refused("POST", "/responses", &request, 400);
        assert_eq!(error["code"], "previous_response_not_found");
    }
}

#[test]
fn thinking_goes_back_to_the_upstream_without_being_asked_for() {
    let upstream = calling();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    for stream in [false, true] {
        let ask = |request: Value| match stream {
            true => super::last(&client.stream(request)).clone(),
            false => client.create(request),
        };
        let first = ask(json!({"input": "x", "tools": [weather()]}));
        assert_eq!(kinds_of(&first["output"]), ["reasoning", "function_call"]);
        assert_eq!(first["output"][0].get("encrypted_content"), None);
        let call_id = &first["output"][1]["call_id"];
        let output = json!([{"type": "function_call_output", "call_id": call_id, "output": "18"}]);
        let second =
            ask(json!({"input": output, "tools": [weather()], "previous_response_id": id(&first)}));
        assert_eq!(said(&second), "done");
        let asked = upstream.asked().pop().expect("it was asked");
        assert_eq!(
            asked["messages"][1]["reasoning_content"],
            "I had better ask."
        );
        assert_eq!(
            asked["messages"][2],
            json!({"role": "tool", "tool_call_id": "call_1", "content": "18"})
        );

        // It is kept sealed, and shown so to those who ask.
        let path = format!("/responses/{}", id(&first));
        for include in ["include[]", "include", "include%5B%5D"] {
            let kept = client.get(&format!("{path}?{include}=reasoning.encrypted_content"));
            assert!(kept["output"][0]["encrypted_content"].is_string(), "{kept}");
        }
        assert_eq!(
            client.get(&path)["output"][0].get("encrypted_content"),
            None
        );
    }
}

#[test]
fn calls_through_a_chain_need_their_outputs() {
    let upstream = calling();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let custom = json!({"type": "custom", "name": "freeform"});
    let first = client.create(json!({"input": "x", "tools": [custom]}));
    let call = &first["output"][1];
    assert_eq!(
        (&call["type"], &call["input"]),
        (&json!("custom_tool_call"), &json!("raw text"))
    );

    let next = |input: Value| json!({"model": "m", "input": input, "tools": [custom], "previous_response_id": id(&first)});
    let error = client.refused("POST", "/responses", &next(json!("go on")), 400);
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|words| words.contains("call_1"))
    );
    assert_eq!(error["param"], "input");
    let astray = json!([{"type": "custom_tool_call_output", "call_id": "call_9", "output": "x"}]);
    client.refused("POST", "/responses", &next(astray), 400);
    let output =
        json!([{"type": "custom_tool_call_output", "call_id": "call_1", "output": "fine"}]);
    assert_eq!(said(&client.post("/responses", &next(output))), "done");
    assert_eq!(
        last_dialogue(&upstream),
        ["user: x", "assistant: ", "tool: fine"]
    );
}

#[test]
fn items_are_referred_to_by_their_ids() {
    let upstream = calling();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let first = client.create(json!({"input": "How is it?", "tools": [weather()]}));
    let own = ids(&client.get(&format!("/responses/{}/input_items", id(&first))));
    let output = json!({"type": "function_call_output", "call_id": "call_1", "output": "18"});
    let refer = |id: &str| json!({"type": "item_reference", "id": id});
    let (thought, call) = (id(&first["output"][0]), id(&first["output"][1]));

    // As the AI SDK does: all by reference, or the thinking alone; with or without a type.
    let all = json!([refer(&own[0]), refer(&thought), {"id": call}, output]);
    let some = json!([{"role": "user", "content": "How is it?"}, refer(&thought), first["output"][1], output]);
    for input in [all, some] {
        let second = client.create(json!({"input": input, "tools": [weather()]}));
        assert_eq!(
            last_dialogue(&upstream),
            ["user: How is it?", "assistant: ", "tool: 18"]
        );
        let asked = upstream.asked().pop().expect("it was asked");
        assert_eq!(
            asked["messages"][1]["reasoning_content"],
            "I had better ask."
        );
        // They are kept as what they refer to.
        let page = client.get(&format!("/responses/{}/input_items?order=asc", id(&second)));
        assert_eq!(
            kinds_of(&page["data"]),
            [
                "message",
                "reasoning",
                "function_call",
                "function_call_output"
            ]
        );
        // And so the chain goes on.
        client.create(json!({"input": "and?", "previous_response_id": id(&second)}));
        assert_eq!(last_dialogue(&upstream).len(), 5);
    }
    let lost = json!({"model": "m", "input": [refer("msg_0123456789abcdef0123456789abcdef0000")]});
    let error = client.refused("POST", "/responses", &lost, 404);
    assert_eq!(error["param"], "input[0].id");
}

#[test]
fn input_items_are_paged() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let input: Vec<Value> = (0..25)
        .map(|n| json!({"role": "user", "content": format!("no. {n}")}))
        .collect();
    let made = client.create(json!({"input": input}));
    let path = format!("/responses/{}/input_items", id(&made));
    let page = |query: &str| client.get(&format!("{path}?{query}"));

    let all = ids(&page("limit=100&order=asc"));
    assert_eq!(all.len(), 25);
    let newest = page("");
    assert_eq!(
        ids(&newest),
        all.iter().rev().take(20).cloned().collect::<Vec<_>>()
    );
    assert_eq!(newest["has_more"], true);
    let rest = page(&format!(
        "after={}",
        newest["last_id"].as_str().unwrap_or_default()
    ));
    assert_eq!(ids(&rest).len(), 5);
    assert_eq!(rest["has_more"], false);
    assert_eq!(
        ids(&page(&format!("order=asc&limit=2&after={}", all[3]))),
        all[4..6]
    );
    assert_eq!(
        ids(&page(&format!("order=asc&limit=2&before={}", all[3]))),
        all[1..3]
    );
    assert_eq!(
        ids(&page(&format!(
            "order=asc&after={}&before={}",
            all[3], all[5]
        ))),
        all[4..5]
    );
    let empty = page(&format!("order=asc&after={}", all[24]));
    assert_eq!((ids(&empty).len(), &empty["has_more"]), (0, &json!(false)));
    assert_eq!(empty["first_id"], Value::Null);
    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "order=up",
        "after=msg_none",
        "after=%00",
    ] {
        client.refused("GET", &format!("{path}?{query}"), &Value::Null, 400);
    }
}

#[test]
fn input_is_kept_in_its_full_form() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let dot = "data:image/png;base64,iVBORw0KGgo=";
    let input = json!([
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": dot}]},
        {"role": "assistant", "content": "a"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "o"},
        {"type": "message", "id": "msg_own", "role": "user", "content": "half \u{FFFD} 🦙"},
    ]);
    let made = client.create(json!({"input": input}));
    let page = client.get(&format!("/responses/{}/input_items?order=asc", id(&made)));
    let data = page["data"].as_array().expect("data");
    assert!(
        data.iter()
            .all(|item| item["status"] == "completed" && item["id"].is_string())
    );
    assert_eq!(
        data[1]["content"][1],
        json!({"type": "input_image", "image_url": dot, "detail": "auto"})
    );
    assert_eq!(
        data[2]["content"],
        json!([{"type": "output_text", "text": "a", "annotations": []}])
    );
    assert_eq!(data[5]["id"], "msg_own");
    // Pictures reach the model in the next turn too.
    client.create(json!({"input": "more", "previous_response_id": id(&made)}));
    let asked = upstream.asked().pop().expect("it was asked");
    assert_eq!(asked["messages"][1]["content"][1]["image_url"]["url"], dot);

    // What clients write in other ways than the API's is kept in its way.
    let odd = json!([
        {"role": "user", "content": {"type": "text", "text": "one part"}},
        {"role": "assistant", "content": [{"type": "input_text", "text": "b"}]},
        {"type": "reasoning", "encrypted_content": null},
        {"role": "user", "content": "x", "id": "i".repeat(5000)},
    ]);
    let made = client.create(json!({"input": odd}));
    let page = client.get(&format!("/responses/{}/input_items?order=asc", id(&made)));
    let data = page["data"].as_array().expect("data");
    assert_eq!(
        data[0]["content"],
        json!([{"type": "input_text", "text": "one part"}])
    );
    assert_eq!(data[1]["content"][0]["type"], "output_text");
    assert_eq!(data[2]["summary"], json!([]));
    assert!(data[3]["id"].as_str().is_some_and(|id| id.len() < 64));

    // Half a surrogate pair, as JavaScript cuts strings.
    let body = br#"{"model":"m","input":"half \ud83e"}"#;
    let reply = super::send(&proxy, &[super::JSON], body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let anyone = Client::without_key(&proxy);
    let page = anyone.get(&format!("/responses/{}/input_items", id(&reply.json())));
    assert_eq!(page["data"][0]["content"][0]["text"], "half \u{FFFD}");
}

#[test]
fn ten_megabytes_are_kept() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let long = "word ".repeat(2_000_000);
    let made = client.create(json!({"input": long}));
    let page = client.get(&format!("/responses/{}/input_items", id(&made)));
    assert_eq!(page["data"][0]["content"][0]["text"], long.as_str());
    client.create(json!({"input": "short", "previous_response_id": id(&made)}));
    assert_eq!(dialogue(&upstream.asked()[1])[0].1, long);
}

#[test]
fn a_response_that_was_cut_or_failed_can_be_continued() {
    let upstream = Upstream::by(|request| {
        let words = request["messages"]
            .as_array()
            .and_then(|all| all.last()?["content"].as_str());
        match (words, request["stream"] == true) {
            (Some("cut"), false) => {
                let message = json!({"role": "assistant", "content": "half a"});
                Reply::json(200, &completion(message, "length"))
            }
            (Some("break"), true) => Reply::chunks(&[text("half a")]).cut(),
            _ => reply(request, "fine"),
        }
    });
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let cut = client.create(json!({"input": "cut"}));
    assert_eq!(cut["status"], "incomplete");
    assert_eq!(client.get(&format!("/responses/{}", id(&cut))), cut);
    client.create(json!({"input": "go on", "previous_response_id": id(&cut)}));
    assert_eq!(
        last_dialogue(&upstream),
        ["user: cut", "assistant: half a", "user: go on"]
    );

    let failed = super::last(&client.stream(json!({"input": "break"}))).clone();
    assert_eq!(failed["status"], "failed");
    assert_eq!(client.get(&format!("/responses/{}", id(&failed))), failed);
    client.create(json!({"input": "again", "previous_response_id": id(&failed)}));
    assert_eq!(last_dialogue(&upstream), ["user: break", "user: again"]);
}

#[test]
fn without_a_store_what_needs_one_is_refused_in_words() {
    let upstream = counting();
    let toml = config(&upstream.base_url(), "", "") + "[store]\nurl = \"none\"\n";
    let proxy = Proxy::builder().config(&toml).start();
    let client = Client::new(&proxy);
    let made = client.create(json!({"input": "x"}));
    assert_eq!(
        made["store"], false,
        "nothing is kept, so the answer must not say that it is"
    );
    client.refused(
        "GET",
        &format!("/responses/{}", id(&made)),
        &Value::Null,
        404,
    );
    client.refused(
        "DELETE",
        &format!("/responses/{}", id(&made)),
        &Value::Null,
        404,
    );
    let refused = |more: Value, status: u16| {
        client.refused(
            "POST",
            "/responses",
            &with(json!({"model": "m", "input": "x"}), more),
            status,
        )
    };
    let error = refused(json!({"previous_response_id": id(&made)}), 400);
    assert_eq!(error["code"], "previous_response_not_found");
    assert_eq!(
        refused(json!({"background": true}), 400)["param"],
        "background"
    );
    assert_eq!(
        refused(json!({"conversation": "conv_1"}), 400)["param"],
        "conversation"
    );
    client.refused("POST", "/conversations", &json!({}), 400);
    client.refused("GET", "/conversations/conv_1", &Value::Null, 404);
}
