//! What becomes of the next instants of a schedule: fired, or skipped for a reason. Pure.

use crate::schedule::{CatchUp, Schedule};

/// How late an instant may be without having been missed, in milliseconds: a restart, and clocks that differ, are
/// delays.
pub(super) const GRACE_MS: u64 = 5 * 60_000;
/// How many missed instants fire at most, unless a schedule says otherwise.
const CATCH_UP_LIMIT: u32 = 100;
/// Up to how many skipped instants are counted.
const MOST_COUNTED: usize = 10_000;

/// How far a schedule has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Instants up to this one are decided on.
    pub(super) cursor_ms: u64,
    /// Instants up to this one were none of its own: it was disabled.
    pub(super) since_ms: u64,
}

/// What becomes of the next instants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It fires for this one.
    Fire(u64),
    /// It does not fire for some.
    Skip(Skipped),
}

/// Instants that don't fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    /// How many they are, unless they are too many to be counted.
    pub(super) count: Option<usize>,
    pub(super) reason: &'static str,
}

/// Decides on the first instants that are not decided on. `put_off_ms`: how long after an instant it fires. `None`:
/// nothing is due.
pub(super) fn decide(
    schedule: &Schedule,
    position: Position,
    now_ms: u64,
    put_off_ms: impl Fn(u64) -> u64,
) -> Option<Decision> {
    let first = schedule.next_after(position.cursor_ms)?;
    if first <= position.since_ms {
        let to_ms = last_up_to(schedule, position.cursor_ms, position.since_ms.min(now_ms))?;
        return Some(skip(schedule, position, first, to_ms, "the schedule was disabled"));
    }
    let due_ms = first.saturating_add(put_off_ms(first));
    if due_ms > now_ms {
        return None;
    }
    if due_ms.saturating_add(GRACE_MS) >= now_ms {
        return Some(Decision::Fire(first));
    }
    catch_up(schedule, position, first, now_ms)
}

/// Decides on instants at which nobody was there.
fn catch_up(schedule: &Schedule, position: Position, first: u64, now_ms: u64) -> Option<Decision> {
    let late_ms = now_ms.saturating_sub(GRACE_MS).saturating_sub(1).max(first);
    let options = schedule.options();
    let (fires, reason) = match options.catch_up.unwrap_or(CatchUp::None) {
        CatchUp::None => (0, "nobody was there to fire it"),
        // What is due anyway stands for all that was missed.
        CatchUp::Last if schedule.next_after(late_ms).is_some_and(|next| next <= now_ms) => {
            (0, "nobody was there to fire it, and the one after it is due")
        }
        CatchUp::Last => (1, "nobody was there to fire it, and only the last fires late"),
        CatchUp::All => (
            options.catch_up_limit.unwrap_or(CATCH_UP_LIMIT) as usize,
            "nobody was there to fire it, and no more may fire late",
        ),
    };
    // One more, which is the last that does not fire.
    let last = schedule.last_within(position.cursor_ms, late_ms, fires + 1);
    match last.front() {
        Some(to_ms) if last.len() > fires => Some(skip(schedule, position, first, *to_ms, reason)),
        _ => Some(Decision::Fire(first)),
    }
}

fn last_up_to(schedule: &Schedule, after_ms: u64, until_ms: u64) -> Option<u64> {
    schedule.last_within(after_ms, until_ms, 1).pop_back()
}

fn skip(schedule: &Schedule, position: Position, from_ms: u64, to_ms: u64, reason: &'static str) -> Decision {
    let count = schedule.after(position.cursor_ms).take_while(|at| *at <= to_ms).take(MOST_COUNTED + 1).count();
    let count = Some(count).filter(|count| *count <= MOST_COUNTED);
    Decision::Skip(Skipped { from_ms, to_ms, count, reason })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::ScheduleOptions;

    const HOUR: u64 = 3_600_000;
    const MINUTE: u64 = 60_000;
    /// 2025-01-01T00:00:00Z.
    const START: u64 = 1_735_689_600_000;

    fn schedule(json: &str) -> Schedule {
        Schedule::new(&ScheduleOptions::from_json(json).unwrap()).unwrap()
    }

    /// Everything that is decided until nothing is due: (instant, fires) for each.
    fn decided(schedule: &Schedule, mut position: Position, now_ms: u64) -> Vec<(u64, bool)> {
        let mut decided = Vec::new();
        while let Some(decision) = decide(schedule, position, now_ms, |_| 0) {
            let to_ms = match decision {
                Decision::Fire(at) => {
                    decided.push((at, true));
                    at
                }
                Decision::Skip(skipped) => {
                    let instants = schedule.after(position.cursor_ms).take_while(|at| *at <= skipped.to_ms);
                    let before = decided.len();
                    decided.extend(instants.map(|at| (at, false)));
                    assert_eq!(decided[before].0, skipped.from_ms);
                    assert!(skipped.count.is_none_or(|count| count == decided.len() - before));
                    skipped.to_ms
                }
            };
            assert!(to_ms > position.cursor_ms, "each decision leads on");
            position.cursor_ms = to_ms;
        }
        decided
    }

    fn fired(json: &str, now_ms: u64) -> Vec<u64> {
        let position = Position { cursor_ms: START, since_ms: START };
        let decided = decided(&schedule(json), position, now_ms);
        decided.into_iter().filter(|(_, fires)| *fires).map(|(at, _)| (at - START) / MINUTE).collect()
    }

    #[test]
    fn what_is_late_by_less_than_five_minutes_fires() {
        let json = r#"{"cron":"* * * * *"}"#;
        assert_eq!(fired(json, START + MINUTE - 1), [0_u64; 0]);
        assert_eq!(fired(json, START + MINUTE), [1]);
        assert_eq!(fired(json, START + 6 * MINUTE), [1, 2, 3, 4, 5, 6]);
        assert_eq!(fired(json, START + 6 * MINUTE + 1), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_was_missed_fires_as_catch_up_says() {
        let now = START + 10 * HOUR + 30 * MINUTE;
        assert_eq!(fired(r#"{"cron":"0 * * * *"}"#, now), [0_u64; 0]);
        assert_eq!(fired(r#"{"cron":"0 * * * *","catchUp":"none"}"#, now), [0_u64; 0]);
        assert_eq!(fired(r#"{"cron":"0 * * * *","catchUp":"last"}"#, now), [600]);
        assert_eq!(fired(r#"{"cron":"0 * * * *","catchUp":"all","catchUpLimit":3}"#, now), [480, 540, 600]);
        assert_eq!(fired(r#"{"cron":"0 * * * *","catchUp":"all"}"#, now).len(), 10);
        // One that is due anyway stands for those that were missed.
        assert_eq!(fired(r#"{"cron":"0 * * * *","catchUp":"last"}"#, START + 10 * HOUR + MINUTE), [600]);
        assert_eq!(fired(r#"{"interval":"1s","catchUp":"all"}"#, START + 24 * HOUR).len(), 100 + 301);
    }

    #[test]
    fn what_it_did_not_do_while_it_was_disabled_is_skipped() {
        let position = Position { cursor_ms: START, since_ms: START + 10 * MINUTE };
        let schedule = schedule(r#"{"cron":"* * * * *","catchUp":"all"}"#);
        let decided = decided(&schedule, position, START + 12 * MINUTE);
        let fires: Vec<bool> = decided.iter().map(|(_, fires)| *fires).collect();
        assert_eq!(fires, [vec![false; 10], vec![true; 2]].concat());
    }

    #[test]
    fn what_is_put_off_is_due_later() {
        let schedule = schedule(r#"{"cron":"0 * * * *","jitterMs":60000}"#);
        let position = Position { cursor_ms: START, since_ms: START };
        assert_eq!(decide(&schedule, position, START + HOUR + 29_999, |_| 30_000), None);
        let due = decide(&schedule, position, START + HOUR + 30_000, |_| 30_000);
        assert_eq!(due, Some(Decision::Fire(START + HOUR)));
    }

    proptest! {
        #[test]
        fn each_instant_is_decided_on_once_in_order(
            options in prop::sample::select(vec![
                r#"{"cron":"*/7 * * * *"}"#,
                r#"{"cron":"30 2 * * *","timezone":"Europe/Berlin","catchUp":"last"}"#,
                r#"{"interval":"90s","catchUp":"all","catchUpLimit":7}"#,
                r#"{"cron":"0 0,12 * * 1-5","catchUp":"all"}"#,
            ]),
            cursor in 0..400 * HOUR,
            disabled in 0..30 * HOUR,
            passed in 0..200 * HOUR,
        ) {
            let (schedule, cursor_ms) = (schedule(options), START + cursor);
            let position = Position { cursor_ms, since_ms: cursor_ms + disabled };
            let now_ms = cursor_ms + disabled + passed;
            let instants: Vec<u64> = schedule.after(cursor_ms).take_while(|at| *at <= now_ms).collect();
            let decided = decided(&schedule, position, now_ms);
            prop_assert_eq!(decided.iter().map(|(at, _)| *at).collect::<Vec<_>>(), instants);
            for (at, fires) in decided {
                prop_assert!(!fires || at > position.since_ms);
                prop_assert!(fires || at <= position.since_ms || at + GRACE_MS < now_ms);
            }
        }

        #[test]
        fn the_last_instants_are_those_that_counting_finds(
            options in prop::sample::select(vec![
                r#"{"cron":"*/7 * * * *"}"#,
                r#"{"cron":"30 2 1 * *","timezone":"Europe/Berlin"}"#,
                r#"{"interval":"90s"}"#,
            ]),
            span in 1..3_000 * HOUR,
            most in 1_usize..50,
        ) {
            let schedule = schedule(options);
            let all: Vec<u64> = schedule.after(START).take_while(|at| *at <= START + span).collect();
            let last = schedule.last_within(START, START + span, most);
            prop_assert_eq!(last.into_iter().collect::<Vec<_>>(), &all[all.len().saturating_sub(most)..]);
        }
    }
}
