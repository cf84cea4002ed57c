//! Chains: runs that belong together, as one led to the other. All carry one `correlationId`: that of
//! what started the first of them, or the first one's own id.

use uuid::Uuid;

use super::FlowEngine;
use crate::error::Result;
use crate::event::{Envelope, Field, NewEvent};
use crate::run::RunStatus;

/// Names the scores of chains, so that they are no others'.
const CHAINS: Uuid = Uuid::from_u128(0x0f6b_5d9c_2a51_4b0e_9d43_7c1e_88a0_6f2d);

impl FlowEngine {
    /// The runs of a chain, in the order in which they began.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn chain(&self, correlation_id: &str) -> Result<Vec<RunStatus>> {
        let mut run_ids = self.store.index_at(&self.chains(), score(correlation_id)).await?;
        // The first one, if the chain has its name.
        run_ids.push(correlation_id.to_owned());
        let mut runs = Vec::new();
        for run_id in run_ids {
            let run = self.status(&run_id).await?;
            // Two chains may have one score, and a run may have expired.
            runs.extend(run.filter(|run| run.correlation_id.as_deref() == Some(correlation_id)));
        }
        // Those of one millisecond may come in any order, but for the first.
        runs.sort_by_cached_key(|run| (run.started_at.clone(), run.run_id != correlation_id, run.run_id.clone()));
        Ok(runs)
    }

    /// Puts a run into the index of chains, ahead of what comes. The first run of a chain that has its name
    /// is found without.
    pub(super) fn join_chain(&self, run_id: &str, correlation_id: &str) {
        if run_id != correlation_id {
            self.store.index_add_ahead(self.chains(), run_id.to_owned(), score(correlation_id));
        }
    }

    /// The index of the runs of chains: a run's score is its chain's.
    fn chains(&self) -> String {
        format!("{}:chains", self.store.prefix())
    }
}

/// A whole number that a score can hold, mostly unlike that of any other chain.
fn score(correlation_id: &str) -> f64 {
    (Uuid::new_v5(&CHAINS, correlation_id.as_bytes()).as_u64_pair().0 >> 12) as f64
}

/// The event, with what it has to do with others.
pub(super) fn related(event: NewEvent, correlation_id: Option<&str>, causation_id: Option<&str>) -> NewEvent {
    let mut envelope = Envelope::default();
    for (field, value) in [(Field::CorrelationId, correlation_id), (Field::CausationId, causation_id)] {
        if let Some(value) = value {
            envelope.set(field, value);
        }
    }
    event.with_envelope(&envelope)
}
