//! Real clients and a real model server, with the proxy between them.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::real::{Codex, LlamaServer, node, python, script};

const PLAIN: &str = "Hello from a tiny model: every word is one token, café and 🦙 check UTF-8, then it stops here.";
const AFTER: &str = "The tool has answered; nothing is left to do.";

#[test]
fn llama_cpp_text_arrives_whole() {
    let Some(llama) = LlamaServer::start("deepseek") else {
        return;
    };
    let proxy = Proxy::to(llama.base_url());
    let request = json!({"model": "tiny", "input": "Say hello."});

    let events = streamed(&proxy, &request);
    let deltas = deltas(&events, "response.output_text.delta");
    assert!(
        deltas.len() > 10,
        "the text came in {} pieces",
        deltas.len()
    );
    assert_eq!(deltas.concat(), PLAIN);
    let streamed = completed(&events);
    let whole = blocking(&proxy, &request);
    for response in [streamed, &whole] {
        assert_eq!(response["status"], "completed");
        assert_eq!(kinds(response), ["message"]);
        assert_eq!(text(response), PLAIN);
    }
    // Not the whole of it: the second time the server has the prompt in its cache.
    assert_eq!(
        streamed["usage"]["total_tokens"],
        whole["usage"]["total_tokens"]
    );
}

#[test]
fn llama_cpp_thinking_in_a_field_of_its_own() {
    thinking_is_told_from_the_answer("deepseek");
}

#[test]
fn llama_cpp_thinking_inside_the_text() {
    thinking_is_told_from_the_answer("none");
}

fn thinking_is_told_from_the_answer(reasoning_format: &str) {
    let Some(llama) = LlamaServer::start(reasoning_format) else {
        return;
    };
    let proxy = Proxy::to(llama.base_url());
    let request = json!({"model": "tiny", "input": "[think]"});

    let events = streamed(&proxy, &request);
    assert_eq!(
        deltas(&events, "response.output_text.delta")
            .concat()
            .trim(),
        "My considered reply: forty-two!"
    );
    for response in [completed(&events), &blocking(&proxy, &request)] {
        assert_eq!(kinds(response), ["reasoning", "message"]);
        assert_eq!(thinking(response).trim(), "Okay, let me think about that.");
        assert_eq!(text(response).trim(), "My considered reply: forty-two!");
    }
}

#[test]
fn llama_cpp_call_and_its_result_go_round() {
    let Some(llama) = LlamaServer::start("deepseek") else {
        return;
    };
    let proxy = Proxy::to(llama.base_url());
    let question = json!({"role": "user", "content": "[thinkcall] How is the weather in Paris?"});
    let request = |input: Value| json!({"model": "tiny", "input": input, "tools": [weather()], "store": false});

    let asked = request(json!([question]));
    let events = streamed(&proxy, &asked);
    let arguments = deltas(&events, "response.function_call_arguments.delta").concat();
    let streamed_answer = completed(&events).clone();
    assert_eq!(arguments, streamed_answer["output"][1]["arguments"]);
    for answer in [streamed_answer, blocking(&proxy, &asked)] {
        assert_eq!(kinds(&answer), ["reasoning", "function_call"]);
        let call = &answer["output"][1];
        assert_eq!(call["name"], "get_weather");
        assert_eq!(json_in(&call["arguments"]), json!({"city": "Paris"}));

        let mut input = vec![question.clone()];
        input.extend(answer["output"].as_array().into_iter().flatten().cloned());
        input.push(
            json!({"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}),
        );
        let told = request(Value::from(input));
        assert_eq!(text(completed(&streamed(&proxy, &told))), AFTER);
        assert_eq!(text(&blocking(&proxy, &told)), AFTER);
    }
}

#[test]
fn llama_cpp_parallel_calls_stay_apart() {
    let Some(llama) = LlamaServer::start("deepseek") else {
        return;
    };
    let proxy = Proxy::to(llama.base_url());
    let request = json!({"model": "tiny", "input": "[twocalls]", "tools": [weather()]});

    let events = streamed(&proxy, &request);
    for response in [completed(&events), &blocking(&proxy, &request)] {
        assert_eq!(kinds(response), ["function_call", "function_call"]);
        let (oslo, rome) = (&response["output"][0], &response["output"][1]);
        assert_eq!(json_in(&oslo["arguments"]), json!({"city": "Oslo"}));
        assert_eq!(json_in(&rome["arguments"]), json!({"city": "Rome"}));
        assert_ne!(oslo["call_id"], rome["call_id"]);
    }
}

#[test]
fn the_openai_python_sdk_finds_nothing_wrong() {
    let (Some(python), Some(llama)) = (python(), LlamaServer::start("deepseek")) else {
        return;
    };
    let proxy = Proxy::to(llama.base_url());
    sdk_is_content(Command::new(python).arg(script("sdk_stream.py")), &proxy);
}

#[test]
fn the_openai_node_sdk_finds_nothing_wrong() {
    let (Some(mut program), Some(llama)) = (node("sdk_stream.mjs"), LlamaServer::start("deepseek"))
    else {
        return;
    };
    sdk_is_content(&mut program, &Proxy::to(llama.base_url()));
}

/// Runs an SDK's program against the proxy, and fails with what it says.
fn sdk_is_content(program: &mut Command, proxy: &Proxy) {
    let sdk = program
        .arg(proxy.base_url())
        .stdin(Stdio::null())
        .output()
        .expect("the SDK's program starts");
    let (said, complained) = (
        String::from_utf8_lossy(&sdk.stdout),
        String::from_utf8_lossy(&sdk.stderr),
    );
    assert!(
        sdk.status.success(),
        "{said}{complained}\nThe proxy's log:\n{}",
        proxy.log()
    );
}

#[test]
fn codex_runs_a_command_on_llama_cpp() {
    let Some(llama) = LlamaServer::start("deepseek") else {
        return;
    };
    let proxy = Proxy::to(llama.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let run = codex.run("Make a file named tiny.txt.");

    assert_eq!(
        run.code,
        Some(0),
        "{:#?}\n{}\nThe proxy's log:\n{}",
        run.events,
        run.stderr,
        proxy.log()
    );
    assert_eq!(run.failed(), Vec::<&Value>::new());
    assert_eq!(run.last_message(), AFTER, "{run:#?}");
    let made = std::fs::read_to_string(run.work.join("tiny.txt"));
    assert_eq!(made.ok().as_deref(), Some("tiny\n"), "{run:#?}");
    let command = run.items("command_execution");
    assert_eq!(command.len(), 1, "{run:#?}");
}

#[test]
fn codex_output_schema_binds_llama_cpp() {
    let Some(llama) = LlamaServer::start("deepseek") else {
        return;
    };
    let proxy = Proxy::to(llama.base_url());
    let Some(codex) = Codex::new(&proxy.base_url()) else {
        return;
    };
    let schema = json!({
        "type": "object",
        "properties": {"answer": {"type": "integer"}},
        "required": ["answer"],
        "additionalProperties": false
    });
    let run = codex
        .file("schema.json", schema.to_string().as_bytes())
        .arg("--output-schema")
        .arg("schema.json")
        .run("[say] a number");

    assert_eq!(
        json_in(&run.last_message().into()),
        json!({"answer": 1}),
        "{:#?}\n{}",
        run.events,
        run.stderr
    );
}

/// Sends a request for a stream and returns its events.
fn streamed(proxy: &Proxy, request: &Value) -> Vec<Value> {
    let mut request = request.clone();
    request["stream"] = Value::Bool(true);
    http::post(&proxy.url("/v1/responses"), &request).events()
}

/// Sends a request for a blocking answer and returns it.
fn blocking(proxy: &Proxy, request: &Value) -> Value {
    let reply = http::post(&proxy.url("/v1/responses"), request);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The response that ends a stream well.
fn completed(events: &[Value]) -> &Value {
    let last = events.last().expect("the stream has events");
    assert_eq!(last["type"], "response.completed", "{last}");
    &last["response"]
}

fn deltas<'a>(events: &'a [Value], kind: &str) -> Vec<&'a str> {
    let chosen = events.iter().filter(|event| event["type"] == kind);
    chosen
        .map(|event| event["delta"].as_str().expect("a delta is text"))
        .collect()
}

fn items(response: &Value) -> impl Iterator<Item = &Value> {
    response["output"].as_array().into_iter().flatten()
}

fn kinds(response: &Value) -> Vec<&str> {
    items(response)
        .filter_map(|item| item["type"].as_str())
        .collect()
}

/// The texts of all parts, content and summary, of the items of one type.
fn texts(response: &Value, kind: &str) -> String {
    let chosen = items(response).filter(|item| item["type"] == kind);
    chosen
        .flat_map(|item| [&item["content"], &item["summary"]])
        .flat_map(|parts| parts.as_array().into_iter().flatten())
        .filter_map(|part| part["text"].as_str())
        .collect()
}

fn text(response: &Value) -> String {
    texts(response, "message")
}

fn thinking(response: &Value) -> String {
    texts(response, "reasoning")
}

fn json_in(text: &Value) -> Value {
    let text = text.as_str().expect("a string with JSON in it");
    serde_json::from_str(text).expect("JSON")
}

fn weather() -> Value {
    json!({
        "type": "function",
        "name": "get_weather",
        "description": "The weather in a city",
        "strict": true,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": false
        }
    })
}
