//! Runs in memory, coherent with their streams.
//!
//! Each run has a *version* that grows with everything that may have changed its stream: an append
//! of this store, an invalidation from the backend. Content that was read after a version was
//! noted is up to that version. While the backend tells of every change ([`Backend::tracks`]),
//! content that is up to the present version is answered from memory; otherwise the stream is read
//! from the last known event on. Its length is asked for, too: if events were deleted, it is read anew.
//!
//! [`Backend::tracks`]: crate::backend::Backend::tracks

mod catch_up;
mod content;
mod entry;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::notification::RemovalCause;
use moka::{Expiry, sync};

use self::catch_up::Question;
pub(super) use self::content::Content;
use self::content::Version;
pub(super) use self::entry::Entry;
use super::intake::Intake;
use super::options::{CacheOptions, Lives};
use super::query::{Consistency, Pager, Query, select};
use super::reader::Reader;
use crate::backend::Invalidate;
use crate::error::Result;
use crate::event::{EventId, Events};
use crate::run::{Progress, Run};

/// What an entry weighs beside its content.
const ENTRY_WEIGHT: usize = 384;
/// Which part of the cache one timeline may take.
const TIMELINE_SHARE: u64 = 8;
/// Of how many runs at least it is remembered what this store did to them.
const REMEMBERED: usize = 16_384;
/// Every so many hits the cache is told that a run is in use.
const HITS_A_NOTICE: u64 = 16;

/// How long an entry is kept after it was loaded or has changed.
struct EntryLife(Lives);

impl EntryLife {
    fn of(&self, entry: &Entry) -> Option<Duration> {
        match entry.phase.load(Ordering::Relaxed) {
            0 => self.0.active,
            1 => self.0.completed,
            _ => self.0.failed,
        }
    }
}

impl Expiry<Arc<str>, Arc<Entry>> for EntryLife {
    fn expire_after_create(&self, _: &Arc<str>, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        self.of(entry)
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        entry: &Arc<Entry>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.of(entry)
    }
}

/// One of those who wait for something.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn on(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Waiting(count)
    }

    fn are_more(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 1
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What was counted since the store was opened.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) advances: AtomicU64,
    pub(super) invalidations: AtomicU64,
    pub(super) unreadable: AtomicU64,
}

/// The runs of a store that are in memory, at most so many bytes of them.
pub(super) struct Cache {
    known: Mutex<Known>,
    /// The entries that have content. One that is evicted here loses it.
    filled: sync::Cache<Arc<str>, Arc<Entry>>,
    /// The beginning of the names of runs' streams.
    runs: String,
    /// How many bytes of content are kept; 0: nothing is.
    max_bytes: u64,
    /// How far behind a run may be before it is read from its end back.
    far_behind: usize,
    /// Grows when changes may have been missed everywhere.
    epoch: AtomicU64,
    pub(super) counters: Counters,
    too_small: AtomicBool,
}

/// All entries. There is never more than one of a stream.
#[derive(Default)]
struct Known {
    entries: HashMap<Arc<str>, Arc<Entry>>,
    /// At how many those are forgotten that nobody uses and that have no content.
    forget_at: usize,
}

impl Known {
    fn entry(&mut self, stream: &str) -> Arc<Entry> {
        if let Some(entry) = self.entries.get(stream) {
            return entry.clone();
        }
        if self.entries.len() >= self.forget_at {
            self.entries.retain(|_, entry| Arc::strong_count(entry) > 1);
            self.forget_at = (2 * self.entries.len()).max(REMEMBERED);
        }
        let stream: Arc<str> = stream.into();
        let entry = Arc::new(Entry::new(stream.clone()));
        self.entries.insert(stream, entry.clone());
        entry
    }
}

impl Cache {
    pub(super) fn new(options: &CacheOptions, prefix: &str, snapshot_every: u64) -> Self {
        let max_bytes = if options.enabled { options.max_bytes } else { 0 };
        let weigh = |stream: &Arc<str>, entry: &Arc<Entry>| {
            entry.weight.load(Ordering::Relaxed).saturating_add((2 * stream.len() + ENTRY_WEIGHT) as u32)
        };
        let evict = |_: Arc<Arc<str>>, entry: Arc<Entry>, cause: RemovalCause| {
            if cause != RemovalCause::Replaced {
                entry.content().clear();
            }
        };
        let filled = sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(weigh)
            .expire_after(EntryLife(options.ttl))
            .eviction_listener(evict)
            .build();
        Cache {
            known: Mutex::default(),
            filled,
            runs: format!("{prefix}:flow:"),
            max_bytes,
            far_behind: usize::try_from(snapshot_every.saturating_mul(2)).unwrap_or(usize::MAX).max(1024),
            epoch: AtomicU64::new(0),
            counters: Counters::default(),
            too_small: AtomicBool::new(false),
        }
    }

    /// Whether a stream is a run's.
    pub(super) fn is_run(&self, stream: &str) -> bool {
        stream.starts_with(&self.runs)
    }

    /// The entry of a run.
    pub(super) fn entry(&self, stream: &str) -> Arc<Entry> {
        self.known().entry(stream)
    }

    pub(super) fn find(&self, stream: &str) -> Option<Arc<Entry>> {
        self.known().entries.get(stream).cloned()
    }

    /// A lock is poisoned only by a panic; the map is whole at every step.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This store has deleted a stream.
    pub(super) fn remove(&self, stream: &str) {
        if let Some(entry) = self.find(stream) {
            self.touched(&entry);
            entry.renewed_ms.store(0, Ordering::Relaxed);
            self.filled.invalidate(stream);
            entry.content().clear();
        }
    }

    /// How many runs are kept, and about how many bytes that takes.
    pub(super) fn size(&self) -> (u64, u64) {
        self.filled.run_pending_tasks();
        (self.filled.entry_count(), self.filled.weighted_size())
    }

    /// This store has deleted events of a run.
    pub(super) fn deleted_from(&self, entry: &Entry) {
        self.touched(entry);
        entry.content().clear();
    }

    pub(super) fn version(&self, entry: &Entry) -> Version {
        (self.epoch.load(Ordering::SeqCst), entry.version.load(Ordering::SeqCst))
    }

    /// What this store did to a run is with the backend now: what is in memory is not up to it.
    pub(super) fn touched(&self, entry: &Entry) {
        entry.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The same for a stream that need not be in memory.
    pub(super) fn touched_stream(&self, stream: &str) {
        if let Some(entry) = self.find(stream) {
            self.touched(&entry);
        }
    }

    /// Looks at what is in memory, if that is all there is to know.
    pub(super) fn peek<R>(
        &self,
        reader: &Reader,
        intake: &Intake,
        entry: &Entry,
        look: impl FnOnce(&mut Content) -> Option<R>,
    ) -> Option<R> {
        // An append that waits is not counted in the version yet.
        if self.max_bytes == 0 || !intake.is_clear() || !reader.backend.tracks() {
            return None;
        }
        let mut content = entry.content();
        if content.seen != Some(self.version(entry)) || content.is_over() {
            return None;
        }
        let seen = look(&mut content)?;
        drop(content);
        entry.unseen.store(0, Ordering::Relaxed);
        if self.counters.hits.fetch_add(1, Ordering::Relaxed).is_multiple_of(HITS_A_NOTICE) {
            self.filled.get(&entry.stream);
        }
        Some(seen)
    }

    /// Looks at what is in memory, if as far as this store knows that is all there is.
    pub(super) fn guess<R>(
        &self,
        intake: &Intake,
        entry: &Entry,
        look: impl FnOnce(&mut Content) -> Option<R>,
    ) -> Option<R> {
        if self.max_bytes == 0 || !intake.is_clear() {
            return None;
        }
        let mut content = entry.content();
        if content.believed != Some(self.version(entry)) || content.is_over() {
            return None;
        }
        look(&mut content)
    }

    /// Takes events that this store has appended right behind `expected`, at this version.
    pub(super) fn advance(&self, entry: &Entry, expected: EventId, events: Events, version: Version) {
        if self.max_bytes == 0 {
            return;
        }
        {
            let mut content = entry.content();
            if !content.advance(expected, events, self.largest_timeline()) {
                return;
            }
            content.believed = Some(version);
        }
        self.weigh(entry);
    }

    /// Brings a run up to date and looks at it.
    pub(super) async fn run<R>(
        &self,
        reader: &Reader,
        entry: &Entry,
        consistency: Consistency,
        look: impl FnOnce(&Run, EventId) -> R,
    ) -> Result<R> {
        let arrival = self.arrive(entry);
        let _turn = entry.reading.lock().await;
        let is_known = entry.content().run().is_some()
            && (self.covers(reader, entry, arrival, consistency) || self.catch_up(reader, entry).await?);
        let counter = if is_known { &self.counters.hits } else { &self.counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        self.look(reader, entry, is_known, look).await
    }

    /// Brings a run up to date for the store itself, and looks at it.
    pub(super) async fn refresh<R>(
        &self,
        reader: &Reader,
        entry: &Entry,
        look: impl FnOnce(&Run, EventId) -> R,
    ) -> Result<R> {
        let _turn = entry.reading.lock().await;
        let is_known = entry.content().run().is_some() && self.catch_up(reader, entry).await?;
        self.look(reader, entry, is_known, look).await
    }

    /// Looks at a run that is up to date if it is known, and otherwise is loaded.
    async fn look<R>(
        &self,
        reader: &Reader,
        entry: &Entry,
        mut is_known: bool,
        look: impl FnOnce(&Run, EventId) -> R,
    ) -> Result<R> {
        loop {
            if !is_known {
                self.load_run(reader, entry).await?;
            }
            let mut content = entry.content();
            let last = content.last_id();
            if let Some(run) = content.run() {
                let seen = look(run, last);
                drop(content);
                self.weigh(entry);
                return Ok(seen);
            }
            // It was evicted just now.
            is_known = false;
        }
    }

    /// Brings up to date how far a run has come, and looks at it.
    pub(super) async fn progress<R>(
        &self,
        reader: &Reader,
        entry: &Entry,
        consistency: Consistency,
        look: impl FnOnce(&Progress, EventId) -> R,
    ) -> Result<R> {
        let arrival = self.arrive(entry);
        let _turn = entry.reading.lock().await;
        let mut is_known = entry.content().progress().is_some()
            && (self.covers(reader, entry, arrival, consistency) || self.catch_up(reader, entry).await?);
        let counter = if is_known { &self.counters.hits } else { &self.counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        loop {
            if !is_known {
                self.load_progress(reader, entry).await?;
            }
            let mut content = entry.content();
            let last = content.last_id();
            if let Some(progress) = content.progress() {
                let seen = look(progress, last);
                drop(content);
                self.weigh(entry);
                return Ok(seen);
            }
            is_known = false;
        }
    }

    /// Brings the timeline of a run up to date and reads in it.
    pub(super) async fn query(&self, reader: &Reader, query: &Query) -> Result<Events> {
        let entry = self.entry(&query.stream);
        let arrival = self.arrive(&entry);
        let queries = Waiting::on(&entry.queries);
        let _turn = entry.reading.lock().await;
        let is_known = entry.content().timeline().is_some()
            && (self.covers(reader, &entry, arrival, query.consistency) || self.catch_up(reader, &entry).await?);
        let known = entry.content().timeline().filter(|_| is_known).map(|timeline| select(timeline, query));
        if let Some(events) = known {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
            self.weigh(&entry);
            return Ok(events);
        }
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
        let (version, read) = self.begin_read(&entry);
        let question = Question::ask(reader, &entry.stream);
        let mut pager = Pager::new(reader.clone(), &Query::stream(&query.stream))?;
        let mut timeline = Events::default();
        while let Some(page) = pager.next().await? {
            timeline.append(page);
        }
        let measure = question.answer().await?;
        let is_wanted_again = entry.was_queried.swap(true, Ordering::Relaxed) || queries.are_more();
        if !is_wanted_again || timeline.weight() > self.largest_timeline() {
            return Ok(if query.is_everything() { timeline } else { select(&timeline, query) });
        }
        let events = select(&timeline, query);
        let mut content = entry.content();
        content.set_timeline(timeline.compact());
        content.confirm(version, read, measure);
        drop(content);
        self.weigh(&entry);
        Ok(events)
    }

    /// Whether a query is answered from the timeline of a run, or brings it into memory.
    pub(super) fn serves(&self, reader: &Reader, query: &Query) -> bool {
        let is_possible = self.max_bytes > 0 && self.is_run(&query.stream) && !reader.backend.is_local();
        is_possible && (query.is_whole() || self.has_timeline(&query.stream))
    }

    fn has_timeline(&self, stream: &str) -> bool {
        self.find(stream).is_some_and(|entry| entry.content().timeline().is_some())
    }

    fn largest_timeline(&self) -> usize {
        usize::try_from(self.max_bytes / TIMELINE_SHARE).unwrap_or(usize::MAX)
    }

    fn arrive(&self, entry: &Entry) -> (Version, u64) {
        entry.unseen.store(0, Ordering::Relaxed);
        (self.version(entry), entry.reads.load(Ordering::SeqCst))
    }

    /// Whether the content is as new as one who arrived then may expect.
    fn covers(
        &self,
        reader: &Reader,
        entry: &Entry,
        (version, reads): (Version, u64),
        consistency: Consistency,
    ) -> bool {
        // Before the lock is taken: a backend in memory tells of what is over by now, also of this run.
        let is_told = consistency == Consistency::Cached && reader.backend.tracks();
        let content = entry.content();
        // Someone else began to read after the arrival.
        let is_newer = content.read > reads;
        let is_told = is_told && !content.is_over();
        is_newer || (is_told && content.seen.is_some_and(|seen| seen.0 == version.0 && seen.1 >= version.1))
    }

    /// Lets the cache know what the entry weighs now.
    fn weigh(&self, entry: &Entry) {
        let (weight, phase, unreadable) = {
            let mut content = entry.content();
            let weight = u32::try_from(content.weight()).unwrap_or(u32::MAX);
            (weight, content.phase() as u8, content.take_unreadable())
        };
        self.report(&entry.stream, &unreadable);
        if u64::from(weight) > self.max_bytes {
            entry.content().clear();
            if self.max_bytes > 0 && !self.too_small.swap(true, Ordering::Relaxed) {
                let max_bytes = self.max_bytes;
                tracing::warn!(
                    weight,
                    max_bytes,
                    "cache.maxBytes is less than one run needs; such runs are read anew each time"
                );
            }
            return;
        }
        let before = entry.weight.swap(weight, Ordering::Relaxed);
        let phase_before = entry.phase.swap(phase, Ordering::Relaxed);
        let is_same = phase_before == phase && before.abs_diff(weight) <= before / 8;
        if !is_same || !self.filled.contains_key(&entry.stream) {
            // There is only one of a stream, so this is it.
            if let Some(entry) = self.find(&entry.stream) {
                self.filled.insert(entry.stream.clone(), entry);
            }
        }
    }
}

impl Invalidate for Cache {
    fn changed(&self, stream: &str) {
        if let Some(entry) = self.find(stream) {
            entry.version.fetch_add(1, Ordering::SeqCst);
            if entry.content().is_filled() {
                self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn all_changed(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}
