//! The direct way against servers that do one thing, byte for byte.

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A server and the way to it.
async fn server() -> (TcpListener, Direct, Url) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}/v1/x?a=b", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let direct = Direct::new(&url, Duration::from_secs(5)).unwrap();
    (listener, direct, url)
}

/// Reads a request whose body is `body`, and gives back its head.
async fn request(stream: &mut TcpStream, body: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(format!("\r\n\r\n{body}").as_bytes()) {
        assert!(
            stream.read_buf(&mut read).await.unwrap() > 0,
            "the client left"
        );
    }
    String::from_utf8(read).unwrap()
}

async fn ask(direct: &Direct, url: &Url) -> Result<Response<Body>, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert("x-y", "z".parse().unwrap());
    let body = Bytes::from_static(b"hello");
    direct.send(&Method::POST, url, &headers, body).await
}

async fn text(answer: Response<Body>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_request_goes_out_and_its_connection_is_used_again() {
    let (listener, direct, url) = server().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = request(&mut stream, "hello").await;
        let chunked =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        stream.write_all(chunked.as_bytes()).await.unwrap();
        request(&mut stream, "hello").await;
        let plain = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ndef";
        stream.write_all(plain.as_bytes()).await.unwrap();
        head
    });
    assert_eq!(text(ask(&direct, &url).await.unwrap()).await, "abc");
    assert_eq!(text(ask(&direct, &url).await.unwrap()).await, "def");
    let host = &url[Position::BeforeHost..Position::AfterPort];
    assert_eq!(
        serving.await.unwrap(),
        format!(
            "POST /v1/x?a=b HTTP/1.1\r\nhost: {host}\r\nx-y: z\r\ncontent-length: 5\r\n\r\nhello"
        )
    );
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_made_anew() {
    let (listener, direct, url) = server().await;
    let serving = tokio::spawn(async move {
        for _ in 0..2 {
            // Closes after one answer, without having said so.
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream, "hello").await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    assert_eq!(text(ask(&direct, &url).await.unwrap()).await, "a");
    assert_eq!(text(ask(&direct, &url).await.unwrap()).await, "a");
    serving.await.unwrap();
}

#[tokio::test]
async fn what_is_said_before_all_was_read_is_heard() {
    let (listener, direct, url) = server().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        let refusal = "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
        stream.write_all(refusal.as_bytes()).await.unwrap();
        // Keeps the connection, and reads no more.
        std::future::pending::<()>().await;
    });
    let body = Bytes::from(vec![b'x'; 32 * 1024 * 1024]);
    let answer = direct
        .send(&Method::POST, &url, &HeaderMap::new(), body)
        .await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(text(answer).await, "no");
    assert!(
        direct.pool.take().is_none(),
        "half a request is still under way"
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_one_without_a_length_is_not() {
    let (listener, direct, url) = server().await;
    tokio::spawn(async move {
        for head in ["content-length: 5", "transfer-encoding: chunked", "a: b"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream, "hello").await;
            let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n3\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for whole in [false, false, true] {
        let body = ask(&direct, &url).await.unwrap().into_body();
        let body = body.collect().await.map(|body| body.to_bytes());
        assert_eq!(body.is_ok(), whole);
        if let Err(error) = body {
            assert_eq!(
                error.to_string(),
                "end of file before message length reached"
            );
        }
    }
}

#[tokio::test]
async fn who_says_nothing_or_something_else_broke_off() {
    let (listener, direct, url) = server().await;
    tokio::spawn(async move {
        for answer in ["", "HTTP/1.1 200", "SSH-2.0-x\r\n"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream, "hello").await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for _ in 0..3 {
        assert!(matches!(ask(&direct, &url).await, Err(Failure::Broken(_))));
    }
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let (listener, direct, url) = server().await;
    drop(listener);
    let Err(Failure::Connect(reason)) = ask(&direct, &url).await else {
        panic!("there is nobody");
    };
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_released_body_gives_its_connection_back_and_a_dropped_one_does_not() {
    let (listener, direct, url) = server().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            request(&mut stream, "hello").await;
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nDONE\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            // Nobody reads it any more after the second time.
            let _ = stream.write_all(b"0\r\n\r\n").await;
        }
        // The client has gone.
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    });
    let mut body = ask(&direct, &url).await.unwrap().into_body();
    assert!(body.frame().await.is_some());
    body.release();
    for _ in 0..200 {
        if !direct.pool.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!direct.pool.is_empty());
    let mut body = ask(&direct, &url).await.unwrap().into_body();
    assert!(body.frame().await.is_some());
    drop(body);
    assert!(direct.pool.is_empty());
    serving.await.unwrap();
}

#[test]
fn only_plain_servers_are_asked_directly() {
    for (url, plain) in [
        ("http://localhost:11434/v1", true),
        ("http://[::1]/v1", true),
        ("https://api.example.com/v1", false),
        ("http://user:word@localhost/v1", false),
    ] {
        let direct = Direct::new(&url.parse().unwrap(), Duration::from_secs(1));
        assert_eq!(direct.is_some(), plain, "{url}");
    }
}
