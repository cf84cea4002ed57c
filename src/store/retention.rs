//! How long runs live.
//!
//! A run that goes on is only ever given more time: by an event, once a tenth of its life has
//! passed since the last time, and by an await, up to its deadline. Its end sets its life for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::options::RetentionOptions;
use super::{Entry, Shared};
use crate::backend::{Life, WhenSettled};
use crate::clock::Clock;
use crate::error::{Code, Result};
use crate::event::{Field, NewEvent};
use crate::io;
use crate::run::{LOG_TRIMMED, Phase, awaits_until, begins, ending};

/// What is as good as for ever.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// How many runs are looked at at once whose time may have come.
const SWEEP: usize = 100;
const MILLISECOND: Duration = Duration::from_millis(1);

/// Where a run stands in an index, and where it is noted when to see whether it is still there.
struct Place {
    expiring: String,
    index: String,
    run: String,
}

/// What the life of a run becomes with these events, if it changes. `renewed_ms` is when it was
/// prolonged last.
pub(super) fn life_after(
    options: &RetentionOptions,
    events: &[NewEvent],
    renewed_ms: &AtomicU64,
    clock: &dyn Clock,
) -> Option<Life> {
    let lives = &options.lives;
    if events.iter().all(|event| event.event_type() == LOG_TRIMMED) {
        // Said by the store itself: nobody was active.
        return None;
    }
    if let Some(phase) = events.iter().find_map(|event| ending(event.event_type())) {
        let life = if phase == Phase::Failed { lives.failed } else { lives.completed };
        // What comes afterwards may be the beginning of another run.
        renewed_ms.store(0, Ordering::Relaxed);
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
    let begins = events.iter().any(|event| begins(event.event_type()));
    if !begins && u128::from(since) < active.as_millis() / 10 {
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
    pub(super) fn prolonging(self: &Arc<Self>, entry: &Arc<Entry>, events: &[NewEvent]) -> Option<WhenSettled> {
        let life = life_after(&self.retention, events, &entry.renewed_ms, &*self.clock)?;
        let shared = Arc::downgrade(self);
        let entry = entry.clone();
        let places = self.places(events);
        Some(WhenSettled::new(move |is_stored| {
            if !is_stored {
                // The next one has to do it.
                entry.renewed_ms.store(0, Ordering::Relaxed);
            } else if let Some(shared) = shared.upgrade() {
                io::begin(async move {
                    match shared.prolong(&entry, life, places).await {
                        Err(error) if error.code() != Code::Closed => {
                            entry.renewed_ms.store(0, Ordering::Relaxed);
                            tracing::warn!(stream = &*entry.stream, %error, "the life of a run could not be set");
                        }
                        // Once the store is closed, what was sent is done, answered or not.
                        _ => {}
                    }
                });
            }
        }))
    }

    /// The indexes that a run is in, as its events say.
    fn places(&self, events: &[NewEvent]) -> Vec<Place> {
        let run_of = |event: &NewEvent| event.get(Field::RunId).map(str::to_owned);
        let of_flow = events.iter().find_map(|event| {
            let index = format!("{}:flows:{}", self.prefix, event.get(Field::FlowName)?);
            Some(Place { expiring: self.expiring(&index)?, index, run: run_of(event)? })
        });
        let of_chain = events.iter().find_map(|event| {
            let (chain, run) = (event.get(Field::CorrelationId)?, run_of(event)?);
            let index = format!("{}:chains", self.prefix);
            (chain != run).then_some(Place { expiring: self.expiring(&index)?, index, run })
        });
        of_flow.into_iter().chain(of_chain).collect()
    }

    async fn prolong(&self, entry: &Entry, life: Life, places: Vec<Place>) -> Result<()> {
        let kept = self.backend.keep(&entry.stream, life);
        // Others are not told of our own changes, but neither are we of theirs any more.
        self.cache.touched(entry);
        let due_ms = self.due_ms(life.duration());
        let noted: Vec<_> =
            places.iter().map(|place| self.backend.index_add(&place.expiring, &place.run, due_ms)).collect();
        kept.await?;
        for noted in noted {
            noted.await?;
        }
        if !matches!(life, Life::AtLeast(_)) {
            for Place { index, expiring, .. } in &places {
                self.sweep(index, expiring).await?;
            }
        }
        Ok(())
    }

    /// Beside the index of a flow's runs, and that of the runs of chains: when to see whether they are still there.
    /// `None`: it is no such index.
    pub(super) fn expiring(&self, index: &str) -> Option<String> {
        let name = index.strip_prefix(&*self.prefix)?;
        match name.strip_prefix(":flows:") {
            Some(flow) => Some(format!("{}:expiring:{flow}", self.prefix)),
            None => (name == ":chains").then(|| format!("{index}:expiring")),
        }
    }

    /// Removes runs that have expired from an index; whether there were any.
    pub(super) async fn sweep(&self, index: &str, expiring: &str) -> Result<bool> {
        let mut found = false;
        loop {
            let due = self.backend.index_due(expiring, self.clock.now_ms() as f64, SWEEP).await?;
            if due.is_empty() {
                return Ok(found);
            }
            let streams: Vec<String> = due.iter().map(|run| format!("{}:flow:{run}", self.prefix)).collect();
            // All questions leave before the first answer is awaited.
            let questions: Vec<_> = streams.iter().map(|stream| self.backend.remaining(stream)).collect();
            let (mut gone, mut later) = (Vec::new(), Vec::new());
            for ((run, stream), question) in due.iter().zip(&streams).zip(questions) {
                match question.await? {
                    None => gone.push((run.as_str(), self.backend.remaining(stream))),
                    // It goes on, or its time is not over by the backend's clock.
                    Some(left) => {
                        let left = left.or(self.shortest_life()).unwrap_or(FOR_EVER).max(MILLISECOND);
                        later.push(self.backend.index_add(expiring, run, self.due_ms(left)));
                    }
                }
            }
            // Once more, right before: one may have begun again.
            let mut removed = Vec::new();
            for (run, question) in gone {
                if question.await?.is_none() {
                    removed.push(run);
                }
            }
            found |= !removed.is_empty();
            self.backend.index_remove(index, &removed).await?;
            self.backend.index_remove(expiring, &removed).await?;
            for noted in later {
                noted.await?;
            }
        }
    }

    /// When to see whether a run that is indexed now is still there; `None`: never.
    pub(super) fn looked_at_ms(&self) -> Option<f64> {
        self.shortest_life().map(|life| self.due_ms(life))
    }

    fn shortest_life(&self) -> Option<Duration> {
        let lives = &self.retention.lives;
        [lives.active, lives.completed, lives.failed].into_iter().flatten().min()
    }

    fn due_ms(&self, after: Duration) -> f64 {
        self.clock.now_ms().saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)) as f64
    }
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
