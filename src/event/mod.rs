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
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// The texts one behind the other: one allocation for all of them.
    text: String,
    /// Where each text begins and ends.
    places: [Option<(u32, u32)>; Field::ALL.len()],
}

impl Envelope {
    /// An empty envelope with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Envelope { text: String::with_capacity(bytes), ..Envelope::default() }
    }

    /// The value of a field; `None` if it is absent.
    pub fn get(&self, field: Field) -> Option<&str> {
        let (start, end) = self.places[field as usize]?;
        self.text.get(start as usize..end as usize)
    }

    /// Sets a field.
    pub fn set(&mut self, field: Field, value: impl AsRef<str>) {
        let start = self.text.len() as u32;
        self.text.push_str(value.as_ref());
        self.places[field as usize] = Some((start, self.text.len() as u32));
    }

    /// The present fields, in the order of [`Field::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Field, &str)> {
        Field::ALL.into_iter().filter_map(|field| Some((field, self.get(field)?)))
    }
}

impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Envelope {}

/// An event that has no id yet.
///
/// ```
/// use nuxt_queue_core::{Field, NewEvent};
/// let event = NewEvent::new("state.set")
///     .with(Field::RunId, "abc")
///     .with_data(r#"{"key":"epoch","value":1}"#);
/// assert_eq!(event.envelope.get(Field::RunId), Some("abc"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewEvent {
    /// What happened, such as `state.set`.
    pub event_type: String,
    /// Where it happened.
    pub envelope: Envelope,
    /// The payload as JSON text, kept as it is; `None` if the event has none.
    pub data: Option<String>,
}

impl NewEvent {
    /// An event of this type, with nothing else.
    pub fn new(event_type: impl Into<String>) -> Self {
        NewEvent { event_type: event_type.into(), ..NewEvent::default() }
    }

    /// The same event with a field of the envelope.
    pub fn with(mut self, field: Field, value: impl AsRef<str>) -> Self {
        self.envelope.set(field, value);
        self
    }

    /// The same event with this payload, a JSON text.
    pub fn with_data(mut self, json: impl Into<String>) -> Self {
        self.data = Some(json.into());
        self
    }

    /// The bytes of the event's texts: what the limits count.
    pub fn size(&self) -> usize {
        let envelope: usize = self.envelope.iter().map(|(_, value)| value.len()).sum();
        self.event_type.len() + envelope + self.data.as_ref().map_or(0, String::len)
    }
}
