//! What all instances have to know of each other: triggers and who subscribes to them, the open awaits of all
//! runs, what was fired lately and what has not fired yet. Folded from the stream that they all follow.

mod registry;
mod schedules;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::{EventId, EventRef, format_time, parse_time};
use crate::run::ends_by_name;
use crate::store::Compact;

pub use registry::{Mode, RegisteredTrigger, Subscriber};
pub(super) use registry::{Registry, changed};
use schedules::Schedules;
pub(super) use schedules::{Latest, Queued};

/// How many firings are remembered for awaits that begin later.
const MOST_RECENT: usize = 1_000;
/// How many runs may wait for somebody to start them; the oldest go first.
const MOST_STARTS: usize = 10_000;

/// An await, by its run and its id.
pub(super) type Key = (Arc<str>, Arc<str>);

/// An open await.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    name: Arc<str>,
    /// Whether it is ended by a trigger of its name. Others have a name only to be shown.
    is_named: bool,
    deadline_ms: Option<u64>,
}

/// Something that was fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fired {
    pub(super) fire_id: String,
    pub(super) name: String,
    /// Its event in the trigger's own stream, which has the payload.
    #[serde(with = "id_text")]
    pub(super) at: EventId,
}

/// A firing that waits until it is quiet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Debounced {
    fire_id: String,
    due_ms: u64,
}

/// A run that a person may start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingStart {
    /// The firing.
    pub fire_id: String,
    /// The trigger.
    pub trigger_name: String,
    /// The flow.
    pub flow_name: String,
    /// Since when, ISO 8601.
    pub since: String,
}

/// What is awaited.
#[derive(Debug, Default)]
pub(super) struct Board {
    open: HashMap<Key, Open>,
    by_name: HashMap<Arc<str>, BTreeSet<Key>>,
    by_deadline: BTreeSet<(u64, Key)>,
    /// What was fired lately, in order.
    recent: VecDeque<Fired>,
    /// By trigger.
    debounced: BTreeMap<String, Debounced>,
    /// What waits for a person, in order.
    starts: VecDeque<PendingStart>,
    pub(super) registry: Registry,
    pub(super) schedules: Schedules,
    /// Events that it does not know: they must not be compacted away.
    pub(super) has_others: bool,
    /// How many events were taken since the last snapshot.
    pub(super) taken: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(borrow)]
    run_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    trigger_name: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Data {
    await_id: Option<String>,
    kind: Option<String>,
    deadline: Option<String>,
    fire_id: Option<String>,
    at: Option<String>,
    due: Option<String>,
    flow_name: Option<String>,
    /// Flows that a person may start.
    manual: Vec<String>,
    /// The instant that a schedule decided on; of several the last.
    scheduled_time: Option<String>,
    /// Since when a trigger is what it is, or enabled.
    since: Option<String>,
    /// The runs that were started.
    run_ids: Vec<String>,
}

/// What an event says to those who wait in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// Something came for an await.
    Woken(String, String),
    /// A run has ended.
    Ended(String),
}

fn parse(event: EventRef<'_>) -> Option<(Record<'_>, Data)> {
    let record: Record = serde_json::from_str(event.record).ok()?;
    let data = record.data.and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default();
    Some((record, data))
}

pub(super) fn news(event: EventRef<'_>) -> Option<News> {
    let is_wake = matches!(event.event_type, "trigger.resolved" | "trigger.offered");
    let is_end = matches!(event.event_type, "flow.canceled" | "flow.failed");
    if !is_wake && !is_end {
        return None;
    }
    let (record, data) = parse(event)?;
    let run_id = record.run_id?.into_owned();
    Some(if is_end { News::Ended(run_id) } else { News::Woken(run_id, data.await_id?) })
}

impl Board {
    /// The earliest instant at which there is something to do.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let debounced = self.debounced.values().map(|debounced| debounced.due_ms).min();
        self.by_deadline.first().map(|(deadline, _)| *deadline).into_iter().chain(debounced).min()
    }

    /// Awaits whose deadlines have passed, in their order, with them.
    pub(super) fn due(&self, now_ms: u64) -> Vec<(u64, Key)> {
        self.by_deadline.iter().take_while(|(deadline, _)| *deadline <= now_ms).cloned().collect()
    }

    /// Triggers that were quiet for long enough.
    pub(super) fn quiet(&self, now_ms: u64) -> Vec<String> {
        let quiet = self.debounced.iter().filter(|(_, debounced)| debounced.due_ms <= now_ms);
        quiet.map(|(name, _)| name.clone()).collect()
    }

    /// The open awaits that a trigger of a name ends.
    pub(super) fn of(&self, name: &str) -> Vec<Key> {
        self.by_name.get(name).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// What was fired under a name after an event, or since an instant.
    pub(super) fn fired_since(&self, name: &str, since: EventId) -> Vec<Fired> {
        self.recent.iter().filter(|fired| fired.at > since && fired.name == name).cloned().collect()
    }

    /// Whether a firing was announced lately.
    pub(super) fn knows(&self, fire_id: &str) -> bool {
        self.recent.iter().rev().any(|fired| fired.fire_id == fire_id)
    }

    /// The runs that wait for a person to start them, oldest first.
    pub(super) fn starts(&self) -> impl Iterator<Item = &PendingStart> {
        self.starts.iter()
    }

    /// How many awaits are open.
    pub(super) fn open_awaits(&self) -> usize {
        self.open.len()
    }

    /// How much it holds that a snapshot has to hold.
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.registry.len() + self.starts.len() + self.debounced.len() + self.schedules.len()
    }

    fn open(&mut self, run_id: &str, await_id: &str, name: &str, is_named: bool, deadline_ms: Option<u64>) {
        let key: Key = (run_id.into(), await_id.into());
        self.close(&key);
        let name = match self.by_name.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => name.into(),
        };
        if is_named {
            self.by_name.entry(name.clone()).or_default().insert(key.clone());
        }
        if let Some(deadline) = deadline_ms {
            self.by_deadline.insert((deadline, key.clone()));
        }
        self.open.insert(key, Open { name, is_named, deadline_ms });
    }

    fn close(&mut self, key: &Key) {
        let Some(open) = self.open.remove(key) else { return };
        if let Some(keys) = self.by_name.get_mut(&open.name) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_name.remove(&open.name);
            }
        }
        if let Some(deadline) = open.deadline_ms {
            self.by_deadline.remove(&(deadline, key.clone()));
        }
    }

    fn fire(&mut self, fired: Fired) {
        if self.debounced.get(&fired.name).is_some_and(|debounced| debounced.fire_id == fired.fire_id) {
            self.debounced.remove(&fired.name);
        }
        // Who finishes what somebody else began can't know whether that was announced.
        if !self.knows(&fired.fire_id) {
            self.recent.push_back(fired);
        }
        if self.recent.len() > MOST_RECENT {
            self.recent.pop_front();
        }
    }

    fn decided(&mut self, name: &str, scheduled_time: Option<&str>) {
        if let Some(at_ms) = scheduled_time.and_then(parse_time) {
            self.schedules.decided(name, at_ms);
        }
    }

    fn await_person(&mut self, event: EventRef<'_>, name: &str, fire_id: &str, flows: Vec<String>) {
        for flow_name in flows {
            let is_known = |start: &PendingStart| start.fire_id == fire_id && start.flow_name == flow_name;
            if !self.starts.iter().any(is_known) {
                let (fire_id, trigger_name) = (fire_id.to_owned(), name.to_owned());
                self.starts.push_back(PendingStart {
                    fire_id,
                    trigger_name,
                    flow_name,
                    since: format_time(event.id.ms),
                });
            }
            if self.starts.len() > MOST_STARTS {
                self.starts.pop_front();
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    awaits: Vec<OpenSnapshot>,
    recent: VecDeque<Fired>,
    #[serde(default)]
    debounced: BTreeMap<String, Debounced>,
    #[serde(default)]
    starts: VecDeque<PendingStart>,
    #[serde(default)]
    registry: Registry,
    #[serde(default)]
    schedules: Schedules,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenSnapshot {
    run_id: String,
    await_id: String,
    name: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_unnamed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
}

impl Compact for Board {
    const SNAPSHOT: &'static str = "trigger.snapshot";

    fn apply(&mut self, event: EventRef<'_>) {
        self.taken += 1;
        let Some((record, data)) = parse(event) else {
            self.has_others = true;
            return;
        };
        match (event.event_type, record.run_id, record.trigger_name, data.await_id) {
            ("trigger.awaiting", Some(run_id), Some(name), Some(await_id)) => {
                let is_named = data.kind.is_none_or(|kind| ends_by_name(&kind));
                self.open(&run_id, &await_id, &name, is_named, data.deadline.and_then(|at| parse_time(&at)));
            }
            ("trigger.resolved", Some(run_id), _, Some(await_id)) => {
                self.close(&(run_id.as_ref().into(), await_id.into()));
            }
            ("trigger.offered" | "flow.canceled" | "flow.failed", ..) => {}
            ("trigger.fired", _, Some(name), None) => {
                self.decided(&name, data.scheduled_time.as_deref());
                if let (Some(fire_id), Some(at)) = (data.fire_id, data.at.and_then(|at| at.parse().ok())) {
                    self.schedules.fired(&name, &fire_id, self.registry.looks_at_runs(&name));
                    self.fire(Fired { fire_id, name: name.into_owned(), at });
                }
            }
            ("trigger.queued", _, Some(name), None) => {
                self.decided(&name, data.scheduled_time.as_deref());
                if let (Some(fire_id), Some(at)) = (data.fire_id, data.at.and_then(|at| at.parse().ok())) {
                    self.schedules.queued(&name, fire_id, at);
                }
            }
            ("trigger.skipped", _, Some(name), None) => {
                self.decided(&name, data.scheduled_time.as_deref());
                self.schedules.unqueue(&name, data.fire_id.as_deref());
            }
            ("trigger.debounced", _, Some(name), _) => {
                match (data.fire_id, data.due.and_then(|due| parse_time(&due))) {
                    (Some(fire_id), Some(due_ms)) => {
                        self.debounced.insert(name.into_owned(), Debounced { fire_id, due_ms })
                    }
                    // Nothing waits any more.
                    _ => self.debounced.remove(&*name),
                };
            }
            ("trigger.processed" | "trigger.failed", _, Some(name), _) => {
                if let Some(fire_id) = data.fire_id {
                    self.schedules.processed(&name, &fire_id, data.run_ids);
                    self.await_person(event, &name, &fire_id, data.manual);
                }
            }
            ("trigger.started" | "trigger.dismissed", ..) => {
                self.starts.retain(|start| {
                    Some(&start.fire_id) != data.fire_id.as_ref() || Some(&start.flow_name) != data.flow_name.as_ref()
                });
            }
            (event_type, _, Some(name), _) if Registry::knows(event_type) => {
                let before = self.registry.get(&name).cloned();
                self.registry.apply(event_type, &name, event.data);
                if event_type == "trigger.removed" {
                    self.debounced.remove(&*name);
                    self.starts.retain(|start| start.trigger_name != *name);
                }
                let since_ms = data.since.and_then(|since| parse_time(&since));
                self.schedules.follow(&name, before.as_ref(), self.registry.get(&name), since_ms);
            }
            _ => self.has_others = true,
        }
    }

    fn to_json(&self) -> String {
        let awaits = self.open.iter().map(|((run_id, await_id), open)| OpenSnapshot {
            run_id: run_id.to_string(),
            await_id: await_id.to_string(),
            name: open.name.to_string(),
            is_unnamed: !open.is_named,
            deadline: open.deadline_ms.map(format_time),
        });
        let snapshot = Snapshot {
            awaits: awaits.collect(),
            recent: self.recent.clone(),
            debounced: self.debounced.clone(),
            starts: self.starts.clone(),
            registry: self.registry.clone(),
            schedules: self.schedules.clone(),
        };
        serde_json::to_string(&snapshot).unwrap_or_default()
    }

    fn from_json(json: &str) -> Option<Self> {
        let Snapshot { awaits, recent, debounced, starts, registry, schedules } = serde_json::from_str(json).ok()?;
        let mut board = Board { recent, debounced, starts, registry, schedules, ..Board::default() };
        for OpenSnapshot { run_id, await_id, name, is_unnamed, deadline } in awaits {
            board.open(&run_id, &await_id, &name, !is_unnamed, deadline.and_then(|at| parse_time(&at)));
        }
        Some(board)
    }
}

/// Ids as text.
mod id_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::event::EventId;

    pub(super) fn serialize<S: Serializer>(id: &EventId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::Board;
    use crate::VirtualClock;
    use crate::event::{Field, NewEvent};
    use crate::store::{AppendOptions, Compact, EventStore, StoreOptions};

    fn any_event() -> impl Strategy<Value = NewEvent> {
        (0..20, 0..3, 0..3, 0..4).prop_map(|(what, name, flow, id)| {
            let plan = json!({ "entry": "a", "steps": { "a": { "queue": "q" } } });
            let time = format!("2024-01-0{}T00:00:00.000Z", id + 1);
            let schedule = json!({ "cron": "* * * * *", "overlap": "queue", "jitterMs": flow });
            let scheduled = json!({ "name": format!("t{name}"), "type": "schedule", "schedule": schedule });
            let (event_type, data) = match what {
                0 => ("trigger.registered", json!({ "definition": { "name": format!("t{name}"), "type": "event" } })),
                1 => ("trigger.updated", json!({ "changes": { "displayName": format!("{id}"), "tags": null } })),
                2 => ("trigger.enabled", json!({})),
                3 => ("trigger.disabled", json!({})),
                4 => ("trigger.removed", json!({})),
                5 => ("trigger.subscribed", json!({ "flowName": format!("f{flow}"), "mode": "manual", "plan": plan })),
                6 => ("trigger.unsubscribed", json!({ "flowName": format!("f{flow}") })),
                7 => ("trigger.fired", json!({ "fireId": format!("{id}"), "at": format!("{id}-{flow}") })),
                8 => ("trigger.debounced", json!({ "fireId": format!("{id}"), "due": "2024-01-01T00:00:00.000Z" })),
                9 => ("trigger.debounced", json!({})),
                10 => ("trigger.processed", json!({ "fireId": format!("{id}"), "manual": [format!("f{flow}")] })),
                11 => ("trigger.started", json!({ "fireId": format!("{id}"), "flowName": format!("f{flow}") })),
                12 => ("trigger.awaiting", json!({ "awaitId": format!("{id}"), "kind": "trigger" })),
                13 => {
                    ("trigger.awaiting", json!({ "awaitId": format!("{id}"), "deadline": "2024-01-01T00:00:00.000Z" }))
                }
                14 => ("trigger.registered", json!({ "definition": scheduled, "since": time })),
                15 => ("trigger.fired", json!({ "fireId": format!("{id}"), "at": "1-1", "scheduledTime": time })),
                16 => ("trigger.queued", json!({ "fireId": format!("{id}"), "at": "1-1", "scheduledTime": time })),
                17 => ("trigger.skipped", json!({ "scheduledTime": time, "fireId": format!("{id}") })),
                18 => ("trigger.processed", json!({ "fireId": format!("{id}"), "runIds": [format!("r{flow}")] })),
                _ => ("trigger.resolved", json!({ "awaitId": format!("{id}") })),
            };
            let event = NewEvent::new(event_type).with(Field::TriggerName, format!("t{name}"));
            event.with(Field::RunId, format!("r{flow}")).with_data(data.to_string())
        })
    }

    async fn amounts_to(events: &[NewEvent], compacted_at: Option<usize>) -> Value {
        let options = StoreOptions::memory().with_clock(Arc::new(VirtualClock::new(1_700_000_000_000)));
        let store = EventStore::open(options).await.unwrap();
        for (at, event) in events.iter().enumerate() {
            if compacted_at == Some(at) {
                store.compact::<Board>("s").await.unwrap();
            }
            store.append("s", event.clone(), AppendOptions::default()).await.unwrap();
        }
        let (board, _) = store.fold::<Board>("s").await.unwrap();
        assert!(!board.has_others);
        let mut value: Value = serde_json::from_str(&board.to_json()).unwrap();
        value["awaits"].as_array_mut().unwrap().sort_by_key(Value::to_string);
        value
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_snapshot_stands_for_what_came_before_it(
            events in prop::collection::vec(any_event(), 1..40),
            at in any::<prop::sample::Index>(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (whole, compacted) = runtime.block_on(async {
                (amounts_to(&events, None).await, amounts_to(&events, Some(at.index(events.len()))).await)
            });
            prop_assert_eq!(whole, compacted);
        }
    }
}
