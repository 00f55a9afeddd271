//! Responses that are made without a client: waited for, followed, called off, and deleted.

use std::time::Duration;

use serde_json::{Value, json};

use super::stored::{
    Client, calling, counting, id, ids, kinds_of, last_dialogue, reply, said, weather,
};
use super::{config, kinds, read_stream};
use crate::grammar;
use crate::support::events::{self, SseEvent};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Reply, Upstream, finish, text, usage};

/// An upstream that takes its time between the two halves of its answer.
fn slow(milliseconds: u64) -> Upstream {
    Upstream::by(move |request| {
        assert_eq!(request["stream"], true, "what nobody waits for is streamed");
        let first = Reply::chunks(&[text("one "), text("two ")]).rest(milliseconds);
        let last = [text("three"), finish("stop"), usage(9, 4)];
        last.iter()
            .fold(first, Reply::chunk)
            .bytes("data: [DONE]\n\n")
    })
}

fn follow(client: &Client<'_>, id: &str, query: &str) -> Vec<SseEvent> {
    let reply = client.call(
        "GET",
        &format!("/responses/{id}?stream=true{query}"),
        &Value::Null,
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    events::parse(&reply.body)
}

#[test]
fn it_is_queued_worked_on_and_done() {
    let upstream = slow(600);
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let request =
        json!({"input": "x", "background": true, "max_output_tokens": 77, "metadata": {"a": "b"}});
    let queued = client.create(request);
    assert_eq!(
        (&queued["status"], &queued["background"]),
        (&json!("queued"), &json!(true))
    );
    assert_eq!(
        (&queued["output"], &queued["usage"]),
        (&json!([]), &Value::Null)
    );
    let path = format!("/responses/{}", id(&queued));
    upstream.wait_until_asked(1);
    let running = client.get(&path);
    assert_eq!(
        (&running["status"], &running["completed_at"]),
        (&json!("in_progress"), &Value::Null)
    );
    let error = client.refused(
        "POST",
        "/responses",
        &json!({"model": "m", "input": "y", "previous_response_id": id(&queued)}),
        400,
    );
    assert_eq!(error["param"], "previous_response_id");

    let done = client.wait(&id(&queued));
    assert_eq!(
        (&done["status"], said(&done)),
        (&json!("completed"), "one two three".to_owned())
    );
    assert_eq!(done["max_output_tokens"], 77);
    assert_eq!(done["metadata"], json!({"a": "b"}));
    assert!(done["completed_at"].is_u64() && done["usage"]["total_tokens"] == 13);
    assert_eq!(upstream.asked()[0]["max_tokens"], 77);
    assert_eq!(ids(&client.get(&format!("{path}/input_items"))).len(), 1);

    // It is followed even now, from any event on, and continued.
    let events = follow(&client, &id(&queued), "");
    grammar::check(&events);
    assert_eq!(
        kinds(&events)[..3],
        [
            "response.created",
            "response.queued",
            "response.in_progress"
        ]
    );
    assert_eq!(super::last(&events), &done);
    for after in 0..events.len() + 2 {
        let part = follow(&client, &id(&queued), &format!("&starting_after={after}"));
        assert_eq!(
            part,
            events[(after + 1).min(events.len())..],
            "after {after}"
        );
    }
    // What has ended stays as it ended.
    assert_eq!(
        client.ok("POST", &format!("{path}/cancel"), &Value::Null),
        done
    );
}

#[test]
fn a_client_may_leave_and_come_back() {
    let upstream = slow(700);
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::without_key(&proxy);
    let request = json!({"model": "m", "input": "x", "background": true});
    let mut live = super::Live::start(&proxy.url(""), &request);
    live.wait_for("two ", Duration::from_secs(10));
    let seen = String::from_utf8_lossy(&live.heard).into_owned();
    drop(live);
    let name = seen
        .split("\"id\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let name = name.expect("the response's id").to_owned();
    let body = seen.split_once("\r\n\r\n").expect("a body").1;
    let mut events = events::parse_beginning(body.as_bytes());
    let after = events.len() - 1;
    events.extend(follow(&client, &name, &format!("&starting_after={after}")));
    grammar::check(&events);
    assert_eq!(said(super::last(&events)), "one two three");
    assert_eq!(upstream.asked().len(), 1);
}

#[test]
fn a_stream_of_the_background_is_a_whole_one() {
    let upstream = calling();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let events = client.stream(json!({"input": "x", "background": true, "tools": [weather()], "reasoning": {"summary": "auto"}}));
    let done = super::last(&events);
    assert_eq!(kinds_of(&done["output"]), ["reasoning", "function_call"]);
    assert_eq!(&client.get(&format!("/responses/{}", id(done))), done);
    // Its thinking goes back with the next turn.
    let output = json!([{"type": "function_call_output", "call_id": "call_1", "output": "18"}]);
    let next = client.create(json!({"input": output, "background": true, "previous_response_id": id(done), "tools": [weather()]}));
    assert_eq!(said(&client.wait(&id(&next))), "done");
    assert_eq!(
        upstream.asked()[1]["messages"][1]["reasoning_content"],
        "I had better ask."
    );
}

#[test]
fn it_is_called_off() {
    let upstream = slow(15_000);
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let queued = client.create(json!({"input": "x", "background": true}));
    upstream.wait_until_asked(1);
    let path = format!("/responses/{}", id(&queued));
    let cancel = format!("{path}/cancel");
    let (events, cancelled) = std::thread::scope(|scope| {
        let name = id(&queued);
        let follower = scope.spawn(move || follow(&client, &name, ""));
        std::thread::sleep(Duration::from_millis(400));
        let cancelled = client.ok("POST", &cancel, &Value::Null);
        (follower.join().expect("the stream ends"), cancelled)
    });
    assert_eq!(
        (&cancelled["status"], &cancelled["error"]),
        (&json!("cancelled"), &Value::Null)
    );
    upstream.wait_until_left(1);
    // Again and again it is the same.
    assert_eq!(client.ok("POST", &cancel, &Value::Null), cancelled);
    assert_eq!(client.get(&path), cancelled);
    let last = events.last().expect("an event");
    assert_eq!(
        (last.kind(), &last.data["response"]),
        ("response.failed", &cancelled)
    );
    // What was called off can be continued: with what was whole.
    let next = json!({"input": "y", "previous_response_id": id(&queued), "background": true});
    client.create(next);
    upstream.wait_until_asked(2);
    assert_eq!(last_dialogue(&upstream), ["user: x", "user: y"]);

    let other = counting();
    let proxy = Proxy::to(&other.base_url());
    let client = Client::new(&proxy);
    let plain = client.create(json!({"input": "x"}));
    let error = client.refused(
        "POST",
        &format!("/responses/{}/cancel", id(&plain)),
        &Value::Null,
        400,
    );
    assert_eq!(error["message"], "Cannot cancel a synchronous response.");
}

#[test]
fn what_is_deleted_while_it_runs_is_gone() {
    let upstream = slow(15_000);
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let queued = client.create(json!({"input": "x", "background": true}));
    upstream.wait_until_asked(1);
    let path = format!("/responses/{}", id(&queued));
    let events = std::thread::scope(|scope| {
        let name = id(&queued);
        let follower = scope.spawn(move || follow(&client, &name, ""));
        std::thread::sleep(Duration::from_millis(400));
        client.ok("DELETE", &path, &Value::Null);
        follower.join().expect("the stream ends")
    });
    upstream.wait_until_left(1);
    client.refused("GET", &path, &Value::Null, 404);
    client.refused("POST", &format!("{path}/cancel"), &Value::Null, 404);
    assert_eq!(events.last().map(SseEvent::kind), Some("response.failed"));
}

#[test]
fn a_refusal_becomes_a_failure() {
    let upstream = Upstream::new([Reply::error(400, "This model does not like you.")]);
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let queued = client.create(json!({"input": "x", "background": true}));
    let failed = client.wait(&id(&queued));
    assert_eq!(failed["status"], "failed");
    let error = &failed["error"];
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|words| words.contains("does not like you")),
        "{error}"
    );
    assert_eq!(
        error["code"], "invalid_prompt",
        "one of the codes that the API has"
    );
    let events = follow(&client, &id(&queued), "");
    grammar::check(&events);
    assert_eq!(super::last(&events), &failed);
    // What is wrong is told at once.
    for wrong in [
        json!({"input": 5}),
        json!({"previous_response_id": "resp_none"}),
        json!({"conversation": "conv_none"}),
    ] {
        let request = super::with(
            json!({"model": "m", "input": "x", "background": true}),
            wrong,
        );
        let reply = client.call("POST", "/responses", &request);
        assert!([400, 404].contains(&reply.status), "{}", reply.text());
    }
}

#[test]
fn it_works_in_a_conversation_and_without_being_stored() {
    let upstream = counting();
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let made = client.post("/conversations", &json!({}));
    let first =
        client.create(json!({"input": "one", "background": true, "conversation": id(&made)}));
    assert_eq!(
        client.wait(&id(&first))["conversation"],
        json!({"id": id(&made)})
    );
    client.create(json!({"input": "two", "conversation": id(&made)}));
    assert_eq!(
        last_dialogue(&upstream),
        ["user: one", "assistant: answer to 1", "user: two"]
    );
    let items = client.get(&format!("/conversations/{}/items", id(&made)));
    assert_eq!(ids(&items).len(), 4);

    let kept = client.create(json!({"input": "x", "background": true, "store": false}));
    assert_eq!(client.wait(&id(&kept))["store"], false);
}

#[test]
fn more_than_can_be_made_at_a_time_waits() {
    let upstream = Upstream::by(|request| reply(request, "fine").after(150));
    let toml = config(&upstream.base_url(), "", "") + "[store]\nbackground_concurrency = 2\n";
    let proxy = Proxy::builder().config(&toml).start();
    let client = Client::new(&proxy);
    let all: Vec<Value> = (0..8)
        .map(|n| client.create(json!({"input": format!("{n}"), "background": true})))
        .collect();
    let waiting = all
        .iter()
        .filter(|made| client.get(&format!("/responses/{}", id(made)))["status"] == "queued");
    assert!(waiting.count() >= 2);
    // One that waits is called off before it began.
    let last = all.last().expect("one");
    let cancelled = client.ok(
        "POST",
        &format!("/responses/{}/cancel", id(last)),
        &Value::Null,
    );
    assert_eq!(cancelled["status"], "cancelled");
    for made in &all[..7] {
        assert_eq!(client.wait(&id(made))["status"], "completed");
    }
    assert_eq!(upstream.asked().len(), 7);
    let events = follow(&client, &id(last), "");
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.queued",
            "response.in_progress",
            "response.failed"
        ]
    );
}

#[test]
fn a_quick_answer_streams_as_it_comes() {
    let upstream = slow(1500);
    let proxy = Proxy::to(&upstream.base_url());
    let client = Client::new(&proxy);
    let queued = client.create(json!({"input": "x", "background": true}));
    upstream.wait_until_asked(1);
    std::thread::sleep(Duration::from_millis(500));
    // Both words are in the log before the rest comes.
    let reply = client.call(
        "GET",
        &format!("/responses/{}?stream=true", id(&queued)),
        &Value::Null,
    );
    let events = read_stream(&reply);
    assert_eq!(said(super::last(&events)), "one two three");
}
