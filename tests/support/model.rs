//! What a store is, in the plainest way: lists of events in a map. And what state is: a map.

#![allow(dead_code, reason = "each test uses the part that it needs")]

use std::collections::{BTreeMap, HashMap};

use nuxt_queue_core::event::parse_time;
use nuxt_queue_core::{EventId, Query};
use serde_json::Value;

/// One stored event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub event_type: String,
    pub data: String,
}

/// What an append has to come to.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Stores,
    Conflicts,
    Repeats(Vec<EventId>),
}

/// All streams.
#[derive(Debug, Default)]
pub struct Model {
    pub streams: BTreeMap<String, Vec<Event>>,
    keys: HashMap<(String, String), Vec<EventId>>,
    /// The greatest id of a stream that was deleted: no other begins at or below it.
    deleted: EventId,
}

impl Model {
    pub fn last_id(&self, stream: &str) -> EventId {
        self.streams.get(stream).and_then(|events| events.last()).map_or(EventId::MIN, |event| event.id)
    }

    pub fn judge(&self, stream: &str, expected: Option<EventId>, key: Option<&str>) -> Verdict {
        if let Some(ids) = key.and_then(|key| self.keys.get(&(stream.into(), key.into()))) {
            return Verdict::Repeats(ids.clone());
        }
        match expected.is_some_and(|expected| expected != self.last_id(stream)) {
            true => Verdict::Conflicts,
            false => Verdict::Stores,
        }
    }

    pub fn store(&mut self, stream: &str, events: Vec<Event>, key: Option<&str>) {
        if let Some(key) = key {
            let ids = events.iter().map(|event| event.id).collect();
            self.keys.insert((stream.into(), key.into()), ids);
        }
        self.streams.entry(stream.into()).or_default().extend(events);
    }

    pub fn delete(&mut self, stream: &str) -> bool {
        self.keys.retain(|(of, _), _| of != stream);
        self.deleted = self.deleted.max(self.last_id(stream));
        self.streams.remove(stream).is_some()
    }

    /// What the next event of a stream is above.
    pub fn floor(&self, stream: &str) -> EventId {
        match self.streams.contains_key(stream) {
            true => self.last_id(stream),
            false => self.deleted,
        }
    }

    pub fn query(&self, stream: &str, query: &Query) -> Vec<Event> {
        let is_wanted = |event: &&Event| {
            let is_type = |wanted: &String| match wanted.strip_suffix('*') {
                Some(prefix) => event.event_type.starts_with(prefix),
                None => event.event_type == *wanted,
            };
            (query.types.is_empty() || query.types.iter().any(is_type))
                && query.start_ms.is_none_or(|start| event.id.ms >= start)
                && query.end_ms.is_none_or(|end| event.id.ms <= end)
                && query.after.is_none_or(|after| event.id > after)
                && query.before.is_none_or(|before| event.id < before)
        };
        let mut events: Vec<Event> =
            self.streams.get(stream).into_iter().flatten().filter(is_wanted).cloned().collect();
        if query.descending {
            events.reverse();
        }
        events.truncate(query.limit.unwrap_or(usize::MAX));
        events
    }
}

/// The state after these events, as it is at an instant.
pub fn reduce<'a>(events: impl Iterator<Item = &'a Event>, at_ms: u64) -> Value {
    let mut state: HashMap<String, (Value, Option<u64>)> = HashMap::new();
    for event in events {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        match event.event_type.as_str() {
            "state.set" => change(&mut state, "set", &data),
            "state.delete" => change(&mut state, "delete", &data),
            "state" => change(&mut state, data["operation"].as_str().unwrap(), &data),
            "state.batch" => {
                for operation in data["operations"].as_array().unwrap() {
                    change(&mut state, operation["type"].as_str().unwrap(), operation);
                }
            }
            "state.snapshot" => {
                let members = data.as_object().unwrap().clone();
                state = members.into_iter().map(|(key, value)| (key, (value, None))).collect();
            }
            _ => {}
        }
    }
    let living = state.into_iter().filter(|(_, (_, expires))| expires.is_none_or(|expires| expires > at_ms));
    living.map(|(key, (value, _))| (key, value)).collect()
}

fn change(state: &mut HashMap<String, (Value, Option<u64>)>, operation: &str, data: &Value) {
    let key = data["key"].as_str().unwrap().to_owned();
    match operation {
        "set" => state.insert(key, (data["value"].clone(), data["expiresAt"].as_str().and_then(parse_time))),
        _ => state.remove(&key),
    };
}
