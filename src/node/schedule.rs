//! Schedules for JavaScript: options as JSON, instants as milliseconds since the Unix epoch.

use napi_derive::napi;

use super::outcome::{json, text, thrown};
use crate::error::Result;
use crate::schedule::{Schedule, ScheduleOptions};

fn schedule(options: &str) -> Result<Schedule> {
    Schedule::new(&ScheduleOptions::from_json(options)?)
}

/// The first instants of a schedule from one on, as a JSON array of `{ at, local, note? }`, or an error.
#[napi(catch_unwind)]
pub fn preview_schedule(options: String, from_ms: f64, count: u32) -> String {
    text(schedule(&options).map(|schedule| json(&schedule.preview(from_ms.ceil() as u64, count as usize))))
}

/// The first instant of a schedule after one; `null` if there is none. Throws an error as text.
#[napi(catch_unwind)]
pub fn next_instant(options: String, after_ms: f64) -> napi::Result<Option<f64>> {
    let schedule = schedule(&options).map_err(thrown)?;
    // What is before 1970 is before every schedule.
    let next = if after_ms < 0.0 { schedule.first() } else { schedule.next_after(after_ms as u64) };
    Ok(next.map(|ms| ms as f64))
}
