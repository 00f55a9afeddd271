//! What a response repeats of its request.

use antiphon::responses::CreateResponse;
use antiphon::responses::response::{Echo, Head, Response, State};

/// The tools as the response shows them, byte for byte.
fn echoed(tools: &str) -> String {
    let body = format!(r#"{{"model":"x","input":"hi","tools":{tools}}}"#);
    let request = CreateResponse::parse(body.as_bytes()).expect("a request reads");
    let head = Head {
        id: "resp_1".into(),
        created_at: 1,
        model: "x".into(),
        echo: Echo::new(&request),
    };
    let mut out = Vec::new();
    let response = Response {
        head: &head,
        state: State::InProgress,
        output: &[],
        usage: None,
    };
    response.write(&mut out);
    let text = String::from_utf8(out).expect("text");
    let (_, tools) = text.split_once(r#","tools":"#).expect("tools");
    let (tools, _) = tools.split_once(r#","top_logprobs""#).expect("more keys");
    tools.to_owned()
}

#[test]
fn a_function_shows_each_of_its_keys_once() {
    for (tool, shown) in [
        (
            r#"{"type":"function","name":"f","description":null,"strict":null,"parameters":null}"#,
            r#"{"type":"function","name":"f","description":null,"strict":false,"parameters":null}"#,
        ),
        (
            r#"{ "name": "f", "type": "function" }"#,
            r#"{"name":"f","type":"function","parameters":null,"description":null,"strict":false}"#,
        ),
        (
            r#"{"type":"function","name":"f","parameters":{"properties":{"a":{"description":"A"}, "strict":{}}},"strict":true,"x":[1, 2]}"#,
            r#"{"type":"function","name":"f","parameters":{"properties":{"a":{"description":"A"}, "strict":{}}},"strict":true,"x":[1, 2],"description":null}"#,
        ),
        (
            r#"{"type":"function","name":"f","name":"g","strict":null,"strict":true,"parameters":{},"description":"d"}"#,
            r#"{"type":"function","name":"g","strict":true,"parameters":{},"description":"d"}"#,
        ),
    ] {
        assert_eq!(echoed(&format!("[{tool}]")), format!("[{shown}]"));
    }
}

#[test]
fn other_tools_are_shown_as_they_came() {
    for tool in [
        r#"{"type":"custom","name":"f","strict":null}"#,
        r#"{"type":"namespace","name":"n","tools":[{"type":"function","name":"f","strict":null}]}"#,
        r#"{"type":"from_the_future"}"#,
    ] {
        assert_eq!(
            echoed(&format!("[{tool},{tool}]")),
            format!("[{tool},{tool}]")
        );
    }
}
