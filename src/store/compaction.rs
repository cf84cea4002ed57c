//! Compaction: a snapshot of what a stream amounts to, then everything before it is deleted.
//!
//! For streams that live as long as the system (triggers, registry). What a stream amounts to is
//! said by a [`Compact`] projection; a run's state has snapshots of its own, and keeps its events.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::query::{Pager, Query};
use super::{AppendOptions, EventStore};
use crate::backend::{Life, Receipt};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, EventRef, Field, NewEvent};
use crate::run::is_caused_by;

/// How often it is tried when others write the stream at the same time.
const ATTEMPTS: usize = 10;

/// What the events of a stream amount to, so that a snapshot can stand for them.
///
/// A law: folding a snapshot and the events after it gives the same as folding all events.
pub trait Compact: Default {
    /// The type of the snapshot event; ends with `.snapshot`.
    const SNAPSHOT: &'static str;

    /// Takes the next event.
    fn apply(&mut self, event: EventRef<'_>);

    /// Everything that matters, as JSON.
    fn to_json(&self) -> String;

    /// Takes over what a snapshot says. `None`: it can't be read.
    fn from_json(json: &str) -> Option<Self>;
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// The id of the snapshot, now the first event of the stream.
    pub snapshot: EventId,
    /// How many events were deleted.
    pub trimmed: u64,
}

#[derive(Deserialize)]
struct SnapshotData<'a> {
    #[serde(borrow, rename = "upTo")]
    up_to: Cow<'a, str>,
    #[serde(borrow)]
    state: &'a RawValue,
}

/// The mark of a snapshot that was written by a compaction.
const CAUSE: &str = "compaction";

/// The last event that a compaction snapshot stands for, and what it says.
fn read(event: EventRef<'_>) -> Option<(EventId, &str)> {
    if !event.event_type.ends_with(".snapshot") || !is_caused_by(event, CAUSE) {
        return None;
    }
    let data: SnapshotData = serde_json::from_str(event.data?).ok()?;
    Some((data.up_to.parse().ok()?, data.state.get()))
}

/// The last event that a compaction snapshot stands for, and what it says of those up to it, for who folds a
/// stream as it grows.
pub fn snapshot_state(event: EventRef<'_>) -> Option<(EventId, &str)> {
    read(event)
}

/// What an event says of those before it: up to where they were trimmed, if it is a snapshot that
/// stands for them.
pub(super) struct Trimmed {
    up_to: Option<EventId>,
    by: EventId,
}

impl Trimmed {
    pub(super) fn before(event: EventRef<'_>) -> Trimmed {
        Trimmed { up_to: read(event).map(|(up_to, _)| up_to), by: event.id }
    }

    /// Fails if events behind `after` were trimmed.
    pub(super) fn check(&self, after: EventId, stream: &str) -> Result<()> {
        let Some(up_to) = self.up_to.filter(|up_to| after < *up_to) else { return Ok(()) };
        let message = format!(
            "The events of {stream} after {after} up to {up_to} were trimmed; {} stands for them. Read without `after` to begin there.",
            self.by
        );
        Err(Error::new(Code::Trimmed, message))
    }
}

impl EventStore {
    /// Forgets the events of a stream that are older than this, and all of it when nothing comes for as long.
    pub(crate) async fn keep_for(&self, stream: &str, age: Duration) -> Result<()> {
        let backend = self.backend().await?;
        backend.keep(stream, Life::AtLeast(age)).await?;
        let before = self.now_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self.forget_before(stream, EventId::new(before, 0)).await
    }

    /// Deletes the events of a stream before this one.
    pub(crate) async fn forget_before(&self, stream: &str, id: EventId) -> Result<()> {
        if self.backend().await?.trim(stream, id).await? > 0 {
            self.shared.cache.remove(stream);
        }
        Ok(())
    }

    /// Folds a stream, from its snapshot on if it was compacted. Returns the id of the last event, too.
    ///
    /// # Errors
    /// `Corrupt` if the snapshot can't be read; otherwise like [`EventStore::query`].
    pub async fn fold<P: Compact>(&self, stream: &str) -> Result<(P, EventId)> {
        self.passed().await?;
        let mut pager = Pager::new(self.shared.reader.clone(), &Query::stream(stream))?;
        let (mut projection, mut last) = (P::default(), EventId::MIN);
        while let Some(page) = pager.next().await? {
            for event in page.iter() {
                last = event.id;
                match read(event).filter(|_| event.event_type == P::SNAPSHOT) {
                    Some((_, state)) => {
                        let corrupt = || {
                            Error::new(Code::Corrupt, format!("The snapshot {} of {stream} can't be read.", event.id))
                        };
                        projection = P::from_json(state).ok_or_else(corrupt)?;
                    }
                    None => projection.apply(event),
                }
            }
        }
        Ok((projection, last))
    }

    /// Replaces the events of a stream by a snapshot of what they amount to. `None`: there was
    /// nothing to replace.
    ///
    /// # Errors
    /// `Conflict` if others write the stream all the time; otherwise like [`EventStore::append`].
    pub async fn compact<P: Compact>(&self, stream: &str) -> Result<Option<Compaction>> {
        let mut attempt = 0;
        loop {
            let (projection, last) = self.fold::<P>(stream).await?;
            if last == EventId::MIN {
                return Ok(None);
            }
            let data = format!("{{\"upTo\":\"{last}\",\"state\":{}}}", projection.to_json());
            let options = AppendOptions { expected_last_id: Some(last), idempotency_key: None };
            let snapshot = NewEvent::new(P::SNAPSHOT).with(Field::CausationId, CAUSE).with_data(data);
            match self.append(stream, snapshot, options).await {
                Ok(Receipt::One(snapshot)) => {
                    // A crash before this loses nothing: the next compaction trims the rest.
                    let trimmed = self.shared.backend.trim(stream, snapshot).await?;
                    self.shared.cache.remove(stream);
                    self.shared.trimmed.fetch_add(trimmed, std::sync::atomic::Ordering::Relaxed);
                    return Ok(Some(Compaction { snapshot, trimmed }));
                }
                Ok(_) => return Err(Error::new(Code::Internal, "A snapshot is one event.")),
                Err(error) if error.code() == Code::Conflict && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}
