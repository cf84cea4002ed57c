//! What follows from appends to runs: what is in memory is not up to them, a snapshot may be due,
//! the run lives longer, or not, and its logs may have become too many.

use std::sync::Arc;

use super::EventStore;
use super::cache::Entry;
use crate::backend::Append;
use crate::event::{Envelope, Field, NewEvent};
use crate::io;
use crate::run::{is_log, is_state};

/// About how many bytes a record has beside its stream and what it was made of.
const RECORD_BYTES: usize = 128;

/// What the appends of one call did to one run.
pub(super) struct Written {
    entry: Arc<Entry>,
    log_bytes: u64,
    /// The envelope of a snapshot that may be due.
    snapshot: Option<Envelope>,
}

impl EventStore {
    /// Takes note of an append that is about to be submitted.
    pub(super) fn note(&self, written: &mut Vec<Written>, append: &mut Append) {
        let shared = &self.shared;
        if !shared.cache.is_run(&append.stream) {
            return;
        }
        // Appends to one run mostly come together.
        if written.last().is_none_or(|last| *last.entry.stream != *append.stream) {
            written.push(Written { entry: shared.cache.entry(&append.stream), log_bytes: 0, snapshot: None });
        }
        let Some(run) = written.last_mut() else { return };
        if shared.snapshot_every > 0 {
            let count = append.events.iter().filter(|event| is_state(event.event_type())).count() as u64;
            if count > 0 && run.entry.countdown.count(count, shared.snapshot_every) {
                run.snapshot = append.events.first().map(snapshot_envelope);
            }
        }
        if shared.retention.logs.is_limited() {
            let logs = append.events.iter().filter(|event| is_log(event.event_type()));
            let record = append.stream.len() + RECORD_BYTES;
            run.log_bytes += logs.map(|event| (event.size() + record) as u64).sum::<u64>();
        }
        append.after = shared.prolonging(&run.entry, &append.events);
    }

    /// The appends that were taken note of are with the backend, or wait to be.
    pub(super) fn follow_up(&self, written: Vec<Written>) {
        for run in &written {
            self.shared.cache.touched(&run.entry);
            self.shared.cache.follow(&self.shared.reader, &run.entry);
        }
        self.follow_up_known(written);
    }

    /// The same for appends whose place is known: they need not be read again.
    pub(super) fn follow_up_known(&self, written: Vec<Written>) {
        let shared = &self.shared;
        for Written { entry, log_bytes, snapshot } in written {
            if log_bytes > 0 {
                self.wrote_logs(&entry, log_bytes);
            }
            if let Some(envelope) = snapshot {
                let shared = shared.clone();
                io::begin(async move { shared.snapshot_if_due(&entry, &envelope).await });
            }
        }
    }
}

/// A snapshot belongs to its run, and to nobody who wrote to it.
fn snapshot_envelope(event: &NewEvent) -> Envelope {
    let mut envelope = Envelope::default();
    for field in [Field::RunId, Field::FlowName] {
        if let Some(value) = event.get(field) {
            envelope.set(field, value);
        }
    }
    envelope
}
