//! Deciding by what a run's events say, and recording the decision only if they still say it.

use super::FlowEngine;
use crate::error::{Code, Error, Result};
use crate::event::{Envelope, EventId, Field, NewEvent};
use crate::run::Progress;
use crate::store::Consistency;

/// How often it is tried while others write the same run all the time.
const ATTEMPTS: usize = 200;
/// After so many of them the other appends of this store wait meanwhile.
const UNHELD: usize = 3;

/// What is to be done about a run.
pub(super) enum Decision<T> {
    /// Record these, together.
    Record(Vec<NewEvent>, T),
    /// Nothing.
    Nothing(T),
}

impl FlowEngine {
    /// Decides about a run. What is recorded is recorded on the condition that nothing came in between;
    /// otherwise it is decided again. So of many who decide at once, wherever they are, one is first,
    /// and the others see what it did.
    pub(super) async fn decide<T>(
        &self,
        run_id: &str,
        decide: impl FnMut(&Progress) -> Result<Decision<T>>,
    ) -> Result<T> {
        self.decide_and_tell(run_id, decide, |_| ()).await
    }

    /// The same, and tells what was decided when it is on its way to be recorded. If it can't be, it is decided
    /// again, and may come to something else.
    pub(super) async fn decide_and_tell<T>(
        &self,
        run_id: &str,
        mut decide: impl FnMut(&Progress) -> Result<Decision<T>>,
        mut tell: impl FnMut(&T),
    ) -> Result<T> {
        let key = self.store.run_key(&self.stream(run_id));
        let mut consistency = Consistency::Cached;
        for attempt in 0..ATTEMPTS {
            if attempt >= UNHELD {
                let held = |progress: &Progress| match decide(progress) {
                    Ok(Decision::Record(events, outcome)) => (Some(events), Ok(outcome)),
                    Ok(Decision::Nothing(outcome)) => (None, Ok(outcome)),
                    Err(error) => (None, Err(error)),
                };
                match self.store.append_held(&key, held).await {
                    Err(error) if error.code() == Code::Conflict => continue,
                    outcome => return outcome?,
                }
            }
            let guess = match attempt {
                0 => self.store.guess(&key, |progress, last| (decide(progress), last)),
                _ => None,
            };
            let seen = match guess {
                Some(seen) => seen,
                None => self.store.progress(&key, consistency, |progress, last| (decide(progress), last)).await?,
            };
            match seen {
                (Ok(Decision::Record(events, outcome)), last) => {
                    let appended = self.store.append_behind(&key, events, last);
                    // It is handed over in the same poll, so before whoever is told can append anything.
                    tell(&outcome);
                    match appended.await {
                        Ok(()) => return Ok(outcome),
                        Err(error) if error.code() == Code::Conflict => consistency = Consistency::Strong,
                        Err(error) => return Err(error),
                    }
                }
                // What is in memory may be a moment old; who does nothing has to be sure.
                (outcome, _) if consistency == Consistency::Strong => {
                    return outcome.map(|decision| match decision {
                        Decision::Record(_, outcome) | Decision::Nothing(outcome) => outcome,
                    });
                }
                _ => consistency = Consistency::Strong,
            }
        }
        let message = format!("Others wrote to the run {run_id} between each of {ATTEMPTS} looks at it; try again.");
        Err(Error::new(Code::Conflict, message))
    }

    /// Looks at a run, as its newest event says.
    pub(super) async fn look<R>(&self, run_id: &str, look: impl FnOnce(&Progress) -> R) -> Result<R> {
        let key = self.store.run_key(&self.stream(run_id));
        self.store.progress(&key, Consistency::Strong, |progress, _| look(progress)).await
    }

    /// The first event of a run, if it has none. False: it has.
    pub(super) async fn begin(&self, run_id: &str, event: NewEvent) -> Result<bool> {
        let key = self.store.run_key(&self.stream(run_id));
        match self.store.append_behind(&key, vec![event], EventId::MIN).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Code::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn stream(&self, run_id: &str) -> String {
        format!("{}:flow:{run_id}", self.store.prefix())
    }
}

/// Who says something about a run.
pub(super) fn envelope(progress: &Progress, step_name: Option<&str>) -> Envelope {
    let mut envelope = Envelope::default();
    envelope.set(Field::RunId, progress.run_id());
    envelope.set(Field::FlowName, progress.flow_name());
    if let Some(id) = progress.correlation_id() {
        envelope.set(Field::CorrelationId, id);
    }
    if let Some(name) = step_name {
        let attempt = progress.step(name).map_or(1, |step| step.attempt.max(1));
        envelope.set(Field::StepName, name);
        envelope.set(Field::Attempt, attempt.to_string());
        envelope.set(Field::StepId, super::job::step_id(progress.run_id(), name, attempt));
    }
    envelope
}
