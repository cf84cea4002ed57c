//! Cron expressions: Vixie's language over the crate `cron`, which expands what each field lists.
//!
//! The crate speaks a dialect of its own: it wants seconds, counts weekdays from Sunday = 1, refuses 0 and 7 for it,
//! and steps of a whole range. So each field is read here first, which also tells the place of what is wrong, and
//! handed over in that dialect. Which days the fields amount to, and when that is, is not asked of the crate.

use std::str::FromStr;

use cron::TimeUnitSpec;

use super::civil::{Pattern, TimeOfDay};
use super::day::Days;
use super::field::{Field, Span, UNITS, shown};

/// The longest expression that is read, in bytes.
const LONGEST: usize = 1_000;

/// Names of expressions.
const FORMS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A cron expression that was read.
#[derive(Debug)]
pub(super) struct Expression {
    /// The local times that it names.
    pub(super) pattern: Pattern,
    /// Whether minute or hour begins with `*`: such an expression is a rhythm, not a list of times of day.
    pub(super) is_wildcard: bool,
}

impl Expression {
    /// Reads five fields, six with seconds first, or a form such as `@daily`. Says what is wrong otherwise.
    pub(super) fn parse(text: &str) -> Result<Expression, String> {
        if text.len() > LONGEST {
            return Err(format!("cron has {} bytes; at most {LONGEST} are read.", text.len()));
        }
        let text = if text.trim_start().starts_with('@') { form(text.trim())? } else { text };
        let mut words = words(text);
        if words.len() == 5 {
            words.insert(0, (0, "0"));
        }
        let words: [(usize, &str); 6] = words.try_into().map_err(|words: Vec<_>| wrong_count(words.len()))?;
        let mut fields = Vec::with_capacity(words.len());
        for (unit, (offset, word)) in UNITS.iter().zip(words) {
            fields.push(unit.read(word).map_err(|fault| {
                // Places are told in characters, counted from 1.
                let position = text.get(..offset + fault.offset).map_or(0, |before| before.chars().count()) + 1;
                format!("cron {}, {unit} (position {position}): {}.", shown(text), fault.what)
            })?);
        }
        Expression::of(&fields).map_err(|reason| format!("cron {} can't be read: {reason}.", shown(text)))
    }

    fn of(fields: &[Field]) -> Result<Expression, String> {
        let [_, minute, hour, day, _, weekday] = fields else { return Err("a field is missing".into()) };
        let [seconds, minutes, hours, month_days, months, weekdays] = expand(fields)?;
        let days = Days {
            months,
            month_days,
            weekdays,
            special_days: day.specials.clone(),
            special_weekdays: weekday.specials.clone(),
            either: !day.is_star && !weekday.is_star,
        };
        let is_wildcard = minute.is_star || hour.is_star;
        Ok(Expression { pattern: Pattern { time: TimeOfDay { seconds, minutes, hours }, days }, is_wildcard })
    }
}

fn form(text: &str) -> Result<&'static str, String> {
    if let Some((_, expression)) = FORMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Ok(expression);
    }
    Err(match text.to_ascii_lowercase() {
        word if word == "@reboot" => "cron \"@reboot\" names no time; start a flow when the process starts.".into(),
        word if word.starts_with("@every") => {
            format!("cron {} is no form of cron; use interval, such as \"90m\".", shown(text))
        }
        _ => format!("cron {} is not known; known are {}.", shown(text), FORMS.map(|(name, _)| name).join(", ")),
    })
}

/// The words of a text, with the bytes before each.
fn words(text: &str) -> Vec<(usize, &str)> {
    let words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    words.map(|word| (word.as_ptr().addr() - text.as_ptr().addr(), word)).collect()
}

fn wrong_count(count: usize) -> String {
    let hint = match count {
        7 => "; years can't be given, use start and end",
        _ => "",
    };
    format!(
        "cron has {count} fields; expected 5 (minute, hour, day of month, month, day of week) or 6, with seconds first{hint}."
    )
}

/// The values of the six fields as bits, as the crate expands them. Weekdays begin with bit 0 for Sunday.
fn expand(fields: &[Field]) -> Result<[u64; 6], String> {
    let dialect: Vec<String> = fields.iter().map(Field::in_dialect).collect();
    let schedule = cron::Schedule::from_str(&dialect.join(" ")).map_err(|error| error.to_string())?;
    let mut sets = [
        bits(schedule.seconds()),
        bits(schedule.minutes()),
        bits(schedule.hours()),
        bits(schedule.days_of_month()),
        bits(schedule.months()),
        bits(schedule.days_of_week()) >> 1,
    ];
    for (set, field) in sets.iter_mut().zip(fields) {
        if field.spans.is_empty() {
            *set = 0;
        }
    }
    Ok(sets)
}

fn bits(values: &impl TimeUnitSpec) -> u64 {
    values.iter().fold(0, |bits, value| bits | 1 << value)
}

impl Field {
    /// As the crate writes it.
    fn in_dialect(&self) -> String {
        // Without a span there are only days that depend on the month, which the crate does not know. It keeps the set
        // of a star, but would make that of a whole range anew.
        if self.spans.iter().all(|span| self.unit.is_whole(*span)) {
            return "*".into();
        }
        let is_weekday = *self.unit == UNITS[5];
        let spans = self.spans.iter().flat_map(|span| if is_weekday { span.in_week() } else { vec![*span] });
        spans.map(Span::in_dialect).collect::<Vec<_>>().join(",")
    }
}

impl Span {
    fn in_dialect(self) -> String {
        match self {
            // The crate knows no step over a whole range.
            Span { low, high, step } if low + step > high => low.to_string(),
            Span { low, high, step: 1 } => format!("{low}-{high}"),
            Span { low, high, step } => format!("{low}-{high}/{step}"),
        }
    }

    /// The same weekdays from 1 (Sunday) to 7.
    fn in_week(self) -> Vec<Span> {
        let Span { low, high, step } = self;
        let ends_with_sunday = high == 7 && (high - low).is_multiple_of(step);
        let week = (low < 7).then(|| Span { low: low + 1, high: high.min(6) + 1, step });
        let sunday = ends_with_sunday.then_some(Span { low: 1, high: 1, step: 1 });
        week.into_iter().chain(sunday).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Expression {
        Expression::parse(text).unwrap()
    }

    fn values(bits: u64) -> Vec<u32> {
        (0..64).filter(|value| bits & (1 << value) != 0).collect()
    }

    #[test]
    fn fields_become_sets() {
        let pattern = parse("*/20 9-17/4 1,15 jan-mar,12 *").pattern;
        assert_eq!(values(pattern.time.seconds), [0]);
        assert_eq!(values(pattern.time.minutes), [0, 20, 40]);
        assert_eq!(values(pattern.time.hours), [9, 13, 17]);
        assert_eq!(values(pattern.days.month_days), [1, 15]);
        assert_eq!(values(pattern.days.months), [1, 2, 3, 12]);
        assert_eq!(values(pattern.days.weekdays), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(values(parse("\t*/30  0 0 1 1 *  ").pattern.time.seconds), [0, 30]);
    }

    #[test]
    fn weekdays_are_numbered_from_sunday() {
        for (text, expected) in [
            ("0", vec![0]),
            ("7", vec![0]),
            ("sun", vec![0]),
            ("0,7", vec![0]),
            ("6-7", vec![0, 6]),
            ("7-7", vec![0]),
            ("0-7", vec![0, 1, 2, 3, 4, 5, 6]),
            ("fri-sun", vec![0, 5, 6]),
            ("mon-fri", vec![1, 2, 3, 4, 5]),
            ("*/2", vec![0, 2, 4, 6]),
            ("*/3", vec![0, 3, 6]),
            ("*/5", vec![0, 5]),
            ("*/7", vec![0]),
            ("1-7/2", vec![0, 1, 3, 5]),
            ("1-7/3", vec![0, 1, 4]),
            ("1-7/4", vec![1, 5]),
            ("fri#2", vec![]),
            ("1,friL", vec![1]),
        ] {
            assert_eq!(values(parse(&format!("0 0 * * {text}")).pattern.days.weekdays), expected, "{text}");
        }
    }

    #[test]
    fn steps_of_a_whole_range_are_its_first() {
        for text in ["*/60 * * * *", "0 */24 * * *", "0 0 */31 * *", "0 0 1 */12 *"] {
            let pattern = parse(text).pattern;
            let sets = [pattern.time.minutes, pattern.time.hours, pattern.days.month_days, pattern.days.months];
            assert!(sets.iter().any(|set| set.count_ones() == 1), "{text}");
        }
    }

    #[test]
    fn either_day_is_enough_if_no_field_begins_with_a_star() {
        for (text, either) in
            [("13 * fri", true), ("13 * *", false), ("* * fri", false), ("*/2 * fri", false), ("L * fri#1", true)]
        {
            assert_eq!(parse(&format!("0 0 {text}")).pattern.days.either, either, "{text}");
        }
    }

    #[test]
    fn forms_stand_for_expressions() {
        for (name, expression) in FORMS {
            assert_eq!(parse(name).pattern, parse(expression).pattern, "{name}");
        }
        assert!(parse("@hourly").is_wildcard && !parse(" @Daily ").is_wildcard);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, expected) in [
            ("61 * * * *", "cron \"61 * * * *\", minute (position 1): 61 is not within 0-59."),
            (" *  25 * * *", "hour (position 5): 25 is not within 0-23."),
            ("* * 1,32 * *", "day of month (position 7): 32"),
            ("0 0 0 * * fri,fry", "day of week (position 15): \"fry\" is neither"),
            ("ä * * * ö", "minute (position 1)"),
            ("* ä,ö * * *", "hour (position 3)"),
            ("* 1,ö,ö * * *", "hour (position 5)"),
            ("", "cron has 0 fields; expected 5"),
            ("* * * *", "cron has 4 fields"),
            (
                "0 0 0 1 1 * 2030",
                "cron has 7 fields; expected 5 (minute, hour, day of month, month, day of week) or 6, with seconds first; years",
            ),
            ("*\n*\n*\n*\n*", "cron has 1 fields"),
            ("@reboot", "names no time"),
            ("@every 5m", "use interval"),
            ("@fortnightly", "known are @yearly"),
        ] {
            let problem = Expression::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
        assert!(Expression::parse(&"1,".repeat(600)).unwrap_err().contains("1200 bytes"));
    }
}
