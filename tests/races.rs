//! Many at once, on each backend: conditions, idempotency keys, patches, subscriptions and closing.

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

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use nuxt_queue_core::backend::file::FileOptions;
use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::backend::{Glob, Receipt, Selector};
use nuxt_queue_core::error::Code;
use nuxt_queue_core::store::{Delivery, Subscription};
use nuxt_queue_core::{
    AppendOptions, Consistency, Envelope, EventId, EventStore, NewEvent, Query, RunState, StoreOptions,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

use support::directory::Directory;
use support::redis::RedisServer;

/// Two handles on the same events: of one store in memory, of two elsewhere.
type Pair = [EventStore; 2];

const STREAM: &str = "nq:flow:race";

async fn on_memory<F: Future<Output = ()>>(race: impl FnOnce(Pair) -> F) {
    let store = EventStore::open(StoreOptions::memory()).await.unwrap();
    timeout(Duration::from_secs(60), race([store.clone(), store])).await.expect("someone waits for ever");
}

async fn on_file<F: Future<Output = ()>>(race: impl FnOnce(Pair) -> F) {
    let directory = Directory::new();
    let options = StoreOptions::file(FileOptions::new(directory.path()));
    let pair = [EventStore::open(options.clone()).await.unwrap(), EventStore::open(options).await.unwrap()];
    timeout(Duration::from_secs(60), race(pair)).await.expect("someone waits for ever");
}

async fn on_redis<F: Future<Output = ()>>(race: impl FnOnce(Pair) -> F) {
    let server = RedisServer::start().unwrap();
    let options = StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap());
    let pair = [EventStore::open(options.clone()).await.unwrap(), EventStore::open(options).await.unwrap()];
    timeout(Duration::from_secs(60), race(pair)).await.expect("someone waits for ever");
}

/// A test of each race on each backend.
macro_rules! races {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::on_memory(super::$name).await;
            })+
        }
        mod file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::on_file(super::$name).await;
            })+
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::on_redis(super::$name).await;
            })+
        }
    };
}

races!(
    compare_and_append_loses_no_update,
    one_of_many_creates_a_stream,
    one_key_stores_once_and_answers_all_alike,
    a_key_is_forgotten_with_its_stream,
    patches_lose_nothing,
    p2_unawaited_appends_of_many_callers_keep_their_orders,
    batches_stay_together,
    subscriptions_have_no_gap_and_no_double,
    close_settles_what_was_accepted,
    reads_see_what_was_appended_before,
);

async fn join(mut tasks: JoinSet<()>) {
    while let Some(task) = tasks.join_next().await {
        task.expect("a task failed");
    }
}

fn number(n: u64) -> NewEvent {
    NewEvent::new("test.number").with_data(n.to_string())
}

fn expecting(last: EventId) -> AppendOptions {
    AppendOptions { expected_last_id: Some(last), idempotency_key: None }
}

fn ids(receipt: &Receipt) -> Vec<EventId> {
    match receipt {
        Receipt::One(id) => vec![*id],
        Receipt::Batch(ids) => ids.clone(),
        Receipt::Repeated(events) => events.iter().map(|event| event.id).collect(),
    }
}

/// The ids and payloads of a stream.
async fn contents(store: &EventStore, stream: &str) -> Vec<(EventId, String)> {
    let events = store.query(Query::stream(stream)).await.unwrap();
    events.iter().map(|event| (event.id, event.data.unwrap().to_owned())).collect()
}

async fn compare_and_append_loses_no_update(pair: Pair) {
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let store = pair[task % 2].clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                increment(&store).await;
            }
        });
    }
    join(tasks).await;
    let values: Vec<u64> = contents(&pair[0], STREAM).await.iter().map(|(_, data)| data.parse().unwrap()).collect();
    assert_eq!(values, (1..=160).collect::<Vec<u64>>());
}

/// Reads the newest number and appends the next one, until nobody comes between.
async fn increment(store: &EventStore) {
    loop {
        let newest = store.query(Query { limit: Some(1), ..Query::stream(STREAM).descending() }).await.unwrap();
        let (last, value) =
            newest.last().map_or((EventId::MIN, 0), |event| (event.id, event.data.unwrap().parse().unwrap()));
        match store.append(STREAM, number(value + 1), expecting(last)).await {
            Ok(_) => return,
            Err(error) => assert_eq!(error.code(), Code::Conflict, "{error}"),
        }
    }
}

async fn one_of_many_creates_a_stream(pair: Pair) {
    for round in 0..20 {
        let stream = format!("{STREAM}:{round}");
        let calls: Vec<_> =
            (0..16).map(|n| pair[n % 2].append(&stream, number(n as u64), expecting(EventId::MIN))).collect();
        let mut winners = Vec::new();
        for call in calls {
            match call.await {
                Ok(receipt) => winners.extend(ids(&receipt)),
                Err(error) => assert_eq!(error.code(), Code::Conflict, "{error}"),
            }
        }
        let stored: Vec<EventId> = contents(&pair[0], &stream).await.into_iter().map(|(id, _)| id).collect();
        assert_eq!((winners.len(), &winners), (1, &stored));
    }
}

async fn one_key_stores_once_and_answers_all_alike(pair: Pair) {
    for (round, size) in [1, 1, 1, 3, 3, 3].into_iter().enumerate() {
        let key = format!("key-{round}");
        let mut tasks: JoinSet<(Vec<EventId>, bool)> = JoinSet::new();
        for task in 0..16 {
            let (store, key) = (pair[task % 2].clone(), key.clone());
            tasks.spawn(async move {
                let events = (0..size).map(|_| number(task as u64)).collect();
                let options = AppendOptions { expected_last_id: None, idempotency_key: Some(key) };
                let receipt = store.append_batch(STREAM, events, options).await.unwrap();
                (ids(&receipt), matches!(receipt, Receipt::Repeated(_)))
            });
        }
        let answers = tasks.join_all().await;
        let distinct: HashSet<&Vec<EventId>> = answers.iter().map(|(ids, _)| ids).collect();
        assert_eq!(distinct.len(), 1, "{distinct:?}");
        assert_eq!(answers.iter().filter(|(_, repeated)| !repeated).count(), 1);
    }
    assert_eq!(contents(&pair[0], STREAM).await.len(), 12);
}

/// A stream that is deleted and begun again within a millisecond has an old id again.
async fn a_key_is_forgotten_with_its_stream(pair: Pair) {
    let [store, _] = pair;
    let keyed = || AppendOptions { expected_last_id: None, idempotency_key: Some("key".into()) };
    for _ in 0..200 {
        store.append(STREAM, number(1), keyed()).await.unwrap();
        store.delete_stream(STREAM).await.unwrap();
        store.append(STREAM, number(2), AppendOptions::default()).await.unwrap();
        let receipt = store.append(STREAM, number(3), keyed()).await.unwrap();
        assert!(matches!(receipt, Receipt::One(_)), "another event was taken for the repeated one: {receipt:?}");
        store.delete_stream(STREAM).await.unwrap();
    }
}

async fn patches_lose_nothing(pair: Pair) {
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let state = RunState::new(&pair[task % 2], "race", Envelope::default());
        tasks.spawn(async move {
            for _ in 0..15 {
                let key = ["even", "odd"][task % 2];
                let count =
                    |value: Option<&str>| (value.map_or(0, |value| value.parse::<u64>().unwrap()) + 1).to_string();
                state.patch(key, count).await.unwrap();
                state.patch("all", count).await.unwrap();
                state.set(&format!("own-{task}"), "1", None).await.unwrap();
            }
        });
    }
    join(tasks).await;
    for store in &pair {
        let state = RunState::new(store, "race", Envelope::default());
        for (key, expected) in [("even", "60"), ("odd", "60"), ("all", "120")] {
            assert_eq!(state.get(key, Consistency::Cached).await.unwrap().as_deref(), Some(expected), "{key}");
        }
    }
}

async fn p2_unawaited_appends_of_many_callers_keep_their_orders(pair: Pair) {
    let mut tasks = JoinSet::new();
    for task in 0..6_u64 {
        let store = pair[task as usize % 2].clone();
        tasks.spawn(async move {
            let calls: Vec<_> =
                (0..300).map(|n| store.append(STREAM, number(task * 1000 + n), AppendOptions::default())).collect();
            for call in calls {
                call.await.unwrap();
            }
        });
    }
    join(tasks).await;
    let stored = contents(&pair[0], STREAM).await;
    assert!(stored.windows(2).all(|two| two[0].0 < two[1].0));
    for task in 0..6 {
        let numbers = stored.iter().map(|(_, data)| data.parse::<u64>().unwrap());
        let own: Vec<u64> = numbers.filter(|number| number / 1000 == task).map(|number| number % 1000).collect();
        assert_eq!(own, (0..300).collect::<Vec<u64>>());
    }
}

async fn batches_stay_together(pair: Pair) {
    let mut tasks = JoinSet::new();
    for task in 0..6_u64 {
        let store = pair[task as usize % 2].clone();
        tasks.spawn(async move {
            for round in 0..20 {
                let batch = (0..5).map(|n| number(task * 1000 + round * 5 + n)).collect();
                store.append_batch(STREAM, batch, AppendOptions::default()).await.unwrap();
                store.append(STREAM, number(u64::MAX), AppendOptions::default()).await.unwrap();
            }
        });
    }
    join(tasks).await;
    let stored: Vec<u64> = contents(&pair[0], STREAM).await.iter().map(|(_, data)| data.parse().unwrap()).collect();
    assert_eq!(stored.len(), 6 * 20 * 6);
    for (at, first) in stored.iter().enumerate().filter(|(_, number)| **number != u64::MAX && *number % 5 == 0) {
        assert_eq!(&stored[at..at + 5], (*first..*first + 5).collect::<Vec<u64>>());
    }
}

/// What a subscription brings until the stream's last event is there.
async fn follow(mut subscription: Subscription, end: impl Fn(&str) -> bool) -> Vec<(EventId, String)> {
    let mut seen = Vec::new();
    loop {
        match subscription.next().await.unwrap() {
            Delivery::Events(events) => {
                seen.extend(events.iter().map(|event| (event.id, event.data.unwrap().to_owned())))
            }
            Delivery::CaughtUp => {}
            Delivery::Closed => panic!("nobody closed the store"),
        }
        if seen.iter().any(|(_, data)| end(data)) {
            return seen;
        }
    }
}

async fn subscriptions_have_no_gap_and_no_double(pair: Pair) {
    let mut writers = JoinSet::new();
    for (task, store) in pair.clone().into_iter().chain(pair.clone()).enumerate() {
        writers.spawn(async move {
            for n in 0..200 {
                store.append(STREAM, number((task * 1000 + n) as u64), AppendOptions::default()).await.unwrap();
            }
        });
    }
    let mut followers = JoinSet::new();
    for n in 0..12 {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let middle = contents(&pair[0], STREAM).await.last().map(|(id, _)| *id);
        let after = [None, Some(EventId::MIN), middle][n % 3];
        let selector = match n % 2 {
            0 => Selector::Stream(STREAM.into()),
            _ => Selector::Pattern(Glob::new("nq:flow:*")),
        };
        let subscription = pair[n % 2].subscribe(selector, after).await.unwrap();
        // What is appended from here on is brought for certain.
        let from = pair[0].append(STREAM, number(10_000 + n as u64), AppendOptions::default()).await.unwrap();
        followers.spawn(async move { (n, after, ids(&from)[0], follow(subscription, |data| data == "99999").await) });
    }
    join(writers).await;
    pair[1].append(STREAM, number(99_999), AppendOptions::default()).await.unwrap();
    let all = contents(&pair[0], STREAM).await;
    for (n, after, from, seen) in followers.join_all().await {
        let first = seen[0].0;
        let expected: Vec<_> =
            all.iter().filter(|(id, _)| after.map_or(*id >= first, |after| *id > after)).cloned().collect();
        assert_eq!(seen, expected, "subscription {n} after {after:?}");
        assert!(first <= from, "subscription {n} missed what was appended after it was there");
    }
}

async fn close_settles_what_was_accepted(pair: Pair) {
    let [store, reader] = pair;
    let mut tasks = JoinSet::new();
    for task in 0..4_u64 {
        let store = store.clone();
        tasks.spawn(async move {
            let (mut calls, mut closed, mut stored) = (Vec::new(), false, Vec::new());
            for n in 0.. {
                calls.push((
                    task * 1_000_000 + n,
                    store.append(STREAM, number(task * 1_000_000 + n), AppendOptions::default()),
                ));
                if calls.len() < 50 {
                    continue;
                }
                for (number, call) in calls.drain(..) {
                    match call.await {
                        Ok(_) if closed => panic!("{number} was taken after an earlier one was refused"),
                        Ok(_) => stored.push(number),
                        Err(error) => {
                            assert_eq!(error.code(), Code::Closed, "{error}");
                            closed = true;
                        }
                    }
                }
                if closed {
                    return stored;
                }
                tokio::task::yield_now().await;
            }
            unreachable!("numbers have no end")
        });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    tokio::join!(store.close(), store.close());
    let late = store.append(STREAM, number(0), AppendOptions::default()).await.unwrap_err();
    assert_eq!(late.code(), Code::Closed);
    assert_eq!(store.query(Query::stream(STREAM)).await.unwrap_err().code(), Code::Closed);
    let mut acknowledged: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() > 50, "nothing was under way");
    // The second handle is another store on Redis, and the closed one in memory.
    if let Ok(events) = reader.query(Query::stream(STREAM)).await {
        let mut stored: Vec<u64> = events.iter().map(|event| event.data.unwrap().parse().unwrap()).collect();
        stored.sort_unstable();
        acknowledged.sort_unstable();
        assert!(stored == acknowledged, "{} are stored, {} were acknowledged", stored.len(), acknowledged.len());
    }
}

async fn reads_see_what_was_appended_before(pair: Pair) {
    let mut tasks = JoinSet::new();
    for task in 0..4_usize {
        let store = pair[task % 2].clone();
        tasks.spawn(async move {
            let stream = format!("{STREAM}:{task}");
            for n in 1..=100 {
                let unawaited = store.append(&stream, number(n), AppendOptions::default());
                let newest =
                    store.query(Query { limit: Some(1), ..Query::stream(&stream).descending() }).await.unwrap();
                assert_eq!(newest.last().unwrap().data, Some(&*n.to_string()));
                drop(unawaited);
            }
        });
    }
    join(tasks).await;
}
