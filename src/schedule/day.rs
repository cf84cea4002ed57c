//! On which days of a month an expression fires.

use jiff::civil::Date;

use super::field::Special;

/// The day rule of cron.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Days {
    /// Bit 1 is January.
    pub(super) months: u64,
    /// Bit 1 is the first.
    pub(super) month_days: u64,
    /// Bit 0 is Sunday.
    pub(super) weekdays: u64,
    /// Days of the month that depend on the month.
    pub(super) special_days: Vec<Special>,
    /// Weekdays that depend on the month.
    pub(super) special_weekdays: Vec<Special>,
    /// Whether one of the two is enough: so it is if neither field begins with `*`.
    pub(super) either: bool,
}

/// A month of a calendar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Month {
    year: i16,
    month: i8,
    length: u32,
    /// The weekday of its first day.
    first_weekday: u32,
    /// The number of its first day, counted from 1970-01-01.
    first_day: i64,
}

impl Month {
    /// The month of a day, given with the number of that day from 1970-01-01.
    pub(super) fn of(date: Date, day: i64) -> Month {
        let first_day = day - i64::from(date.day() - 1);
        Month {
            year: date.year(),
            month: date.month(),
            length: length(date),
            first_weekday: weekday(first_day),
            first_day,
        }
    }

    /// The month after; `None` at the end of the calendar.
    pub(super) fn following(self) -> Option<Month> {
        let (year, month) = if self.month == 12 { (self.year.checked_add(1)?, 1) } else { (self.year, self.month + 1) };
        let first_day = self.first_day + i64::from(self.length);
        let length = length(Date::new(year, month, 1).ok()?);
        Some(Month { year, month, length, first_weekday: weekday(first_day), first_day })
    }

    /// The number of its first day, counted from 1970-01-01.
    pub(super) fn first_day(self) -> i64 {
        self.first_day
    }

    /// The first day with this weekday.
    fn first(self, weekday: u32) -> u32 {
        1 + (weekday + 7 - self.first_weekday) % 7
    }

    /// Whether a day is one from Monday to Friday.
    fn is_workday(self, day: u32) -> bool {
        !matches!((self.first_weekday + day - 1) % 7, 0 | 6)
    }
}

fn length(date: Date) -> u32 {
    date.days_in_month().unsigned_abs().into()
}

/// 1970-01-01 was a Thursday.
fn weekday(day: i64) -> u32 {
    (day + 4).rem_euclid(7) as u32
}

impl Days {
    /// The days of a month on which it fires, as bits; bit 1 is the first.
    pub(super) fn within(&self, month: Month) -> u64 {
        if self.months & (1 << month.month) == 0 {
            return 0;
        }
        let special = |all: &[Special]| all.iter().map(|special| special.within(month)).fold(0, |days, bit| days | bit);
        let month_days = self.month_days | special(&self.special_days);
        let weekdays = spread(self.weekdays, month) | special(&self.special_weekdays);
        let all = (2 << month.length) - 2;
        all & if self.either { month_days | weekdays } else { month_days & weekdays }
    }
}

/// The days of a month with these weekdays.
fn spread(weekdays: u64, month: Month) -> u64 {
    /// The same weekdays in five weeks and a bit.
    const WEEKS: u64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28 | 1 << 35;
    (weekdays * WEEKS) >> month.first_weekday << 1
}

impl Special {
    /// The day that it is in a month, as a bit; 0 if there is none.
    fn within(self, month: Month) -> u64 {
        let day = match self {
            Special::LastDay { before } => month.length.saturating_sub(before),
            Special::Nth { weekday, nth } => month.first(weekday) + 7 * (nth - 1),
            Special::LastOf { weekday } => {
                let first = month.first(weekday);
                first + (month.length - first) / 7 * 7
            }
            Special::LastWorkday => (1..=month.length).rev().find(|day| month.is_workday(*day)).unwrap_or(0),
            Special::Nearest { day } if day > month.length => 0,
            // Saturday goes a day back and Sunday one on, or the other way round at the ends of the month.
            Special::Nearest { day } => [day, day.wrapping_sub(1), day + 1, day.wrapping_sub(2), day + 2]
                .into_iter()
                .find(|near| (1..=month.length).contains(near) && month.is_workday(*near))
                .unwrap_or(0),
        };
        if (1..=month.length).contains(&day) { 1 << day } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: u64 = u64::MAX;

    fn month(year: i16, month: i8) -> Month {
        let date = Date::new(year, month, 1).unwrap();
        let day = date.duration_since(Date::new(1970, 1, 1).unwrap()).as_hours() / 24;
        Month::of(date, day)
    }

    fn days(bits: u64) -> Vec<u32> {
        (0..64).filter(|day| bits & (1 << day) != 0).collect()
    }

    #[test]
    fn weekdays_are_those_of_the_calendar() {
        for (year, number) in [(2024, 2), (2025, 3), (2026, 8), (2027, 2)] {
            let month = month(year, number);
            for weekday in 0..7 {
                let expected: Vec<u32> = (1..=month.length)
                    .filter(|day| {
                        let date = Date::new(year, number, *day as i8).unwrap();
                        date.weekday().to_sunday_zero_offset() as u32 == weekday
                    })
                    .collect();
                let all = (2 << month.length) - 2;
                assert_eq!(days(spread(1 << weekday, month) & all), expected, "{year}-{number}");
            }
        }
    }

    #[test]
    fn months_follow_one_another() {
        let mut at = month(1999, 12);
        for (year, number) in (2000..2030).flat_map(|year| (1..=12).map(move |month| (year, month))) {
            at = at.following().unwrap();
            let expected = month(year, number);
            assert_eq!((at.first_day, at.length), (expected.first_day, expected.length), "{year}-{number}");
        }
    }

    #[test]
    fn days_that_depend_on_the_month() {
        use Special::*;
        // March 2025 begins and ends at a weekend: 1 is a Saturday, 30 a Sunday, 31 a Monday.
        for (special, expected) in [
            (LastDay { before: 0 }, Some(31)),
            (LastDay { before: 30 }, Some(1)),
            (LastWorkday, Some(31)),
            (Nearest { day: 1 }, Some(3)),
            (Nearest { day: 15 }, Some(14)),
            (Nearest { day: 16 }, Some(17)),
            (Nearest { day: 31 }, Some(31)),
            (Nth { weekday: 6, nth: 1 }, Some(1)),
            (Nth { weekday: 0, nth: 5 }, Some(30)),
            (Nth { weekday: 2, nth: 5 }, None),
            (LastOf { weekday: 5 }, Some(28)),
            (LastOf { weekday: 1 }, Some(31)),
        ] {
            assert_eq!(days(special.within(month(2025, 3))), Vec::from_iter(expected), "{special:?}");
        }
        // February 2026 ends with a Saturday, August 2025 with a Sunday.
        assert_eq!(days(Nearest { day: 28 }.within(month(2026, 2))), [27]);
        assert_eq!(days(Nearest { day: 31 }.within(month(2025, 8))), [29]);
        assert_eq!(Nearest { day: 30 }.within(month(2026, 2)), 0);
        assert_eq!(LastDay { before: 30 }.within(month(2026, 2)), 0);
        assert_eq!(days(LastWorkday.within(month(2025, 8))), [29]);
    }

    #[test]
    fn the_days_of_both_fields_or_of_either() {
        let rule = |month_days, weekdays, either| Days {
            months: EVERY,
            month_days,
            weekdays,
            special_days: Vec::new(),
            special_weekdays: Vec::new(),
            either,
        };
        // Friday is the 7th, 14th, 21st and 28th.
        assert_eq!(days(rule(1 << 13, 1 << 5, true).within(month(2025, 3))), [7, 13, 14, 21, 28]);
        assert_eq!(days(rule(1 << 14 | 1 << 15, 1 << 5, false).within(month(2025, 3))), [14]);
        assert_eq!(days(rule(EVERY, 0x7f, false).within(month(2026, 2))).len(), 28);
        let january = Days { months: 1 << 1, ..rule(EVERY, 0x7f, false) };
        assert_eq!(january.within(month(2026, 2)), 0);
    }
}
