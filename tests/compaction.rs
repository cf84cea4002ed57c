//! Compaction of streams that live for ever: what a reader finds afterwards, and is told.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod directory;
    pub mod redis;
}

use std::collections::BTreeMap;
use std::future::Future;

use nuxt_queue_core::backend::file::FileOptions;
use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::error::Code;
use nuxt_queue_core::event::EventRef;
use nuxt_queue_core::store::Compact;
use nuxt_queue_core::{AppendOptions, EventId, EventStore, Field, NewEvent, Query, StoreOptions};

use support::directory::Directory;
use support::redis::RedisServer;

const STREAM: &str = "nq:registry";

/// How often each thing was seen.
#[derive(Debug, Default, PartialEq)]
struct Sightings(BTreeMap<String, u64>);

impl Compact for Sightings {
    const SNAPSHOT: &'static str = "registry.snapshot";

    fn apply(&mut self, event: EventRef<'_>) {
        if let Some(name) = event.data.and_then(|data| serde_json::from_str::<String>(data).ok()) {
            *self.0.entry(name).or_default() += 1;
        }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap()
    }

    fn from_json(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok().map(Sightings)
    }
}

async fn everywhere<F: Future<Output = ()>>(test: impl Fn(EventStore, EventStore) -> F) {
    let store = EventStore::open(StoreOptions::memory()).await.unwrap();
    test(store.clone(), store).await;
    let directory = Directory::new();
    let options = StoreOptions::file(FileOptions::new(directory.path()));
    test(EventStore::open(options.clone()).await.unwrap(), EventStore::open(options).await.unwrap()).await;
    let server = RedisServer::start().unwrap();
    let options = StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap());
    test(EventStore::open(options.clone()).await.unwrap(), EventStore::open(options).await.unwrap()).await;
}

async fn see(store: &EventStore, name: &str) -> EventId {
    let event = NewEvent::new("worker.heartbeat").with_data(format!("\"{name}\""));
    store.append(STREAM, event, AppendOptions::default()).await.unwrap();
    store.last_id(STREAM).await.unwrap().unwrap()
}

async fn length(store: &EventStore) -> usize {
    store.query(Query::stream(STREAM)).await.unwrap().len()
}

#[tokio::test]
async fn a_snapshot_stands_for_what_was_before_it() {
    everywhere(|store, other| async move {
        assert_eq!(store.compact::<Sightings>(STREAM).await.unwrap(), None);
        for name in ["a", "b", "a"] {
            see(&store, name).await;
        }
        let before = other.fold::<Sightings>(STREAM).await.unwrap();
        let compaction = store.compact::<Sightings>(STREAM).await.unwrap().unwrap();
        assert_eq!(compaction.trimmed, 3);
        assert_eq!(store.stats().trimmed, 3);
        assert_eq!(length(&other).await, 1);
        assert_eq!(other.fold::<Sightings>(STREAM).await.unwrap(), (before.0, compaction.snapshot));
        let last = see(&other, "c").await;
        let expected = Sightings([("a", 2), ("b", 1), ("c", 1)].map(|(name, count)| (name.to_owned(), count)).into());
        assert_eq!(store.fold::<Sightings>(STREAM).await.unwrap(), (expected, last));
    })
    .await;
}

#[tokio::test]
async fn it_stays_small_however_often() {
    everywhere(|store, _| async move {
        for round in 0..20 {
            for _ in 0..50 {
                see(&store, "a").await;
            }
            store.compact::<Sightings>(STREAM).await.unwrap();
            assert_eq!(length(&store).await, 1, "round {round}");
        }
        assert_eq!(store.fold::<Sightings>(STREAM).await.unwrap().0.0["a"], 1000);
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_asks_for_what_was_trimmed_is_told_so() {
    everywhere(|store, _| async move {
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(see(&store, "a").await);
        }
        let compaction = store.compact::<Sightings>(STREAM).await.unwrap().unwrap();
        for n in 0..3 {
            see(&store, &n.to_string()).await;
        }
        for descending in [false, true] {
            let after = |id| Query { after: Some(id), descending, ..Query::stream(STREAM) };
            let error = store.query(after(ids[2])).await.unwrap_err();
            assert_eq!(error.code(), Code::Trimmed, "{error}");
            assert!(error.message().contains(&compaction.snapshot.to_string()), "{error}");
            let mut pages = store.iterate(after(ids[2])).unwrap();
            assert_eq!(pages.next().await.unwrap_err().code(), Code::Trimmed);
            // Everything after the last trimmed event is there.
            assert_eq!(store.query(after(ids[4])).await.unwrap().len(), 4);
            assert_eq!(store.query(after(compaction.snapshot)).await.unwrap().len(), 3);
            let since = Query { start_ms: Some(ids[2].ms), descending, ..Query::stream(STREAM) };
            assert_eq!(store.query(since).await.unwrap().len(), 4);
        }
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_that_was_not_followed_by_a_trim_changes_nothing() {
    everywhere(|store, _| async move {
        let first = see(&store, "a").await;
        let second = see(&store, "b").await;
        let (sightings, last) = store.fold::<Sightings>(STREAM).await.unwrap();
        let data = format!("{{\"upTo\":\"{last}\",\"state\":{}}}", sightings.to_json());
        let snapshot = NewEvent::new(Sightings::SNAPSHOT).with(Field::CausationId, "compaction").with_data(data);
        store.append(STREAM, snapshot, AppendOptions::default()).await.unwrap();
        for after in [first, second] {
            assert!(store.query(Query { after: Some(after), ..Query::stream(STREAM) }).await.is_ok());
        }
        assert_eq!(store.fold::<Sightings>(STREAM).await.unwrap().0, sightings);
        // The next one makes up for it.
        assert_eq!(store.compact::<Sightings>(STREAM).await.unwrap().unwrap().trimmed, 3);
    })
    .await;
}

#[tokio::test]
async fn two_that_compact_while_others_write_lose_nothing() {
    everywhere(|store, other| async move {
        let writers = [store.clone(), other.clone()].map(|store| {
            tokio::spawn(async move {
                for _ in 0..100 {
                    see(&store, "a").await;
                }
            })
        });
        for store in [&store, &other].into_iter().cycle().take(20) {
            match store.compact::<Sightings>(STREAM).await {
                Err(error) if error.code() == Code::Conflict => {}
                outcome => drop(outcome.unwrap()),
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(store.fold::<Sightings>(STREAM).await.unwrap().0.0["a"], 200);
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_that_can_not_be_read_is_no_empty_one() {
    everywhere(|store, _| async move {
        see(&store, "a").await;
        let broken = NewEvent::new(Sightings::SNAPSHOT)
            .with(Field::CausationId, "compaction")
            .with_data(r#"{"upTo":"1-0","state":7}"#);
        store.append(STREAM, broken, AppendOptions::default()).await.unwrap();
        assert_eq!(store.fold::<Sightings>(STREAM).await.unwrap_err().code(), Code::Corrupt);
        assert_eq!(store.compact::<Sightings>(STREAM).await.unwrap_err().code(), Code::Corrupt);
        assert_eq!(length(&store).await, 2);
    })
    .await;
}

#[tokio::test]
async fn it_is_told_whatever_the_length_of_the_range() {
    everywhere(|store, _| async move {
        for count in [62, 63, 64, 65, 128] {
            store.delete_stream(STREAM).await.unwrap();
            let first = see(&store, "a").await;
            let second = see(&store, "b").await;
            store.compact::<Sightings>(STREAM).await.unwrap();
            for _ in 1..count {
                see(&store, "c").await;
            }
            for descending in [false, true] {
                let query = Query { after: Some(first), descending, ..Query::stream(STREAM) };
                let error = store.query(query.clone()).await.unwrap_err();
                assert_eq!(error.code(), Code::Trimmed, "{count} {descending}");
                // Also if nothing is left of what was asked for.
                let error = store.query(Query { before: second.next(), ..query }).await.unwrap_err();
                assert_eq!(error.code(), Code::Trimmed, "{count} {descending}");
            }
        }
    })
    .await;
}
