//! Folded streams that are kept in memory and brought up to date by reading only what is new.

use std::any::Any;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use moka::sync::Cache;

use super::StoreStats;
use super::query::{Pager, Query};
use crate::backend::Backend;
use crate::error::Result;
use crate::event::{EventId, EventRef, Events};

/// Something that is folded from the events of one stream.
pub(crate) trait Projection: Default + Send + 'static {
    /// Takes the next event.
    fn apply(&mut self, event: EventRef<'_>);

    /// About how many bytes it takes.
    fn weight(&self) -> usize;
}

struct Folded<P> {
    last: EventId,
    /// A hash of the last event: a stream that was deleted and began anew may use its id again.
    last_hash: u64,
    projection: P,
}

type Entry = Arc<dyn Any + Send + Sync>;

/// The projections of a store, at most so many bytes of them.
pub(super) struct Projections {
    cache: Cache<Arc<str>, (Entry, u32)>,
    hits: AtomicU64,
    misses: AtomicU64,
    advances: AtomicU64,
    invalidations: AtomicU64,
}

impl Projections {
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigh = |stream: &Arc<str>, (_, weight): &(Entry, u32)| weight.saturating_add(stream.len() as u32 + 128);
        let cache = Cache::builder().max_capacity(max_bytes).weigher(weigh).build();
        let (hits, misses, advances, invalidations) = Default::default();
        Projections { cache, hits, misses, advances, invalidations }
    }

    pub(super) fn remove(&self, stream: &str) {
        self.cache.invalidate(stream);
    }

    pub(super) fn stats(&self) -> StoreStats {
        self.cache.run_pending_tasks();
        StoreStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            advances: self.advances.load(Ordering::Relaxed),
            invalidations: self.invalidations.load(Ordering::Relaxed),
            cached_bytes: self.cache.weighted_size(),
            ..StoreStats::default()
        }
    }

    /// Brings the projection of a stream up to date and looks at it.
    pub(super) async fn read<P: Projection, R>(
        &self,
        backend: &Arc<dyn Backend>,
        stream: &str,
        look: impl FnOnce(&P, EventId) -> R,
    ) -> Result<R> {
        let cached = self.cache.get(stream).and_then(|(entry, _)| entry.downcast::<Mutex<Folded<P>>>().ok());
        if let Some(folded) = cached {
            let (last, last_hash) = {
                let folded = lock(&folded);
                (folded.last, folded.last_hash)
            };
            // The last known event is read again: if it is gone, the stream is another one now.
            let query = Query { after: last.previous(), ..Query::stream(stream) };
            let (events, known) = fetch(backend, &query, Some((last, last_hash))).await?;
            if known {
                let counter = if events.is_empty() { &self.hits } else { &self.advances };
                counter.fetch_add(1, Ordering::Relaxed);
                return Ok(self.advance(stream, &folded, events, look));
            }
            self.invalidations.fetch_add(1, Ordering::Relaxed);
            self.remove(stream);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let (events, _) = fetch(backend, &Query::stream(stream), None).await?;
        let folded = Arc::new(Mutex::new(Folded { last: EventId::MIN, last_hash: 0, projection: P::default() }));
        let seen = self.advance(stream, &folded, events, look);
        Ok(seen)
    }

    /// Folds in what is newer than what is folded already: several reads may bring the same events.
    fn advance<P: Projection, R>(
        &self,
        stream: &str,
        shared: &Arc<Mutex<Folded<P>>>,
        events: Vec<Events>,
        look: impl FnOnce(&P, EventId) -> R,
    ) -> R {
        let mut folded = lock(shared);
        let before = folded.last;
        let newer = events.iter().flat_map(Events::iter).filter(|event| event.id > before);
        let last = newer.inspect(|event| folded.projection.apply(*event)).last();
        if let Some(last) = last {
            folded.last = last.id;
            folded.last_hash = hash(last.record);
            let weight = u32::try_from(folded.projection.weight()).unwrap_or(u32::MAX);
            self.cache.insert(stream.into(), (shared.clone(), weight));
        }
        look(&folded.projection, folded.last)
    }
}

/// Reads pages to the end. With `known`, the first event has to have this id and hash and is left out;
/// the second part of the answer says whether it had.
async fn fetch(
    backend: &Arc<dyn Backend>,
    query: &Query,
    known: Option<(EventId, u64)>,
) -> Result<(Vec<Events>, bool)> {
    let mut pager = Pager::new(backend.clone(), query)?;
    let mut pages = Vec::new();
    let mut found = known.is_none();
    while let Some(page) = pager.next().await? {
        if !found {
            match page.iter().next() {
                Some(first) if Some((first.id, hash(first.record))) == known => found = true,
                _ => return Ok((Vec::new(), false)),
            }
            if page.len() == 1 {
                continue;
            }
        }
        pages.push(page);
    }
    Ok((pages, found))
}

fn hash(record: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.hash(&mut hasher);
    hasher.finish()
}

/// A lock is poisoned only by a panic, and folding skips what it can't read instead.
fn lock<P>(folded: &Mutex<Folded<P>>) -> std::sync::MutexGuard<'_, Folded<P>> {
    folded.lock().unwrap_or_else(PoisonError::into_inner)
}
