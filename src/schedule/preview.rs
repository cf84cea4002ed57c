//! Instants as people read them.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::calendar::Note;
use crate::event::format_time;

/// An instant of a schedule. As JSON `{"at":"2025-03-30T01:00:00.000Z","local":"2025-03-30T03:00:00+02:00","note":"gap"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The instant.
    pub at_ms: u64,
    /// What the clocks of the zone show then, with their offset from UTC.
    pub local: String,
    /// What is odd about it.
    pub note: Option<Note>,
}

impl Note {
    /// The word for it: `gap` or `overlap`.
    pub fn as_str(self) -> &'static str {
        match self {
            Note::Gap => "gap",
            Note::Overlap => "overlap",
        }
    }
}

impl Serialize for Preview {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Preview", 2 + usize::from(self.note.is_some()))?;
        object.serialize_field("at", &format_time(self.at_ms))?;
        object.serialize_field("local", &self.local)?;
        match self.note {
            Some(note) => object.serialize_field("note", note.as_str())?,
            None => object.skip_field("note")?,
        }
        object.end()
    }
}
