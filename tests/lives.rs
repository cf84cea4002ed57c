//! Corners of what a store does to runs by itself: lives, indexes, logs, compaction, snapshots.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod redis;
    pub mod runs;
}

use std::sync::Arc;
use std::time::{Duration, Instant};

use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::error::Code;
use nuxt_queue_core::event::EventRef;
use nuxt_queue_core::state::Point;
use nuxt_queue_core::store::{Compact, Limits, Lives, LogRetention, RetentionOptions};
use nuxt_queue_core::{AppendOptions, Consistency, EventId, EventStore, NewEvent, Query, StoreOptions, VirtualClock};

use support::redis::RedisServer;
use support::runs::{MOMENT, STREAM, append, log, options, set, state};

const SECOND: Duration = Duration::from_secs(1);

async fn kept(active: Option<Duration>, completed: Option<Duration>) -> (EventStore, Arc<VirtualClock>) {
    let clock = Arc::new(VirtualClock::new(1_000_000));
    let retention =
        RetentionOptions { lives: Lives { active, completed, failed: None }, ..RetentionOptions::default() };
    let options = StoreOptions::memory().with_clock(clock.clone()).with_retention(retention);
    (EventStore::open(options).await.unwrap(), clock)
}

async fn is_there(store: &EventStore) -> bool {
    store.last_id(STREAM).await.unwrap().is_some()
}

#[tokio::test]
async fn a_refused_append_is_no_renewal() {
    let (store, clock) = kept(Some(100 * SECOND), None).await;
    let expecting = AppendOptions { expected_last_id: Some(EventId::new(5, 5)), idempotency_key: None };
    assert!(store.append(STREAM, NewEvent::new("flow.started"), expecting).await.is_err());
    append(&store, STREAM, NewEvent::new("flow.started")).await;
    clock.advance(1_000_000);
    assert!(!is_there(&store).await, "it was to live 100 seconds, and lives for ever");
}

#[tokio::test]
async fn a_refused_append_shortens_no_life() {
    let (store, clock) = kept(Some(100 * SECOND), None).await;
    append(&store, STREAM, NewEvent::new("flow.started")).await;
    clock.advance(10_000);
    let expecting = AppendOptions { expected_last_id: Some(EventId::new(5, 5)), idempotency_key: None };
    assert!(store.append(STREAM, NewEvent::new("x"), expecting).await.is_err());
    clock.advance(9_999);
    append(&store, STREAM, NewEvent::new("x")).await;
    clock.advance(99_000);
    assert!(is_there(&store).await, "99 seconds after its last event");
}

#[tokio::test]
async fn a_run_that_begins_again_after_a_deletion_has_a_life() {
    let (store, clock) = kept(Some(100 * SECOND), None).await;
    append(&store, STREAM, NewEvent::new("flow.started")).await;
    store.delete_stream(STREAM).await.unwrap();
    append(&store, STREAM, NewEvent::new("flow.started")).await;
    clock.advance(1_000_000);
    assert!(!is_there(&store).await, "it was to live 100 seconds, and lives for ever");
}

#[tokio::test]
async fn a_run_that_begins_again_after_its_end_has_a_life() {
    let (store, clock) = kept(Some(100 * SECOND), Some(SECOND)).await;
    append(&store, STREAM, NewEvent::new("flow.started")).await;
    append(&store, STREAM, NewEvent::new("flow.completed")).await;
    clock.advance(2_000);
    assert!(!is_there(&store).await);
    append(&store, STREAM, NewEvent::new("flow.started")).await;
    clock.advance(1_000_000);
    assert!(!is_there(&store).await, "it was to live 100 seconds, and lives for ever");
}

#[tokio::test]
async fn a_run_that_was_indexed_before_it_began_stays_in_the_index() {
    let (store, clock) = kept(None, Some(10 * SECOND)).await;
    store.index_add("nq:flows:f", "r", 1.0).await.unwrap();
    clock.advance(11_000);
    store.index_read("nq:flows:f", 0, None).await.unwrap();
    append(&store, STREAM, NewEvent::new("flow.started")).await;
    assert_eq!(store.index_read("nq:flows:f", 0, None).await.unwrap().len(), 1);
}

/// A run that begins again while an index is swept.
#[tokio::test]
async fn a_run_that_begins_again_during_a_sweep_stays_in_the_index() {
    let server = RedisServer::start().unwrap();
    let lives = Lives { active: None, completed: Some(Duration::from_millis(50)), failed: None };
    let retention = RetentionOptions { lives, ..RetentionOptions::default() };
    let store = EventStore::open(options(&server).with_retention(retention)).await.unwrap();
    let other = EventStore::open(options(&server).with_retention(retention)).await.unwrap();
    let mut lost = 0;
    for round in 0..8 {
        let index = format!("nq:flows:f{round}");
        for n in 0..90 {
            store.index_add(&index, &format!("{round}-{n:02}"), 1.0).await.unwrap();
        }
        tokio::time::sleep(MOMENT).await;
        let first = format!("{round}-00");
        let stream = format!("nq:flow:{first}");
        let swept = store.index_read(&index, 0, None);
        let restarted = async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            append(&other, &stream, NewEvent::new("flow.started")).await;
            other.index_add(&index, &first, 2.0).await.unwrap();
        };
        let (swept, ()) = tokio::join!(swept, restarted);
        swept.unwrap();
        let members = store.index_read(&index, 0, None).await.unwrap();
        lost += u64::from(!members.iter().any(|(run, _)| *run == first));
    }
    assert_eq!(lost, 0, "of 8 runs that go on, in no index");
}

fn limited(options: StoreOptions, logs: LogRetention) -> StoreOptions {
    options.with_retention(RetentionOptions { logs, ..RetentionOptions::default() })
}

/// A run is deleted while the mark of its trimming waits for its turn.
#[tokio::test]
async fn trimming_makes_no_run_of_one_that_is_gone() {
    let server = RedisServer::start().unwrap();
    let logs = LogRetention { max_age: Some(Duration::from_millis(150)), max_bytes: None };
    let limits = Limits { max_queued_bytes: 1, ..Limits::default() };
    let store = EventStore::open(limited(options(&server), logs).with_limits(limits)).await.unwrap();
    log(&store).await;
    log(&store).await;
    // A busy store: appends wait for a moment.
    let busy: Vec<_> =
        (0..30_000).map(|_| store.append("other", NewEvent::new("x"), AppendOptions::default())).collect();
    tokio::time::sleep(Duration::from_millis(260)).await;
    let waiting = store.stats().queued_bytes;
    let deleted: u64 = server.say(&format!("DEL {STREAM}")).unwrap();
    for append in busy {
        append.await.unwrap();
    }
    tokio::time::sleep(MOMENT).await;
    let left = store.query(Query::stream(STREAM)).await.unwrap();
    assert!(waiting > 0 && deleted == 1, "the test is too late: {waiting}, {deleted}");
    assert!(left.is_empty(), "a run that was deleted is there again: {}", left.to_json());
}

#[tokio::test]
async fn logs_never_outgrow_their_bytes() {
    let server = RedisServer::start().unwrap();
    let logs = LogRetention { max_age: None, max_bytes: Some(100_000) };
    let store = EventStore::open(limited(options(&server), logs)).await.unwrap();
    let mut most = 0;
    for n in 0..4000 {
        append(&store, STREAM, NewEvent::new("log.info")).await;
        if n % 100 == 99 {
            let logs = store.query(Query { types: vec!["log.info".into()], ..Query::stream(STREAM) }).await.unwrap();
            most = most.max(logs.iter().map(|event| event.record.len()).sum());
        }
    }
    assert!(most <= 110_000, "{most} bytes of logs, at most 100000 are to be kept");
}

#[tokio::test]
async fn a_log_within_the_budget_is_kept() {
    let logs = LogRetention { max_age: None, max_bytes: Some(1000) };
    let store = EventStore::open(limited(StoreOptions::memory(), logs)).await.unwrap();
    let text = format!("\"{}\"", "x".repeat(700));
    append(&store, STREAM, NewEvent::new("log.error").with_data(&text)).await;
    tokio::time::sleep(MOMENT).await;
    let events = store.query(Query::stream(STREAM)).await.unwrap();
    assert!(events.to_json().contains("log.error"), "{}", events.to_json());
}

#[tokio::test]
async fn old_logs_go_although_the_server_was_away_for_a_moment() {
    let server = RedisServer::start().unwrap();
    let logs = LogRetention { max_age: Some(Duration::from_millis(300)), max_bytes: None };
    let limits = Limits { append_timeout: Duration::from_millis(200), ..Limits::default() };
    let store = EventStore::open(limited(options(&server), logs).with_limits(limits)).await.unwrap();
    log(&store).await;
    server.pause();
    tokio::time::sleep(Duration::from_millis(800)).await;
    server.resume();
    tokio::time::sleep(2 * SECOND).await;
    let events = store.query(Query { types: vec!["log.info".into()], ..Query::stream(STREAM) }).await.unwrap();
    assert!(events.is_empty(), "a log of 300 ms at most is there after 3 s");
}

#[tokio::test]
async fn trimming_prolongs_no_life() {
    let server = RedisServer::start().unwrap();
    let lives = Lives { active: Some(Duration::from_millis(1000)), completed: None, failed: None };
    let logs = LogRetention { max_age: Some(Duration::from_millis(700)), max_bytes: None };
    let store = EventStore::open(options(&server).with_retention(RetentionOptions { lives, logs })).await.unwrap();
    log(&store).await;
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert!(!is_there(&store).await, "a run without activity for 1.3 s, of a life of 1 s");
}

#[derive(Default)]
struct Count(u64);

impl Compact for Count {
    const SNAPSHOT: &'static str = "registry.snapshot";
    fn apply(&mut self, _: EventRef<'_>) {
        self.0 += 1;
    }
    fn to_json(&self) -> String {
        self.0.to_string()
    }
    fn from_json(json: &str) -> Option<Self> {
        json.parse().ok().map(Count)
    }
}

async fn compacted(more: usize) -> (EventStore, Vec<EventId>) {
    let store = EventStore::open(StoreOptions::memory()).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..5 {
        append(&store, "nq:registry", NewEvent::new("x")).await;
        ids.push(store.last_id("nq:registry").await.unwrap().unwrap());
    }
    store.compact::<Count>("nq:registry").await.unwrap().unwrap();
    for _ in 0..more {
        append(&store, "nq:registry", NewEvent::new("x")).await;
    }
    (store, ids)
}

#[tokio::test]
async fn trimmed_is_said_whatever_the_number_of_events() {
    let mut silent = Vec::new();
    for more in 60..70 {
        let (store, ids) = compacted(more).await;
        let query = Query { after: Some(ids[1]), ..Query::stream("nq:registry").descending() };
        match store.query(query).await {
            Err(error) => assert_eq!(error.code(), Code::Trimmed),
            Ok(events) => silent.push(events.len()),
        }
    }
    assert!(silent.is_empty(), "silent with {silent:?} events");
}

#[tokio::test]
async fn trimmed_is_said_if_the_whole_range_is_gone() {
    let (store, ids) = compacted(3).await;
    let range = Query { after: Some(ids[0]), before: Some(ids[4]), ..Query::stream("nq:registry") };
    let events = store.query(range).await;
    assert_eq!(events.map(|events| events.len()).map_err(|error| error.code()), Err(Code::Trimmed));
}

#[tokio::test]
async fn an_event_of_a_user_is_no_compaction() {
    let store = EventStore::open(StoreOptions::memory()).await.unwrap();
    append(&store, STREAM, NewEvent::new("x")).await;
    let first = store.last_id(STREAM).await.unwrap().unwrap();
    let data = r#"{"upTo":"99999999999999-0","state":{}}"#;
    append(&store, STREAM, NewEvent::new("cart.snapshot").with_data(data)).await;
    assert!(store.query(Query { after: Some(first), ..Query::stream(STREAM) }).await.is_ok());
}

#[tokio::test]
async fn a_snapshot_brings_back_no_key_that_has_expired() {
    let clock = Arc::new(VirtualClock::new(1_000_000));
    let store = EventStore::open(StoreOptions::memory().with_clock(clock.clone())).await.unwrap();
    let state = state(&store);
    state.set("a", "1", Some(Duration::from_millis(50))).await.unwrap();
    clock.advance(3_600_000);
    assert_eq!(state.get_all(Consistency::Cached).await.unwrap(), "{}");
    let snapshot = state.snapshot().await.unwrap();
    let events = store.query(Query::stream(STREAM)).await.unwrap();
    let id = events.iter().find(|event| event.event_type == "state.snapshot").unwrap().id;
    let at = state.at(Point::Event(id)).await.unwrap();
    let history = state.history(Some("a")).await.unwrap().len();
    assert_eq!((at.as_str(), history, snapshot.contains("\"a\":1")), ("{}", 1, false), "{snapshot}");
}

/// The store's clock and the server's differ: by an hour, or by 55 years.
#[tokio::test]
async fn state_from_a_snapshot_is_state_from_a_replay_whatever_the_clocks_say() {
    let server = RedisServer::start().unwrap();
    let clock = Arc::new(VirtualClock::new(1_000_000));
    let store = EventStore::open(options(&server).with_clock(clock)).await.unwrap();
    let state = state(&store);
    state.set("a", "1", Some(3600 * SECOND)).await.unwrap();
    let before = state.get_all(Consistency::Cached).await.unwrap();
    state.snapshot().await.unwrap();
    let after = state.get_all(Consistency::Cached).await.unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn snapshots_do_not_multiply_what_is_written() {
    let store = EventStore::open(StoreOptions::memory().with_snapshot_every(100)).await.unwrap();
    let state = state(&store);
    for n in 0..6000 {
        state.set(&format!("k{}", n % 2500), "1", Some(3600 * SECOND)).await.unwrap();
    }
    let events = store.query(Query::stream(STREAM)).await.unwrap().len();
    assert!(events < 3 * 6000, "{events} events for 6000 that were written");
}

/// A way to a server that takes its time, in each direction.
async fn far_away(server: u16, delay: Duration) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (client_out, client_in) = client.into_split();
            let (server_out, server_in) =
                tokio::net::TcpStream::connect(("127.0.0.1", server)).await.unwrap().into_split();
            for (mut from, mut to) in [(client_out, server_in), (server_out, client_in)] {
                let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(count @ 1..) = from.read(&mut buffer).await {
                        drop(sender.send((Instant::now() + delay, buffer[..count].to_vec())));
                    }
                });
                tokio::spawn(async move {
                    while let Some((due, bytes)) = receiver.recv().await {
                        tokio::time::sleep_until(due.into()).await;
                        if to.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    format!("redis://127.0.0.1:{port}")
}

/// Appends that nobody awaits one by one, to a server 120 ms away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_of_a_far_server_are_written() {
    let server = RedisServer::start().unwrap();
    let url = far_away(server.port(), Duration::from_millis(60)).await;
    let options = StoreOptions::redis(RedisOptions::from_url(&url).unwrap()).with_snapshot_every(100);
    let store = EventStore::open(options).await.unwrap();
    for n in 0..60_u64 {
        for k in 0..10 {
            drop(store.append(STREAM, set("a", 10 * n + k), AppendOptions::default()));
        }
        append(&store, "nq:flow:other", NewEvent::new("x")).await;
    }
    tokio::time::sleep(SECOND).await;
    let snapshots = store.stats().snapshots;
    assert!(snapshots >= 3, "{snapshots} snapshots of 600 state events at one a hundred");
}
