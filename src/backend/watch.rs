//! Telling subscriptions which streams have changed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Glob;

/// The streams that a subscription is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    /// One stream.
    Stream(Box<str>),
    /// Every stream whose name matches.
    Pattern(Glob),
}

impl Selector {
    /// Whether a stream is meant.
    pub fn matches(&self, stream: &str) -> bool {
        match self {
            Selector::Stream(name) => &**name == stream,
            Selector::Pattern(glob) => glob.matches(stream),
        }
    }
}

/// What has changed since it was last asked.
#[derive(Debug, Default)]
pub struct Changes {
    /// These streams have new events.
    pub streams: HashSet<Box<str>>,
    /// Any stream may have new events.
    pub any: bool,
}

impl Changes {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        !self.any && self.streams.is_empty()
    }
}

#[derive(Debug)]
struct Signal {
    selector: Selector,
    changes: Mutex<Changes>,
    notify: Notify,
}

/// The announcements for one subscription. Ends with the value.
#[derive(Debug)]
pub struct Watch {
    signal: Arc<Signal>,
    hub: Arc<Hub>,
    /// How often to look without being told, for writers that announce nothing; `None`: never.
    recheck: Option<Duration>,
}

impl Watch {
    /// Waits for changes; an empty answer means that it is time to look without being told.
    pub async fn changed(&self) -> Changes {
        let changed = async {
            loop {
                let notified = self.signal.notify.notified();
                let changes = std::mem::take(&mut *lock(&self.signal.changes));
                if !changes.is_empty() {
                    return changes;
                }
                notified.await;
            }
        };
        match self.recheck {
            None => changed.await,
            Some(every) => tokio::time::timeout(every, changed).await.unwrap_or_default(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.remove(&self.signal);
    }
}

/// All watches of a backend.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    signals: Mutex<Vec<Arc<Signal>>>,
    /// The number of signals, to be read without the lock on the append path.
    count: AtomicUsize,
}

impl Hub {
    /// Begins to tell of changes.
    pub(crate) fn watch(self: &Arc<Self>, selector: Selector, recheck: Option<Duration>) -> Watch {
        let signal = Arc::new(Signal { selector, changes: Mutex::default(), notify: Notify::new() });
        let mut signals = lock(&self.signals);
        signals.push(signal.clone());
        self.count.store(signals.len(), Ordering::Release);
        Watch { signal, hub: self.clone(), recheck }
    }

    /// A stream has new events.
    pub(crate) fn announce(&self, stream: &str) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        for signal in lock(&self.signals).iter().filter(|signal| signal.selector.matches(stream)) {
            let mut changes = lock(&signal.changes);
            if !changes.streams.contains(stream) {
                changes.streams.insert(stream.into());
            }
            drop(changes);
            signal.notify.notify_one();
        }
    }

    /// Any stream may have new events.
    pub(crate) fn announce_any(&self) {
        for signal in lock(&self.signals).iter() {
            lock(&signal.changes).any = true;
            signal.notify.notify_one();
        }
    }

    /// The distinct selectors that are watched now.
    pub(crate) fn selectors(&self) -> HashSet<Selector> {
        lock(&self.signals).iter().map(|signal| signal.selector.clone()).collect()
    }

    fn remove(&self, gone: &Arc<Signal>) {
        let mut signals = lock(&self.signals);
        signals.retain(|signal| !Arc::ptr_eq(signal, gone));
        self.count.store(signals.len(), Ordering::Release);
    }
}

/// A lock is poisoned only by a panic; what it guards here is whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
