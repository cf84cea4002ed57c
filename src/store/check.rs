//! What may be stored: one place for the rules of all backends.

use std::fmt::Display;

use serde::de::IgnoredAny;

use crate::error::{Code, Error, Result};
use crate::event::{Field, NewEvent};

/// The longest name of a stream, an index or an idempotency key, in bytes.
pub const MAX_NAME_BYTES: usize = 512;
/// The longest event type, in bytes.
pub const MAX_TYPE_BYTES: usize = 128;

/// Checks the name of a stream.
pub(super) fn stream_name(name: &str) -> Result<()> {
    text(Code::InvalidEvent, "The stream name", name, MAX_NAME_BYTES)
}

/// Checks a key of an index, a member, or a pattern.
pub(super) fn argument(what: &str, value: &str) -> Result<()> {
    text(Code::Validation, what, value, MAX_NAME_BYTES)
}

/// Checks an event. Its data has to be JSON text.
pub(super) fn event(event: &NewEvent, max_bytes: usize) -> Result<()> {
    text(Code::InvalidEvent, "The event type", &event.event_type, MAX_TYPE_BYTES)?;
    for (field, value) in event.envelope.iter() {
        text(Code::InvalidEvent, field.name(), value, MAX_NAME_BYTES)?;
    }
    if event.envelope.get(Field::Attempt).is_some_and(|attempt| attempt.parse::<u32>().is_err()) {
        return Err(Error::new(Code::InvalidEvent, "attempt is not a whole number from 0 to 4294967295."));
    }
    let size = event.size();
    if size > max_bytes {
        let message = format!(
            "The event {:?} has {size} bytes, over the limit of {max_bytes}; store a reference to the payload, or raise limits.maxEventBytes.",
            event.event_type
        );
        return Err(Error::new(Code::TooLarge, message));
    }
    Ok(())
}

/// Checks that the data of an event is JSON text; callers that made it with a serializer need not.
pub(super) fn json(event: &NewEvent) -> Result<()> {
    let Some(data) = &event.data else { return Ok(()) };
    serde_json::from_str::<IgnoredAny>(data)
        .map(drop)
        .map_err(|error| Error::new(Code::InvalidEvent, format!("The data of {:?} is not JSON.", event.event_type)).caused_by(error))
}

fn text(code: Code, what: impl Display, value: &str, max_bytes: usize) -> Result<()> {
    if value.is_empty() {
        return Err(Error::new(code, format!("{what} is empty.")));
    }
    if value.len() > max_bytes {
        return Err(Error::new(code, format!("{what} has {} bytes; at most {max_bytes} are allowed.", value.len())));
    }
    if let Some(control) = value.chars().find(|character| (*character as u32) < 0x20 || *character == '\u{7f}') {
        return Err(Error::new(code, format!("{what} contains the control character U+{:04X}.", control as u32)));
    }
    Ok(())
}
