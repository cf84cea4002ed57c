//! P3: a run in memory shows what its stream holds, whatever this store and others do to it.
//!
//! Random histories of two stores, of which one caches, and a plain client that writes, deletes and
//! trims behind their backs. After each own write the cached read equals the fold of the stream;
//! after a foreign one it does within moments.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod redis;
}

use std::time::Duration;

use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::run::{State, effect};
use nuxt_queue_core::store::CacheOptions;
use nuxt_queue_core::{
    AppendOptions, Consistency, Envelope, EventStore, Events, NewEvent, Query, RunState, StoreOptions,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use support::redis::RedisServer;

/// How long what others did may take to be seen.
const DELAY: Duration = Duration::from_millis(250);
const STREAM: &str = "nq:flow:r";

#[derive(Debug, Clone)]
enum Act {
    Set(u8, u16),
    Delete(u8),
    Snapshot,
    Log,
    /// So many sets that nobody awaits one by one.
    Burst(u8),
    ForeignSet(u8, u16),
    ForeignRaw(u8, u16),
    ForeignDeleteLast,
    ForeignDeleteFirst,
    ForeignTrim(u8),
    ForeignExpiry(u8),
    DeleteStream,
    ForeignDeleteStream,
    CutConnections,
    Query,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0_u8..5, any::<u16>()).prop_map(|(key, value)| Act::Set(key, value)),
        1 => (0_u8..5).prop_map(Act::Delete),
        1 => Just(Act::Snapshot),
        2 => Just(Act::Log),
        1 => (1_u8..80).prop_map(Act::Burst),
        3 => (0_u8..5, any::<u16>()).prop_map(|(key, value)| Act::ForeignSet(key, value)),
        2 => (0_u8..5, any::<u16>()).prop_map(|(key, value)| Act::ForeignRaw(key, value)),
        1 => Just(Act::ForeignDeleteLast),
        1 => Just(Act::ForeignDeleteFirst),
        1 => any::<u8>().prop_map(Act::ForeignTrim),
        1 => (1_u8..30).prop_map(Act::ForeignExpiry),
        1 => Just(Act::DeleteStream),
        1 => Just(Act::ForeignDeleteStream),
        1 => Just(Act::CutConnections),
        3 => Just(Act::Query),
    ];
    proptest::collection::vec(act, 1..40)
}

struct World {
    /// Caches, and writes snapshots often.
    ours: EventStore,
    /// Another process, as it were.
    theirs: EventStore,
    plain: redis::Connection,
}

impl World {
    async fn new(server: &RedisServer) -> World {
        let options = || StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap());
        let uncached = CacheOptions { enabled: false, ..CacheOptions::default() };
        let plain = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        World {
            ours: EventStore::open(options().with_snapshot_every(7)).await.unwrap(),
            theirs: EventStore::open(options().with_cache(uncached).with_snapshot_every(0)).await.unwrap(),
            plain,
        }
    }

    fn state(store: &EventStore) -> RunState {
        RunState::new(store, "r", Envelope::default())
    }

    /// Does it; whether it was somebody else who did.
    async fn act(&mut self, act: &Act) -> bool {
        let ours = World::state(&self.ours);
        match act {
            Act::Set(key, value) => ours.set(&format!("k{key}"), &value.to_string(), None).await.unwrap(),
            Act::Delete(key) => ours.delete(&format!("k{key}")).await.unwrap(),
            Act::Snapshot => drop(ours.snapshot().await.unwrap()),
            Act::Log => {
                let event = NewEvent::new("log.info").with_data("{}");
                drop(self.ours.append(STREAM, event, AppendOptions::default()).await.unwrap());
            }
            Act::Burst(count) => {
                let set = |n: u8| {
                    let data = format!("{{\"key\":\"k{}\",\"value\":{n}}}", n % 5);
                    self.ours.append(STREAM, NewEvent::new("state.set").with_data(data), AppendOptions::default())
                };
                let appends: Vec<_> = (0..*count).map(set).collect();
                // A read in between sees all of them: it was asked for after them.
                self.check("in a burst", Duration::ZERO).await;
                for append in appends {
                    append.await.unwrap();
                }
            }
            Act::ForeignSet(key, value) => {
                World::state(&self.theirs).set(&format!("k{key}"), &value.to_string(), None).await.unwrap();
                return true;
            }
            Act::ForeignRaw(key, value) => {
                let data = format!("{{\"key\":\"k{key}\",\"value\":{value}}}");
                self.plainly(
                    redis::cmd("XADD").arg(STREAM).arg("*").arg("type").arg("state.set").arg("data").arg(data),
                );
                return true;
            }
            Act::ForeignDeleteLast => {
                if let Some(last) = self.theirs.last_id(STREAM).await.unwrap() {
                    self.plainly(redis::cmd("XDEL").arg(STREAM).arg(last.to_string()));
                }
                return true;
            }
            Act::ForeignDeleteFirst => {
                let first = Query { limit: Some(1), ..Query::stream(STREAM) };
                if let Some(first) = self.theirs.query(first).await.unwrap().last() {
                    self.plainly(redis::cmd("XDEL").arg(STREAM).arg(first.id.to_string()));
                }
                return true;
            }
            Act::ForeignTrim(length) => {
                self.plainly(redis::cmd("XTRIM").arg(STREAM).arg("MAXLEN").arg(*length));
                return true;
            }
            Act::ForeignExpiry(ms) => {
                self.plainly(redis::cmd("PEXPIRE").arg(STREAM).arg(*ms));
                tokio::time::sleep(Duration::from_millis(u64::from(*ms) + 2)).await;
                return true;
            }
            Act::DeleteStream => drop(self.ours.delete_stream(STREAM).await.unwrap()),
            Act::ForeignDeleteStream => {
                self.plainly(redis::cmd("DEL").arg(STREAM));
                return true;
            }
            Act::CutConnections => {
                self.plainly(redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes"));
                return true;
            }
            Act::Query => {}
        }
        false
    }

    fn plainly(&mut self, command: &mut redis::Cmd) {
        let _: redis::Value = command.query(&mut self.plain).unwrap();
    }

    /// The cached state and timeline equal what the stream holds, after `delay` at the latest.
    async fn check(&self, when: &str, delay: Duration) {
        let ours = World::state(&self.ours);
        let since = tokio::time::Instant::now();
        loop {
            let cached = ours.get_all(Consistency::Cached).await.unwrap();
            let strong = ours.get_all(Consistency::Strong).await.unwrap();
            let found = written(&self.ours.query(Query::stream(STREAM)).await.unwrap());
            let events = self.theirs.query(Query::stream(STREAM)).await.unwrap();
            let mut state = State::default();
            let effects = events.iter().filter_map(|event| effect(event.event_type, event.data));
            effects.for_each(|effect| state.take(&effect));
            let (expected, events) = (state.to_json(u64::MAX), written(&events));
            if cached == expected && strong == expected && found == events {
                return;
            }
            if since.elapsed() > delay {
                panic!(
                    "{when}: cached {cached}, strong {strong}, expected {expected}; {found:?} instead of {events:?}"
                );
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The ids of what was written; a snapshot may come by itself at any moment.
fn written(events: &Events) -> Vec<String> {
    events.iter().filter(|event| event.event_type != "state.snapshot").map(|event| event.id.to_string()).collect()
}

#[test]
fn p3_what_is_in_memory_is_what_the_stream_holds() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = RedisServer::start().unwrap();
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let result = runner.run(&acts(), |acts| {
        runtime.block_on(async {
            let mut world = World::new(&server).await;
            world.plainly(&mut redis::cmd("FLUSHALL"));
            for (n, act) in acts.iter().enumerate() {
                let is_foreign = world.act(act).await;
                world
                    .check(&format!("after {n}: {act:?} of {acts:?}"), if is_foreign { DELAY } else { Duration::ZERO })
                    .await;
            }
            world.ours.close().await;
            world.theirs.close().await;
        });
        Ok(())
    });
    result.unwrap();
}

#[tokio::test]
async fn many_who_miss_a_run_at_once_cause_one_read() {
    let server = RedisServer::start().unwrap();
    let options = StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap()).with_snapshot_every(0);
    let writer = EventStore::open(options.clone()).await.unwrap();
    for n in 0..50 {
        World::state(&writer).set("k", &n.to_string(), None).await.unwrap();
    }
    let reader = EventStore::open(options).await.unwrap();
    let state = World::state(&reader);
    let reads: Vec<_> = (0..100)
        .map(|_| {
            let state = state.clone();
            tokio::spawn(async move { state.get("k", Consistency::Cached).await.unwrap() })
        })
        .collect();
    for read in reads {
        assert_eq!(read.await.unwrap().as_deref(), Some("49"));
    }
    let stats = reader.stats();
    assert_eq!((stats.misses, stats.hits, stats.events_read), (1, 99, 50), "{stats:?}");
}

#[tokio::test]
async fn without_snapshots_state_is_the_same_as_with_them() {
    let server = RedisServer::start().unwrap();
    let options = StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap());
    let writer = EventStore::open(options.clone().with_snapshot_every(10)).await.unwrap();
    let state = World::state(&writer);
    for n in 0..200 {
        let ttl = (n % 3 == 0).then_some(Duration::from_secs(3600));
        state.set(&format!("k{}", n % 23), &n.to_string(), ttl).await.unwrap();
    }
    assert!(writer.stats().snapshots >= 15, "{:?}", writer.stats());
    let events = writer.query(Query::stream(STREAM)).await.unwrap();
    let fresh = EventStore::open(options).await.unwrap();
    let fresh = World::state(&fresh);
    let mut plain = State::default();
    for event in events.iter() {
        // P4: the fold without snapshots and what repeats them.
        let is_own = !event.record.contains("state.snapshot");
        if let Some(effect) = effect(event.event_type, event.data).filter(|_| is_own) {
            plain.take(&effect);
        }
        let at = fresh.at(nuxt_queue_core::state::Point::Event(event.id)).await.unwrap();
        if is_own {
            assert_eq!(at, plain.to_json(event.id.ms), "at {}", event.id);
        }
    }
}
