//! What is awaited everywhere: the open awaits of all runs, and what was fired lately. Folded from the
//! stream that all instances follow.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::{EventId, EventRef, format_time, parse_time};
use crate::run::ends_by_name;
use crate::store::Compact;

/// How many firings are remembered for awaits that begin later.
const MOST_RECENT: usize = 1_000;
/// How many bytes of their payloads.
const MOST_RECENT_BYTES: usize = 1 << 20;

/// An await, by its run and its id.
pub(super) type Key = (Arc<str>, Arc<str>);

/// An open await.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    name: Arc<str>,
    /// Whether it is ended by a trigger of its name. Others have a name only to be shown.
    is_named: bool,
    deadline_ms: Option<u64>,
}

/// Something that was fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fired {
    pub(super) fire_id: String,
    pub(super) name: String,
    pub(super) at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<String>,
}

/// What is awaited.
#[derive(Debug, Default)]
pub(super) struct Board {
    open: HashMap<Key, Open>,
    by_name: HashMap<Arc<str>, BTreeSet<Key>>,
    by_deadline: BTreeSet<(u64, Key)>,
    /// What was fired lately, in order.
    recent: VecDeque<(EventId, Fired)>,
    recent_bytes: usize,
    /// What was fired and not worked off.
    pending: BTreeMap<String, Fired>,
    /// Events that it does not know: they must not be compacted away.
    pub(super) has_others: bool,
    /// How many events were taken since the last snapshot.
    pub(super) taken: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(borrow)]
    run_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    trigger_name: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Data<'a> {
    await_id: Option<String>,
    kind: Option<String>,
    deadline: Option<String>,
    fire_id: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What an event says to those who wait in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// Something came for an await.
    Woken(String, String),
    /// A run has ended.
    Ended(String),
}

fn parse<'a>(event: EventRef<'a>) -> Option<(Record<'a>, Data<'a>)> {
    let record: Record = serde_json::from_str(event.record).ok()?;
    let data = record.data.and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default();
    Some((record, data))
}

pub(super) fn news(event: EventRef<'_>) -> Option<News> {
    let is_wake = matches!(event.event_type, "trigger.resolved" | "trigger.offered");
    let is_end = matches!(event.event_type, "flow.canceled" | "flow.failed");
    if !is_wake && !is_end {
        return None;
    }
    let (record, data) = parse(event)?;
    let run_id = record.run_id?.into_owned();
    Some(if is_end { News::Ended(run_id) } else { News::Woken(run_id, data.await_id?) })
}

impl Board {
    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Awaits whose deadlines have passed, in their order, with them.
    pub(super) fn due(&self, now_ms: u64) -> Vec<(u64, Key)> {
        self.by_deadline.iter().take_while(|(deadline, _)| *deadline <= now_ms).cloned().collect()
    }

    /// The open awaits that a trigger of a name ends.
    pub(super) fn of(&self, name: &str) -> Vec<Key> {
        self.by_name.get(name).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// What was fired under a name after an event, or since an instant.
    pub(super) fn fired_since(&self, name: &str, since: EventId) -> Vec<Fired> {
        let recent = self.recent.iter().filter(|(id, fired)| *id > since && fired.name == name);
        recent.map(|(_, fired)| fired.clone()).collect()
    }

    /// What was fired before an instant and was not worked off.
    pub(super) fn pending(&self, before_ms: u64) -> Vec<Fired> {
        self.pending.values().filter(|fired| fired.at_ms <= before_ms).cloned().collect()
    }

    /// A firing that was not worked off.
    pub(super) fn find_pending(&self, fire_id: &str) -> Option<Fired> {
        self.pending.get(fire_id).cloned()
    }

    /// How many awaits are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn open(&mut self, run_id: &str, await_id: &str, name: &str, is_named: bool, deadline_ms: Option<u64>) {
        let key: Key = (run_id.into(), await_id.into());
        self.close(&key);
        let name = match self.by_name.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => name.into(),
        };
        if is_named {
            self.by_name.entry(name.clone()).or_default().insert(key.clone());
        }
        if let Some(deadline) = deadline_ms {
            self.by_deadline.insert((deadline, key.clone()));
        }
        self.open.insert(key, Open { name, is_named, deadline_ms });
    }

    fn close(&mut self, key: &Key) {
        let Some(open) = self.open.remove(key) else { return };
        if let Some(keys) = self.by_name.get_mut(&open.name) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_name.remove(&open.name);
            }
        }
        if let Some(deadline) = open.deadline_ms {
            self.by_deadline.remove(&(deadline, key.clone()));
        }
    }

    fn fire(&mut self, id: EventId, fired: Fired) {
        self.pending.insert(fired.fire_id.clone(), fired.clone());
        self.remember(id, fired);
    }

    fn remember(&mut self, id: EventId, fired: Fired) {
        let size = |fired: &Fired| fired.data.as_deref().map_or(0, str::len) + fired.name.len() + 64;
        self.recent_bytes += size(&fired);
        self.recent.push_back((id, fired));
        while self.recent.len() > MOST_RECENT || (self.recent_bytes > MOST_RECENT_BYTES && self.recent.len() > 1) {
            if let Some((_, oldest)) = self.recent.pop_front() {
                self.recent_bytes -= size(&oldest);
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    awaits: Vec<OpenSnapshot>,
    recent: Vec<(String, Fired)>,
    pending: Vec<Fired>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenSnapshot {
    run_id: String,
    await_id: String,
    name: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_unnamed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
}

impl Compact for Board {
    const SNAPSHOT: &'static str = "trigger.snapshot";

    fn apply(&mut self, event: EventRef<'_>) {
        self.taken += 1;
        let Some((record, data)) = parse(event) else {
            self.has_others = true;
            return;
        };
        match (event.event_type, record.run_id, record.trigger_name, data.await_id) {
            ("trigger.awaiting", Some(run_id), Some(name), Some(await_id)) => {
                let is_named = data.kind.is_none_or(|kind| ends_by_name(&kind));
                self.open(&run_id, &await_id, &name, is_named, data.deadline.and_then(|at| parse_time(&at)));
            }
            ("trigger.resolved", Some(run_id), _, Some(await_id)) => {
                self.close(&(run_id.as_ref().into(), await_id.into()));
            }
            ("trigger.offered" | "flow.canceled" | "flow.failed", ..) => {}
            ("trigger.fired", _, Some(name), None) => {
                if let Some(fire_id) = data.fire_id {
                    let data = data.data.map(|data| data.get().to_owned());
                    self.fire(event.id, Fired { fire_id, name: name.into_owned(), at_ms: event.id.ms, data });
                }
            }
            ("trigger.processed", ..) => {
                if let Some(fire_id) = data.fire_id {
                    self.pending.remove(&fire_id);
                }
            }
            _ => self.has_others = true,
        }
    }

    fn to_json(&self) -> String {
        let awaits = self.open.iter().map(|((run_id, await_id), open)| OpenSnapshot {
            run_id: run_id.to_string(),
            await_id: await_id.to_string(),
            name: open.name.to_string(),
            is_unnamed: !open.is_named,
            deadline: open.deadline_ms.map(format_time),
        });
        let snapshot = Snapshot {
            awaits: awaits.collect(),
            recent: self.recent.iter().map(|(id, fired)| (id.to_string(), fired.clone())).collect(),
            pending: self.pending.values().cloned().collect(),
        };
        serde_json::to_string(&snapshot).unwrap_or_default()
    }

    fn from_json(json: &str) -> Option<Self> {
        let Snapshot { awaits, recent, pending } = serde_json::from_str(json).ok()?;
        let mut board = Board::default();
        for OpenSnapshot { run_id, await_id, name, is_unnamed, deadline } in awaits {
            board.open(&run_id, &await_id, &name, !is_unnamed, deadline.and_then(|at| parse_time(&at)));
        }
        for (id, fired) in recent {
            board.remember(id.parse().ok()?, fired);
        }
        board.pending = pending.into_iter().map(|fired| (fired.fire_id.clone(), fired)).collect();
        Some(board)
    }
}
