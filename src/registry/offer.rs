//! What an instance offers: said once, said anew where the record says otherwise, and taken back.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::board::Board;
use super::instance::{Instance, StepOffer, WorkerOffer};
use super::{Own, RegistryEngine, event};
use crate::error::{Code, Error, Result};
use crate::event::NewEvent;
use crate::store::AppendOptions;
use crate::version::StepVersion;

/// How often it is tried while others write the stream.
const ATTEMPTS: usize = 200;

impl Own {
    pub(super) fn workers(&self) -> MutexGuard<'_, BTreeMap<String, WorkerOffer>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the record lacks of this instance.
    fn lacking(&self, board: &Board) -> Vec<NewEvent> {
        let id = &*self.options.instance_id;
        let recorded = board.instances.get(id).filter(|instance| !instance.has_left);
        let mut events = Vec::new();
        if recorded.is_none() {
            events.push(event::started(&self.options));
        }
        let nothing = Instance::default();
        let recorded = recorded.unwrap_or(&nothing);
        if self.is_draining.load(Ordering::Relaxed) && !recorded.is_draining {
            events.push(event::draining(id));
        }
        let workers = self.workers();
        let gone = recorded.workers.keys().filter(|worker_id| !workers.contains_key(*worker_id));
        events.extend(gone.map(|worker_id| event::worker_deregistered(id, worker_id)));
        for (worker_id, worker) in workers.iter() {
            events.extend(lacking_of(id, worker_id, worker, recorded.workers.get(worker_id)));
        }
        events
    }
}

/// What the record lacks of a worker.
fn lacking_of(id: &str, worker_id: &str, worker: &WorkerOffer, recorded: Option<&WorkerOffer>) -> Vec<NewEvent> {
    let mut events = Vec::new();
    let has_more = |recorded: &WorkerOffer| recorded.steps.iter().any(|step| !worker.steps.contains(step));
    let recorded = match recorded {
        // A step is not taken back by itself.
        Some(recorded) if has_more(recorded) => {
            events.push(event::worker_deregistered(id, worker_id));
            None
        }
        recorded => recorded,
    };
    if recorded.is_none_or(|recorded| !recorded.is_same_worker(worker)) {
        events.push(event::worker_registered(id, worker_id, worker));
    }
    let is_recorded = |step: &StepOffer| recorded.is_some_and(|recorded| recorded.steps.contains(step));
    let lacking = worker.steps.iter().filter(|step| !is_recorded(step));
    events.extend(lacking.map(|step| event::step_registered(id, worker_id, step)));
    events
}

impl RegistryEngine {
    /// Records that the instance is there.
    ///
    /// # Errors
    /// Those of appending; the next heartbeat tries it again.
    pub async fn start(&self) -> Result<()> {
        let _turn = self.writing.lock().await;
        // Another one may have had this id before.
        let started = event::started(&self.own.options);
        self.say(vec![started], AppendOptions::default()).await?;
        self.record().await
    }

    /// Records a worker with its steps, or what is new of it; nothing if it is recorded like this.
    ///
    /// # Errors
    /// `Validation` for a version that is none, `InvalidEvent` for names that can't be recorded, `Conflict` if a living instance offers a step in the same version with
    /// other settings, and those of appending; after these the next heartbeat tries it again.
    pub async fn register_worker(&self, worker_id: &str, mut worker: WorkerOffer) -> Result<()> {
        for step in &mut worker.steps {
            self.complete(step)?;
        }
        self.expect_recordable(worker_id, &worker)?;
        self.expect_no_clash(&worker.steps).await?;
        self.own.workers().insert(worker_id.to_owned(), worker);
        let _turn = self.writing.lock().await;
        self.record().await
    }

    /// Records a step of a worker, which is recorded with it if it is new.
    ///
    /// # Errors
    /// As [`RegistryEngine::register_worker`].
    pub async fn register_step(&self, worker_id: &str, mut step: StepOffer) -> Result<()> {
        self.complete(&mut step)?;
        let alone = WorkerOffer { queue: step.queue.clone(), steps: vec![step.clone()], ..WorkerOffer::default() };
        self.expect_recordable(worker_id, &alone)?;
        self.expect_no_clash(std::slice::from_ref(&step)).await?;
        {
            let mut workers = self.own.workers();
            let worker = workers.entry(worker_id.to_owned()).or_default();
            if worker.queue.is_empty() {
                worker.queue.clone_from(&step.queue);
            }
            let rival = worker.steps.iter().find(|known| known.is_same_step(&step));
            if let Some(known) = rival.filter(|known| known.version.is_some() && known.version == step.version)
                && let Some(member) = known.difference(&step)
            {
                return Err(clash(&step, member, self.instance_id()));
            }
            worker.put(step);
        }
        let _turn = self.writing.lock().await;
        self.record().await
    }

    /// Records that a worker offers nothing any more.
    ///
    /// # Errors
    /// Those of appending; the next heartbeat tries it again.
    pub async fn deregister_worker(&self, worker_id: &str) -> Result<()> {
        self.own.workers().remove(worker_id);
        let _turn = self.writing.lock().await;
        self.record().await
    }

    /// Records that the instance takes no new steps.
    ///
    /// # Errors
    /// Those of appending; the next heartbeat tries it again.
    pub async fn drain(&self) -> Result<()> {
        self.own.is_draining.store(true, Ordering::Relaxed);
        let _turn = self.writing.lock().await;
        self.record().await
    }

    /// Records that the instance is gone; it says nothing any more.
    ///
    /// # Errors
    /// Those of appending; then it will look dead.
    pub async fn shut_down(&self) -> Result<()> {
        let _turn = self.writing.lock().await;
        if self.own.is_closed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.say(vec![event::shutdown(self.instance_id())], AppendOptions::default()).await
    }

    /// Brings the record to what the instance is. Nobody else writes about it meanwhile.
    pub(super) async fn record(&self) -> Result<()> {
        let mut attempt = 1;
        while !self.own.is_closed.load(Ordering::Relaxed) {
            self.catch_up().await?;
            let (events, last) = {
                let known = self.known();
                (self.own.lacking(&known.board), known.last)
            };
            if events.is_empty() {
                break;
            }
            let options = AppendOptions { expected_last_id: Some(last), idempotency_key: None };
            match self.say(events, options).await {
                Err(error) if error.code() == Code::Conflict && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) => return self.catch_up().await,
            }
        }
        Ok(())
    }

    /// A step without a version has that of its instance.
    fn complete(&self, step: &mut StepOffer) -> Result<()> {
        StepVersion::parse(step.version.as_deref())?;
        if step.version.is_none() {
            step.version.clone_from(&self.own.options.version);
        }
        Ok(())
    }

    /// What can't be recorded must not keep everything else from being recorded, for ever.
    fn expect_recordable(&self, worker_id: &str, worker: &WorkerOffer) -> Result<()> {
        let events = lacking_of(self.instance_id(), worker_id, worker, None);
        events.iter().try_for_each(|event| self.store.check_event(event))
    }

    async fn expect_no_clash(&self, steps: &[StepOffer]) -> Result<()> {
        // Where no version is given, nothing is promised.
        if steps.iter().all(|step| step.version.is_none()) {
            return Ok(());
        }
        let own = self.instance_id();
        self.ask(|board, now_ms| {
            for step in steps {
                if let Some((other, member)) = board.clash(own, step, now_ms) {
                    return Err(clash(step, member, other));
                }
            }
            Ok(())
        })
        .await?
    }
}

fn clash(step: &StepOffer, member: &str, instance_id: &str) -> Error {
    let StepOffer { flow_name, step_name, version, .. } = step;
    let message = format!(
        "The step \"{step_name}\" of flow \"{flow_name}\" is registered in version {} by the instance \"{instance_id}\" with another {member}; a step that changes needs a new version.",
        version.as_deref().unwrap_or("none")
    );
    Error::new(Code::Conflict, message)
}
