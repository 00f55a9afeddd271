//! What can be set for an upstream: keys, headers, proxies, certificates, limits, and servers that speak
//! the Responses API themselves.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Live, config, configured, failure, hello, last, post, refusal, send, streamed, whole, with,
};
use crate::support::events;
use crate::support::http;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Received, Reply, Upstream, completion, delta, finish, text, usage};

const JSON: (&str, &str) = ("content-type", "application/json");

fn said(upstream: &Upstream) -> Received {
    let received = upstream.received().into_iter();
    let mut questions = received.filter(|request| request.method == "POST");
    questions.next_back().expect("it was asked")
}

fn answer() -> Reply {
    Reply::stream(&[text("Hi"), finish("stop"), usage(9, 4)])
}

#[test]
fn the_clients_own_key_is_passed_on_where_that_is_wanted_and_nothing_else_is() {
    let headers = [
        JSON,
        ("authorization", "Bearer client-key-0123456789"),
        ("api-key", "client-key-0123456789"),
        ("originator", "codex_exec"),
        ("session-id", "s"),
        ("x-codex-turn-metadata", "{}"),
        ("openai-beta", "x"),
        ("cookie", "a=b"),
        ("te", "trailers"),
        ("x-antiphon-profile", ""),
    ];
    let body = hello().to_string();
    for (setting, key) in [
        ("", None),
        (
            "auth = \"passthrough\"",
            Some("Bearer client-key-0123456789"),
        ),
    ] {
        let upstream = Upstream::new([answer()]);
        let proxy = configured(&upstream, "", setting);
        assert_eq!(send(&proxy, &headers, body.as_bytes()).status, 200);
        let said = said(&upstream);
        assert_eq!(said.header("authorization"), key);
        assert_eq!(said.header("api-key"), key.map(|_| "client-key-0123456789"));
        for (name, _) in &headers[3..] {
            assert_eq!(said.header(name), None, "{name} went on");
        }
    }
}

#[test]
fn a_clients_key_that_is_refused_is_told_to_that_client_without_the_key() {
    let told = "Incorrect API key: client-key-0123456789";
    let upstream = Upstream::new([Reply::error(401, told)]);
    let proxy = configured(&upstream, "", "auth = \"passthrough\"");
    let headers = [JSON, ("authorization", "Bearer client-key-0123456789")];
    let reply = send(&proxy, &headers, hello().to_string().as_bytes());
    let error = refusal(&reply, 401);
    assert_eq!(error["message"], "Incorrect API key: [redacted]");
    assert!(!proxy.log().contains("client-key"), "{}", proxy.log());
}

#[test]
fn azures_key_and_path_are_as_it_wants_them() {
    let upstream = Upstream::new([answer()]);
    let base = upstream
        .base_url()
        .replace("/v1", "/openai/deployments/{model}");
    let toml = format!(
        "[upstreams.azure]\nbase_url = \"{base}/chat/completions?api-version=2024-10-21\"\n\
         profile = \"azure\"\nenv_key = \"AZURE_KEY\"\n[models.\"gpt-5.5\"]\nmodel = \"my gpt/5\"\n"
    );
    let proxy = Proxy::builder()
        .config(&toml)
        .env("AZURE_KEY", "azure-key-0123456789")
        .start();
    whole(
        &proxy,
        &with(hello(), json!({"model": "gpt-5.5", "max_output_tokens": 9})),
    );
    let said = said(&upstream);
    assert_eq!(
        said.path,
        "/openai/deployments/my%20gpt%2F5/chat/completions?api-version=2024-10-21"
    );
    assert_eq!(said.header("api-key"), Some("azure-key-0123456789"));
    assert_eq!(said.header("authorization"), None);
    assert_eq!(said.body["max_completion_tokens"], 9);
    http::get(&proxy.url("/v1/models"));
    let listed = upstream.received();
    let listed = listed.iter().find(|request| request.method == "GET");
    assert_eq!(
        listed.expect("its models are asked for").path,
        "/openai/models?api-version=2024-10-21"
    );
}

#[test]
fn fields_are_left_out_and_merged_in() {
    let upstream = Upstream::new([answer()]);
    let proxy = configured(
        &upstream,
        "",
        "drop_fields = [\"temperature\", \"stream_options.include_usage\"]\n\
         extra_body = { chat_template_kwargs = { a = 1 }, stream_options = { more = true }, top_k = 5 }",
    );
    let request = json!({"temperature": 1, "top_p": 0.5, "stream": true});
    post(&proxy, &with(hello(), request));
    let body = said(&upstream).body;
    assert_eq!(body.get("temperature"), None);
    assert_eq!(body["top_p"], 0.5);
    assert_eq!(body["top_k"], 5);
    assert_eq!(body["chat_template_kwargs"], json!({"a": 1}));
    assert_eq!(body["stream_options"], json!({"more": true}));
    assert_eq!(body["model"], "m");
}

#[test]
fn a_stream_that_breaks_before_anything_was_told_is_asked_for_again() {
    let broken = [
        Reply::chunks(&[]).cut(),
        Reply::chunks(&[delta(json!({"role": "assistant", "content": ""}))]).cut(),
        Reply::chunks(&[]).bytes("data: {\"error\":{\"message\":\"Oops.\",\"code\":500}}\n\n"),
    ];
    for broken in broken {
        let upstream = Upstream::new([broken.clone(), broken.clone(), answer()]);
        let proxy = configured(&upstream, "", "");
        let events = streamed(&proxy, &hello());
        assert_eq!(last(&events)["status"], "completed");
        assert_eq!(last(&events)["output"][0]["content"][0]["text"], "Hi");
        assert_eq!(upstream.asked().len(), 3);

        let upstream = Upstream::new([broken.clone(), answer()]);
        let proxy = configured(&upstream, "", "stream_max_retries = 0");
        failure(&streamed(&proxy, &hello()));
        assert_eq!(upstream.asked().len(), 1);
    }
}

#[test]
fn a_stream_that_breaks_after_a_delta_is_not() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).cut(), answer()]);
    let proxy = configured(&upstream, "", "");
    failure(&streamed(&proxy, &hello()));
    assert_eq!(upstream.asked().len(), 1);
    // A blocking client has heard nothing yet.
    let upstream = Upstream::new([Reply::chunks(&[text("Hel")]).cut(), answer()]);
    let proxy = configured(&upstream, "", "");
    let response = whole(&proxy, &hello());
    assert_eq!(response["output"][0]["content"][0]["text"], "Hi");
}

#[test]
fn only_so_many_requests_are_in_flight_and_the_line_is_bounded() {
    let slow = Reply::chunks(&[text("Hi")])
        .rest(1500)
        .chunk(&finish("stop"))
        .bytes("data: [DONE]\n\n");
    let upstream = Upstream::new([slow]);
    let proxy = configured(
        &upstream,
        "",
        "max_concurrency = 1\nmax_queue = 1\nqueue_timeout_ms = 20000\nrequest_max_retries = 0",
    );
    let mut first = Live::start(&proxy.url(""), &hello());
    first.wait_for("Hi", Duration::from_secs(10));
    let began = Instant::now();
    let second = Live::start(&proxy.url(""), &hello());
    thread::sleep(Duration::from_millis(300));
    assert_eq!(upstream.asked().len(), 1, "the second one waits");
    let third = post(&proxy, &with(hello(), json!({"stream": true})));
    let error = refusal(&third, 429);
    assert_eq!(error["code"], "rate_limit_exceeded");
    assert_eq!(third.header("retry-after"), Some("2"));
    assert!(
        began.elapsed() < Duration::from_millis(1200),
        "it did not wait"
    );
    first.finish();
    let events = events::parse(&second.finish());
    assert_eq!(last(&events)["status"], "completed");
    assert_eq!(upstream.asked().len(), 2);
}

#[test]
fn nobody_waits_in_line_for_ever_and_a_client_that_leaves_gives_up_its_place() {
    let upstream = Upstream::new([Reply::chunks(&[text("Hi")]).silent()]);
    let own = "max_concurrency = 1\nqueue_timeout_ms = 200\nrequest_max_retries = 0";
    let proxy = configured(&upstream, "", own);
    let mut first = Live::start(&proxy.url(""), &hello());
    first.wait_for("Hi", Duration::from_secs(10));
    refusal(&post(&proxy, &with(hello(), json!({"stream": true}))), 429);
    refusal(&post(&proxy, &hello()), 429);
    assert_eq!(upstream.asked().len(), 1);
    drop(first);
    upstream.wait_until_left(1);
    let mut next = Live::start(&proxy.url(""), &hello());
    next.wait_for("Hi", Duration::from_secs(10));
}

/// A proxy that takes one request, and answers it by itself. Returns its address and the head that it got.
fn http_proxy() -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
            head.push(byte[0]);
        }
        let body =
            completion(json!({"role": "assistant", "content": "By proxy"}), "stop").to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).expect("it is answered");
        String::from_utf8_lossy(&head).into_owned()
    });
    (address.to_string(), served)
}

#[test]
fn a_proxy_is_on_the_way_and_its_password_is_told_to_nobody() {
    let (address, served) = http_proxy();
    let toml = config(
        "http://model.invalid/v1",
        "",
        &format!("proxy = \"http://me:open-sesame@{address}\"\nrequest_max_retries = 0"),
    );
    let proxy = Proxy::builder().config(&toml).start();
    let response = whole(&proxy, &hello());
    assert_eq!(response["output"][0]["content"][0]["text"], "By proxy");
    let head = served.join().expect("the proxy served").to_lowercase();
    assert!(
        head.starts_with("post http://model.invalid/v1/chat/completions "),
        "{head}"
    );
    assert!(
        head.contains("proxy-authorization: basic bwu6b3blbi1zzxnhbwu="),
        "{head}"
    );
    // It is gone now.
    let reply = post(&proxy, &hello());
    refusal(&reply, 503);
    for text in [reply.text(), &proxy.log()] {
        assert!(!text.contains("open-sesame"), "{text}");
    }
}

/// A server that speaks TLS with a certificate that only the test's own authority vouches for, and answers
/// each request in the same way. Returns its port.
fn tls_server() -> u16 {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");
    let certificate = CertificateDer::from_pem_file(format!("{folder}/server.pem"));
    let key = PrivateKeyDer::from_pem_file(format!("{folder}/server-key.pem"));
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS has versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.expect("a certificate")],
            key.expect("a key"),
        );
    let config = std::sync::Arc::new(config.expect("they belong together"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tls = rustls::ServerConnection::new(config.clone()).expect("a connection");
            let mut tls = rustls::StreamOwned::new(tls, stream);
            let mut bytes = [0; 65536];
            // Whoever does not trust the certificate hangs up here.
            if tls.read(&mut bytes).is_err() {
                continue;
            }
            let body =
                completion(json!({"role": "assistant", "content": "By TLS"}), "stop").to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = tls.write_all(answer.as_bytes());
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    port
}

#[test]
fn a_server_whose_authority_is_named_is_trusted_and_no_other() {
    let base_url = format!("https://localhost:{}/v1", tls_server());
    let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/ca.pem");
    let start = |own: &str| {
        let own = format!("request_max_retries = 0\n{own}");
        Proxy::builder()
            .config(&config(&base_url, "", &own))
            .start()
    };
    let response = whole(&start(&format!("ca_file = \"{ca}\"")), &hello());
    assert_eq!(response["output"][0]["content"][0]["text"], "By TLS");
    let error = refusal(&post(&start(""), &hello()), 503);
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("certificate"), "{message}");
}

#[test]
fn the_environments_proxies_count_but_for_this_machine() {
    let upstream = Upstream::new([answer()]);
    let (address, served) = http_proxy();
    let proxy_url = format!("http://{address}");
    let start = |base_url: &str, own: &str| {
        Proxy::builder()
            .config(&config(base_url, "", own))
            .env("HTTP_PROXY", &proxy_url)
            .env("http_proxy", &proxy_url)
            .env("NO_PROXY", "")
            .env("no_proxy", "")
            .start()
    };
    whole(&start(&upstream.base_url(), ""), &hello());
    assert_eq!(upstream.asked().len(), 1);
    let none = start(
        "http://model.invalid/v1",
        "proxy = \"none\"\nrequest_max_retries = 0",
    );
    assert_eq!(post(&none, &hello()).status, 503);
    let response = whole(&start("http://model.invalid/v1", ""), &hello());
    assert_eq!(response["output"][0]["content"][0]["text"], "By proxy");
    served.join().expect("the proxy served");
}

/// A stream of the Responses API, with things in it that nobody here knows.
fn native() -> String {
    let events = [
        json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_up", "status": "in_progress", "x": 1}}),
        json!({"type": "response.unheard_of", "sequence_number": 1, "odd": [1.50, null]}),
        json!({"type": "response.completed", "sequence_number": 2, "response": {"id": "resp_up", "status": "completed", "output": [], "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}}}),
    ];
    let event = |event: &Value| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap_or_default()
        )
    };
    events.iter().map(event).collect()
}

fn native_reply(body: &str) -> Reply {
    Reply::new(200, "text/event-stream")
        .header("openai-model", "another")
        .header("x-codex-turn-state", "s")
        .bytes(body)
}

const NATIVE: &str = "wire_api = \"responses\"\nextra_body = { store = false }";

#[test]
fn a_server_of_the_responses_api_is_passed_through() {
    let upstream = Upstream::new([native_reply(&native())]);
    let toml = config(&upstream.base_url(), "", NATIVE)
        + "[models.\"gpt-5.5\"]\nmodel = \"inner\"\nreasoning_effort = \"high\"\nmax_output_tokens = 77\n";
    let proxy = Proxy::builder().config(&toml).start();
    let body = r#"{"model":"gpt-5.5", "input":[{"type":"unheard_of","n":1.50}],"stream":true,"reasoning":{"summary":"auto"},"previous_response_id":"resp_1","odd":{"a":[]}}"#;
    let reply = send(&proxy, &[JSON], body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.text(), native());
    assert_eq!(reply.header("openai-model"), None);
    assert_eq!(reply.header("x-codex-turn-state"), None);
    let said = said(&upstream);
    assert_eq!(said.path, "/v1/responses");
    assert_eq!(
        said.body,
        json!({
            "model": "inner",
            "input": [{"type": "unheard_of", "n": 1.5}],
            "stream": true,
            "reasoning": {"summary": "auto", "effort": "high"},
            "previous_response_id": "resp_1",
            "odd": {"a": []},
            "max_output_tokens": 77,
            "store": false,
        })
    );
    proxy.wait_for_log("response passed on", 1);
    let log = proxy.log();
    assert!(log.contains("resp_up"), "{log}");
}

#[test]
fn a_passed_document_comes_as_it_is() {
    let document =
        r#"{"id":"resp_up", "object":"response","status":"completed","odd":1.50,"output":[]}"#;
    let upstream = Upstream::new([Reply::new(200, "application/json").bytes(document)]);
    let proxy = configured(&upstream, "", NATIVE);
    let reply = post(&proxy, &hello());
    assert_eq!((reply.status, reply.text()), (200, document));
}

#[test]
fn a_passed_streams_refusals_breaks_and_silence_are_told_as_ever() {
    let upstream = Upstream::new([Reply::error(400, "No such luck.")]);
    let proxy = configured(&upstream, "", NATIVE);
    let error = refusal(&post(&proxy, &with(hello(), json!({"stream": true}))), 400);
    assert_eq!(error["message"], "No such luck.");

    let (first, rest) = native()
        .split_once("\n\n")
        .map(|(a, b)| (format!("{a}\n\n"), b.to_owned()))
        .expect("events");
    let half = format!("{first}{}", &rest[..30]);
    for broken in [
        native_reply(&half).cut(),
        native_reply(&half).silent(),
        native_reply(&first),
    ] {
        let upstream = Upstream::new([broken]);
        let own = format!("{NATIVE}\nstream_idle_timeout_ms = 300");
        let proxy = configured(&upstream, "", &own);
        let reply = post(&proxy, &with(hello(), json!({"stream": true})));
        let events = events::parse(&reply.body);
        assert_eq!(events.len(), 2, "{}", reply.text());
        assert_eq!(events[1].kind(), "response.failed");
        assert_eq!(events[1].data["response"]["id"], "resp_up");
        assert_eq!(events[1].data["response"]["error"]["code"], "server_error");
        assert_eq!(events[1].data["sequence_number"], 1);
        assert_eq!(upstream.asked().len(), 1, "something was told");
    }

    let upstream = Upstream::new([native_reply("").cut(), native_reply(&native())]);
    let proxy = configured(&upstream, "", NATIVE);
    let reply = post(&proxy, &with(hello(), json!({"stream": true})));
    assert_eq!(reply.text(), native());
    assert_eq!(upstream.asked().len(), 2, "nothing was told");
}

#[test]
fn a_server_is_known_by_what_it_says_of_itself() {
    let models = Reply::json(
        200,
        &json!({"object": "list", "data": [{"id": "m", "owned_by": "sglang"}]}),
    );
    let upstream = Upstream::new([answer()]).models(models);
    let proxy = configured(&upstream, "", "");
    let thinking = json!({"reasoning": {"effort": "none"}});
    whole(&proxy, &with(hello(), thinking.clone()));
    assert_eq!(
        said(&upstream).body.get("chat_template_kwargs"),
        None,
        "not known yet"
    );
    let until = Instant::now() + Duration::from_secs(10);
    while !proxy.log().contains("the server says what it is") && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    whole(&proxy, &with(hello(), thinking));
    let body = said(&upstream).body;
    assert_eq!(
        body["chat_template_kwargs"],
        json!({"enable_thinking": false})
    );
}

#[test]
fn thinking_that_was_sealed_here_is_not_passed_on() {
    let thinking = delta(json!({"reasoning_content": "Hm."}));
    let chat = Upstream::new([Reply::stream(&[thinking, text("Hi"), finish("stop")])]);
    let native = Upstream::new([native_reply(&native())]);
    let toml = format!(
        "default_upstream = \"chat\"\n[upstreams.chat]\nbase_url = \"{}\"\n\
         [upstreams.native]\nbase_url = \"{}\"\nwire_api = \"responses\"\n[models.n]\nupstream = \"native\"\n",
        chat.base_url(),
        native.base_url()
    );
    let proxy = Proxy::builder().config(&toml).start();
    let first = json!({"include": ["reasoning.encrypted_content"], "store": false});
    let response = whole(&proxy, &with(hello(), first));
    let own = response["output"][0].clone();
    assert_eq!(own["type"], "reasoning");
    assert!(own["encrypted_content"].is_string(), "{own}");
    let others =
        json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"});
    let said_so = json!({"role": "user", "content": "encrypted_content?"});
    let input = json!([said_so, own, others, response["output"][1]]);
    let request = json!({"model": "n", "input": input, "stream": true});
    assert_eq!(post(&proxy, &request).status, 200);
    assert_eq!(
        said(&native).body["input"],
        json!([said_so, others, response["output"][1]])
    );
}
