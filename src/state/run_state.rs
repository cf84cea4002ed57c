//! The state of one run, read and written.

use std::time::Duration;

use super::fold::{Point, State, object};
use super::history::{Diff, HistoryEntry, SNAPSHOT_CAUSE, diff, history};
use crate::backend::Receipt;
use crate::error::{Code, Error, Result};
use crate::event::{Envelope, EventId, Events, Field, NewEvent, format_time, quote};
use crate::store::{AppendOptions, EventStore, Query};

/// The types that change state; `state` is the original module's.
const STATE_TYPES: [&str; 2] = ["state", "state.*"];

/// The state of one run: keys and JSON values, folded from the events of its stream.
///
/// ```
/// use nuxt_queue_core::{Envelope, EventStore, RunState, StoreOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> nuxt_queue_core::Result<()> {
/// let store = EventStore::open(StoreOptions::memory()).await?;
/// let state = RunState::new(&store, "abc", Envelope::default());
/// state.set("epoch", "1", None).await?;
/// assert_eq!(state.get("epoch").await?.as_deref(), Some("1"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RunState {
    store: EventStore,
    stream: String,
    envelope: Envelope,
}

impl RunState {
    /// The state of a run. What is written carries the envelope, with the run's id.
    pub fn new(store: &EventStore, run_id: &str, mut envelope: Envelope) -> Self {
        envelope.set(Field::RunId, run_id);
        RunState { store: store.clone(), stream: format!("{}:flow:{run_id}", store.prefix()), envelope }
    }

    /// The value of a key as JSON text; `None` if it is absent.
    pub async fn get(&self, key: &str) -> Result<Option<String>> {
        let now = self.store.now_ms();
        self.store.project(&self.stream, |state: &State, _| state.get(key, now).map(str::to_owned)).await
    }

    /// Whether a key is present.
    pub async fn has(&self, key: &str) -> Result<bool> {
        Ok(self.get(key).await?.is_some())
    }

    /// All keys and values as a JSON object.
    pub async fn get_all(&self) -> Result<String> {
        let now = self.store.now_ms();
        self.store.project(&self.stream, |state: &State, _| state.to_json(now)).await
    }

    /// The keys that begin with a prefix, in ascending order.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let now = self.store.now_ms();
        let keys = |state: &State, _| {
            state.iter(now).map(|(key, _)| key).filter(|key| key.starts_with(prefix)).map(str::to_owned).collect()
        };
        self.store.project(&self.stream, keys).await
    }

    /// The value of a key, and the id of the run's last event (`0-0`: none): what a conditional
    /// write needs.
    pub async fn get_with_last_id(&self, key: &str) -> Result<(Option<String>, EventId)> {
        let now = self.store.now_ms();
        self.store.project(&self.stream, |state: &State, last| (state.get(key, now).map(str::to_owned), last)).await
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

    /// The state at a point as a JSON object.
    pub async fn at(&self, point: Point) -> Result<String> {
        let events = self.state_events(Some(point)).await?;
        let mut state = State::default();
        events
            .iter()
            .filter_map(|event| super::effect(event.event_type, event.data))
            .for_each(|effect| state.take(&effect));
        Ok(state.to_json(point.ms()))
    }

    /// Every change of all keys, or of one.
    pub async fn history(&self, key: Option<&str>) -> Result<Vec<HistoryEntry>> {
        Ok(history(&self.state_events(None).await?, key))
    }

    /// How the state differs between two points.
    pub async fn diff(&self, from: Point, to: Point) -> Result<Diff> {
        let later = if from.last_id() > to.last_id() { from } else { to };
        Ok(diff(&self.state_events(Some(later)).await?, from, to))
    }

    /// Writes the whole state as one event, directly behind the last event that it covers.
    /// Returns the record as JSON text.
    pub async fn snapshot(&self) -> Result<String> {
        loop {
            let now = self.store.now_ms();
            let (events, last) = self
                .store
                .project(&self.stream, |state: &State, last| (self.snapshot_events(state, now), last))
                .await?;
            let id = match self.append(events, Some(last)).await {
                Err(error) if error.code() == Code::Conflict => continue,
                Ok(Receipt::One(id)) => id,
                Ok(Receipt::Batch(ids)) => ids.first().copied().unwrap_or_default(),
                Ok(Receipt::Repeated(_)) => {
                    return Err(Error::new(Code::Internal, "A snapshot has no idempotency key."));
                }
                Err(error) => return Err(error),
            };
            let query = Query { after: id.previous(), limit: Some(1), ..Query::stream(&self.stream) };
            let record = self.store.query(query).await?;
            let found = record.last().filter(|event| event.id == id).map(|event| event.record.to_owned());
            return found
                .ok_or_else(|| Error::new(Code::Corrupt, "The stream was deleted while a snapshot was written."));
        }
    }

    /// The snapshot, and behind it the keys that expire: a snapshot alone can't say when.
    fn snapshot_events(&self, state: &State, now_ms: u64) -> Vec<NewEvent> {
        let mut events = vec![self.event("state.snapshot", object(state.iter(now_ms)))];
        let repeat = |(key, json, expires_ms): (&str, &str, u64)| {
            self.event("state.set", set_data(key, json, Some(expires_ms))).with(Field::CausationId, SNAPSHOT_CAUSE)
        };
        events.extend(state.expiring(now_ms).map(repeat));
        events
    }

    async fn state_events(&self, up_to: Option<Point>) -> Result<Events> {
        let types = STATE_TYPES.map(str::to_owned).to_vec();
        let before = up_to.and_then(|point| point.last_id().next());
        self.store.query(Query { types, before, ..Query::stream(&self.stream) }).await
    }

    fn event(&self, event_type: &str, data: String) -> NewEvent {
        NewEvent::new(event_type).with_envelope(&self.envelope).with_data(data)
    }

    async fn append(&self, events: Vec<NewEvent>, expected_last_id: Option<EventId>) -> Result<Receipt> {
        let options = AppendOptions { expected_last_id, idempotency_key: None };
        self.store.append_batch(&self.stream, events, options).await
    }
}

fn set_data(key: &str, json: &str, expires_ms: Option<u64>) -> String {
    let mut data = String::from("{\"key\":");
    quote(&mut data, key);
    data.push_str(",\"value\":");
    data.push_str(json);
    if let Some(expires_ms) = expires_ms {
        data.push_str(",\"expiresAt\":");
        quote(&mut data, &format_time(expires_ms));
    }
    data.push('}');
    data
}
