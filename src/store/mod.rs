//! The event store: checks, order, limits, queries, subscriptions, cache, snapshots, retention. The
//! rules stand here once; the backends under it only keep what they are given.

mod cache;
mod check;
mod compaction;
mod index;
mod intake;
mod logs;
mod options;
mod pages;
mod progress;
mod query;
mod reader;
mod retention;
mod snapshot;
mod stats;
mod subscription;
mod written;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{oneshot, watch};

use self::cache::{Cache, Content, Entry};
pub use self::check::{MAX_NAME_BYTES, MAX_TYPE_BYTES};
pub use self::compaction::{Compact, Compaction, snapshot_state};
use self::intake::Intake;
pub use self::intake::{Outcomes, Outlet};
pub use self::options::{BackendOptions, CacheOptions, Limits, Lives, LogRetention, RetentionOptions, StoreOptions};
use self::pages::Source;
pub use self::pages::{Pages, Streams};
pub use self::query::{Consistency, Query};
use self::query::{GlobalPager, Listing, Pager, select};
use self::reader::Reader;
pub use self::stats::StoreStats;
pub use self::subscription::{Delivery, Subscription};
use crate::backend::file::File;
use crate::backend::memory::Memory;
use crate::backend::redis::Redis;
use crate::backend::{Append, Backend, Completion, Receipt, Selector, Upwards};
use crate::clock::{Clock, deadline};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events, NewEvent};
use crate::run::Run;

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

/// The place of a run in a store.
#[derive(Clone)]
pub(crate) struct RunKey(Arc<Entry>);

impl RunKey {
    /// The name of the run's stream.
    pub(crate) fn stream(&self) -> &str {
        &self.0.stream
    }
}

/// A store of events. Clones share one store; the last one to go ends it.
#[derive(Clone)]
pub struct EventStore {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Arc<dyn Backend>,
    intake: Arc<Intake>,
    reader: Reader,
    cache: Arc<Cache>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    retention: RetentionOptions,
    snapshot_every: u64,
    prefix: String,
    serial: AtomicU64,
    snapshots: AtomicU64,
    trimmed: AtomicU64,
    /// Some state is too large for a snapshot, and that was said.
    too_large: AtomicBool,
    /// The backend does not let this store delete single events.
    is_trimming_refused: AtomicBool,
    closed: watch::Sender<bool>,
}

impl Shared {
    /// The append of these events, if they keep the rules.
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
            events.iter().try_for_each(|event| check::event(event, self.limits.max_event_bytes))
        };
        if let Err(error) = checked() {
            return Err((completion, error));
        }
        let size = stream.len() + events.iter().map(NewEvent::size).sum::<usize>();
        Ok(Append {
            completion,
            stream,
            serial: self.serial.fetch_add(events.len() as u64, Ordering::Relaxed),
            events,
            expected_last_id: options.expected_last_id,
            idempotency_key: options.idempotency_key.map(Into::into),
            deadline: deadline(self.limits.append_timeout),
            size,
            after: None,
        })
    }
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
        let StoreOptions { backend, prefix, limits, clock, cache, retention, snapshot_every } = options;
        check::argument("The prefix", &prefix).map_err(|error| Error::new(Code::Config, error.message()))?;
        let intake = Arc::new(Intake::new(limits.max_queued_bytes, outlet));
        let cache = Arc::new(Cache::new(&cache, &prefix, snapshot_every));
        let backend: Arc<dyn Backend> = match backend {
            BackendOptions::Memory => Arc::new(Memory::new(clock.clone(), cache.clone())),
            BackendOptions::File(file) => {
                let upwards = Upwards { settle: intake.clone(), invalidate: cache.clone() };
                Arc::new(File::new(file, clock.clone(), upwards, limits.append_timeout)?)
            }
            BackendOptions::Redis(redis) => {
                let upwards = Upwards { settle: intake.clone(), invalidate: cache.clone() };
                Arc::new(Redis::new(*redis, &prefix, clock.clone(), upwards, limits.append_timeout)?)
            }
        };
        intake.connect(&backend);
        tracing::debug!(prefix, "store opened");
        let late = cache.clone();
        intake.when_passed_late(move |stream| late.touched_stream(stream));
        let shared = Shared {
            reader: Reader::new(backend.clone()),
            backend,
            intake,
            cache,
            clock,
            limits,
            retention,
            snapshot_every,
            prefix,
            serial: AtomicU64::new(0),
            snapshots: AtomicU64::new(0),
            trimmed: AtomicU64::new(0),
            too_large: AtomicBool::new(false),
            is_trimming_refused: AtomicBool::new(false),
            closed: watch::channel(false).0,
        };
        Ok(EventStore { shared: Arc::new(shared) })
    }

    /// Waits until the backend can be used.
    pub async fn connect(&self) -> Result<()> {
        self.shared.backend.connect().await
    }

    /// The beginning of every key.
    pub fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    /// Whether the backend belongs to this store alone and answers at once.
    pub fn is_local(&self) -> bool {
        self.shared.backend.is_local()
    }

    /// Whether events outlive this process, and no other one appends.
    pub(crate) fn is_owned(&self) -> bool {
        self.shared.backend.is_owned()
    }

    /// Whether an event could be stored.
    ///
    /// # Errors
    /// `InvalidEvent` or `TooLarge`, as an append would answer.
    pub(crate) fn check_event(&self, event: &NewEvent) -> Result<()> {
        check::json(event)?;
        check::event(event, self.shared.limits.max_event_bytes)
    }

    /// The present instant of the store's clock, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// Milliseconds since some instant by the store's clock, for distances.
    pub fn steady_ms(&self) -> u64 {
        self.shared.clock.steady_ms()
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
            self.shared.checked(Completion::Channel(sender), stream.into(), events, options).map_err(|(_, error)| error)
        });
        let submit = |mut append| {
            let mut written = Vec::new();
            self.note(&mut written, &mut append);
            self.shared.intake.submit(vec![append]);
            self.follow_up(written);
        };
        let refused = append.map(submit).err();
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
        let mut written = Vec::new();
        for Submission { ticket, stream, events, options } in submissions {
            match self.shared.checked(Completion::Ticket(ticket), stream, events, options) {
                Ok(mut append) => {
                    self.note(&mut written, &mut append);
                    appends.push(append);
                }
                Err((_, error)) => refused.push((ticket, Err(error))),
            }
        }
        let mut outcomes = match appends.is_empty() {
            true => Vec::new(),
            false => self.shared.intake.submit(appends),
        };
        outcomes.append(&mut refused);
        self.follow_up(written);
        outcomes
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

    /// The same, for reading.
    async fn passed(&self) -> Result<&Reader> {
        self.backend().await.map(|_| &self.shared.reader)
    }

    /// Reads events of one stream.
    ///
    /// # Errors
    /// `Validation`, `Unavailable`, `Timeout`, `Backend`, `Corrupt`, `Closed`; `Trimmed` if events
    /// after `query.after` were deleted by [`EventStore::compact`].
    pub async fn query(&self, query: Query) -> Result<Events> {
        query.check()?;
        self.open_backend()?;
        let Shared { cache, reader, intake, .. } = &*self.shared;
        if query.consistency == Consistency::Cached && !query.with_ts {
            let select = |run: &mut Content| run.timeline().map(|timeline| select(timeline, &query));
            let entry = cache.find(&query.stream);
            if let Some(events) = entry.and_then(|entry| cache.peek(reader, intake, &entry, select)) {
                return Ok(events);
            }
        }
        self.passed().await?;
        if cache.serves(reader, &query) && !query.with_ts {
            return cache.query(reader, &query).await;
        }
        let reader = if query.with_ts { reader.with_ts() } else { reader.clone() };
        let mut pager = Pager::new(reader, &query)?.complete(&query);
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
        self.open_backend()?;
        let pager = Pager::new(self.shared.reader.clone(), &query)?.complete(&query);
        Ok(self.pages(Source::Stream(Box::new(pager))))
    }

    /// The same as [`EventStore::query_global`], page by page.
    pub fn iterate_global(&self, query: Query) -> Result<Pages> {
        self.open_backend()?;
        Ok(self.pages(Source::Global(Box::new(GlobalPager::new(self.shared.reader.clone(), query)?))))
    }

    fn pages(&self, source: Source) -> Pages {
        Pages { intake: self.shared.intake.clone(), source }
    }

    /// Follows a stream, or all streams that match. Begins after `after`; `None`: with what is
    /// appended once the subscription is there.
    pub async fn subscribe(&self, selector: Selector, after: Option<EventId>) -> Result<Subscription> {
        self.begin_subscription(self.shared.reader.clone(), selector, after).await
    }

    /// The same with records that tell as `ts` what their writers noted as their time, where that is kept.
    pub async fn subscribe_with_ts(&self, selector: Selector, after: Option<EventId>) -> Result<Subscription> {
        self.begin_subscription(self.shared.reader.with_ts(), selector, after).await
    }

    async fn begin_subscription(
        &self,
        reader: Reader,
        selector: Selector,
        after: Option<EventId>,
    ) -> Result<Subscription> {
        match &selector {
            Selector::Stream(name) => check::argument("The stream name", name)?,
            Selector::Pattern(glob) => check::argument("The pattern", glob.as_str())?,
        }
        self.backend().await?;
        Subscription::begin(reader, selector, after, self.shared.closed.subscribe()).await
    }

    /// Lists the streams whose names match.
    pub fn streams(&self, pattern: &str) -> Result<Streams> {
        self.open_backend()?;
        let listing = Listing::new(self.shared.reader.clone(), pattern)?;
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
        let deleted = self.backend().await?.delete_streams(streams);
        // Now, as the caller may go away; and again, as it may be read before it is deleted.
        streams.iter().for_each(|stream| self.shared.cache.touched_stream(stream));
        let deleted = deleted.await;
        streams.iter().for_each(|stream| self.shared.cache.remove(stream));
        deleted
    }

    /// The place of a run, to be looked at again and again.
    pub(crate) fn run_key(&self, stream: &str) -> RunKey {
        RunKey(self.shared.cache.entry(stream))
    }

    /// Looks at a run, folded up to its last event (`0-0`: it has none).
    pub(crate) async fn run<R>(
        &self,
        key: &RunKey,
        consistency: Consistency,
        look: impl FnOnce(&Run, EventId) -> R,
    ) -> Result<R> {
        check::argument("The stream name", key.stream())?;
        self.open_backend()?;
        let look = match consistency {
            Consistency::Cached => match self.peek_run(key, look) {
                Ok(seen) => return Ok(seen),
                Err(look) => look,
            },
            Consistency::Strong => look,
        };
        let reader = self.passed().await?;
        self.shared.cache.run(reader, &key.0, consistency, look).await
    }

    /// Looks at a run if what is in memory is all there is to know; otherwise gives `look` back.
    pub(crate) fn peek_run<R, F: FnOnce(&Run, EventId) -> R>(&self, key: &RunKey, look: F) -> Result<R, F> {
        let Shared { cache, reader, intake, .. } = &*self.shared;
        let mut look = Some(look);
        let seen = cache.peek(reader, intake, &key.0, |content| {
            let last = content.last_id();
            let run = content.run()?;
            Some(look.take()?(run, last))
        });
        match (seen, look) {
            (Some(seen), _) => Ok(seen),
            (None, Some(look)) => Err(look),
            (None, None) => unreachable!("what was looked at was seen"),
        }
    }

    /// A run as it was after `up_to`.
    pub(crate) async fn run_at(&self, stream: &str, up_to: EventId) -> Result<Run> {
        check::argument("The stream name", stream)?;
        let reader = self.passed().await?;
        self.shared.cache.fold_back(reader, stream, up_to).await.map(|(run, _)| run)
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
