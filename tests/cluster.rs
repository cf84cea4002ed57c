//! A real Redis Cluster whose slots move and whose primaries die, under load: what was acknowledged is there once and
//! in order (P1, P2), and the store finds its way by itself.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod cluster;
    pub mod ledger;
    pub mod load;
    pub mod redis;
}

use std::time::Duration;

use nuxt_queue_core::backend::redis::{Address, RedisOptions, Topology};
use nuxt_queue_core::backend::{Glob, Selector};
use nuxt_queue_core::error::Code;
use nuxt_queue_core::store::{Delivery, Limits};
use nuxt_queue_core::{AppendOptions, EventId, EventStore, NewEvent, Query, StoreOptions};
use tokio::time::{sleep, timeout};

use support::cluster::RedisCluster;
use support::load::Load;
use support::redis::RedisServer;

const PATIENCE: Duration = Duration::from_secs(30);

async fn open(options: RedisOptions) -> EventStore {
    let limits = Limits { append_timeout: PATIENCE, ..Limits::default() };
    EventStore::open(StoreOptions::redis(options).with_limits(limits)).await.unwrap()
}

fn event(number: usize) -> NewEvent {
    NewEvent::new("test.numbered").with_data(number.to_string())
}

/// The streams that the load writes to.
const LOADED: [&str; 3] = ["nq:flow:shared", "nq:flow:own", "nq:flow:chain"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_hold_when_slots_move_and_primaries_die() {
    let mut cluster = RedisCluster::start(3, 1);
    let (store, other) = (open(cluster.options()).await, open(cluster.options()).await);
    let mut followed = store.subscribe(Selector::Pattern(Glob::new("nq:flow:ow*")), None).await.unwrap();
    let load = Load::start(&store, &other, 100);
    sleep(Duration::from_millis(300)).await;
    for stream in LOADED {
        let (from, to) = (cluster.primary_of(stream), (cluster.primary_of(stream) + 1) % 3);
        cluster.move_slot(stream, from, to);
        sleep(Duration::from_millis(200)).await;
        cluster.move_slot(stream, to, from);
        sleep(Duration::from_millis(200)).await;
    }
    // The replicas have taken over the slots as well.
    cluster.kill_synced(cluster.primary_of("nq:flow:shared"));
    sleep(Duration::from_secs(4)).await;
    let ledger = load.finish().await;
    let summary = ledger.summary();
    println!("{summary:?} {:#?}", ledger.errors());
    assert!(summary.stored > 1000, "the load was too light: {summary:?}");
    assert_eq!((summary.unknown, summary.absent), (0, 0), "there was time enough to find out");
    ledger.check(&store).await;

    let all: Vec<EventId> =
        store.query(Query::stream("nq:flow:own")).await.unwrap().iter().map(|event| event.id).collect();
    let mut seen = Vec::new();
    while seen.len() < all.len() {
        match timeout(PATIENCE, followed.next()).await.expect("something was never brought").unwrap() {
            Delivery::Events(events) => seen.extend(events.iter().map(|event| event.id)),
            Delivery::CaughtUp | Delivery::Closed => {}
        }
    }
    assert!(seen == all, "{} events were brought, {} are there", seen.len(), all.len());
    store.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_all_primaries_are_found_listed_and_deleted() {
    let cluster = RedisCluster::start(3, 0);
    let store = open(cluster.options()).await;
    let mut followed = store.subscribe(Selector::Pattern(Glob::new("nq:flow:*")), None).await.unwrap();
    let appends: Vec<_> =
        (0..60).map(|n| store.append(&format!("nq:flow:{n}"), event(n), AppendOptions::default())).collect();
    for append in appends {
        append.await.unwrap();
    }
    let sizes: Vec<usize> = cluster.nodes.iter().map(|node| node.say("DBSIZE").unwrap()).collect();
    assert!(sizes.iter().all(|size| *size > 0), "all on one node: {sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 60);

    let mut delivered = 0;
    while delivered < 60 {
        if let Delivery::Events(events) = timeout(PATIENCE, followed.next()).await.expect("nothing comes").unwrap() {
            delivered += events.len();
        }
    }
    assert_eq!(store.query_global(Query::stream("nq:flow:*")).await.unwrap().len(), 60);
    assert_eq!(store.delete_streams("nq:flow:*").await.unwrap(), 60);
    assert!(store.query_global(Query::stream("nq:flow:*")).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_do_not_belong_together_are_refused_by_name() {
    let (one, another, standalone) =
        (RedisCluster::start(1, 0), RedisCluster::start(1, 0), RedisServer::start().unwrap());
    let tcp = |server: &RedisServer| Address::Tcp("127.0.0.1".into(), server.port());
    let cluster = |nodes: Vec<Address>| RedisOptions { topology: Topology::Cluster(nodes), ..RedisOptions::default() };
    let (node, stranger, alone) = (tcp(&one.nodes[0]), tcp(&another.nodes[0]), tcp(&standalone));
    for (options, code, words) in [
        (cluster(vec![node.clone(), alone.clone()]), Code::Config, vec![alone.to_string(), "standalone".into()]),
        (
            cluster(vec![node.clone(), stranger.clone()]),
            Code::Config,
            vec![stranger.to_string(), "two clusters".into()],
        ),
        (cluster(vec![]), Code::Config, vec!["empty".into()]),
        (RedisOptions { db: 1, ..cluster(vec![node.clone()]) }, Code::Config, vec!["database 0".into()]),
        (RedisOptions { address: node.clone(), ..RedisOptions::default() }, Code::Config, vec!["redis.cluster".into()]),
        (cluster(vec![Address::Tcp("127.0.0.1".into(), 1)]), Code::Unavailable, vec!["127.0.0.1:1".into()]),
    ] {
        let error = EventStore::open(StoreOptions::redis(options)).await.map(drop).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(words.iter().all(|word| error.message().contains(word)), "{error}");
    }
    // One that can't be reached is no reason as long as another one can.
    let store = open(cluster(vec![Address::Tcp("127.0.0.1".into(), 1), node])).await;
    store.append("nq:flow:1", event(1), AppendOptions::default()).await.unwrap();
}
