//! Local time as it would go without zones: which seconds of it a schedule names.
//!
//! Local time is counted in seconds since 1970-01-01T00:00:00 of the wall clock.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::day::{Days, Month};

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// The local times that are named.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Civil {
    /// By a cron expression.
    Pattern(Pattern),
    /// One time of day, each `days` days, counted from a day.
    Daily { days: i64, from_day: i64, time: i64 },
}

/// The local times of a cron expression.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) time: TimeOfDay,
    pub(super) days: Days,
}

/// Times of day, each field as bits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TimeOfDay {
    pub(super) seconds: u64,
    pub(super) minutes: u64,
    pub(super) hours: u64,
}

impl Civil {
    /// The first local time from `from` on and before `end`.
    pub(super) fn first(&self, from: i64, end: i64) -> Option<i64> {
        let first = match self {
            Civil::Pattern(pattern) => pattern.first(from, end),
            Civil::Daily { days, from_day, time } => {
                let day = (from - time).div_euclid(DAY) + i64::from((from - time).rem_euclid(DAY) > 0);
                let passed = day.max(*from_day) - from_day;
                let periods = passed / days + i64::from(passed % days > 0);
                Some((from_day + periods * days) * DAY + time)
            }
        };
        first.filter(|first| *first < end)
    }
}

impl Pattern {
    fn first(&self, from: i64, end: i64) -> Option<i64> {
        let day = from.div_euclid(DAY);
        let date = date_time(day * DAY)?.date();
        let mut month = Month::of(date, day);
        let mut left = self.days.within(month) >> date.day() << date.day();
        if left & (1 << date.day()) != 0 {
            if let Some(time) = self.time.first(from.rem_euclid(DAY)) {
                return Some(day * DAY + time);
            }
            left &= left - 1;
        }
        while left == 0 {
            month = month.following()?;
            if month.first_day() * DAY >= end {
                return None;
            }
            left = self.days.within(month);
        }
        let day = month.first_day() + i64::from(left.trailing_zeros()) - 1;
        Some(day * DAY + self.time.first(0)?)
    }
}

impl TimeOfDay {
    /// The first second of a day from `from` on.
    fn first(&self, from: i64) -> Option<i64> {
        let (hour, minute, second) = (from / 3_600, from / 60 % 60, from % 60);
        let hour_now = self.hours & (1 << hour) != 0;
        if hour_now
            && self.minutes & (1 << minute) != 0
            && let Some(second) = from_bit(self.seconds, second)
        {
            return Some(hour * 3_600 + minute * 60 + second);
        }
        if hour_now && let Some(minute) = from_bit(self.minutes, minute + 1) {
            return Some(hour * 3_600 + minute * 60 + from_bit(self.seconds, 0)?);
        }
        Some(from_bit(self.hours, hour + 1)? * 3_600 + from_bit(self.minutes, 0)? * 60 + from_bit(self.seconds, 0)?)
    }
}

/// The first set bit from one on.
fn from_bit(bits: u64, from: i64) -> Option<i64> {
    let rest = bits >> from;
    (rest != 0).then(|| from + i64::from(rest.trailing_zeros()))
}

/// A local time as date and time; `None` beyond the calendar.
pub(super) fn date_time(local: i64) -> Option<DateTime> {
    Some(Offset::UTC.to_datetime(Timestamp::from_second(local).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::expression::Expression;
    use super::*;

    const LATEST: i64 = 253_370_764_800;

    fn local(text: &str) -> i64 {
        Offset::UTC.to_timestamp(text.parse::<DateTime>().unwrap()).unwrap().as_second()
    }

    fn next(civil: &Civil, from: &str) -> Option<String> {
        civil.first(local(from), LATEST).map(|local| date_time(local).unwrap().to_string())
    }

    fn cron(text: &str) -> Civil {
        Civil::Pattern(Expression::parse(text).unwrap().pattern)
    }

    #[test]
    fn the_next_time_of_an_expression() {
        for (text, from, expected) in [
            ("* * * * *", "2025-03-01T10:00:00", "2025-03-01T10:00:00"),
            ("* * * * *", "2025-03-01T10:00:01", "2025-03-01T10:01:00"),
            ("* * * * *", "2024-12-31T23:59:01", "2025-01-01T00:00:00"),
            ("0 9 * * *", "2025-03-01T09:00:00", "2025-03-01T09:00:00"),
            ("0 9 * * *", "2025-03-01T09:00:01", "2025-03-02T09:00:00"),
            ("30 9-17/4 * * *", "2025-03-01T09:31:00", "2025-03-01T13:30:00"),
            ("30 9-17/4 * * *", "2025-03-01T17:31:00", "2025-03-02T09:30:00"),
            ("*/10 * * * * *", "2025-03-01T10:00:51", "2025-03-01T10:01:00"),
            ("5 30 * * * *", "2025-03-01T10:30:05", "2025-03-01T10:30:05"),
            ("0 0 31 * *", "2025-03-31T00:00:01", "2025-05-31T00:00:00"),
            ("0 0 29 2 *", "2025-03-01T00:00:00", "2028-02-29T00:00:00"),
            ("0 0 29 2 */7", "2028-02-29T00:00:00", "2032-02-29T00:00:00"),
            ("0 0 29 2 *", "2096-03-01T00:00:00", "2104-02-29T00:00:00"),
            ("0 0 L * *", "2028-02-01T00:00:00", "2028-02-29T00:00:00"),
            ("59 23 31 12 *", "2025-12-31T23:59:01", "2026-12-31T23:59:00"),
            ("0 0 13 * fri", "2025-06-09T00:00:00", "2025-06-13T00:00:00"),
            ("0 0 13 * fri", "2025-06-14T00:00:00", "2025-06-20T00:00:00"),
        ] {
            assert_eq!(next(&cron(text), from).as_deref(), Some(expected), "{text} from {from}");
        }
    }

    #[test]
    fn days_that_no_month_has_end_the_search() {
        for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31W 2 *", "0 0 L-30 2 *"] {
            assert_eq!(next(&cron(text), "2025-01-01T00:00:00"), None, "{text}");
        }
        assert_eq!(cron("0 0 1 1 *").first(local("2025-01-01T00:00:01"), local("2026-01-01T00:00:00")), None);
    }

    #[test]
    fn daily_counts_from_its_day() {
        let daily = Civil::Daily { days: 3, from_day: local("2025-01-01T00:00:00") / DAY, time: 7_200 };
        for (from, expected) in [
            ("2024-06-01T00:00:00", "2025-01-01T02:00:00"),
            ("2025-01-01T02:00:00", "2025-01-01T02:00:00"),
            ("2025-01-01T02:00:01", "2025-01-04T02:00:00"),
            ("2025-01-04T01:59:59", "2025-01-04T02:00:00"),
            ("2025-01-31T02:00:01", "2025-02-03T02:00:00"),
        ] {
            assert_eq!(next(&daily, from).as_deref(), Some(expected), "from {from}");
        }
    }
}
