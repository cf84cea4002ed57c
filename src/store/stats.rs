//! What a store counts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{EventStore, Shared};

/// Counters since the store was opened, and what there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreStats {
    /// Reads that were answered from a run in memory, after reading what was new if need be.
    pub hits: u64,
    /// Reads for which a run had to be read.
    pub misses: u64,
    /// How often a run in memory was brought up to date by reading what was new.
    pub advances: u64,
    /// How often a run in memory was changed by others, or turned out to be another one.
    pub invalidations: u64,
    /// Bytes of runs in memory.
    pub cached_bytes: u64,
    /// Runs in memory.
    pub cached_runs: u64,
    /// Acknowledged events.
    pub appended: u64,
    /// How often appends were sent, several at a time.
    pub pipelines: u64,
    /// Events that were read from the backend.
    pub events_read: u64,
    /// Snapshots that this store wrote by itself.
    pub snapshots: u64,
    /// Events that this store deleted to keep streams within bounds.
    pub trimmed: u64,
    /// State events that could not be read, and were passed over.
    pub unreadable: u64,
    /// Bytes of appends that are not acknowledged yet.
    pub queued_bytes: u64,
}

impl EventStore {
    /// Counters since the store was opened, and what there is now.
    pub fn stats(&self) -> StoreStats {
        let Shared { cache, intake, reader, backend, .. } = &*self.shared;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (cached_runs, cached_bytes) = cache.size();
        StoreStats {
            hits: count(&cache.counters.hits),
            misses: count(&cache.counters.misses),
            advances: count(&cache.counters.advances),
            invalidations: count(&cache.counters.invalidations),
            cached_bytes,
            cached_runs,
            appended: intake.appended(),
            pipelines: backend.pipelines(),
            events_read: reader.events_read(),
            snapshots: count(&self.shared.snapshots),
            trimmed: count(&self.shared.trimmed),
            unreadable: count(&cache.counters.unreadable),
            queued_bytes: intake.queued_bytes(),
        }
    }
}
