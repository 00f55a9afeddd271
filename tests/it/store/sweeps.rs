//! What is dropped and what stays, on every place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antiphon::store::{Conversation, Record, Status, Store, Swept};
use bytes::Bytes;

use super::world::{
    ME, World, conversation, ended, event, events, history, items, json, response, waiting,
};

const HOUR: u64 = 3600;

/// Unix time so many hours ago.
fn ago(hours: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() - hours * HOUR
}

async fn save_at(store: &Store, hours: u64, id: &str, previous: Option<&str>) {
    let record = Record {
        created_at: ago(hours),
        ..response(id, previous)
    };
    store.save(record, Vec::new()).await.unwrap();
}

async fn there(store: &Store, ids: &[&str]) -> String {
    let mut found = Vec::new();
    for id in ids {
        if store.response(ME, id).await.unwrap().is_some() {
            found.push(*id);
        }
    }
    found.join(" ")
}

async fn with_age(world: &World, hours: u64) -> Store {
    let age = Duration::from_secs(hours * HOUR);
    world.with(|settings| settings.max_age = Some(age)).await
}

pub(super) async fn the_old_go_and_the_living_stay(world: &World) {
    let store = with_age(world, 10).await;
    save_at(&store, 30, "a", None).await;
    save_at(&store, 20, "b", Some("a")).await;
    save_at(&store, 30, "A", None).await;
    save_at(&store, 20, "B", Some("A")).await;
    save_at(&store, 1, "C", Some("B")).await;
    let old = Conversation {
        created_at: ago(30),
        ..conversation("old")
    };
    let living = |id: &str| Conversation {
        id: id.to_owned(),
        ..old.clone()
    };
    store
        .create_conversation(old.clone(), items(&["1"]))
        .await
        .unwrap();
    for id in ["added", "told", "answered", "new"] {
        store
            .create_conversation(living(id), items(&["1"]))
            .await
            .unwrap();
    }
    store.add_items(ME, "added", items(&["2"])).await.unwrap();
    store
        .update_conversation(ME, "told", json("{}"))
        .await
        .unwrap();
    let answer = Record {
        conversation: Some("answered".to_owned()),
        created_at: ago(1),
        ..response("r", None)
    };
    store.save(answer, items(&["2"])).await.unwrap();

    let swept = store.sweep().await.unwrap();
    assert_eq!((swept.responses, swept.conversations), (2, 2), "{swept:?}");
    assert!(swept.bytes > 100, "{swept:?}");
    assert_eq!(
        there(&store, &["a", "b", "A", "B", "C", "r"]).await,
        "A B C r"
    );
    assert_eq!(history(&store, "C").await.unwrap(), ["A", "B", "C"]);
    for (id, stays) in [
        ("old", false),
        ("new", false),
        ("added", true),
        ("told", true),
        ("answered", true),
    ] {
        assert_eq!(
            store.conversation(ME, id).await.unwrap().is_some(),
            stays,
            "{id}"
        );
        assert_eq!(
            store.item(ME, id, "1").await.unwrap().is_some(),
            stays,
            "{id}"
        );
    }
    assert_eq!(store.sweep().await, Ok(Swept::default()));
}

pub(super) async fn a_living_fork_keeps_the_beginning_that_it_shares(world: &World) {
    let store = with_age(world, 10).await;
    save_at(&store, 40, "a", None).await;
    save_at(&store, 40, "b", Some("a")).await;
    save_at(&store, 40, "c", Some("b")).await;
    save_at(&store, 30, "B", Some("a")).await;
    save_at(&store, 30, "C", Some("B")).await;
    save_at(&store, 1, "living", Some("B")).await;
    save_at(&store, 30, "dead", Some("b")).await;
    let swept = store.sweep().await.unwrap();
    assert_eq!(swept.responses, 1);
    assert_eq!(there(&store, &["dead"]).await, "");
    assert_eq!(
        history(&store, "living").await.unwrap(),
        ["a", "B", "living"]
    );
    // Without it they all go, the forks before what they forked from.
    store.delete(ME, "living").await.unwrap();
    assert_eq!(store.sweep().await.unwrap().responses, 5);
    assert_eq!(there(&store, &["a", "b", "c", "B", "C"]).await, "");
    // A name may come again.
    save_at(&store, 1, "a", None).await;
    assert_eq!(history(&store, "a").await.unwrap(), ["a"]);
}

pub(super) async fn the_oldest_go_until_the_rest_fits(world: &World) {
    let store = world
        .with(|settings| settings.max_bytes = Some(100_000))
        .await;
    let big = |id: &str, hours| Record {
        created_at: ago(hours),
        body: Bytes::from(vec![b'x'; 20_000]),
        ..response(id, None)
    };
    for (id, hours) in [("b", 8), ("a", 9), ("d", 6), ("e", 5)] {
        store.save(big(id, hours), Vec::new()).await.unwrap();
    }
    let talk = Conversation {
        created_at: ago(7),
        metadata: Bytes::from(vec![b'x'; 20_000]),
        ..conversation("c")
    };
    store.create_conversation(talk, Vec::new()).await.unwrap();
    // Five times twenty thousand and a bit: one is too many, and deletions count.
    store.save(big("gone", 1), Vec::new()).await.unwrap();
    store.delete(ME, "gone").await.unwrap();
    let swept = store.sweep().await.unwrap();
    assert_eq!((swept.responses, swept.conversations), (1, 0), "{swept:?}");
    assert_eq!(there(&store, &["a", "b", "d", "e"]).await, "b d e");
    assert_eq!(store.sweep().await, Ok(Swept::default()));
    // Events weigh too, once their response has ended.
    let record = Record {
        created_at: ago(1),
        ..waiting("events")
    };
    store.enqueue(record.clone(), json("{}")).await.unwrap();
    store.claim("w", Duration::from_secs(60), 1).await.unwrap();
    let heavy = |sequence| antiphon::store::Event {
        data: Bytes::from(vec![b'x'; 20_000]),
        ..event(sequence)
    };
    store
        .append_events("w", "events", vec![heavy(0), heavy(1)])
        .await
        .unwrap();
    let record = ended(&record, Status::Completed);
    store
        .finish("w", record, Vec::new(), vec![heavy(2)])
        .await
        .unwrap();
    let swept = store.sweep().await.unwrap();
    assert_eq!((swept.responses, swept.conversations), (2, 1), "{swept:?}");
    assert_eq!(there(&store, &["b", "d", "e", "events"]).await, "e events");
    assert_eq!(store.conversation(ME, "c").await, Ok(None));
}

pub(super) async fn work_is_never_swept(world: &World) {
    let store = world
        .with(|settings| {
            settings.max_age = Some(Duration::from_secs(HOUR));
            settings.max_bytes = Some(0);
        })
        .await;
    save_at(&store, 30, "a", None).await;
    save_at(&store, 30, "other", None).await;
    store
        .create_conversation(conversation("c"), Vec::new())
        .await
        .unwrap();
    let record = |id: &str| Record {
        previous: Some("a".to_owned()),
        conversation: Some("c".to_owned()),
        created_at: ago(30),
        ..waiting(id)
    };
    store.enqueue(record("running"), json("{}")).await.unwrap();
    store.enqueue(record("queued"), json("{}")).await.unwrap();
    store.claim("w", Duration::ZERO, 1).await.unwrap();
    store
        .append_events("w", "running", events(0..3))
        .await
        .unwrap();
    let all = ["a", "running", "queued", "other"];
    store.sweep().await.unwrap();
    assert_eq!(there(&store, &all).await, "a running queued");
    assert_eq!(history(&store, "queued").await.unwrap(), ["a", "queued"]);
    assert!(store.conversation(ME, "c").await.unwrap().is_some());
    assert_eq!(store.events(ME, "running", None, 9).await, Ok(events(0..3)));

    let end = |id: &str| ended(&record(id), Status::Cancelled);
    store.cancel(end("running"), |_| Vec::new()).await.unwrap();
    store.cancel(end("queued"), |_| Vec::new()).await.unwrap();
    store.sweep().await.unwrap();
    assert_eq!(there(&store, &all).await, "");
    assert_eq!(store.conversation(ME, "c").await, Ok(None));
    assert_eq!(store.events(ME, "running", None, 9).await, Ok(Vec::new()));
}

pub(super) async fn a_long_chain_goes_bit_by_bit(world: &World) {
    let store = with_age(world, 10).await;
    let mut previous: Option<String> = None;
    let mut saving = Vec::new();
    for at in 0..200 {
        let id = format!("r{at}");
        save_at(&store, 30, &id, previous.as_deref()).await;
        saving.push(format!("i{at}"));
        previous = Some(id);
    }
    let old = Conversation {
        created_at: ago(30),
        ..conversation("c")
    };
    let many: Vec<&str> = saving.iter().map(String::as_str).collect();
    store.create_conversation(old, items(&many)).await.unwrap();
    let swept = store.sweep().await.unwrap();
    assert_eq!((swept.responses, swept.conversations), (200, 1));
    assert_eq!(there(&store, &["r0", "r63", "r64", "r199"]).await, "");
    assert_eq!(store.all_items(ME, "c").await, Ok(None));
}

pub(super) async fn without_limits_nothing_goes(world: &World) {
    let store = world.store().await;
    save_at(&store, 400_000, "a", None).await;
    assert_eq!(store.sweep().await, Ok(Swept::default()));
    assert_eq!(there(&store, &["a"]).await, "a");
}
