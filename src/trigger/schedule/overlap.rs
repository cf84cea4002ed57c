//! What a firing does while runs of earlier firings go on.

use super::agenda::Turn;
use crate::error::Result;
use crate::schedule::Overlap;
use crate::trigger::TriggerEngine;
use crate::trigger::board::{Latest, Queued};

/// How many firings of a schedule wait.
const MOST_QUEUED: usize = 100;

/// What becomes of an instant.
pub(super) enum Verdict {
    Fire,
    /// It fires and ends these runs.
    Replace(Vec<String>),
    Queue,
    Skip(String),
    /// It is about to be known.
    Later,
}

/// What goes on of earlier firings.
#[derive(Default)]
struct GoingOn {
    runs: Vec<String>,
    /// A firing whose runs are being started.
    is_starting: bool,
}

impl TriggerEngine {
    pub(super) async fn overlap(&self, name: &str, turn: &Turn) -> Result<Verdict> {
        let Some(overlap) = turn.schedule.options().overlap else { return Ok(Verdict::Fire) };
        self.catch_up().await?;
        let GoingOn { runs, is_starting } = self.going_on(name).await?;
        let waiting = self.known().board.schedules.get(name).map_or(0, |progress| progress.queued.len());
        let reason = || match runs.first() {
            Some(run) => format!("the run {run} of an earlier firing goes on"),
            None => "the runs of an earlier firing are being started".to_owned(),
        };
        let is_free = runs.is_empty() && !is_starting;
        Ok(match overlap {
            Overlap::Queue if waiting >= MOST_QUEUED => Verdict::Skip(format!("{waiting} earlier firings wait")),
            Overlap::Queue if waiting > 0 => Verdict::Queue,
            _ if is_free => Verdict::Fire,
            Overlap::Queue => Verdict::Queue,
            Overlap::Skip => Verdict::Skip(reason()),
            // What is being started can't be ended yet.
            Overlap::Replace if is_starting => Verdict::Later,
            Overlap::Replace => Verdict::Replace(runs),
        })
    }

    /// Whether anything goes on of earlier firings.
    pub(super) async fn goes_on(&self, name: &str) -> Result<bool> {
        let GoingOn { runs, is_starting } = self.going_on(name).await?;
        Ok(is_starting || !runs.is_empty())
    }

    pub(super) fn first_queued(&self, name: &str) -> Option<Queued> {
        self.known().board.schedules.get(name)?.queued.front().cloned()
    }

    async fn going_on(&self, name: &str) -> Result<GoingOn> {
        let latest: Vec<Latest> = match self.known().board.schedules.get(name) {
            Some(progress) => progress.latest.iter().cloned().collect(),
            None => Vec::new(),
        };
        let mut going_on = GoingOn::default();
        for firing in latest {
            let Some(runs) = firing.runs else {
                going_on.is_starting = true;
                continue;
            };
            for run in runs {
                if !self.flows.is_over(&run).await? {
                    going_on.runs.push(run);
                }
            }
        }
        Ok(going_on)
    }
}
