//! Processes that keep events in a directory and are killed under load: what was acknowledged is there
//! once, batches are whole, and the next process begins at once (P1, P2).
//!
//! The program is its own child: `file_crash --write DIRECTORY WRITER` appends until it is killed, and
//! writes a line for each append that was acknowledged.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test has no users, and fails by panicking"
)]

#[path = "support/directory.rs"]
mod directory;
#[path = "support/ledger.rs"]
mod ledger;

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use nuxt_queue_core::backend::Receipt;
use nuxt_queue_core::backend::file::FileOptions;
use nuxt_queue_core::error::Code;
use nuxt_queue_core::store::Limits;
use nuxt_queue_core::{AppendOptions, Error, EventStore, Query, Result, StoreOptions};

use directory::Directory;
use ledger::{Call, Ledger, marked};

/// A check that fails panics.
type Outcome = std::result::Result<(), Failed>;

/// How often a process is killed.
const KILLS: u64 = 24;
const STREAMS: u64 = 3;
/// How many appends are under way in a process.
const IN_FLIGHT: u64 = 16;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, flag, directory, writer] = &words[..]
        && flag == "--write"
    {
        block_on(write(directory, writer));
        return ExitCode::SUCCESS;
    }
    let trials = vec![
        Trial::test("p1_what_was_acknowledged_survives_kills", || block_on(kills())),
        Trial::test("p1_what_was_acknowledged_survives_a_full_disk", || block_on(full_disk())),
        Trial::test("one_process_writes_and_others_read", || block_on(beside())),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn options(directory: impl AsRef<Path>) -> FileOptions {
    FileOptions::new(directory.as_ref())
}

async fn open(options: FileOptions) -> Result<EventStore> {
    EventStore::open(StoreOptions::file(options)).await
}

fn stream(number: u64) -> String {
    format!("nq:flow:{}", number % STREAMS)
}

/// The append that begins with an event of this number: each third one is a batch, each fifth has a key.
fn span(first: u64) -> Range<u64> {
    first..first + if first.is_multiple_of(3) { 3 } else { 1 }
}

/// Appends for ever, in order in each stream; says what was acknowledged. Ends when it is refused.
async fn write(directory: &str, writer: &str) {
    let limits = Limits { append_timeout: Duration::from_secs(10), ..Limits::default() };
    let store = EventStore::open(StoreOptions::file(options(directory)).with_limits(limits)).await.unwrap();
    println!("ready");
    let next = Arc::new(AtomicU64::new(0));
    let mut writing = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (store, next, writer) = (store.clone(), next.clone(), writer.to_owned());
        writing.spawn(async move {
            loop {
                let first = next.fetch_add(3, Ordering::Relaxed);
                let numbers = span(first);
                let events = numbers.clone().map(|number| marked(&writer, number, 100)).collect();
                let key = first.is_multiple_of(5).then(|| format!("{writer}:{first}"));
                let options = AppendOptions { idempotency_key: key, expected_last_id: None };
                let outcome = store.append_batch(&stream(first / 3), events, options).await;
                let line = match outcome {
                    Ok(Receipt::One(id)) => format!("{} {} {id}\n", numbers.start, numbers.end),
                    Ok(Receipt::Batch(ids)) => {
                        let ids: Vec<String> = ids.iter().map(|id| id.to_text()).collect();
                        format!("{} {} {}\n", numbers.start, numbers.end, ids.join(" "))
                    }
                    Ok(Receipt::Repeated(_)) => format!("repeated {first}\n"),
                    Err(error) => {
                        println!("refused {error}");
                        return;
                    }
                };
                // One piece: what is written is whole, whenever the process ends.
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    while writing.join_next().await.is_some() {}
    // The last store to go would close the directory in good order.
    std::process::exit(0);
}

fn spawn(directory: &Path, writer: &str, shell: Option<&str>) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = match shell {
        None => Command::new(program),
        Some(before) => {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]).arg(program);
            command
        }
    };
    command.arg("--write").arg(directory).arg(writer);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Notes what a process said; returns the lines that tell of something else.
fn note(ledger: &Ledger, writer: &str, said: &str) -> Vec<String> {
    let mut others = Vec::new();
    // A line without an end was cut off.
    for line in said.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [start, end, ids @ ..] = &words[..] else {
            others.push(line.trim().to_owned());
            continue;
        };
        let (Ok(start), Ok(end)) = (start.parse(), end.parse()) else {
            others.push(line.trim().to_owned());
            continue;
        };
        let ids: Vec<_> = ids.iter().map(|id| id.parse().unwrap()).collect();
        let receipt = if let [id] = ids[..] { Receipt::One(id) } else { Receipt::Batch(ids) };
        let (stream, writer) = (stream(start / 3), writer.to_owned());
        ledger.note(Call { stream, writer, numbers: start..end, ordered: true, outcome: Ok(receipt) });
    }
    others
}

/// Kills one process after the other, at moments that differ, and looks at what is there in the end.
async fn kills() -> Outcome {
    let directory = Directory::new();
    let ledger = Ledger::default();
    for kill in 0..KILLS {
        let writer = format!("w{kill}");
        let mut child = spawn(directory.path(), &writer, None);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the process after kill {kill} does not begin");
        // From the middle of the first transaction to thousands of them.
        tokio::time::sleep(Duration::from_micros(kill * kill * 400)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let mut said = String::new();
        output.read_to_string(&mut said).unwrap();
        assert_eq!(note(&ledger, &writer, &said), [""; 0]);
    }
    let summary = ledger.summary();
    assert!(summary.stored as u64 > KILLS * IN_FLIGHT, "there was no load: {summary:?}");
    ledger.check(&open(options(directory.path())).await.unwrap()).await;
    Ok(())
}

/// A process that may write no more than some megabytes is refused, says so, and loses nothing.
async fn full_disk() -> Outcome {
    let directory = Directory::new();
    let ledger = Ledger::default();
    let mut child = spawn(directory.path(), "w", Some("trap '' XFSZ; ulimit -f 4096"));
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    let others = note(&ledger, "w", said.strip_prefix("ready\n").unwrap());
    assert_eq!(others.len() as u64, IN_FLIGHT, "{others:?}");
    for refusal in others {
        assert!(refusal.starts_with("refused NQ_BACKEND: ") && refusal.contains("events.db"), "{refusal}");
    }
    assert!(ledger.summary().stored > 100);
    ledger.check(&open(options(directory.path())).await.unwrap()).await;
    Ok(())
}

async fn count(store: &EventStore) -> usize {
    store.query_global(Query::stream("nq:flow:*")).await.unwrap().len()
}

/// While a process writes, another one is told whose the directory is, and can read; a killed one is in nobody's way.
async fn beside() -> Outcome {
    let directory = Directory::new();
    let mut child = spawn(directory.path(), "w", None);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    let refused: Error = open(options(directory.path())).await.err().expect("one process writes");
    assert_eq!(refused.code(), Code::Unavailable);
    let owner = format!("process {};", child.id());
    assert!(refused.message().contains(&owner), "{refused}");
    let reader = open(options(directory.path()).reading()).await.unwrap();
    let first = count(&reader).await;
    while count(&reader).await <= first {}
    // Stopped, it still owns the directory; its pipe would fill up otherwise, too.
    child.kill().unwrap();
    child.wait().unwrap();
    let left = count(&reader).await;
    let store = open(options(directory.path())).await.unwrap();
    assert_eq!(count(&store).await, left);
    store.append("nq:flow:0", marked("next", 0, 0), AppendOptions::default()).await.unwrap();
    assert_eq!(count(&reader).await, left + 1);
    Ok(())
}
