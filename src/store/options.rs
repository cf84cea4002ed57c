//! How to open a store.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::file::FileOptions;
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
    /// How folded state is kept in memory.
    pub cache: CacheOptions,
    /// How long runs and their logs are kept.
    pub retention: RetentionOptions,
    /// A run's state is written as a snapshot after so many state events; 0: never by itself.
    pub snapshot_every: u64,
}

/// Where the events live.
#[derive(Clone, Debug)]
pub enum BackendOptions {
    /// In this process.
    Memory,
    /// In a directory.
    File(FileOptions),
    /// In a Redis server.
    Redis(Box<RedisOptions>),
}

/// How folded state is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// Whether it is kept at all; without it every read of state folds the stream anew.
    pub enabled: bool,
    /// How many bytes of it.
    pub max_bytes: u64,
    /// For how long after it was last loaded or changed, in real time. 1, 7 and 30 days.
    pub ttl: Lives,
}

impl Default for CacheOptions {
    fn default() -> Self {
        let ttl = Lives { active: Some(DAY), completed: Some(7 * DAY), failed: Some(30 * DAY) };
        CacheOptions { enabled: true, max_bytes: 64 << 20, ttl }
    }
}

/// How long runs and their logs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionOptions {
    /// The streams of runs: active ones after their last event, the others after their end. For
    /// ever, 7 and 30 days.
    pub lives: Lives,
    /// The logs in them.
    pub logs: LogRetention,
}

impl Default for RetentionOptions {
    fn default() -> Self {
        let lives = Lives { active: None, completed: Some(7 * DAY), failed: Some(30 * DAY) };
        RetentionOptions { lives, logs: LogRetention::default() }
    }
}

/// How long a run's logs are kept, and how many; by default as long as the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRetention {
    /// Older ones are deleted; `None`: none for its age.
    pub max_age: Option<Duration>,
    /// The oldest beyond so many bytes, as JSON records, are deleted; `None`: no bound.
    pub max_bytes: Option<u64>,
}

/// How long something of a run is kept, by the run's status. `None`: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lives {
    /// The run has not ended.
    pub active: Option<Duration>,
    /// The run ended well, or was canceled.
    pub completed: Option<Duration>,
    /// The run ended with an error.
    pub failed: Option<Duration>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A millisecond is the unit of backends; beyond a thousand years lie overflows.
const LIFE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(1000 * 365 * 24 * 60 * 60);

fn check_life(name: &str, life: Option<Duration>) -> Result<()> {
    match life.is_none_or(|life| LIFE.contains(&life)) {
        true => Ok(()),
        false => Err(config(format!("{name} is not between a millisecond and a thousand years."))),
    }
}

impl Lives {
    fn check(&self, name: &str) -> Result<()> {
        check_life(&format!("{name}.active"), self.active)?;
        check_life(&format!("{name}.completed"), self.completed)?;
        check_life(&format!("{name}.failed"), self.failed)
    }
}

impl LogRetention {
    /// Whether logs are ever deleted before their run.
    pub(super) fn is_limited(&self) -> bool {
        self.max_age.is_some() || self.max_bytes.is_some()
    }
}

impl CacheOptions {
    fn check(&self) -> Result<()> {
        match self.max_bytes {
            0 => Err(config("cache.maxBytes is 0; set cache.enabled to false for no cache.")),
            _ => self.ttl.check("cache.ttl"),
        }
    }
}

impl RetentionOptions {
    fn check(&self) -> Result<()> {
        self.lives.check("retention")?;
        check_life("retention.logs.maxAge", self.logs.max_age)?;
        match self.logs.max_bytes {
            Some(0) => Err(config("retention.logs.maxBytes is 0, so no log could be kept.")),
            _ => Ok(()),
        }
    }
}

fn config(message: impl Into<String>) -> Error {
    Error::new(Code::Config, message)
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
    fn check(&self) -> Result<()> {
        let nothing = |name| Err(config(format!("limits.{name} is 0, so nothing could be stored.")));
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

    /// Events in a directory.
    pub fn file(options: FileOptions) -> Self {
        StoreOptions::with_backend(BackendOptions::File(options))
    }

    /// Events in a Redis server.
    pub fn redis(options: RedisOptions) -> Self {
        StoreOptions::with_backend(BackendOptions::Redis(Box::new(options)))
    }

    fn with_backend(backend: BackendOptions) -> Self {
        StoreOptions {
            backend,
            prefix: "nq".into(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            cache: CacheOptions::default(),
            retention: RetentionOptions::default(),
            snapshot_every: 1000,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        self.limits.check()?;
        self.cache.check()?;
        self.retention.check()
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

    /// The same options with another cache.
    pub fn with_cache(mut self, cache: CacheOptions) -> Self {
        self.cache = cache;
        self
    }

    /// The same options with another retention.
    pub fn with_retention(mut self, retention: RetentionOptions) -> Self {
        self.retention = retention;
        self
    }

    /// The same options with a snapshot after so many state events; 0: none.
    pub fn with_snapshot_every(mut self, state_events: u64) -> Self {
        self.snapshot_every = state_events;
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut StoreOptions)) -> String {
        let mut options = StoreOptions::memory();
        options.check().unwrap();
        change(&mut options);
        let error = options.check().unwrap_err();
        assert_eq!(error.code(), Code::Config);
        error.message().to_owned()
    }

    #[test]
    fn what_can_not_work_is_refused_by_name() {
        let zero = Some(Duration::ZERO);
        assert!(refusal(|options| options.cache.max_bytes = 0).starts_with("cache.maxBytes "));
        assert!(refusal(|options| options.cache.ttl.active = zero).starts_with("cache.ttl.active "));
        assert!(refusal(|options| options.retention.lives.completed = zero).starts_with("retention.completed "));
        assert!(
            refusal(|options| options.retention.lives.failed = Some(Duration::MAX)).starts_with("retention.failed ")
        );
        assert!(refusal(|options| options.retention.logs.max_age = zero).starts_with("retention.logs.maxAge "));
        assert!(refusal(|options| options.retention.logs.max_bytes = Some(0)).starts_with("retention.logs.maxBytes "));
    }

    #[test]
    fn no_bound_is_for_ever() {
        let mut options = StoreOptions::memory().with_snapshot_every(0);
        options.cache.ttl = Lives::default();
        options.retention = RetentionOptions { lives: Lives::default(), logs: LogRetention::default() };
        options.check().unwrap();
    }
}
