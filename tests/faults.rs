//! A real Redis server that dies, hangs, hangs up and goes away, under load: what was acknowledged is
//! there once and in order (P1, P2), every call comes to its end, and the store recovers by itself.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod ledger;
    pub mod load;
    pub mod proxy;
    pub mod redis;
}

use std::time::Duration;

use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::backend::{Glob, Receipt, Selector};
use nuxt_queue_core::error::{Code, Result};
use nuxt_queue_core::store::{Delivery, Limits, Subscription};
use nuxt_queue_core::{AppendOptions, EventId, EventStore, Events, NewEvent, Query, StoreOptions};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use support::ledger::{Fate, Ledger, Summary, fate, marked};
use support::load::Load;
use support::proxy::{Dice, Proxy};
use support::redis::RedisServer;

const LOADED: Duration = Duration::from_millis(400);

/// Times of a store, in milliseconds.
#[derive(Clone, Copy)]
struct Times {
    append: u64,
    silence: u64,
    connect: u64,
}

/// So long that no append ends for lack of time.
const PATIENT: Times = Times { append: 30_000, silence: 10_000, connect: 5_000 };

fn options(url: &str, times: Times) -> StoreOptions {
    let mut redis = RedisOptions::from_url(url).unwrap();
    redis.silence_timeout = Duration::from_millis(times.silence);
    redis.connect_timeout = Duration::from_millis(times.connect);
    let limits = Limits { append_timeout: Duration::from_millis(times.append), ..Limits::default() };
    StoreOptions::redis(redis).with_limits(limits)
}

async fn open(url: &str, times: Times) -> EventStore {
    EventStore::open(options(url, times)).await.unwrap()
}

/// The store appends and reads again without being helped.
async fn works_again(store: &EventStore) {
    let again = async {
        while store.append("nq:flow:after", NewEvent::new("test.after"), AppendOptions::default()).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        store.query(Query::stream("nq:flow:after")).await
    };
    let events = timeout(Duration::from_secs(20), again).await.expect("the store does not recover").unwrap();
    assert!(events.last().is_some_and(|event| event.event_type == "test.after"));
}

/// Reads a stream, as soon as the store gets through to the server.
async fn read(store: &EventStore, stream: &str) -> Events {
    let read = async {
        loop {
            match store.query(Query::stream(stream)).await {
                Ok(events) => return events,
                Err(error) => assert!(matches!(error.code(), Code::Timeout | Code::Unavailable), "{error}"),
            }
        }
    };
    timeout(Duration::from_secs(20), read).await.expect("the store does not recover")
}

/// The end of a test under load: the promises hold, and there was something to hold.
async fn settle(load: Load, store: &EventStore) -> Summary {
    let ledger: Ledger = load.finish().await;
    works_again(store).await;
    let (summary, errors) = (ledger.summary(), ledger.errors());
    println!("{summary:?} {errors:#?}");
    assert!(summary.stored > 100, "the load was too light: {summary:?}");
    ledger.check(store).await;
    summary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_hold_when_the_server_is_killed_and_comes_back() {
    let mut server = RedisServer::start_durable().unwrap();
    let (store, other) = (open(&server.url(), PATIENT).await, open(&server.url(), PATIENT).await);
    let load = Load::start(&store, &other, 100);
    for _ in 0..4 {
        sleep(LOADED).await;
        server.kill();
        sleep(Duration::from_millis(150)).await;
        server.restart().unwrap();
    }
    sleep(LOADED).await;
    let summary = settle(load, &store).await;
    assert_eq!((summary.unknown, summary.absent), (0, 0), "there was time enough to find out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_hold_when_connections_are_closed_by_the_server() {
    let server = RedisServer::start().unwrap();
    let (store, other) = (open(&server.url(), PATIENT).await, open(&server.url(), PATIENT).await);
    let load = Load::start(&store, &other, 100);
    let mut closed = 0;
    for _ in 0..60 {
        sleep(Duration::from_millis(50)).await;
        closed += server.say::<u32>("CLIENT KILL TYPE normal SKIPME yes").unwrap();
    }
    let summary = settle(load, &store).await;
    assert!(closed > 30, "only {closed} connections were closed");
    assert_eq!((summary.unknown, summary.absent), (0, 0), "there was time enough to find out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_hold_when_the_server_hangs_past_the_deadlines() {
    let times = Times { append: 1_000, silence: 300, connect: 400 };
    let server = RedisServer::start().unwrap();
    let (store, other) = (open(&server.url(), times).await, open(&server.url(), times).await);
    let load = Load::start(&store, &other, 2_000);
    for _ in 0..2 {
        sleep(LOADED).await;
        server.pause();
        sleep(Duration::from_millis(2_500)).await;
        server.resume();
        works_again(&store).await;
    }
    let summary = settle(load, &store).await;
    assert!(summary.unknown > 0, "no append was under way: {summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_hold_when_the_server_hangs_for_longer_than_a_connection_is_kept() {
    let times = Times { append: 30_000, silence: 150, connect: 300 };
    let server = RedisServer::start().unwrap();
    let (store, other) = (open(&server.url(), times).await, open(&server.url(), times).await);
    let load = Load::start(&store, &other, 4_000);
    for _ in 0..5 {
        sleep(LOADED).await;
        server.pause();
        sleep(Duration::from_millis(700)).await;
        server.resume();
    }
    let summary = settle(load, &store).await;
    assert_eq!((summary.unknown, summary.absent), (0, 0), "there was time enough to find out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_hold_when_connections_break_after_any_number_of_bytes() {
    let server = RedisServer::start().unwrap();
    let proxy = Proxy::start(server.port(), 20_251_105).await;
    let (mut store, mut other) = (None, None);
    // The connection may well break while a store is opened: that is an error, and nothing else.
    while store.is_none() || other.is_none() {
        for place in [&mut store, &mut other] {
            let opened: Result<EventStore> = EventStore::open(options(&proxy.url(), PATIENT)).await;
            *place = opened
                .inspect_err(|error| assert_eq!(error.code(), Code::Unavailable, "{error}"))
                .ok()
                .or(place.take());
        }
    }
    let (store, other) = (store.unwrap(), other.unwrap());
    let load = Load::start(&store, &other, 100);
    let often = async {
        while proxy.broken() < 60 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = timeout(Duration::from_secs(12), often).await;
    let broken = proxy.broken();
    proxy.calm_down();
    let summary = settle(load, &store).await;
    assert!(broken > 10, "only {broken} connections broke");
    assert_eq!((summary.unknown, summary.absent), (0, 0), "there was time enough to find out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_hold_when_everything_happens() {
    let mut server = RedisServer::start_durable().unwrap();
    let times = Times { append: 3_000, silence: 150, connect: 300 };
    let (store, other) = (open(&server.url(), times).await, open(&server.url(), times).await);
    let load = Load::start(&store, &other, 500);
    let mut dice = Dice::new(7);
    for _ in 0..12 {
        sleep(Duration::from_millis(dice.roll(300))).await;
        match dice.roll(3) {
            0 => {
                server.kill();
                sleep(Duration::from_millis(dice.roll(200))).await;
                server.restart().unwrap();
            }
            1 => drop(server.say::<u32>("CLIENT KILL TYPE normal SKIPME yes").unwrap()),
            _ => {
                server.pause();
                sleep(Duration::from_millis(dice.roll(600))).await;
                server.resume();
            }
        }
    }
    settle(load, &store).await;
}

/// Appends a batch that the server has to come back to many times before it can execute it.
fn append_large(store: &EventStore, first: u64) -> impl Future<Output = Result<Receipt>> + use<> {
    let events = (first..first + 12_000).map(|number| marked("large", number, 0)).collect();
    store.append_batch("nq:flow:large", events, AppendOptions::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_what_the_server_finds_of_a_lost_connection_is_not_executed_twice() {
    let server = RedisServer::start().unwrap();
    let store = open(&server.url(), Times { append: 30_000, silence: 200, connect: 5_000 }).await;
    for round in 0..4 {
        server.pause();
        let append = append_large(&store, round * 12_000);
        // The store has given up the connection, and waits for the next one to be answered.
        sleep(Duration::from_millis(500)).await;
        server.resume();
        append.await.unwrap();
        sleep(Duration::from_millis(300)).await;
        assert_eq!(server.say::<u64>("XLEN nq:flow:large").unwrap(), (round + 1) * 12_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_an_append_that_timed_out_is_not_executed_behind_later_ones() {
    let server = RedisServer::start().unwrap();
    let store = open(&server.url(), Times { append: 400, silence: 500, connect: 5_000 }).await;
    for round in 0..4 {
        server.pause();
        assert_eq!(append_large(&store, round * 12_000).await.unwrap_err().code(), Code::Timeout);
        sleep(Duration::from_millis(300)).await;
        let later = store.append("nq:flow:large", marked("later", round, 0), AppendOptions::default());
        server.resume();
        let later = later.await;
        // Told to find out by reading, one has to find out for good.
        let seen = read(&store, "nq:flow:large").await.len();
        sleep(Duration::from_millis(300)).await;
        let events = read(&store, "nq:flow:large").await;
        assert_eq!(events.len(), seen, "round {round}");
        if let Ok(receipt) = later {
            assert_eq!(Fate::Stored(vec![events.last().unwrap().id]), fate(&Ok(receipt)), "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_named_at_open_and_waited_for_afterwards() {
    let mut server = RedisServer::start_durable().unwrap();
    let (url, port) = (server.url(), server.port());
    server.kill();
    let error = EventStore::open(options(&url, PATIENT)).await.err().expect("nobody is there");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains(&format!("127.0.0.1:{port}")), "{error}");

    // Opened without waiting, a store takes appends before the server is there.
    let early = EventStore::open_lazily(options(&url, PATIENT), Box::new(drop)).unwrap();
    let first = early.append("nq:flow:early", NewEvent::new("test.early"), AppendOptions::default());
    server.restart().unwrap();
    first.await.unwrap();

    server.kill();
    let calls: Vec<_> =
        (0..50).map(|n| early.append("nq:flow:early", marked("early", n, 10), AppendOptions::default())).collect();
    sleep(Duration::from_secs(3)).await;
    server.restart().unwrap();
    for call in calls {
        timeout(Duration::from_secs(20), call).await.expect("it waits no longer").unwrap();
    }
    assert_eq!(early.query(Query::stream("nq:flow:early")).await.unwrap().len(), 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_hold_while_the_server_is_down_and_appends_keep_coming() {
    let mut server = RedisServer::start().unwrap();
    let store = open(&server.url(), Times { append: 300, silence: 1_000, connect: 1_000 }).await;
    server.kill();
    // What was sent before the loss was noticed ends otherwise.
    sleep(Duration::from_millis(200)).await;
    let busy = async {
        loop {
            drop(store.append("nq:flow:busy", NewEvent::new("test.busy"), AppendOptions::default()));
            sleep(Duration::from_millis(2)).await;
        }
    };
    let append = store.append("nq:flow:busy", NewEvent::new("test.first"), AppendOptions::default());
    let outcome = tokio::select! {
        outcome = append => outcome,
        () = busy => unreachable!("it goes on"),
        () = sleep(Duration::from_secs(10)) => panic!("the deadline passed without a word"),
    };
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("not stored") && error.message().contains("127.0.0.1"), "{error}");
}

/// What a subscription brings until this payload comes.
async fn follow(mut subscription: Subscription, end: &str) -> Vec<EventId> {
    let mut seen = Vec::new();
    loop {
        if let Delivery::Events(events) = subscription.next().await.unwrap() {
            seen.extend(events.iter().map(|event| event.id));
            if events.iter().any(|event| event.data == Some(end)) {
                return seen;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_have_no_gap_and_no_double_over_lost_connections() {
    let mut server = RedisServer::start_durable().unwrap();
    let (store, other) = (open(&server.url(), PATIENT).await, open(&server.url(), PATIENT).await);
    let mut followers = JoinSet::new();
    for selector in [Selector::Stream("nq:flow:own".into()), Selector::Pattern(Glob::new("nq:flow:ow*"))] {
        for after in [None, Some(EventId::MIN)] {
            let subscription = store.subscribe(selector.clone(), after).await.unwrap();
            followers.spawn(follow(subscription, "\"the end\""));
        }
    }
    let load = Load::start(&other, &other, 10);
    for _ in 0..10 {
        sleep(Duration::from_millis(150)).await;
        server.say::<u32>("CLIENT KILL TYPE pubsub").unwrap();
        server.say::<u32>("CLIENT KILL TYPE normal SKIPME yes").unwrap();
    }
    server.kill();
    server.restart().unwrap();
    load.finish().await;
    let end = NewEvent::new("test.end").with_data("\"the end\"");
    other.append("nq:flow:own", end, AppendOptions::default()).await.unwrap();
    let all: Vec<EventId> =
        store.query(Query::stream("nq:flow:own")).await.unwrap().iter().map(|event| event.id).collect();
    let followed = timeout(Duration::from_secs(25), followers.join_all()).await.expect("something was never brought");
    for seen in followed {
        assert!(seen == all, "{} events were brought, {} are there", seen.len(), all.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_comes_to_its_end_although_the_server_is_gone() {
    let mut server = RedisServer::start().unwrap();
    let store = open(&server.url(), Times { append: 700, silence: 10_000, connect: 1_000 }).await;
    server.kill();
    let calls: Vec<_> =
        (0..50).map(|n| store.append("nq:flow:gone", marked("gone", n, 10), AppendOptions::default())).collect();
    timeout(Duration::from_secs(20), store.close()).await.expect("it waits for ever");
    for call in calls {
        let error = timeout(Duration::from_secs(10), call).await.expect("it was not settled").unwrap_err();
        assert!(matches!(error.code(), Code::Unavailable | Code::Timeout), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_holds_in_a_stream_too_long_to_be_searched_in_one_go() {
    let mut server = RedisServer::start_durable().unwrap();
    let store = open(&server.url(), Times { append: 30_000, silence: 10_000, connect: 80 }).await;
    let filler = open(&server.url(), PATIENT).await;
    let fill = |store: &EventStore, stream: &str, first: u64| {
        let events = (first..first + 1000).map(|n| marked("filler", n, 200)).collect();
        store.append_batch(stream, events, AppendOptions::default())
    };
    for first in (0..100_000).step_by(1000) {
        fill(&store, "nq:flow:ours", first).await.unwrap();
        fill(&filler, "nq:flow:theirs", first).await.unwrap();
    }
    let call = |n| {
        store.append(
            ["nq:flow:ours", "nq:flow:theirs"][n as usize % 2],
            marked("tail", n, 10),
            AppendOptions::default(),
        )
    };
    server.pause();
    let calls: Vec<_> = (0..10).map(call).collect();
    sleep(Duration::from_millis(100)).await;
    // None of them was executed: they are looked for, and not found.
    server.kill();
    server.restart().unwrap();
    for call in calls {
        timeout(Duration::from_secs(15), call).await.expect("the store does not recover").unwrap();
    }
    assert_eq!(store.query(Query::stream("nq:flow:ours")).await.unwrap().len(), 100_005);
    assert_eq!(store.query(Query::stream("nq:flow:theirs")).await.unwrap().len(), 100_005);
}
