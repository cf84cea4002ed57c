//! Firings: recorded first, then each subscribed flow gets its run, and each await of the name its answer.
//!
//! A run's id derives from firing and flow, so whoever finishes what somebody else began starts no second one.

use std::collections::HashMap;

use uuid::{Timestamp, Uuid};

use super::board::Mode;
use super::definition::{TriggerConfig, TriggerType, check_name};
use super::gate::Passed;
use super::history::{FiringStatus, StartedRun};
use super::ledger::delivered;
use super::recorded::Recorded;
use super::schedule::scheduled_payload;
use super::{RegisteredTrigger, TriggerEngine, is_final, is_of_one_run};
use crate::backend::Receipt;
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events, Field, NewEvent, format_time};
use crate::flow::{Fired, Firing, Job, Object, StartOptions, note};
use crate::store::{AppendOptions, Query};

/// What the ids of runs derive from.
const RUNS: Uuid = Uuid::from_u128(0x8f4c_7f1a_2f0e_4a5b_9a3d_6d1c_52b7_e0f4);

/// What is fired, and how.
#[derive(Debug, Clone, Default)]
pub struct FireRequest<'a> {
    /// The trigger; one that nobody registered only answers awaits.
    pub name: &'a str,
    /// JSON text.
    pub payload: Option<&'a str>,
    /// A second firing with this key finds the first.
    pub idempotency_key: Option<&'a str>,
    /// What the functions of subscriptions said, by flow; `None`: nothing happens.
    pub modes: HashMap<String, Option<Mode>>,
    /// Who fires it by hand.
    pub user_id: Option<&'a str>,
    /// Why it does not fire, although somebody wanted it to.
    pub skip: Option<&'a str>,
    /// Where it stands in a distributed trace, as a W3C `traceparent`.
    pub traceparent: Option<&'a str>,
    /// What the ledger says of the request that fires it: a JSON object, recorded with it.
    pub delivery: Option<&'a str>,
}

impl<'a> FireRequest<'a> {
    /// A firing with a payload (JSON text).
    pub fn new(name: &'a str, payload: Option<&'a str>) -> Self {
        FireRequest { name, payload, ..FireRequest::default() }
    }

    /// The same under a key: a second one finds the first.
    pub fn with_key(self, key: &'a str) -> Self {
        FireRequest { idempotency_key: Some(key), ..self }
    }
}

/// What was fired, and what it led to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Names the firing.
    pub fire_id: String,
    /// When it was recorded.
    pub at: EventId,
    /// What became of it.
    pub status: FiringStatus,
    /// Why it was skipped or failed.
    pub reason: Option<String>,
    /// When it may be tried again, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
    /// The runs that it started.
    pub runs: Vec<StartedRun>,
    /// What is to be executed.
    pub jobs: Vec<Job>,
    /// The runs that awaited it.
    pub run_ids: Vec<String>,
    /// Why a run could not take it.
    pub refused: Option<Error>,
    /// The firing was there before.
    pub is_repeated: bool,
}

/// The id of the run of a flow that a firing starts.
pub(super) fn run_id(fire_id: &str, flow_name: &str) -> String {
    Uuid::new_v5(&RUNS, format!("{fire_id}/{flow_name}").as_bytes()).to_string()
}

impl TriggerEngine {
    /// The stream of a trigger.
    pub(super) fn stream_of(&self, name: &str) -> String {
        format!("{}:trigger:{name}", self.flows.store().prefix())
    }

    /// Time-ordered, so that a firing can be found by its id.
    pub(super) fn new_fire_id(&self) -> String {
        let now = self.flows.store().now_ms();
        let context = self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Uuid::new_v7(Timestamp::from_unix(&*context, now / 1000, (now % 1000) as u32 * 1_000_000)).to_string()
    }

    /// Records a firing; then each flow that subscribes gets its run, and each await of this name its answer.
    ///
    /// # Errors
    /// `Validation` for a name or a key that can't be used, `Config` if a function of a subscription is wanted that the caller
    /// does not have, and those of appending.
    pub async fn fire(&self, request: FireRequest<'_>) -> Result<Outcome> {
        let name = request.name;
        check_name(name)?;
        if request.idempotency_key == Some("") {
            // Else all that have none would be the same.
            return Err(Error::new(Code::Validation, "The idempotencyKey is empty."));
        }
        if self.known().last == EventId::MIN {
            self.catch_up().await?;
        }
        let (trigger, subscribers) = (self.get(name), self.subscribers(name));
        let config = RegisteredTrigger::config_of(trigger.as_ref());
        let recorded = Recorded {
            fire_id: self.new_fire_id(),
            payload: request.payload.map(str::to_owned).or_else(|| self.payload_of(trigger.as_ref())),
            flows: flows(name, &subscribers, &request.modes, &config)?,
            user_id: request.user_id.map(str::to_owned),
            traceparent: request.traceparent.map(str::to_owned),
            ..Recorded::default()
        };
        let is_disabled = trigger.is_some_and(|trigger| !trigger.enabled);
        if let Some(reason) = if is_disabled { Some("the trigger is disabled") } else { request.skip } {
            return self.skip(name, &config, recorded, reason, None).await;
        }
        self.record(name, &config, recorded, request).await
    }

    /// What a schedule that fires by hand, and without a payload, has for one.
    fn payload_of(&self, trigger: Option<&RegisteredTrigger>) -> Option<String> {
        let definition = &trigger.filter(|trigger| trigger.definition.kind == TriggerType::Schedule)?.definition;
        Some(scheduled_payload(definition, self.flows.store().now_ms()))
    }

    async fn record(
        &self,
        name: &str,
        config: &TriggerConfig,
        mut recorded: Recorded,
        request: FireRequest<'_>,
    ) -> Result<Outcome> {
        let due_ms = config.debounce.map(|quiet| self.flows.store().now_ms().saturating_add(quiet));
        recorded.due = due_ms.map(format_time);
        let what = if due_ms.is_some() { "trigger.debounced" } else { "trigger.fired" };
        let delivery = request.delivery.map(|delivery| delivered(name, delivery, &recorded.fire_id));
        let events: Vec<NewEvent> = delivery.into_iter().chain([recorded.event(name, what, config)]).collect();
        let key = request.idempotency_key.map(|key| format!("fire:{key}"));
        // Should this process die, another one finds it. Noted ahead of it.
        let (owed, passed) =
            tokio::join!(self.owe_firing(name, &recorded.fire_id), self.pass(name, config, events, key, &recorded));
        let receipt = match passed? {
            Passed::Stored(receipt) => receipt,
            Passed::Skipped { reason, retry_after_ms } => {
                self.firing_done(name, &recorded.fire_id).await?;
                return self.skip(name, config, recorded, &reason, retry_after_ms).await;
            }
        };
        if let Err(error) = owed {
            tracing::warn!(name, recorded.fire_id, %error, "it is not noted that a firing is to be finished");
        }
        if let Receipt::Repeated(events) = &receipt {
            self.firing_done(name, &recorded.fire_id).await?;
            return self.repeat(name, events, recorded.payload).await;
        }
        recorded.at = last_id(&receipt);
        let outcome = match due_ms {
            Some(due_ms) => self.hold(name, &recorded, due_ms).await?,
            None => self.work_off(name, &recorded).await?,
        };
        self.tidy(name, config).await;
        Ok(outcome)
    }

    /// It fires later, if nothing else comes.
    pub(super) async fn hold(&self, name: &str, recorded: &Recorded, due_ms: u64) -> Result<Outcome> {
        let data = Object::new().text("fireId", &recorded.fire_id).text("due", &format_time(due_ms)).done();
        let event = NewEvent::new("trigger.debounced").with(Field::TriggerName, name).with_data(data);
        self.flows.store().append(&self.flows.triggers(), event, AppendOptions::default()).await?;
        self.catch_up().await?;
        self.firing_done(name, &recorded.fire_id).await?;
        Ok(Outcome { fire_id: recorded.fire_id.clone(), at: recorded.at, ..Outcome::default() })
    }

    /// A firing that waited until it was quiet fires now, unless somebody else was first or another one came.
    pub(super) async fn release(&self, name: &str) -> Result<Outcome> {
        let config = RegisteredTrigger::config_of(self.get(name).as_ref());
        let Some(recorded) = self.take_quiet(name, &config).await? else { return Ok(Outcome::default()) };
        self.work_off(name, &recorded).await
    }

    pub(super) fn released(&self, name: &str, config: &TriggerConfig, waiting: &Recorded) -> NewEvent {
        Recorded { due: None, ..waiting.clone() }.event(name, "trigger.fired", config)
    }

    /// What came of a firing before; what is unfinished of it is finished. A payload that isn't kept is that of now.
    async fn repeat(&self, name: &str, events: &Events, payload: Option<String>) -> Result<Outcome> {
        let mut first = events.iter().filter_map(|event| Some((event.event_type, Recorded::read(event)?)));
        let Some((event_type, mut first)) = first.next_back() else {
            return Err(Error::new(Code::Corrupt, "The first firing with this key can't be read."));
        };
        let record = self.firing(name, &first.fire_id, first.at).await?;
        let mut outcome = match record {
            Some(record) if record.status == FiringStatus::Processed || event_type == "trigger.debounced" => Outcome {
                fire_id: record.fire_id,
                at: first.at,
                status: record.status,
                reason: record.reason,
                runs: record.runs,
                ..Outcome::default()
            },
            record => {
                if first.is_unkept {
                    (first.payload, first.is_unkept) = (payload, false);
                }
                self.resume(name, first, record).await?
            }
        };
        outcome.is_repeated = true;
        Ok(outcome)
    }

    async fn skip(
        &self,
        name: &str,
        config: &TriggerConfig,
        recorded: Recorded,
        reason: &str,
        retry_after_ms: Option<u64>,
    ) -> Result<Outcome> {
        let data = Recorded { flows: Vec::new(), ..recorded.clone() }.data(config).text("reason", reason).done();
        let event = NewEvent::new("trigger.skipped").with(Field::TriggerName, name).with_data(data);
        let receipt = self.flows.store().append(&self.stream_of(name), event, AppendOptions::default()).await?;
        self.tidy(name, config).await;
        let at = last_id(&receipt);
        let (status, reason) = (FiringStatus::Skipped, Some(reason.to_owned()));
        Ok(Outcome { fire_id: recorded.fire_id, at, status, reason, retry_after_ms, ..Outcome::default() })
    }

    /// Gives a firing its effect, as far as it does not have it yet, and records that this is done.
    pub(super) async fn work_off(&self, name: &str, recorded: &Recorded) -> Result<Outcome> {
        self.end_replaced(recorded).await?;
        let announced = async {
            if !self.known().board.knows(&recorded.fire_id) {
                let data = recorded.announcement().done();
                let event = NewEvent::new("trigger.fired").with(Field::TriggerName, name).with_data(data);
                self.flows.store().append(&self.flows.triggers(), event, AppendOptions::default()).await?;
            }
            // Awaits that began before are on the board now; later ones look back.
            self.catch_up().await
        };
        let (announced, started) = tokio::join!(announced, self.start_runs(name, recorded));
        let mut outcome = started?;
        announced?;
        (outcome.fire_id, outcome.at) = (recorded.fire_id.clone(), recorded.at);
        let mut gone =
            if recorded.is_unkept { Vec::new() } else { self.answer_awaits(name, recorded, &mut outcome).await? };
        self.conclude(name, recorded, &mut gone, &mut outcome).await?;
        self.compact_if_long().await;
        Ok(outcome)
    }

    async fn end_replaced(&self, recorded: &Recorded) -> Result<()> {
        for run in &recorded.replaces {
            let reason = format!("replaced by the firing {}", recorded.fire_id);
            match self.flows.cancel(run, Some(&reason)).await {
                Err(error) if error.code() != Code::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The runs of the flows that subscribe. What no run can be started with is the firing's failure.
    async fn start_runs(&self, name: &str, recorded: &Recorded) -> Result<Outcome> {
        let mut outcome = Outcome { status: FiringStatus::Processed, ..Outcome::default() };
        for (flow_name, mode) in &recorded.flows {
            if *mode == Mode::Manual {
                continue;
            }
            match self.start_run(name, recorded, flow_name).await {
                Ok((run, jobs)) => {
                    outcome.runs.push(run);
                    outcome.jobs.extend(jobs);
                }
                Err(error) if is_final(&error) || matches!(error.code(), Code::NotFound | Code::Conflict) => {
                    outcome.status = FiringStatus::Failed;
                    outcome
                        .reason
                        .get_or_insert(format!("the flow {flow_name} could not be started: {}", error.message()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(outcome)
    }

    pub(super) async fn start_run(
        &self,
        name: &str,
        recorded: &Recorded,
        flow_name: &str,
    ) -> Result<(StartedRun, Vec<Job>)> {
        if recorded.is_unkept {
            let message = "Its payload is gone with the process that had it, as the trigger does not keep payloads.";
            return Err(Error::new(Code::Validation, message));
        }
        let plan = self.known().board.registry.plan(flow_name).cloned();
        let options = StartOptions {
            run_id: Some(run_id(&recorded.fire_id, flow_name)),
            triggered_by: Some(name.to_owned()),
            fire_id: Some(recorded.fire_id.clone()),
            // All runs of a firing belong together.
            correlation_id: Some(recorded.fire_id.clone()),
            causation_id: Some(recorded.fire_id.clone()),
            traceparent: recorded.traceparent.clone(),
            version: None,
            plan,
        };
        let started = self.flows.start(flow_name, recorded.payload.as_deref(), options).await?;
        Ok((StartedRun { flow_name: flow_name.to_owned(), run_id: started.run_id }, started.jobs))
    }

    /// Answers the awaits of a name. What is not awaited any more.
    async fn answer_awaits(&self, name: &str, recorded: &Recorded, outcome: &mut Outcome) -> Result<Vec<NewEvent>> {
        let (mut gone, mut failed) = (Vec::new(), None);
        let keys = self.known().board.of(name);
        for (run_id, await_id) in &keys {
            self.flows.owe(run_id).await?;
            outcome.run_ids.push(run_id.to_string());
            let firing = Firing { id: &recorded.fire_id, payload: recorded.payload.as_deref() };
            let fired = match self.flows.fire_await(run_id, await_id, firing, true).await {
                // A payload that is too large for this run is so for ever; the others must not wait for it.
                Err(error) if is_final(&error) => {
                    outcome.refused.get_or_insert(error);
                    continue;
                }
                Err(error) if is_of_one_run(&error) => {
                    failed.get_or_insert(error);
                    continue;
                }
                fired => fired?,
            };
            match fired {
                Fired::Taken { job, .. } | Fired::Known(job) => outcome.jobs.extend(job),
                Fired::Late => gone.push(note("trigger.resolved", run_id, await_id)),
                // It may be about to be recorded; then it looks back, and finds this.
                Fired::Unknown if self.flows.is_over(run_id).await? => {
                    gone.push(note("trigger.resolved", run_id, await_id));
                }
                Fired::Unknown => {}
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(gone),
        }
    }

    /// Records what a firing came to: for all instances, and in the trigger's own stream.
    async fn conclude(
        &self,
        name: &str,
        recorded: &Recorded,
        gone: &mut Vec<NewEvent>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let manual: Vec<&str> =
            recorded.flows.iter().filter(|(_, mode)| *mode == Mode::Manual).map(|(flow, _)| flow.as_str()).collect();
        let data = Object::new().text("fireId", &recorded.fire_id);
        let data = if manual.is_empty() { data } else { data.raw("manual", &json(&manual)?) };
        let data = match self.known().board.registry.looks_at_runs(name) {
            true => data.raw("runIds", &json(&recorded.run_ids())?),
            false => data,
        };
        let what = if outcome.status == FiringStatus::Failed { "trigger.failed" } else { "trigger.processed" };
        let event = || NewEvent::new(what).with(Field::TriggerName, name);
        gone.push(event().with_data(data.number("awaits", outcome.run_ids.len() as u64).done()));
        let store = self.flows.store();
        let told = store.append_batch(&self.flows.triggers(), std::mem::take(gone), AppendOptions::default());
        let data = Object::new()
            .text("fireId", &recorded.fire_id)
            .raw("runs", &json(&outcome.runs)?)
            .number("awaits", outcome.run_ids.len() as u64)
            .maybe_text("error", outcome.reason.as_deref());
        let data = if manual.is_empty() { data } else { data.raw("manual", &json(&manual)?) };
        let recorded_too =
            store.append(&self.stream_of(name), event().with_data(data.done()), AppendOptions::default());
        told.await?;
        recorded_too.await?;
        self.firing_done(name, &recorded.fire_id).await
    }

    /// A firing by its event. `None`: it is gone, or its payload is not kept.
    pub(super) async fn recorded(&self, name: &str, at: EventId) -> Result<Option<Recorded>> {
        let query = Query { after: at.previous(), limit: Some(1), ..Query::stream(self.stream_of(name)) };
        let events = self.flows.store().query(query).await?;
        let recorded = events.iter().next().filter(|event| event.id == at).and_then(Recorded::read);
        Ok(recorded.filter(|recorded| !recorded.is_unkept))
    }

    /// Forgets firings whose time has come. What fails here is tried again the next time.
    pub(super) async fn tidy(&self, name: &str, config: &TriggerConfig) {
        let store = self.flows.store();
        if let Some(age) = self.gates.due_to_tidy(name, config.retention_ms(), store.now_ms())
            && let Err(error) = store.keep_for(&self.stream_of(name), age).await
        {
            tracing::debug!(name, %error, "old firings were not forgotten");
        }
    }
}

/// The id of the last event that an append stored.
pub(super) fn last_id(receipt: &Receipt) -> EventId {
    match receipt {
        Receipt::One(id) => *id,
        Receipt::Batch(ids) => ids.last().copied().unwrap_or_default(),
        Receipt::Repeated(events) => events.last().map(|event| event.id).unwrap_or_default(),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::new(Code::Internal, "An outcome is not JSON.").caused_by(error))
}

/// Which flows a firing is for, and how.
pub(super) fn flows(
    name: &str,
    subscribers: &[(String, Mode)],
    modes: &HashMap<String, Option<Mode>>,
    config: &TriggerConfig,
) -> Result<Vec<(String, Mode)>> {
    let mut flows = Vec::new();
    for (flow_name, mode) in subscribers {
        let mode = match (mode, modes.get(flow_name)) {
            (Mode::Function, None | Some(Some(Mode::Function))) => {
                let message = format!(
                    "The flow {flow_name:?} has a function that says what the trigger {name:?} means to it, and this process does not have it; define the flow here, too."
                );
                return Err(Error::new(Code::Config, message));
            }
            (Mode::Function, Some(None)) => continue,
            (Mode::Function, Some(Some(mode))) => *mode,
            (mode, _) => *mode,
        };
        if mode == Mode::Manual && !config.persist_data {
            let message = format!(
                "A person can't start {flow_name:?} later: the trigger {name:?} does not keep its payloads (persistData is false)."
            );
            return Err(Error::new(Code::Validation, message));
        }
        flows.push((flow_name.clone(), mode));
    }
    Ok(flows)
}
