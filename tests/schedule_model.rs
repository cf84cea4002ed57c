//! Random schedules, held against a model that looks at the clock each minute, as crontab(5) and cron(8) say it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use nuxt_queue_core::schedule::{DstOverlap, Gap, Schedule, ScheduleOptions};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Changes by an hour and by half of one, at two o'clock and at midnight, twice a year and around Ramadan, by three
/// hours, of the offset for good, and none.
const ZONES: [&str; 14] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Beirut",
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "America/Vancouver",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "UTC",
];

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

#[derive(Debug, Clone)]
enum Item {
    All,
    AllBy(i8),
    One(i8),
    Range(i8, i8),
    RangeBy(i8, i8, i8),
    LastDay,
    LastWorkday,
    Nearest(i8),
    Nth(i8, i8),
    LastOf(i8),
}

#[derive(Debug, Clone)]
struct Field {
    low: i8,
    items: Vec<Item>,
}

impl Field {
    fn text(&self) -> String {
        let text = |item: &Item| match item {
            Item::All => "*".to_owned(),
            Item::AllBy(step) => format!("*/{step}"),
            Item::One(value) => value.to_string(),
            Item::Range(low, high) => format!("{low}-{high}"),
            Item::RangeBy(low, high, step) => format!("{low}-{high}/{step}"),
            Item::LastDay => "L".to_owned(),
            Item::LastWorkday => "LW".to_owned(),
            Item::Nearest(day) => format!("{day}W"),
            Item::Nth(weekday, nth) => format!("{weekday}#{nth}"),
            Item::LastOf(weekday) => format!("{weekday}L"),
        };
        self.items.iter().map(text).collect::<Vec<_>>().join(",")
    }

    /// Of a day field: that it restricts nothing, also with a step.
    fn starts_with_star(&self) -> bool {
        matches!(self.items.first(), Some(Item::All | Item::AllBy(_)))
    }

    fn has(&self, value: i8) -> bool {
        self.items.iter().any(|item| match *item {
            Item::All => true,
            Item::AllBy(step) => (value - self.low) % step == 0,
            Item::One(one) => value == one,
            Item::Range(low, high) => (low..=high).contains(&value),
            Item::RangeBy(low, high, step) => (low..=high).contains(&value) && (value - low) % step == 0,
            _ => false,
        })
    }

    fn has_day(&self, date: Date) -> bool {
        let last = date.last_of_month();
        self.has(date.day())
            || self.items.iter().any(|item| match *item {
                Item::LastDay => date == last,
                Item::LastWorkday => {
                    is_workday(date)
                        && (1..).map(|days| date + days.days()).take(3).all(|next| next > last || !is_workday(next))
                }
                Item::Nearest(day) => Date::new(date.year(), date.month(), day).is_ok_and(|wanted| {
                    let far = |date: Date| (date.day() - wanted.day()).abs();
                    let days = (1..=last.day()).map(|day| Date::new(date.year(), date.month(), day).unwrap());
                    // Of two that are as near there is never more than one: weekends have two days.
                    days.filter(|day| is_workday(*day)).min_by_key(|day| far(*day)) == Some(date)
                }),
                _ => false,
            })
    }

    fn has_weekday(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        // 0 and 7 are Sunday.
        let is = |number: i8| number % 7 == weekday;
        self.has(weekday)
            || (weekday == 0 && self.has(7))
            || self.items.iter().any(|item| match *item {
                Item::Nth(number, nth) => is(number) && (date.day() + 6) / 7 == nth,
                Item::LastOf(number) => is(number) && (date + 7.days()).month() != date.month(),
                _ => false,
            })
    }
}

fn is_workday(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

#[derive(Debug, Clone)]
struct Cron {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Cron {
    fn text(&self) -> String {
        [&self.minute, &self.hour, &self.day, &self.month, &self.weekday].map(Field::text).join(" ")
    }

    fn names(&self, wall: DateTime) -> bool {
        self.minute.has(wall.minute())
            && self.hour.has(wall.hour())
            && self.month.has(wall.month())
            && self.names_day(wall.date())
    }

    /// "If both fields are restricted, the command will be run when either field matches the current time."
    fn names_day(&self, date: Date) -> bool {
        let both_restricted = !self.day.starts_with_star() && !self.weekday.starts_with_star();
        match both_restricted {
            true => self.day.has_day(date) || self.weekday.has_weekday(date),
            false => self.day.has_day(date) && self.weekday.has_weekday(date),
        }
    }

    /// Jobs with a star as minute or hour are run by the clock, whatever it does.
    fn is_wildcard(&self) -> bool {
        self.minute.starts_with_star() || self.hour.starts_with_star()
    }
}

#[derive(Debug, Clone)]
struct Case {
    cron: Cron,
    zone: &'static str,
    gap: Gap,
    dst_overlap: DstOverlap,
    from: i64,
    days: i64,
}

impl Case {
    fn schedule(&self) -> Result<Schedule, nuxt_queue_core::Error> {
        Schedule::new(&ScheduleOptions {
            cron: Some(self.cron.text()),
            timezone: Some(self.zone.to_owned()),
            gap: Some(self.gap),
            dst_overlap: Some(self.dst_overlap),
            ..ScheduleOptions::default()
        })
    }

    /// What fires from `from` on, minute by minute.
    fn model(&self) -> Vec<i64> {
        let zone = TimeZoneDatabase::bundled().get(self.zone).unwrap();
        let wall = |at: i64| zone.to_datetime(Timestamp::from_second(at).unwrap());
        // Two days earlier, so that it is known what the clock has shown before.
        let mut shown = wall(self.from - 2 * DAY);
        let mut latest = shown;
        let mut fires = Vec::new();
        for at in (self.from - 2 * DAY + MINUTE..self.from + self.days * DAY).step_by(MINUTE as usize) {
            let now = wall(at);
            let is_repeated = now <= latest;
            let mut due = self.cron.names(now);
            if !self.cron.is_wildcard() {
                due &= !is_repeated || self.dst_overlap == DstOverlap::Both;
                if self.gap == Gap::After {
                    let mut skipped = shown + 1.minute();
                    while !due && skipped < now {
                        due = self.cron.names(skipped);
                        skipped += 1.minute();
                    }
                }
            }
            if due && at >= self.from {
                fires.push(at);
            }
            (shown, latest) = (now, latest.max(now));
        }
        fires
    }
}

fn value(low: i8, high: i8) -> impl Strategy<Value = Item> {
    prop_oneof![
        3 => (low..=high).prop_map(Item::One),
        1 => (low..=high, low..=high).prop_map(|(one, other)| Item::Range(one.min(other), one.max(other))),
        1 => (low..=high, low..=high, 1..=3i8).prop_map(|(one, other, step)| {
            let (low, high) = (one.min(other), one.max(other));
            Item::RangeBy(low, high, step.min(high - low + 1))
        }),
    ]
}

fn field(low: i8, high: i8, stars: u32) -> impl Strategy<Value = Field> {
    prop_oneof![
        stars => Just(vec![Item::All]),
        1 => (1..=(high - low + 1)).prop_map(|step| vec![Item::AllBy(step)]),
        2 => vec(value(low, high), 1..4),
    ]
    .prop_map(move |items| Field { low, items })
}

fn day_field(low: i8, high: i8, special: impl Strategy<Value = Item>) -> impl Strategy<Value = Field> {
    (field(low, high, 4), proptest::option::weighted(0.3, special)).prop_map(|(mut field, special)| {
        // A list that begins with a star would restrict nothing.
        if let Some(special) = special {
            field.items = match field.starts_with_star() {
                true => vec![special],
                false => [field.items, vec![special]].concat(),
            };
        }
        field
    })
}

fn cron() -> impl Strategy<Value = Cron> {
    let day = prop_oneof![Just(Item::LastDay), Just(Item::LastWorkday), (1..=31i8).prop_map(Item::Nearest)];
    let weekday = prop_oneof![
        (0..=7i8, 1..=5i8).prop_map(|(weekday, nth)| Item::Nth(weekday, nth)),
        (0..=7i8).prop_map(Item::LastOf)
    ];
    // Hours at which clocks change come often.
    let hour = prop_oneof![1 => field(0, 23, 2), 2 => vec(value(0, 3), 1..3).prop_map(|items| Field { low: 0, items })];
    (field(0, 59, 1), hour, day_field(1, 31, day), field(1, 12, 8), day_field(0, 7, weekday))
        .prop_map(|(minute, hour, day, month, weekday)| Cron { minute, hour, day, month, weekday })
}

/// A moment some hours before the clocks change, from 2018 to 2040; any moment where they don't.
fn near_a_change(zone: &str, moment: i64, hours: i64) -> i64 {
    let zone: TimeZone = TimeZoneDatabase::bundled().get(zone).unwrap();
    let change = zone.following(Timestamp::from_second(moment).unwrap()).next();
    let at = change.map_or(moment, |change| change.timestamp().as_second());
    // Within the years that are promised, and on a minute.
    at.min(2_208_988_800).div_euclid(MINUTE) * MINUTE - hours * 60 * MINUTE
}

fn case(days: i64) -> impl Strategy<Value = Case> {
    let moment = 1_514_764_800..2_208_988_800i64;
    let (gap, overlap) = (select(vec![Gap::After, Gap::Skip]), select(vec![DstOverlap::First, DstOverlap::Both]));
    (cron(), select(&ZONES[..]), gap, overlap, moment, 0..30i64).prop_map(
        move |(cron, zone, gap, dst_overlap, moment, hours)| Case {
            cron,
            zone,
            gap,
            dst_overlap,
            from: near_a_change(zone, moment, hours),
            days,
        },
    )
}

fn holds(case: &Case) -> Result<(), TestCaseError> {
    let expected = case.model();
    match case.schedule() {
        Ok(schedule) => {
            let end = (case.from + case.days * DAY) as u64 * 1_000;
            let fires = schedule.after(case.from as u64 * 1_000 - 1).take_while(|at| *at < end);
            let fires: Vec<i64> = fires.map(|ms| (ms / 1_000) as i64).collect();
            prop_assert_eq!(fires, expected, "{}", case.cron.text());
        }
        Err(error) => {
            prop_assert!(error.message().contains("never fires"), "{}: {}", case.cron.text(), error);
            prop_assert_eq!(expected, Vec::<i64>::new(), "{}", case.cron.text());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fires_when_the_model_does_around_a_change(case in case(3)) {
        holds(&case)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fires_when_the_model_does_over_months(case in case(70)) {
        holds(&case)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is asked for, there is an answer: a schedule whose instants grow, or an error that is a sentence.
    #[test]
    fn no_text_breaks_it(
        text in prop_oneof!["[-*/,0-9LW#a-z?@ ]{0,30}", "([*0-9]{1,2}[-/,#LW]{0,1}[0-9]{0,2} ){5,6}", "\\PC{0,40}"],
        zone in prop_oneof![Just("Europe/Berlin".to_owned()), Just("Africa/Casablanca".to_owned()), "\\PC{0,20}"],
        from in prop_oneof![0..2_208_988_800_000u64, any::<u64>()],
    ) {
        let options = ScheduleOptions { cron: Some(text), timezone: Some(zone), ..ScheduleOptions::default() };
        match Schedule::new(&options) {
            Ok(schedule) => {
                let instants: Vec<u64> = schedule.after(from).take(3).collect();
                prop_assert!(instants.iter().all(|at| *at > from) && instants.is_sorted_by(|one, next| one < next));
            }
            Err(error) => prop_assert!(error.message().ends_with(['.', '?']), "{}", error),
        }
    }

    #[test]
    fn no_period_or_bound_breaks_it(
        interval in proptest::option::of(prop_oneof!["[0-9.]{0,25}(ms|s|m|h|d|w|M|y)", "\\PC{0,10}"]),
        at in proptest::option::of(prop_oneof!["[0-9:]{0,9}", "\\PC{0,10}"]),
        start in proptest::option::of(prop_oneof!["[0-9]{1,4}-[0-1][0-9]-[0-3][0-9](T[0-2][0-9]:[0-5][0-9](Z|[+-][0-9]{2}:[0-9]{2})?)?", "\\PC{0,10}"]),
        from in any::<u64>(),
    ) {
        let end = start.clone();
        let options = ScheduleOptions { interval, at, start, end, ..ScheduleOptions::default() };
        match Schedule::new(&options) {
            Ok(schedule) => {
                prop_assert!(schedule.next_after(0).is_some());
                prop_assert!(schedule.next_after(from).is_none_or(|at| at > from));
                prop_assert!(schedule.preview(from, 2).len() <= 2);
            }
            Err(error) => prop_assert!(error.message().ends_with(['.', '?']), "{}", error),
        }
    }
}
