//! Those in JavaScript who want to hear of diagnostics.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use tracing::level_filters::LevelFilter;

use super::super::outcome::json;
use super::entry::Entry;

/// So many diagnostics may wait for a callback.
const MAX_PENDING: usize = 1024;

/// Tells JavaScript that there is something to take; does not keep Node alive.
type Wake = ThreadsafeFunction<(), (), (), Status, false, true, 0>;

/// A callback in JavaScript. It is told that diagnostics wait, and takes them when its thread has
/// the time: nothing runs, or runs again, in the middle of what the diagnostics are about.
pub(super) struct Listener {
    pub(super) filter: LevelFilter,
    pending: Mutex<Pending>,
    wake: Wake,
}

impl Listener {
    pub(super) fn new(filter: LevelFilter, wake: Function<'_, (), ()>) -> napi::Result<Self> {
        let wake = wake.build_threadsafe_function::<()>().callee_handled::<false>().weak::<true>().build()?;
        Ok(Listener { filter, pending: Mutex::default(), wake })
    }

    /// Whether the thread that it belongs to has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.wake.aborted()
    }

    pub(super) fn offer(&self, entry: &Entry) {
        if lock(&self.pending).push(entry) {
            self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// What waits, as a JSON array.
    pub(super) fn take(&self) -> String {
        lock(&self.pending).take()
    }
}

/// Diagnostics as JSON, and how many there was no room for.
#[derive(Default)]
struct Pending {
    entries: VecDeque<String>,
    dropped: u64,
}

impl Pending {
    /// Whether it is the first, so that its taker has to be told.
    fn push(&mut self, entry: &Entry) -> bool {
        if self.entries.len() >= MAX_PENDING {
            self.dropped += 1;
            return false;
        }
        self.entries.push_back(json(entry));
        self.entries.len() == 1
    }

    fn take(&mut self) -> String {
        let mut entries = std::mem::take(&mut self.entries);
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            entries.push_back(json(&Entry::gap(dropped)));
        }
        format!("[{}]", entries.make_contiguous().join(","))
    }
}

/// The listeners of all threads of the process.
pub(super) struct Listeners(Mutex<Vec<Arc<Listener>>>);

impl Listeners {
    pub(super) const fn new() -> Self {
        Listeners(Mutex::new(Vec::new()))
    }

    pub(super) fn add(&self, listener: Arc<Listener>) {
        lock(&self.0).push(listener);
    }

    pub(super) fn remove(&self, listener: &Arc<Listener>) {
        lock(&self.0).retain(|other| !Arc::ptr_eq(other, listener));
    }

    /// Those whose threads have not ended. A copy: nobody is called under the lock.
    pub(super) fn present(&self) -> Vec<Arc<Listener>> {
        lock(&self.0).iter().filter(|listener| !listener.is_gone()).cloned().collect()
    }
}

/// A lock is poisoned only by a panic, and there is none under these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_a_gap_is_told_where_it_is() {
        let mut pending = Pending::default();
        let woken = (0..MAX_PENDING as u64 + 5).filter(|n| pending.push(&Entry::gap(*n))).count();
        assert_eq!(woken, 1);
        let taken: Vec<serde_json::Value> = serde_json::from_str(&pending.take()).unwrap();
        assert_eq!(taken.len(), MAX_PENDING + 1);
        assert_eq!((&taken[1023]["fields"]["dropped"], &taken[1024]["fields"]["dropped"]), (&1023.into(), &5.into()));
        assert_eq!(pending.take(), "[]");
        assert!(pending.push(&Entry::gap(0)));
    }
}
