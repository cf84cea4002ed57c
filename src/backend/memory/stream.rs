//! One stream in memory.

use std::collections::HashMap;

use crate::backend::{IDEMPOTENCY_MS, PageRequest};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events, NewEvent, Place, TimeFormatter, quote, write_record};

/// How often the old idempotency keys of a stream are looked for, at most.
const SWEEP_MS: u64 = 60_000;

pub(super) struct Stream {
    /// The name as a JSON string.
    quoted: String,
    events: Vec<Stored>,
    /// The greatest id that it ever gave: its newest event may be deleted, its id is not given again.
    pub(super) greatest: EventId,
    /// When it vanishes; `None`: never.
    pub(super) expires_ms: Option<u64>,
    /// Only an exact life counts from now on.
    pub(super) ended: bool,
    /// What was stored under an idempotency key, and until when that is remembered.
    repeats: HashMap<Box<str>, Remembered>,
    last_sweep_ms: u64,
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

impl Stream {
    /// An empty stream, all of whose ids will be above this one.
    pub(super) fn new(name: &str, above: EventId) -> Self {
        let mut quoted = String::with_capacity(name.len() + 2);
        quote(&mut quoted, name);
        let (events, repeats) = Default::default();
        Stream { quoted, events, greatest: above, expires_ms: None, ended: false, repeats, last_sweep_ms: 0 }
    }

    pub(super) fn append(
        &mut self,
        events: &[NewEvent],
        now_ms: u64,
        time: &mut TimeFormatter,
    ) -> Result<Vec<EventId>> {
        // As on Redis, no event has the id that stands for "none".
        let mut id = EventId::new(now_ms, u64::from(now_ms == 0));
        if self.greatest >= id {
            let used_up = || Error::new(Code::Backend, "The stream has used its last possible id.");
            id = self.greatest.next().ok_or_else(used_up)?;
        }
        let mut ids = Vec::with_capacity(events.len());
        for event in events {
            self.push(id, event, time.format(id.ms));
            self.greatest = id;
            ids.push(id);
            id.seq += 1;
        }
        Ok(ids)
    }

    fn push(&mut self, id: EventId, event: &NewEvent, time: &str) {
        let fields: usize = event.fields().map(|(field, _)| field.name().len() + 6).sum();
        let mut record = String::with_capacity(self.quoted.len() + event.size() + fields + 120);
        let place = write_record(&mut record, id, &self.quoted, time, event.event_type(), event.fields(), event.data());
        self.events.push(Stored { id, record, place });
    }

    /// The id of the last event that is there.
    pub(super) fn last_id(&self) -> Option<EventId> {
        Some(self.events.last()?.id)
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn read(&self, request: &PageRequest<'_>) -> Events {
        let mut page = Events::default();
        let first = self.events.partition_point(|event| event.id < request.from);
        let end = self.events.partition_point(|event| event.id <= request.to);
        let range = self.events.get(first..end).unwrap_or_default();
        let count = range.len().min(request.count);
        let wanted = if request.descending { &range[range.len() - count..] } else { &range[..count] };
        page.reserve(count, wanted.iter().map(|event| event.record.len() + 1).sum());
        let mut take = |event: &Stored| page.push_record(&event.record, &event.place);
        match request.descending {
            true => wanted.iter().rev().for_each(&mut take),
            false => wanted.iter().for_each(&mut take),
        }
        page
    }

    /// Deletes these events; how many were there.
    pub(super) fn delete(&mut self, ids: &[EventId]) -> u64 {
        let (before, mut sorted) = (self.events.len(), ids.to_vec());
        sorted.sort_unstable();
        self.events.retain(|event| sorted.binary_search(&event.id).is_err());
        (before - self.events.len()) as u64
    }

    /// Deletes all events before this one; how many.
    pub(super) fn trim(&mut self, before: EventId) -> u64 {
        let count = self.events.partition_point(|event| event.id < before);
        self.events.drain(..count);
        count as u64
    }

    /// What an append with this idempotency key stored, if all of it is still there.
    pub(super) fn repeated(&self, key: &str, now_ms: u64) -> Option<Events> {
        let remembered = self.repeats.get(key).filter(|remembered| remembered.until_ms > now_ms)?;
        let mut records = Events::default();
        for id in &remembered.ids {
            let at = self.events.binary_search_by_key(id, |event| event.id).ok()?;
            records.push_record(&self.events[at].record, &self.events[at].place);
        }
        Some(records)
    }

    /// Remembers what was stored under an idempotency key, and forgets old ones now and then.
    pub(super) fn remember(&mut self, key: &str, ids: &[EventId], now_ms: u64) {
        if now_ms.saturating_sub(self.last_sweep_ms) > SWEEP_MS {
            self.last_sweep_ms = now_ms;
            self.repeats.retain(|_, remembered| remembered.until_ms > now_ms);
        }
        let until_ms = now_ms.saturating_add(IDEMPOTENCY_MS);
        self.repeats.insert(key.into(), Remembered { ids: ids.to_vec(), until_ms });
    }
}
