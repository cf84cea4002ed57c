//! Flow definitions, and what is wrong with those that can't work.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::error::{Code, Error, Result};
use crate::run::{Backoff, BackoffType, Plan, PlannedStep};
use crate::version::StepVersion;

/// How long a name may be, in bytes: it is part of job ids and stream names.
const LONGEST_NAME: usize = 128;
/// How many steps a flow may have.
const MOST_STEPS: usize = 1_000;
/// How often a step may be tried.
const MOST_ATTEMPTS: u64 = 1_000;

/// A flow: its entry, its steps, and the events between them.
///
/// ```
/// use nuxt_queue_core::flow::FlowDefinition;
/// let json = r#"{"name":"iris","entry":{"step":"load","queue":"ml"},
///     "steps":{"load":{"queue":"ml","emits":["loaded"]},"train":{"queue":"ml","subscribes":["loaded"]}}}"#;
/// let flow: FlowDefinition = serde_json::from_str(json).unwrap();
/// assert!(flow.into_plan().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowDefinition {
    /// Its name.
    pub name: String,
    /// The step that runs first.
    pub entry: Entry,
    /// All steps by name.
    pub steps: BTreeMap<String, StepDefinition>,
    /// Events that come from outside, by `emit`.
    #[serde(default)]
    pub accepts: Vec<String>,
}

/// Where a flow begins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The step's name.
    pub step: String,
    /// The step's queue.
    pub queue: String,
}

/// A step of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepDefinition {
    /// The job queue that it runs in.
    pub queue: String,
    /// It runs when all of these have come.
    #[serde(default)]
    pub subscribes: Vec<String>,
    /// What it may emit; left out: anything.
    pub emits: Option<Vec<String>>,
    /// The version of its code.
    pub version: Option<String>,
    /// How often it is tried before it fails; 1 if left out.
    pub max_attempts: Option<u64>,
    /// How long to wait before it is tried again.
    pub backoff: Option<BackoffDefinition>,
}

/// How long to wait before a step is tried again; what is left out is as in [`Backoff::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackoffDefinition {
    /// How the pause grows.
    #[serde(rename = "type")]
    pub kind: Option<BackoffType>,
    /// The first pause, in milliseconds.
    pub delay: Option<u64>,
    /// The longest pause, in milliseconds.
    pub max_delay: Option<u64>,
}

impl FlowDefinition {
    /// The plan of its runs, if it can work.
    ///
    /// # Errors
    /// `Config`: a name that can't be used, an unknown entry, a step that nothing leads to, a cycle.
    pub fn into_plan(self) -> Result<Plan> {
        let wrong = |what: String| Error::new(Code::Config, format!("The flow \"{}\" can't run: {what}", self.name));
        check_name("The name of a flow", &self.name)?;
        if self.steps.is_empty() {
            return Err(wrong("it has no steps.".into()));
        }
        if self.steps.len() > MOST_STEPS {
            return Err(wrong(format!("it has {} steps; at most {MOST_STEPS} are possible.", self.steps.len())));
        }
        self.check_names().map_err(|error| wrong(error.message().to_owned()))?;
        self.check_entry().map_err(&wrong)?;
        self.check_cycles().map_err(&wrong)?;
        self.check_reach().map_err(&wrong)?;
        let steps = self.steps.into_iter().map(|(name, step)| (name, step.into_planned()));
        Ok(Plan { entry: self.entry.step, steps: steps.collect() })
    }

    fn check_names(&self) -> Result<()> {
        for event in &self.accepts {
            check_event("accepts", event)?;
        }
        for (name, step) in &self.steps {
            check_name("The name of a step", name)?;
            if name.contains("__") {
                let message = format!(
                    "The step \"{name}\" has two underscores in a row, which separate the parts of a job id; use one."
                );
                return Err(Error::new(Code::Config, message));
            }
            check_name(&format!("The queue of step \"{name}\""), &step.queue)?;
            StepVersion::parse(step.version.as_deref())
                .map_err(|error| Error::new(Code::Config, format!("steps.{name}.version: {}", error.message())))?;
            for (member, events) in [("subscribes", Some(&step.subscribes)), ("emits", step.emits.as_ref())] {
                let mut seen = BTreeSet::new();
                for event in events.into_iter().flatten() {
                    check_event(&format!("steps.{name}.{member}"), event)?;
                    if !seen.insert(event) {
                        let message = format!("steps.{name}.{member} names \"{event}\" twice; name it once.");
                        return Err(Error::new(Code::Config, message));
                    }
                }
            }
            if let Some(attempts) = step.max_attempts.filter(|attempts| !(1..=MOST_ATTEMPTS).contains(attempts)) {
                let message = format!("steps.{name}.maxAttempts is {attempts}; expected 1 to {MOST_ATTEMPTS}.");
                return Err(Error::new(Code::Config, message));
            }
        }
        Ok(())
    }

    fn check_entry(&self) -> Result<(), String> {
        let Entry { step, queue } = &self.entry;
        let Some(entry) = self.steps.get(step) else {
            let known: Vec<&str> = self.steps.keys().map(String::as_str).collect();
            return Err(format!("entry.step \"{step}\" is no step of it; known are {}.", known.join(", ")));
        };
        if *queue != entry.queue {
            return Err(format!(
                "entry.queue is \"{queue}\", and steps.{step}.queue is \"{}\"; they have to be the same.",
                entry.queue
            ));
        }
        Ok(())
    }

    /// The steps that run on what a step emits, as far as it says what that is.
    fn led_to_by<'a>(&'a self, step: &'a StepDefinition) -> impl Iterator<Item = &'a str> {
        let emits = step.emits.as_deref().unwrap_or_default();
        let follows = |next: &StepDefinition| next.subscribes.iter().any(|event| emits.contains(event));
        self.steps.iter().filter(move |(_, next)| follows(next)).map(|(name, _)| name.as_str())
    }

    /// A step runs once, so it can't lead to itself.
    fn check_cycles(&self) -> Result<(), String> {
        fn walk<'a>(
            flow: &'a FlowDefinition,
            name: &'a str,
            path: &mut Vec<&'a str>,
            done: &mut BTreeSet<&'a str>,
        ) -> Result<(), String> {
            if let Some(at) = path.iter().position(|before| *before == name) {
                let cycle = path[at..].iter().chain([&name]).copied().collect::<Vec<_>>().join(" → ");
                return Err(format!("its steps form a cycle, {cycle}; a step runs once a run."));
            }
            if done.contains(name) {
                return Ok(());
            }
            path.push(name);
            if let Some(step) = flow.steps.get(name) {
                for next in flow.led_to_by(step) {
                    walk(flow, next, path, done)?;
                }
            }
            path.pop();
            done.insert(name);
            Ok(())
        }
        let mut done = BTreeSet::new();
        self.steps.keys().try_for_each(|name| walk(self, name, &mut Vec::new(), &mut done))
    }

    /// Whether each step can come to run: all that it subscribes to is emitted by a step that can, or
    /// comes from outside. A step that does not say what it emits may emit anything.
    fn check_reach(&self) -> Result<(), String> {
        let mut reached = BTreeSet::from([self.entry.step.as_str()]);
        loop {
            let anything = reached.iter().any(|name| self.steps[*name].emits.is_none());
            let emitted: BTreeSet<&String> = reached
                .iter()
                .filter_map(|name| self.steps[*name].emits.as_ref())
                .flatten()
                .chain(&self.accepts)
                .collect();
            let can_come = |event: &String| anything || emitted.contains(event);
            let can_run = |step: &StepDefinition| !step.subscribes.is_empty() && step.subscribes.iter().all(can_come);
            let before = reached.len();
            reached.extend(self.steps.iter().filter(|(_, step)| can_run(step)).map(|(name, _)| name.as_str()));
            if reached.len() > before {
                continue;
            }
            let Some((name, step)) = self.steps.iter().find(|(name, _)| !reached.contains(name.as_str())) else {
                return Ok(());
            };
            let missing: Vec<&str> =
                step.subscribes.iter().filter(|event| !can_come(event)).map(String::as_str).collect();
            return Err(match missing.as_slice() {
                [] => format!("the step \"{name}\" is never reached: it subscribes to nothing and is not the entry."),
                missing => format!(
                    "the step \"{name}\" is never reached: no step that runs emits {}. What comes from outside goes into accepts.",
                    missing.join(", ")
                ),
            });
        }
    }
}

impl StepDefinition {
    fn into_planned(self) -> PlannedStep {
        let default = Backoff::default();
        let backoff = self.backoff.map_or(default, |given| {
            let delay = given.delay.unwrap_or(default.delay);
            let max_delay = given.max_delay.unwrap_or(default.max_delay.max(delay));
            Backoff { kind: given.kind.unwrap_or(default.kind), delay, max_delay }
        });
        PlannedStep {
            queue: self.queue,
            subscribes: self.subscribes,
            emits: self.emits,
            version: self.version,
            max_attempts: self.max_attempts.unwrap_or(1),
            backoff,
        }
    }
}

/// A name that may stand in job ids and in names of streams.
fn check_name(what: &str, name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_plain) {
        return Ok(());
    }
    let message =
        format!("{what} is {}; expected 1 to {LONGEST_NAME} letters, digits, \"_\", \"-\" and \".\".", shown(name));
    Err(Error::new(Code::Config, message))
}

fn check_event(place: &str, name: &str) -> Result<()> {
    if !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let message = format!("{place} names {}; expected 1 to {LONGEST_NAME} characters.", shown(name));
    Err(Error::new(Code::Config, message))
}

fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(60).collect::<String>())
}
