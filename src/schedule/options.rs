//! What a schedule is made of, and its reading from JSON.

use serde_json::{Map, Value};

use super::field::shown;
use crate::error::{Code, Error, Result};

/// What a schedule is made of. One of `cron`, `interval`, `at` and `every` says when it fires; `at` and
/// `every` with days go together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// Five fields as in crontab(5), six with seconds first, or a form such as `@daily`. Local time of the zone.
    pub cron: Option<String>,
    /// Time that passes between two firings, such as `90m`, counted from `start`, or else from 1970.
    pub interval: Option<String>,
    /// A time of day, `HH:MM` or `HH:MM:SS`, in the zone.
    pub at: Option<String>,
    /// Days of the calendar, or hours, minutes and seconds that pass.
    pub every: Option<Every>,
    /// The IANA name of a time zone. `UTC` if absent.
    pub timezone: Option<String>,
    /// Whether it fires at all. True if absent.
    pub enabled: Option<bool>,
    /// What a firing does while the run of the one before goes on.
    pub overlap: Option<Overlap>,
    /// What becomes of times of day that a change of the clocks skips. `After` if absent.
    pub gap: Option<Gap>,
    /// What becomes of times of day that a change of the clocks repeats. `First` if absent.
    pub dst_overlap: Option<DstOverlap>,
    /// What becomes of instants at which nobody was there to fire.
    pub catch_up: Option<CatchUp>,
    /// How many of them at most, with `CatchUp::All`.
    pub catch_up_limit: Option<u32>,
    /// Up to so many milliseconds a firing is put off.
    pub jitter_ms: Option<u64>,
    /// Nothing fires before: RFC 3339, or a date or a local time in the zone.
    pub start: Option<String>,
    /// Nothing fires after: RFC 3339, or a date or a local time in the zone.
    pub end: Option<String>,
}

/// Parts of a period. Days are days of the calendar, whatever their length; the others are time that passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Every {
    /// Days; alone, or with `at`.
    pub days: Option<u32>,
    /// Hours.
    pub hours: Option<u32>,
    /// Minutes.
    pub minutes: Option<u32>,
    /// Seconds.
    pub seconds: Option<u32>,
}

/// What a firing does while the run of the one before goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It is left out.
    Skip,
    /// It waits.
    Queue,
    /// It ends the run that goes on.
    Replace,
}

/// What becomes of a time of day that does not exist, as the clocks skip it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gap {
    /// It fires right after the gap, once for all of them.
    #[default]
    After,
    /// It does not fire.
    Skip,
}

/// What becomes of a time of day that exists twice, as the clocks repeat it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DstOverlap {
    /// It fires the first time.
    #[default]
    First,
    /// It fires both times.
    Both,
}

/// What becomes of instants at which nobody was there to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// They are left out.
    None,
    /// The last of them fires.
    Last,
    /// All of them fire, up to a limit.
    All,
}

impl ScheduleOptions {
    /// Reads a JSON object with members as in JavaScript. A member that is unknown or of the wrong kind is a
    /// `Validation` error, which tells of all of them.
    ///
    /// ```
    /// use nuxt_queue_core::schedule::ScheduleOptions;
    /// let options = ScheduleOptions::from_json(r#"{"cron":"0 9 * * mon-fri","timezone":"Europe/Berlin"}"#)?;
    /// assert_eq!(options.timezone.as_deref(), Some("Europe/Berlin"));
    /// assert!(ScheduleOptions::from_json(r#"{"crom":"0 9 * * *"}"#).is_err());
    /// # Ok::<(), nuxt_queue_core::Error>(())
    /// ```
    pub fn from_json(json: &str) -> Result<ScheduleOptions> {
        let object = match serde_json::from_str(json) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(Error::new(Code::Validation, "The schedule is no object.")),
            Err(error) => {
                return Err(Error::new(Code::Validation, "The schedule can't be read as JSON.").caused_by(error));
            }
        };
        let mut reader = Reader { object, within: "", problems: Vec::new() };
        let options = ScheduleOptions {
            cron: reader.text("cron"),
            interval: reader.text("interval"),
            at: reader.text("at"),
            every: reader.every(),
            timezone: reader.text("timezone"),
            enabled: reader.take("enabled", "true or false", Value::as_bool),
            overlap: reader.word("overlap", &OVERLAPS),
            gap: reader.word("gap", &GAPS),
            dst_overlap: reader.word("dstOverlap", &DST_OVERLAPS),
            catch_up: reader.word("catchUp", &CATCH_UPS),
            catch_up_limit: reader.count("catchUpLimit"),
            jitter_ms: reader.take("jitterMs", "whole milliseconds from 0 on", whole),
            start: reader.text("start"),
            end: reader.text("end"),
        };
        reader.end();
        if reader.problems.is_empty() { Ok(options) } else { Err(refusal(reader.problems)) }
    }
}

const OVERLAPS: [(&str, Overlap); 3] =
    [("skip", Overlap::Skip), ("queue", Overlap::Queue), ("replace", Overlap::Replace)];
const GAPS: [(&str, Gap); 2] = [("after", Gap::After), ("skip", Gap::Skip)];
const DST_OVERLAPS: [(&str, DstOverlap); 2] = [("first", DstOverlap::First), ("both", DstOverlap::Both)];
const CATCH_UPS: [(&str, CatchUp); 3] = [("none", CatchUp::None), ("last", CatchUp::Last), ("all", CatchUp::All)];
const MEMBERS: &str = "cron, interval, at, every, timezone, enabled, overlap, gap, dstOverlap, catchUp, catchUpLimit, \
                       jitterMs, start, end";

/// An error that tells of all problems.
pub(super) fn refusal(problems: Vec<String>) -> Error {
    Error::new(Code::Validation, problems.join(" "))
}

/// Takes members out of an object, and gathers what is wrong with them.
struct Reader {
    object: Map<String, Value>,
    /// What comes before the name of a member.
    within: &'static str,
    problems: Vec<String>,
}

impl Reader {
    fn take<T>(&mut self, name: &str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.object.shift_remove(name)?;
        let read = read(&value);
        if read.is_none() {
            self.problems.push(format!("{}{name} is {}; expected {expected}.", self.within, describe(&value)));
        }
        read
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    fn count(&mut self, name: &str) -> Option<u32> {
        let expected = format!("a whole number from 0 to {}", u32::MAX);
        self.take(name, &expected, |value| u32::try_from(whole(value)?).ok())
    }

    fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let find = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        self.take(name, &known.join(" or "), |value| value.as_str().and_then(find))
    }

    fn every(&mut self) -> Option<Every> {
        let object = self.take("every", "an object", |value| value.as_object().cloned())?;
        let mut reader = Reader { object, within: "every.", problems: Vec::new() };
        let every = Every {
            days: reader.count("days"),
            hours: reader.count("hours"),
            minutes: reader.count("minutes"),
            seconds: reader.count("seconds"),
        };
        reader.end();
        self.problems.append(&mut reader.problems);
        Some(every)
    }

    /// What is left is unknown.
    fn end(&mut self) {
        let known = if self.within.is_empty() { MEMBERS } else { "days, hours, minutes, seconds" };
        let unknown = self.object.keys().map(|name| shown(&format!("{}{name}", self.within)));
        let some: Vec<String> = unknown.take(5).collect();
        if !some.is_empty() {
            self.problems.push(format!("There is no option {}; known are {known}.", some.join(", ")));
        }
    }
}

/// A whole number from 0 on, also one that is written with a fraction of 0.
fn whole(value: &Value) -> Option<u64> {
    const MAX_SAFE: f64 = 9_007_199_254_740_991.0;
    let is_whole = |number: &f64| number.fract() == 0.0 && (0.0..=MAX_SAFE).contains(number);
    value.as_u64().or_else(|| value.as_f64().filter(is_whole).map(|number| number as u64))
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
        simple => simple.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> String {
        let error = ScheduleOptions::from_json(json).unwrap_err();
        assert_eq!(error.code(), Code::Validation);
        error.message().to_owned()
    }

    #[test]
    fn reads_every_member() {
        let options = ScheduleOptions::from_json(
            r#"{"cron":"* * * * *","interval":"90m","at":"02:00","every":{"days":1,"hours":2,"minutes":3,"seconds":4.0},
                "timezone":"UTC","enabled":false,"overlap":"replace","gap":"skip","dstOverlap":"both","catchUp":"all",
                "catchUpLimit":5,"jitterMs":250,"start":"2025-01-01","end":"2026-01-01"}"#,
        );
        let expected = ScheduleOptions {
            cron: Some("* * * * *".into()),
            interval: Some("90m".into()),
            at: Some("02:00".into()),
            every: Some(Every { days: Some(1), hours: Some(2), minutes: Some(3), seconds: Some(4) }),
            timezone: Some("UTC".into()),
            enabled: Some(false),
            overlap: Some(Overlap::Replace),
            gap: Some(Gap::Skip),
            dst_overlap: Some(DstOverlap::Both),
            catch_up: Some(CatchUp::All),
            catch_up_limit: Some(5),
            jitter_ms: Some(250),
            start: Some("2025-01-01".into()),
            end: Some("2026-01-01".into()),
        };
        assert_eq!(options, Ok(expected));
        assert_eq!(ScheduleOptions::from_json("{}"), Ok(ScheduleOptions::default()));
    }

    #[test]
    fn names_each_member_that_is_wrong() {
        for (json, expected) in [
            ("", "can't be read as JSON"),
            (r#"{"cron":"\ud800"}"#, "can't be read as JSON"),
            ("[]", "no object"),
            (r#"{"cron":5}"#, "cron is 5; expected a text."),
            (r#"{"cron":null}"#, "cron is null"),
            (r#"{"crom":""}"#, "There is no option \"crom\"; known are cron, interval"),
            (r#"{"every":[]}"#, "every is an array; expected an object."),
            (r#"{"every":{"weeks":1}}"#, "There is no option \"every.weeks\"; known are days"),
            (r#"{"every":{"seconds":0.5}}"#, "every.seconds is 0.5; expected a whole number"),
            (r#"{"every":{"hours":-1}}"#, "every.hours is -1"),
            (r#"{"every":{"hours":1e300}}"#, "every.hours is 1e+300"),
            (r#"{"enabled":"yes"}"#, "enabled is \"yes\"; expected true or false."),
            (r#"{"overlap":"Skip"}"#, "overlap is \"Skip\"; expected \"skip\" or \"queue\" or \"replace\"."),
            (r#"{"gap":"before"}"#, "expected \"after\" or \"skip\""),
            (r#"{"jitterMs":1.5}"#, "jitterMs is 1.5"),
            (r#"{"catchUpLimit":4294967296}"#, "catchUpLimit is 4294967296"),
        ] {
            let problem = problem(json);
            assert!(problem.contains(expected), "{json}: {problem}");
        }
        let all = problem(r#"{"cron":1,"gap":2,"nap":3}"#);
        assert!(["cron is 1", "gap is 2", "\"nap\""].iter().all(|part| all.contains(part)), "{all}");
    }
}
