//! Events in the memory of this process: for tests, and for a server whose runs may die with it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Append, Backend, Cursor, Glob, Hub, IDEMPOTENCY_MS, PageRequest, Pending, Positions, Receipt, Selector, Settled,
    StreamInfo, Watch, conflict,
};
use crate::clock::Clock;
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events, NewEvent, Place, TimeFormatter, quote, write_record};

/// How many streams one step of a listing looks at.
const LISTING_PAGE: usize = 512;

/// The memory backend.
pub struct Memory {
    clock: Arc<dyn Clock>,
    hub: Arc<Hub>,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    streams: BTreeMap<Box<str>, Stream>,
    /// No stream begins at or below it: a new one must not look like a part of a deleted one.
    greatest_deleted: EventId,
    time: TimeFormatter,
    /// The ids that were stored under an idempotency key, and until when that is remembered.
    repeats: HashMap<(Box<str>, Box<str>), Remembered>,
    indexes: HashMap<Box<str>, HashMap<Box<str>, f64>>,
    last_sweep_ms: u64,
}

struct Stream {
    /// The name as a JSON string.
    quoted: String,
    events: Vec<Stored>,
}

struct Stored {
    id: EventId,
    record: String,
    place: Place,
}

struct Remembered {
    ids: Vec<EventId>,
    until_ms: u64,
}

impl Memory {
    /// An empty memory whose ids come from this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Memory { clock, hub: Arc::default(), contents: Mutex::default() }
    }

    /// A lock is poisoned only by a panic; the contents are whole at every step.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn append(&mut self, append: &Append, now_ms: u64) -> Result<Receipt> {
        if let Some(receipt) = self.repeated(append, now_ms) {
            return Ok(receipt);
        }
        let last = self.last_id(&append.stream);
        if let Some(expected) = append.expected_last_id {
            let actual = last.unwrap_or(EventId::MIN);
            if expected != actual {
                return Err(conflict(&append.stream, expected, actual));
            }
        }
        let ids = self.store(&append.stream, &append.events, last, now_ms)?;
        if let Some(key) = &append.idempotency_key {
            self.sweep(now_ms);
            let until_ms = now_ms.saturating_add(IDEMPOTENCY_MS);
            self.repeats.insert((append.stream.clone(), key.clone()), Remembered { ids: ids.clone(), until_ms });
        }
        Ok(Receipt::stored(ids))
    }

    fn store(&mut self, stream: &str, events: &[NewEvent], last: Option<EventId>, now_ms: u64) -> Result<Vec<EventId>> {
        // As on Redis, no event has the id that stands for "none".
        let mut id = EventId::new(now_ms, u64::from(now_ms == 0));
        let below = last.unwrap_or(self.greatest_deleted);
        if below >= id {
            id = below.next().ok_or_else(|| Error::new(Code::Backend, "The stream has used its last possible id."))?;
        }
        if !self.streams.contains_key(stream) {
            self.streams.insert(stream.into(), Stream::new(stream));
        }
        let Some(stored) = self.streams.get_mut(stream) else { return Ok(Vec::new()) };
        let mut ids = Vec::with_capacity(events.len());
        for event in events {
            stored.push(id, event, self.time.format(id.ms));
            ids.push(id);
            id.seq += 1;
        }
        Ok(ids)
    }

    fn last_id(&self, stream: &str) -> Option<EventId> {
        Some(self.streams.get(stream)?.events.last()?.id)
    }

    /// What an append with this idempotency key stored, if it is still there.
    fn repeated(&self, append: &Append, now_ms: u64) -> Option<Receipt> {
        let key = (append.stream.clone(), append.idempotency_key.clone()?);
        let remembered = self.repeats.get(&key).filter(|remembered| remembered.until_ms > now_ms)?;
        let stored = &self.streams.get(&append.stream)?.events;
        let mut records = Events::default();
        for id in &remembered.ids {
            let at = stored.binary_search_by_key(id, |event| event.id).ok()?;
            records.push_record(&stored[at].record, &stored[at].place);
        }
        Some(Receipt::Repeated(records))
    }

    /// Forgets old idempotency keys, at most once a minute.
    fn sweep(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.last_sweep_ms) > 60_000 {
            self.last_sweep_ms = now_ms;
            self.repeats.retain(|_, remembered| remembered.until_ms > now_ms);
        }
    }

    fn read(&self, request: &PageRequest<'_>) -> Events {
        let mut page = Events::default();
        let Some(Stream { events: stored, .. }) = self.streams.get(request.stream) else { return page };
        let first = stored.partition_point(|event| event.id < request.from);
        let end = stored.partition_point(|event| event.id <= request.to);
        let range = stored.get(first..end).unwrap_or_default();
        let mut take = |event: &Stored| page.push_record(&event.record, &event.place);
        if request.descending {
            range.iter().rev().take(request.count).for_each(&mut take);
        } else {
            range.iter().take(request.count).for_each(&mut take);
        }
        page
    }

    fn list(&self, pattern: &Glob, cursor: Cursor) -> (Vec<StreamInfo>, Cursor) {
        let from = match &cursor {
            Cursor::Start => Bound::Unbounded,
            Cursor::At(name) => Bound::Excluded(name.clone()),
            Cursor::End => return (Vec::new(), Cursor::End),
        };
        let page: Vec<_> = self.streams.range((from, Bound::Unbounded)).take(LISTING_PAGE).collect();
        let next = match page.last() {
            Some((name, _)) if page.len() == LISTING_PAGE => Cursor::At((*name).clone()),
            _ => Cursor::End,
        };
        let matching = page.into_iter().filter(|(name, _)| pattern.matches(name));
        let infos = matching.filter_map(|(name, Stream { events, .. })| {
            Some(StreamInfo { stream: name.to_string(), last_id: events.last()?.id, length: events.len() as u64 })
        });
        (infos.collect(), next)
    }
}

impl Stream {
    fn new(name: &str) -> Self {
        let mut quoted = String::with_capacity(name.len() + 2);
        quote(&mut quoted, name);
        Stream { quoted, events: Vec::new() }
    }

    fn push(&mut self, id: EventId, event: &NewEvent, time: &str) {
        let fields: usize = event.fields().map(|(field, _)| field.name().len() + 6).sum();
        let mut record = String::with_capacity(self.quoted.len() + event.size() + fields + 120);
        let place = write_record(&mut record, id, &self.quoted, time, event.event_type(), event.fields(), event.data());
        self.events.push(Stored { id, record, place });
    }
}

fn at_once<'a, T: Send + 'a>(value: T) -> Pending<'a, T> {
    Box::pin(ready(Ok(value)))
}

impl Backend for Memory {
    fn submit(&self, appends: Vec<Append>) -> Vec<Settled> {
        let mut settled = Vec::with_capacity(appends.len());
        for append in appends {
            let result = self.contents().append(&append, self.clock.now_ms());
            if matches!(result, Ok(Receipt::One(_) | Receipt::Batch(_))) {
                self.hub.announce(&append.stream);
            }
            settled.push(Settled { completion: append.completion, size: append.size, result });
        }
        settled
    }

    fn connect(&self) -> Pending<'_, ()> {
        at_once(())
    }

    fn read<'a>(&'a self, request: PageRequest<'a>) -> Pending<'a, Events> {
        at_once(self.contents().read(&request))
    }

    fn last_id<'a>(&'a self, stream: &'a str) -> Pending<'a, Option<EventId>> {
        at_once(self.contents().last_id(stream))
    }

    fn streams<'a>(&'a self, pattern: &'a Glob, cursor: Cursor) -> Pending<'a, (Vec<StreamInfo>, Cursor)> {
        at_once(self.contents().list(pattern, cursor))
    }

    fn delete_streams<'a>(&'a self, streams: &'a [&'a str]) -> Pending<'a, u64> {
        let mut contents = self.contents();
        let before = contents.streams.len();
        for stream in streams {
            if let Some(gone) = contents.streams.remove(*stream) {
                let last = gone.events.last().map_or(EventId::MIN, |event| event.id);
                contents.greatest_deleted = contents.greatest_deleted.max(last);
            }
        }
        contents.repeats.retain(|(of, _), _| !streams.contains(&&**of));
        at_once((before - contents.streams.len()) as u64)
    }

    fn index_add<'a>(&'a self, key: &'a str, id: &'a str, score: f64) -> Pending<'a, ()> {
        let mut contents = self.contents();
        contents.indexes.entry(key.into()).or_default().insert(id.into(), score);
        at_once(())
    }

    fn index_read<'a>(&'a self, key: &'a str, offset: usize, limit: Option<usize>) -> Pending<'a, Vec<(String, f64)>> {
        let contents = self.contents();
        let members = contents.indexes.get(key).into_iter().flatten();
        let mut sorted: Vec<(String, f64)> = members.map(|(id, score)| (id.to_string(), *score)).collect();
        sorted.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| Reverse(a).cmp(&Reverse(b))));
        at_once(sorted.into_iter().skip(offset).take(limit.unwrap_or(usize::MAX)).collect())
    }

    fn index_delete<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        self.contents().indexes.remove(key);
        at_once(())
    }

    fn watch(&self, selector: Selector) -> Pending<'_, Watch> {
        at_once(self.hub.watch(selector, None))
    }

    fn ends<'a>(&'a self, selector: &'a Selector) -> Pending<'a, Positions> {
        let contents = self.contents();
        let matching = contents.streams.iter().filter(|(name, _)| selector.matches(name));
        let known = matching.filter_map(|(name, stream)| Some((name.clone(), stream.events.last()?.id))).collect();
        at_once(Positions { known, others: EventId::MIN })
    }

    fn pipelines(&self) -> u64 {
        0
    }

    fn close(&self) -> Pending<'_, ()> {
        at_once(())
    }
}
