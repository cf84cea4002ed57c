//! When a schedule fires, as its options say it; and what contradicts what in them.

use std::sync::Arc;

use super::calendar::Calendar;
use super::civil::{Civil, DAY};
use super::expression::Expression;
use super::field::shown;
use super::options::{CatchUp, Every, ScheduleOptions};
use super::zone::Zone;
use crate::event::parse_time;

/// The longest period: a century.
const LONGEST_DAYS: u32 = 36_525;
const LONGEST_MS: u64 = LONGEST_DAYS as u64 * 86_400_000;

/// How many instants fire late after nobody was there.
const MOST_CAUGHT_UP: u32 = 10_000;

/// The longest time that a firing is put off.
const LONGEST_JITTER_MS: u64 = 86_400_000;

/// When a schedule fires.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rhythm {
    /// Each time that so many milliseconds have passed since an instant, which is the first.
    Elapsed { from_ms: u64, step_ms: u64 },
    /// At local times.
    Calendar(Calendar),
}

/// What the options amount to.
pub(super) struct Plan {
    pub(super) rhythm: Rhythm,
    pub(super) zone: Arc<Zone>,
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
}

/// What is wrong with options: all of it.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn check(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }

    fn take<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }
}

/// Checks options, and says everything that is wrong with them.
pub(super) fn plan(options: &ScheduleOptions) -> Result<Plan, Vec<String>> {
    let mut problems = Problems::default();
    let zone = problems.take(Zone::named(options.timezone.as_deref().unwrap_or("UTC")));
    // What else is wrong is told, too.
    let some_zone = zone.clone().or_else(|| Zone::named("UTC").ok());
    let mut bound = |name, text: &Option<String>| {
        let (text, zone) = (text.as_deref()?, some_zone.as_deref()?);
        problems.take(instant(name, text, zone))
    };
    let (start, end) = (bound("start", &options.start), bound("end", &options.end));
    check_bounds(options, start, end, &mut problems);
    check_policies(options, &mut problems);
    check_sources(options, &mut problems);
    let rhythm = rhythm(options, start, zone.as_deref(), &mut problems);
    match (rhythm, zone) {
        (Some(rhythm), Some(zone)) if problems.0.is_empty() => {
            Ok(Plan { rhythm, zone, start_ms: start.unwrap_or(0), end_ms: end.unwrap_or(u64::MAX) })
        }
        _ => Err(problems.0),
    }
}

fn check_bounds(options: &ScheduleOptions, start: Option<u64>, end: Option<u64>, problems: &mut Problems) {
    if let ((Some(start), Some(start_text)), (Some(end), Some(end_text))) =
        ((start, &options.start), (end, &options.end))
    {
        problems.check(start <= end, || format!("start {} comes after end {}.", shown(start_text), shown(end_text)));
    }
}

fn check_policies(options: &ScheduleOptions, problems: &mut Problems) {
    let jitter = options.jitter_ms.unwrap_or(0);
    problems
        .check(jitter <= LONGEST_JITTER_MS, || format!("jitterMs is {jitter}; at most {LONGEST_JITTER_MS}, a day."));
    problems.check(options.catch_up_limit != Some(0), || {
        "catchUpLimit is 0; it begins with 1, and catchUp: \"none\" catches up nothing.".into()
    });
    problems.check(options.catch_up_limit.is_none_or(|limit| limit <= MOST_CAUGHT_UP), || {
        format!("catchUpLimit is {}; at most {MOST_CAUGHT_UP}.", options.catch_up_limit.unwrap_or_default())
    });
    problems.check(options.catch_up_limit.is_none() || options.catch_up == Some(CatchUp::All), || {
        "catchUpLimit limits catchUp: \"all\", which is not set; set it, or leave the limit out.".into()
    });
}

/// One thing says when it fires.
fn check_sources(options: &ScheduleOptions, problems: &mut Problems) {
    let given = [
        ("cron", options.cron.is_some()),
        ("interval", options.interval.is_some()),
        ("at", options.at.is_some()),
        ("every", options.every.is_some()),
    ];
    let given: Vec<&str> = given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
    problems.check(!given.is_empty(), || {
        "Nothing says when it fires; give cron, interval, at (a time of day) or every.".into()
    });
    let contradict = !matches!(given[..], [] | [_] | ["at", "every"]);
    problems.check(!contradict, || format!("{} contradict one another; keep one of them.", given.join(" and ")));
    // What is passed over here would say the same again.
    if let (false, Some(every)) = (contradict, &options.every) {
        check_every(options, every, problems);
    }
    if given.contains(&"interval") || options.every.is_some_and(|every| !every.has_days()) {
        for (name, is_given) in [("gap", options.gap.is_some()), ("dstOverlap", options.dst_overlap.is_some())] {
            problems.check(!is_given, || {
                format!("{name} is about times of day, but here time passes whatever the clocks show; leave it out.")
            });
        }
    }
}

fn check_every(options: &ScheduleOptions, every: &Every, problems: &mut Problems) {
    problems.check(every.has_days() || every.elapsed_ms() > 0, || {
        "every names no period; give days, hours, minutes or seconds.".into()
    });
    problems.check(every.days.unwrap_or(0) <= LONGEST_DAYS, || {
        format!("every.days is {}; at most {LONGEST_DAYS}, a century.", every.days.unwrap_or(0))
    });
    let passes = every.elapsed_ms() > 0;
    problems.check(!(every.has_days() && passes), || {
        "every.days counts days of the calendar, the other members time that passes; \
         use one of the two, or interval with \"36h\" for time alone."
            .into()
    });
    problems.check(options.at.is_none() || every.has_days() || !passes, || {
        "at is a time of day and goes with every.days, not with hours, minutes or seconds; \
         with those, start says when they begin to be counted."
            .into()
    });
}

fn rhythm(
    options: &ScheduleOptions,
    start: Option<u64>,
    zone: Option<&Zone>,
    problems: &mut Problems,
) -> Option<Rhythm> {
    if let Some(text) = &options.cron {
        let Expression { pattern, is_wildcard } = problems.take(Expression::parse(text))?;
        return Some(Rhythm::Calendar(calendar(options, Civil::Pattern(pattern), is_wildcard)));
    }
    if let Some(text) = &options.interval {
        let step = duration(text).ok_or_else(|| {
            format!("interval is {}; expected a text such as \"10s\", \"90m\", \"24h\", \"2d\", \"1w\".", shown(text))
        });
        let step_ms = problems.take(step)?;
        return elapsed(options, step_ms, start, &format!("interval is {}", shown(text)), problems);
    }
    let time = options.at.as_deref().map(|at| problems.take(time_of_day(at)));
    let every = options.every.unwrap_or(Every { days: Some(1), ..Every::default() });
    if !every.has_days() {
        return elapsed(options, every.elapsed_ms(), start, "every has too many hours, minutes or seconds", problems);
    }
    let civil = daily(every, time.unwrap_or(None), start, zone?)?;
    Some(Rhythm::Calendar(calendar(options, civil, false)))
}

fn calendar(options: &ScheduleOptions, civil: Civil, is_wildcard: bool) -> Calendar {
    Calendar {
        civil,
        is_wildcard,
        gap: options.gap.unwrap_or_default(),
        dst_overlap: options.dst_overlap.unwrap_or_default(),
    }
}

fn elapsed(
    options: &ScheduleOptions,
    step_ms: u64,
    start: Option<u64>,
    given: &str,
    problems: &mut Problems,
) -> Option<Rhythm> {
    problems.check(step_ms >= 1_000 || options.interval.is_none(), || format!("{given}; the shortest is one second."));
    problems.check(step_ms <= LONGEST_MS, || format!("{given}; the longest is a century."));
    let jitter = options.jitter_ms.unwrap_or(0);
    problems.check(jitter < step_ms || step_ms < 1_000, || {
        format!("jitterMs is {jitter}, but the next firing comes after {step_ms} ms; it has to be less.")
    });
    (step_ms > 0).then_some(Rhythm::Elapsed { from_ms: start.unwrap_or(0), step_ms })
}

/// Each so many days at a time, counted from the first such time that `start` allows.
fn daily(every: Every, time: Option<i64>, start: Option<u64>, zone: &Zone) -> Option<Civil> {
    let start = match start {
        Some(start) => {
            let second = i64::try_from(start.div_ceil(1_000)).ok()?;
            second + zone.stretch(second).offset
        }
        None => 0,
    };
    let time = time.unwrap_or(start.rem_euclid(DAY));
    let from_day = start.div_euclid(DAY) + i64::from(start.rem_euclid(DAY) > time);
    Some(Civil::Daily { days: every.days.map_or(1, i64::from), from_day, time })
}

impl Every {
    fn has_days(&self) -> bool {
        self.days.is_some_and(|days| days > 0)
    }

    /// The time that passes.
    fn elapsed_ms(&self) -> u64 {
        let part = |count: Option<u32>, ms: u64| u64::from(count.unwrap_or(0)) * ms;
        part(self.hours, 3_600_000) + part(self.minutes, 60_000) + part(self.seconds, 1_000)
    }
}

/// Milliseconds of a text such as `90m` or `1.5h`.
fn duration(text: &str) -> Option<u64> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    let (amount, unit) = text.split_at(unit_at);
    let unit_ms = match unit {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        "w" => 604_800_000.0,
        _ => return None,
    };
    let is_amount = amount.starts_with(|first: char| first.is_ascii_digit()) && !amount.ends_with('.');
    // Too much for a number is too long, and is told so.
    is_amount.then_some((amount.parse::<f64>().ok()? * unit_ms).round() as u64)
}

/// Seconds since midnight of `HH:MM` or `HH:MM:SS`.
fn time_of_day(text: &str) -> Result<i64, String> {
    let parts: Option<Vec<i64>> = text.split(':').map(two_digits).collect();
    let seconds = match parts.as_deref() {
        Some(&[hour, minute]) => Some((hour, minute, 0)),
        Some(&[hour, minute, second]) => Some((hour, minute, second)),
        _ => None,
    };
    match seconds {
        Some((hour @ 0..24, minute @ 0..60, second @ 0..60)) => Ok(hour * 3_600 + minute * 60 + second),
        _ => {
            Err(format!("at is {}; expected a time of day from \"00:00\" to \"23:59\", or with seconds.", shown(text)))
        }
    }
}

fn two_digits(text: &str) -> Option<i64> {
    let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Milliseconds since the Unix epoch of an instant, or of a local time in a zone.
fn instant(name: &str, text: &str, zone: &Zone) -> Result<u64, String> {
    let local = || Some(u64::try_from(zone.second(text.parse().ok()?)?).ok()? * 1_000);
    parse_time(text).or_else(local).ok_or_else(|| {
        let expected = "an instant from 1970 on, such as \"2025-11-05T10:00:00Z\", or a date or a local time";
        format!("{name} is {}; expected {expected}.", shown(text))
    })
}
