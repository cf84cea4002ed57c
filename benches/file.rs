//! The file backend beside the engine that it is made of: SQLite through rusqlite, by hand, with the same
//! care for the disk.
//!
//! `cargo bench --no-default-features --bench file` prints events a second, the medians of rounds in
//! turn, and the median of the ratios within each round. The directory is a temporary one: `TMPDIR` says on which disk.

#![allow(missing_docs, clippy::disallowed_methods, reason = "a program of its own, that measures real time")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use nuxt_queue_core::backend::file::FileOptions;
use nuxt_queue_core::store::{CacheOptions, Outcomes, Submission};
use nuxt_queue_core::{AppendOptions, EventStore, Field, NewEvent, Query, StoreOptions};
use rusqlite::{Connection, params};
use tokio::sync::mpsc;

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 11;
const WARM_UPS: usize = 1;
const STREAM: &str = "nq:flow:bench";
const DATA: &str =
    r#"{"key":"progress","value":{"epoch":12,"loss":0.02741,"accuracy":0.9563,"at":"2025-11-05T10:00:00Z"}}"#;

/// What is measured: a name, and how many events a round has.
const WORK: [(&str, usize); 4] = [
    ("append, 1 in flight", 200),
    ("append, 64 in flight", 6400),
    ("batches of 1,000", 10_000),
    ("cold query of 10,000", 10_000),
];

fn event() -> NewEvent {
    let event = NewEvent::new("state.set").with(Field::RunId, "bench").with(Field::StepName, "train");
    event.with(Field::Attempt, "1").with_data(DATA)
}

/// The engine by hand.
struct Plain {
    connection: Connection,
    seq: i64,
}

impl Plain {
    fn open(dir: &Path) -> Outcome<Plain> {
        let connection = Connection::open(dir.join("plain.db"))?;
        connection.execute_batch(
            "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             CREATE TABLE event (stream INTEGER, ms INTEGER, seq INTEGER, type TEXT, run_id TEXT, step_name TEXT,
               attempt TEXT, data TEXT, PRIMARY KEY (stream, ms, seq)) WITHOUT ROWID;",
        )?;
        Ok(Plain { connection, seq: 0 })
    }

    fn insert(&mut self, count: usize) -> Outcome<()> {
        let transaction = self.connection.transaction()?;
        let sql = "INSERT INTO event VALUES (1, 1700000000000, ?1, 'state.set', 'bench', 'train', '1', ?2)";
        for _ in 0..count {
            self.seq += 1;
            transaction.prepare_cached(sql)?.execute(params![self.seq, DATA])?;
        }
        Ok(transaction.commit()?)
    }

    fn select(&self, count: usize) -> Outcome<usize> {
        let sql = "SELECT ms, seq, type, run_id, step_name, attempt, data FROM event WHERE stream = 1 ORDER BY ms, seq LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([count as i64])?;
        let mut read: Vec<(i64, i64, [String; 5])> = Vec::with_capacity(count);
        while let Some(row) = rows.next()? {
            let texts = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
            read.push((row.get(0)?, row.get(1)?, texts));
        }
        Ok(read.len())
    }

    fn work(&mut self, work: usize, count: usize) -> Outcome<usize> {
        let chunk = [1, 64, 1000][work.min(2)];
        match work {
            3 => return self.select(count),
            _ => (0..count / chunk).try_for_each(|_| self.insert(chunk))?,
        }
        Ok(count)
    }
}

/// A store whose appends are handed over as the addon does it: those of a tick in one call.
struct Here {
    store: EventStore,
    outcomes: mpsc::UnboundedReceiver<Outcomes>,
}

impl Here {
    async fn open(dir: &Path) -> Outcome<Here> {
        let cache = CacheOptions { enabled: false, ..CacheOptions::default() };
        let options = StoreOptions::file(FileOptions::new(dir.join("store"))).with_cache(cache);
        let (sender, outcomes) = mpsc::unbounded_channel();
        let outlet = move |settled| drop(sender.send(settled));
        let store = EventStore::open_lazily(options, Box::new(outlet))?;
        store.connect().await?;
        Ok(Here { store, outcomes })
    }

    async fn append_at_once(&mut self, count: usize) -> Outcome<()> {
        let submission = |ticket| Submission {
            ticket,
            stream: STREAM.into(),
            events: vec![event()],
            options: AppendOptions::default(),
        };
        let mut settled = self.store.submit((0..count as u64).map(submission).collect()).len();
        while settled < count {
            let outcomes = self.outcomes.recv().await.ok_or("the store has ended")?;
            for (_, outcome) in &outcomes {
                outcome.as_ref().map_err(Clone::clone)?;
            }
            settled += outcomes.len();
        }
        Ok(())
    }
}

async fn work(here: &mut Here, work: usize, count: usize) -> Outcome<usize> {
    let none = AppendOptions::default;
    let store = here.store.clone();
    match work {
        0 => {
            for _ in 0..count {
                store.append(STREAM, event(), none()).await?;
            }
        }
        1 => {
            for _ in 0..count / 64 {
                here.append_at_once(64).await?;
            }
        }
        2 => {
            for _ in 0..count / 1000 {
                store.append_batch(STREAM, (0..1000).map(|_| event()).collect(), none()).await?;
            }
        }
        _ => return Ok(store.query(Query { limit: Some(count), ..Query::stream(STREAM) }).await?.len()),
    }
    Ok(count)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let dir = std::env::temp_dir().join(format!("nuxt-queue-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let measured = measure(&dir).await;
    std::fs::remove_dir_all(&dir)?;
    measured
}

async fn measure(dir: &Path) -> Outcome<()> {
    let mut plain = Plain::open(dir)?;
    let mut store = Here::open(dir).await?;
    println!("{:<24}{:>16}{:>16}{:>10}", "", "SQLite by hand", "here", "ratio");
    for (kind, (name, count)) in WORK.into_iter().enumerate() {
        let mut rates: [Vec<f64>; 2] = Default::default();
        for round in 0..WARM_UPS + ROUNDS {
            let began = Instant::now();
            let by_hand = plain.work(kind, count)?;
            let between = Instant::now();
            let here = work(&mut store, kind, count).await?;
            let ended = Instant::now();
            assert_eq!((by_hand, here), (count, count), "{name}");
            if round >= WARM_UPS {
                let rate = |time: Duration| count as f64 / time.as_secs_f64();
                rates[0].push(rate(between - began));
                rates[1].push(rate(ended - between));
            }
        }
        let ratios = rates[0].iter().zip(&rates[1]).map(|(by_hand, here)| here / by_hand).collect();
        let [by_hand, here] = rates.map(median);
        println!("{name:<24}{by_hand:>14.0}/s{here:>14.0}/s{:>10.2}", median(ratios));
    }
    store.store.close().await;
    Ok(())
}
