//! Writers of every kind that work on a store until they are told to stop.

#![allow(dead_code, reason = "each test uses the part that it needs")]

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nuxt_queue_core::backend::Receipt;
use nuxt_queue_core::error::{Code, Result};
use nuxt_queue_core::{AppendOptions, EventId, EventStore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ledger::{Call, Fate, Ledger, fate, marked};

/// How many appends of one writer are under way at once.
const WINDOW: usize = 32;
/// When a call that has not come to its end counts as one that never will.
const NEVER: Duration = Duration::from_secs(40);

/// Writers at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    ledger: Arc<Ledger>,
    writers: JoinSet<()>,
    padding: usize,
}

impl Load {
    /// Sets writers to work on two stores of one server; events have at least `padding` bytes.
    pub fn start(store: &EventStore, other: &EventStore, padding: usize) -> Load {
        let (stop, ledger, writers) = Default::default();
        let mut load = Load { stop, ledger, writers, padding };
        for (stream, writer) in
            [("nq:flow:shared", "plain-1"), ("nq:flow:shared", "plain-2"), ("nq:flow:own", "plain-3")]
        {
            load.writers.spawn(unawaited(load.pen(store, stream, writer), |_| 1));
        }
        load.writers.spawn(unawaited(load.pen(store, "nq:flow:shared", "batch"), |number| 1 + number % 5));
        load.writers.spawn(conditional(load.pen(store, "nq:flow:chain", "chain")));
        load.writers.spawn(repeated(load.pen(store, "nq:flow:shared", "keyed"), other.clone()));
        load
    }

    fn pen(&self, store: &EventStore, stream: &str, writer: &str) -> Pen {
        let (stop, ledger) = (self.stop.clone(), self.ledger.clone());
        Pen {
            store: store.clone(),
            stream: stream.into(),
            writer: writer.into(),
            next: 0,
            padding: self.padding,
            stop,
            ledger,
        }
    }

    /// Lets the writers finish what they have begun. Panics if a call never ends.
    pub async fn finish(mut self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let finished = timeout(NEVER, async {
            while let Some(writer) = self.writers.join_next().await {
                writer.expect("a writer found a promise broken");
            }
        });
        finished.await.expect("an append never came to its end");
        Arc::into_inner(self.ledger).expect("the writers have gone")
    }
}

/// One writer, its place and the number of its next event.
struct Pen {
    store: EventStore,
    stream: String,
    writer: String,
    next: u64,
    padding: usize,
    stop: Arc<AtomicBool>,
    ledger: Arc<Ledger>,
}

impl Pen {
    fn is_down(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn numbers(&mut self, count: u64) -> Range<u64> {
        self.next += count;
        self.next - count..self.next
    }

    /// Hands an append over; its outcome is awaited by whoever polls the future.
    fn append(
        &self,
        store: &EventStore,
        numbers: &Range<u64>,
        options: AppendOptions,
    ) -> impl Future<Output = Result<Receipt>> + use<> {
        let events = numbers.clone().map(|number| marked(&self.writer, number, self.padding)).collect();
        store.append_batch(&self.stream, events, options)
    }

    fn note(&self, numbers: Range<u64>, ordered: bool, outcome: Result<Receipt>) {
        self.ledger.note(Call { stream: self.stream.clone(), writer: self.writer.clone(), numbers, ordered, outcome });
    }

    async fn last_id(&self) -> EventId {
        loop {
            match self.store.last_id(&self.stream).await {
                Ok(last) => return last.unwrap_or(EventId::MIN),
                Err(error) if matches!(error.code(), Code::Unavailable | Code::Timeout) => {
                    sleep(Duration::from_millis(20)).await
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Calls follow each other without waiting for outcomes.
async fn unawaited(mut pen: Pen, size: fn(u64) -> u64) {
    let mut under_way = VecDeque::new();
    let mut failed = false;
    loop {
        if !pen.is_down() {
            let numbers = pen.numbers(size(pen.next));
            let outcome = pen.append(&pen.store, &numbers, AppendOptions::default());
            under_way.push_back((numbers, outcome));
        }
        if under_way.len() >= WINDOW || pen.is_down() {
            let Some((numbers, outcome)) = under_way.pop_front() else { return };
            let outcome = outcome.await;
            failed = outcome.is_err();
            pen.note(numbers, true, outcome);
        }
        if failed || pen.next.is_multiple_of(8) {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Each call builds on the last event; nobody else writes here, so none may conflict.
async fn conditional(mut pen: Pen) {
    let mut last = EventId::MIN;
    while !pen.is_down() {
        let numbers = pen.numbers(1 + pen.next % 3);
        let options = AppendOptions { expected_last_id: Some(last), idempotency_key: None };
        let outcome = pen.append(&pen.store, &numbers, options).await;
        let conflict = outcome.as_ref().err().filter(|error| error.code() == Code::Conflict);
        assert_eq!(conflict, None, "an event appeared from nowhere");
        last = match fate(&outcome) {
            Fate::Stored(ids) => *ids.last().expect("a receipt has an id"),
            // What the stream holds now is what came of it.
            Fate::Unknown | Fate::Absent => pen.last_id().await,
        };
        pen.note(numbers, true, outcome);
    }
}

/// Two stores append each event under the same key at the same time.
async fn repeated(mut pen: Pen, other: EventStore) {
    while !pen.is_down() {
        let numbers = pen.numbers(1 + pen.next % 2);
        let options = AppendOptions { expected_last_id: None, idempotency_key: Some(format!("key-{}", numbers.start)) };
        let first = pen.append(&pen.store, &numbers, options.clone());
        let second = pen.append(&other, &numbers, options);
        let (first, second) = tokio::join!(first, second);
        if let (Fate::Stored(ids), Fate::Stored(others)) = (fate(&first), fate(&second)) {
            assert_eq!(ids, others, "one key, two records");
        }
        pen.note(numbers.clone(), false, first);
        pen.note(numbers, false, second);
    }
}
