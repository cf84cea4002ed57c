//! How far runs have come, and deciding by it.

use tokio::sync::oneshot;

use super::{AppendOptions, Consistency, EventStore, RunKey, Shared, check};
use crate::backend::{Completion, Receipt};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, NewEvent, Recorder};
use crate::run::Progress;

impl EventStore {
    /// Looks at how far a run has come (`0-0`: it has no events). What was appended before is in it.
    ///
    /// # Errors
    /// As [`EventStore::query`].
    pub(crate) async fn progress<R>(
        &self,
        key: &RunKey,
        consistency: Consistency,
        look: impl FnOnce(&Progress, EventId) -> R,
    ) -> Result<R> {
        check::argument("The stream name", key.stream())?;
        self.open_backend()?;
        let Shared { cache, reader, intake, .. } = &*self.shared;
        let mut look = Some(look);
        if consistency == Consistency::Cached {
            let seen = cache.peek(reader, intake, &key.0, |content| {
                let last = content.last_id();
                let progress = content.progress()?;
                Some(look.take()?(progress, last))
            });
            if let Some(seen) = seen {
                return Ok(seen);
            }
        }
        let Some(look) = look else { return Err(Error::new(Code::Internal, "What was looked at was not seen.")) };
        self.passed().await?;
        cache.progress(reader, &key.0, consistency, look).await
    }

    /// Looks at how far a run has come as far as this store knows, without asking anyone: for a decision that
    /// is appended on the condition that it is so. `None`: something is known to have been written since.
    pub(crate) fn guess<R>(&self, key: &RunKey, look: impl FnOnce(&Progress, EventId) -> R) -> Option<R> {
        let Shared { cache, intake, .. } = &*self.shared;
        cache.guess(intake, &key.0, |content| {
            let last = content.last_id();
            Some(look(content.progress()?, last))
        })
    }

    /// Appends on the condition that `last` is the last event. That it was stored shows its place, so what is in
    /// memory is brought up to it without being read.
    ///
    /// # Errors
    /// As [`EventStore::append`].
    pub(crate) async fn append_behind(&self, key: &RunKey, events: Vec<NewEvent>, last: EventId) -> Result<()> {
        events.iter().try_for_each(check::json)?;
        let Shared { cache, intake, .. } = &*self.shared;
        let (sender, stored) = oneshot::channel();
        let options = AppendOptions { expected_last_id: Some(last), idempotency_key: None };
        let checked = self.shared.checked(Completion::Channel(sender), key.stream().into(), events.clone(), options);
        let mut append = checked.map_err(|(_, error)| error)?;
        let mut written = Vec::new();
        self.note(&mut written, &mut append);
        intake.submit(vec![append]);
        cache.touched(&key.0);
        let version = cache.version(&key.0);
        self.follow_up_known(written);
        let receipt = stored.await.unwrap_or_else(|_| Err(Error::closed()))?;
        let ids = match &receipt {
            Receipt::One(id) => std::slice::from_ref(id),
            Receipt::Batch(ids) => ids.as_slice(),
            Receipt::Repeated(_) => &[],
        };
        let mut recorder = Recorder::new(key.stream());
        for (id, event) in ids.iter().zip(&events) {
            recorder.record(*id, event.event_type(), event.fields(), event.data());
        }
        cache.advance(&key.0, last, recorder.finish(), version);
        Ok(())
    }

    /// Decides about a run and records it, while the other appends of this store wait: in a run to which it
    /// writes all the time there would never be a moment in between. What was appended before goes first.
    ///
    /// # Errors
    /// `Conflict` if another store wrote in between; otherwise as [`EventStore::append`].
    pub(crate) async fn append_held<T>(
        &self,
        key: &RunKey,
        decide: impl FnOnce(&Progress) -> (Option<Vec<NewEvent>>, T),
    ) -> Result<T> {
        let reader = self.passed().await?;
        let hold = self.shared.intake.hold();
        let decided = |progress: &Progress, last| (decide(progress), last);
        let ((events, outcome), last) =
            self.shared.cache.progress(reader, &key.0, Consistency::Strong, decided).await?;
        let Some(events) = events else { return Ok(outcome) };
        events.iter().try_for_each(check::json)?;
        let (sender, stored) = oneshot::channel();
        let options = AppendOptions { expected_last_id: Some(last), idempotency_key: None };
        let checked = self.shared.checked(Completion::Channel(sender), key.stream().into(), events, options);
        let mut append = checked.map_err(|(_, error)| error)?;
        let mut written = Vec::new();
        self.note(&mut written, &mut append);
        self.shared.intake.submit_ahead(append);
        drop(hold);
        self.follow_up(written);
        stored.await.unwrap_or_else(|_| Err(Error::closed())).map(|_| outcome)
    }
}
