//! Leave that is given, refused, and given back.

use super::*;
use crate::key::KeyHash;
use crate::telemetry::Now;

fn key(name: &str, rates: Rates) -> KeySettings {
    KeySettings {
        name: name.into(),
        hash: KeyHash::of(name.as_bytes()),
        tenant: format!("of {name}"),
        models: vec!["*".into()],
        max_body_bytes: None,
        rates,
    }
}

fn settings(keys: Vec<KeySettings>, rates: Rates) -> Settings {
    Settings {
        need_key: !keys.is_empty(),
        keys,
        rates,
        max_queue: 1,
        queue_timeout: Duration::from_millis(50),
        max_bodies_bytes: 1 << 20,
        max_lag: None,
    }
}

fn admission(keys: Vec<KeySettings>, rates: Rates) -> Arc<Admission> {
    Arc::new(Admission::new(settings(keys, rates), Arc::default()))
}

/// Whether the numbers have this line.
fn told(admission: &Admission, line: &str) -> bool {
    let numbers = admission.house.metrics.encode(&Now::default());
    numbers.lines().any(|known| known == line)
}

async fn known(admission: &Admission, name: &str) -> Arc<Key> {
    let key = admission.know(Some(name.as_bytes()), None).await;
    key.expect("a key that is known").expect("a key")
}

async fn ask(admission: &Arc<Admission>, key: Option<&Arc<Key>>) -> Result<Permit, Refusal> {
    Arc::clone(admission).enter(key.cloned(), Work::Ask).await
}

fn code(refusal: &Refusal) -> (u16, &str) {
    (
        refusal.status,
        refusal.error.code.as_deref().unwrap_or_default(),
    )
}

#[tokio::test]
async fn who_has_no_key_stays_outside() {
    let admission = admission(vec![key("a", Rates::default())], Rates::default());
    for secret in [None, Some(&b"b"[..])] {
        let refusal = admission.know(secret, None).await.unwrap_err();
        assert_eq!(code(&refusal), (401, "invalid_api_key"));
    }
    assert_eq!(known(&admission, "a").await.owner(), "tenant:of a");
    let open = Admission::new(settings(Vec::new(), Rates::default()), Arc::default());
    assert!(open.know(Some(b"any"), None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_key_has_so_many_places_and_a_request_leaves_its_own() {
    let rates = Rates {
        max_streams: Some(2),
        ..Rates::default()
    };
    let admission = admission(vec![key("a", rates), key("b", rates)], Rates::default());
    let (a, b) = (known(&admission, "a").await, known(&admission, "b").await);
    let one = ask(&admission, Some(&a)).await.unwrap();
    let _two = ask(&admission, Some(&a)).await.unwrap();
    let refusal = ask(&admission, Some(&a)).await.unwrap_err();
    assert_eq!(code(&refusal), (429, "rate_limit_exceeded"));
    let limited = r#"antiphon_limited_total{tenant="of a",limit="max_streams"} 1"#;
    assert!(told(&admission, limited));
    let _other = ask(&admission, Some(&b)).await.unwrap();
    assert_eq!(admission.house.gate.inside(), 3);
    drop(one);
    assert!(ask(&admission, Some(&a)).await.is_ok());
}

#[tokio::test]
async fn when_all_places_are_taken_few_wait_and_not_for_long() {
    let rates = Rates {
        max_streams: Some(1),
        requests_per_minute: Some(3),
        ..Rates::default()
    };
    let admission = admission(Vec::new(), rates);
    let first = ask(&admission, None).await.unwrap();
    let waiting = tokio::spawn({
        let admission = Arc::clone(&admission);
        async move { ask(&admission, None).await }
    });
    tokio::task::yield_now().await;
    let refusal = ask(&admission, None).await.unwrap_err();
    assert_eq!(code(&refusal), (503, "server_is_overloaded"));
    let late = waiting.await.unwrap().unwrap_err();
    assert_eq!(code(&late), (503, "server_is_overloaded"));
    for reason in ["max_queue", "queue_timeout_ms"] {
        let shed = format!("antiphon_shed_total{{reason=\"{reason}\"}} 1");
        assert!(told(&admission, &shed), "{shed}");
    }
    drop(first);
    // Those that came to nothing are not counted.
    assert!(ask(&admission, None).await.is_ok() && ask(&admission, None).await.is_ok());
    assert_eq!(code(&ask(&admission, None).await.unwrap_err()).0, 429);
    let watching = Arc::clone(&admission).enter(None, Work::Watch).await;
    assert!(watching.is_ok(), "to watch is not to ask");
}

#[tokio::test]
async fn who_leaves_the_line_has_not_asked() {
    let all = Rates {
        max_streams: Some(1),
        ..Rates::default()
    };
    let own = Rates {
        requests_per_minute: Some(2),
        ..Rates::default()
    };
    let admission = admission(vec![key("a", own)], all);
    let a = known(&admission, "a").await;
    let inside = ask(&admission, Some(&a)).await.unwrap();
    let waits = ask(&admission, Some(&a));
    let left = tokio::time::timeout(Duration::from_millis(5), waits).await;
    assert!(left.is_err(), "it waits in line");
    drop(inside);
    assert!(ask(&admission, Some(&a)).await.is_ok());
    let refusal = ask(&admission, Some(&a)).await.unwrap_err();
    assert_eq!(code(&refusal), (429, "rate_limit_exceeded"));
}

#[tokio::test]
async fn a_time_beyond_all_clocks_is_no_end() {
    let endless = Rates {
        max_stream: Some(Duration::from_secs(u64::MAX)),
        ..Rates::default()
    };
    let admission = admission(Vec::new(), endless);
    assert!(ask(&admission, None).await.unwrap().end().is_none());
}

#[tokio::test]
async fn tokens_are_taken_in_advance_and_settled_at_the_end() {
    let own = Rates {
        tokens_per_minute: Some(1_000),
        ..Rates::default()
    };
    let all = Rates {
        tokens_per_minute: Some(10_000),
        ..Rates::default()
    };
    let admission = admission(vec![key("a", own)], all);
    let a = known(&admission, "a").await;
    let left = || {
        let own = admission.levels(Some(&a)).tokens.unwrap();
        let all = admission.levels(None).tokens.unwrap();
        assert_eq!((own.limit, all.limit), (1_000, 10_000));
        // What the bucket fills meanwhile is a little.
        (own.left.div_ceil(10) * 10, all.left.div_ceil(100) * 100)
    };
    let refused = ask(&admission, Some(&a)).await.unwrap();
    refused.reserve(|| 600).unwrap();
    assert_eq!(left(), (400, 9_400));
    let second = ask(&admission, Some(&a)).await.unwrap();
    assert_eq!(code(&second.reserve(|| 500).unwrap_err()).0, 429);
    drop(second);
    drop(refused);
    assert_eq!(left(), (1_000, 10_000), "nothing was spent");

    let answered = ask(&admission, Some(&a)).await.unwrap();
    answered.reserve(|| 100).unwrap();
    answered.spend(150);
    answered.spend(50);
    drop(answered);
    assert_eq!(left(), (800, 9_800));

    let long = ask(&admission, Some(&a)).await.unwrap();
    long.reserve(|| 300).unwrap();
    long.spend_reserved();
    long.spend(2_000);
    drop(long);
    assert_eq!(left(), (0, 7_500));
    let refusal = ask(&admission, Some(&a)).await.unwrap_err();
    assert_eq!(refusal.error.kind, "tokens");
    let wait = refusal.told_wait().and_then(|wait| wait.wait()).unwrap();
    assert!(
        wait > Duration::from_secs(80) && wait < Duration::from_secs(92),
        "{wait:?}"
    );
}

#[tokio::test]
async fn a_long_request_is_possible_when_nothing_else_was_spent() {
    let rates = Rates {
        tokens_per_minute: Some(100),
        ..Rates::default()
    };
    let admission = admission(Vec::new(), rates);
    let long = ask(&admission, None).await.unwrap();
    long.reserve(|| 500).unwrap();
    long.spend_reserved();
    assert!(ask(&admission, None).await.is_err(), "it is in debt");
}

#[tokio::test]
async fn counters_go_on_under_another_configuration() {
    let rates = |streams, requests| Rates {
        max_streams: Some(streams),
        requests_per_minute: Some(requests),
        ..Rates::default()
    };
    let before = admission(vec![key("a", rates(1, 10))], rates(1, 100));
    let a = known(&before, "a").await;
    let running = ask(&before, Some(&a)).await.unwrap();
    let new = settings(
        vec![key("a", rates(2, 20)), key("b", rates(9, 9))],
        rates(2, 100),
    );
    let after = Arc::new(before.after(new));
    let (a, b) = (known(&after, "a").await, known(&after, "b").await);
    assert_eq!(after.levels(Some(&a)).requests.unwrap().left, 18);
    let second = ask(&after, Some(&a)).await.unwrap();
    assert_eq!(code(&ask(&after, Some(&a)).await.unwrap_err()).0, 429);
    assert_eq!(code(&ask(&after, Some(&b)).await.unwrap_err()).0, 503);
    drop((running, second));
    assert_eq!(after.house.gate.inside(), 0);

    let gone = after.after(settings(vec![key("b", rates(9, 9))], rates(2, 100)));
    assert_eq!(
        code(&gone.know_again(Some(&a)).unwrap_err()),
        (401, "invalid_api_key")
    );
    assert!(gone.know_again(None).is_err());
    assert!(gone.know_again(Some(&b)).unwrap().is_some());
}

#[tokio::test]
async fn work_without_a_client_is_its_tenants() {
    let rates = Rates {
        max_streams: Some(1),
        tokens_per_minute: Some(1_000),
        max_stream: Some(Duration::from_secs(5)),
        ..Rates::default()
    };
    let admission = admission(vec![key("a", rates)], Rates::default());
    let a = known(&admission, "a").await;
    let _asking = ask(&admission, Some(&a)).await.unwrap();
    let work = Arc::clone(&admission).background(&a.owner());
    assert_eq!(
        work.end().map(|end| end.after),
        Some(Duration::from_secs(5))
    );
    work.spend(900);
    drop(work);
    assert!(admission.levels(Some(&a)).tokens.unwrap().left < 200);
    for tenant in ["", "of a", "0123456789abcdef0123456789abcdef"] {
        let work = Arc::clone(&admission).background(tenant);
        assert!(work.end().is_none() && !work.counts_tokens(), "{tenant}");
    }
}
