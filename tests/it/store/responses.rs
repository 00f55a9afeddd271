//! Responses and their histories, on every place.

use std::time::{Duration, Instant};

use antiphon::store::{Record, Status, Store, StoreError, Turn};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::world::{ME, World, history, ids, json, response, save};

pub(super) async fn a_saved_response_reads_back_byte_for_byte(world: &World) {
    let store = world.store().await;
    let all: Vec<u8> = (0..=255).collect();
    let record = Record {
        id: "resp_ü".to_owned(),
        tenant: "the tenant".to_owned(),
        previous: Some("resp_gone".to_owned()),
        conversation: Some("conv_gone".to_owned()),
        created_at: 4_000_000_000,
        background: true,
        status: Status::Incomplete,
        body: Bytes::from(all),
        input: Bytes::new(),
        output: Bytes::from(vec![b'x'; 3_000_000]),
    };
    store.save(record.clone(), Vec::new()).await.unwrap();
    assert_eq!(
        store.response("the tenant", "resp_ü").await,
        Ok(Some(record.clone()))
    );
    // Another handle sees it too, so it is not only in this one's memory.
    let other = world.store().await;
    assert_eq!(
        other.response("the tenant", "resp_ü").await,
        Ok(Some(record))
    );
}

pub(super) async fn an_id_is_taken_once(world: &World) {
    let store = world.store().await;
    save(&store, &["a"]).await;
    for tenant in [ME, "another"] {
        let again = Record {
            tenant: tenant.to_owned(),
            body: json("other"),
            ..response("a", None)
        };
        let refused = store.save(again, Vec::new()).await;
        assert_eq!(refused, Err(StoreError::Conflict("a".to_owned())));
    }
    assert_eq!(store.response(ME, "a").await, Ok(Some(response("a", None))));
    // The refused ones were in the way of nobody.
    save(&store, &["b<a"]).await;
    assert_eq!(history(&store, "b").await.unwrap(), ["a", "b"]);
}

pub(super) async fn others_responses_look_unknown(world: &World) {
    let store = world.store().await;
    save(&store, &["a", "b<a"]).await;
    let other = "another";
    assert_eq!(store.response(other, "b").await, Ok(None));
    assert_eq!(store.history(other, "b").await, Ok(None));
    assert_eq!(store.turns(other, &["a".to_owned()]).await, Ok(Vec::new()));
    assert_eq!(store.delete(other, "b").await, Ok(false));
    assert_eq!(store.events(other, "b", None, 10).await, Ok(Vec::new()));
    // What claims to continue another's response does not get to see it.
    let thief = Record {
        tenant: other.to_owned(),
        ..response("thief", Some("b"))
    };
    store.save(thief, Vec::new()).await.unwrap();
    assert_eq!(store.history(other, "thief").await, Ok(None));
    assert_eq!(history(&store, "b").await.unwrap(), ["a", "b"]);
}

pub(super) async fn a_chain_is_read_from_its_beginning(world: &World) {
    let store = world.store().await;
    save(&store, &["a", "b<a", "c<b"]).await;
    let turn = |id: &str| Turn {
        id: id.to_owned(),
        status: Status::Completed,
        input: json(format!(r#"["in {id}"]"#)),
        output: json(format!(r#"["out {id}"]"#)),
    };
    let whole = vec![turn("a"), turn("b"), turn("c")];
    assert_eq!(store.history(ME, "c").await, Ok(Some(whole.clone())));
    assert_eq!(store.history(ME, "b").await, Ok(Some(whole[..2].to_vec())));
    assert_eq!(store.history(ME, "a").await, Ok(Some(whole[..1].to_vec())));
    assert_eq!(store.history(ME, "d").await, Ok(None));
}

pub(super) async fn forks_and_forks_of_forks_keep_their_own_beginnings(world: &World) {
    let store = world.store().await;
    save(&store, &["a", "b<a", "c<b"]).await;
    save(&store, &["B<a", "C<B", "D<C"]).await;
    save(&store, &["x<B", "y<x", "z<x", "first<a"]).await;
    save(&store, &["d<c", "E<D", "zz<z"]).await;
    for (id, expected) in [
        ("d", "a b c d"),
        ("E", "a B C D E"),
        ("y", "a B x y"),
        ("z", "a B x z"),
        ("zz", "a B x z zz"),
        ("first", "a first"),
        ("C", "a B C"),
        ("a", "a"),
    ] {
        assert_eq!(history(&store, id).await.unwrap().join(" "), expected);
    }
}

pub(super) async fn two_that_fork_at_once_both_keep_their_history(world: &World) {
    let (one, two) = (world.store().await, world.store().await);
    save(&one, &["0"]).await;
    let mut racing = JoinSet::new();
    for at in 0..40 {
        let store = if at % 2 == 0 {
            one.clone()
        } else {
            two.clone()
        };
        racing.spawn(async move {
            save(&store, &[&format!("fork{at}<0")]).await;
            save(&store, &[&format!("next{at}<fork{at}")]).await;
        });
    }
    racing.join_all().await;
    for at in 0..40 {
        let expected = ["0".to_owned(), format!("fork{at}"), format!("next{at}")];
        assert_eq!(history(&one, &expected[2]).await.unwrap(), expected);
    }
}

pub(super) async fn what_continues_the_unknown_has_no_history(world: &World) {
    let store = world.store().await;
    save(&store, &["a<never", "b<a", "c<a"]).await;
    for id in ["a", "b", "c"] {
        assert_eq!(history(&store, id).await, None);
        assert!(store.response(ME, id).await.unwrap().is_some());
    }
}

pub(super) async fn a_deleted_response_takes_the_history_of_its_followers(world: &World) {
    let store = world.store().await;
    save(&store, &["a", "b<a", "c<b", "d<c", "sibling<b", "fork<c"]).await;
    assert_eq!(store.delete(ME, "c").await, Ok(true));
    assert_eq!(store.delete(ME, "c").await, Ok(false));
    assert_eq!(store.response(ME, "c").await, Ok(None));
    assert_eq!(history(&store, "c").await, None);
    assert_eq!(history(&store, "d").await, None);
    assert_eq!(history(&store, "fork").await, None);
    assert_eq!(history(&store, "b").await.unwrap(), ["a", "b"]);
    assert_eq!(
        history(&store, "sibling").await.unwrap(),
        ["a", "b", "sibling"]
    );
    // Going on from either side.
    save(&store, &["e<d", "late<c", "B<b"]).await;
    assert_eq!(history(&store, "e").await, None);
    assert_eq!(history(&store, "late").await, None);
    assert_eq!(history(&store, "B").await.unwrap(), ["a", "b", "B"]);
    assert!(store.response(ME, "d").await.unwrap().is_some());
}

/// Or what forked off from the deleted one would show another's content in its place.
pub(super) async fn a_place_is_not_given_out_twice(world: &World) {
    let store = world.store().await;
    save(&store, &["a", "b<a", "fork1<b", "fork2<b"]).await;
    store.delete(ME, "fork1").await.unwrap();
    store.delete(ME, "b").await.unwrap();
    save(&store, &["B<a", "C<B"]).await;
    assert_eq!(history(&store, "C").await.unwrap(), ["a", "B", "C"]);
    assert_eq!(history(&store, "fork2").await, None);
    // The last one of a chain, and a chain that is deleted as a whole.
    store.delete(ME, "C").await.unwrap();
    save(&store, &["c<B"]).await;
    assert_eq!(history(&store, "c").await.unwrap(), ["a", "B", "c"]);
    save(&store, &["alone"]).await;
    store.delete(ME, "alone").await.unwrap();
    save(&store, &["after<alone", "new"]).await;
    assert_eq!(history(&store, "after").await, None);
    assert_eq!(history(&store, "new").await.unwrap(), ["new"]);
}

pub(super) async fn five_hundred_turns_read_fast(world: &World) {
    let store = world.store().await;
    // Every hundred turns it forks, and each fork is as long as the rest.
    let mut previous: Option<String> = None;
    for at in 0..600 {
        let id = format!("turn{at}");
        let record = Record {
            input: Bytes::from(vec![b'i'; 1000]),
            output: Bytes::from(vec![b'o'; 2000]),
            ..response(&id, previous.as_deref())
        };
        store.save(record, Vec::new()).await.unwrap();
        if at % 100 == 99 {
            let (from, aside) = (id.clone(), format!("aside{at}"));
            save(&store, &[&format!("{aside}<{from}")]).await;
        }
        previous = Some(id);
    }
    let began = Instant::now();
    let turns = store.history(ME, "turn599").await.unwrap().unwrap();
    let took = began.elapsed();
    println!("600 turns: {took:?}");
    let expected: Vec<String> = (0..600).map(|at| format!("turn{at}")).collect();
    assert_eq!(ids(&turns), expected);
    // A read for each turn would take longer by far.
    assert!(took < Duration::from_millis(250), "it took {took:?}");
}

pub(super) async fn single_turns_come_by_their_ids(world: &World) {
    let store = world.store().await;
    save(&store, &["a", "b", "c<b"]).await;
    let wanted: Vec<String> = (0..250)
        .map(|at| format!("unknown{at}"))
        .chain(["c".to_owned(), "a".to_owned()])
        .collect();
    let mut turns = store.turns(ME, &wanted).await.unwrap();
    turns.sort_by(|one, two| one.id.cmp(&two.id));
    assert_eq!(ids(&turns), ["a", "c"]);
    assert_eq!(turns[1].output, json(r#"["out c"]"#));
    assert_eq!(store.turns(ME, &[]).await, Ok(Vec::new()));
}

pub(super) async fn a_save_that_nobody_waits_for_is_whole_or_absent(world: &World) {
    let store = world.store().await;
    save(&store, &["a"]).await;
    for at in 0..30_u64 {
        let record = response(&format!("b{at}"), Some("a"));
        let saving = store.save(record, Vec::new());
        let _ = tokio::time::timeout(Duration::from_micros(at * 40), saving).await;
    }
    // Reads that are let go of must not spoil their connection either.
    for at in 0..30_u64 {
        let reading = store.history(ME, "a");
        let _ = tokio::time::timeout(Duration::from_micros(at * 20), reading).await;
    }
    save(&store, &["last<a"]).await;
    assert_eq!(history(&store, "last").await.unwrap(), ["a", "last"]);
    super::world::until("all writes have ended", || async {
        let mut whole = 0;
        for at in 0..30 {
            let id = format!("b{at}");
            if store.response(ME, &id).await.unwrap().is_some() {
                assert_eq!(history(&store, &id).await.unwrap(), ["a", &id]);
                whole += 1;
            }
        }
        whole == 30
    })
    .await;
}

pub(super) async fn many_saves_at_once_all_last(world: &World) {
    let store = world.store().await;
    let mut saves = JoinSet::new();
    for at in 0..300 {
        let store = store.clone();
        // One in ten is refused, and spoils nothing for those it is written with.
        let id = if at % 10 == 9 {
            "same".to_owned()
        } else {
            format!("r{at}")
        };
        saves.spawn(async move { store.save(response(&id, None), Vec::new()).await.is_ok() });
    }
    let kept = saves
        .join_all()
        .await
        .into_iter()
        .filter(|kept| *kept)
        .count();
    assert_eq!(kept, 271);
    check_all(&store).await;
}

async fn check_all(store: &Store) {
    for at in (0..300).filter(|at| at % 10 != 9) {
        assert!(
            store
                .response(ME, &format!("r{at}"))
                .await
                .unwrap()
                .is_some(),
            "{at}"
        );
    }
}

pub(super) async fn odd_ids_are_just_unknown(world: &World) {
    let store = world.store().await;
    save(&store, &["a"]).await;
    let long = "x".repeat(100_000);
    for id in ["", "a\0", "\0", "a' OR '1'='1", "🦙", "%", &long] {
        assert_eq!(store.response(ME, id).await, Ok(None), "{id:?}");
        assert_eq!(store.history(ME, id).await, Ok(None), "{id:?}");
        assert_eq!(store.response(id, "a").await, Ok(None), "{id:?}");
        assert_eq!(store.delete(ME, id).await, Ok(false), "{id:?}");
        assert_eq!(store.item(ME, id, id).await, Ok(None), "{id:?}");
    }
    assert_eq!(store.ping().await, Ok(()));
}
