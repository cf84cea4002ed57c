//! The next instants of ordinary schedules, computed by this crate and by the crate `cron` with chrono-tz.
//!
//! By itself it prints ratios: `cargo bench --no-default-features --bench instants`. With `--serve` it computes what each
//! line of its input names and answers with a line of JSON, so that `npm run bench` can take turns with it.

#![allow(missing_docs, clippy::disallowed_methods, reason = "a program of its own, that measures real time")]

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::str::FromStr;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeZone};
use chrono_tz::Tz;
use nuxt_queue_core::schedule::{Schedule, ScheduleOptions};
use serde::Deserialize;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How an answer is computed: what it adds is all that a pass finds.
type Compute = fn(&Case, &Extent, &mut Vec<u64>) -> Outcome<()>;

/// Each kind of work, and the two that do it; the crate `cron` first.
const KINDS: [(&str, [Compute; 2]); 3] = [
    ("next instant", [next_by_cron, next_here]),
    ("schedule read, next instant", [read_by_cron, read_here]),
    ("instants ahead", [ahead_by_cron, ahead_here]),
];
const ROUNDS: usize = 11;
const WARM_UPS: usize = 2;
const ROUND: Duration = Duration::from_millis(100);

/// What `schedules.json` holds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Workload {
    expressions: Vec<String>,
    zones: Vec<String>,
    first_moment: u64,
    moment_step: u64,
    moment_count: u64,
    ahead: usize,
}

/// From when on, and how far.
struct Extent {
    moments: Vec<u64>,
    ahead: usize,
}

/// An expression in a zone, as each side has it.
struct Case {
    options: ScheduleOptions,
    schedule: Schedule,
    /// The crate wants seconds.
    with_seconds: String,
    zone_name: String,
    by_cron: cron::Schedule,
    zone: Tz,
}

/// What a round came to.
struct Measured {
    ns: f64,
    instants: Vec<u64>,
}

impl Workload {
    fn extent(&self) -> Extent {
        let moments = (0..self.moment_count).map(|index| self.first_moment + index * self.moment_step);
        Extent { moments: moments.collect(), ahead: self.ahead }
    }

    fn cases(&self) -> Outcome<Vec<Case>> {
        let pairs = self.expressions.iter().flat_map(|cron| self.zones.iter().map(move |zone| (cron, zone)));
        pairs.map(|(cron, zone)| Case::new(cron, zone)).collect()
    }
}

impl Case {
    fn new(cron: &str, zone: &str) -> Outcome<Case> {
        let options =
            ScheduleOptions { cron: Some(cron.into()), timezone: Some(zone.into()), ..ScheduleOptions::default() };
        let with_seconds = format!("0 {cron}");
        Ok(Case {
            schedule: Schedule::new(&options)?,
            options,
            by_cron: cron::Schedule::from_str(&with_seconds)?,
            with_seconds,
            zone: zone.parse()?,
            zone_name: zone.into(),
        })
    }
}

fn next_here(case: &Case, extent: &Extent, found: &mut Vec<u64>) -> Outcome<()> {
    found.extend(extent.moments.iter().filter_map(|ms| case.schedule.next_after(*ms)));
    Ok(())
}

fn next_by_cron(case: &Case, extent: &Extent, found: &mut Vec<u64>) -> Outcome<()> {
    for ms in &extent.moments {
        found.extend(case.by_cron.after(&local(case.zone, *ms)?).next().map(milliseconds));
    }
    Ok(())
}

fn read_here(case: &Case, extent: &Extent, found: &mut Vec<u64>) -> Outcome<()> {
    for ms in &extent.moments {
        found.extend(Schedule::new(black_box(&case.options))?.next_after(*ms));
    }
    Ok(())
}

fn read_by_cron(case: &Case, extent: &Extent, found: &mut Vec<u64>) -> Outcome<()> {
    for ms in &extent.moments {
        let schedule = cron::Schedule::from_str(black_box(&case.with_seconds))?;
        let zone = black_box(&case.zone_name).parse()?;
        found.extend(schedule.after(&local(zone, *ms)?).next().map(milliseconds));
    }
    Ok(())
}

fn ahead_here(case: &Case, extent: &Extent, found: &mut Vec<u64>) -> Outcome<()> {
    found.extend(case.schedule.after(extent.moments[0]).take(extent.ahead));
    Ok(())
}

fn ahead_by_cron(case: &Case, extent: &Extent, found: &mut Vec<u64>) -> Outcome<()> {
    let from = local(case.zone, extent.moments[0])?;
    found.extend(case.by_cron.after(&from).take(extent.ahead).map(milliseconds));
    Ok(())
}

fn local(zone: Tz, ms: u64) -> Outcome<DateTime<Tz>> {
    zone.timestamp_millis_opt(ms.try_into()?).single().ok_or_else(|| "no such moment".into())
}

fn milliseconds(at: DateTime<Tz>) -> u64 {
    at.timestamp_millis().unsigned_abs()
}

/// Repeats a pass over all cases until a round is full.
fn measure(compute: Compute, cases: &[Case], extent: &Extent) -> Outcome<Measured> {
    let start = Instant::now();
    let (mut count, mut instants) = (0, Vec::new());
    while start.elapsed() < ROUND {
        instants.clear();
        for case in cases {
            compute(black_box(case), extent, &mut instants)?;
        }
        count += black_box(&instants).len();
    }
    Ok(Measured { ns: start.elapsed().as_nanos() as f64 / count as f64, instants })
}

/// Answers lines such as `0 1`: a kind of work, and who is to do it.
fn serve(cases: &[Case], extent: &Extent) -> Outcome<()> {
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (kind, side) = line.split_once(' ').ok_or("a kind and a side are wanted")?;
        let (_, sides) = KINDS.get(kind.parse::<usize>()?).ok_or("there is no such kind")?;
        let compute = sides.get(side.parse::<usize>()?).ok_or("there is no such side")?;
        let Measured { ns, instants } = measure(*compute, cases, extent)?;
        writeln!(output, "{}", serde_json::json!({ "ns": ns, "instants": instants }))?;
    }
    Ok(())
}

/// Takes turns, and prints medians and the median of the ratios.
fn print(cases: &[Case], extent: &Extent) -> Outcome<()> {
    for (name, [by_cron, here]) in KINDS {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for round in 0..WARM_UPS + ROUNDS {
            let (their, our) = (measure(by_cron, cases, extent)?, measure(here, cases, extent)?);
            if their.instants != our.instants {
                return Err(format!("{name}: the two disagree").into());
            }
            if round >= WARM_UPS {
                theirs.push(their.ns);
                ours.push(our.ns);
            }
        }
        let ratios = theirs.iter().zip(&ours).map(|(their, our)| their / our).collect();
        let [theirs, ours, ratio] = [theirs, ours, ratios].map(median);
        println!("{name}: cron with chrono-tz {theirs:.0} ns, nuxt-queue-core {ours:.0} ns, ratio {ratio:.2} ×");
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Outcome<()> {
    let workload: Workload = serde_json::from_str(include_str!("schedules.json"))?;
    let (cases, extent) = (workload.cases()?, workload.extent());
    match std::env::args().any(|argument| argument == "--serve") {
        true => serve(&cases, &extent),
        false => print(&cases, &extent),
    }
}
