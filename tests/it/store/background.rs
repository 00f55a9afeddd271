//! Work in the background, on every place.

use std::collections::BTreeSet;
use std::time::Duration;

use antiphon::store::{Job, Record, Status, Store, StoreError};
use tokio::task::JoinSet;

use super::world::{
    ME, World, conversation, ended, event, events, history, item, items, json, response, save,
    until, waiting,
};

const LEASE: Duration = Duration::from_secs(60);
const NO_LEASE: Duration = Duration::ZERO;

async fn enqueue(store: &Store, ids: &[&str]) {
    for id in ids {
        store
            .enqueue(waiting(id), json(format!("request of {id}")))
            .await
            .unwrap();
    }
}

async fn status(store: &Store, id: &str) -> Option<Status> {
    let record = store.response(ME, id).await.unwrap();
    record.map(|record| record.status)
}

pub(super) async fn work_goes_from_the_queue_to_its_end(world: &World) {
    let store = world.store().await;
    save(&store, &["before"]).await;
    store
        .create_conversation(conversation("c"), Vec::new())
        .await
        .unwrap();
    let record = Record {
        previous: Some("before".to_owned()),
        conversation: Some("c".to_owned()),
        ..waiting("r")
    };
    assert_eq!(store.claim("w", LEASE, 9).await, Ok(Vec::new()));
    store.enqueue(record.clone(), json("{}")).await.unwrap();
    assert_eq!(store.response(ME, "r").await, Ok(Some(record.clone())));
    let again = store.enqueue(record.clone(), json("{}")).await;
    assert_eq!(again, Err(StoreError::Conflict("r".to_owned())));

    let record = Record {
        status: Status::InProgress,
        ..record
    };
    let job = Job {
        record: record.clone(),
        request: json("{}"),
    };
    assert_eq!(store.claim("w", LEASE, 0).await, Ok(Vec::new()));
    assert_eq!(store.claim("w", LEASE, 9).await, Ok(vec![job]));
    assert_eq!(store.claim("w", LEASE, 9).await, Ok(Vec::new()));
    assert_eq!(status(&store, "r").await, Some(Status::InProgress));

    assert_eq!(store.append_events("w", "r", events(0..3)).await, Ok(true));
    assert_eq!(
        store.renew("w", &["r".to_owned()], LEASE).await,
        Ok(vec!["r".to_owned()])
    );
    let whole = ended(&record, Status::Completed);
    assert_eq!(
        store
            .finish("w", whole.clone(), items(&["i"]), events(3..5))
            .await,
        Ok(true)
    );
    assert_eq!(store.response(ME, "r").await, Ok(Some(whole.clone())));
    assert_eq!(store.events(ME, "r", None, 100).await, Ok(events(0..5)));
    assert_eq!(store.all_items(ME, "c").await, Ok(Some(vec![item("i")])));
    assert_eq!(history(&store, "r").await.unwrap(), ["before", "r"]);

    // It has ended once and for all.
    assert_eq!(
        store
            .finish("w", whole.clone(), Vec::new(), Vec::new())
            .await,
        Ok(false)
    );
    assert_eq!(store.append_events("w", "r", events(5..6)).await, Ok(false));
    assert_eq!(
        store.renew("w", &["r".to_owned()], LEASE).await,
        Ok(Vec::new())
    );
    assert_eq!(
        store
            .cancel(ended(&whole, Status::Cancelled), |_| Vec::new())
            .await,
        Ok(false)
    );
    assert_eq!(store.response(ME, "r").await, Ok(Some(whole)));
    assert_eq!(store.delete(ME, "r").await, Ok(true));
    assert_eq!(store.events(ME, "r", None, 100).await, Ok(Vec::new()));
    assert_eq!(store.last_sequence("r").await, Ok(None));
}

pub(super) async fn the_oldest_comes_first(world: &World) {
    let store = world.store().await;
    enqueue(&store, &["z", "a", "m", "b"]).await;
    let mut order = Vec::new();
    for limit in [1, 2, 5] {
        for job in store.claim("w", LEASE, limit).await.unwrap() {
            assert_eq!(job.request, json(format!("request of {}", job.record.id)));
            order.push(job.record.id);
        }
        assert_eq!(order.len(), [1, 3, 4][order.len().min(4) / 2]);
    }
    assert_eq!(order, ["z", "a", "m", "b"]);
}

pub(super) async fn two_workers_share_the_work(world: &World) {
    let stores = [world.store().await, world.store().await];
    let all: Vec<String> = (0..60).map(|at| format!("r{at}")).collect();
    enqueue(
        &stores[0],
        &all.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    let mut working = JoinSet::new();
    for at in 0..6 {
        let store = stores[at % 2].clone();
        working.spawn(async move {
            let mut done = Vec::new();
            let worker = format!("w{at}");
            loop {
                let jobs = store.claim(&worker, LEASE, 3).await.unwrap();
                // Whoever finds nothing may have been passed by others' locks: it looks again.
                if jobs.is_empty() && store.claim(&worker, LEASE, 3).await.unwrap().is_empty() {
                    return done;
                }
                for job in jobs {
                    let record = ended(&job.record, Status::Completed);
                    let last = vec![event(0)];
                    assert!(
                        store
                            .finish(&worker, record, Vec::new(), last)
                            .await
                            .unwrap()
                    );
                    done.push(job.record.id);
                }
            }
        });
    }
    let done: Vec<String> = working.join_all().await.into_iter().flatten().collect();
    assert_eq!(done.len(), 60, "none twice");
    assert_eq!(
        BTreeSet::from_iter(done),
        BTreeSet::from_iter(all),
        "none lost"
    );
}

pub(super) async fn only_the_holder_writes(world: &World) {
    let store = world.store().await;
    enqueue(&store, &["r", "queued"]).await;
    let job = store.claim("w", LEASE, 1).await.unwrap().remove(0);
    for (worker, id) in [("other", "r"), ("w", "queued"), ("w", "unknown")] {
        let record = Record {
            id: id.to_owned(),
            ..ended(&job.record, Status::Completed)
        };
        assert_eq!(
            store.append_events(worker, id, events(0..1)).await,
            Ok(false)
        );
        assert_eq!(
            store.finish(worker, record, Vec::new(), events(0..1)).await,
            Ok(false)
        );
        assert_eq!(
            store.renew(worker, &[id.to_owned()], LEASE).await,
            Ok(Vec::new())
        );
        assert_eq!(store.last_sequence(id).await, Ok(None));
    }
    let ids = ["queued", "r", "unknown"].map(str::to_owned);
    assert_eq!(
        store.renew("w", &ids, LEASE).await,
        Ok(vec!["r".to_owned()])
    );
    assert_eq!(status(&store, "queued").await, Some(Status::Queued));
    assert_eq!(status(&store, "r").await, Some(Status::InProgress));
}

pub(super) async fn a_lost_lease_fails_once(world: &World) {
    let (store, other) = (world.store().await, world.store().await);
    enqueue(&store, &["lost", "renewed", "held", "queued"]).await;
    assert_eq!(store.claim("w", NO_LEASE, 2).await.unwrap().len(), 2);
    assert_eq!(store.claim("w", LEASE, 1).await.unwrap().len(), 1);
    store
        .renew("w", &["renewed".to_owned()], LEASE)
        .await
        .unwrap();
    store
        .append_events("w", "lost", events(0..4))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let lost = other.lost(10).await.unwrap();
    assert_eq!(
        lost.iter()
            .map(|record| record.id.as_str())
            .collect::<Vec<_>>(),
        ["lost"]
    );
    assert_eq!(lost[0].status, Status::InProgress);
    assert_eq!(other.lost(0).await, Ok(Vec::new()));

    // Nobody gets it a second time, and its worker may still end it until it is declared lost.
    assert_eq!(
        other.claim("w2", LEASE, 9).await.unwrap()[0].record.id,
        "queued"
    );
    assert_eq!(
        store.append_events("w", "lost", events(4..5)).await,
        Ok(true)
    );
    let failed = ended(&lost[0], Status::Failed);
    let held = ended(&response("held", None), Status::Failed);
    assert_eq!(other.fail_lost(held, |_| Vec::new()).await, Ok(false));
    let anothers = Record {
        tenant: "another".to_owned(),
        ..failed.clone()
    };
    assert_eq!(other.fail_lost(anothers, |_| Vec::new()).await, Ok(false));
    assert_eq!(
        other
            .fail_lost(failed.clone(), |next| vec![event(next)])
            .await,
        Ok(true)
    );
    assert_eq!(
        other
            .fail_lost(failed.clone(), |next| vec![event(next)])
            .await,
        Ok(false)
    );
    let late = ended(&lost[0], Status::Completed);
    assert_eq!(
        store.finish("w", late, Vec::new(), Vec::new()).await,
        Ok(false)
    );
    assert_eq!(store.response(ME, "lost").await, Ok(Some(failed)));
    assert_eq!(store.events(ME, "lost", None, 10).await, Ok(events(0..6)));
}

pub(super) async fn one_of_two_ends_wins(world: &World) {
    let (store, other) = (world.store().await, world.store().await);
    for at in 0..15 {
        let id = format!("r{at}");
        enqueue(&store, &[&id]).await;
        let job = store.claim("w", NO_LEASE, 1).await.unwrap().remove(0);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let [done, cancelled, failed] = [Status::Completed, Status::Cancelled, Status::Failed]
            .map(|status| ended(&job.record, status));
        let (one, two, three, four) = tokio::join!(
            store.finish("w", done, Vec::new(), vec![event(100)]),
            other.cancel(cancelled, |next| vec![event(next)]),
            other.fail_lost(failed, |next| vec![event(next)]),
            store.append_events("w", &id, events(0..2)),
        );
        let ends = [one, two, three].map(|end| end.expect("an end, not an error"));
        four.expect("an answer, not an error");
        assert_eq!(ends.iter().filter(|won| **won).count(), 1, "{ends:?}");
        let expected = [Status::Completed, Status::Cancelled, Status::Failed];
        let won = ends.iter().position(|won| *won).unwrap();
        assert_eq!(status(&store, &id).await, Some(expected[won]));
    }
}

pub(super) async fn cancelling_waits_for_nobody(world: &World) {
    let store = world.store().await;
    enqueue(&store, &["queued", "running"]).await;
    let last = |next| vec![event(next)];
    let record = |id: &str| ended(&waiting(id), Status::Cancelled);
    let anothers = Record {
        tenant: "another".to_owned(),
        ..record("queued")
    };
    assert_eq!(store.cancel(anothers, last).await, Ok(false));
    assert_eq!(store.cancel(record("unknown"), last).await, Ok(false));
    assert_eq!(store.cancel(record("queued"), last).await, Ok(true));
    assert_eq!(store.cancel(record("queued"), last).await, Ok(false));
    assert_eq!(store.events(ME, "queued", None, 9).await, Ok(events(0..1)));

    // What was called off is not handed out any more.
    let job = store.claim("w", LEASE, 9).await.unwrap().remove(0);
    assert_eq!(job.record.id, "running");
    store
        .append_events("w", "running", events(0..7))
        .await
        .unwrap();
    assert_eq!(store.cancel(record("running"), last).await, Ok(true));
    assert_eq!(
        store.response(ME, "running").await,
        Ok(Some(record("running")))
    );
    assert_eq!(store.last_sequence("running").await, Ok(Some(7)));
    assert_eq!(
        store.renew("w", &["running".to_owned()], LEASE).await,
        Ok(Vec::new())
    );
    // A response that a client waited for was never in the queue.
    save(&store, &["foreground"]).await;
    assert_eq!(store.cancel(record("foreground"), last).await, Ok(false));
}

pub(super) async fn a_deleted_response_is_not_worked_on(world: &World) {
    let store = world.store().await;
    enqueue(&store, &["queued", "running"]).await;
    assert_eq!(store.delete(ME, "queued").await, Ok(true));
    let job = store.claim("w", NO_LEASE, 9).await.unwrap().remove(0);
    assert_eq!(job.record.id, "running");
    assert_eq!(store.delete(ME, "running").await, Ok(true));
    let record = ended(&job.record, Status::Completed);
    assert_eq!(
        store.append_events("w", "running", events(0..1)).await,
        Ok(false)
    );
    assert_eq!(
        store.finish("w", record, Vec::new(), Vec::new()).await,
        Ok(false)
    );
    assert_eq!(store.lost(10).await, Ok(Vec::new()));
    assert_eq!(store.response(ME, "running").await, Ok(None));
}

pub(super) async fn events_keep_their_order(world: &World) {
    let store = world.store().await;
    enqueue(&store, &["r"]).await;
    let job = store.claim("w", LEASE, 1).await.unwrap().remove(0);
    // Of all sizes, and one batch twice, as after an answer that was lost.
    for range in [0..1, 1..70, 70..100, 70..100, 100..100, 100..164] {
        assert_eq!(store.append_events("w", "r", events(range)).await, Ok(true));
    }
    assert_eq!(store.last_sequence("r").await, Ok(Some(163)));
    let record = ended(&job.record, Status::Completed);
    assert_eq!(
        store
            .finish("w", record, Vec::new(), events(164..170))
            .await,
        Ok(true)
    );
    assert_eq!(store.events(ME, "r", None, 1000).await, Ok(events(0..170)));
    assert_eq!(store.events(ME, "r", Some(0), 3).await, Ok(events(1..4)));
    assert_eq!(
        store.events(ME, "r", Some(167), 1000).await,
        Ok(events(168..170))
    );
    assert_eq!(
        store.events(ME, "r", Some(u64::MAX), 1000).await,
        Ok(Vec::new())
    );
    assert_eq!(store.events(ME, "r", None, 0).await, Ok(Vec::new()));
}

pub(super) async fn news_reach_all_who_listen(world: &World) {
    let store = world.store().await;
    let mut news = store.changes();
    enqueue(&store, &["r"]).await;
    let job = store.claim("w", LEASE, 1).await.unwrap().remove(0);
    store.append_events("w", "r", events(0..1)).await.unwrap();
    store
        .finish(
            "w",
            ended(&job.record, Status::Failed),
            Vec::new(),
            Vec::new(),
        )
        .await
        .unwrap();
    for _ in 0..3 {
        let heard = tokio::time::timeout(Duration::from_secs(5), news.recv()).await;
        assert_eq!(&*heard.unwrap().unwrap(), "r");
    }
    assert!(
        news.try_recv().is_err(),
        "what this store told itself is heard once"
    );
    // What did not happen is no news.
    store.enqueue(waiting("r"), json("{}")).await.unwrap_err();
    save(&store, &["foreground"]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(news.try_recv().is_err());
}

/// All or nothing, even when it fails in its middle: two responses of one id in one transaction.
pub(super) async fn a_failed_end_leaves_nothing(world: &World) {
    let store = world.store().await;
    store
        .create_conversation(conversation("c"), Vec::new())
        .await
        .unwrap();
    let queued = Record {
        conversation: Some("c".to_owned()),
        ..waiting("r")
    };
    let mut racing = JoinSet::new();
    for _ in 0..8 {
        let (store, queued) = (store.clone(), queued.clone());
        racing.spawn(async move { store.enqueue(queued, json("{}")).await.is_ok() });
    }
    let kept = racing
        .join_all()
        .await
        .into_iter()
        .filter(|kept| *kept)
        .count();
    assert_eq!(kept, 1);
    let jobs = store.claim("w", LEASE, 9).await.unwrap();
    assert_eq!(jobs.len(), 1);
    until("only one is there", || async {
        store.claim("w", LEASE, 9).await.unwrap().is_empty()
    })
    .await;
}
