//! The event store: checks, order, limits, queries, subscriptions. The rules stand here once; the
//! backends under it only keep what they are given.

mod check;
mod intake;
mod options;
mod projection;
mod query;
mod subscription;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{oneshot, watch};

pub use self::check::{MAX_NAME_BYTES, MAX_TYPE_BYTES};
use self::intake::Intake;
pub use self::intake::{Outcomes, Outlet};
pub use self::options::{BackendOptions, CacheOptions, Limits, Lives, LogRetention, RetentionOptions, StoreOptions};
pub(crate) use self::projection::Projection;
use self::projection::Projections;
pub use self::query::Query;
use self::query::{GlobalPager, Listing, Pager};
pub use self::subscription::{Delivery, Subscription};
use crate::backend::memory::Memory;
use crate::backend::redis::Redis;
use crate::backend::{Append, Backend, Completion, Receipt, Selector, StreamInfo};
use crate::clock::{Clock, deadline};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events, NewEvent};

/// What an append depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppendOptions {
    /// Store only if this is the last id of the stream; `0-0`: only if it has no events.
    pub expected_last_id: Option<EventId>,
    /// Store only once: a second append with this key returns the records of the first.
    pub idempotency_key: Option<String>,
}

/// An append with a ticket, for [`EventStore::submit`].
#[derive(Debug)]
pub struct Submission {
    /// The number under which the outcome comes back.
    pub ticket: u64,
    /// The stream's name.
    pub stream: Box<str>,
    /// Events that are stored together.
    pub events: Vec<NewEvent>,
    /// What the append depends on.
    pub options: AppendOptions,
}

/// Counters since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreStats {
    /// Reads of state that needed no event beside those already folded.
    pub hits: u64,
    /// Reads of state that began from nothing.
    pub misses: u64,
    /// Reads of state that folded in some new events.
    pub advances: u64,
    /// Folded state that was dropped because its stream was not what it had been.
    pub invalidations: u64,
    /// Bytes of folded state in memory.
    pub cached_bytes: u64,
    /// Acknowledged events.
    pub appended: u64,
    /// How often appends were sent, several at a time.
    pub pipelines: u64,
}

/// A store of events. Clones share one store; the last one to go ends it.
#[derive(Clone)]
pub struct EventStore {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Arc<dyn Backend>,
    intake: Arc<Intake>,
    projections: Projections,
    clock: Arc<dyn Clock>,
    limits: Limits,
    prefix: String,
    serial: AtomicU64,
    closed: watch::Sender<bool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.closed.send_replace(true);
    }
}

impl EventStore {
    /// Opens a store and waits until its backend can be used.
    ///
    /// # Errors
    /// `Config` if the options can't work, `Unavailable` if the backend can't be reached.
    pub async fn open(options: StoreOptions) -> Result<EventStore> {
        let store = EventStore::open_lazily(options, Box::new(drop))?;
        store.connect().await?;
        Ok(store)
    }

    /// Opens a store without waiting. Outcomes of [`EventStore::submit`] that don't come at once
    /// go to the outlet.
    pub fn open_lazily(options: StoreOptions, outlet: Outlet) -> Result<EventStore> {
        options.check()?;
        let StoreOptions { backend, prefix, limits, clock, cache, retention: _, snapshot_every: _ } = options;
        check::argument("The prefix", &prefix).map_err(|error| Error::new(Code::Config, error.message()))?;
        let intake = Arc::new(Intake::new(limits.max_queued_bytes, outlet));
        let backend: Arc<dyn Backend> = match backend {
            BackendOptions::Memory => Arc::new(Memory::new(clock.clone())),
            BackendOptions::Redis(redis) => {
                Arc::new(Redis::new(redis, &prefix, clock.clone(), intake.clone(), limits.append_timeout)?)
            }
        };
        intake.connect(&backend);
        tracing::debug!(prefix, "store opened");
        let projections = Projections::new(cache.max_bytes);
        let (serial, closed) = (AtomicU64::new(0), watch::channel(false).0);
        Ok(EventStore {
            shared: Arc::new(Shared { backend, intake, projections, clock, limits, prefix, serial, closed }),
        })
    }

    /// Waits until the backend can be used.
    pub async fn connect(&self) -> Result<()> {
        self.shared.backend.connect().await
    }

    /// The beginning of every key.
    pub fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    /// The present instant of the store's clock, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// Appends an event. It is handed over now, before the future is polled: calls keep their order.
    ///
    /// # Errors
    /// `InvalidEvent`, `TooLarge`, `Conflict`, `Unavailable`, `Timeout`, `Backend`, `Closed`.
    pub fn append(
        &self,
        stream: &str,
        event: NewEvent,
        options: AppendOptions,
    ) -> impl Future<Output = Result<Receipt>> + Send + use<> {
        self.append_batch(stream, vec![event], options)
    }

    /// Appends events that are stored together and contiguously, or not at all. Like [`EventStore::append`].
    pub fn append_batch(
        &self,
        stream: &str,
        events: Vec<NewEvent>,
        options: AppendOptions,
    ) -> impl Future<Output = Result<Receipt>> + Send + use<> {
        let (sender, outcome) = oneshot::channel();
        let json = events.iter().try_for_each(check::json);
        let append = json.and_then(|()| {
            self.checked(Completion::Channel(sender), stream.into(), events, options).map_err(|(_, error)| error)
        });
        let refused = append.map(|append| drop(self.shared.intake.submit(vec![append]))).err();
        async move {
            match refused {
                Some(error) => Err(error),
                None => outcome.await.unwrap_or_else(|_| Err(Error::closed())),
            }
        }
    }

    /// Hands over many appends in one call, in their order. Their data has to be JSON text.
    /// Returns the outcomes that are known at once; the others go to the outlet.
    pub fn submit(&self, submissions: Vec<Submission>) -> Outcomes {
        let mut refused = Vec::new();
        let mut appends = Vec::with_capacity(submissions.len());
        for Submission { ticket, stream, events, options } in submissions {
            match self.checked(Completion::Ticket(ticket), stream, events, options) {
                Ok(append) => appends.push(append),
                Err((_, error)) => refused.push((ticket, Err(error))),
            }
        }
        let mut outcomes = match appends.is_empty() {
            true => Vec::new(),
            false => self.shared.intake.submit(appends),
        };
        outcomes.append(&mut refused);
        outcomes
    }

    fn checked(
        &self,
        completion: Completion,
        stream: Box<str>,
        events: Vec<NewEvent>,
        options: AppendOptions,
    ) -> Result<Append, (Completion, Error)> {
        let checked = || {
            check::stream_name(&stream)?;
            if events.is_empty() {
                return Err(Error::new(Code::Validation, "The batch is empty; append at least one event."));
            }
            options.idempotency_key.iter().try_for_each(|key| check::argument("The idempotencyKey", key))?;
            events.iter().try_for_each(|event| check::event(event, self.shared.limits.max_event_bytes))
        };
        if let Err(error) = checked() {
            return Err((completion, error));
        }
        let size = stream.len() + events.iter().map(NewEvent::size).sum::<usize>();
        Ok(Append {
            completion,
            stream,
            serial: self.shared.serial.fetch_add(events.len() as u64, Ordering::Relaxed),
            events,
            expected_last_id: options.expected_last_id,
            idempotency_key: options.idempotency_key.map(Into::into),
            deadline: deadline(self.shared.limits.append_timeout),
            size,
        })
    }

    fn open_backend(&self) -> Result<&Arc<dyn Backend>> {
        match self.shared.intake.is_closed() {
            true => Err(Error::closed()),
            false => Ok(&self.shared.backend),
        }
    }

    /// The backend, once it has everything that was appended before.
    async fn backend(&self) -> Result<&Arc<dyn Backend>> {
        let backend = self.open_backend()?;
        self.shared.intake.passed().await;
        Ok(backend)
    }

    /// Reads events of one stream.
    ///
    /// # Errors
    /// `Validation`, `Unavailable`, `Timeout`, `Backend`, `Corrupt`, `Closed`.
    pub async fn query(&self, query: Query) -> Result<Events> {
        let mut pager = Pager::new(self.backend().await?.clone(), &query)?;
        let mut events = Events::default();
        while let Some(page) = pager.next().await? {
            events.append(page);
        }
        Ok(events)
    }

    /// Reads events of all streams whose names match `query.stream`, in id order within each stream.
    pub async fn query_global(&self, query: Query) -> Result<Events> {
        let mut pages = self.iterate_global(query)?;
        let mut events = Events::default();
        while let Some(page) = pages.next().await? {
            events.append(page);
        }
        Ok(events)
    }

    /// The same as [`EventStore::query`], page by page.
    pub fn iterate(&self, query: Query) -> Result<Pages> {
        Ok(self.pages(Source::Stream(Pager::new(self.open_backend()?.clone(), &query)?)))
    }

    /// The same as [`EventStore::query_global`], page by page.
    pub fn iterate_global(&self, query: Query) -> Result<Pages> {
        Ok(self.pages(Source::Global(Box::new(GlobalPager::new(self.open_backend()?.clone(), query)?))))
    }

    fn pages(&self, source: Source) -> Pages {
        Pages { intake: self.shared.intake.clone(), source }
    }

    /// Follows a stream, or all streams that match. Begins after `after`; `None`: with what is
    /// appended once the subscription is there.
    pub async fn subscribe(&self, selector: Selector, after: Option<EventId>) -> Result<Subscription> {
        match &selector {
            Selector::Stream(name) => check::argument("The stream name", name)?,
            Selector::Pattern(glob) => check::argument("The pattern", glob.as_str())?,
        }
        Subscription::begin(self.backend().await?.clone(), selector, after, self.shared.closed.subscribe()).await
    }

    /// Lists the streams whose names match.
    pub fn streams(&self, pattern: &str) -> Result<Streams> {
        let listing = Listing::new(self.open_backend()?.clone(), pattern)?;
        Ok(Streams { intake: self.shared.intake.clone(), listing })
    }

    /// The id of the last event of a stream; `None` if it has no events.
    pub async fn last_id(&self, stream: &str) -> Result<Option<EventId>> {
        check::argument("The stream name", stream)?;
        self.backend().await?.last_id(stream).await
    }

    /// Deletes a stream; whether it was there.
    pub async fn delete_stream(&self, stream: &str) -> Result<bool> {
        check::argument("The stream name", stream)?;
        Ok(self.delete(&[stream]).await? > 0)
    }

    /// Deletes all streams whose names match; how many there were.
    pub async fn delete_streams(&self, pattern: &str) -> Result<u64> {
        let mut streams = self.streams(pattern)?;
        let mut deleted = 0;
        while let Some(page) = streams.next().await? {
            let names: Vec<&str> = page.iter().map(|info| info.stream.as_str()).collect();
            deleted += self.delete(&names).await?;
        }
        Ok(deleted)
    }

    async fn delete(&self, streams: &[&str]) -> Result<u64> {
        let deleted = self.backend().await?.delete_streams(streams).await;
        streams.iter().for_each(|stream| self.shared.projections.remove(stream));
        deleted
    }

    /// Adds a member to a sorted index, or gives it a new score.
    pub async fn index_add(&self, key: &str, id: &str, score: f64) -> Result<()> {
        check::argument("The key of the index", key)?;
        check::argument("The id", id)?;
        if !score.is_finite() {
            return Err(Error::new(Code::Validation, "The score is not a finite number."));
        }
        self.backend().await?.index_add(key, id, score).await
    }

    /// Members of a sorted index, highest score first, equal scores by descending id.
    pub async fn index_read(&self, key: &str, offset: usize, limit: Option<usize>) -> Result<Vec<(String, f64)>> {
        check::argument("The key of the index", key)?;
        check::limit(limit)?;
        self.backend().await?.index_read(key, offset, limit).await
    }

    /// Deletes a sorted index.
    pub async fn index_delete(&self, key: &str) -> Result<()> {
        check::argument("The key of the index", key)?;
        self.backend().await?.index_delete(key).await
    }

    /// Folds a stream into a projection, from where it was left the last time, and looks at it.
    pub(crate) async fn project<P: Projection, R>(
        &self,
        stream: &str,
        look: impl FnOnce(&P, EventId) -> R,
    ) -> Result<R> {
        check::argument("The stream name", stream)?;
        self.shared.projections.read(self.backend().await?, stream, look).await
    }

    /// Counters since the store was opened.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            appended: self.shared.intake.appended(),
            pipelines: self.shared.backend.pipelines(),
            ..self.shared.projections.stats()
        }
    }

    /// Refuses new appends, waits for those that were accepted, and ends subscriptions.
    pub async fn close(&self) {
        self.shared.intake.close().await;
        self.shared.closed.send_replace(true);
        // Nothing is lost with its failing: what it could not send were hints.
        if let Err(error) = self.shared.backend.close().await {
            tracing::debug!(%error, "closing");
        }
        tracing::debug!(prefix = self.shared.prefix, "store closed");
    }
}

/// Events page by page.
pub struct Pages {
    intake: Arc<Intake>,
    source: Source,
}

enum Source {
    Stream(Pager),
    Global(Box<GlobalPager>),
}

impl Pages {
    /// The next events; `None` at the end. A page may be empty.
    pub async fn next(&mut self) -> Result<Option<Events>> {
        self.intake.passed().await;
        match &mut self.source {
            Source::Stream(pager) => pager.next().await,
            Source::Global(pager) => pager.next().await,
        }
    }
}

/// Streams page by page.
pub struct Streams {
    intake: Arc<Intake>,
    listing: Listing,
}

impl Streams {
    /// The next streams; `None` at the end. A page may be empty.
    pub async fn next(&mut self) -> Result<Option<Vec<StreamInfo>>> {
        self.intake.passed().await;
        self.listing.next().await
    }
}
