//! The events that an instance writes about itself.

use serde::Serialize;

use super::RegistryOptions;
use super::instance::{Role, StepOffer, WorkerOffer};
use crate::event::{Field, NewEvent};
use crate::version::Strategy;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StartedData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<Strategy>,
    heartbeat_timeout: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeartbeatData {
    blocked_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerData<'a> {
    queue: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    flows: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    handlers: Option<&'a [String]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepData<'a> {
    queue: &'a str,
    role: Role,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    subscribes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    emits: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

fn with(event: NewEvent, data: &impl Serialize) -> NewEvent {
    event.with_data(serde_json::to_string(data).unwrap_or_default())
}

fn of(instance_id: &str, event_type: &str) -> NewEvent {
    NewEvent::new(event_type).with(Field::InstanceId, instance_id)
}

pub(super) fn started(options: &RegistryOptions) -> NewEvent {
    let RegistryOptions { instance_id, version, strategy, heartbeat_timeout_ms: heartbeat_timeout, .. } = options;
    let strategy = Some(*strategy).filter(|strategy| *strategy != Strategy::default());
    let data = StartedData { version: version.as_deref(), strategy, heartbeat_timeout: *heartbeat_timeout };
    with(of(instance_id, "instance.started"), &data)
}

/// A sign of life. There is one every few seconds: it says nothing that is said elsewhere.
pub(super) fn heartbeat(instance_id: &str, blocked_ms: Option<u64>) -> NewEvent {
    let event = of(instance_id, "instance.heartbeat");
    match blocked_ms {
        Some(blocked_ms) => with(event, &HeartbeatData { blocked_ms }),
        None => event,
    }
}

pub(super) fn draining(instance_id: &str) -> NewEvent {
    of(instance_id, "instance.draining")
}

pub(super) fn shutdown(instance_id: &str) -> NewEvent {
    of(instance_id, "instance.shutdown")
}

fn of_worker(instance_id: &str, worker_id: &str, event_type: &str) -> NewEvent {
    of(instance_id, event_type).with(Field::WorkerId, worker_id)
}

pub(super) fn worker_registered(instance_id: &str, worker_id: &str, worker: &WorkerOffer) -> NewEvent {
    let data = WorkerData { queue: &worker.queue, flows: &worker.flows, handlers: worker.handlers.as_deref() };
    with(of_worker(instance_id, worker_id, "worker.registered"), &data)
}

pub(super) fn worker_deregistered(instance_id: &str, worker_id: &str) -> NewEvent {
    of_worker(instance_id, worker_id, "worker.deregistered")
}

pub(super) fn step_registered(instance_id: &str, worker_id: &str, step: &StepOffer) -> NewEvent {
    let event = of_worker(instance_id, worker_id, "flow.step.registered")
        .with(Field::FlowName, &step.flow_name)
        .with(Field::StepName, &step.step_name);
    let StepOffer { queue, role, subscribes, emits, version, .. } = step;
    with(event, &StepData { queue, role: *role, subscribes, emits: emits.as_deref(), version: version.as_deref() })
}
