//! Who is in the row, who leaves it, and who is given a place.

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn places(most: usize) -> Arc<Places> {
    Places::new(most, PATIENCE)
}

/// The numbers of those who wait, in their order.
fn row(places: &Places) -> Vec<u32> {
    let mut list = places.lock();
    let (mut row, mut at) = (Vec::new(), list.first);
    while let Some(entry) = list.entry(at) {
        row.push(at);
        at = entry.after;
    }
    assert_eq!(row.last().copied().unwrap_or(NONE), list.last);
    row
}

#[test]
fn who_waits_longest_is_first() {
    let places = places(4);
    let all: Vec<_> = (0..4).map(|_| places.try_take().unwrap()).collect();
    assert!(places.try_take().is_none());
    assert_eq!(row(&places), [0, 1, 2, 3]);
    let (one, two) = (all[1].begin(), all[2].begin());
    let more = all[1].begin();
    assert_eq!(row(&places), [0, 3]);
    drop(one);
    assert_eq!(row(&places), [0, 3], "there is another one");
    drop(two);
    drop(more);
    assert_eq!(row(&places), [0, 3, 2, 1]);
    assert!(places.make_room());
    assert!(all[0].is_evicted());
    assert_eq!(row(&places), [3, 2, 1]);
    all[3].stalls(true);
    assert!(places.make_room());
    assert!(all[2].is_evicted(), "the one before it still writes");
    all[0].stay();
    assert!(!all[0].is_evicted());
    assert_eq!(row(&places), [1, 3, 0]);
}

#[test]
fn a_request_that_begins_keeps_its_place() {
    let places = places(1);
    let place = places.try_take().unwrap();
    assert!(places.make_room());
    let request = place.begin();
    assert!(!place.is_evicted());
    assert!(!places.make_room(), "there is nobody to ask");
    drop(request);
    assert_eq!(place.asked(), 1);
    assert!(places.make_room());
}

#[test]
fn places_are_given_back() {
    let places = places(3);
    for _ in 0..10 {
        let all: Vec<_> = (0..3).map(|_| places.try_take().unwrap()).collect();
        assert_eq!(places.taken(), 3);
        let request = all[1].begin();
        drop(all);
        assert_eq!(places.taken(), 1, "a request holds its connection's place");
        drop(request);
    }
    assert_eq!(places.taken(), 0);
    assert_eq!(places.lock().entries.len(), 3);
    assert_eq!(row(&places), [] as [u32; 0]);
}

#[tokio::test]
async fn who_comes_is_given_the_place_of_who_leaves() {
    let places = places(2);
    let (idle, busy) = (places.take().await, places.take().await);
    let request = busy.begin();
    let mut tenancy = Tenancy::new(idle);
    let leaving = tokio::spawn(async move {
        std::future::poll_fn(|cx| tenancy.poll_end(cx)).await;
        drop(tenancy);
    });
    tokio::task::yield_now().await;
    let third = tokio::time::timeout(PATIENCE, places.take()).await;
    assert!(third.is_ok());
    assert!(tokio::time::timeout(PATIENCE, leaving).await.is_ok());
    drop(request);
    drop((third, busy));
    assert!(
        tokio::time::timeout(PATIENCE, places.all_left())
            .await
            .is_ok()
    );
}
