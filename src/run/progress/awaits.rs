//! What steps wait for.

use super::record::{Data, Record};
use crate::event::{format_time, parse_time};
use crate::run::OpenAwait;

/// Whether awaits of this kind are ended by what is fired or emitted under their name. The others wait for time, or
/// for an answer of their own.
pub fn ends_by_name(kind: &str) -> bool {
    matches!(kind, "trigger" | "event")
}

/// What has become of an await.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AwaitPhase {
    /// Nothing has come.
    #[default]
    Open,
    /// What it waited for came.
    Fired,
    /// Its deadline passed first.
    Timeout,
    /// Someone ended it.
    Canceled,
}

/// Something that came, of which the handler has to say whether it is what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What names it: the id of a firing, or of an `emit` event.
    pub id: Box<str>,
    /// Its payload as JSON text.
    pub data: Option<Box<str>>,
}

/// An await of a step that has not ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Await {
    /// Its id, unique in its run.
    pub id: Box<str>,
    /// What ends it.
    pub trigger_name: Box<str>,
    /// The step that waits.
    pub step_name: Option<Box<str>>,
    /// `trigger`, `event`, `time` or `webhook`.
    pub kind: Box<str>,
    /// Since when, ISO 8601.
    pub since: String,
    /// Until when, in milliseconds since the Unix epoch.
    pub deadline_ms: Option<u64>,
    /// Whether the handler judges what comes.
    pub is_conditional: bool,
    /// What has become of it.
    pub phase: AwaitPhase,
    /// What came, as JSON text.
    pub data: Option<Box<str>>,
    /// Why it was canceled.
    pub reason: Option<Box<str>>,
    /// Whether its step went on with the outcome.
    pub is_resumed: bool,
    /// What came and was not judged yet, oldest first.
    pub offers: Vec<Offer>,
    /// What was judged.
    pub judged: Vec<Box<str>>,
    /// The event that ended it, as its id.
    pub settled_by: Option<Box<str>>,
}

impl Await {
    pub(super) fn open(record: &Record<'_>) -> Await {
        let data = record.data();
        let id = data.text("awaitId").or_else(|| record.id.as_deref().map(str::to_owned)).unwrap_or_default();
        let trigger_name = record.trigger_name.as_deref().map(str::to_owned).or_else(|| data.text("triggerName"));
        Await {
            id: id.into(),
            trigger_name: trigger_name.unwrap_or_default().into(),
            step_name: record.step_name.as_deref().map(Into::into),
            kind: data.text("kind").unwrap_or_else(|| "trigger".into()).into(),
            since: record.at(),
            deadline_ms: data.text("deadline").and_then(|deadline| parse_time(&deadline)),
            is_conditional: data.is_true("conditional"),
            ..Await::default()
        }
    }

    pub(super) fn settle(&mut self, phase: AwaitPhase, record: &Record<'_>, data: &Data<'_>) {
        if self.phase != AwaitPhase::Open {
            return;
        }
        self.phase = phase;
        self.data = data.raw("data").map(Into::into);
        self.reason = data.text("reason").map(Into::into);
        let by = data.text("fireId").or_else(|| record.id.as_deref().map(str::to_owned));
        self.settled_by = by.map(Into::into);
        (self.offers, self.judged) = (Vec::new(), Vec::new());
    }

    /// Whether it ends with an event that is emitted under this name in its run.
    pub fn hears(&self, event: &str) -> bool {
        *self.trigger_name == *event && ends_by_name(&self.kind)
    }

    /// Whether it was offered this before.
    pub fn knows(&self, offer_id: &str) -> bool {
        self.offers.iter().map(|offer| &offer.id).chain(&self.judged).any(|id| **id == *offer_id)
    }

    /// Whether its step has to look at it: it was settled, or something has to be judged.
    pub fn wants_step(&self) -> bool {
        match self.phase {
            AwaitPhase::Open => !self.offers.is_empty(),
            _ => !self.is_resumed,
        }
    }

    /// How it is shown while it is open.
    pub(super) fn shown(&self) -> OpenAwait {
        OpenAwait {
            await_id: self.id.to_string(),
            trigger_name: self.trigger_name.to_string(),
            step_name: self.step_name.as_deref().map(str::to_owned),
            since: self.since.clone(),
            deadline: self.deadline_ms.map(format_time),
        }
    }

    pub(super) fn weight(&self) -> usize {
        let offers = self.offers.iter().map(|offer| offer.id.len() + offer.data.as_deref().map_or(0, str::len) + 32);
        size_of::<Await>() + 3 * self.id.len() + self.data.as_deref().map_or(0, str::len) + offers.sum::<usize>()
    }
}
