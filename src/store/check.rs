//! What may be stored: one place for the rules of all backends.

use std::fmt::Display;

use serde::de::IgnoredAny;

use crate::error::{Code, Error, Result};
use crate::event::{Field, NewEvent};

/// The longest name of a stream, an index or an idempotency key, in bytes.
pub const MAX_NAME_BYTES: usize = 512;
/// The longest event type, in bytes.
pub const MAX_TYPE_BYTES: usize = 128;

/// The deepest nesting of data.
const MAX_DEPTH: usize = 500;
/// The largest whole number that every reader of JSON keeps exactly (RFC 8259, section 6).
const MAX_COUNT: u64 = (1 << 53) - 1;

/// Checks the name of a stream.
pub(super) fn stream_name(name: &str) -> Result<()> {
    text(Code::InvalidEvent, "The stream name", name, MAX_NAME_BYTES)
}

/// Checks a key of an index, a member, or a pattern.
pub(super) fn argument(what: &str, value: &str) -> Result<()> {
    text(Code::Validation, what, value, MAX_NAME_BYTES)
}

/// Checks a number of things that are wanted.
pub(super) fn limit(limit: Option<usize>) -> Result<()> {
    match limit {
        Some(0) => {
            Err(Error::new(Code::Validation, "limit is 0; leave it out for everything, or ask for at least one."))
        }
        _ => Ok(()),
    }
}

/// Checks an event. Its data has to be JSON text.
pub(super) fn event(event: &NewEvent, max_bytes: usize) -> Result<()> {
    text(Code::InvalidEvent, "The event type", event.event_type(), MAX_TYPE_BYTES)?;
    for (field, value) in event.fields() {
        text(Code::InvalidEvent, field.name(), value, MAX_NAME_BYTES)?;
    }
    if event.get(Field::Attempt).is_some_and(|attempt| !is_count(attempt)) {
        return Err(Error::new(Code::InvalidEvent, format!("attempt is not a whole number from 0 to {MAX_COUNT}.")));
    }
    let size = event.size();
    if size > max_bytes {
        let message = format!(
            "The event {:?} has {size} bytes, over the limit of {max_bytes}; store a reference to the payload, or raise limits.maxEventBytes.",
            event.event_type()
        );
        return Err(Error::new(Code::TooLarge, message));
    }
    Ok(())
}

/// Checks that the data of an event is JSON text; callers that made it with a serializer need not.
pub(super) fn json(event: &NewEvent) -> Result<()> {
    let Some(data) = event.data() else { return Ok(()) };
    if depth(data) > MAX_DEPTH {
        let message = format!("The data of {:?} is nested deeper than {MAX_DEPTH} levels.", event.event_type());
        return Err(Error::new(Code::InvalidEvent, message));
    }
    serde_json::from_str::<IgnoredAny>(data).map(drop).map_err(|error| {
        Error::new(Code::InvalidEvent, format!("The data of {:?} is not JSON.", event.event_type())).caused_by(error)
    })
}

/// How deeply the objects and arrays of a JSON text are nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn is_count(text: &str) -> bool {
    text.parse::<u64>().is_ok_and(|count| count <= MAX_COUNT)
}

fn text(code: Code, what: impl Display, value: &str, max_bytes: usize) -> Result<()> {
    if value.is_empty() {
        return Err(Error::new(code, format!("{what} is empty.")));
    }
    if value.len() > max_bytes {
        return Err(Error::new(code, format!("{what} has {} bytes; at most {max_bytes} are allowed.", value.len())));
    }
    // No early end: so the compiler makes it a few wide comparisons.
    let has_control = value.bytes().fold(false, |found, byte| found | is_control(byte));
    match value.bytes().find(|byte| has_control && is_control(*byte)) {
        Some(control) => Err(Error::new(code, format!("{what} contains the control character U+{control:04X}."))),
        None => Ok(()),
    }
}

/// The control characters of ASCII; all bytes of other characters are above them.
fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}
