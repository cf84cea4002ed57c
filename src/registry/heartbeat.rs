//! Signs of life, from a thread of their own: an event loop that is blocked does not look dead, and is told of.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{RegistryEngine, event};
use crate::error::{Code, Result};
use crate::io::Task;
use crate::store::AppendOptions;

/// After so many ticks that did not come, the event loop counts as blocked.
const MISSED_TICKS: u64 = 4;

/// The heartbeats of an instance; they end with the value.
pub struct Heartbeats {
    _task: Task,
}

impl RegistryEngine {
    /// The event loop runs, and will say so again within `every_ms`.
    pub fn tick(&self, every_ms: u64) {
        self.own.tick_every_ms.store(every_ms, Ordering::Relaxed);
        self.own.tick_ms.store(self.store.steady_ms(), Ordering::Relaxed);
    }

    /// For how long the event loop has not run, if that is too long.
    fn blocked_ms(&self) -> Option<u64> {
        let tick_ms = self.own.tick_ms.load(Ordering::Relaxed);
        if tick_ms == u64::MAX {
            return None;
        }
        let silent_ms = self.store.steady_ms().saturating_sub(tick_ms);
        (silent_ms > MISSED_TICKS * self.own.tick_every_ms.load(Ordering::Relaxed)).then_some(silent_ms)
    }

    /// Gives a sign of life, and records what of the instance is not recorded. Nothing once it was shut down.
    ///
    /// # Errors
    /// Those of appending; the next heartbeat makes up for it.
    pub async fn beat(&self) -> Result<()> {
        let _turn = self.writing.lock().await;
        self.record().await?;
        if self.own.is_closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let blocked_ms = self.blocked_ms();
        self.tell_blocked(blocked_ms);
        let heartbeat = event::heartbeat(self.instance_id(), blocked_ms);
        self.say(vec![heartbeat], AppendOptions::default()).await?;
        self.compact_if_long().await;
        Ok(())
    }

    /// Once each time.
    fn tell_blocked(&self, blocked_ms: Option<u64>) {
        let was_blocked = self.own.was_blocked.swap(blocked_ms.is_some(), Ordering::Relaxed);
        if let (Some(blocked_ms), false) = (blocked_ms, was_blocked) {
            let instance_id = self.instance_id();
            tracing::warn!(instance_id, blocked_ms, "the event loop is blocked: handlers, timers and requests wait");
        }
    }

    /// Gives signs of life by itself, in real time, the first one after an interval. What fails is told of once an
    /// outage, and tried again.
    ///
    /// # Errors
    /// `Internal` if there is no thread for it.
    pub fn keep_beating(&self) -> Result<Heartbeats> {
        let engine = self.clone();
        let task = Task::spawn(async move {
            let interval = Duration::from_millis(engine.own.options.heartbeat_interval_ms);
            let mut is_failing = false;
            loop {
                tokio::time::sleep(interval).await;
                if engine.own.is_closed.load(Ordering::Relaxed) {
                    return;
                }
                match engine.beat().await {
                    Ok(()) => is_failing = false,
                    Err(error) if error.code() == Code::Closed => return,
                    Err(error) => {
                        if !is_failing {
                            tracing::warn!(%error, "a heartbeat could not be recorded; this is tried again");
                        }
                        is_failing = true;
                    }
                }
            }
        })?;
        Ok(Heartbeats { _task: task })
    }
}
