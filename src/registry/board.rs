//! Everything that the stream of the registry amounts to.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::instance::{Instance, Role, StepOffer};
use crate::event::EventRef;
use crate::store::Compact;
use crate::version::Strategy;

/// For how long an instance is remembered that is dead or has left.
pub(super) const FORGET_AFTER_MS: u64 = 60 * 60_000;

/// All instances that are remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Board {
    pub(super) instances: BTreeMap<String, Instance>,
    /// From when on there may be somebody to forget.
    #[serde(skip)]
    forget_from_ms: u64,
    /// Events that it does not know: they must not be compacted away.
    #[serde(skip)]
    pub(super) has_others: bool,
    /// How many events were taken since the last snapshot.
    #[serde(skip)]
    pub(super) taken: u64,
    /// How often something changed but for signs of life.
    #[serde(skip)]
    pub(super) revision: u64,
}

/// The envelope says of whom the event is; the original's data do.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(borrow)]
    instance_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    worker_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    flow_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    step_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    queue: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Data {
    instance_id: Option<String>,
    worker_id: Option<String>,
    flow_name: Option<String>,
    step_name: Option<String>,
    queue: Option<String>,
    version: Option<String>,
    strategy: Strategy,
    heartbeat_timeout: Option<u64>,
    blocked_ms: Option<u64>,
    flows: Vec<String>,
    handlers: Option<Vec<String>>,
    role: Role,
    subscribes: Vec<String>,
    emits: Option<Vec<String>>,
}

/// What an event says, from wherever it says so.
struct Said {
    instance_id: String,
    worker_id: Option<String>,
    data: Data,
}

fn read(event: EventRef<'_>) -> Option<Said> {
    let record: Record = serde_json::from_str(event.record).ok()?;
    let mut data: Data = match record.data {
        Some(data) => serde_json::from_str::<Option<Data>>(data.get()).ok()?.unwrap_or_default(),
        None => Data::default(),
    };
    let text = |envelope: Option<Cow<'_, str>>, data: &mut Option<String>| {
        envelope.map(Cow::into_owned).or_else(|| data.take())
    };
    let instance_id = text(record.instance_id, &mut data.instance_id)?;
    let worker_id = text(record.worker_id, &mut data.worker_id);
    data.flow_name = text(record.flow_name, &mut data.flow_name);
    data.step_name = text(record.step_name, &mut data.step_name);
    data.queue = data.queue.or_else(|| record.queue.map(Cow::into_owned));
    Some(Said { instance_id, worker_id, data })
}

/// Whether an event type belongs here.
fn is_of_registry(event_type: &str) -> bool {
    matches!(
        event_type,
        "instance.started"
            | "instance.heartbeat"
            | "instance.draining"
            | "instance.shutdown"
            | "worker.registered"
            | "worker.heartbeat"
            | "worker.deregistered"
            | "flow.step.registered"
    )
}

impl Board {
    /// How much it holds that a snapshot has to hold.
    pub(super) fn len(&self) -> usize {
        let workers = self.instances.values().flat_map(|instance| instance.workers.values());
        self.instances.len() + workers.map(|worker| 1 + worker.steps.len()).sum::<usize>()
    }

    /// The instance of an event that shows it to be there; one that has left is a new one then.
    fn present(&mut self, id: String, at_ms: u64) -> &mut Instance {
        let instance = self.instances.entry(id).or_insert_with(|| Instance::starting(at_ms));
        if instance.has_left {
            *instance = Instance::starting(at_ms);
        }
        instance.seen_ms = at_ms;
        instance.is_ready = true;
        instance
    }

    fn start(&mut self, id: String, data: Data, at_ms: u64) {
        let Data { version, strategy, heartbeat_timeout: timeout_ms, .. } = data;
        self.instances.insert(id, Instance { version, strategy, timeout_ms, ..Instance::starting(at_ms) });
    }

    /// A sign of life. It is news only if nobody would have expected it.
    fn beat(&mut self, id: String, blocked_ms: Option<u64>, at_ms: u64) -> bool {
        let instance = self.instances.entry(id).or_insert_with(|| Instance::starting(at_ms));
        // It was on its way when the instance said good-bye.
        if instance.has_left {
            return false;
        }
        let is_news = !instance.is_ready
            || at_ms > instance.expires_ms()
            || instance.blocked_ms.is_some() != blocked_ms.is_some();
        instance.seen_ms = at_ms;
        instance.is_ready = true;
        instance.blocked_ms = blocked_ms;
        is_news
    }

    fn leave(&mut self, id: &str, at_ms: u64) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.seen_ms = at_ms;
            instance.has_left = true;
            instance.blocked_ms = None;
            instance.workers.clear();
        }
    }

    fn register_worker(&mut self, said: Said, at_ms: u64) {
        let Said { instance_id, worker_id: Some(worker_id), data } = said else { return };
        let Data { queue: Some(queue), flows, handlers, .. } = data else { return };
        let worker = self.present(instance_id, at_ms).workers.entry(worker_id).or_default();
        (worker.queue, worker.flows, worker.handlers) = (queue, flows, handlers);
    }

    fn register_step(&mut self, said: Said, at_ms: u64) {
        let Said { instance_id, worker_id: Some(worker_id), data } = said else { return };
        let Data { flow_name: Some(flow_name), step_name: Some(step_name), queue: Some(queue), .. } = data else {
            return;
        };
        let Data { role, subscribes, emits, version, .. } = data;
        let worker = self.present(instance_id, at_ms).workers.entry(worker_id).or_default();
        if worker.queue.is_empty() {
            worker.queue.clone_from(&queue);
        }
        worker.put(StepOffer { flow_name, step_name, queue, role, subscribes, emits, version });
    }

    /// Forgets those who have been dead, or away, for long. By the time of the events: whoever folds them comes to the
    /// same.
    fn forget(&mut self, at_ms: u64) {
        if at_ms < self.forget_from_ms {
            return;
        }
        let until = |instance: &Instance| match instance.has_left {
            true => instance.seen_ms.saturating_add(FORGET_AFTER_MS),
            false => instance.expires_ms().saturating_add(FORGET_AFTER_MS),
        };
        let before = self.instances.len();
        self.instances.retain(|_, instance| at_ms <= until(instance));
        self.forget_from_ms = self.instances.values().map(until).min().unwrap_or(u64::MAX);
        self.revision += u64::from(self.instances.len() < before);
    }

    fn deregister_worker(&mut self, said: &Said, at_ms: u64) {
        let instance = self.instances.get_mut(&said.instance_id);
        if let (Some(instance), Some(worker_id)) = (instance, &said.worker_id) {
            instance.seen_ms = at_ms;
            instance.workers.remove(worker_id);
        }
    }

    /// Takes what an event says; whether it is more than a sign of life.
    fn take(&mut self, event_type: &str, said: Said, at_ms: u64) -> bool {
        match event_type {
            "instance.heartbeat" | "worker.heartbeat" => {
                return self.beat(said.instance_id, said.data.blocked_ms, at_ms);
            }
            "instance.started" => self.start(said.instance_id, said.data, at_ms),
            "instance.draining" => self.present(said.instance_id, at_ms).is_draining = true,
            "instance.shutdown" => self.leave(&said.instance_id, at_ms),
            "worker.registered" => self.register_worker(said, at_ms),
            "worker.deregistered" => self.deregister_worker(&said, at_ms),
            _ => self.register_step(said, at_ms),
        }
        true
    }
}

impl Compact for Board {
    const SNAPSHOT: &'static str = "registry.snapshot";

    fn apply(&mut self, event: EventRef<'_>) {
        self.taken += 1;
        self.forget(event.id.ms);
        if !is_of_registry(event.event_type) {
            self.has_others = true;
            return;
        }
        // What can't be read was not written by us: it is passed over.
        let Some(said) = read(event) else { return };
        if self.take(event.event_type, said, event.id.ms) {
            self.revision += 1;
            // Whoever came may have to go before all others.
            self.forget_from_ms = 0;
        }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn from_json(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Board, FORGET_AFTER_MS};
    use crate::VirtualClock;
    use crate::event::{Field, NewEvent};
    use crate::store::{AppendOptions, Compact, EventStore, StoreOptions};

    /// An event, and how much time passes before it.
    fn any_event() -> impl proptest::strategy::Strategy<Value = (NewEvent, u64)> {
        (0..9, 0..4, 0..3, 0..3, 0..6_u32).prop_map(|(what, instance, worker, step, pause)| {
            let (event_type, data) = match what {
                0 => ("instance.started", json!({ "version": "1.0.0", "heartbeatTimeout": step * 10_000, "strategy": "mixed" })),
                1 => ("instance.heartbeat", json!({})),
                2 => ("instance.heartbeat", json!({ "blockedMs": step })),
                3 => ("instance.draining", json!({})),
                4 => ("instance.shutdown", json!({})),
                5 => ("worker.registered", json!({ "queue": format!("q{worker}"), "handlers": [format!("s{step}")] })),
                6 => ("worker.deregistered", json!({})),
                7 => ("worker.heartbeat", json!({})),
                _ => (
                    "flow.step.registered",
                    json!({ "queue": format!("q{worker}"), "role": "entry", "subscribes": ["e"], "version": format!("1.{step}.0") }),
                ),
            };
            let event = NewEvent::new(event_type)
                .with(Field::InstanceId, format!("i{instance}"))
                .with(Field::WorkerId, format!("w{worker}"))
                .with(Field::FlowName, "f")
                .with(Field::StepName, format!("s{step}"));
            let pause = [0, 1, 1_000, 20_000, 100_000, FORGET_AFTER_MS / 2][pause as usize];
            (event.with_data(data.to_string()), pause)
        })
    }

    async fn amounts_to(events: &[(NewEvent, u64)], compacted_at: Option<usize>) -> Value {
        let clock = Arc::new(VirtualClock::new(1_700_000_000_000));
        let store = EventStore::open(StoreOptions::memory().with_clock(clock.clone())).await.unwrap();
        for (at, (event, pause)) in events.iter().enumerate() {
            if compacted_at == Some(at) {
                store.compact::<Board>("s").await.unwrap();
            }
            clock.advance(*pause);
            store.append("s", event.clone(), AppendOptions::default()).await.unwrap();
        }
        let (board, _) = store.fold::<Board>("s").await.unwrap();
        assert!(!board.has_others);
        serde_json::from_str(&board.to_json()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_snapshot_stands_for_what_came_before_it(
            events in prop::collection::vec(any_event(), 1..50),
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
