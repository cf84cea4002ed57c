//! What a run is doing, folded from its events alone, so that everyone who asks gets one answer.

use std::collections::BTreeMap;

use serde::Serialize;

use super::progress::{Progress, Record};
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
    /// What it belongs together with: the same for all runs of a chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The id of what led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// Where it stands in a distributed trace, as a W3C `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The version of the code that it is to run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
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
    if records.is_empty() {
        return Err(Error::new(Code::Validation, "There are no events; a run has at least one."));
    }
    let mut progress = Progress::default();
    records.iter().for_each(|record| progress.take(record));
    Ok(progress.status())
}
