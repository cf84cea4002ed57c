//! An instance: a process that takes part, and what it offers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::version::{StepVersion, Strategy};

/// How long an instance may be silent that did not say how long.
pub(super) const DEFAULT_TIMEOUT_MS: u64 = 30_000;

/// What an instance is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// It was started, and has not said anything since.
    Starting,
    /// It gives signs of life.
    Healthy,
    /// It takes no new steps, and ends those that it has.
    Draining,
    /// It has been silent for longer than it said.
    Dead,
    /// It said good-bye.
    Left,
}

/// A step's place in its flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The flow begins with it.
    Entry,
    /// It follows others.
    #[default]
    Step,
}

/// A step that a worker runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepOffer {
    /// The flow.
    pub flow_name: String,
    /// The step.
    pub step_name: String,
    /// The job queue.
    pub queue: String,
    /// Its place in the flow.
    #[serde(default)]
    pub role: Role,
    /// What it runs on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribes: Vec<String>,
    /// What it may emit; `None`: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emits: Option<Vec<String>>,
    /// The version of its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl StepOffer {
    pub(super) fn version(&self) -> StepVersion {
        StepVersion::read(self.version.as_deref())
    }

    /// Whether it is the same step of the same flow, in whatever version.
    pub(super) fn is_same_step(&self, other: &StepOffer) -> bool {
        self.flow_name == other.flow_name && self.step_name == other.step_name
    }

    /// What differs from another offer of the same version, for a message.
    pub(super) fn difference(&self, other: &StepOffer) -> Option<&'static str> {
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names
        };
        let emits = |step: &StepOffer| step.emits.as_deref().map(sorted);
        [
            ("queue", self.queue != other.queue),
            ("role", self.role != other.role),
            ("subscribes", sorted(&self.subscribes) != sorted(&other.subscribes)),
            ("emits", emits(self) != emits(other)),
        ]
        .into_iter()
        .find_map(|(member, differs)| differs.then_some(member))
    }
}

/// A worker and what it offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerOffer {
    /// The job queue that it takes jobs from.
    pub queue: String,
    /// The flows that it works for, as far as it said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<String>,
    /// What it has handlers for: steps of any flow, or `flow/step`. `None`: it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handlers: Option<Vec<String>>,
    /// The steps, one for each flow and name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepOffer>,
}

impl WorkerOffer {
    /// Adds a step, or gives it other settings.
    pub fn put(&mut self, step: StepOffer) {
        match self.steps.iter_mut().find(|known| known.is_same_step(&step)) {
            Some(known) => *known = step,
            None => self.steps.push(step),
        }
    }

    /// Whether it says the same of itself, whatever its steps are.
    pub(super) fn is_same_worker(&self, other: &WorkerOffer) -> bool {
        self.queue == other.queue && self.flows == other.flows && self.handlers == other.handlers
    }
}

/// An instance as its events tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// When it was started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Its last sign of life.
    pub seen_ms: u64,
    /// How long it may be silent, if it said so; 0: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The version of its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Which runs of other versions it takes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub strategy: Strategy,
    /// Whether it said anything after it was started.
    #[serde(default)]
    pub is_ready: bool,
    /// Whether it takes no new steps.
    #[serde(default)]
    pub is_draining: bool,
    /// Whether it said good-bye.
    #[serde(default)]
    pub has_left: bool,
    /// For how long its event loop had not run when it said so last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_ms: Option<u64>,
    /// By their ids.
    #[serde(default)]
    pub workers: BTreeMap<String, WorkerOffer>,
}

fn is_default(strategy: &Strategy) -> bool {
    *strategy == Strategy::default()
}

impl Instance {
    pub(super) fn starting(at_ms: u64) -> Self {
        Instance { started_ms: at_ms, seen_ms: at_ms, ..Instance::default() }
    }

    /// Until when it may be silent.
    pub(super) fn expires_ms(&self) -> u64 {
        match self.timeout_ms {
            Some(0) => u64::MAX,
            timeout => self.seen_ms.saturating_add(timeout.unwrap_or(DEFAULT_TIMEOUT_MS)),
        }
    }

    /// What it is up to at an instant of the store's clock.
    pub fn state(&self, now_ms: u64) -> InstanceState {
        if self.has_left {
            InstanceState::Left
        } else if now_ms > self.expires_ms() {
            InstanceState::Dead
        } else if self.is_draining {
            InstanceState::Draining
        } else if self.is_ready {
            InstanceState::Healthy
        } else {
            InstanceState::Starting
        }
    }

    /// All its steps, with the ids of their workers.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&str, &StepOffer)> {
        self.workers.iter().flat_map(|(id, worker)| worker.steps.iter().map(move |step| (id.as_str(), step)))
    }
}
