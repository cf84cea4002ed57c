//! Corners in which what is in memory could have been taken for what a stream holds (P3), or reading
//! it could have come to no end (P12).

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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nuxt_queue_core::error::Code;
use nuxt_queue_core::store::{Limits, Lives, RetentionOptions};
use nuxt_queue_core::{
    AppendOptions, Clock, Consistency, Envelope, EventId, EventStore, NewEvent, Query, RunState, StoreOptions,
};

use support::redis::RedisServer;
use support::runs::{MOMENT, STREAM, append, log, options, set, state};

async fn open(server: &RedisServer) -> EventStore {
    EventStore::open(options(server).with_snapshot_every(0)).await.unwrap()
}

/// `a` is set by the first event, which is not the last one.
async fn filled(server: &RedisServer) -> (EventStore, RunState, EventId) {
    let other = open(server).await;
    append(&other, STREAM, set("a", 1)).await;
    let first = other.last_id(STREAM).await.unwrap().unwrap();
    log(&other).await;
    log(&other).await;
    let ours = open(server).await;
    let state = state(&ours);
    assert_eq!(state.get("a", Consistency::Cached).await.unwrap().as_deref(), Some("1"));
    (ours, state, first)
}

fn xdel(server: &RedisServer, id: EventId) {
    let deleted: u64 = server.say(&format!("XDEL {STREAM} {id}")).unwrap();
    assert_eq!(deleted, 1);
}

#[tokio::test]
async fn a_whole_query_does_not_vouch_for_a_run_that_was_folded_before() {
    let server = RedisServer::start().unwrap();
    let (ours, state, first) = filled(&server).await;
    xdel(&server, first);
    tokio::time::sleep(MOMENT).await;
    assert_eq!(ours.query(Query::stream(STREAM)).await.unwrap().len(), 2);
    let cached = state.get("a", Consistency::Cached).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    let strong = state.get("a", Consistency::Strong).await.unwrap();
    let peeked = state.peek("a");
    assert_eq!((cached, strong, peeked), (None, None, Some(None)));
}

#[tokio::test]
async fn a_foreign_deletion_right_after_an_own_append_is_seen() {
    let server = RedisServer::start().unwrap();
    let (ours, state, first) = filled(&server).await;
    // Nobody asks for a while: own appends are not followed any more, and the server forgets us.
    for _ in 0..100 {
        log(&ours).await;
    }
    tokio::time::sleep(MOMENT).await;
    xdel(&server, first);
    tokio::time::sleep(MOMENT).await;
    let cached = state.get("a", Consistency::Cached).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    let strong = state.get("a", Consistency::Strong).await.unwrap();
    assert_eq!((cached, strong), (None, None));
}

#[tokio::test]
async fn a_read_that_was_given_up_does_not_forget_that_events_may_be_gone() {
    let server = RedisServer::start().unwrap();
    let (_ours, state, first) = filled(&server).await;
    xdel(&server, first);
    tokio::time::sleep(MOMENT).await;
    server.pause();
    let given_up = tokio::time::timeout(MOMENT, state.get("a", Consistency::Cached)).await;
    server.resume();
    assert!(given_up.is_err());
    tokio::time::sleep(MOMENT).await;
    let cached = state.get("a", Consistency::Cached).await.unwrap();
    let strong = state.get("a", Consistency::Strong).await.unwrap();
    assert_eq!((cached, strong), (None, None));
}

/// The same without a caller that gives up: the read runs into its own deadline.
#[tokio::test]
async fn a_read_that_timed_out_does_not_forget_that_events_may_be_gone() {
    let server = RedisServer::start().unwrap();
    filled(&server).await;
    let limits = Limits { append_timeout: Duration::from_millis(200), ..Limits::default() };
    let ours = EventStore::open(options(&server).with_limits(limits)).await.unwrap();
    let state = state(&ours);
    assert_eq!(state.get("a", Consistency::Cached).await.unwrap().as_deref(), Some("1"));
    let first = ours.query(Query { limit: Some(1), ..Query::stream(STREAM) }).await.unwrap().last().unwrap().id;
    xdel(&server, first);
    tokio::time::sleep(MOMENT).await;
    server.pause();
    let failed = state.get("a", Consistency::Cached).await;
    server.resume();
    assert_eq!(failed.unwrap_err().code(), Code::Timeout);
    tokio::time::sleep(MOMENT).await;
    let cached = state.get("a", Consistency::Cached).await.unwrap();
    let strong = state.get("a", Consistency::Strong).await.unwrap();
    assert_eq!((cached, strong), (None, None));
}

#[tokio::test]
async fn a_deletion_whose_caller_went_away_is_seen() {
    let server = RedisServer::start().unwrap();
    let (ours, state, _) = filled(&server).await;
    server.pause();
    assert!(tokio::time::timeout(MOMENT, ours.delete_stream(STREAM)).await.is_err());
    server.resume();
    tokio::time::sleep(MOMENT).await;
    assert_eq!(server.say::<u64>(&format!("EXISTS {STREAM}")).unwrap(), 0);
    assert_eq!(state.get("a", Consistency::Cached).await.unwrap(), None);
}

async fn expired_by(look: impl AsyncFn(&EventStore)) {
    // As on a busy server, whose own search for what is over comes late.
    let server = RedisServer::start_with(&["--appendonly", "no", "--enable-debug-command", "yes"]).unwrap();
    let (ours, state, _) = filled(&server).await;
    let _: String = server.say("DEBUG SET-ACTIVE-EXPIRE 0").unwrap();
    let _: u64 = server.say(&format!("PEXPIRE {STREAM} 50")).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Read again, so that the server tells of it.
    assert_eq!(state.get("a", Consistency::Cached).await.unwrap().as_deref(), Some("1"));
    tokio::time::sleep(Duration::from_millis(60)).await;
    look(&ours).await;
    assert_eq!(server.say::<u64>("DBSIZE").unwrap(), 0, "it is gone from the server");
    tokio::time::sleep(MOMENT).await;
    assert_eq!(state.get("a", Consistency::Cached).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_whose_end_our_own_question_brought_about_is_gone_last_id() {
    expired_by(async |store| assert_eq!(store.last_id(STREAM).await.unwrap(), None)).await;
}

#[tokio::test]
async fn a_run_whose_end_our_own_question_brought_about_is_gone_listing() {
    expired_by(async |store| drop(store.query_global(Query::stream("nq:flow:*")).await.unwrap())).await;
}

#[tokio::test]
async fn a_run_whose_end_our_own_question_brought_about_is_gone_query() {
    let first = |limit| Query { limit: Some(limit), ..Query::stream(STREAM) };
    expired_by(async |store| assert!(store.query(first(5)).await.unwrap().is_empty())).await;
}

/// The same with nothing but the store's own retention and a plain server, in a loop.
#[tokio::test]
async fn expired_runs_are_not_read_from_memory_for_ever() {
    let server = RedisServer::start().unwrap();
    let lives = Lives { active: None, completed: Some(Duration::from_millis(300)), failed: None };
    let retention = RetentionOptions { lives, ..RetentionOptions::default() };
    let store = EventStore::open(options(&server).with_retention(retention)).await.unwrap();
    let run = |n: u64| RunState::new(&store, &n.to_string(), Envelope::default());
    for n in 0..200_u64 {
        let stream = format!("nq:flow:{n}");
        append(&store, &stream, set("a", n)).await;
        store.index_add("nq:flows:f", &n.to_string(), n as f64).await.unwrap();
        append(&store, &stream, NewEvent::new("flow.completed")).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        run(n).get("a", Consistency::Cached).await.unwrap();
    }
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1500) {
        store.index_read("nq:flows:f", 0, None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(server.say::<Vec<String>>("KEYS nq:flow:*").unwrap().len(), 0);
    assert!(store.index_read("nq:flows:f", 0, None).await.unwrap().is_empty());
    let mut stale = 0;
    for n in 0..200 {
        stale += u64::from(run(n).get("a", Consistency::Cached).await.unwrap().is_some());
    }
    assert_eq!(stale, 0, "runs that are neither on the server nor in the index, but in memory");
}

/// A clock on which every look takes a millisecond, once it runs.
#[derive(Default)]
struct Running {
    ms: AtomicU64,
    runs: AtomicBool,
}

impl Clock for Running {
    fn now_ms(&self) -> u64 {
        self.ms.fetch_add(u64::from(self.runs.load(Ordering::SeqCst)), Ordering::SeqCst)
    }
}

#[test]
fn reading_a_run_at_its_very_end_does_not_hang() {
    // How many looks at the clock before it is over: one of them hits the spot.
    let mut hung = Vec::new();
    for life in 1..12_u64 {
        let (done, finished) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let clock = Arc::new(Running::default());
                clock.ms.store(1000, Ordering::SeqCst);
                let lives = Lives { active: None, completed: Some(Duration::from_millis(life)), failed: None };
                let retention = RetentionOptions { lives, ..RetentionOptions::default() };
                let options = StoreOptions::memory().with_clock(clock.clone()).with_retention(retention);
                let store = EventStore::open(options).await.unwrap();
                append(&store, STREAM, set("a", 1)).await;
                state(&store).get("a", Consistency::Cached).await.unwrap();
                append(&store, STREAM, NewEvent::new("flow.completed")).await;
                clock.runs.store(true, Ordering::SeqCst);
                state(&store).get("a", Consistency::Cached).await.unwrap();
            });
            done.send(()).unwrap();
        });
        if finished.recv_timeout(Duration::from_secs(2)).is_err() {
            hung.push(life);
        }
    }
    assert!(hung.is_empty(), "hung with {hung:?} looks left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_had_to_wait_is_never_unseen() {
    let server = RedisServer::start().unwrap();
    let limits = Limits { max_queued_bytes: 290_010, ..Limits::default() };
    let store = EventStore::open(options(&server).with_limits(limits).with_snapshot_every(0)).await.unwrap();
    let run = state(&store);
    run.set("k", "0", None).await.unwrap();
    let big = NewEvent::new("big").with_data(format!("\"{}\"", "x".repeat(290_000)));
    let mut stale = Vec::new();
    for round in 1..=8_u64 {
        run.get("k", Consistency::Cached).await.unwrap();
        let mut appends: Vec<_> =
            (0..40).map(|_| store.append("other", big.clone(), AppendOptions::default())).collect();
        appends.extend((0..1500).map(|_| store.append("nq:flow:x", NewEvent::new("a"), AppendOptions::default())));
        appends.push(store.append(run.stream(), set("k", round), AppendOptions::default()));
        // From here on each read has to show the append, if memory answers at all.
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(200) {
            if let Some(value) = run.peek("k").filter(|value| value.as_deref() != Some(&*round.to_string())) {
                stale.push((round, value));
                break;
            }
        }
        for append in appends {
            append.await.unwrap();
        }
    }
    assert!(stale.is_empty(), "{stale:?} after the appends of these numbers");
}

/// Strong reads after an acknowledged deletion in the middle.
#[tokio::test]
async fn a_strong_read_shows_what_was_deleted_before_it_began() {
    let server = RedisServer::start().unwrap();
    let ours = open(&server).await;
    let state = state(&ours);
    let mut plain = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut stale = 0;
    for n in 0..300_u64 {
        append(&ours, STREAM, set("a", n)).await;
        let id = ours.last_id(STREAM).await.unwrap().unwrap();
        log(&ours).await;
        assert!(state.get("a", Consistency::Strong).await.unwrap().is_some());
        let deleted: u64 = redis::cmd("XDEL").arg(STREAM).arg(id.to_string()).query(&mut plain).unwrap();
        assert_eq!(deleted, 1);
        stale += u64::from(state.get("a", Consistency::Strong).await.unwrap().is_some());
    }
    assert_eq!(stale, 0, "of 300");
}

/// Deleted between the fold and the question for the length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_while_a_run_is_loaded_is_seen() {
    let server = RedisServer::start().unwrap();
    let writer = open(&server).await;
    let many: Vec<_> =
        (0..40_000).map(|n| writer.append(STREAM, set(&format!("k{}", n % 10), n), AppendOptions::default())).collect();
    for append in many {
        append.await.unwrap();
    }
    let mut plain = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut stale = 0;
    for n in 0..5_u64 {
        append(&writer, STREAM, set("a", n)).await;
        let id = writer.last_id(STREAM).await.unwrap().unwrap();
        log(&writer).await;
        let ours = open(&server).await;
        let run = state(&ours);
        let loading = tokio::spawn(async move { run.get("a", Consistency::Cached).await.unwrap() });
        tokio::time::sleep(Duration::from_millis(15)).await;
        let _: u64 = redis::cmd("XDEL").arg(STREAM).arg(id.to_string()).query(&mut plain).unwrap();
        loading.await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stale += u64::from(state(&ours).get("a", Consistency::Strong).await.unwrap().is_some());
        ours.close().await;
    }
    assert_eq!(stale, 0, "of 5, for ever");
}

#[tokio::test]
async fn a_run_that_nobody_looks_at_is_not_read_back() {
    let server = RedisServer::start().unwrap();
    let (ours, _state, _) = filled(&server).await;
    let before = ours.stats().events_read;
    let appends: Vec<_> = (0..20_000_u64).map(|n| ours.append(STREAM, set("b", n), AppendOptions::default())).collect();
    for append in appends {
        append.await.unwrap();
    }
    // A steady stream, not one burst.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        let few: Vec<_> = (0..20_u64).map(|n| ours.append(STREAM, set("b", n), AppendOptions::default())).collect();
        for append in few {
            append.await.unwrap();
        }
    }
    let stats = ours.stats();
    assert!(
        stats.events_read - before < stats.appended / 4,
        "read {} of {}",
        stats.events_read - before,
        stats.appended
    );
}
