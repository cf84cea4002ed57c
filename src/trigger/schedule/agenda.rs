//! When each schedule is to be looked at next: one order for all of them, so one timer is enough.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::decision::Position;
use crate::event::EventId;
use crate::schedule::{Schedule, ScheduleOptions};
use crate::trigger::board::Board;
use crate::trigger::definition::TriggerDefinition;

/// What the delays of firings derive from.
const DELAYS: Uuid = Uuid::from_u128(0x1d0c_6f0e_53a1_4b0f_8a5e_7f5a_c0de_2b91);

/// The schedules that fire, in the order of time.
#[derive(Default)]
pub(in crate::trigger) struct Agenda {
    entries: HashMap<String, Entry>,
    by_due: BTreeSet<(u64, String)>,
}

/// A schedule that fires.
struct Entry {
    definition: Arc<TriggerDefinition>,
    schedule: Arc<Schedule>,
    position: Position,
    /// The last event of the trigger's own stream that was read; `None`: none was.
    last: Option<EventId>,
    /// Some firings wait for the runs of others to end.
    has_queue: bool,
    /// It is left alone until then.
    not_before_ms: u64,
    due_ms: Option<u64>,
}

/// A schedule, and how far it has come.
#[derive(Clone)]
pub(super) struct Turn {
    pub(super) definition: Arc<TriggerDefinition>,
    pub(super) schedule: Arc<Schedule>,
    pub(super) position: Position,
    pub(super) last: Option<EventId>,
}

/// By how much a firing is put off, in milliseconds: the same everywhere.
pub(super) fn put_off_ms(schedule: &Schedule, name: &str, at_ms: u64) -> u64 {
    match schedule.options().jitter_ms {
        None | Some(0) => 0,
        Some(jitter_ms) => {
            let hash = Uuid::new_v5(&DELAYS, format!("{at_ms}/{name}").as_bytes()).as_u128();
            (hash % (u128::from(jitter_ms) + 1)) as u64
        }
    }
}

impl Entry {
    fn due_ms(&self, name: &str) -> Option<u64> {
        let next = || self.schedule.next_after(self.position.cursor_ms);
        let due = || next().map(|next| next.saturating_add(put_off_ms(&self.schedule, name, next)));
        let due_ms = if self.has_queue { Some(0) } else { due() };
        due_ms.map(|due_ms| due_ms.max(self.not_before_ms))
    }
}

impl Agenda {
    /// The earliest instant at which a schedule is to be looked at.
    pub(in crate::trigger) fn next_due(&self) -> Option<u64> {
        self.by_due.first().map(|(due_ms, _)| *due_ms)
    }

    /// The schedules that are to be looked at, in the order of time, and so many at most.
    pub(super) fn due(&self, now_ms: u64, most: usize) -> Vec<String> {
        let due = self.by_due.iter().take_while(|(due_ms, _)| *due_ms <= now_ms);
        due.take(most).map(|(_, name)| name.clone()).collect()
    }

    pub(super) fn turn(&self, name: &str) -> Option<Turn> {
        self.entries.get(name).map(|entry| Turn {
            definition: Arc::clone(&entry.definition),
            schedule: Arc::clone(&entry.schedule),
            position: entry.position,
            last: entry.last,
        })
    }

    /// Everything as it stands on the board.
    pub(in crate::trigger) fn replace(&mut self, board: &Board) {
        let gone: Vec<String> = self.entries.keys().cloned().collect();
        gone.iter().chain(board.schedules.names()).for_each(|name| self.follow(name, board));
    }

    /// A schedule as it stands on the board.
    pub(in crate::trigger) fn follow(&mut self, name: &str, board: &Board) {
        let before = self.remove(name);
        let trigger = board.registry.get(name).filter(|trigger| trigger.enabled);
        let (Some(trigger), Some(progress)) = (trigger, board.schedules.get(name)) else { return };
        let definition = &trigger.definition;
        let same = before.as_ref().filter(|before| Arc::ptr_eq(&before.definition, definition));
        let schedule = match same {
            Some(before) => Arc::clone(&before.schedule),
            None => match enabled_schedule(definition) {
                Some(schedule) => Arc::new(schedule),
                None => return,
            },
        };
        let mut position = Position { cursor_ms: progress.cursor_ms, since_ms: progress.since_ms };
        // It may know what is not announced yet, unless it began anew.
        let before = before.filter(|before| before.position.since_ms == progress.since_ms);
        position.cursor_ms = before.as_ref().map_or(0, |before| before.position.cursor_ms).max(position.cursor_ms);
        let entry = Entry {
            definition: Arc::clone(definition),
            schedule,
            position,
            last: before.as_ref().and_then(|before| before.last),
            has_queue: !progress.queued.is_empty(),
            not_before_ms: before.as_ref().map_or(0, |before| before.not_before_ms),
            due_ms: None,
        };
        self.insert(name, entry);
    }

    /// A schedule's own stream was read up to an event.
    pub(super) fn read(&mut self, name: &str, last: Option<EventId>, cursor_ms: u64) {
        let Some(mut entry) = self.remove(name) else { return };
        entry.last = last;
        entry.position.cursor_ms = entry.position.cursor_ms.max(cursor_ms);
        self.insert(name, entry);
    }

    /// A schedule is left alone for a while.
    pub(super) fn put_off(&mut self, name: &str, until_ms: u64) {
        let Some(mut entry) = self.remove(name) else { return };
        entry.not_before_ms = until_ms;
        self.insert(name, entry);
    }

    fn insert(&mut self, name: &str, mut entry: Entry) {
        entry.due_ms = entry.due_ms(name);
        if let Some(due_ms) = entry.due_ms {
            self.by_due.insert((due_ms, name.to_owned()));
        }
        self.entries.insert(name.to_owned(), entry);
    }

    fn remove(&mut self, name: &str) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        if let Some(due_ms) = entry.due_ms {
            self.by_due.remove(&(due_ms, name.to_owned()));
        }
        Some(entry)
    }
}

/// The schedule of a trigger, if that is to fire.
fn enabled_schedule(definition: &TriggerDefinition) -> Option<Schedule> {
    let options = ScheduleOptions::from_json(&definition.schedule.as_ref()?.to_string()).ok()?;
    (options.enabled != Some(false)).then(|| Schedule::new(&options).ok())?
}
