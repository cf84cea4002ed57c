//! Firings under way: noted before they are recorded, and finished by whoever is there if their owner is not.

use uuid::Uuid;

use super::history::FiringStatus;
use super::recorded::Recorded;
use super::{Due, Outcome, SKEW_MS, TriggerEngine, is_of_one_run};
use crate::error::Result;
use crate::event::parse_time;
use crate::store::Query;

/// How many unfinished firings are looked at in one go.
const MOST_UNFINISHED: usize = 1_000;
/// A note of a firing that was never recorded is kept for so long: its append may still be under way.
const FORGET_MS: u64 = 120_000;

impl TriggerEngine {
    fn unfinished(&self) -> String {
        format!("{}:firings", self.flows.store().prefix())
    }

    /// Finishes what someone fired so many milliseconds ago and did not finish.
    ///
    /// # Errors
    /// Those of reading and appending.
    pub async fn finish_firings(&self, older_than_ms: u64) -> Result<Due> {
        self.catch_up().await?;
        let store = self.flows.store();
        let before = store.now_ms().saturating_sub(older_than_ms) as f64;
        let mut due = Due::default();
        for note in store.index_due(&self.unfinished(), before, MOST_UNFINISHED).await? {
            match self.finish(&note).await {
                Err(error) if is_of_one_run(&error) => {
                    tracing::warn!(note, %error, "a firing could not be finished; this is tried again");
                }
                outcome => {
                    let (_, name) = note.split_once('@').unwrap_or_default();
                    due.extend(name, outcome?);
                }
            }
        }
        due.next_ms = self.next_deadline();
        Ok(due)
    }

    async fn finish(&self, note: &str) -> Result<Outcome> {
        let Some((fire_id, name)) = note.split_once('@') else { return Ok(Outcome::default()) };
        let Some((recorded, is_waiting)) = self.find_recorded(name, fire_id).await? else {
            // It was never recorded, or it is about to be.
            if issued_ms(fire_id).is_none_or(|ms| ms + FORGET_MS < self.flows.store().now_ms()) {
                self.firing_done(name, fire_id).await?;
            }
            return Ok(Outcome::default());
        };
        if is_waiting && recorded.scheduled.is_some() {
            return self.announce_queued(name, &recorded).await;
        }
        if is_waiting {
            let due_ms = recorded.due.as_deref().and_then(parse_time).unwrap_or_default();
            return self.hold(name, &recorded, due_ms).await;
        }
        match self.firing(name, fire_id, recorded.at).await? {
            Some(known) if known.status == FiringStatus::Processed => {
                self.firing_done(name, fire_id).await?;
                Ok(Outcome::default())
            }
            known => self.resume(name, recorded, known).await,
        }
    }

    /// A firing's event, and whether it waits to be quiet.
    pub(super) async fn find_recorded(&self, name: &str, fire_id: &str) -> Result<Option<(Recorded, bool)>> {
        let from = issued_ms(fire_id).map(|ms| ms.saturating_sub(SKEW_MS));
        let types = ["trigger.fired", "trigger.debounced", "trigger.queued"].map(str::to_owned).to_vec();
        let query = Query { types, start_ms: from, ..Query::stream(self.stream_of(name)) };
        let mut pages = self.flows.store().iterate(query)?;
        let mut waiting = None;
        while let Some(page) = pages.next().await? {
            for event in page.iter() {
                let Some(recorded) = Recorded::read(event).filter(|recorded| recorded.fire_id == fire_id) else {
                    continue;
                };
                match event.event_type {
                    "trigger.fired" => return Ok(Some((recorded, false))),
                    _ => waiting = Some((recorded, true)),
                }
            }
        }
        Ok(waiting)
    }

    pub(super) async fn owe_firing(&self, name: &str, fire_id: &str) -> Result<()> {
        let store = self.flows.store();
        store.index_add(&self.unfinished(), &format!("{fire_id}@{name}"), store.now_ms() as f64).await
    }

    pub(super) async fn firing_done(&self, name: &str, fire_id: &str) -> Result<()> {
        self.flows.store().index_remove(&self.unfinished(), &format!("{fire_id}@{name}")).await
    }
}

/// The instant in a time-ordered id.
pub(super) fn issued_ms(fire_id: &str) -> Option<u64> {
    let (seconds, nanos) = Uuid::parse_str(fire_id).ok()?.get_timestamp()?.to_unix();
    seconds.checked_mul(1000)?.checked_add(u64::from(nanos) / 1_000_000)
}
