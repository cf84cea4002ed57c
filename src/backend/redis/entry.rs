//! The layout of an event in a Redis stream, in both directions.
//!
//! Field order: `type runId flowName data ts`, then when present `stepName stepId attempt`, then
//! when present the fields that nuxt-queue itself does not know, and last `eid`, the event's own
//! identity. It is what tells, after a lost connection, whether an append has been executed.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::wire::{begin, length, line, part};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events, Field, NewEvent, Recorder, quote};

/// The fields that are written when present, in their order.
const OPTIONAL: [Field; 9] = [
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

/// Fields that every entry has: five of the original layout, and `eid`.
const FIXED: usize = 6;

/// How many names and values [`write_fields`] writes.
pub(super) fn field_parts(event: &NewEvent) -> usize {
    2 * (FIXED + OPTIONAL.iter().filter(|field| event.get(**field).is_some()).count())
}

/// Writes an event's names and values. `ts` is the writer's clock, unless the event says it itself.
pub(super) fn write_fields(out: &mut Vec<u8>, event: &NewEvent, ts: &str, eid: &str) {
    let mut pair = |name: &str, value: &str| {
        part(out, name.as_bytes());
        part(out, value.as_bytes());
    };
    pair("type", event.event_type());
    pair("runId", event.get(Field::RunId).unwrap_or_default());
    pair("flowName", event.get(Field::FlowName).unwrap_or_default());
    pair("data", event.data().unwrap_or_default());
    pair("ts", event.ts().unwrap_or(ts));
    for field in OPTIONAL {
        if let Some(value) = event.get(field) {
            pair(field.name(), value);
        }
    }
    pair("eid", eid);
}

/// Writes the XADD of an event.
pub(super) fn write_xadd(out: &mut Vec<u8>, stream: &str, event: &NewEvent, ts: &str, eid: &str) {
    begin(out, 3 + field_parts(event));
    part(out, b"XADD");
    part(out, stream.as_bytes());
    part(out, b"*");
    write_fields(out, event, ts, eid);
}

/// Turns the reply of an XRANGE straight into records, without a tree of values in between.
pub(super) fn read_range(frame: &[u8], stream: &str) -> Result<Events> {
    read(frame, stream, |_, _| ())
}

/// The same with the field `ts` of the entries in the records.
pub(super) fn read_range_with_ts(frame: &[u8], stream: &str) -> Result<Events> {
    read(frame, stream, |recorder, entry| {
        if let Some(ts) = &entry.ts {
            recorder.note_ts(ts);
        }
    })
}

fn read(frame: &[u8], stream: &str, mut note: impl FnMut(&mut Recorder, &Entry<'_>)) -> Result<Events> {
    let mut reader = Reader::new(frame);
    let count = reader.array()?;
    let mut recorder = Recorder::new(stream);
    recorder.reserve(count, frame.len() + count * 64);
    for _ in 0..count {
        let entry = reader.entry()?;
        let data = entry.data.as_deref().map(|data| as_json(data, entry.eid.is_some()));
        recorder.record(entry.id, &entry.event_type, entry.envelope(), data.as_deref());
        note(&mut recorder, &entry);
    }
    Ok(recorder.finish())
}

/// Finds which event has which `eid` in the reply of an XRANGE or XREVRANGE.
pub(super) fn read_identities(frame: &[u8]) -> Result<Vec<(EventId, Option<String>)>> {
    let mut reader = Reader::new(frame);
    (0..reader.array()?).map(|_| reader.entry().map(|entry| (entry.id, entry.eid.map(Cow::into_owned)))).collect()
}

/// Our own entries hold JSON for certain. What others wrote is checked, so that one bad entry
/// does not make a whole timeline unreadable: it is shown as the string that it is.
fn as_json(data: &str, trusted: bool) -> Cow<'_, str> {
    if trusted || serde_json::from_str::<IgnoredAny>(data).is_ok() {
        return Cow::Borrowed(data);
    }
    let mut quoted = String::with_capacity(data.len() + 2);
    quote(&mut quoted, data);
    Cow::Owned(quoted)
}

struct Entry<'a> {
    id: EventId,
    event_type: Cow<'a, str>,
    data: Option<Cow<'a, str>>,
    eid: Option<Cow<'a, str>>,
    ts: Option<Cow<'a, str>>,
    values: [Option<Cow<'a, str>>; Field::ALL.len()],
}

impl Entry<'_> {
    fn envelope(&self) -> impl Iterator<Item = (Field, &str)> {
        Field::ALL.into_iter().zip(&self.values).filter_map(|(field, value)| Some((field, value.as_deref()?)))
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// The same, if all of it is UTF-8: checked once instead of text by text.
    utf8: Option<&'a str>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, utf8: std::str::from_utf8(bytes).ok(), at: 0 }
    }

    fn entry(&mut self) -> Result<Entry<'a>> {
        if self.array()? != 2 {
            return Err(unexpected());
        }
        let id = EventId::from_bytes(self.bytes()?).ok_or_else(unexpected)?;
        let (event_type, values) = (Cow::Borrowed(""), Default::default());
        let mut entry = Entry { id, event_type, data: None, eid: None, ts: None, values };
        for _ in 0..self.array()? / 2 {
            let name = self.bytes()?;
            match name {
                b"type" => entry.event_type = self.text()?,
                b"data" => entry.data = Some(self.text()?).filter(|data| !data.is_empty()),
                b"eid" => entry.eid = Some(self.text()?),
                b"ts" => entry.ts = Some(self.text()?).filter(|ts| !ts.is_empty()),
                name => match field(name) {
                    Some(field) => entry.values[field as usize] = Some(self.text()?).filter(|text| !text.is_empty()),
                    None => drop(self.bytes()?),
                },
            }
        }
        Ok(entry)
    }

    /// The length of the array that begins here; a null counts as empty.
    fn array(&mut self) -> Result<usize> {
        match self.head()? {
            (b'*', digits) => Ok(length(digits)?.unwrap_or(0)),
            (b'_', _) => Ok(0),
            _ => Err(unexpected()),
        }
    }

    /// The string that begins here; what is no UTF-8 in it is replaced.
    fn text(&mut self) -> Result<Cow<'a, str>> {
        let bytes = self.bytes()?;
        let start = bytes.as_ptr() as usize - self.bytes.as_ptr() as usize;
        let checked = self.utf8.and_then(|text| text.get(start..start + bytes.len()));
        Ok(checked.map_or_else(|| String::from_utf8_lossy(bytes), Cow::Borrowed))
    }

    /// The bytes of the string that begins here.
    fn bytes(&mut self) -> Result<&'a [u8]> {
        match self.head()? {
            (b'$', digits) => {
                let length = length(digits)?.unwrap_or(0);
                let text = self.bytes.get(self.at..self.at + length).ok_or_else(unexpected)?;
                self.at += length + 2;
                Ok(text)
            }
            (b'+', text) => Ok(text),
            _ => Err(unexpected()),
        }
    }

    fn head(&mut self) -> Result<(u8, &'a [u8])> {
        let (head, next) = line(self.bytes, self.at).ok_or_else(unexpected)?;
        self.at = next;
        head.split_first().map(|(kind, rest)| (*kind, rest)).ok_or_else(unexpected)
    }
}

/// [`Field::from_name`], by one comparison of the right length.
fn field(name: &[u8]) -> Option<Field> {
    Some(match name {
        b"runId" => Field::RunId,
        b"flowName" => Field::FlowName,
        b"stepName" => Field::StepName,
        b"stepId" => Field::StepId,
        b"attempt" => Field::Attempt,
        b"instanceId" => Field::InstanceId,
        b"workerId" => Field::WorkerId,
        b"queue" => Field::Queue,
        b"triggerName" => Field::TriggerName,
        b"correlationId" => Field::CorrelationId,
        b"causationId" => Field::CausationId,
        _ => return None,
    })
}

fn unexpected() -> Error {
    Error::new(Code::Corrupt, "The answer of Redis does not have the form of stream entries.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(entries: &[(&str, &[&str])]) -> Vec<u8> {
        let mut out = Vec::new();
        begin(&mut out, entries.len());
        for (id, fields) in entries {
            begin(&mut out, 2);
            part(&mut out, id.as_bytes());
            begin(&mut out, fields.len());
            fields.iter().for_each(|field| part(&mut out, field.as_bytes()));
        }
        out
    }

    #[test]
    fn p10_reads_an_entry_of_the_original() {
        let fields = [
            "type",
            "step.completed",
            "runId",
            "r",
            "flowName",
            "f",
            "data",
            "{\"a\":1}",
            "ts",
            "2025-11-05T10:00:00.000Z",
            "stepName",
            "s",
            "stepId",
            "r__s__attempt-1",
            "attempt",
            "1",
        ];
        let events = read_range(&reply(&[("5-1", &fields)]), "nq:flow:r").unwrap();
        assert_eq!(
            events.to_json(),
            "[{\"id\":\"5-1\",\"stream\":\"nq:flow:r\",\"timestamp\":\"1970-01-01T00:00:00.005Z\",\"type\":\"step.completed\",\
             \"runId\":\"r\",\"flowName\":\"f\",\"stepName\":\"s\",\"stepId\":\"r__s__attempt-1\",\"attempt\":1,\"data\":{\"a\":1}}]"
        );
    }

    #[test]
    fn p10_writes_the_layout_of_the_original_and_adds_only_behind_it() {
        let event =
            NewEvent::new("t").with(Field::RunId, "r").with(Field::Attempt, "2").with(Field::Queue, "q").with_data("1");
        let mut out = Vec::new();
        write_fields(&mut out, &event, "T", "E");
        let text = String::from_utf8(out).unwrap();
        let parts: Vec<&str> = text.split("\r\n").skip(1).step_by(2).collect();
        let expected = [
            "type", "t", "runId", "r", "flowName", "", "data", "1", "ts", "T", "attempt", "2", "queue", "q", "eid", "E",
        ];
        assert_eq!(parts, expected);
        assert_eq!(field_parts(&event), expected.len());
    }

    #[test]
    fn p10_what_the_writer_noted_as_its_time_is_told_on_request() {
        let entries = reply(&[("5-1", &["type", "a", "ts", "T\"1", "data", "{\"n\":1}"]), ("6-0", &["type", "b"])]);
        let told = read_range_with_ts(&entries, "s").unwrap();
        let plain = read_range(&entries, "s").unwrap();
        let first = plain.iter().next().unwrap().record;
        assert_eq!(
            told.iter().next().unwrap().record,
            format!("{},\"ts\":\"T\\\"1\"}}", first.strip_suffix('}').unwrap())
        );
        assert_eq!(told.iter().map(|event| event.data).collect::<Vec<_>>(), [Some("{\"n\":1}"), None]);
        assert_eq!(told.last().unwrap().record, plain.last().unwrap().record);
    }

    #[test]
    fn an_event_that_says_its_writers_time_is_written_with_that() {
        let mut out = Vec::new();
        write_fields(&mut out, &NewEvent::new("t").with_ts("own"), "T", "E");
        let text = String::from_utf8(out).unwrap();
        let parts: Vec<&str> = text.split("\r\n").skip(1).step_by(2).collect();
        assert_eq!(parts, ["type", "t", "runId", "", "flowName", "", "data", "", "ts", "own", "eid", "E"]);
    }

    #[test]
    fn data_that_is_no_json_is_shown_as_a_string() {
        let events =
            read_range(&reply(&[("1-0", &["type", "x", "data", "{oops"]), ("2-0", &["unknown", "field"])]), "s")
                .unwrap();
        let data: Vec<_> = events.iter().map(|event| event.data).collect();
        assert_eq!(data, [Some("\"{oops\""), None]);
        assert!(serde_json::from_str::<IgnoredAny>(&events.to_json()).is_ok());
    }

    #[test]
    fn every_field_is_known_by_its_name() {
        for field in Field::ALL {
            assert_eq!(super::field(field.name().as_bytes()), Some(field));
        }
    }

    proptest! {
        #[test]
        fn p12_no_reply_makes_it_panic(bytes in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'2'), any::<u8>()], 0..120)) {
            let _ = read_range(&bytes, "s");
        }
    }
}
