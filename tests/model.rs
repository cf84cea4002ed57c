//! Random calls, held against a model: whatever is appended, deleted and asked for, each backend
//! answers as the plainest store would; and state at any point is the fold of what came before (P5).

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod directory;
    pub mod model;
    pub mod redis;
}

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use nuxt_queue_core::backend::Receipt;
use nuxt_queue_core::backend::file::FileOptions;
use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::error::Code;
use nuxt_queue_core::state::Point;
use nuxt_queue_core::{
    AppendOptions, Consistency, Envelope, EventId, EventStore, Events, NewEvent, Query, RunState, StoreOptions,
    VirtualClock,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use support::directory::Directory;
use support::model::{Event, Model, Verdict, reduce};
use support::redis::RedisServer;

type Checked = Result<(), TestCaseError>;

const STREAMS: [&str; 4] = ["m:a1", "m:a2", "m:b1", "m:\"ü\""];
const TYPES: [&str; 6] = ["state.set", "state.delete", "stately", "log.info", "log.error", "my \"type\""];
const FILTERS: [&str; 7] = ["state.set", "state.*", "state*", "log.*", "*", "my \"type\"", "none"];
/// Patterns, and which of the streams they mean.
const PATTERNS: [(&str, [bool; 4]); 6] = [
    ("*", [true, true, true, true]),
    ("m:a*", [true, true, false, false]),
    ("m:?1", [true, false, true, false]),
    ("m:[^a]1", [false, false, true, false]),
    ("m:\"*", [false, false, false, true]),
    ("other:*", [false, false, false, false]),
];

/// A place in time near some event that is there: which one, and how far off.
type Near = (usize, i8);

#[derive(Debug, Clone)]
enum Condition {
    None,
    Holds,
    Empty,
    Near(Near),
}

#[derive(Debug, Clone)]
struct Ask {
    types: Vec<usize>,
    start: Option<Near>,
    end: Option<Near>,
    after: Option<Near>,
    before: Option<Near>,
    limit: Option<usize>,
    descending: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Append { stream: usize, types: Vec<usize>, condition: Condition, key: Option<u8> },
    Delete { stream: usize },
    DeleteMany { pattern: usize },
    Clock { by: i8 },
    Query { stream: usize, ask: Ask },
    QueryGlobal { pattern: usize, ask: Ask },
    List { pattern: usize },
}

fn near() -> impl Strategy<Value = Near> {
    (any::<usize>(), -1_i8..=1)
}

fn ask() -> impl Strategy<Value = Ask> {
    let times = (option::weighted(0.3, near()), option::weighted(0.3, near()));
    let ids = (option::weighted(0.3, near()), option::weighted(0.3, near()));
    // Pages are of some hundred events.
    let limit = option::of(prop_oneof![1_usize..8, 200_usize..600]);
    (vec(0..FILTERS.len(), 0..3), times, ids, limit, any::<bool>()).prop_map(
        |(types, (start, end), (after, before), limit, descending)| Ask {
            types,
            start,
            end,
            after,
            before,
            limit,
            descending,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let condition = prop_oneof![
        4 => Just(Condition::None),
        2 => Just(Condition::Holds),
        1 => Just(Condition::Empty),
        1 => near().prop_map(Condition::Near),
    ];
    let types = prop_oneof![30 => vec(0..TYPES.len(), 1..4), 1 => vec(0..TYPES.len(), 250..320)];
    let (stream, pattern) = (|| 0..STREAMS.len(), || 0..PATTERNS.len());
    prop_oneof![
        12 => (stream(), types, condition, option::weighted(0.3, 0_u8..3))
            .prop_map(|(stream, types, condition, key)| Step::Append { stream, types, condition, key }),
        1 => stream().prop_map(|stream| Step::Delete { stream }),
        1 => pattern().prop_map(|pattern| Step::DeleteMany { pattern }),
        4 => (-3_i8..6).prop_map(|by| Step::Clock { by }),
        6 => (stream(), ask()).prop_map(|(stream, ask)| Step::Query { stream, ask }),
        2 => (pattern(), ask()).prop_map(|(pattern, ask)| Step::QueryGlobal { pattern, ask }),
        1 => pattern().prop_map(|pattern| Step::List { pattern }),
    ]
}

/// A store and its model.
struct Play {
    store: EventStore,
    /// The clock that the ids come from, where it can be moved.
    clock: Option<Arc<VirtualClock>>,
    model: Model,
    appended: usize,
}

impl Play {
    async fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Append { stream, types, condition, key } => {
                self.append(STREAMS[*stream], types, condition, *key).await
            }
            Step::Delete { stream } => {
                let deleted = self.store.delete_stream(STREAMS[*stream]).await.unwrap();
                prop_assert_eq!(deleted, self.model.delete(STREAMS[*stream]));
                Ok(())
            }
            Step::DeleteMany { pattern } => {
                let deleted = self.store.delete_streams(PATTERNS[*pattern].0).await.unwrap();
                let expected = meant(*pattern).filter(|stream| self.model.delete(stream)).count();
                prop_assert_eq!(deleted, expected as u64);
                Ok(())
            }
            Step::Clock { by } => {
                if let Some(clock) = &self.clock {
                    clock.set(self.store.now_ms().saturating_add_signed(i64::from(*by)));
                }
                Ok(())
            }
            Step::Query { stream, ask } => self.query(STREAMS[*stream], ask).await,
            Step::QueryGlobal { pattern, ask } => self.query_global(*pattern, ask).await,
            Step::List { pattern } => self.list(*pattern).await,
        }
    }

    async fn append(&mut self, stream: &str, types: &[usize], condition: &Condition, key: Option<u8>) -> Checked {
        let expected_last_id = match condition {
            Condition::None => None,
            Condition::Holds => Some(self.model.last_id(stream)),
            Condition::Empty => Some(EventId::MIN),
            Condition::Near(near) => Some(self.id_near(*near)),
        };
        let idempotency_key = key.map(|key| format!("k{key}"));
        let verdict = self.model.judge(stream, expected_last_id, idempotency_key.as_deref());
        let payloads: Vec<String> = types.iter().enumerate().map(|(n, _)| format!("[{},{n}]", self.appended)).collect();
        let event = |(at, data): (&usize, &String)| NewEvent::new(TYPES[*at]).with_data(data);
        let events = types.iter().zip(&payloads).map(event).collect();
        let options = AppendOptions { expected_last_id, idempotency_key: idempotency_key.clone() };
        let outcome = self.store.append_batch(stream, events, options).await;
        self.appended += 1;
        match (verdict, outcome) {
            (Verdict::Conflicts, Err(error)) => prop_assert_eq!(error.code(), Code::Conflict),
            (Verdict::Repeats(ids), Ok(Receipt::Repeated(records))) => {
                prop_assert_eq!(records.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
            }
            (Verdict::Stores, Ok(receipt)) => {
                let ids = match receipt {
                    Receipt::One(id) => vec![id],
                    Receipt::Batch(ids) => ids,
                    Receipt::Repeated(_) => return Err(TestCaseError::fail("nothing to repeat")),
                };
                self.check_ids(stream, &ids, types.len())?;
                let stored = ids.into_iter().zip(types).zip(payloads);
                let stored = stored.map(|((id, at), data)| Event { id, event_type: TYPES[*at].into(), data });
                self.model.store(stream, stored.collect(), idempotency_key.as_deref());
            }
            (verdict, outcome) => return Err(TestCaseError::fail(format!("expected {verdict:?}, got {outcome:?}"))),
        }
        Ok(())
    }

    fn check_ids(&self, stream: &str, ids: &[EventId], count: usize) -> Checked {
        let last = self.model.floor(stream);
        prop_assert!(
            ids.len() == count && ids[0] > last && ids.windows(2).all(|two| two[0] < two[1]),
            "{:?} after {}",
            ids,
            last
        );
        if self.clock.is_some() {
            let first = EventId::new(self.store.now_ms(), 0).max(last.next().unwrap());
            let expected: Vec<EventId> = (0..count as u64).map(|n| EventId::new(first.ms, first.seq + n)).collect();
            prop_assert_eq!(ids, expected);
        }
        Ok(())
    }

    /// An id near that of an event that is there.
    fn id_near(&self, (which, off): Near) -> EventId {
        let ids: Vec<EventId> = self.model.streams.values().flatten().map(|event| event.id).collect();
        let id = if ids.is_empty() { EventId::new(5, 0) } else { ids[which % ids.len()] };
        match off {
            -1 => id.previous().unwrap(),
            0 => id,
            _ => id.next().unwrap(),
        }
    }

    fn build(&self, stream: &str, ask: &Ask) -> Query {
        let id = |near: &Option<Near>| near.map(|near| self.id_near(near));
        let ms = |near: &Option<Near>| {
            near.map(|(which, off)| self.id_near((which, 0)).ms.saturating_add_signed(i64::from(off)))
        };
        Query {
            stream: stream.into(),
            types: ask.types.iter().map(|at| FILTERS[*at].into()).collect(),
            start_ms: ms(&ask.start),
            end_ms: ms(&ask.end),
            after: id(&ask.after),
            before: id(&ask.before),
            limit: ask.limit,
            descending: ask.descending,
            ..Query::default()
        }
    }

    async fn query(&self, stream: &str, ask: &Ask) -> Checked {
        let query = self.build(stream, ask);
        let expected = self.model.query(stream, &query);
        let found = self.store.query(query.clone()).await.unwrap();
        prop_assert_eq!(plain(&found).remove(stream).unwrap_or_default(), expected.clone());
        prop_assert_eq!(found.len(), expected.len());
        let mut pages = self.store.iterate(query).unwrap();
        let mut paged = Events::default();
        while let Some(page) = pages.next().await.unwrap() {
            paged.append(page);
        }
        prop_assert_eq!(paged.to_json(), found.to_json());
        Ok(())
    }

    /// In id order within each stream; the streams in any order.
    async fn query_global(&self, pattern: usize, ask: &Ask) -> Checked {
        let query = self.build(PATTERNS[pattern].0, ask);
        let found = self.store.query_global(query.clone()).await.unwrap();
        let unlimited = Query { limit: None, ..query.clone() };
        let all: BTreeMap<&str, Vec<Event>> =
            meant(pattern).map(|stream| (stream, self.model.query(stream, &unlimited))).collect();
        let count: usize = all.values().map(Vec::len).sum();
        prop_assert_eq!(found.len(), count.min(query.limit.unwrap_or(usize::MAX)));
        for (stream, events) in plain(&found) {
            prop_assert!(all[&*stream].starts_with(&events), "{}: {:?} of {:?}", stream, events, all[&*stream]);
        }
        Ok(())
    }

    async fn list(&self, pattern: usize) -> Checked {
        let mut listed = BTreeMap::new();
        let mut pages = self.store.streams(PATTERNS[pattern].0).unwrap();
        while let Some(page) = pages.next().await.unwrap() {
            listed.extend(page.into_iter().map(|info| (info.stream, (info.last_id, info.length))));
        }
        let known = meant(pattern).filter_map(|stream| Some((stream, self.model.streams.get(stream)?)));
        let expected: BTreeMap<String, (EventId, u64)> = known
            .map(|(stream, events)| (stream.to_owned(), (self.model.last_id(stream), events.len() as u64)))
            .collect();
        prop_assert_eq!(listed, expected);
        Ok(())
    }

    async fn steps(mut self, steps: &[Step]) -> Checked {
        for step in steps {
            self.step(step).await?;
        }
        for stream in STREAMS {
            let everything = Ask {
                types: vec![],
                start: None,
                end: None,
                after: None,
                before: None,
                limit: None,
                descending: false,
            };
            self.query(stream, &everything).await?;
        }
        self.list(0).await
    }
}

fn meant(pattern: usize) -> impl Iterator<Item = &'static str> {
    STREAMS.into_iter().zip(PATTERNS[pattern].1).filter_map(|(stream, is_meant)| is_meant.then_some(stream))
}

/// Events as the model has them, by stream, read from their JSON text.
fn plain(events: &Events) -> BTreeMap<String, Vec<Event>> {
    let mut streams: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in events.iter() {
        let record: Value = serde_json::from_str(event.record).unwrap();
        assert_eq!(record["id"], event.id.to_string());
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        let plain = Event { id: event.id, event_type: text("type"), data: event.data.unwrap().to_owned() };
        streams.entry(text("stream")).or_default().push(plain);
    }
    streams
}

#[derive(Debug, Clone)]
enum Change {
    Set {
        key: u8,
        value: i16,
        ttl: Option<u64>,
    },
    Delete {
        key: u8,
    },
    SetMany {
        keys: Vec<u8>,
        value: i16,
    },
    /// The state event of the original module.
    Foreign {
        key: u8,
        value: Option<i16>,
    },
    /// A batch of operations in an order that matters.
    Operations {
        keys: Vec<(u8, bool)>,
        value: i16,
    },
    Snapshot,
    /// A snapshot of something else: all other keys are gone.
    Replace {
        key: u8,
        value: i16,
    },
    Other,
    Clock {
        by: u64,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let key = || 0_u8..5;
    prop_oneof![
        6 => (key(), any::<i16>(), option::weighted(0.3, 1_u64..30)).prop_map(|(key, value, ttl)| Change::Set { key, value, ttl }),
        3 => key().prop_map(|key| Change::Delete { key }),
        2 => (vec(key(), 1..4), any::<i16>()).prop_map(|(keys, value)| Change::SetMany { keys, value }),
        2 => (key(), option::of(any::<i16>())).prop_map(|(key, value)| Change::Foreign { key, value }),
        2 => (vec((key(), any::<bool>()), 1..5), any::<i16>()).prop_map(|(keys, value)| Change::Operations { keys, value }),
        1 => Just(Change::Snapshot),
        1 => (key(), any::<i16>()).prop_map(|(key, value)| Change::Replace { key, value }),
        2 => Just(Change::Other),
        4 => (0_u64..10).prop_map(|by| Change::Clock { by }),
    ]
}

/// Keys that are not easy, either.
fn name(key: u8) -> String {
    ["a", "__proto__", "", "\"quoted\"\n", "ü/x:y"][key as usize].into()
}

async fn apply(state: &RunState, store: &EventStore, clock: Option<&VirtualClock>, change: &Change) {
    let append = async |event_type: &str, data: Value| {
        let event = NewEvent::new(event_type).with_data(data.to_string());
        store.append("nq:flow:p5", event, AppendOptions::default()).await.unwrap();
    };
    match change {
        Change::Set { key, value, ttl } => {
            state.set(&name(*key), &value.to_string(), ttl.map(Duration::from_millis)).await.unwrap();
        }
        Change::Delete { key } => state.delete(&name(*key)).await.unwrap(),
        Change::SetMany { keys, value } => {
            let (names, value): (Vec<String>, _) = (keys.iter().map(|key| name(*key)).collect(), value.to_string());
            let values: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &*value)).collect();
            state.set_batch(&values).await.unwrap();
        }
        Change::Foreign { key, value: Some(value) } => {
            append("state", json!({ "operation": "set", "key": name(*key), "value": value })).await;
        }
        Change::Foreign { key, value: None } => {
            append("state", json!({ "operation": "delete", "key": name(*key) })).await
        }
        Change::Operations { keys, value } => {
            let operation = |(key, sets): &(u8, bool)| match sets {
                true => json!({ "type": "set", "key": name(*key), "value": value }),
                false => json!({ "type": "delete", "key": name(*key) }),
            };
            append("state.batch", json!({ "operations": keys.iter().map(operation).collect::<Vec<_>>() })).await;
        }
        Change::Snapshot => drop(state.snapshot().await.unwrap()),
        Change::Replace { key, value } => append("state.snapshot", json!({ name(*key): value })).await,
        Change::Other => append("log.info", json!({ "key": "a", "value": 1 })).await,
        Change::Clock { by } => {
            if let Some(clock) = clock {
                clock.advance(*by);
            }
        }
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// P5 at every event and around every instant; P4 at the end, if the snapshots are of this state.
async fn time_travel(store: &EventStore, clock: Option<&VirtualClock>, changes: &[Change]) -> Checked {
    let state = RunState::new(store, "p5", Envelope::default());
    for change in changes {
        apply(&state, store, clock, change).await;
        if clock.is_some() {
            let events = plain(&store.query(Query::stream("nq:flow:p5")).await.unwrap());
            let all = events.values().flatten();
            prop_assert_eq!(
                parsed(&state.get_all(Consistency::Cached).await.unwrap()),
                reduce(all, store.now_ms()),
                "now, after {:?}",
                change
            );
        }
    }
    let mut events = plain(&store.query(Query::stream("nq:flow:p5")).await.unwrap());
    let events = events.remove("nq:flow:p5").unwrap_or_default();
    let points = events.iter().flat_map(|event| {
        let instants = [event.id.ms - 1, event.id.ms, event.id.ms + 1, event.id.ms + 15].map(Point::Time);
        [Point::Event(event.id)].into_iter().chain(instants)
    });
    let mut before = (Point::Time(0), json!({}));
    for point in points {
        let prefix = events.iter().filter(|event| event.id <= point.last_id());
        let expected = reduce(prefix, point.ms());
        prop_assert_eq!(parsed(&state.at(point).await.unwrap()), expected.clone(), "at {:?}", point);
        let diff = state.diff(before.0, point).await.unwrap();
        check_diff(&parsed(&diff.to_json()), &before.1, &expected)?;
        before = (point, expected);
    }
    if changes.iter().any(|change| matches!(change, Change::Replace { .. })) {
        return Ok(());
    }
    let end = events.last().map_or(0, |event| event.id.ms) + 1;
    let replayed = events.iter().filter(|event| event.event_type != "state.snapshot");
    prop_assert_eq!(parsed(&state.at(Point::Time(end)).await.unwrap()), reduce(replayed, end), "without snapshots");
    Ok(())
}

fn check_diff(diff: &Value, from: &Value, to: &Value) -> Checked {
    let (mut added, mut removed, mut changed) = (json!({}), json!({}), json!({}));
    let (from, to) = (from.as_object().unwrap(), to.as_object().unwrap());
    for (key, value) in to {
        match from.get(key) {
            None => added[key] = value.clone(),
            Some(old) if old != value => changed[key] = json!({ "from": old, "to": value }),
            Some(_) => {}
        }
    }
    for (key, value) in from.iter().filter(|(key, _)| !to.contains_key(*key)) {
        removed[key] = value.clone();
    }
    prop_assert_eq!((&diff["added"], &diff["removed"], &diff["changed"]), (&added, &removed, &changed));
    Ok(())
}

/// Plays many cases; panics with the smallest one that fails.
fn check<T: Debug>(cases: u32, strategy: impl Strategy<Value = T>, play: impl AsyncFn(T) -> Checked) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    if let Err(failure) = TestRunner::new(config).run(&strategy, |case| runtime.block_on(play(case))) {
        panic!("{failure}");
    }
}

async fn memory() -> (EventStore, Arc<VirtualClock>) {
    let clock = Arc::new(VirtualClock::new(1_762_336_800_000));
    (EventStore::open(StoreOptions::memory().with_clock(clock.clone())).await.unwrap(), clock)
}

/// A store in a directory. The disk is not waited for: what is asked here has to be right all the same.
async fn file(directory: &Directory) -> (EventStore, Arc<VirtualClock>) {
    let clock = Arc::new(VirtualClock::new(1_762_336_800_000));
    let options = FileOptions { fsync: false, ..FileOptions::new(directory.path()) };
    (EventStore::open(StoreOptions::file(options).with_clock(clock.clone())).await.unwrap(), clock)
}

async fn redis(server: &RedisServer) -> EventStore {
    server.say::<()>("FLUSHALL").unwrap();
    EventStore::open(StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap())).await.unwrap()
}

#[test]
fn memory_equals_the_model() {
    check(400, vec(step(), 0..60), async |steps| {
        let (store, clock) = memory().await;
        Play { store, clock: Some(clock), model: Model::default(), appended: 0 }.steps(&steps).await
    });
}

#[test]
fn file_equals_the_model() {
    check(80, vec(step(), 0..60), async |steps| {
        let directory = Directory::new();
        let (store, clock) = file(&directory).await;
        Play { store, clock: Some(clock), model: Model::default(), appended: 0 }.steps(&steps).await
    });
}

#[test]
fn redis_equals_the_model() {
    let server = RedisServer::start().unwrap();
    check(60, vec(step(), 0..60), async |steps| {
        Play { store: redis(&server).await, clock: None, model: Model::default(), appended: 0 }.steps(&steps).await
    });
}

#[test]
fn p5_p4_memory_state_at_a_point_is_the_fold_of_the_prefix() {
    check(150, vec(change(), 0..30), async |changes| {
        let (store, clock) = memory().await;
        time_travel(&store, Some(&clock), &changes).await
    });
}

#[test]
fn p5_p4_file_state_at_a_point_is_the_fold_of_the_prefix() {
    check(25, vec(change(), 0..25), async |changes| {
        let directory = Directory::new();
        let (store, clock) = file(&directory).await;
        time_travel(&store, Some(&clock), &changes).await
    });
}

#[test]
fn p5_p4_redis_state_at_a_point_is_the_fold_of_the_prefix() {
    let server = RedisServer::start().unwrap();
    check(25, vec(change(), 0..25), async |changes| time_travel(&redis(&server).await, None, &changes).await);
}
