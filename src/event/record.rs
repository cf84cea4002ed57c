//! Stored events as JSON text.

use std::ops::Range;

use super::time::TimeFormatter;
use super::{EventId, Field};

/// Stored events of one or many streams: the JSON text of each record, one after the other,
/// with the places of what the core itself looks at.
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// The records, separated by commas.
    text: String,
    places: Vec<Place>,
}

/// Where a record stands in the text; the inner ranges count from the record's start.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    id: EventId,
    record: Range<usize>,
    event_type: Range<usize>,
    data: Option<Range<usize>>,
}

/// One stored event.
#[derive(Debug, Clone, Copy)]
pub struct EventRef<'a> {
    /// Its position in its stream.
    pub id: EventId,
    /// Its type as it stands in JSON (escaped, without the quotes).
    pub event_type: &'a str,
    /// Its payload as JSON text.
    pub data: Option<&'a str>,
    /// The whole record as a JSON object.
    pub record: &'a str,
    place: &'a Place,
}

impl Events {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The events in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = EventRef<'_>> + ExactSizeIterator {
        self.places.iter().map(|place| {
            let record = &self.text[place.record.clone()];
            EventRef {
                id: place.id,
                event_type: &record[place.event_type.clone()],
                data: place.data.clone().map(|data| &record[data]),
                record,
                place,
            }
        })
    }

    /// The last event.
    pub fn last(&self) -> Option<EventRef<'_>> {
        self.iter().next_back()
    }

    /// The bytes of the records' text.
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// The same without room for more.
    pub(crate) fn compact(mut self) -> Events {
        self.text.shrink_to_fit();
        self.places.shrink_to_fit();
        self
    }

    /// About how many bytes they take in memory.
    pub(crate) fn weight(&self) -> usize {
        self.text.capacity() + self.places.capacity() * size_of::<Place>()
    }

    /// All records as one JSON array.
    pub fn to_json(&self) -> String {
        let mut json = String::with_capacity(self.text.len() + 2);
        json.push('[');
        json.push_str(&self.text);
        json.push(']');
        json
    }

    /// Makes room for `count` records of `bytes` bytes together.
    pub(crate) fn reserve(&mut self, count: usize, bytes: usize) {
        self.places.reserve(count);
        self.text.reserve(bytes);
    }

    /// Adds a record that stands alone in a text.
    pub(crate) fn push_record(&mut self, record: &str, place: &Place) {
        let start = self.start_record();
        self.text.push_str(record);
        self.places.push(Place { record: start..self.text.len(), ..place.clone() });
    }

    /// Adds a copy of an event.
    pub fn push(&mut self, event: EventRef<'_>) {
        self.push_record(event.record, event.place);
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: Events) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = other;
            return;
        }
        let start = self.start_record();
        self.text.push_str(&other.text);
        let moved = |place: Place| Place { record: place.record.start + start..place.record.end + start, ..place };
        self.places.extend(other.places.into_iter().map(moved));
    }

    /// The events with ids in a range, both ends included; the ids have to be ascending.
    pub(crate) fn between(&self, from: EventId, to: EventId) -> impl DoubleEndedIterator<Item = EventRef<'_>> {
        let first = self.places.partition_point(|place| place.id < from);
        let end = self.places.partition_point(|place| place.id <= to);
        self.iter().skip(first).take(end.saturating_sub(first))
    }

    /// All events but the first.
    pub(crate) fn without_first(mut self) -> Events {
        let Some(start) = self.places.get(1).map(|second| second.record.start) else { return Events::default() };
        self.text.drain(..start);
        self.places.remove(0);
        for place in &mut self.places {
            place.record = place.record.start - start..place.record.end - start;
        }
        self
    }

    /// Keeps the first `count` events.
    pub fn truncate(&mut self, count: usize) {
        self.places.truncate(count);
        self.text.truncate(self.places.last().map_or(0, |place| place.record.end));
    }

    fn start_record(&mut self) -> usize {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.len()
    }
}

/// Writes records of one stream.
pub(crate) struct Recorder {
    events: Events,
    stream: String,
    time: TimeFormatter,
}

impl Recorder {
    pub(crate) fn new(stream: &str) -> Self {
        let mut quoted = String::with_capacity(stream.len() + 2);
        quote(&mut quoted, stream);
        Recorder { events: Events::default(), stream: quoted, time: TimeFormatter::default() }
    }

    /// Makes room for `count` records of `bytes` bytes together.
    pub(crate) fn reserve(&mut self, count: usize, bytes: usize) {
        self.events.reserve(count, bytes);
    }

    /// Adds a record. `data` has to be JSON text.
    pub(crate) fn record<'a>(
        &mut self,
        id: EventId,
        event_type: &str,
        envelope: impl Iterator<Item = (Field, &'a str)>,
        data: Option<&str>,
    ) {
        self.events.start_record();
        let time = self.time.format(id.ms);
        let place = write_record(&mut self.events.text, id, &self.stream, time, event_type, envelope, data);
        self.events.places.push(place);
    }

    /// Adds to the last record what its writer noted as its time.
    pub(crate) fn note_ts(&mut self, ts: &str) {
        let Some(place) = self.events.places.last_mut() else { return };
        // Behind everything that was noted of its places.
        self.events.text.pop();
        self.events.text.push_str(",\"ts\":");
        quote(&mut self.events.text, ts);
        self.events.text.push('}');
        place.record.end = self.events.text.len();
    }

    pub(crate) fn finish(self) -> Events {
        self.events
    }
}

/// Appends a record as a JSON object. `stream` is a JSON string, `data` JSON text.
pub(crate) fn write_record<'a>(
    text: &mut String,
    id: EventId,
    stream: &str,
    time: &str,
    event_type: &str,
    envelope: impl Iterator<Item = (Field, &'a str)>,
    data: Option<&str>,
) -> Place {
    let start = text.len();
    text.push_str("{\"id\":\"");
    id.write_to(text);
    text.push_str("\",\"stream\":");
    text.push_str(stream);
    text.push_str(",\"timestamp\":\"");
    text.push_str(time);
    text.push_str("\",\"type\":");
    let type_start = text.len() + 1 - start;
    quote(text, event_type);
    let type_end = text.len() - 1 - start;
    for (field, value) in envelope {
        text.push_str(",\"");
        text.push_str(field.name());
        text.push_str("\":");
        if field == Field::Attempt && is_json_integer(value) {
            text.push_str(value);
        } else {
            quote(text, value);
        }
    }
    let data = data.map(|data| {
        text.push_str(",\"data\":");
        let data_start = text.len() - start;
        text.push_str(data);
        data_start..text.len() - start
    });
    text.push('}');
    Place { id, record: start..text.len(), event_type: type_start..type_end, data }
}

fn is_json_integer(text: &str) -> bool {
    let digits = text.as_bytes();
    let canonical =
        digits.iter().all(u8::is_ascii_digit) && (text == "0" || digits.first().is_some_and(|first| *first != b'0'));
    canonical && digits.len() <= 16
}

/// Appends `text` as a JSON string.
pub(crate) fn quote(out: &mut String, text: &str) {
    // No early end: so the compiler makes it a few wide comparisons.
    let special = text.bytes().fold(false, |special, byte| special | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    out.push('"');
    if special {
        text.chars().for_each(|character| escape(out, character));
    } else {
        out.push_str(text);
    }
    out.push('"');
}

fn escape(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        control if (control as u32) < 0x20 => {
            use std::fmt::Write;
            let _ = write!(out, "\\u{:04x}", control as u32);
        }
        other => out.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_json_with_its_parts_in_place() {
        let mut recorder = Recorder::new("nq:flow:\"x\"");
        let envelope = [(Field::RunId, "a\nb"), (Field::Attempt, "2")];
        recorder.record(EventId::new(1, 0), "my \"type\"", envelope.into_iter(), Some("{\"n\":1}"));
        recorder.record(EventId::new(2, 5), "plain", std::iter::empty(), None);
        let events = recorder.finish();
        let parsed: serde_json::Value = serde_json::from_str(&events.to_json()).unwrap();
        assert_eq!(parsed[0]["stream"], "nq:flow:\"x\"");
        assert_eq!(parsed[0]["runId"], "a\nb");
        assert_eq!(parsed[0]["attempt"], 2);
        assert_eq!(parsed[1]["timestamp"], "1970-01-01T00:00:00.002Z");
        let all: Vec<_> = events.iter().collect();
        assert_eq!(all[0].data, Some("{\"n\":1}"));
        assert_eq!(all[0].event_type, "my \\\"type\\\"");
        assert_eq!((all[1].event_type, all[1].data), ("plain", None));
    }

    #[test]
    fn copies_and_cuts_stay_valid() {
        let mut recorder = Recorder::new("s");
        for n in 0..4 {
            recorder.record(EventId::new(n, 0), "t", std::iter::empty(), Some("[1]"));
        }
        let all = recorder.finish();
        let mut twice = all.clone();
        twice.append(Events::default());
        twice.append(all.clone());
        let records: Vec<_> = twice.iter().map(|event| event.record).collect();
        assert_eq!(records[4..], all.iter().map(|event| event.record).collect::<Vec<_>>());
        assert!(serde_json::from_str::<serde_json::Value>(&twice.to_json()).is_ok());
        let mut some = Events::default();
        all.iter().skip(1).for_each(|event| some.push(event));
        some.truncate(2);
        let ids: Vec<_> = some.iter().map(|event| event.id.ms).collect();
        assert_eq!(ids, [1, 2]);
        assert!(serde_json::from_str::<serde_json::Value>(&some.to_json()).is_ok());
    }
}
