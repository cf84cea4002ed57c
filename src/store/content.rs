//! What is kept of one run in memory.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::event::{EventId, EventRef, Events};
use crate::run::{Phase, Run, is_log, logs_trimmed_up_to};

/// What may have changed a run, counted: the connection's number, and the run's own.
pub(super) type Version = (u64, u64);

/// The last event of a stream: its id, and a hash of it. A stream that was deleted and began anew
/// may use the id again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) id: EventId,
    hash: u64,
}

impl Last {
    pub(super) fn of(event: EventRef<'_>) -> Last {
        let mut hasher = DefaultHasher::new();
        event.record.hash(&mut hasher);
        Last { id: event.id, hash: hasher.finish() }
    }
}

/// A run up to its last event: folded, as it stands, or both.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// `None`: the stream has no events, or nothing is known of it.
    last: Option<Last>,
    run: Option<Run>,
    /// Every event of the run.
    timeline: Option<Events>,
    /// What this is known to be up to.
    pub(super) seen: Option<Version>,
    /// The number of the read that brought it up to date.
    pub(super) read: u64,
    /// Events that should have changed the state and can't be read; not reported yet.
    unreadable: Vec<EventId>,
}

impl Content {
    pub(super) fn last(&self) -> Option<Last> {
        self.last
    }

    pub(super) fn last_id(&self) -> EventId {
        self.last.map_or(EventId::MIN, |last| last.id)
    }

    /// The folded run. Made from the timeline if that is all there is.
    pub(super) fn run(&mut self) -> Option<&Run> {
        if self.run.is_none() {
            let mut run = Run::default();
            let unreadable = self.timeline.as_ref()?.iter().filter(|event| !run.apply(*event));
            self.unreadable.extend(unreadable.map(|event| event.id));
            self.run = Some(run);
        }
        self.run.as_ref()
    }

    pub(super) fn timeline(&self) -> Option<&Events> {
        self.timeline.as_ref()
    }

    /// Whether there is anything that new events can be added to.
    pub(super) fn is_filled(&self) -> bool {
        self.run.is_some() || self.timeline.is_some()
    }

    pub(super) fn phase(&self) -> Phase {
        self.run.as_ref().map_or(Phase::Active, Run::phase)
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let timeline = self.timeline.as_ref().map_or(0, Events::weight);
        timeline + self.run.as_ref().map_or(0, Run::weight)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Content { read: self.read, ..Content::default() };
    }

    /// Sets the run, folded up to `last`.
    pub(super) fn set_run(&mut self, run: Run, last: Option<Last>) {
        if self.last != last {
            self.timeline = None;
        }
        (self.run, self.last) = (Some(run), last);
    }

    /// Sets the timeline. The folded run is taken on, if it belongs to it.
    pub(super) fn set_timeline(&mut self, timeline: Events) {
        let last = timeline.last().map(Last::of);
        let known = |known: Last| timeline.iter().rfind(|event| event.id == known.id).map(Last::of) == Some(known);
        match (self.last, &mut self.run) {
            (Some(before), Some(run)) if known(before) => {
                let newer = timeline.iter().skip_while(|event| event.id <= before.id);
                self.unreadable.extend(newer.filter(|event| !run.apply(*event)).map(|event| event.id));
            }
            _ => self.run = None,
        }
        (self.timeline, self.last) = (Some(timeline), last);
    }

    /// The events that could not be read, each once.
    pub(super) fn take_unreadable(&mut self) -> Vec<EventId> {
        std::mem::take(&mut self.unreadable)
    }

    /// Takes the events that came after the last one. A timeline over `most` bytes is given up.
    pub(super) fn extend(&mut self, events: Vec<Events>, most: usize) {
        for page in events {
            let Some(last) = page.last().map(Last::of) else { continue };
            if let Some(run) = &mut self.run {
                self.unreadable.extend(page.iter().filter(|event| !run.apply(*event)).map(|event| event.id));
            }
            let trimmed = page.iter().filter_map(logs_trimmed_up_to).max();
            if let Some(timeline) = &mut self.timeline {
                timeline.append(page);
                if let Some(up_to) = trimmed {
                    *timeline = without_logs(timeline, up_to);
                }
            }
            self.last = Some(last);
        }
        if self.timeline.as_ref().is_some_and(|timeline| timeline.weight() > most) {
            // Folded before its events go.
            self.run();
            self.timeline = None;
        }
    }
}

/// A timeline without the logs up to `up_to`, and without earlier markers that say the same.
fn without_logs(timeline: &Events, up_to: EventId) -> Events {
    let last_marker = timeline.iter().rfind(|event| logs_trimmed_up_to(*event).is_some()).map(|event| event.id);
    let mut kept = Events::default();
    let is_gone = |event: &EventRef<'_>| match logs_trimmed_up_to(*event) {
        Some(_) => Some(event.id) != last_marker,
        None => event.id <= up_to && is_log(event.event_type),
    };
    timeline.iter().filter(|event| !is_gone(event)).for_each(|event| kept.push(event));
    kept
}
