//! What is kept of one run in memory.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use crate::clock::monotonic;
use crate::event::{EventId, EventRef, Events};
use crate::run::{Phase, Progress, Run};

/// What may have changed a run, counted: the connection's number, and the run's own.
pub(super) type Version = (u64, u64);

/// The last event of a stream: its id, and a hash of it. A stream that was deleted and began anew
/// may use the id again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Last {
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

/// What is asked of a stream beside its events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    pub(super) length: u64,
    /// When it is over.
    pub(super) until: Option<Instant>,
}

/// A run up to its last event: its state, how far it has come, its events, or all of them.
#[derive(Debug, Default)]
pub(in crate::store) struct Content {
    /// `None`: the stream has no events, or nothing is known of it.
    last: Option<Last>,
    run: Option<Run>,
    /// `None`: nobody has asked.
    progress: Option<Progress>,
    /// Every event of the run.
    timeline: Option<Events>,
    /// How many events the stream has; `None`: nobody has asked.
    length: Option<u64>,
    /// When the stream is over; `None`: it has no end.
    until: Option<Instant>,
    /// What this is known to be up to.
    pub(super) seen: Option<Version>,
    /// What it is up to if nobody else has written since: enough to decide by, if the decision is appended on
    /// that condition.
    pub(super) believed: Option<Version>,
    /// The number of the read that brought it up to date.
    pub(super) read: u64,
    /// Events that should have changed the state and can't be read; not reported yet.
    unreadable: Vec<EventId>,
}

impl Content {
    pub(super) fn last(&self) -> Option<Last> {
        self.last
    }

    pub(in crate::store) fn last_id(&self) -> EventId {
        self.last.map_or(EventId::MIN, |last| last.id)
    }

    /// The folded run. Made from the timeline if that is all there is.
    pub(in crate::store) fn run(&mut self) -> Option<&Run> {
        if self.run.is_none() {
            let mut run = Run::default();
            let unreadable = self.timeline.as_ref()?.iter().filter(|event| !run.apply(*event));
            self.unreadable.extend(unreadable.map(|event| event.id));
            self.run = Some(run);
        }
        self.run.as_ref()
    }

    /// How far it has come. Made from the timeline if that is all there is.
    pub(in crate::store) fn progress(&mut self) -> Option<&Progress> {
        if self.progress.is_none() {
            let mut progress = Progress::default();
            self.timeline.as_ref()?.iter().for_each(|event| progress.apply(event));
            self.progress = Some(progress);
        }
        self.progress.as_ref()
    }

    pub(in crate::store) fn timeline(&self) -> Option<&Events> {
        self.timeline.as_ref()
    }

    /// Whether all that is known can be had from the run's last snapshot on.
    pub(super) fn is_cheaper_from_its_end(&self) -> bool {
        self.timeline.is_none() && self.progress.is_none()
    }

    /// Whether there is anything that new events can be added to.
    pub(super) fn is_filled(&self) -> bool {
        self.run.is_some() || self.progress.is_some() || self.timeline.is_some()
    }

    pub(super) fn phase(&self) -> Phase {
        self.run.as_ref().map_or(Phase::Active, Run::phase)
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let timeline = self.timeline.as_ref().map_or(0, Events::weight);
        let progress = self.progress.as_ref().map_or(0, Progress::weight);
        timeline + progress + self.run.as_ref().map_or(0, Run::weight)
    }

    /// Whether the stream is over by now. A server does not tell of it if it finds out by a
    /// question of ours.
    pub(super) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= monotonic())
    }

    /// It is up to a version now, as a read found, which asked for this beside.
    pub(super) fn confirm(&mut self, version: Version, read: u64, measure: Option<Measure>) {
        (self.seen, self.believed, self.read) = (Some(version), Some(version), read);
        if let Some(measure) = measure {
            (self.length, self.until) = (Some(measure.length), measure.until);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Content { read: self.read, ..Content::default() };
    }

    /// Sets the run, folded up to `last`.
    pub(super) fn set_run(&mut self, run: Run, last: Option<Last>) {
        if self.last != last {
            (self.timeline, self.progress) = (None, None);
        }
        (self.run, self.last, self.length) = (Some(run), last, None);
    }

    /// Sets how far the run has come, and its state, both folded up to `last`.
    pub(super) fn set_progress(&mut self, progress: Progress, run: Run, unreadable: Vec<EventId>, last: Option<Last>) {
        self.set_run(run, last);
        self.progress = Some(progress);
        self.unreadable.extend(unreadable);
    }

    /// Sets the timeline. The folded run is taken on, if it belongs to it and nothing of what it was
    /// folded from is gone.
    pub(super) fn set_timeline(&mut self, timeline: Events) {
        let last = timeline.last().map(Last::of);
        let known = self.last.filter(|known| {
            let newer = timeline.iter().rev().take_while(|event| event.id > known.id).count();
            let is_there = timeline.iter().rfind(|event| event.id == known.id).map(Last::of) == Some(*known);
            is_there && self.length.is_some() && !self.has_lost(timeline.len() as u64, newer)
        });
        match (known, &mut self.run) {
            (Some(before), Some(run)) => {
                let newer = timeline.iter().skip_while(|event| event.id <= before.id);
                self.unreadable.extend(newer.filter(|event| !run.apply(*event)).map(|event| event.id));
            }
            _ => self.run = None,
        }
        // Made anew when it is asked for.
        self.progress = None;
        (self.timeline, self.last) = (Some(timeline), last);
    }

    /// The events that could not be read, each once.
    pub(super) fn take_unreadable(&mut self) -> Vec<EventId> {
        std::mem::take(&mut self.unreadable)
    }

    /// Takes events that are known to follow the last one directly, or to be all there is. False: the last one is
    /// another one by now.
    pub(super) fn advance(&mut self, expected: EventId, events: Events, most: usize) -> bool {
        if !self.is_filled() && expected == EventId::MIN {
            (self.run, self.progress) = (Some(Run::default()), Some(Progress::default()));
        }
        let follows = self.is_filled() && self.last_id() == expected;
        if follows {
            self.extend(vec![events], most);
        }
        follows
    }

    /// Whether the stream has lost events, if it has so many now and `news` of them are new.
    pub(super) fn has_lost(&self, length: u64, news: usize) -> bool {
        self.length.is_some_and(|before| before + news as u64 != length)
    }

    /// Takes the events that came after the last one. A timeline over `most` bytes is given up.
    pub(super) fn extend(&mut self, events: Vec<Events>, most: usize) {
        for page in events {
            let Some(last) = page.last().map(Last::of) else { continue };
            self.length = self.length.map(|length| length + page.len() as u64);
            if let Some(run) = &mut self.run {
                self.unreadable.extend(page.iter().filter(|event| !run.apply(*event)).map(|event| event.id));
            }
            if let Some(progress) = &mut self.progress {
                page.iter().for_each(|event| progress.apply(event));
            }
            if let Some(timeline) = &mut self.timeline {
                timeline.append(page);
            }
            self.last = Some(last);
        }
        if self.timeline.as_ref().is_some_and(|timeline| timeline.weight() > most) {
            // Folded before its events go.
            self.run();
            self.progress();
            self.timeline = None;
        }
    }
}
