//! What only the inside of the store shows: how a history is found.

use sqlx::{Connection, SqliteConnection};

use super::ops::responses::HISTORY;
use super::*;

/// Every part of a history is a range of an index, not a walk over a table or a sort.
#[tokio::test]
async fn a_history_is_found_by_indexes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = Store::open(Settings::new(Place::Sqlite(path.clone())))
        .await
        .unwrap();
    let url = format!("sqlite://{}", path.display());
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    let explain = format!("EXPLAIN QUERY PLAN {HISTORY}");
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(explain))
        .bind("id")
        .bind("tenant")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    let plan: Vec<&str> = plan.iter().map(|(_, _, _, step)| step.as_str()).collect();
    let searches = plan
        .iter()
        .filter(|step| step.starts_with("SEARCH"))
        .count();
    assert!(searches >= 4, "{plan:#?}");
    let ranges = plan
        .iter()
        .filter(|step| step.contains("responses_by_place (chain=? AND place<?)"));
    assert_eq!(ranges.count(), 2, "{plan:#?}");
    for step in &plan {
        let walks = step.starts_with("SCAN") && !step.contains("last");
        assert!(!walks && !step.contains("TEMP B-TREE"), "{plan:#?}");
    }
    store.close().await;
}

#[test]
fn statuses_are_the_apis_words() {
    for word in [
        "queued",
        "in_progress",
        "completed",
        "incomplete",
        "failed",
        "cancelled",
    ] {
        let status = Status::parse(word).unwrap();
        assert_eq!(status.as_str(), word);
        assert_eq!(
            status.is_final(),
            !["queued", "in_progress"].contains(&word)
        );
    }
    assert_eq!(Status::parse("done"), None);
}
