//! What a trigger fired, and what came of it: read from its own stream, as far back as that is kept.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::firing::{flows, last_id};
use super::recorded::Recorded;
use super::unfinished::issued_ms;
use super::{Mode, Outcome, RegisteredTrigger, SKEW_MS, TriggerEngine};
use crate::backend::Receipt;
use crate::error::{Code, Error, Result};
use crate::event::{EventId, EventRef, Field, NewEvent, format_time};
use crate::store::{AppendOptions, Query};

/// What a trigger's stream says of firings.
const TYPES: [&str; 7] = [
    "trigger.fired",
    "trigger.debounced",
    "trigger.queued",
    "trigger.processed",
    "trigger.failed",
    "trigger.skipped",
    "trigger.started",
];
const FIRED: &str = "trigger.fired";

/// How a firing stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FiringStatus {
    /// It is recorded, and does not have its effect yet.
    #[default]
    Fired,
    /// It has its effect.
    Processed,
    /// It could not have its effect.
    Failed,
    /// It did not fire.
    Skipped,
}

/// A run that a firing started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartedRun {
    /// The flow.
    pub flow_name: String,
    /// The run.
    pub run_id: String,
}

/// A firing, and what came of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FiringRecord {
    /// Names it.
    pub fire_id: String,
    /// The trigger.
    pub trigger_name: String,
    /// How it stands.
    pub status: FiringStatus,
    /// When it was fired, ISO 8601.
    pub timestamp: String,
    /// Its payload, if that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The runs that it started.
    pub runs: Vec<StartedRun>,
    /// The instant of a schedule that it is for, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<String>,
    /// How much later than that it fired, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Who fired it by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Why it was skipped or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How many firings there were, as far back as they are kept.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// All of them.
    pub total: u64,
    /// By how they stand.
    pub by_status: BTreeMap<FiringStatus, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndData {
    fire_id: String,
    #[serde(default)]
    runs: Vec<StartedRun>,
    flow_name: Option<String>,
    run_id: Option<String>,
    error: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    is_retried: bool,
}

/// What came of a firing, gathered from its events in any order.
#[derive(Default)]
struct Ending {
    status: FiringStatus,
    runs: Vec<StartedRun>,
    reason: Option<String>,
}

impl Ending {
    fn take(&mut self, event_type: &str, data: EndData) {
        let status = match event_type {
            "trigger.processed" => FiringStatus::Processed,
            "trigger.failed" => FiringStatus::Failed,
            _ => self.status,
        };
        // Who was first, and failed, may have been followed by one who succeeded.
        if self.status != FiringStatus::Processed {
            self.status = status;
            self.reason = if status == FiringStatus::Failed { data.error } else { None };
        }
        let started = data.flow_name.zip(data.run_id).map(|(flow_name, run_id)| StartedRun { flow_name, run_id });
        for run in data.runs.into_iter().chain(started) {
            if !self.runs.contains(&run) {
                self.runs.push(run);
            }
        }
    }
}

fn record(name: &str, event: EventRef<'_>, recorded: Recorded, ending: Ending) -> FiringRecord {
    FiringRecord {
        fire_id: recorded.fire_id,
        trigger_name: name.to_owned(),
        status: ending.status,
        timestamp: format_time(event.id.ms),
        data: recorded.payload.and_then(|payload| RawValue::from_string(payload).ok()),
        runs: ending.runs,
        scheduled_time: recorded.scheduled.map(|scheduled| format_time(scheduled.at_ms)),
        delay_ms: recorded.scheduled.map(|scheduled| scheduled.delay_ms),
        user_id: recorded.user_id,
        reason: ending.reason,
    }
}

fn end_data(event: EventRef<'_>) -> Option<EndData> {
    serde_json::from_str(event.data?).ok()
}

fn skipped(reason: Option<String>) -> Ending {
    Ending { status: FiringStatus::Skipped, reason, ..Ending::default() }
}

impl TriggerEngine {
    fn history(&self, name: &str) -> Query {
        Query { types: TYPES.map(str::to_owned).to_vec(), ..Query::stream(self.stream_of(name)) }
    }

    /// The firings of a trigger, newest first; only those of a status, if one is given.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn runs(
        &self,
        name: &str,
        status: Option<FiringStatus>,
        limit: Option<usize>,
    ) -> Result<Vec<FiringRecord>> {
        let mut pages = self.flows.store().iterate(self.history(name).descending())?;
        let mut endings: HashMap<String, Ending> = HashMap::new();
        let (mut records, mut done, mut newer) = (Vec::new(), HashSet::new(), None::<String>);
        while let Some(page) = pages.next().await? {
            for event in page.iter() {
                let found = match event.event_type {
                    "trigger.fired" | "trigger.debounced" | "trigger.queued" => {
                        let Some(recorded) = Recorded::read(event) else { continue };
                        // What a person lets fire after all replaces nothing.
                        let replaced_by = match recorded.is_retried {
                            true => None,
                            false => newer.replace(recorded.fire_id.clone()),
                        };
                        if !done.insert(recorded.fire_id.clone()) {
                            continue;
                        }
                        let mut ending = endings.remove(&recorded.fire_id).unwrap_or_default();
                        // What is waiting when another comes never fires.
                        if event.event_type == "trigger.debounced" && ending.status == FiringStatus::Fired {
                            ending =
                                replaced_by.map_or(ending, |by| skipped(Some(format!("replaced by the firing {by}"))));
                        }
                        record(name, event, recorded, ending)
                    }
                    "trigger.skipped" => {
                        let (Some(recorded), Some(data)) = (Recorded::read(event), end_data(event)) else { continue };
                        if !done.insert(recorded.fire_id.clone()) {
                            continue;
                        }
                        record(name, event, recorded, skipped(data.reason))
                    }
                    event_type => {
                        if let Some(data) = end_data(event) {
                            endings.entry(data.fire_id.clone()).or_default().take(event_type, data);
                        }
                        continue;
                    }
                };
                if status.is_none_or(|status| status == found.status) {
                    records.push(found);
                }
                if limit.is_some_and(|limit| records.len() >= limit) {
                    return Ok(records);
                }
            }
        }
        Ok(records)
    }

    /// How many firings there were of a trigger, or of all that are registered.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn stats(&self, name: Option<&str>) -> Result<Stats> {
        let names = match name {
            Some(name) => vec![name.to_owned()],
            None => self.list().into_iter().map(|trigger| trigger.definition.name.clone()).collect(),
        };
        let mut stats = Stats::default();
        for name in names {
            self.count(&name, &mut stats).await?;
        }
        stats.total = stats.by_status.values().sum();
        Ok(stats)
    }

    async fn count(&self, name: &str, stats: &mut Stats) -> Result<()> {
        let mut pages = self.flows.store().iterate(self.history(name))?;
        let (mut open, mut failed, mut waiting) = (HashSet::new(), HashSet::new(), None::<String>);
        let mut count = |status, by: u64| *stats.by_status.entry(status).or_default() += by;
        let mut skipped = HashSet::new();
        while let Some(page) = pages.next().await? {
            for event in page.iter() {
                let Some(data) = end_data(event) else { continue };
                match event.event_type {
                    "trigger.fired" | "trigger.debounced" | "trigger.queued" => {
                        let is_waiting = waiting.as_ref() == Some(&data.fire_id);
                        if !is_waiting
                            && !data.is_retried
                            && let Some(before) = waiting.take()
                        {
                            open.remove(&before);
                            skipped.insert(before);
                        }
                        // Somebody let it fire that was skipped.
                        skipped.remove(&data.fire_id);
                        if event.event_type == "trigger.debounced" {
                            waiting = Some(data.fire_id.clone());
                        } else if is_waiting {
                            waiting = None;
                        }
                        open.insert(data.fire_id);
                    }
                    "trigger.processed" => {
                        let is_first = open.remove(&data.fire_id) | failed.remove(&data.fire_id);
                        count(FiringStatus::Processed, u64::from(is_first));
                    }
                    "trigger.failed" if open.remove(&data.fire_id) => {
                        failed.insert(data.fire_id);
                    }
                    "trigger.skipped" => {
                        skipped.insert(data.fire_id);
                    }
                    _ => {}
                }
            }
        }
        count(FiringStatus::Skipped, skipped.len() as u64);
        count(FiringStatus::Failed, failed.len() as u64);
        count(FiringStatus::Fired, open.len() as u64);
        stats.by_status.retain(|_, count| *count > 0);
        Ok(())
    }

    /// A firing, from its event on; `None`: nothing came of it yet.
    pub(super) async fn firing(&self, name: &str, fire_id: &str, at: EventId) -> Result<Option<FiringRecord>> {
        let mut pages = self.flows.store().iterate(Query { after: at.previous(), ..self.history(name) })?;
        let mut found: Option<FiringRecord> = None;
        let mut ending = Ending::default();
        while let Some(page) = pages.next().await? {
            for event in page.iter() {
                let Some(data) = end_data(event).filter(|data| data.fire_id == fire_id) else { continue };
                if matches!(event.event_type, "trigger.fired" | "trigger.debounced" | "trigger.queued") {
                    if let Some(recorded) = Recorded::read(event) {
                        found.get_or_insert_with(|| record(name, event, recorded, Ending::default()));
                    }
                } else {
                    ending.take(event.event_type, data);
                }
                if ending.status == FiringStatus::Processed {
                    break;
                }
            }
            if ending.status == FiringStatus::Processed {
                break;
            }
        }
        Ok(found.map(|record| FiringRecord {
            status: ending.status,
            runs: ending.runs,
            reason: ending.reason,
            ..record
        }))
    }

    /// Lets a firing that failed or was skipped have its effect after all, with its recorded payload. What functions
    /// of subscriptions say of it is in `modes`, as in [`FireRequest`](super::FireRequest).
    ///
    /// # Errors
    /// `NotFound` for an unknown firing, `Conflict` for one that has its effect, `Validation` if its payload is not
    /// kept, and those of [`TriggerEngine::fire`].
    pub async fn retry(&self, fire_id: &str, modes: &HashMap<String, Option<Mode>>) -> Result<(String, Outcome)> {
        let Some((name, recorded, event_type)) = self.find_anywhere(fire_id).await? else {
            let message = format!("There is no firing {fire_id:?}, or not any more, or its trigger was removed.");
            return Err(Error::new(Code::NotFound, message));
        };
        let outcome = self.retry_recorded(&name, recorded, &event_type, modes).await?;
        Ok((name, outcome))
    }

    /// The trigger and the payload (JSON text) of a firing whose flows are decided on when it is retried.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn undecided(&self, fire_id: &str) -> Result<Option<(String, Option<String>)>> {
        let found = self.find_anywhere(fire_id).await?;
        let undecided = found.filter(|(_, _, event_type)| event_type != FIRED);
        Ok(undecided.map(|(name, recorded, _)| (name, recorded.payload)))
    }

    async fn retry_recorded(
        &self,
        name: &str,
        mut recorded: Recorded,
        event_type: &str,
        modes: &HashMap<String, Option<Mode>>,
    ) -> Result<Outcome> {
        let config = RegisteredTrigger::config_of(self.get(name).as_ref());
        if recorded.is_unkept {
            let message =
                format!("The payload of the firing {} is not kept; fire the trigger again.", recorded.fire_id);
            return Err(Error::new(Code::Validation, message));
        }
        let known = self.firing(name, &recorded.fire_id, recorded.at).await?;
        if known.as_ref().is_some_and(|known| known.status == FiringStatus::Processed) {
            let message = format!("The firing {} has had its effect; fire the trigger again.", recorded.fire_id);
            return Err(Error::new(Code::Conflict, message));
        }
        if event_type != FIRED {
            recorded.flows = flows(name, &self.subscribers(name), modes, &config)?;
            (recorded.due, recorded.is_retried) = (None, true);
        }
        self.owe_firing(name, &recorded.fire_id).await?;
        if event_type != FIRED {
            let event = NewEvent::new(FIRED).with(Field::TriggerName, name).with_data(recorded.data(&config).done());
            // Of several who try at once, one lets it fire.
            let key = format!("retry:{}", recorded.fire_id);
            let options = AppendOptions { expected_last_id: None, idempotency_key: Some(key) };
            let stored = self.flows.store().append(&self.stream_of(name), event, options).await?;
            recorded.at = last_id(&stored);
            if let Receipt::Repeated(events) = &stored
                && let Some(first) = events.iter().find_map(Recorded::read)
            {
                recorded = first;
            }
        }
        self.resume(name, recorded, known).await
    }

    /// Gives a firing what is left of its effect. What it started, or told people of, before it failed stays as it is.
    pub(super) async fn resume(
        &self,
        name: &str,
        mut recorded: Recorded,
        known: Option<FiringRecord>,
    ) -> Result<Outcome> {
        let before = known.filter(|known| known.status == FiringStatus::Failed);
        if let Some(before) = &before {
            let has_run = |flow: &str| before.runs.iter().any(|run| run.flow_name == flow);
            recorded.flows.retain(|(flow, mode)| *mode != Mode::Manual && !has_run(flow));
        }
        let mut outcome = self.work_off(name, &recorded).await?;
        outcome.runs.splice(0..0, before.into_iter().flat_map(|before| before.runs));
        Ok(outcome)
    }

    /// A firing of any trigger that is registered or subscribed to.
    async fn find_anywhere(&self, fire_id: &str) -> Result<Option<(String, Recorded, String)>> {
        self.catch_up().await?;
        let names = self.known().board.registry.names();
        for name in names {
            if let Some((recorded, event_type)) = self.find_firing(&name, fire_id).await? {
                return Ok(Some((name, recorded, event_type)));
            }
        }
        Ok(None)
    }

    /// The latest event that a firing stands in, and its type.
    async fn find_firing(&self, name: &str, fire_id: &str) -> Result<Option<(Recorded, String)>> {
        let types =
            ["trigger.fired", "trigger.debounced", "trigger.queued", "trigger.skipped"].map(str::to_owned).to_vec();
        let from = issued_ms(fire_id).map(|ms| ms.saturating_sub(SKEW_MS));
        let mut pages =
            self.flows.store().iterate(Query { types, start_ms: from, ..Query::stream(self.stream_of(name)) })?;
        let mut found = None;
        while let Some(page) = pages.next().await? {
            for event in page.iter() {
                if let Some(recorded) = Recorded::read(event).filter(|recorded| recorded.fire_id == fire_id) {
                    found = Some((recorded, event.event_type.to_owned()));
                }
            }
        }
        Ok(found)
    }
}
