//! Flows: definitions, runs, and the life of their steps.
//!
//! A [`FlowEngine`] decides, and records what it decided; it executes nothing. What it answers are
//! [`Job`]s, for whoever executes steps. Every decision is made by the run's own events and recorded on
//! the condition that nothing came in between, so any number of engines on one store come to one verdict.
//!
//! ```
//! use nuxt_queue_core::flow::{FlowDefinition, FlowEngine, StartOptions};
//! use nuxt_queue_core::{EventStore, StoreOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> nuxt_queue_core::Result<()> {
//! let engine = FlowEngine::new(EventStore::open(StoreOptions::memory()).await?);
//! let json = r#"{"name":"greet","entry":{"step":"hello","queue":"q"},"steps":{"hello":{"queue":"q"}}}"#;
//! engine.define(serde_json::from_str(json).unwrap(), false)?;
//! let started = engine.start("greet", Some("\"world\""), StartOptions::default()).await?;
//! assert_eq!(started.jobs[0].name, "hello");
//! # Ok(())
//! # }
//! ```

mod awaits;
mod chain;
mod decide;
mod definition;
mod explain;
mod job;
mod object;
mod routing;
mod step;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use uuid::{ContextV7, Timestamp, Uuid};

pub(crate) use self::awaits::note;
pub use self::awaits::{AwaitRequest, AwaitState, Fired, Firing, OfferState};
use self::chain::related;
use self::decide::Decision;
pub use self::definition::{BackoffDefinition, Entry, FlowDefinition, StepDefinition};
pub use self::job::{Job, JobData};
pub(crate) use self::object::Object;
pub use self::routing::Waiting;
pub use self::step::{BeginRequest, Begun, Failed, StepError};
use crate::error::{Code, Error, Result};
use crate::event::{Field, NewEvent};
use crate::run::{AwaitPhase, Ending, Plan, Progress, RunStatus, Status, emit_data};
use crate::store::{AppendOptions, EventStore};
use crate::version::StepVersion;

/// How long the id of a run may be, in bytes: it is part of job ids, of names of streams and of what is noted of it.
const LONGEST_RUN_ID: usize = 255;
/// How many debts are looked at in one go.
const MOST_DEBTS: usize = 1_000;

/// The engine of flows; clones share their definitions.
#[derive(Clone)]
pub struct FlowEngine {
    store: EventStore,
    plans: Arc<RwLock<HashMap<String, Arc<Plan>>>>,
    code: Arc<routing::Code>,
    ids: Arc<Mutex<ContextV7>>,
    handing: Arc<HandingOver>,
    beginning: Arc<step::Beginning>,
}

/// The runs whose jobs this engine is about to hand over, and how often.
struct HandingOver {
    /// Names this engine.
    id: String,
    runs: Mutex<HashMap<String, u64>>,
}

/// The engines that are alive in this process.
static ALIVE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn alive() -> MutexGuard<'static, BTreeSet<String>> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HandingOver {
    fn new() -> Self {
        let id = Uuid::new_v4().to_string();
        alive().insert(id.clone());
        HandingOver { id, runs: Mutex::default() }
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HandingOver {
    fn drop(&mut self) {
        alive().remove(&self.id);
    }
}

/// Jobs that someone was about to hand over, and did not.
#[derive(Debug, Clone)]
pub struct Debt {
    /// The run.
    pub run_id: String,
    /// What is to be executed.
    pub jobs: Vec<Job>,
    /// What [`FlowEngine::settle_debt`] is told.
    pub note: String,
}

/// How a run is started.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// Its id; left out: a new one.
    pub run_id: Option<String>,
    /// What started it.
    pub triggered_by: Option<String>,
    /// The firing that started it.
    pub fire_id: Option<String>,
    /// What it belongs together with; left out: only with what comes of it.
    pub correlation_id: Option<String>,
    /// The id of what led to it.
    pub causation_id: Option<String>,
    /// Where it stands in a distributed trace, as a W3C `traceparent`.
    pub traceparent: Option<String>,
    /// The version of the code that it is to run in; left out: that of this engine, if it defines the flow.
    pub version: Option<String>,
    /// What it does if this engine has no definition of the flow.
    pub plan: Option<Arc<Plan>>,
}

/// A run that was started.
#[derive(Debug, Clone)]
pub struct Started {
    /// The run.
    pub run_id: String,
    /// What is to be executed.
    pub jobs: Vec<Job>,
    /// It had been started before.
    pub is_repeated: bool,
}

/// Who emits an event from within a step.
#[derive(Debug, Clone)]
pub struct Emitter {
    /// The step.
    pub step_name: String,
    /// Its execution.
    pub execution_id: String,
    /// Which event of this name it is in this execution, from 1.
    pub ordinal: u64,
}

/// What an event led to.
#[derive(Debug, Clone, Default)]
pub struct Emission {
    /// What is to be executed.
    pub jobs: Vec<Job>,
    /// The awaits that it ended, or that have to judge it.
    pub woken: Vec<String>,
}

impl FlowEngine {
    /// An engine over a store, without definitions.
    pub fn new(store: EventStore) -> Self {
        let ids = Arc::new(Mutex::new(ContextV7::new()));
        FlowEngine {
            store,
            plans: Arc::default(),
            code: Arc::default(),
            ids,
            handing: Arc::new(HandingOver::new()),
            beginning: Arc::default(),
        }
    }

    /// The store that runs are recorded in.
    pub fn store(&self) -> &EventStore {
        &self.store
    }

    /// Defines a flow. Runs keep the definition that they were started with.
    ///
    /// # Errors
    /// `Config` if it can't run, or another flow has this name and `replace` is false.
    pub fn define(&self, flow: FlowDefinition, replace: bool) -> Result<()> {
        let name = flow.name.clone();
        let plan = flow.into_plan()?;
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        if !replace && plans.get(&name).is_some_and(|known| **known != plan) {
            let message =
                format!("The flow \"{name}\" is defined already, and otherwise; use another name, or replace it.");
            return Err(Error::new(Code::Config, message));
        }
        plans.insert(name, Arc::new(plan));
        Ok(())
    }

    /// What a run of a flow would do.
    ///
    /// # Errors
    /// `NotFound` for a flow that this engine has no definition of.
    pub fn plan(&self, flow_name: &str) -> Result<Arc<Plan>> {
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        plans.get(flow_name).cloned().ok_or_else(|| {
            let mut known: Vec<&str> = plans.keys().map(String::as_str).collect();
            known.sort_unstable();
            let known =
                if known.is_empty() { "none is defined".into() } else { format!("known are {}", known.join(", ")) };
            Error::new(Code::NotFound, format!("There is no flow {flow_name:?}; {known}."))
        })
    }

    /// Starts a run. `input` is JSON text. A second start with one `run_id` returns the first's run.
    ///
    /// # Errors
    /// `NotFound` for an unknown flow, `Validation` for an id or a version that can't be used, `Conflict` if it belongs to a run of
    /// another flow, and those of appending.
    pub async fn start(&self, flow_name: &str, input: Option<&str>, options: StartOptions) -> Result<Started> {
        let version = options.version.as_deref();
        StepVersion::parse(version)?;
        let (plan, own_version) = match (self.plan(flow_name), options.plan) {
            // Whoever does not define the flow has no version of it.
            (Err(_), Some(plan)) => (plan, None),
            (plan, _) => (plan?, self.code.version.as_deref()),
        };
        let run_id = options.run_id.unwrap_or_else(|| self.new_id());
        // Longer ones would be refused where it is noted that their jobs are owed, when they are recorded already.
        if run_id.len() > LONGEST_RUN_ID {
            let message = format!("The runId has {} bytes; at most {LONGEST_RUN_ID} are allowed.", run_id.len());
            return Err(Error::new(Code::Validation, message));
        }
        let text = serde_json::to_string(&*plan)
            .map_err(|error| Error::new(Code::Internal, "A plan is not JSON.").caused_by(error))?;
        let data = Object::new()
            .maybe_raw("input", input)
            .maybe_text("triggeredBy", options.triggered_by.as_deref())
            .maybe_text("fireId", options.fire_id.as_deref())
            .maybe_text("version", version.or(own_version))
            .maybe_text("traceparent", options.traceparent.as_deref())
            .raw("flow", &text)
            .done();
        let event =
            NewEvent::new("flow.started").with(Field::RunId, &run_id).with(Field::FlowName, flow_name).with_data(data);
        let correlation_id = options.correlation_id.unwrap_or_else(|| run_id.clone());
        let event = related(event, Some(&correlation_id), options.causation_id.as_deref());
        // What would be refused must not be in an index.
        self.store.check_event(&event)?;
        let index = format!("{}:flows:{flow_name}", self.store.prefix());
        // The index goes first: whoever dies behind it leaves a run that is not there, which is passed over.
        self.store.index_add_ahead(index, run_id.clone(), self.store.now_ms() as f64);
        let record = async {
            // Mostly nobody has started it before.
            match self.begin(&run_id, event.clone()).await? {
                true => Ok(false),
                false => self.start_known(&run_id, flow_name, event).await,
            }
        };
        self.join_chain(&run_id, &correlation_id);
        let (owed, recorded) = tokio::join!(self.owe(&run_id), record);
        let is_repeated = recorded?;
        unless_owed(&run_id, owed);
        let jobs = match is_repeated {
            false => {
                let queue = plan.steps.get(&plan.entry).map(|step| step.queue.clone()).unwrap_or_default();
                vec![Job::new(queue, &plan.entry, &run_id, flow_name, input)]
            }
            true => {
                // It stays in the chain that it was started in.
                let look = |progress: &Progress| (Job::owed(progress), progress.correlation_id().map(str::to_owned));
                let (jobs, recorded) = self.look(&run_id, look).await?;
                if let Some(recorded) = recorded.filter(|recorded| *recorded != correlation_id) {
                    self.join_chain(&run_id, &recorded);
                }
                jobs
            }
        };
        Ok(Started { run_id, jobs, is_repeated })
    }

    /// Whether the run had been started before.
    async fn start_known(&self, run_id: &str, flow_name: &str, event: NewEvent) -> Result<bool> {
        self.decide(run_id, |progress| {
            if !progress.has_begun() {
                return Ok(Decision::Record(vec![event.clone()], false));
            }
            if progress.flow_name() == flow_name {
                return Ok(Decision::Nothing(true));
            }
            let message = format!(
                "The run {run_id} belongs to the flow \"{}\"; start \"{flow_name}\" with another runId.",
                progress.flow_name()
            );
            Err(Error::new(Code::Conflict, message))
        })
        .await
    }

    /// Time-ordered ids (RFC 9562, version 7), by the store's clock.
    fn new_id(&self) -> String {
        let now = self.store.now_ms();
        let context = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let nanos = (now % 1000) as u32 * 1_000_000;
        Uuid::new_v7(Timestamp::from_unix(&*context, now / 1000, nanos)).to_string()
    }

    /// Records an event of a run. `payload` is JSON text. Steps that have all that they subscribe to are
    /// to be executed; awaits of this name end, or have to judge it.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, `Conflict` for one that has ended or an execution that was superseded,
    /// `Validation` for an event that the step does not declare.
    pub async fn emit(
        &self,
        run_id: &str,
        name: &str,
        payload: Option<&str>,
        emitter: Option<&Emitter>,
    ) -> Result<Emission> {
        if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
            return Err(Error::new(
                Code::Validation,
                "The name of an event has 1 to 255 characters, none of them a control character.",
            ));
        }
        if let Some(emitter) = emitter {
            self.begun(&emitter.execution_id).await?;
        }
        let record = self.decide(run_id, |progress| {
            expect_active(progress, run_id)?;
            let step_name = emitter.map(|emitter| emitter.step_name.as_str());
            let emit = NewEvent::new("emit")
                .with_envelope(&decide::envelope(progress, step_name))
                .with_data(emit_data(name, payload));
            // What would be refused must not be taken for one that is recorded.
            self.store.check_event(&emit)?;
            if let Some(emitter) = emitter {
                step::expect_execution(progress, &emitter.step_name, &emitter.execution_id)?;
                expect_declared(progress, &emitter.step_name, name)?;
                let recorded = progress.step(&emitter.step_name).and_then(|step| step.emitted.get(name));
                if recorded.is_some_and(|recorded| *recorded >= emitter.ordinal) {
                    let jobs = Job::owed(progress).into_iter().filter(|job| job.name != emitter.step_name);
                    return Ok(Decision::Nothing(Emission { jobs: jobs.collect(), woken: Vec::new() }));
                }
            }
            let mut emission = Emission::default();
            let mut events = vec![emit];
            for step_name in progress.queued_by(name) {
                emission.jobs.extend(Job::of(progress, step_name, Some((name, payload))));
            }
            for open in progress.awaits() {
                if open.phase != AwaitPhase::Open || !open.hears(name) {
                    continue;
                }
                emission.woken.push(open.id.to_string());
                // Two awaits may be of one step.
                let job = awaits::job_of_suspended(progress, open);
                let is_there = |job: &Job| emission.jobs.iter().any(|known| known.job_id == job.job_id);
                if let Some(job) = job.filter(|job| !is_there(job)) {
                    emission.jobs.push(job);
                }
                if !open.is_conditional {
                    events.push(awaits::fired(progress, open, payload, None));
                }
            }
            Ok(Decision::Record(events, emission))
        });
        let (owed, emission) =
            tokio::join!(async { if emitter.is_none() { self.owe(run_id).await } else { Ok(()) } }, record);
        let emission = emission?;
        unless_owed(run_id, owed);
        self.announce(run_id, &emission.woken).await?;
        Ok(emission)
    }

    /// Ends a run. False: it had ended.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, and those of appending.
    pub async fn cancel(&self, run_id: &str, reason: Option<&str>) -> Result<bool> {
        let closed = self
            .decide(run_id, |progress| {
                expect_known(progress, run_id)?;
                if progress.ending().is_some() {
                    return Ok(Decision::Nothing(None));
                }
                let (mut events, closed) = awaits::close_all(progress, None, "the run was canceled");
                let event = NewEvent::new("flow.canceled").with_envelope(&decide::envelope(progress, None));
                events.push(event.with_data(Object::new().maybe_text("reason", reason).done()));
                Ok(Decision::Record(events, Some(closed)))
            })
            .await?;
        let Some(closed) = closed else { return Ok(false) };
        self.announce_end(run_id, "flow.canceled", &closed).await?;
        Ok(true)
    }

    /// What a run is doing; `None`: there is no such run.
    pub async fn status(&self, run_id: &str) -> Result<Option<RunStatus>> {
        self.look(run_id, |progress| progress.is_known().then(|| progress.status())).await
    }

    /// The runs of a flow, newest first.
    pub async fn runs(&self, flow_name: &str, offset: usize, limit: Option<usize>) -> Result<Vec<RunStatus>> {
        let index = format!("{}:flows:{flow_name}", self.store.prefix());
        let mut runs = Vec::new();
        for (run_id, _) in self.store.index_read(&index, offset, limit).await? {
            runs.extend(self.status(&run_id).await?);
        }
        Ok(runs)
    }

    /// What a run is doing and why it stands still, as a text for people.
    ///
    /// # Errors
    /// `NotFound` for an unknown run.
    pub async fn explain(&self, run_id: &str) -> Result<String> {
        let now = self.store.now_ms();
        self.look(run_id, |progress| {
            expect_known(progress, run_id)?;
            Ok(explain::explain(progress, now))
        })
        .await?
    }

    /// What should be in the queues of a run now. What is there already does no harm.
    pub async fn reconcile(&self, run_id: &str) -> Result<Vec<Job>> {
        self.look(run_id, Job::owed).await
    }

    fn handovers(&self) -> String {
        format!("{}:handovers", self.store.prefix())
    }

    /// Of whom it is noted that this engine owes a run's jobs.
    fn debt(&self, run_id: &str) -> String {
        format!("{run_id}@{}", self.handing.id)
    }

    /// Notes that jobs of a run are about to be handed over: should this process die before they are,
    /// another one sees to it.
    pub(crate) async fn owe(&self, run_id: &str) -> Result<()> {
        self.owe_since(run_id, self.store.now_ms() as f64).await
    }

    async fn owe_since(&self, run_id: &str, ms: f64) -> Result<()> {
        *self.handing.runs().entry(run_id.to_owned()).or_default() += 1;
        self.store.index_add(&self.handovers(), &self.debt(run_id), ms).await
    }

    /// The jobs of a run were handed over, as often as this was noted before.
    ///
    /// # Errors
    /// Those of the store; then they are handed over again, which does no harm.
    pub async fn handed_over(&self, run_id: &str) -> Result<()> {
        let is_last = {
            let mut runs = self.handing.runs();
            let left = runs.get(run_id).map_or(0, |count| count - 1);
            if left == 0 { runs.remove(run_id).is_some() } else { runs.insert(run_id.to_owned(), left).is_none() }
        };
        match is_last {
            true => self.store.index_remove(&self.handovers(), &self.debt(run_id)).await,
            false => Ok(()),
        }
    }

    /// The jobs of the runs that should have been handed over so many milliseconds ago, and were not, as
    /// far as is known. Call [`FlowEngine::settle_debt`] for each once they are.
    ///
    /// Where nobody else could do it, and jobs end with their process, what processes that are gone
    /// had to see to becomes this engine's.
    pub async fn owed(&self, older_than_ms: u64) -> Result<Vec<Debt>> {
        let before = self.store.now_ms().saturating_sub(older_than_ms) as f64;
        let notes = match self.store.is_owned() {
            true => self.inherit(before).await?,
            false => self.store.index_due(&self.handovers(), before, MOST_DEBTS).await?,
        };
        let mut debts = Vec::new();
        for note in notes {
            let run_id = note.rsplit_once('@').map_or(&*note, |(run_id, _)| run_id).to_owned();
            debts.push(Debt { jobs: self.reconcile(&run_id).await?, run_id, note });
        }
        Ok(debts)
    }

    /// Takes over what engines owe that are gone; all notes of this engine up to this instant.
    async fn inherit(&self, before: f64) -> Result<Vec<String>> {
        for note in self.store.index_due(&self.handovers(), f64::MAX, usize::MAX).await? {
            if let Some((run_id, owner)) = note.rsplit_once('@')
                && !alive().contains(owner)
            {
                self.owe_since(run_id, 0.0).await?;
                self.store.index_remove(&self.handovers(), &note).await?;
            }
        }
        let mut notes = self.store.index_due(&self.handovers(), before, usize::MAX).await?;
        notes.retain(|note| note.rsplit_once('@').is_some_and(|(_, owner)| owner == self.handing.id));
        Ok(notes)
    }

    /// What an engine owed was handed over.
    ///
    /// # Errors
    /// Those of the store; then it is handed over again.
    pub async fn settle_debt(&self, note: &str) -> Result<()> {
        if let Some((run_id, owner)) = note.rsplit_once('@')
            && owner == self.handing.id
        {
            self.handing.runs().remove(run_id);
        }
        self.store.index_remove(&self.handovers(), note).await
    }

    /// The stream that all instances follow.
    pub(crate) fn triggers(&self) -> String {
        format!("{}:triggers", self.store.prefix())
    }

    /// Tells all instances that a run has ended, and with it these awaits.
    async fn announce_end(&self, run_id: &str, event_type: &str, closed: &[String]) -> Result<()> {
        let mut events: Vec<NewEvent> = closed.iter().map(|id| awaits::note("trigger.resolved", run_id, id)).collect();
        events.push(NewEvent::new(event_type).with(Field::RunId, run_id));
        self.store.append_batch(&self.triggers(), events, AppendOptions::default()).await.map(drop)
    }
}

/// What was recorded is handed over now, noted or not: only should this process die before, nobody else would do it.
fn unless_owed(run_id: &str, owed: Result<()>) {
    if let Err(error) = owed {
        tracing::warn!(run_id, %error, "it is not noted that jobs of a run are to be handed over");
    }
}

fn expect_known(progress: &Progress, run_id: &str) -> Result<()> {
    match progress.is_known() {
        true => Ok(()),
        false => Err(Error::new(Code::NotFound, format!("There is no run {run_id:?}."))),
    }
}

fn expect_active(progress: &Progress, run_id: &str) -> Result<()> {
    expect_known(progress, run_id)?;
    match progress.ending() {
        None => Ok(()),
        Some(ending) => {
            Err(Error::new(Code::Conflict, format!("The run {run_id} {}; nothing can be added to it.", ended(ending))))
        }
    }
}

/// How and when a run ended.
fn ended(ending: &Ending) -> String {
    let how = match ending.status {
        Status::Failed => "failed",
        Status::Canceled => "was canceled",
        _ => "completed",
    };
    format!("{how} at {}", ending.at)
}

fn expect_declared(progress: &Progress, step_name: &str, name: &str) -> Result<()> {
    let step = progress.plan().and_then(|plan| plan.steps.get(step_name));
    let Some(emits) = step.and_then(|step| step.emits.as_ref()) else { return Ok(()) };
    if emits.iter().any(|declared| declared == name) {
        return Ok(());
    }
    let message = format!(
        "The step \"{step_name}\" emits {name:?}, which its definition does not name; it names {}. Runs keep the definition that they were started with.",
        if emits.is_empty() { "nothing".into() } else { emits.join(", ") }
    );
    Err(Error::new(Code::Validation, message))
}
