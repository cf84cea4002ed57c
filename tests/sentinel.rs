//! A master that real Sentinels watch: found at each connect, replaced when it dies, and nothing that was acknowledged
//! is lost or doubled (P1, P2).

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

use nuxt_queue_core::backend::Selector;
use nuxt_queue_core::backend::redis::{Address, RedisOptions, SentinelOptions, Topology};
use nuxt_queue_core::error::{Code, Error};
use nuxt_queue_core::store::{Delivery, Limits};
use nuxt_queue_core::{AppendOptions, EventId, EventStore, NewEvent, Query, StoreOptions};
use tokio::time::{sleep, timeout};

use support::cluster::{kill_synced, wait};
use support::load::Load;
use support::redis::RedisServer;

const PATIENCE: Duration = Duration::from_secs(30);

fn tcp(port: u16) -> Address {
    Address::Tcp("127.0.0.1".into(), port)
}

fn named(sentinels: &[u16], name: &str) -> RedisOptions {
    let sentinel = SentinelOptions {
        addresses: sentinels.iter().copied().map(tcp).collect(),
        name: name.into(),
        ..SentinelOptions::default()
    };
    RedisOptions { topology: Topology::Sentinel(sentinel), ..RedisOptions::default() }
}

async fn open(options: RedisOptions) -> EventStore {
    let limits = Limits { append_timeout: PATIENCE, ..Limits::default() };
    EventStore::open(StoreOptions::redis(options).with_limits(limits)).await.unwrap()
}

async fn refusal(options: RedisOptions) -> Error {
    EventStore::open(StoreOptions::redis(options)).await.map(drop).unwrap_err()
}

/// Three Sentinels, two of which have to agree.
fn watch(master: &RedisServer) -> Vec<RedisServer> {
    let sentinels: Vec<_> = (0..3).map(|_| RedisServer::start_sentinel().unwrap()).collect();
    for sentinel in &sentinels {
        sentinel.say::<()>(&format!("SENTINEL MONITOR orders 127.0.0.1 {} 2", master.port())).unwrap();
        for setting in ["down-after-milliseconds 500", "failover-timeout 3000", "parallel-syncs 1"] {
            sentinel.say::<()>(&format!("SENTINEL SET orders {setting}")).unwrap();
        }
    }
    for sentinel in &sentinels {
        wait(|| {
            let master: Vec<String> = sentinel.say("SENTINEL MASTER orders").unwrap();
            let value = |name: &str| master.iter().skip_while(|field| *field != name).nth(1).cloned();
            value("num-other-sentinels").as_deref() == Some("2") && value("num-slaves").as_deref() == Some("1")
        });
    }
    sentinels
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p2_hold_when_the_master_dies_and_the_replica_is_promoted() {
    let mut master = RedisServer::start().unwrap();
    let replicaof = format!("127.0.0.1 {}", master.port());
    let replica = RedisServer::start_with(&["--replicaof", &replicaof]).unwrap();
    wait(|| replica.say::<String>("INFO replication").unwrap().contains("master_link_status:up"));
    let mut sentinels = watch(&master);
    // The first one that is named is not there any more.
    let ports: Vec<u16> = [1].into_iter().chain(sentinels.iter().map(RedisServer::port)).collect();
    let (store, other) = (open(named(&ports, "orders")).await, open(named(&ports, "orders")).await);
    let mut followed = store.subscribe(Selector::Stream("nq:flow:own".into()), None).await.unwrap();
    let load = Load::start(&store, &other, 100);
    sleep(Duration::from_millis(400)).await;
    kill_synced(&mut master);
    timeout(PATIENCE, async {
        while !replica.say::<String>("INFO replication").unwrap().contains("role:master") {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("nobody was promoted");
    store.append("nq:flow:after", NewEvent::new("test.after"), AppendOptions::default()).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    let ledger = load.finish().await;
    let summary = ledger.summary();
    println!("{summary:?} {:#?}", ledger.errors());
    assert!(summary.stored > 500, "the load was too light: {summary:?}");
    assert_eq!((summary.unknown, summary.absent), (0, 0), "there was time enough to find out");
    ledger.check(&store).await;
    let all: Vec<EventId> =
        store.query(Query::stream("nq:flow:own")).await.unwrap().iter().map(|event| event.id).collect();
    let mut seen = Vec::new();
    while seen.len() < all.len() {
        if let Delivery::Events(events) = timeout(PATIENCE, followed.next()).await.expect("nothing comes").unwrap() {
            seen.extend(events.iter().map(|event| event.id));
        }
    }
    assert!(seen == all, "{} events were brought, {} are there", seen.len(), all.len());

    let error = refusal(named(&ports[1..], "others")).await;
    assert_eq!(error.code(), Code::Config, "{error}");
    assert!(error.message().contains("others") && error.message().contains(&ports[1].to_string()), "{error}");
    sentinels.iter_mut().for_each(RedisServer::kill);
    let error = refusal(named(&ports, "orders")).await;
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(ports.iter().all(|port| error.message().contains(&format!("127.0.0.1:{port}"))), "{error}");
}

#[tokio::test]
async fn sentinels_have_a_login_of_their_own_and_are_not_taken_for_servers() {
    let server = RedisServer::start().unwrap();
    let sentinel = RedisServer::start_sentinel().unwrap();
    sentinel.say::<()>(&format!("SENTINEL MONITOR orders 127.0.0.1 {} 1", server.port())).unwrap();
    sentinel.say::<()>("ACL SETUSER app on >hunter2 +hello +auth +sentinel").unwrap();
    sentinel.say::<()>("ACL SETUSER default resetpass >other-secret").unwrap();
    let login = |password: Option<&str>| {
        let mut options = named(&[sentinel.port()], "orders");
        if let Topology::Sentinel(sentinel) = &mut options.topology {
            sentinel.username = password.map(|_| "app".into());
            sentinel.password = password.map(str::to_owned);
        }
        options
    };
    open(login(Some("hunter2"))).await.append("s", NewEvent::new("test"), AppendOptions::default()).await.unwrap();
    for password in [None, Some("wrong-hunter")] {
        let error = refusal(login(password)).await;
        assert_eq!(error.code(), Code::Config, "{error}");
        assert!(error.message().contains(&format!("127.0.0.1:{}", sentinel.port())), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error}");
    }
    // Each in the other's place.
    let unwatched = RedisServer::start_sentinel().unwrap();
    let error = refusal(RedisOptions { address: tcp(unwatched.port()), ..RedisOptions::default() }).await;
    assert!(error.message().contains("redis.sentinel"), "{error}");
    let error = refusal(named(&[server.port()], "orders")).await;
    assert_eq!(error.code(), Code::Config, "{error}");
    assert!(error.message().contains("no Sentinel"), "{error}");
}
