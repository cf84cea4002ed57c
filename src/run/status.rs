//! What a run is doing, folded from its events alone, so that everyone who asks gets one answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::state::Members;

use crate::error::{Code, Error, Result};

/// The status of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// The run.
    pub run_id: String,
    /// Its flow.
    pub flow_name: String,
    /// What it is doing.
    pub status: Status,
    /// When it began, ISO 8601.
    pub started_at: String,
    /// When it ended, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The trigger that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triggered_by: Option<String>,
    /// Its steps by name.
    pub steps: BTreeMap<String, StepStatus>,
    /// What it waits for, oldest first.
    pub awaits: Vec<OpenAwait>,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A step runs or is about to.
    #[default]
    Running,
    /// Nothing runs, something is awaited.
    Awaiting,
    /// It ended well.
    Completed,
    /// It ended with an error.
    Failed,
    /// Someone ended it.
    Canceled,
    /// A step has not been heard of for too long.
    Stalled,
}

/// A step of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// What the step is doing.
    pub status: StepPhase,
    /// How often it was tried.
    pub attempt: u64,
    /// When its present attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Its last error, until it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a step is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepPhase {
    /// It is about to run.
    #[default]
    Queued,
    /// It runs.
    Running,
    /// It waits.
    Paused,
    /// It ended well.
    Completed,
    /// It ended with an error.
    Failed,
    /// It will be tried again.
    Retrying,
}

/// Something that a run waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAwait {
    /// Its id.
    pub await_id: String,
    /// The trigger that ends it.
    pub trigger_name: String,
    /// The step that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_name: Option<String>,
    /// Since when, ISO 8601.
    pub since: String,
    /// Until when, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    run_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    flow_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    step_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    attempt: Option<&'a RawValue>,
    #[serde(borrow)]
    trigger_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Record<'_> {
    /// A text in the data. Only what is asked for is read: anything else may stand beside it.
    fn text(&self, name: &str) -> Option<String> {
        let Members(members) = serde_json::from_str(self.data?.get()).ok()?;
        let (_, value) = members.into_iter().rfind(|(key, _)| key == name)?;
        serde_json::from_str(value.get()).ok()
    }

    fn attempt(&self) -> Option<u64> {
        self.attempt?.get().parse().ok()
    }

    fn at(&self) -> String {
        self.timestamp.as_deref().unwrap_or_default().to_owned()
    }
}

/// Folds the events of a run, a JSON array of records, into its status.
///
/// # Errors
/// `Validation` if the text is not an array of records, or an empty one.
///
/// ```
/// let events = r#"[{"id":"1-0","timestamp":"1970-01-01T00:00:00.001Z","type":"flow.started","runId":"r","flowName":"f"}]"#;
/// let status = nuxt_queue_core::run::reduce_run(events).unwrap();
/// assert_eq!(status.run_id, "r");
/// ```
pub fn reduce_run(events: &str) -> Result<RunStatus> {
    let malformed = |error| {
        Error::new(Code::Validation, "The events of a run have to be an array of records with a type.").caused_by(error)
    };
    let records: Vec<Record> = serde_json::from_str(events).map_err(malformed)?;
    let first =
        records.first().ok_or_else(|| Error::new(Code::Validation, "There are no events; a run has at least one."))?;
    let mut status = RunStatus { started_at: first.at(), ..RunStatus::default() };
    records.iter().for_each(|record| status.take(record));
    status.conclude();
    Ok(status)
}

impl RunStatus {
    fn take(&mut self, record: &Record<'_>) {
        fill(&mut self.run_id, record.run_id.as_deref());
        fill(&mut self.flow_name, record.flow_name.as_deref());
        match &*record.event_type {
            "flow.started" | "flow.start" => {
                self.started_at = record.at();
                self.triggered_by = record.text("triggeredBy");
            }
            "flow.completed" => self.end(Status::Completed, record),
            "flow.failed" => self.end(Status::Failed, record),
            "flow.canceled" => self.end(Status::Canceled, record),
            "flow.stalled" if self.ended_at.is_none() => self.status = Status::Stalled,
            "trigger.awaiting" => self.open_await(record),
            "trigger.fired" | "trigger.resolved" | "trigger.timeout" | "trigger.canceled" => self.close_await(record),
            other => {
                if let Some(phase) = other.strip_prefix("flow.").unwrap_or(other).strip_prefix("step.") {
                    self.take_step(phase, record);
                }
            }
        }
    }

    /// The first end counts.
    fn end(&mut self, status: Status, record: &Record<'_>) {
        if self.ended_at.is_none() {
            self.status = status;
            self.ended_at = Some(record.at());
        }
    }

    fn take_step(&mut self, phase: &str, record: &Record<'_>) {
        let Some(name) = record.step_name.as_deref() else { return };
        let phase = match phase {
            "started" => StepPhase::Running,
            "completed" => StepPhase::Completed,
            "failed" => StepPhase::Failed,
            "retry" => StepPhase::Retrying,
            "paused" => StepPhase::Paused,
            "resumed" => StepPhase::Running,
            _ => return,
        };
        if self.status == Status::Stalled {
            self.status = Status::Running;
        }
        if &*record.event_type == "flow.step.resumed" {
            self.close_await(record);
        }
        let step = self.steps.entry(name.to_owned()).or_default();
        let begins = record.event_type.ends_with(".started");
        step.attempt = record.attempt().unwrap_or(if begins { step.attempt + 1 } else { step.attempt.max(1) });
        step.status = phase;
        step.ended_at = matches!(phase, StepPhase::Completed | StepPhase::Failed).then(|| record.at());
        step.error = record.text("error").filter(|_| matches!(phase, StepPhase::Failed | StepPhase::Retrying));
        if begins {
            step.started_at = Some(record.at());
        }
    }

    fn open_await(&mut self, record: &Record<'_>) {
        self.awaits.push(OpenAwait {
            await_id: record.text("awaitId").or_else(|| record.id.as_deref().map(str::to_owned)).unwrap_or_default(),
            trigger_name: record
                .trigger_name
                .as_deref()
                .map(str::to_owned)
                .or_else(|| record.text("triggerName"))
                .unwrap_or_default(),
            step_name: record.step_name.as_deref().map(str::to_owned),
            since: record.at(),
            deadline: record.text("deadline"),
        });
    }

    /// By the id of the await where the event names it, otherwise by its trigger.
    fn close_await(&mut self, record: &Record<'_>) {
        match (record.text("awaitId"), record.trigger_name.as_deref()) {
            (Some(id), _) => self.awaits.retain(|open| open.await_id != id),
            (None, Some(trigger)) => self.awaits.retain(|open| open.trigger_name != trigger),
            (None, None) => {}
        }
    }

    fn conclude(&mut self) {
        if self.ended_at.is_some() {
            self.awaits.clear();
        }
        let active = self.steps.values().any(|step| matches!(step.status, StepPhase::Running | StepPhase::Retrying));
        if self.status == Status::Running && !self.awaits.is_empty() && !active {
            self.status = Status::Awaiting;
        }
    }
}

fn fill(field: &mut String, value: Option<&str>) {
    if field.is_empty() {
        field.push_str(value.unwrap_or_default());
    }
}
