//! A place for one test, and what it fills it with.

use std::time::Duration;

use antiphon::store::{
    Conversation, Event, Item, Page, Place, Record, Settings, Status, Store, Turn,
};
use bytes::Bytes;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

use crate::support::postgres;

/// The tenant of most tests.
pub(super) const ME: &str = "me";

/// Long enough for anything, short enough for a test that hangs.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

pub(super) struct World {
    place: Place,
    /// The one handle on a store in memory.
    only: OnceCell<Store>,
    opened: Mutex<Vec<Store>>,
    _folder: Option<TempDir>,
}

impl World {
    pub(super) fn sqlite() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let place = Place::Sqlite(folder.path().join("state/store.db"));
        Some(Self::at(place, Some(folder)))
    }

    pub(super) fn memory() -> Option<Self> {
        Some(Self::at(Place::Memory, None))
    }

    pub(super) fn postgres() -> Option<Self> {
        let url = SecretString::from(postgres::url()?);
        Some(Self::at(Place::Postgres(url), None))
    }

    pub(super) fn at(place: Place, folder: Option<TempDir>) -> Self {
        Self {
            place,
            only: OnceCell::new(),
            opened: Mutex::default(),
            _folder: folder,
        }
    }

    /// A handle on the place. Each is as good as another process's, but for those in memory.
    pub(super) async fn store(&self) -> Store {
        self.with(|_| ()).await
    }

    pub(super) async fn with(&self, change: impl FnOnce(&mut Settings)) -> Store {
        let mut settings = self.settings();
        change(&mut settings);
        let open = async { Store::open(settings).await.expect("the store opens") };
        let store = if matches!(self.place, Place::Memory) {
            self.only.get_or_init(|| open).await.clone()
        } else {
            open.await
        };
        self.opened.lock().await.push(store.clone());
        store
    }

    pub(super) fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.place.clone());
        settings.timeout = LIMIT;
        settings.acquire_timeout = LIMIT;
        settings.max_connections = 3;
        settings
    }

    pub(super) async fn close(&self) {
        for store in self.opened.lock().await.drain(..) {
            store.close().await;
        }
    }
}

/// A response of mine that has ended, with bodies that tell it from others.
pub(super) fn response(id: &str, previous: Option<&str>) -> Record {
    Record {
        id: id.to_owned(),
        tenant: ME.to_owned(),
        previous: previous.map(str::to_owned),
        conversation: None,
        created_at: 1_700_000_000,
        background: false,
        status: Status::Completed,
        body: json(format!(r#"{{"id":"{id}"}}"#)),
        input: json(format!(r#"["in {id}"]"#)),
        output: json(format!(r#"["out {id}"]"#)),
    }
}

/// The same, to be made in the background.
pub(super) fn waiting(id: &str) -> Record {
    Record {
        background: true,
        status: Status::Queued,
        ..response(id, None)
    }
}

pub(super) fn ended(record: &Record, status: Status) -> Record {
    Record {
        status,
        body: json(format!(r#"{{"status":"{}"}}"#, status.as_str())),
        output: json(r#"["the answer"]"#),
        ..record.clone()
    }
}

pub(super) fn json(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

pub(super) fn item(id: &str) -> Item {
    Item {
        id: id.to_owned(),
        json: json(format!(r#"{{"id":"{id}"}}"#)),
    }
}

pub(super) fn items(ids: &[&str]) -> Vec<Item> {
    ids.iter().copied().map(item).collect()
}

pub(super) fn event(sequence: u64) -> Event {
    Event {
        sequence,
        data: json(format!("event {sequence}")),
    }
}

pub(super) fn events(numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(event).collect()
}

pub(super) fn conversation(id: &str) -> Conversation {
    Conversation {
        id: id.to_owned(),
        tenant: ME.to_owned(),
        created_at: 1_700_000_000,
        metadata: json("{}"),
    }
}

/// A page of so many.
pub(super) fn page(limit: usize, ascending: bool) -> Page {
    Page {
        after: None,
        before: None,
        limit,
        ascending,
    }
}

/// The ids of a history; `None` if there is none.
pub(super) async fn history(store: &Store, id: &str) -> Option<Vec<String>> {
    let turns = store.history(ME, id).await.expect("the store answers")?;
    Some(turns.into_iter().map(|turn| turn.id).collect())
}

pub(super) fn ids(turns: &[Turn]) -> Vec<&str> {
    turns.iter().map(|turn| turn.id.as_str()).collect()
}

/// Saves a response and what it continues, given as `id<previous`.
pub(super) async fn save(store: &Store, responses: &[&str]) {
    for response in responses {
        let (id, previous) = match response.split_once('<') {
            Some((id, previous)) => (id, Some(previous)),
            None => (*response, None),
        };
        let record = self::response(id, previous);
        store.save(record, Vec::new()).await.expect("it is saved");
    }
}

/// Waits until something is so.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while !so().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
