//! What the registry says when it is asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::board::Board;
use super::instance::{Instance, InstanceState, Role, StepOffer, WorkerOffer};
use crate::event::format_time;
use crate::version::{StepVersion, Strategy};

/// An instance, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    /// Its id.
    pub instance_id: String,
    /// What it is up to.
    pub state: InstanceState,
    /// When it was started, ISO 8601.
    pub started_at: String,
    /// Its last sign of life, ISO 8601.
    pub last_seen: String,
    /// The queues that its workers take jobs from, sorted.
    pub queues: Vec<String>,
    /// The version of its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// For how long its event loop had not run, if it is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_ms: Option<u64>,
}

/// A worker, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerView {
    /// Its id.
    pub worker_id: String,
    /// Its instance.
    pub instance_id: String,
    /// What its instance is up to.
    pub state: InstanceState,
    /// Its queue.
    pub queue: String,
    /// The flows that it works for, sorted.
    pub flows: Vec<String>,
    /// The steps that it registered.
    pub steps: Vec<StepOffer>,
}

/// What a flow's entry is, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    /// The step.
    pub step: String,
    /// Its queue.
    pub queue: String,
    /// A worker that runs it.
    pub worker_id: String,
    /// The instance of that worker.
    pub instance_id: String,
    /// The version of its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A step of a flow, in the version that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Its queue.
    pub queue: String,
    /// Its place in the flow.
    pub role: Role,
    /// What it runs on.
    pub subscribes: Vec<String>,
    /// What it may emit; left out: anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emits: Option<Vec<String>>,
    /// The version of its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A worker that runs it.
    pub worker_id: String,
    /// The instance of that worker.
    pub instance_id: String,
    /// All instances that run it in this version, sorted.
    pub instances: Vec<String>,
    /// All versions in which it is offered, the newest first.
    pub versions: Vec<String>,
}

/// A flow, put together from the steps that instances offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowView {
    /// Where it begins, if somebody offers that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryView>,
    /// Its steps by name.
    pub steps: BTreeMap<String, StepView>,
    /// All versions in which its steps are offered, the newest first.
    pub versions: Vec<String>,
    /// The instances that run its steps, sorted.
    pub instances: Vec<String>,
    /// Whether all of these are healthy.
    pub all_healthy: bool,
}

/// Which version of a flow is asked for.
#[derive(Debug, Clone, Default)]
pub struct FlowChoice {
    /// The version; left out: the newest.
    pub version: Option<StepVersion>,
    /// Which others will do.
    pub strategy: Strategy,
}

/// A step that has to be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Required {
    /// The step.
    pub step_name: String,
    /// Its queue.
    pub queue: String,
}

/// An offer of a step.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    instance_id: &'a str,
    worker_id: &'a str,
    step: &'a StepOffer,
    state: InstanceState,
}

impl Candidate<'_> {
    fn is_alive(&self) -> bool {
        !matches!(self.state, InstanceState::Dead | InstanceState::Left)
    }
}

fn newest_first(versions: impl Iterator<Item = StepVersion>) -> Vec<String> {
    let versions: BTreeSet<StepVersion> = versions.collect();
    versions.iter().rev().filter_map(StepVersion::to_text).collect()
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
}

impl WorkerOffer {
    fn all_flows(&self) -> Vec<String> {
        sorted(self.flows.iter().chain(self.steps.iter().map(|step| &step.flow_name)).map(String::as_str))
    }

    /// The version in which it would run a step.
    fn version_of(&self, flow_name: &str, step_name: &str, instance: &Instance) -> StepVersion {
        let offer = self.steps.iter().find(|step| step.flow_name == flow_name && step.step_name == step_name);
        offer.map_or_else(|| StepVersion::read(instance.version.as_deref()), StepOffer::version)
    }

    /// Whether it would take a job of this step, as far as it said.
    fn takes(&self, flow_name: &str, step: &Required) -> bool {
        let has_handler = |handlers: &Vec<String>| {
            let is_of_flow = |handler: &str| handler.split_once('/') == Some((flow_name, step.step_name.as_str()));
            handlers.iter().any(|handler| *handler == step.step_name || is_of_flow(handler))
        };
        let offers = || self.steps.iter().any(|own| own.flow_name == flow_name && own.step_name == step.step_name);
        self.queue == step.queue && (self.handlers.as_ref().is_some_and(has_handler) || offers())
    }
}

impl Board {
    fn states(&self, now_ms: u64) -> impl Iterator<Item = (&str, &Instance, InstanceState)> {
        self.instances.iter().map(move |(id, instance)| (id.as_str(), instance, instance.state(now_ms)))
    }

    pub(super) fn instances(&self, now_ms: u64) -> Vec<InstanceView> {
        let view = |(id, instance, state): (&str, &Instance, InstanceState)| InstanceView {
            instance_id: id.to_owned(),
            state,
            started_at: format_time(instance.started_ms),
            last_seen: format_time(instance.seen_ms),
            queues: sorted(instance.workers.values().map(|worker| worker.queue.as_str())),
            version: instance.version.clone(),
            blocked_ms: instance.blocked_ms.filter(|_| state != InstanceState::Dead),
        };
        self.states(now_ms).map(view).collect()
    }

    pub(super) fn workers(&self, now_ms: u64) -> Vec<WorkerView> {
        let of = |(id, instance, state): (&str, &Instance, InstanceState)| {
            let view = |(worker_id, worker): (&String, &WorkerOffer)| WorkerView {
                worker_id: worker_id.clone(),
                instance_id: id.to_owned(),
                state,
                queue: worker.queue.clone(),
                flows: worker.all_flows(),
                steps: worker.steps.clone(),
            };
            instance.workers.iter().map(view).collect::<Vec<_>>()
        };
        self.states(now_ms).flat_map(of).collect()
    }

    pub(super) fn healthy(&self, now_ms: u64) -> Vec<String> {
        let healthy = self.states(now_ms).filter(|(.., state)| *state == InstanceState::Healthy);
        healthy.map(|(id, ..)| id.to_owned()).collect()
    }

    /// The healthy instances that take jobs from a queue.
    pub(super) fn handlers(&self, queue: &str, now_ms: u64) -> Vec<String> {
        let takes = |instance: &Instance| instance.workers.values().any(|worker| worker.queue == queue);
        let healthy =
            self.states(now_ms).filter(|(_, instance, state)| *state == InstanceState::Healthy && takes(instance));
        healthy.map(|(id, ..)| id.to_owned()).collect()
    }

    /// All offers of the steps of a flow, by step. A dead instance counts only where nobody else offers a step.
    fn candidates(&self, flow_name: &str, now_ms: u64) -> BTreeMap<&str, Vec<Candidate<'_>>> {
        let mut found: BTreeMap<&str, Vec<Candidate<'_>>> = BTreeMap::new();
        for (instance_id, instance, state) in self.states(now_ms) {
            for (worker_id, step) in instance.steps().filter(|(_, step)| step.flow_name == flow_name) {
                let candidate = Candidate { instance_id, worker_id, step, state };
                found.entry(&step.step_name).or_default().push(candidate);
            }
        }
        for candidates in found.values_mut() {
            if candidates.iter().any(Candidate::is_alive) {
                candidates.retain(Candidate::is_alive);
            }
        }
        found
    }

    /// A flow as its steps are offered; `None`: nobody offers any in such a version.
    pub(super) fn flow(&self, name: &str, choice: &FlowChoice, now_ms: u64) -> Option<FlowView> {
        let candidates = self.candidates(name, now_ms);
        let versions = || candidates.values().flatten().map(|candidate| candidate.step.version());
        let wanted = choice.version.clone().or_else(|| match choice.strategy {
            // One version for all steps.
            Strategy::Strict => versions().max(),
            Strategy::Latest | Strategy::Mixed => None,
        });
        let mut flow = FlowView {
            entry: None,
            steps: BTreeMap::new(),
            versions: newest_first(versions()),
            instances: Vec::new(),
            all_healthy: true,
        };
        let mut instances = BTreeSet::new();
        for (step_name, candidates) in &candidates {
            let Some(chosen) = choose(candidates, wanted.as_ref(), choice.strategy) else { continue };
            let first = chosen.iter().min_by_key(|candidate| candidate.state != InstanceState::Healthy);
            let Some(first) = first else { continue };
            for candidate in &chosen {
                flow.all_healthy &= candidate.state == InstanceState::Healthy;
                instances.insert(candidate.instance_id);
            }
            if first.step.role == Role::Entry {
                flow.entry = Some(first.entry());
            }
            let versions = newest_first(candidates.iter().map(|candidate| candidate.step.version()));
            flow.steps.insert((*step_name).to_owned(), first.view(&chosen, versions));
        }
        flow.instances = sorted(instances.into_iter());
        (!flow.steps.is_empty()).then_some(flow)
    }

    /// What keeps a flow from running, in words; nothing: it can run.
    pub(super) fn missing(&self, name: &str, required: &[Required], now_ms: u64) -> Vec<String> {
        let flow = self.flow(name, &FlowChoice::default(), now_ms);
        let mut missing = Vec::new();
        if flow.is_none() && required.is_empty() {
            missing.push("no instance has registered a step of it".to_owned());
        }
        if flow.as_ref().is_some_and(|flow| flow.entry.is_none()) {
            missing.push("no instance has registered its entry".to_owned());
        }
        let offered = flow
            .iter()
            .flat_map(|flow| &flow.steps)
            .map(|(step_name, step)| Required { step_name: step_name.clone(), queue: step.queue.clone() });
        let required: BTreeSet<Required> = offered.chain(required.iter().cloned()).collect();
        for step in required.iter().filter(|step| !self.can_take(name, step, now_ms)) {
            missing.push(format!("no healthy instance takes step \"{}\" of queue \"{}\"", step.step_name, step.queue));
        }
        missing
    }

    /// Whether a healthy instance would take a job of a step, whatever version it has.
    pub(super) fn can_take(&self, flow_name: &str, step: &Required, now_ms: u64) -> bool {
        let mut healthy = self.states(now_ms).filter(|(.., state)| *state == InstanceState::Healthy);
        healthy.any(|(_, instance, _)| instance.workers.values().any(|worker| worker.takes(flow_name, step)))
    }

    /// Why no healthy instance would take a step that is to run in a version, in words.
    pub(super) fn unavailable(
        &self,
        flow_name: &str,
        step: &Required,
        version: &StepVersion,
        now_ms: u64,
    ) -> Option<String> {
        let Required { step_name, queue } = step;
        let healthy = self.states(now_ms).filter(|(.., state)| *state == InstanceState::Healthy);
        let mut others = BTreeSet::new();
        for (id, instance, _) in healthy {
            for worker in instance.workers.values().filter(|worker| worker.takes(flow_name, step)) {
                let own = worker.version_of(flow_name, step_name, instance);
                if own.goes_with(version, instance.strategy) {
                    return None;
                }
                others.insert(format!("{id} ({})", own.to_text().unwrap_or_else(|| "none".into())));
            }
        }
        let others: Vec<String> = others.into_iter().collect();
        Some(match others.as_slice() {
            [] => format!("no healthy instance takes step \"{step_name}\" of queue \"{queue}\""),
            others => format!(
                "step \"{step_name}\" of queue \"{queue}\" is to run in version {}, which goes with none of those that healthy instances have: {}",
                version.to_text().unwrap_or_else(|| "none".into()),
                others.join(", ")
            ),
        })
    }

    /// An offer of a living instance that is otherwise, although it has the same version: who has it, and what differs.
    pub(super) fn clash(&self, own: &str, step: &StepOffer, now_ms: u64) -> Option<(&str, &'static str)> {
        let version = step.version.is_some().then(|| step.version())?;
        let alive = self
            .states(now_ms)
            .filter(|(id, _, state)| *id != own && !matches!(state, InstanceState::Dead | InstanceState::Left));
        let mut others = alive.flat_map(|(id, instance, _)| instance.steps().map(move |(_, step)| (id, step)));
        others.find_map(|(id, other)| {
            let is_rival = other.is_same_step(step) && other.version() == version;
            Some((id, other.difference(step)?)).filter(|_| is_rival)
        })
    }
}

/// The offers in the version that is the right one.
fn choose<'a>(
    candidates: &[Candidate<'a>],
    wanted: Option<&StepVersion>,
    strategy: Strategy,
) -> Option<Vec<Candidate<'a>>> {
    let versions = candidates.iter().map(|candidate| candidate.step.version());
    let fitting = versions.filter(|version| wanted.is_none_or(|wanted| version.goes_with(wanted, strategy)));
    // Any version may do what another one began; the very same is the better choice.
    let rank = |version: &StepVersion| (strategy == Strategy::Mixed && Some(version) == wanted, version.clone());
    let best = fitting.max_by_key(rank)?;
    Some(candidates.iter().filter(|candidate| candidate.step.version() == best).copied().collect())
}

impl Candidate<'_> {
    fn entry(&self) -> EntryView {
        EntryView {
            step: self.step.step_name.clone(),
            queue: self.step.queue.clone(),
            worker_id: self.worker_id.to_owned(),
            instance_id: self.instance_id.to_owned(),
            version: self.step.version.clone(),
        }
    }

    fn view(&self, chosen: &[Candidate<'_>], versions: Vec<String>) -> StepView {
        StepView {
            queue: self.step.queue.clone(),
            role: self.step.role,
            subscribes: self.step.subscribes.clone(),
            emits: self.step.emits.clone(),
            version: self.step.version.clone(),
            worker_id: self.worker_id.to_owned(),
            instance_id: self.instance_id.to_owned(),
            instances: sorted(chosen.iter().map(|candidate| candidate.instance_id)),
            versions,
        }
    }
}
