//! One field of a cron expression, read as crontab(5) says, with the place of what is wrong in it.

use std::fmt;

/// What a field counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    name: &'static str,
    low: u32,
    high: u32,
    /// The names of the values from `low` on.
    names: &'static [&'static str],
    /// The letter of an interval of this unit.
    interval: Option<char>,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The fields in their order; the first may be left out.
pub(super) static UNITS: [Unit; 6] = [
    Unit { name: "second", low: 0, high: 59, names: &[], interval: Some('s') },
    Unit { name: "minute", low: 0, high: 59, names: &[], interval: Some('m') },
    Unit { name: "hour", low: 0, high: 23, names: &[], interval: Some('h') },
    Unit { name: "day of month", low: 1, high: 31, names: &[], interval: None },
    Unit { name: "month", low: 1, high: 12, names: &MONTHS, interval: None },
    Unit { name: "day of week", low: 0, high: 7, names: &WEEKDAYS, interval: None },
];

/// The values from `low` to `high`, each `step`th of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: u32,
    pub(super) high: u32,
    pub(super) step: u32,
}

/// Days that depend on the month. Weekdays are 0 (Sunday) to 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    /// `L`, or `L-3`: so many days before the last.
    LastDay { before: u32 },
    /// `15W`: the weekday nearest to a day, within its month.
    Nearest { day: u32 },
    /// `LW`: the last day from Monday to Friday.
    LastWorkday,
    /// `fri#2`: the second Friday.
    Nth { weekday: u32, nth: u32 },
    /// `friL`: the last Friday.
    LastOf { weekday: u32 },
}

/// What a field says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) unit: &'static Unit,
    pub(super) spans: Vec<Span>,
    pub(super) specials: Vec<Special>,
    /// Whether its first letter is `*`: what cron calls unrestricted, even with a step.
    pub(super) is_star: bool,
}

/// What is wrong in a field, and how many bytes from its start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) what: String,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Unit {
    /// Reads a field: items, separated by commas.
    pub(super) fn read(&'static self, text: &str) -> Result<Field, Fault> {
        let mut field = Field { unit: self, spans: Vec::new(), specials: Vec::new(), is_star: text.starts_with('*') };
        let mut offset = 0;
        for item in text.split(',') {
            self.read_item(item, &mut field).map_err(|what| Fault { offset, what })?;
            offset += item.len() + 1;
        }
        Ok(field)
    }

    fn read_item(&self, item: &str, field: &mut Field) -> Result<(), String> {
        match self.special(item)? {
            Some(special) => field.specials.push(special),
            None => field.spans.push(self.span(item)?),
        }
        Ok(())
    }

    fn span(&self, item: &str) -> Result<Span, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (low, high) = match (range, range.split_once('-')) {
            ("*", _) => (self.low, self.high),
            (_, Some((low, high))) => self.range(low, high)?,
            (single, None) => {
                let value = self.value(single)?;
                if let Some(step) = step {
                    return Err(format!("a step needs a range; write {single}-{}/{step}", self.last()));
                }
                (value, value)
            }
        };
        let step = step.map_or(Ok(1), |step| self.step(step, low, high))?;
        Ok(Span { low, high, step })
    }

    fn range(&self, low: &str, high: &str) -> Result<(u32, u32), String> {
        let (first, mut last) = (self.value(low)?, self.value(high)?);
        // "sun" is 0 at the start of a range and 7 at its end.
        if self.is_weekday() && first > 0 && high.eq_ignore_ascii_case(WEEKDAYS[0]) {
            last = self.high;
        }
        if first > last {
            let (begin, end) = (self.low, self.last());
            return Err(format!("{low}-{high} runs backwards; write {low}-{end},{begin}-{high}"));
        }
        Ok((first, last))
    }

    fn step(&self, text: &str, low: u32, high: u32) -> Result<u32, String> {
        let count = high - low + 1;
        match number(text) {
            Some(0) => Err("a step of 0 goes nowhere; steps begin with 1".into()),
            Some(step) if step <= count => Ok(step),
            Some(step) => Err(match self.interval {
                Some(letter) => {
                    format!(
                        "there are only {count} values to step over; for each {step} use interval: \"{step}{letter}\""
                    )
                }
                None => format!("there are only {count} values to step over, not {step}"),
            }),
            None => Err(format!("{} is no step; steps are whole numbers", shown(text))),
        }
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        if let Some(value) = number(text) {
            return match (self.low..=self.high).contains(&value) {
                true => Ok(value),
                false => Err(format!("{text} is not within {}-{}", self.low, self.high)),
            };
        }
        if let Some(index) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.low + index as u32);
        }
        Err(self.explain(text))
    }

    /// Why a text is no value.
    fn explain(&self, text: &str) -> String {
        let short = text.get(..3).filter(|short| self.names.iter().any(|name| name.eq_ignore_ascii_case(short)));
        match (text, short) {
            ("", _) => "a value is missing".into(),
            ("?", _) => "\"?\" is not known here; write *".into(),
            (_, Some(short)) => format!("{} is no name; names have three letters: {short}", shown(text)),
            _ if self.names.is_empty() => {
                format!("{} is no number within {}-{}", shown(text), self.low, self.high)
            }
            _ => format!(
                "{} is neither a number within {}-{} nor one of {}",
                shown(text),
                self.low,
                self.high,
                self.names.join(", ")
            ),
        }
    }

    fn special(&self, item: &str) -> Result<Option<Special>, String> {
        match self.name {
            "day of month" => special_day(self, item),
            "day of week" => special_weekday(self, item),
            _ => Ok(None),
        }
    }

    /// Whether a span is all values, as `*` is.
    pub(super) fn is_whole(&self, span: Span) -> bool {
        span.low == self.low && span.high >= self.last() && span.step == 1
    }

    /// The last value that has no second number.
    fn last(&self) -> u32 {
        if self.is_weekday() { 6 } else { self.high }
    }

    fn is_weekday(&self) -> bool {
        self.names.len() == WEEKDAYS.len()
    }
}

fn special_day(unit: &Unit, item: &str) -> Result<Option<Special>, String> {
    if item.eq_ignore_ascii_case("L") {
        return Ok(Some(Special::LastDay { before: 0 }));
    }
    if item.eq_ignore_ascii_case("LW") {
        return Ok(Some(Special::LastWorkday));
    }
    if let Some(before) = item.strip_prefix("L-").or_else(|| item.strip_prefix("l-")) {
        return match number(before) {
            Some(before @ 1..=30) => Ok(Some(Special::LastDay { before })),
            _ => Err(format!("{} is not within 1-30 days before the last", shown(before))),
        };
    }
    match item.strip_suffix(['W', 'w']) {
        Some(day) => Ok(Some(Special::Nearest { day: unit.value(day)? })),
        None => Ok(None),
    }
}

fn special_weekday(unit: &Unit, item: &str) -> Result<Option<Special>, String> {
    if let Some((weekday, nth)) = item.split_once('#') {
        let weekday = unit.value(weekday)? % 7;
        return match number(nth) {
            Some(nth @ 1..=5) => Ok(Some(Special::Nth { weekday, nth })),
            _ => Err(format!("{} is not within #1-#5", shown(nth))),
        };
    }
    match item.strip_suffix(['L', 'l']) {
        Some("") => Err("L needs a weekday before it; write friL for the last Friday".into()),
        Some(weekday) => Ok(Some(Special::LastOf { weekday: unit.value(weekday)? % 7 })),
        None => Ok(None),
    }
}

/// Digits alone: no sign, no space.
fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // What is too long to be a number is too large to be a value.
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

/// A text as messages show it.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Field, Fault> {
        UNITS.iter().find(|unit| unit.name == name).unwrap().read(text)
    }

    #[track_caller]
    fn assert_spans(name: &str, text: &str, spans: &[(u32, u32, u32)]) {
        let spans: Vec<Span> = spans.iter().map(|&(low, high, step)| Span { low, high, step }).collect();
        let field = read(name, text).unwrap();
        assert_eq!((field.spans, field.specials), (spans, Vec::new()), "{text}");
    }

    #[test]
    fn reads_what_crontab_knows() {
        assert_spans("minute", "*", &[(0, 59, 1)]);
        assert_spans("minute", "*/15", &[(0, 59, 15)]);
        assert_spans("minute", "*/60", &[(0, 59, 60)]);
        assert_spans("hour", "9-17", &[(9, 17, 1)]);
        assert_spans("hour", "8-20/4,23,02", &[(8, 20, 4), (23, 23, 1), (2, 2, 1)]);
        assert_spans("month", "jan-MAR,Dec", &[(1, 3, 1), (12, 12, 1)]);
        assert_spans("day of week", "0,7", &[(0, 0, 1), (7, 7, 1)]);
        assert_spans("day of week", "fri-sun", &[(5, 7, 1)]);
        assert_spans("day of week", "sun-sat/2", &[(0, 6, 2)]);
        assert_spans("day of week", "sun-sun", &[(0, 0, 1)]);
    }

    #[test]
    fn reads_days_that_depend_on_the_month() {
        use Special::*;
        for (name, text, special) in [
            ("day of month", "L", LastDay { before: 0 }),
            ("day of month", "l-3", LastDay { before: 3 }),
            ("day of month", "15W", Nearest { day: 15 }),
            ("day of month", "lw", LastWorkday),
            ("day of week", "fri#2", Nth { weekday: 5, nth: 2 }),
            ("day of week", "7#1", Nth { weekday: 0, nth: 1 }),
            ("day of week", "sunL", LastOf { weekday: 0 }),
            ("day of week", "5l", LastOf { weekday: 5 }),
        ] {
            assert_eq!(read(name, text).unwrap().specials, [special], "{text}");
        }
        let both = read("day of month", "1,L").unwrap();
        assert_eq!((both.spans.len(), both.specials.len()), (1, 1));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (name, text, offset, word) in [
            ("minute", "60", 0, "60 is not within 0-59"),
            ("minute", "5,61", 2, "61"),
            ("minute", "1,,2", 2, "missing"),
            ("minute", "", 0, "missing"),
            ("minute", "1,", 2, "missing"),
            ("minute", "*/0", 0, "step of 0"),
            ("minute", "*/90", 0, "interval: \"90m\""),
            ("minute", "*/x", 0, "\"x\" is no step"),
            ("minute", "*/", 0, "\"\" is no step"),
            ("minute", "5/15", 0, "5-59/15"),
            ("minute", "-5", 0, "missing"),
            ("minute", "+5", 0, "no number"),
            ("minute", "1-2-3", 0, "\"2-3\""),
            ("minute", "**", 0, "\"**\""),
            ("minute", "99999999999", 0, "not within"),
            ("minute", "L", 0, "\"L\" is no number"),
            ("hour", "22-6", 0, "22-23,0-6"),
            ("day of month", "0", 0, "0 is not within 1-31"),
            ("day of month", "?", 0, "write *"),
            ("day of month", "32W", 0, "32"),
            ("day of month", "L-31", 0, "1-30"),
            ("day of month", "1-5W", 0, "\"1-5\""),
            ("day of month", "mon", 0, "no number"),
            ("month", "13", 0, "13"),
            ("month", "january", 0, "three letters: jan"),
            ("month", "foo", 0, "jan, feb"),
            ("day of week", "8", 0, "8"),
            ("day of week", "fri-mon", 0, "fri-6,0-mon"),
            ("day of week", "L", 0, "friL"),
            ("day of week", "fri#6", 0, "#1-#5"),
            ("day of week", "fri#", 0, "#1-#5"),
            ("day of week", "1-5L", 0, "\"1-5\""),
            ("day of week", "ÿÿÿ", 0, "neither"),
        ] {
            let fault = read(name, text).unwrap_err();
            assert!(fault.offset == offset && fault.what.contains(word), "{name} {text}: {fault:?}");
        }
    }
}
