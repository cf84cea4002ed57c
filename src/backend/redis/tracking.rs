//! Server-assisted invalidation: the server says when a stream that was read here is changed by others.
//!
//! It is asked for on the connection of the reads and appends, so that what it says stands between
//! the answers where it happened. It tells of a key once, and of none after we have changed it
//! ourselves; both times the key has to be read again to be told of.
//! Source: <https://redis.io/docs/latest/develop/reference/client-side-caching/>

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{PushKind, Value};

use super::connection::{Connection, within};
use super::options::RedisOptions;
use super::wire::{command, value};
use crate::backend::Invalidate;
use crate::clock::monotonic;
use crate::error::{Code, Result};

/// How often the server is asked whether it is still there, while its silence is relied on.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// After so long without a word, silence means nothing any more.
const LONGEST_SILENCE: Duration = Duration::from_secs(3);

/// Whether silence of the server means that nothing has changed.
pub(super) struct Tracking {
    is_on: AtomicBool,
    /// When the server was last heard, in milliseconds after `since`.
    heard_ms: AtomicU64,
    since: Instant,
    /// Someone has relied on it since the last heartbeat.
    is_relied_on: AtomicBool,
}

impl Tracking {
    pub(super) fn new() -> Self {
        let (is_on, heard_ms, is_relied_on) = Default::default();
        Tracking { is_on, heard_ms, since: monotonic(), is_relied_on }
    }

    fn now_ms(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }

    /// The server said something.
    pub(super) fn heard(&self) {
        self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Whether what was read and not reported changed is still the same.
    pub(super) fn is_reliable(&self) -> bool {
        if !self.is_on.load(Ordering::SeqCst) {
            return false;
        }
        if !self.is_relied_on.load(Ordering::Relaxed) {
            self.is_relied_on.store(true, Ordering::Relaxed);
        }
        let silent_ms = self.now_ms().saturating_sub(self.heard_ms.load(Ordering::Relaxed));
        u128::from(silent_ms) < LONGEST_SILENCE.as_millis()
    }

    /// Whether anyone has relied on it since the last time this was asked.
    pub(super) fn was_relied_on(&self) -> bool {
        self.is_on.load(Ordering::SeqCst) && self.is_relied_on.swap(false, Ordering::Relaxed)
    }

    /// Asks for it on a new connection. A server or a proxy that knows nothing of it is no error.
    pub(super) async fn begin(&self, connection: &mut Connection, options: &RedisOptions) -> Result<()> {
        let question = command([b"CLIENT", b"TRACKING", b"ON", b"NOLOOP"]);
        match within(options, connection.call(&question)).await {
            Ok(_) => {
                self.heard();
                self.is_on.store(true, Ordering::SeqCst);
                Ok(())
            }
            Err(error) if error.code() == Code::Backend => {
                tracing::info!(%error, "the server does not tell of changes; cached reads ask it each time");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The connection is lost: whatever changed meanwhile was not told.
    pub(super) fn end(&self, invalidate: &dyn Invalidate) {
        self.is_on.store(false, Ordering::SeqCst);
        invalidate.all_changed();
    }
}

/// Passes on what a push says.
pub(super) fn take_push(frame: &[u8], invalidate: &dyn Invalidate) {
    let Ok(Value::Push { kind: PushKind::Invalidate, data }) = value(frame) else { return };
    match data.into_iter().next() {
        Some(Value::Array(keys)) => {
            for key in keys {
                // A name that is no text is no stream of ours.
                if let Value::BulkString(name) = key
                    && let Ok(name) = std::str::from_utf8(&name)
                {
                    invalidate.changed(name);
                }
            }
        }
        // Everything was deleted.
        _ => invalidate.all_changed(),
    }
}
