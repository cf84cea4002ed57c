//! A backend for a test, without a store above it, and the way in which time passes for it.

#![allow(dead_code, reason = "each test uses the part that it needs")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nuxt_queue_core::backend::file::{File, FileOptions};
use nuxt_queue_core::backend::memory::Memory;
use nuxt_queue_core::backend::redis::{Redis, RedisOptions};
use nuxt_queue_core::backend::{
    Append, Backend, Completion, Cursor, Glob, Invalidate, Life, PageRequest, Receipt, Settle, Settled, Upwards,
};
use nuxt_queue_core::{EventId, NewEvent, Result, SystemClock, VirtualClock};
use redis::FromRedisValue;
use tokio::sync::oneshot;

use super::directory::Directory;
use super::redis::RedisServer;

/// Longest wait for something that has to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// By how much what is left of a life may be below the life: the test took its time.
const SLACK: Duration = Duration::from_secs(120);

/// A backend and what its time depends on.
pub struct Place {
    pub backend: Arc<dyn Backend>,
    time: Time,
    serial: AtomicU64,
    /// Gone last: what is in it is closed then.
    directory: Option<Directory>,
}

enum Time {
    /// Passes when the test says so.
    Virtual(Arc<VirtualClock>),
    /// Passes by itself.
    Of(Box<RedisServer>),
}

/// Passes outcomes on to whoever waits.
struct PassOn;

/// Nothing is kept here that could be invalid.
impl Invalidate for PassOn {
    fn changed(&self, _: &str) {}

    fn all_changed(&self) {}
}

impl Settle for PassOn {
    fn settle(&self, settled: Vec<Settled>) {
        for Settled { completion, result, .. } in settled {
            if let Completion::Channel(sender) = completion {
                let _ = sender.send(result);
            }
        }
    }
}

impl Place {
    /// A memory whose clock stands still.
    pub fn memory() -> Place {
        let clock = Arc::new(VirtualClock::new(1_700_000_000_000));
        let backend = Arc::new(Memory::new(clock.clone(), Arc::new(PassOn)));
        Place { backend, time: Time::Virtual(clock), serial: AtomicU64::default(), directory: None }
    }

    /// A directory of its own, whose clock stands still.
    pub async fn file() -> Place {
        let clock = Arc::new(VirtualClock::new(1_700_000_000_000));
        let directory = Directory::new();
        let upwards = Upwards { settle: Arc::new(PassOn), invalidate: Arc::new(PassOn) };
        let options = FileOptions::new(directory.path());
        let backend = Arc::new(File::new(options, clock.clone(), upwards, PATIENCE).unwrap());
        backend.connect().await.unwrap();
        Place { backend, time: Time::Virtual(clock), serial: AtomicU64::default(), directory: Some(directory) }
    }

    /// A server of its own.
    pub async fn redis() -> Place {
        let server = RedisServer::start_durable().unwrap();
        let options = RedisOptions::from_url(&server.url()).unwrap();
        let upwards = Upwards { settle: Arc::new(PassOn), invalidate: Arc::new(PassOn) };
        let backend = Redis::new(options, "nq", Arc::new(SystemClock), upwards, PATIENCE).unwrap();
        backend.connect().await.unwrap();
        let time = Time::Of(Box::new(server));
        Place { backend: Arc::new(backend), time, serial: AtomicU64::default(), directory: None }
    }

    pub fn server(&mut self) -> &mut RedisServer {
        match &mut self.time {
            Time::Of(server) => server,
            Time::Virtual(_) => panic!("a memory has no server"),
        }
    }

    /// Kills the server and starts it again.
    pub fn restart(&mut self) {
        self.server().kill();
        self.server().restart().unwrap();
    }

    /// Asks the server on a connection of its own.
    pub fn say<T: FromRedisValue>(&self, words: &str) -> T {
        match &self.time {
            Time::Of(server) => server.say(words).unwrap(),
            Time::Virtual(_) => panic!("a memory has no server"),
        }
    }

    /// Lets so much time pass, and a little more where that can't be told exactly.
    pub async fn pass(&self, time: Duration) {
        match &self.time {
            Time::Virtual(clock) => clock.advance(time.as_millis() as u64),
            Time::Of(_) => tokio::time::sleep(time + Duration::from_millis(20)).await,
        }
    }

    /// Lets a life end.
    pub async fn until_gone(&self, stream: &str, life: Duration) {
        self.pass(life).await;
        let gone = async {
            while self.backend.remaining(stream).await.unwrap().is_some() {
                assert!(matches!(self.time, Time::Of(_)), "{stream} has outlived its life");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the stream does not vanish");
    }

    /// Asserts what is left of a stream's life, right after it was said.
    pub async fn lives(&self, stream: &str, life: Duration) {
        let left = self.backend.remaining(stream).await.unwrap().expect("it is there").expect("it is told");
        match self.time {
            Time::Virtual(_) => assert_eq!(left, life),
            Time::Of(_) => assert!(left <= life && left + SLACK > life, "{left:?} are left of {life:?}"),
        }
    }

    pub async fn keep(&self, stream: &str, life: Life) {
        self.backend.keep(stream, life).await.unwrap();
    }

    /// Appends `count` events in one step.
    pub async fn append_with(
        &self,
        stream: &str,
        count: u64,
        expected_last_id: Option<EventId>,
        key: Option<&str>,
    ) -> Result<Receipt> {
        let (sender, outcome) = oneshot::channel();
        let append = Append {
            completion: Completion::Channel(sender),
            stream: stream.into(),
            events: (0..count).map(|n| NewEvent::new("test.kept").with_data(n.to_string())).collect(),
            serial: self.serial.fetch_add(count, Ordering::Relaxed),
            expected_last_id,
            idempotency_key: key.map(Into::into),
            deadline: (tokio::time::Instant::now() + PATIENCE).into_std(),
            size: 1,
            after: None,
        };
        PassOn.settle(self.backend.submit(vec![append]));
        outcome.await.expect("each append is settled")
    }

    /// Appends an event; its id.
    pub async fn append(&self, stream: &str) -> EventId {
        ids(&self.append_with(stream, 1, None, None).await.unwrap())[0]
    }

    /// Appends many events; their ids.
    pub async fn append_many(&self, stream: &str, count: u64) -> Vec<EventId> {
        ids(&self.append_with(stream, count, None, None).await.unwrap())
    }

    /// The ids of all events of a stream.
    pub async fn events(&self, stream: &str) -> Vec<EventId> {
        let all = PageRequest { stream, from: EventId::MIN, to: EventId::MAX, descending: false, count: 10_000 };
        self.backend.read(all).await.unwrap().iter().map(|event| event.id).collect()
    }

    /// The names of all streams that match, sorted.
    pub async fn listed(&self, pattern: &str) -> Vec<String> {
        let (pattern, mut cursor, mut names) = (Glob::new(pattern), Cursor::Start, Vec::new());
        while cursor != Cursor::End {
            let (page, next) = self.backend.streams(&pattern, cursor).await.unwrap();
            names.extend(page.into_iter().map(|info| info.stream));
            cursor = next;
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The ids in a receipt.
pub fn ids(receipt: &Receipt) -> Vec<EventId> {
    match receipt {
        Receipt::One(id) => vec![*id],
        Receipt::Batch(ids) => ids.clone(),
        Receipt::Repeated(events) => events.iter().map(|event| event.id).collect(),
    }
}
