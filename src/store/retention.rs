//! How long runs live.
//!
//! A run that goes on is only ever given more time: by an event, once a tenth of its life has
//! passed since the last time, and by an await, up to its deadline. Its end sets its life for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::options::RetentionOptions;
use super::{Entry, Shared};
use crate::backend::{AfterStored, Life};
use crate::clock::Clock;
use crate::error::Result;
use crate::event::{Field, NewEvent};
use crate::io;
use crate::run::{Phase, awaits_until, ending};

/// What is as good as for ever.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// How many runs are looked at at once whose time may have come.
const SWEEP: usize = 100;
const MILLISECOND: Duration = Duration::from_millis(1);

/// What the life of a run becomes with these events, if it changes. `renewed_ms` is when it was
/// prolonged last.
pub(super) fn life_after(
    options: &RetentionOptions,
    events: &[NewEvent],
    renewed_ms: &AtomicU64,
    clock: &dyn Clock,
) -> Option<Life> {
    let lives = &options.lives;
    if let Some(phase) = events.iter().find_map(|event| ending(event.event_type())) {
        let life = if phase == Phase::Failed { lives.failed } else { lives.completed };
        // Who gives no life to runs that go on can't prolong one that has ended.
        return if lives.active.is_none() {
            life.map(Life::Exactly)
        } else {
            Some(Life::Finally(life.unwrap_or(FOR_EVER)))
        };
    }
    let active = lives.active?;
    let now_ms = clock.now_ms();
    let deadline = events.iter().filter_map(|event| awaits_until(event.event_type(), event.data())).max();
    if let Some(deadline_ms) = deadline {
        let wait = Duration::from_millis(deadline_ms.saturating_sub(now_ms));
        return Some(Life::AtLeast(wait.saturating_add(with_margin(active)).min(FOR_EVER)));
    }
    let since = now_ms.saturating_sub(renewed_ms.load(Ordering::Relaxed));
    if u128::from(since) < active.as_millis() / 10 {
        return None;
    }
    renewed_ms.store(now_ms, Ordering::Relaxed);
    Some(Life::AtLeast(with_margin(active)))
}

/// So much longer that a run lives its time from its last event on, although that may not prolong it.
fn with_margin(active: Duration) -> Duration {
    active.saturating_add(active / 10)
}

impl Shared {
    /// What to do about the life of a run once these events are stored.
    pub(super) fn prolonging(self: &Arc<Self>, entry: &Entry, events: &[NewEvent]) -> Option<AfterStored> {
        let life = life_after(&self.retention, events, &entry.renewed_ms, &*self.clock)?;
        let shared = Arc::downgrade(self);
        let stream = entry.stream.clone();
        let index = events.iter().find_map(|event| {
            let (flow, run) = (event.get(Field::FlowName)?, event.get(Field::RunId)?);
            Some((format!("{}:flows:{flow}", self.prefix), run.to_owned()))
        });
        Some(AfterStored::new(move || {
            if let Some(shared) = shared.upgrade() {
                io::begin(async move {
                    if let Err(error) = shared.prolong(&stream, life, index).await {
                        tracing::warn!(stream = &*stream, %error, "the life of a run could not be set");
                    }
                });
            }
        }))
    }

    async fn prolong(&self, stream: &str, life: Life, index: Option<(String, String)>) -> Result<()> {
        let kept = self.backend.keep(stream, life);
        // Others are not told of our own changes, but neither are we of theirs any more.
        self.cache.touched_stream(stream);
        let Some((index, run)) = index else { return kept.await };
        let expiring = expiring(&index);
        let noted = self.backend.index_add(&expiring, &run, self.due_ms(life.duration()));
        kept.await?;
        noted.await?;
        match life {
            Life::AtLeast(_) => Ok(()),
            Life::Exactly(_) | Life::Finally(_) => self.sweep(&index).await.map(drop),
        }
    }

    /// Whether a key is the index of a flow's runs.
    pub(super) fn is_flow_index(&self, key: &str) -> bool {
        key.strip_prefix(&*self.prefix).is_some_and(|rest| rest.starts_with(":flows:"))
    }

    /// Removes runs that have expired from the index of their flow; whether there were any.
    pub(super) async fn sweep(&self, index: &str) -> Result<bool> {
        let expiring = expiring(index);
        let mut found = false;
        loop {
            let due = self.backend.index_due(&expiring, self.clock.now_ms() as f64, SWEEP).await?;
            if due.is_empty() {
                return Ok(found);
            }
            let mut gone = Vec::new();
            for run in &due {
                let stream = format!("{}:flow:{run}", self.prefix);
                let left = match self.backend.remaining(&stream).await? {
                    None => {
                        gone.push(run.as_str());
                        continue;
                    }
                    // It goes on, or its time is not over by the backend's clock.
                    Some(left) => left.or(self.shortest_life()).unwrap_or(FOR_EVER),
                };
                self.backend.index_add(&expiring, run, self.due_ms(left.max(MILLISECOND))).await?;
            }
            found |= !gone.is_empty();
            self.backend.index_remove(index, &gone).await?;
            self.backend.index_remove(&expiring, &gone).await?;
        }
    }

    /// When to see whether a run that is added to this index is still there; `None`: never.
    pub(super) fn looked_at_ms(&self, index: &str) -> Option<f64> {
        self.shortest_life().filter(|_| self.is_flow_index(index)).map(|life| self.due_ms(life))
    }

    fn shortest_life(&self) -> Option<Duration> {
        let lives = &self.retention.lives;
        [lives.active, lives.completed, lives.failed].into_iter().flatten().min()
    }

    fn due_ms(&self, after: Duration) -> f64 {
        self.clock.now_ms().saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)) as f64
    }
}

/// Where it is noted when the runs of an index are due.
pub(super) fn expiring(index: &str) -> String {
    index.replacen(":flows:", ":expiring:", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::store::options::Lives;

    const SECOND: Duration = Duration::from_secs(1);

    fn options(active: Option<Duration>) -> RetentionOptions {
        let lives = Lives { active, completed: Some(60 * SECOND), failed: None };
        RetentionOptions { lives, ..RetentionOptions::default() }
    }

    fn life(active: Option<Duration>, event: NewEvent, renewed_ms: u64) -> Option<Life> {
        life_after(&options(active), &[event], &AtomicU64::new(renewed_ms), &VirtualClock::new(100_000))
    }

    #[test]
    fn an_end_counts_for_good() {
        let ends = |kind, active| life(active, NewEvent::new(kind), 0);
        assert_eq!(ends("flow.completed", None), Some(Life::Exactly(60 * SECOND)));
        assert_eq!(ends("flow.canceled", Some(SECOND)), Some(Life::Finally(60 * SECOND)));
        assert_eq!(ends("flow.failed", None), None);
        assert_eq!(ends("flow.failed", Some(SECOND)), Some(Life::Finally(FOR_EVER)));
    }

    #[test]
    fn a_run_that_goes_on_is_prolonged_now_and_then() {
        let active = Some(100 * SECOND);
        assert_eq!(life(active, NewEvent::new("log.info"), 0), Some(Life::AtLeast(110 * SECOND)));
        assert_eq!(life(active, NewEvent::new("log.info"), 95_000), None);
        assert_eq!(life(None, NewEvent::new("log.info"), 0), None);
    }

    #[test]
    fn an_await_keeps_its_run_up_to_its_deadline() {
        let awaiting = |data: &str| life(Some(SECOND), NewEvent::new("trigger.awaiting").with_data(data), 100_000);
        let until = awaiting(r#"{"awaitId":"a","deadline":"1970-01-01T00:02:00.000Z"}"#);
        assert_eq!(until, Some(Life::AtLeast(20 * SECOND + Duration::from_millis(1100))));
        assert_eq!(awaiting(r#"{"awaitId":"a"}"#), Some(Life::AtLeast(FOR_EVER)));
    }
}
