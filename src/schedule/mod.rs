//! Schedules: at which instants something is to happen, by cron expressions, times of day and periods, in time zones
//! whose clocks change. Pure: nothing fires here.
//!
//! A time of day that a change of the clocks skips is made up for right after the gap, and one that it repeats counts
//! once, as Vixie cron does it. An expression with `*` as minute or hour is a rhythm: it goes on in real time.
//! `docs/schedules.md` has the rules.
//!
//! ```
//! use nuxt_queue_core::event::{format_time, parse_time};
//! use nuxt_queue_core::schedule::{Schedule, ScheduleOptions};
//!
//! let options = ScheduleOptions::from_json(r#"{"cron":"30 2 * * *","timezone":"Europe/Berlin"}"#)?;
//! let schedule = Schedule::new(&options)?;
//! let noon = parse_time("2025-03-29T12:00:00Z").unwrap_or_default();
//! let instants: Vec<String> = schedule.after(noon).take(2).map(format_time).collect();
//! // On the 30th there is no 02:30: the clocks go from 02:00 to 03:00.
//! assert_eq!(instants, ["2025-03-30T01:00:00.000Z", "2025-03-31T00:30:00.000Z"]);
//! # Ok::<(), nuxt_queue_core::Error>(())
//! ```

mod calendar;
mod civil;
mod day;
mod expression;
mod field;
mod options;
mod preview;
mod rhythm;
mod zone;

use std::collections::VecDeque;
use std::sync::Arc;

use self::calendar::END;
pub use self::calendar::Note;
pub use self::options::{CatchUp, DstOverlap, Every, Gap, Overlap, ScheduleOptions};
pub use self::preview::Preview;
use self::rhythm::{Plan, Rhythm, plan};
use self::zone::Zone;
use crate::error::Result;

/// Where the search for the last instants begins: an hour back.
const SPAN_MS: u64 = 3_600_000;

/// A schedule that was checked. All of its instants are in milliseconds since the Unix epoch, and end with the year 9998.
#[derive(Clone)]
pub struct Schedule {
    rhythm: Arc<Rhythm>,
    zone: Arc<Zone>,
    start_ms: u64,
    end_ms: u64,
    options: ScheduleOptions,
}

impl Schedule {
    /// Checks options. What is malformed, contradictory, or would never fire is a `Validation` error that tells of all of
    /// it, by the names of the options and by the fields and positions within an expression.
    pub fn new(options: &ScheduleOptions) -> Result<Schedule> {
        let made = plan(options).and_then(|plan| {
            let schedule = Schedule::of(plan, options.clone());
            match schedule.first() {
                Some(_) => Ok(schedule),
                None => Err(vec![schedule.why_never().into()]),
            }
        });
        made.map_err(options::refusal)
    }

    fn of(plan: Plan, options: ScheduleOptions) -> Schedule {
        let Plan { rhythm, zone, start_ms, end_ms } = plan;
        Schedule { rhythm: Arc::new(rhythm), zone, start_ms, end_ms, options }
    }

    /// What it was made of.
    pub fn options(&self) -> &ScheduleOptions {
        &self.options
    }

    /// The first instant of all.
    pub fn first(&self) -> Option<u64> {
        self.first_from(0)
    }

    /// The first instant after one; `None` if it never fires again. Whether it is enabled does not matter.
    pub fn next_after(&self, ms: u64) -> Option<u64> {
        self.first_from(ms.checked_add(1)?)
    }

    /// The instants after one, in order, each of them once.
    pub fn after(&self, ms: u64) -> Instants<'_> {
        Instants { schedule: self, from_ms: ms.checked_add(1) }
    }

    /// The last instants after one and up to another, in order, so many of them at most.
    pub fn last_within(&self, after_ms: u64, until_ms: u64, most: usize) -> VecDeque<u64> {
        let mut span_ms = SPAN_MS;
        loop {
            // They are only computed forwards, and there may be millions.
            let from_ms = until_ms.saturating_sub(span_ms).max(after_ms);
            let mut last = VecDeque::new();
            for at in self.after(from_ms).take_while(|at| *at <= until_ms) {
                if last.len() == most {
                    last.pop_front();
                }
                last.push_back(at);
            }
            if last.len() == most || from_ms == after_ms {
                return last;
            }
            span_ms = span_ms.saturating_mul(2);
        }
    }

    /// The first instants from one on, as people read them; it is included.
    pub fn preview(&self, from_ms: u64, count: usize) -> Vec<Preview> {
        Instants { schedule: self, from_ms: Some(from_ms) }.take(count).map(|at| self.preview_of(at)).collect()
    }

    fn preview_of(&self, at_ms: u64) -> Preview {
        let note = match &*self.rhythm {
            Rhythm::Elapsed { .. } => None,
            Rhythm::Calendar(calendar) => calendar.note(&self.zone, (at_ms / 1_000) as i64),
        };
        Preview { at_ms, local: self.zone.show(at_ms), note }
    }

    fn first_from(&self, ms: u64) -> Option<u64> {
        let from = ms.max(self.start_ms);
        let first = match &*self.rhythm {
            Rhythm::Elapsed { from_ms, step_ms } => {
                from_ms.checked_add(from.saturating_sub(*from_ms).div_ceil(*step_ms).checked_mul(*step_ms)?)?
            }
            Rhythm::Calendar(calendar) => {
                let second = calendar.first(&self.zone, i64::try_from(from.div_ceil(1_000)).ok()?)?;
                u64::try_from(second).ok()? * 1_000
            }
        };
        (first <= self.end_ms && first < END as u64 * 1_000).then_some(first)
    }

    /// Why there is no instant at all.
    fn why_never(&self) -> &'static str {
        match &*self.rhythm {
            Rhythm::Calendar(calendar) if calendar.civil.first(0, END).is_none() => {
                "cron never fires: no month that it names has such a day."
            }
            _ if self.start_ms > 0 || self.end_ms < u64::MAX => "The schedule never fires between start and end.",
            _ => "The schedule never fires: a change of the clocks skips each of its times, and gap is \"skip\".",
        }
    }
}

/// The instants of a schedule.
#[derive(Clone)]
pub struct Instants<'a> {
    schedule: &'a Schedule,
    from_ms: Option<u64>,
}

impl Iterator for Instants<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let next = self.schedule.first_from(self.from_ms?);
        self.from_ms = next.map(|next| next + 1);
        next
    }
}

#[cfg(test)]
mod tests;
