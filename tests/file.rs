//! Directories that events are kept in: what is found again, what is broken, who may open them, and how
//! large they get.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod directory;
}

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nuxt_queue_core::backend::file::FileOptions;
use nuxt_queue_core::backend::{Glob, Receipt, Selector};
use nuxt_queue_core::error::Code;
use nuxt_queue_core::store::{Delivery, Limits, Lives, RetentionOptions, Subscription};
use nuxt_queue_core::{
    AppendOptions, Consistency, Error, EventId, EventStore, NewEvent, Query, StoreOptions, VirtualClock,
};
use rusqlite::Connection;
use tokio::time::timeout;

use support::directory::Directory;

const STREAM: &str = "nq:flow:1";
const PATIENCE: Duration = Duration::from_secs(20);

fn options(directory: &Path) -> StoreOptions {
    StoreOptions::file(FileOptions::new(directory))
}

async fn open(directory: &Path) -> EventStore {
    EventStore::open(options(directory)).await.unwrap()
}

async fn refusal(options: StoreOptions) -> Error {
    EventStore::open(options).await.err().expect("it can't be opened")
}

fn number(n: usize) -> NewEvent {
    NewEvent::new("test.number").with_data(n.to_string())
}

async fn append(store: &EventStore, event: NewEvent) -> EventId {
    match store.append(STREAM, event, AppendOptions::default()).await.unwrap() {
        Receipt::One(id) => id,
        other => panic!("{other:?}"),
    }
}

/// The payloads of the stream.
async fn numbers(store: &EventStore) -> Vec<usize> {
    let events = store.query(Query::stream(STREAM)).await.unwrap();
    events.iter().map(|event| event.data.unwrap().parse().unwrap()).collect()
}

fn database(directory: &Path) -> Connection {
    Connection::open(directory.join("events.db")).unwrap()
}

/// What a process leaves that ends at this moment.
fn crashed(directory: &Path) -> Directory {
    let left = Directory::new();
    for file in ["events.db", "events.db-wal"] {
        fs::copy(directory.join(file), left.join(file)).unwrap();
    }
    left
}

#[tokio::test]
async fn everything_is_found_again() {
    let directory = Directory::new();
    let clock = Arc::new(VirtualClock::new(1_700_000_000_000));
    let options = || options(directory.path()).with_clock(clock.clone());
    let key = || AppendOptions { idempotency_key: Some("key".into()), expected_last_id: None };
    let store = EventStore::open(options()).await.unwrap();
    let keyed = store.append_batch(STREAM, vec![number(0), number(1)], key()).await.unwrap();
    let last = append(&store, number(2)).await;
    store.index_add("nq:flows:f", "a", 1.5).await.unwrap();
    let records = store.query(Query::stream(STREAM)).await.unwrap().to_json();
    store.close().await;
    // The clock of the machine was set back meanwhile.
    clock.set(1_600_000_000_000);
    let store = EventStore::open(options()).await.unwrap();
    assert_eq!(store.query(Query::stream(STREAM)).await.unwrap().to_json(), records);
    let again = store.append_batch(STREAM, vec![number(9), number(9)], key()).await.unwrap();
    let Receipt::Repeated(again) = again else { panic!("{again:?} after {keyed:?}") };
    assert_eq!(again.len(), 2);
    assert_eq!(store.index_read("nq:flows:f", 0, None).await.unwrap(), [("a".to_owned(), 1.5)]);
    let expecting = AppendOptions { expected_last_id: Some(last), idempotency_key: None };
    store.append(STREAM, number(3), expecting).await.unwrap();
    assert_eq!(numbers(&store).await, [0, 1, 2, 3]);
    // A stream that begins now does not seem to be older than what was there before.
    let Receipt::One(other) = store.append("other", number(0), AppendOptions::default()).await.unwrap() else {
        panic!("one event, one id");
    };
    assert!(other.ms >= last.ms, "{other} after {last}");
}

#[tokio::test]
async fn what_is_said_of_lives_is_found_again() {
    let directory = Directory::new();
    let clock = Arc::new(VirtualClock::new(1_700_000_000_000));
    let lives = Lives { completed: Some(Duration::from_secs(60)), ..Lives::default() };
    let options = || {
        let retention = RetentionOptions { lives, ..RetentionOptions::default() };
        options(directory.path()).with_clock(clock.clone()).with_retention(retention)
    };
    let store = EventStore::open(options()).await.unwrap();
    append(&store, NewEvent::new("flow.started").with_data("{}")).await;
    append(&store, NewEvent::new("flow.completed").with_data("{}")).await;
    store.close().await;
    let store = EventStore::open(options()).await.unwrap();
    assert_eq!(store.query(Query::stream(STREAM)).await.unwrap().len(), 2);
    store.close().await;
    clock.advance(60_001);
    let store = EventStore::open(options()).await.unwrap();
    assert_eq!(store.query(Query::stream(STREAM)).await.unwrap().len(), 0);
}

/// Whatever is cut off or changed at the end of the journal: what stands before it is there, and goes on.
#[tokio::test]
async fn a_torn_journal_ends_where_it_is_whole() {
    const EVENTS: usize = 12;
    let directory = Directory::new();
    let store = open(directory.path()).await;
    for n in 0..EVENTS {
        append(&store, number(n)).await;
    }
    let size = fs::metadata(directory.join("events.db-wal")).unwrap().len();
    let whole = || (0..EVENTS).collect::<Vec<_>>();
    let mut lengths = Vec::new();
    // What was torn is behind everything that was acknowledged.
    for torn in [&b"torn"[..], &[0; 9000], &[0xff; 20_000]] {
        let left = crashed(directory.path());
        let mut journal = fs::File::options().append(true).open(left.join("events.db-wal")).unwrap();
        journal.write_all(torn).unwrap();
        assert_eq!(numbers(&open(left.path()).await).await, whole());
    }
    for cut in [1, 4000, 9000, size / 2, size - 40, size] {
        let left = crashed(directory.path());
        fs::File::options().write(true).open(left.join("events.db-wal")).unwrap().set_len(size - cut).unwrap();
        lengths.push(go_on(&left, &whole()).await);
    }
    assert!(lengths.is_sorted_by(|a, b| a >= b) && lengths[0] + 1 == EVENTS, "{lengths:?}");
    for place in [40, size / 2, size - 5000] {
        let left = crashed(directory.path());
        let mut journal = fs::File::options().write(true).open(left.join("events.db-wal")).unwrap();
        journal.seek(SeekFrom::Start(place)).unwrap();
        journal.write_all(b"something else").unwrap();
        assert!(go_on(&left, &whole()).await < EVENTS);
    }
}

/// Asserts that a beginning of the events is there, and that appending goes on behind it; how many are.
async fn go_on(left: &Directory, whole: &[usize]) -> usize {
    let store = open(left.path()).await;
    let found = numbers(&store).await;
    assert_eq!(found, whole[..found.len()]);
    append(&store, number(100)).await;
    store.close().await;
    assert_eq!(numbers(&open(left.path()).await).await.last(), Some(&100));
    found.len()
}

#[tokio::test]
async fn a_damaged_file_says_so() {
    let directory = Directory::new();
    let store = open(directory.path()).await;
    for n in 0..400 {
        append(&store, number(n).with_data("\"".to_owned() + &"x".repeat(500) + "\"")).await;
    }
    store.close().await;
    let damage = |from: u64, bytes: usize| {
        let left = Directory::new();
        fs::copy(directory.join("events.db"), left.join("events.db")).unwrap();
        let mut file = fs::File::options().write(true).open(left.join("events.db")).unwrap();
        file.seek(SeekFrom::Start(from)).unwrap();
        file.write_all(&vec![0xa5; bytes]).unwrap();
        left
    };
    let no_database = damage(0, 4096);
    let says_so = |error: Error| {
        assert_eq!(error.code(), Code::Corrupt, "{error}");
        assert!(error.message().contains("events.db"), "{error}");
    };
    says_so(refusal(options(no_database.path())).await);
    says_so(refusal(StoreOptions::file(FileOptions::new(no_database.path()).reading())).await);
    // Behind the tables' definitions, all events are gone.
    let size = fs::metadata(directory.join("events.db")).unwrap().len();
    let no_events = damage(8192, size as usize - 8192);
    let broken = async {
        let store = EventStore::open(options(no_events.path())).await?;
        store.query(Query::stream(STREAM)).await?;
        store.append(STREAM, number(0), AppendOptions::default()).await
    };
    says_so(broken.await.unwrap_err());
}

#[tokio::test]
async fn what_can_not_be_opened_says_why() {
    let directory = Directory::new();
    let expect = |error: Error, code: Code, words: &str| {
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    fs::write(directory.join("file"), "text").unwrap();
    let below_a_file = directory.join("file").join("events");
    expect(refusal(options(&below_a_file)).await, Code::Config, "check file.dir");
    let nowhere = FileOptions::new(directory.join("nowhere")).reading();
    expect(refusal(StoreOptions::file(nowhere)).await, Code::Config, "There is no event store in");
    assert!(!directory.join("nowhere").exists(), "reading makes nothing");

    let theirs = directory.join("theirs");
    fs::create_dir(&theirs).unwrap();
    database(&theirs).execute_batch("CREATE TABLE theirs (n INTEGER)").unwrap();
    expect(refusal(options(&theirs)).await, Code::Config, "another program");

    let newer = directory.join("newer");
    open(&newer).await.close().await;
    database(&newer).pragma_update(None, "user_version", 99).unwrap();
    for options in [options(&newer), StoreOptions::file(FileOptions::new(&newer).reading())] {
        expect(refusal(options).await, Code::Config, "newer nuxt-queue-core (layout 99");
    }

    // What was in the way is gone, and whoever was refused is still there.
    let refused = EventStore::open_lazily(options(&below_a_file), Box::new(drop)).unwrap();
    refused.connect().await.unwrap_err();
    fs::remove_file(directory.join("file")).unwrap();
    open(&below_a_file).await.close().await;
    assert_eq!(refused.connect().await.unwrap_err().code(), Code::Config);

    let careful = open(&directory.join("shared")).await;
    let careless = FileOptions { fsync: false, ..FileOptions::new(directory.join("shared")) };
    expect(refusal(StoreOptions::file(careless)).await, Code::Config, "file.fsync: true");
    append(&careful, number(0)).await;
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(directory.join("shared"), directory.join("link")).unwrap();
        expect(refusal(options(&directory.join("link"))).await, Code::Config, "use one path for it");
    }
}

/// The stores of a process share a directory, and what one writes the others see.
#[tokio::test]
async fn stores_of_one_process_share_a_directory() {
    let directory = Directory::new();
    let [one, other] = [open(directory.path()).await, open(directory.path()).await];
    let state = other.clone();
    append(&one, number(0)).await;
    assert_eq!(numbers(&state).await, [0]);
    append(&other, number(1)).await;
    assert_eq!(numbers(&one).await, [0, 1]);
    one.close().await;
    append(&other, number(2)).await;
    other.close().await;
    assert_eq!(other.query(Query::stream(STREAM)).await.unwrap_err().code(), Code::Closed);
    // Closed is closed: it can be opened again at once, and by others.
    assert!(!directory.join("events.db-wal").exists());
    assert_eq!(numbers(&open(directory.path()).await).await, [0, 1, 2]);
}

/// A store that is dropped without being closed lets go of the directory.
#[tokio::test]
async fn a_dropped_store_is_in_nobodys_way() {
    let directory = Directory::new();
    for n in 0..5 {
        let store = open(directory.path()).await;
        append(&store, number(n)).await;
        assert_eq!(numbers(&store).await.len(), n + 1);
    }
}

#[tokio::test]
async fn reading_beside_the_writer_changes_nothing_and_misses_nothing() {
    let directory = Directory::new();
    let writer = open(directory.path()).await;
    append(&writer, number(0)).await;
    let reader = EventStore::open(StoreOptions::file(FileOptions::new(directory.path()).reading())).await.unwrap();
    assert_eq!(numbers(&reader).await, [0]);
    for selector in [Selector::Stream(STREAM.into()), Selector::Pattern(Glob::new("nq:*"))] {
        let mut subscription = reader.subscribe(selector, Some(EventId::MIN)).await.unwrap();
        let there = numbers(&reader).await.len();
        assert_eq!(received(&mut subscription, there).await, (0..there).collect::<Vec<_>>());
        for n in there..there + 3 {
            append(&writer, number(n)).await;
            assert_eq!(received(&mut subscription, 1).await, [n]);
        }
    }
    let refused = reader.append(STREAM, number(9), AppendOptions::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Config);
    assert!(refused.message().contains("file.readOnly"), "{refused}");
    assert_eq!(reader.delete_stream(STREAM).await.unwrap_err().code(), Code::Config);
    assert_eq!(reader.index_add("nq:flows:f", "a", 1.0).await.unwrap_err().code(), Code::Config);
    let before = numbers(&reader).await;
    writer.close().await;
    assert_eq!(numbers(&reader).await, before);
    reader.close().await;
}

/// Waits for the next events; their payloads.
async fn received(subscription: &mut Subscription, count: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        match timeout(PATIENCE, subscription.next()).await.expect("there is no news").unwrap() {
            Delivery::Events(events) => {
                numbers.extend(events.iter().map(|event| event.data.unwrap().parse::<usize>().unwrap()));
            }
            Delivery::CaughtUp => {}
            Delivery::Closed => panic!("it has ended"),
        }
    }
    numbers
}

/// Another program that holds on to the database keeps nobody waiting past the deadline.
#[tokio::test]
async fn a_lock_of_another_program_is_no_end() {
    let directory = Directory::new();
    let limits = Limits { append_timeout: Duration::from_millis(300), ..Limits::default() };
    let store = EventStore::open(options(directory.path()).with_limits(limits)).await.unwrap();
    append(&store, number(0)).await;
    let other = database(directory.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let [being_written, waiting] = [1, 2].map(|n| store.append(STREAM, number(n), AppendOptions::default()));
    let late = timeout(PATIENCE, being_written).await.unwrap().unwrap_err();
    assert_eq!(late.code(), Code::Timeout);
    assert!(late.message().contains("may or may not"), "{late}");
    assert_eq!(timeout(PATIENCE, waiting).await.unwrap().unwrap_err().code(), Code::Timeout);
    other.execute_batch("COMMIT").unwrap();
    timeout(PATIENCE, async { while store.append(STREAM, number(3), AppendOptions::default()).await.is_err() {} })
        .await
        .expect("it goes on by itself");
    assert_eq!(numbers(&store).await.last(), Some(&3));
}

/// What retention lets go of makes room, and then the file smaller.
#[tokio::test]
async fn the_file_gets_smaller() {
    const RUNS: usize = 60;
    let directory = Directory::new();
    let clock = Arc::new(VirtualClock::new(1_700_000_000_000));
    let options = FileOptions { fsync: false, ..FileOptions::new(directory.path()) };
    let store = EventStore::open(StoreOptions::file(options).with_clock(clock.clone())).await.unwrap();
    let size = || {
        let file = |name: &str| fs::metadata(directory.join(name)).map_or(0, |file| file.len());
        (file("events.db"), file("events.db-wal"))
    };
    let text = format!("\"{}\"", "x".repeat(1000));
    let run = async |n: usize| {
        let mut events = vec![NewEvent::new("flow.started").with_data("{}")];
        events.extend((0..200).map(|_| NewEvent::new("log.info").with_data(&text)));
        events.push(NewEvent::new("flow.completed").with_data("{}"));
        store.append_batch(&format!("nq:flow:{n}"), events, AppendOptions::default()).await.unwrap();
    };
    for n in 0..RUNS {
        run(n).await;
    }
    let full = size().0;
    assert!(full as usize > RUNS * 200 * 800, "{full}");
    let month = 31 * 86_400_000;
    clock.advance(month);
    timeout(PATIENCE, async {
        while size().0 * 4 > full {
            store.append("other", number(0), AppendOptions::default()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("the file has {:?} bytes of {full}", size()));
    assert_eq!(store.query_global(Query::stream("nq:flow:*")).await.unwrap().len(), 0);
    // A long life in which all goes again and again takes no more room.
    for round in 0..6 {
        for n in 0..10 {
            run(round * 10 + n).await;
        }
        clock.advance(month);
        store.append("other", number(0), AppendOptions::default()).await.unwrap();
    }
    let (file, journal) = size();
    assert!(file + journal < full * 2, "{file} and {journal} bytes, after {full}");
}

/// However much there is, opening it after a crash reads the journal alone.
#[tokio::test]
async fn the_journal_stays_short() {
    let directory = Directory::new();
    let options = FileOptions { fsync: false, ..FileOptions::new(directory.path()) };
    let store = EventStore::open(StoreOptions::file(options)).await.unwrap();
    let text = format!("\"{}\"", "x".repeat(1000));
    for _ in 0..150 {
        let events = (0..200).map(|_| NewEvent::new("log.info").with_data(&text)).collect();
        store.append_batch(STREAM, events, AppendOptions::default()).await.unwrap();
    }
    let file = |name: &str| fs::metadata(directory.join(name)).unwrap().len();
    assert!(file("events.db") > 30_000_000);
    assert!(file("events.db-wal") < 20_000_000, "{}", file("events.db-wal"));
    let left = crashed(directory.path());
    let found = open(left.path()).await;
    let query = Query { consistency: Consistency::Strong, ..Query::stream(STREAM) };
    assert_eq!(found.query(query).await.unwrap().len(), 30_000);
}
