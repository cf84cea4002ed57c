//! What keeps a trigger from firing: too often, the same again, not quiet yet. Decided by the trigger's own
//! stream, and recorded on the condition that nothing came in between, so all instances count together.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::definition::TriggerConfig;
use super::recorded::{Recorded, same};
use super::{SKEW_MS, TriggerEngine};
use crate::backend::Receipt;
use crate::error::{Code, Result};
use crate::event::{EventId, EventRef, NewEvent, format_time, parse_time};
use crate::store::{AppendOptions, Query};

/// How often it is tried while others fire the same trigger.
const ATTEMPTS: usize = 1_000;
/// How many triggers are remembered here; beyond that all are forgotten and read again.
const MOST_GATES: usize = 10_000;
/// From how many entries on it is looked which of them are over.
const FEWEST_SEEN: usize = 1_024;
/// How often old firings are forgotten at most.
const TIDY_MS: u64 = 60_000;

/// Whether a firing may be.
pub(super) enum Passed {
    /// It is recorded.
    Stored(Receipt),
    /// It is not, and why.
    Skipped { reason: String, retry_after_ms: Option<u64> },
}

/// What is known of the triggers that count, and when each was tidied.
#[derive(Default)]
pub(super) struct Gates {
    gates: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Gate>>>>,
    tidied: Mutex<HashMap<String, u64>>,
}

/// A trigger's latest firings.
#[derive(Default)]
struct Gate {
    last: EventId,
    /// What it was loaded for; `None`: it was not.
    config: Option<TriggerConfig>,
    /// When it fired, oldest first.
    fired: VecDeque<(u64, String)>,
    /// By what they are the same: when, and which firing. Some are over.
    seen: HashMap<String, (u64, String)>,
    /// With how many entries it is looked next which of them are over.
    forget_at: usize,
    /// What waits until it is quiet.
    waiting: Option<Recorded>,
}

impl Gates {
    fn of(&self, name: &str) -> Arc<tokio::sync::Mutex<Gate>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() > MOST_GATES {
            gates.clear();
        }
        gates.entry(name.to_owned()).or_default().clone()
    }

    /// For how long firings are to be kept, if it is time to say so.
    pub(super) fn due_to_tidy(&self, name: &str, retention_ms: u64, now_ms: u64) -> Option<Duration> {
        let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
        let every = (retention_ms / 10).max(TIDY_MS.min(retention_ms));
        if tidied.get(name).is_some_and(|last| now_ms < last.saturating_add(every)) {
            return None;
        }
        if tidied.len() > MOST_GATES {
            tidied.clear();
        }
        tidied.insert(name.to_owned(), now_ms);
        // A little longer, as it is not said again before that.
        Some(Duration::from_millis(retention_ms.saturating_add(every)))
    }
}

impl Gate {
    fn take(&mut self, event: EventRef<'_>, config: &TriggerConfig) {
        self.last = self.last.max(event.id);
        if !matches!(event.event_type, "trigger.fired" | "trigger.debounced") {
            return;
        }
        let Some(recorded) = Recorded::read(event) else { return };
        let is_waiting = self.waiting.as_ref().is_some_and(|waiting| waiting.fire_id == recorded.fire_id);
        // What a person lets fire after all does not take the place of what waits.
        if !is_waiting && !recorded.is_retried {
            self.replace_waiting(config);
        }
        if !is_waiting {
            self.fired.push_back((event.id.ms, recorded.fire_id.clone()));
        }
        if let Some(value) = same(config, &recorded) {
            self.seen.insert(value, (event.id.ms, recorded.fire_id.clone()));
        }
        if event.event_type == "trigger.debounced" {
            self.waiting = Some(recorded);
        } else if is_waiting {
            self.waiting = None;
        }
    }

    /// What waits never fires, and does not count.
    fn replace_waiting(&mut self, config: &TriggerConfig) {
        let Some(before) = self.waiting.take() else { return };
        // It is one of the last.
        if let Some(at) = self.fired.iter().rposition(|(_, fire_id)| *fire_id == before.fire_id) {
            self.fired.remove(at);
        }
        if let Some(value) = same(config, &before)
            && self.seen.get(&value).is_some_and(|(_, fire_id)| *fire_id == before.fire_id)
        {
            self.seen.remove(&value);
        }
    }

    fn forget(&mut self, config: &TriggerConfig, now_ms: u64) {
        let window = config.rate_limit.map_or(0, |limit| limit.window);
        while self.fired.front().is_some_and(|(ms, _)| ms.saturating_add(window) <= now_ms) {
            self.fired.pop_front();
        }
        if self.seen.len() >= self.forget_at {
            let window = config.same_ms();
            self.seen.retain(|_, (ms, _)| ms.saturating_add(window) > now_ms);
            self.forget_at = FEWEST_SEEN.max(2 * self.seen.len());
        }
    }

    /// Why a firing may not be now.
    fn refusal(&mut self, config: &TriggerConfig, recorded: &Recorded, now_ms: u64) -> Option<Passed> {
        self.forget(config, now_ms);
        let before = same(config, recorded).and_then(|value| self.seen.get(&value));
        if let Some((_, first)) = before.filter(|(ms, _)| ms.saturating_add(config.same_ms()) > now_ms) {
            let reason = format!("the same as the firing {first}");
            return Some(Passed::Skipped { reason, retry_after_ms: None });
        }
        let limit = config.rate_limit?;
        // What is replaced does not count. It may wait for longer than is counted.
        let waiting = config.debounce.and(self.waiting.as_ref());
        let replaced =
            waiting.filter(|waiting| self.fired.iter().rev().any(|(_, fire_id)| *fire_id == waiting.fire_id));
        let count = (self.fired.len() - usize::from(replaced.is_some())) as u64;
        if count < limit.max {
            return None;
        }
        let oldest = self.fired.get((count - limit.max) as usize).map_or(now_ms, |(ms, _)| *ms);
        let reason = format!("it fired {} times within {} ms", limit.max, limit.window);
        let retry_after_ms = Some(oldest.saturating_add(limit.window).saturating_sub(now_ms).max(1));
        Some(Passed::Skipped { reason, retry_after_ms })
    }
}

impl TriggerEngine {
    /// Records a firing, if its trigger may fire.
    pub(super) async fn pass(
        &self,
        name: &str,
        config: &TriggerConfig,
        events: Vec<NewEvent>,
        key: Option<String>,
        recorded: &Recorded,
    ) -> Result<Passed> {
        let (store, stream) = (self.flows.store(), self.stream_of(name));
        if !config.is_gated() {
            let options = AppendOptions { expected_last_id: None, idempotency_key: key };
            return store.append_batch(&stream, events, options).await.map(Passed::Stored);
        }
        let gate = self.gates.of(name);
        let mut gate = gate.lock().await;
        let mut attempt = 1;
        loop {
            self.look_at(&mut gate, name, config).await?;
            let now_ms = store.now_ms().max(gate.last.ms);
            if let Some(refusal) = gate.refusal(config, recorded, now_ms) {
                // What was fired under this key must be found, whatever came since.
                return match self.fired_before(&stream, &key).await? {
                    Some(receipt) => Ok(Passed::Stored(receipt)),
                    None => Ok(refusal),
                };
            }
            let options = AppendOptions { expected_last_id: Some(gate.last), idempotency_key: key.clone() };
            match store.append_batch(&stream, events.clone(), options).await {
                Err(error) if error.code() == Code::Conflict && attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome.map(Passed::Stored),
            }
        }
    }

    /// What was recorded under a key. The condition can't hold, so nothing new is.
    async fn fired_before(&self, stream: &str, key: &Option<String>) -> Result<Option<Receipt>> {
        let Some(key) = key else { return Ok(None) };
        let options = AppendOptions { expected_last_id: Some(EventId::MAX), idempotency_key: Some(key.clone()) };
        match self.flows.store().append(stream, NewEvent::new("trigger.skipped"), options).await {
            Ok(receipt) => Ok(Some(receipt)),
            Err(error) if error.code() == Code::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Claims what waited until it was quiet. `None`: it is not, or somebody else was first.
    pub(super) async fn take_quiet(&self, name: &str, config: &TriggerConfig) -> Result<Option<Recorded>> {
        let (store, stream) = (self.flows.store(), self.stream_of(name));
        let gate = self.gates.of(name);
        let mut gate = gate.lock().await;
        for _ in 0..ATTEMPTS {
            self.look_at(&mut gate, name, config).await?;
            let Some(waiting) = gate.waiting.clone() else { break };
            let due = waiting.due.as_deref().and_then(parse_time).unwrap_or_default();
            if due > store.now_ms() {
                break;
            }
            self.owe_firing(name, &waiting.fire_id).await?;
            let options = AppendOptions { expected_last_id: Some(gate.last), idempotency_key: None };
            match store.append(&stream, self.released(name, config, &waiting), options).await {
                Ok(Receipt::One(at)) => return Ok(Some(Recorded { at, due: None, ..waiting })),
                Ok(_) => break,
                Err(error) if error.code() == Code::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        // Somebody else was first, and may not have told it yet.
        self.tell_waiting(name, gate.waiting.as_ref()).await?;
        Ok(None)
    }

    /// Mends what all instances believe to wait.
    async fn tell_waiting(&self, name: &str, waiting: Option<&Recorded>) -> Result<()> {
        let object = crate::flow::Object::new();
        let data = match waiting {
            Some(waiting) => {
                let due = waiting.due.clone().unwrap_or_else(|| format_time(0));
                object.text("fireId", &waiting.fire_id).text("due", &due).done()
            }
            None => object.done(),
        };
        let event = NewEvent::new("trigger.debounced").with(crate::event::Field::TriggerName, name).with_data(data);
        self.flows.store().append(&self.flows.triggers(), event, AppendOptions::default()).await.map(drop)
    }

    /// Reads what was fired since the last time.
    async fn look_at(&self, gate: &mut Gate, name: &str, config: &TriggerConfig) -> Result<()> {
        let (store, stream) = (self.flows.store(), self.stream_of(name));
        if gate.config.as_ref() == Some(config) {
            let mut is_there = false;
            let mut pages = store.iterate(Query { after: Some(gate.last), ..Query::stream(&*stream) })?;
            while let Some(page) = pages.next().await? {
                is_there |= !page.is_empty();
                page.iter().for_each(|event| gate.take(event, config));
            }
            if is_there || store.last_id(&stream).await? == Some(gate.last) {
                return Ok(());
            }
            // The stream was deleted, or has expired.
        }
        *gate = Gate { last: store.last_id(&stream).await?.unwrap_or(EventId::MIN), ..Gate::default() };
        // What waits may have waited while nobody was there.
        let latest = Query { limit: Some(1), ..firings(&stream) }.descending();
        let latest = store.query(latest).await?.last().map_or(u64::MAX, |event| event.id.ms);
        let from = store.now_ms().saturating_sub(config.window_ms().saturating_add(SKEW_MS)).min(latest);
        let mut pages = store.iterate(Query { start_ms: Some(from), ..firings(&stream) })?;
        while let Some(page) = pages.next().await? {
            page.iter().for_each(|event| gate.take(event, config));
        }
        gate.config = Some(config.clone());
        Ok(())
    }
}

fn firings(stream: &str) -> Query {
    Query { types: ["trigger.fired", "trigger.debounced"].map(str::to_owned).to_vec(), ..Query::stream(stream) }
}
