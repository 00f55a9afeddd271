//! Conversations and their items, on every place.

use antiphon::store::{Page, Record, Store, StoreError};
use tokio::task::JoinSet;

use super::world::{ME, World, conversation, item, items, json, page, response};

pub(super) async fn a_conversation_lives_and_dies(world: &World) {
    let store = world.store().await;
    let new = conversation("c");
    store
        .create_conversation(new.clone(), items(&["1", "2"]))
        .await
        .unwrap();
    assert_eq!(store.conversation(ME, "c").await, Ok(Some(new.clone())));
    assert_eq!(store.all_items(ME, "c").await, Ok(Some(items(&["1", "2"]))));
    let again = store.create_conversation(new.clone(), Vec::new()).await;
    assert_eq!(again, Err(StoreError::Conflict("c".to_owned())));

    let metadata = json(r#"{"topic":"llamas"}"#);
    let updated = store.update_conversation(ME, "c", metadata.clone()).await;
    let expected = antiphon::store::Conversation { metadata, ..new };
    assert_eq!(updated, Ok(Some(expected.clone())));
    assert_eq!(store.conversation(ME, "c").await, Ok(Some(expected)));

    assert_eq!(store.delete_conversation(ME, "c").await, Ok(true));
    assert_eq!(store.delete_conversation(ME, "c").await, Ok(false));
    assert_eq!(store.conversation(ME, "c").await, Ok(None));
    assert_eq!(store.all_items(ME, "c").await, Ok(None));
    assert_eq!(store.item(ME, "c", "1").await, Ok(None));
    // A new one of the same name has nothing of the old.
    store
        .create_conversation(conversation("c"), Vec::new())
        .await
        .unwrap();
    assert_eq!(store.all_items(ME, "c").await, Ok(Some(Vec::new())));
}

pub(super) async fn others_conversations_look_unknown(world: &World) {
    let store = world.store().await;
    store
        .create_conversation(conversation("c"), items(&["1"]))
        .await
        .unwrap();
    let other = "another";
    assert_eq!(store.conversation(other, "c").await, Ok(None));
    assert_eq!(
        store.update_conversation(other, "c", json("{}")).await,
        Ok(None)
    );
    assert_eq!(store.delete_conversation(other, "c").await, Ok(false));
    assert_eq!(store.add_items(other, "c", items(&["2"])).await, Ok(false));
    assert_eq!(store.add_items(other, "c", items(&["1"])).await, Ok(false));
    assert_eq!(store.items(other, "c", &page(9, true)).await, Ok(None));
    assert_eq!(store.all_items(other, "c").await, Ok(None));
    assert_eq!(store.item(other, "c", "1").await, Ok(None));
    assert_eq!(store.delete_item(other, "c", "1").await, Ok(false));
    let thief = Record {
        tenant: other.to_owned(),
        conversation: Some("c".to_owned()),
        ..response("r", None)
    };
    store.save(thief, items(&["stolen"])).await.unwrap();
    assert_eq!(store.all_items(ME, "c").await, Ok(Some(items(&["1"]))));
}

/// The ids on a page, and whether there is more.
async fn listed(store: &Store, page: Page) -> (String, bool) {
    let found = store.items(ME, "c", &page).await.unwrap().unwrap();
    let ids: Vec<String> = found.items.into_iter().map(|item| item.id).collect();
    (ids.join(""), found.has_more)
}

pub(super) async fn items_page_both_ways(world: &World) {
    let store = world.store().await;
    store
        .create_conversation(conversation("c"), items(&["a", "b"]))
        .await
        .unwrap();
    store
        .add_items(ME, "c", items(&["x", "c", "d", "e"]))
        .await
        .unwrap();
    store.delete_item(ME, "c", "x").await.unwrap();
    let some = |id: &str| (!id.is_empty()).then(|| id.to_owned());
    for (ascending, after, before, limit, expected, more) in [
        (true, "", "", 10, "abcde", false),
        (true, "", "", 5, "abcde", false),
        (true, "", "", 4, "abcd", true),
        (true, "b", "", 2, "cd", true),
        (true, "b", "", 3, "cde", false),
        (true, "e", "", 3, "", false),
        (true, "", "d", 2, "bc", true),
        (true, "", "d", 3, "abc", false),
        (true, "", "a", 3, "", false),
        (true, "a", "e", 2, "bc", true),
        (true, "a", "e", 3, "bcd", false),
        (false, "", "", 10, "edcba", false),
        (false, "", "", 2, "ed", true),
        (false, "d", "", 2, "cb", true),
        (false, "d", "", 3, "cba", false),
        (false, "a", "", 3, "", false),
        (false, "", "b", 2, "dc", true),
        (false, "", "b", 3, "edc", false),
        (false, "e", "a", 2, "dc", true),
        (false, "e", "a", 3, "dcb", false),
        (false, "a", "e", 3, "", false),
    ] {
        let page = Page {
            after: some(after),
            before: some(before),
            limit,
            ascending,
        };
        let found = listed(&store, page.clone()).await;
        assert_eq!(found, (expected.to_owned(), more), "{page:?}");
    }
}

pub(super) async fn an_unknown_cursor_is_told(world: &World) {
    let store = world.store().await;
    store
        .create_conversation(conversation("c"), items(&["a"]))
        .await
        .unwrap();
    store
        .create_conversation(conversation("other"), items(&["b"]))
        .await
        .unwrap();
    let page = Page {
        after: Some("b".to_owned()),
        ..page(10, true)
    };
    let told = Err(StoreError::UnknownCursor("b".to_owned()));
    assert_eq!(store.items(ME, "c", &page).await, told);
    assert_eq!(store.items("another", "c", &page).await, Ok(None));
}

pub(super) async fn items_are_added_all_or_none(world: &World) {
    let store = world.store().await;
    store
        .create_conversation(conversation("c"), items(&["a"]))
        .await
        .unwrap();
    for (new, twice) in [(["b", "a"], "a"), (["c", "c"], "c")] {
        let refused = store.add_items(ME, "c", items(&new)).await;
        assert_eq!(refused, Err(StoreError::Conflict(twice.to_owned())));
    }
    let refused = store
        .create_conversation(conversation("d"), items(&["x", "x"]))
        .await;
    assert_eq!(refused, Err(StoreError::Conflict("x".to_owned())));
    assert_eq!(store.conversation(ME, "d").await, Ok(None));
    assert_eq!(store.add_items(ME, "c", Vec::new()).await, Ok(true));
    assert_eq!(
        store.add_items(ME, "unknown", items(&["z"])).await,
        Ok(false)
    );
    assert_eq!(store.all_items(ME, "c").await, Ok(Some(items(&["a"]))));
    // The same id in two conversations is two items.
    store
        .create_conversation(conversation("e"), items(&["a"]))
        .await
        .unwrap();
    assert_eq!(store.item(ME, "e", "a").await, Ok(Some(item("a"))));
}

pub(super) async fn those_who_append_at_once_come_one_behind_the_other(world: &World) {
    let (one, two) = (world.store().await, world.store().await);
    one.create_conversation(conversation("c"), Vec::new())
        .await
        .unwrap();
    let mut adding = JoinSet::new();
    for at in 0..40 {
        let store = if at % 2 == 0 {
            one.clone()
        } else {
            two.clone()
        };
        adding.spawn(async move {
            let new = [format!("{at}-1"), format!("{at}-2"), format!("{at}-3")];
            let new = new.iter().map(|id| item(id)).collect();
            assert_eq!(store.add_items(ME, "c", new).await, Ok(true));
        });
    }
    adding.join_all().await;
    let all = one.all_items(ME, "c").await.unwrap().unwrap();
    assert_eq!(all.len(), 120);
    for three in all.chunks(3) {
        let (whose, _) = three[0].id.split_once('-').unwrap();
        let ids: Vec<&str> = three.iter().map(|item| item.id.as_str()).collect();
        let expected = [1, 2, 3].map(|at| format!("{whose}-{at}"));
        assert_eq!(ids, expected);
    }
}

pub(super) async fn a_response_adds_to_its_conversation(world: &World) {
    let store = world.store().await;
    store
        .create_conversation(conversation("c"), items(&["a"]))
        .await
        .unwrap();
    let record = |id: &str, conversation: &str| Record {
        conversation: Some(conversation.to_owned()),
        ..response(id, None)
    };
    // What it has already is not repeated.
    store
        .save(record("r1", "c"), items(&["a", "b", "c"]))
        .await
        .unwrap();
    assert_eq!(
        store.all_items(ME, "c").await,
        Ok(Some(items(&["a", "b", "c"])))
    );
    // A response that cannot be kept adds nothing.
    store
        .save(record("r1", "c"), items(&["d"]))
        .await
        .unwrap_err();
    assert_eq!(
        store.all_items(ME, "c").await,
        Ok(Some(items(&["a", "b", "c"])))
    );
    // A conversation that is gone is no reason to lose the response.
    store
        .save(record("r2", "gone"), items(&["e"]))
        .await
        .unwrap();
    assert_eq!(
        store.response(ME, "r2").await,
        Ok(Some(record("r2", "gone")))
    );
    assert_eq!(store.all_items(ME, "gone").await, Ok(None));
    store.delete(ME, "r1").await.unwrap();
    assert_eq!(
        store.all_items(ME, "c").await,
        Ok(Some(items(&["a", "b", "c"])))
    );
}

pub(super) async fn a_deleted_item_is_gone_alone(world: &World) {
    let store = world.store().await;
    store
        .create_conversation(conversation("c"), items(&["a", "b", "c"]))
        .await
        .unwrap();
    assert_eq!(store.delete_item(ME, "c", "b").await, Ok(true));
    assert_eq!(store.delete_item(ME, "c", "b").await, Ok(false));
    assert_eq!(store.delete_item(ME, "gone", "a").await, Ok(false));
    assert_eq!(store.item(ME, "c", "b").await, Ok(None));
    assert_eq!(store.item(ME, "c", "a").await, Ok(Some(item("a"))));
    // It may come again, at the end.
    store.add_items(ME, "c", items(&["b"])).await.unwrap();
    assert_eq!(
        store.all_items(ME, "c").await,
        Ok(Some(items(&["a", "c", "b"])))
    );
}
