//! The server over a real socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::super::{DemoUpstream, Pace, spawn_paced};
use super::exec_command;

/// Status line and body of one HTTP/1.0 exchange; that version needs no chunked coding.
async fn exchange(demo: &DemoUpstream, method: &str, path: &str, body: &str) -> (String, String) {
    let address = demo.base_url().trim_start_matches("http://");
    let (address, base) = address.split_once('/').unwrap();
    let request = format!(
        "{method} /{base}{path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len(),
    );
    let address = address.to_owned();
    let reply = tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        socket.read_to_string(&mut reply).unwrap();
        reply
    });
    let reply = reply.await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_server_lists_its_model_and_refuses_nonsense() {
    let demo = spawn_paced(Pace::NONE).await.unwrap();
    let (status, body) = exchange(&demo, "GET", "/models", "").await;
    assert_eq!(status, "HTTP/1.0 200 OK");
    let models: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(models["data"][0]["id"], "antiphon-demo");
    assert_eq!(models["data"][0]["max_model_len"], 131_072);
    for (path, body, expected) in [
        ("/chat/completions", "{", "HTTP/1.0 400 Bad Request"),
        ("/chat/completions", "{}", "HTTP/1.0 400 Bad Request"),
        ("/embeddings", "{}", "HTTP/1.0 404 Not Found"),
    ] {
        let (status, body) = exchange(&demo, "POST", path, body).await;
        assert_eq!(status, expected);
        assert!(body.contains("invalid_request_error"));
    }
}

#[tokio::test]
async fn the_streamed_answer_equals_the_blocking_one() {
    let demo = spawn_paced(Pace::NONE).await.unwrap();
    for (text, finish) in [("hello", "stop"), ("run ls", "tool_calls")] {
        let mut request = json!({
            "model": "m", "tools": [exec_command()],
            "messages": [{ "role": "user", "content": text }],
        });
        let (_, body) = exchange(&demo, "POST", "/chat/completions", &request.to_string()).await;
        let whole: Value = serde_json::from_str(&body).unwrap();
        request["stream"] = json!(true);
        request["stream_options"] = json!({ "include_usage": true });
        let (_, body) = exchange(&demo, "POST", "/chat/completions", &request.to_string()).await;
        let mut frames: Vec<&str> = body.trim_end().split("\n\n").collect();
        assert_eq!(frames.pop(), Some("data: [DONE]"));
        let chunks = frames
            .iter()
            .map(|frame| frame.strip_prefix("data: ").unwrap());
        let mut chunks: Vec<Value> = chunks
            .map(|chunk| serde_json::from_str(chunk).unwrap())
            .collect();
        let usage = chunks.pop().unwrap();
        assert_eq!(
            (&usage["choices"], &usage["usage"]),
            (&json!([]), &whole["usage"])
        );
        let last = &chunks.last().unwrap()["choices"][0];
        assert_eq!(
            (&last["finish_reason"], &last["delta"]),
            (&json!(finish), &json!({}))
        );
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        let joined = |pointer: &str| -> String {
            let pointer = format!("/choices/0/delta{pointer}");
            chunks
                .iter()
                .filter_map(|chunk| chunk.pointer(&pointer)?.as_str())
                .collect()
        };
        let message = &whole["choices"][0]["message"];
        assert_eq!(whole["choices"][0]["finish_reason"], finish);
        assert_eq!(
            joined("/content"),
            message["content"].as_str().unwrap_or("")
        );
        assert_eq!(
            joined("/reasoning_content"),
            message["reasoning_content"].as_str().unwrap()
        );
        let arguments = message.pointer("/tool_calls/0/function/arguments");
        let arguments = arguments.and_then(Value::as_str).unwrap_or("");
        assert_eq!(joined("/tool_calls/0/function/arguments"), arguments);
        assert_eq!(arguments.is_empty(), finish == "stop");
    }
}

#[tokio::test]
async fn a_dropped_server_no_longer_listens() {
    let demo = spawn_paced(Pace::NONE).await.unwrap();
    let url = demo.base_url().to_owned();
    let address = url.trim_start_matches("http://").trim_end_matches("/v1");
    drop(demo);
    // The listener goes with the aborted task, the next time the runtime runs.
    for _ in 0..100 {
        if TcpStream::connect(address).is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("still listening");
}
