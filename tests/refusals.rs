//! A Redis server that answers, and refuses: the error says what it is, nothing is half done, and the
//! store goes on.

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
use nuxt_queue_core::backend::{Glob, Receipt, Selector};
use nuxt_queue_core::error::{Code, Result};
use nuxt_queue_core::store::{Delivery, Subscription};
use nuxt_queue_core::{AppendOptions, Error, EventId, EventStore, NewEvent, Query, StoreOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use support::redis::RedisServer;

async fn open(url: &str) -> Result<EventStore> {
    EventStore::open(StoreOptions::redis(RedisOptions::from_url(url).unwrap())).await
}

/// The three ways into the server: a command, a script, a script with a key of its own.
fn every_append(store: &EventStore, stream: &str) -> [impl Future<Output = Result<Receipt>> + use<>; 3] {
    let event = || NewEvent::new("test.refused").with_data("[1]");
    let keyed = AppendOptions { expected_last_id: None, idempotency_key: Some("once".into()) };
    [
        store.append_batch(stream, vec![event()], AppendOptions::default()),
        store.append_batch(stream, vec![event(), event()], AppendOptions::default()),
        store.append_batch(stream, vec![event()], keyed),
    ]
}

async fn refuses(store: &EventStore, stream: &str, word: &str) {
    for append in every_append(store, stream) {
        says(append.await.unwrap_err(), word);
    }
}

async fn takes(store: &EventStore, stream: &str) {
    for append in every_append(store, stream) {
        append.await.unwrap();
    }
}

fn says(error: Error, word: &str) {
    assert_eq!(error.code(), Code::Backend, "{error}");
    assert!(error.message().contains(word), "{error}");
}

async fn length(store: &EventStore, stream: &str) -> usize {
    store.query(Query::stream(stream)).await.unwrap().len()
}

#[tokio::test]
async fn a_server_without_memory_refuses_and_takes_again_later() {
    let server = RedisServer::start().unwrap();
    let store = open(&server.url()).await.unwrap();
    takes(&store, "nq:flow:full").await;
    server.say::<()>("CONFIG SET maxmemory 1").unwrap();
    let refused = store.append("nq:flow:full", NewEvent::new("test.refused"), AppendOptions::default());
    says(refused.await.unwrap_err(), "OOM");
    refuses(&store, "nq:flow:new", "OOM").await;
    assert_eq!((length(&store, "nq:flow:full").await, length(&store, "nq:flow:new").await), (4, 0));
    server.say::<()>("CONFIG SET maxmemory 0").unwrap();
    takes(&store, "nq:flow:new").await;
    assert_eq!(length(&store, "nq:flow:new").await, 4);
}

#[tokio::test]
async fn a_key_that_is_no_stream_is_left_alone_and_holds_up_nobody() {
    let server = RedisServer::start().unwrap();
    let store = open(&server.url()).await.unwrap();
    server.say::<()>("SET nq:flow:text hello").unwrap();
    // In one pipeline with others: each gets its own answer.
    let before = every_append(&store, "nq:flow:good");
    let refused = every_append(&store, "nq:flow:text");
    let after = every_append(&store, "nq:flow:good");
    for (refused, good) in refused.into_iter().zip(before.into_iter().zip(after)) {
        says(refused.await.unwrap_err(), "WRONGTYPE");
        good.0.await.unwrap();
        good.1.await.unwrap();
    }
    assert_eq!(length(&store, "nq:flow:good").await, 7);
    says(store.query(Query::stream("nq:flow:text")).await.unwrap_err(), "WRONGTYPE");
    says(store.subscribe(Selector::Stream("nq:flow:text".into()), None).await.err().unwrap(), "WRONGTYPE");
    assert!(!store.delete_stream("nq:flow:text").await.unwrap());
    assert_eq!(store.delete_streams("nq:flow:*").await.unwrap(), 1);
    assert_eq!(server.say::<String>("GET nq:flow:text").unwrap(), "hello");
}

#[tokio::test]
async fn a_replica_refuses_until_it_is_promoted() {
    let primary = RedisServer::start().unwrap();
    let replica = RedisServer::start_with(&["--replicaof", &format!("127.0.0.1 {}", primary.port())]).unwrap();
    let store = open(&replica.url()).await.unwrap();
    refuses(&store, "nq:flow:replica", "READONLY").await;
    assert_eq!(length(&store, "nq:flow:replica").await, 0);
    replica.say::<()>("REPLICAOF NO ONE").unwrap();
    takes(&store, "nq:flow:replica").await;
    assert_eq!(length(&store, "nq:flow:replica").await, 4);
}

#[tokio::test]
async fn p8_a_user_without_permission_is_told_so_and_no_error_shows_the_password() {
    let server = RedisServer::start().unwrap();
    server
        .say::<()>("ACL SETUSER limited on >hunter2 ~nq:flow:mine ~{nq:flow:mine}:* &* +@all -@admin -client")
        .unwrap();
    let url = format!("redis://limited:hunter2@127.0.0.1:{}", server.port());
    let store = open(&url).await.unwrap();
    refuses(&store, "nq:flow:theirs", "permission").await;
    takes(&store, "nq:flow:mine").await;
    says(store.query(Query::stream("nq:flow:theirs")).await.unwrap_err(), "permission");
    assert_eq!(length(&store, "nq:flow:mine").await, 4);

    // This user may not close connections; a lost one is made up for all the same.
    let last = store.last_id("nq:flow:mine").await.unwrap().unwrap();
    server.say::<u32>("CLIENT KILL USER limited").unwrap();
    let condition = AppendOptions { expected_last_id: Some(last), idempotency_key: None };
    store.append("nq:flow:mine", NewEvent::new("test.again"), condition).await.unwrap();

    for login in ["limited:wrong-hunter", "nobody:wrong-hunter"] {
        let error = open(&format!("redis://{login}@127.0.0.1:{}", server.port())).await.err().unwrap();
        assert_eq!(error.code(), Code::Config, "{login}: {error}");
        assert!(error.message().contains(&format!("127.0.0.1:{}", server.port())), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_wants_a_password_says_so() {
    let server = RedisServer::start().unwrap();
    server.say::<()>("CONFIG SET requirepass hunter2").unwrap();
    let error = open(&server.url()).await.err().unwrap();
    assert_eq!(error.code(), Code::Config, "{error}");
    assert!(error.message().contains("password"), "{error}");
    open(&format!("redis://:hunter2@127.0.0.1:{}", server.port())).await.unwrap();
}

async fn next_events(subscription: &mut Subscription) -> usize {
    loop {
        match timeout(Duration::from_secs(10), subscription.next()).await.expect("nothing comes").unwrap() {
            Delivery::Events(events) => return events.len(),
            Delivery::CaughtUp => {}
            Delivery::Closed => panic!("the store was not closed"),
        }
    }
}

#[tokio::test]
async fn a_subscription_without_permission_is_refused_and_disturbs_no_other() {
    let server = RedisServer::start().unwrap();
    server.say::<()>("ACL SETUSER limited on >secret ~* resetchannels &nq:events:nq:flow:mine +@all").unwrap();
    let store = open(&format!("redis://limited:secret@127.0.0.1:{}", server.port())).await.unwrap();
    for forbidden in [Selector::Stream("nq:flow:theirs".into()), Selector::Pattern(Glob::new("nq:flow:*"))] {
        let refused = timeout(Duration::from_secs(10), store.subscribe(forbidden, None)).await;
        says(refused.expect("no answer").err().unwrap(), "permission");
    }
    let mut mine = store.subscribe(Selector::Stream("nq:flow:mine".into()), Some(EventId::MIN)).await.unwrap();
    takes(&store, "nq:flow:mine").await;
    assert!(next_events(&mut mine).await > 0);
}

#[tokio::test]
async fn something_that_is_no_redis_is_recognised() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = timeout(Duration::from_secs(10), open(&format!("redis://127.0.0.1:{port}")))
        .await
        .expect("no answer")
        .err()
        .unwrap();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.message().contains("Redis"), "{error}");
}
