//! What a store knows of one run: what is in memory of it, and what the store has done to it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::content::Content;
use crate::store::logs::Trimming;
use crate::store::snapshot::Countdown;

/// What is known of a run: its content, and what this store has done to it.
pub(in crate::store) struct Entry {
    pub(in crate::store) stream: Arc<str>,
    content: Mutex<Content>,
    pub(super) version: AtomicU64,
    /// Only one reads the stream at a time, so that many who miss it cause one read.
    pub(super) reading: tokio::sync::Mutex<()>,
    /// The number of reads that have begun.
    pub(super) reads: AtomicU64,
    /// Own appends that were followed since the run was last asked for.
    pub(super) unseen: AtomicU32,
    pub(super) following: AtomicBool,
    /// How many wait to query it, the one who does so included.
    pub(super) queries: AtomicU32,
    /// Whether the whole of it was asked for before: whoever reads a run once does not fill the memory.
    pub(super) was_queried: AtomicBool,
    pub(super) weight: AtomicU32,
    pub(super) phase: AtomicU8,
    pub(in crate::store) countdown: Countdown,
    /// When the life of the stream was last prolonged.
    pub(in crate::store) renewed_ms: AtomicU64,
    pub(in crate::store) logs: Trimming,
}

impl Entry {
    pub(super) fn new(stream: Arc<str>) -> Self {
        Entry {
            stream,
            content: Mutex::default(),
            version: AtomicU64::new(0),
            reading: tokio::sync::Mutex::default(),
            reads: AtomicU64::new(0),
            unseen: AtomicU32::new(0),
            following: AtomicBool::new(false),
            queries: AtomicU32::new(0),
            was_queried: AtomicBool::new(false),
            weight: AtomicU32::new(0),
            phase: AtomicU8::new(0),
            countdown: Countdown::default(),
            renewed_ms: AtomicU64::new(0),
            logs: Trimming::default(),
        }
    }

    /// A lock is poisoned only by a panic, and folding skips what it can't read instead.
    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
