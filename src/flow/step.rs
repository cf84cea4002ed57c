//! The life of a step: it begins, is tried again, is suspended, ends.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use super::chain::related;
use super::decide::{Decision, envelope};
use super::job::step_id;
use super::{FlowEngine, Object, awaits, ended, expect_known};
use crate::error::{Code, Error, Result};
use crate::event::{Field, NewEvent, parse_time};
use crate::io;
use crate::run::{Awaited, Backoff, Progress, RunStep, StepPhase};

/// How often nothing more may be heard of a step before it fails: its code takes the process with it.
const MOST_STALLS: u64 = 10;

/// Who executes a step.
#[derive(Debug, Clone, Default)]
pub struct BeginRequest {
    /// The run.
    pub run_id: String,
    /// Its flow, as the job says.
    pub flow_name: String,
    /// The step.
    pub step_name: String,
    /// The queue that the job came from.
    pub queue: String,
    /// Names this execution; only the newest one's outcome counts.
    pub execution_id: String,
    /// The worker.
    pub worker_id: Option<String>,
    /// The process.
    pub instance_id: Option<String>,
    /// What the job says that the step works on, for runs without a plan; JSON text.
    pub input: Option<String>,
    /// How often the job may be tried, for runs without a plan.
    pub max_attempts: Option<u64>,
    /// The job is an engine's: its run was started before. If there is no run any more, there is nothing to do.
    pub is_of_engine: bool,
}

/// What is to be done with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The step is to be executed.
    Run {
        /// Its flow.
        flow_name: String,
        /// What its run belongs together with.
        correlation_id: Option<String>,
        /// Where its run stands in a distributed trace, as a W3C `traceparent`.
        traceparent: Option<String>,
        /// How long this attempt could have run before, in milliseconds; `None`: it has run in part already.
        waited_ms: Option<u64>,
        /// Which attempt it is.
        attempt: u64,
        /// How many there are.
        max_attempts: u64,
        /// Names the attempt.
        step_id: String,
        /// What it works on, as JSON text.
        input: Option<String>,
        /// It was executed before, in part.
        is_rerun: bool,
        /// The awaits that its record has, in order.
        awaits: Vec<Awaited>,
    },
    /// Nothing: why.
    Skip(String),
    /// The run needs code of another version than that of this process: why.
    Elsewhere(String),
    /// It took its process with it too often, and has failed now.
    GivenUp(String),
}

/// Why a step failed.
#[derive(Debug, Clone, Default)]
pub struct StepError {
    /// The message.
    pub message: String,
    /// Where it was thrown.
    pub stack: Option<String>,
    /// Trying again is of no use.
    pub is_final: bool,
    /// How often the job may be tried, for runs without a plan.
    pub max_attempts: Option<u64>,
}

/// What a failure led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// It is tried again.
    Retry {
        /// As which attempt.
        next_attempt: u64,
        /// After so many milliseconds.
        delay: u64,
    },
    /// The step has failed, and with it the run.
    Ended,
    /// Another execution took over, or the run has ended.
    Superseded,
}

/// The outcome of recording that an execution has begun; `None`: it is under way.
type Recorded = watch::Receiver<Option<Result<()>>>;

/// Executions that have begun, which is not recorded yet.
#[derive(Default)]
pub(super) struct Beginning(Mutex<HashMap<String, Recorded>>);

impl Beginning {
    fn executions(&self) -> MutexGuard<'_, HashMap<String, Recorded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, execution_id: &str, recorded: Recorded) {
        self.executions().insert(execution_id.to_owned(), recorded);
    }

    fn find(&self, execution_id: &str) -> Option<Recorded> {
        self.executions().get(execution_id).cloned()
    }

    fn remove(&self, execution_id: &str) {
        self.executions().remove(execution_id);
    }
}

impl FlowEngine {
    /// Begins a step, unless there is nothing to do any more. Does not wait until that is recorded: what the
    /// execution does next waits for it. Should it turn out that there was nothing to do, that is refused.
    ///
    /// # Errors
    /// Those of reading and appending.
    pub async fn begin_step(&self, request: &BeginRequest) -> Result<Begun> {
        let (early, begun) = oneshot::channel();
        let (recorded, outcome) = watch::channel(None);
        let execution_id = request.execution_id.clone();
        self.beginning.insert(&execution_id, outcome);
        let (flows, request) = (self.clone(), request.clone());
        io::begin(async move {
            let mut early = Some(early);
            let tell = |begun: &Begun| {
                if matches!(begun, Begun::Run { .. })
                    && let Some(early) = early.take()
                {
                    let _ = early.send(Ok(begun.clone()));
                }
            };
            let begun = flows.record_begin(&request, tell).await;
            recorded.send_replace(Some(begun.as_ref().map(drop).map_err(Clone::clone)));
            if begun.is_ok() {
                flows.beginning.remove(&request.execution_id);
            }
            if let Some(early) = early {
                let _ = early.send(begun);
            }
        });
        let begun = begun.await.unwrap_or_else(|_| Err(Error::closed()));
        if !matches!(begun, Ok(Begun::Run { .. })) {
            self.beginning.remove(&execution_id);
        }
        begun
    }

    /// Waits until it is recorded that an execution has begun.
    pub(super) async fn begun(&self, execution_id: &str) -> Result<()> {
        let Some(mut outcome) = self.beginning.find(execution_id) else { return Ok(()) };
        let outcome = match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
            Err(_) => Err(Error::closed()),
        };
        // It is told once; what the execution does after that is refused, as it has not begun.
        self.beginning.remove(execution_id);
        outcome
    }

    async fn record_begin(&self, request: &BeginRequest, tell: impl FnMut(&Begun) + Send) -> Result<Begun> {
        let BeginRequest { run_id, step_name, .. } = request;
        let mut closed = Vec::new();
        let decide = |progress: &Progress| {
            if let Some(reason) = nothing_to_do(progress, request) {
                return Ok(Decision::Nothing(Begun::Skip(reason)));
            }
            if let Some(reason) = self.unfit(progress, step_name) {
                return Ok(Decision::Nothing(Begun::Elsewhere(reason)));
            }
            let step = progress.step(step_name);
            // A job that was put into a queue by someone else, for a run that did not begin here.
            let flow_name = if progress.is_known() { progress.flow_name() } else { &request.flow_name };
            let attempt = step.map_or(0, |step| step.failures) + 1;
            let planned = progress.plan().and_then(|plan| plan.steps.get(step_name));
            let max_attempts = planned.map(|step| step.max_attempts).or(request.max_attempts).unwrap_or(1);
            let mut events = Vec::new();
            if let Some(step) = step.filter(|step| is_executing(step) && !step.is_stalled) {
                events.push(stalled(progress, step_name, step, "its job was taken again"));
            }
            let stalls = step.map_or(0, |step| step.stalls) + events.len() as u64;
            if stalls > MOST_STALLS {
                let message = format!("The step {step_name} ended with its process {stalls} times.");
                let error = StepError { message: message.clone(), ..StepError::default() };
                events.extend(failure(progress, step_name, &error));
                closed = ids_of_awaits(progress);
                return Ok(Decision::Record(events, Begun::GivenUp(message)));
            }
            let run = Begun::Run {
                flow_name: flow_name.to_owned(),
                correlation_id: progress.correlation_id().map(str::to_owned),
                traceparent: progress.traceparent().map(str::to_owned),
                waited_ms: step.and_then(runnable_since).map(|since| self.store.now_ms().saturating_sub(since)),
                attempt,
                max_attempts,
                step_id: step_id(run_id, step_name, attempt),
                input: match progress.plan() {
                    Some(_) => progress.input_of(step_name, None),
                    None => request.input.clone(),
                },
                is_rerun: step.is_some_and(|step| step.started_at.is_some()),
                awaits: step.map(|step| step.awaited.clone()).unwrap_or_default(),
            };
            // A suspended step goes on: that is told by its await.
            if step.is_some_and(|step| step.is_suspended) {
                return Ok(Decision::Nothing(run));
            }
            let mut started = NewEvent::new("flow.step.started")
                .with(Field::RunId, run_id)
                .with(Field::FlowName, flow_name)
                .with(Field::StepName, step_name)
                .with(Field::StepId, step_id(run_id, step_name, attempt))
                .with(Field::Attempt, attempt.to_string())
                .with(Field::Queue, &request.queue)
                .with_data(Object::new().text("executionId", &request.execution_id).done());
            for (field, value) in [(Field::WorkerId, &request.worker_id), (Field::InstanceId, &request.instance_id)] {
                if let Some(value) = value {
                    started = started.with(field, value);
                }
            }
            let cause = step.and_then(|step| step.cause.as_deref());
            events.push(related(started, progress.correlation_id(), cause));
            Ok(Decision::Record(events, run))
        };
        let begun = self.decide_and_tell(run_id, decide, tell).await?;
        if matches!(begun, Begun::GivenUp(_)) {
            self.announce_end(run_id, "flow.failed", &closed).await?;
        }
        Ok(begun)
    }

    /// Ends a step well, and its run if nothing is left to do. `result` is JSON text. Returns whether the
    /// outcome counts, and whether the run has ended with it.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, and those of appending.
    pub async fn complete_step(
        &self,
        run_id: &str,
        step_name: &str,
        execution_id: &str,
        result: Option<&str>,
    ) -> Result<(bool, bool)> {
        self.begun(execution_id).await?;
        let (accepted, ended, closed) = self
            .decide(run_id, |progress| {
                expect_known(progress, run_id)?;
                if let Some(step) = progress.step(step_name).filter(|step| step.phase == StepPhase::Completed) {
                    let is_own = step.execution.as_deref() == Some(execution_id);
                    return Ok(Decision::Nothing((is_own, progress.ending().is_some(), Vec::new())));
                }
                if progress.ending().is_some() || expect_execution(progress, step_name, execution_id).is_err() {
                    return Ok(Decision::Nothing((false, false, Vec::new())));
                }
                let (mut events, closed) = awaits::close_all(progress, Some(step_name), "its step has ended");
                let data = Object::new().maybe_raw("result", result).text("executionId", execution_id).done();
                let completed = NewEvent::new("flow.step.completed");
                events.push(completed.with_envelope(&envelope(progress, Some(step_name))).with_data(data));
                let is_last = progress.is_last(step_name);
                if is_last {
                    // A quick follower may have ended before the step that it runs on.
                    let result = if progress.is_leaf(step_name) { result } else { progress.result() };
                    let data = Object::new().maybe_raw("result", result).done();
                    let completed = NewEvent::new("flow.completed").with_envelope(&envelope(progress, None));
                    events.push(completed.with_data(data));
                }
                Ok(Decision::Record(events, (true, is_last, closed)))
            })
            .await?;
        self.announce_closed(run_id, &closed).await?;
        Ok((accepted, ended))
    }

    /// Ends an attempt at a step with an error: it is tried again, or its run fails.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, and those of appending.
    pub async fn fail_step(
        &self,
        run_id: &str,
        step_name: &str,
        execution_id: &str,
        error: &StepError,
    ) -> Result<Failed> {
        self.begun(execution_id).await?;
        let (outcome, closed) = self
            .decide(run_id, |progress| {
                expect_known(progress, run_id)?;
                if progress.ending().is_some() || expect_execution(progress, step_name, execution_id).is_err() {
                    return Ok(Decision::Nothing((Failed::Superseded, Vec::new())));
                }
                let planned = progress.plan().and_then(|plan| plan.steps.get(step_name));
                let max_attempts = planned.map(|step| step.max_attempts).or(error.max_attempts).unwrap_or(1);
                let failures = progress.step(step_name).map_or(0, |step| step.failures) + 1;
                if !error.is_final && failures < max_attempts {
                    let delay = planned.map_or_else(Backoff::default, |step| step.backoff).after(failures);
                    let data = described(error)
                        .number("nextAttempt", failures + 1)
                        .number("maxAttempts", max_attempts)
                        .number("delay", delay)
                        .text("executionId", execution_id);
                    let retry = NewEvent::new("flow.step.retry").with_envelope(&envelope(progress, Some(step_name)));
                    let outcome = Failed::Retry { next_attempt: failures + 1, delay };
                    return Ok(Decision::Record(vec![retry.with_data(data.done())], (outcome, Vec::new())));
                }
                let closed = ids_of_awaits(progress);
                Ok(Decision::Record(failure(progress, step_name, error), (Failed::Ended, closed)))
            })
            .await?;
        if outcome == Failed::Ended {
            self.announce_end(run_id, "flow.failed", &closed).await?;
        }
        Ok(outcome)
    }

    /// Says that nothing more was heard of a step's execution. False: it does not run.
    ///
    /// # Errors
    /// Those of reading and appending.
    pub async fn stalled(
        &self,
        run_id: &str,
        step_name: &str,
        execution_id: Option<&str>,
        reason: &str,
    ) -> Result<bool> {
        self.decide(run_id, |progress| {
            let is_meant = |step: &&RunStep| match execution_id {
                Some(id) => step.execution.as_deref() == Some(id),
                None => true,
            };
            let step = progress.step(step_name).filter(is_meant);
            match step.filter(|step| is_executing(step) && !step.is_stalled && progress.ending().is_none()) {
                Some(step) => Ok(Decision::Record(vec![stalled(progress, step_name, step, reason)], true)),
                None => Ok(Decision::Nothing(false)),
            }
        })
        .await
    }

    /// Gives a step back that this execution can't go on with, for no fault of its code. False: it is not its
    /// execution any more.
    ///
    /// # Errors
    /// Those of reading and appending.
    pub async fn release_step(&self, run_id: &str, step_name: &str, execution_id: &str, reason: &str) -> Result<bool> {
        self.begun(execution_id).await?;
        self.decide(run_id, |progress| {
            let step = progress.step(step_name);
            let is_own = |step: &RunStep| step.execution.as_deref() == Some(execution_id) && is_executing(step);
            if progress.ending().is_some() || !step.is_some_and(is_own) {
                return Ok(Decision::Nothing(false));
            }
            let data = Object::new().text("reason", reason).text("executionId", execution_id).done();
            let released = NewEvent::new("flow.step.released").with_envelope(&envelope(progress, Some(step_name)));
            Ok(Decision::Record(vec![released.with_data(data)], true))
        })
        .await
    }

    /// Says that the worker of a step's job has been silent for so long. An execution that began since is another one,
    /// that lives. False: there is nothing to say.
    ///
    /// # Errors
    /// Those of reading and appending.
    pub async fn silent(&self, run_id: &str, step_name: &str, silent_for_ms: u64, reason: &str) -> Result<bool> {
        let before = self.store.now_ms().saturating_sub(silent_for_ms);
        let execution = self
            .look(run_id, |progress| {
                let step = progress.step(step_name)?;
                let began_at = step.started_at.as_deref().and_then(parse_time)?;
                step.execution.as_deref().filter(|_| began_at <= before).map(str::to_owned)
            })
            .await?;
        match execution {
            Some(execution) => self.stalled(run_id, step_name, Some(&execution), reason).await,
            None => Ok(false),
        }
    }

    /// Lets the job of a step end while it waits. False: something has come, and the step has to go on.
    ///
    /// # Errors
    /// `Conflict` if the execution was superseded or the run has ended, and those of appending.
    pub async fn suspend_step(&self, run_id: &str, step_name: &str, execution_id: &str) -> Result<bool> {
        self.begun(execution_id).await?;
        self.decide(run_id, |progress| {
            super::expect_active(progress, run_id)?;
            expect_execution(progress, step_name, execution_id)?;
            if progress.wants_step(step_name) {
                return Ok(Decision::Nothing(false));
            }
            let data = Object::new().text("executionId", execution_id).done();
            let suspended = NewEvent::new("flow.step.suspended").with_envelope(&envelope(progress, Some(step_name)));
            Ok(Decision::Record(vec![suspended.with_data(data)], true))
        })
        .await
    }
}

/// Why a job needs no execution.
fn nothing_to_do(progress: &Progress, request: &BeginRequest) -> Option<String> {
    let BeginRequest { run_id, step_name, .. } = request;
    if let Some(ending) = progress.ending() {
        return Some(format!("The run {run_id} {}.", ended(ending)));
    }
    if request.is_of_engine && !progress.has_begun() {
        return Some(format!("The run {run_id} is gone."));
    }
    let step = progress.step(step_name);
    if let Some(step) = step.filter(|step| matches!(step.phase, StepPhase::Completed | StepPhase::Failed)) {
        let at = step.ended_at.as_deref().unwrap_or_default();
        return Some(format!("The step {step_name} of the run {run_id} ended at {at}."));
    }
    // Nothing else may start it: what it works on would be missing.
    if progress.plan().is_some() && step.is_none() {
        return Some(format!("Nothing that the step {step_name} of the run {run_id} runs on has come."));
    }
    // An older job than the one that goes on with it.
    step.filter(|step| step.is_suspended && !progress.wants_step(step_name))
        .map(|_| format!("The step {step_name} of the run {run_id} is suspended, and nothing has come."))
}

/// Whether an execution of a step should be under way.
fn is_executing(step: &RunStep) -> bool {
    step.phase == StepPhase::Running || (step.phase == StepPhase::Paused && !step.is_suspended)
}

/// Since when the next attempt could run, if nothing of it has run yet.
fn runnable_since(step: &RunStep) -> Option<u64> {
    match step.phase {
        StepPhase::Retrying => step.retry_at_ms,
        StepPhase::Queued if step.started_at.is_none() => step.queued_at.as_deref().and_then(parse_time),
        _ => None,
    }
}

fn ids_of_awaits(progress: &Progress) -> Vec<String> {
    progress.awaits().iter().map(|known| known.id.to_string()).collect()
}

/// A suspended step may go on in any execution. One whose attempt has failed is over: what it still does must not
/// suspend the step, for then nobody would try it again.
pub(super) fn expect_execution(progress: &Progress, step_name: &str, execution_id: &str) -> Result<()> {
    let step = progress.step(step_name);
    let is_present = |step: &RunStep| is_executing(step) && step.execution.as_deref() == Some(execution_id);
    if step.is_some_and(|step| step.is_suspended || is_present(step)) {
        return Ok(());
    }
    if step.is_some_and(|step| step.phase == StepPhase::Retrying) {
        let run_id = progress.run_id();
        let message =
            format!("The attempt at the step {step_name} of the run {run_id} has failed; nothing can be added to it.");
        return Err(Error::new(Code::Conflict, message));
    }
    let message = format!(
        "Another execution of the step {step_name} of the run {} has taken over; what this one does counts no more.",
        progress.run_id()
    );
    Err(Error::new(Code::Conflict, message))
}

fn stalled(progress: &Progress, step_name: &str, step: &RunStep, reason: &str) -> NewEvent {
    let data = Object::new().text("reason", reason).maybe_text("executionId", step.execution.as_deref()).done();
    let mut event = NewEvent::new("flow.stalled").with_envelope(&envelope(progress, Some(step_name)));
    if let Some(worker) = &step.worker {
        event = event.with(Field::WorkerId, worker);
    }
    event.with_data(data)
}

/// A step has failed for good, and with it its run, if the run has a plan.
fn failure(progress: &Progress, step_name: &str, error: &StepError) -> Vec<NewEvent> {
    let (mut events, _) = awaits::close_all(progress, None, "the run failed");
    let failed = NewEvent::new("flow.step.failed").with_envelope(&envelope(progress, Some(step_name)));
    events.push(failed.with_data(described(error).done()));
    if progress.plan().is_some() {
        let failed = NewEvent::new("flow.failed").with_envelope(&envelope(progress, None));
        events.push(failed.with_data(described(error).text("failedStep", step_name).done()));
    }
    events
}

fn described(error: &StepError) -> Object {
    Object::new().text("error", &error.message).maybe_text("stack", error.stack.as_deref())
}
