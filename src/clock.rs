//! Where the current time comes from.
//!
//! Every decision about domain time (ids of the memory backend, the life of a key) asks a
//! [`Clock`], so that tests can drive it. Waiting for a network is real time, and asks the system.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of the current instant.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// Milliseconds since some instant, for distances: corrections of the wall clock don't move it.
    fn steady_ms(&self) -> u64 {
        self.now_ms()
    }
}

/// The system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that asks the system")]
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn steady_ms(&self) -> u64 {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        FIRST.get_or_init(monotonic).elapsed().as_millis() as u64
    }
}

/// A clock that stands still until it is moved.
///
/// ```
/// use nuxt_queue_core::{Clock, VirtualClock};
/// let clock = VirtualClock::new(1_000);
/// clock.advance(500);
/// assert_eq!(clock.now_ms(), 1_500);
/// ```
#[derive(Debug, Default)]
pub struct VirtualClock {
    ms: AtomicU64,
}

impl VirtualClock {
    /// A clock that shows `ms` milliseconds since the Unix epoch.
    pub fn new(ms: u64) -> Self {
        VirtualClock { ms: AtomicU64::new(ms) }
    }

    /// Moves the clock on by `ms` milliseconds.
    pub fn advance(&self, ms: u64) {
        self.ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the clock, forwards or backwards, to `ms` milliseconds since the Unix epoch.
    pub fn set(&self, ms: u64) {
        self.ms.store(ms, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now_ms(&self) -> u64 {
        self.ms.load(Ordering::SeqCst)
    }
}

/// A deadline of real time, `after` from now.
pub(crate) fn deadline(after: Duration) -> Instant {
    let now = monotonic();
    now.checked_add(after).unwrap_or(now + Duration::from_secs(365 * 86_400))
}

/// The present instant of real, steady time.
#[allow(clippy::disallowed_methods, reason = "the one place that asks the system")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
