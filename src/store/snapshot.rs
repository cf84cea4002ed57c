//! Snapshots that the store writes by itself.
//!
//! An append counts the state events that this store writes to a run, which costs nothing, and now
//! and then looks at the run itself, where those of others count, too: first after an eighth of
//! what is due, then after its own share of what is missing, or half of it while it is not the only
//! one. Two that find a snapshot due at once can't both succeed: it is appended on the condition that
//! nothing came after the event it covers. A run to which many write little gets its snapshots later.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::cache::Entry;
use super::{AppendOptions, Shared};
use crate::backend::Completion;
use crate::clock::monotonic;
use crate::error::{Code, Error, Result};
use crate::event::{Envelope, EventId, NewEvent};
use crate::run::{Run, snapshot_events};

/// How often writing one snapshot is tried when others write the same run at the same time.
const ATTEMPTS: usize = 3;
/// How long other appends may be held for one snapshot: twice what reading took without a hold, but
/// that is the least and the most.
const HOLD: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(1);
/// A snapshot may weigh so many times what was written since the last one.
const HEAVIEST: u64 = 16;
/// What a state event is taken to weigh.
const EVENT_BYTES: u64 = 128;

/// Counts own state events down to the next look at whether a snapshot is due.
#[derive(Default)]
pub(super) struct Countdown {
    /// Since the last look.
    written: AtomicU64,
    /// At how many to look; 0: nobody has looked yet.
    look_at: AtomicU64,
    /// Up to the last look, since the last snapshot.
    own: AtomicU64,
    busy: AtomicBool,
}

impl Countdown {
    /// Counts events. True: it is time to look, and nobody else does.
    pub(super) fn count(&self, events: u64, every: u64) -> bool {
        let written = self.written.fetch_add(events, Ordering::Relaxed) + events;
        let look_at = match self.look_at.load(Ordering::Relaxed) {
            0 => every.div_ceil(8),
            look_at => look_at,
        };
        written >= look_at && !self.busy.swap(true, Ordering::SeqCst)
    }

    /// How many events were counted; to be told to [`Countdown::restart`].
    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Goes on after a look, which saw `seen` of those counted, and `since` events after the last
    /// snapshot, or `every` if one was written now.
    fn restart(&self, seen: u64, since: u64, every: u64) {
        self.written.fetch_sub(seen, Ordering::Relaxed);
        let own = self.own.load(Ordering::Relaxed) + seen;
        let is_done = since >= every;
        self.own.store(if is_done { 0 } else { own }, Ordering::Relaxed);
        let missing = if is_done { every } else { every - since };
        // What others do not write is our own.
        let share = own.min(since);
        let part = missing.saturating_mul(share).checked_div(since).unwrap_or(missing / 8);
        let is_alone = share >= since - since / 16;
        self.look_at.store(if is_alone { part } else { part.div_ceil(2) }.max(1), Ordering::Relaxed);
        self.busy.store(false, Ordering::SeqCst);
    }
}

impl Shared {
    /// Writes a snapshot of a run if it is due.
    pub(super) async fn snapshot_if_due(&self, entry: &Entry, envelope: &Envelope) {
        let every = self.snapshot_every;
        let mut seen = entry.countdown.written();
        let mut since = 0;
        for _ in 0..ATTEMPTS {
            let outcome = async {
                let began = monotonic();
                since = self.cache.refresh(&self.reader, entry, |run, _| run.since_snapshot()).await?;
                if since < every {
                    return Ok(true);
                }
                seen = entry.countdown.written();
                let longest = (2 * began.elapsed()).clamp(*HOLD.start(), *HOLD.end());
                self.snapshot(entry, envelope, longest).await
            };
            match outcome.await {
                Ok(true) => {}
                // Others write at the same time.
                Ok(false) => {
                    since = every - every.div_ceil(4);
                    continue;
                }
                Err(error) => {
                    tracing::debug!(stream = &*entry.stream, %error, "no snapshot was written");
                    since = every - every.div_ceil(4);
                }
            }
            break;
        }
        entry.countdown.restart(seen, since, every);
    }

    /// Writes a snapshot; false if someone else wrote to the run meanwhile. Appends that come
    /// meanwhile wait, or in a busy run there would never be a moment for it.
    async fn snapshot(&self, entry: &Entry, envelope: &Envelope, longest: Duration) -> Result<bool> {
        let now = self.clock.now_ms();
        let (outcome, hold) = {
            let hold = self.intake.hold();
            let events =
                |run: &Run, last| (self.is_due(run).then(|| snapshot_events(run.state(), last, now, envelope)), last);
            let read = self.cache.refresh(&self.reader, entry, events);
            let read = tokio::time::timeout(longest, read).await;
            let read = read.map_err(|_| Error::new(Code::Timeout, "The run could not be read in time."))?;
            let (Some(events), last) = read? else { return Ok(true) };
            if !self.fits(&events) {
                return Ok(true);
            }
            (self.append_ahead(entry, events, last), hold)
        };
        drop(hold);
        match outcome.await {
            Ok(()) => {
                self.snapshots.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
            Err(error) if error.code() == Code::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it is still due, and reading it will be cheaper than reading what it stands for, more or less.
    fn is_due(&self, run: &Run) -> bool {
        run.since_snapshot() >= self.snapshot_every.max(run.state().expiring(0).count() as u64)
            && run.state().weight() as u64 <= run.since_snapshot() * EVENT_BYTES * HEAVIEST
    }

    fn fits(&self, events: &[NewEvent]) -> bool {
        let fits = events.iter().all(|event| event.size() <= self.limits.max_event_bytes);
        if !fits && !self.too_large.swap(true, Ordering::Relaxed) {
            tracing::warn!("the state of a run is larger than limits.maxEventBytes; there are no snapshots of it");
        }
        fits
    }

    fn append_ahead(
        &self,
        entry: &Entry,
        events: Vec<NewEvent>,
        last: EventId,
    ) -> impl Future<Output = Result<()>> + use<> {
        let (sender, outcome) = tokio::sync::oneshot::channel();
        let options = AppendOptions { expected_last_id: Some(last), idempotency_key: None };
        let append = self.checked(Completion::Channel(sender), (&*entry.stream).into(), events, options);
        let refused = append.map(|append| self.intake.submit_ahead(append)).map_err(|(_, error)| error);
        self.cache.touched(entry);
        async move {
            refused?;
            outcome.await.unwrap_or_else(|_| Err(Error::closed())).map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks of one writer of many that write alike, and how far apart the snapshots are.
    fn play(writers: u64) -> (u64, u64) {
        let countdown = Countdown::default();
        let (mut looks, mut since, mut longest) = (0, 0, 0);
        for _ in 0..10_000 {
            since += writers;
            longest = longest.max(since);
            if countdown.count(1, 1000) {
                looks += 1;
                countdown.restart(countdown.written(), since, 1000);
                since = if since >= 1000 { 0 } else { since };
            }
        }
        (looks, longest)
    }

    #[test]
    fn looks_are_few_and_come_when_it_is_due() {
        // One look for each snapshot, but for the first.
        assert_eq!(play(1), (11, 1000));
        for writers in 2..=8 {
            let (looks, longest) = play(writers);
            assert!(longest <= 1000 + 2 * writers, "{writers}: {longest}");
            assert!(looks <= 11 * 10 * writers, "{writers}: {looks}");
        }
    }
}
