//! What writers asked for and what they were told, held against what a store has (P1, P2).

#![allow(dead_code, reason = "each test uses the part that it needs")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Mutex;

use nuxt_queue_core::backend::Receipt;
use nuxt_queue_core::error::{Code, Result};
use nuxt_queue_core::{EventId, EventStore, NewEvent, Query};
use serde::Deserialize;

/// One append and its outcome.
#[derive(Debug)]
pub struct Call {
    /// The stream.
    pub stream: String,
    /// Who called: writers number their events from 0 on.
    pub writer: String,
    /// The numbers of the events that were to be stored together.
    pub numbers: Range<u64>,
    /// All calls of this writer went through one store, so they have an order.
    pub ordered: bool,
    /// What the caller was told.
    pub outcome: Result<Receipt>,
}

/// What an outcome says about the events.
#[derive(Debug, PartialEq)]
pub enum Fate {
    /// They are stored, under these ids.
    Stored(Vec<EventId>),
    /// They may be stored.
    Unknown,
    /// They are not stored.
    Absent,
}

/// Reads an outcome.
pub fn fate(outcome: &Result<Receipt>) -> Fate {
    match outcome {
        Ok(Receipt::One(id)) => Fate::Stored(vec![*id]),
        Ok(Receipt::Batch(ids)) => Fate::Stored(ids.clone()),
        Ok(Receipt::Repeated(records)) => Fate::Stored(records.iter().map(|event| event.id).collect()),
        Err(error) if error.code() == Code::Timeout && error.message().contains("may or may not") => Fate::Unknown,
        Err(_) => Fate::Absent,
    }
}

/// All calls of a test.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Vec<Call>>);

/// How many calls ended how.
#[derive(Debug, Default)]
pub struct Summary {
    /// The events are stored.
    pub stored: usize,
    /// The events may be stored.
    pub unknown: usize,
    /// The events are not stored.
    pub absent: usize,
}

#[derive(Deserialize)]
struct Mark {
    writer: String,
    number: u64,
}

/// An event that says whose it is.
pub fn marked(writer: &str, number: u64, padding: usize) -> NewEvent {
    let pad = "x".repeat(padding);
    NewEvent::new("test.marked").with_data(format!(r#"{{"writer":"{writer}","number":{number},"pad":"{pad}"}}"#))
}

impl Ledger {
    /// Notes a call that came to its end.
    pub fn note(&self, call: Call) {
        self.0.lock().unwrap().push(call);
    }

    /// How the calls ended.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for call in &*self.0.lock().unwrap() {
            match fate(&call.outcome) {
                Fate::Stored(_) => summary.stored += 1,
                Fate::Unknown => summary.unknown += 1,
                Fate::Absent => summary.absent += 1,
            }
        }
        summary
    }

    /// The messages of calls that failed, each once.
    pub fn errors(&self) -> HashSet<String> {
        self.0.lock().unwrap().iter().filter_map(|call| Some(call.outcome.as_ref().err()?.to_string())).collect()
    }

    /// Holds every call against the streams. Panics where a promise is broken.
    pub async fn check(self, store: &EventStore) {
        let mut by_stream: BTreeMap<String, Vec<Call>> = BTreeMap::new();
        for call in self.0.into_inner().unwrap() {
            by_stream.entry(call.stream.clone()).or_default().push(call);
        }
        for (stream, calls) in by_stream {
            let events = store.query(Query::stream(&stream)).await.expect("the streams can be read");
            let stored: Vec<(EventId, Mark)> =
                events.iter().map(|event| (event.id, serde_json::from_str(event.data.unwrap()).unwrap())).collect();
            check_presence(&stream, &stored, &calls);
            check_order(&stream, &stored, &calls);
        }
    }
}

/// P1: what was acknowledged is there once, what was refused is not, batches are whole.
fn check_presence(stream: &str, stored: &[(EventId, Mark)], calls: &[Call]) {
    let mut places: HashMap<(&str, u64), Vec<usize>> = HashMap::new();
    for (at, (_, mark)) in stored.iter().enumerate() {
        places.entry((&mark.writer, mark.number)).or_default().push(at);
    }
    let doubles: Vec<_> = places.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(doubles.is_empty(), "{stream}: stored more than once: {:?}", &doubles[..doubles.len().min(10)]);
    // Two calls with one idempotency key: one of them may have stored what the other one could not.
    let hopeful = calls.iter().filter(|call| fate(&call.outcome) != Fate::Absent);
    let hopeful: HashSet<_> = hopeful.map(|call| (&*call.writer, call.numbers.start)).collect();
    for call in calls {
        let found = call.numbers.clone().filter_map(|number| places.get(&(&*call.writer, number)));
        let found: Vec<usize> = found.map(|places| places[0]).collect();
        let whole = found.is_empty() || found.len() as u64 == call.numbers.end - call.numbers.start;
        assert!(whole, "{stream}: a part of a batch: {call:?} at {found:?}");
        assert!(
            found.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{stream}: not side by side: {call:?} at {found:?}"
        );
        match fate(&call.outcome) {
            Fate::Stored(ids) => {
                let actual: Vec<EventId> = found.iter().map(|at| stored[*at].0).collect();
                assert_eq!(actual, ids, "{stream}: acknowledged and not there: {call:?}");
            }
            Fate::Absent if !hopeful.contains(&(&*call.writer, call.numbers.start)) => {
                assert!(found.is_empty(), "{stream}: said not to be stored and is: {call:?}");
            }
            Fate::Absent | Fate::Unknown => {}
        }
    }
}

/// P2: everything that is there stands in the order of the calls, acknowledged or not.
fn check_order(stream: &str, stored: &[(EventId, Mark)], calls: &[Call]) {
    assert!(stored.windows(2).all(|pair| pair[0].0 < pair[1].0), "{stream}: ids don't climb");
    let ordered: HashSet<&str> = calls.iter().filter(|call| call.ordered).map(|call| &*call.writer).collect();
    let mut latest: HashMap<&str, u64> = HashMap::new();
    for (id, mark) in stored.iter().filter(|(_, mark)| ordered.contains(&*mark.writer)) {
        let before = latest.insert(&mark.writer, mark.number);
        let message = || format!("{stream}: {} stored {} after {before:?}, at {id}", mark.writer, mark.number);
        assert!(before.is_none_or(|before| before < mark.number), "{}", message());
    }
}
