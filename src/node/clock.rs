//! A clock that tests move.

use std::sync::Arc;

use napi_derive::napi;

use crate::clock::{Clock, VirtualClock};

/// A clock that stands still until it is moved.
#[napi]
pub struct NativeClock {
    pub(super) clock: Arc<VirtualClock>,
}

#[napi]
impl NativeClock {
    /// A clock that shows this millisecond since the Unix epoch.
    #[napi(constructor, catch_unwind)]
    pub fn new(ms: f64) -> Self {
        NativeClock { clock: Arc::new(VirtualClock::new(ms as u64)) }
    }

    /// Milliseconds since the Unix epoch.
    #[napi(catch_unwind)]
    pub fn now(&self) -> f64 {
        self.clock.now_ms() as f64
    }

    /// Moves the clock on.
    #[napi(catch_unwind)]
    pub fn advance(&self, ms: f64) {
        self.clock.advance(ms as u64);
    }

    /// Sets the clock.
    #[napi(catch_unwind)]
    pub fn set(&self, ms: f64) {
        self.clock.set(ms as u64);
    }
}
