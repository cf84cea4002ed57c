//! How far runs have come, and deciding by it.

use tokio::sync::oneshot;

use super::{AppendOptions, Consistency, EventStore, RunKey, Shared, check};
use crate::backend::Completion;
use crate::error::{Code, Error, Result};
use crate::event::{EventId, NewEvent};
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
