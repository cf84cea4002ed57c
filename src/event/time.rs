//! Instants as text: ISO 8601 (RFC 3339) in UTC with milliseconds.

use jiff::Timestamp;

/// The last millisecond that the four-digit years of RFC 3339 can name.
const LAST_MS: u64 = 253_402_300_799_999;

/// Milliseconds since the Unix epoch as `2025-11-05T10:00:03.000Z`.
///
/// ```
/// assert_eq!(nuxt_queue_core::event::format_time(0), "1970-01-01T00:00:00.000Z");
/// ```
pub fn format_time(ms: u64) -> String {
    let ms = ms.min(LAST_MS) as i64;
    format!("{:.3}", Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Reads an RFC 3339 instant (with `Z` or an offset) as milliseconds since the Unix epoch.
/// `None` if the text is anything else, or before 1970.
///
/// ```
/// assert_eq!(nuxt_queue_core::event::parse_time("1970-01-01T00:00:01Z"), Some(1000));
/// assert_eq!(nuxt_queue_core::event::parse_time("tomorrow"), None);
/// ```
pub fn parse_time(text: &str) -> Option<u64> {
    let instant: Timestamp = text.parse().ok()?;
    u64::try_from(instant.as_millisecond()).ok()
}

/// Formats instants, remembering the last one: events of one page share their milliseconds.
#[derive(Debug, Default)]
pub(crate) struct TimeFormatter {
    ms: Option<u64>,
    text: String,
}

impl TimeFormatter {
    pub(crate) fn format(&mut self, ms: u64) -> &str {
        if self.ms != Some(ms) {
            self.ms = Some(ms);
            self.text = format_time(ms);
        }
        &self.text
    }
}
