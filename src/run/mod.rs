//! What the events of a run amount to: its [`State`], how far it has come ([`Progress`]), its status
//! ([`reduce_run`]), whether it has ended. Pure folds that know event types and no store.

mod plan;
mod progress;
mod state;
mod status;

use std::borrow::Cow;

use serde::Deserialize;

pub use plan::{Backoff, BackoffType, Plan, PlannedStep};
pub(crate) use progress::emit_payload;
pub use progress::{
    Await, AwaitPhase, Awaited, Emitted, Ending, Offer, Progress, Step as RunStep, emit_data, ends_by_name,
};
pub(crate) use state::object;
pub use state::{BackwardFold, Change, Effect, State, effect};
pub use status::{OpenAwait, RunStatus, Status, StepPhase, StepStatus, reduce_run};

use crate::event::{Envelope, EventId, EventRef, Field, NewEvent, format_time, parse_time, quote};

/// The types that change state; `state` is the original module's.
pub const STATE_TYPES: [&str; 2] = ["state", "state.*"];
/// The type of the event that says that logs were trimmed.
pub const LOG_TRIMMED: &str = "log.trimmed";
/// The mark of events that only repeat, behind a snapshot, when its keys expire.
const SNAPSHOT_CAUSE: &str = "state.snapshot";

/// Whether a run goes on; what its life depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// It has not ended.
    #[default]
    Active,
    /// It ended well, or someone ended it.
    Completed,
    /// It ended with an error.
    Failed,
}

/// Whether an event of this type begins its run.
pub fn begins(event_type: &str) -> bool {
    matches!(event_type, "flow.started" | "flow.start")
}

/// How an event of this type ends its run, if it does.
pub fn ending(event_type: &str) -> Option<Phase> {
    match event_type {
        "flow.completed" | "flow.canceled" => Some(Phase::Completed),
        "flow.failed" => Some(Phase::Failed),
        _ => None,
    }
}

/// Whether events of this type change state.
pub fn is_state(event_type: &str) -> bool {
    event_type == "state" || event_type.starts_with("state.")
}

/// Whether events of this type are log entries.
pub fn is_log(event_type: &str) -> bool {
    event_type == "log" || (event_type.starts_with("log.") && event_type != LOG_TRIMMED)
}

/// Until when a run waits after this event, in milliseconds since the Unix epoch (`u64::MAX`: for
/// ever); `None` if it does not begin to wait.
pub fn awaits_until(event_type: &str, data: Option<&str>) -> Option<u64> {
    #[derive(Deserialize)]
    struct Awaiting<'a> {
        #[serde(borrow)]
        deadline: Option<Cow<'a, str>>,
    }
    if event_type != "trigger.awaiting" {
        return None;
    }
    let awaiting = data.and_then(|data| serde_json::from_str::<Awaiting>(data).ok());
    let deadline = awaiting.and_then(|awaiting| parse_time(awaiting.deadline.as_deref()?));
    Some(deadline.unwrap_or(u64::MAX))
}

/// The marker of logs that were trimmed: none up to this id is part of the timeline any more. Who
/// reads logs reads it as one of them.
pub fn log_trimmed(up_to: EventId) -> NewEvent {
    let message = format!("Logs up to {up_to} were trimmed.");
    let data = format!("{{\"level\":\"info\",\"message\":\"{message}\",\"upTo\":\"{up_to}\"}}");
    NewEvent::new(LOG_TRIMMED).with_data(data)
}

/// Up to which id logs were trimmed, if this is the marker that says so.
pub fn logs_trimmed_up_to(event: EventRef<'_>) -> Option<EventId> {
    #[derive(Deserialize)]
    struct Trimmed<'a> {
        #[serde(borrow, rename = "upTo")]
        up_to: Cow<'a, str>,
    }
    let data = event.data.filter(|_| event.event_type == LOG_TRIMMED)?;
    serde_json::from_str::<Trimmed>(data).ok()?.up_to.parse().ok()
}

/// The state as events: a snapshot, and behind it the keys that expire, as a snapshot alone can't
/// say when. `last` is the event that they are to follow, `now_ms` the present instant. The two
/// instants may come from two clocks: what has expired by one of them is not in the snapshot, and is
/// repeated as long as it lives by the other.
pub fn snapshot_events(state: &State, last: EventId, now_ms: u64, envelope: &Envelope) -> Vec<NewEvent> {
    let event = |event_type: &str, data: String| NewEvent::new(event_type).with_envelope(envelope).with_data(data);
    let mut events = vec![event("state.snapshot", state.to_json(last.ms.max(now_ms)))];
    let repeat = |(key, json, expires_ms): (&str, &str, u64)| {
        event("state.set", set_data(key, json, Some(expires_ms))).with(Field::CausationId, SNAPSHOT_CAUSE)
    };
    events.extend(state.expiring(last.ms.min(now_ms)).map(repeat));
    events
}

/// The payload of a `state.set`.
pub fn set_data(key: &str, json: &str, expires_ms: Option<u64>) -> String {
    let mut data = String::from("{\"key\":");
    quote(&mut data, key);
    data.push_str(",\"value\":");
    data.push_str(json);
    if let Some(expires_ms) = expires_ms {
        data.push_str(",\"expiresAt\":");
        quote(&mut data, &format_time(expires_ms));
    }
    data.push('}');
    data
}

/// Whether an event says again, behind a snapshot, what was known before.
pub fn only_repeats(event: EventRef<'_>) -> bool {
    is_caused_by(event, SNAPSHOT_CAUSE)
}

/// Whether an event carries this `causationId`.
pub(crate) fn is_caused_by(event: EventRef<'_>, cause: &str) -> bool {
    #[derive(Deserialize)]
    struct Header<'a> {
        #[serde(borrow, rename = "causationId")]
        causation_id: Option<Cow<'a, str>>,
    }
    // Looked for in the text first: few events have it.
    memchr::memmem::find(event.record.as_bytes(), b"\"causationId\"").is_some()
        && serde_json::from_str::<Header>(event.record)
            .is_ok_and(|header| header.causation_id.as_deref() == Some(cause))
}

/// What a store keeps of a run in memory: its state, and what decides over snapshots and its life.
#[derive(Debug, Default)]
pub struct Run {
    state: State,
    since_snapshot: u64,
    phase: Phase,
}

impl Run {
    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How many state events came after the last snapshot, or since the beginning.
    pub fn since_snapshot(&self) -> u64 {
        self.since_snapshot
    }

    /// Whether the run goes on. A run that was read from a snapshot on counts as going on until
    /// it is seen to end.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        self.state.weight() + size_of::<Run>()
    }

    /// Takes the next event. False: it should change the state, and can't be read.
    pub fn apply(&mut self, event: EventRef<'_>) -> bool {
        self.end(event.event_type);
        if !is_state(event.event_type) {
            return true;
        }
        let Some(effect) = effect(event.event_type, event.data) else { return false };
        match effect {
            Effect::Replaces(_) => self.since_snapshot = 0,
            Effect::Changes(_) if only_repeats(event) => {}
            Effect::Changes(_) => self.since_snapshot += 1,
        }
        self.state.take(&effect);
        true
    }

    /// The first end counts.
    fn end(&mut self, event_type: &str) {
        if self.phase == Phase::Active {
            self.phase = ending(event_type).unwrap_or_default();
        }
    }
}

/// A [`Run`] that is read from its newest event backwards, until a snapshot says the rest.
#[derive(Debug, Default)]
pub struct BackwardRun {
    state: BackwardFold,
    since_snapshot: u64,
    phase: Phase,
}

/// What an event meant to a [`BackwardRun`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// What stands before it matters, too.
    GoOn,
    /// Nothing before it matters.
    Done,
    /// It should change the state, and can't be read. What stands before it matters.
    Unreadable,
}

impl BackwardRun {
    /// Takes the event before those that were taken.
    pub fn take(&mut self, event: EventRef<'_>) -> Step {
        if let Some(phase) = ending(event.event_type) {
            self.phase = phase;
        }
        if !is_state(event.event_type) {
            return Step::GoOn;
        }
        let Some(effect) = effect(event.event_type, event.data) else { return Step::Unreadable };
        if self.state.take(&effect) {
            return Step::Done;
        }
        self.since_snapshot += u64::from(!only_repeats(event));
        Step::GoOn
    }

    /// The run, once everything that matters was taken.
    pub fn finish(self) -> Run {
        Run { state: self.state.finish(), since_snapshot: self.since_snapshot, phase: self.phase }
    }
}
