//! The plan of a run: the steps of its flow as they were when it began. It stands in the run's first
//! event, so that everyone who reads the run comes to the same verdict, whatever was deployed since.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a run does: steps, and the events that lead from one to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The step that runs first.
    pub entry: String,
    /// All steps by name.
    pub steps: BTreeMap<String, PlannedStep>,
}

/// A step of a [`Plan`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// The job queue that it runs in.
    pub queue: String,
    /// It runs when all of these have come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribes: Vec<String>,
    /// What it may emit; `None`: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emits: Option<Vec<String>>,
    /// The version of its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How often it is tried before it fails.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub max_attempts: u64,
    /// How long to wait before it is tried again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub backoff: Backoff,
}

/// How the pause before the next attempt grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackoffType {
    /// The same each time.
    Fixed,
    /// Twice as long each time.
    #[default]
    Exponential,
}

/// How long to wait before a step is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Backoff {
    /// How it grows.
    #[serde(rename = "type")]
    pub kind: BackoffType,
    /// The first pause, in milliseconds.
    pub delay: u64,
    /// The longest pause, in milliseconds.
    pub max_delay: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { kind: BackoffType::Exponential, delay: 1_000, max_delay: 60_000 }
    }
}

impl Backoff {
    /// The pause after the `failures`-th failure, in milliseconds.
    ///
    /// ```
    /// use nuxt_queue_core::run::{Backoff, BackoffType};
    /// let backoff = Backoff { kind: BackoffType::Exponential, delay: 100, max_delay: 350 };
    /// assert_eq!([1, 2, 3, 99].map(|failures| backoff.after(failures)), [100, 200, 350, 350]);
    /// ```
    pub fn after(&self, failures: u64) -> u64 {
        let doublings = match self.kind {
            BackoffType::Fixed => 0,
            BackoffType::Exponential => failures.saturating_sub(1).min(63),
        };
        self.delay.saturating_mul(1 << doublings).min(self.max_delay)
    }
}

fn once() -> u64 {
    1
}

fn is_once(attempts: &u64) -> bool {
    *attempts == 1
}

fn is_default(backoff: &Backoff) -> bool {
    *backoff == Backoff::default()
}

impl Plan {
    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let texts = |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        let steps = self.steps.iter().map(|(name, step)| {
            name.len()
                + step.queue.len()
                + size_of::<PlannedStep>()
                + texts(&step.subscribes)
                + step.emits.as_deref().map_or(0, texts)
        });
        steps.sum()
    }
}
