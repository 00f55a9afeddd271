//! The judge is judged: streams that are right pass, and each single thing that is made wrong in one
//! is found.

use serde_json::{Value, json};

use super::verify;
use crate::support::events::SseEvent;

/// A stream with everything in it: thinking, a message of two parts, two calls side by side.
const GOOD: &str = r#"
{"type":"response.created","response":{"id":"resp_1","object":"response","created_at":7,"model":"m","status":"in_progress","output":[],"usage":null,"error":null,"incomplete_details":null,"completed_at":null}}
{"type":"response.in_progress","response":{"id":"resp_1","object":"response","created_at":7,"model":"m","status":"in_progress","output":[],"usage":null,"error":null,"incomplete_details":null,"completed_at":null}}
{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[]}}
{"type":"response.reasoning_summary_part.added","output_index":0,"item_id":"rs_1","summary_index":0,"part":{"type":"summary_text","text":""}}
{"type":"response.reasoning_summary_text.delta","output_index":0,"item_id":"rs_1","summary_index":0,"delta":"Hm"}
{"type":"keepalive"}
{"type":"response.reasoning_summary_text.done","output_index":0,"item_id":"rs_1","summary_index":0,"text":"Hm"}
{"type":"response.reasoning_summary_part.done","output_index":0,"item_id":"rs_1","summary_index":0,"part":{"type":"summary_text","text":"Hm"}}
{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Hm"}]}}
{"type":"response.output_item.added","output_index":1,"item":{"type":"message","id":"msg_1","role":"assistant","status":"in_progress","content":[]}}
{"type":"response.content_part.added","output_index":1,"item_id":"msg_1","content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
{"type":"response.output_text.delta","output_index":1,"item_id":"msg_1","content_index":0,"delta":"Hi","logprobs":[{"token":"Hi"}]}
{"type":"response.output_text.annotation.added","output_index":1,"item_id":"msg_1","content_index":0,"annotation_index":0,"annotation":{"type":"url_citation"}}
{"type":"response.output_text.done","output_index":1,"item_id":"msg_1","content_index":0,"text":"Hi","logprobs":[{"token":"Hi"}]}
{"type":"response.content_part.done","output_index":1,"item_id":"msg_1","content_index":0,"part":{"type":"output_text","text":"Hi","annotations":[{"type":"url_citation"}],"logprobs":[{"token":"Hi"}]}}
{"type":"response.content_part.added","output_index":1,"item_id":"msg_1","content_index":1,"part":{"type":"refusal","refusal":""}}
{"type":"response.refusal.delta","output_index":1,"item_id":"msg_1","content_index":1,"delta":"No"}
{"type":"response.refusal.done","output_index":1,"item_id":"msg_1","content_index":1,"refusal":"No"}
{"type":"response.content_part.done","output_index":1,"item_id":"msg_1","content_index":1,"part":{"type":"refusal","refusal":"No"}}
{"type":"response.output_item.done","output_index":1,"item":{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hi","annotations":[{"type":"url_citation"}],"logprobs":[{"token":"Hi"}]},{"type":"refusal","refusal":"No"}]}}
{"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","id":"fc_1","status":"in_progress","call_id":"c1","name":"f","arguments":""}}
{"type":"response.output_item.added","output_index":3,"item":{"type":"custom_tool_call","id":"ctc_1","status":"in_progress","call_id":"c2","name":"g","input":""}}
{"type":"response.function_call_arguments.delta","output_index":2,"item_id":"fc_1","delta":"{"}
{"type":"response.custom_tool_call_input.delta","output_index":3,"item_id":"ctc_1","delta":"ls"}
{"type":"response.function_call_arguments.delta","output_index":2,"item_id":"fc_1","delta":"}"}
{"type":"response.function_call_arguments.done","output_index":2,"item_id":"fc_1","arguments":"{}"}
{"type":"response.output_item.done","output_index":2,"item":{"type":"function_call","id":"fc_1","status":"completed","call_id":"c1","name":"f","arguments":"{}"}}
{"type":"response.custom_tool_call_input.done","output_index":3,"item_id":"ctc_1","input":"ls"}
{"type":"response.output_item.done","output_index":3,"item":{"type":"custom_tool_call","id":"ctc_1","status":"completed","call_id":"c2","name":"g","input":"ls"}}
{"type":"keepalive"}
{"type":"response.completed","response":{"id":"resp_1","object":"response","created_at":7,"model":"m","status":"completed","completed_at":8,"error":null,"incomplete_details":null,"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":5,"cache_write_tokens":0},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":12}}}
"#;

/// What is made wrong, one in each line: which event (the first of its type is 0), which value, what
/// it is made; and behind the `=>`, what is to be said of it.
const WRONG: &str = r#"
response.created 0 /response/status "completed" => the status is
response.created 0 /response/output [1] => the early output
response.created 0 /response/usage {} => usage
response.created 0 /response/object "answer" => object
response.created 0 /response/id "" => no id
response.in_progress 0 /response/id "resp_2" => another response
response.in_progress 0 /response/created_at 8 => another response
response.in_progress 0 /response/error {} => error
response.output_item.added 0 /output_index 1 => output_index
response.output_item.added 0 /item/summary [1] => summary
response.output_item.added 0 /item/type "poem" => no item poem
response.output_item.added 1 /item/id "rs_1" => id is taken
response.output_item.added 1 /item/content [1] => content
response.output_item.added 1 /item/role "user" => role
response.output_item.added 1 /item/status "completed" => status
response.output_item.added 2 /item/arguments "{" => arguments
response.output_item.added 2 /item/call_id "" => no call_id
response.output_item.added 2 /item/name "" => no name
response.output_item.added 3 /item/call_id "c1" => call_id is taken
response.reasoning_summary_part.added 0 /part/text "H" => the empty part
response.reasoning_summary_part.added 0 /summary_index 1 => summary_index
response.reasoning_summary_text.delta 0 /delta "H" => text is
response.reasoning_summary_text.delta 0 /item_id "rs_2" => item_id
response.reasoning_summary_text.delta 0 /output_index 1 => no item was added
response.content_part.added 0 /part/type "reasoning_text" => has no reasoning_text
response.content_part.added 1 /content_index 0 => content_index
response.output_text.delta 0 /content_index 1 => content_index
response.output_text.delta 0 /logprobs null => logprobs
response.output_text.delta 0 /type "response.refusal.delta" => the part is
response.output_text.annotation.added 0 /annotation_index 1 => annotation_index
response.output_text.done 0 /text "Ho" => text is
response.output_text.done 0 /logprobs [] => logprobs
response.content_part.done 0 /part/annotations [] => the part
response.refusal.done 0 /refusal "Yes" => refusal is
response.function_call_arguments.done 0 /arguments "{}}" => arguments is
response.custom_tool_call_input.delta 0 /output_index 2 => item_id
response.custom_tool_call_input.done 0 /input "la" => input is
response.output_item.done 0 /item/summary [] => summary is
response.output_item.done 0 /item/encrypted_content null => encrypted_content
response.output_item.done 1 /item/content "Ho" => content is
response.output_item.done 1 /item/status "in_progress" => status is
response.output_item.done 2 /item/call_id "c9" => call_id
response.output_item.done 2 /item/arguments "" => arguments is
response.output_item.done 2 /item/name "h" => name
response.output_item.done 3 /item/status "incomplete" => an item of the output
response.completed 0 /type "response.incomplete" => the status is
response.completed 0 /response/model "n" => another response
response.completed 0 /response/completed_at 6 => before it was created
response.completed 0 /response/completed_at null => completed_at
response.completed 0 /response/incomplete_details {} => incomplete_details
response.completed 0 /response/error {} => error
response.completed 0 /response/output [] => 0 are in the output
response.completed 0 /response/usage null => input_tokens
response.completed 0 /response/usage/total_tokens 13 => no sum
response.completed 0 /response/usage/output_tokens_details/reasoning_tokens 8 => more than
response.completed 0 /response/usage/input_tokens_details {} => cached_tokens
keepalive 0 /type "ping" => output_index
"#;

#[test]
fn a_stream_with_everything_in_it_is_right() {
    assert_eq!(verify(&numbered(&good())), Ok(()));
}

/// The good stream, cut after so many items, the last of which has that status.
fn cut(items: usize, status: &str) -> Vec<Value> {
    let mut stream = good();
    let mut end = stream.pop().expect("a terminal event");
    let last = place(&stream, "response.output_item.done", items - 1);
    stream.truncate(last + 1);
    // What is begun beside it and not done is left out.
    stream.retain(|event| event["output_index"].as_u64() < Some(items as u64));
    let last = stream.len() - 1;
    stream[last]["item"]["status"] = status.into();
    end["type"] = "response.incomplete".into();
    let response = &mut end["response"];
    response["status"] = "incomplete".into();
    response["completed_at"] = Value::Null;
    response["incomplete_details"] = json!({"reason": "max_output_tokens"});
    response["output"] = output(&stream);
    stream.push(end);
    stream
}

#[test]
fn a_cut_stream_ends_with_a_cut_item_unless_that_was_a_whole_call() {
    for items in [2, 3, 4] {
        assert_eq!(verify(&numbered(&cut(items, "incomplete"))), Ok(()));
        let whole = verify(&numbered(&cut(items, "completed")));
        assert_eq!(whole.is_ok(), items > 2, "{whole:?}");
    }
    let half = |status: &str| {
        let mut stream = cut(3, status);
        let second = place(&stream, "response.function_call_arguments.delta", 1);
        stream.remove(second);
        let done = place(&stream, "response.function_call_arguments.done", 0);
        stream[done]["arguments"] = "{".into();
        let done = place(&stream, "response.output_item.done", 2);
        stream[done]["item"]["arguments"] = "{".into();
        let output = output(&stream);
        stream.last_mut().expect("an end")["response"]["output"] = output;
        verify(&numbered(&stream))
    };
    assert_eq!(half("incomplete"), Ok(()));
    assert!(half("completed").is_err_and(|fault| fault.contains("the last item")));
}

#[test]
fn a_cut_stream_says_why_and_a_whole_one_has_nothing_cut() {
    let mut stream = cut(4, "incomplete");
    let end = stream.len() - 1;
    stream[end]["response"]["incomplete_details"]["reason"] = "boredom".into();
    assert!(verify(&numbered(&stream)).is_err_and(|fault| fault.contains("no reason")));
    let output = stream[end]["response"]["output"].clone();
    stream[end] = good().pop().expect("a terminal event");
    stream[end]["response"]["output"] = output;
    assert!(verify(&numbered(&stream)).is_err_and(|fault| fault.contains("was cut")));
}

#[test]
fn a_failed_stream_may_leave_items_open() {
    let good = good();
    let end = place(&good, "response.output_item.done", 3);
    let thinking = &good[place(&good, "response.output_item.done", 0)]["item"];
    let call = &good[place(&good, "response.output_item.added", 3)]["item"];
    let failed = |error: Value, output: Value| {
        let mut stream = good[..end].to_vec();
        let mut response = good[0]["response"].clone();
        response["status"] = "failed".into();
        response["error"] = error;
        response["output"] = output;
        stream.push(json!({"type": "response.failed", "response": response}));
        verify(&numbered(&stream))
    };
    let error = json!({"code": "server_error", "message": "no"});
    assert_eq!(failed(error.clone(), json!([])), Ok(()));
    assert_eq!(failed(error.clone(), json!([thinking])), Ok(()));
    assert!(failed(error, json!([call])).is_err_and(|fault| fault.contains("not done")));
    let error = json!({"code": null, "message": "no"});
    assert!(failed(error, json!([])).is_err_and(|fault| fault.contains("code")));
}

#[test]
fn a_stream_that_stops_early_has_no_terminal_event() {
    let good = good();
    for length in 0..good.len() {
        let fault = verify(&numbered(&good[..length])).expect_err("it stops too early");
        assert_eq!(fault, "the stream has no terminal event");
    }
}

#[test]
fn no_event_but_a_keepalive_may_be_missing() {
    let good = good();
    for missing in 0..good.len() {
        let mut stream = good.clone();
        let event = stream.remove(missing);
        let right = verify(&numbered(&stream)).is_ok();
        assert_eq!(right, event["type"] == "keepalive", "without {event}");
    }
}

#[test]
fn no_event_but_a_keepalive_may_come_twice() {
    let good = good();
    for again in 0..good.len() {
        let mut stream = good.clone();
        let event = &good[again];
        stream.insert(again, event.clone());
        let right = verify(&numbered(&stream)).is_ok();
        assert_eq!(right, event["type"] == "keepalive", "twice {event}");
    }
}

#[test]
fn a_wrong_value_is_found_wherever_it_is() {
    for line in WRONG.trim().lines() {
        let (change, words) = line.split_once(" => ").unwrap();
        let [kind, nth, pointer, value] = *change.split(' ').collect::<Vec<_>>() else {
            unreachable!("four words: {change}")
        };
        let mut stream = good();
        let at = place(&stream, kind, nth.parse().unwrap());
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        stream[at].pointer_mut(parent).expect(pointer)[key] = serde_json::from_str(value).unwrap();
        let fault = verify(&numbered(&stream)).expect_err(line);
        assert!(fault.contains(words), "{line}: {fault}");
    }
}

#[test]
fn names_and_numbers_count() {
    let mut stream = numbered(&good());
    stream[3].name = Some("message".to_owned());
    assert!(verify(&stream).is_err_and(|fault| fault.contains("named")));
    stream[3].name = None;
    assert!(verify(&stream).is_err_and(|fault| fault.contains("named")));
    let mut stream = numbered(&good());
    stream[3].data["sequence_number"] = 4.into();
    assert!(verify(&stream).is_err_and(|fault| fault.contains("sequence_number")));
}

#[test]
fn a_wrong_order_is_found() {
    // Which event, before which it is put, and what is to be said of it.
    for (from, before, words) in [
        (
            ("response.in_progress", 0),
            ("response.created", 0),
            "its place",
        ),
        (("keepalive", 0), ("response.in_progress", 0), "its place"),
        (
            ("response.output_item.added", 1),
            ("response.output_item.done", 0),
            "still open",
        ),
        (
            ("response.content_part.added", 1),
            ("response.content_part.done", 0),
            "still open",
        ),
        (
            ("response.output_item.done", 1),
            ("response.content_part.done", 1),
            "still open",
        ),
        (
            ("response.output_text.done", 0),
            ("response.output_text.annotation.added", 0),
            "done already",
        ),
        (
            ("response.completed", 0),
            ("response.output_item.done", 3),
            "never done",
        ),
        (
            ("response.completed", 0),
            ("keepalive", 1),
            "follows the terminal",
        ),
    ] {
        let mut stream = good();
        let event = stream.remove(place(&stream, from.0, from.1));
        stream.insert(place(&stream, before.0, before.1), event);
        let fault = verify(&numbered(&stream)).expect_err("the order is wrong");
        assert!(fault.contains(words), "{from:?} before {before:?}: {fault}");
    }
}

/// The good stream; its output is what its items were done as.
fn good() -> Vec<Value> {
    let lines = GOOD.trim().lines().map(serde_json::from_str);
    let mut stream: Vec<Value> = lines.collect::<Result<_, _>>().expect("a line of JSON");
    let output = output(&stream);
    let end = stream.last_mut().expect("a terminal event");
    end["response"]["output"] = output;
    stream
}

/// What the items of the stream were done as.
fn output(stream: &[Value]) -> Value {
    let done = stream
        .iter()
        .filter(|event| event["type"] == "response.output_item.done");
    done.map(|event| event["item"].clone()).collect()
}

/// Where the event stands that is the nth of its type.
fn place(stream: &[Value], kind: &str, nth: usize) -> usize {
    let mut places = (0..stream.len()).filter(|n| stream[*n]["type"] == kind);
    places.nth(nth).expect(kind)
}

/// The stream with its names and numbers.
fn numbered(stream: &[Value]) -> Vec<SseEvent> {
    let numbered = |(n, event): (usize, &Value)| {
        let mut data = event.clone();
        data["sequence_number"] = n.into();
        let name = data["type"].as_str().map(str::to_owned);
        SseEvent { name, data }
    };
    stream.iter().enumerate().map(numbered).collect()
}
