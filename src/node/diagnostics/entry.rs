//! One diagnostic, and how it is written.

use std::fmt::{Debug, Write as _};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::level;
use crate::clock::{Clock, SystemClock};
use crate::event::format_time;

/// What was said, when, by which module, and how urgent it is.
#[derive(Serialize)]
pub(super) struct Entry {
    #[serde(serialize_with = "level::serialize")]
    pub(super) level: Level,
    message: String,
    timestamp: String,
    target: &'static str,
    fields: Map<String, Value>,
}

impl Entry {
    /// What an event says.
    pub(super) fn new(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut entry = Entry::empty(*metadata.level(), metadata.target());
        event.record(&mut entry);
        entry
    }

    /// A gap, told in the place of what is missing.
    pub(super) fn gap(dropped: u64) -> Self {
        let mut entry = Entry::empty(Level::WARN, module_path!());
        entry.message.push_str("diagnostics dropped: the callback does not keep up");
        entry.fields.insert("dropped".into(), dropped.into());
        entry
    }

    fn empty(level: Level, target: &'static str) -> Self {
        let timestamp = format_time(SystemClock.now_ms());
        Entry { level, message: String::new(), timestamp, target, fields: Map::new() }
    }

    /// As one line for people, whatever the texts in it hold.
    pub(super) fn to_line(&self) -> String {
        let mut line = format!("{} {} nuxt-queue-core: ", self.timestamp, self.level);
        escape(&mut line, &self.message, false);
        for (name, value) in &self.fields {
            line.push(' ');
            line.push_str(name);
            line.push('=');
            match value {
                Value::String(text) => {
                    line.push('"');
                    escape(&mut line, text, true);
                    line.push('"');
                }
                other => line.push_str(&other.to_string()),
            }
        }
        line.push('\n');
        line
    }

    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Entry {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Ends where the value can't be written.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.insert(field, value),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }
}

/// Neither ends a line nor speaks to a terminal: texts come from servers, too.
fn escape(out: &mut String, text: &str, is_quoted: bool) {
    for char in text.chars() {
        match char {
            '"' | '\\' if is_quoted => out.extend(['\\', char]),
            '\u{2028}' | '\u{2029}' => out.extend(char.escape_default()),
            control if control.is_control() => out.extend(control.escape_default()),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_line_whatever_it_says() {
        let mut entry = Entry::empty(Level::WARN, "nuxt_queue_core::x");
        entry.timestamp = "2026-11-24T12:00:00.000Z".into();
        entry.message = "lost\r\n\"it\" \u{1b}[31m\u{2028}".into();
        entry.fields.insert("error".into(), "a \"b\"\\\n\u{9b}é".into());
        entry.fields.insert("attempt".into(), 3.into());
        let line = r#"2026-11-24T12:00:00.000Z WARN nuxt-queue-core: lost\r\n"it" \u{1b}[31m\u{2028} error="a \"b\"\\\n\u{9b}é" attempt=3"#;
        assert_eq!(entry.to_line(), format!("{line}\n"));
    }

    #[test]
    fn is_json_with_its_fields_in_their_order() {
        let mut entry = Entry::empty(Level::DEBUG, "nuxt_queue_core::x");
        entry.timestamp = "2026-11-24T12:00:00.000Z".into();
        entry.message = "said".into();
        entry.fields.insert("z".into(), true.into());
        entry.fields.insert("a".into(), 1.5.into());
        let json = r#"{"level":"debug","message":"said","timestamp":"2026-11-24T12:00:00.000Z","target":"nuxt_queue_core::x","fields":{"z":true,"a":1.5}}"#;
        assert_eq!(crate::node::outcome::json(&entry), json);
    }
}
