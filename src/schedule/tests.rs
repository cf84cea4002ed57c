//! Schedules as users make them.

use super::*;
use crate::error::Code;
use crate::event::{format_time, parse_time};

fn schedule(json: &str) -> Schedule {
    Schedule::new(&ScheduleOptions::from_json(json).unwrap()).unwrap()
}

fn problem(json: &str) -> String {
    let error = Schedule::new(&ScheduleOptions::from_json(json).unwrap()).err().expect(json);
    assert_eq!(error.code(), Code::Validation);
    error.message().to_owned()
}

/// Local time (up to the minute), offset and note, such as `2025-03-30T03:00 +02:00 gap`.
fn previews(json: &str, from: &str, count: usize) -> Vec<String> {
    let shown = |preview: Preview| {
        let (time, offset) = preview.local.split_at(19);
        let time = time.strip_suffix(":00").unwrap_or(time);
        let note = preview.note.map(|note| format!(" {}", note.as_str())).unwrap_or_default();
        format!("{time} {offset}{note}")
    };
    schedule(json).preview(parse_time(from).unwrap(), count).into_iter().map(shown).collect()
}

#[track_caller]
fn assert_previews(json: &str, from: &str, expected: &[&str]) {
    assert_eq!(previews(json, from, expected.len()), expected, "{json} from {from}");
}

#[test]
fn a_time_in_a_gap_is_made_up_for_right_after_it() {
    let from = "2025-03-29T12:00:00Z";
    let json = r#"{"cron":"30 2 * * *","timezone":"Europe/Berlin"}"#;
    assert_previews(json, from, &["2025-03-30T03:00 +02:00 gap", "2025-03-31T02:30 +02:00"]);
    let skip = r#"{"cron":"30 2 * * *","timezone":"Europe/Berlin","gap":"skip"}"#;
    assert_previews(skip, from, &["2025-03-31T02:30 +02:00"]);
    let at = r#"{"at":"02:30","timezone":"Europe/Berlin"}"#;
    assert_previews(at, from, &["2025-03-30T03:00 +02:00 gap", "2025-03-31T02:30 +02:00"]);
}

#[test]
fn several_times_in_a_gap_are_made_up_for_once() {
    let json = r#"{"cron":"0,10,50 2,3 * * *","timezone":"Europe/Berlin"}"#;
    let expected = ["2025-03-30T03:00 +02:00 gap", "2025-03-30T03:10 +02:00", "2025-03-30T03:50 +02:00"];
    assert_previews(json, "2025-03-29T12:00:00Z", &expected);
    // What is due at the end of the gap anyway is not odd.
    let json = r#"{"cron":"0 3 * * *","timezone":"Europe/Berlin"}"#;
    assert_previews(json, "2025-03-29T12:00:00Z", &["2025-03-30T03:00 +02:00"]);
}

#[test]
fn a_time_in_an_overlap_counts_the_first_time_or_both() {
    let from = "2025-10-25T12:00:00Z";
    let json = r#"{"cron":"30 2 * * *","timezone":"Europe/Berlin"}"#;
    assert_previews(json, from, &["2025-10-26T02:30 +02:00 overlap", "2025-10-27T02:30 +01:00"]);
    let both = r#"{"cron":"30 2 * * *","timezone":"Europe/Berlin","dstOverlap":"both"}"#;
    let expected = ["2025-10-26T02:30 +02:00 overlap", "2025-10-26T02:30 +01:00 overlap", "2025-10-27T02:30 +01:00"];
    assert_previews(both, from, &expected);
    // Its end is there once.
    let json = r#"{"cron":"0 2,3 * * *","timezone":"Europe/Berlin"}"#;
    assert_previews(json, from, &["2025-10-26T02:00 +02:00 overlap", "2025-10-26T03:00 +01:00"]);
}

#[test]
fn an_overlap_that_one_starts_within_has_no_first_time_left() {
    let json = r#"{"cron":"15,45 2 * * *","timezone":"Europe/Berlin"}"#;
    // 02:50 in summer time, and 02:20 in winter time.
    assert_previews(json, "2025-10-26T00:50:00Z", &["2025-10-27T02:15 +01:00"]);
    assert_previews(json, "2025-10-26T01:20:00Z", &["2025-10-27T02:15 +01:00"]);
}

#[test]
fn a_wildcard_goes_on_in_real_time() {
    for options in ["", r#","gap":"after","dstOverlap":"first""#] {
        let json = format!(r#"{{"cron":"*/30 * * * *","timezone":"Europe/Berlin"{options}}}"#);
        let expected = ["2025-03-30T01:30 +01:00", "2025-03-30T03:00 +02:00", "2025-03-30T03:30 +02:00"];
        assert_previews(&json, "2025-03-30T00:30:00Z", &expected);
        let expected = [
            "2025-10-26T02:00 +02:00 overlap",
            "2025-10-26T02:30 +02:00 overlap",
            "2025-10-26T02:00 +01:00 overlap",
            "2025-10-26T02:30 +01:00 overlap",
            "2025-10-26T03:00 +01:00",
        ];
        assert_previews(&json, "2025-10-26T00:00:00Z", &expected);
    }
    // A star in the minute is enough, and nothing of the second hour is made up for.
    let json = r#"{"cron":"*/30 2 * * *","timezone":"Europe/Berlin"}"#;
    assert_previews(json, "2025-03-29T12:00:00Z", &["2025-03-31T02:00 +02:00"]);
    let json = r#"{"cron":"15 */2 * * *","timezone":"Europe/Berlin"}"#;
    let expected = ["2025-10-26T00:15 +02:00", "2025-10-26T02:15 +02:00 overlap", "2025-10-26T02:15 +01:00 overlap"];
    assert_previews(json, "2025-10-25T22:00:00Z", &expected);
}

#[test]
fn clocks_that_change_by_half_an_hour() {
    let spring = "2025-10-04T12:00:00Z";
    let json = r#"{"cron":"15 2 * * *","timezone":"Australia/Lord_Howe"}"#;
    assert_previews(json, spring, &["2025-10-05T02:30 +11:00 gap", "2025-10-06T02:15 +11:00"]);
    let json = r#"{"cron":"45 1 * * *","timezone":"Australia/Lord_Howe"}"#;
    let autumn = "2025-04-05T12:00:00Z";
    assert_previews(json, autumn, &["2025-04-06T01:45 +11:00 overlap", "2025-04-07T01:45 +10:30"]);
    let json = r#"{"cron":"*/15 * * * *","timezone":"Australia/Lord_Howe"}"#;
    let expected =
        ["2025-04-06T01:45 +11:00 overlap", "2025-04-06T01:30 +10:30 overlap", "2025-04-06T01:45 +10:30 overlap"];
    assert_previews(json, "2025-04-05T14:45:00Z", &expected);
}

#[test]
fn clocks_that_change_at_midnight() {
    for (zone, from, expected) in [
        ("America/Sao_Paulo", "2018-11-03T12:00:00Z", ["2018-11-04T01:00 -02:00 gap", "2018-11-05T00:00 -02:00"]),
        ("Asia/Beirut", "2025-03-29T12:00:00Z", ["2025-03-30T01:00 +03:00 gap", "2025-03-31T00:00 +03:00"]),
        ("Africa/Cairo", "2025-04-24T12:00:00Z", ["2025-04-25T01:00 +03:00 gap", "2025-04-26T00:00 +03:00"]),
        ("America/Havana", "2025-03-08T12:00:00Z", ["2025-03-09T01:00 -04:00 gap", "2025-03-10T00:00 -04:00"]),
        // From 24:00 to 23:00: the midnight after it is there once.
        ("America/Sao_Paulo", "2019-02-16T12:00:00Z", ["2019-02-17T00:00 -03:00", "2019-02-18T00:00 -03:00"]),
        ("America/Havana", "2025-11-01T12:00:00Z", ["2025-11-02T00:00 -04:00 overlap", "2025-11-03T00:00 -05:00"]),
    ] {
        let json = format!(r#"{{"cron":"@daily","timezone":"{zone}"}}"#);
        assert_previews(&json, from, &expected);
    }
}

#[test]
fn days_that_a_zone_leaves_out() {
    // Friday the 30th was not, on Samoa.
    let json = r#"{"cron":"0 9 * * *","timezone":"Pacific/Apia"}"#;
    let expected = ["2011-12-29T09:00 -10:00", "2011-12-31T00:00 +14:00 gap", "2011-12-31T09:00 +14:00"];
    assert_previews(json, "2011-12-29T12:00:00Z", &expected);
    let json = r#"{"cron":"0 9 30 12 *","timezone":"Pacific/Apia","gap":"skip"}"#;
    assert_previews(json, "2011-01-01T00:00:00Z", &["2012-12-30T09:00 +14:00"]);
    let json = r#"{"cron":"0 0 * * *","timezone":"Pacific/Kwajalein"}"#;
    let expected = ["1993-08-20T00:00 -12:00", "1993-08-22T00:00 +12:00 gap", "1993-08-23T00:00 +12:00"];
    assert_previews(json, "1993-08-19T18:00:00Z", &expected);
}

#[test]
fn periods_are_time_that_passes() {
    let json = r#"{"interval":"90m","start":"2025-03-30T00:00:00Z","timezone":"Europe/Berlin"}"#;
    let expected = ["2025-03-30T01:00 +01:00", "2025-03-30T03:30 +02:00", "2025-03-30T05:00 +02:00"];
    assert_previews(json, "2025-01-01T00:00:00Z", &expected);
    // Without a start they are counted from 1970, so that all instances come to the same.
    for json in
        [r#"{"interval":"6h"}"#, r#"{"every":{"hours":6}}"#, r#"{"every":{"hours":5,"minutes":59,"seconds":60}}"#]
    {
        assert_previews(json, "2025-01-01T00:00:00Z", &["2025-01-01T00:00 +00:00", "2025-01-01T06:00 +00:00"]);
        assert_eq!(schedule(json).next_after(0), Some(6 * 3_600_000), "{json}");
    }
    let fine = schedule(r#"{"interval":"1.5s","start":"2025-01-01T00:00:00.250Z"}"#);
    let times: Vec<String> = fine.after(0).take(2).map(format_time).collect();
    assert_eq!(times, ["2025-01-01T00:00:00.250Z", "2025-01-01T00:00:01.750Z"]);
}

#[test]
fn days_are_those_of_the_calendar() {
    let json = r#"{"every":{"days":2},"at":"09:00","start":"2025-03-29T12:00","timezone":"Europe/Berlin"}"#;
    let expected = ["2025-03-30T09:00 +02:00", "2025-04-01T09:00 +02:00", "2025-04-03T09:00 +02:00"];
    assert_previews(json, "2025-01-01T00:00:00Z", &expected);
    // Without a time of day it is that of the start, or else midnight.
    let json = r#"{"every":{"days":1},"start":"2025-03-29T12:30:15","timezone":"Europe/Berlin"}"#;
    assert_previews(json, "2025-01-01T00:00:00Z", &["2025-03-29T12:30:15 +01:00", "2025-03-30T12:30:15 +02:00"]);
    let json = r#"{"every":{"days":1},"timezone":"Europe/Berlin"}"#;
    assert_previews(json, "2025-03-29T12:00:00Z", &["2025-03-30T00:00 +01:00", "2025-03-31T00:00 +02:00"]);
}

#[test]
fn nothing_is_before_start_or_after_end() {
    let json = r#"{"cron":"0 9 * * *","start":"2025-01-02T09:00:00Z","end":"2025-01-04T09:00:00Z"}"#;
    let expected = ["2025-01-02T09:00 +00:00", "2025-01-03T09:00 +00:00", "2025-01-04T09:00 +00:00"];
    assert_eq!(previews(json, "2020-01-01T00:00:00Z", 10), expected);
    let last = parse_time("2025-01-04T09:00:00Z").unwrap();
    assert_eq!(schedule(json).next_after(last), None);
    assert_eq!(schedule(json).next_after(last - 1), Some(last));
    // A date is the local midnight.
    let json = r#"{"cron":"0 0 * * *","start":"2025-07-01","timezone":"America/New_York"}"#;
    assert_previews(json, "2020-01-01T00:00:00Z", &["2025-07-01T00:00 -04:00"]);
}

#[test]
fn instants_grow_and_end() {
    for json in [
        r#"{"cron":"* * * * * *","timezone":"Africa/Casablanca"}"#,
        r#"{"cron":"0 0 29 2 *","timezone":"Europe/Berlin"}"#,
        r#"{"interval":"1s"}"#,
        r#"{"every":{"days":36525},"at":"23:59:59","timezone":"Pacific/Kiritimati"}"#,
    ] {
        let schedule = schedule(json);
        let last = END as u64 * 1_000;
        for from in [0, 1, 1_735_689_600_123, last - 90_000_000_000_000, last - 1_000, last, u64::MAX - 1, u64::MAX] {
            let instants: Vec<u64> = schedule.after(from).take(50).collect();
            assert!(instants.iter().all(|at| *at > from && *at < last), "{json} after {from}");
            assert!(instants.is_sorted_by(|one, next| one < next), "{json} after {from}: {instants:?}");
            assert_eq!(schedule.next_after(from), instants.first().copied(), "{json} after {from}");
        }
        assert_eq!(schedule.next_after(last), None);
    }
}

#[test]
fn previews_are_json() {
    let preview = schedule(r#"{"cron":"30 2 * * *","timezone":"Europe/Berlin"}"#)
        .preview(parse_time("2025-03-29T12:00:00Z").unwrap(), 2);
    assert_eq!(
        serde_json::to_string(&preview).unwrap(),
        concat!(
            r#"[{"at":"2025-03-30T01:00:00.000Z","local":"2025-03-30T03:00:00+02:00","note":"gap"},"#,
            r#"{"at":"2025-03-31T00:30:00.000Z","local":"2025-03-31T02:30:00+02:00"}]"#
        )
    );
}

#[test]
fn what_never_fires_is_refused() {
    for (json, expected) in [
        (r#"{"cron":"0 0 30 2 *"}"#, "cron never fires: no month that it names has such a day."),
        (r#"{"cron":"0 0 31 4,6,9,11 *","timezone":"Asia/Tokyo"}"#, "no month that it names has such a day"),
        (r#"{"cron":"0 0 1 1 *","start":"2025-01-02","end":"2025-12-31"}"#, "never fires between start and end"),
        (r#"{"interval":"1w","start":"1970-01-01","end":"1969-12-31T23:59:59Z"}"#, "end is"),
        (r#"{"cron":"30 2 * 3 sunL","timezone":"Europe/Berlin","gap":"skip","start":"2000-01-01"}"#, "never fires"),
    ] {
        let problem = problem(json);
        assert!(problem.contains(expected), "{json}: {problem}");
    }
    // The day of the week is enough.
    schedule(r#"{"cron":"0 0 30 2 fri"}"#);
    // Before the union's clocks were changed on the last Sunday of March, it did.
    schedule(r#"{"cron":"30 2 * 3 sunL","timezone":"Europe/Berlin","gap":"skip"}"#);
}

#[test]
fn all_that_contradicts_is_told() {
    for (json, expected) in [
        ("{}", vec!["Nothing says when it fires; give cron, interval, at"]),
        (r#"{"cron":"* * * * *","interval":"1h"}"#, vec!["cron and interval contradict one another"]),
        (r#"{"cron":"* * * * *","at":"02:00","every":{}}"#, vec!["cron and at and every contradict one another"]),
        (r#"{"every":{}}"#, vec!["every names no period"]),
        (r#"{"every":{"days":0,"seconds":0}}"#, vec!["every names no period"]),
        (r#"{"every":{"days":1,"hours":12}}"#, vec!["every.days counts days of the calendar"]),
        (r#"{"every":{"days":4000000000}}"#, vec!["every.days is 4000000000; at most 36525"]),
        (
            r#"{"every":{"hours":4000000000}}"#,
            vec!["every has too many hours, minutes or seconds; the longest is a century."],
        ),
        (r#"{"every":{"hours":6},"at":"02:00"}"#, vec!["at is a time of day and goes with every.days"]),
        (r#"{"at":"24:00"}"#, vec!["at is \"24:00\"; expected a time of day from \"00:00\""]),
        (r#"{"at":"2:00"}"#, vec!["at is"]),
        (r#"{"at":"02:00:60"}"#, vec!["at is"]),
        (r#"{"at":"02:00:00:00"}"#, vec!["at is"]),
        (r#"{"interval":"999ms"}"#, vec!["interval is \"999ms\"; the shortest is one second."]),
        (r#"{"interval":"0s","jitterMs":5}"#, vec!["the shortest is one second."]),
        (r#"{"interval":"101w","jitterMs":5}"#, vec![]),
        (r#"{"interval":"6000w"}"#, vec!["the longest is a century."]),
        (r#"{"interval":"1M"}"#, vec!["interval is \"1M\"; expected a text such as"]),
        (r#"{"interval":"1h30m"}"#, vec!["expected a text such as"]),
        (r#"{"interval":".5h"}"#, vec!["expected a text such as"]),
        (r#"{"interval":"1.2.3h"}"#, vec!["expected a text such as"]),
        (r#"{"interval":"5"}"#, vec!["expected a text such as"]),
        (r#"{"interval":"1m","jitterMs":60000}"#, vec!["jitterMs is 60000, but the next firing comes after 60000 ms"]),
        (r#"{"cron":"* * * * *","jitterMs":86400001}"#, vec!["jitterMs is 86400001; at most 86400000"]),
        (
            r#"{"interval":"1h","gap":"skip","dstOverlap":"both"}"#,
            vec!["gap is about times of day", "dstOverlap is about"],
        ),
        (r#"{"cron":"* * * * *","catchUpLimit":5}"#, vec!["catchUpLimit limits catchUp: \"all\""]),
        (r#"{"cron":"* * * * *","catchUp":"all","catchUpLimit":0}"#, vec!["catchUpLimit is 0"]),
        (
            r#"{"cron":"* * * * *","start":"2025-02-01","end":"2025-01-01"}"#,
            vec!["start \"2025-02-01\" comes after end"],
        ),
        (r#"{"cron":"* * * * *","start":"tomorrow"}"#, vec!["start is \"tomorrow\"; expected an instant from 1970 on"]),
        (r#"{"cron":"* * * * *","start":"1960-01-01"}"#, vec!["start is"]),
        (
            r#"{"cron":"* 25 * * *","interval":"1h","timezone":"Europe/Berln","start":"x","catchUpLimit":0}"#,
            vec!["hour (position 3)", "contradict", "\"Europe/Berlin\"", "start is \"x\"", "catchUpLimit is 0"],
        ),
    ] {
        if expected.is_empty() {
            schedule(json);
            continue;
        }
        let problem = problem(json);
        assert!(expected.iter().all(|part| problem.contains(part)), "{json}: {problem}");
        assert!(!problem.contains("  ") && problem.ends_with('.'), "{json}: {problem}");
    }
}
