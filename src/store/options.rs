//! How to open a store.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::redis::RedisOptions;
use crate::clock::{Clock, SystemClock};
use crate::error::{Code, Error, Result};

/// Everything that can be set when a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Where the events live.
    pub backend: BackendOptions,
    /// The beginning of every key: `nq`.
    pub prefix: String,
    /// What is too large or takes too long.
    pub limits: Limits,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// How many bytes of folded state are kept in memory.
    pub cache_bytes: u64,
}

/// Where the events live.
#[derive(Clone, Debug)]
pub enum BackendOptions {
    /// In this process.
    Memory,
    /// In a Redis server.
    Redis(RedisOptions),
}

/// What is too large or takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest event: type, envelope and data together, in bytes.
    pub max_event_bytes: usize,
    /// How many bytes may be on their way to the backend; further appends wait.
    pub max_queued_bytes: usize,
    /// How long an append or a read may take.
    pub append_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_event_bytes: 1 << 20, max_queued_bytes: 64 << 20, append_timeout: Duration::from_secs(30) }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<()> {
        let nothing = |name| Err(Error::new(Code::Config, format!("limits.{name} is 0, so nothing could be stored.")));
        match self {
            Limits { max_event_bytes: 0, .. } => nothing("maxEventBytes"),
            Limits { max_queued_bytes: 0, .. } => nothing("maxQueuedBytes"),
            Limits { append_timeout: Duration::ZERO, .. } => nothing("appendTimeoutMs"),
            _ => Ok(()),
        }
    }
}

impl StoreOptions {
    /// Events in the memory of this process.
    pub fn memory() -> Self {
        StoreOptions::with_backend(BackendOptions::Memory)
    }

    /// Events in a Redis server.
    pub fn redis(options: RedisOptions) -> Self {
        StoreOptions::with_backend(BackendOptions::Redis(options))
    }

    fn with_backend(backend: BackendOptions) -> Self {
        let clock = Arc::new(SystemClock);
        StoreOptions { backend, prefix: "nq".into(), limits: Limits::default(), clock, cache_bytes: 64 << 20 }
    }

    /// The same options with another clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same options with other limits.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
