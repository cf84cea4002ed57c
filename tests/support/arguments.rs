//! The arguments of operations: from the JSON of a step to the types of the API.

use std::time::Duration;

use nuxt_queue_core::backend::{Glob, Selector};
use nuxt_queue_core::event::parse_time;
use nuxt_queue_core::state::Point;
use nuxt_queue_core::store::Limits;
use nuxt_queue_core::{AppendOptions, Code, Consistency, Envelope, Error, EventId, Field, NewEvent, Query};

use super::json::Json;

/// Why a step did not succeed.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The package refused.
    Core(Error),
    /// The step can't be played.
    Play(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Core(error)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Play(message)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Core(error) => error.fmt(f),
            Failure::Play(message) => message.fmt(f),
        }
    }
}

type Result<T, E = Failure> = std::result::Result<T, E>;

/// A member that is text; `None` if it is absent.
pub fn text<'a>(arguments: &'a Json, name: &str) -> Result<Option<&'a str>> {
    let Some(value) = arguments.get(name) else { return Ok(None) };
    value.as_str().map(Some).ok_or_else(|| Failure::Play(format!("{name} is no text")))
}

/// A member that has to be text.
pub fn needed_text<'a>(arguments: &'a Json, name: &str) -> Result<&'a str> {
    text(arguments, name)?.ok_or_else(|| Failure::Play(format!("{name} is missing")))
}

/// A member that is a whole number; `None` if it is absent.
pub fn whole(arguments: &Json, name: &str) -> Result<Option<usize>> {
    let Some(value) = arguments.get(name) else { return Ok(None) };
    let number = value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
    number.map(|number| Some(number as usize)).ok_or_else(|| Failure::Play(format!("{name} is no whole number")))
}

/// An event that is to be appended.
pub fn new_event(event: &Json) -> Result<NewEvent> {
    let new = NewEvent::new(needed_text(event, "type")?).with_envelope(&envelope(Some(event))?);
    Ok(match event.get("data") {
        Some(data) => new.with_data(data.to_json()),
        None => new,
    })
}

/// The envelope among the members of an object.
pub fn envelope(members: Option<&Json>) -> Result<Envelope> {
    let mut envelope = Envelope::default();
    for (name, value) in members.map(Json::members).unwrap_or_default() {
        let Some(field) = Field::from_name(name) else { continue };
        match value {
            Json::Text(text) | Json::Number(text) => envelope.set(field, text.as_str()),
            _ => return Err(Failure::Play(format!("{name} is no text"))),
        }
    }
    Ok(envelope)
}

/// The `options` of an append.
pub fn append_options(arguments: &Json) -> Result<AppendOptions> {
    let Some(options) = arguments.get("options") else { return Ok(AppendOptions::default()) };
    let expected_last_id = id(options, "expectedLastId")?;
    Ok(AppendOptions { expected_last_id, idempotency_key: text(options, "idempotencyKey")?.map(str::to_owned) })
}

/// A query of this stream, or of the streams that match.
pub fn query(arguments: &Json, stream: &str) -> Result<Query> {
    let types = arguments.get("types").and_then(Json::as_list).unwrap_or_default();
    Ok(Query {
        stream: stream.to_owned(),
        types: types.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        start_ms: arguments.get("startTime").map(instant).transpose()?,
        end_ms: arguments.get("endTime").map(instant).transpose()?,
        after: id(arguments, "after")?,
        before: id(arguments, "before")?,
        limit: whole(arguments, "limit")?,
        descending: text(arguments, "order")? == Some("desc"),
        consistency: consistency(arguments)?,
        ..Query::default()
    })
}

/// How new a read has to be.
pub fn consistency(arguments: &Json) -> Result<Consistency> {
    let is_strong = text(arguments, "consistency")? == Some("strong");
    Ok(if is_strong { Consistency::Strong } else { Consistency::Cached })
}

/// A member that is an event id; `None` if it is absent.
pub fn id(arguments: &Json, name: &str) -> Result<Option<EventId>> {
    Ok(text(arguments, name)?.map(str::parse).transpose()?)
}

/// Milliseconds, or an instant in ISO 8601; a date alone is its midnight in UTC.
fn instant(value: &Json) -> Result<u64> {
    let Some(text) = value.as_str() else {
        return value.as_f64().map(|ms| ms as u64).ok_or_else(|| Failure::Play("a time is no number".into()));
    };
    let is_date = text.len() == 10 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    let parsed = if is_date { parse_time(&format!("{text}T00:00:00Z")) } else { parse_time(text) };
    parsed.ok_or_else(|| Failure::Core(Error::new(Code::Validation, format!("{text:?} is not a time"))))
}

/// A point in a run: an instant or an event.
pub fn point(arguments: &Json, name: &str) -> Result<Point> {
    let value = arguments.get(name).ok_or_else(|| Failure::Play(format!("{name} is missing")))?;
    if let Json::Object(_) = value {
        return id(value, "id")?.map(Point::Event).ok_or_else(|| Failure::Play(format!("{name} has no id")));
    }
    let looks_like_id = value.as_str().is_some_and(|text| {
        text.split_once('-')
            .is_some_and(|(ms, seq)| [ms, seq].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit())))
    });
    match value.as_str().filter(|_| looks_like_id) {
        Some(text) => Ok(Point::Event(text.parse()?)),
        None => instant(value).map(Point::Time),
    }
}

/// A stream, or a pattern of streams if it has a character that only patterns need.
pub fn selector(text: &str) -> Selector {
    match text.contains(['*', '?', '[', '\\']) {
        true => Selector::Pattern(Glob::new(text)),
        false => Selector::Stream(text.into()),
    }
}

/// The `limits` of a store.
pub fn limits(options: &Json) -> Result<Limits> {
    let mut limits = Limits::default();
    let Some(wanted) = options.get("limits") else { return Ok(limits) };
    if let Some(bytes) = whole(wanted, "maxEventBytes")? {
        limits.max_event_bytes = bytes;
    }
    if let Some(bytes) = whole(wanted, "maxQueuedBytes")? {
        limits.max_queued_bytes = bytes;
    }
    if let Some(ms) = whole(wanted, "appendTimeoutMs")? {
        limits.append_timeout = Duration::from_millis(ms as u64);
    }
    Ok(limits)
}
