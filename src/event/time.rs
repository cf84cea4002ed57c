//! Instants as text: ISO 8601 (RFC 3339) in UTC with milliseconds.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

/// The last millisecond that the four-digit years of RFC 3339 can name.
const LAST_MS: u64 = 253_402_300_799_999;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Milliseconds since the Unix epoch as `2025-11-05T10:00:03.000Z`.
///
/// ```
/// assert_eq!(nuxt_queue_core::event::format_time(0), "1970-01-01T00:00:00.000Z");
/// ```
pub fn format_time(ms: u64) -> String {
    let ms = ms.min(LAST_MS) as i64;
    match Timestamp::from_millisecond(ms) {
        Ok(instant) => format!("{instant:.3}"),
        // Timestamps end a day early, so that they can be shown in any zone.
        Err(_) => format!("{:.3}Z", EPOCH.saturating_add(SignedDuration::from_millis(ms))),
    }
}

/// Reads an RFC 3339 instant (with `Z` or an offset) as milliseconds since the Unix epoch.
/// `None` if the text is anything else, or before 1970.
///
/// ```
/// assert_eq!(nuxt_queue_core::event::parse_time("1970-01-01T00:00:01Z"), Some(1000));
/// assert_eq!(nuxt_queue_core::event::parse_time("tomorrow"), None);
/// ```
pub fn parse_time(text: &str) -> Option<u64> {
    let ms = match text.parse::<Timestamp>() {
        Ok(instant) => instant.as_millisecond(),
        Err(_) => {
            let last_day = text.strip_suffix(['Z', 'z']).filter(|civil| civil.starts_with("9999-12-3"))?;
            i64::try_from(EPOCH.duration_until(last_day.parse::<DateTime>().ok()?).as_millis()).ok()?
        }
    };
    u64::try_from(ms).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches_from_the_first_to_the_last_instant() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_762_336_803_007, "2025-11-05T10:00:03.007Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!((format_time(ms).as_str(), parse_time(text)), (text, Some(ms)));
        }
        assert_eq!(format_time(u64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(parse_time("1969-12-31T23:59:59Z"), None);
    }
}
