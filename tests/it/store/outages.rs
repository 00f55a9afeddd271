//! A Postgres server that goes away and comes back.

use std::time::{Duration, Instant};

use antiphon::store::{Place, Status, Store, StoreError};
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::world::{ME, World, ended, history, json, response, save, until, waiting};
use crate::support::postgres::{Server, url};

const PATIENCE: Duration = Duration::from_millis(800);

async fn open(url: String) -> Store {
    let world = World::at(Place::Postgres(SecretString::from(url)), None);
    let mut settings = world.settings();
    settings.timeout = PATIENCE;
    settings.acquire_timeout = PATIENCE / 2;
    settings.queue_length = 8;
    // Opening may take longer than that on a busy machine.
    for _ in 0..20 {
        if let Ok(store) = Store::open(settings.clone()).await {
            return store;
        }
    }
    panic!("the store does not open");
}

fn is_told(result: Result<(), StoreError>) {
    match result {
        Err(StoreError::Unavailable { .. } | StoreError::Timeout) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_told_quickly_and_a_restarted_one_is_found() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let store = open(server.database()).await;
    save(&store, &["a"]).await;
    store.enqueue(waiting("w"), json("{}")).await.unwrap();
    store.claim("me", Duration::from_secs(60), 1).await.unwrap();
    // Several connections that will all be dead.
    let mut reading = JoinSet::new();
    for _ in 0..6 {
        let store = store.clone();
        reading.spawn(async move { store.ping().await.is_ok() });
    }
    reading.join_all().await;
    server.stop();
    for _ in 0..2 {
        let began = Instant::now();
        is_told(store.response(ME, "a").await.map(drop));
        is_told(store.history(ME, "a").await.map(drop));
        is_told(store.save(response("b", Some("a")), Vec::new()).await);
        is_told(store.claim("me", Duration::from_secs(1), 1).await.map(drop));
        is_told(store.ping().await);
        let took = began.elapsed();
        assert!(took < PATIENCE * 6, "{took:?}");
    }
    server.restart();
    until("it is found again", || async { store.ping().await.is_ok() }).await;
    // From here on nothing fails because of what was.
    save(&store, &["c<a"]).await;
    assert_eq!(history(&store, "c").await.unwrap(), ["a", "c"]);
    let done = ended(&waiting("w"), Status::Completed);
    assert_eq!(
        store.finish("me", done, Vec::new(), Vec::new()).await,
        Ok(true)
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_come_from_other_replicas_even_after_a_restart() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let url = server.database();
    let (one, two) = (open(url.clone()).await, open(url).await);
    for round in 0..2 {
        let mut news = two.changes();
        let mut tries = 0;
        // The first may come before the other listens.
        let heard = loop {
            tries += 1;
            assert!(tries < 50, "never heard");
            let id = format!("r{round}-{tries}");
            one.enqueue(waiting(&id), json("{}")).await.unwrap();
            let heard = tokio::time::timeout(Duration::from_millis(300), news.recv()).await;
            if let Ok(heard) = heard {
                break heard.unwrap();
            }
        };
        assert!(heard.starts_with(&format!("r{round}-")), "{heard}");
        if round == 0 {
            server.stop();
            is_told(one.ping().await);
            server.restart();
            until("both are back", || async {
                one.ping().await.is_ok() && two.ping().await.is_ok()
            })
            .await;
        }
    }
    one.close().await;
    two.close().await;
}

/// A machine that is gone says nothing at all: connections stand, and no byte comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_holds_nobody_up() {
    let Some(url) = url() else { return };
    let (_, rest) = url.split_once("127.0.0.1:").unwrap();
    let (port, database) = rest.split_once('/').unwrap();
    let silence = Silence::before(port.parse().unwrap()).await;
    let store = open(format!(
        "postgres://postgres@127.0.0.1:{}/{database}",
        silence.port
    ))
    .await;
    save(&store, &["a"]).await;
    silence.hush(true);
    let began = Instant::now();
    let mut waiting = JoinSet::new();
    for at in 0..20 {
        let store = store.clone();
        waiting.spawn(async move {
            let record = response(&format!("b{at}"), None);
            match store.save(record, Vec::new()).await {
                Err(StoreError::Full) => true,
                other => {
                    is_told(other);
                    false
                }
            }
        });
    }
    is_told(store.response(ME, "a").await.map(drop));
    let full = waiting
        .join_all()
        .await
        .into_iter()
        .filter(|full| *full)
        .count();
    // Eight fit into the queue; the write before may hold its place a moment longer.
    assert!((12..=13).contains(&full), "{full}");
    let took = began.elapsed();
    assert!(took < PATIENCE * 4, "{took:?}");
    silence.hush(false);
    until("it answers again", || async { store.ping().await.is_ok() }).await;
    save(&store, &["c<a"]).await;
    assert_eq!(history(&store, "c").await.unwrap(), ["a", "c"]);
    let began = Instant::now();
    silence.hush(true);
    store.close().await;
    assert!(began.elapsed() < PATIENCE * 5, "{:?}", began.elapsed());
}

/// Stands before a server, and can keep back all that goes through it.
struct Silence {
    port: u16,
    hush: tokio::sync::watch::Sender<bool>,
}

impl Silence {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hush, hushed) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, hushed.clone()));
                tokio::spawn(pass(from_server, to_client, hushed.clone()));
            }
        });
        Self { port, hush }
    }

    fn hush(&self, hush: bool) {
        self.hush.send_replace(hush);
    }
}

async fn pass(
    from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut hushed: tokio::sync::watch::Receiver<bool>,
) {
    use tokio::io::AsyncWriteExt;
    let mut buffer = vec![0; 64 << 10];
    loop {
        if from.readable().await.is_err() || hushed.wait_for(|hushed| !hushed).await.is_err() {
            return;
        }
        match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                if to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
