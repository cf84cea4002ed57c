//! What changed, when, and by which event.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::point::Point;
use crate::event::{EventId, EventRef, Events};
use crate::run::{Change, Effect, State, effect, object, only_repeats};

/// One change in the history of a run's state.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The id of the event.
    pub id: String,
    /// When it happened, ISO 8601.
    pub timestamp: String,
    /// The key.
    pub key: String,
    /// The new value; absent if the key was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Box<RawValue>>,
    /// The key was deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The step that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_name: Option<String>,
}

/// How the state differs between two points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Keys that are there at the second point only, with their values.
    pub added: BTreeMap<String, String>,
    /// Keys that are there at the first point only, with their values.
    pub removed: BTreeMap<String, String>,
    /// Keys with two values.
    pub changed: BTreeMap<String, (String, String)>,
    /// For each of these keys the last event between the points that changed it. A key that
    /// only expired has none.
    pub events: BTreeMap<String, EventId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    step_name: Option<Cow<'a, str>>,
}

/// The changes of all keys, or of one. A snapshot counts as a change only where it differs from
/// what was known before it: at the beginning of a stream that was trimmed.
pub fn history(events: &Events, key: Option<&str>) -> Vec<HistoryEntry> {
    let mut state = State::default();
    let mut entries = Vec::new();
    for event in events.iter() {
        let Some(effect) = effect(event.event_type, event.data) else { continue };
        let changes = changes(&state, &effect, event.id);
        let wanted: Vec<_> = changes.into_iter().filter(|change| key.is_none_or(|key| key == change.key)).collect();
        if !wanted.is_empty() && !only_repeats(event) {
            entries.extend(describe(event, &wanted));
        }
        state.take(&effect);
    }
    entries
}

/// The single changes of an effect; those of a snapshot are found by comparison.
fn changes<'a>(state: &'a State, effect: &'a Effect<'a>, id: EventId) -> Vec<Change<'a>> {
    match effect {
        Effect::Changes(changes) => changes.clone(),
        Effect::Replaces(values) => {
            let differs = |change: &&Change<'_>| state.get(&change.key, id.ms) != change.value;
            let mut changes: Vec<Change<'a>> = values.iter().filter(differs).cloned().collect();
            let kept: HashSet<&str> = values.iter().map(|change| &*change.key).collect();
            let gone = state.iter(id.ms).filter(|(key, _)| !kept.contains(key));
            changes.extend(gone.map(|(key, _)| Change { key: Cow::Borrowed(key), value: None, expires_ms: None }));
            changes
        }
    }
}

fn describe(event: EventRef<'_>, changes: &[Change<'_>]) -> Vec<HistoryEntry> {
    let Ok(header) = serde_json::from_str::<Header>(event.record) else { return Vec::new() };
    let entry = |change: &Change<'_>| HistoryEntry {
        id: event.id.to_string(),
        timestamp: header.timestamp.to_string(),
        key: change.key.to_string(),
        value: change.value.and_then(|json| RawValue::from_string(json.to_owned()).ok()),
        deleted: change.value.is_none(),
        step_name: header.step_name.as_deref().map(str::to_owned),
    };
    changes.iter().map(entry).collect()
}

/// Compares the state at two points: `earlier` is the state at the earlier one, `between` are the
/// events after it up to the later one.
pub fn diff(earlier: State, between: &Events, from: Point, to: Point) -> Diff {
    let mut later = earlier.clone();
    let mut changed_by: BTreeMap<String, EventId> = BTreeMap::new();
    for event in between.iter() {
        let Some(effect) = effect(event.event_type, event.data) else { continue };
        if !only_repeats(event) {
            let changed = changes(&later, &effect, event.id);
            changed_by.extend(changed.into_iter().map(|change| (change.key.into_owned(), event.id)));
        }
        later.take(&effect);
    }
    let states = if from.last_id() <= to.last_id() { [earlier, later] } else { [later, earlier] };
    compare(&states, [from, to], &changed_by)
}

fn compare([before, after]: &[State; 2], [from, to]: [Point; 2], changed_by: &BTreeMap<String, EventId>) -> Diff {
    let mut diff = Diff::default();
    for (key, new) in after.iter(to.ms()) {
        match before.get(key, from.ms()) {
            None => drop(diff.added.insert(key.into(), new.into())),
            Some(old) if !same_json(old, new) => drop(diff.changed.insert(key.into(), (old.into(), new.into()))),
            Some(_) => {}
        }
    }
    for (key, old) in before.iter(from.ms()).filter(|(key, _)| after.get(key, to.ms()).is_none()) {
        diff.removed.insert(key.into(), old.into());
    }
    let differing = diff.added.keys().chain(diff.removed.keys()).chain(diff.changed.keys());
    diff.events = differing.filter_map(|key| Some((key.clone(), *changed_by.get(key)?))).collect();
    diff
}

/// Whether two JSON texts say the same, however their members are ordered.
fn same_json(a: &str, b: &str) -> bool {
    let parsed = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    a == b || parsed(a).is_some_and(|a| Some(a) == parsed(b))
}

impl Diff {
    /// The diff as a JSON object with `added`, `removed`, `changed` and `events`.
    pub fn to_json(&self) -> String {
        let plain = |members: &BTreeMap<String, String>| object(members.iter().map(|(key, value)| (&**key, &**value)));
        let changed: BTreeMap<&str, String> =
            self.changed.iter().map(|(key, (from, to))| (&**key, format!("{{\"from\":{from},\"to\":{to}}}"))).collect();
        let changed = object(changed.iter().map(|(key, value)| (*key, value.as_str())));
        let events: BTreeMap<&str, String> =
            self.events.iter().map(|(key, id)| (&**key, format!("\"{id}\""))).collect();
        let events = object(events.iter().map(|(key, value)| (*key, value.as_str())));
        format!(
            "{{\"added\":{},\"removed\":{},\"changed\":{changed},\"events\":{events}}}",
            plain(&self.added),
            plain(&self.removed)
        )
    }
}
