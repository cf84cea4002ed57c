//! How far each schedule has come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::event::EventId;
use crate::trigger::SKEW_MS;
use crate::trigger::board::RegisteredTrigger;
use crate::trigger::definition::TriggerType;

/// How many firings are remembered whose runs may go on.
const MOST_LATEST: usize = 16;

/// How far a schedule has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::trigger) struct Progress {
    /// Instants up to this one are decided on, in milliseconds since the Unix epoch.
    pub(in crate::trigger) cursor_ms: u64,
    /// Since when it is as it is and enabled.
    pub(in crate::trigger) since_ms: u64,
    /// The latest firings, for a schedule that looks at their runs.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(in crate::trigger) latest: VecDeque<Latest>,
    /// Firings that wait for the runs of others to end, in order.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(in crate::trigger) queued: VecDeque<Queued>,
}

/// A firing whose runs may go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::trigger) struct Latest {
    pub(in crate::trigger) fire_id: String,
    /// Its runs; `None`: they are being started.
    pub(in crate::trigger) runs: Option<Vec<String>>,
}

/// A firing that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::trigger) struct Queued {
    pub(in crate::trigger) fire_id: String,
    /// Its event in the trigger's own stream.
    #[serde(with = "super::id_text")]
    pub(in crate::trigger) at: EventId,
}

/// By trigger.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::trigger) struct Schedules {
    progress: BTreeMap<String, Progress>,
    /// Those that have changed since somebody asked.
    #[serde(skip)]
    changed: BTreeSet<String>,
}

impl Schedules {
    pub(in crate::trigger) fn get(&self, name: &str) -> Option<&Progress> {
        self.progress.get(name)
    }

    pub(in crate::trigger) fn names(&self) -> impl Iterator<Item = &String> {
        self.progress.keys()
    }

    /// Those that have changed since this was asked before.
    pub(in crate::trigger) fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.progress.len()
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = self.progress.get_mut(name) {
            change(progress);
            self.changed.insert(name.to_owned());
        }
    }

    /// A trigger is now this, or gone. `since_ms`: from when on, if that matters.
    pub(super) fn follow(
        &mut self,
        name: &str,
        before: Option<&RegisteredTrigger>,
        now: Option<&RegisteredTrigger>,
        since_ms: Option<u64>,
    ) {
        self.changed.insert(name.to_owned());
        let Some(now) = now.filter(|now| now.definition.kind == TriggerType::Schedule) else {
            self.progress.remove(name);
            return;
        };
        let is_same = before.is_some_and(|before| before.definition.schedule == now.definition.schedule);
        let is_resumed = now.enabled && before.is_some_and(|before| !before.enabled);
        let progress = self.progress.entry(name.to_owned()).or_default();
        let Some(since_ms) = since_ms.filter(|_| !is_same || is_resumed) else { return };
        progress.since_ms = since_ms;
        // By a clock that was wrong it had come further than clocks differ.
        if progress.cursor_ms > since_ms.saturating_add(SKEW_MS) {
            progress.cursor_ms = since_ms;
        }
        if !is_same {
            progress.cursor_ms = progress.cursor_ms.max(since_ms);
        }
    }

    /// Instants up to one are decided on.
    pub(super) fn decided(&mut self, name: &str, at_ms: u64) {
        self.change(name, |progress| progress.cursor_ms = progress.cursor_ms.max(at_ms));
    }

    /// A firing waits.
    pub(super) fn queued(&mut self, name: &str, fire_id: String, at: EventId) {
        self.change(name, |progress| {
            if !progress.queued.iter().any(|queued| queued.fire_id == fire_id) {
                progress.queued.push_back(Queued { fire_id, at });
            }
        });
    }

    /// A firing waits no more.
    pub(super) fn unqueue(&mut self, name: &str, fire_id: Option<&str>) {
        self.change(name, |progress| progress.queued.retain(|queued| Some(&*queued.fire_id) != fire_id));
    }

    /// A trigger fired, by its schedule or by hand. `looks_at_runs`: its next firings depend on what runs.
    pub(super) fn fired(&mut self, name: &str, fire_id: &str, looks_at_runs: bool) {
        self.unqueue(name, Some(fire_id));
        self.change(name, |progress| {
            if !looks_at_runs {
                progress.latest.clear();
            } else if !progress.latest.iter().any(|latest| latest.fire_id == fire_id) {
                progress.latest.push_back(Latest { fire_id: fire_id.to_owned(), runs: None });
            }
            if progress.latest.len() > MOST_LATEST {
                progress.latest.pop_front();
            }
        });
    }

    /// A firing has its runs.
    pub(super) fn processed(&mut self, name: &str, fire_id: &str, runs: Vec<String>) {
        self.change(name, |progress| {
            if let Some(latest) = progress.latest.iter_mut().find(|latest| latest.fire_id == fire_id) {
                latest.runs = Some(runs);
            }
        });
    }
}
