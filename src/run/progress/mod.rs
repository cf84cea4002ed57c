//! How far a run has come: what its steps are doing, what they wait for, what is to run next.
//! Folded from the run's events alone.

mod awaits;
mod record;

use std::collections::BTreeMap;

pub use self::awaits::{Await, AwaitPhase, Offer, ends_by_name};
use self::record::Data;
pub(super) use self::record::Record;
pub use self::record::emit_data;
pub(crate) use self::record::emit_payload;
use super::plan::Plan;
use super::status::{RunStatus, Status, StepPhase, StepStatus};
use crate::event::{EventRef, parse_time};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Completed, failed or canceled.
    pub status: Status,
    /// When, ISO 8601.
    pub at: String,
    /// The error, or the reason.
    pub reason: Option<String>,
}

/// A step of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// What it is doing.
    pub phase: StepPhase,
    /// Which attempt it is.
    pub attempt: u64,
    /// How many attempts failed.
    pub failures: u64,
    /// How often nothing more was heard of an execution.
    pub stalls: u64,
    /// How often its job ended while it waited.
    pub suspensions: u64,
    /// Its job has ended, and it waits.
    pub is_suspended: bool,
    /// Nothing more was heard of the present execution.
    pub is_stalled: bool,
    /// It is recorded that nobody could take it, since it could run.
    pub is_unavailable: bool,
    /// The present execution.
    pub execution: Option<Box<str>>,
    /// The worker that executes it.
    pub worker: Option<Box<str>>,
    /// The id of the event that it runs on.
    pub cause: Option<Box<str>>,
    /// Since when it could run, ISO 8601.
    pub queued_at: Option<String>,
    /// When the present attempt began, ISO 8601.
    pub started_at: Option<String>,
    /// When it ended, ISO 8601.
    pub ended_at: Option<String>,
    /// When it is tried again, in milliseconds since the Unix epoch.
    pub retry_at_ms: Option<u64>,
    /// Its last error, until it is tried again.
    pub error: Option<String>,
    /// How many events of each name it has emitted.
    pub emitted: BTreeMap<Box<str>, u64>,
    /// Name and kind of all awaits that it began, in order.
    pub awaited: Vec<Awaited>,
}

impl Step {
    /// It is to run, because of this.
    fn queued(record: &Record<'_>) -> Step {
        let cause = record.id.as_deref().map(Into::into);
        Step { queued_at: Some(record.at()), cause, ..Step::default() }
    }

    /// It went on with the outcome of an await.
    fn went_on_after(&mut self, await_id: &str) {
        let before = self.awaited.iter().filter(|known| known.resumed.is_some()).count() as u64;
        let known = self.awaited.iter_mut().find(|known| *known.id == *await_id && known.resumed.is_none());
        if let Some(known) = known {
            known.resumed = Some(before + 1);
        }
    }
}

/// What stays of an await: enough to recognize it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// Its id.
    pub id: Box<str>,
    /// Its trigger.
    pub name: Box<str>,
    /// `trigger`, `event`, `time` or `webhook`.
    pub kind: Box<str>,
    /// The step went on with its outcome as the n-th of its awaits, from 1.
    pub resumed: Option<u64>,
}

/// What was emitted under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emitted {
    /// How often.
    pub count: u64,
    /// The payload of the first, as JSON text, if a step runs on it.
    pub payload: Option<Box<str>>,
}

/// How far a run has come.
#[derive(Debug, Default)]
pub struct Progress {
    run_id: String,
    flow_name: String,
    started_at: String,
    triggered_by: Option<String>,
    correlation_id: Option<Box<str>>,
    causation_id: Option<Box<str>>,
    version: Option<Box<str>>,
    traceparent: Option<Box<str>>,
    input: Option<Box<str>>,
    plan: Option<Plan>,
    has_events: bool,
    has_begun: bool,
    ending: Option<Ending>,
    is_stalled: bool,
    result: Option<Box<str>>,
    steps: BTreeMap<String, Step>,
    emitted: BTreeMap<Box<str>, Emitted>,
    awaits: Vec<Await>,
}

impl Progress {
    /// The run.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Its flow.
    pub fn flow_name(&self) -> &str {
        &self.flow_name
    }

    /// Its plan; `None`: it was not begun by a flow engine, and its end is not derived.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The version of the code that a step is to run in; `None`: any.
    pub fn version_of(&self, step_name: &str) -> Option<&str> {
        let planned = self.plan.as_ref().and_then(|plan| plan.steps.get(step_name)?.version.as_deref());
        planned.or(self.version.as_deref())
    }

    /// The steps that are to be taken by a worker, as far as they could be.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, &Step)> {
        let waits = |name: &str, step: &Step| match step.phase {
            StepPhase::Queued | StepPhase::Retrying => true,
            StepPhase::Paused => step.is_suspended && self.wants_step(name),
            StepPhase::Running => step.is_stalled,
            StepPhase::Completed | StepPhase::Failed => false,
        };
        let goes_on = self.ending.is_none();
        self.steps().filter(move |(name, step)| goes_on && waits(name, step))
    }

    /// Whether it has any events.
    pub fn is_known(&self) -> bool {
        self.has_events
    }

    /// Whether it was started.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// What it belongs together with, if its first event says so.
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    /// Where it stands in a distributed trace, as a W3C `traceparent`.
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    /// When it began, ISO 8601.
    pub fn started_at(&self) -> &str {
        &self.started_at
    }

    /// How it ended; `None`: it goes on.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// A step that has begun or is about to.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.get(name)
    }

    /// All steps that have begun or are about to.
    pub fn steps(&self) -> impl Iterator<Item = (&str, &Step)> {
        self.steps.iter().map(|(name, step)| (name.as_str(), step))
    }

    /// What was emitted under a name.
    pub fn emitted(&self, name: &str) -> Option<&Emitted> {
        self.emitted.get(name)
    }

    /// The awaits of steps that have not ended.
    pub fn awaits(&self) -> &[Await] {
        &self.awaits
    }

    /// One of them.
    pub fn find_await(&self, id: &str) -> Option<&Await> {
        self.awaits.iter().find(|known| &*known.id == id)
    }

    /// Whether a step has anything to look at.
    pub fn wants_step(&self, step_name: &str) -> bool {
        let of_step = |known: &&Await| known.step_name.as_deref() == Some(step_name);
        self.awaits.iter().filter(of_step).any(Await::wants_step)
    }

    /// What a step works on, as JSON text: what the run was started with, the payload of the event
    /// that it runs on, or an object of those of all.
    ///
    /// `coming`: an event that is about to be appended.
    pub fn input_of(&self, step_name: &str, coming: Option<(&str, Option<&str>)>) -> Option<String> {
        let plan = self.plan.as_ref()?;
        let step = plan.steps.get(step_name)?;
        let payload = |name: &String| match (self.emitted.get(name.as_str()), coming) {
            (Some(emitted), _) => emitted.payload.as_deref(),
            (None, Some((coming, payload))) if coming == name => payload,
            (None, _) => None,
        };
        match step.subscribes.as_slice() {
            _ if plan.entry == step_name => self.input.as_deref().map(str::to_owned),
            [name] => payload(name).map(str::to_owned),
            names => {
                let mut object = String::from("{");
                for name in names {
                    if object.len() > 1 {
                        object.push(',');
                    }
                    crate::event::quote(&mut object, name);
                    object.push(':');
                    object.push_str(payload(name).unwrap_or("null"));
                }
                object.push('}');
                Some(object)
            }
        }
    }

    /// The steps that have all that they run on once an event of this name comes, and were not queued before.
    pub fn queued_by(&self, name: &str) -> impl Iterator<Item = &str> {
        let steps = self.plan.iter().flat_map(|plan| &plan.steps);
        let has_come = move |event: &String| event == name || self.emitted.contains_key(event.as_str());
        let is_ready = move |step: &super::plan::PlannedStep| {
            step.subscribes.iter().any(|event| event == name) && step.subscribes.iter().all(has_come)
        };
        let ready = steps.filter(move |(step_name, step)| !self.steps.contains_key(*step_name) && is_ready(step));
        ready.map(|(step_name, _)| step_name.as_str())
    }

    /// Whether nothing is left to do once this step has ended well.
    pub fn is_last(&self, step_name: &str) -> bool {
        let others = self.steps.iter().filter(|(name, _)| *name != step_name);
        self.plan.is_some() && others.into_iter().all(|(_, step)| step.phase == StepPhase::Completed)
    }

    /// Whether nothing runs on what a step has emitted.
    pub fn is_leaf(&self, step_name: &str) -> bool {
        let Some(step) = self.steps.get(step_name) else { return true };
        let runs_on = |event: &str| {
            self.plan
                .iter()
                .flat_map(|plan| plan.steps.values())
                .any(|step| step.subscribes.iter().any(|name| name == event))
        };
        !step.emitted.keys().any(|event| runs_on(event))
    }

    /// The result of the step that ended last of those on which nothing runs, as JSON text.
    pub fn result(&self) -> Option<&str> {
        self.result.as_deref()
    }

    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        let steps = self.steps.iter().map(|(name, step)| {
            name.len() + size_of::<Step>() + 96 + 48 * step.emitted.len() + 96 * step.awaited.len()
        });
        let emitted = self.emitted.iter().map(|(name, emitted)| {
            name.len() + size_of::<Emitted>() + 48 + emitted.payload.as_deref().map_or(0, str::len)
        });
        size_of::<Progress>()
            + self.result.as_deref().map_or(0, str::len)
            + self.input.as_deref().map_or(0, str::len)
            + self.plan.as_ref().map_or(0, Plan::weight)
            + steps.sum::<usize>()
            + emitted.sum::<usize>()
            + self.awaits.iter().map(Await::weight).sum::<usize>()
    }

    /// Takes the next event.
    pub fn apply(&mut self, event: EventRef<'_>) {
        let matters = self.flow_name.is_empty()
            || event.event_type == "emit"
            || ["flow.", "step.", "trigger.", "queue."].iter().any(|family| event.event_type.starts_with(family));
        if matters && let Some(record) = Record::of(event) {
            self.take(&record);
        }
    }

    pub(super) fn take(&mut self, record: &Record<'_>) {
        if !self.has_events {
            self.has_events = true;
            self.started_at = record.at();
        }
        fill(&mut self.run_id, record.run_id.as_deref());
        fill(&mut self.flow_name, record.flow_name.as_deref());
        if let Some(status) = ending(&record.event_type) {
            return self.end(status, record);
        }
        if self.ending.is_some() && self.plan.is_some() {
            return;
        }
        match &*record.event_type {
            "flow.started" | "flow.start" => self.begin(record),
            "flow.stalled" => self.stall(record),
            "queue.unavailable" => self.miss(record),
            "emit" => self.emit(record),
            "trigger.awaiting" => self.open_await(record),
            "trigger.fired" | "trigger.resolved" => self.settle(AwaitPhase::Fired, record),
            "trigger.timeout" => self.settle(AwaitPhase::Timeout, record),
            "trigger.canceled" => self.settle(AwaitPhase::Canceled, record),
            "trigger.offered" => self.offer(record),
            "trigger.skipped" => self.judge(record),
            other => {
                if let Some(what) = other.strip_prefix("flow.").unwrap_or(other).strip_prefix("step.") {
                    self.take_step(what, record);
                }
            }
        }
    }

    /// The first end counts.
    fn end(&mut self, status: Status, record: &Record<'_>) {
        if self.ending.is_none() {
            let data = record.data();
            let reason = data.text("error").or_else(|| data.text("reason"));
            self.ending = Some(Ending { status, at: record.at(), reason });
            self.awaits.clear();
            self.emitted.clear();
        }
    }

    fn begin(&mut self, record: &Record<'_>) {
        let data = record.data();
        self.has_begun = true;
        self.started_at = record.at();
        self.triggered_by = data.text("triggeredBy");
        self.correlation_id = record.correlation_id.as_deref().map(Into::into);
        self.causation_id = record.causation_id.as_deref().map(Into::into);
        self.version = data.text("version").map(Into::into);
        self.traceparent = data.text("traceparent").map(Into::into);
        if self.plan.is_some() {
            return;
        }
        self.input = data.raw("input").map(Into::into);
        self.plan = data.raw("flow").and_then(|plan| serde_json::from_str(plan).ok());
        if let Some(plan) = &self.plan {
            let entry = Step::queued(record);
            self.steps.entry(plan.entry.clone()).or_insert(entry);
        }
    }

    fn stall(&mut self, record: &Record<'_>) {
        self.is_stalled = true;
        if let Some(step) = record.step_name.as_deref().and_then(|name| self.steps.get_mut(name)) {
            step.stalls += 1;
            step.is_stalled = true;
        }
    }

    fn miss(&mut self, record: &Record<'_>) {
        if let Some(step) = record.step_name.as_deref().and_then(|name| self.steps.get_mut(name)) {
            step.is_unavailable = true;
        }
    }

    fn emit(&mut self, record: &Record<'_>) {
        let data = record.data();
        let Some(name) = data.text("name") else { return };
        if let Some(step) = record.step_name.as_deref().and_then(|step| self.steps.get_mut(step)) {
            *step.emitted.entry(name.as_str().into()).or_default() += 1;
        }
        if let Some(id) = &record.id {
            let judging =
                |open: &&mut Await| open.phase == AwaitPhase::Open && open.is_conditional && open.hears(&name);
            let open = self.awaits.iter_mut().filter(judging);
            open.for_each(|open| open.offers.push(Offer { id: (&**id).into(), data: data.payload() }));
        }
        let Some(plan) = &self.plan else { return };
        let emitted = self.emitted.entry(name.as_str().into()).or_default();
        emitted.count += 1;
        let is_input = plan.steps.values().any(|step| step.subscribes.contains(&name));
        if emitted.count > 1 || !is_input {
            return;
        }
        emitted.payload = data.payload();
        let queued: Vec<String> = self.queued_by(&name).map(str::to_owned).collect();
        for step_name in queued {
            self.steps.insert(step_name, Step::queued(record));
        }
    }

    fn open_await(&mut self, record: &Record<'_>) {
        let open = Await::open(record);
        if self.find_await(&open.id).is_some() {
            return;
        }
        if let Some(step) = record.step_name.as_deref().and_then(|name| self.steps.get_mut(name)) {
            let known = Awaited {
                id: open.id.clone(),
                name: open.trigger_name.clone(),
                kind: open.kind.clone(),
                resumed: None,
            };
            step.awaited.push(known);
        }
        self.awaits.push(open);
    }

    /// By the id of the await where the event names it, otherwise by its trigger.
    fn settle(&mut self, phase: AwaitPhase, record: &Record<'_>) {
        let data = record.data();
        let id = data.text("awaitId");
        for known in &mut self.awaits {
            let is_meant = match (&id, record.trigger_name.as_deref()) {
                (Some(id), _) => *known.id == **id,
                (None, Some(trigger)) => *known.trigger_name == *trigger,
                (None, None) => false,
            };
            if is_meant {
                known.settle(phase, record, &data);
            }
        }
    }

    fn offer(&mut self, record: &Record<'_>) {
        let data = record.data();
        let (Some(id), Some(offer)) = (data.text("awaitId"), data.text("offerId")) else { return };
        let open = |known: &&mut Await| *known.id == *id && known.phase == AwaitPhase::Open;
        if let Some(known) = self.awaits.iter_mut().find(open) {
            known.offers.push(Offer { id: offer.into(), data: data.raw("data").map(Into::into) });
        }
    }

    /// An offer was judged, and is not what was waited for.
    fn judge(&mut self, record: &Record<'_>) {
        let data = record.data();
        let (Some(id), Some(offer)) = (data.text("awaitId"), data.text("offerId")) else { return };
        if let Some(known) = self.awaits.iter_mut().find(|known| *known.id == *id) {
            known.offers.retain(|known| *known.id != *offer);
            known.judged.push(offer.into());
        }
    }

    fn take_step(&mut self, what: &str, record: &Record<'_>) {
        let Some(name) = record.step_name.as_deref() else { return };
        let data = record.data();
        let phase = match what {
            "started" | "resumed" => StepPhase::Running,
            "completed" => StepPhase::Completed,
            "failed" => StepPhase::Failed,
            "retry" => StepPhase::Retrying,
            "paused" | "suspended" => StepPhase::Paused,
            "released" => StepPhase::Queued,
            _ => return,
        };
        let has_ended = |step: &Step| matches!(step.phase, StepPhase::Completed | StepPhase::Failed);
        if self.plan.is_some() && self.steps.get(name).is_some_and(has_ended) {
            return;
        }
        self.is_stalled = false;
        if what == "resumed" {
            self.resume(record, &data);
        }
        let step = self.steps.entry(name.to_owned()).or_default();
        let begins = what == "started";
        step.attempt = record.attempt().unwrap_or(if begins { step.attempt + 1 } else { step.attempt.max(1) });
        step.phase = phase;
        step.is_stalled = false;
        step.is_unavailable = false;
        step.is_suspended = what == "suspended";
        step.suspensions += u64::from(step.is_suspended);
        step.ended_at = has_ended(step).then(|| record.at());
        step.error = data.text("error").filter(|_| matches!(phase, StepPhase::Failed | StepPhase::Retrying));
        match data.text("executionId") {
            _ if what == "released" => step.execution = None,
            Some(execution) => step.execution = Some(execution.into()),
            None => {}
        }
        if let Some(worker) = &record.worker_id {
            step.worker = Some((&**worker).into());
        }
        if begins {
            step.started_at = Some(record.at());
        }
        step.retry_at_ms = None;
        if phase == StepPhase::Retrying {
            step.failures += 1;
            step.retry_at_ms = parse_time(&record.at()).map(|at| at + data.number("delay").unwrap_or(0));
        }
        if phase == StepPhase::Completed && self.plan.is_some() && self.is_leaf(name) {
            self.result = data.raw("result").map(Into::into);
        }
        let Some(step) = self.steps.get_mut(name) else { return };
        if has_ended(step) {
            step.awaited = Vec::new();
            self.awaits.retain(|known| known.step_name.as_deref() != Some(name));
        }
    }

    fn resume(&mut self, record: &Record<'_>, data: &Data<'_>) {
        match data.text("awaitId") {
            Some(id) => {
                if let Some(known) = self.awaits.iter_mut().find(|known| *known.id == *id) {
                    known.settle(AwaitPhase::Fired, record, data);
                    known.is_resumed = true;
                }
                if let Some(step) = record.step_name.as_deref().and_then(|name| self.steps.get_mut(name)) {
                    step.went_on_after(&id);
                }
            }
            None => self.settle(AwaitPhase::Fired, record),
        }
    }

    /// The status, as users see it.
    pub fn status(&self) -> RunStatus {
        let steps = self.steps.iter().map(|(name, step)| {
            let status = StepStatus {
                status: step.phase,
                attempt: step.attempt,
                started_at: step.started_at.clone(),
                ended_at: step.ended_at.clone(),
                error: step.error.clone(),
            };
            (name.clone(), status)
        });
        let open = self.awaits.iter().filter(|known| known.phase == AwaitPhase::Open);
        RunStatus {
            run_id: self.run_id.clone(),
            flow_name: self.flow_name.clone(),
            status: self.overall(),
            started_at: self.started_at.clone(),
            ended_at: self.ending.as_ref().map(|ending| ending.at.clone()),
            triggered_by: self.triggered_by.clone(),
            correlation_id: self.correlation_id.as_deref().map(str::to_owned),
            causation_id: self.causation_id.as_deref().map(str::to_owned),
            traceparent: self.traceparent.as_deref().map(str::to_owned),
            version: self.version.as_deref().map(str::to_owned),
            steps: steps.collect(),
            awaits: open.map(Await::shown).collect(),
        }
    }

    fn overall(&self) -> Status {
        if let Some(ending) = &self.ending {
            return ending.status;
        }
        if self.is_stalled {
            return Status::Stalled;
        }
        let active = |step: &Step| matches!(step.phase, StepPhase::Queued | StepPhase::Running | StepPhase::Retrying);
        let is_open = |known: &Await| known.phase == AwaitPhase::Open;
        match self.awaits.iter().any(is_open) && !self.steps.values().any(active) {
            true => Status::Awaiting,
            false => Status::Running,
        }
    }
}

/// How an event of this type ends a run, if it does.
fn ending(event_type: &str) -> Option<Status> {
    match event_type {
        "flow.completed" => Some(Status::Completed),
        "flow.failed" => Some(Status::Failed),
        "flow.canceled" => Some(Status::Canceled),
        _ => None,
    }
}

fn fill(field: &mut String, value: Option<&str>) {
    if field.is_empty() {
        field.push_str(value.unwrap_or_default());
    }
}
