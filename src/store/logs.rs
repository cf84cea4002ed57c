//! Trimming the logs of a run by age and by bytes. State and steps stay.
//!
//! Logs stand between other events, so they are deleted one by one. Before that an event
//! `log.trimmed` says up to where.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::cache::Entry;
use super::options::LogRetention;
use super::query::{Pager, Query};
use super::{AppendOptions, EventStore};
use crate::backend::Receipt;
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Field};
use crate::io;
use crate::run::{is_log, log_trimmed, logs_trimmed_up_to};

/// Not more often than this is one run looked at for old logs.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The pause after a look that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often it is tried to say that logs are trimmed while others write the run.
const ATTEMPTS: usize = 5;

/// What is known of the logs of a run.
#[derive(Default)]
pub(super) struct Trimming {
    /// The bytes of logs that were written here since the last look.
    written: AtomicU64,
    looked_ms: AtomicU64,
    busy: AtomicBool,
    /// Someone will look when the oldest log is too old.
    scheduled: AtomicBool,
    /// No log stands before it. Only one trims at a time.
    first: Mutex<EventId>,
}

impl Trimming {
    /// Counts logs that were written. True: it is time to look, and nobody else does. With what is
    /// left after a look (see [`Logs::surplus`]) they never outgrow their bytes.
    fn count(&self, bytes: u64, options: &LogRetention, now_ms: u64) -> bool {
        let written = self.written.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let too_many = options.max_bytes.is_some_and(|most| written > most / 4);
        let since = u128::from(now_ms.saturating_sub(self.looked_ms.load(Ordering::Relaxed)));
        let too_old = options.max_age.is_some_and(|age| since >= age.as_millis() / 4);
        written > 0 && (too_many || too_old) && !self.busy.swap(true, Ordering::SeqCst)
    }
}

/// The logs of a run, oldest first, and what says that older ones were trimmed.
#[derive(Default)]
struct Logs {
    logs: VecDeque<(EventId, u64)>,
    bytes: u64,
    markers: Vec<EventId>,
    /// Up to where the markers say that logs were trimmed.
    up_to: EventId,
    /// The last event that was read.
    end: EventId,
}

impl Logs {
    /// Takes out those that are to go.
    fn surplus(&mut self, options: &LogRetention, now_ms: u64) -> Vec<EventId> {
        let oldest_ms = options.max_age.map(|age| now_ms.saturating_sub(age.as_millis() as u64));
        let most = options.max_bytes.map_or(u64::MAX, |most| most - most / 4);
        let mut surplus = Vec::new();
        while let Some((id, bytes)) = self.logs.front().copied() {
            let is_alone = self.logs.len() == 1 && options.max_bytes.is_none_or(|most| bytes <= most);
            let is_within = self.bytes <= most || is_alone;
            if is_within && oldest_ms.is_none_or(|oldest_ms| id.ms >= oldest_ms) {
                break;
            }
            self.bytes -= bytes;
            self.logs.pop_front();
            surplus.push(id);
        }
        surplus
    }

    fn first(&self) -> EventId {
        self.logs.front().map_or(self.end, |(id, _)| *id)
    }
}

impl EventStore {
    /// Logs were written to a run.
    pub(super) fn wrote_logs(&self, entry: &Arc<Entry>, bytes: u64) {
        let options = self.shared.retention.logs;
        if self.shared.is_trimming_refused.load(Ordering::Relaxed) {
            return;
        }
        if entry.logs.count(bytes, &options, self.now_ms()) {
            let (store, entry) = (self.clone(), entry.clone());
            io::begin(async move {
                loop {
                    // What went wrong was said.
                    let _ = store.trim_logs(&entry).await;
                    entry.logs.busy.store(false, Ordering::SeqCst);
                    // Those that were written meanwhile left it to this one.
                    if !entry.logs.count(0, &options, store.now_ms()) {
                        return;
                    }
                }
            });
        }
        if let Some(age) = options.max_age.filter(|_| !entry.logs.scheduled.swap(true, Ordering::SeqCst)) {
            self.trim_logs_later(entry.clone(), age);
        }
    }

    /// Looks again when the oldest log is too old, also if nobody writes any more.
    fn trim_logs_later(&self, entry: Arc<Entry>, age: Duration) {
        let shared = Arc::downgrade(&self.shared);
        io::begin(async move {
            let mut pause = age;
            loop {
                tokio::time::sleep(pause.max(SHORTEST_PAUSE)).await;
                let Some(store) = shared.upgrade().map(|shared| EventStore { shared }) else { return };
                if store.shared.intake.is_closed() {
                    return;
                }
                pause = match store.trim_logs(&entry).await {
                    Ok(Some(oldest)) => {
                        let lived = Duration::from_millis(store.now_ms().saturating_sub(oldest.ms));
                        age.saturating_sub(lived)
                    }
                    Ok(None) => break,
                    Err(error) if error.code() == Code::Backend => break,
                    // It comes back.
                    Err(_) => RETRY_AFTER,
                };
            }
            entry.logs.scheduled.store(false, Ordering::SeqCst);
        });
    }

    /// Deletes the logs of a run that are too old or too many; the oldest that is left.
    async fn trim_logs(&self, entry: &Entry) -> Result<Option<EventId>> {
        let trimmed = self.try_to_trim_logs(entry).await;
        if let Err(error) = &trimmed {
            // Refused once, it will be again, and each time a marker would be left.
            let is_refused = error.code() == Code::Backend;
            self.shared.is_trimming_refused.fetch_or(is_refused, Ordering::Relaxed);
            tracing::warn!(stream = &*entry.stream, %error, "the logs of a run could not be trimmed");
        }
        trimmed
    }

    async fn try_to_trim_logs(&self, entry: &Entry) -> Result<Option<EventId>> {
        let shared = &self.shared;
        let mut first = entry.logs.first.lock().await;
        entry.logs.written.store(0, Ordering::Relaxed);
        entry.logs.looked_ms.store(self.now_ms(), Ordering::Relaxed);
        let mut logs = Logs::default();
        self.read_logs(entry, first.previous(), &mut logs).await?;
        let surplus = logs.surplus(&shared.retention.logs, self.now_ms());
        if let Some(up_to) = surplus.last() {
            let Some(marker) = self.mark(entry, *up_to, &mut logs).await? else { return Ok(None) };
            let trimmed = shared.backend.delete_events(&entry.stream, &surplus);
            let markers = shared.backend.delete_events(&entry.stream, &logs.markers);
            shared.cache.deleted_from(entry);
            shared.trimmed.fetch_add(trimmed.await?, Ordering::Relaxed);
            markers.await?;
            // What was read in between may have been either.
            shared.cache.deleted_from(entry);
            logs.markers = vec![marker];
        }
        // From there on the next look finds what it needs.
        *first = logs.markers.iter().copied().fold(logs.first(), EventId::min);
        Ok(logs.logs.front().map(|(id, _)| *id))
    }

    /// Says up to where logs are trimmed. Other markers are made needless by this one. `None`: the
    /// run is gone; a marker must not make it a run again.
    async fn mark(&self, entry: &Entry, up_to: EventId, logs: &mut Logs) -> Result<Option<EventId>> {
        let run_id = entry.stream.strip_prefix(&format!("{}:flow:", self.shared.prefix)).unwrap_or_default();
        logs.up_to = logs.up_to.max(up_to);
        for attempt in 0.. {
            let marker = log_trimmed(logs.up_to).with(Field::RunId, run_id);
            // A run that others write all the time is surely there.
            let expected_last_id = (attempt < ATTEMPTS).then_some(logs.end);
            let options = AppendOptions { expected_last_id, idempotency_key: None };
            let (said, end) = (logs.up_to, logs.end);
            let marker = match self.append(&entry.stream, marker, options).await {
                Ok(Receipt::One(marker)) => Some(marker),
                Err(error) if error.code() == Code::Conflict => None,
                Err(error) => return Err(error),
                Ok(_) => return Err(Error::new(Code::Internal, "A marker is one event.")),
            };
            // Someone else may have trimmed meanwhile.
            self.read_logs(entry, Some(end), logs).await?;
            match marker {
                Some(marker) if logs.up_to == said => {
                    logs.markers.retain(|other| *other < marker);
                    return Ok(Some(marker));
                }
                None if logs.end == end => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Takes the logs after an event.
    async fn read_logs(&self, entry: &Entry, after: Option<EventId>, logs: &mut Logs) -> Result<()> {
        let query = Query { after, ..Query::stream(&*entry.stream) };
        let mut pager = Pager::new(self.shared.reader.clone(), &query)?;
        while let Some(page) = pager.next().await? {
            for event in page.iter() {
                logs.end = event.id;
                if is_log(event.event_type) {
                    logs.logs.push_back((event.id, event.record.len() as u64));
                    logs.bytes += event.record.len() as u64;
                } else if let Some(up_to) = logs_trimmed_up_to(event) {
                    logs.markers.push(event.id);
                    logs.up_to = logs.up_to.max(up_to);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs() -> Logs {
        let logs = (1..=10).map(|ms| (EventId::new(ms * 1000, 0), 100)).collect();
        Logs { logs, bytes: 1000, ..Logs::default() }
    }

    #[test]
    fn the_oldest_go_first() {
        let by_bytes = LogRetention { max_bytes: Some(1000), max_age: None };
        let gone: Vec<_> = logs().surplus(&by_bytes, 0).iter().map(|id| id.ms).collect();
        assert_eq!(gone, [1000, 2000, 3000]);
        assert!(logs().surplus(&LogRetention { max_bytes: Some(1334), max_age: None }, 0).is_empty());
        let by_age = LogRetention { max_bytes: None, max_age: Some(Duration::from_secs(8)) };
        let gone: Vec<_> = logs().surplus(&by_age, 10_000).iter().map(|id| id.ms).collect();
        assert_eq!(gone, [1000]);
        assert!(logs().surplus(&LogRetention::default(), u64::MAX).is_empty());
    }
}
