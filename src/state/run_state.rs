//! The state of one run, read and written.

use std::time::Duration;

use super::history::{Diff, HistoryEntry, diff, history};
use super::point::Point;
use crate::backend::Receipt;
use crate::error::{Code, Error, Result};
use crate::event::{Envelope, EventId, Events, Field, NewEvent, quote};
use crate::run::{Run, STATE_TYPES, set_data, snapshot_events};
use crate::store::{AppendOptions, Consistency, EventStore, Query, RunKey};

/// The state of one run: keys and JSON values, folded from the events of its stream.
///
/// ```
/// use nuxt_queue_core::{Consistency, Envelope, EventStore, RunState, StoreOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> nuxt_queue_core::Result<()> {
/// let store = EventStore::open(StoreOptions::memory()).await?;
/// let state = RunState::new(&store, "abc", Envelope::default());
/// state.set("epoch", "1", None).await?;
/// assert_eq!(state.get("epoch", Consistency::Cached).await?.as_deref(), Some("1"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RunState {
    store: EventStore,
    key: RunKey,
    envelope: Envelope,
}

impl RunState {
    /// The state of a run. What is written carries the envelope, with the run's id.
    pub fn new(store: &EventStore, run_id: &str, mut envelope: Envelope) -> Self {
        envelope.set(Field::RunId, run_id);
        let key = store.run_key(&format!("{}:flow:{run_id}", store.prefix()));
        RunState { store: store.clone(), key, envelope }
    }

    /// The name of the run's stream.
    pub fn stream(&self) -> &str {
        self.key.stream()
    }

    /// The same as [`RunState::get`] at once, if memory can tell; `None`: ask [`RunState::get`].
    pub fn peek(&self, key: &str) -> Option<Option<String>> {
        let now = || self.store.now_ms();
        self.store.peek_run(&self.key, |run, _| run.state().get_at(key, now).map(str::to_owned)).ok()
    }

    /// The value of a key as JSON text; `None` if it is absent.
    pub async fn get(&self, key: &str, consistency: Consistency) -> Result<Option<String>> {
        let now = self.store.now_ms();
        self.look(consistency, |run, _| run.state().get(key, now).map(str::to_owned)).await
    }

    /// Whether a key is present.
    pub async fn has(&self, key: &str, consistency: Consistency) -> Result<bool> {
        let now = self.store.now_ms();
        self.look(consistency, |run, _| run.state().get(key, now).is_some()).await
    }

    /// All keys and values as a JSON object.
    pub async fn get_all(&self, consistency: Consistency) -> Result<String> {
        let now = self.store.now_ms();
        self.look(consistency, |run, _| run.state().to_json(now)).await
    }

    /// The keys that begin with a prefix, in ascending order.
    pub async fn list(&self, prefix: &str, consistency: Consistency) -> Result<Vec<String>> {
        let now = self.store.now_ms();
        let keys = |run: &Run, _| {
            let keys = run.state().iter(now).map(|(key, _)| key);
            keys.filter(|key| key.starts_with(prefix)).map(str::to_owned).collect()
        };
        self.look(consistency, keys).await
    }

    /// The value of a key, and the id of the run's last event (`0-0`: none): what a conditional
    /// write needs.
    pub async fn get_with_last_id(&self, key: &str) -> Result<(Option<String>, EventId)> {
        let now = self.store.now_ms();
        let value = |run: &Run, last| (run.state().get(key, now).map(str::to_owned), last);
        self.look(Consistency::Cached, value).await
    }

    async fn look<R>(&self, consistency: Consistency, look: impl FnOnce(&Run, EventId) -> R) -> Result<R> {
        self.store.run(&self.key, consistency, look).await
    }

    /// Sets a key to a JSON value; with `ttl` it expires after that time.
    pub async fn set(&self, key: &str, json: &str, ttl: Option<Duration>) -> Result<()> {
        if ttl.is_some_and(|ttl| ttl.as_millis() == 0) {
            return Err(Error::new(Code::Validation, "ttl is 0; leave it out for a key that stays."));
        }
        let expires_ms = ttl.map(|ttl| self.store.now_ms().saturating_add(ttl.as_millis() as u64));
        self.append(vec![self.event("state.set", set_data(key, json, expires_ms))], None).await.map(drop)
    }

    /// Deletes a key.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let mut data = String::from("{\"key\":");
        quote(&mut data, key);
        data.push('}');
        self.append(vec![self.event("state.delete", data)], None).await.map(drop)
    }

    /// Sets many keys in one event.
    pub async fn set_batch(&self, values: &[(&str, &str)]) -> Result<()> {
        let mut data = String::from("{\"operations\":[");
        for (n, (key, json)) in values.iter().enumerate() {
            data.push_str(if n == 0 { "{\"type\":\"set\",\"key\":" } else { ",{\"type\":\"set\",\"key\":" });
            quote(&mut data, key);
            data.push_str(",\"value\":");
            data.push_str(json);
            data.push('}');
        }
        data.push_str("]}");
        self.append(vec![self.event("state.batch", data)], None).await.map(drop)
    }

    /// Replaces the value of a key by what `update` makes of it. Other writers may come between:
    /// then `update` is called again, on the newer value. Returns the new value.
    pub async fn patch(&self, key: &str, mut update: impl FnMut(Option<&str>) -> String) -> Result<String> {
        loop {
            let (previous, last) = self.get_with_last_id(key).await?;
            let next = update(previous.as_deref());
            match self.append(vec![self.event("state.set", set_data(key, &next, None))], Some(last)).await {
                Err(error) if error.code() == Code::Conflict => {}
                outcome => return outcome.map(|_| next),
            }
        }
    }

    /// The state at a point as a JSON object. Reads back from there to the last snapshot.
    pub async fn at(&self, point: Point) -> Result<String> {
        let run = self.store.run_at(self.key.stream(), point.last_id()).await?;
        Ok(run.state().to_json(point.ms()))
    }

    /// Every change of all keys, or of one.
    pub async fn history(&self, key: Option<&str>) -> Result<Vec<HistoryEntry>> {
        Ok(history(&self.state_events(EventId::MIN, EventId::MAX).await?, key))
    }

    /// How the state differs between two points.
    pub async fn diff(&self, from: Point, to: Point) -> Result<Diff> {
        let (first, last) = (from.last_id().min(to.last_id()), from.last_id().max(to.last_id()));
        let earlier = self.store.run_at(self.key.stream(), first).await?;
        let between = self.state_events(first, last).await?;
        Ok(diff(earlier.state().clone(), &between, from, to))
    }

    /// Writes the whole state as one event, directly behind the last event that it covers.
    /// Returns the record as JSON text.
    pub async fn snapshot(&self) -> Result<String> {
        loop {
            let now = self.store.now_ms();
            let events = |run: &Run, last| (snapshot_events(run.state(), last, now, &self.envelope), last);
            let (events, last) = self.look(Consistency::Strong, events).await?;
            let id = match self.append(events, Some(last)).await {
                Err(error) if error.code() == Code::Conflict => continue,
                Ok(Receipt::One(id)) => id,
                Ok(Receipt::Batch(ids)) => ids.first().copied().unwrap_or_default(),
                Ok(Receipt::Repeated(_)) => {
                    return Err(Error::new(Code::Internal, "A snapshot has no idempotency key."));
                }
                Err(error) => return Err(error),
            };
            let query = Query { after: id.previous(), limit: Some(1), ..Query::stream(self.key.stream()) };
            let record = self.store.query(query).await?;
            let found = record.last().filter(|event| event.id == id).map(|event| event.record.to_owned());
            return found
                .ok_or_else(|| Error::new(Code::Corrupt, "The stream was deleted while a snapshot was written."));
        }
    }

    /// The state events after `first`, up to `last`.
    async fn state_events(&self, first: EventId, last: EventId) -> Result<Events> {
        let types = STATE_TYPES.map(str::to_owned).to_vec();
        let after = (first > EventId::MIN).then_some(first);
        self.store.query(Query { types, after, before: last.next(), ..Query::stream(self.key.stream()) }).await
    }

    fn event(&self, event_type: &str, data: String) -> NewEvent {
        NewEvent::new(event_type).with_envelope(&self.envelope).with_data(data)
    }

    async fn append(&self, events: Vec<NewEvent>, expected_last_id: Option<EventId>) -> Result<Receipt> {
        let options = AppendOptions { expected_last_id, idempotency_key: None };
        self.store.append_batch(self.key.stream(), events, options).await
    }
}
