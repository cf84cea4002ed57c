//! Who may take a step: code of a version that goes with that of its run.

use serde::Serialize;

use super::decide::{Decision, envelope};
use super::{FlowEngine, Object};
use crate::error::Result;
use crate::event::{Field, NewEvent};
use crate::run::Progress;
use crate::version::{StepVersion, Strategy};

/// The code of this engine's process.
#[derive(Debug, Clone, Default)]
pub(super) struct Code {
    pub(super) version: Option<String>,
    strategy: Strategy,
}

/// A step that is to be taken by a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The flow.
    pub flow_name: String,
    /// The step.
    pub step_name: String,
    /// Its queue.
    pub queue: String,
    /// The version of the code that it is to run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl FlowEngine {
    /// The engine of a process whose code has this version, and takes the runs of others as the strategy says.
    ///
    /// # Errors
    /// `Validation` for a version that is none.
    pub fn with_version(mut self, version: Option<String>, strategy: Strategy) -> Result<Self> {
        StepVersion::parse(version.as_deref())?;
        self.code = Code { version, strategy }.into();
        Ok(self)
    }

    /// Why a step is not for the code of this process.
    pub(super) fn unfit(&self, progress: &Progress, step_name: &str) -> Option<String> {
        // What others put into a queue says nothing of versions.
        progress.plan()?;
        let planned = self.plan(progress.flow_name()).ok();
        let planned = planned.as_ref().and_then(|plan| plan.steps.get(step_name)?.version.as_deref());
        let own = StepVersion::read(planned.or(self.code.version.as_deref()));
        let wanted = StepVersion::read(progress.version_of(step_name));
        if own.goes_with(&wanted, self.code.strategy) {
            return None;
        }
        let shown = |version: StepVersion| version.to_text().unwrap_or_else(|| "none".into());
        Some(format!(
            "The step {step_name} of the run {} is to run in version {}, and the version here is {}.",
            progress.run_id(),
            shown(wanted),
            shown(own)
        ))
    }

    /// The steps of a run that are to be taken by a worker.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn waiting(&self, run_id: &str) -> Result<Vec<Waiting>> {
        self.look(run_id, |progress| {
            let queue = |name: &str| Some(progress.plan()?.steps.get(name)?.queue.clone());
            let waiting = progress.waiting().filter_map(|(name, _)| {
                Some(Waiting {
                    flow_name: progress.flow_name().to_owned(),
                    step_name: name.to_owned(),
                    queue: queue(name)?,
                    version: progress.version_of(name).map(str::to_owned),
                })
            });
            waiting.collect()
        })
        .await
    }

    /// Records that nobody can take a step. False: it waits for nobody any more, or this is recorded.
    ///
    /// # Errors
    /// Those of reading and appending.
    pub async fn unavailable(&self, run_id: &str, step_name: &str, reason: &str) -> Result<bool> {
        self.decide(run_id, |progress| {
            let is_new = progress.waiting().any(|(name, step)| name == step_name && !step.is_unavailable);
            let queue = progress.plan().and_then(|plan| plan.steps.get(step_name)).map(|step| &*step.queue);
            let Some(queue) = queue.filter(|_| is_new) else { return Ok(Decision::Nothing(false)) };
            let data =
                Object::new().text("reason", reason).maybe_text("version", progress.version_of(step_name)).done();
            let event = NewEvent::new("queue.unavailable").with_envelope(&envelope(progress, Some(step_name)));
            Ok(Decision::Record(vec![event.with(Field::Queue, queue).with_data(data)], true))
        })
        .await
    }
}
