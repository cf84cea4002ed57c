//! Runs that a person starts, or doesn't, after a trigger fired.

use serde::Deserialize;

use super::firing::run_id;
use super::history::StartedRun;
use super::{PendingStart, TriggerEngine};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Field, NewEvent};
use crate::flow::{Job, Object};
use crate::store::{AppendOptions, Query};

const STARTED: &str = "trigger.started";
const DISMISSED: &str = "trigger.dismissed";

impl TriggerEngine {
    /// The runs that wait for a person, oldest first.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn pending(&self) -> Result<Vec<PendingStart>> {
        self.catch_up().await?;
        Ok(self.known().board.starts().cloned().collect())
    }

    /// Starts a run that waits for a person. A second call finds the first's run.
    ///
    /// # Errors
    /// `NotFound` if no such run waits, and those of [`crate::flow::FlowEngine::start`].
    pub async fn start_pending(
        &self,
        fire_id: &str,
        flow_name: &str,
        user_id: Option<&str>,
    ) -> Result<(StartedRun, Vec<Job>)> {
        let start = self.find_pending(fire_id, flow_name).await?;
        let name = &start.trigger_name;
        let Some((recorded, _)) = self.find_recorded(name, fire_id).await? else {
            return Err(Error::new(Code::NotFound, format!("The firing {fire_id:?} is not kept any more.")));
        };
        let seen = self.known().last;
        let (run, jobs) = self.start_run(name, &recorded, flow_name).await?;
        let data = Object::new().text("fireId", fire_id).text("flowName", flow_name).text("runId", &run.run_id);
        let is_first = self.end_pending(&start, STARTED, data.maybe_text("userId", user_id)).await?;
        if !is_first && self.was_dismissed(&start, seen).await? {
            // Nobody has its jobs yet.
            self.flows.cancel(&run.run_id, Some("it was dismissed")).await?;
            return Err(not_pending(fire_id, flow_name));
        }
        Ok((run, jobs))
    }

    /// Lets a run that waits for a person never start.
    ///
    /// # Errors
    /// `NotFound` if no such run waits, and those of appending.
    pub async fn dismiss(
        &self,
        fire_id: &str,
        flow_name: &str,
        user_id: Option<&str>,
        reason: Option<&str>,
    ) -> Result<()> {
        let start = self.find_pending(fire_id, flow_name).await?;
        let data = || Object::new().text("fireId", fire_id).text("flowName", flow_name);
        let run_id = run_id(fire_id, flow_name);
        if self.flows.status(&run_id).await?.is_some() {
            // Whoever started it did not come to say so.
            self.end_pending(&start, STARTED, data().text("runId", &run_id)).await?;
            return Err(not_pending(fire_id, flow_name));
        }
        let data = data().maybe_text("userId", user_id).maybe_text("reason", reason);
        match self.end_pending(&start, DISMISSED, data).await? {
            true => Ok(()),
            false => Err(not_pending(fire_id, flow_name)),
        }
    }

    async fn find_pending(&self, fire_id: &str, flow_name: &str) -> Result<PendingStart> {
        let starts = self.pending().await?;
        let found = starts.into_iter().find(|start| start.fire_id == fire_id && start.flow_name == flow_name);
        found.ok_or_else(|| not_pending(fire_id, flow_name))
    }

    /// Records what became of a run that waits. False: somebody else did before.
    async fn end_pending(&self, start: &PendingStart, event_type: &str, data: Object) -> Result<bool> {
        let event = NewEvent::new(event_type).with(Field::TriggerName, &start.trigger_name).with_data(data.done());
        let is_first = self.change(|known| {
            let is_there = known.board.starts().any(|known| known == start);
            Ok((if is_there { vec![event.clone()] } else { Vec::new() }, is_there))
        });
        let is_first = is_first.await?;
        if is_first {
            let stream = self.stream_of(&start.trigger_name);
            self.flows.store().append(&stream, event.clone(), AppendOptions::default()).await?;
        }
        Ok(is_first)
    }

    /// Whether a run that waited up to this event was dismissed then, and not started.
    async fn was_dismissed(&self, start: &PendingStart, after: EventId) -> Result<bool> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Ended {
            fire_id: String,
            flow_name: String,
        }
        let types = [STARTED, DISMISSED].map(str::to_owned).to_vec();
        let query = Query { types, after: Some(after), ..Query::stream(self.flows.triggers()) };
        let events = match self.flows.store().query(query).await {
            // The run goes on, as it was started.
            Err(error) if error.code() == Code::Trimmed => return Ok(false),
            events => events?,
        };
        let first = events.iter().find(|event| {
            let ended: Option<Ended> = event.data.and_then(|data| serde_json::from_str(data).ok());
            ended.is_some_and(|ended| ended.fire_id == start.fire_id && ended.flow_name == start.flow_name)
        });
        Ok(first.is_some_and(|event| event.event_type == DISMISSED))
    }
}

fn not_pending(fire_id: &str, flow_name: &str) -> Error {
    let message = format!("No run of {flow_name:?} waits to be started for the firing {fire_id:?}, or not any more.");
    Error::new(Code::NotFound, message)
}
