//! Runs that a person starts, or doesn't, after a trigger fired.

use super::history::StartedRun;
use super::{PendingStart, TriggerEngine};
use crate::error::{Code, Error, Result};
use crate::event::{Field, NewEvent};
use crate::flow::{Job, Object};
use crate::store::AppendOptions;

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
        let (run, jobs) = self.start_run(name, &recorded, flow_name).await?;
        let data = Object::new().text("fireId", fire_id).text("flowName", flow_name).text("runId", &run.run_id);
        self.end_pending(name, "trigger.started", data.maybe_text("userId", user_id)).await?;
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
        let data = Object::new().text("fireId", fire_id).text("flowName", flow_name);
        let data = data.maybe_text("userId", user_id).maybe_text("reason", reason);
        self.end_pending(&start.trigger_name, "trigger.dismissed", data).await
    }

    async fn find_pending(&self, fire_id: &str, flow_name: &str) -> Result<PendingStart> {
        let starts = self.pending().await?;
        let found = starts.into_iter().find(|start| start.fire_id == fire_id && start.flow_name == flow_name);
        found.ok_or_else(|| {
            let message =
                format!("No run of {flow_name:?} waits to be started for the firing {fire_id:?}, or not any more.");
            Error::new(Code::NotFound, message)
        })
    }

    async fn end_pending(&self, name: &str, event_type: &str, data: Object) -> Result<()> {
        let event = NewEvent::new(event_type).with(Field::TriggerName, name).with_data(data.done());
        let store = self.flows.store();
        let recorded = store.append(&self.stream_of(name), event.clone(), AppendOptions::default());
        let told = store.append(&self.flows.triggers(), event, AppendOptions::default());
        recorded.await?;
        told.await?;
        self.catch_up().await
    }
}
