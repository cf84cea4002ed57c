//! Events: their ids, what a caller hands in ([`NewEvent`]), and what a store gives back
//! ([`Events`]: JSON text that is written once and never parsed on its way to the caller).

mod id;
mod record;
mod time;

pub use id::EventId;
pub use record::{EventRef, Events};
pub(crate) use record::{Place, Recorder, quote, write_record};
pub(crate) use time::TimeFormatter;
pub use time::{format_time, parse_time};

/// A field of the envelope: what an event says about its place, beside its type and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The run (`runId`).
    RunId,
    /// The name of the run's flow (`flowName`).
    FlowName,
    /// The step that wrote the event (`stepName`).
    StepName,
    /// One execution of a step (`stepId`).
    StepId,
    /// How often the step was tried (`attempt`), a whole number.
    Attempt,
    /// The process that wrote the event (`instanceId`).
    InstanceId,
    /// The worker that wrote the event (`workerId`).
    WorkerId,
    /// The job queue (`queue`).
    Queue,
    /// The trigger (`triggerName`).
    TriggerName,
    /// What this event belongs together with (`correlationId`).
    CorrelationId,
    /// What caused this event (`causationId`).
    CausationId,
}

impl Field {
    /// All fields, in the order of the text form.
    pub const ALL: [Field; 11] = [
        Field::RunId,
        Field::FlowName,
        Field::StepName,
        Field::StepId,
        Field::Attempt,
        Field::InstanceId,
        Field::WorkerId,
        Field::Queue,
        Field::TriggerName,
        Field::CorrelationId,
        Field::CausationId,
    ];

    /// The field's name in records and in entries on Redis.
    pub fn name(self) -> &'static str {
        match self {
            Field::RunId => "runId",
            Field::FlowName => "flowName",
            Field::StepName => "stepName",
            Field::StepId => "stepId",
            Field::Attempt => "attempt",
            Field::InstanceId => "instanceId",
            Field::WorkerId => "workerId",
            Field::Queue => "queue",
            Field::TriggerName => "triggerName",
            Field::CorrelationId => "correlationId",
            Field::CausationId => "causationId",
        }
    }

    /// The field of this name.
    pub fn from_name(name: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// The envelope of an event: a text for each [`Field`] that is present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    values: [Option<Box<str>>; Field::ALL.len()],
}

impl Envelope {
    /// The value of a field; `None` if it is absent.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.values[field as usize].as_deref()
    }

    /// Sets a field.
    pub fn set(&mut self, field: Field, value: impl Into<Box<str>>) {
        self.values[field as usize] = Some(value.into());
    }

    /// The present fields, in the order of [`Field::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Field, &str)> {
        Field::ALL.into_iter().filter_map(|field| Some((field, self.get(field)?)))
    }
}

/// An event that has no id yet.
///
/// ```
/// use nuxt_queue_core::{Field, NewEvent};
/// let event = NewEvent::new("state.set")
///     .with(Field::RunId, "abc")
///     .with_data(r#"{"key":"epoch","value":1}"#);
/// assert_eq!(event.get(Field::RunId), Some("abc"));
/// assert_eq!(event.data(), Some(r#"{"key":"epoch","value":1}"#));
/// ```
#[derive(Debug, Clone, Default)]
pub struct NewEvent {
    /// Type, envelope and data: one allocation for all of them.
    text: String,
    event_type: Span,
    ts: Span,
    fields: [Span; Field::ALL.len()],
    data: Span,
}

/// A part of an event's text.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// No part of any text: what is not there.
    const ABSENT: Span = Span { start: 1, end: 0 };
}

impl Default for Span {
    fn default() -> Self {
        Span::ABSENT
    }
}

impl NewEvent {
    /// An event of this type, with nothing else.
    pub fn new(event_type: impl AsRef<str>) -> Self {
        let mut event = NewEvent::default();
        event.event_type = event.add(event_type.as_ref());
        event
    }

    /// Reads type, `ts`, fields (in the order of [`Field::ALL`]) and data, separated by tabs; an empty
    /// column is an absent value. `None` if there are more tabs than that.
    pub fn from_columns(columns: &str) -> Option<Self> {
        let mut event = NewEvent { text: columns.to_owned(), ..NewEvent::default() };
        let mut start = 0;
        let mut next = |last: bool| {
            let rest = &columns.as_bytes()[start..];
            let length =
                if last { rest.len() } else { rest.iter().position(|byte| *byte == b'\t').unwrap_or(rest.len()) };
            let span = Span { start: offset(start), end: offset(start + length) };
            start = (start + length + 1).min(columns.len());
            if length == 0 { Span::ABSENT } else { span }
        };
        event.event_type = next(false);
        event.ts = next(false);
        event.fields.iter_mut().for_each(|field| *field = next(false));
        event.data = next(true);
        let has_tab = event.data().is_some_and(|data| memchr::memchr(b'\t', data.as_bytes()).is_some());
        (!has_tab).then_some(event)
    }

    /// The same event with the instant that its writer notes, ISO 8601: see [`NewEvent::ts`].
    pub fn with_ts(mut self, ts: impl AsRef<str>) -> Self {
        self.ts = self.add(ts.as_ref());
        self
    }

    /// The same event with a field of the envelope.
    pub fn with(mut self, field: Field, value: impl AsRef<str>) -> Self {
        self.fields[field as usize] = self.add(value.as_ref());
        self
    }

    /// The same event with the present fields of an envelope.
    pub fn with_envelope(self, envelope: &Envelope) -> Self {
        envelope.iter().fold(self, |event, (field, value)| event.with(field, value))
    }

    /// The same event with this payload, a JSON text. It is kept as it is.
    pub fn with_data(mut self, json: impl AsRef<str>) -> Self {
        self.data = self.add(json.as_ref());
        self
    }

    /// What happened, such as `state.set`.
    pub fn event_type(&self) -> &str {
        self.part(self.event_type).unwrap_or_default()
    }

    /// The instant that its writer notes. Where entries have a place for that, it stands there in the place of
    /// the store's own note; nothing is derived from it.
    pub fn ts(&self) -> Option<&str> {
        self.part(self.ts)
    }

    /// The value of a field of the envelope; `None` if it is absent.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.part(self.fields[field as usize])
    }

    /// The present fields of the envelope, in the order of [`Field::ALL`].
    pub fn fields(&self) -> impl Iterator<Item = (Field, &str)> {
        Field::ALL.into_iter().filter_map(|field| Some((field, self.get(field)?)))
    }

    /// The payload as JSON text; `None` if the event has none.
    pub fn data(&self) -> Option<&str> {
        self.part(self.data)
    }

    /// About how many bytes the event has: what the limits count.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    fn add(&mut self, text: &str) -> Span {
        let start = offset(self.text.len());
        self.text.push_str(text);
        Span { start, end: offset(self.text.len()) }
    }

    fn part(&self, span: Span) -> Option<&str> {
        self.text.get(span.start as usize..span.end as usize)
    }
}

/// A place in an event's text. What lies beyond 4 GiB is refused by every limit.
fn offset(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl PartialEq for NewEvent {
    fn eq(&self, other: &Self) -> bool {
        self.event_type() == other.event_type() && self.data() == other.data() && self.fields().eq(other.fields())
    }
}

impl Eq for NewEvent {}
