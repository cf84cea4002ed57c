//! Jobs: what is handed to whoever executes steps.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::run::{Progress, RunStep, StepPhase};

/// One execution of a step, as it is put into a queue.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The queue.
    pub queue: String,
    /// The step's name.
    pub name: String,
    /// The same for the same execution, so that handing it over twice does no harm.
    pub job_id: String,
    /// What the executor is told.
    pub data: JobData,
}

/// What a job says.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobData {
    /// The run.
    pub run_id: String,
    /// Its flow.
    pub flow_name: String,
    /// What the step works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<RawValue>>,
    /// Which attempt it will be.
    pub attempt: u64,
}

impl Job {
    /// The job of a step of a run; `coming`: an event that is about to be recorded.
    pub(super) fn of(progress: &Progress, step_name: &str, coming: Option<(&str, Option<&str>)>) -> Option<Job> {
        let queue = progress.plan()?.steps.get(step_name)?.queue.clone();
        let input = progress.input_of(step_name, coming);
        let mut job = Job::new(queue, step_name, progress.run_id(), progress.flow_name(), input.as_deref());
        if let Some(step) = progress.step(step_name) {
            job.data.attempt = step.failures + 1;
            job.job_id = job_id(progress.run_id(), step_name, step.suspensions);
        }
        Some(job)
    }

    /// The first job of a step.
    pub(super) fn new(queue: String, step_name: &str, run_id: &str, flow_name: &str, input: Option<&str>) -> Job {
        let data = JobData {
            run_id: run_id.to_owned(),
            flow_name: flow_name.to_owned(),
            input: input.and_then(|input| RawValue::from_string(input.to_owned()).ok()),
            attempt: 1,
        };
        Job { queue, name: step_name.to_owned(), job_id: job_id(run_id, step_name, 0), data }
    }

    /// The jobs that a run should have in its queues now. Those that it has already do no harm.
    pub(super) fn owed(progress: &Progress) -> Vec<Job> {
        if progress.ending().is_some() {
            return Vec::new();
        }
        let is_owed = |name: &str, step: &RunStep| match step.phase {
            StepPhase::Completed | StepPhase::Failed => false,
            _ => !step.is_suspended || progress.wants_step(name),
        };
        let owed = progress.steps().filter(|(name, step)| is_owed(name, step));
        owed.filter_map(|(name, _)| Job::of(progress, name, None)).collect()
    }
}

/// `{runId}__{stepName}`, as in the original module; `@{n}` behind it after the n-th suspension. A colon
/// means something to BullMQ.
fn job_id(run_id: &str, step_name: &str, suspensions: u64) -> String {
    let run_id = run_id.replace('%', "%25").replace(':', "%3A");
    match suspensions {
        0 => format!("{run_id}__{step_name}"),
        n => format!("{run_id}__{step_name}@{n}"),
    }
}

/// One attempt at a step: `{runId}__{stepName}__attempt-{n}`, as in the original module.
pub(super) fn step_id(run_id: &str, step_name: &str, attempt: u64) -> String {
    format!("{run_id}__{step_name}__attempt-{attempt}")
}
